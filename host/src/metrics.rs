//! What the host counts.

mod catalogue;

use wakumix_role_api::{
    host::{HostAddresses, Reachability},
    metrics::Metric as SharedMetric,
};
use wakumix_telemetry::{Counter, Gauge, Telemetry};

pub use catalogue::METRICS;
pub(crate) use catalogue::Metric;

wakumix_sphinx::named_enum! {
    /// Which side opened a stream or connection.
    pub(crate) enum Direction {
        /// The remote.
        Inbound = "inbound",
        /// This node.
        Outbound = "outbound",
    }
}

wakumix_sphinx::named_enum! {
    /// Why what came on `/mix/1.0.0` did not become a packet. (Empty and short frames do: they are in the ledger, dropped.)
    pub(crate) enum FrameRefusal {
        /// A length above a packet's; the stream is dropped.
        TooLong = "too_long",
        /// A length with superfluous groups; the stream is dropped.
        NotMinimal = "not_minimal",
        /// A frame that did not end in time; the stream is dropped.
        Slow = "slow",
        /// One stream more than a peer may have.
        StreamLimit = "stream_limit",
    }
}

wakumix_sphinx::named_enum! {
    /// Why a connection was refused, or ended before it was set up.
    pub(crate) enum ConnectionRefusal {
        /// The remote opened it and said nothing.
        Silent = "silent",
        /// The remote had said nothing yet, or not enough for long, when another connection needed the place.
        Displaced = "displaced",
        /// Too many are being set up by remotes.
        PendingInbound = "pending_inbound",
        /// One address has its share, being set up or established.
        AddressShare = "address_share",
        /// One subnet has.
        SubnetShare = "subnet_share",
        /// Too many are being set up by this node.
        PendingOutbound = "pending_outbound",
        /// Too many were opened by remotes.
        Inbound = "inbound",
        /// Too many of one peer.
        PerPeer = "per_peer",
        /// Too many.
        Total = "total",
    }
}

impl ConnectionRefusal {
    /// Which connections are counted for it.
    pub(crate) fn counted(self) -> &'static str {
        match self {
            Self::Silent | Self::Displaced => "connections that take their time",
            Self::PendingInbound => "connections being set up by remotes",
            Self::AddressShare => "connections from one address",
            Self::SubnetShare => "connections from one subnet",
            Self::PendingOutbound => "connections being set up",
            Self::Inbound => "connections that remotes opened",
            Self::PerPeer => "connections of one peer",
            Self::Total => "connections",
        }
    }
}

/// Handles for refused connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct RefusalMetrics([Counter; ConnectionRefusal::ALL.len()]);

impl RefusalMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let counter = |refusal: ConnectionRefusal| {
            telemetry.counter(Metric::ConnectionsRefusedTotal, &[("reason", refusal.as_str())])
        };
        Self(ConnectionRefusal::ALL.map(counter))
    }

    pub(crate) fn refused(&self, refusal: ConnectionRefusal) {
        if let Some(counter) = self.0.get(refusal as usize) {
            counter.increment(1);
        }
    }
}

/// Handles for established connections.
pub(crate) struct ConnectionMetrics {
    refused: RefusalMetrics,
    evicted: Counter,
    places: Gauge,
    inbound: Gauge,
}

impl ConnectionMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self {
            refused: RefusalMetrics::new(telemetry),
            evicted: telemetry.counter(Metric::ConnectionsEvictedTotal, &[]),
            places: telemetry.gauge(Metric::InboundPlaces, &[]),
            inbound: telemetry.gauge(Metric::InboundConnections, &[]),
        }
    }

    pub(crate) fn refused(&self, refusal: ConnectionRefusal) {
        self.refused.refused(refusal);
    }

    /// Counts a connection that gave its place to another.
    pub(crate) fn evicted(&self) {
        self.evicted.increment(1);
    }

    /// Places for connections that remotes open.
    #[allow(clippy::cast_precision_loss, reason = "fewer than there are ports")]
    pub(crate) fn places(&self, places: usize) {
        self.places.set(places as f64);
    }

    /// How many of them are taken.
    #[allow(clippy::cast_precision_loss, reason = "fewer than there are ports")]
    pub(crate) fn inbound(&self, taken: usize) {
        self.inbound.set(taken as f64);
    }
}

wakumix_sphinx::named_enum! {
    /// What the gate said of a frame.
    pub(crate) enum Admitted {
        /// It may come in.
        Yes = "admitted",
        /// Its peer sends more than its part of a loaded node.
        PeerRate = "peer_rate",
        /// The node has more to do than it can catch up with.
        NodeRate = "node_rate",
        /// Its peer has too many packets in the node.
        PeerFrames = "peer_frames",
    }
}

/// Handles for admission. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AdmissionMetrics([Counter; Admitted::ALL.len()]);

impl AdmissionMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let counter =
            |outcome: Admitted| telemetry.counter(Metric::AdmissionFramesTotal, &[("outcome", outcome.as_str())]);
        Self(Admitted::ALL.map(counter))
    }

    pub(crate) fn count(&self, outcome: Admitted) {
        if let Some(counter) = self.0.get(outcome as usize) {
            counter.increment(1);
        }
    }
}

wakumix_sphinx::named_enum! {
    /// What became of a gossip message before gossipsub saw it.
    pub(crate) enum GossipAdmission {
        /// It is new and was taken.
        New = "new",
        /// It is a copy of one that was taken.
        Copy = "copy",
        /// Dropped: its peer sends more new messages than its part of a loaded node.
        PeerRate = "peer_rate",
        /// Dropped: the node has taken more than it can keep.
        NodeRate = "node_rate",
        /// Dropped: one copy too many.
        CopyRate = "copy_rate",
    }
}

wakumix_sphinx::named_enum! {
    /// Why a gossip frame was not taken at once.
    pub(crate) enum GossipPause {
        /// Its peer sends more than its part of a loaded node; the stream rests.
        PeerRate = "peer_rate",
        /// The node has read more than it can catch up with; the stream rests.
        NodeRate = "node_rate",
        /// It would have to wait, and too many large ones do; it is dropped.
        NoRoom = "no_room",
    }
}

/// Handles for what is taken from gossip peers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GossipMetrics {
    messages: [Counter; GossipAdmission::ALL.len()],
    pauses: [Counter; GossipPause::ALL.len()],
}

impl GossipMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let message = |outcome: GossipAdmission| {
            telemetry.counter(Metric::GossipAdmissionMessagesTotal, &[("outcome", outcome.as_str())])
        };
        let pause = |reason: GossipPause| telemetry.counter(Metric::GossipPausesTotal, &[("reason", reason.as_str())]);
        Self { messages: GossipAdmission::ALL.map(message), pauses: GossipPause::ALL.map(pause) }
    }

    pub(crate) fn message(&self, outcome: GossipAdmission) {
        if let Some(counter) = self.messages.get(outcome as usize) {
            counter.increment(1);
        }
    }

    pub(crate) fn paused(&self, reason: GossipPause) {
        if let Some(counter) = self.pauses.get(reason as usize) {
            counter.increment(1);
        }
    }
}

/// Handles for the mix protocol. Cheap to clone.
#[derive(Clone)]
pub(crate) struct MixMetrics {
    open: [Gauge; 2],
    opened: [Counter; 2],
    refused: [Counter; FrameRefusal::ALL.len()],
}

impl MixMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self {
            open: Direction::ALL.map(|d| telemetry.gauge(Metric::Streams, &[("direction", d.as_str())])),
            opened: Direction::ALL.map(|d| telemetry.counter(Metric::StreamsOpenedTotal, &[("direction", d.as_str())])),
            refused: FrameRefusal::ALL
                .map(|r| telemetry.counter(Metric::FramesRefusedTotal, &[("reason", r.as_str())])),
        }
    }

    /// Counts a frame or stream that was refused.
    pub(crate) fn frame_refused(&self, refusal: FrameRefusal) {
        if let Some(counter) = self.refused.get(refusal as usize) {
            counter.increment(1);
        }
    }
}

impl std::fmt::Debug for MixMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MixMetrics")
    }
}

/// An open mix stream in the gauge; it leaves when this is dropped.
pub(crate) struct StreamGuard(Gauge);

impl StreamGuard {
    pub(crate) fn new(metrics: &MixMetrics, direction: Direction) -> Self {
        let [inbound, outbound] = &metrics.open;
        let [inbound_opened, outbound_opened] = &metrics.opened;
        let (gauge, opened) = match direction {
            Direction::Inbound => (inbound, inbound_opened),
            Direction::Outbound => (outbound, outbound_opened),
        };
        opened.increment(1);
        gauge.increment(1);
        Self(gauge.clone())
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// How a connection attempt of ours ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialOutcome {
    /// Connected.
    Connected,
    /// Nobody answers there, or not as the peer that was wanted.
    Failed,
    /// One of our own limits forbade it.
    Denied,
}

fn state_label(state: Reachability) -> &'static str {
    match state {
        Reachability::Unknown => "unknown",
        Reachability::Public => "public",
        Reachability::Private => "private",
    }
}

/// Handles for connections and protocols around the mix. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HostMetrics {
    dials: [Counter; 3],
    nwaku_dials: [Counter; 3],
    gossip_overload: Counter,
    gossip_slow_peers: Counter,
    reachability: [(Reachability, Gauge); 3],
    reservations: Gauge,
    telemetry: Telemetry,
}

impl HostMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let outcomes = ["connected", "failed", "denied"];
        Self {
            dials: outcomes.map(|outcome| telemetry.counter(Metric::DialsTotal, &[("outcome", outcome)])),
            // Nwaku's words: `spec/waku.md §7.3`.
            nwaku_dials: ["successful", "failed", "failed"]
                .map(|outcome| telemetry.counter(Metric::WakuPeersDialsTotal, &[("outcome", outcome)])),
            gossip_overload: telemetry.counter(SharedMetric::GossipMessagesTotal, &[("verdict", "overload")]),
            gossip_slow_peers: telemetry.counter(Metric::GossipSlowPeersTotal, &[]),
            reachability: [Reachability::Unknown, Reachability::Public, Reachability::Private]
                .map(|state| (state, telemetry.gauge(Metric::Reachability, &[("state", state_label(state))]))),
            reservations: telemetry.gauge(Metric::RelayReservations, &[]),
            telemetry: telemetry.clone(),
        }
    }

    /// What is known of this node's addresses.
    #[allow(clippy::cast_precision_loss, reason = "a handful of relays")]
    pub(crate) fn addresses(&self, addresses: &HostAddresses) {
        for (state, gauge) in &self.reachability {
            gauge.set(f64::from(u8::from(*state == addresses.reachability)));
        }
        self.reservations.set(addresses.relayed.len() as f64);
    }

    pub(crate) fn dialled(&self, outcome: DialOutcome) {
        for counters in [&self.dials, &self.nwaku_dials] {
            if let Some(counter) = counters.get(outcome as usize) {
                counter.increment(1);
            }
        }
    }

    /// Counts one message that arrived by gossip while the relay was behind; the others are the relay's to count.
    pub(crate) fn gossip_overload(&self) {
        self.gossip_overload.increment(1);
    }

    /// Counts a peer that was disconnected because gossip for it did not get away.
    pub(crate) fn slow_peer(&self) {
        self.gossip_slow_peers.increment(1);
    }

    /// Counts one exchange of metadata.
    pub(crate) fn metadata(&self, direction: Direction, outcome: &'static str) {
        let labels = [("direction", direction.as_str()), ("outcome", outcome)];
        self.telemetry.counter(Metric::MetadataExchangesTotal, &labels).increment(1);
    }
}

impl std::fmt::Debug for HostMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HostMetrics")
    }
}
