//! The form on the wire, and what cannot be cut or read.

use super::*;
use crate::{MessageError, request_capacity};

#[test]
fn a_fragment_is_header_and_shard() {
    let pieces = pieces(1, b"hello", ShardCounts { data: 2, parity: 1 });
    // varint(25) ‖ codec ‖ "hello": 31 bytes, so 16 in each shard.
    let message = [&[25][..], LIGHTPUSH.as_bytes(), b"hello"].concat();
    let digest = &Sha256::digest(&message)[..8];
    for (index, piece) in pieces.iter().enumerate() {
        assert_eq!(piece.len(), HEADER_LEN + 16);
        assert_eq!(piece[..16], pieces[0][..16], "one set");
        assert_eq!(piece[16..21], [2, 1, u8::try_from(index).unwrap(), 0, 31]);
        assert_eq!(piece[21..29], *digest);
    }
    assert_eq!(pieces[0][29..], message[..16]);
    assert_eq!(pieces[1][29..], [&message[16..], &[0]].concat());
}

#[test]
fn one_parity_shard_is_the_xor_of_all_others() {
    for data in 2..=7 {
        let pieces = pieces(1, &message(1000), ShardCounts { data, parity: 1 });
        let (parity, data) = pieces.split_last().unwrap();
        let mut xor = vec![0; parity.len() - HEADER_LEN];
        for shard in data {
            xor.iter_mut().zip(&shard[HEADER_LEN..]).for_each(|(sum, byte)| *sum ^= byte);
        }
        assert_eq!(parity[HEADER_LEN..], xor);
    }
}

#[test]
fn with_one_data_shard_all_are_copies() {
    for parity in 1..=7 {
        let pieces = pieces(1, &message(1000), ShardCounts { data: 1, parity });
        assert!(pieces.iter().all(|piece| piece[HEADER_LEN..] == pieces[0][HEADER_LEN..]));
    }
}

/// The example of `docs/fragments.md`: a change of it would make two releases unable to talk.
#[test]
fn the_fragments_of_the_example_never_change() {
    let data: Vec<u8> = (1..=12).collect();
    let pieces = cut(&mut rng(1), "/x", &data, ShardCounts { data: 2, parity: 2 }, ROOM).unwrap();
    let expected = [
        "9a3744504560639ec670b7a17d492b27020200000fcafe75ae920ed3bd022f780102030405",
        "9a3744504560639ec670b7a17d492b27020201000fcafe75ae920ed3bd060708090a0b0c00",
        "9a3744504560639ec670b7a17d492b27020202000fcafe75ae920ed3bd7766a0ff0c0d0a0c",
        "9a3744504560639ec670b7a17d492b27020203000fcafe75ae920ed3bd734ed0f704050209",
    ];
    assert_eq!(pieces.iter().map(hex::encode).collect::<Vec<_>>(), expected);
}

#[test]
fn the_code_is_that_of_the_crate_with_its_defaults() {
    let pieces = pieces(1, &message(3000), ShardCounts { data: 3, parity: 4 });
    let shards: Vec<&[u8]> = pieces.iter().map(|piece| &piece[HEADER_LEN..]).collect();
    assert_eq!(reed_solomon_simd::encode(3, 4, &shards[..3]).unwrap(), shards[3..]);
}

#[test]
fn two_shards_of_a_packet_with_one_surb_carry_the_largest_request() {
    use wakumix_sphinx::{Block, Cipher, Profile, Sphinx};
    for block in [Block::Seq, Block::Pad] {
        let format = Sphinx::new(Profile { cipher: Cipher::AesCtr, block, proof_len: 0 });
        let room = request_capacity(&format, FRAGMENT_CODEC, 1).unwrap();
        let len = MAX_REASSEMBLED_LEN - 1 - LIGHTPUSH.len();
        assert_eq!(data_shards_needed(LIGHTPUSH, len, room), Some(2));
        let cut = cut(&mut rng(1), LIGHTPUSH, &message(len), ShardCounts { data: 2, parity: 1 }, room).unwrap();
        assert!(cut.iter().all(|piece| piece.len() <= room));
    }
}

#[test]
fn the_shards_needed_are_the_fewest_that_fit() {
    for (len, room) in [(0, 100), (100, 100), (500, 100), (5000, 700), (5000, 3000)] {
        let needed = data_shards_needed(LIGHTPUSH, len, room);
        let fits = |data| cut(&mut rng(1), LIGHTPUSH, &message(len), ShardCounts { data, parity: 0 }, room).is_ok();
        assert_eq!(needed, (1..=8).find(|&data| fits(data)), "{len} bytes in {room}");
    }
    assert_eq!(data_shards_needed(LIGHTPUSH, MAX_REASSEMBLED_LEN, ROOM), None);
    assert_eq!(data_shards_needed(LIGHTPUSH, usize::MAX, ROOM), None);
    assert_eq!(data_shards_needed("", 1, ROOM), None);
}

#[test]
fn what_cannot_be_cut_says_why() {
    let try_cut = |codec, len, shards, room| cut(&mut rng(1), codec, &message(len), shards, room).err();
    let two = ShardCounts { data: 2, parity: 1 };
    let most = MAX_REASSEMBLED_LEN - 1 - LIGHTPUSH.len();
    assert_eq!(try_cut(LIGHTPUSH, most, two, ROOM), None);
    assert_eq!(try_cut(LIGHTPUSH, most + 1, two, ROOM), Some(CutError::TooLong { len: MAX_REASSEMBLED_LEN + 1 }));
    assert_eq!(try_cut(FRAGMENT_CODEC, 1, two, ROOM), Some(CutError::Nested));
    assert_eq!(try_cut("", 1, two, ROOM), Some(CutError::Codec(MessageError::CodecMissing)));
    for shards in
        [ShardCounts { data: 0, parity: 3 }, ShardCounts { data: 8, parity: 1 }, ShardCounts { data: 255, parity: 255 }]
    {
        assert_eq!(try_cut(LIGHTPUSH, 1, shards, ROOM), Some(CutError::Shards(shards)));
    }
    // 26 bytes of codec and 174 of data: shards of 100.
    assert_eq!(try_cut(LIGHTPUSH, 174, two, 129), None);
    assert_eq!(try_cut(LIGHTPUSH, 174, two, 128), Some(CutError::NoRoom { needed: 129, room: 128 }));
}

#[test]
fn what_is_no_fragment_says_why() {
    let sound = pieces(1, b"hello", ShardCounts { data: 2, parity: 1 }).remove(0);
    let changed = |at: usize, to: u8| {
        let mut piece = sound.clone();
        piece[at] = to;
        Fragment::decode(&piece).unwrap_err()
    };
    assert_eq!(changed(16, 0), FragmentError::Shards { data: 0, parity: 1 });
    assert_eq!(changed(17, 7), FragmentError::Shards { data: 2, parity: 7 });
    assert_eq!(changed(17, 255), FragmentError::Shards { data: 2, parity: 255 });
    assert_eq!(changed(18, 3), FragmentError::Index { index: 3, total: 3 });
    assert_eq!(changed(20, 0), FragmentError::Length(0));
    assert_eq!(changed(19, 255), FragmentError::Length(255 * 256 + 31));
    assert_eq!(changed(20, 34), FragmentError::Truncated);
    for len in 0..sound.len() {
        assert_eq!(Fragment::decode(&sound[..len]), Err(FragmentError::Truncated));
    }
}

#[test]
fn the_sequence_number_of_another_block_form_may_follow_and_nothing_else() {
    let sound = pieces(1, b"hello", ShardCounts { data: 2, parity: 1 }).remove(0);
    let followed = |count| Fragment::decode(&[&sound[..], &vec![9; count]].concat()).map(|fragment| fragment.encode());
    assert_eq!(followed(4), Ok(sound.clone()));
    for count in [1, 2, 3, 5, 100] {
        assert_eq!(followed(count), Err(FragmentError::Trailing));
    }
}
