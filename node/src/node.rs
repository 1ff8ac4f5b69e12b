//! The composition root: from a configuration to running roles around one host, and back to a stop.
//!
//! Start order: queues, host, discovery, roles, servers. Stop order: servers, sender, exit, relay, mixer, discovery,
//! host; each has until the same deadline, refuses new work first and settles every packet it holds.

mod capacity;
mod metrics;
mod record;
mod roles;
mod surfaces;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use wakumix_discovery::{DiscoveryHandle, Surroundings};
use wakumix_host::{HostError, HostParts, MixPort, RunningHost};
use wakumix_mix::{Balance, HopAddress, Ledger, MixNode};
use wakumix_role_api::{
    ActorHandle, DirectoryPublisher, DirectoryReader, Fatal, Inboxes, LocalNode, Ports, RoleContext, RoleError,
    RoleName, RunningRole, Services, StopReport, Supervisor, Workers,
    directory::ServiceNode,
    host::{HostHandle, HostMessage},
    mailbox,
    mixer::MixerHandle,
    relay::RelayHandle,
    sender::SenderHandle,
};
use wakumix_sphinx::{BufferPool, PrivateKey, Sphinx};
use wakumix_telemetry::Telemetry;

use crate::{
    config::{Config, Keys, Loaded},
    rest::{BindError, Server},
};

pub use record::RecordError;

/// A node that runs.
pub struct Node {
    peer: PeerId,
    local: LocalNode,
    ports: Ports,
    listen_addresses: Vec<Multiaddr>,
    buffers: BufferPool,
    ledger: Arc<Ledger>,
    telemetry: Telemetry,
    directory: DirectoryReader,
    host: RunningHost,
    discovery: DiscoveryHandle,
    roles: Arc<[Box<dyn RunningRole>]>,
    rest: Option<Server>,
    metrics: Option<Server>,
    fatal: mpsc::Receiver<Fatal>,
    /// Keeps the hop address readable for as long as the node runs.
    _hop_address: watch::Sender<Option<HopAddress>>,
    /// Tasks that end when the node is dropped.
    _housekeeping: JoinSet<()>,
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The host did not start.
    #[error("{error}{}", hint(error))]
    Host {
        /// Why.
        error: HostError,
    },
    /// A role did not start.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// REST or metrics did not start.
    #[error("{0}; free the port or set another one")]
    Bind(#[from] BindError),
    /// The node record cannot be made.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A part refuses its configuration.
    #[error("{0}")]
    Part(String),
}

/// Which setting to change when the host cannot listen.
fn hint(error: &HostError) -> &'static str {
    match error {
        HostError::AddressInUse { protocol: "QUIC", .. } => "; free it, or set quic-port or ports-shift",
        HostError::AddressInUse { protocol: "WebSocket", .. } => "; free it, or set websocket-port or ports-shift",
        HostError::AddressInUse { .. } => "; free it, or set tcp-port or ports-shift",
        HostError::AddressNotSupported { .. } | HostError::Listen { .. } => "; check listen-address",
        _ => "",
    }
}

/// How a node stopped.
#[derive(Clone, Debug, Default)]
pub struct StopSummary {
    /// Packets and requests that were finished while stopping.
    pub finished: u64,
    /// Packets and requests that were given up and counted.
    pub abandoned: u64,
    /// Parts that did not end before the deadline.
    pub late: Vec<&'static str>,
}

impl Node {
    /// Starts a node. Must be called inside an actix `System`, on its thread.
    ///
    /// # Errors
    /// The first part that cannot start; what had started is stopped.
    pub async fn start(loaded: &Loaded) -> Result<Self, StartError> {
        let Loaded { config, keys, .. } = loaded;
        let telemetry = Telemetry::new();
        let ledger = Ledger::new();
        let buffers = BufferPool::new(capacity::buffers(config), config.mix.profile.packet_len());
        let (ports, mut inboxes, host_inbox) = queues(config, &telemetry);
        let roles = roles::configured(config)?;
        let services = Services::new(roles.iter().flat_map(|role| role.services(&ports)).collect());
        let capabilities = roles.iter().fold(Default::default(), |all, role| all | role.capabilities());

        let mix = ports.mixer.as_ref().map(|mixer| MixPort {
            mixer: mixer.address().clone(),
            buffers: buffers.clone(),
            ledger: Arc::clone(&ledger),
        });
        let parts = HostParts {
            identity: keys.node.clone(),
            inbox: host_inbox,
            mix,
            relay: ports.relay.as_ref().map(|relay| relay.address().clone()),
            services: services.clone(),
            telemetry: telemetry.clone(),
        };
        let host =
            wakumix_host::start(host_config(config), parts).await.map_err(|error| StartError::Host { error })?;
        let listen_addresses = host.listen_addresses().to_vec();
        let (hop_sender, hop_address) = watch::channel(hop_address(config, &listen_addresses, keys.peer()));

        let (supervisor, fatal) = Supervisor::new(tokio::runtime::Handle::current(), telemetry.clone());
        let (publisher, directory) = DirectoryPublisher::new();
        let context = RoleContext {
            node: local_node(keys, hop_address),
            format: Sphinx::new(config.mix.profile),
            buffers: buffers.clone(),
            ledger: Arc::clone(&ledger),
            directory: directory.clone(),
            ports: ports.clone(),
            services,
            workers: Workers::detect(tokio::runtime::Handle::current()),
            supervisor,
            telemetry: telemetry.clone(),
        };
        let surroundings = Surroundings {
            me: keys.peer(),
            publisher,
            reader: directory.clone(),
            host: ports.host.clone(),
            supervisor: context.supervisor.clone(),
            telemetry: telemetry.clone(),
        };
        let discovery = wakumix_discovery::start(discovery_config(config), surroundings);
        let mut running = Vec::new();
        for role in roles {
            running.push(role.start(&context, &mut inboxes)?);
        }
        metrics::export(&context, config);
        let mut housekeeping = JoinSet::new();
        housekeeping.spawn(metrics::keep_up(telemetry.clone()));

        let mut node = Self {
            peer: keys.peer(),
            local: context.node,
            ports,
            listen_addresses,
            buffers,
            ledger,
            telemetry,
            directory,
            host,
            discovery,
            roles: running.into(),
            rest: None,
            metrics: None,
            fatal,
            _hop_address: hop_sender,
            _housekeeping: housekeeping,
        };
        node.start_servers(config, keys, capabilities).await?;
        Ok(node)
    }

    /// The node's peer id.
    pub fn peer_id(&self) -> PeerId {
        self.peer
    }

    /// Bound addresses, without `/p2p`.
    pub fn listen_addresses(&self) -> &[Multiaddr] {
        &self.listen_addresses
    }

    /// Its entry in the pools of others; `None` when no role mixes or no header can address it.
    pub fn mix_node(&self) -> Option<MixNode> {
        self.ports.mixer.as_ref()?;
        let address = self.local.hop_address.borrow().clone()?;
        Some(MixNode { address, key: self.local.mix_public_key() })
    }

    /// Pushes over the mixnet; `None` without the sender role.
    pub fn sender(&self) -> Option<&SenderHandle> {
        self.ports.sender.as_ref()
    }

    /// Publishes and follows; `None` without the relay role.
    pub fn relay(&self) -> Option<&RelayHandle> {
        self.ports.relay.as_ref()
    }

    /// The host.
    pub fn host(&self) -> &HostHandle {
        &self.ports.host
    }

    /// Adds to the directory.
    pub fn discovery(&self) -> &DiscoveryHandle {
        &self.discovery
    }

    /// What discovery knows.
    pub fn directory(&self) -> &DirectoryReader {
        &self.directory
    }

    /// The node's metrics.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Where REST is bound, if it is on.
    pub fn rest_address(&self) -> Option<SocketAddr> {
        self.rest.as_ref().map(|server| server.address)
    }

    /// Where the metrics server is bound, if it is on.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(|server| server.address)
    }

    /// Packets that this node holds now.
    pub fn held(&self) -> u64 {
        u64::try_from(self.buffers.in_use()).unwrap_or(u64::MAX)
    }

    /// Where every packet of this node went.
    pub fn balance(&self) -> Balance {
        self.ledger.snapshot()
    }

    /// A reader of the packet accounting that outlives borrows of the node.
    pub fn accounts(&self) -> Accounts {
        Accounts { ledger: Arc::clone(&self.ledger), buffers: self.buffers.clone() }
    }

    /// What the node waits for, one line each; empty when it is ready.
    pub fn missing(&self) -> Vec<String> {
        surfaces::missing(&self.roles)
    }

    /// The actor of a role, for fault injection in tests.
    pub fn actor(&self, role: RoleName) -> Option<ActorHandle> {
        self.roles.iter().find(|running| running.name() == role).map(|running| running.actor().clone())
    }

    /// Waits until a part has failed for good. Never returns while the node is healthy.
    pub async fn failed(&mut self) -> Fatal {
        match self.fatal.recv().await {
            Some(fatal) => fatal,
            // The supervisor lives as long as the node.
            None => std::future::pending().await,
        }
    }

    /// Stops everything within `limit`.
    pub async fn stop(self, limit: Duration) -> StopSummary {
        let deadline = Instant::now() + limit;
        let mut summary = StopSummary::default();
        for server in [&self.rest, &self.metrics].into_iter().flatten() {
            server.stop().await;
        }
        for name in [RoleName::Sender, RoleName::Exit, RoleName::Relay, RoleName::Mixer] {
            if let Some(role) = self.roles.iter().find(|role| role.name() == name) {
                summary.add(name.as_str(), &role.stop(deadline).await);
            }
        }
        if !self.discovery.stop(deadline).await {
            summary.late.push("discovery");
        }
        summary.add("host", &self.host.stop(deadline).await);
        summary
    }

    async fn start_servers(
        &mut self,
        config: &Config,
        keys: &Keys,
        capabilities: wakumix_waku::record::Capabilities,
    ) -> Result<(), StartError> {
        if !config.rest && !config.metrics_server {
            return Ok(());
        }
        let addresses = announced(config, &self.listen_addresses);
        let record = record::node_record(&keys.node, &addresses, capabilities, config)?;
        let api = surfaces::api(self, config, &addresses, record);
        let address = |key: &str| {
            config.ports().into_iter().find(|port| port.key == key).map(|port| SocketAddr::new(port.address, port.port))
        };
        self.rest = address("rest-port").map(|address| Server::start_rest(api.clone(), address)).transpose()?;
        self.metrics = address("metrics-server-port").map(|address| Server::start_metrics(api, address)).transpose()?;
        Ok(())
    }
}

/// Reads the packet accounting of one node. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    ledger: Arc<Ledger>,
    buffers: BufferPool,
}

impl Accounts {
    /// What the node holds now and where every packet went.
    pub fn read(&self) -> (u64, Balance) {
        // In this order a packet that is settled in between counts as held, not as lost.
        let held = u64::try_from(self.buffers.in_use()).unwrap_or(u64::MAX);
        (held, self.ledger.snapshot())
    }
}

impl StopSummary {
    fn add(&mut self, part: &'static str, report: &StopReport) {
        self.finished += report.finished;
        self.abandoned += report.abandoned;
        if !report.in_time {
            self.late.push(part);
        }
    }
}

/// The queue of every actor that the configuration needs.
fn queues(config: &Config, telemetry: &Telemetry) -> (Ports, Inboxes, wakumix_role_api::Inbox<HostMessage>) {
    let (host, host_inbox) = mailbox("host", capacity::HOST, telemetry);
    let mut ports =
        Ports { host: HostHandle::new(host), mixer: None, exit: None, sender: None, relay: None };
    let mut inboxes = Inboxes::default();
    if config.mixes() {
        let (address, inbox) = mailbox("mixer", capacity::MIXER, telemetry);
        (ports.mixer, inboxes.mixer) = (Some(MixerHandle::new(address)), Some(inbox));
    }
    if config.has_role(RoleName::Exit) {
        let (address, inbox) = mailbox("exit", capacity::EXIT, telemetry);
        (ports.exit, inboxes.exit) = (Some(address), Some(inbox));
    }
    if config.has_role(RoleName::Sender) {
        let (address, inbox) = mailbox("sender", capacity::SENDER, telemetry);
        (ports.sender, inboxes.sender) = (Some(SenderHandle::new(address)), Some(inbox));
    }
    if config.has_role(RoleName::Relay) {
        let (address, inbox) = mailbox("relay", capacity::RELAY, telemetry);
        (ports.relay, inboxes.relay) = (Some(RelayHandle::new(address)), Some(inbox));
    }
    (ports, inboxes, host_inbox)
}

fn local_node(keys: &Keys, hop_address: watch::Receiver<Option<HopAddress>>) -> LocalNode {
    // A node whose roles do not mix never uses the key; one is made so that the type has no hole.
    let mix_key = keys.mix.clone().unwrap_or_else(|| PrivateKey::generate(&mut rand::rng()));
    LocalNode { peer: keys.peer(), mix_key: Arc::new(mix_key), hop_address }
}

fn host_config(config: &Config) -> wakumix_host::HostConfig {
    let defaults = wakumix_host::HostConfig::default();
    let total = capacity::count(config.max_connections);
    wakumix_host::HostConfig {
        listen: config.listen_addresses(),
        announce: config.announced_addresses().into_iter().filter(|address| !has_port_zero(address)).collect(),
        version: crate::VERSION.to_owned(),
        cluster: config.cluster_id,
        shards: config.shard.clone(),
        require_metadata: config.host.require_metadata,
        score_colocation: config.ip_colocation_limit > 0,
        connections: wakumix_host::ConnectionLimits {
            total,
            // Remotes cannot keep this node from dialling: a quarter stays for its own connections.
            inbound: total - total / 4,
            ..defaults.connections
        },
        mix: wakumix_host::MixLimits {
            queue_packets: capacity::count(config.host.queue_packets),
            ..defaults.mix
        },
        requests: defaults.requests,
        max_kept_peers: defaults.max_kept_peers,
    }
}

fn discovery_config(config: &Config) -> wakumix_discovery::Config {
    let service = |node: &crate::config::PeerAddress| ServiceNode {
        peer: node.peer,
        addresses: vec![node.address.clone()],
    };
    wakumix_discovery::Config {
        mix_nodes: config.mixnode.iter().filter_map(|entry| String::from(entry.clone()).parse().ok()).collect(),
        lightpush: config.lightpushnode.iter().map(service).collect(),
        static_peers: config.staticnode.iter().map(|node| node.full()).collect(),
        ..wakumix_discovery::Config::default()
    }
}

/// The addresses to announce: configured ones, and what is bound unless only the configured ones count.
fn announced(config: &Config, listen: &[Multiaddr]) -> Vec<Multiaddr> {
    let mut addresses: Vec<Multiaddr> =
        config.announced_addresses().into_iter().filter(|address| !has_port_zero(address)).collect();
    if addresses.is_empty() || !config.ext_multiaddr_only {
        addresses.extend(listen.iter().filter(|address| !addresses.contains(address)).cloned().collect::<Vec<_>>());
    }
    addresses
}

/// Where headers address this node: the first configured address that fits, else a bound one, not loopback if possible.
fn hop_address(config: &Config, listen: &[Multiaddr], peer: PeerId) -> Option<HopAddress> {
    config.hop_address(peer).or_else(|| {
        let mut bound: Vec<HopAddress> =
            listen.iter().filter_map(|address| HopAddress::from_multiaddr(address, peer).ok()).collect();
        bound.sort_by_key(|hop| hop.ip().is_loopback());
        bound.into_iter().next()
    })
}

fn has_port_zero(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)))
}
