//! The checks of this crate that the attack suite can take away; no other code of a release asks what [`Weaknesses`] there are.

use wakumix_keyring::MixKey;
use wakumix_mix::Packet;
use wakumix_sphinx::{ALPHA_LEN, ReplayTag, Weakness, Weaknesses, inspect};

use crate::delay_queue::Bounds;

/// What the delay queue holds at most (`spec/mix-wire.md §21 W6`).
pub(crate) fn bounds(weaknesses: Weaknesses, bounds: Bounds) -> Bounds {
    if weaknesses.has(Weakness::Unbounded) { Bounds { packets: usize::MAX, bytes: usize::MAX } } else { bounds }
}

/// Nothing is remembered of a packet with a wrong MAC. What the reference did until 2026 (§15): the tag of whatever α comes
/// with, before anything is checked.
pub(crate) fn forget_wrong_mac(weaknesses: Weaknesses, key: &MixKey, packet: &Packet) {
    if weaknesses.has(Weakness::TagsBeforeMac)
        && let Some(alpha) = packet.bytes().first_chunk::<ALPHA_LEN>()
    {
        let secret = inspect::x25519(key.private().as_bytes(), alpha);
        let _ = key.admit([ReplayTag::from_bytes(inspect::replay_tag(&secret))]);
    }
}
