//! The keys of one hop: HKDF-SHA-256 over its shared secret, labelled and cut as the crate does.

use ctr::cipher::KeyIvInit;
use hmac::digest::FixedOutput;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sphinx_packet::constants::{
    BLINDING_FACTOR_SIZE, EXPANDED_SHARED_SECRET_HKDF_INFO, EXPANDED_SHARED_SECRET_LENGTH, INTEGRITY_MAC_KEY_SIZE,
    PAYLOAD_KEY_SEED_SIZE, PAYLOAD_KEY_SIZE, REPLAY_TAG_SIZE,
};
use sphinx_packet::crypto::{STREAM_CIPHER_INIT_VECTOR, STREAM_CIPHER_KEY_SIZE};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::curve::Bytes32;
use crate::kdf::{Keystream, mac};
use crate::layout::GAMMA_LEN;
use crate::sphinx_packet::layout::ROUTING_LEN;

/// Bytes of SHA-256's output and of its input block.
const HASH_LEN: usize = 32;
const HASH_BLOCK_LEN: usize = 64;

/// What the secret is expanded to, field by field. The first bytes of the payload key are the seed of the one in use.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct HopKeys {
    stream_key: [u8; STREAM_CIPHER_KEY_SIZE],
    mac_key: [u8; INTEGRITY_MAC_KEY_SIZE],
    payload_seed: [u8; PAYLOAD_KEY_SEED_SIZE],
    blinding: [u8; BLINDING_FACTOR_SIZE],
    tag: [u8; REPLAY_TAG_SIZE],
}

impl HopKeys {
    /// The keys of the hop that shares this secret with the sender.
    pub(super) fn new(secret: &Bytes32) -> Self {
        let bytes = expand(secret);
        let (stream_key, rest) = bytes.split_at(STREAM_CIPHER_KEY_SIZE);
        let (mac_key, rest) = rest.split_at(INTEGRITY_MAC_KEY_SIZE);
        let (payload_key, rest) = rest.split_at(PAYLOAD_KEY_SIZE);
        let (blinding, tag) = rest.split_at(BLINDING_FACTOR_SIZE);
        let mut keys = Self::ZERO;
        keys.stream_key.copy_from_slice(stream_key);
        keys.mac_key.copy_from_slice(mac_key);
        keys.payload_seed.copy_from_slice(&payload_key[..PAYLOAD_KEY_SEED_SIZE]);
        keys.blinding.copy_from_slice(blinding);
        keys.tag.copy_from_slice(tag);
        keys
    }

    const ZERO: Self = Self {
        stream_key: [0; STREAM_CIPHER_KEY_SIZE],
        mac_key: [0; INTEGRITY_MAC_KEY_SIZE],
        payload_seed: [0; PAYLOAD_KEY_SEED_SIZE],
        blinding: [0; BLINDING_FACTOR_SIZE],
        tag: [0; REPLAY_TAG_SIZE],
    };

    /// The key stream that hides the routing information. The crate counts in 64 bits; 360 bytes do not reach them.
    pub(super) fn stream(&self) -> Keystream {
        Keystream::new((&self.stream_key).into(), (&STREAM_CIPHER_INIT_VECTOR).into())
    }

    /// The MAC of the routing information.
    pub(super) fn mac(&self, routing: &[u8; ROUTING_LEN]) -> [u8; GAMMA_LEN] {
        mac(&self.mac_key, routing)
    }

    /// What the key of the payload layer is derived from.
    pub(super) fn payload_seed(&self) -> &[u8; PAYLOAD_KEY_SEED_SIZE] {
        &self.payload_seed
    }

    /// The scalar that turns this hop's α into the next.
    pub(super) fn blinding(&self) -> &Bytes32 {
        &self.blinding
    }

    /// The replay tag. HKDF separates it from every other use of the secret, the first format's tag included.
    pub(super) fn tag(&self) -> &[u8; REPLAY_TAG_SIZE] {
        &self.tag
    }
}

/// HKDF with an empty salt.
fn expand(secret: &Bytes32) -> Zeroizing<[u8; EXPANDED_SHARED_SECRET_LENGTH]> {
    // An empty salt, like every HMAC key shorter than a block, is padded with zeros; so is the extracted key.
    let mut key = Zeroizing::new([0; HASH_BLOCK_LEN]);
    let mut hash = Zeroizing::new([0; HASH_LEN]);
    Hmac::<Sha256>::new((&*key).into()).chain_update(secret).finalize_into((&mut *hash).into());
    key[..HASH_LEN].copy_from_slice(&*hash);
    let keyed = Hmac::<Sha256>::new((&*key).into());
    let mut bytes = Zeroizing::new([0; EXPANDED_SHARED_SECRET_LENGTH]);
    for (counter, chunk) in (1u8..).zip(bytes.chunks_exact_mut(HASH_LEN)) {
        let mut hmac = keyed.clone();
        if counter > 1 {
            hmac.update(&*hash);
        }
        let hmac = hmac.chain_update(EXPANDED_SHARED_SECRET_HKDF_INFO).chain_update([counter]);
        hmac.finalize_into((&mut *hash).into());
        chunk.copy_from_slice(&*hash);
    }
    bytes
}

const _: () = {
    assert!(EXPANDED_SHARED_SECRET_LENGTH.is_multiple_of(HASH_LEN));
    assert!(EXPANDED_SHARED_SECRET_LENGTH / HASH_LEN <= u8::MAX as usize);
};
