//! The message block: padding, body and, in SEQ, a sequence number (`spec/mix-wire.md §7.2`).
//!
//! ```text
//! SEQ  padding length u16 BE ‖ zeros ‖ body ‖ sequence u32
//! PAD  padding length u16 BE ‖ zeros ‖ body
//! ```
//!
//! The padding is in front and known to be zero, so under AES-CTR a hop could mark it without disturbing the body.
//! Readers therefore check every byte of it (§21 W2), and do so in time that depends on no secret.

use core::ops::Range;

use subtle::{Choice, ConstantTimeEq};

use crate::countermeasures::Checks;
use crate::layout::{DELTA_LEN, PAD_LENGTH_LEN, SEQUENCE_LEN, ZERO_PREFIX_LEN};
use crate::profile::Profile;

/// The plaintext of a payload is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The 16 zero bytes in front are not zero.
    Prefix,
    /// The padding is longer than the block, or not zero.
    Padding,
}

/// The body does not fit; nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Whether all bytes are zero, in time that depends on their number only.
pub(crate) fn is_zero(bytes: &[u8]) -> Choice {
    bytes.iter().fold(0, |all, byte| all | byte).ct_eq(&0)
}

/// The zero prefix and the message block of a payload's plaintext.
pub(crate) fn split_plaintext(delta: &mut [u8; DELTA_LEN]) -> (&mut [u8], &mut [u8]) {
    delta.split_at_mut(ZERO_PREFIX_LEN)
}

impl Profile {
    /// Writes the block of `body` over all of `block`, which has `MESSAGE_LEN` bytes.
    pub(crate) fn write_block(
        self,
        body: &[u8],
        sequence: [u8; SEQUENCE_LEN],
        block: &mut [u8],
    ) -> Result<(), TooLong> {
        let pad_len = self.data_len().checked_sub(body.len()).ok_or(TooLong)?;
        let pad_field = u16::try_from(pad_len).map_err(|_| TooLong)?;
        let (field, rest) = block.split_at_mut(PAD_LENGTH_LEN);
        let (padding, rest) = rest.split_at_mut(pad_len);
        let (data, tail) = rest.split_at_mut(body.len());
        field.copy_from_slice(&pad_field.to_be_bytes());
        padding.fill(0);
        data.copy_from_slice(body);
        tail.copy_from_slice(&sequence[..self.block.tail_len()]);
        Ok(())
    }

    /// Checks the plaintext of a payload, zero prefix and padding, and finds the body's place within it.
    pub(crate) fn read_plaintext(self, delta: &[u8; DELTA_LEN], checks: Checks) -> Result<Range<usize>, Damage> {
        let (prefix, block) = delta.split_at(ZERO_PREFIX_LEN);
        let (field, rest) = block.split_at(PAD_LENGTH_LEN);
        let pad_len = u16::from_be_bytes([field[0], field[1]]);
        let prefix_zero = is_zero(prefix);
        let padding_zero = is_zero_below(pad_len, rest);
        if checks.prefix && !bool::from(prefix_zero) {
            return Err(Damage::Prefix);
        }
        if usize::from(pad_len) > self.data_len() || (checks.padding && !bool::from(padding_zero)) {
            return Err(Damage::Padding);
        }
        let start = ZERO_PREFIX_LEN + PAD_LENGTH_LEN;
        Ok(start + usize::from(pad_len)..start + self.data_len())
    }
}

/// Whether the first `limit` bytes are zero; always walks over all of them, so that time does not show the limit.
fn is_zero_below(limit: u16, bytes: &[u8]) -> Choice {
    let ored = (0u16..).zip(bytes).fold(0, |all, (index, byte)| {
        // The index, and any limit that is not refused anyway, is below 2^15: the difference has its top bit set
        // exactly below the limit.
        let below = index.wrapping_sub(limit) >> 15;
        all | (u16::from(*byte) * below)
    });
    ored.ct_eq(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Block, Cipher};
    use crate::weakness::Weaknesses;
    use proptest::prelude::*;

    fn profile(block: Block) -> Profile {
        Profile { cipher: Cipher::Lioness, block, proof_len: 0 }
    }

    fn read(block: Block, delta: &[u8; DELTA_LEN]) -> Result<Range<usize>, Damage> {
        profile(block).read_plaintext(delta, Checks::of_exit(Weaknesses::NONE))
    }

    fn plaintext(block: Block, body: &[u8]) -> [u8; DELTA_LEN] {
        let mut delta = [0; DELTA_LEN];
        let message = split_plaintext(&mut delta).1;
        profile(block).write_block(body, [1, 2, 3, 4], message).unwrap();
        delta
    }

    #[test]
    fn padding_stands_before_the_body() {
        let seq = plaintext(Block::Seq, b"body");
        assert_eq!(seq[16..18], 3958u16.to_be_bytes());
        assert_eq!(seq[DELTA_LEN - 8..], *b"body\x01\x02\x03\x04");
        let pad = plaintext(Block::Pad, b"body");
        assert_eq!(pad[16..18], 3962u16.to_be_bytes());
        assert_eq!(pad[DELTA_LEN - 4..], *b"body");
    }

    #[test]
    fn refuses_padding_longer_than_the_block() {
        for block in [Block::Seq, Block::Pad] {
            for excess in [1, 2, u16::MAX] {
                let mut delta = plaintext(block, b"");
                let limit = u16::try_from(profile(block).data_len()).unwrap();
                delta[16..18].copy_from_slice(&limit.saturating_add(excess).to_be_bytes());
                assert_eq!(read(block, &delta), Err(Damage::Padding));
            }
        }
    }

    proptest! {
        #[test]
        fn every_damaged_prefix_or_padding_byte_is_found(
            seq in any::<bool>(),
            len in 0usize..=3962,
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let block = if seq { Block::Seq } else { Block::Pad };
            let body = vec![0xAB; len];
            let mut delta = plaintext(block, &body);
            let range = read(block, &delta).unwrap();
            prop_assert_eq!(&delta[range.clone()], &body[..]);
            let at = at.index(range.start);
            delta[at] ^= flip;
            let expected = if at < ZERO_PREFIX_LEN { Damage::Prefix } else { Damage::Padding };
            match read(block, &delta) {
                Err(damage) => prop_assert_eq!(damage, expected),
                // A smaller padding length is a valid block of another body: only LIONESS prevents that.
                Ok(other) => prop_assert!(at == 16 || at == 17, "accepted {other:?}"),
            }
        }
    }
}
