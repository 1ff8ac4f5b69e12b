//! What known peers say over connections that this node opened: identify lists the protocols that a peer speaks, metadata the
//! shards that it relays (`spec/waku.md §3`).
//!
//! Records of the existing network's nodes often do not say that they serve lightpush, or on which shards, while each
//! connection does (`spec/live-behaviour.md §6`). The visit of a check is enough. A peer that dialled
//! in is not believed: to be chosen as a service it would only have to connect.

use std::collections::HashMap;

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use tokio::sync::broadcast::error::RecvError;
use wakumix_role_api::host::PeerEvent;
use wakumix_waku::{
    RELAY_PROTOCOL,
    lightpush::{V2_PROTOCOL, V3_PROTOCOL},
    record::{Capabilities, Shards},
};

use crate::{
    clock::Now,
    peer_report::{PeerReport, SourceName, UnixSeconds},
    source::{Source, SourceContext},
};

/// How long a peer's word counts after it was given; checks come more often.
const COUNTS_FOR: UnixSeconds = 60 * 60;

/// The source.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identify {
    cluster: u16,
}

impl Identify {
    pub(crate) fn new(cluster: u16) -> Self {
        Self { cluster }
    }

    async fn follow(self, context: SourceContext) {
        let mut events = context.reports.peer_events();
        let mut peers = Peers { cluster: self.cluster, connected: HashMap::new() };
        loop {
            let report = match events.recv().await {
                Ok(event) => peers.on_event(event, Now::read().unix),
                // Connections may have ended among what was missed. The next visits, and identify's next word, say it again.
                Err(RecvError::Lagged(_)) => {
                    peers.connected.clear();
                    None
                }
                Err(RecvError::Closed) => return,
            };
            if let Some(report) = report
                && !context.reports.report(vec![report]).await
            {
                return;
            }
        }
    }
}

impl Source for Identify {
    fn name(&self) -> SourceName {
        SourceName::Identify
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        self.follow(context).boxed()
    }
}

/// What connected peers have said. Bound: the connections, since no end of one is missed without forgetting all.
struct Peers {
    cluster: u16,
    connected: HashMap<PeerId, Said>,
}

#[derive(Default)]
struct Said {
    /// Over a connection that this node opened.
    is_reached: bool,
    offers: Option<Capabilities>,
    /// With the time: metadata is asked once per connection, and shards are joined later.
    shards: Option<(Vec<u16>, UnixSeconds)>,
}

impl Peers {
    /// What is now known of the peer that the event is about, if it serves anything.
    fn on_event(&mut self, event: PeerEvent, now: UnixSeconds) -> Option<PeerReport> {
        let peer = match event {
            PeerEvent::Reached { peer, .. } => {
                self.connected.entry(peer).or_default().is_reached = true;
                peer
            }
            PeerEvent::Identified { peer, protocols, .. } => {
                self.connected.entry(peer).or_default().offers = Some(offers(&protocols));
                peer
            }
            PeerEvent::Shards { peer, shards } => {
                self.connected.entry(peer).or_default().shards = Some((shards, now));
                peer
            }
            PeerEvent::ReachedLost { peer } => {
                if let Some(said) = self.connected.get_mut(&peer) {
                    said.is_reached = false;
                }
                return None;
            }
            PeerEvent::Disconnected { peer } => {
                self.connected.remove(&peer);
                return None;
            }
            PeerEvent::Connected { .. } | PeerEvent::DialFailed { .. } => return None,
        };
        self.report(peer, now)
    }

    fn report(&self, peer: PeerId, now: UnixSeconds) -> Option<PeerReport> {
        let said = self.connected.get(&peer).filter(|said| said.is_reached)?;
        let offers = said.offers.filter(|offers| offers.contains(Capabilities::LIGHTPUSH))?;
        let is_fresh = |(_, at): &&(Vec<u16>, UnixSeconds)| now.saturating_sub(*at) < COUNTS_FOR;
        let shards = said.shards.as_ref().filter(is_fresh);
        let shards = shards.map(|(shards, _)| Shards { cluster: self.cluster, shards: shards.clone() });
        Some(PeerReport {
            capabilities: Some(offers),
            shards,
            expires: Some(now + COUNTS_FOR),
            ..PeerReport::new(peer, now)
        })
    }
}

fn offers(protocols: &[String]) -> Capabilities {
    let speaks = |protocol: &str| protocols.iter().any(|spoken| spoken == protocol);
    let lightpush = speaks(V3_PROTOCOL) || speaks(V2_PROTOCOL);
    [(lightpush, Capabilities::LIGHTPUSH), (speaks(RELAY_PROTOCOL), Capabilities::RELAY)]
        .into_iter()
        .filter(|(speaks, _)| *speaks)
        .fold(Capabilities::NONE, |all, (_, own)| all | own)
}

#[cfg(test)]
mod tests {
    use super::super::test_double::{CLUSTER, Node, mixer, peer};
    use super::*;

    fn reached(peer: PeerId) -> PeerEvent {
        PeerEvent::Reached { peer, address: "/ip4/192.0.2.1/tcp/60000".parse().unwrap() }
    }

    fn identified(peer: PeerId, protocols: &[&str]) -> PeerEvent {
        let protocols = protocols.iter().map(ToString::to_string).collect();
        PeerEvent::Identified { peer, protocols, addresses: Vec::new() }
    }

    /// What a node of the existing network lists.
    const LISTED: [&str; 4] = ["/ipfs/id/1.0.0", RELAY_PROTOCOL, "/mix/1.0.0", V3_PROTOCOL];

    #[tokio::test(start_paused = true)]
    async fn a_service_that_was_dialled_is_reported_with_its_shards() {
        let node = Node::new(1, mixer(1), &Identify::new(CLUSTER));
        tokio::task::yield_now().await;
        let service = peer(2);
        for event in
            [reached(service), identified(service, &LISTED), PeerEvent::Shards { peer: service, shards: vec![0, 5] }]
        {
            node.events.send(event).unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let found = node.log.lock().found.clone();
        assert_eq!(found.len(), 2);
        let last = &found[1];
        assert_eq!(last.peer, service);
        assert_eq!(last.capabilities, Some(Capabilities::LIGHTPUSH | Capabilities::RELAY));
        assert_eq!(last.shards, Some(Shards { cluster: CLUSTER, shards: vec![0, 5] }));
        assert_eq!((last.mix_key, last.addresses.len()), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn after_events_were_missed_nothing_is_believed_that_was_said_before() {
        let node = Node::new(1, mixer(1), &Identify::new(CLUSTER));
        tokio::task::yield_now().await;
        // More than the channel holds, at once: the first are lost.
        node.events.send(reached(peer(2))).unwrap();
        for _ in 0..2000 {
            node.events.send(PeerEvent::Connected { peer: peer(3), dialled: None }).unwrap();
        }
        node.events.send(identified(peer(2), &LISTED)).unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(node.log.lock().found, [], "whether it is still reached is not known");
        node.events.send(reached(peer(2))).unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(node.log.lock().found.len(), 1);
    }

    #[test]
    fn nobody_is_believed_who_dialled_in_or_serves_nothing() {
        let mut peers = Peers { cluster: CLUSTER, connected: HashMap::new() };
        let [inbound, idle] = [peer(1), peer(2)];
        assert_eq!(peers.on_event(identified(inbound, &LISTED), 1), None);
        assert_eq!(peers.on_event(PeerEvent::Shards { peer: inbound, shards: vec![1] }, 1), None);
        assert_eq!(peers.on_event(reached(idle), 1), None);
        assert_eq!(peers.on_event(identified(idle, &LISTED[..3]), 1), None);
        // Once this node has dialled it, what it said before counts, and no longer when that connection is gone.
        assert!(peers.on_event(reached(inbound), 1).is_some());
        assert_eq!(peers.on_event(PeerEvent::ReachedLost { peer: inbound }, 1), None);
        assert_eq!(peers.on_event(identified(inbound, &LISTED), 1), None);
        let shards_at = |peers: &mut Peers, now| {
            peers.on_event(reached(inbound), now).and_then(|found| found.shards).map(|shards| shards.shards)
        };
        assert_eq!(shards_at(&mut peers, COUNTS_FOR), Some(vec![1]));
        assert_eq!(shards_at(&mut peers, COUNTS_FOR + 1), None, "it may have joined others");
        peers.on_event(PeerEvent::Disconnected { peer: inbound }, 1);
        peers.on_event(PeerEvent::Disconnected { peer: idle }, 1);
        assert!(peers.connected.is_empty());
    }
}
