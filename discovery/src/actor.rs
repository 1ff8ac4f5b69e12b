//! The shell: takes findings, publishes snapshots, tells the host whom to stay connected to.

use std::sync::Arc;

use libp2p_identity::{Keypair, PeerId};
use multiaddr::Multiaddr;
use tokio::sync::{broadcast, oneshot, watch};
use wakumix_role_api::{
    Actor, Context, DirectoryPublisher, DirectoryReader,
    host::{HostHandle, PeerEvent},
};
use wakumix_telemetry::{Gauge, Metric, Telemetry};

use crate::{
    book::{Book, Change},
    entry::PeerAddress,
    finding::{Finding, Refusal, SourceName},
    local::LocalRecord,
    pool::PoolEntry,
    source::{Findings, Source, SourceContext},
};

/// A message to discovery. Those with `done` are acknowledged once the directory shows them.
#[derive(Debug)]
pub(crate) enum DiscoveryMessage {
    /// Records were found.
    Found { source: SourceName, findings: Vec<Finding>, done: oneshot::Sender<()> },
    /// Something that was received is no record that could be reported.
    Refused { source: SourceName, refusal: Refusal, count: u64 },
    /// A source has asked somebody.
    LookedUp { source: SourceName, answered: bool },
    /// So many mix nodes have a name without an address.
    Unresolved { count: usize, done: oneshot::Sender<()> },
    /// The operator's peers to stay connected to.
    Keep { peers: Vec<PeerAddress>, done: oneshot::Sender<()> },
    /// What is known of every peer.
    Known { reply: oneshot::Sender<Arc<[Finding]>> },
    /// Every mix node and its state.
    Pool { reply: oneshot::Sender<Vec<PoolEntry>> },
}

/// What every instance of the actor is made of.
pub(crate) struct Parts {
    pub(crate) me: PeerId,
    pub(crate) max_nodes: usize,
    pub(crate) max_connected: usize,
    pub(crate) static_peers: Vec<PeerAddress>,
    pub(crate) sources: Vec<Box<dyn Source>>,
    pub(crate) publisher: DirectoryPublisher,
    pub(crate) reader: DirectoryReader,
    pub(crate) host: HostHandle,
    pub(crate) identity: Keypair,
    pub(crate) local: watch::Receiver<Arc<LocalRecord>>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) telemetry: Telemetry,
    pub(crate) metrics: Metrics,
}

impl Parts {
    /// The sources and the one that talks to the host.
    pub(crate) fn task_limit(&self) -> usize {
        self.sources.len() + 1
    }
}

/// Handles, taken once.
pub(crate) struct Metrics {
    fleet_pool: Gauge,
    usable: Gauge,
    unresolved: Gauge,
}

impl Metrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let state = |state| telemetry.gauge(Metric::PoolNodes, &[("state", state)]);
        Self {
            fleet_pool: telemetry.gauge(Metric::MixPoolSize, &[]),
            usable: state("usable"),
            unresolved: state("unresolved"),
        }
    }

    fn record_pool(&self, size: usize) {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.fleet_pool.set(size);
        self.usable.set(size);
    }

    fn record_unresolved(&self, count: usize) {
        self.unresolved.set(u32::try_from(count).unwrap_or(u32::MAX));
    }
}

/// Discovery.
pub(crate) struct Discovery {
    parts: Arc<Parts>,
    /// Derivable: from the snapshot that was published last.
    book: Book,
    /// Derivable: from the book. Read by the task that talks to the host.
    connections: watch::Sender<Vec<Multiaddr>>,
    /// Ephemeral beyond those of the configuration.
    static_peers: Vec<PeerAddress>,
    /// Ephemeral: whether the operator has been told that the book is full.
    has_warned: bool,
}

impl Discovery {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let book = Book::new(parts.me, parts.max_nodes, &parts.reader.snapshot());
        let static_peers = parts.static_peers.clone();
        let connections = watch::Sender::new(book.connections(&static_peers, parts.max_connected));
        Self { parts, book, connections, static_peers, has_warned: false }
    }

    fn apply(&mut self, change: Change) {
        if change.ignored > 0 && !self.has_warned {
            self.has_warned = true;
            let max_nodes = self.parts.max_nodes;
            tracing::warn!(max_nodes, "the directory is full and ignores further nodes; raise its limit");
        }
        if change.is_news {
            self.show();
        }
    }

    fn show(&self) {
        let Parts { publisher, metrics, max_connected, .. } = &*self.parts;
        publisher.publish(self.book.directory());
        metrics.record_pool(self.book.pool_size());
        let connections = self.book.connections(&self.static_peers, *max_connected);
        self.connections.send_if_modified(|current| {
            let is_new = *current != connections;
            *current = connections;
            is_new
        });
    }
}

impl Actor for Discovery {
    type Message = DiscoveryMessage;
    const NAME: &'static str = "discovery";

    fn started(&mut self, context: &Context<DiscoveryMessage>) {
        self.show();
        // There is room for exactly these tasks.
        let _ = context.spawn(keep_connected(self.parts.host.clone(), self.connections.subscribe()));
        for source in &self.parts.sources {
            let Parts { host, reader, local, identity, telemetry, events, .. } = &*self.parts;
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
    }

    fn handle(&mut self, message: DiscoveryMessage, _: &Context<DiscoveryMessage>) {
        let done = match message {
            DiscoveryMessage::Found { findings, done, .. } => {
                let change = self.book.add(findings);
                self.apply(change);
                done
            }
            DiscoveryMessage::Unresolved { count, done } => {
                self.parts.metrics.record_unresolved(count);
                done
            }
            DiscoveryMessage::Keep { peers, done } => {
                self.static_peers.extend(peers);
                self.show();
                done
            }
            DiscoveryMessage::Refused { .. } | DiscoveryMessage::LookedUp { .. } => return,
            DiscoveryMessage::Pool { reply } => {
                // Who asked may be gone.
                let _ = reply.send(self.book.entries());
                return;
            }
            DiscoveryMessage::Known { reply } => {
                // Who asked may be gone.
                let _ = reply.send(Arc::new([]));
                return;
            }
        };
        // Who found it need not wait.
        let _ = done.send(());
    }
}

/// Tells the host every new list, the first one if there is anybody on it.
async fn keep_connected(host: HostHandle, mut connections: watch::Receiver<Vec<Multiaddr>>) {
    if connections.borrow().is_empty() && connections.changed().await.is_err() {
        return;
    }
    loop {
        let current = connections.borrow_and_update().clone();
        host.keep_connected(current).await;
        if connections.changed().await.is_err() {
            return;
        }
    }
}
