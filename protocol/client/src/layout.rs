//! How a request is laid out in packets of one format, and how large it can be (`spec/mix-wire.md §7.3`).

use wakumix_mix::{
    fragment::{FRAGMENT_CODEC, MAX_REASSEMBLED_LEN, MAX_SHARDS, ShardCounts, data_shards_needed},
    request_capacity,
};
use wakumix_sphinx::PacketFormat;

/// Packets of a try at most.
pub(crate) const MAX_PACKETS: usize = MAX_SHARDS;

/// What a try has against loss, as far as it fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Protection {
    /// Reply blocks in each packet.
    pub(crate) surbs: usize,
    /// Fragments that may be lost, for requests that travel in fragments.
    pub(crate) parity: u8,
}

/// The packets of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PacketLayout {
    /// In one packet.
    Whole {
        /// Its reply blocks.
        surbs: usize,
    },
    /// In several, to an exit that puts them together.
    Fragments {
        /// How many, and how many of them suffice.
        shards: ShardCounts,
        /// Reply blocks in each.
        surbs: usize,
    },
}

impl PacketLayout {
    /// Packets that it takes.
    pub(crate) fn packets(self) -> usize {
        match self {
            Self::Whole { .. } => 1,
            Self::Fragments { shards, .. } => shards.total(),
        }
    }

    /// Packets that may be lost.
    pub(crate) fn spare(self) -> usize {
        match self {
            Self::Whole { .. } => 0,
            Self::Fragments { shards, .. } => usize::from(shards.parity),
        }
    }

    /// Reply blocks in each packet.
    pub(crate) fn surbs(self) -> usize {
        match self {
            Self::Whole { surbs } | Self::Fragments { surbs, .. } => surbs,
        }
    }
}

/// A framed request of `len` bytes in one packet, with as many of the wanted reply blocks as fit, at least one; `None` if it
/// does not fit.
pub(crate) fn whole(
    format: &dyn PacketFormat,
    codec: &str,
    len: usize,
    protection: Protection,
) -> Option<PacketLayout> {
    let fits = |surbs: &usize| request_capacity(format, codec, *surbs).is_some_and(|room| len <= room);
    (1..=protection.surbs.max(1)).rev().find(fits).map(|surbs| PacketLayout::Whole { surbs })
}

/// A framed request of `len` bytes in as few fragments as one reply block in each allows, with as many more reply blocks as
/// fit then; `None` if it is too long for a set.
pub(crate) fn fragments(
    format: &dyn PacketFormat,
    codec: &str,
    len: usize,
    protection: Protection,
) -> Option<PacketLayout> {
    let needed = |surbs| data_shards_needed(codec, len, request_capacity(format, FRAGMENT_CODEC, surbs)?);
    let data = needed(1)?;
    let surbs = (1..=protection.surbs.max(1)).rev().find(|&surbs| needed(surbs) == Some(data))?;
    let room = u8::try_from(MAX_SHARDS).unwrap_or(u8::MAX).saturating_sub(data);
    let shards = ShardCounts { data, parity: protection.parity.min(room) };
    Some(PacketLayout::Fragments { shards, surbs })
}

/// The longest framed request that fits towards an exit, which puts fragments together or does not.
pub(crate) fn longest(format: &dyn PacketFormat, codec: &str, reassembles: bool) -> usize {
    let in_one = request_capacity(format, codec, 1).unwrap_or(0);
    let in_set = MAX_REASSEMBLED_LEN - 1 - codec.len();
    let can_be_cut = reassembles && fragments(format, codec, in_set, Protection { surbs: 1, parity: 0 }).is_some();
    if can_be_cut { in_one.max(in_set) } else { in_one }
}

#[cfg(test)]
mod tests {
    use wakumix_mix::fragment::MAX_PAYLOAD_LEN;
    use wakumix_sphinx::{Block, Cipher, Profile, Sphinx};
    use wakumix_waku::lightpush::V3_PROTOCOL;

    use super::*;

    const ONE: Protection = Protection { surbs: 1, parity: 0 };
    const MORE: Protection = Protection { surbs: 2, parity: 1 };

    fn format(block: Block) -> Sphinx {
        Sphinx::new(Profile { cipher: Cipher::Lioness, block, proof_len: 0 })
    }

    /// The limits of `spec/mix-wire.md §7.3`.
    #[test]
    fn a_request_goes_in_one_packet_as_long_as_one_reply_block_fits() {
        for (block, surbs, longest) in [(Block::Seq, 1, 3201), (Block::Pad, 1, 3205), (Block::Pad, 2, 2471)] {
            let protection = Protection { surbs, parity: 0 };
            assert_eq!(whole(&format(block), V3_PROTOCOL, longest, protection), Some(PacketLayout::Whole { surbs }));
            let beyond = whole(&format(block), V3_PROTOCOL, longest + 1, protection);
            assert_eq!(beyond, (surbs > 1).then_some(PacketLayout::Whole { surbs: surbs - 1 }));
        }
    }

    #[test]
    fn the_largest_payload_takes_two_fragments_with_two_reply_blocks_each() {
        let len = MAX_PAYLOAD_LEN + 200;
        for block in [Block::Seq, Block::Pad] {
            let shards = ShardCounts { data: 2, parity: 0 };
            assert_eq!(
                fragments(&format(block), V3_PROTOCOL, len, ONE),
                Some(PacketLayout::Fragments { shards, surbs: 1 })
            );
            let shards = ShardCounts { data: 2, parity: 1 };
            assert_eq!(
                fragments(&format(block), V3_PROTOCOL, len, MORE),
                Some(PacketLayout::Fragments { shards, surbs: 2 })
            );
        }
    }

    #[test]
    fn more_reply_blocks_never_take_more_fragments() {
        let five = Protection { surbs: 5, parity: 0 };
        let Some(PacketLayout::Fragments { shards, surbs }) = fragments(&format(Block::Pad), V3_PROTOCOL, 4300, five)
        else {
            panic!()
        };
        assert_eq!((shards.data, surbs), (2, 2));
    }

    #[test]
    fn what_fits_depends_on_whether_the_exit_puts_fragments_together() {
        let format = format(Block::Pad);
        assert_eq!(longest(&format, V3_PROTOCOL, false), 3205);
        let in_set = longest(&format, V3_PROTOCOL, true);
        assert_eq!(in_set, 5120 - 26);
        assert!(
            fragments(&format, V3_PROTOCOL, in_set, ONE).is_some()
                && fragments(&format, V3_PROTOCOL, in_set + 1, ONE).is_none()
        );
    }
}
