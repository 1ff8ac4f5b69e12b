//! What witnesses of different origin say, one observation a group and one per peer.

use std::{collections::HashMap, time::Duration};

use libp2p::PeerId;
use tokio::time::Instant;

use super::scope::Group;

/// Observation that are kept; the oldest goes. Many times what is needed for a verdict.
const MAX_OBSERVATIONS: usize = 64;

/// How long a observation counts. Identify repeats every 5 minutes and AutoNAT at most that often, so this outlives a few lost
/// answers, and a node that has moved is known at its new place within the hour.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The last word of each witness.
#[derive(Debug)]
pub(crate) struct Quorum<T> {
    observations: HashMap<Group, Observation<T>>,
}

#[derive(Debug)]
struct Observation<T> {
    peer: PeerId,
    says: T,
    at: Instant,
}

impl<T> Quorum<T> {
    pub(crate) fn new() -> Self {
        Self { observations: HashMap::new() }
    }

    /// Takes the word of a peer; it replaces what its group and what it itself said before.
    pub(crate) fn cast(&mut self, group: Group, peer: PeerId, says: T, now: Instant) {
        self.observations.retain(|_, observation| observation.peer != peer);
        if self.observations.len() >= MAX_OBSERVATIONS && !self.observations.contains_key(&group) {
            let oldest =
                self.observations.iter().min_by_key(|(_, observation)| observation.at).map(|(group, _)| *group);
            oldest.map(|group| self.observations.remove(&group));
        }
        self.observations.insert(group, Observation { peer, says, at: now });
    }

    /// What is said, by each group once.
    pub(crate) fn all(&self, now: Instant) -> impl Iterator<Item = &T> {
        let is_fresh = move |observation: &&Observation<T>| now.saturating_duration_since(observation.at) < LIFETIME;
        self.observations.values().filter(is_fresh).map(|observation| &observation.says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: usize) -> Group {
        Group::Network4(u16::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn a_peer_has_one_observation_wherever_it_speaks_from() {
        let (mut quorum, peer, now) = (Quorum::new(), PeerId::random(), Instant::now());
        for number in 0..8 {
            quorum.cast(network(number), peer, number, now);
        }
        assert_eq!(quorum.all(now).collect::<Vec<_>>(), [&7]);
    }

    #[test]
    fn a_group_has_one_observation_however_many_peers_speak() {
        let (mut quorum, now) = (Quorum::new(), Instant::now());
        for number in 0..8 {
            quorum.cast(network(1), PeerId::random(), number, now);
        }
        assert_eq!(quorum.all(now).collect::<Vec<_>>(), [&7]);
    }

    #[test]
    fn beyond_its_bound_the_oldest_observation_goes() {
        let (mut quorum, start) = (Quorum::new(), Instant::now());
        for number in 0..=MAX_OBSERVATIONS {
            let later = start + Duration::from_millis(u64::try_from(number).unwrap());
            quorum.cast(network(number), PeerId::random(), number, later);
        }
        assert_eq!(quorum.all(start).count(), MAX_OBSERVATIONS);
        assert!(quorum.all(start).all(|number| *number != 0));
    }

    #[test]
    fn a_observation_is_forgotten_in_time() {
        let (mut quorum, now) = (Quorum::new(), Instant::now());
        quorum.cast(network(1), PeerId::random(), (), now);
        assert_eq!(quorum.all(now + LIFETIME).count(), 0);
    }
}
