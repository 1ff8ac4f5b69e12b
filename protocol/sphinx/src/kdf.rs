//! Keys of one hop, derived from its shared secret (`spec/mix-wire.md §4.2` to §4.4).

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::KeyIvInit;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::curve::Bytes32;
use crate::layout::{ALPHA_LEN, BETA_LEN, GAMMA_LEN, SECURITY_LEN};

/// AES-128 in counter mode; the whole 16-byte counter block counts, big-endian (§4.3).
pub(crate) type Keystream = Ctr128BE<Aes128>;

type Bytes16 = [u8; SECURITY_LEN];

/// SHA-256 over a label and the secret, no separator between them.
pub(crate) fn kdf(label: &[u8], secret: &[u8]) -> Zeroizing<Bytes32> {
    let mut key = Zeroizing::new([0; 32]);
    let hash = Sha256::new().chain_update(label).chain_update(secret);
    hash.finalize_into((&mut *key).into());
    key
}

/// The key stream named by a key label and an IV label.
fn keystream(key_label: &[u8], iv_label: &[u8], secret: &[u8]) -> Keystream {
    let (key, iv) = (kdf(key_label, secret), kdf(iv_label, secret));
    let (key, iv) = (halves(&key).0, halves(&iv).0);
    Keystream::new((&*key).into(), (&*iv).into())
}

/// The two 16-byte halves of a 32-byte value.
pub(crate) fn halves(bytes: &Bytes32) -> (Zeroizing<Bytes16>, Zeroizing<Bytes16>) {
    let mut halves = (Zeroizing::new([0; 16]), Zeroizing::new([0; 16]));
    halves.0.copy_from_slice(&bytes[..16]);
    halves.1.copy_from_slice(&bytes[16..]);
    halves
}

/// The key stream that hides β.
pub(crate) fn header_keystream(secret: &Bytes32) -> Keystream {
    keystream(b"aes_key", b"iv", secret)
}

/// The key stream of a payload layer with [`crate::Cipher::AesCtr`]; the secret of a reply is its SURB key.
pub(crate) fn payload_keystream(secret: &[u8]) -> Keystream {
    keystream(b"delta_aes_key", b"delta_iv", secret)
}

/// γ: HMAC-SHA-256 over β under a 16-byte key, truncated to 16 bytes.
pub(crate) fn header_mac(secret: &Bytes32, beta: &[u8; BETA_LEN]) -> [u8; GAMMA_LEN] {
    let (key, _) = halves(&kdf(b"mac_key", secret));
    mac(&key, beta)
}

/// HMAC-SHA-256 under a 16-byte key, truncated to 16 bytes.
pub(crate) fn mac(key: &[u8; SECURITY_LEN], data: &[u8]) -> [u8; GAMMA_LEN] {
    // A key shorter than a hash block is padded with zeros, so the block can be filled here.
    let mut block = Zeroizing::new([0; 64]);
    block[..SECURITY_LEN].copy_from_slice(key);
    let mac = Hmac::<Sha256>::new((&*block).into()).chain_update(data);
    let mut gamma = [0; GAMMA_LEN];
    gamma.copy_from_slice(&mac.finalize().into_bytes()[..GAMMA_LEN]);
    gamma
}

/// b = SHA-256(α‖s), the scalar that turns this hop's α into the next.
pub(crate) fn blinding(alpha: &[u8; ALPHA_LEN], secret: &Bytes32) -> Zeroizing<Bytes32> {
    kdf(alpha, secret)
}

/// The replay tag H(s): the same for all 16 encodings of an α (§21 W5).
pub(crate) fn replay_tag(secret: &Bytes32) -> Bytes32 {
    *kdf(b"", secret)
}

/// The LIONESS seed of a hop (§4.5).
pub(crate) fn lioness_seed(secret: &Bytes32) -> Zeroizing<Bytes32> {
    kdf(b"payload_enc_key", secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{COUNTING, hex16, hex32};

    /// Appendix A, primitives.
    #[test]
    fn labels_give_the_published_keys() {
        let expected = [
            ("aes_key", "0666c14fcdf395ed440c69d63d02a156"),
            ("iv", "faf8d1da1722847076007386839ba429"),
            ("mac_key", "5619f6bcd9989e4851de617c67dd7f51"),
            ("delta_aes_key", "57ad3a519d3952c6ac2b528a48c2841b"),
            ("delta_iv", "5d6508ea66490b898e7574e7a5ed5a7c"),
        ];
        for (label, key) in expected {
            assert_eq!(kdf(label.as_bytes(), &COUNTING)[..16], hex16(key), "{label}");
        }
        assert_eq!(*lioness_seed(&COUNTING), hex32("8628ce30f82298838478ebd2744a6a31ef34a7d6a5a600b8e0c7de533510f85d"));
    }
}
