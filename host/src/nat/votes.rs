//! What witnesses of different origin say, one voice a group and one a peer.

use std::{collections::HashMap, time::Duration};

use libp2p::PeerId;
use tokio::time::Instant;

use super::scope::Group;

/// Voices that are kept; the oldest goes. Many times what is needed for a verdict.
const MAX_VOICES: usize = 64;

/// How long a voice counts. Identify repeats every 5 minutes and AutoNAT at most that often, so this outlives a few lost
/// answers, and a node that has moved is known at its new place within the hour.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The last word of each witness.
#[derive(Debug)]
pub(crate) struct Votes<T> {
    voices: HashMap<Group, Voice<T>>,
}

#[derive(Debug)]
struct Voice<T> {
    peer: PeerId,
    says: T,
    at: Instant,
}

impl<T> Votes<T> {
    pub(crate) fn new() -> Self {
        Self { voices: HashMap::new() }
    }

    /// Takes the word of a peer; it replaces what its group and what it itself said before.
    pub(crate) fn cast(&mut self, group: Group, peer: PeerId, says: T, now: Instant) {
        self.voices.retain(|_, voice| voice.peer != peer);
        if self.voices.len() >= MAX_VOICES && !self.voices.contains_key(&group) {
            let oldest = self.voices.iter().min_by_key(|(_, voice)| voice.at).map(|(group, _)| *group);
            oldest.map(|group| self.voices.remove(&group));
        }
        self.voices.insert(group, Voice { peer, says, at: now });
    }

    /// What is said, by each group once.
    pub(crate) fn all(&self, now: Instant) -> impl Iterator<Item = &T> {
        let is_fresh = move |voice: &&Voice<T>| now.saturating_duration_since(voice.at) < LIFETIME;
        self.voices.values().filter(is_fresh).map(|voice| &voice.says)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(number: usize) -> Group {
        Group::Network4(u16::try_from(number).unwrap().to_be_bytes())
    }

    #[test]
    fn a_peer_has_one_voice_wherever_it_speaks_from() {
        let (mut votes, peer, now) = (Votes::new(), PeerId::random(), Instant::now());
        for number in 0..8 {
            votes.cast(network(number), peer, number, now);
        }
        assert_eq!(votes.all(now).collect::<Vec<_>>(), [&7]);
    }

    #[test]
    fn a_group_has_one_voice_however_many_peers_speak() {
        let (mut votes, now) = (Votes::new(), Instant::now());
        for number in 0..8 {
            votes.cast(network(1), PeerId::random(), number, now);
        }
        assert_eq!(votes.all(now).collect::<Vec<_>>(), [&7]);
    }

    #[test]
    fn beyond_its_bound_the_oldest_voice_goes() {
        let (mut votes, start) = (Votes::new(), Instant::now());
        for number in 0..=MAX_VOICES {
            let later = start + Duration::from_millis(u64::try_from(number).unwrap());
            votes.cast(network(number), PeerId::random(), number, later);
        }
        assert_eq!(votes.all(start).count(), MAX_VOICES);
        assert!(votes.all(start).all(|number| *number != 0));
    }

    #[test]
    fn a_voice_is_forgotten_in_time() {
        let (mut votes, now) = (Votes::new(), Instant::now());
        votes.cast(network(1), PeerId::random(), (), now);
        assert_eq!(votes.all(now + LIFETIME).count(), 0);
    }
}
