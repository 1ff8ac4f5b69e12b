//! The shell: takes findings, publishes snapshots, tells the host whom to stay connected to.

use std::sync::Arc;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::{oneshot, watch};
use wakumix_mix::MixNode;
use wakumix_role_api::{Actor, Context, DirectoryPublisher, DirectoryReader, directory::ServiceNode, host::HostHandle};
use wakumix_telemetry::{Gauge, Metric, Telemetry};

use crate::{
    book::{Book, Change},
    entry::PeerAddress,
    source::{Findings, Source},
};

/// A message to discovery. Each is acknowledged once the directory shows it.
#[derive(Debug)]
pub(crate) enum DiscoveryMessage {
    /// Mix nodes were found.
    MixNodes { nodes: Vec<MixNode>, done: oneshot::Sender<()> },
    /// Lightpush services were found.
    Lightpush { services: Vec<ServiceNode>, done: oneshot::Sender<()> },
    /// So many mix nodes have a name without an address.
    Unresolved { count: usize, done: oneshot::Sender<()> },
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
    /// Ephemeral: whether the operator has been told that the book is full.
    has_warned: bool,
}

impl Discovery {
    pub(crate) fn new(parts: Arc<Parts>) -> Self {
        let book = Book::new(parts.me, parts.max_nodes, &parts.reader.snapshot());
        let connections = watch::Sender::new(book.connections(&parts.static_peers, parts.max_connected));
        Self { parts, book, connections, has_warned: false }
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
        let Parts { publisher, metrics, static_peers, max_connected, .. } = &*self.parts;
        publisher.publish(self.book.directory());
        metrics.record_pool(self.book.pool_size());
        let connections = self.book.connections(static_peers, *max_connected);
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
            let _ = context.spawn(source.run(Findings::new(context.address().clone())));
        }
    }

    fn handle(&mut self, message: DiscoveryMessage, _: &Context<DiscoveryMessage>) {
        let done = match message {
            DiscoveryMessage::MixNodes { nodes, done } => {
                let change = self.book.add_mix_nodes(nodes);
                self.apply(change);
                done
            }
            DiscoveryMessage::Lightpush { services, done } => {
                let change = self.book.add_lightpush(services);
                self.apply(change);
                done
            }
            DiscoveryMessage::Unresolved { count, done } => {
                self.parts.metrics.record_unresolved(count);
                done
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
