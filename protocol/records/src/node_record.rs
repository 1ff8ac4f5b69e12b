//! Node records (ENR, EIP-778) with Waku's fields (`spec/waku.md §6.2`).
//!
//! [`RecordFields`] is what a record says, [`RecordFields::sign`] makes a record of it, [`NodeRecord`] is a record that was
//! read and whose signature holds.
//!
//! **Writing.** A record has [`MAX_RECORD_LEN`] bytes at most. Fields are put in by the order below, each if it still fits,
//! so that the record can always be made:
//!
//! 1. identity (`id`, `secp256k1`, signature, sequence number) `waku2`, and the first shard of `rs`: without
//!    them it is no record of a Waku node;
//! 2. `ip`, `udp`, `tcp`, then `ip6`, `udp6`, `tcp6`: where discovery and the host answer; without `tcp`, the first of the
//!    other addresses, for instance the relay of a node that cannot be dialled: a record without an address serves nobody;
//! 3. the other shards of `rs`, [`MAX_LISTED_SHARDS`] at most: fleets drop records without a shard of theirs;
//! 4. the first of the other addresses: what browsers dial;
//! 5. `mix-key`: who can dial the node can fetch its descriptor, which has the key;
//! 6. the other addresses in their order.
//!
//! Read backwards, it is the order in which fields are dropped.
//!
//! **Reading.** A record that is too long, is no RLP, has bytes behind it, wrong types in EIP-778's own fields or a wrong
//! signature is refused. A Waku field that is not what its format says is left out and named in [`NodeRecord::skipped`];
//! the rest of the record counts. An address that cannot be read, or that ends with another peer's id, is left out alone.

mod fields;
mod read;

pub use enr::{Enr, EnrKey};
pub use fields::{LeftOut, RecordFields, SignError, Signed};
pub use read::{NodeRecord, NodeRecordError, decode, offer};
pub use wakumix_waku::record::MAX_LISTED_SHARDS;

/// Bytes of an encoded record at most (EIP-778).
pub const MAX_RECORD_LEN: usize = 300;
/// Record key of the mix public key, 32 raw bytes.
pub const MIX_KEY: &str = "mix-key";
/// Record key of shards as a bit vector. Never written here: implementations disagree on its bit order.
pub const SHARD_BITS_KEY: &str = "rsv";

#[cfg(test)]
mod tests;
