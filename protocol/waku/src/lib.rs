//! What a Waku node puts on the wire, apart from the mixnet: messages and their hash, topics and shards, lightpush,
//! metadata, stream frames and the Waku fields of a node record.
//!
//! Nothing here does I/O, reads a clock or draws randomness. Bytes come in as slices, go out as vectors; every decoder
//! takes bytes from strangers and answers with an error that names the field, never with a panic.
//!
//! | module | what | source |
//! |---|---|---|
//! | [`message`] | [`WakuMessage`], [`MessageHash`], [`message_id`] | `spec/waku.md §1`, §2.1 |
//! | [`gossip`] | size of the gossipsub frame around a message | `spec/waku.md §2.3` |
//! | [`topic`] | [`PubsubTopic`], [`ContentTopic`], auto-sharding | `spec/waku.md §2.5` |
//! | [`metadata`] | cluster and shards, exchanged on every connection | `spec/waku.md §3` |
//! | [`lightpush`] | requests and responses of v3 and v2, status codes, refusals | `spec/waku.md §4` |
//! | [`frame`] | varint length and body, as all request streams use it | `spec/waku.md §3`, §4.1 |
//! | [`record`] | the keys `waku2`, `rs` and `multiaddrs` of an ENR | `spec/waku.md §6.2` |
//!
//! # How fields are written
//!
//! The Nim nodes write every field of a message, also those that hold the default value, and refuse a message that
//! lacks a field that they call required. Encoders here do the same by hand. Messages are read by hand too, by the rules of
//! the Nim nodes, because relays must agree on what a message is; the other decoders read through prost, so they take any
//! valid protobuf spelling, and check presence afterwards.
//!
//! ```
//! use wakumix_waku::{PubsubTopic, WakuMessage};
//!
//! let topic = PubsubTopic::new(2, 0)?;
//! let message = WakuMessage {
//!     payload: b"hello mix".to_vec(),
//!     content_topic: "/mixtest/1/chat/proto".into(),
//!     timestamp: Some(1_756_000_000_123_456_789),
//!     ..WakuMessage::default()
//! };
//! assert_eq!(
//!     message.hash(&topic).to_string(),
//!     "0x5fa526b87fd202dd2d75ab1f435f3df914e135001d5218885b6a7522b3d50407",
//! );
//! assert_eq!(WakuMessage::decode(&message.encode())?, message);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod frame;
pub mod gossip;
pub mod lightpush;
pub mod message;
pub mod metadata;
pub mod record;
pub mod topic;
mod wire;

pub use message::{MessageHash, WakuMessage, message_id};
pub use topic::{ContentTopic, PubsubTopic, TopicError};
pub use wire::DecodeError;

/// The protocol id of Waku relay, the only gossipsub id that Waku nodes offer and accept (`spec/waku.md §2.1`).
pub const RELAY_PROTOCOL: &str = "/vac/waku/relay/2.0.0";
