//! Room for nodes that nobody has reached yet: a share a source, and who leaves when it is used up.

use std::collections::HashMap;

use libp2p_identity::PeerId;
use rand::{Rng, RngExt};

use crate::finding::SourceName;

/// What one source may fill with nodes that were not reached: a quarter of the book, so that no one source, nor two of
/// them, can fill it.
const SHARES: usize = 4;
/// Nodes looked at for one to leave. The one with the most failures leaves, so a node that was tried in vain makes room
/// for one that was not.
const SAMPLE: usize = 8;

/// The nodes that were not reached, by the source that introduced them. Bounded by the book.
#[derive(Debug)]
pub(super) struct Room {
    max_nodes: usize,
    strangers: [Vec<PeerId>; SourceName::ALL.len()],
    places: HashMap<PeerId, (usize, usize)>,
}

impl Room {
    pub(super) fn new(max_nodes: usize) -> Self {
        Self { max_nodes, strangers: Default::default(), places: HashMap::new() }
    }

    /// Nodes that were not reached.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Those of one source.
    pub(super) fn of(&self, source: SourceName) -> usize {
        self.strangers.get(source as usize).map_or(0, Vec::len)
    }

    /// Most of one source.
    pub(super) fn share(&self) -> usize {
        (self.max_nodes / SHARES).max(1)
    }

    pub(super) fn enter(&mut self, peer: PeerId, source: SourceName) {
        let index = source as usize;
        if let Some(strangers) = self.strangers.get_mut(index)
            && !self.places.contains_key(&peer)
        {
            self.places.insert(peer, (index, strangers.len()));
            strangers.push(peer);
        }
    }

    /// It was reached, or is forgotten.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        let Some((index, place)) = self.places.remove(peer) else { return };
        let Some(strangers) = self.strangers.get_mut(index) else { return };
        strangers.swap_remove(place);
        if let Some(moved) = strangers.get(place) {
            self.places.insert(*moved, (index, place));
        }
    }

    /// Who makes room for a new node of `source` in a book that holds `nodes`: nobody is needed, somebody, or there is
    /// nobody who may be displaced.
    pub(super) fn make<R: Rng + ?Sized>(
        &self,
        source: SourceName,
        nodes: usize,
        failures: impl Fn(&PeerId) -> u32,
        rng: &mut R,
    ) -> Verdict {
        let from = if self.of(source) >= self.share() {
            self.strangers.get(source as usize)
        } else if nodes < self.max_nodes {
            return Verdict::Free;
        } else {
            self.strangers.iter().max_by_key(|strangers| strangers.len())
        };
        let strangers = from.map_or(&[][..], Vec::as_slice);
        if strangers.is_empty() {
            return Verdict::Full;
        }
        let sample = (0..SAMPLE).filter_map(|_| strangers.get(rng.random_range(0..strangers.len())));
        sample.max_by_key(|peer| failures(peer)).map_or(Verdict::Full, |peer| Verdict::InPlaceOf(*peer))
    }
}

/// See [`Room::make`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Free,
    InPlaceOf(PeerId),
    Full,
}
