//! Peers that the host stays connected to: when to dial them again.

use std::{collections::HashMap, time::Duration};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use rand::RngExt as _;
use tokio::time::Instant;

/// The wait after the first failed dial or lost connection; it doubles with each further failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait. A peer that is back is found again within a minute.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait for each peer, of a node that is connected to none of them: one with three guards that all have no place
/// for it tries each every two seconds, one that keeps a hundred peers no more often than every minute.
const LONGEST_WAIT_ALONE: Duration = Duration::from_millis(650);

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

impl KeptPeer {
    fn new(connected: bool, now: Instant) -> Self {
        let (since, due) = if connected { (Some(now), None) } else { (None, Some(now)) };
        Self { addresses: Vec::new(), failures: 0, since, due }
    }
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

    /// Keeps the peers of these addresses, each ending in `/p2p/<peer id>`, and no others. Who stays keeps its failures
    /// and its wait; a new peer is due at once unless it is `connected`. Gives back what was not taken, and why.
    pub(crate) fn replace(
        &mut self,
        addresses: Vec<Multiaddr>,
        connected: impl Fn(&PeerId) -> bool,
        now: Instant,
    ) -> Vec<(Multiaddr, NotKept)> {
        let mut before = std::mem::take(&mut self.peers);
        let mut refused = Vec::new();
        for full in addresses {
            let mut address = full.clone();
            let Some(Protocol::P2p(peer_id)) = address.pop() else {
                refused.push((full, NotKept::NoPeer));
                continue;
            };
            if !self.peers.contains_key(&peer_id) && self.peers.len() >= self.max {
                refused.push((full, NotKept::TooMany));
                continue;
            }
            let peer = self.peers.entry(peer_id).or_insert_with(|| match before.remove(&peer_id) {
                Some(known) => KeptPeer { addresses: Vec::new(), ..known },
                None => KeptPeer::new(connected(&peer_id), now),
            });
            if !peer.addresses.contains(&address) {
                peer.addresses.push(address);
            }
        }
        refused
    }

    /// The peers to dial now. They are not due again until [`Self::failed`] or [`Self::lost`].
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        if self.peers.values().all(|peer| peer.since.is_none()) {
            let peers = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
            let longest = now + LONGEST_WAIT_ALONE.saturating_mul(peers).min(LONGEST_WAIT);
            self.peers.values_mut().for_each(|peer| peer.due = peer.due.map(|due| due.min(longest)));
        }
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

    /// All of them.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.keys().copied()
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
            peer.due = Some(now + back_off(peer.failures));
            peer.failures = peer.failures.saturating_add(1);
        }
    }
}

/// Exponential with jitter from half to the whole: nodes that lost the same peer do not come back at once.
pub(crate) fn back_off(failures: u32) -> Duration {
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
        assert!(kept.replace(vec![address(peer)], |_| false, now).is_empty());
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
            let wait = back_off(failures);
            assert!(wait <= longest && wait >= longest / 2, "{failures} failures: {wait:?}");
        }
    }

    #[test]
    fn a_connected_peer_is_not_dialled_until_it_is_lost() {
        let (mut kept, peer, now) = (Kept::new(4), PeerId::random(), Instant::now());
        assert!(kept.replace(vec![address(peer)], |_| true, now).is_empty());
        assert!(kept.take_due(now + LONGEST_WAIT).is_empty());
        kept.lost(&peer, now);
        assert_eq!(kept.take_due(now + FIRST_WAIT).len(), 1);
    }

    #[test]
    fn a_node_that_is_connected_to_none_of_them_waits_for_no_minute() {
        let (mut kept, now) = (Kept::new(4), Instant::now());
        let [first, second] = [(); 2].map(|()| PeerId::random());
        kept.replace(vec![address(first), address(second)], |_| false, now);
        assert_eq!(kept.take_due(now).len(), 2);
        kept.connected(&second, now);
        (0..20).for_each(|_| kept.failed(&first, now));
        let soon = LONGEST_WAIT_ALONE * 2;
        assert!(kept.take_due(now + soon).is_empty(), "there is another one");
        kept.lost(&second, now + soon);
        assert!(kept.take_due(now + soon).is_empty());
        assert_eq!(kept.take_due(now + soon * 2).len(), 2);
    }

    #[test]
    fn refuses_nameless_addresses_and_more_than_its_bound() {
        let (mut kept, now) = (Kept::new(1), Instant::now());
        let nameless: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let (first, second) = (PeerId::random(), PeerId::random());
        let refused = kept.replace(vec![nameless.clone(), address(first), address(second)], |_| false, now);
        assert_eq!(refused, [(nameless, NotKept::NoPeer), (address(second), NotKept::TooMany)]);
    }

    #[test]
    fn a_new_list_replaces_the_old_one() {
        let (mut kept, now) = (Kept::new(2), Instant::now());
        let (goes, stays, comes) = (PeerId::random(), PeerId::random(), PeerId::random());
        kept.replace(vec![address(goes), address(stays)], |_| false, now);
        assert_eq!(kept.take_due(now).len(), 2);
        kept.failed(&stays, now);
        let refused = kept.replace(vec![address(stays), address(comes)], |_| false, now);
        assert!(refused.is_empty(), "there is room again");
        assert!(!kept.contains(&goes));
        kept.failed(&goes, now);
        let due = kept.take_due(now);
        assert_eq!(due.iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [comes], "who stays waits for its turn");
        assert_eq!(kept.take_due(now + FIRST_WAIT).iter().map(|(peer, _)| *peer).collect::<Vec<_>>(), [stays]);
    }
}
