//! What the adversaries are made of: a bare peer with a mix key, which keeps every packet that it is sent.
//!
//! Of the nodes under test it shares the packet format and nothing else.

use std::{collections::HashMap, sync::Arc};

use futures::StreamExt as _;
use libp2p::{PeerId, Stream, StreamProtocol};
use tokio::sync::{Mutex, watch};
use wakumix_integration_tests::{
    CLUSTER, eventually,
    peer::{MIX, Muxer, RawPeer, read_frame, write_frame},
    within,
};
use wakumix_mix::{DropReason, HopAddress, MixNode, SPHINX_PACKET_PROTOCOL};
use wakumix_node::node::Node;
use wakumix_role_api::directory::ServiceNode;
use wakumix_sphinx::{
    ADDRESS_LEN, FormatKind, FormatSet, Opened, PacketFormat, PathHop, PrivateKey, Reject, Weakness, Weaknesses,
    WireFormat,
};

/// A hop of the adversary. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hop(Arc<Inner>);

struct Inner {
    peer: RawPeer,
    key: PrivateKey,
    /// Checks no padding: marks are what the adversary looks for.
    format: Arc<dyn PacketFormat>,
    caught: watch::Sender<Vec<Caught>>,
    /// The one stream to each peer.
    streams: Mutex<HashMap<PeerId, Stream>>,
}

/// A packet as it came.
#[derive(Clone, Debug)]
pub(crate) struct Caught {
    /// Who sent it.
    pub(crate) from: PeerId,
    /// Its bytes.
    pub(crate) packet: Vec<u8>,
}

/// A packet that a hop is about to pass on.
pub(crate) struct Passing {
    /// Who sent it.
    pub(crate) from: PeerId,
    /// Where it goes.
    pub(crate) next: HopAddress,
    /// Its bytes as the next hop is to see them.
    pub(crate) packet: Vec<u8>,
}

impl Hop {
    /// Starts a hop that speaks this packet format.
    pub(crate) async fn start(wire: WireFormat) -> Self {
        let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let mut incoming = peer.accept(protocol(wire));
        let inner = Inner {
            peer,
            key: PrivateKey::generate(&mut rand::rng()),
            format: wire.weakened(Weaknesses::NONE.with(Weakness::UncheckedPadding)),
            caught: watch::Sender::default(),
            streams: Mutex::default(),
        };
        let hop = Self(Arc::new(inner));
        let accepting = hop.clone();
        tokio::spawn(async move {
            while let Some((from, stream)) = incoming.next().await {
                tokio::spawn(accepting.clone().read(from, stream));
            }
        });
        hop
    }

    /// Its peer id.
    pub(crate) fn peer_id(&self) -> PeerId {
        self.0.peer.peer_id()
    }

    /// Its entry in the pools of others.
    pub(crate) fn mix_node(&self) -> MixNode {
        let address = HopAddress::from_multiaddr(self.0.peer.address(), self.peer_id()).unwrap();
        let formats = FormatSet::default().with(self.0.format.wire().kind());
        MixNode { formats, ..MixNode::new(address, self.0.key.public()) }
    }

    /// Itself as a lightpush service.
    pub(crate) fn service(&self) -> ServiceNode {
        ServiceNode::new(self.peer_id(), vec![self.0.peer.address().clone()])
    }

    /// Waits until so many packets have come, and gives all.
    pub(crate) async fn caught(&self, count: usize) -> Vec<Caught> {
        let mut caught = self.0.caught.subscribe();
        within(caught.wait_for(|caught| caught.len() >= count)).await.expect("the hop runs").clone()
    }

    /// How many packets have come.
    pub(crate) fn count(&self) -> usize {
        self.0.caught.borrow().len()
    }

    /// Removes this hop's layer.
    pub(crate) fn open(&self, packet: &mut [u8]) -> Result<Opened, Reject> {
        let authenticated = self.0.format.authenticate(&self.0.key, packet)?;
        self.0.format.open(packet, authenticated)
    }

    /// Passes on what comes from now on, in order, if `tamper` says so; it may change the packet. Packets that end here
    /// stay.
    pub(crate) fn pass_on(&self, tamper: impl Fn(&mut Passing) -> bool + Send + 'static) {
        let hop = self.clone();
        tokio::spawn(async move {
            let mut next = hop.count();
            loop {
                let Some(Caught { from, mut packet }) = hop.at(next).await else { return };
                next += 1;
                let Ok(Opened::Forward { next, blinding, .. }) = hop.open(&mut packet) else { continue };
                hop.0.format.blind(&mut packet, blinding).unwrap();
                let mut passing = Passing { from, next: HopAddress::decode(&next).unwrap(), packet };
                if tamper(&mut passing) {
                    hop.write(&passing.next, &passing.packet).await;
                }
            }
        });
    }

    /// Writes a packet to a node.
    pub(crate) async fn write(&self, to: &HopAddress, packet: &[u8]) {
        let mut streams = self.0.streams.lock().await;
        self.0.peer.connect(to.peer(), to.multiaddr()).await;
        let mut stream = match streams.remove(&to.peer()) {
            Some(stream) => stream,
            None => self.0.peer.open(to.peer(), protocol(self.0.format.wire())).await,
        };
        write_frame(&mut stream, packet).await.expect("the peer reads");
        streams.insert(to.peer(), stream);
    }

    /// Forgets its stream to a peer, which is started again.
    pub(crate) async fn forget(&self, peer: PeerId) {
        self.0.streams.lock().await.remove(&peer);
        self.0.peer.contacts_are(|contacts| !contacts.connections.contains_key(&peer)).await;
    }

    /// Packets as a client makes them, on a path over `victim` and then this hop.
    pub(crate) fn packets_over(&self, victim: &MixNode, count: usize) -> Vec<Vec<u8>> {
        let hop = |node: &MixNode| PathHop { key: node.key, address: node.address.encode(), delay_ms: 0 };
        let path = [hop(victim), hop(&self.mix_node()), hop(&self.mix_node())];
        let build = || {
            let mut packet = vec![0; self.0.format.packet_len()];
            self.0.format.build(&mut rand::rng(), &path, &[0; ADDRESS_LEN], b"a message", &mut packet).unwrap();
            packet
        };
        std::iter::repeat_with(build).take(count).collect()
    }

    /// Sends packets to a node on whose way nothing else is, and waits until it holds none of them; how many it passed
    /// on to this hop.
    pub(crate) async fn passed(&self, node: &Node, packets: &[Vec<u8>]) -> usize {
        let to = node.mix_node().expect("a node that mixes").address;
        let (before, here) = (node.balance(), self.count());
        for packet in packets {
            self.write(&to, packet).await;
        }
        let accounts = node.accounts();
        let forwarded = eventually(async || {
            let (held, balance) = accounts.read();
            let received = balance.received - before.received;
            if received < packets.len() as u64 || held > 0 || balance.unaccounted(0) != 0 {
                return Err(format!("{received} of {} packets received, {held} held", packets.len()));
            }
            Ok(balance.forwarded - before.forwarded)
        })
        .await;
        let forwarded = usize::try_from(forwarded).unwrap();
        self.caught(here + forwarded).await.len() - here
    }

    async fn at(&self, index: usize) -> Option<Caught> {
        let mut caught = self.0.caught.subscribe();
        let caught = caught.wait_for(|caught| caught.len() > index).await.ok()?;
        caught.get(index).cloned()
    }

    async fn read(self, from: PeerId, mut stream: Stream) {
        while let Ok(Some(packet)) = read_frame(&mut stream).await {
            self.0.caught.send_modify(|caught| caught.push(Caught { from, packet }));
        }
    }
}

/// Packets that a node dropped for this reason, wherever they were.
pub(crate) fn dropped(node: &Node, reason: DropReason) -> u64 {
    node.balance().dropped.iter().filter(|(_, why, _)| *why == reason).map(|(.., count)| count).sum()
}

fn protocol(wire: WireFormat) -> StreamProtocol {
    match wire.kind() {
        FormatKind::SphinxPacket => StreamProtocol::new(SPHINX_PACKET_PROTOCOL),
        _ => MIX,
    }
}
