//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use wakumix_sphinx::{Weakness, Weaknesses};

/// Whether a descriptor counts only with the signature of the node that it is about.
pub(crate) fn is_signature_needed(weaknesses: Weaknesses) -> bool {
    !weaknesses.has(Weakness::UnsignedEntries)
}
