//! CRC-32C (Castagnoli, RFC 3720 §12.1): tells a write that came through from one that did not. It is no defence against
//! whoever can write to the files; file permissions are.

/// The polynomial 0x1EDC6F41, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

/// The checksum of what has been seen so far.
#[derive(Clone, Copy)]
pub(crate) struct Checksum(u32);

impl Checksum {
    /// Of nothing.
    pub(crate) const fn new() -> Self {
        Self(u32::MAX)
    }

    /// Of these bytes behind what has been seen.
    pub(crate) fn with(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)]))
    }

    /// The four bytes that are written.
    pub(crate) const fn bytes(self) -> [u8; 4] {
        (!self.0).to_be_bytes()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "counts to 255")]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
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
