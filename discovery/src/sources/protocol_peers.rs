//! Connected peers that speak a protocol, as far as they have told.

use std::{collections::HashSet, time::Duration};

use libp2p_identity::PeerId;
use rand::{Rng, RngExt, seq::IndexedRandom};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, sleep_until, timeout_at},
};
use wakumix_role_api::host::{HostHandle, PeerEvent, RequestFailure};

/// Peers that are remembered; further ones each take the place of a random one, so that nobody keeps the others out by
/// coming first.
const MAX: usize = 256;
/// Dialled peers that are remembered: as many as a host has connections.
const MAX_REACHED: usize = 1024;

/// The peers to ask.
#[derive(Debug)]
pub(super) struct ProtocolPeers {
    protocol: &'static str,
    events: Receiver<PeerEvent>,
    peers: Vec<PeerId>,
    /// Connected peers that this node has dialled itself, protocol_peers or not.
    reached: HashSet<PeerId>,
}

impl ProtocolPeers {
    pub(super) fn new(protocol: &'static str, events: Receiver<PeerEvent>) -> Self {
        Self { protocol, events, peers: Vec::new(), reached: HashSet::new() }
    }

    /// Follows events for this long; if nobody is known yet, only until somebody is.
    pub(super) async fn follow(&mut self, wait: Duration, rng: &mut impl Rng) {
        let (end, was_empty) = (Instant::now() + wait, self.peers.is_empty());
        while let Ok(event) = timeout_at(end, self.events.recv()).await {
            match event {
                Ok(event) => self.apply(event, rng),
                // Somebody who is gone shows when he is asked; somebody new speaks up again.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return sleep_until(end).await,
            }
            if was_empty && !self.peers.is_empty() {
                return;
            }
        }
    }

    fn apply(&mut self, event: PeerEvent, rng: &mut impl Rng) {
        match event {
            PeerEvent::Identified { peer, protocols, .. } => {
                if protocols.iter().any(|protocol| protocol == self.protocol) {
                    self.add(peer, rng);
                } else {
                    self.remove(peer);
                }
            }
            PeerEvent::Reached { peer, .. } => {
                if self.reached.len() < MAX_REACHED {
                    self.reached.insert(peer);
                }
            }
            PeerEvent::ReachedLost { peer } => {
                self.reached.remove(&peer);
            }
            PeerEvent::Disconnected { peer } => {
                self.reached.remove(&peer);
                self.remove(peer);
            }
            PeerEvent::Connected { .. } | PeerEvent::DialFailed { .. } | PeerEvent::Shards { .. } => {}
        }
    }

    fn add(&mut self, peer: PeerId, rng: &mut impl Rng) {
        if self.peers.contains(&peer) {
            return;
        }
        if self.peers.len() < MAX {
            self.peers.push(peer);
        } else if let Some(place) = self.peers.get_mut(rng.random_range(0..MAX)) {
            *place = peer;
        }
    }

    fn remove(&mut self, peer: PeerId) {
        self.peers.retain(|known| *known != peer);
    }

    /// Those that are known.
    pub(super) fn known(&self) -> &[PeerId] {
        &self.peers
    }

    /// Those that this node has dialled itself.
    pub(super) fn reached(&self) -> Vec<PeerId> {
        self.peers.iter().filter(|peer| self.reached.contains(peer)).copied().collect()
    }

    /// Whether this node has dialled a peer itself.
    pub(super) fn has_reached(&self, peer: &PeerId) -> bool {
        self.reached.contains(peer)
    }

    /// Those to ask: whoever opens many connections to this node does not decide what it learns, unless there is nobody
    /// else.
    pub(super) fn to_ask(&self) -> Vec<PeerId> {
        let reached = self.reached();
        if reached.is_empty() { self.peers.clone() } else { reached }
    }

    /// A random one to ask, or one of all connected peers while none is known.
    pub(super) async fn choose(&self, host: &HostHandle, rng: &mut impl Rng) -> Option<PeerId> {
        match self.to_ask().choose(rng) {
            Some(peer) => Some(*peer),
            None => host.peers().await.choose(rng).copied(),
        }
    }

    /// Learns from how a request to a connected peer ended.
    pub(super) fn note<T>(&mut self, peer: PeerId, outcome: &Result<T, RequestFailure>, rng: &mut impl Rng) {
        match outcome {
            Ok(_) => self.add(peer, rng),
            Err(RequestFailure::Unsupported | RequestFailure::DialFailed) => self.remove(peer),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use tokio::sync::broadcast;

    use super::*;

    const PROTOCOL: &str = "/spoken/1";

    fn identified(peer: PeerId, protocol: &str) -> PeerEvent {
        PeerEvent::Identified { peer, protocols: vec![protocol.to_owned()], addresses: Vec::new() }
    }

    struct World {
        events: broadcast::Sender<PeerEvent>,
        protocol_peers: ProtocolPeers,
        rng: StdRng,
    }

    impl World {
        fn new(capacity: usize) -> Self {
            let (events, receiver) = broadcast::channel(capacity);
            Self { events, protocol_peers: ProtocolPeers::new(PROTOCOL, receiver), rng: StdRng::seed_from_u64(1) }
        }

        async fn after(&mut self, events: impl IntoIterator<Item = PeerEvent>) -> Vec<PeerId> {
            for event in events {
                self.events.send(event).unwrap();
            }
            // Once for the first of them, once for the rest.
            for _ in 0..2 {
                self.protocol_peers.follow(Duration::from_secs(1), &mut self.rng).await;
            }
            self.protocol_peers.known().to_vec()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_connected_peers_that_speak_the_protocol_are_known() {
        let mut world = World::new(64);
        let [one, two, three] = [(); 3].map(|()| PeerId::random());
        let told = [identified(one, PROTOCOL), identified(two, "/other"), identified(three, PROTOCOL)];
        assert_eq!(world.after(told).await, [one, three]);
        assert_eq!(world.after([identified(one, PROTOCOL)]).await, [one, three]);
        assert_eq!(world.after([PeerEvent::Disconnected { peer: one }, identified(three, "/other")]).await, []);
    }

    #[tokio::test(start_paused = true)]
    async fn peers_that_dialled_in_are_asked_only_while_this_node_has_reached_none() {
        let mut world = World::new(256);
        let liars: Vec<_> = (0..60).map(|_| PeerId::random()).collect();
        world.after(liars.iter().map(|peer| identified(*peer, PROTOCOL))).await;
        assert_eq!(world.protocol_peers.to_ask(), liars);
        let (honest, address) = (PeerId::random(), "/ip4/192.0.2.1/tcp/1".parse().unwrap());
        world.after([PeerEvent::Reached { peer: honest, address }, identified(honest, PROTOCOL)]).await;
        assert_eq!(world.protocol_peers.to_ask(), [honest]);
        world.after([PeerEvent::ReachedLost { peer: honest }]).await;
        assert_eq!(world.protocol_peers.to_ask().len(), 61);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_tells_who_is_left() {
        let mut world = World::new(64);
        let [one, two] = [(); 2].map(|()| PeerId::random());
        world.after([identified(one, PROTOCOL)]).await;
        let mut note = |peer, outcome| {
            world.protocol_peers.note(peer, &outcome, &mut world.rng);
            world.protocol_peers.known().to_vec()
        };
        assert_eq!(note(two, Ok(())), [one, two]);
        assert_eq!(note(one, Err(RequestFailure::Timeout)), [one, two]);
        assert_eq!(note(one, Err(RequestFailure::DialFailed)), [two]);
        assert_eq!(note(two, Err(RequestFailure::Unsupported)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_peers_takes_no_more_than_its_room_and_no_place_is_safe() {
        let mut world = World::new(4096);
        let first: Vec<_> = (0..MAX).map(|_| PeerId::random()).collect();
        world.after(first.iter().map(|peer| identified(*peer, PROTOCOL))).await;
        let known = world.after((0..MAX).map(|_| identified(PeerId::random(), PROTOCOL))).await;
        let left = first.iter().filter(|peer| known.contains(peer)).count();
        // Each of as many newcomers hits a random place: 1/e of the first, 94 of 256, are left on average.
        assert!(known.len() == MAX && (70..120).contains(&left), "{left} of {} left", known.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_lagged_goes_on() {
        let mut world = World::new(2);
        let peers: Vec<_> = (0..9).map(|_| PeerId::random()).collect();
        let known = world.after(peers.iter().map(|peer| identified(*peer, PROTOCOL))).await;
        assert_eq!(known, peers[7..]);
    }
}
