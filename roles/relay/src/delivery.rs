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

/// A subscribed topic. A cluster has 1024, so the map of them needs no bound of its own.
struct Subscription {
    /// The host has confirmed that it joined.
    joined: bool,
    /// Newest last, at most the cache capacity; overflow drops the oldest.
    recent: VecDeque<Received>,
    delivered: Counter,
}

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

    /// Starts to keep a topic; false if it is kept already.
    pub(crate) fn subscribe(&self, topic: PubsubTopic) -> bool {
        let mut subscriptions = self.subscriptions.lock();
        if subscriptions.contains_key(&topic) {
            return false;
        }
        let delivered = self.metrics.delivered(topic.as_str());
        subscriptions.insert(topic, Subscription { joined: false, recent: VecDeque::new(), delivered });
        true
    }

    /// Forgets a topic and its messages; false if it was not kept.
    pub(crate) fn unsubscribe(&self, topic: &PubsubTopic) -> bool {
        self.subscriptions.lock().remove(topic).is_some()
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
            if self.cache_capacity > 0 {
                if subscription.recent.len() == self.cache_capacity {
                    subscription.recent.pop_front();
                }
                subscription.recent.push_back(received.clone());
            }
        }
        self.metrics.message_size(encoded_len);
        // Without followers the message is shown to nobody.
        let _ = self.followers.send(received);
    }

    /// Takes the cached messages of a topic, oldest first; `None` if it is not subscribed.
    pub(crate) fn take(&self, topic: &PubsubTopic) -> Option<Vec<Received>> {
        let recent = std::mem::take(&mut self.subscriptions.lock().get_mut(topic)?.recent);
        Some(recent.into())
    }

    pub(crate) fn follow(&self) -> broadcast::Receiver<Received> {
        self.followers.subscribe()
    }
}
