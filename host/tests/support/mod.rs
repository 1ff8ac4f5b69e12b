//! Hosts on loopback, and bare libp2p peers that do what no host does.
#![allow(dead_code, reason = "each test file uses its own part")]

mod from;
pub(crate) mod raw;
pub(crate) mod relay;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use libp2p::{Multiaddr, PeerId, identity::Keypair, multiaddr::Protocol};
use tokio::{
    sync::{broadcast, oneshot},
    time::Instant,
};
use wakumix_host::{HostConfig, HostParts, MixPort, RunningHost, start};
use wakumix_mix::{HopAddress, Ledger, Origin, Packet, admission::Capacity};
use wakumix_role_api::{
    Address, Formats, Receiver, Services, StopReport, Tasks,
    host::{HostAddresses, HostHandle, OutboundPacket, PeerEvent, Reach, SendFailure},
    mailbox,
    mixer::MixerHandle,
    relay::RelayMessage,
};
pub(crate) use wakumix_role_testkit::{until, within};
use wakumix_sphinx::{BufferPool, FormatKind, WireFormat};
use wakumix_telemetry::Telemetry;

/// Bytes of a packet without proof.
pub(crate) const PACKET_LEN: usize = 4608;

pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";
pub(crate) const WEBSOCKET: &str = "/ip4/127.0.0.1/tcp/0/ws";

/// All peers of a test share it.
pub(crate) const LOOPBACK: &str = "127.0.0.0/8";

/// How a node of a test differs from the usual one.
pub(crate) struct Setup {
    pub(crate) identity: Keypair,
    pub(crate) config: HostConfig,
    pub(crate) buffers: usize,
    pub(crate) formats: Vec<WireFormat>,
    /// Messages that the mixer's queue holds.
    pub(crate) mixer_queue: usize,
    pub(crate) relay: Option<Address<RelayMessage>>,
    pub(crate) services: Services,
    pub(crate) mix: bool,
}

impl Setup {
    pub(crate) fn listening(addresses: &[&str]) -> Self {
        let listen = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut config = HostConfig { listen, score_colocation: false, cluster: 66, ..HostConfig::default() };
        config.connections.shared_addresses = vec![LOOPBACK.parse().unwrap()];
        Self {
            identity: Keypair::from(libp2p::identity::secp256k1::Keypair::generate()),
            config,
            buffers: 1024,
            formats: vec![WireFormat::default()],
            mixer_queue: 8192,
            relay: None,
            services: Services::default(),
            mix: true,
        }
    }

    pub(crate) async fn start(self) -> Node {
        self.try_start().await.expect("the host starts")
    }

    pub(crate) async fn try_start(self) -> Result<Node, wakumix_host::HostError> {
        let telemetry = wakumix_role_testkit::telemetry(&wakumix_host::METRICS);
        let (host_address, inbox) = mailbox("host", 1024, &telemetry);
        let handle = HostHandle::new(host_address);
        let (received, mixer_inbox) = mailbox("mixer", self.mixer_queue, &telemetry);
        let (local, _) = mailbox("mixer_local", 1, &telemetry);
        let (tasks, _fatal) = Tasks::new(tokio::runtime::Handle::current(), telemetry.clone());
        let formats = Formats::new(self.formats.iter().map(|format| format.format()), self.buffers);
        let buffers = formats.preferred().unwrap().buffers.clone();
        let ledger = Ledger::new();
        let (events, listener) = broadcast::channel(256);
        let mix = self.mix.then(|| MixPort {
            mixer: MixerHandle::new(received, local),
            lines: handle.lines().clone(),
            formats: formats.clone(),
            ledger: ledger.clone(),
            pressure: Arc::default(),
        });
        let parts = HostParts {
            events,
            identity: self.identity.clone(),
            inbox,
            mix,
            relay: self.relay,
            services: self.services,
            telemetry: telemetry.clone(),
            tasks,
        };
        let host = start(self.config, parts).await?;
        let packets = mixer_inbox.receiver().expect("the test is the only reader");
        let identity = self.identity;
        Ok(Node { host, handle, events: listener, packets, formats, buffers, ledger, telemetry, identity })
    }
}

/// A host with the test in the place of all its roles.
pub(crate) struct Node {
    pub(crate) host: RunningHost,
    pub(crate) handle: HostHandle,
    pub(crate) events: broadcast::Receiver<PeerEvent>,
    pub(crate) packets: Receiver<Packet>,
    pub(crate) formats: Formats,
    /// Those of the preferred format.
    pub(crate) buffers: BufferPool,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) telemetry: Telemetry,
    pub(crate) identity: Keypair,
}

/// How a packet that was sent ended.
pub(crate) type Sent = oneshot::Receiver<Result<(), SendFailure>>;

impl Node {
    pub(crate) fn peer(&self) -> PeerId {
        self.host.peer()
    }

    /// The `n`th bound address with the peer id.
    pub(crate) fn full_address(&self, n: usize) -> Multiaddr {
        self.host.listen_addresses()[n].clone().with(Protocol::P2p(self.peer()))
    }

    /// The `n`th bound address as a header carries it.
    pub(crate) fn hop(&self, n: usize) -> HopAddress {
        HopAddress::from_multiaddr(&self.host.listen_addresses()[n], self.peer()).unwrap()
    }

    /// Sends packet number `number`.
    pub(crate) fn send(&self, to: &HopAddress, number: u32) -> Sent {
        self.send_in(&self.buffers, to, Reach::Dial, number)
    }

    /// Sends packet number `number` if the peer is connected.
    pub(crate) fn send_if_connected(&self, to: &HopAddress, number: u32) -> Sent {
        self.send_in(&self.buffers, to, Reach::ConnectedOnly, number)
    }

    /// Sends packet number `number` of another format.
    pub(crate) fn send_as(&self, kind: FormatKind, to: &HopAddress, number: u32) -> Sent {
        self.send_in(&self.formats.of_kind(kind).expect("a format that is served").buffers, to, Reach::Dial, number)
    }

    fn send_in(&self, buffers: &BufferPool, to: &HopAddress, reach: Reach, number: u32) -> Sent {
        let mut buffer = buffers.take().expect("a free buffer");
        buffer.fill(number.to_le_bytes()[0]);
        buffer[..4].copy_from_slice(&number.to_le_bytes());
        let packet = Packet::originated(buffer, &self.ledger, Origin::Request);
        let (done, sent) = oneshot::channel();
        self.handle.send_packets(vec![OutboundPacket { to: to.clone(), reach, packet, done: Some(done) }]).unwrap();
        sent
    }

    /// The next packet that arrives.
    pub(crate) async fn receive(&mut self) -> Packet {
        within(self.packets.recv()).await.expect("the host is there")
    }

    /// The number of the next packet that arrives, after a look at all of its bytes.
    pub(crate) async fn receive_number(&mut self) -> u32 {
        let packet = self.receive().await;
        let (number, rest) = packet.bytes().split_first_chunk().unwrap();
        assert_eq!(packet.bytes().len(), PACKET_LEN);
        assert!(rest.iter().all(|byte| *byte == number[0]), "the packet was damaged");
        let number = u32::from_le_bytes(*number);
        packet.finish(wakumix_mix::Outcome::Delivered);
        number
    }

    /// The numbers of the next `count` packets, sorted.
    pub(crate) async fn receive_numbers(&mut self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.receive_number().await);
        }
        numbers.sort_unstable();
        numbers
    }

    /// Stays connected to a peer and waits until it is connected.
    pub(crate) async fn connect(&self, address: Multiaddr) {
        self.handle.keep_connected(vec![address]).await;
        self.peers(1).await;
    }

    /// Waits until what the host says of its addresses is as wanted.
    pub(crate) async fn addresses(&self, wanted: impl FnMut(&HostAddresses) -> bool) -> HostAddresses {
        let mut addresses = self.host.addresses();
        within(addresses.wait_for(wanted)).await.expect("the host runs").clone()
    }

    /// The next event of the wanted kind; others are skipped.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(PeerEvent) -> Option<T>) -> T {
        within(async {
            loop {
                let event = self.events.recv().await.expect("the host runs and no event was missed");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        })
        .await
    }

    /// Waits until so many peers are connected.
    pub(crate) async fn peers(&self, count: usize) {
        until(async || self.handle.status().await.unwrap().connected_peers == count).await;
    }

    /// The value of a series on the metrics page; 0 if it is not there.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let page = self.telemetry.render();
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.map_or(0, |value| value.trim().parse().unwrap())
    }

    /// Dropped packets, all reasons.
    pub(crate) fn dropped(&self, stage: wakumix_mix::Stage, reason: wakumix_mix::DropReason) -> u64 {
        let drops = self.ledger.snapshot().dropped;
        drops.iter().filter(|(s, r, _)| (*s, *r) == (stage, reason)).map(|(.., count)| count).sum()
    }

    /// No packet is held and none is lost.
    pub(crate) fn assert_balanced(&self) {
        assert_eq!(self.formats.held(), 0, "{:?}", self.ledger);
        assert_eq!(self.ledger.snapshot().unaccounted(0), 0, "{:?}", self.ledger);
    }

    pub(crate) async fn stop(self) -> StopReport {
        within(self.host.stop(Instant::now() + Duration::from_secs(10))).await
    }
}

/// All of them were written.
pub(crate) async fn all_sent(sent: Vec<Sent>) {
    for outcome in sent {
        assert_eq!(within(outcome).await.unwrap(), Ok(()));
    }
}

/// What a mixer bears that opens so many packets per second and has the usual queues.
pub(crate) fn capacity(packets_per_second: u32) -> Capacity {
    let packets_per_second = NonZeroU32::new(packets_per_second).expect("some packets");
    Capacity { packets_per_second, waiting: 1024, held: 8192 }
}
