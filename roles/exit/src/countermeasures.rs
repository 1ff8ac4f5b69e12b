//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use wakumix_sphinx::{Weakness, Weaknesses};

/// A bound of what is held of requests that are not complete.
pub(crate) fn bound(weaknesses: Weaknesses, bound: usize) -> usize {
    if weaknesses.has(Weakness::Unbounded) { usize::MAX } else { bound }
}
