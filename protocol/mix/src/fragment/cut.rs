//! From a request to the application bytes of its fragments.

use rand_core::CryptoRng;
use thiserror::Error;

use super::{
    Digest, FRAGMENT_CODEC, Fragment, HEADER_LEN, MAX_REASSEMBLED_LEN, MAX_SHARDS, SET_ID_LEN, SetId, Shape,
    ShardCounts, code,
};
use crate::message::{MessageError, MixMessage, check_codec};

/// Why a request cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CutError {
    /// The codec can be that of no request.
    #[error(transparent)]
    Codec(#[from] MessageError),
    /// A fragment in a fragment.
    #[error("{FRAGMENT_CODEC} cannot be cut again")]
    Nested,
    /// No data shard, or more shards than a set may have.
    #[error("{} data and {} parity shards: at least one and at most {MAX_SHARDS} in all are allowed", .0.data, .0.parity)]
    Shards(ShardCounts),
    /// Codec and application bytes are more than a set may carry.
    #[error("a request of {len} bytes: at most {MAX_REASSEMBLED_LEN} can be cut")]
    TooLong {
        /// Bytes of codec and application, the codec's length included.
        len: usize,
    },
    /// A fragment has no room for its shard.
    #[error("fragments of {needed} bytes, with room for {room}")]
    NoRoom {
        /// Bytes of one fragment.
        needed: usize,
        /// Bytes that one may have.
        room: usize,
    },
    /// The erasure code refused the shards: a defect of this program.
    #[error("the erasure code refused the shards")]
    Internal,
}

/// Cuts a request into the application bytes of `shards.total()` fragments of at most `room` bytes, in the order of their
/// indices. `room` is [`request_capacity`](crate::request_capacity) for [`FRAGMENT_CODEC`] and the SURBs of one fragment.
///
/// # Errors
/// Any [`CutError`].
pub fn cut<R: CryptoRng + ?Sized>(
    rng: &mut R,
    codec: &str,
    data: &[u8],
    shards: ShardCounts,
    room: usize,
) -> Result<Vec<Vec<u8>>, CutError> {
    check_codec(codec)?;
    if codec == FRAGMENT_CODEC {
        return Err(CutError::Nested);
    }
    if !shards.is_valid() {
        return Err(CutError::Shards(shards));
    }
    let mut message = MixMessage { codec: codec.as_bytes(), rest: data }.encode()?;
    let len = message.len();
    if len > MAX_REASSEMBLED_LEN {
        return Err(CutError::TooLong { len });
    }
    let shape = Shape { shards, len, digest: Digest::of(&message) };
    let needed = HEADER_LEN + shape.shard_len();
    if needed > room {
        return Err(CutError::NoRoom { needed, room });
    }
    message.resize(shape.shard_len() * usize::from(shards.data), 0);
    let data: Vec<&[u8]> = message.chunks_exact(shape.shard_len()).collect();
    let parity = code::parity(shards, &data).map_err(|_| CutError::Internal)?;
    let mut id = [0; SET_ID_LEN];
    rng.fill_bytes(&mut id);
    let all = data.into_iter().chain(parity.iter().map(Vec::as_slice));
    let fragment = |(index, shard)| Fragment { set: SetId(id), shape, index, shard }.encode();
    Ok((0..).zip(all).map(fragment).collect())
}

/// The fewest data shards that carry a request of this codec and so many application bytes in fragments of at most `room`
/// bytes; `None` if no set can.
#[must_use]
pub fn data_shards_needed(codec: &str, data_len: usize, room: usize) -> Option<u8> {
    check_codec(codec).ok()?;
    let len = data_len.checked_add(1 + codec.len()).filter(|&len| len <= MAX_REASSEMBLED_LEN)?;
    (1..=MAX_SHARDS)
        .filter_map(|data| u8::try_from(data).ok())
        .find(|&data| HEADER_LEN + ShardCounts { data, parity: 0 }.shard_len(len) <= room)
}
