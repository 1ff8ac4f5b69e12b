//! Who is connected, for the gauge `waku_connected_peers`.

use std::collections::HashMap;

use libp2p::{PeerId, StreamProtocol};
use wakumix_mix::{MIX_PROTOCOL, SPHINX_PACKET_PROTOCOL};
use wakumix_telemetry::Telemetry;
use wakumix_waku::{RELAY_PROTOCOL, lightpush, metadata};

use crate::metrics::{Direction, Metric};

/// The protocols that the gauge tells apart.
const PROTOCOLS: [&str; 6] = [
    MIX_PROTOCOL,
    SPHINX_PACKET_PROTOCOL,
    RELAY_PROTOCOL,
    metadata::PROTOCOL,
    lightpush::V3_PROTOCOL,
    lightpush::V2_PROTOCOL,
];

/// Connected peers. Bound: the limit on connections.
#[derive(Debug)]
pub(crate) struct PeerTable {
    telemetry: Telemetry,
    peers: HashMap<PeerId, Known>,
}

#[derive(Debug)]
struct Known {
    /// Who opened the first connection.
    direction: Direction,
    /// What identify says that it serves.
    protocols: Vec<&'static str>,
}

impl PeerTable {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, peers: HashMap::new() }
    }

    /// Connected peers.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// A first connection.
    pub(crate) fn connected(&mut self, peer: PeerId, direction: Direction) {
        self.peers.entry(peer).or_insert(Known { direction, protocols: Vec::new() });
    }

    /// Whether a peer gossips, or has not said yet what it does.
    pub(crate) fn may_gossip(&self, peer: &PeerId) -> bool {
        self.peers.get(peer).is_none_or(|known| known.protocols.is_empty() || known.protocols.contains(&RELAY_PROTOCOL))
    }

    /// The last connection is gone.
    pub(crate) fn disconnected(&mut self, peer: &PeerId) {
        if let Some(known) = self.peers.remove(peer) {
            self.count(&known, -1.0);
        }
    }

    /// What identify says.
    pub(crate) fn identified(&mut self, peer: &PeerId, protocols: &[StreamProtocol]) {
        let served = |name: &&str| protocols.iter().any(|protocol| protocol.as_ref() == *name);
        let protocols = PROTOCOLS.into_iter().filter(served).collect();
        let Some(known) = self.peers.get_mut(peer) else { return };
        let now = Known { direction: known.direction, protocols };
        let before = std::mem::replace(known, Known { direction: now.direction, protocols: now.protocols.clone() });
        self.count(&before, -1.0);
        self.count(&now, 1.0);
    }

    fn count(&self, known: &Known, change: f64) {
        for protocol in &known.protocols {
            let labels = [("direction", known.direction.as_str()), ("protocol", protocol)];
            self.telemetry.gauge(Metric::WakuConnectedPeers, &labels).increment(change);
        }
    }
}
