//! The Waku message (14/WAKU2-MESSAGE), its deterministic hash and the gossipsub message id.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::topic::PubsubTopic;
use crate::wire::{DecodeError, Fields, Value, put_bytes, put_sint64, put_varint, sint64, uint32};

/// Longest `meta` that a message may carry, in bytes (`spec/waku.md §1.1`).
pub const MAX_META_LEN: usize = 64;

/// Default limit of an encoded message, in bytes: 150 KiB (`spec/waku.md §2.3`).
pub const DEFAULT_MAX_MESSAGE_LEN: usize = 150 * 1024;

/// One message as applications publish it and relays gossip it.
///
/// A relay that passes a message on must pass on the bytes that it received: [`encode`](Self::encode) may spell the same
/// message differently and so change its gossipsub id.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WakuMessage {
    /// What the application sent, normally encrypted by it.
    pub payload: Vec<u8>,
    /// The topic that applications filter by, see [`ContentTopic`](crate::ContentTopic). Not checked here.
    pub content_topic: String,
    /// 0: not encrypted by Waku; 1: 26/WAKU2-PAYLOAD; 2: noise.
    pub version: u32,
    /// When it was made, nanoseconds since the Unix epoch. `None` is written as 0, and 0 is read as `None`; publishers
    /// fill it in before they hash (`spec/waku.md §1.2`).
    pub timestamp: Option<i64>,
    /// Up to [`MAX_META_LEN`] bytes that enter the hash.
    pub meta: Vec<u8>,
    /// The encoded RLN proof, empty if there is none.
    pub rate_limit_proof: Vec<u8>,
    /// Store nodes must not archive it; relays treat it like any other.
    pub ephemeral: bool,
}

impl WakuMessage {
    /// Writes every field in the order of the Nim encoder, defaults included (`spec/waku.md §1.2`).
    pub fn encode(&self) -> Vec<u8> {
        // Keys, lengths and the numbers take less than 64 bytes together.
        let variable = self.payload.len() + self.content_topic.len() + self.meta.len() + self.rate_limit_proof.len();
        let mut out = Vec::with_capacity(variable + 64);
        put_bytes(&mut out, 1, &self.payload);
        put_bytes(&mut out, 2, self.content_topic.as_bytes());
        put_varint(&mut out, 3, self.version.into());
        put_sint64(&mut out, 10, self.timestamp.unwrap_or(0));
        put_bytes(&mut out, 11, &self.meta);
        put_bytes(&mut out, 21, &self.rate_limit_proof);
        put_varint(&mut out, 31, self.ephemeral.into());
        out
    }

    /// Reads a message in every encoding that the Nim nodes take, and in no other (`protocol/waku/vectors/message-encodings.json`).
    /// A field of another wire type than its own is skipped, and of several values the last one counts.
    ///
    /// # Errors
    /// Bytes that are not protobuf, no payload or content topic field, or a `meta` longer than [`MAX_META_LEN`]; a content
    /// topic that is not UTF-8 ([`DecodeError::NotText`]), with which the Nim nodes would take the message all the same.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut payload, mut content_topic) = (None, None);
        let mut message = Self::default();
        let (mut timestamp, mut meta, mut rate_limit_proof): (i64, &[u8], &[u8]) = (0, &[], &[]);
        for field in Fields::of(bytes) {
            match field? {
                (1, Value::Bytes(bytes)) => payload = Some(bytes),
                (2, Value::Bytes(bytes)) => content_topic = Some(bytes),
                (3, Value::Varint(number)) => message.version = uint32(number)?,
                (10, Value::Varint(number)) => timestamp = sint64(number),
                (11, Value::Bytes(bytes)) => meta = bytes,
                (21, Value::Bytes(bytes)) => rate_limit_proof = bytes,
                (31, Value::Varint(number)) => message.ephemeral = uint32(number)? != 0,
                _ => {}
            }
        }
        let payload = payload.ok_or(DecodeError::Missing("payload"))?;
        let content_topic = content_topic.ok_or(DecodeError::Missing("content_topic"))?;
        if meta.len() > MAX_META_LEN {
            return Err(DecodeError::TooLong { field: "meta", len: meta.len(), max: MAX_META_LEN });
        }
        let content_topic = str::from_utf8(content_topic).map_err(|_| DecodeError::NotText("content_topic"))?;
        Ok(Self {
            payload: payload.to_vec(),
            content_topic: content_topic.to_owned(),
            timestamp: Some(timestamp).filter(|&nanoseconds| nanoseconds != 0),
            meta: meta.to_vec(),
            rate_limit_proof: rate_limit_proof.to_vec(),
            ..message
        })
    }

    /// The hash that identifies this message on `topic`, in the rule of the Nim nodes, see [`MessageHash::of`].
    pub fn hash(&self, topic: &PubsubTopic) -> MessageHash {
        MessageHash::of(topic.as_str(), self)
    }
}

/// Shows lengths only: neither payload nor content topic may reach a log.
impl fmt::Debug for WakuMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WakuMessage")
            .field("payload_len", &self.payload.len())
            .field("content_topic_len", &self.content_topic.len())
            .field("version", &self.version)
            .field("meta_len", &self.meta.len())
            .field("rate_limit_proof_len", &self.rate_limit_proof.len())
            .field("ephemeral", &self.ephemeral)
            .finish_non_exhaustive()
    }
}

/// The deterministic hash of a message: the same for every node that saw it on the same pubsub topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageHash([u8; 32]);

impl MessageHash {
    /// `SHA-256(pubsub topic ‖ payload ‖ content topic ‖ meta ‖ timestamp as 8 bytes, big endian)`, without separators
    /// (`spec/waku.md §1.3`).
    ///
    /// The eight timestamp bytes are hashed also when the timestamp is absent, as Nim does; JS leaves them out then,
    /// which is why nobody should publish such a message. `topic` is a plain string because messages on topics outside
    /// the sharding scheme have hashes too; use [`WakuMessage::hash`] where the topic is a shard.
    pub fn of(topic: &str, message: &WakuMessage) -> Self {
        let digest = Sha256::new()
            .chain_update(topic)
            .chain_update(&message.payload)
            .chain_update(&message.content_topic)
            .chain_update(&message.meta)
            .chain_update(message.timestamp.unwrap_or(0).to_be_bytes())
            .finalize();
        Self(digest.into())
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for MessageHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// `0x` and 64 lower-case hex digits.
impl fmt::Display for MessageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is not `0x` and 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message hash is `0x` followed by 64 hex digits")]
pub struct ParseHashError;

/// Takes what `Display` writes, in either case, also without `0x`.
impl FromStr for MessageHash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        if digits.len() != 64 {
            return Err(ParseHashError);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte =
                pair.iter().try_fold(0, |value, &digit| Some(value << 4 | hex_digit(digit)?)).ok_or(ParseHashError)?;
        }
        Ok(Self(bytes))
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// The gossipsub id of a published message: SHA-256 of the `data` field, whatever the topic (`spec/waku.md §2.1`).
pub fn message_id(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}
