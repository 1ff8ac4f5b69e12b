//! The plugin interface: what a role crate exports, and what a role is before and while it runs.

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use wakumix_keyring::KeyRing;
use wakumix_mix::{HopAddress, Ledger, Reliability, admission::Pressure};
use wakumix_sphinx::{PublicKey, Weaknesses};
use wakumix_telemetry::{Catalogue, Telemetry, health::Protocol};
use wakumix_waku::record::Capabilities;

use crate::{
    ActorHandle, ConfigError, DirectoryReader, Formats, Opening, Ports, Service, Services, Supervisor, Workers,
    command::Subcommand,
    config::{Key, Settings},
    host::{HostAddresses, Reachability},
    rest::Route,
};

/// The name of a role, in configuration, logs and metrics: lower case, as a Cargo feature is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleName(&'static str);

impl RoleName {
    /// A role of this name.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// The name itself.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a node does with Sphinx packets because it has a role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mixing {
    /// It passes packets of others on: it publishes a mix key, and every node of a pool may be drawn for any place of a path
    /// (`spec/mix-wire.md §13`).
    pub forwards: bool,
    /// It takes requests of others out of the mixnet.
    pub exits: bool,
    /// It makes requests of its own, and so draws paths and checks the nodes of its pool.
    pub sends: bool,
}

impl Mixing {
    /// Nothing.
    pub const NONE: Self = Self { forwards: false, exits: false, sends: false };

    /// Whether it does anything with them.
    #[must_use]
    pub const fn any(self) -> bool {
        self.forwards || self.exits || self.sends
    }

    /// What a node does because of two roles.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            forwards: self.forwards || other.forwards,
            exits: self.exits || other.exits,
            sends: self.sends || other.sends,
        }
    }
}

/// What a role crate exports: the one value from which a node derives everything that it must know of the role. A node
/// has a list of them; adding a role is a line in that list.
pub trait RoleFactory: Send + Sync {
    /// Its name.
    fn name(&self) -> RoleName;

    /// What it does, in a line.
    fn summary(&self) -> &'static str;

    /// What a node with it does with Sphinx packets.
    fn mixing(&self) -> Mixing {
        Mixing::NONE
    }

    /// Roles that must run where this one does. They start before it and stop after it, and run whether the operator
    /// names them or not.
    fn needs(&self) -> &'static [RoleName] {
        &[]
    }

    /// Roles that start before it and stop after it where they run as well.
    fn uses(&self) -> &'static [RoleName] {
        &[]
    }

    /// Which share of the time that a stopping node has it may take, in proportion to those of the other roles that run.
    fn stop_share(&self) -> u32 {
        5
    }

    /// Entries of the health report that say whether it is ready; several roles may stand behind one.
    fn protocols(&self) -> &'static [Protocol] {
        &[]
    }

    /// Its configuration keys.
    fn keys(&self) -> Vec<Key> {
        Vec::new()
    }

    /// Keys of the node that it reads besides its own.
    fn shared_keys(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The metrics that it records.
    fn metrics(&self) -> Option<&'static Catalogue> {
        None
    }

    /// Its routes of the REST interface. Where the role is off, the node answers them by saying so.
    fn routes(&self) -> Vec<Route> {
        Vec::new()
    }

    /// Subcommands of the program.
    fn commands(&self) -> Vec<Subcommand> {
        Vec::new()
    }

    /// A role with these settings. Called for each start of a node, and to check a configuration.
    ///
    /// # Errors
    /// Everything that is wrong with its settings.
    fn configure(&self, settings: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError>;
}

/// What a node makes known of itself because a role runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// The ENR capability bits that it lights (`spec/waku.md §6.2`).
    pub capabilities: Capabilities,
    /// Whether it puts fragments of requests together: senders send fragments to no other node.
    pub reassembles: bool,
    /// The longest that it holds a packet; `None` for a role that holds none.
    pub longest_hold: Option<Duration>,
}

impl Advertisement {
    /// Nothing.
    pub const NONE: Self = Self::of(Capabilities::NONE);

    /// These capabilities and nothing else.
    #[must_use]
    pub const fn of(capabilities: Capabilities) -> Self {
        Self { capabilities, reassembles: false, longest_hold: None }
    }
}

/// One role of a node, configured and not yet running.
pub trait Role: Send {
    /// Which role it is.
    fn name(&self) -> RoleName;

    /// What the node makes known of itself while the role is ready.
    fn advertises(&self) -> Advertisement {
        Advertisement::NONE
    }

    /// Whether it runs one of the protocols of its factory: its settings may turn one off.
    fn runs(&self, _protocol: Protocol) -> bool {
        true
    }

    /// Makes its queues and tells the others the way to them. The receiving ends stay with the role. Called once, for all
    /// roles before any starts.
    ///
    /// # Errors
    /// When another role has opened a port of that type.
    fn open(&mut self, _opening: &mut Opening<'_>) -> Result<(), RoleError> {
        Ok(())
    }

    /// The request–response protocols that it answers, fed through its ports.
    fn services(&self, _ports: &Ports) -> Vec<Service> {
        Vec::new()
    }

    /// Starts it.
    ///
    /// # Errors
    /// Why it cannot start.
    fn start(self: Box<Self>, context: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError>;
}

/// A role that runs.
pub trait RunningRole: Send + Sync {
    /// Which role it is.
    fn name(&self) -> RoleName;

    /// Its actor, for watching and drills.
    fn actor(&self) -> &ActorHandle;

    /// `Err` says what it still waits for.
    fn ready(&self) -> Result<(), String>;

    /// Refuses new work, finishes or gives up what it holds by `deadline`, ends.
    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport>;
}

/// How a role ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Work that was finished while stopping: packets released, requests answered.
    pub finished: u64,
    /// Work that was given up and counted.
    pub abandoned: u64,
    /// Whether it ended by itself before the deadline.
    pub in_time: bool,
}

/// Why a role did not start.
#[derive(Debug, thiserror::Error)]
#[error("the {role} role cannot start: {problem}")]
pub struct RoleError {
    /// Which.
    pub role: RoleName,
    /// What is wrong and what to do.
    pub problem: String,
}

/// Who this node is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LocalNode {
    /// Its peer id.
    pub peer: PeerId,
    /// Its mix keys and their replay tags.
    pub mix_keys: KeyRing,
    /// Where a header can address it; `None` until it listens, or when it has no address that a header can carry.
    pub hop_address: watch::Receiver<Option<HopAddress>>,
    /// What the host knows of its addresses, and whether others can dial it.
    pub addresses: watch::Receiver<HostAddresses>,
}

impl LocalNode {
    /// The public half of its current mix key.
    pub fn mix_public_key(&self) -> PublicKey {
        self.mix_keys.public()
    }

    /// Whether others can dial it, as far as the host knows now.
    pub fn reachability(&self) -> Reachability {
        self.addresses.borrow().reachability
    }
}

/// What every role is started with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RoleContext {
    /// Who this node is.
    pub node: LocalNode,
    /// The packet formats that it serves, with the buffers in which every packet of this node lives.
    pub formats: Formats,
    /// Where every packet is accounted.
    pub ledger: Arc<Ledger>,
    /// What the mixer tells the host when packets pile up.
    pub pressure: Arc<Pressure>,
    /// What discovery knows.
    pub directory: DirectoryReader,
    /// What this node has seen of how well others carry packets; its times are those of [`RoleContext::now`].
    pub reliability: Arc<Mutex<Reliability>>,
    /// What [`RoleContext::now`] counts from.
    pub epoch: Instant,
    /// The other actors.
    pub ports: Ports,
    /// The request–response services of this node.
    pub services: Services,
    /// Starts and restarts actors.
    pub supervisor: Supervisor,
    /// Where cryptography runs.
    pub workers: Workers,
    /// Metrics of this node.
    pub telemetry: Telemetry,
    /// Countermeasures that are missing: none but in the attack suite.
    pub weaknesses: Weaknesses,
}

impl RoleContext {
    /// The time since the node's start, for what the roles share.
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}
