//! The plug shape of a role, and what a role is started with.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use tokio::{sync::watch, time::Instant};
use wakumix_keyring::KeyRing;
use wakumix_mix::{HopAddress, Ledger, Packet, Reliability, admission::Pressure};
use wakumix_sphinx::{PublicKey, Weaknesses};
use wakumix_telemetry::Telemetry;
use wakumix_waku::record::Capabilities;

use crate::{
    ActorHandle, DirectoryReader, Formats, Inbox, Service, Services, Supervisor, Workers,
    exit::ExitMessage,
    host::{HostAddresses, HostHandle, Reachability},
    mixer::{LocalPacket, MixerHandle},
    relay::{RelayHandle, RelayMessage},
    sender::{SenderHandle, SenderMessage},
};

/// The roles that a node can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Gossipsub and the lightpush service.
    Relay,
    /// Forwards packets.
    Mixer,
    /// The last hop of requests; forwards packets as well.
    Exit,
    /// Pushes over the mixnet.
    Sender,
}

impl RoleName {
    /// Every role, in the order in which they start.
    pub const ALL: [Self; 4] = [Self::Relay, Self::Mixer, Self::Exit, Self::Sender];

    /// The name in configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::Mixer => "mixer",
            Self::Exit => "exit",
            Self::Sender => "sender",
        }
    }
}

/// A text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a role; there are relay, mixer, exit and sender")]
pub struct UnknownRole;

impl FromStr for RoleName {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One role of a node, configured and not yet running.
pub trait Role: Send {
    /// Which role it is.
    fn name(&self) -> RoleName;

    /// The ENR capability bits that it lights while it runs (`spec/waku.md §6.2`).
    fn capabilities(&self) -> Capabilities;

    /// The request–response protocols that it answers, fed through the addresses in `ports`.
    fn services(&self, ports: &Ports) -> Vec<Service>;

    /// Starts it. Takes its own inbox out of `inboxes`.
    fn start(self: Box<Self>, context: &RoleContext, inboxes: &mut Inboxes) -> Result<Box<dyn RunningRole>, RoleError>;
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

/// The addresses of the actors of this node; `None` for a role that is off.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The host.
    pub host: HostHandle,
    /// The mixer: present in every node that forwards, exits or sends.
    pub mixer: Option<MixerHandle>,
    /// The exit.
    pub exit: Option<crate::Address<ExitMessage>>,
    /// The sender.
    pub sender: Option<SenderHandle>,
    /// The relay.
    pub relay: Option<RelayHandle>,
}

/// The receiving ends; each role takes its own when it starts.
#[derive(Default)]
pub struct Inboxes {
    /// The mixer's.
    pub mixer: Option<Inbox<Packet>>,
    /// The mixer's, for packets made here.
    pub local_packets: Option<Inbox<LocalPacket>>,
    /// The exit's.
    pub exit: Option<Inbox<ExitMessage>>,
    /// The sender's.
    pub sender: Option<Inbox<SenderMessage>>,
    /// The relay's.
    pub relay: Option<Inbox<RelayMessage>>,
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
