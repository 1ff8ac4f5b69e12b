//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use libp2p_identity::PeerId;
use wakumix_sphinx::{Weakness, Weaknesses};

use crate::HopAddress;

/// Whether an exit asks what it is told to, by any protocol and anywhere, whatever its policy allows.
pub(crate) fn is_open_exit(weaknesses: Weaknesses) -> bool {
    weaknesses.has(Weakness::OpenExit)
}

/// Where the first hop of a reply block is: where the directory says, not where the block does.
pub(crate) fn first_hop(
    weaknesses: Weaknesses,
    claimed: HopAddress,
    known: &dyn Fn(&PeerId) -> Option<HopAddress>,
) -> Option<HopAddress> {
    if weaknesses.has(Weakness::StrangeFirstHop) { Some(claimed) } else { known(&claimed.peer()) }
}

/// Whether everybody on the path of a packet that was lost is down-weighted at once, instead of judged by all packets.
pub(crate) fn blames_paths(weaknesses: Weaknesses) -> bool {
    weaknesses.has(Weakness::BlamedPath)
}
