//! Discovery: which mix nodes and services are known, merged from sources into one [`Directory`] snapshot.
//!
//! Sources find, one actor merges and publishes, everyone reads the newest snapshot without asking. This version has one
//! source, the operator's own entries ([`StaticSource`]); others implement [`Source`].
//!
//! | module | what |
//! |---|---|
//! | [`entry`] | peers and mix nodes as operators write them |
//! | `book` | the rules of merging, without I/O |
//! | `source`, `static_source` | what finds nodes |
//! | `actor` | the shell |
//!
//! Non-goals: judging nodes. Whether a node answers is for those to learn who use it.
//!
//! ```
//! use wakumix_discovery::entry::MixNodeEntry;
//!
//! let entry: MixNodeEntry = concat!(
//!     "/ip4/127.0.0.1/tcp/60001/p2p/16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o",
//!     ":9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c",
//! )
//! .parse()?;
//! assert!(entry.node().is_some());
//! # Ok::<(), wakumix_discovery::entry::EntryError>(())
//! ```

mod actor;
mod book;
mod config;
pub mod entry;
mod source;
mod static_source;

use std::sync::Arc;

use libp2p_identity::PeerId;
use tokio::time::Instant;
use wakumix_mix::MixNode;
use wakumix_role_api::{
    ActorHandle, Directory, DirectoryPublisher, DirectoryReader, Supervisor, directory::ServiceNode, host::HostHandle,
    mailbox,
};
use wakumix_telemetry::Telemetry;

pub use config::{Config, DEFAULT_MAX_CONNECTED, DEFAULT_MAX_NODES, DEFAULT_REFRESH};
pub use source::{Findings, Source};
pub use static_source::{Resolver, StaticSource};

/// Findings that wait to be merged; sources wait for room.
const QUEUE: usize = 16;

/// What discovery is started with.
#[derive(Debug)]
pub struct Surroundings {
    /// This node, which is left out of the directory.
    pub me: PeerId,
    /// Takes the snapshots.
    pub publisher: DirectoryPublisher,
    /// Reads what was published.
    pub reader: DirectoryReader,
    /// Keeps connections to static peers.
    pub host: HostHandle,
    /// Starts and restarts the actor.
    pub supervisor: Supervisor,
    /// Metrics of this node.
    pub telemetry: Telemetry,
}

/// Starts discovery with the entries of `config`.
pub fn start(config: Config, surroundings: Surroundings) -> DiscoveryHandle {
    let entries = StaticSource::new(&config);
    start_with(config, vec![Box::new(entries)], surroundings)
}

/// Starts discovery with these sources instead of the entries of `config`.
pub fn start_with(config: Config, sources: Vec<Box<dyn Source>>, surroundings: Surroundings) -> DiscoveryHandle {
    let Surroundings { me, publisher, reader, host, supervisor, telemetry } = surroundings;
    let Config { static_peers, max_nodes, max_connected, .. } = config;
    let metrics = actor::Metrics::new(&telemetry);
    let parts = Arc::new(actor::Parts {
        me,
        max_nodes,
        max_connected,
        static_peers,
        sources,
        publisher,
        reader: reader.clone(),
        host,
        metrics,
    });
    let (address, inbox) = mailbox("discovery", QUEUE, &telemetry);
    let task_limit = parts.task_limit();
    let actor = supervisor.start(address.clone(), inbox, task_limit, move || actor::Discovery::new(Arc::clone(&parts)));
    DiscoveryHandle { findings: Findings::new(address), reader, actor }
}

/// The way to discovery. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiscoveryHandle {
    findings: Findings,
    reader: DirectoryReader,
    actor: ActorHandle,
}

impl DiscoveryHandle {
    /// Adds mix nodes, or replaces those of the same peers. True once the directory shows them; false when discovery
    /// has stopped.
    ///
    /// Cancel safe: yes; the nodes are then added or not.
    pub async fn add_mix_nodes(&self, nodes: Vec<MixNode>) -> bool {
        self.findings.mix_nodes(nodes).await
    }

    /// Adds lightpush services behind those that are known; else as [`Self::add_mix_nodes`].
    pub async fn add_lightpush(&self, services: Vec<ServiceNode>) -> bool {
        self.findings.lightpush(services).await
    }

    /// The newest snapshot.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.reader.snapshot()
    }

    /// Reads snapshots as they come.
    #[must_use]
    pub fn reader(&self) -> DirectoryReader {
        self.reader.clone()
    }

    /// The actor, for watching and drills.
    #[must_use]
    pub fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    /// Ends the sources and the actor; true when that was done by `deadline`. The last snapshot stays readable.
    pub async fn stop(&self, deadline: Instant) -> bool {
        self.actor.stop(deadline).await
    }
}
