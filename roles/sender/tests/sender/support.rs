//! A sender with everything around it played by the test: the clock stands still, the mixer's queue is read by hand,
//! and packets are really unwrapped with the keys of the nodes on their path.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::Instant};
use wakumix_keyring::KeyRing;
use wakumix_mix::{Body, HopAddress, Ledger, LoopPlace, MixNode, Outcome, Packet, Request, encode_reply};
use wakumix_role_api::{
    Directory, DirectoryPublisher, Formats, Inboxes, LocalNode, Ports, Receiver, Role, RoleContext, RunningRole,
    Services, Supervisor, Workers,
    directory::ServiceNode,
    host::{HostAddresses, HostHandle},
    mailbox,
    mixer::{LocalPacket, MixerHandle, MixerMessage},
    sender::{Answer, LoopOutcome, PushFailure, ReplyPacket, SenderHandle, SenderMessage},
};
use wakumix_sender::{Config, SenderRole};
use wakumix_sphinx::{
    AddressBytes, BufferPool, Opened, PACKET_LEN, PrivateKey, Profile, Sphinx, Surb, SurbId, Weaknesses,
};
use wakumix_telemetry::Telemetry;
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, v3},
};

pub(crate) const TOPIC: &str = "/waku/2/rs/2/0";
/// The sender among the nodes of [`peer`].
pub(crate) const ME: u8 = 200;
const BUFFERS: usize = 16;
/// Packets that the stand-in mixer's queue holds.
pub(crate) const MIXER_QUEUE: usize = 8;

pub(crate) fn peer(seed: u8) -> PeerId {
    let secret = secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

pub(crate) fn mix_key(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; 32])
}

pub(crate) fn node(seed: u8) -> MixNode {
    let address = format!("/ip4/10.0.0.{seed}/tcp/4000").parse().unwrap();
    MixNode::new(HopAddress::from_multiaddr(&address, peer(seed)).unwrap(), mix_key(seed).public())
}

/// The pool `1..=size` in which node 1 serves lightpush.
pub(crate) fn directory(size: u8) -> Directory {
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
pub(crate) type Loops = JoinHandle<Result<LoopOutcome, PushFailure>>;

/// The sender and its surroundings.
pub(crate) struct World {
    pub(crate) handle: SenderHandle,
    pub(crate) directory: DirectoryPublisher,
    pub(crate) role: Box<dyn RunningRole>,
    pub(crate) telemetry: Telemetry,
    pub(crate) buffers: BufferPool,
    pub(crate) hop_address: watch::Sender<Option<HopAddress>>,
    pub(crate) host: watch::Sender<HostAddresses>,
    pub(crate) mixer: Receiver<MixerMessage>,
    ledger: Arc<Ledger>,
    format: Sphinx,
    keys: HashMap<PeerId, PrivateKey>,
    rng: StdRng,
}

/// What reached an exit.
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
        let telemetry = Telemetry::new();
        let (supervisor, _fatal) = Supervisor::on_current_thread(telemetry.clone());
        let (sender_address, sender_inbox) = mailbox("sender", 32, &telemetry);
        let (mixer_address, mixer_inbox) = mailbox("mixer", MIXER_QUEUE, &telemetry);
        let (host_address, _) = mailbox("host", 1, &telemetry);
        let (hop_address, local_address) = watch::channel(Some(node(ME).address));
        let (host, addresses) = watch::channel(HostAddresses::default());
        let (publisher, reader) = DirectoryPublisher::new();
        publisher.publish(directory(6));
        let handle = SenderHandle::new(sender_address);
        let context = RoleContext {
            node: LocalNode {
                peer: peer(ME),
                mix_keys: KeyRing::fixed(mix_key(ME), 1),
                hop_address: local_address,
                addresses,
            },
            formats: Formats::one(Sphinx::new(profile), BUFFERS),
            ledger: Ledger::new(),
            directory: reader,
            reliability: Arc::default(),
            epoch: Instant::now(),
            ports: Ports {
                host: HostHandle::new(host_address),
                mixer: Some(MixerHandle::new(mixer_address)),
                exit: None,
                sender: Some(handle.clone()),
                relay: None,
            },
            services: Services::default(),
            supervisor,
            workers: Workers::new(NonZeroUsize::MIN, Handle::current()),
            telemetry: telemetry.clone(),
            weaknesses: Weaknesses::NONE,
        };
        let mut inboxes = Inboxes { sender: Some(sender_inbox), ..Inboxes::default() };
        let role = Box::new(SenderRole::with_rng(config, StdRng::seed_from_u64(7)).unwrap());
        let role = role.start(&context, &mut inboxes).unwrap();
        Self {
            handle,
            directory: publisher,
            role,
            telemetry,
            buffers: context.formats.preferred().unwrap().buffers.clone(),
            hop_address,
            host,
            mixer: mixer_inbox.receiver().unwrap(),
            ledger: context.ledger,
            format: Sphinx::new(profile),
            keys: (1..=6).chain([ME]).map(|seed| (peer(seed), mix_key(seed))).collect(),
            rng: StdRng::seed_from_u64(8),
        }
    }

    /// Pushes in a task of its own.
    pub(crate) fn push(&self, payload: &[u8]) -> Outcomes {
        self.push_with(message(payload), None, None)
    }

    pub(crate) fn push_with(&self, message: WakuMessage, exit: Option<PeerId>, timeout: Option<Duration>) -> Outcomes {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.push(message, Some(TOPIC.to_owned()), exit, timeout).await })
    }

    /// Sends a loop in a task of its own.
    pub(crate) fn probe(&self, through: PeerId, place: LoopPlace, timeout: Option<Duration>) -> Loops {
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.probe(through, place, timeout).await })
    }

    /// The next packet that the mixer is given.
    pub(crate) async fn departure(&mut self) -> LocalPacket {
        match self.mixer.recv().await {
            Some(MixerMessage::Send(packet)) => *packet,
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// The next packet, written to its first hop and carried to its exit.
    pub(crate) async fn arrival(&mut self) -> AtExit {
        let local = self.departure().await;
        self.carry(local)
    }

    pub(crate) fn carry(&self, local: LocalPacket) -> AtExit {
        let LocalPacket { to, packet, done, .. } = local;
        let mut bytes = packet.bytes().to_vec();
        packet.settle(Outcome::Sent);
        // The request may be over.
        let _ = done.unwrap().send(Ok(()));
        let (way, opened) = self.walk(to, &mut bytes);
        let Opened::Exit { destination, body } = opened else { panic!("{opened:?}") };
        let Body::Request(request) = Request::decode(&self.format, &bytes[body]).unwrap() else { panic!("cover") };
        let (data, _) = frame::decode(request.data, 4096).unwrap().unwrap();
        AtExit {
            exit: way.last().unwrap().peer(),
            destination,
            codec: request.codec.to_owned(),
            request: v3::Request::decode(data).unwrap(),
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
        let mut bytes = vec![0; PACKET_LEN];
        self.format.use_surb(&mut self.rng, surb, body, &mut bytes).unwrap();
        self.come_back(hop, bytes)
    }

    /// The next packet, which must be a loop, at the sender's door.
    pub(crate) async fn looped(&mut self) -> AtSender {
        let LocalPacket { to, packet, done, .. } = self.departure().await;
        let bytes = packet.bytes().to_vec();
        packet.settle(Outcome::Sent);
        done.unwrap().send(Ok(())).unwrap();
        self.come_back(to, bytes)
    }

    fn come_back(&self, first: HopAddress, mut bytes: Vec<u8>) -> AtSender {
        let (mut way, opened) = self.walk(first, &mut bytes);
        let Opened::Reply { id } = opened else { panic!("{opened:?}") };
        let address = way.pop().unwrap();
        assert_eq!(address.peer(), peer(ME));
        AtSender { id, way: way.iter().map(HopAddress::peer).collect(), address, bytes }
    }

    /// Gives the sender a reply as the mixer does.
    pub(crate) async fn reply(&self, reply: &AtSender) {
        let mut packet = Packet::received(self.buffers.take().unwrap(), &self.ledger);
        packet.bytes_mut().copy_from_slice(&reply.bytes);
        let reply = ReplyPacket { id: reply.id, packet };
        self.handle.address().send(SenderMessage::Reply(reply)).await.unwrap();
    }

    /// Waits until no packet is held: every one has its outcome.
    pub(crate) async fn settled(&self) {
        while self.buffers.in_use() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.assert_balanced();
    }

    pub(crate) fn assert_balanced(&self) {
        let held = u64::try_from(self.buffers.in_use()).unwrap();
        assert_eq!(self.ledger.snapshot().residue(held), 0, "{:?}", self.ledger.snapshot());
    }

    pub(crate) fn balance(&self) -> wakumix_mix::Balance {
        self.ledger.snapshot()
    }

    pub(crate) fn metric(&self, line: &str) -> bool {
        self.telemetry.render().lines().any(|found| found == line)
    }

    pub(crate) fn has_no_credentials(&self) -> bool {
        self.metric("mix_surb_creds_active 0")
    }

    pub(crate) async fn stop(&self, limit: Duration) -> wakumix_role_api::StopReport {
        self.role.stop(Instant::now() + limit).await
    }

    /// Unwraps a packet at one hop after the other; where it was.
    fn walk(&self, first: HopAddress, bytes: &mut [u8]) -> (Vec<HopAddress>, Opened) {
        let mut way = vec![first];
        loop {
            let at = way.last().unwrap().peer();
            let authenticated = self.format.authenticate(&self.keys[&at], bytes).unwrap();
            match self.format.open(bytes, authenticated).unwrap() {
                Opened::Forward { next, blinding, .. } => {
                    self.format.blind(bytes, blinding).unwrap();
                    way.push(HopAddress::decode(&next).unwrap());
                }
                end => return (way, end),
            }
        }
    }
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
