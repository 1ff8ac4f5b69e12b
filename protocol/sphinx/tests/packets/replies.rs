//! Replies through single-use reply blocks.

use proptest::prelude::*;
use wakumix_sphinx::{
    BuildError, HEADER_LEN, MAX_SURBS, Opened, PACKET_LEN, Profile, ReplyError, ReplyKeys, SURB_LEN, Sphinx, Surb,
    SurbError, SurbId,
};

use crate::support::{Nodes, profiles, rng};

/// A reply on its way: the packet as it reaches the sender's own node, still to be opened there.
fn reply(nodes: &Nodes, profile: Profile, body: &[u8], seed: u64) -> (Vec<u8>, ReplyKeys) {
    let sphinx = Sphinx::new(profile);
    let mut rng = rng(seed);
    let (surb, keys) = sphinx.create_surb(&mut rng, &nodes.path).unwrap();
    let surb = Surb::from_bytes(&surb.to_bytes()).unwrap();
    let mut packet = vec![0x5A; profile.packet_len()];
    sphinx.use_surb(&mut rng, surb, body, &mut packet).unwrap();
    nodes.forward(sphinx, 0, &mut packet);
    nodes.forward(sphinx, 1, &mut packet);
    (packet, keys)
}

fn receive(nodes: &Nodes, sphinx: Sphinx, keys: &ReplyKeys, packet: &mut [u8]) {
    match nodes.open(sphinx, 2, packet).unwrap() {
        Opened::Reply { id } => assert_eq!(id, keys.id()),
        other => panic!("{other:?}"),
    }
}

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_reply_of_any_length_comes_back(
        profile in profiles(),
        len in prop_oneof![0usize..=8, 0usize..=3962],
        seed in any::<u64>(),
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new(profile);
        let body = vec![0xC3; len];
        let (mut packet, keys) = reply(&nodes, profile, &body, seed);
        receive(&nodes, sphinx, &keys, &mut packet);
        prop_assert_eq!(sphinx.open_reply(&keys, &mut packet), Ok(&body[..]));
        prop_assert!(packet[PACKET_LEN..].iter().all(|&byte| byte == 0x5A), "touched the proof");
    }

    #[test]
    fn a_reply_with_a_damaged_zero_prefix_is_refused_and_a_good_copy_still_opens(
        profile in profiles(),
        at in 0usize..16,
        flip in 1u8..,
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new(profile);
        let (good, keys) = reply(&nodes, profile, b"answer", 21);
        let mut damaged = good.clone();
        damaged[HEADER_LEN + at] ^= flip;
        receive(&nodes, sphinx, &keys, &mut damaged);
        prop_assert_eq!(sphinx.open_reply(&keys, &mut damaged), Err(ReplyError::Integrity));
        let mut good = good;
        receive(&nodes, sphinx, &keys, &mut good);
        prop_assert_eq!(sphinx.open_reply(&keys, &mut good), Ok(&b"answer"[..]));
    }

    #[test]
    fn an_aes_ctr_reply_with_marked_padding_is_refused(at in 18usize..3900, flip in 1u8..) {
        let nodes = Nodes::new();
        let profile: Profile = "aes-ctr/seq".parse().unwrap();
        let sphinx = Sphinx::new(profile);
        let (mut packet, keys) = reply(&nodes, profile, b"answer", 22);
        packet[HEADER_LEN + at] ^= flip;
        receive(&nodes, sphinx, &keys, &mut packet);
        prop_assert_eq!(sphinx.open_reply(&keys, &mut packet), Err(ReplyError::Padding));
    }
}

#[test]
fn keys_of_another_block_do_not_open_a_reply() {
    let nodes = Nodes::new();
    let profile = Profile::default();
    let sphinx = Sphinx::new(profile);
    let (mut packet, keys) = reply(&nodes, profile, b"answer", 23);
    receive(&nodes, sphinx, &keys, &mut packet);
    let (_, other) = sphinx.create_surb(&mut rng(24), &nodes.path).unwrap();
    assert_eq!(sphinx.open_reply(&other, &mut packet), Err(ReplyError::Integrity));
}

#[test]
fn a_reply_too_long_or_of_a_wrong_size_is_refused() {
    let nodes = Nodes::new();
    let sphinx = Sphinx::new(Profile::default());
    let (surb, keys) = sphinx.create_surb(&mut rng(25), &nodes.path).unwrap();
    let body = [0; 3967];
    let error = sphinx.use_surb(&mut rng(26), surb, &body, &mut [0; PACKET_LEN]).unwrap_err();
    assert_eq!(error, BuildError::BodyTooLong { len: 3967, max: 3966 });
    for len in [0, PACKET_LEN - 1, PACKET_LEN + 1] {
        assert_eq!(sphinx.open_reply(&keys, &mut vec![0; len]), Err(ReplyError::Size));
    }
}

#[test]
fn a_zero_id_is_refused() {
    let nodes = Nodes::new();
    let sphinx = Sphinx::new(Profile::default());
    let zero = SurbId::from_bytes([0; 16]);
    let error = sphinx.create_surb_with(&[1; 32], &nodes.path, zero, &[2; 16]).unwrap_err();
    assert_eq!(error, BuildError::ZeroSurbId);
}

#[test]
fn a_block_with_a_wrong_size_or_alpha_is_refused() {
    let nodes = Nodes::new();
    let sphinx = Sphinx::new(Profile::default());
    let (surb, _) = sphinx.create_surb(&mut rng(27), &nodes.path).unwrap();
    let bytes = surb.to_bytes();
    for len in [0, SURB_LEN - 1, SURB_LEN + 1, SURB_LEN * MAX_SURBS] {
        let error = Surb::from_bytes(&vec![1; len]).unwrap_err();
        assert_eq!(error, SurbError::Size { len, needed: SURB_LEN });
    }
    let mut top_bit = bytes.clone();
    top_bit[94 + 31] |= 0x80;
    assert_eq!(Surb::from_bytes(&top_bit).unwrap_err(), SurbError::Alpha);
    let mut zero = bytes;
    zero[94..126].fill(0);
    assert_eq!(Surb::from_bytes(&zero).unwrap_err(), SurbError::Alpha);
}

#[test]
fn debug_of_blocks_keys_and_ids_is_redacted() {
    let nodes = Nodes::new();
    let sphinx = Sphinx::new(Profile::default());
    let (surb, keys) = sphinx.create_surb(&mut rng(28), &nodes.path).unwrap();
    let shown = format!("{surb:?} {keys:?} {:?}", keys.id());
    assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
}
