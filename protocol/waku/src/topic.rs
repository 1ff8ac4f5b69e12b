//! Pubsub topics, content topics and the rule that maps one to the other (51/WAKU2-RELAY-SHARDS, `spec/waku.md §2.5`).

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Shards that a cluster can have: 0 to 1023.
pub const MAX_SHARDS: u16 = 1024;

const PREFIX: &str = "/waku/2/rs/";

/// Why a text is not a topic. The text of the error quotes it: answer the one who sent it, never log it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicError {
    /// Not of the form `/waku/2/rs/<cluster>/<shard>` with plain decimal numbers.
    #[error("`{0}` is not a pubsub topic of the form /waku/2/rs/<cluster 0..=65535>/<shard 0..=1023>")]
    Pubsub(String),
    /// The shard number is too large.
    #[error("shard {0} does not exist: a cluster has the shards 0 to 1023")]
    Shard(u16),
    /// Not of the form `/app/version/name/encoding` or `/generation/app/version/name/encoding`.
    #[error("`{0}` is not a content topic of the form [/generation]/application/version/name/encoding")]
    Content(String),
    /// The content topic has this generation; only 0 is defined.
    #[error("content topic generation `{0}` is not supported, only 0 is")]
    Generation(String),
}

/// The gossipsub topic of one shard: `/waku/2/rs/<cluster>/<shard>`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PubsubTopic {
    cluster: u16,
    shard: u16,
    text: Arc<str>,
}

impl PubsubTopic {
    /// The topic of a shard.
    ///
    /// # Errors
    /// [`TopicError::Shard`] from 1024 on.
    pub fn new(cluster: u16, shard: u16) -> Result<Self, TopicError> {
        if shard >= MAX_SHARDS {
            return Err(TopicError::Shard(shard));
        }
        Ok(Self { cluster, shard, text: format!("{PREFIX}{cluster}/{shard}").into() })
    }

    /// Reads a topic. Only the canonical spelling is one: `…/02/0` would be another gossipsub topic.
    ///
    /// # Errors
    /// [`TopicError::Pubsub`] or [`TopicError::Shard`].
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let malformed = || TopicError::Pubsub(text.to_owned());
        let (cluster, shard) =
            text.strip_prefix(PREFIX).and_then(|numbers| numbers.split_once('/')).ok_or_else(malformed)?;
        let cluster = cluster.parse().map_err(|_| malformed())?;
        let shard = shard.parse().map_err(|_| malformed())?;
        let topic = Self::new(cluster, shard)?;
        if topic.as_str() == text { Ok(topic) } else { Err(malformed()) }
    }

    /// The topic to which auto-sharding assigns `content`, in a cluster of `shards` shards.
    ///
    /// # Errors
    /// [`TopicError::Shard`] if the cluster claims more than [`MAX_SHARDS`] and the assigned one does not exist.
    pub fn of_content(cluster: u16, content: &ContentTopic, shards: NonZeroU16) -> Result<Self, TopicError> {
        Self::new(cluster, content.shard(shards))
    }

    /// The cluster, which is the network.
    pub fn cluster(&self) -> u16 {
        self.cluster
    }

    /// The shard, below [`MAX_SHARDS`].
    pub fn shard(&self) -> u16 {
        self.shard
    }

    /// The text as gossipsub uses it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for PubsubTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PubsubTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PubsubTopic({})", self.text)
    }
}

impl FromStr for PubsubTopic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

/// A content topic that auto-sharding can place: `/application/version/name/encoding`, with or without the generation
/// 0 in front.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentTopic {
    text: String,
    /// Last eight bytes of SHA-256(application ‖ version): all that the shard depends on.
    place: u64,
}

impl ContentTopic {
    /// Reads a content topic.
    ///
    /// # Errors
    /// [`TopicError::Content`] for the wrong number of parts or an empty part, [`TopicError::Generation`] for a generation
    /// other than 0.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        let malformed = || TopicError::Content(text.to_owned());
        let parts: Vec<&str> = text.strip_prefix('/').ok_or_else(malformed)?.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(malformed());
        }
        let (application, version) = match parts[..] {
            [application, version, _name, _encoding] => (application, version),
            [generation, application, version, _name, _encoding] => {
                if generation.parse() != Ok(0_u32) {
                    return Err(TopicError::Generation(generation.to_owned()));
                }
                (application, version)
            }
            _ => return Err(malformed()),
        };
        Ok(Self { text: text.to_owned(), place: place(application, version) })
    }

    /// The shard in a cluster of `shards` shards.
    pub fn shard(&self, shards: NonZeroU16) -> u16 {
        #[expect(clippy::cast_possible_truncation, reason = "a remainder is smaller than its u16 divisor")]
        let shard = (self.place % u64::from(shards.get())) as u16;
        shard
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// No separator between the two: `/ab/c/…` and `/a/bc/…` share a shard by definition.
fn place(application: &str, version: &str) -> u64 {
    let digest = Sha256::new().chain_update(application).chain_update(version).finalize();
    digest.iter().skip(24).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

impl fmt::Display for ContentTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Hides the text: content topics tell what somebody uses.
impl fmt::Debug for ContentTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentTopic(..)")
    }
}

impl FromStr for ContentTopic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}
