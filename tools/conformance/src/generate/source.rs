//! Bytes without their own meaning, all from one seed.

use sha2::{Digest, Sha256};

/// How the bytes are made, as files say it.
pub(super) const RULE: &str = "prf(name,n) = first n bytes of SHA256(label||u32be(0)) || SHA256(label||u32be(1)) || ..., \
     label = \"wakumix/\" seed in decimal \"/\" name";

/// The bytes of one seed.
pub(super) struct Source(u64);

impl Source {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn seed(&self) -> u64 {
        self.0
    }

    /// `length` bytes that belong to `name`.
    pub(super) fn bytes(&self, name: &str, length: usize) -> Vec<u8> {
        let label = format!("wakumix/{}/{name}", self.0);
        let block = |counter: u32| {
            let hash = Sha256::new().chain_update(&label).chain_update(counter.to_be_bytes());
            <[u8; 32]>::from(hash.finalize())
        };
        (0..).flat_map(block).take(length).collect()
    }

    /// `N` bytes that belong to `name`.
    pub(super) fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(&self.bytes(name, N));
        array
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_depend_on_seed_and_name_and_longer_ones_begin_alike() {
        let source = Source::new(1);
        assert_eq!(source.bytes("a", 100)[..40], source.array::<40>("a"));
        assert_ne!(source.bytes("a", 40), source.bytes("b", 40));
        assert_ne!(source.bytes("a", 40), Source::new(2).bytes("a", 40));
        let first = Sha256::digest(b"wakumix/1/a\0\0\0\0");
        assert_eq!(source.bytes("a", 32), first.as_slice());
    }
}
