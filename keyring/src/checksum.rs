//! CRC-32C (Castagnoli, RFC 3720 §12.1): tells a write that came through from one that did not. It is no defence against
//! whoever can write to the files; file permissions are.

use crc32c::crc32c_append;

/// The checksum of what has been seen so far.
#[derive(Clone, Copy)]
pub(crate) struct Checksum(u32);

impl Checksum {
    /// Of nothing.
    pub(crate) const fn new() -> Self {
        Self(0)
    }

    /// Of these bytes behind what has been seen.
    pub(crate) fn with(self, bytes: &[u8]) -> Self {
        Self(crc32c_append(self.0, bytes))
    }

    /// The four bytes that are written.
    pub(crate) const fn bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_check_values() {
        assert_eq!(Checksum::new().with(b"123456789").bytes(), [0xe3, 0x06, 0x92, 0x83]);
        // RFC 3720 §B.4: 32 bytes of zeros.
        assert_eq!(Checksum::new().with(&[0; 16]).with(&[0; 16]).bytes(), [0x8a, 0x91, 0x36, 0xaa]);
    }
}
