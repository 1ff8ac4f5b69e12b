//! What the relay takes: gossip to validate, lightpush requests, and local publishing.

use tokio::sync::{broadcast, oneshot};
use wakumix_waku::{MessageHash, WakuMessage};

use crate::{Address, InboundRequest, RoleName, host::GossipMessage};

/// The role that takes these messages.
pub const NAME: RoleName = RoleName::new("relay");

/// A message to the relay.
#[derive(Debug)]
pub enum RelayMessage {
    /// A gossip message that waits for its verdict.
    Gossip(GossipMessage),
    /// A lightpush request, v3 or v2, from a peer or from behind the mixnet.
    Lightpush(InboundRequest),
    /// Publish from this node (REST).
    Publish {
        /// The pubsub topic; `None` derives the shard from the content topic.
        topic: Option<String>,
        /// The message; a missing timestamp is set to now.
        message: WakuMessage,
        /// How it ended.
        reply: oneshot::Sender<Published>,
    },
    /// Join a topic and keep its latest messages for [`RelayMessage::Messages`].
    Subscribe {
        /// The pubsub topic.
        topic: String,
        /// Keep the messages of this content topic, which is on that pubsub topic, and no others.
        content_topic: Option<String>,
        /// Why not, if not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Forget the messages of a topic, and leave it once nobody is subscribed to it or to a content topic on it. Nothing happens
    /// where nobody is.
    Unsubscribe {
        /// The pubsub topic.
        topic: String,
        /// The content topic on it, if one was subscribed.
        content_topic: Option<String>,
        /// Why not, if not.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// Take the cached messages of a topic, oldest first. As in nwaku, reading empties the cache.
    Messages {
        /// The pubsub topic.
        topic: String,
        /// The content topic on it, if one was subscribed.
        content_topic: Option<String>,
        /// `None` when the topic is not subscribed.
        reply: oneshot::Sender<Option<Vec<Received>>>,
    },
    /// Follow every accepted message. A reader that lags loses the oldest and is told.
    Follow(oneshot::Sender<broadcast::Receiver<Received>>),
}

/// An accepted message.
#[derive(Clone, Debug)]
pub struct Received {
    /// The pubsub topic it came on.
    pub topic: String,
    /// The message.
    pub message: WakuMessage,
    /// Its deterministic hash.
    pub hash: MessageHash,
}

/// How publishing ended, in lightpush terms (`spec/waku.md §4.1`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Lightpush status code; 200 when it was sent to at least one peer.
    pub status: u32,
    /// Text for any other status.
    pub description: Option<String>,
    /// To how many relay peers it was sent.
    pub relay_peer_count: Option<u32>,
    /// The message's hash, where it could be computed.
    pub hash: Option<MessageHash>,
}

/// The way to the relay. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RelayHandle {
    address: Address<RelayMessage>,
}

impl RelayHandle {
    /// Wraps the relay's address.
    pub fn new(address: Address<RelayMessage>) -> Self {
        Self { address }
    }

    /// The queue itself.
    pub fn address(&self) -> &Address<RelayMessage> {
        &self.address
    }

    /// Publishes from this node; `None` when the relay is overloaded or stopped.
    pub async fn publish(&self, topic: Option<String>, message: WakuMessage) -> Option<Published> {
        let (reply, outcome) = oneshot::channel();
        self.address.try_send(RelayMessage::Publish { topic, message, reply }).ok()?;
        outcome.await.ok()
    }

    /// Joins a topic.
    pub async fn subscribe(&self, topic: String) -> Result<(), String> {
        self.subscribe_to(topic, None).await
    }

    /// Joins a topic for one content topic on it, if that is named.
    pub async fn subscribe_to(&self, topic: String, content_topic: Option<String>) -> Result<(), String> {
        self.ask(|reply| RelayMessage::Subscribe { topic, content_topic, reply }).await?
    }

    /// Leaves a topic, unless a content topic on it is subscribed.
    pub async fn unsubscribe(&self, topic: String) -> Result<(), String> {
        self.unsubscribe_from(topic, None).await
    }

    /// Undoes what [`Self::subscribe_to`] has done.
    pub async fn unsubscribe_from(&self, topic: String, content_topic: Option<String>) -> Result<(), String> {
        self.ask(|reply| RelayMessage::Unsubscribe { topic, content_topic, reply }).await?
    }

    /// Takes the cached messages of a topic; `Ok(None)` when it is not subscribed.
    pub async fn messages(&self, topic: String) -> Result<Option<Vec<Received>>, String> {
        self.messages_of(topic, None).await
    }

    /// Takes the cached messages of what [`Self::subscribe_to`] has subscribed.
    pub async fn messages_of(
        &self,
        topic: String,
        content_topic: Option<String>,
    ) -> Result<Option<Vec<Received>>, String> {
        self.ask(|reply| RelayMessage::Messages { topic, content_topic, reply }).await
    }

    /// Follows every accepted message.
    pub async fn follow(&self) -> Result<broadcast::Receiver<Received>, String> {
        self.ask(RelayMessage::Follow).await
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> RelayMessage) -> Result<T, String> {
        let (reply, outcome) = oneshot::channel();
        self.address.try_send(message(reply)).map_err(|error| error.to_string())?;
        outcome.await.map_err(|_| "the relay has stopped".to_owned())
    }
}
