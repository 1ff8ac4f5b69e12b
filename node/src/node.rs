//! The composition root: from a configuration to running roles around one host, and back to a stop.
//!
//! Start order: queues of the roles, host, roles (what a role needs or uses before it), discovery, servers. Stop order:
//! roles in reverse, discovery, host; each has its share of the time limit, refuses new work first and finishes every packet
//! it holds. The servers refuse new work at once, show health and metrics meanwhile, and end last.

mod addresses;
mod certificates;
mod connections;
mod formats;
mod keys;
mod local;
mod metrics;
mod network;
mod start;
mod stop;
mod surfaces;

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicBool},
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::mpsc;
use wakumix_discovery::DiscoveryHandle;
use wakumix_host::RunningHost;
use wakumix_mix::{Balance, Ledger, MixNode};
use wakumix_role_api::{
    ActorHandle, DirectoryReader, Fatal, Formats, LocalNode, Ports, RoleFactory, RoleName, RunningRole, TaskHandle,
    Tasks, host::HostHandle, mixer::MixerHandle, relay::RelayHandle, sender::SenderHandle,
};
use wakumix_telemetry::{Telemetry, health::Protocol};

use crate::rest::Server;
use local::Description;

use network::Network;

pub use connections::TooFewFiles;
pub use local::expected as expected_record;
pub use start::StartError;
pub use stop::StopSummary;

/// The owner of the ports that the node itself offers.
const NODE: RoleName = RoleName::new("node");

/// A node that runs.
pub struct Node {
    peer: PeerId,
    local: LocalNode,
    ports: Ports,
    listen_addresses: Vec<Multiaddr>,
    formats: Formats,
    /// Whether its exit puts fragments together.
    reassembles: bool,
    ledger: Arc<Ledger>,
    telemetry: Telemetry,
    directory: DirectoryReader,
    host: RunningHost,
    discovery: DiscoveryHandle,
    roles: RunningRoles,
    rest: Option<Server>,
    metrics: Option<Server>,
    fatal: mpsc::Receiver<Fatal>,
    description: Description,
    /// Set once the node has begun to stop.
    stopping: Arc<AtomicBool>,
    tasks: Tasks,
    network: Arc<Network>,
    /// Says when the node becomes ready and when it no longer is.
    readiness: TaskHandle<()>,
    _housekeeping: Housekeeping,
}

/// The roles that run, in the order in which they started.
type RunningRoles = Arc<[RunningPart]>;

/// A role that runs, and what the node knows of its kind.
struct RunningPart {
    factory: &'static dyn RoleFactory,
    /// Entries of the health report that it stands behind.
    protocols: Vec<Protocol>,
    role: Box<dyn RunningRole>,
}

/// Tasks that end with the node.
struct Housekeeping(Vec<TaskHandle<()>>);

impl Drop for Housekeeping {
    fn drop(&mut self) {
        self.0.iter().for_each(TaskHandle::abort);
    }
}

impl Node {
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
        self.ports.get::<MixerHandle>()?;
        let address = self.local.hop_address.borrow().clone()?;
        let (formats, reassembles) = (self.formats.kinds(), self.reassembles);
        Some(MixNode { formats, reassembles, ..MixNode::new(address, self.local.mix_public_key()) })
    }

    /// Pushes over the mixnet; `None` without the sender role.
    pub fn sender(&self) -> Option<SenderHandle> {
        self.ports.get()
    }

    /// Publishes and follows; `None` without the relay role.
    pub fn relay(&self) -> Option<RelayHandle> {
        self.ports.get()
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

    /// The scheme of URLs to REST and metrics.
    pub fn http_scheme(&self) -> &'static str {
        let is_secure = self.rest.iter().chain(&self.metrics).any(|server| server.is_secure);
        if is_secure { "https" } else { "http" }
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
        u64::try_from(self.formats.held()).unwrap_or(u64::MAX)
    }

    /// Where every packet of this node went.
    pub fn balance(&self) -> Balance {
        self.ledger.snapshot()
    }

    /// A reader of the packet accounting that outlives borrows of the node.
    pub fn accounts(&self) -> Accounts {
        Accounts { ledger: Arc::clone(&self.ledger), formats: self.formats.clone() }
    }

    /// What the node itself waits for, one line each. Peers and a pool, which it needs to be of use, are not among them; its
    /// probes and its log say these, too.
    pub fn missing(&self) -> Vec<String> {
        surfaces::missing(&self.roles, self.tasks.problem())
    }

    /// The actor of a role, for fault injection in tests.
    pub fn actor(&self, role: RoleName) -> Option<ActorHandle> {
        self.roles.iter().find(|part| part.role.name() == role).map(|part| part.role.actor().clone())
    }

    /// The roles that run, in the order in which they started.
    pub fn roles(&self) -> Vec<RoleName> {
        self.roles.iter().map(|part| part.role.name()).collect()
    }

    /// What runs beside the actors.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Waits until a part has failed for good. Never returns while the node is healthy.
    pub async fn failed(&mut self) -> Fatal {
        tokio::select! {
            // The supervisor lives as long as the node, so there is always a sender.
            Some(fatal) = self.fatal.recv() => fatal,
            () = self.host.ended() => Fatal { actor: "host", reason: "ended by itself".to_owned() },
        }
    }
}

/// Reads the packet accounting of one node. Cheap to clone.
#[derive(Clone)]
pub struct Accounts {
    ledger: Arc<Ledger>,
    formats: Formats,
}

impl Accounts {
    /// What the node holds now and where every packet went.
    pub fn read(&self) -> (u64, Balance) {
        // In this order a packet that is finished in between counts as held, not as lost.
        let held = u64::try_from(self.formats.held()).unwrap_or(u64::MAX);
        (held, self.ledger.snapshot())
    }
}
