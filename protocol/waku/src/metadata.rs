//! Metadata (66/WAKU2-METADATA, `spec/waku.md §3`): what both sides of every new connection ask each other first.
//!
//! A node that does not answer, or answers with another cluster, is disconnected by nwaku's nodes, and its mix packets
//! fail with the connection.

use prost::Message as _;

use crate::wire::{DecodeError, put_bytes, put_raw_varint, put_varint};

/// The protocol id.
pub const PROTOCOL: &str = "/vac/waku/metadata/1.0.0";

/// Longest request or response that a node reads, in bytes, without its frame.
pub const MAX_LEN: usize = 1024;

/// The request and the response: they have the same shape.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The cluster. `None` makes nwaku's nodes disconnect.
    pub cluster_id: Option<u32>,
    /// The shards that the node subscribes to; any list, also an empty one, keeps the connection.
    pub shards: Vec<u32>,
}

/// Field 2 is read packed or unpacked by prost; field 3 is the packed copy that Nim added.
#[derive(Clone, PartialEq, prost::Message)]
struct MetadataFields {
    #[prost(uint32, optional, tag = "1")]
    cluster_id: Option<u32>,
    #[prost(uint32, repeated, packed = "false", tag = "2")]
    shards: Vec<u32>,
    #[prost(uint32, repeated, tag = "3")]
    packed_shards: Vec<u32>,
}

impl Metadata {
    /// Writes the shards twice, as Nim does: unpacked in field 2 for old readers, packed in field 3 (also if empty).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(cluster_id) = self.cluster_id {
            put_varint(&mut out, 1, cluster_id.into());
        }
        let mut packed = Vec::new();
        for &shard in &self.shards {
            put_varint(&mut out, 2, shard.into());
            put_raw_varint(&mut packed, shard.into());
        }
        put_bytes(&mut out, 3, &packed);
        out
    }

    /// Reads field 3 if it lists shards, else field 2 in either form.
    ///
    /// # Errors
    /// More than [`MAX_LEN`] bytes, or bytes that are not protobuf.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_LEN {
            return Err(DecodeError::TooLong { field: "metadata", len: bytes.len(), max: MAX_LEN });
        }
        let fields = MetadataFields::decode(bytes)?;
        let shards = if fields.packed_shards.is_empty() { fields.shards } else { fields.packed_shards };
        Ok(Self { cluster_id: fields.cluster_id, shards })
    }
}
