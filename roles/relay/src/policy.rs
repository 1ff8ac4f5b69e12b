//! The rules of the relay: which gossip passes, what may be published, and how each refusal is worded.
//!
//! No I/O and no clock; the actor brings both.

use std::num::NonZeroU16;

use wakumix_role_api::host::{PublishFailure, Verdict};
use wakumix_waku::gossip::{MAX_FRAME_LEN, frame_len};
use wakumix_waku::lightpush::{StatusCode, text};
use wakumix_waku::message::MAX_META_LEN;
use wakumix_waku::{ContentTopic, DecodeError, MessageHash, PubsubTopic, TopicError, WakuMessage};

use crate::config::Config;

/// Why a message is not published. The text is what clients of nwaku know (`spec/waku.md §4.1`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{start}{0}", start = text::DECODE_FAILURE)]
    Undecodable(DecodeError),
    #[error("{}", text::V2_EMPTY_REQUEST)]
    EmptyRequest,
    #[error("{}", text::TOPIC_EMPTY)]
    BlankTopic,
    #[error("{}", text::TOPIC_REQUIRED)]
    TopicRequired,
    #[error("{start}{0}", start = text::INVALID_CONTENT_TOPIC)]
    InvalidContentTopic(TopicError),
    #[error("{start}{0}", start = text::AUTO_SHARDING_ERROR)]
    AutoSharding(TopicError),
    #[error("{}", text::oversize(*max))]
    Oversize { max: usize },
    #[error("meta has {0} bytes, at most {MAX_META_LEN} are allowed")]
    LongMeta(usize),
    #[error("the message does not fit a gossipsub frame")]
    TooLargeForGossip,
    #[error("this node does not relay the pubsub topic")]
    NotRelayed,
    #[error("{}", text::DUPLICATE)]
    Duplicate,
    #[error("{}", text::TOO_MANY_REQUESTS)]
    TooManyRequests,
    #[error("{}", text::NO_PEERS)]
    NoPeers,
    #[error("{}", text::NO_RELAY)]
    NoRelay,
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// The status of lightpush version 3.
    ///
    /// A message off our shards is 421, where nwaku's servers say 505: the code exists for it, and a client that sees
    /// it should change the server, not wait for peers. A duplicate is 420 as in nwaku's newest code; its servers of
    /// December 2025 answer 505, as if nobody listened, and make clients push the same message again.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Undecodable(_) | Self::EmptyRequest | Self::BlankTopic => StatusCode::BAD_REQUEST,
            Self::TopicRequired
            | Self::InvalidContentTopic(_)
            | Self::Oversize { .. }
            | Self::LongMeta(_)
            | Self::TooLargeForGossip
            | Self::Duplicate => StatusCode::INVALID_MESSAGE,
            Self::NotRelayed => StatusCode::UNSUPPORTED_PUBSUB_TOPIC,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::AutoSharding(_) | Self::NoRelay | Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoPeers => StatusCode::NO_PEERS_TO_RELAY,
        }
    }

    /// The text of lightpush version 2, which has words of its own for two cases (`spec/waku.md §4.3`).
    pub(crate) fn v2_info(&self) -> String {
        match self {
            Self::NoPeers => text::V2_NOT_PUBLISHED.to_owned(),
            Self::TooManyRequests => text::V2_TOO_MANY_REQUESTS.to_owned(),
            _ => self.to_string(),
        }
    }
}

impl From<PublishFailure> for Refusal {
    fn from(failure: PublishFailure) -> Self {
        match failure {
            PublishFailure::NoPeers => Self::NoPeers,
            PublishFailure::Duplicate => Self::Duplicate,
            PublishFailure::TooLarge => Self::TooLargeForGossip,
            PublishFailure::NoRelay => Self::NoRelay,
            PublishFailure::QueuesFull => Self::Failed(failure.to_string()),
            PublishFailure::Other(reason) => Self::Failed(reason),
        }
    }
}

/// To how many peers the host sent a message; none is a failure, as in nwaku.
pub(crate) fn peers_reached(outcome: Result<usize, PublishFailure>) -> Result<u32, Refusal> {
    match outcome? {
        0 => Err(Refusal::NoPeers),
        peers => Ok(u32::try_from(peers).unwrap_or(u32::MAX)),
    }
}

/// What is wrong with a gossip message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GossipFault {
    /// Its frame is larger than nodes of the network read.
    Oversize,
    /// No node of the network takes it for a message.
    Undecodable(DecodeError),
    /// A message whose content topic nobody here can read; others can.
    NotText,
    ForeignTopic,
    NotSubscribed,
}

impl GossipFault {
    pub(crate) const NAMES: [&'static str; 5] =
        ["oversize", "undecodable", "not_text", "foreign_topic", "not_subscribed"];

    /// The position of its name.
    pub(crate) const fn index(&self) -> usize {
        match self {
            Self::Oversize => 0,
            Self::Undecodable(_) => 1,
            Self::NotText => 2,
            Self::ForeignTopic => 3,
            Self::NotSubscribed => 4,
        }
    }

    /// Rejecting counts against the peer that passed the message on, with the square of their number. So content is never
    /// rejected: implementations decode differently, and a peer passes on in good faith what another cannot use. A single
    /// author of odd messages would part this node from all who forward them. Rejected is only what gossipsub lets no peer
    /// send here.
    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::NotText => Verdict::Accept,
            Self::Oversize | Self::Undecodable(_) | Self::NotSubscribed => Verdict::Ignore,
            Self::ForeignTopic => Verdict::Reject,
        }
    }
}

/// A message with its place, ready for local readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) topic: PubsubTopic,
    pub(crate) message: WakuMessage,
    pub(crate) hash: MessageHash,
}

/// A message that may be published, and the bytes to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) placed: Placed,
    pub(crate) data: Vec<u8>,
}

/// The part of the configuration that the rules depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    cluster: u16,
    shards_in_network: Option<NonZeroU16>,
    max_message_len: usize,
}

impl Policy {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            cluster: config.cluster,
            shards_in_network: NonZeroU16::new(config.shards_in_network),
            max_message_len: config.max_message_len,
        }
    }

    /// A topic of our cluster, or `None`.
    pub(crate) fn own_topic(&self, topic: &str) -> Option<PubsubTopic> {
        PubsubTopic::parse(topic).ok().filter(|topic| topic.cluster() == self.cluster)
    }

    /// Judges gossip: topic, size, form (`spec/waku.md §2.4`). The size comes before decoding because it is cheap. It is the
    /// network's, not this node's own limit for what it publishes: what others pass on is passed on here too.
    pub(crate) fn judge(
        &self,
        topic: &str,
        data: &[u8],
        relays: impl Fn(&PubsubTopic) -> bool,
    ) -> Result<Placed, GossipFault> {
        let topic = self.own_topic(topic).ok_or(GossipFault::ForeignTopic)?;
        if !relays(&topic) {
            return Err(GossipFault::NotSubscribed);
        }
        if frame_len(topic.as_str(), data.len()) > MAX_FRAME_LEN {
            return Err(GossipFault::Oversize);
        }
        let message = WakuMessage::decode(data).map_err(|error| match error {
            DecodeError::NotText(_) => GossipFault::NotText,
            other => GossipFault::Undecodable(other),
        })?;
        let hash = message.hash(&topic);
        Ok(Placed { topic, message, hash })
    }

    /// Decides whether and where a message is published; the checks come in the order of nwaku's servers. A message
    /// without a timestamp gets `now`, nanoseconds since the Unix epoch, before it is hashed (`spec/waku.md §1.2`).
    pub(crate) fn prepare(
        &self,
        topic: Option<&str>,
        mut message: WakuMessage,
        now: i64,
        relays: impl Fn(&PubsubTopic) -> bool,
    ) -> Result<Publication, Refusal> {
        let topic = match topic {
            Some(topic) if topic.trim().is_empty() => return Err(Refusal::BlankTopic),
            // Refused below if it is not ours, after the message itself was checked.
            Some(topic) => self.own_topic(topic),
            None => Some(self.assign(&message.content_topic)?),
        };
        message.timestamp = message.timestamp.filter(|&nanoseconds| nanoseconds != 0).or(Some(now));
        let data = self.validate(&message)?;
        let topic = topic.filter(relays).ok_or(Refusal::NotRelayed)?;
        let hash = message.hash(&topic);
        Ok(Publication { placed: Placed { topic, message, hash }, data })
    }

    fn assign(&self, content_topic: &str) -> Result<PubsubTopic, Refusal> {
        let shards = self.shards_in_network.ok_or(Refusal::TopicRequired)?;
        let content_topic = ContentTopic::parse(content_topic).map_err(Refusal::InvalidContentTopic)?;
        PubsubTopic::of_content(self.cluster, &content_topic, shards).map_err(Refusal::AutoSharding)
    }

    /// The bytes of a message made here that our peers accept. Whether they fit a gossipsub frame is checked by the host.
    fn validate(&self, message: &WakuMessage) -> Result<Vec<u8>, Refusal> {
        if message.meta.len() > MAX_META_LEN {
            return Err(Refusal::LongMeta(message.meta.len()));
        }
        let data = message.encode();
        if data.len() > self.max_message_len {
            return Err(Refusal::Oversize { max: self.max_message_len });
        }
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        Policy::new(&Config { cluster: 2, shards_in_network: 8, max_message_len: 200, ..Config::default() })
    }

    proptest! {
        #[test]
        fn what_is_published_passes_validation_elsewhere(
            payload in vec(any::<u8>(), 0..200), content_topic in ".{0,20}", meta in vec(any::<u8>(), 0..80),
            timestamp: Option<i64>, topic in prop_oneof![Just(None), Just(Some("/waku/2/rs/2/1"))], now in 1_i64..,
        ) {
            let message = WakuMessage { payload, content_topic, meta, timestamp, ..WakuMessage::default() };
            if let Ok(Publication { placed, data }) = policy().prepare(topic, message, now, |_| true) {
                prop_assert!(placed.message.timestamp.is_some_and(|nanoseconds| nanoseconds != 0));
                prop_assert_eq!(policy().judge(placed.topic.as_str(), &data, |_| true), Ok(placed));
            }
        }

        #[test]
        fn arbitrary_gossip_never_panics(topic in ".{0,30}", data in vec(any::<u8>(), 0..300)) {
            for topic in [&topic, "/waku/2/rs/2/0"] {
                let _ = policy().judge(topic, &data, |_| true);
            }
        }
    }
}
