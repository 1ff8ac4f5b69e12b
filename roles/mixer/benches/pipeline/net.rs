//! A mixer, and the packets that it is sent.

use std::num::NonZeroUsize;
use std::sync::Arc;

use libp2p_identity::{Keypair, secp256k1};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;
use wakumix_keyring::KeyRing;
use wakumix_mix::{HopAddress, Ledger, Outcome, Packet};
use wakumix_mixer::{Config, DelayRule, Mixer, RunningMixer};
use wakumix_role_api::{
    DirectoryPublisher, Formats, Inbox, Inboxes, LocalNode, Ports, RoleContext, Services, Supervisor, Tasks, Workers,
    host::{HostAddresses, HostHandle, HostMessage},
    mailbox,
    mixer::MixerHandle,
};
use wakumix_sphinx::{ADDRESS_LEN, BufferPool, Opened, PathHop, PrivateKey, Sphinx, Weaknesses};
use wakumix_telemetry::Telemetry;

/// Packets in the mixer at a time: less than any of its queues holds, so that none is refused.
const WINDOW: usize = 512;
/// Packets in one message to the mixer.
const MESSAGE: usize = 32;
/// Bytes of the body of each packet.
const BODY: [u8; 3000] = [0xA5; 3000];

/// A running mixer between a feeder and a stand-in for the host.
pub(crate) struct Net {
    format: Sphinx,
    key: Arc<PrivateKey>,
    path: [PathHop; 3],
    rng: StdRng,
    buffers: BufferPool,
    ledger: Arc<Ledger>,
    mixer: MixerHandle,
    host: Inbox<HostMessage>,
    _running: RunningMixer,
}

impl Net {
    /// A mixer that will get `rounds` rounds of so many packets.
    pub(crate) fn start(profile: &str, rounds: usize, packets: usize) -> Self {
        let format = Sphinx::new(profile.parse().unwrap());
        let (keys, addresses) = ([1, 2, 3].map(|n| PrivateKey::from_bytes([n; 32])), [1, 2, 3].map(address));
        let hop = |n: usize| PathHop { key: keys[n].public(), address: addresses[n].encode(), delay_ms: 0 };
        let path = [hop(0), hop(1), hop(2)];
        let [key, ..] = keys;
        let key = Arc::new(key);
        let telemetry = Telemetry::new();
        let (host_address, host) = mailbox("host", 1024, &telemetry);
        let (received, inbox) = mailbox("mixer", 4096, &telemetry);
        let (local, local_inbox) = mailbox("mixer_local", 256, &telemetry);
        let mixer = MixerHandle::new(received, local);
        let (_, hop_address) = watch::channel(Some(addresses[0].clone()));
        let (_, host_addresses) = watch::channel(HostAddresses::default());
        let (tasks, _) = Tasks::new(Handle::current(), telemetry.clone());
        let supervisor = Supervisor::new(tasks.clone());
        let context = RoleContext {
            node: LocalNode {
                peer: addresses[0].peer(),
                mix_keys: KeyRing::fixed((*key).clone(), (rounds * packets).max(1024)),
                hop_address,
                addresses: host_addresses,
            },
            formats: Formats::one(format, 2 * WINDOW),
            ledger: Ledger::new(),
            directory: DirectoryPublisher::new().1,
            pressure: Arc::default(),
            reliability: Arc::default(),
            epoch: Instant::now(),
            ports: Ports {
                host: HostHandle::new(host_address),
                mixer: Some(mixer.clone()),
                exit: None,
                sender: None,
                relay: None,
            },
            services: Services::default(),
            supervisor,
            workers: Workers::new(NonZeroUsize::MIN, tasks),
            telemetry,
            weaknesses: Weaknesses::NONE,
        };
        let config = Config { delay: DelayRule::Exponential, ..Config::default() };
        let mut inboxes = Inboxes { mixer: Some(inbox), local_packets: Some(local_inbox), ..Inboxes::default() };
        let running = Mixer::new(config, true).unwrap().start_mixer(&context, &mut inboxes).unwrap();
        Self {
            format,
            key,
            path,
            rng: StdRng::seed_from_u64(1),
            buffers: context.formats.preferred().unwrap().buffers.clone(),
            ledger: context.ledger,
            mixer,
            host,
            _running: running,
        }
    }

    /// Packets that the mixer has not seen.
    pub(crate) fn build(&mut self, count: usize, delay_ms: u16) -> Vec<Vec<u8>> {
        let mut path = self.path;
        path[0].delay_ms = delay_ms;
        let mut build = || {
            let mut packet = vec![0; self.buffers.buffer_len()];
            self.format.build(&mut self.rng, &path, &[0; ADDRESS_LEN], &BODY, &mut packet).unwrap();
            packet
        };
        (0..count).map(|_| build()).collect()
    }

    /// The cryptography of a hop, and nothing else.
    pub(crate) fn open_all(&self, packets: &[Vec<u8>]) {
        let mut buffer = vec![0; self.buffers.buffer_len()];
        for packet in packets {
            buffer.copy_from_slice(packet);
            let authenticated = self.format.authenticate(&self.key, &buffer).unwrap();
            match self.format.open(&mut buffer, authenticated).unwrap() {
                Opened::Forward { blinding, .. } => self.format.blind(&mut buffer, blinding).unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The whole way: hands packets to the mixer and takes them back from it, [`WINDOW`] of them on the way.
    pub(crate) async fn forward_all(&self, packets: &[Vec<u8>]) {
        let mut host = self.host.receiver().unwrap();
        let mut messages = packets.chunks(MESSAGE);
        let (mut on_the_way, mut left) = (0, packets.len());
        while left > 0 {
            while on_the_way + MESSAGE <= WINDOW
                && let Some(chunk) = messages.next()
            {
                on_the_way += chunk.len();
                chunk.iter().for_each(|bytes| assert!(self.mixer.receive(self.received(bytes))));
            }
            let Some(HostMessage::SendPackets(released)) = host.recv().await else { panic!("the mixer has ended") };
            on_the_way -= released.len();
            left -= released.len();
            released.into_iter().for_each(|outbound| outbound.packet.settle(Outcome::Forwarded));
        }
        assert_eq!(self.ledger.snapshot().dropped_total(), 0);
    }

    fn received(&self, bytes: &[u8]) -> Packet {
        let mut packet = Packet::received(self.buffers.take().unwrap(), &self.ledger);
        packet.bytes_mut().copy_from_slice(bytes);
        packet
    }
}

fn address(n: u8) -> HopAddress {
    let mut secret = [n; 32];
    let secret = secp256k1::SecretKey::try_from_bytes(&mut secret).unwrap();
    let identity = Keypair::from(secp256k1::Keypair::from(secret));
    let address = format!("/ip4/10.0.0.{n}/tcp/60000").parse().unwrap();
    HopAddress::from_multiaddr(&address, identity.public().to_peer_id()).unwrap()
}
