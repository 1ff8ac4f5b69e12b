//! A mixer between test doubles for host, exit and sender, in virtual time, with packets from a seed.

#![allow(dead_code, reason = "each test file uses its part")]

use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p_identity::PeerId;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::oneshot;
use tokio::time::Instant;
use wakumix_client::{Input, RequestId, SurbStore, TryId};
use wakumix_keyring::KeyRing;
use wakumix_mix::{
    Balance, DropReason, HopAddress, MixNode, Origin, Outcome, Packet, Stage, encode_cover, encode_reply,
};
use wakumix_mixer::{Config, CoverRule, Mixer, RunningMixer};
use wakumix_role_api::{
    Directory, Formats, Workers,
    exit::{ExitMessage, ExitPacket},
    host::{HostMessage, OutboundPacket, SendFailure},
    mixer::{LocalPacket, MixerHandle},
    sender::{SenderHandle, SenderMessage},
};
use wakumix_role_testkit::{Queues, Surroundings, hop, hop_address, mix_key, walk};
use wakumix_sphinx::{ADDRESS_LEN, FormatKind, PathHop, PrivateKey, Profile, Sphinx, Weaknesses, WireFormat};

pub(crate) const SEED: [u8; 32] = [7; 32];
pub(crate) const BODY: &[u8] = b"a message";
const BUFFERS: usize = 1024;

/// A mix node other than the one under test.
pub(crate) struct Peer {
    pub(crate) key: PrivateKey,
    pub(crate) address: HopAddress,
}

impl Peer {
    pub(crate) fn new(n: u16) -> Self {
        Self::at(n, &format!("10.0.0.{n}"))
    }

    /// One at another address.
    pub(crate) fn at(n: u16, ip: &str) -> Self {
        Self::at_port(n, ip, 60_000)
    }

    /// One at another address and port.
    pub(crate) fn at_port(n: u16, ip: &str, port: u16) -> Self {
        Self { key: mix_key(n), address: hop_address(n, &format!("/ip4/{ip}/tcp/{port}")) }
    }

    pub(crate) fn id(&self) -> PeerId {
        self.address.peer()
    }

    /// As discovery tells of it: it speaks every format.
    pub(crate) fn node(&self) -> MixNode {
        let formats = FormatKind::ALL.into_iter().collect();
        MixNode { formats, ..MixNode::new(self.address.clone(), self.key.public()) }
    }

    fn hop(&self, delay_ms: u16) -> PathHop {
        hop(&self.node(), delay_ms)
    }
}

/// How a fixture differs from the usual one.
pub(crate) struct Setup {
    pub(crate) config: Config,
    /// Replay tags that the key has room for.
    pub(crate) tags: usize,
    /// The keys of the mixer under test, if they are not one in memory; the first is made packets for.
    pub(crate) ring: Option<KeyRing>,
    pub(crate) forward: bool,
    pub(crate) host_queue: usize,
    /// Room in the exit's queue; `None`: no exit.
    pub(crate) exit_queue: Option<usize>,
    /// Room in the sender's queue; `None`: no sender.
    pub(crate) sender_queue: Option<usize>,
    /// Where the mixer under test is.
    pub(crate) ip: &'static str,
    /// Whether discovery knows the others.
    pub(crate) knows_others: bool,
    /// Whether it serves the second packet format as well.
    pub(crate) serves_both: bool,
    /// Countermeasures that are missing.
    pub(crate) weaknesses: Weaknesses,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            // Packets that nobody asked for would disturb what the tests count.
            config: Config { cover: CoverRule::Off, capacity: 10_000, ..Config::default() },
            tags: 4096,
            ring: None,
            forward: true,
            host_queue: 1024,
            exit_queue: Some(64),
            sender_queue: Some(64),
            ip: "10.0.0.1",
            knows_others: false,
            serves_both: false,
            weaknesses: Weaknesses::NONE,
        }
    }
}

/// The mixer under test and everything around it.
pub(crate) struct Fixture {
    pub(crate) mixer: RunningMixer,
    pub(crate) handle: MixerHandle,
    pub(crate) me: Peer,
    pub(crate) others: [Peer; 3],
    pub(crate) around: Surroundings,
    /// What opens the replies to this node.
    surbs: SurbStore,
    format: Sphinx,
    rng: StdRng,
}

impl Fixture {
    /// Pauses the clock of the actix system it runs in and starts a mixer: one a system.
    pub(crate) fn start(setup: Setup) -> Self {
        tokio::time::pause();
        let mut me = Peer::at(1, setup.ip);
        let second = setup.serves_both.then_some(WireFormat::SphinxPacket);
        let served = [WireFormat::default()].into_iter().chain(second);
        let formats = Formats::new(served.map(WireFormat::format), BUFFERS);
        let Setup { host_queue: host, exit_queue: exit, sender_queue: sender, .. } = setup;
        let queues = Queues { host, exit, sender, own: &[("mixer_local", 64)], ..Queues::default() };
        let mut around = Surroundings::new(&wakumix_mixer::METRICS, 1, formats, queues);
        around.hop_address.send_replace(Some(me.address.clone()));
        let context = &mut around.context;
        context.node.mix_keys = setup.ring.unwrap_or_else(|| KeyRing::fixed(me.key.clone(), setup.tags));
        context.workers = Workers::new(NonZeroUsize::new(2).unwrap(), context.supervisor.tasks().clone());
        context.weaknesses = setup.weaknesses;
        me.key = context.node.mix_keys.keys()[0].private().clone();
        let surbs = SurbStore::new(1024, Duration::from_secs(3600), Weaknesses::NONE);
        if let Some(sender) = context.ports.get::<SenderHandle>() {
            sender.replies().serve(surbs.clone());
        }
        let mut mixer = Mixer::with_seed(setup.config, setup.forward, SEED).unwrap();
        around.open(&mut mixer);
        let fixture = Self {
            mixer: mixer.start_mixer(&around.context).unwrap(),
            handle: around.context.ports.get().unwrap(),
            me,
            others: [2, 3, 4].map(Peer::new),
            around,
            surbs,
            format: Sphinx::new(Profile::default()),
            rng: StdRng::from_seed(SEED),
        };
        if setup.knows_others {
            fixture.discover(&fixture.others);
        }
        fixture
    }

    /// Packets are made for the key that is current now.
    pub(crate) fn take_up_current_key(&mut self) {
        let ring = &self.around.context.node.mix_keys;
        let (current, keys) = (ring.public(), ring.keys());
        self.me.key = keys.iter().find(|key| key.public() == current).unwrap().private().clone();
    }

    /// Discovery knows these nodes from now on.
    pub(crate) fn discover(&self, nodes: &[Peer]) {
        self.around
            .directory
            .publish(Directory { mix_nodes: nodes.iter().map(Peer::node).collect(), ..Directory::default() });
    }

    /// Lets everything happen that happens within a time.
    pub(crate) async fn run_for(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Lets everything happen that ever will: no delay is longer than 65.535 s, however it is cut.
    pub(crate) async fn run_to_rest(&self) {
        self.run_for(Duration::from_secs(70)).await;
    }

    // What arrives.

    /// Hands bytes to the mixer as the host does, all at once.
    pub(crate) async fn receive(&self, packets: &[Vec<u8>]) {
        for bytes in packets {
            assert!(self.handle.receive(self.around.received(bytes)), "the mixer has stopped");
        }
    }

    /// A packet whose first hop is the mixer under test and whose second is `others[0]`.
    pub(crate) fn forward_packet(&mut self, delay_ms: u16) -> Vec<u8> {
        let path = [self.me.hop(delay_ms), self.others[0].hop(0), self.others[1].hop(0)];
        self.build(&path)
    }

    /// A packet that asks to be passed on to the mixer under test itself.
    pub(crate) fn looping_packet(&mut self) -> Vec<u8> {
        let path = [self.me.hop(5), self.me.hop(5), self.others[1].hop(0)];
        self.build(&path)
    }

    /// A packet whose next hop is no address.
    pub(crate) fn packet_to_nowhere(&mut self) -> Vec<u8> {
        let mut nowhere = self.others[0].hop(0);
        nowhere.address = [0xff; ADDRESS_LEN];
        let path = [self.me.hop(5), nowhere, self.others[1].hop(0)];
        self.build(&path)
    }

    /// A packet for another node.
    pub(crate) fn foreign_packet(&mut self) -> Vec<u8> {
        let path = [self.others[0].hop(5), self.me.hop(0), self.others[1].hop(0)];
        self.build(&path)
    }

    /// A packet whose last hop is the mixer under test, as it arrives there.
    pub(crate) fn exit_packet(&mut self) -> Vec<u8> {
        let path = [self.others[0].hop(1), self.others[1].hop(1), self.me.hop(0)];
        let mut packet = self.build(&path);
        self.pass(&mut packet);
        packet
    }

    /// A reply to a request of this node, as it arrives there.
    pub(crate) fn reply_packet(&mut self) -> Vec<u8> {
        let path = [self.others[0].hop(1), self.others[1].hop(1), self.me.hop(0)];
        let (surb, keys) = self.format.create_surb(&mut self.rng, &path).unwrap();
        let request = RequestId(u64::try_from(self.surbs.len()).unwrap());
        self.surbs.insert(Duration::ZERO, TryId { request, number: 0 }, vec![keys]).unwrap();
        let mut packet = vec![0; self.around.buffers().buffer_len()];
        self.format.use_surb(&mut self.rng, surb, &encode_reply(BODY), &mut packet).unwrap();
        self.pass(&mut packet);
        packet
    }

    // What a role of this node sends.

    /// A packet made here, on its way to `to` after `hold`, and the end that hears how it left.
    pub(crate) fn local_packet(
        &mut self,
        to: &HopAddress,
        hold: Duration,
    ) -> (LocalPacket, oneshot::Receiver<Result<(), SendFailure>>) {
        let path = [self.others[0].hop(1), self.others[1].hop(1), self.others[2].hop(0)];
        let bytes = self.build(&path);
        let mut packet =
            Packet::originated(self.around.buffers().take().unwrap(), &self.around.context.ledger, Origin::Request);
        packet.bytes_mut().copy_from_slice(&bytes);
        let (done, outcome) = oneshot::channel();
        (LocalPacket { to: to.clone(), packet, hold, done: Some(done) }, outcome)
    }

    // What the others got.

    /// The packets of the next message to the host; fails when none can come any more.
    pub(crate) async fn next_to_host(&self) -> Vec<OutboundPacket> {
        let mut receiver = self.around.host.receiver().unwrap();
        match tokio::time::timeout_at(far_off(), receiver.recv()).await.unwrap().unwrap() {
            HostMessage::SendPackets(packets) => packets,
            other => panic!("not a packet: {other:?}"),
        }
    }

    /// All packets that wait at the host.
    pub(crate) fn at_host(&self) -> Vec<OutboundPacket> {
        let mut receiver = self.around.host.receiver().unwrap();
        let mut packets = Vec::new();
        while let Some(HostMessage::SendPackets(more)) = receiver.try_recv() {
            packets.extend(more);
        }
        packets
    }

    /// All packets that wait at the exit.
    pub(crate) fn at_exit(&self) -> Vec<ExitPacket> {
        let mut receiver = self.around.inboxes.exit.as_ref().unwrap().receiver().unwrap();
        let mut packets = Vec::new();
        while let Some(ExitMessage::Packet(packet)) = receiver.try_recv() {
            packets.push(packet);
        }
        packets
    }

    /// The answers that wait at the sender.
    pub(crate) fn at_sender(&self) -> Vec<Vec<u8>> {
        let mut receiver = self.around.inboxes.sender.as_ref().unwrap().receiver().unwrap();
        let mut answers = Vec::new();
        while let Some(SenderMessage::Client(input)) = receiver.try_recv() {
            let Input::Reply(_, Some(answer)) = *input else { panic!("{input:?}") };
            answers.push(answer);
        }
        answers
    }

    /// Takes everything that waits at host, exit and sender and ends it as they would; how many of each.
    pub(crate) fn consume_all(&self) -> (usize, usize, usize) {
        let (host, exit, sender) = (self.at_host(), self.at_exit(), self.at_sender());
        let counts = (host.len(), exit.len(), sender.len());
        host.into_iter().for_each(written);
        exit.into_iter().for_each(|packet| packet.packet.finish(Outcome::Delivered));
        counts
    }

    // The books.

    pub(crate) fn balance(&self) -> Balance {
        self.around.balance()
    }

    pub(crate) fn dropped(&self, stage: Stage, reason: DropReason) -> u64 {
        self.around.dropped(stage, reason)
    }

    /// At rest no packet is unaccounted for and none was let go of without an outcome.
    #[track_caller]
    pub(crate) fn assert_balanced(&self) {
        self.around.assert_balanced();
        let balance = self.balance();
        assert!(balance.dropped.iter().all(|(_, reason, _)| *reason != DropReason::Abandoned), "{balance:?}");
    }

    /// As [`Self::assert_balanced`], and nothing is held anywhere.
    #[track_caller]
    pub(crate) fn assert_finished(&self) {
        self.assert_balanced();
        assert_eq!(self.around.context.formats.held(), 0);
        assert_eq!(self.balance().unaccounted(0), 0);
    }

    /// Whether a packet opens at `peer`.
    pub(crate) fn opens_at(&self, peer: &Peer, bytes: &[u8]) -> bool {
        self.format.authenticate(&peer.key, bytes).is_ok()
    }

    fn build(&mut self, path: &[PathHop; 3]) -> Vec<u8> {
        let mut packet = vec![0; self.around.buffers().buffer_len()];
        self.format.build(&mut self.rng, path, &[0; ADDRESS_LEN], BODY, &mut packet).unwrap();
        packet
    }

    /// Carries a packet from its first hop over the others until it is for the mixer under test; which delays it asked
    /// for on the way, in milliseconds.
    pub(crate) fn carry(&self, first: &HopAddress, packet: &mut [u8]) -> Vec<u16> {
        let format = &self.around.served(packet.len()).format;
        let played = |at: &HopAddress| self.others.iter().find(|other| other.address == *at).map(|other| &other.key);
        let walk = walk(&**format, first, packet, played);
        assert_eq!(walk.hops.last(), Some(&self.me.address));
        walk.delays
    }

    /// A packet whose path ends at the mixer under test with this body.
    pub(crate) fn packet_with(&mut self, destination: &[u8; ADDRESS_LEN], body: &[u8]) -> Vec<u8> {
        let path = [self.others[0].hop(1), self.others[1].hop(1), self.me.hop(0)];
        let mut packet = vec![0; self.around.buffers().buffer_len()];
        self.format.build(&mut self.rng, &path, destination, body, &mut packet).unwrap();
        self.pass(&mut packet);
        packet
    }

    /// The body of cover as anybody makes it.
    pub(crate) fn cover_body(&mut self) -> Vec<u8> {
        encode_cover(&mut self.rng, &self.format)
    }

    /// Carries a packet over `others[0]` and `others[1]`.
    fn pass(&self, packet: &mut [u8]) {
        self.carry(&self.others[0].address, packet);
    }
}

/// Ends a packet as the host does once it is written.
pub(crate) fn written(outbound: OutboundPacket) {
    let received = outbound.packet.origin().is_none();
    outbound.packet.finish(if received { Outcome::Forwarded } else { Outcome::Sent });
    if let Some(done) = outbound.done {
        let _ = done.send(Ok(()));
    }
}

/// It is `delay` after `started`, in virtual time; tokio's timer rounds up to its tick of a millisecond.
#[track_caller]
pub(crate) fn assert_is_due(started: Instant, delay: Duration) {
    let elapsed = started.elapsed();
    assert!(elapsed >= delay, "{elapsed:?} is before {delay:?}");
    assert!(elapsed <= delay + Duration::from_millis(1), "{elapsed:?} is after {delay:?}");
}

/// By when a stop must be done that has time for everything.
pub(crate) fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(100)
}
