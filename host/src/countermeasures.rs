//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use wakumix_mix::admission::Capacity;
use wakumix_sphinx::{Weakness, Weaknesses};

/// What the node can bear, by which peers are metered.
pub(crate) fn metered(weaknesses: Weaknesses, capacity: Option<Capacity>) -> Option<Capacity> {
    capacity.filter(|_| !weaknesses.has(Weakness::Unmetered))
}

/// A bound, of packets that peers have in the node or of streams.
pub(crate) fn bound(weaknesses: Weaknesses, bound: usize) -> usize {
    if weaknesses.has(Weakness::Unbounded) { usize::MAX } else { bound }
}
