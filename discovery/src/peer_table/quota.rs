//! The quota of nodes that nobody has reached yet: a share per source, and which one leaves when it is used up.

use std::collections::HashMap;

use libp2p_identity::PeerId;
use rand::{Rng, RngExt};

use crate::peer_report::SourceName;

/// What one source may fill with nodes that were not reached: a quarter of the table, so that no one source, nor two of
/// them, can fill it.
const SHARES: usize = 4;
/// Nodes looked at for one to leave. The one with the most failures leaves, so a node that was tried in vain makes room
/// for one that was not.
const SAMPLE: usize = 8;

/// The nodes that were not reached, by the source that introduced them. Bounded by the peer table.
#[derive(Debug)]
pub(super) struct Quota {
    max_nodes: usize,
    unverified: [Vec<PeerId>; SourceName::ALL.len()],
    places: HashMap<PeerId, (usize, usize)>,
}

impl Quota {
    pub(super) fn new(max_nodes: usize) -> Self {
        Self { max_nodes, unverified: Default::default(), places: HashMap::new() }
    }

    /// Nodes that were not reached.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Those of one source.
    pub(super) fn of(&self, source: SourceName) -> usize {
        self.unverified.get(source as usize).map_or(0, Vec::len)
    }

    /// Most of one source.
    pub(super) fn share(&self) -> usize {
        (self.max_nodes / SHARES).max(1)
    }

    pub(super) fn enter(&mut self, peer: PeerId, source: SourceName) {
        let index = source as usize;
        if let Some(unverified) = self.unverified.get_mut(index)
            && !self.places.contains_key(&peer)
        {
            self.places.insert(peer, (index, unverified.len()));
            unverified.push(peer);
        }
    }

    /// It was reached, or is forgotten.
    pub(super) fn leave(&mut self, peer: &PeerId) {
        let Some((index, place)) = self.places.remove(peer) else { return };
        let Some(unverified) = self.unverified.get_mut(index) else { return };
        unverified.swap_remove(place);
        if let Some(moved) = unverified.get(place) {
            self.places.insert(*moved, (index, place));
        }
    }

    /// Who makes room for a new node of `source` in a table that holds `nodes`: nobody is needed, somebody, or there is
    /// nobody who may be displaced.
    pub(super) fn make_room<R: Rng + ?Sized>(
        &self,
        source: SourceName,
        nodes: usize,
        failures: impl Fn(&PeerId) -> u32,
        rng: &mut R,
    ) -> Verdict {
        let from = if self.of(source) >= self.share() {
            self.unverified.get(source as usize)
        } else if nodes < self.max_nodes {
            return Verdict::Free;
        } else {
            self.unverified.iter().max_by_key(|unverified| unverified.len())
        };
        let unverified = from.map_or(&[][..], Vec::as_slice);
        if unverified.is_empty() {
            return Verdict::Full;
        }
        let sample = (0..SAMPLE).filter_map(|_| unverified.get(rng.random_range(0..unverified.len())));
        sample.max_by_key(|peer| failures(peer)).map_or(Verdict::Full, |peer| Verdict::InPlaceOf(*peer))
    }
}

/// See [`Quota::make_room`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Free,
    InPlaceOf(PeerId),
    Full,
}
