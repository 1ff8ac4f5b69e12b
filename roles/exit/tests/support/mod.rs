//! An exit with everything around it played by the test: the clock stands still, the queues of mixer and host are read
//! by hand, and answers are opened with the keys of the request's sender.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]
#![allow(dead_code, reason = "each file of tests uses its share")]

use std::{ops::Range, sync::Arc, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use wakumix_exit::{Config, ExitRole};
use wakumix_mix::{
    Balance, DropReason, ExitStatus, HopAddress, Outcome, Packet, Request, Stage, decode_reply,
    fragment::{FRAGMENT_CODEC, ShardCounts, cut},
    request_capacity,
};
use wakumix_role_api::{
    Address, Directory, Formats, InboundRequest, Receiver, RunningRole, Service, Services,
    exit::{ExitMessage, ExitPacket},
    host::{HostMessage, OutboundRequest},
    mailbox,
    mixer::LocalPacket,
};
use wakumix_role_testkit::{Queues, Surroundings, hop, hop_address, metric_appears, mix_key, walk};
pub(crate) use wakumix_role_testkit::{node, peer};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, FormatKind, Opened, PacketFormat, ReplyKeys, Surb, WireFormat};
use wakumix_waku::{
    frame,
    lightpush::{V3_PROTOCOL, v3},
};

pub(crate) const HERE: AddressBytes = [0; ADDRESS_LEN];
/// The exit and the sender of requests among the nodes of [`peer`].
pub(crate) const EXIT: u16 = 100;
pub(crate) const SENDER: u16 = 200;
/// Room for every reply that a test leaves with the mixer, and for the requests.
const BUFFERS: usize = 128;

/// The destination of a service at this address.
pub(crate) fn at(address: &str) -> AddressBytes {
    hop_address(9, address).encode()
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
    pub(crate) around: Surroundings,
    pub(crate) service: Receiver<InboundRequest>,
    pub(crate) mixer: Receiver<LocalPacket>,
    pub(crate) host: Receiver<HostMessage>,
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
        let formats = Formats::new(formats.iter().map(|wire| wire.format()), BUFFERS);
        let queues = Queues { mixer: Some(64), own: &[("exit", 32)], ..Queues::default() };
        let mut around = Surroundings::new(&wakumix_exit::METRICS, EXIT, formats, queues);
        let (service_address, service) = mailbox::<InboundRequest>("relay", 1, &around.context.telemetry);
        // A request that does not fit is dropped, which tells its asker that there is no answer.
        let answers = Service::new(V3_PROTOCOL, 4096, move |request| service_address.try_send(request).unwrap_or(()));
        around.context.services = Services::new([("relay", vec![answers])]).unwrap();
        around.directory.publish(Directory { mix_nodes: vec![node(1), node(2)], ..Directory::default() });
        Self {
            role: around.start(ExitRole::with_rng(config, StdRng::seed_from_u64(7)).unwrap()),
            service: service.receiver().unwrap(),
            mixer: around.inboxes.local_packets.as_ref().unwrap().receiver().unwrap(),
            host: around.host.receiver().unwrap(),
            format: Arc::clone(&around.preferred().format),
            around,
            rng: StdRng::seed_from_u64(8),
        }
    }

    /// From now on requests come in packets of this format.
    pub(crate) fn speak(&mut self, kind: FormatKind) {
        self.format = Arc::clone(&self.around.context.formats.of_kind(kind).unwrap().format);
    }

    /// Reply blocks through nodes 1 and 2 to the sender.
    pub(crate) fn surbs(&mut self, count: usize) -> (Vec<Surb>, Vec<ReplyKeys>) {
        self.surbs_through([1, 2, SENDER], count)
    }

    pub(crate) fn surbs_through(&mut self, path: [u16; 3], count: usize) -> (Vec<Surb>, Vec<ReplyKeys>) {
        let hops = path.map(|seed| hop(&node(seed), 0));
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

    /// Sends a request with one reply block; what its sender hears.
    pub(crate) async fn hears(&mut self, destination: AddressBytes, codec: &str, data: &[u8]) -> Vec<u8> {
        let (surbs, keys) = self.surbs(1);
        self.request(destination, codec, surbs, data).await;
        self.answer(&keys).await
    }

    /// Gives the exit a request to its own lightpush service.
    pub(crate) async fn lightpush(&self, surbs: Vec<Surb>, body: &[u8]) {
        self.request(HERE, V3_PROTOCOL, surbs, &frame::encode(body)).await;
    }

    /// The fragments of a request with these bytes to its lightpush service, as a sender makes them.
    pub(crate) fn cut(&mut self, body: &[u8], shards: ShardCounts) -> Vec<Vec<u8>> {
        let room = request_capacity(&*self.format, FRAGMENT_CODEC, 1).unwrap();
        cut(&mut self.rng, V3_PROTOCOL, &frame::encode(body), shards, room).unwrap()
    }

    /// Gives the exit a fragment.
    pub(crate) async fn fragment(&self, surbs: Vec<Surb>, piece: &[u8]) {
        self.request(HERE, FRAGMENT_CODEC, surbs, piece).await;
    }

    /// Gives the exit fragments, each with a reply block; what opens the replies.
    pub(crate) async fn fragments(&mut self, pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<ReplyKeys> {
        let mut opens = Vec::new();
        for piece in pieces {
            let (surbs, keys) = self.surbs(1);
            self.fragment(surbs, piece.as_ref()).await;
            opens.extend(keys);
        }
        opens
    }

    /// Gives the exit a packet with any body, as the mixer does.
    pub(crate) async fn deliver(&self, destination: AddressBytes, body: &[u8]) {
        self.deliver_range(destination, body, 700..700 + body.len()).await;
    }

    pub(crate) async fn deliver_range(&self, destination: AddressBytes, body: &[u8], range: Range<usize>) {
        let buffer = loop {
            match self.around.served(self.format.packet_len()).buffers.take() {
                Some(buffer) => break buffer,
                // The host reads no further either.
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        };
        let mut packet = Packet::received(buffer, &self.around.context.ledger);
        if let Some(place) = packet.bytes_mut().get_mut(range.clone()) {
            place.copy_from_slice(body);
        }
        let message = ExitMessage::Packet(ExitPacket { destination, packet, body: range });
        let exit: Address<ExitMessage> = self.around.context.ports.get().unwrap();
        exit.send(message).await.unwrap();
    }

    /// The next request that the local service is asked.
    pub(crate) async fn asked(&mut self) -> InboundRequest {
        self.service.recv().await.unwrap()
    }

    /// The local service answers the next request; so many replies bring that to the sender.
    pub(crate) async fn serves(&mut self, keys: &[ReplyKeys], replies: usize) {
        self.asked().await.respond.send(b"answer".to_vec()).unwrap();
        for _ in 0..replies {
            assert_eq!(self.answer(keys).await, frame::encode(b"answer"));
        }
    }

    /// The next request that the host is asked to make.
    pub(crate) async fn asked_elsewhere(&mut self) -> OutboundRequest {
        match self.host.recv().await {
            Some(HostMessage::Request(request)) => request,
            other => panic!("unexpected: {other:?}"),
        }
    }

    /// The next packet that the mixer is given.
    pub(crate) async fn dispatch(&mut self) -> LocalPacket {
        self.mixer.recv().await.unwrap()
    }

    /// The next reply, carried to the sender and opened with the keys that fit.
    pub(crate) async fn answer(&mut self, keys: &[ReplyKeys]) -> Vec<u8> {
        let local = self.dispatch().await;
        self.open(local, keys)
    }

    pub(crate) fn open(&self, local: LocalPacket, keys: &[ReplyKeys]) -> Vec<u8> {
        let LocalPacket { to, packet, .. } = local;
        assert_eq!(to, node(1).address);
        let mut bytes = packet.bytes().to_vec();
        packet.finish(Outcome::Sent);
        let played = [1, 2, SENDER].map(|seed| (peer(seed), mix_key(seed)));
        let key_of = |hop: &HopAddress| played.iter().find(|(peer, _)| *peer == hop.peer()).map(|(_, key)| key);
        let Some(Opened::Reply { id }) = walk(&*self.format, &to, &mut bytes, key_of).end else { panic!() };
        let keys = keys.iter().find(|keys| keys.id() == id).unwrap();
        let body = self.format.open_reply(keys, &mut bytes).unwrap();
        decode_reply(&bytes[body]).unwrap().to_vec()
    }

    /// How often packets were dropped for a reason at the exit.
    pub(crate) fn dropped(&self, reason: DropReason) -> u64 {
        self.around.dropped(Stage::Exit, reason)
    }

    pub(crate) fn balance(&self) -> Balance {
        self.around.balance()
    }

    /// Waits until this line is on the metrics page.
    pub(crate) async fn counts(&self, line: &str) {
        metric_appears(&self.around.context.telemetry, line).await;
    }

    /// Waits until no packet is held; then every one has its outcome, and no reply is left that the test did not expect.
    pub(crate) async fn finished(&mut self) {
        self.around.finished().await;
        assert!(self.mixer.try_recv().is_none());
    }
}
