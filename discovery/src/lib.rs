//! Discovery: which mix nodes and services are known, merged from sources into one [`Directory`] snapshot.
//!
//! Sources find, one actor merges and publishes, everyone reads the newest snapshot without asking. Each kind of
//! discovery implements [`Source`].
//!
//! | module | what |
//! |---|---|
//! | [`entry`] | peers and mix nodes as operators write them |
//! | [`peer_report`] | what a source reports |
//! | `source`, `sources` | what finds nodes |
//! | `peer_table` | the rules of merging, without I/O |
//! | `names` | names in the records of others |
//! | `pool` | who may carry packets, who is checked next, how diverse the pool is |
//! | `cache` | the last good directory on disk |
//! | `messages` | the actor's messages |
//! | `actor` | the shell |
//!
//! Non-goals: reputation. A node is judged by whether this node reaches it, and by nothing that others say or that
//! becomes of packets.
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
mod addition;
mod cache;
mod clock;
mod config;
pub mod entry;
#[cfg(fuzzing)]
pub mod fuzzing;
mod local;
mod messages;
mod metrics;
mod names;
mod node_record;
mod own_record;
pub mod peer_report;
mod peer_table;
mod pool;
mod private_file;
mod source;
mod sources;

use std::sync::Arc;

use discv5::Enr;
use libp2p_identity::{Keypair, PeerId};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, oneshot, watch},
    time::Instant,
};
use wakumix_mix::MixNode;
use wakumix_role_api::{
    ActorHandle, Address, Directory, DirectoryPublisher, DirectoryReader, Service, Supervisor,
    directory::ServiceNode,
    host::{HostHandle, PeerEvent},
    mailbox,
};
use wakumix_telemetry::Telemetry;
use wakumix_waku::record::Shards;

use actor::Written;
use cache::CacheFile;
use entry::PeerAddress;
use messages::DiscoveryMessage;
use peer_report::{PeerReport, SourceName};
use peer_table::Rules;
use pool::Guards;
use sources::{DescriptorsSource, Discv5Source, Dns, Identify, PeerExchange, Rendezvous, ServiceDiscovery};

pub use addition::{AddError, Addition};
pub use config::{Config, DEFAULT_MAX_CONNECTED, DEFAULT_MAX_NODES, DEFAULT_REFRESH};
pub use local::LocalRecord;
pub use metrics::METRICS;
pub use own_record::{Endpoint, OwnRecord, record_fields};
pub use peer_table::PoolConfig;
pub use pool::{ContactClass, PoolEntry};
pub use source::{PeerReports, PrepareError, Source, SourceContext};
pub use sources::{
    BootstrapError, CacheSource, DescriptorsConfig, Discv5Config, DnsConfig, PeerExchangeConfig, Resolver,
    ServiceDiscoveryConfig, StaticSource, parse_bootstrap,
};

/// Messages that wait for the actor; sources wait for room.
const QUEUE: usize = 64;

/// What discovery is started with.
#[derive(Debug)]
pub struct Surroundings {
    /// This node, which is left out of the directory.
    pub me: PeerId,
    /// Signs what this node tells of itself.
    pub identity: Keypair,
    /// What this node tells of itself.
    pub local: watch::Receiver<Arc<LocalRecord>>,
    /// What happens to connections.
    pub events: broadcast::Sender<PeerEvent>,
    /// Takes the snapshots.
    pub publisher: DirectoryPublisher,
    /// Whether packets of others pass through this node.
    pub forwards: bool,
    /// The guards to have in use, on a node that sends and does not forward.
    pub guards: Option<usize>,
    /// Reads what was published.
    pub reader: DirectoryReader,
    /// Keeps connections and carries requests.
    pub host: HostHandle,
    /// Starts and restarts the actor, on the thread on which all of discovery runs.
    pub supervisor: Supervisor,
    /// Metrics of this node.
    pub telemetry: Telemetry,
}

/// Discovery, configured and not yet running.
pub struct Discovery {
    config: Config,
    sources: Vec<Box<dyn Source>>,
    own_record: OwnRecord,
    resolver: Resolver,
}

impl Discovery {
    /// Discovery with the sources that `config` turns on.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let sources = configured(&config);
        Self::with_sources(config, sources)
    }

    /// Discovery with these sources and no others.
    #[must_use]
    pub fn with_sources(config: Config, sources: Vec<Box<dyn Source>>) -> Self {
        Self { config, sources, own_record: OwnRecord::default(), resolver: sources::system_resolver() }
    }

    /// The same with another resolver for the names in the records of others.
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// The request–response protocols that its sources answer; the host serves them.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        self.sources.iter().flat_map(|source| source.services()).collect()
    }

    /// Takes ports, so that one in use is an error of the start. Must be called before
    /// [`Self::start`]; without it, sources that listen stay off.
    ///
    /// # Errors
    /// The first source that cannot listen.
    pub fn prepare(&self) -> Result<(), PrepareError> {
        self.sources.iter().try_for_each(|source| source.prepare(&self.own_record))
    }

    /// Starts it.
    pub fn start(self, surroundings: Surroundings) -> DiscoveryHandle {
        let Self { config, sources, own_record, resolver } = self;
        let Surroundings {
            me,
            identity,
            local,
            events,
            publisher,
            forwards,
            guards,
            reader,
            host,
            supervisor,
            telemetry,
        } = surroundings;
        let metrics = actor::Metrics::new(&telemetry);
        let (address, inbox) = mailbox("discovery", QUEUE, &telemetry);
        let parts = Arc::new(actor::Parts {
            rules: rules(me, &config, guards.is_some()),
            max_connected: config.max_connected,
            written: Mutex::new(Written { static_peers: config.static_peers, ..Written::default() }),
            cache: config.cache.map(|path| Arc::new(CacheFile::new(path, config.cluster))),
            forwards,
            guards: guards.map(|in_use| Arc::new(Guards::load(in_use, config.guards, config.cluster))),
            sources: sources.into_iter().map(Arc::from).collect(),
            publisher,
            reader: reader.clone(),
            host,
            identity,
            local,
            own_record: own_record.clone(),
            events,
            resolver,
            telemetry,
            metrics,
        });
        own_record::start(&own_record, &parts.identity, &parts.local.borrow());
        let (task_limit, resolver) = (parts.task_limit(), KnownResolver(Arc::clone(&parts.resolver)));
        let factory = move || actor::Discovery::new(Arc::clone(&parts));
        let actor = supervisor.start(address.clone(), inbox, task_limit, factory);
        DiscoveryHandle { address, reader, own_record, actor, resolver }
    }
}

/// The sources that a configuration turns on.
fn configured(config: &Config) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> =
        vec![Box::new(StaticSource::new(config.mix_nodes.clone(), &config.lightpush, config.refresh))];
    sources.push(Box::new(Identify::new(config.cluster)));
    if let Some(path) = &config.cache {
        sources.push(Box::new(CacheSource::new(path.clone(), config.cluster)));
    }
    if let Some(descriptors) = &config.descriptors {
        sources.push(Box::new(DescriptorsSource::new(descriptors.clone(), config.weaknesses)));
    }
    if let Some(discv5) = &config.discv5 {
        let shards = Shards { cluster: config.cluster, shards: config.shards.clone() };
        sources.push(Box::new(Discv5Source::new(discv5.clone(), shards, config.allow_private)));
    }
    if config.rendezvous {
        sources.push(Box::new(Rendezvous::new(config.cluster)));
    }
    if let Some(peer_exchange) = &config.peer_exchange {
        sources.push(Box::new(PeerExchange::new(peer_exchange.clone(), config.cluster)));
    }
    if let Some(dns) = &config.dns {
        sources.push(Box::new(Dns::new(dns.clone())));
    }
    if let Some(service_discovery) = &config.service_discovery {
        sources.push(Box::new(ServiceDiscovery::new(service_discovery.clone(), config.allow_private)));
    }
    sources
}

/// A node with guards only visits the others, and so many times as seldom: ten thousand senders that each visit a hundred nodes
/// every minute would be 167 visits per second for each of them.
const VISITS: u32 = 10;

/// What records are measured by.
fn rules(me: PeerId, config: &Config, has_guards: bool) -> Rules {
    let PoolConfig { sends, check_interval, max_age } = config.pool;
    let check_interval = if has_guards { check_interval.saturating_mul(VISITS) } else { check_interval };
    // A node is believed to be alive until it has missed two visits.
    let max_age = max_age.max(check_interval.saturating_mul(2));
    Rules {
        me,
        cluster: config.cluster,
        shards: config.shards.clone(),
        profiles: config.profiles.clone(),
        family: config.family.clone(),
        allow_private: config.allow_private,
        relays: config.relays,
        has_ip4: local::has_ip4(),
        max_nodes: config.max_nodes,
        pool: PoolConfig { sends, check_interval, max_age },
    }
}

impl std::fmt::Debug for Discovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sources: Vec<_> = self.sources.iter().map(|source| source.name()).collect();
        f.debug_struct("Discovery").field("config", &self.config).field("sources", &sources).finish()
    }
}

/// The way to discovery. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DiscoveryHandle {
    address: Address<DiscoveryMessage>,
    reader: DirectoryReader,
    own_record: OwnRecord,
    actor: ActorHandle,
    resolver: KnownResolver,
}

/// The resolver of names, which shows nothing of itself.
#[derive(Clone)]
struct KnownResolver(Resolver);

impl std::fmt::Debug for KnownResolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KnownResolver")
    }
}

impl DiscoveryHandle {
    /// Adds mix nodes as the operator's own entries, or replaces those of the same peers. True once the directory shows
    /// them; false when discovery has stopped.
    ///
    /// Cancel safe: yes; the nodes are then added or not.
    pub async fn add_mix_nodes(&self, nodes: Vec<MixNode>) -> bool {
        self.add(nodes.into_iter().map(PeerReport::from).collect()).await
    }

    /// Adds lightpush services behind those that are known; else as [`Self::add_mix_nodes`].
    pub async fn add_lightpush(&self, services: Vec<ServiceNode>) -> bool {
        self.add(services.into_iter().map(PeerReport::from).collect()).await
    }

    /// Stays connected to these peers as well.
    pub async fn add_static_peers(&self, peers: Vec<PeerAddress>) -> bool {
        self.change(|done| DiscoveryMessage::Keep { peers, done }).await
    }

    /// Takes what an operator hands over while the node runs: mix nodes as entries of the operator, whose names are resolved
    /// once, peers to stay connected to, and records, which are believed as far as one that was found is.
    ///
    /// Cancel safe: yes; what was taken before is kept.
    ///
    /// # Errors
    /// The names that do not resolve; nothing is taken then. That discovery has stopped.
    pub async fn add_all(&self, additions: Vec<Addition>) -> Result<(), AddError> {
        let added = addition::resolved(additions, &self.resolver.0).await?;
        let records = DiscoveryMessage::found(SourceName::Discv5, added.records);
        let is_taken = self.add_static_peers(added.peers).await
            && self.address.ask(records).await.is_some()
            && self.add_mix_nodes(added.mix_nodes).await;
        if is_taken { Ok(()) } else { Err(AddError::Stopped) }
    }

    async fn add(&self, reports: Vec<PeerReport>) -> bool {
        self.change(DiscoveryMessage::found(SourceName::Static, reports)).await
    }

    /// Sends a change and waits until the directory shows it.
    async fn change(&self, message: impl FnOnce(oneshot::Sender<()>) -> DiscoveryMessage) -> bool {
        self.address.ask(message).await.is_some()
            && self.address.ask(|done| DiscoveryMessage::Shown { done }).await.is_some()
    }

    /// Every known mix node with its state and the reason for it, usable ones first; empty when discovery has stopped.
    ///
    /// Cancel safe: yes.
    pub async fn pool(&self) -> Vec<PoolEntry> {
        self.address.ask(|reply| DiscoveryMessage::Pool { reply }).await.unwrap_or_default()
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

    /// Follows the own node record; its `Display` is the text form, `enr:…`. `None` until it is made, within a moment, and
    /// forever if the identity is no secp256k1 key.
    #[must_use]
    pub fn node_record(&self) -> watch::Receiver<Option<Enr>> {
        self.own_record.subscribe()
    }

    /// Whether the own node record says this of the node. It follows what the node is within a moment; a node without a record
    /// has nothing to wait for.
    #[must_use]
    pub fn record_says(&self, local: &LocalRecord) -> bool {
        self.own_record.says(local)
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
