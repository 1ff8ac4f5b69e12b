//! The message block as the specification words it (§7.2), apart from the product's own code: says what the product has
//! to do with a block, so that its refusals can be named.

use std::ops::Range;

use wakumix_sphinx::{Block, MESSAGE_LEN, Profile};

/// What a reader finds in a message block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlockForm {
    /// A body, behind zero padding.
    Body(Range<usize>),
    /// A body behind padding that is not zero: delivered by the reference, refused by us (§21 W2).
    DirtyPadding(Range<usize>),
    /// The padding length exceeds the block: refused by everybody.
    BadLength,
}

/// Reads the form of a block of any size.
pub(crate) fn form(profile: Profile, block: &[u8]) -> BlockForm {
    let tail = match profile.block {
        Block::Seq => 4,
        Block::Pad => 0,
    };
    let length = match block {
        [high, low, ..] if block.len() == MESSAGE_LEN => u16::from_be_bytes([*high, *low]),
        _ => return BlockForm::BadLength,
    };
    let start = 2 + usize::from(length);
    let end = MESSAGE_LEN - tail;
    if start > end {
        BlockForm::BadLength
    } else if block[2..start].iter().all(|&byte| byte == 0) {
        BlockForm::Body(start..end)
    } else {
        BlockForm::DirtyPadding(start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::profile;
    use wakumix_sphinx::Cipher;

    #[test]
    fn reads_the_three_forms_of_a_block() {
        let seq = profile(Cipher::AesCtr, Block::Seq);
        let pad = profile(Cipher::Lioness, Block::Pad);
        let mut block = vec![0; MESSAGE_LEN];
        block[..2].copy_from_slice(&3962u16.to_be_bytes());
        assert_eq!(form(seq, &block), BlockForm::Body(3964..3964));
        assert_eq!(form(pad, &block), BlockForm::Body(3964..3968));
        block[100] = 1;
        assert_eq!(form(pad, &block), BlockForm::DirtyPadding(3964..3968));
        block[..2].copy_from_slice(&3963u16.to_be_bytes());
        assert_eq!(form(seq, &block), BlockForm::BadLength);
        assert_eq!(form(pad, &block[1..]), BlockForm::BadLength);
    }
}
