//! What roles ask of the libp2p host, and what the host tells them.
//!
//! The host is the only room with sockets. Roles hold a [`HostHandle`] and see packets, requests and gossip as plain
//! messages.

use std::{cell::Cell, collections::HashMap, fmt, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use parking_lot::RwLock;
use tokio::sync::oneshot;
pub use wakumix_client::{Reachability, SendFailure};
pub use wakumix_mix::hop::Reach;
use wakumix_mix::{HopAddress, Packet};

use crate::{Address, SendError};

/// A command to the host.
#[derive(Debug)]
pub enum HostMessage {
    /// Write packets to their next hops. Each is finished by the host: written, or dropped with a reason.
    SendPackets(Vec<OutboundPacket>),
    /// One request–response exchange with a peer.
    Request(OutboundRequest),
    /// Publish to a gossipsub topic.
    Publish {
        /// The pubsub topic.
        topic: String,
        /// The encoded message, kept byte for byte.
        data: Vec<u8>,
        /// How many peers it was sent to.
        reply: oneshot::Sender<Result<usize, PublishFailure>>,
    },
    /// Join a pubsub topic.
    Subscribe {
        /// The pubsub topic.
        topic: String,
        /// False when the host runs no gossipsub.
        reply: oneshot::Sender<bool>,
    },
    /// Leave a pubsub topic.
    Unsubscribe {
        /// The pubsub topic.
        topic: String,
    },
    /// What validation said of a gossip message.
    Verdict {
        /// The message's id, as in [`GossipMessage::id`].
        id: Vec<u8>,
        /// The peer that passed it on, as in [`GossipMessage::source`].
        source: PeerId,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Stay connected to these peers and no others: dial them now and again whenever the connection is lost. Replaces the
    /// list given before; connections to peers that are no longer on it are left to end by themselves.
    KeepConnected(Vec<Multiaddr>),
    /// This node has asked a peer over its own connection, and needs it no longer. Connections that carry packets or an
    /// open request stay, and so do those to a peer with which this node may gossip.
    EndVisit(PeerId, AfterVisit),
    /// What the host knows of itself.
    Status(oneshot::Sender<HostStatus>),
    /// The peers that are connected now.
    Peers(oneshot::Sender<Vec<PeerId>>),
    /// What is known of each of them, for operators.
    PeerDetails(oneshot::Sender<Vec<PeerDetails>>),
    /// Connect to a peer, because an operator says so.
    Dial {
        /// Which.
        peer: PeerId,
        /// Where it listens.
        addresses: Vec<Multiaddr>,
        /// Whether it is connected now. Dropped if it is no longer of interest to anybody, or too many dials are open.
        reply: oneshot::Sender<bool>,
    },
}

/// What the host knows of a connected peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerDetails {
    /// The peer.
    pub peer: PeerId,
    /// Where this node dialled it, else where it says that it listens, without `/p2p`; `None` while neither is known.
    pub address: Option<Multiaddr>,
    /// The protocols that it says it speaks.
    pub protocols: Vec<String>,
    /// The program that it says it is.
    pub agent: String,
    /// The pubsub topics that it has subscribed to.
    pub topics: Vec<String>,
    /// Those in whose mesh it is.
    pub mesh: Vec<String>,
    /// Its gossipsub score.
    pub score: Option<f64>,
}

/// A packet and where it goes.
#[derive(Debug)]
pub struct OutboundPacket {
    /// The next hop. Its address matters only if there is no connection to the peer yet.
    pub to: HopAddress,
    /// Whether that address may be dialled.
    pub reach: Reach,
    /// The packet.
    pub packet: Packet,
    /// Told how it ended, for packets that a local caller waits for.
    pub done: Option<oneshot::Sender<Result<(), SendFailure>>>,
}

impl AsMut<Self> for OutboundPacket {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// One request–response exchange with a peer.
#[derive(Debug)]
pub struct OutboundRequest {
    /// The peer to ask.
    pub peer: PeerId,
    /// Where to find it if it is not connected.
    pub addresses: Vec<Multiaddr>,
    /// Which connections may carry it.
    pub over: Over,
    /// The protocol id.
    pub protocol: String,
    /// Bytes written as they are: a length-prefixed protocol's prefix is already in front.
    pub bytes: Vec<u8>,
    /// How the answer is read.
    pub read: ReadRule,
    /// The whole exchange, dialling included.
    pub timeout: Duration,
    /// The answer.
    pub reply: oneshot::Sender<Result<Vec<u8>, RequestFailure>>,
}

/// Which connections may carry a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Any that is up; the peer is dialled if there is none.
    Any,
    /// One that this node opened to an address of the request. The peer is dialled if there is none, though it may be
    /// connected otherwise: who dials in proves its key and nothing of its address.
    Dialled,
}

/// What becomes of the connections to a peer that was [visited](HostHandle::visit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterVisit {
    /// This node leaves, unless the peer is one to stay connected to.
    Leave,
    /// It is a hop of others, as this node is: packets go both ways. Where each side has opened a connection, one of them
    /// stays; both sides choose the same. A hop finds a place where others do not.
    KeepOne,
}

/// How an answer is read from the stream (`spec/mix-wire.md §11.1`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadRule {
    /// One frame with a varint length; the answer includes that prefix.
    LengthPrefixed {
        /// The longest body accepted, in bytes.
        max: usize,
    },
    /// Nothing is read; the stream is closed after writing.
    Nothing,
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestFailure {
    /// No connection could be made.
    #[error("the peer cannot be reached")]
    DialFailed,
    /// The peer does not speak the protocol.
    #[error("the peer does not support the protocol")]
    Unsupported,
    /// The stream broke, or the answer was malformed or too long.
    #[error("the exchange failed: {0}")]
    Stream(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// Too many requests are open.
    #[error("too many requests are open")]
    Busy,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Why nothing was published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishFailure {
    /// No peer takes this topic.
    #[error("no peers for the topic")]
    NoPeers,
    /// The same bytes were published or seen lately.
    #[error("the message was already seen")]
    Duplicate,
    /// No queue to a peer has room. The same bytes are refused so for two minutes.
    #[error("the queues to all relay peers are full; publish over another node, or later")]
    QueuesFull,
    /// Larger than gossipsub transmits.
    #[error("the message is too large for gossipsub")]
    TooLarge,
    /// This node runs no gossipsub, or it is stopping.
    #[error("no relay runs on this node")]
    NoRelay,
    /// Anything else the library reports.
    #[error("{0}")]
    Other(String),
}

/// A message that arrived by gossip and waits for a [`HostMessage::Verdict`].
#[derive(Debug)]
pub struct GossipMessage {
    /// The message id: SHA-256 of `data` (`spec/waku.md §2.1`).
    pub id: Vec<u8>,
    /// The peer that passed it on.
    pub source: PeerId,
    /// The pubsub topic.
    pub topic: String,
    /// The encoded WakuMessage.
    pub data: Vec<u8>,
}

/// What validation says of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Drop it and count it against the peer.
    Reject,
    /// Drop it without blame.
    Ignore,
}

/// What happens to connections, for discovery. Discovery's queue is bounded: an event that finds it full is lost, and
/// [`HostMessage::Peers`] tells what is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// The first connection to a peer is up.
    Connected {
        /// The peer.
        peer: PeerId,
        /// Where this node dialled it, without `/p2p`; `None` when the peer opened the connection.
        dialled: Option<Multiaddr>,
    },
    /// The last connection to a peer is gone.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A peer has told what it is over a connection that this node opened: it is where it was dialled, and did not close
    /// after the handshake as a node without room does. Told again with each word of it.
    Reached {
        /// Which.
        peer: PeerId,
        /// Where this node dialled it, without `/p2p`.
        address: Multiaddr,
    },
    /// The last connection over which a peer was reached is gone; one that the peer opened is still up.
    ReachedLost {
        /// Which.
        peer: PeerId,
    },
    /// No address of a peer that this node dialled answered with its key.
    DialFailed {
        /// The peer.
        peer: PeerId,
        /// Where it was dialled, without `/p2p`.
        addresses: Vec<Multiaddr>,
        /// Another peer that answered there.
        answered_by: Option<PeerId>,
    },
    /// A peer has told what it is.
    Identified {
        /// Which.
        peer: PeerId,
        /// The protocols that it speaks.
        protocols: Vec<String>,
        /// The addresses that it says it listens on, unchecked.
        addresses: Vec<Multiaddr>,
    },
    /// A peer of this node's cluster has said which shards it relays (`spec/waku.md §3`).
    Shards {
        /// Which.
        peer: PeerId,
        /// The shards.
        shards: Vec<u16>,
    },
}

/// Where this node can be reached, as far as the host knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// Bound addresses, without `/p2p`.
    pub listen: Vec<Multiaddr>,
    /// Addresses that were configured, or that others have reached this node at, without `/p2p`.
    pub external: Vec<Multiaddr>,
    /// Addresses through circuit relays that have given this node a reservation:
    /// `/ip4/…/tcp/…/p2p/<relay>/p2p-circuit`.
    pub relayed: Vec<Multiaddr>,
    /// Whether others can dial this node.
    pub reachability: Reachability,
    /// Whether so many are connected that newcomers should look elsewhere.
    pub is_full: bool,
}

/// Peers in a topic's mesh from which on it is healthy: nwaku's Dlow (`spec/waku.md §2.6`). Gossipsub looks for more while
/// it has fewer.
pub const MESH_LOW: usize = 4;

/// Peers that a relay takes into the mesh of a topic when they ask, where the network's nodes stop at 8 (`spec/waku.md §2.2`). A
/// peer that is refused and has no other gets messages only by lists of ids, and above 160 messages per second not all of
/// them: of a star of 15, seven relays lost a third. Each costs a copy of every message that it has not announced itself;
/// meshes that a relay makes on its own have six.
pub const MESH_HIGH: usize = 16;

/// What the host knows of itself.
#[derive(Clone, Debug, Default)]
pub struct HostStatus {
    /// Bound addresses, without `/p2p`.
    pub listen_addresses: Vec<Multiaddr>,
    /// Connected peers.
    pub connected_peers: usize,
    /// Mesh peers of each subscribed topic.
    pub mesh_peers: Vec<(String, usize)>,
}

impl HostStatus {
    /// Whether the mesh of a topic is whole in a net of so many relays: [`MESH_LOW`] peers, or all others if there are fewer.
    /// With one peer each, relays could still be apart, and a message reach only some of them.
    #[must_use]
    pub fn has_mesh(&self, topic: &str, relays: usize) -> bool {
        let peers: usize = self.mesh_peers.iter().filter(|(joined, _)| joined == topic).map(|(_, peers)| *peers).sum();
        peers >= MESH_LOW.min(relays.saturating_sub(1)).max(1)
    }
}

/// Takes packets for one peer, in one packet format, that is being written to.
pub trait PeerLine: Send + Sync {
    /// Queues a packet, or finishes it if there is no room.
    fn push(&self, packet: OutboundPacket);
}

/// The peers that are being written to. Cheap to clone; all clones are one table. The host opens and closes lines; a packet
/// whose peer has one goes there at once, without passing the host's queue. Bound: connections, one for each format.
#[derive(Clone, Default)]
pub struct PeerLines(Arc<RwLock<Lines>>);

/// By peer and packet length.
type Lines = HashMap<(PeerId, usize), Arc<dyn PeerLine>>;

impl PeerLines {
    /// Packets of this length for this peer go there from now on.
    pub fn open(&self, peer: PeerId, packet_len: usize, line: Arc<dyn PeerLine>) {
        self.0.write().insert((peer, packet_len), line);
    }

    /// They no longer do. When this returns, every packet that took the line is in its queue.
    pub fn close(&self, peer: PeerId, packet_len: usize) {
        self.0.write().remove(&(peer, packet_len));
    }

    /// Takes those packets out whose peers have lines.
    fn push_all(&self, packets: &mut Vec<OutboundPacket>) {
        let lines = self.0.read();
        if lines.is_empty() {
            return;
        }
        let line = Cell::new(None);
        let has_line = |outbound: &mut OutboundPacket| {
            line.set(lines.get(&(outbound.to.peer(), outbound.packet.bytes().len())));
            line.get().is_some()
        };
        for packet in packets.extract_if(.., has_line) {
            if let Some(line) = line.take() {
                line.push(packet);
            }
        }
    }
}

impl fmt::Debug for PeerLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerLines({})", self.0.read().len())
    }
}

/// The roles' way to the host. Cheap to clone.
#[derive(Clone, Debug)]
pub struct HostHandle {
    address: Address<HostMessage>,
    lines: PeerLines,
}

impl HostHandle {
    /// Wraps the address of a host (or, in tests, of a test double that reads the inbox).
    pub fn new(address: Address<HostMessage>) -> Self {
        Self { address, lines: PeerLines::default() }
    }

    /// The queue itself.
    pub fn address(&self) -> &Address<HostMessage> {
        &self.address
    }

    /// Where the host says which peers are being written to.
    pub fn lines(&self) -> &PeerLines {
        &self.lines
    }

    /// Hands packets over: to the queue of their peer if that is being written to, the others to the host. Gives the latter
    /// back when the host's queue is full or the host has stopped.
    pub fn send_packets(&self, mut packets: Vec<OutboundPacket>) -> Result<(), SendError<Vec<OutboundPacket>>> {
        if self.address.is_closed() {
            return Err(SendError::Closed(packets));
        }
        self.lines.push_all(&mut packets);
        if packets.is_empty() {
            return Ok(());
        }
        match self.address.try_reserve() {
            Ok(slot) => {
                slot.send(HostMessage::SendPackets(packets));
                Ok(())
            }
            Err(no_room) => Err(no_room.refuse(packets)),
        }
    }

    /// One request–response exchange.
    ///
    /// Cancel safe: yes; the exchange then ends by itself and its answer is dropped.
    pub async fn request(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        protocol: &str,
        bytes: Vec<u8>,
        read: ReadRule,
        timeout: Duration,
    ) -> Result<Vec<u8>, RequestFailure> {
        let (reply, answer) = oneshot::channel();
        let (protocol, over) = (protocol.to_owned(), Over::Any);
        let request = OutboundRequest { peer, addresses, over, protocol, bytes, read, timeout, reply };
        self.exchange(request, answer).await
    }

    /// The same over a connection that this node opened to one of `addresses`, and over no other.
    ///
    /// Cancel safe: yes, as [`Self::request`].
    pub async fn visit(
        &self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        protocol: &str,
        bytes: Vec<u8>,
        read: ReadRule,
        timeout: Duration,
    ) -> Result<Vec<u8>, RequestFailure> {
        let (reply, answer) = oneshot::channel();
        let (protocol, over) = (protocol.to_owned(), Over::Dialled);
        let request = OutboundRequest { peer, addresses, over, protocol, bytes, read, timeout, reply };
        self.exchange(request, answer).await
    }

    async fn exchange(
        &self,
        request: OutboundRequest,
        answer: oneshot::Receiver<Result<Vec<u8>, RequestFailure>>,
    ) -> Result<Vec<u8>, RequestFailure> {
        self.address
            .try_send(HostMessage::Request(request))
            .map_err(|error| if error.is_full() { RequestFailure::Busy } else { RequestFailure::Stopped })?;
        answer.await.unwrap_or(Err(RequestFailure::Stopped))
    }

    /// Publishes to a topic; the number of peers it was sent to.
    pub async fn publish(&self, topic: String, data: Vec<u8>) -> Result<usize, PublishFailure> {
        let published = self.address.ask(|reply| HostMessage::Publish { topic, data, reply }).await;
        published.unwrap_or(Err(PublishFailure::NoRelay))
    }

    /// Joins a topic; false when the host runs no gossipsub.
    pub async fn subscribe(&self, topic: String) -> bool {
        self.address.ask(|reply| HostMessage::Subscribe { topic, reply }).await.unwrap_or(false)
    }

    /// Leaves a topic.
    pub async fn unsubscribe(&self, topic: String) {
        // A host that has stopped has left every topic.
        let _ = self.address.send(HostMessage::Unsubscribe { topic }).await;
    }

    /// Stays connected to these peers.
    pub async fn keep_connected(&self, peers: Vec<Multiaddr>) {
        // A host that has stopped keeps no connection.
        let _ = self.address.send(HostMessage::KeepConnected(peers)).await;
    }

    /// Ends a [visit](Self::visit) to a peer.
    pub fn end_visit(&self, peer: PeerId, then: AfterVisit) {
        // A host that has too much to do lets the connection end when it has been idle; one that has stopped has left everybody.
        let _ = self.address.try_send(HostMessage::EndVisit(peer, then));
    }

    /// The peers that are connected now; none when the host has stopped.
    pub async fn peers(&self) -> Vec<PeerId> {
        self.address.ask(HostMessage::Peers).await.unwrap_or_default()
    }

    /// What is known of each peer that is connected now; nothing when the host has stopped.
    pub async fn peer_details(&self) -> Vec<PeerDetails> {
        self.address.ask(HostMessage::PeerDetails).await.unwrap_or_default()
    }

    /// Connects to a peer; whether it is connected then.
    ///
    /// Cancel safe: yes; the dial then ends by itself.
    pub async fn dial(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> bool {
        self.address.ask(|reply| HostMessage::Dial { peer, addresses, reply }).await.unwrap_or(false)
    }

    /// What the host knows of itself; `None` when it has stopped.
    pub async fn status(&self) -> Option<HostStatus> {
        self.address.ask(HostMessage::Status).await
    }
}
