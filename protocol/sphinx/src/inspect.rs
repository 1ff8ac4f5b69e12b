//! The single functions of the packet path, for conformance checks and for nothing else.
//!
//! Vector files record keys, secrets and intermediate values that the packet interface never shows. Each function here
//! is the one that the packet path itself uses, or a line around it, so a check of it is a check of the packet path.
//! Nothing here takes care of secrets: results are plain bytes and are not wiped.

use core::ops::Range;

use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use crate::countermeasures::Checks;
use crate::curve;
use crate::header::{self, Final, Secrets};
use crate::kdf::{self, Keystream};
use crate::layout::{
    ALPHA_LEN, BETA_LEN, DELTA_LEN, FILLER_LEN, GAMMA_LEN, MESSAGE_LEN, NO_ADDRESS, PATH_LEN, SURB_ID_LEN,
    SURB_KEY_LEN, ZERO_PREFIX_LEN,
};
use crate::lioness::{self, LEFT_LEN, Lioness};
use crate::packet::HeaderMut;
use crate::path::{BuildError, PathHop};
use crate::profile::{Cipher, Profile};
use crate::scalar::ScalarChain;
use crate::surb::{ReplyKeys, ReplyLayers, SurbId};
use crate::weakness::Weaknesses;

/// Shortest LIONESS block: both halves have at least 32 bytes (`spec/mix-wire.md §4.5`).
const LIONESS_MIN_BLOCK: usize = 2 * LEFT_LEN;

/// Shortest LIONESS seed, the key of a SURB.
const LIONESS_MIN_SEED: usize = SURB_KEY_LEN;

/// KDF16 of §4.2, for any label.
#[must_use]
pub fn kdf16(label: &str, secret: &[u8]) -> [u8; 16] {
    let mut key = [0; 16];
    key.copy_from_slice(&kdf::kdf(label.as_bytes(), secret)[..16]);
    key
}

/// XORs the AES-128-CTR key stream from byte `start` on over `data` (§4.3).
pub fn aes_ctr(key: &[u8; 16], iv: &[u8; 16], start: u32, data: &mut [u8]) {
    let mut keystream = Keystream::new(key.into(), iv.into());
    keystream.seek(start);
    keystream.apply_keystream(data);
}

/// The truncated HMAC of §4.4, over data of any length.
#[must_use]
pub fn mac(key: &[u8; 16], data: &[u8]) -> [u8; GAMMA_LEN] {
    kdf::mac(key, data)
}

/// X25519 as a hop computes it; zeros for points of low order, where the packet path stops.
#[must_use]
pub fn x25519(scalar: &[u8; 32], point: &[u8; 32]) -> [u8; 32] {
    curve::x25519(scalar, point).map_or([0; 32], |product| *product)
}

/// The one clamped scalar by which a sender replaces a chain of clamped scalars (`scalar.rs`). `None` for an empty
/// chain, and with probability about 2^−126.
#[must_use]
pub fn scalar_chain(scalars: &[[u8; 32]]) -> Option<[u8; 32]> {
    let (first, rest) = scalars.split_first()?;
    let mut chain = ScalarChain::new(first);
    for scalar in rest {
        chain.push(scalar);
    }
    chain.clamped().map(|scalar| *scalar)
}

/// b = SHA-256(α‖s) of §6.1.
#[must_use]
pub fn blinding(alpha: &[u8; ALPHA_LEN], secret: &[u8; 32]) -> [u8; 32] {
    *kdf::blinding(alpha, secret)
}

/// H(s) of §15.
#[must_use]
pub fn replay_tag(secret: &[u8; 32]) -> [u8; 32] {
    kdf::replay_tag(secret)
}

/// The LIONESS seed of a hop (§4.5).
#[must_use]
pub fn lioness_seed(secret: &[u8; 32]) -> [u8; 32] {
    *kdf::lioness_seed(secret)
}

/// The four round keys of a seed.
#[must_use]
pub fn lioness_keys(seed: &[u8]) -> [[u8; 32]; 4] {
    Lioness::new(seed).keys
}

/// XORs S(key) over `data`.
pub fn lioness_stream(key: &[u8; 32], data: &mut [u8]) {
    lioness::stream(key, &[0; LEFT_LEN], data);
}

/// H(key, data).
#[must_use]
pub fn lioness_hash(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    lioness::absorb(key, &mut hash, data);
    hash
}

/// Encrypts a block of at least 64 bytes under a seed of at least 16; `None` when one of them is shorter.
pub fn lioness_encrypt(seed: &[u8], block: &mut [u8]) -> Option<()> {
    lioness_takes(seed, block).then(|| Lioness::new(seed).encrypt(block))
}

/// Undoes [`lioness_encrypt`].
pub fn lioness_decrypt(seed: &[u8], block: &mut [u8]) -> Option<()> {
    lioness_takes(seed, block).then(|| Lioness::new(seed).decrypt(block))
}

fn lioness_takes(seed: &[u8], block: &[u8]) -> bool {
    block.len() >= LIONESS_MIN_BLOCK && seed.len() >= LIONESS_MIN_SEED
}

/// Adds the payload layer of a hop (§7.1).
pub fn add_layer(cipher: Cipher, secret: &[u8; 32], delta: &mut [u8; DELTA_LEN]) {
    cipher.add_layer(secret, delta);
}

/// Removes the payload layer of a hop (§7.1).
pub fn remove_layer(cipher: Cipher, secret: &[u8; 32], delta: &mut [u8; DELTA_LEN]) {
    cipher.remove_layer(secret, delta);
}

/// Removes the layer that the exit put on a reply (§9.3).
pub fn unseal_reply(cipher: Cipher, key: &[u8; SURB_KEY_LEN], delta: &mut [u8; DELTA_LEN]) {
    cipher.unseal_reply(key, delta);
}

/// Where the body of a message block is; `None` when an exit refuses the block (§7.2).
#[must_use]
pub fn block_body(profile: Profile, block: &[u8; MESSAGE_LEN]) -> Option<Range<usize>> {
    let mut delta = [0; DELTA_LEN];
    delta[ZERO_PREFIX_LEN..].copy_from_slice(block);
    let body = profile.read_plaintext(&delta, Checks::of_exit(Weaknesses::NONE)).ok()?;
    Some(body.start - ZERO_PREFIX_LEN..body.end - ZERO_PREFIX_LEN)
}

/// What a sender computes on the way to a header and what no packet shows.
pub struct HeaderParts {
    /// α of every hop; only the first is sent.
    pub alphas: [[u8; 32]; PATH_LEN],
    /// Shared secret of every hop.
    pub secrets: [[u8; 32]; PATH_LEN],
    /// Blinding scalar of every hop.
    pub blinders: [[u8; 32]; PATH_LEN],
    /// φ of §6.3.
    pub filler: [u8; FILLER_LEN],
}

/// Builds the header that `ephemeral` and `path` determine and shows its parts.
///
/// # Errors
/// [`BuildError::Degenerate`] with probability about 2^−126.
pub fn header_parts(ephemeral: &[u8; 32], path: &[PathHop; PATH_LEN]) -> Result<HeaderParts, BuildError> {
    let (mut alpha, mut beta, mut gamma) = ([0; ALPHA_LEN], [0; BETA_LEN], [0; GAMMA_LEN]);
    let last = Final { destination: &NO_ADDRESS, id: &[0; SURB_ID_LEN] };
    let header = HeaderMut { alpha: &mut alpha, beta: &mut beta, gamma: &mut gamma };
    let secrets = header::build(ephemeral, path, &last, header)?;
    let mut parts = HeaderParts {
        alphas: [[0; 32]; 3],
        secrets: secrets.0,
        blinders: [[0; 32]; 3],
        filler: *header::filler(&secrets),
    };
    for (index, secret) in secrets.0.iter().enumerate() {
        parts.alphas[index] = alpha;
        parts.blinders[index] = blinding(&alpha, secret);
        alpha = x25519(&parts.blinders[index], &alpha);
    }
    Ok(parts)
}

/// The keys of a reply from their recorded parts.
#[must_use]
pub fn reply_keys(id: SurbId, key: [u8; SURB_KEY_LEN], secrets: [[u8; 32]; PATH_LEN]) -> ReplyKeys {
    ReplyKeys::new(id, ReplyLayers::Mix { key, secrets: Secrets(secrets) })
}
