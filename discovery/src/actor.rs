//! The shell: takes findings, publishes snapshots, has nodes checked, tells the host whom to stay connected to.

mod metrics;
mod tasks;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::Keypair;
use multiaddr::Multiaddr;
use tokio::{
    sync::{broadcast, oneshot, watch},
    time::Instant,
};
use wakumix_role_api::{
    Actor, Context, DirectoryPublisher, DirectoryReader,
    host::{HostHandle, PeerEvent},
};
use wakumix_telemetry::Telemetry;

use crate::{
    book::{self, Book, CheckOutcome, Rules},
    cache::{self, CacheFile},
    clock::Now,
    entry::PeerAddress,
    finding::{Finding, Refusal, Remembered, SourceName},
    local::LocalRecord,
    messages::DiscoveryMessage,
    own_record::OwnRecord,
    pool::{self, Diversity, PARALLEL_CHECKS, Schedule, View},
    source::{Findings, Source, SourceContext},
};

pub(crate) use metrics::Metrics;

/// Between two looks at the book for what only time changes.
const BEAT: Duration = Duration::from_millis(250);
/// Between two snapshots that show nothing but who was reached.
const SHOW_PACE: Duration = Duration::from_millis(50);
/// How old the answer to who asks what is known may be: servers ask for each request.
const KNOWN_PACE: Duration = Duration::from_secs(1);

/// What every instance of the actor is made of.
pub(crate) struct Parts {
    pub(crate) rules: Rules,
    pub(crate) max_connected: usize,
    /// The operator's peers to stay connected to and entries, those of the command line and of calls included.
    pub(crate) written: Mutex<Written>,
    pub(crate) cache: Option<Arc<CacheFile>>,
    pub(crate) sources: Vec<Box<dyn Source>>,
    pub(crate) publisher: DirectoryPublisher,
    pub(crate) reader: DirectoryReader,
    pub(crate) host: HostHandle,
    pub(crate) identity: Keypair,
    pub(crate) local: watch::Receiver<Arc<LocalRecord>>,
    pub(crate) own_record: OwnRecord,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) telemetry: Telemetry,
    pub(crate) metrics: Metrics,
}

/// What operators have added while the node runs, and must survive a panic. As long as what they call.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) static_peers: Vec<PeerAddress>,
    pub(crate) entries: Vec<Finding>,
}

impl Parts {
    /// Sources, checks, the own record, and the tasks of [`tasks`] with the beat.
    pub(crate) fn task_limit(&self) -> usize {
        self.sources.len() + PARALLEL_CHECKS + 6
    }

    /// Whether some source looks for nodes that neither the operator nor an earlier run has named.
    fn is_searching(&self) -> bool {
        self.sources.iter().any(|source| !matches!(source.name(), SourceName::Static | SourceName::Cache))
    }

    fn with_written<T>(&self, work: impl FnOnce(&mut Written) -> T) -> T {
        // A panic under the lock leaves lists that are whole.
        work(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Discovery.
pub(crate) struct Discovery {
    parts: Arc<Parts>,
    /// Derivable: sources tell again, checks reach again; until then the snapshot that was published last stands in.
    book: Book,
    /// Ephemeral.
    schedule: Schedule,
    /// Ephemeral: checks on their way.
    checks: usize,
    /// Derivable: from the book. Read by the task that talks to the host.
    connections: watch::Sender<Vec<Multiaddr>>,
    /// Derivable: what was published last and when, unshuffled.
    shown: View,
    shown_at: Option<Instant>,
    /// Ephemeral: the book may show something else than what was published last.
    is_stale: bool,
    /// Derivable: the answer to [`DiscoveryMessage::Known`], when it was made, whether the book has changed since.
    known: Option<(Arc<[Finding]>, Instant)>,
    has_news: bool,
    /// Ephemeral: whether the operator has been told that the book is full.
    has_warned: bool,
}

impl Discovery {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let now = Now::read();
        let mut discovery = Self {
            book: Book::new(parts.rules.clone()),
            schedule: Schedule::new(now.at),
            checks: 0,
            connections: watch::Sender::new(Vec::new()),
            shown: View::default(),
            shown_at: None,
            is_stale: true,
            known: None,
            has_news: true,
            has_warned: false,
            parts,
        };
        let before = cache::of_snapshot(&discovery.parts.reader.snapshot(), now.unix);
        discovery.remember(SourceName::Cache, before, now);
        let entries = discovery.parts.with_written(|written| written.entries.clone());
        discovery.take(SourceName::Static, entries, now);
        discovery
    }

    /// Takes a batch; what breaks a rule is counted and leaves the rest alone.
    fn take(&mut self, source: SourceName, findings: Vec<Finding>, now: Now) {
        let mut rng = rand::rng();
        let mut taken = 0;
        for finding in findings {
            match self.book.report(source, finding, now, &mut rng) {
                Ok(is_news) => {
                    taken += 1;
                    self.is_stale |= is_news;
                    self.has_news |= is_news;
                }
                Err(refusal) => self.refused(source, refusal, 1),
            }
        }
        self.parts.metrics.taken(source, taken);
        self.schedule.reconsider();
    }

    fn remember(&mut self, source: SourceName, nodes: Vec<Remembered>, now: Now) {
        let mut rng = rand::rng();
        let mut taken = 0;
        for node in nodes {
            let last_seen = node.last_seen.and_then(|seen| now.instant_of(seen));
            for (told_by, finding) in node.records {
                match self.book.remember(told_by, finding, last_seen, now, &mut rng) {
                    Ok(()) => taken += 1,
                    Err(refusal) => self.refused(source, refusal, 1),
                }
            }
        }
        self.parts.metrics.taken(source, taken);
        (self.is_stale, self.has_news) = (true, true);
        self.schedule.reconsider();
    }

    fn refused(&mut self, source: SourceName, refusal: Refusal, count: u64) {
        self.parts.metrics.refused(source, refusal, count);
        if refusal == Refusal::Full && !self.has_warned {
            self.has_warned = true;
            let max_nodes = self.parts.rules.max_nodes;
            tracing::warn!(
                max_nodes,
                "the directory is full of nodes that were reached and ignores others; raise its limit"
            );
        }
    }

    fn on_event(&mut self, event: &PeerEvent, now: Now) {
        let mut rng = rand::rng();
        self.is_stale |= match event {
            PeerEvent::Connected { peer, .. } => self.book.connected(*peer, now, &mut rng),
            PeerEvent::Disconnected { peer } => self.book.disconnected(peer, now),
            PeerEvent::DialFailed { peer } => self.book.dial_failed(peer, now, &mut rng),
            PeerEvent::Identified { .. } => false,
        };
        self.schedule.reconsider();
    }

    fn on_beat(&mut self, now: Now) {
        let has_changed = self.book.sweep(now);
        self.is_stale |= has_changed;
        self.has_news |= has_changed;
        self.parts.metrics.looked_over(&self.book, now);
    }

    /// Starts as many checks as may run.
    fn check(&mut self, now: Now, context: &Context<DiscoveryMessage>) {
        let mut rng = rand::rng();
        while self.parts.rules.pool.is_checked && self.checks < PARALLEL_CHECKS {
            let Some(peer) = self.schedule.next(&self.book, now.at, &mut rng) else { return };
            let Some(addresses) = self.book.checking(&peer, now) else { continue };
            let (host, address) = (self.parts.host.clone(), context.address().clone());
            let check = async move {
                let outcome = pool::check(&host, peer, addresses).await;
                // A discovery that has stopped needs no outcome.
                let _ = address.send(DiscoveryMessage::Checked { peer, outcome }).await;
            };
            if context.spawn(check).is_err() {
                self.book.checked(&peer, CheckOutcome::Abandoned, now, &mut rng);
                return;
            }
            self.checks += 1;
        }
    }

    /// Publishes what is new, if anything is.
    fn show(&mut self, now: Now) {
        if !std::mem::take(&mut self.is_stale) {
            return;
        }
        let is_first = self.shown_at.replace(now.at).is_none();
        let Parts { publisher, metrics, max_connected, .. } = &*self.parts;
        let view = View::of(&self.book, self.own_operator().as_deref());
        let connections =
            self.parts.with_written(|written| pool::connections(&self.book, &written.static_peers, *max_connected));
        self.connections.send_if_modified(|current| {
            let is_new = *current != connections;
            *current = connections;
            is_new
        });
        if view != self.shown || is_first {
            publisher.publish(view.directory(&mut rand::rng(), self.parts.is_searching()));
            metrics.shown(&view.pool, Diversity::of(&view.mix_nodes));
            self.shown = view;
        }
    }

    /// Publishes, unless that was done just now: the next beat does.
    fn show_soon(&mut self, now: Now) {
        if self.shown_at.is_none_or(|shown| now.since(shown) >= SHOW_PACE) {
            self.show(now);
        }
    }

    fn known(&mut self, now: Now) -> Arc<[Finding]> {
        match &self.known {
            Some((known, at)) if !self.has_news || now.since(*at) < KNOWN_PACE => Arc::clone(known),
            _ => {
                self.has_news = false;
                let known = book::known(self.book.nodes(), now.unix);
                self.known = Some((Arc::clone(&known), now.at));
                known
            }
        }
    }

    fn own_operator(&self) -> Option<String> {
        self.parts.local.borrow().operator.clone()
    }

    /// Handles a message that nobody waits for the end of.
    fn on_message(&mut self, message: DiscoveryMessage, now: Now) -> Option<oneshot::Sender<()>> {
        match message {
            DiscoveryMessage::Found { source, findings, done } => {
                if source == SourceName::Static {
                    self.write_down(&findings);
                }
                self.take(source, findings, now);
                return Some(done);
            }
            DiscoveryMessage::Remembered { source, nodes, done } => {
                self.remember(source, nodes, now);
                return Some(done);
            }
            DiscoveryMessage::Keep { peers, done } => {
                self.parts.with_written(|written| written.static_peers.extend(peers));
                self.is_stale = true;
                return Some(done);
            }
            DiscoveryMessage::Refused { source, refusal, count } => self.refused(source, refusal, count),
            DiscoveryMessage::LookedUp { source, answered } => self.parts.metrics.looked_up(source, answered),
            // Who asked may be gone.
            DiscoveryMessage::Known { reply } => drop(reply.send(self.known(now))),
            DiscoveryMessage::Pool { reply } => {
                drop(reply.send(pool::entries(&self.book, self.own_operator().as_deref(), now)));
            }
            DiscoveryMessage::Event(event) => self.on_event(&event, now),
            DiscoveryMessage::Connected(peers) => {
                self.is_stale |= self.book.set_connected(peers, now, &mut rand::rng());
            }
            DiscoveryMessage::Checked { peer, outcome } => {
                self.checks = self.checks.saturating_sub(1);
                self.parts.metrics.checked(outcome);
                self.is_stale |= self.book.checked(&peer, outcome, now, &mut rand::rng());
            }
            DiscoveryMessage::Memory { reply } => drop(reply.send(cache::of_book(&self.book, now))),
            DiscoveryMessage::Beat => self.on_beat(now),
        }
        None
    }

    /// Keeps the operator's entries for an instance that follows a panic, one a peer and kind.
    fn write_down(&self, findings: &[Finding]) {
        self.parts.with_written(|Written { entries, .. }| {
            for finding in findings {
                let is_same = |known: &Finding| {
                    known.peer == finding.peer && known.mix_key.is_some() == finding.mix_key.is_some()
                };
                let is_full = entries.len() >= self.parts.rules.max_nodes;
                match entries.iter_mut().find(|known| is_same(known)) {
                    Some(known) => *known = finding.clone(),
                    None if is_full => {}
                    None => entries.push(finding.clone()),
                }
            }
        });
    }
}

impl Actor for Discovery {
    type Message = DiscoveryMessage;
    const NAME: &'static str = "discovery";

    fn started(&mut self, context: &Context<DiscoveryMessage>) {
        let now = Now::read();
        self.show(now);
        let Parts { host, reader, local, identity, telemetry, events, .. } = &*self.parts;
        // There is room for exactly these tasks.
        let _ = context.spawn(tasks::keep_connected(host.clone(), self.connections.subscribe()));
        let _ = context.spawn(tasks::follow(events.subscribe(), context.address().clone()));
        let _ = context.spawn(tasks::reconcile(host.clone(), context.address().clone()));
        if let Some(cache) = &self.parts.cache {
            let _ = context.spawn(tasks::keep_cache(Arc::clone(cache), context.address().clone()));
        }
        let _ = context.spawn(self.parts.own_record.clone().follow(identity.clone(), local.clone()));
        let _ = context.every(BEAT, || DiscoveryMessage::Beat);
        for source in &self.parts.sources {
            let findings = Findings::new(source.name(), context.address().clone(), events.clone());
            let _ = context.spawn(source.run(SourceContext {
                findings,
                host: host.clone(),
                directory: reader.clone(),
                local: local.clone(),
                identity: identity.clone(),
                telemetry: telemetry.clone(),
            }));
        }
        self.check(now, context);
    }

    fn handle(&mut self, message: DiscoveryMessage, context: &Context<DiscoveryMessage>) {
        let now = Now::read();
        match self.on_message(message, now) {
            Some(done) => {
                self.show(now);
                // Who found it need not wait.
                let _ = done.send(());
            }
            None => self.show_soon(now),
        }
        self.check(now, context);
    }

    fn drain(&mut self, _: Instant, _: &Context<DiscoveryMessage>) -> BoxFuture<'static, ()> {
        let now = Now::read();
        match self.parts.cache.clone() {
            Some(cache) => tasks::store(cache, cache::of_book(&self.book, now)).boxed(),
            None => std::future::ready(()).boxed(),
        }
    }
}
