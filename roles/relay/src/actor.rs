//! The relay's actor: it takes a message and carries out what [`policy`](crate::policy) or [`service`](crate::service)
//! decides. What waits for the host runs in a task beside it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wakumix_role_api::host::{GossipMessage, HostHandle, HostMessage, Verdict};
use wakumix_role_api::relay::{Published, RelayMessage};
use wakumix_role_api::{Actor, Context, InboundRequest, OnPanic, Requester, SendError};
use wakumix_waku::lightpush::StatusCode;
use wakumix_waku::{MessageHash, PubsubTopic, WakuMessage};

use crate::config::Config;
use crate::delivery::Delivery;
use crate::limiter::Limiter;
use crate::metrics::Metrics;
use crate::pending::{InFlight, Pending};
use crate::policy::{Policy, Publication, Refusal, peers_reached};
use crate::repeats::Repeats;
use crate::service::Version;

/// Verdicts that may wait for a free slot in the host's queue; further ones are dropped and counted.
const MAX_WAITING_VERDICTS: usize = 256;

/// What outlives the actor and is handed to each new instance.
pub(crate) struct Shared {
    pub(crate) host: HostHandle,
    pub(crate) delivery: Delivery,
    pub(crate) metrics: Metrics,
    pub(crate) in_flight: InFlight,
    pub(crate) repeats: Mutex<Repeats>,
}

pub(crate) struct RelayActor {
    /// Derivable from the configuration.
    policy: Policy,
    /// Ephemeral: after a restart all budgets are full.
    limiter: Limiter,
    /// The limiter's time 0.
    started: Instant,
    shared: Arc<Shared>,
}

/// Tasks that the actor may have: requests in progress (twice: a task ends a moment after its request), verdicts and
/// joining.
pub(crate) fn task_limit(config: &Config) -> usize {
    2 * config.max_in_flight + MAX_WAITING_VERDICTS + 1
}

impl RelayActor {
    pub(crate) fn new(config: &Config, shared: Arc<Shared>) -> Self {
        Self {
            policy: Policy::new(config),
            limiter: Limiter::new(config.lightpush_rate, config.lightpush_rate_mix),
            started: Instant::now(),
            shared,
        }
    }

    fn gossip(&self, gossip: GossipMessage, context: &Context<RelayMessage>) {
        let GossipMessage { id, source, topic, data } = gossip;
        let verdict = match self.policy.judge(&topic, &data, |topic| self.shared.delivery.relays(topic)) {
            Ok(placed) => {
                self.shared.delivery.deliver(placed, data.len());
                Verdict::Accept
            }
            Err(fault) => {
                self.shared.metrics.unusable(&fault);
                fault.verdict()
            }
        };
        self.shared.metrics.gossip(verdict);
        let host = &self.shared.host;
        let Err(SendError::Full(verdict)) = host.address().try_send(HostMessage::Verdict { id, source, verdict })
        else {
            return;
        };
        let host = host.clone();
        // A host that has stopped needs no verdict.
        let wait_for_room = async move { drop(host.address().send(verdict).await) };
        if context.spawn("relay_verdict", OnPanic::Report, wait_for_room).is_err() {
            self.shared.metrics.verdict_lost();
        }
    }

    fn lightpush(&mut self, request: InboundRequest, context: &Context<RelayMessage>) {
        let InboundRequest { protocol, from, body, respond, .. } = request;
        // Dropping `respond` closes the stream without a response.
        let Some(version) = Version::of(protocol) else { return };
        let shared = Arc::clone(&self.shared);
        let admitted = self.limiter.admit(from, self.started.elapsed());
        let Some(pending) = admitted.then(|| shared.in_flight.begin()).flatten() else {
            shared.metrics.response(version, &Err(Refusal::TooManyRequests));
            // Nobody reads the answer when the requester has disconnected, here and below.
            let _ = respond.send(version.too_many_requests());
            return;
        };
        shared.metrics.request(version, body.len());
        let (request_id, prepared) = match version.read(&body) {
            Ok(push) => (push.request_id, self.prepare(push.topic.as_deref(), push.message)),
            Err(unreadable) => (unreadable.request_id, Err(unreadable.refusal)),
        };
        let hash = prepared.as_ref().ok().map(|publication| publication.placed.hash);
        self.carry_out(prepared, pending, context, move |outcome| {
            let outcome = shared.as_the_client_knows_it(outcome, from, hash);
            shared.metrics.response(version, &outcome);
            let _ = respond.send(version.respond(request_id, &outcome));
        });
    }

    fn publish(
        &self,
        topic: Option<&str>,
        message: WakuMessage,
        reply: oneshot::Sender<Published>,
        context: &Context<RelayMessage>,
    ) {
        let Some(pending) = self.shared.in_flight.begin() else {
            // Nobody reads the reply when the caller has dropped its end, here and below.
            let _ = reply.send(published(Err(Refusal::TooManyRequests), None));
            return;
        };
        let prepared = self.prepare(topic, message);
        let hash = prepared.as_ref().ok().map(|publication| publication.placed.hash);
        self.carry_out(prepared, pending, context, move |outcome| {
            let _ = reply.send(published(outcome, hash));
        });
    }

    /// Publishes what was prepared, in a task, and answers; a refusal is answered at once.
    fn carry_out(
        &self,
        prepared: Result<Publication, Refusal>,
        pending: Pending,
        context: &Context<RelayMessage>,
        answer: impl FnOnce(Result<u32, Refusal>) + Send + 'static,
    ) {
        let publication = match prepared {
            Ok(publication) => publication,
            Err(refusal) => {
                answer(Err(refusal));
                return pending.answered();
            }
        };
        let shared = Arc::clone(&self.shared);
        let publishing = async move {
            answer(shared.publish(publication).await);
            pending.answered();
        };
        if context.spawn("relay_publish", OnPanic::Report, publishing).is_err() {
            // Cannot happen: `task_limit` is larger than the bound on requests in progress.
            tracing::error!("the relay has more tasks than it may have; a request stays without an answer");
        }
    }

    fn subscribe(
        &self,
        topic: &str,
        content_topic: Option<String>,
        reply: oneshot::Sender<Result<(), String>>,
        context: &Context<RelayMessage>,
    ) {
        let topic = match self.own_topic(topic) {
            Ok(topic) => topic,
            Err(problem) => return drop(reply.send(Err(problem))),
        };
        let shared = Arc::clone(&self.shared);
        let Some(pending) = shared.in_flight.begin() else {
            return drop(reply.send(Err("the relay has too many requests in progress; try again".to_owned())));
        };
        // From here on gossip of the topic is accepted: it may arrive before the host's confirmation.
        let is_new = match shared.delivery.subscribe(topic.clone(), content_topic) {
            Ok(is_new) => is_new,
            Err(error) => {
                let _ = reply.send(Err(error.to_string()));
                return pending.answered();
            }
        };
        if !is_new {
            let _ = reply.send(Ok(()));
            return pending.answered();
        }
        // The command is queued here and not in the task, so that it stays before a later one to leave.
        let (confirm, confirmed) = oneshot::channel();
        let command = HostMessage::Subscribe { topic: topic.as_str().to_owned(), reply: confirm };
        if let Err(error) = shared.host.address().try_send(command) {
            shared.delivery.forget(&topic);
            let _ = reply.send(Err(format!("the host cannot join {topic}: {error}")));
            return pending.answered();
        }
        let confirmation = async move {
            let joined = confirmed.await.unwrap_or(false);
            if joined {
                shared.delivery.set_joined(&topic);
            } else {
                shared.delivery.forget(&topic);
            }
            let _ = reply.send(if joined { Ok(()) } else { Err("the host runs no gossipsub".to_owned()) });
            pending.answered();
        };
        if context.spawn("relay_subscribe", OnPanic::FailOwner, confirmation).is_err() {
            // Cannot happen: `task_limit` is larger than the bound on requests in progress.
            tracing::error!("the relay has more tasks than it may have; a subscription stays unconfirmed");
        }
    }

    /// Leaving a topic that is not subscribed succeeds, as in nwaku: a repeated request is not an error.
    fn unsubscribe(&self, topic: &str, content_topic: Option<&str>) -> Result<(), String> {
        let topic = self.own_topic(topic)?;
        if self.shared.delivery.is_last(&topic, content_topic) {
            let command = HostMessage::Unsubscribe { topic: topic.as_str().to_owned() };
            self.shared
                .host
                .address()
                .try_send(command)
                .map_err(|error| format!("the host cannot leave {topic}: {error}"))?;
        }
        self.shared.delivery.unsubscribe(&topic, content_topic);
        Ok(())
    }

    fn own_topic(&self, topic: &str) -> Result<PubsubTopic, String> {
        self.policy.own_topic(topic).ok_or_else(|| format!("`{topic}` is not a shard topic of this node's cluster"))
    }

    fn prepare(&self, topic: Option<&str>, message: WakuMessage) -> Result<Publication, Refusal> {
        self.policy.prepare(topic, message, unix_nanoseconds(), |topic| self.shared.delivery.relays(topic))
    }
}

impl Shared {
    /// Publishes, and shows the message to local readers too if it left: the publisher receives its own message
    /// (`spec/waku.md §2.1`). nwaku shows it even when no peer took it; here a client that pushes it again after
    /// a refusal does not make it appear twice.
    async fn publish(&self, publication: Publication) -> Result<u32, Refusal> {
        let Publication { placed, data } = publication;
        let len = data.len();
        let peers = peers_reached(self.host.publish(placed.topic.as_str().to_owned(), data).await)?;
        self.delivery.deliver(placed, len);
        Ok(peers)
    }

    /// The outcome as the client sees it: a repeated push that succeeded before succeeds again.
    fn as_the_client_knows_it(
        &self,
        outcome: Result<u32, Refusal>,
        from: Requester,
        hash: Option<MessageHash>,
    ) -> Result<u32, Refusal> {
        let (Requester::Peer(client), Some(hash)) = (from, hash) else { return outcome };
        let (mut repeats, now) = (self.repeats.lock(), Instant::now());
        match outcome {
            Ok(peers) => repeats.published(&client, &hash, peers, now),
            Err(Refusal::Duplicate) => return repeats.reached(&client, &hash, now).ok_or(Refusal::Duplicate),
            Err(_) => {}
        }
        outcome
    }

    /// Joins every topic that is subscribed.
    async fn join_all(self: Arc<Self>) {
        for topic in self.delivery.topics() {
            if self.host.subscribe(topic.as_str().to_owned()).await {
                self.delivery.set_joined(&topic);
            } else {
                tracing::warn!(%topic, "the host did not join the topic: it runs no gossipsub or is stopping");
            }
        }
    }
}

impl Actor for RelayActor {
    type Message = RelayMessage;

    const NAME: &'static str = "relay";

    fn started(&mut self, context: &Context<RelayMessage>) {
        let shared = Arc::clone(&self.shared);
        if context.keep("relay_join", move || Arc::clone(&shared).join_all()).is_err() {
            tracing::error!("the relay has no task to join its topics");
        }
    }

    fn handle(&mut self, message: RelayMessage, context: &Context<RelayMessage>) {
        // Replies whose caller has gone are dropped.
        match message {
            RelayMessage::Gossip(gossip) => self.gossip(gossip, context),
            RelayMessage::Lightpush(request) => self.lightpush(request, context),
            RelayMessage::Publish { topic, message, reply } => {
                self.publish(topic.as_deref(), message, reply, context);
            }
            RelayMessage::Subscribe { topic, content_topic, reply } => {
                self.subscribe(&topic, content_topic, reply, context);
            }
            RelayMessage::Unsubscribe { topic, content_topic, reply } => {
                let _ = reply.send(self.unsubscribe(&topic, content_topic.as_deref()));
            }
            RelayMessage::Messages { topic, content_topic, reply } => {
                let topic = self.policy.own_topic(&topic);
                let take = |topic| self.shared.delivery.take(&topic, content_topic.as_deref());
                let _ = reply.send(topic.and_then(take));
            }
            RelayMessage::Follow(reply) => drop(reply.send(self.shared.delivery.follow())),
        }
    }

    /// Waits until every request in progress has its answer.
    fn drain(&mut self, _deadline: Instant, _context: &Context<RelayMessage>) -> BoxFuture<'static, ()> {
        self.shared.in_flight.clone().idle().boxed()
    }
}

fn published(outcome: Result<u32, Refusal>, hash: Option<MessageHash>) -> Published {
    match outcome {
        Ok(peers) => {
            Published { status: StatusCode::SUCCESS.0, description: None, relay_peer_count: Some(peers), hash }
        }
        Err(refusal) => Published {
            status: refusal.status().0,
            description: Some(refusal.to_string()),
            relay_peer_count: None,
            hash,
        },
    }
}

/// The wall clock; at least 1 because a timestamp of 0 means none.
fn unix_nanoseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX).max(1)
}
