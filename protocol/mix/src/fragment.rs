//! Fragments: one request cut into shards that travel in packets of their own (`docs/fragments.md`).
//!
//! A packet of the mix format has room for 3.2 kB and one SURB; the payload of a message may have [`MAX_PAYLOAD_LEN`]. So a
//! sender cuts the request into `data` shards, adds `parity` shards of a Reed–Solomon code, and sends each as a request of
//! its own with codec [`FRAGMENT_CODEC`], its own SURBs and its own path, all to one exit. Any `data` of them give the request
//! back. What is cut is the mix message `varint(len codec) ‖ codec ‖ application bytes`, so the inner codec travels along.
//!
//! The application bytes of a fragment:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 16 | [`SetId`], random |
//! | 16 | 1 | data shards k, at least 1 |
//! | 17 | 1 | parity shards m; k + m is at most [`MAX_SHARDS`] |
//! | 18 | 1 | index: 0..k a data shard, k..k+m a parity shard |
//! | 19 | 2 | length of the cut message, big endian, at most [`MAX_REASSEMBLED_LEN`] |
//! | 21 | 8 | first 8 bytes of SHA-256 of the cut message |
//! | 29 | ⌈⌈length / k⌉⌉ even | the shard |
//!
//! [`cut`] makes them, [`Fragment::decode`] reads one, [`Reassembly`] puts them together under bounds.

mod code;
mod cut;
mod reassembly;
#[cfg(test)]
mod tests;

use std::fmt;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use cut::{CutError, cut, data_shards_needed};
pub use reassembly::{Losses, MAX_SET_BYTES, Progress, Reassembly, ReassemblyLimits, SetRefusal};

use crate::DropReason;

/// The codec of a fragment. It is never negotiated on a stream.
pub const FRAGMENT_CODEC: &str = "/wakumix/fragment/1.0.0";

/// Most bytes that the payload of an anonymous message may have, in every packet format.
pub const MAX_PAYLOAD_LEN: usize = 4096;

/// Most bytes that a set may carry: the largest payload and 1 KiB for what stands around it, which is the inner codec, the
/// frame, request id, topics, meta and timestamps of a lightpush request.
pub const MAX_REASSEMBLED_LEN: usize = MAX_PAYLOAD_LEN + 1024;

/// Most shards of a set. Two carry the largest request beside a SURB each; the rest is room for parity and for more SURBs.
pub const MAX_SHARDS: usize = 8;

/// Bytes in front of the shard.
pub const HEADER_LEN: usize = SET_ID_LEN + 3 + 2 + DIGEST_LEN;

const SET_ID_LEN: usize = 16;
const DIGEST_LEN: usize = 8;

/// What a reader of padded blocks finds behind the body of a sender whose blocks have a sequence number
/// (`spec/mix-wire.md §7.2`).
const SEQUENCE_LEN: usize = 4;

/// What ties the fragments of one request together: random, so that nobody meets the set of another sender.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SetId([u8; SET_ID_LEN]);

impl SetId {
    /// An id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SET_ID_LEN]) -> Self {
        Self(bytes)
    }
}

wakumix_sphinx::redacted!(SetId);

/// How many shards a request is cut into. With one data shard the others are copies of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCounts {
    /// Shards that carry the request, and how many of all give it back.
    pub data: u8,
    /// Shards beyond those: how many may be lost.
    pub parity: u8,
}

impl ShardCounts {
    /// All shards.
    #[must_use]
    pub const fn total(self) -> usize {
        self.data as usize + self.parity as usize
    }

    /// Whether a set can have so many.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.data >= 1 && self.total() <= MAX_SHARDS
    }

    /// Bytes of each shard of a message of `len` bytes: its share, made even because the code works on words of 16 bits.
    const fn shard_len(self, len: usize) -> usize {
        len.div_ceil(self.data as usize).next_multiple_of(2)
    }
}

/// The first bytes of a hash of the cut message: tells shards that do not belong together from those that do.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digest([u8; DIGEST_LEN]);

impl Digest {
    fn of(message: &[u8]) -> Self {
        let mut short = [0; DIGEST_LEN];
        short.iter_mut().zip(Sha256::digest(message)).for_each(|(to, from)| *to = from);
        Self(short)
    }
}

/// What all fragments of one set say alike.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    shards: ShardCounts,
    len: usize,
    digest: Digest,
}

impl Shape {
    const fn shard_len(&self) -> usize {
        self.shards.shard_len(self.len)
    }
}

/// One fragment, read from the application bytes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fragment<'a> {
    set: SetId,
    shape: Shape,
    index: u8,
    shard: &'a [u8],
}

/// Why bytes are no fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// They end before the header or the shard does.
    #[error("the fragment ends too early")]
    Truncated,
    /// There are more bytes than the shard has.
    #[error("bytes follow the shard")]
    Trailing,
    /// No data shard, or more shards than a set may have.
    #[error("{data} data and {parity} parity shards: at least one and at most {MAX_SHARDS} in all are allowed")]
    Shards {
        /// Data shards.
        data: u8,
        /// Parity shards.
        parity: u8,
    },
    /// The index is that of no shard of the set.
    #[error("shard {index} of {total}")]
    Index {
        /// Its index, from 0.
        index: u8,
        /// Shards of the set.
        total: usize,
    },
    /// The message is empty or longer than a set may carry.
    #[error("a message of {0} bytes: 1 to {MAX_REASSEMBLED_LEN} are allowed")]
    Length(usize),
}

impl FragmentError {
    /// How a packet is counted that is dropped for this error.
    #[must_use]
    pub const fn drop_reason(self) -> DropReason {
        DropReason::BadFragment
    }
}

impl<'a> Fragment<'a> {
    /// Reads a fragment. Four bytes behind the shard are not looked at: the sequence number of a sender with other message
    /// blocks than the reader (`spec/mix-wire.md §7.2`).
    ///
    /// # Errors
    /// Any [`FragmentError`]; lengths are checked before anything else is believed.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, FragmentError> {
        let (id, rest) = bytes.split_first_chunk().ok_or(FragmentError::Truncated)?;
        let (&[data, parity, index, high, low], rest) = rest.split_first_chunk().ok_or(FragmentError::Truncated)?;
        let (digest, rest) = rest.split_first_chunk().ok_or(FragmentError::Truncated)?;
        let shards = ShardCounts { data, parity };
        if !shards.is_valid() {
            return Err(FragmentError::Shards { data, parity });
        }
        if usize::from(index) >= shards.total() {
            return Err(FragmentError::Index { index, total: shards.total() });
        }
        let len = usize::from(u16::from_be_bytes([high, low]));
        if !(1..=MAX_REASSEMBLED_LEN).contains(&len) {
            return Err(FragmentError::Length(len));
        }
        let (shard, behind) = rest.split_at_checked(shards.shard_len(len)).ok_or(FragmentError::Truncated)?;
        if !matches!(behind.len(), 0 | SEQUENCE_LEN) {
            return Err(FragmentError::Trailing);
        }
        Ok(Self { set: SetId(*id), shape: Shape { shards, len, digest: Digest(*digest) }, index, shard })
    }

    /// Writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Shape { shards: ShardCounts { data, parity }, len, digest } = self.shape;
        let mut out = Vec::with_capacity(HEADER_LEN + self.shard.len());
        out.extend_from_slice(&self.set.0);
        out.extend_from_slice(&[data, parity, self.index]);
        // A shape is only made of lengths that fit: `MAX_REASSEMBLED_LEN` at most.
        out.extend_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(&digest.0);
        out.extend_from_slice(self.shard);
        out
    }

    /// The set that it belongs to.
    #[must_use]
    pub const fn set(&self) -> SetId {
        self.set
    }

    /// How many shards that set has.
    #[must_use]
    pub const fn shards(&self) -> ShardCounts {
        self.shape.shards
    }

    /// Which of them this is, from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index as usize
    }
}

impl fmt::Debug for Fragment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("shards", &self.shape.shards)
            .field("index", &self.index)
            .field("len", &self.shape.len)
            .finish_non_exhaustive()
    }
}
