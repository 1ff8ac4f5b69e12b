//! Replies through single-use reply blocks.

use proptest::prelude::*;
use wakumix_sphinx::{BuildError, Opened, PacketFormat, Profile, ReplyError, ReplyKeys, Sphinx, SurbError};

use crate::support::{DATA_LEN, FORMAT, HEADER_LEN, Nodes, PACKET_LEN, SURB_LEN, body, rng};

/// A reply on its way: the packet as it reaches the sender's own node, still to be opened there.
fn reply(nodes: &Nodes, body: &[u8], seed: u64) -> (Vec<u8>, ReplyKeys) {
    let mut rng = rng(seed);
    let (surb, keys) = FORMAT.create_surb(&mut rng, &nodes.path).unwrap();
    assert_eq!(surb.encoded_len(), SURB_LEN);
    let surb = FORMAT.read_surb(&surb.to_bytes()).unwrap();
    assert_eq!(surb.hop, nodes.path[0].address);
    let mut packet = vec![0x5A; PACKET_LEN];
    FORMAT.use_surb(&mut rng, surb, body, &mut packet).unwrap();
    nodes.forward(0, &mut packet);
    nodes.forward(1, &mut packet);
    (packet, keys)
}

fn receive(nodes: &Nodes, keys: &ReplyKeys, packet: &mut [u8]) {
    match nodes.open(2, packet).unwrap() {
        Opened::Reply { id } => assert_eq!(id, keys.id()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_reply_of_any_length_comes_back(len in prop_oneof![0usize..=8, 0..=DATA_LEN], seed in any::<u64>()) {
        let nodes = Nodes::new();
        let body = body(len);
        let (mut packet, keys) = reply(&nodes, &body, seed);
        receive(&nodes, &keys, &mut packet);
        let found = FORMAT.open_reply(&keys, &mut packet).unwrap();
        prop_assert_eq!(&packet[found], &body[..]);
    }

    #[test]
    fn a_damaged_reply_is_refused_and_a_good_copy_still_opens(
        at in HEADER_LEN..PACKET_LEN,
        flip in 1u8..,
        hop in 0usize..3,
    ) {
        let nodes = Nodes::new();
        let mut rng = rng(1);
        let (surb, keys) = FORMAT.create_surb(&mut rng, &nodes.path).unwrap();
        let mut good = vec![0; PACKET_LEN];
        FORMAT.use_surb(&mut rng, surb, b"answer", &mut good).unwrap();
        let mut damaged = good.clone();
        for i in 0..2 {
            if i == hop {
                damaged[at] ^= flip;
            }
            nodes.forward(i, &mut good);
            nodes.forward(i, &mut damaged);
        }
        if hop == 2 {
            damaged[at] ^= flip;
        }
        receive(&nodes, &keys, &mut damaged);
        prop_assert_eq!(FORMAT.open_reply(&keys, &mut damaged), Err(ReplyError::Integrity));
        receive(&nodes, &keys, &mut good);
        let found = FORMAT.open_reply(&keys, &mut good).unwrap();
        prop_assert_eq!(&good[found], b"answer");
    }

    #[test]
    fn arbitrary_bytes_as_a_reply_block_never_panic(mut bytes in prop::collection::vec(any::<u8>(), SURB_LEN)) {
        bytes[31] &= 0x7f;
        bytes[SURB_LEN - 2] &= 0b1100_0000;
        bytes[SURB_LEN - 1] = 0;
        if let Ok(surb) = FORMAT.read_surb(&bytes) {
            prop_assert_eq!(&surb.to_bytes()[..], &bytes[..]);
            FORMAT.use_surb(&mut rng(8), surb, b"answer", &mut [0; PACKET_LEN]).unwrap();
        }
    }
}

#[test]
fn keys_of_another_block_or_format_do_not_open_a_reply() {
    let nodes = Nodes::new();
    let (packet, keys) = reply(&nodes, b"answer", 23);
    let (_, other) = FORMAT.create_surb(&mut rng(24), &nodes.path).unwrap();
    let (_, foreign) = Sphinx::new(Profile::default()).create_surb(&mut rng(24), &nodes.path).unwrap();
    for wrong in [other, foreign] {
        let mut packet = packet.clone();
        receive(&nodes, &keys, &mut packet);
        assert_eq!(FORMAT.open_reply(&wrong, &mut packet), Err(ReplyError::Integrity));
    }
    let mut mix_packet = vec![0; Profile::default().packet_len()];
    let refusal = Sphinx::new(Profile::default()).open_reply(&keys, &mut mix_packet);
    assert_eq!(refusal, Err(ReplyError::Integrity));
}

#[test]
fn a_block_of_another_format_is_refused() {
    let nodes = Nodes::new();
    let mix = Sphinx::new(Profile::default());
    let (foreign, _) = mix.create_surb(&mut rng(1), &nodes.path).unwrap();
    let error = FORMAT.use_surb(&mut rng(2), foreign, b"", &mut [0; PACKET_LEN]).unwrap_err();
    assert_eq!(error, BuildError::ForeignSurb);
    let (ours, _) = FORMAT.create_surb(&mut rng(1), &nodes.path).unwrap();
    let error = mix.use_surb(&mut rng(2), ours, b"", &mut [0; PACKET_LEN]).unwrap_err();
    assert_eq!(error, BuildError::ForeignSurb);
}

#[test]
fn a_reply_too_long_or_of_a_wrong_size_is_refused() {
    let nodes = Nodes::new();
    let (surb, keys) = FORMAT.create_surb(&mut rng(25), &nodes.path).unwrap();
    let error = FORMAT.use_surb(&mut rng(26), surb, &body(DATA_LEN + 1), &mut [0; PACKET_LEN]).unwrap_err();
    assert_eq!(error, BuildError::BodyTooLong { len: DATA_LEN + 1, max: DATA_LEN });
    for len in [0, PACKET_LEN - 1, PACKET_LEN + 1] {
        assert_eq!(FORMAT.open_reply(&keys, &mut vec![0; len]), Err(ReplyError::Size));
    }
}

#[test]
fn a_block_with_a_wrong_size_alpha_or_first_hop_is_refused() {
    let nodes = Nodes::new();
    let (surb, _) = FORMAT.create_surb(&mut rng(27), &nodes.path).unwrap();
    let bytes = surb.to_bytes();
    for len in [0, SURB_LEN - 1, SURB_LEN + 1, 734] {
        let error = FORMAT.read_surb(&vec![1; len]).unwrap_err();
        assert_eq!(error, SurbError::Size { len, needed: SURB_LEN });
    }
    let changed = |change: fn(&mut [u8])| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        FORMAT.read_surb(&bytes).err()
    };
    assert_eq!(changed(|bytes| bytes[31] |= 0x80), Some(SurbError::Alpha));
    assert_eq!(changed(|bytes| bytes[..32].fill(0)), Some(SurbError::Alpha));
    assert_eq!(changed(|bytes| bytes[348..380].fill(0)), Some(SurbError::Hop));
    assert_eq!(changed(|bytes| bytes[403] = 1), Some(SurbError::Hop));
    assert_eq!(changed(|bytes| bytes[380] ^= 1), None);
}

#[test]
fn debug_of_blocks_keys_and_ids_is_redacted() {
    let nodes = Nodes::new();
    let (surb, keys) = FORMAT.create_surb(&mut rng(28), &nodes.path).unwrap();
    let shown = format!("{surb:?} {keys:?} {:?}", keys.id());
    assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
}
