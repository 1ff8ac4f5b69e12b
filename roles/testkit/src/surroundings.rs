//! Everything around one role.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};
use wakumix_keyring::KeyRing;
use wakumix_mix::{Balance, DropReason, HopAddress, Ledger, Packet, Stage};
use wakumix_role_api::{
    DirectoryPublisher, Formats, Inbox, LocalNode, Opening, Ports, Role, RoleContext, RunningRole, Served, Services,
    Supervisor, Workers,
    exit::{self, ExitMessage},
    host::{HostAddresses, HostHandle, HostMessage},
    mailbox,
    mixer::{self, LocalPacket, MixerHandle},
    relay::{self, RelayHandle, RelayMessage},
    sender::{self, SenderHandle, SenderMessage},
};
use wakumix_sphinx::{BufferPool, Weaknesses};
use wakumix_telemetry::Catalogue;

use crate::{mix_key, node, telemetry};

/// How many messages the queue of each other actor takes; `None`: the node does not have that role.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// The host's.
    pub host: usize,
    /// The mixer's, for packets made here.
    pub mixer: Option<usize>,
    /// The exit's.
    pub exit: Option<usize>,
    /// The sender's.
    pub sender: Option<usize>,
    /// The relay's.
    pub relay: Option<usize>,
    /// Queues of the role under test that are to have another room than usual, by name.
    pub own: &'static [(&'static str, usize)],
}

impl Default for Queues {
    fn default() -> Self {
        Self { host: 8, mixer: None, exit: None, sender: None, relay: None, own: &[] }
    }
}

/// The receiving ends of roles that the test plays.
#[derive(Debug, Default)]
pub struct Inboxes {
    /// The mixer's, for packets made here.
    pub local_packets: Option<Inbox<LocalPacket>>,
    /// The exit's.
    pub exit: Option<Inbox<ExitMessage>>,
    /// The sender's.
    pub sender: Option<Inbox<SenderMessage>>,
    /// The relay's.
    pub relay: Option<Inbox<RelayMessage>>,
}

/// What one role is started with, and the ends of it that the test holds. Actors run on the caller's thread, so that its
/// clock governs them.
pub struct Surroundings {
    /// Of the role under test. What a test wants otherwise it changes before the start.
    pub context: RoleContext,
    /// Those of the roles that the test plays.
    pub inboxes: Inboxes,
    /// The host's.
    pub host: Inbox<HostMessage>,
    /// What discovery knows: nothing yet.
    pub directory: DirectoryPublisher,
    /// Where a header addresses this node.
    pub hop_address: watch::Sender<Option<HopAddress>>,
    /// What the host knows of this node's addresses: nothing yet.
    pub host_addresses: watch::Sender<HostAddresses>,
    /// Queues of the role under test.
    own: &'static [(&'static str, usize)],
}

impl Surroundings {
    /// Around the node of this seed, with the metrics of the role under test and these formats and queues.
    #[must_use]
    pub fn new(metrics: &'static Catalogue, seed: u16, formats: Formats, queues: Queues) -> Self {
        let telemetry = telemetry(metrics);
        let (host_address, host) = mailbox("host", queues.host, &telemetry);
        let mut ports = Ports::new(HostHandle::new(host_address));
        let mut inboxes = Inboxes::default();
        if let Some(room) = queues.mixer {
            let (received, _) = mailbox("mixer", 1, &telemetry);
            let (local, inbox) = mailbox("mixer_local", room, &telemetry);
            ports.insert(mixer::NAME, MixerHandle::new(received, local)).unwrap();
            inboxes.local_packets = Some(inbox);
        }
        if let Some(room) = queues.exit {
            let (exit, inbox) = mailbox::<ExitMessage>("exit", room, &telemetry);
            ports.insert(exit::NAME, exit).unwrap();
            inboxes.exit = Some(inbox);
        }
        if let Some(room) = queues.sender {
            let (sender, inbox) = mailbox("sender", room, &telemetry);
            ports.insert(sender::NAME, SenderHandle::new(sender)).unwrap();
            inboxes.sender = Some(inbox);
        }
        if let Some(room) = queues.relay {
            let (relay, inbox) = mailbox("relay", room, &telemetry);
            ports.insert(relay::NAME, RelayHandle::new(relay)).unwrap();
            inboxes.relay = Some(inbox);
        }
        let me = node(seed).address;
        let peer = me.peer();
        let (hop_address, own_hop_address) = watch::channel(Some(me));
        let (host_addresses, addresses) = watch::channel(HostAddresses::default());
        let (supervisor, _fatal) = Supervisor::on_current_thread(telemetry.clone());
        let (publisher, directory) = DirectoryPublisher::new();
        let mix_keys = KeyRing::fixed(mix_key(seed), 4096);
        let context = RoleContext {
            node: LocalNode { peer, mix_keys, hop_address: own_hop_address, addresses },
            formats,
            ledger: Ledger::new(),
            directory,
            pressure: Arc::default(),
            reliability: Arc::default(),
            epoch: Instant::now(),
            ports,
            services: Services::default(),
            workers: Workers::new(NonZeroUsize::MIN, supervisor.tasks().clone()),
            supervisor,
            telemetry,
            weaknesses: Weaknesses::NONE,
        };
        Self { context, inboxes, host, directory: publisher, hop_address, host_addresses, own: queues.own }
    }

    /// Opens the queues of the role under test and takes its services, as a node does.
    pub fn open(&mut self, role: &mut impl Role) {
        let RoleContext { formats, workers, telemetry, ports, .. } = &mut self.context;
        let mut opening = Opening { role: role.name(), formats, workers, telemetry, ports, capacities: self.own };
        role.open(&mut opening).unwrap();
        let services = role.services(&self.context.ports);
        if !services.is_empty() {
            self.context.services = Services::new([(role.name().as_str(), services)]).unwrap();
        }
    }

    /// Opens and starts the role under test.
    pub fn start(&mut self, mut role: impl Role + 'static) -> Box<dyn RunningRole> {
        self.open(&mut role);
        Box::new(role).start(&self.context).unwrap()
    }

    /// The preferred format with its buffers.
    #[must_use]
    pub fn preferred(&self) -> &Served {
        self.context.formats.preferred().unwrap()
    }

    /// The buffers of the preferred format.
    #[must_use]
    pub fn buffers(&self) -> &BufferPool {
        &self.preferred().buffers
    }

    /// The format whose packets have this length.
    #[must_use]
    pub fn served(&self, packet_len: usize) -> &Served {
        self.context.formats.all().iter().find(|served| served.format.packet_len() == packet_len).unwrap()
    }

    /// A packet with these bytes, as it comes from the host.
    pub fn received(&self, bytes: &[u8]) -> Packet {
        let mut packet = Packet::received(self.served(bytes.len()).buffers.take().unwrap(), &self.context.ledger);
        packet.bytes_mut().copy_from_slice(bytes);
        packet
    }

    /// How many packets of which kind came in and how they ended.
    #[must_use]
    pub fn balance(&self) -> Balance {
        self.context.ledger.snapshot()
    }

    /// How many packets were dropped at this place for this reason.
    #[must_use]
    pub fn dropped(&self, stage: Stage, reason: DropReason) -> u64 {
        let dropped = self.balance().dropped;
        dropped.iter().find(|(at, why, _)| (*at, *why) == (stage, reason)).map_or(0, |(.., count)| *count)
    }

    /// Every packet is held or has its outcome.
    #[track_caller]
    pub fn assert_balanced(&self) {
        let balance = self.balance();
        assert_eq!(balance.unaccounted(u64::try_from(self.context.formats.held()).unwrap()), 0, "{balance:?}");
    }

    /// Waits until no packet is held; every one has its outcome.
    pub async fn finished(&self) {
        while self.context.formats.held() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.assert_balanced();
    }
}
