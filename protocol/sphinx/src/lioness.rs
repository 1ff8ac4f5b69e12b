//! LIONESS after LIP-183: a wide-block cipher over the whole payload (`spec/mix-wire.md §4.5`).
//!
//! Anderson and Biham's four rounds, with AES-128-CTR as the stream and SHA-256 as the keyed hash. Every bit of the
//! output depends on every bit of the input, so a damaged payload decrypts to noise.

use ctr::cipher::{KeyIvInit, StreamCipher};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::curve::Bytes32;
use crate::kdf::{Keystream, halves, kdf};

/// The left part of the block, as long as a round key.
pub(crate) const LEFT_LEN: usize = 32;

/// The four round keys of one seed.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Lioness {
    pub(crate) keys: [Bytes32; 4],
}

impl Lioness {
    /// The seed is 32 bytes for a hop and the 16-byte key itself for a SURB.
    pub(crate) fn new(seed: &[u8]) -> Self {
        let labels: [&[u8]; 4] = [b"lioness_key1", b"lioness_key2", b"lioness_key3", b"lioness_key4"];
        Self { keys: labels.map(|label| *kdf(label, seed)) }
    }

    /// Encrypts a block of at least 64 bytes in place.
    pub(crate) fn encrypt(&self, block: &mut [u8]) {
        let [k1, k2, k3, k4] = &self.keys;
        let (left, right) = block.split_at_mut(LEFT_LEN);
        stream(k1, left, right);
        absorb(k2, left, right);
        stream(k3, left, right);
        absorb(k4, left, right);
    }

    /// Undoes [`Lioness::encrypt`].
    pub(crate) fn decrypt(&self, block: &mut [u8]) {
        let [k1, k2, k3, k4] = &self.keys;
        let (left, right) = block.split_at_mut(LEFT_LEN);
        absorb(k4, left, right);
        stream(k3, left, right);
        absorb(k2, left, right);
        stream(k1, left, right);
    }
}

/// R ⊕= S(K ⊕ L): the first half of K ⊕ L is the AES key, the second half the initial counter block.
pub(crate) fn stream(key: &Bytes32, left: &[u8], right: &mut [u8]) {
    let mut mixed = Zeroizing::new(*key);
    xor(&mut *mixed, left);
    let (aes_key, counter) = halves(&mixed);
    Keystream::new((&*aes_key).into(), (&*counter).into()).apply_keystream(right);
}

/// L ⊕= H(K, R).
pub(crate) fn absorb(key: &Bytes32, left: &mut [u8], right: &[u8]) {
    let mut hash = Zeroizing::new([0; 32]);
    Sha256::new().chain_update(key).chain_update(right).finalize_into((&mut *hash).into());
    xor(left, &*hash);
}

fn xor(target: &mut [u8], other: &[u8]) {
    for (byte, other) in target.iter_mut().zip(other) {
        *byte ^= other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::DELTA_LEN;
    use crate::testing::{COUNTING, hex32, sha256};

    fn encrypt_zeros(seed: &[u8], len: usize) -> Vec<u8> {
        let mut block = vec![0; len];
        Lioness::new(seed).encrypt(&mut block);
        block
    }

    /// Appendix A, primitives.
    #[test]
    fn round_functions_give_the_published_values() {
        let keys = Lioness::new(&COUNTING);
        let expected = [
            "913e718a554d91846ab91dfef57804f634c10e9a24811e5927ea71abf6f51443",
            "03eae8ad23903f1cea8a289139c6eb0efcc1a47360d530a00b84818776df8144",
            "13b6f1a3c7a26ea4f5a8a4bdb08ffb1a8af159172cdd2e42d6976a2268fe2408",
            "753e6b589d26ef262aa9fda8a27956183b4e071a34831d343fe6b64c651b942c",
        ];
        assert_eq!(keys.keys, expected.map(hex32));

        let mut bytes: Vec<u8> = (0..0x30).collect();
        stream(&COUNTING, &[0; 32], &mut bytes);
        assert_eq!(
            hex::encode(bytes),
            "07ffed77e5d005699807e41a82999c9c82d3d717cc1994155e60677997e4c017ea001a4411c0de8c4dbfa0078df81355"
        );

        let mut left = [0; 32];
        absorb(&COUNTING, &mut left, b"abc");
        assert_eq!(left, hex32("42fd4a8c529fdb402d577c701b291018f0b2c52207f96e2a057483fd349a9868"));
    }

    /// Appendix A, primitives.
    #[test]
    fn whole_blocks_give_the_published_values() {
        assert_eq!(
            hex::encode(encrypt_zeros(&COUNTING, 64)),
            "ff3c139efc71293e898339c2c8f7ca16751d9a2c675ab571f8f70afabca48693216370a8d4fd6df2d2a8fe90300459a56c1a820275fb24f51e8a3efe9a8ef468"
        );
        assert_eq!(
            hex::encode(encrypt_zeros(&COUNTING[..16], 64)),
            "52b843d95adbdea8bbf75dfcfb4bcf76202eefa2e15193f5dd86ca2b431b9f238d2fe8ba3c393ca7b70244c3bd9145a7b98c929550087cd202a1da0d8a2c98cf"
        );
        assert_eq!(
            sha256(&encrypt_zeros(&COUNTING, DELTA_LEN)),
            "1f6b8c5cd0215fdbb2790d80c1261b9efcb4db94471e8a210bb9df0d07124f6b"
        );
    }

    #[test]
    fn decryption_undoes_encryption() {
        let mut block = encrypt_zeros(&COUNTING, DELTA_LEN);
        Lioness::new(&COUNTING).decrypt(&mut block);
        assert!(block.iter().all(|&byte| byte == 0));
    }
}
