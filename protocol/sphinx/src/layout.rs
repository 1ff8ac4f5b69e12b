//! Sizes and offsets of the packet and of everything inside it.
//!
//! Source: `spec/mix-wire.md §1` and §3; each derived size shows its arithmetic.

use core::ops::Range;

/// Number of hops of every path; the only length that deployed nodes can terminate (§10.1).
pub const PATH_LEN: usize = 3;

/// κ, the security parameter: keys, MACs, SURB ids and zero prefixes have this many bytes.
pub const SECURITY_LEN: usize = 16;

/// r, the path length that β has room for.
pub const MAX_PATH_LEN: usize = 5;

/// t, the address and delay of a hop in units of κ.
const ADDRESS_BLOCKS: usize = 6;

/// The group element α: an X25519 u-coordinate.
pub const ALPHA_LEN: usize = 32;

/// The routing information β: (r·(t+1)+1)·κ bytes.
pub const BETA_LEN: usize = (MAX_PATH_LEN * (ADDRESS_BLOCKS + 1) + 1) * SECURITY_LEN;

/// The truncated MAC γ over β.
pub const GAMMA_LEN: usize = SECURITY_LEN;

/// α‖β‖γ.
pub const HEADER_LEN: usize = ALPHA_LEN + BETA_LEN + GAMMA_LEN;

/// Header and payload, without a proof.
pub const PACKET_LEN: usize = 4608;

/// The payload δ.
pub const DELTA_LEN: usize = PACKET_LEN - HEADER_LEN;

/// The zero bytes in front of the message block; they are the payload's integrity check.
pub const ZERO_PREFIX_LEN: usize = SECURITY_LEN;

/// The message block: δ without its zero prefix.
pub const MESSAGE_LEN: usize = DELTA_LEN - ZERO_PREFIX_LEN;

/// The delay of a hop: u16 big-endian, milliseconds.
pub const DELAY_LEN: usize = 2;

/// An encoded address: t·κ minus the delay.
pub const ADDRESS_LEN: usize = ADDRESS_BLOCKS * SECURITY_LEN - DELAY_LEN;

/// What one hop adds to the header: address, delay and the next γ.
pub const HOP_LEN: usize = (ADDRESS_BLOCKS + 1) * SECURITY_LEN;

/// Zero bytes in the last hop's routing block: ((t+1)·(r−L)+1)·κ.
pub const FINAL_PAD_LEN: usize = ((ADDRESS_BLOCKS + 1) * (MAX_PATH_LEN - PATH_LEN) + 1) * SECURITY_LEN;

/// The filler φ at the end of the last hop's β.
pub const FILLER_LEN: usize = (PATH_LEN - 1) * HOP_LEN;

/// Identifier of a single-use reply block.
pub const SURB_ID_LEN: usize = SECURITY_LEN;

/// Key under which an exit encrypts a reply.
pub const SURB_KEY_LEN: usize = SECURITY_LEN;

/// An encoded single-use reply block: hop address, header, key.
pub const SURB_LEN: usize = ADDRESS_LEN + HEADER_LEN + SURB_KEY_LEN;

/// Most SURBs that a request may carry: what fits behind an empty codec and the count byte (§1).
pub const MAX_SURBS: usize = (MESSAGE_LEN - 1 - 1) / SURB_LEN;

/// The padding length in front of a message block: u16 big-endian.
pub const PAD_LENGTH_LEN: usize = 2;

/// The sequence field at the end of a SEQ message block.
pub const SEQUENCE_LEN: usize = 4;

/// A node address in its wire form (§5.1); all zero means "no address".
pub type AddressBytes = [u8; ADDRESS_LEN];

pub(crate) const NO_ADDRESS: AddressBytes = [0; ADDRESS_LEN];

/// β as a hop sees it after decryption: its own hop block and the next β.
pub(crate) const ROUTING_LEN: usize = BETA_LEN + HOP_LEN;

/// The part of β_{i+1} that travels inside β_i.
pub(crate) const INNER_BETA_LEN: usize = BETA_LEN - HOP_LEN;

/// Offsets inside a decrypted routing block (§10.1).
pub(crate) mod routing {
    use super::{ADDRESS_LEN, DELAY_LEN, FINAL_PAD_LEN, HOP_LEN, ROUTING_LEN, Range, SURB_ID_LEN};

    pub(crate) const ADDRESS: Range<usize> = 0..ADDRESS_LEN;
    pub(crate) const DELAY: Range<usize> = ADDRESS_LEN..ADDRESS_LEN + DELAY_LEN;
    /// γ of the next hop; in the last hop's block the SURB id, or zeros.
    pub(crate) const GAMMA_OR_ID: Range<usize> = DELAY.end..HOP_LEN;
    /// Zero exactly in the last hop's block: what tells the end of a path.
    pub(crate) const FINAL_PAD: Range<usize> = HOP_LEN..HOP_LEN + FINAL_PAD_LEN;
    pub(crate) const NEXT_BETA: Range<usize> = HOP_LEN..ROUTING_LEN;
    /// What the last hop's sender writes before the filler: address, delay, id, zeros.
    pub(crate) const FINAL_LEN: usize = ADDRESS_LEN + DELAY_LEN + SURB_ID_LEN + FINAL_PAD_LEN;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_specification() {
        assert_eq!(BETA_LEN, 576);
        assert_eq!(HEADER_LEN, 624);
        assert_eq!(DELTA_LEN, 3984);
        assert_eq!(MESSAGE_LEN, 3968);
        assert_eq!(ADDRESS_LEN, 94);
        assert_eq!(HOP_LEN, 112);
        assert_eq!(FINAL_PAD_LEN, 240);
        assert_eq!(FILLER_LEN, 224);
        assert_eq!(SURB_LEN, 734);
        assert_eq!(MAX_SURBS, 5);
        assert_eq!(routing::FINAL_LEN + FILLER_LEN, BETA_LEN);
    }
}
