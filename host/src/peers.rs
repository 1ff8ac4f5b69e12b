//! Who is connected: for the gauge `waku_connected_peers`, and for operators.

use std::collections::HashMap;

use libp2p::{Multiaddr, PeerId, identify};
use wakumix_mix::{MIX_PROTOCOL, SPHINX_PACKET_PROTOCOL};
use wakumix_role_api::host::PeerDetails;
use wakumix_telemetry::Telemetry;
use wakumix_waku::{RELAY_PROTOCOL, lightpush, metadata};

use crate::{
    metrics::{Direction, Metric},
    transport::without_peer,
};

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
    /// Where this node dialled it.
    dialled: Option<Multiaddr>,
    /// Which of [`PROTOCOLS`] it says that it serves.
    protocols: Vec<&'static str>,
    said: Said,
}

/// What identify says, kept as it is. Bound: an identify message has at most 4 KiB.
#[derive(Clone, Debug, Default)]
struct Said {
    protocols: Vec<String>,
    agent: String,
    /// Where it says that it listens.
    address: Option<Multiaddr>,
}

impl PeerTable {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, peers: HashMap::new() }
    }

    /// Connected peers.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// A connection, which is reported if it is the peer's first; `dialled` is where this node opened it.
    pub(crate) fn connected(&mut self, peer: PeerId, direction: Direction, dialled: Option<Multiaddr>) {
        let first = || Known { direction, dialled: None, protocols: Vec::new(), said: Said::default() };
        let known = self.peers.entry(peer).or_insert_with(first);
        known.dialled = known.dialled.take().or(dialled);
    }

    /// What is known of every peer, except of its gossip.
    pub(crate) fn details(&self) -> impl Iterator<Item = PeerDetails> {
        self.peers.iter().map(|(peer, known)| PeerDetails {
            peer: *peer,
            address: known.dialled.as_ref().or(known.said.address.as_ref()).cloned(),
            protocols: known.said.protocols.clone(),
            agent: known.said.agent.clone(),
            topics: Vec::new(),
            mesh: Vec::new(),
            score: None,
        })
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
    pub(crate) fn identified(&mut self, peer: &PeerId, info: &identify::Info) {
        let served = |name: &&str| info.protocols.iter().any(|protocol| protocol.as_ref() == *name);
        let protocols: Vec<_> = PROTOCOLS.into_iter().filter(served).collect();
        let Some(mut known) = self.peers.remove(peer) else { return };
        self.count(&known, -1.0);
        known.protocols = protocols;
        known.said = Said {
            protocols: info.protocols.iter().map(ToString::to_string).collect(),
            agent: info.agent_version.clone(),
            address: info.listen_addrs.first().map(without_peer),
        };
        self.count(&known, 1.0);
        self.peers.insert(*peer, known);
    }

    fn count(&self, known: &Known, change: f64) {
        for protocol in &known.protocols {
            let labels = [("direction", known.direction.as_str()), ("protocol", protocol)];
            self.telemetry.gauge(Metric::WakuConnectedPeers, &labels).increment(change);
        }
    }
}
