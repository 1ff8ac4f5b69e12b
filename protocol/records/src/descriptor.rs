//! Signed mix descriptors: what a node tells of itself, in a form that anybody can pass on.
//!
//! A descriptor is a protobuf message in a libp2p signed envelope with the domain `wakumix-mix-descriptor` and the payload
//! type `/wakumix/mix-descriptor`. It carries what a node record has no room for (300 bytes, `spec/waku.md §6.2`): the
//! mix key beside every address, the key that follows, the wire profiles, and who else is run by the same operator. It
//! does not carry a software version: that would only help to tell nodes apart.
//!
//! | field | number | type | meaning |
//! |---|---|---|---|
//! | `peer_id` | 1 | bytes | the signer: the envelope's key must be this peer's, a secp256k1 one (`spec/mix-wire.md §5.1`) |
//! | `issued` | 2 | uint64 | Unix seconds; of two descriptors of one peer the later one counts |
//! | `expires` | 3 | uint64 | Unix seconds, at most [`MAX_LIFETIME`] behind `issued` |
//! | `addresses` | 4 | repeated bytes | binary multiaddresses without `/p2p/<peer>`, the most preferred first |
//! | `cluster` | 5 | uint32 | cluster |
//! | `shards` | 6 | repeated uint32 | shards that it relays |
//! | `capabilities` | 7 | uint32 | the bits of `waku2` (`spec/waku.md §6.2`) |
//! | `mix_key` | 8 | bytes | X25519 key; there if and only if the mix bit is set |
//! | `next_key` | 9 | bytes | the key that follows |
//! | `next_key_from` | 10 | uint64 | Unix seconds from which it does |
//! | `profiles` | 11 | repeated string | wire profiles as [`WireFormat`] writes them; unknown ones are skipped |
//! | `operator` | 12 | string | what the operator calls itself, see [`is_operator_tag`] |
//! | `family` | 13 | repeated bytes | peer ids of other nodes of the operator |
//! | `packets_per_second` | 14 | uint32 | what it admits of one peer; 0: not told |
//! | `longest_hold_ms` | 15 | uint32 | how long it holds a packet at most; 0: not told |
//! | `reassembles` | 16 | bool | it puts fragments of requests together when a path ends at it; it mixes, then |
//! | `full` | 17 | bool | so many are connected that newcomers should look elsewhere |
//! | `key_overlap_s` | 18 | uint32 | seconds for which a key that was replaced still opens packets; 0: not told |
//!
//! A reader skips addresses that it cannot decode and those that end with a peer id, so that a new transport needs no
//! new descriptor. Everything else that is wrong refuses the descriptor as a whole.

mod messages;
mod wire;

use libp2p_identity::{KeyType, Keypair, PeerId, SigningError};
use multiaddr::Multiaddr;
use prost::Message as _;
use wakumix_sphinx::{KeyError, PublicKey, Weaknesses, WireFormat};
use wakumix_waku::record::{Capabilities, MAX_LISTED_SHARDS, Shards};

use crate::countermeasures::is_signature_needed;
use crate::envelope::{EnvelopeError, Opened, Parts, Purpose};

pub use messages::{MAX_DESCRIPTORS, MAX_REQUEST_LEN, MAX_RESPONSE_LEN, MessageError, Request, Response};

/// The request protocol that descriptors are fetched by; see [`Request`] and [`Response`].
pub const PROTOCOL: &str = "/wakumix/descriptor/1.0.0";

/// The longest descriptor, envelope included, in bytes. Eight relay addresses of 54 bytes, sixteen family members of 41,
/// two keys, 120 bytes of envelope and the rest come to some 1400.
pub const MAX_LEN: usize = 1536;
/// Addresses in one descriptor.
pub const MAX_ADDRESSES: usize = 8;
/// Wire profiles in one descriptor; five are in use (`spec/mix-wire.md §20`).
pub const MAX_PROFILES: usize = 8;
/// Family members in one descriptor; larger families share an operator tag.
pub const MAX_FAMILY: usize = 16;
/// Bytes of an operator tag.
pub const MAX_OPERATOR_LEN: usize = 32;
/// Seconds from issue to expiry: a node that has gone is not told of for longer than a day.
pub const MAX_LIFETIME: u64 = 24 * 60 * 60;
/// Seconds that a descriptor may be issued ahead of the reader's clock.
pub const MAX_SKEW: u64 = 5 * 60;

/// What descriptors are signed for.
const PURPOSE: Purpose = Purpose { domain: "wakumix-mix-descriptor", payload_type: b"/wakumix/mix-descriptor" };

/// What a node tells of itself. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The peer that it is about, which signs it.
    pub peer: PeerId,
    /// When it was made.
    pub issued: u64,
    /// When it is no longer to be believed.
    pub expires: u64,
    /// Where the node listens, without `/p2p/<peer>`, the most preferred first; relay addresses end in `/p2p-circuit`.
    pub addresses: Vec<Multiaddr>,
    /// Its cluster, and the shards that it relays.
    pub shards: Shards,
    /// What it offers.
    pub capabilities: Capabilities,
    /// Its mix key; there if and only if the capabilities say that it mixes.
    pub mix_key: Option<PublicKey>,
    /// The key that follows, and from when.
    pub next_key: Option<(PublicKey, u64)>,
    /// The wire profiles that it speaks.
    pub profiles: Vec<WireFormat>,
    /// What its operator calls itself; [`is_operator_tag`] holds.
    pub operator: Option<String>,
    /// Other nodes of its operator.
    pub family: Vec<PeerId>,
    /// What it admits.
    pub limits: Limits,
    /// Whether it puts fragments of requests together when a path ends at it.
    pub reassembles: bool,
    /// Whether so many are connected to it that newcomers should look elsewhere. It still takes what must come to it.
    pub is_full: bool,
}

/// What a node admits, as far as it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Packets per second of one peer; 0: not told.
    pub packets_per_second: u32,
    /// How long it holds a packet at most, in milliseconds; 0: not told.
    pub longest_hold_ms: u32,
    /// For how many seconds a key that was replaced still opens packets; 0: not told.
    pub key_overlap_s: u32,
}

/// How a secp256k1 key begins as libp2p writes it: a protobuf message of key type 2 and 33 bytes.
const SECP256K1_KEY: [u8; 4] = [0x08, 0x02, 0x12, 0x21];
/// Bytes of such a key.
const SECP256K1_KEY_LEN: usize = 37;
/// Bytes in front of a key in its peer id: code and length of the multihash.
const IDENTITY_HEAD: usize = 2;

/// The signature of a descriptor that is to be believed only if it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureToCheck {
    /// The signer's key, as libp2p writes it; it is a secp256k1 key by its form, and the descriptor's peer's.
    pub public_key: Vec<u8>,
    /// What is signed.
    pub signed: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

/// The times in a descriptor, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// When it was made.
    pub issued: u64,
    /// When it is no longer to be believed.
    pub expires: u64,
    /// When the next key takes over, if there is one.
    pub next_key_from: Option<u64>,
}

/// Why a descriptor is refused, or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Longer than [`MAX_LEN`].
    #[error("a descriptor of {0} bytes; at most {MAX_LEN} are taken")]
    TooLong(usize),
    /// Not an envelope of a descriptor, or a wrong signature.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload is no descriptor.
    #[error("not a descriptor: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// It is about another peer than the one that signed it.
    #[error("signed by another peer than the one it is about")]
    Signer,
    /// No packet header can name the signer (`spec/mix-wire.md §5.1`).
    #[error("signed by a key that is not secp256k1")]
    KeyType,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Issued more than [`MAX_SKEW`] ahead of the reader's clock.
    #[error("it is issued in the future")]
    Future,
    /// It lives longer than [`MAX_LIFETIME`], or not at all.
    #[error("it lives for no time or for longer than {MAX_LIFETIME} seconds")]
    Lifetime,
    /// A mix key is not a point of the curve, or not in canonical form.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There is a key without the mix bit, or the mix bit without a key.
    #[error("the mix bit and the mix key contradict each other")]
    MixBit,
    /// A list has more entries than it may.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A field holds what it cannot.
    #[error("the field {0} has an impossible value")]
    Field(&'static str),
    /// The key does not sign.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// Whether a text can be an operator tag: 1 to [`MAX_OPERATOR_LEN`] ASCII letters, digits, dots, dashes and underscores.
/// It is compared byte for byte and shown in tables, so it must look like what it is.
#[must_use]
pub fn is_operator_tag(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=MAX_OPERATOR_LEN).contains(&text.len()) && text.bytes().all(is_allowed)
}

impl Descriptor {
    /// Checks and signs it.
    ///
    /// # Errors
    /// Everything for which [`open`](Self::open) refuses it at the time of issue, [`DescriptorError::TooLong`] among
    /// them when the addresses are too many and too long together.
    pub fn seal(&self, key: &Keypair) -> Result<Vec<u8>, DescriptorError> {
        let fields = wire::Fields::from(self);
        let signer = key.public();
        if signer.key_type() != KeyType::Secp256k1 {
            return Err(DescriptorError::KeyType);
        }
        if signer.to_peer_id() != self.peer {
            return Err(DescriptorError::Signer);
        }
        self.check_time(self.issued)?;
        let bytes = PURPOSE.seal(key, fields.encode_to_vec())?;
        if bytes.len() > MAX_LEN {
            return Err(DescriptorError::TooLong(bytes.len()));
        }
        Self::try_from(fields).map(|_| bytes)
    }

    /// Reads a descriptor and checks its signature, its times against `now`, and every field.
    ///
    /// # Errors
    /// [`DescriptorError`] with the first rule that it breaks.
    pub fn open(bytes: &[u8], now: u64) -> Result<Self, DescriptorError> {
        Self::open_under(bytes, now, Weaknesses::NONE)
    }

    /// Reads a descriptor as [`open`](Self::open) does, but for the countermeasures that are missing: it
    /// may then be signed by anybody, or by nobody.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_under(bytes: &[u8], now: u64, weaknesses: Weaknesses) -> Result<Self, DescriptorError> {
        if bytes.len() > MAX_LEN {
            return Err(DescriptorError::TooLong(bytes.len()));
        }
        if is_signature_needed(weaknesses) {
            return Self::of(&PURPOSE.open(bytes)?, now);
        }
        let descriptor = Self::try_from(wire::Fields::decode(PURPOSE.payload(bytes)?.as_slice())?)?;
        descriptor.check_time(now).map(|()| descriptor)
    }

    /// Reads a descriptor and checks everything but its signature, which the caller has checked by code of its own: a web page
    /// has the curve in its libp2p already.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`EnvelopeError::Signature`] and [`EnvelopeError::Key`].
    pub fn open_unsigned(bytes: &[u8], now: u64) -> Result<(Self, SignatureToCheck), DescriptorError> {
        if bytes.len() > MAX_LEN {
            return Err(DescriptorError::TooLong(bytes.len()));
        }
        let Parts { public_key, signed, payload, signature } = PURPOSE.take_apart(bytes)?;
        if public_key.len() != SECP256K1_KEY_LEN || !public_key.starts_with(&SECP256K1_KEY) {
            return Err(DescriptorError::KeyType);
        }
        let descriptor = Self::try_from(wire::Fields::decode(payload.as_slice())?)?;
        // A peer id of such a key is the key itself, behind the head of an identity multihash.
        if descriptor.peer.to_bytes().get(IDENTITY_HEAD..) != Some(&public_key) {
            return Err(DescriptorError::Signer);
        }
        descriptor.check_time(now)?;
        Ok((descriptor, SignatureToCheck { public_key, signed, signature }))
    }

    /// Reads what stands in an envelope whose signature is good.
    pub(crate) fn of(opened: &Opened, now: u64) -> Result<Self, DescriptorError> {
        if opened.signer.key_type() != KeyType::Secp256k1 {
            return Err(DescriptorError::KeyType);
        }
        let descriptor = Self::try_from(wire::Fields::decode(opened.payload.as_slice())?)?;
        if opened.signer.to_peer_id() != descriptor.peer {
            return Err(DescriptorError::Signer);
        }
        descriptor.check_time(now)?;
        Ok(descriptor)
    }

    fn check_time(&self, now: u64) -> Result<(), DescriptorError> {
        match self.expires.checked_sub(self.issued) {
            Some(1..=MAX_LIFETIME) => {}
            _ => return Err(DescriptorError::Lifetime),
        }
        if self.issued > now.saturating_add(MAX_SKEW) {
            return Err(DescriptorError::Future);
        }
        if self.expires <= now { Err(DescriptorError::Expired) } else { Ok(()) }
    }

    /// Its times, read without checking anything: for descriptors that were opened before.
    #[must_use]
    pub fn times(bytes: &[u8]) -> Option<Times> {
        let payload = PURPOSE.payload(bytes).ok()?;
        let wire::Fields { issued, expires, next_key_from, .. } = wire::Fields::decode(payload.as_slice()).ok()?;
        Some(Times { issued, expires, next_key_from: Some(next_key_from).filter(|from| *from > 0) })
    }
}

#[cfg(test)]
mod tests;
