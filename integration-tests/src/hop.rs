//! A mix node as the reference writes them, on a bare libp2p peer: hop in the middle, exit with lightpush, and sender.
//!
//! Only the packet format is ours. Streams, dialling and conduct are those that were seen of live nodes: one stream per
//! peer, kept forever, never closed first; every packet its own task; no delays.

use std::{collections::HashMap, sync::Arc};

use futures::{AsyncWriteExt as _, StreamExt as _};
use libp2p::{PeerId, Stream};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use wakumix_mix::{Body, HopAddress, MixNode, Request, decode_reply, encode_reply};
use wakumix_role_api::directory::ServiceNode;
use wakumix_sphinx::{
    ADDRESS_LEN, ALPHA_LEN, AddressBytes, BETA_LEN, Opened, PathHop, PrivateKey, Profile, ReplyKeys, Sphinx, Surb,
    SurbId,
};
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, V3_PROTOCOL, v3},
};

use crate::{
    CLUSTER, TOPIC,
    peer::{MIX, Muxer, RawPeer, read_frame, write_frame},
    within,
};

/// The number of relay peers that the exit claims in its answers.
pub const RELAY_PEERS: u32 = 3;

/// How a node treats the packets that it passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    /// Writes all packets for a peer on one stream and keeps it.
    KeepsStreams,
    /// Opens a stream for each packet and closes it.
    FreshStreams,
    /// Writes every packet twice on its one stream.
    WritesTwice,
    /// Writes a copy of every packet with a damaged MAC before the packet itself.
    DamagedCopyFirst,
    /// Keeps packets that come from this peer for itself, until [`NwakuNode::release`].
    Withholds(PeerId),
}

/// One packet that was passed on, or was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// The peer that it came from.
    pub from: PeerId,
    /// The peer that it names as its next hop.
    pub to: PeerId,
}

/// What a node has seen.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Packets read from streams.
    pub received: u64,
    /// Packets written to streams.
    pub sent: u64,
    /// Packets received that it is working on.
    pub in_work: u64,
    /// Streams that peers opened.
    pub streams: usize,
    /// Packets in whose middle this node was.
    pub passages: Vec<Passage>,
    /// Lightpush requests that it served as exit.
    pub served: Vec<WakuMessage>,
    /// Packets that it keeps for itself.
    pub withheld: usize,
}

/// A mix node of nwaku. Cheap to clone.
#[derive(Clone)]
pub struct NwakuNode(Arc<Inner>);

struct Inner {
    peer: RawPeer,
    key: PrivateKey,
    sphinx: Sphinx,
    conduct: Conduct,
    log: watch::Sender<Log>,
    /// The one stream to each peer.
    streams: tokio::sync::Mutex<HashMap<PeerId, Stream>>,
    withheld: Mutex<Vec<(HopAddress, Vec<u8>)>>,
    asked: Mutex<HashMap<SurbId, Asked>>,
}

/// A request that waits for its answer.
struct Asked {
    keys: ReplyKeys,
    answer: oneshot::Sender<Vec<u8>>,
}

impl NwakuNode {
    /// Starts a node.
    pub async fn start(profile: Profile, muxer: Muxer, conduct: Conduct) -> Self {
        Self::of(RawPeer::start(muxer, CLUSTER).await, profile, conduct)
    }

    /// Starts a sender as a web page is one: it dials over WebSocket with TLS, nobody can dial it, and it takes its replies over
    /// the connections that it has opened.
    pub async fn start_page(profile: Profile, authority: Vec<u8>) -> Self {
        let peer = RawPeer::start_page(CLUSTER, authority).await;
        Self::of(peer, profile, Conduct::KeepsStreams)
    }

    fn of(peer: RawPeer, profile: Profile, conduct: Conduct) -> Self {
        let incoming = peer.accept(MIX);
        let inner = Inner {
            peer,
            key: PrivateKey::generate(&mut rand::rng()),
            sphinx: Sphinx::new(profile),
            conduct,
            log: watch::Sender::default(),
            streams: tokio::sync::Mutex::default(),
            withheld: Mutex::default(),
            asked: Mutex::default(),
        };
        let node = Self(Arc::new(inner));
        tokio::spawn(node.clone().accept(incoming));
        node
    }

    /// Its libp2p side.
    pub fn peer(&self) -> &RawPeer {
        &self.0.peer
    }

    /// Its entry in the pools of others.
    pub fn mix_node(&self) -> MixNode {
        let address = HopAddress::from_multiaddr(self.0.peer.address(), self.0.peer.peer_id()).unwrap();
        MixNode::new(address, self.0.key.public())
    }

    /// Itself as a lightpush service.
    pub fn service(&self) -> ServiceNode {
        ServiceNode::new(self.0.peer.peer_id(), vec![self.0.peer.address().clone()])
    }

    /// What it has seen.
    pub fn log(&self) -> Log {
        self.0.log.borrow().clone()
    }

    /// Waits until it has seen what is wanted.
    pub async fn has_seen(&self, wanted: impl FnMut(&Log) -> bool) {
        within(self.0.log.subscribe().wait_for(wanted)).await.expect("the node runs");
    }

    /// Passes on what it kept for itself.
    pub async fn release(&self) {
        let packets = std::mem::take(&mut *self.0.withheld.lock());
        for (next, packet) in packets {
            self.0.write(&next, &packet).await;
        }
        self.0.log.send_modify(|log| log.withheld = 0);
    }

    /// Sends a packet to the first of three hops; each is asked to hold it for that long.
    pub async fn send_packet(&self, path: &[MixNode; 3], body: &[u8], delay_ms: u16) {
        let mut packet = vec![0; self.0.sphinx.profile().packet_len()];
        let hops = hops(path, delay_ms);
        self.0.sphinx.build(&mut rand::rng(), &hops, &[0; ADDRESS_LEN], body, &mut packet).unwrap();
        let [first, ..] = path;
        self.0.write(&first.address, &packet).await;
    }

    /// Pushes a message through three hops; the answer comes back over `back` and then to this node.
    pub async fn push(&self, path: &[MixNode; 3], back: [MixNode; 2], message: WakuMessage) -> v3::Response {
        let [first, second] = back;
        self.push_to(path, [first, second, self.mix_node()], message).await
    }

    /// The same of a node that nobody can dial: the last hop before it is connected to it.
    pub async fn push_as_page(&self, path: &[MixNode; 3], back: [MixNode; 2], message: WakuMessage) -> v3::Response {
        let [first, second] = back;
        let address = HopAddress::placeholder(self.0.peer.peer_id()).unwrap();
        self.push_to(path, [first, second, MixNode::new(address, self.0.key.public())], message).await
    }

    async fn push_to(&self, path: &[MixNode; 3], back: [MixNode; 3], message: WakuMessage) -> v3::Response {
        let back = hops(&back, 0);
        let (surb, keys) = self.0.sphinx.create_surb(&mut rand::rng(), &back).unwrap();
        let (sink, answer) = oneshot::channel();
        self.0.asked.lock().insert(keys.id(), Asked { keys, answer: sink });
        let request = v3::Request { request_id: "fleet".to_owned(), pubsub_topic: Some(TOPIC.to_owned()), message };
        let data = frame::encode(&request.encode());
        let body = Request { codec: V3_PROTOCOL, surbs: vec![surb], data: &data }.encode().unwrap();
        self.send_packet(path, &body, 0).await;
        let answer = within(answer).await.expect("an answer");
        let (answer, _) = frame::decode(&answer, answer.len()).unwrap().expect("a whole frame");
        v3::Response::decode(answer).unwrap()
    }

    async fn accept(self, mut incoming: libp2p_stream::IncomingStreams) {
        while let Some((from, stream)) = incoming.next().await {
            self.0.log.send_modify(|log| log.streams += 1);
            tokio::spawn(self.clone().read(from, stream));
        }
    }

    async fn read(self, from: PeerId, mut stream: Stream) {
        while let Ok(Some(packet)) = read_frame(&mut stream).await {
            self.0.log.send_modify(|log| {
                log.received += 1;
                log.in_work += 1;
            });
            let inner = Arc::clone(&self.0);
            tokio::spawn(async move {
                inner.unwrap(from, packet).await;
                inner.log.send_modify(|log| log.in_work -= 1);
            });
        }
        // The other side has ended the stream, which may be gone by now.
        let _ = stream.close().await;
    }
}

impl Inner {
    async fn unwrap(&self, from: PeerId, mut packet: Vec<u8>) {
        let authentic = self.sphinx.authenticate(&self.key, &packet).expect("a packet for this node");
        match self.sphinx.open(&mut packet, authentic).expect("a sound packet") {
            Opened::Forward { next, blinding, .. } => {
                self.sphinx.blind(&mut packet, blinding).unwrap();
                self.pass_on(from, HopAddress::decode(&next).unwrap(), packet).await;
            }
            Opened::Exit { destination, body } => {
                assert_eq!(destination, [0; ADDRESS_LEN], "this node is the destination");
                self.serve(&packet[body]).await;
            }
            Opened::Reply { id } => {
                let asked = self.asked.lock().remove(&id).expect("a reply to a request");
                let body = self.sphinx.open_reply(&asked.keys, &mut packet).unwrap();
                // The test may have ended.
                let _ = asked.answer.send(decode_reply(body).unwrap().to_vec());
            }
        }
    }

    async fn pass_on(&self, from: PeerId, next: HopAddress, packet: Vec<u8>) {
        let passage = Passage { from, to: next.peer() };
        if self.conduct == Conduct::Withholds(from) {
            self.withheld.lock().push((next, packet));
            self.log.send_modify(|log| {
                log.withheld += 1;
                log.passages.push(passage);
            });
            return;
        }
        if self.conduct == Conduct::DamagedCopyFirst {
            let mut damaged = packet.clone();
            damaged[ALPHA_LEN + BETA_LEN] ^= 1;
            self.write(&next, &damaged).await;
        }
        self.write(&next, &packet).await;
        if self.conduct == Conduct::WritesTwice {
            self.write(&next, &packet).await;
        }
        self.log.send_modify(|log| log.passages.push(passage));
    }

    /// Serves lightpush and answers through every reply block.
    async fn serve(&self, body: &[u8]) {
        let Ok(Body::Request(request)) = Request::decode(&self.sphinx, body) else { panic!("only requests come here") };
        assert_eq!(request.codec, V3_PROTOCOL);
        let (push, _) = frame::decode(request.data, request.data.len()).unwrap().expect("a whole frame");
        let push = v3::Request::decode(push).unwrap();
        let answer = v3::Response {
            request_id: push.request_id,
            status_code: StatusCode::SUCCESS,
            status_desc: None,
            relay_peer_count: Some(RELAY_PEERS),
        };
        let reply = encode_reply(&frame::encode(&answer.encode()));
        for surb in request.surbs {
            let next = HopAddress::decode(&surb.hop).unwrap();
            self.write(&next, &self.reply_packet(surb, &reply)).await;
        }
        self.log.send_modify(|log| log.served.push(push.message));
    }

    fn reply_packet(&self, surb: Surb, reply: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; self.sphinx.profile().packet_len()];
        self.sphinx.use_surb(&mut rand::rng(), surb, reply, &mut packet).unwrap();
        packet
    }

    /// Writes a packet. A peer that is gone costs it, as in the reference.
    async fn write(&self, next: &HopAddress, packet: &[u8]) {
        let mut streams = self.streams.lock().await;
        self.peer.connect(next.peer(), next.multiaddr()).await;
        let mut stream = match streams.remove(&next.peer()) {
            Some(stream) => stream,
            None => self.peer.open(next.peer(), MIX).await,
        };
        // Counted first: the packet may be back before this task runs again.
        self.log.send_modify(|log| log.sent += 1);
        write_frame(&mut stream, packet).await.expect("the peer reads");
        if self.conduct == Conduct::FreshStreams {
            stream.close().await.expect("the peer keeps the connection");
        } else {
            streams.insert(next.peer(), stream);
        }
    }
}

fn hops(path: &[MixNode; 3], delay_ms: u16) -> [PathHop; 3] {
    path.each_ref().map(|node| PathHop { key: node.key, address: encoded(node), delay_ms })
}

fn encoded(node: &MixNode) -> AddressBytes {
    node.address.encode()
}
