//! Pushes that a client has had published here and sends again.
//!
//! js-waku repeats a push a second after its success, takes the 420 of a duplicate for a broken service and turns from it. So the
//! same client gets 200 again, with the number of peers that the first push reached. Every other client is answered as ever:
//! what it learns by pushing somebody else's message is what gossip tells anybody, and never who pushed it.
//!
//! Remembered is a keyed hash of client and message, not the two: whoever reads the memory of this process must guess both,
//! and each pair is forgotten after [`LIFE`]. Requests of the mixnet have no client and are not remembered.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use libp2p_identity::PeerId;
use tokio::time::Instant;
use wakumix_waku::MessageHash;

/// As long as gossipsub knows a message: afterwards a push of it is published again.
const LIFE: Duration = Duration::from_secs(120);

/// Pairs that are remembered; the oldest go first. At the default rate limit all clients together push 2600 messages in
/// [`LIFE`].
const CAPACITY: usize = 4096;

/// What clients have had published of late. Ephemeral.
pub(crate) struct Repeats {
    key: RandomState,
    reached: HashMap<u64, u32>,
    /// In the order in which they came.
    ages: VecDeque<(Instant, u64)>,
}

impl Repeats {
    pub(crate) fn new() -> Self {
        Self { key: RandomState::new(), reached: HashMap::new(), ages: VecDeque::new() }
    }

    /// A message of this client has reached so many peers.
    pub(crate) fn published(&mut self, client: &PeerId, message: &MessageHash, peers: u32, now: Instant) {
        self.forget(now);
        let pair = self.pair(client, message);
        if self.reached.insert(pair, peers).is_none() {
            self.ages.push_back((now, pair));
        }
        while self.ages.len() > CAPACITY {
            self.forget_oldest();
        }
    }

    /// How many peers a message reached, if this client has had it published.
    pub(crate) fn reached(&mut self, client: &PeerId, message: &MessageHash, now: Instant) -> Option<u32> {
        self.forget(now);
        self.reached.get(&self.pair(client, message)).copied()
    }

    fn pair(&self, client: &PeerId, message: &MessageHash) -> u64 {
        self.key.hash_one((client, message))
    }

    fn forget(&mut self, now: Instant) {
        while self.ages.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= LIFE) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, pair)) = self.ages.pop_front() {
            self.reached.remove(&pair);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> PeerId {
        PeerId::from_bytes(&[0, 2, 8, number]).unwrap()
    }

    fn message(number: usize) -> MessageHash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        MessageHash::from(bytes)
    }

    #[test]
    fn a_client_finds_what_it_has_had_published_and_nobody_else_does() {
        let (mut repeats, now) = (Repeats::new(), Instant::now());
        repeats.published(&client(1), &message(1), 7, now);
        assert_eq!(repeats.reached(&client(1), &message(1), now), Some(7));
        assert_eq!(repeats.reached(&client(2), &message(1), now), None);
        assert_eq!(repeats.reached(&client(1), &message(2), now), None);
        let last = now + LIFE - Duration::from_millis(1);
        assert_eq!(repeats.reached(&client(1), &message(1), last), Some(7));
        assert_eq!(repeats.reached(&client(1), &message(1), now + LIFE), None);
        assert!(repeats.reached.is_empty() && repeats.ages.is_empty());
    }

    #[test]
    fn the_oldest_go_first() {
        let (mut repeats, now) = (Repeats::new(), Instant::now());
        for number in 0..=CAPACITY {
            repeats.published(&client(1), &message(number), 1, now);
            repeats.published(&client(1), &message(number), 1, now);
        }
        assert_eq!((repeats.reached.len(), repeats.ages.len()), (CAPACITY, CAPACITY));
        assert_eq!(repeats.reached(&client(1), &message(0), now), None);
        assert_eq!(repeats.reached(&client(1), &message(1), now), Some(1));
    }
}
