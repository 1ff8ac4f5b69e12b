//! Peers that the host stays connected to: when to dial them again.

use std::{collections::HashMap, time::Duration};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use rand::RngExt as _;
use tokio::time::Instant;

/// The wait after the first failed dial or lost connection; it doubles with each further failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait. A peer that is back is found again within a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The peers to stay connected to.
#[derive(Debug)]
pub(crate) struct Kept {
    max: usize,
    peers: HashMap<PeerId, KeptPeer>,
}

#[derive(Debug)]
struct KeptPeer {
    addresses: Vec<Multiaddr>,
    failures: u32,
    /// Since when it is connected.
    since: Option<Instant>,
    /// When to dial; `None` while it is connected or being dialled.
    due: Option<Instant>,
}

/// Why an address was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKept {
    /// It does not end in `/p2p/<peer id>`.
    #[error("the address names no peer: it must end in /p2p/<peer id>")]
    NoPeer,
    /// There are enough already.
    #[error("too many peers to stay connected to")]
    TooMany,
}

impl Kept {
    /// Keeps at most `max` peers.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, peers: HashMap::new() }
    }

    /// Adds an address that ends in `/p2p/<peer id>`; a new peer is due at once unless it is `connected`.
    pub(crate) fn add(
        &mut self,
        mut address: Multiaddr,
        connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Result<(), NotKept> {
        let Some(Protocol::P2p(peer_id)) = address.pop() else { return Err(NotKept::NoPeer) };
        if !self.peers.contains_key(&peer_id) && self.peers.len() >= self.max {
            return Err(NotKept::TooMany);
        }
        let due = (!connected(&peer_id)).then_some(now);
        let peer = self.peers.entry(peer_id).or_insert_with(|| KeptPeer {
            addresses: Vec::new(),
            failures: 0,
            since: None,
            due,
        });
        if !peer.addresses.contains(&address) {
            peer.addresses.push(address);
        }
        Ok(())
    }

    /// The peers to dial now. They are not due again until [`Self::failed`] or [`Self::lost`].
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let due = self.peers.iter_mut().filter(|(_, peer)| peer.due.is_some_and(|due| due <= now));
        due.map(|(peer_id, peer)| {
            peer.due = None;
            (*peer_id, peer.addresses.clone())
        })
        .collect()
    }

    /// Whether this peer is one of them.
    pub(crate) fn contains(&self, peer: &PeerId) -> bool {
        self.peers.contains_key(peer)
    }

    /// A connection was made, whoever opened it.
    pub(crate) fn connected(&mut self, peer: &PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.since.get_or_insert(now);
            peer.due = None;
        }
    }

    /// The last connection to a peer is gone. Failures are forgotten only after a connection that lasted: a peer that
    /// hangs up at once, or is of another cluster, is dialled ever more rarely.
    pub(crate) fn lost(&mut self, peer: &PeerId, now: Instant) {
        if let Some(known) = self.peers.get_mut(peer)
            && known.since.take().is_some_and(|since| now.saturating_duration_since(since) >= LONGEST_WAIT)
        {
            known.failures = 0;
        }
        self.failed(peer, now);
    }

    /// A dial failed, whoever asked for it.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: Instant) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.due = Some(now + wait(peer.failures));
            peer.failures = peer.failures.saturating_add(1);
        }
    }
}

/// Exponential with jitter from half to the whole: nodes that lost the same peer do not come back at once.
fn wait(failures: u32) -> Duration {
    let full = FIRST_WAIT.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(LONGEST_WAIT);
    full.mul_f64(rand::rng().random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: PeerId) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/4001/p2p/{peer}").parse().unwrap()
    }

    #[test]
    fn dials_at_once_and_again_only_after_a_failure() {
        let (mut kept, peer, now) = (Kept::new(4), PeerId::random(), Instant::now());
        kept.add(address(peer), |_| false, now).unwrap();
        assert_eq!(kept.take_due(now).len(), 1);
        assert!(kept.take_due(now + LONGEST_WAIT).is_empty(), "the dial is under way");
        kept.failed(&peer, now);
        assert!(kept.take_due(now).is_empty());
        assert_eq!(kept.take_due(now + FIRST_WAIT).len(), 1);
    }

    #[test]
    fn waits_longer_after_each_failure_up_to_the_longest_wait() {
        for failures in 0..80 {
            let longest = FIRST_WAIT.saturating_mul(2u32.saturating_pow(failures)).min(LONGEST_WAIT);
            let wait = wait(failures);
            assert!(wait <= longest && wait >= longest / 2, "{failures} failures: {wait:?}");
        }
    }

    #[test]
    fn a_connected_peer_is_not_dialled_until_it_is_lost() {
        let (mut kept, peer, now) = (Kept::new(4), PeerId::random(), Instant::now());
        kept.add(address(peer), |_| true, now).unwrap();
        assert!(kept.take_due(now + LONGEST_WAIT).is_empty());
        kept.lost(&peer, now);
        assert_eq!(kept.take_due(now + FIRST_WAIT).len(), 1);
    }

    #[test]
    fn refuses_nameless_addresses_and_more_than_its_bound() {
        let (mut kept, now) = (Kept::new(1), Instant::now());
        let nameless = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        assert_eq!(kept.add(nameless, |_| false, now), Err(NotKept::NoPeer));
        kept.add(address(PeerId::random()), |_| false, now).unwrap();
        assert_eq!(kept.add(address(PeerId::random()), |_| false, now), Err(NotKept::TooMany));
    }
}
