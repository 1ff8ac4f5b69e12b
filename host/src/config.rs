//! What a host is configured with: addresses, limits, times, and which checks are on.

use std::time::Duration;

use libp2p::Multiaddr;

/// Everything about a host that can be chosen.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where to listen: TCP (`/ip4/…/tcp/N`), QUIC (`/ip4/…/udp/N/quic-v1`), WebSocket (`/ip4/…/tcp/N/ws`). Port 0
    /// takes a free one. May be empty: such a host only dials.
    pub listen: Vec<Multiaddr>,
    /// Addresses that identify tells besides the bound ones.
    pub announce: Vec<Multiaddr>,
    /// Version in identify's agent string, `wakumix-<version>`.
    pub version: String,
    /// The Waku cluster that metadata tells.
    pub cluster: u16,
    /// The shards that metadata tells.
    pub shards: Vec<u16>,
    /// Whether a peer that does not answer metadata is disconnected, as the fleet does. A peer of another cluster
    /// always is. Off by default: a mix node without Waku speaks no metadata (`spec/waku.md §3`).
    pub require_metadata: bool,
    /// Whether gossipsub lowers the score of peers that share an address. Off for nets on one machine
    /// (`spec/waku.md §2.2`).
    pub score_colocation: bool,
    /// Bounds of connections.
    pub connections: ConnectionLimits,
    /// Bounds of `/mix/1.0.0`.
    pub mix: MixLimits,
    /// Bounds of request–response protocols.
    pub requests: RequestLimits,
    /// Peers that the host stays connected to, at most; further ones are not dialled.
    pub max_kept_peers: usize,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            announce: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: 0,
            shards: Vec::new(),
            require_metadata: false,
            score_colocation: true,
            connections: ConnectionLimits::default(),
            mix: MixLimits::default(),
            requests: RequestLimits::default(),
            max_kept_peers: 256,
        }
    }
}

/// Bounds of connections; what is above is refused.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Established connections.
    pub total: usize,
    /// Established connections that remotes opened. Below `total`, so that remotes cannot keep this node from
    /// dialling.
    pub inbound: usize,
    /// Established connections of one peer: one each way over TCP, QUIC and WebSocket, and one reconnect.
    pub per_peer: usize,
    /// Connections that remotes are setting up.
    pub pending_inbound: usize,
    /// Connections that this node is setting up.
    pub pending_outbound: usize,
    /// A connection on which nothing is open is closed after this time. js-waku pings every 5 minutes
    /// (`spec/waku.md §8.1`), so its idle connections stay.
    pub idle_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            total: 512,
            inbound: 384,
            per_peer: 4,
            pending_inbound: 64,
            pending_outbound: 64,
            idle_timeout: Duration::from_secs(600),
        }
    }
}

/// Bounds of `/mix/1.0.0`.
#[derive(Clone, Debug)]
pub struct MixLimits {
    /// Packets that wait for one peer, those being written included; the newest is refused. 256 packets are 1.2 MB
    /// and a tenth of a second of a loaded hop.
    pub queue_packets: usize,
    /// Peers without a connection for which packets wait; packets for one more are refused.
    pub max_dialling: usize,
    /// Streams that one peer may have open towards this node (`spec/mix-wire.md §2`), and so the packet buffers that a
    /// peer who sends half frames can hold.
    pub inbound_streams: usize,
    /// Opening a stream, negotiation included.
    pub open_timeout: Duration,
    /// Writing one batch. A peer that does not read for this long has a broken stream; without it, packets for such
    /// peers would hold the buffers of all.
    pub write_timeout: Duration,
    /// Receiving a frame that has begun.
    pub frame_timeout: Duration,
}

impl Default for MixLimits {
    fn default() -> Self {
        Self {
            queue_packets: 256,
            max_dialling: 64,
            inbound_streams: 10,
            open_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(15),
            frame_timeout: Duration::from_secs(10),
        }
    }
}

/// Bounds of request–response protocols, as server and as client.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Streams that one peer may have open towards our services. js-waku opens one per protocol in advance and keeps
    /// it idle (`spec/waku.md §8.1`).
    pub inbound_streams: usize,
    /// Requests of all peers together that may be read and answered at a time; further ones wait unread for
    /// `read_timeout`, then their streams are reset.
    pub inbound: usize,
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
            read_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            outbound: 256,
        }
    }
}
