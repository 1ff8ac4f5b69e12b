//! Replies through single-use reply blocks.

use proptest::prelude::*;
use wakumix_sphinx::{
    BuildError, FormatKind, HEADER_LEN, MAX_SURBS, Opened, PacketFormat, Profile, ReplyError, ReplyKeys, Sphinx,
    SurbError, SurbId,
};

use crate::support::{Nodes, body, format_and_len, formats, header_len, kinds, place_in, rng, sealed_len};

/// A reply that leaves its exit.
fn dispatching(nodes: &Nodes, format: &dyn PacketFormat, body: &[u8], seed: u64) -> (Vec<u8>, ReplyKeys) {
    let mut rng = rng(seed);
    let (surb, keys) = format.create_surb(&mut rng, &nodes.path).unwrap();
    assert_eq!(surb.encoded_len(), format.surb_len());
    let surb = format.read_surb(&surb.to_bytes()).unwrap();
    assert_eq!(surb.hop, nodes.path[0].address);
    let mut packet = vec![0x5A; format.packet_len()];
    format.use_surb(&mut rng, surb, body, &mut packet).unwrap();
    (packet, keys)
}

/// A reply on its way: the packet as it reaches the sender's own node, still to be opened there.
fn reply(nodes: &Nodes, format: &dyn PacketFormat, body: &[u8], seed: u64) -> (Vec<u8>, ReplyKeys) {
    let (mut packet, keys) = dispatching(nodes, format, body, seed);
    nodes.forward(format, 0, &mut packet);
    nodes.forward(format, 1, &mut packet);
    (packet, keys)
}

/// What the sender's node makes of a reply that reaches it.
fn receive(
    nodes: &Nodes,
    format: &dyn PacketFormat,
    keys: &ReplyKeys,
    packet: &mut [u8],
) -> Result<Vec<u8>, ReplyError> {
    match nodes.open(format, 2, packet).unwrap() {
        Opened::Reply { id } => assert_eq!(id, keys.id()),
        other => panic!("{other:?}"),
    }
    let found = format.open_reply(keys, packet)?;
    Ok(packet[found].to_vec())
}

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_reply_of_any_length_comes_back((format, len) in format_and_len(), seed in any::<u64>()) {
        let nodes = Nodes::new();
        let body = body(len);
        let (mut packet, keys) = reply(&nodes, &*format, &body, seed);
        prop_assert_eq!(receive(&nodes, &*format, &keys, &mut packet), Ok(body));
        prop_assert!(packet[sealed_len(&*format)..].iter().all(|&byte| byte == 0x5A), "touched the proof");
    }

    #[test]
    fn a_reply_with_a_damaged_zero_prefix_is_refused_and_a_good_copy_still_opens(
        (format, at) in place_in(formats(), |format| header_len(format)..header_len(format) + 16),
        flip in 1u8..,
    ) {
        let nodes = Nodes::new();
        let (mut good, keys) = reply(&nodes, &*format, b"answer", 21);
        let mut damaged = good.clone();
        damaged[at] ^= flip;
        prop_assert_eq!(receive(&nodes, &*format, &keys, &mut damaged), Err(ReplyError::Integrity));
        prop_assert_eq!(receive(&nodes, &*format, &keys, &mut good), Ok(b"answer".to_vec()));
    }

    #[test]
    fn a_reply_damaged_on_any_link_is_refused_and_a_good_copy_still_opens(
        (format, at) in place_in(kinds(), |format| header_len(format)..sealed_len(format)),
        flip in 1u8..,
        hop in 0usize..3,
    ) {
        let nodes = Nodes::new();
        let (mut good, keys) = dispatching(&nodes, &*format, b"answer", 1);
        let mut damaged = good.clone();
        for i in 0..3 {
            if i == hop {
                damaged[at] ^= flip;
            }
            if i < 2 {
                nodes.forward(&*format, i, &mut good);
                nodes.forward(&*format, i, &mut damaged);
            }
        }
        prop_assert_eq!(receive(&nodes, &*format, &keys, &mut damaged), Err(ReplyError::Integrity));
        prop_assert_eq!(receive(&nodes, &*format, &keys, &mut good), Ok(b"answer".to_vec()));
    }

    #[test]
    fn an_aes_ctr_reply_with_marked_padding_is_refused(at in 18usize..3900, flip in 1u8..) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new("aes-ctr/seq".parse().unwrap());
        let (mut packet, keys) = reply(&nodes, &sphinx, b"answer", 22);
        packet[HEADER_LEN + at] ^= flip;
        prop_assert_eq!(receive(&nodes, &sphinx, &keys, &mut packet), Err(ReplyError::Padding));
    }
}

#[test]
fn keys_of_another_block_or_format_do_not_open_a_reply() {
    let nodes = Nodes::new();
    for format in kinds() {
        for other in kinds() {
            let (mut packet, keys) = reply(&nodes, &*format, b"answer", 23);
            let (_, wrong) = other.create_surb(&mut rng(24), &nodes.path).unwrap();
            receive(&nodes, &*format, &keys, &mut packet.clone()).unwrap();
            nodes.open(&*format, 2, &mut packet).unwrap();
            assert_eq!(format.open_reply(&wrong, &mut packet), Err(ReplyError::Integrity));
        }
    }
}

#[test]
fn a_reply_too_long_or_of_a_wrong_size_is_refused() {
    let nodes = Nodes::new();
    for format in kinds() {
        let (surb, keys) = format.create_surb(&mut rng(25), &nodes.path).unwrap();
        let (max, packet_len) = (format.data_len(), format.packet_len());
        let error = format.use_surb(&mut rng(26), surb, &body(max + 1), &mut vec![0; packet_len]).unwrap_err();
        assert_eq!(error, BuildError::BodyTooLong { len: max + 1, max });
        for len in [0, packet_len - 1, packet_len + 1] {
            assert_eq!(format.open_reply(&keys, &mut vec![0; len]), Err(ReplyError::Size));
        }
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
    for format in kinds() {
        let (surb, _) = format.create_surb(&mut rng(27), &nodes.path).unwrap();
        let needed = format.surb_len();
        let foreign = kinds().into_iter().map(|format| format.surb_len()).filter(|foreign| *foreign != needed);
        for len in [0, needed - 1, needed + 1, needed * MAX_SURBS].into_iter().chain(foreign) {
            assert_eq!(format.read_surb(&vec![1; len]).unwrap_err(), SurbError::Size { len, needed });
        }
        let alpha = match format.wire().kind() {
            FormatKind::Mix => 94..126,
            FormatKind::SphinxPacket => 0..32,
        };
        let mut top_bit = surb.to_bytes();
        top_bit[alpha.end - 1] |= 0x80;
        assert_eq!(format.read_surb(&top_bit).unwrap_err(), SurbError::Alpha);
        let mut zero = surb.to_bytes();
        zero[alpha].fill(0);
        assert_eq!(format.read_surb(&zero).unwrap_err(), SurbError::Alpha);
    }
}

#[test]
fn debug_of_blocks_keys_and_ids_is_redacted() {
    let nodes = Nodes::new();
    for format in kinds() {
        let (surb, keys) = format.create_surb(&mut rng(28), &nodes.path).unwrap();
        let shown = format!("{surb:?} {keys:?} {:?}", keys.id());
        assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
    }
}
