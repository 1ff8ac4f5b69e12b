//! Gossipsub as the Waku fleet runs it (`spec/waku.md §2`).

mod behaviour;
mod colocation;
mod gate;
mod handler;
mod seen;
mod slow;

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use libp2p::{
    PeerId,
    gossipsub::{
        Behaviour as LibraryBehaviour, Config, ConfigBuilder, IdentTopic, IdentityTransform,
        MaxCountSubscriptionFilter, Message, MessageAcceptance, MessageAuthenticity, MessageId, MetricsConfig,
        PeerScoreParams, PeerScoreThresholds, PublishError, TopicHash, TopicScoreParams, TopicSubscriptionFilter,
        ValidationMode, Version,
    },
    metrics::Registry,
};
use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use wakumix_role_api::host::{MESH_HIGH, MESH_LOW, PeerDetails, PublishFailure, Verdict};
use wakumix_waku::{
    PubsubTopic, RELAY_PROTOCOL,
    gossip::{MAX_FRAME_LEN, MESSAGE_ID_LEN, frame_len},
    message_id,
};

use self::gate::{DUPLICATES_KEPT, Gate};
pub(crate) use self::{behaviour::Behaviour, slow::SlowPeers};
use crate::{HostConfig, HostError, metrics::GossipMetrics};

/// Bytes of a message id in a list, its key and length included.
const LISTED_ID_LEN: usize = MESSAGE_ID_LEN + 2;

/// Message ids that nodes of the network put into one list: nim-libp2p's `IHaveMaxLength`. They are 170 000 bytes, more than
/// these nodes read from each other with default settings; one with a larger `max-msg-size` sends them.
const MAX_LISTED_IDS_READ: usize = 5000;

/// Bytes of lists and subscriptions that are read in one frame: the longest list of one topic, and 1 KiB for what lies around.
/// Above that the library ends the stream, and the writer does not notice. 1024 subscriptions take 25 KiB.
const MAX_CONTROL_LEN_READ: usize = MAX_LISTED_IDS_READ * LISTED_ID_LEN + 1024;

/// Bytes that the library buffers to read a frame; it reads 8 KiB at a time, and counts the start of the next frame as a part
/// of the first.
const MAX_BUFFERED: usize = MAX_CONTROL_LEN_READ + 2 * 8192;

/// Message ids that this node puts into a list, of what it has or wants: 16 320 bytes. Nim nodes read 150 KiB, others of this
/// library 16 KiB. Enough for all ids of three heartbeats at 160 messages per second; from there on each peer is told another
/// part of them each time. Splitting longer lists would be the library's to do.
const MAX_LISTED_IDS_SENT: usize = 480;

/// Peers outside the mesh that are sent lists with each heartbeat, where the network's nodes choose 6. An id is listed for
/// three heartbeats: of eight such peers, one would never hear of (1 − 6/8)³ = 1.6 % of the messages, and in a small network
/// nobody else tells it.
const GOSSIP_LAZY: usize = 12;

/// Messages that are read in one frame: all that this node may ask for in one list, which Nim nodes answer in one frame.
const MAX_MESSAGES_READ: usize = MAX_LISTED_IDS_SENT + 32;

/// Messages that wait for one peer. Above what it may ask for at once, or answers would be lost; 1024 of the largest are 157 MB,
/// of 4 kB 4 MB. Overflow: the newest is not sent to it, and after ten heartbeats of that it is disconnected.
const QUEUE_LEN: usize = 1024;

/// How long a message waits for a peer; then it is not sent any more. The library gives those of others one second, which a node
/// that is flooded may take for an honest message.
const QUEUE_TIME: Duration = Duration::from_secs(5);

/// Topics that one peer may subscribe: all shards of a cluster (`spec/waku.md §2.5`).
const MAX_TOPICS_PER_PEER: usize = 1024;

/// Below this score a peer gets no messages by flood publishing (`spec/waku.md §2.2`).
const PUBLISH_THRESHOLD: f64 = -1000.0;

/// Below this score nwaku disconnects a peer (`spec/waku.md §2.2`, "disconnect bad peers").
const GRAYLIST_THRESHOLD: f64 = -10_000.0;

type Filter = MaxCountSubscriptionFilter<ShardTopics>;

/// Lets peers subscribe the shards of our cluster only. gossipsub keeps the names of their topics and shows some of them
/// as metrics labels: names of any length and content would be theirs to choose.
pub(crate) struct ShardTopics {
    cluster: u16,
}

impl TopicSubscriptionFilter for ShardTopics {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        PubsubTopic::parse(topic.as_str()).is_ok_and(|topic| topic.cluster() == self.cluster)
    }
}

/// The library's behaviour.
type Gossipsub = LibraryBehaviour<IdentityTransform, Filter>;

/// Builds the behaviour.
pub(crate) fn behaviour(
    host: &HostConfig,
    registry: &Mutex<Registry>,
    metrics: GossipMetrics,
) -> Result<Behaviour, HostError> {
    let filter = MaxCountSubscriptionFilter {
        filter: ShardTopics { cluster: host.cluster },
        max_subscribed_topics: MAX_TOPICS_PER_PEER,
        max_subscriptions_per_request: MAX_TOPICS_PER_PEER,
    };
    let problem = |reason: String| HostError::setup("gossipsub", &reason);
    let mut behaviour =
        Gossipsub::new_with_subscription_filter(MessageAuthenticity::Anonymous, config().map_err(problem)?, filter)
            .map_err(|reason| problem(reason.to_owned()))?;
    {
        let mut registry = registry.lock();
        let registry = registry.sub_registry_with_prefix("libp2p_gossipsub");
        behaviour = behaviour.with_metrics(registry, MetricsConfig::default());
    }
    behaviour.with_peer_score(score_params(), thresholds()).map_err(problem)?;
    Ok(Behaviour::new(behaviour, Gate::new(&host.gossip, metrics), host.score_colocation))
}

fn config() -> Result<Config, String> {
    ConfigBuilder::default()
        .protocol_id(RELAY_PROTOCOL, Version::V1_1)
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message: &Message| MessageId::from(message_id(&message.data).as_ref()))
        .validate_messages()
        .max_transmit_size(MAX_BUFFERED)
        .max_publish_messages(MAX_MESSAGES_READ)
        .max_control_message_size(MAX_CONTROL_LEN_READ)
        .max_control_messages_sent(MAX_LISTED_IDS_SENT)
        .mesh_n(6)
        .mesh_n_low(MESH_LOW)
        .mesh_n_high(MESH_HIGH)
        .retain_scores(6)
        .mesh_outbound_min(3)
        .gossip_lazy(GOSSIP_LAZY)
        .heartbeat_interval(Duration::from_secs(1))
        // The mesh forms with the first heartbeat; the library's pause of 5 s only delays readiness.
        .heartbeat_initial_delay(Duration::ZERO)
        .history_length(6)
        .history_gossip(3)
        .fanout_ttl(Duration::from_secs(60))
        .duplicate_cache_time(DUPLICATES_KEPT)
        .gossip_factor(0.25)
        .flood_publish(true)
        .prune_backoff(Duration::from_secs(60))
        .unsubscribe_backoff(Duration::from_secs(5))
        .idontwant_message_size_threshold(512)
        .connection_handler_queue_len(QUEUE_LEN)
        .forward_queue_duration(QUEUE_TIME)
        .publish_queue_duration(QUEUE_TIME)
        .build()
        .map_err(|error| error.to_string())
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -100.0,
        publish_threshold: PUBLISH_THRESHOLD,
        graylist_threshold: GRAYLIST_THRESHOLD,
        accept_px_threshold: 0.0,
        opportunistic_graft_threshold: 0.0,
    }
}

fn score_params() -> PeerScoreParams {
    PeerScoreParams {
        topics: HashMap::new(),
        topic_score_cap: 0.0,
        // What `Colocation` finds; the library's own factor counts connections that say nothing and has no end.
        app_specific_weight: 1.0,
        ip_colocation_factor_weight: 0.0,
        // The library counts every id that was asked for and has not come after 3 s, which the network's nodes do not. A node
        // that reads slowly, because it is flooded or has other work, would blame its honest peers for that and disconnect
        // them. Who breaks promises wins nothing: another peer is asked after 3 s.
        behaviour_penalty_weight: 0.0,
        // The network's nodes have no such rule. It counts every message that found the queue full, so a burst of five
        // thousand would silence this node towards a sound peer; one whose queue stays full is disconnected instead.
        slow_peer_weight: 0.0,
        decay_interval: Duration::from_secs(12),
        decay_to_zero: 0.01,
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}

fn topic_params() -> TopicScoreParams {
    TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 10.0,
        first_message_deliveries_weight: 1.0,
        first_message_deliveries_decay: 0.5,
        first_message_deliveries_cap: 10.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -100.0,
        invalid_message_deliveries_decay: 0.5,
        ..TopicScoreParams::default()
    }
}

/// Joins a topic with nwaku's scores.
pub(crate) fn subscribe(behaviour: &mut Behaviour, topic: &str) -> bool {
    let topic = IdentTopic::new(topic);
    // Scoring is always on, so this cannot fail.
    let _ = behaviour.library.set_topic_params(topic.clone(), topic_params());
    behaviour.library.subscribe(&topic).is_ok()
}

/// Leaves a topic.
pub(crate) fn unsubscribe(behaviour: &mut Behaviour, topic: &str) {
    behaviour.library.unsubscribe(&IdentTopic::new(topic));
}

/// Messages that no queue had room for; the oldest goes. As many as a busy service refuses in some seconds.
const MAX_UNSENT: usize = 1024;

/// Own messages that did not get away. For the library they are published all the same, and the same bytes a duplicate: who
/// tries again would be told that the message is on its way.
#[derive(Debug, Default)]
pub(crate) struct Unsent(VecDeque<[u8; MESSAGE_ID_LEN]>);

impl Unsent {
    /// Publishes; to how many peers.
    pub(crate) fn publish(
        &mut self,
        behaviour: &mut Behaviour,
        topic: &str,
        data: Vec<u8>,
    ) -> Result<usize, PublishFailure> {
        // The library's own limit is that of reading.
        if frame_len(topic, data.len()) > MAX_FRAME_LEN {
            return Err(PublishFailure::TooLarge);
        }
        let topic = IdentTopic::new(topic).hash();
        let (id, recipients) = (message_id(&data), flood_recipients(behaviour, &topic));
        let fingerprint = behaviour.gate.fingerprint(&data);
        let published = behaviour.library.publish(topic, data);
        if matches!(published, Err(PublishError::Duplicate)) && self.0.contains(&id) {
            return Err(PublishFailure::QueuesFull);
        }
        self.0.retain(|unsent| *unsent != id);
        if published.is_ok() {
            behaviour.gate.published(fingerprint);
        }
        published.map(|_| recipients).map_err(|error| match error {
            PublishError::Duplicate => PublishFailure::Duplicate,
            PublishError::NoPeersSubscribedToTopic => PublishFailure::NoPeers,
            PublishError::MessageTooLarge => PublishFailure::TooLarge,
            PublishError::AllQueuesFull(_) => {
                self.add(id);
                PublishFailure::QueuesFull
            }
            other => PublishFailure::Other(other.to_string()),
        })
    }

    fn add(&mut self, id: [u8; MESSAGE_ID_LEN]) {
        if self.0.len() >= MAX_UNSENT {
            self.0.pop_front();
        }
        self.0.push_back(id);
    }
}

/// With flood publishing an own message goes to every subscriber whose score allows it.
fn flood_recipients(behaviour: &Behaviour, topic: &TopicHash) -> usize {
    let takes = |peer: &PeerId| behaviour.library.peer_score(peer).is_none_or(|score| score >= PUBLISH_THRESHOLD);
    behaviour.library.all_peers().filter(|(peer, topics)| topics.contains(&topic) && takes(peer)).count()
}

/// Passes on, or drops, a message that was validated.
pub(crate) fn judge(behaviour: &mut Behaviour, id: Vec<u8>, source: &PeerId, verdict: Verdict) {
    let acceptance = match verdict {
        Verdict::Accept => MessageAcceptance::Accept,
        Verdict::Reject => MessageAcceptance::Reject,
        Verdict::Ignore => MessageAcceptance::Ignore,
    };
    behaviour.library.report_message_validation_result(&MessageId::from(id), source, acceptance);
}

/// Peers to disconnect.
pub(crate) fn bad_peers(behaviour: &Behaviour) -> Vec<PeerId> {
    let is_bad = |peer: &PeerId| behaviour.library.peer_score(peer).is_some_and(|score| score < GRAYLIST_THRESHOLD);
    behaviour.library.all_peers().map(|(peer, _)| *peer).filter(is_bad).collect()
}

/// Mesh peers of every topic that this node has joined.
pub(crate) fn mesh_peers(behaviour: &Behaviour) -> Vec<(String, usize)> {
    let library = &behaviour.library;
    library.topics().map(|topic| (topic.to_string(), library.mesh_peers(topic).count())).collect()
}

/// Adds to what is known of peers which topics they have subscribed to, in which mesh they are, and their scores.
pub(crate) fn describe<'p>(behaviour: &Behaviour, peers: impl Iterator<Item = &'p mut PeerDetails>) {
    let library = &behaviour.library;
    let subscribed: HashMap<_, _> = library.all_peers().collect();
    for known in peers {
        let names = |topics: &[&TopicHash]| topics.iter().map(ToString::to_string).collect();
        known.topics = subscribed.get(&known.peer).map(|topics| names(topics)).unwrap_or_default();
        let in_mesh = |topic: &&TopicHash| library.mesh_peers(topic).any(|peer| *peer == known.peer);
        known.mesh = library.topics().filter(in_mesh).map(ToString::to_string).collect();
        known.score = library.peer_score(&known.peer);
    }
}

/// The peers that are in the mesh of any topic; one in several is named again.
pub(crate) fn peers_in_mesh(behaviour: &Behaviour) -> impl Iterator<Item = PeerId> {
    let library = &behaviour.library;
    library.topics().flat_map(|topic| library.mesh_peers(topic)).copied()
}

/// The gauges of the Nim library on which test harnesses wait (`spec/waku.md §2.6`).
#[derive(Clone, Debug, Default)]
pub(crate) struct MeshHealth {
    healthy: Gauge,
    low: Gauge,
    none: Gauge,
}

impl MeshHealth {
    /// Registers them under their usual names.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let health = Self::default();
        let registry = registry.sub_registry_with_prefix("libp2p_gossipsub");
        registry.register("healthy_peers_topics", "Topics with enough mesh peers", health.healthy.clone());
        registry.register("low_peers_topics", "Topics with some, but too few mesh peers", health.low.clone());
        registry.register("no_peers_topics", "Topics without mesh peers", health.none.clone());
        health
    }

    /// Counts topics by the size of their mesh.
    pub(crate) fn record(&self, mesh: &[(String, usize)]) {
        let count = |wanted: fn(usize) -> bool| {
            i64::try_from(mesh.iter().filter(|(_, peers)| wanted(*peers)).count()).unwrap_or(i64::MAX)
        };
        self.healthy.set(count(|peers| peers >= MESH_LOW));
        self.low.set(count(|peers| (1..MESH_LOW).contains(&peers)));
        self.none.set(count(|peers| peers == 0));
    }
}
