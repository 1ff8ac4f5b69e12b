//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use wakumix_sphinx::{Weakness, Weaknesses};

/// Whether the first reply that comes uses up the credentials of its request, instead of the first that opens.
pub(crate) fn burns_on_arrival(weaknesses: Weaknesses) -> bool {
    weaknesses.has(Weakness::BurnedReply)
}

/// Whether a service that has the message already has published it.
pub(crate) fn is_known_done(weaknesses: Weaknesses) -> bool {
    !weaknesses.has(Weakness::CountedDuplicate)
}
