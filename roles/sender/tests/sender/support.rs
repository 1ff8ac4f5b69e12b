//! A sender with everything around it played by the test: the clock stands still, the mixer's queue is read by hand,
//! and packets are really unwrapped with the keys of the nodes on their path.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use wakumix_mix::{Body, DropReason, HopAddress, LoopPlace, Outcome, Request, encode_reply};
use wakumix_role_api::{
    Directory, Formats, Receiver, RoleName, RunningRole,
    directory::ServiceNode,
    host::SendFailure,
    mixer::LocalPacket,
    relay::{Received, RelayMessage},
    sender::{
        Anonymity, Answer, Certainty, ClientError, DeliveryPath, DirectPush, Exposure, LoopOutcome, PlainPush,
        PushFailure, ReplyPacket, SenderHandle,
    },
};
use wakumix_role_testkit::{Queues, Surroundings, Walk, mix_key, shows, walk};
pub(crate) use wakumix_role_testkit::{node, peer};
use wakumix_sender::{Config, SenderRole};
use wakumix_sphinx::{AddressBytes, Opened, PacketFormat, PrivateKey, Profile, Sphinx, Surb, SurbId};
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, v3},
};

pub(crate) const TOPIC: &str = "/waku/2/rs/2/0";
/// The sender among the nodes of [`peer`].
pub(crate) const ME: u16 = 200;
const BUFFERS: usize = 32;
/// The line of the metrics page when no request holds a reply block.
pub(crate) const NO_CREDENTIALS: &str = "mix_surb_creds_active 0";
/// Packets that the test double mixer's queue holds.
pub(crate) const MIXER_QUEUE: usize = 8;

/// The pool `1..=size` in which node 1 serves lightpush.
pub(crate) fn directory(size: u16) -> Directory {
    let service = ServiceNode::new(peer(1), vec![node(1).address.multiaddr()]);
    Directory { mix_nodes: (1..=size).map(node).collect(), lightpush: vec![service], ..Directory::default() }
}

pub(crate) fn message(payload: &[u8]) -> WakuMessage {
    WakuMessage {
        payload: payload.to_vec(),
        content_topic: "/mixtest/1/chat/proto".to_owned(),
        timestamp: Some(1_756_000_000_123_456_789),
        ..WakuMessage::default()
    }
}

pub(crate) type Outcomes = JoinHandle<Result<Answer, PushFailure>>;
pub(crate) type Loops = JoinHandle<Result<LoopOutcome, ClientError>>;

/// The sender and its surroundings.
pub(crate) struct World {
    pub(crate) handle: SenderHandle,
    pub(crate) role: Box<dyn RunningRole>,
    pub(crate) around: Surroundings,
    pub(crate) mixer: Receiver<LocalPacket>,
    /// What the sender pushes without the mixnet.
    pub(crate) direct: mpsc::Receiver<Direct>,
    /// What the sender asks the relay for, if there is one.
    pub(crate) relay: Option<Receiver<RelayMessage>>,
    keys: HashMap<PeerId, PrivateKey>,
    rng: StdRng,
}

/// What a world is made of; by default a sender with the newest profile, without relay.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) formats: Vec<Arc<dyn PacketFormat>>,
    pub(crate) has_relay: bool,
    pub(crate) mixer_queue: usize,
    pub(crate) buffers: usize,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: Config::default(),
            formats: vec![Arc::new(Sphinx::new(Profile::default()))],
            has_relay: false,
            mixer_queue: MIXER_QUEUE,
            buffers: BUFFERS,
        }
    }
}

/// A message that the sender pushes without the mixnet.
pub(crate) struct Direct {
    pub(crate) request: DirectPush,
    pub(crate) limit: Duration,
    /// Dropping it makes the push panic.
    pub(crate) reply: oneshot::Sender<Result<Answer, PushFailure>>,
}

/// The node's port for such messages, played by the test.
fn plain_push() -> (PlainPush, mpsc::Receiver<Direct>) {
    let (asked, direct) = mpsc::channel(8);
    let plain = PlainPush::new(move |request, limit| {
        let asked = asked.clone();
        async move {
            let (reply, outcome) = oneshot::channel();
            asked.send(Direct { request, limit, reply }).await.unwrap();
            outcome.await.unwrap()
        }
    });
    (plain, direct)
}

/// What reached an exit, whatever its protocol.
pub(crate) struct Landed {
    pub(crate) exit: PeerId,
    /// Every hop that it passed, the exit last.
    pub(crate) way: Vec<PeerId>,
    pub(crate) destination: AddressBytes,
    pub(crate) codec: String,
    pub(crate) data: Vec<u8>,
    pub(crate) surbs: Vec<Surb>,
}

/// A lightpush request that reached an exit.
pub(crate) struct AtExit {
    pub(crate) exit: PeerId,
    pub(crate) destination: AddressBytes,
    pub(crate) codec: String,
    pub(crate) request: v3::Request,
    pub(crate) surbs: Vec<Surb>,
}

/// A reply or loop at the sender's door.
#[derive(Clone)]
pub(crate) struct AtSender {
    pub(crate) id: SurbId,
    /// The hops that it has passed.
    pub(crate) way: Vec<PeerId>,
    /// Where the last of them found this node.
    pub(crate) address: HopAddress,
    pub(crate) bytes: Vec<u8>,
}

impl World {
    /// Stops the clock too; a test with several worlds does that itself and takes [`World::with_profile`].
    pub(crate) fn new(config: Config) -> Self {
        tokio::time::pause();
        Self::with_profile(config, Profile::default())
    }

    pub(crate) fn with_profile(config: Config, profile: Profile) -> Self {
        Self::with(Setup { config, formats: vec![Arc::new(Sphinx::new(profile))], ..Setup::default() })
    }

    /// A further world of a test, which knows these nodes.
    pub(crate) fn knowing(config: Config, known: Directory) -> Self {
        let world = Self::with_profile(config, Profile::default());
        world.around.directory.publish(known);
        world
    }

    /// A sender beside a relay, and what the relay shows it.
    pub(crate) async fn beside_relay(setup: Setup) -> (Self, broadcast::Sender<Received>) {
        tokio::time::pause();
        let mut world = Self::with(Setup { has_relay: true, ..setup });
        let Some(RelayMessage::Follow(follower)) = world.relay.as_mut().unwrap().recv().await else { panic!() };
        let (relay, accepted) = broadcast::channel(4);
        follower.send(accepted).unwrap();
        (world, relay)
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let Setup { config, formats, has_relay, mixer_queue, buffers } = setup;
        let relay = has_relay.then_some(4);
        let queues = Queues { mixer: Some(mixer_queue), relay, own: &[("sender", 512)], ..Queues::default() };
        let mut around = Surroundings::new(&wakumix_sender::METRICS, ME, Formats::new(formats, buffers), queues);
        around.directory.publish(directory(6));
        let (plain, direct) = plain_push();
        around.context.ports.insert(RoleName::new("node"), plain).unwrap();
        let role = around.start(SenderRole::with_rng(config, StdRng::seed_from_u64(7)).unwrap());
        Self {
            handle: around.context.ports.get().unwrap(),
            role,
            mixer: around.inboxes.local_packets.as_ref().unwrap().receiver().unwrap(),
            direct,
            relay: around.inboxes.relay.as_ref().map(|inbox| inbox.receiver().unwrap()),
            around,
            keys: (1..=30).chain([ME]).map(|seed| (peer(seed), mix_key(seed))).collect(),
            rng: StdRng::seed_from_u64(8),
        }
    }

    /// Pushes in its own task.
    pub(crate) fn push(&self, payload: &[u8]) -> Outcomes {
        self.push_with(message(payload), None, None)
    }

    pub(crate) fn push_with(&self, message: WakuMessage, exit: Option<PeerId>, timeout: Option<Duration>) -> Outcomes {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.push(message, Some(TOPIC.to_owned()), exit, timeout).await })
    }

    pub(crate) fn push_as(&self, anonymity: Anonymity, payload: &[u8]) -> Outcomes {
        let (handle, message) = (self.handle.clone(), message(payload));
        tokio::spawn(async move { handle.push_as(anonymity, message, Some(TOPIC.to_owned()), None, None).await })
    }

    /// Sends a loop in its own task.
    pub(crate) fn probe(&self, through: PeerId, place: LoopPlace, timeout: Option<Duration>) -> Loops {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.probe(through, place, timeout).await })
    }

    /// The next packet that the mixer is given.
    pub(crate) async fn dispatch(&mut self) -> LocalPacket {
        self.mixer.recv().await.unwrap()
    }

    /// The next packet, written to its first hop and carried to its exit.
    pub(crate) async fn arrival(&mut self) -> AtExit {
        let local = self.dispatch().await;
        self.carry(local)
    }

    pub(crate) fn carry(&self, local: LocalPacket) -> AtExit {
        let Landed { exit, destination, codec, data, surbs, .. } = self.land(local);
        let (data, _) = frame::decode(&data, 8192).unwrap().unwrap();
        AtExit { exit, destination, codec, request: v3::Request::decode(data).unwrap(), surbs }
    }

    /// The next message that is pushed directly, confirmed as published to five peers.
    pub(crate) async fn serve_directly(&mut self) -> (DirectPush, Duration) {
        let Direct { request, limit, reply } = self.direct.recv().await.unwrap();
        let answer = Answer {
            certainty: Certainty::Confirmed,
            path: DeliveryPath::Direct(None),
            tries: 1,
            exposure: Exposure::default(),
            status: 200,
            description: None,
            relay_peer_count: Some(5),
            message_hash: None,
            round_trip: Duration::ZERO,
        };
        reply.send(Ok(answer)).unwrap();
        (request, limit)
    }

    /// Writes a packet to its first hop and carries it to its exit.
    pub(crate) fn land(&self, local: LocalPacket) -> Landed {
        let LocalPacket { to, packet, done, .. } = local;
        let format = Arc::clone(&self.around.context.formats.of(&packet).unwrap().format);
        let mut bytes = packet.bytes().to_vec();
        packet.finish(Outcome::Sent);
        // The request may be over.
        let _ = done.unwrap().send(Ok(()));
        let (way, opened) = self.way(&to, &mut bytes);
        let Opened::Exit { destination, body } = opened else { panic!("{opened:?}") };
        let Body::Request(request) = Request::decode(&*format, &bytes[body]).unwrap() else { panic!("cover") };
        Landed {
            exit: way.last().unwrap().peer(),
            way: way.iter().map(HopAddress::peer).collect(),
            destination,
            codec: request.codec.to_owned(),
            data: request.data.to_vec(),
            surbs: request.surbs,
        }
    }

    /// Sends an answer through a reply block to the sender's door.
    pub(crate) fn answer(&mut self, surb: Surb, data: &[u8]) -> AtSender {
        self.answer_body(surb, &encode_reply(data))
    }

    /// The same with a body that need not be a reply.
    pub(crate) fn answer_body(&mut self, surb: Surb, body: &[u8]) -> AtSender {
        let hop = HopAddress::decode(&surb.hop).unwrap();
        // A reply block has the length of its format's.
        let mut formats = self.around.context.formats.all().iter();
        let format = formats.find(|served| served.format.surb_len() == surb.encoded_len()).unwrap();
        let mut bytes = vec![0; format.format.packet_len()];
        format.format.use_surb(&mut self.rng, surb, body, &mut bytes).unwrap();
        self.come_back(&hop, bytes)
    }

    /// The next packet, which must be a loop, at the sender's door.
    pub(crate) async fn looped(&mut self) -> AtSender {
        let LocalPacket { to, packet, done, .. } = self.dispatch().await;
        let bytes = packet.bytes().to_vec();
        packet.finish(Outcome::Sent);
        done.unwrap().send(Ok(())).unwrap();
        self.come_back(&to, bytes)
    }

    fn come_back(&self, first: &HopAddress, mut bytes: Vec<u8>) -> AtSender {
        let (mut way, opened) = self.way(first, &mut bytes);
        let Opened::Reply { id } = opened else { panic!("{opened:?}") };
        let address = way.pop().unwrap();
        assert_eq!(address.peer(), peer(ME));
        AtSender { id, way: way.iter().map(HopAddress::peer).collect(), address, bytes }
    }

    /// Answers a request through the last of its reply blocks.
    pub(crate) async fn respond(&mut self, at_exit: &mut AtExit, status: StatusCode, relay_peers: u32) {
        let reply = self.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, status, relay_peers));
        self.reply(&reply).await;
    }

    /// Gives the sender a reply as the mixer does.
    pub(crate) async fn reply(&self, reply: &AtSender) {
        let reply = ReplyPacket { id: reply.id, packet: self.around.received(&reply.bytes) };
        self.handle.open_reply(&self.around.context.formats, reply);
    }

    /// Waits until no packet is held: every one has its outcome. Those that wait in the mixer's queue are written, and get
    /// no answer.
    pub(crate) async fn finished(&mut self) {
        while self.around.context.formats.held() > 0 {
            self.write_all();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.around.assert_balanced();
    }

    /// Writes what is in the mixer's queue; how many packets.
    pub(crate) fn write_all(&mut self) -> usize {
        let mut written = 0;
        while let Some(local) = self.mixer.try_recv() {
            local.packet.finish(Outcome::Sent);
            let _ = local.done.unwrap().send(Ok(()));
            written += 1;
        }
        written
    }

    pub(crate) fn metric(&self, line: &str) -> bool {
        shows(&self.around.context.telemetry, line)
    }

    /// Lets others run until this line is on the metrics page.
    pub(crate) async fn shows(&self, line: &str) {
        while !self.metric(line) {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn has_no_credentials(&self) -> bool {
        self.metric(NO_CREDENTIALS)
    }

    pub(crate) fn stop(&self, limit: Duration) -> BoxFuture<'static, wakumix_role_api::StopReport> {
        self.role.stop(Instant::now() + limit)
    }

    /// Unwraps a packet at one hop after the other; where it was.
    fn way(&self, first: &HopAddress, bytes: &mut [u8]) -> (Vec<HopAddress>, Opened) {
        let format = &self.around.served(bytes.len()).format;
        let Walk { hops, end, .. } = walk(&**format, first, bytes, |hop| self.keys.get(&hop.peer()));
        (hops, end.unwrap())
    }
}

/// A packet whose first hop cannot be reached.
pub(crate) fn cannot_leave(local: LocalPacket) {
    local.packet.reject(DropReason::DialFailed);
    local.done.unwrap().send(Err(SendFailure::DialFailed)).unwrap();
}

/// A framed response to a request.
pub(crate) fn response(request: &v3::Request, status: StatusCode, count: u32) -> Vec<u8> {
    let response = v3::Response {
        request_id: request.request_id.clone(),
        status_code: status,
        status_desc: None,
        relay_peer_count: Some(count),
    };
    frame::encode(&response.encode())
}
