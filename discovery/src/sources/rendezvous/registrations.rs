//! What is registered at this rendezvous point in one namespace. No clock, no I/O: the time and the randomness come in.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use libp2p_identity::PeerId;
use rand::{Rng, RngExt, seq::IteratorRandom};
use tokio::time::Instant;

/// The longest signed record that is taken and made, in bytes: twice that of a node with two names and an address.
pub(super) const MAX_RECORD: usize = 1024;

/// Registrations of a namespace. With [`MAX_RECORD`] bytes each they take at most 1 MiB. A newcomer that finds no room takes the
/// place of a random one that this node has not reached, as long as there is one: whoever registers faster than others gets
/// its share of the places and no more, and nobody keeps the others out by coming first.
pub(super) const MAX_REGISTRATIONS: usize = 1024;

/// One record a peer, for as long as it holds.
#[derive(Debug, Default)]
pub(super) struct Registrations {
    entries: HashMap<PeerId, Entry>,
}

#[derive(Debug)]
struct Entry {
    record: Vec<u8>,
    ends: Instant,
}

/// Where a reader is on his way through all registrations in his own random order. It travels in the cookie, so that
/// the point remembers nothing of its readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Walk {
    /// Gives every peer its rank.
    seed: u64,
    /// The lowest rank that has not been returned.
    next: u64,
}

/// Records for a reader, each with the seconds that it still holds, and the cookie that leads to others.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) records: Vec<(Vec<u8>, u64)>,
    pub(super) cookie: Vec<u8>,
}

impl Registrations {
    /// Takes the record of a peer in place of the one before.
    pub(super) fn insert(
        &mut self,
        peer: PeerId,
        record: Vec<u8>,
        ends: Instant,
        now: Instant,
        reached: &HashSet<PeerId>,
        rng: &mut impl Rng,
    ) {
        if !self.entries.contains_key(&peer) && self.entries.len() >= MAX_REGISTRATIONS {
            self.make_room(now, reached, rng);
        }
        self.entries.insert(peer, Entry { record, ends });
    }

    fn make_room(&mut self, now: Instant, reached: &HashSet<PeerId>, rng: &mut impl Rng) {
        self.expire(now);
        if self.entries.len() < MAX_REGISTRATIONS {
            return;
        }
        let stranger = self.entries.keys().filter(|peer| !reached.contains(peer)).choose(rng).copied();
        if let Some(peer) = stranger.or_else(|| self.entries.keys().choose(rng).copied()) {
            self.entries.remove(&peer);
        }
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        self.entries.remove(peer);
    }

    /// Forgets what no longer holds.
    pub(super) fn expire(&mut self, now: Instant) {
        self.entries.retain(|_, entry| entry.ends > now);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// At most `limit` records of others than `reader`, those of nodes that this one has reached before all others. Without a
    /// cookie they are a random sample; with that of the last answer they are others, until all have been returned and another
    /// random order begins. A cookie that is none of ours begins anew: a reader that keeps it, as nwaku's do, would else
    /// be refused forever.
    pub(super) fn tell(
        &self,
        reader: Option<PeerId>,
        cookie: Option<&[u8]>,
        limit: usize,
        now: Instant,
        reached: &HashSet<PeerId>,
        rng: &mut impl Rng,
    ) -> Told {
        let mut walk = cookie.and_then(Walk::from_cookie).unwrap_or_else(|| Walk::begin(rng));
        let lives = |peer: &PeerId, entry: &Entry| entry.ends > now && Some(*peer) != reader;
        let mut rest: Vec<_> = self.entries.iter().filter(|(peer, entry)| lives(peer, entry)).collect();
        let mut chosen = walk.take(limit, &rest, reached);
        if chosen.len() < limit {
            let told: HashSet<_> = chosen.iter().map(|(peer, _)| **peer).collect();
            rest.retain(|(peer, _)| !told.contains(peer));
            walk = Walk::begin(rng);
            chosen.extend(walk.take(limit - chosen.len(), &rest, reached));
        }
        let record = |(_, entry): (&PeerId, &Entry)| (entry.record.clone(), (entry.ends - now).as_secs());
        Told { records: chosen.into_iter().map(record).collect(), cookie: walk.to_cookie() }
    }
}

impl Walk {
    fn begin(rng: &mut impl Rng) -> Self {
        Self { seed: rng.random(), next: 0 }
    }

    fn from_cookie(cookie: &[u8]) -> Option<Self> {
        let (seed, next) = cookie.split_first_chunk()?;
        Some(Self { seed: u64::from_be_bytes(*seed), next: u64::from_be_bytes(next.try_into().ok()?) })
    }

    fn to_cookie(self) -> Vec<u8> {
        [self.seed.to_be_bytes(), self.next.to_be_bytes()].concat()
    }

    /// The upper half is that of strangers.
    fn rank(self, peer: &PeerId, reached: &HashSet<PeerId>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, peer).hash(&mut hasher);
        let half = u64::from(!reached.contains(peer)) << (u64::BITS - 1);
        half | (hasher.finish() >> 1)
    }

    /// The next `limit` entries in the order of this walk, which goes on behind them.
    fn take<'a>(
        &mut self,
        limit: usize,
        entries: &[(&'a PeerId, &'a Entry)],
        reached: &HashSet<PeerId>,
    ) -> Vec<(&'a PeerId, &'a Entry)> {
        let ranked = entries.iter().map(|&(peer, entry)| (self.rank(peer, reached), peer, entry));
        let mut ahead: Vec<_> = ranked.filter(|(rank, ..)| *rank >= self.next).collect();
        ahead.sort_unstable_by_key(|(rank, ..)| *rank);
        ahead.truncate(limit);
        if let Some((rank, ..)) = ahead.last() {
            self.next = rank.saturating_add(1);
        }
        ahead.into_iter().map(|(_, peer, entry)| (peer, entry)).collect()
    }
}

#[cfg(test)]
mod tests;
