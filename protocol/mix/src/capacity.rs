//! Room for application bytes in one packet (`spec/mix-wire.md §7.3`).

use wakumix_sphinx::{MAX_SURBS, PacketFormat};

use crate::message::MAX_CODEC_LEN;

/// One byte each in front of every request: length of the codec, number of SURBs.
const CODEC_LENGTH_LEN: usize = 1;
const SURB_COUNT_LEN: usize = 1;

/// Most application bytes that a request with this codec and this many SURBs can carry.
///
/// `None` if no such request exists: the codec is empty or longer than 127 bytes, the SURBs are more than five,
/// or they leave no room even for an empty request.
#[must_use]
pub fn request_capacity(format: &dyn PacketFormat, codec: &str, surbs: usize) -> Option<usize> {
    if codec.is_empty() || codec.len() > MAX_CODEC_LEN || surbs > MAX_SURBS {
        return None;
    }
    let overhead = CODEC_LENGTH_LEN + codec.len() + SURB_COUNT_LEN + surbs * format.surb_len();
    format.data_len().checked_sub(overhead)
}

/// Most application bytes that a reply can carry; a longer answer is not sent at all (§9.2).
#[must_use]
pub fn reply_capacity(format: &dyn PacketFormat) -> usize {
    format.data_len().saturating_sub(CODEC_LENGTH_LEN)
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::{Block, Cipher, Profile, Sphinx};

    use super::*;
    use crate::{Request, encode_reply};

    const LIGHTPUSH: &str = "/vac/waku/lightpush/3.0.0";

    fn format(block: Block) -> Sphinx {
        Sphinx::new(Profile { cipher: Cipher::AesCtr, block, proof_len: 0 })
    }

    #[test]
    fn lightpush_has_the_room_that_the_nwaku_has() {
        let seq = |surbs| request_capacity(&format(Block::Seq), LIGHTPUSH, surbs);
        let pad = |surbs| request_capacity(&format(Block::Pad), LIGHTPUSH, surbs);
        assert_eq!([0, 1, 4, 5].map(seq), [3935, 3201, 999, 265].map(Some));
        assert_eq!([0, 1, 4, 5].map(pad), [3939, 3205, 1003, 269].map(Some));
    }

    #[test]
    fn replies_have_all_but_one_byte() {
        assert_eq!(reply_capacity(&format(Block::Seq)), 3961);
        assert_eq!(reply_capacity(&format(Block::Pad)), 3965);
    }

    #[test]
    fn a_request_that_cannot_exist_has_no_room() {
        let seq = &format(Block::Seq);
        assert_eq!(request_capacity(seq, "", 0), None);
        assert_eq!(request_capacity(seq, &"c".repeat(128), 0), None);
        assert_eq!(request_capacity(seq, LIGHTPUSH, 6), None);
        assert_eq!(request_capacity(seq, LIGHTPUSH, usize::MAX), None);
    }

    #[test]
    fn the_largest_request_and_reply_fill_the_block_exactly() {
        for block in [Block::Seq, Block::Pad] {
            let format = format(block);
            for codec in ["a", LIGHTPUSH, &"c".repeat(127)] {
                let data = vec![1; request_capacity(&format, codec, 0).unwrap()];
                let request = Request { codec, surbs: Vec::new(), data: &data };
                assert_eq!(request.encode().unwrap().len(), format.data_len());
            }
            let answer = vec![1; reply_capacity(&format)];
            assert_eq!(encode_reply(&answer).len(), format.data_len());
        }
    }
}
