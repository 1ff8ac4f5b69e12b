//! Addresses that could not be reached a moment ago.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use tokio::time::Instant;

/// How long nobody is dialled again where nobody answered. Long enough that one dead hop does not hold a dial all the
/// time, short enough that a restarted one is missed for a moment only.
const BACK_OFF: Duration = Duration::from_secs(3);

/// Failures that are remembered; the oldest goes. At most what a full table of dials can fail with in the time.
const CAPACITY: usize = 1024;

/// Where dialling failed. By peer and address: a packet that names a dead address for a sound peer must not cut it off.
#[derive(Debug, Default)]
pub(super) struct Failures {
    known: HashSet<(PeerId, Multiaddr)>,
    /// In the order of time, and so of expiry.
    order: VecDeque<(Instant, PeerId, Multiaddr)>,
}

impl Failures {
    /// A dial failed at this address.
    pub(super) fn add(&mut self, peer: PeerId, address: Multiaddr, now: Instant) {
        self.expire(now);
        if !self.known.insert((peer, address.clone())) {
            return;
        }
        self.order.push_back((now, peer, address));
        if self.order.len() > CAPACITY {
            self.forget_oldest();
        }
    }

    /// Whether a dial to this address would probably fail too.
    pub(super) fn contains(&mut self, peer: PeerId, address: &Multiaddr, now: Instant) -> bool {
        self.expire(now);
        !self.known.is_empty() && self.known.contains(&(peer, address.clone()))
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, ..)| now.saturating_duration_since(*since) >= BACK_OFF) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, peer, address)) = self.order.pop_front() {
            self.known.remove(&(peer, address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn remembers_an_address_of_a_peer_for_a_moment() {
        let (mut failures, peer, now) = (Failures::default(), PeerId::random(), Instant::now());
        failures.add(peer, address(1), now);
        failures.add(peer, address(1), now);
        assert!(failures.contains(peer, &address(1), now));
        assert!(!failures.contains(peer, &address(2), now), "another address may be right");
        assert!(!failures.contains(PeerId::random(), &address(1), now));
        assert!(!failures.contains(peer, &address(1), now + BACK_OFF));
        assert!(failures.order.is_empty() && failures.known.is_empty());
    }

    #[test]
    fn forgets_the_oldest_beyond_its_bound() {
        let (mut failures, peer, now) = (Failures::default(), PeerId::random(), Instant::now());
        (0..=CAPACITY).for_each(|port| failures.add(peer, address(port), now));
        assert!(!failures.contains(peer, &address(0), now));
        assert!(failures.contains(peer, &address(CAPACITY), now));
        assert_eq!(failures.known.len(), CAPACITY);
    }
}
