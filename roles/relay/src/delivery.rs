//! Accepted messages for readers on this node: a bounded cache for each subscribed topic, and followers.
//!
//! It is the one piece of state that outlives the actor: publications finish in tasks beside it, and after a panic the
//! next instance must know what is subscribed. All of it is ephemeral; a restart of the node starts from the
//! configuration.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use tokio::sync::broadcast;
use wakumix_role_api::relay::Received;
use wakumix_telemetry::Counter;
use wakumix_waku::PubsubTopic;

use crate::metrics::Metrics;
use crate::policy::Placed;

/// Content topics that are subscribed, of all pubsub topics together. Overflow: the newest is refused.
pub(crate) const MAX_CONTENT_TOPICS: usize = 1024;

/// A topic that is joined. A cluster has 1024, so the map of them needs no bound of its own.
struct Subscription {
    /// The host has confirmed that it joined.
    joined: bool,
    /// The latest messages, if the topic itself is subscribed.
    recent: Option<Recent>,
    /// The latest messages of each content topic on it that is subscribed.
    contents: BTreeMap<String, Recent>,
    delivered: Counter,
}

/// Newest last, at most the cache capacity; overflow drops the oldest.
#[derive(Default)]
struct Recent(VecDeque<Received>);

impl Recent {
    fn push(&mut self, received: Received, capacity: usize) {
        if capacity > 0 {
            if self.0.len() == capacity {
                self.0.pop_front();
            }
            self.0.push_back(received);
        }
    }

    fn take(&mut self) -> Vec<Received> {
        std::mem::take(&mut self.0).into()
    }
}

/// There are [`MAX_CONTENT_TOPICS`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_CONTENT_TOPICS} content topics are subscribed, which is the most; leave others first")]
pub(crate) struct TooManyContentTopics;

pub(crate) struct Delivery {
    subscriptions: Mutex<BTreeMap<PubsubTopic, Subscription>>,
    followers: broadcast::Sender<Received>,
    cache_capacity: usize,
    metrics: Metrics,
}

impl Delivery {
    pub(crate) fn new(cache_capacity: usize, follow_capacity: usize, metrics: Metrics) -> Self {
        let (followers, _) = broadcast::channel(follow_capacity.max(1));
        Self { subscriptions: Mutex::default(), followers, cache_capacity, metrics }
    }

    /// Starts to keep a topic, or one content topic on it; false if the host need not join the topic, because it has.
    pub(crate) fn subscribe(
        &self,
        topic: PubsubTopic,
        content_topic: Option<String>,
    ) -> Result<bool, TooManyContentTopics> {
        let mut subscriptions = self.subscriptions.lock();
        if let Some(content_topic) = &content_topic {
            let is_kept = subscriptions.get(&topic).is_some_and(|joined| joined.contents.contains_key(content_topic));
            let count: usize = subscriptions.values().map(|joined| joined.contents.len()).sum();
            if !is_kept && count >= MAX_CONTENT_TOPICS {
                return Err(TooManyContentTopics);
            }
        }
        let is_new = !subscriptions.contains_key(&topic);
        let subscription = subscriptions.entry(topic).or_insert_with_key(|topic| Subscription {
            joined: false,
            recent: None,
            contents: BTreeMap::new(),
            delivered: self.metrics.delivered(topic.as_str()),
        });
        match content_topic {
            Some(content_topic) => drop(subscription.contents.entry(content_topic).or_default()),
            None => drop(subscription.recent.get_or_insert_default()),
        }
        Ok(is_new)
    }

    /// Whether a topic is subscribed and nothing would be if this ended.
    pub(crate) fn is_last(&self, topic: &PubsubTopic, content_topic: Option<&str>) -> bool {
        self.subscriptions.lock().get(topic).is_some_and(|joined| match content_topic {
            Some(content_topic) => {
                joined.recent.is_none() && joined.contents.len() == 1 && joined.contents.contains_key(content_topic)
            }
            None => joined.recent.is_some() && joined.contents.is_empty(),
        })
    }

    /// Forgets the messages of a topic, or of one content topic on it, and the topic itself once nobody reads any of it.
    pub(crate) fn unsubscribe(&self, topic: &PubsubTopic, content_topic: Option<&str>) {
        let mut subscriptions = self.subscriptions.lock();
        let Some(joined) = subscriptions.get_mut(topic) else { return };
        match content_topic {
            Some(content_topic) => drop(joined.contents.remove(content_topic)),
            None => joined.recent = None,
        }
        if joined.recent.is_none() && joined.contents.is_empty() {
            subscriptions.remove(topic);
        }
    }

    /// Forgets a topic that the host has not joined, and all that was to be read of it.
    pub(crate) fn forget(&self, topic: &PubsubTopic) {
        self.subscriptions.lock().remove(topic);
    }

    /// The host has joined a topic.
    pub(crate) fn set_joined(&self, topic: &PubsubTopic) {
        if let Some(subscription) = self.subscriptions.lock().get_mut(topic) {
            subscription.joined = true;
        }
    }

    pub(crate) fn relays(&self, topic: &PubsubTopic) -> bool {
        self.subscriptions.lock().contains_key(topic)
    }

    pub(crate) fn topics(&self) -> Vec<PubsubTopic> {
        self.subscriptions.lock().keys().cloned().collect()
    }

    /// How many topics the host has not joined yet.
    pub(crate) fn not_joined(&self) -> usize {
        self.subscriptions.lock().values().filter(|subscription| !subscription.joined).count()
    }

    /// Shows an accepted message to all readers; `encoded_len` is for the statistics. A topic that was left meanwhile has
    /// no readers.
    pub(crate) fn deliver(&self, placed: Placed, encoded_len: usize) {
        let Placed { topic, message, hash } = placed;
        let received = Received { topic: topic.as_str().to_owned(), message, hash };
        {
            let mut subscriptions = self.subscriptions.lock();
            let Some(subscription) = subscriptions.get_mut(&topic) else { return };
            subscription.delivered.increment(1);
            let readers = subscription.contents.get_mut(&received.message.content_topic).into_iter();
            for recent in readers.chain(&mut subscription.recent) {
                recent.push(received.clone(), self.cache_capacity);
            }
        }
        self.metrics.message_size(encoded_len);
        // Without followers the message is shown to nobody.
        let _ = self.followers.send(received);
    }

    /// Takes the cached messages of a topic, or of one content topic on it, oldest first; `None` if that is not subscribed.
    pub(crate) fn take(&self, topic: &PubsubTopic, content_topic: Option<&str>) -> Option<Vec<Received>> {
        let mut subscriptions = self.subscriptions.lock();
        let joined = subscriptions.get_mut(topic)?;
        let recent = match content_topic {
            Some(content_topic) => joined.contents.get_mut(content_topic),
            None => joined.recent.as_mut(),
        };
        recent.map(Recent::take)
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<Received> {
        self.followers.subscribe()
    }
}
