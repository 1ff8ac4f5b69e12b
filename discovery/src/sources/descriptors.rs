//! Signed mix descriptors, fetched from any node and served by every node.
//!
//! Every node answers [`descriptor::PROTOCOL`], an ordinary request protocol: the host offers it on all its transports,
//! WebSocket included, so a browser learns the pool from whatever node it is connected to. A node that mixes or serves
//! anything answers with its own descriptor, too. A node that only sends has none: who sends is nobody's business.
//!
//! What is asked for depends on what is known and never on what is sent: random samples until they bring nothing new, then
//! less and less often; connected peers for their own, again and again, for roles become ready after the connection; mix
//! nodes whose key is not known or told in two ways, whose descriptor has reached half its life or told of a key that has
//! taken over since, and those of the pool of which there is none, first themselves, and if they do not answer, anybody
//! else. Samples are drawn evenly, so that a node spreads however often it answers; of nodes that this one has not reached they
//! hold a quarter at most, and of those that were tried in vain nothing.

mod asker;
mod check;
mod own;
mod server;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use check::{OwnAnswer, OwnWord, own_word};
pub(crate) use own::RENEW_AFTER as LONGEST_RENEWAL;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use rand::rngs::StdRng;
use tokio::time::Instant;
use wakumix_mix::MixNode;
use wakumix_records::descriptor::{self, Limits, MAX_REQUEST_LEN, MAX_RESPONSE_LEN};
use wakumix_role_api::{
    Service,
    host::{HostHandle, ReadRule, RequestFailure},
};
use wakumix_sphinx::Weaknesses;
use wakumix_waku::frame;

use self::{
    asker::{Ask, Asked, Asker, Outcome},
    check::Reader,
    server::{Clock, Server},
    store::DescriptorStore,
};
use super::protocol_peers::ProtocolPeers;
use crate::{
    clock::Now,
    entry::PeerAddress,
    peer_report::{SourceName, UnixSeconds},
    source::{Source, SourceContext},
};

/// Requests that are open at a time: a dead node holds one for [`TIMEOUT`], so a pool with a hundred of them is through in
/// two minutes.
const PARALLEL: usize = 8;
/// One exchange, dialling included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks at what is known; samples and key searches are planned by it.
const REFRESH: Duration = Duration::from_secs(15);
/// The same when something new was reported.
const REFRESH_AFTER_NEWS: Duration = Duration::from_secs(1);
/// Between two lines about another process with this node's identity.
const TWIN_PAUSE: Duration = Duration::from_secs(60 * 60);
/// Time between two decisions on which peers to ask.
const TICK: Duration = Duration::from_secs(1);

/// The settings of descriptors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescriptorsConfig {
    /// Nodes to ask first, besides those that are known.
    pub peers: Vec<PeerAddress>,
    /// How long this node holds a packet at most, as it tells others; zero: it does not tell.
    pub longest_hold: Duration,
    /// How long a key that this node has replaced still opens packets, as it tells others.
    pub key_overlap: Duration,
}

/// Fetches, checks, reports and serves descriptors.
#[derive(Clone)]
pub(crate) struct DescriptorsSource {
    config: DescriptorsConfig,
    weaknesses: Weaknesses,
    server: Arc<Server>,
    clock: Clock,
}

impl DescriptorsSource {
    /// The source with these settings.
    pub(crate) fn new(config: DescriptorsConfig, weaknesses: Weaknesses) -> Self {
        Self::with_clock(config, weaknesses, Arc::new(|| Now::read().unix))
    }

    fn with_clock(config: DescriptorsConfig, weaknesses: Weaknesses, clock: Clock) -> Self {
        let server = Arc::new(Server::new(rand::make_rng(), Arc::clone(&clock)));
        Self { config, weaknesses, server, clock }
    }

    async fn follow(self, context: SourceContext) {
        self.server.count_in(&context.telemetry);
        let client = Client {
            asker: Asker::new(context.local.borrow().peer, self.config.peers.clone(), Instant::now()),
            protocol_peers: ProtocolPeers::new(descriptor::PROTOCOL, context.reports.peer_events()),
            store: Arc::default(),
            refresh_at: Instant::now(),
            warned_of_twin: None,
            server: Arc::clone(&self.server),
            weaknesses: self.weaknesses,
            clock: Arc::clone(&self.clock),
            rng: rand::make_rng(),
            context: context.clone(),
        };
        // Mixers admit packets by the room in their queues and not by a rate, so there is none to tell.
        let longest_hold_ms = u32::try_from(self.config.longest_hold.as_millis()).unwrap_or(u32::MAX);
        let key_overlap_s = u32::try_from(self.config.key_overlap.as_secs()).unwrap_or(u32::MAX);
        let limits = Limits { packets_per_second: 0, longest_hold_ms, key_overlap_s };
        tokio::join!(own::keep(context, limits, self.server, self.clock), client.run());
    }
}

impl Source for DescriptorsSource {
    fn name(&self) -> SourceName {
        SourceName::Descriptors
    }

    fn services(&self) -> Vec<Service> {
        let server = Arc::clone(&self.server);
        vec![Service::new(descriptor::PROTOCOL, MAX_REQUEST_LEN, move |request| server.answer(request))]
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        self.clone().follow(context).boxed()
    }
}

impl std::fmt::Debug for DescriptorsSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DescriptorsSource").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The asking side; everything in it is derivable or ephemeral.
struct Client {
    asker: Asker,
    protocol_peers: ProtocolPeers,
    store: Arc<DescriptorStore>,
    refresh_at: Instant,
    /// When it was said last that another process has this node's identity.
    warned_of_twin: Option<Instant>,
    server: Arc<Server>,
    weaknesses: Weaknesses,
    clock: Clock,
    rng: StdRng,
    context: SourceContext,
}

impl Client {
    async fn run(mut self) {
        let mut open = FuturesUnordered::new();
        loop {
            self.refresh().await;
            let protocol_peers =
                Asked { connected: self.protocol_peers.known().to_vec(), reached: self.protocol_peers.reached() };
            while open.len() < PARALLEL
                && let Some(ask) = self.asker.next(Instant::now(), &protocol_peers, &self.store, &mut self.rng)
            {
                open.push(exchange(self.context.host.clone(), ask));
            }
            tokio::select! {
                Some((ask, answer)) = open.next() => {
                    if !self.take(&ask, answer).await {
                        return;
                    }
                }
                () = self.protocol_peers.follow(TICK, &mut self.rng) => {}
            }
        }
    }

    async fn refresh(&mut self) {
        if Instant::now() < self.refresh_at {
            return;
        }
        let known = self.context.reports.known().await;
        let pool = self.context.directory.snapshot().mix_nodes.iter().map(MixNode::peer).collect();
        let now = Now { unix: (self.clock)(), at: Instant::now() };
        self.store = Arc::new(DescriptorStore::new(known, &pool, now.unix));
        self.server.show(Arc::clone(&self.store));
        self.asker.plan(now, &self.store, &mut self.rng);
        self.refresh_at = Instant::now() + REFRESH;
    }

    /// Says when another process runs with this node's identity: packets and replies for the one come to the other.
    fn look_for_twin(&mut self, issued: UnixSeconds, descriptor: &Vec<u8>) {
        let now = Instant::now();
        let may_warn = self.warned_of_twin.is_none_or(|last| now.saturating_duration_since(last) >= TWIN_PAUSE);
        if may_warn && self.server.is_of_another_process(issued, descriptor) {
            self.warned_of_twin = Some(now);
            tracing::warn!(
                "another process runs with this node's identity, and each gets packets of the other; give each its own nodekey"
            );
        }
    }

    /// Reports what an answer brought; false when discovery has stopped.
    async fn take(&mut self, ask: &Ask, answer: Result<Vec<u8>, RequestFailure>) -> bool {
        self.context.reports.looked_up(answer.is_ok());
        let (outcome, reports) = match answer {
            Ok(bytes) => {
                let now = (self.clock)();
                let is_reached = self.protocol_peers.has_reached(&ask.peer);
                let reader =
                    Reader { me: self.asker.me(), now, is_reached, store: &self.store, weaknesses: self.weaknesses };
                let checked = reader.read(&bytes, ask).await;
                for (issued, descriptor) in &checked.of_me {
                    self.look_for_twin(*issued, descriptor);
                }
                for (refusal, count) in checked.refused {
                    self.context.reports.refuse(refusal, count);
                }
                (Outcome::Answered { told: checked.told, news: checked.news }, checked.reports)
            }
            Err(RequestFailure::Busy | RequestFailure::Stopped) => (Outcome::NotAsked, Vec::new()),
            Err(RequestFailure::Unsupported) => (Outcome::Unsupported, Vec::new()),
            Err(_) => (Outcome::Failed, Vec::new()),
        };
        self.asker.note(ask, &outcome, Instant::now(), &mut self.rng);
        if reports.is_empty() {
            return true;
        }
        self.refresh_at = self.refresh_at.min(Instant::now() + REFRESH_AFTER_NEWS);
        self.context.reports.report(reports).await
    }
}

/// One request and what came of it.
async fn exchange(host: HostHandle, ask: Ask) -> (Ask, Result<Vec<u8>, RequestFailure>) {
    let bytes = frame::encode(&ask.request.encode());
    let read = ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN };
    let answer = host.request(ask.peer, ask.addresses.clone(), descriptor::PROTOCOL, bytes, read, TIMEOUT).await;
    (ask, answer)
}
