//! What a host is configured with: addresses, limits, times, and which checks are on.

use std::{sync::Arc, time::Duration};

use ipnet::IpNet;
use libp2p::Multiaddr;
use wakumix_mix::admission::Capacity;
use wakumix_sphinx::Weaknesses;
use wakumix_tls::rustls::ServerConfig;

use crate::mix::Loss;

/// Everything about a host that can be chosen.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where to listen: TCP (`/ip4/…/tcp/N`), QUIC (`/ip4/…/udp/N/quic-v1`), WebSocket (`/ip4/…/tcp/N/ws`) and WebSocket over
    /// TLS (`/ip4/…/tcp/N/wss`). Port 0 takes a free one. May be empty: such a host only dials.
    pub listen: Vec<Multiaddr>,
    /// How TLS is served; `/wss` needs it.
    pub tls: Option<Arc<ServerConfig>>,
    /// Addresses that identify tells besides the bound ones. Port 0 is the port that is bound for the same transport.
    pub announce: Vec<Multiaddr>,
    /// Version in identify's agent string, `wakumix-<version>`.
    pub version: String,
    /// The Waku cluster that metadata tells.
    pub cluster: u16,
    /// The shards that metadata tells.
    pub shards: Vec<u16>,
    /// Whether a peer that does not answer metadata is disconnected, as nwaku does. A peer of another cluster
    /// always is. Off by default: a mix node without Waku speaks no metadata (`spec/waku.md §3`).
    pub require_metadata: bool,
    /// Whether gossip peers that share an address have a lower score. Off for nets on one machine (`spec/waku.md §2.2`).
    pub score_colocation: bool,
    /// Bounds of gossip.
    pub gossip: GossipLimits,
    /// Bounds of connections.
    pub connections: ConnectionLimits,
    /// Bounds of packets.
    pub mix: MixLimits,
    /// Bounds of request–response protocols.
    pub requests: RequestLimits,
    /// Peers that the host stays connected to, at most; further ones are not dialled.
    pub max_kept_peers: usize,
    /// Whether addresses of private networks and of this machine are as good as public ones: in test nets and closed
    /// fleets. Elsewhere they are neither believed as this node's own nor told, and peers at them are no witnesses.
    pub allow_private: bool,
    /// Whether other nodes are asked to dial this one, and are dialled when they ask; `None` does neither.
    pub autonat: Option<AutonatTimes>,
    /// Whether this node relays circuits for nodes that nobody can dial; `None` does not.
    pub circuit_relay: Option<CircuitRelayLimits>,
    /// Relays at which this node reserves whether it can be dialled or not, each ending in `/p2p/<relay>`. Without any,
    /// it reserves at connected relays as soon as it knows that nobody can dial it.
    pub relay_reservations: Vec<Multiaddr>,
    /// Countermeasures that the attack suite turned off; none in any other build.
    pub weaknesses: Weaknesses,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            tls: None,
            announce: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: 0,
            shards: Vec::new(),
            require_metadata: false,
            score_colocation: true,
            gossip: GossipLimits::default(),
            connections: ConnectionLimits::default(),
            mix: MixLimits::default(),
            requests: RequestLimits::default(),
            max_kept_peers: 256,
            allow_private: false,
            autonat: None,
            circuit_relay: None,
            relay_reservations: Vec::new(),
            weaknesses: Weaknesses::NONE,
        }
    }
}

/// When this node asks others to dial it (AutoNAT 1, which nwaku's nodes ask and answer too).
#[derive(Clone, Debug)]
pub struct AutonatTimes {
    /// From the start to the first question.
    pub first: Duration,
    /// From one question to the next until the answers agree. The same peer is asked again after `refresh`, at most.
    pub retry: Duration,
    /// From one question to the next once they agree.
    pub refresh: Duration,
}

impl Default for AutonatTimes {
    fn default() -> Self {
        // Nwaku asks every 30 s for as long as it runs.
        Self { first: Duration::from_secs(5), retry: Duration::from_secs(15), refresh: Duration::from_secs(300) }
    }
}

/// Bounds of a circuit relay. What is beyond is refused with a status, and costs nothing that exists.
#[derive(Clone, Debug)]
pub struct CircuitRelayLimits {
    /// Nodes that hold a reservation. Each is a mixer that receives all of its packets through this node, so their
    /// number is the number of mixers whose traffic it carries twice.
    pub reservations: usize,
    /// From a reservation to its end; it is renewed before.
    pub reservation_duration: Duration,
    /// Circuits, each with 16 KiB of buffers here and two muxer windows of 256 KiB: 136 MB at worst.
    pub circuits: usize,
    /// Circuits that begin or end at one peer: one for each mixer that sends to it, and below what one connection has
    /// of streams.
    pub circuits_per_peer: usize,
    /// The longest life of a circuit. A hop that is cut off makes a new one with its next packet; every few hours that
    /// does not matter, while the library's own 2 minutes would reset every stream of a mixer 30 times an hour.
    pub circuit_duration: Duration,
    /// Bytes of a circuit, both ways together. 1 GiB are 228 000 packets of 4.7 kB with their framing: 16 per second for 4
    /// hours. The library's own 128 KiB are 27 packets.
    pub circuit_bytes: u64,
}

impl Default for CircuitRelayLimits {
    fn default() -> Self {
        Self {
            reservations: 32,
            reservation_duration: Duration::from_secs(3600),
            circuits: 256,
            circuits_per_peer: 48,
            circuit_duration: Duration::from_secs(4 * 3600),
            circuit_bytes: 1 << 30,
        }
    }
}

/// Bounds of connections; what is above is refused, or another one goes for it.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Established connections.
    pub total: usize,
    /// Established connections that remotes opened. Below `total`: the rest is for those that this node dials. One address
    /// has a quarter of them and one subnet half; when all are taken, the one goes that was longest of no use.
    pub inbound: usize,
    /// Established connections of one peer: one each way over TCP, QUIC and WebSocket, and one reconnect.
    pub per_peer: usize,
    /// Connections that remotes are setting up over sockets; one address has a quarter of them and one subnet half.
    pub pending_inbound: usize,
    /// QUIC handshakes that remotes have begun, shared likewise. Each costs some 20 KiB until it is over, and one round trip
    /// is enough for it: with 256, some 1000 made-up first packets per second still leave an honest one a quarter of a second.
    pub pending_quic: usize,
    /// Connections that this node is setting up.
    pub pending_outbound: usize,
    /// A connection on which nothing is open is closed after this time. js-waku pings every 5 minutes
    /// (`spec/waku.md §8.1`), so its idle connections stay.
    pub idle_timeout: Duration,
    /// A connection that carried a packet or a request is kept for so long when others need its place: above the round trip
    /// of a request over the mixnet, half a second in docs/bounds.md and one over continents, so that its answer finds it.
    pub grace: Duration,
    /// Addresses that many users share, such as a reverse proxy's: nobody is counted under them.
    pub shared_addresses: Vec<IpNet>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 512,
            inbound: 384,
            per_peer: 4,
            pending_inbound: 64,
            pending_quic: 256,
            pending_outbound: 64,
            idle_timeout: Duration::from_secs(600),
            grace: Duration::from_secs(2),
            shared_addresses: Vec::new(),
        }
    }
}

/// Bounds of gossip, of all peers together; each has its part, and what others leave of theirs. docs/bounds.md has the memory
/// that they add up to.
#[derive(Clone, Debug)]
pub struct GossipLimits {
    /// New messages that are taken in a second; further ones are dropped. gossipsub remembers each for two minutes.
    pub messages_per_second: u32,
    /// Their bytes, which gossipsub keeps for six seconds.
    pub bytes_per_second: u64,
    /// For how long at these rates a node that has had less takes what comes at once.
    pub burst: Duration,
    /// Copies of messages that were taken, in a second; further ones are dropped, which harms nobody.
    pub copies_per_second: u32,
    /// Messages that are read in a second, new and copies; beyond that peers are read more slowly.
    pub read_messages_per_second: u32,
    /// Their bytes, likewise.
    pub read_bytes_per_second: u64,
    /// Bytes of lists of ids, of subscriptions and the like, likewise; what is asked for from lists is remembered for three
    /// seconds.
    pub control_bytes_per_second: u64,
}

impl Default for GossipLimits {
    fn default() -> Self {
        Self {
            // With bursts 65 000 ids in 120 s of scores and 35 000 in 60 s of the duplicate cache, 33 MiB. Some shards of the network
            // carry tens of messages per second; whole nets of ours were driven at 400.
            messages_per_second: 500,
            // 3 kB for each of 500 messages. In the 7 s of gossipsub's cache they are 11 MiB, and bursts 15 MiB more.
            bytes_per_second: 1536 << 10,
            // 2500 messages at once.
            burst: Duration::from_secs(5),
            // Two copies of each of 500 messages; above 512 bytes peers tell each other that they need none. A place in a score takes some
            // 140 bytes for 120 s, so 15 MiB.
            copies_per_second: 1000,
            // A copy of each of 500 messages from each of 20 peers.
            read_messages_per_second: 10_000,
            // 1 MiB from each of 16 peers.
            read_bytes_per_second: 16 << 20,
            // A list of 480 ids with each heartbeat from each of twelve peers and as many requests for a third of such a list (see
            // `gossip/handler.rs` for what an id counts). With half of it the hub of a star fell behind at 400 messages a
            // second: requests waited behind lists until what they asked for was forgotten. Of these 8200 ids a second,
            // 33 000 are asked for at a time, 560 bytes each: 18 MiB.
            control_bytes_per_second: 384 << 10,
        }
    }
}

/// Bounds of packets in every format that is served.
#[derive(Clone, Debug)]
pub struct MixLimits {
    /// Packets that wait for one peer, those being written included; the newest is refused. 256 packets are 1.2 MB
    /// and a tenth of a second of a loaded hop.
    pub queue_packets: usize,
    /// Peers that are dialled for waiting packets, the formats' together. When so many are, the oldest dial gives way if
    /// it has had a second, else the packet is refused. Below [`ConnectionLimits::pending_outbound`], so that dials for
    /// packets cannot keep all others out.
    pub max_dialling: usize,
    /// What a dial for packets may take, connection set-up included; then it is given up. A hop that needs longer is
    /// of no use to packets that are held for some tens of milliseconds.
    pub dial_timeout: Duration,
    /// Streams that one peer may have open towards this node in each format in any case (`spec/mix-wire.md §2`).
    pub inbound_streams: usize,
    /// Streams that one peer may have open in each format while there are further places.
    pub burst_streams: usize,
    /// Further places, which all peers share; each may have a quarter of those that are free. Some 2 KiB each.
    pub further_streams: usize,
    /// What the mixer behind the host can bear: so much is taken from its peers together, shared between those who send, and
    /// so many of their packets are in the node at a time, a part for each and one for whoever comes next. `None` for as much
    /// as comes, and as many as there are buffers.
    pub capacity: Option<Capacity>,
    /// Loses packets on purpose, to test what senders do about it.
    pub inject_loss: Option<Loss>,
    /// Opening a stream, negotiation included.
    pub open_timeout: Duration,
    /// Writing one batch. A peer that does not read for this long has a broken stream; without it, packets for such
    /// peers would hold the buffers of all.
    pub write_timeout: Duration,
    /// Receiving a frame that has begun.
    pub frame_timeout: Duration,
    /// How long nothing comes on a stream before it is reset, if its peer has since opened [`Self::inbound_streams`] others.
    pub idle_timeout: Duration,
}

impl Default for MixLimits {
    fn default() -> Self {
        Self {
            queue_packets: 256,
            max_dialling: 48,
            dial_timeout: Duration::from_secs(5),
            inbound_streams: 10,
            burst_streams: 256,
            further_streams: 4096,
            capacity: None,
            inject_loss: None,
            open_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(15),
            frame_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
        }
    }
}

/// Bounds of request–response protocols, as server and as client.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Streams that one peer may have open towards our services. js-waku opens one per protocol in advance and keeps
    /// it idle (`spec/waku.md §8.1`).
    pub inbound_streams: usize,
    /// Requests of all peers together that may be answered at a time; the streams of further ones are reset.
    pub inbound: usize,
    /// Bytes of all requests that are being read and answered; beyond them slow ones give way, or the newest is reset. 80 of
    /// the longest that lightpush takes, 200 KiB.
    pub body_bytes: usize,
    /// Reading a request that has begun.
    pub read_timeout: Duration,
    /// From a complete request to the service's answer.
    pub answer_timeout: Duration,
    /// Writing an answer.
    pub write_timeout: Duration,
    /// Own requests that are open at a time, over all peers.
    pub outbound: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            inbound_streams: 16,
            inbound: 256,
            body_bytes: 16 * 1024 * 1024,
            read_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            outbound: 256,
        }
    }
}
