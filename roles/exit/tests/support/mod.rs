//! An exit with everything around it played by the test: the clock stands still, the queues of mixer and host are read
//! by hand, and answers are opened with the keys of the request's sender.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]
#![allow(dead_code, reason = "each file of tests uses its share")]

use std::{num::NonZeroUsize, ops::Range, sync::Arc, time::Duration};

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::watch, time::Instant};
use wakumix_exit::{Config, ExitRole};
use wakumix_keyring::KeyRing;
use wakumix_mix::{
    Balance, DropReason, ExitStatus, HopAddress, Ledger, MixNode, Outcome, Packet, Request, Stage, decode_reply,
    fragment::{FRAGMENT_CODEC, Shards, cut},
    request_capacity,
};
use wakumix_role_api::{
    Address, Directory, DirectoryPublisher, Formats, InboundRequest, Inboxes, LocalNode, Ports, Receiver, Role,
    RoleContext, RunningRole, Service, Services, Supervisor, Workers,
    exit::{ExitMessage, ExitPacket},
    host::{HostAddresses, HostHandle, HostMessage, OutboundRequest},
    mailbox,
    mixer::{LocalPacket, MixerHandle},
};
use wakumix_sphinx::{
    ADDRESS_LEN, AddressBytes, BufferPool, FormatKind, Opened, PacketFormat, PathHop, PrivateKey, ReplyKeys, Surb,
    Weaknesses, WireFormat,
};
use wakumix_telemetry::Telemetry;
use wakumix_waku::{
    frame,
    lightpush::{V3_PROTOCOL, v3},
};

pub(crate) const HERE: AddressBytes = [0; ADDRESS_LEN];
/// The exit and the sender of requests among the nodes of [`peer`].
pub(crate) const EXIT: u8 = 100;
pub(crate) const SENDER: u8 = 200;
const BUFFERS: usize = 16;

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

/// The destination of a service at this address.
pub(crate) fn at(address: &str) -> AddressBytes {
    HopAddress::from_multiaddr(&address.parse().unwrap(), peer(9)).unwrap().encode()
}

/// A request body of this length.
pub(crate) fn body(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// What a lightpush response of the exit itself says.
pub(crate) fn status(answer: &[u8]) -> ExitStatus {
    response(answer).status_desc.as_deref().and_then(ExitStatus::parse).unwrap()
}

pub(crate) fn response(answer: &[u8]) -> v3::Response {
    let (body, len) = frame::decode(answer, 4096).unwrap().unwrap();
    assert_eq!(len, answer.len(), "one frame and nothing else");
    v3::Response::decode(body).unwrap()
}

/// The exit and its surroundings.
pub(crate) struct World {
    pub(crate) role: Box<dyn RunningRole>,
    pub(crate) directory: DirectoryPublisher,
    pub(crate) service: Receiver<InboundRequest>,
    pub(crate) mixer: Receiver<LocalPacket>,
    pub(crate) host: Receiver<HostMessage>,
    pub(crate) workers: Workers,
    pub(crate) buffers: BufferPool,
    address: Address<ExitMessage>,
    telemetry: Telemetry,
    ledger: Arc<Ledger>,
    formats: Formats,
    format: Arc<dyn PacketFormat>,
    rng: StdRng,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        Self::serving(config, &[WireFormat::default()])
    }

    /// An exit that serves these formats, and requests in the first of them. It knows the nodes of [`World::surbs`].
    pub(crate) fn serving(config: Config, formats: &[WireFormat]) -> Self {
        tokio::time::pause();
        let telemetry = Telemetry::new();
        let (supervisor, _fatal) = Supervisor::on_current_thread(telemetry.clone());
        let (address, inbox) = mailbox("exit", 32, &telemetry);
        let (received, _) = mailbox("mixer", 1, &telemetry);
        let (mixer_address, mixer_inbox) = mailbox("mixer_local", 64, &telemetry);
        let (host_address, host_inbox) = mailbox("host", 8, &telemetry);
        let (service_address, service_inbox) = mailbox::<InboundRequest>("relay", 1, &telemetry);
        // A request that does not fit is dropped, which tells its asker that there is no answer.
        let service = Service::new(V3_PROTOCOL, 4096, move |request| service_address.try_send(request).unwrap_or(()));
        let (publisher, reader) = DirectoryPublisher::new();
        publisher.publish(Directory { mix_nodes: vec![node(1), node(2)], ..Directory::default() });
        let (_, hop_address) = watch::channel(Some(node(EXIT).address));
        let (_, host_addresses) = watch::channel(HostAddresses::default());
        let workers = Workers::new(NonZeroUsize::MIN, supervisor.tasks().clone());
        let context = RoleContext {
            node: LocalNode {
                peer: peer(EXIT),
                mix_keys: KeyRing::fixed(mix_key(EXIT), 1),
                hop_address,
                addresses: host_addresses,
            },
            formats: Formats::new(formats.iter().map(|wire| wire.format()), BUFFERS),
            ledger: Ledger::new(),
            directory: reader,
            pressure: Arc::default(),
            reliability: Arc::default(),
            epoch: Instant::now(),
            ports: Ports {
                host: HostHandle::new(host_address),
                mixer: Some(MixerHandle::new(received, mixer_address)),
                exit: Some(address.clone()),
                sender: None,
                relay: None,
            },
            services: Services::new(vec![service]),
            supervisor,
            workers,
            telemetry: telemetry.clone(),
            weaknesses: Weaknesses::NONE,
        };
        let mut inboxes = Inboxes { exit: Some(inbox), ..Inboxes::default() };
        let role = Box::new(ExitRole::with_rng(config, StdRng::seed_from_u64(7)).unwrap());
        let role = role.start(&context, &mut inboxes).unwrap();
        Self {
            role,
            directory: publisher,
            service: service_inbox.receiver().unwrap(),
            mixer: mixer_inbox.receiver().unwrap(),
            host: host_inbox.receiver().unwrap(),
            workers: context.workers.clone(),
            buffers: context.formats.preferred().unwrap().buffers.clone(),
            address,
            telemetry,
            ledger: context.ledger,
            format: context.formats.preferred().unwrap().format.clone(),
            formats: context.formats,
            rng: StdRng::seed_from_u64(8),
        }
    }

    /// From now on requests come in packets of this format.
    pub(crate) fn speak(&mut self, kind: FormatKind) {
        let served = self.formats.of_kind(kind).unwrap();
        self.format = Arc::clone(&served.format);
        self.buffers = served.buffers.clone();
    }

    /// Reply blocks through nodes 1 and 2 to the sender.
    pub(crate) fn surbs(&mut self, count: usize) -> (Vec<Surb>, Vec<ReplyKeys>) {
        self.surbs_through([1, 2, SENDER], count)
    }

    pub(crate) fn surbs_through(&mut self, path: [u8; 3], count: usize) -> (Vec<Surb>, Vec<ReplyKeys>) {
        let hops = path.map(|seed| {
            let node = node(seed);
            PathHop { key: node.key, address: node.address.encode(), delay_ms: 0 }
        });
        (0..count).map(|_| self.format.create_surb(&mut self.rng, &hops).unwrap()).unzip()
    }

    /// The same reply block with another first hop in front.
    pub(crate) fn redirected(&self, surb: &Surb, hop: &AddressBytes) -> Surb {
        let mut bytes = surb.to_bytes().to_vec();
        bytes[..ADDRESS_LEN].copy_from_slice(hop);
        self.format.read_surb(&bytes).unwrap()
    }

    /// Gives the exit a request whose application bytes are `data`.
    pub(crate) async fn request(&self, destination: AddressBytes, codec: &str, surbs: Vec<Surb>, data: &[u8]) {
        let body = Request { codec, surbs, data }.encode().unwrap();
        self.deliver(destination, &body).await;
    }

    /// Gives the exit a request to its own lightpush service.
    pub(crate) async fn lightpush(&self, surbs: Vec<Surb>, body: &[u8]) {
        self.request(HERE, V3_PROTOCOL, surbs, &frame::encode(body)).await;
    }

    /// The fragments of a request with these bytes to its lightpush service, as a sender makes them.
    pub(crate) fn cut(&mut self, body: &[u8], shards: Shards) -> Vec<Vec<u8>> {
        let room = request_capacity(&*self.format, FRAGMENT_CODEC, 1).unwrap();
        cut(&mut self.rng, V3_PROTOCOL, &frame::encode(body), shards, room).unwrap()
    }

    /// Gives the exit a fragment.
    pub(crate) async fn fragment(&self, surbs: Vec<Surb>, piece: &[u8]) {
        self.request(HERE, FRAGMENT_CODEC, surbs, piece).await;
    }

    /// Gives the exit a packet with any body, as the mixer does.
    pub(crate) async fn deliver(&self, destination: AddressBytes, body: &[u8]) {
        self.deliver_range(destination, body, 700..700 + body.len()).await;
    }

    pub(crate) async fn deliver_range(&self, destination: AddressBytes, body: &[u8], range: Range<usize>) {
        let buffer = loop {
            match self.buffers.take() {
                Some(buffer) => break buffer,
                // The host reads no further either.
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let mut packet = Packet::received(buffer, &self.ledger);
        if let Some(place) = packet.bytes_mut().get_mut(range.clone()) {
            place.copy_from_slice(body);
        }
        let message = ExitMessage::Packet(ExitPacket { destination, packet, body: range });
        self.address.send(message).await.unwrap();
    }

    /// The next request that the local service is asked.
    pub(crate) async fn asked(&mut self) -> InboundRequest {
        self.service.recv().await.unwrap()
    }

    /// The next request that the host is asked to make.
    pub(crate) async fn asked_elsewhere(&mut self) -> OutboundRequest {
        match self.host.recv().await {
            Some(HostMessage::Request(request)) => request,
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// The next packet that the mixer is given.
    pub(crate) async fn departure(&mut self) -> LocalPacket {
        match self.mixer.recv().await {
            Some(packet) => packet,
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// The next reply, carried to the sender and opened with the keys that fit.
    pub(crate) async fn answer(&mut self, keys: &[ReplyKeys]) -> Vec<u8> {
        let local = self.departure().await;
        self.open(local, keys)
    }

    pub(crate) fn open(&self, local: LocalPacket, keys: &[ReplyKeys]) -> Vec<u8> {
        let LocalPacket { to, packet, .. } = local;
        assert_eq!(to, node(1).address);
        let mut bytes = packet.bytes().to_vec();
        packet.settle(Outcome::Sent);
        for hop in [1, 2] {
            let authenticated = self.format.authenticate(&mix_key(hop), &bytes).unwrap();
            let Opened::Forward { blinding, .. } = self.format.open(&mut bytes, authenticated).unwrap() else {
                panic!()
            };
            self.format.blind(&mut bytes, blinding).unwrap();
        }
        let authenticated = self.format.authenticate(&mix_key(SENDER), &bytes).unwrap();
        let Opened::Reply { id } = self.format.open(&mut bytes, authenticated).unwrap() else { panic!() };
        let keys = keys.iter().find(|keys| keys.id() == id).unwrap();
        let body = self.format.open_reply(keys, &mut bytes).unwrap();
        decode_reply(&bytes[body]).unwrap().to_vec()
    }

    pub(crate) fn publish(&self, directory: Directory) {
        self.directory.publish(directory);
    }

    /// How often packets were dropped for a reason at the exit.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        let found = self.balance().dropped.into_iter().find(|(stage, why, _)| (*stage, *why) == (Stage::Exit, reason));
        found.map_or(0, |(.., count)| count)
    }

    pub(crate) fn balance(&self) -> Balance {
        self.ledger.snapshot()
    }

    /// Whether this line is on the metrics page, now or once what is under way has ended.
    pub(crate) async fn counts(&self, line: &str) {
        let mut page = String::new();
        for _ in 0..1000 {
            page = self.telemetry.render();
            if page.lines().any(|found| found == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{line} is not on the page:\n{page}");
    }

    /// Waits until no packet is held; then every one has its outcome, and no reply is left that the test did not expect.
    pub(crate) async fn settled(&mut self) {
        while self.formats.held() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.balance().residue(0), 0, "{:?}", self.balance());
        assert!(self.mixer.try_recv().is_none());
    }
}
