//! What an adversary on the path may try (`spec/mix-wire.md §21`).

use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::{prelude::*, sample::select};
use wakumix_sphinx::{HEADER_LEN, Opened, PACKET_LEN, PrivateKey, Reject, Sphinx, Surb};

use crate::support::{NO_ADDRESS, Nodes, formats, header_len, kinds, place_in, rng, sealed_len};

#[test]
fn a_damaged_byte_anywhere_in_the_header_is_refused_at_the_first_hop() {
    let nodes = Nodes::new();
    for format in formats() {
        let original = nodes.packet(&*format, 3);
        for at in 0..header_len(&*format) {
            let mut packet = original.clone();
            packet[at] ^= 0x10;
            let refusal = format.authenticate(&nodes.keys[0], &packet).err();
            if at < 32 {
                assert!(matches!(refusal, Some(Reject::Mac | Reject::Alpha | Reject::ZeroSecret)), "byte {at}");
            } else {
                assert_eq!(refusal, Some(Reject::Mac), "byte {at}");
            }
        }
    }
}

/// Every eleventh byte: each place within the blocks of both ciphers that make the wide block, and the last byte.
#[test]
fn a_damaged_byte_anywhere_in_the_payload_is_refused_at_the_exit() {
    let nodes = Nodes::new();
    for format in kinds() {
        let mut original = nodes.packet(&*format, 4);
        nodes.forward(&*format, 0, &mut original);
        nodes.forward(&*format, 1, &mut original);
        for at in (header_len(&*format)..original.len()).rev().step_by(11) {
            let mut packet = original.clone();
            packet[at] ^= 0x10;
            assert_eq!(nodes.open(&*format, 2, &mut packet).err(), Some(Reject::Integrity), "byte {at}");
        }
    }
}

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_flipped_header_byte_is_refused_at_the_first_hop(
        (format, at) in place_in(formats(), |format| 32..header_len(format)),
        flip in 1u8..,
    ) {
        let nodes = Nodes::new();
        let mut packet = nodes.packet(&*format, 3);
        packet[at] ^= flip;
        prop_assert_eq!(format.authenticate(&nodes.keys[0], &packet).err(), Some(Reject::Mac));
    }

    #[test]
    fn a_payload_damaged_on_any_link_is_refused_at_the_exit(
        (format, at) in place_in(kinds(), |format| header_len(format)..sealed_len(format)),
        flip in 1u8..,
        hop in 0usize..3,
    ) {
        let nodes = Nodes::new();
        let mut packet = nodes.packet(&*format, 5);
        for i in 0..hop {
            nodes.forward(&*format, i, &mut packet);
        }
        packet[at] ^= flip;
        for i in hop..2 {
            nodes.forward(&*format, i, &mut packet);
        }
        prop_assert_eq!(nodes.open(&*format, 2, &mut packet).err(), Some(Reject::Integrity));
    }

    #[test]
    fn an_aes_ctr_packet_marked_in_prefix_or_padding_is_refused(
        at in 0usize..3984 - 4 - 4,
        flip in 1u8..,
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new("aes-ctr/seq".parse().unwrap());
        let mut packet = [0; PACKET_LEN];
        sphinx.build(&mut rng(5), &nodes.path, &NO_ADDRESS, b"\xff\xff\xff\xff", &mut packet).unwrap();
        packet[HEADER_LEN + at] ^= flip;
        match nodes.walk(&sphinx, &mut packet) {
            Err(refusal) if at < 16 => prop_assert_eq!(refusal, Reject::Integrity),
            Err(refusal) => prop_assert_eq!(refusal, Reject::Padding),
            // A shorter padding length makes padding part of the body: AES-CTR cannot tell.
            Ok(_) => prop_assert!(at == 16 || at == 17),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..7000),
        format in select(formats()),
    ) {
        let nodes = Nodes::new();
        prop_assert!(format.authenticate(&nodes.keys[0], &bytes).is_err());
        let _ = format.read_surb(&bytes);
        let (_, keys) = format.create_surb(&mut rng(6), &nodes.path).unwrap();
        let mut bytes = bytes;
        prop_assert!(format.open_reply(&keys, &mut bytes).is_err());
    }

    #[test]
    fn arbitrary_packets_of_the_right_size_never_panic(
        seed in any::<u64>(),
        noise in any::<[u8; 32]>(),
        format in select(formats()),
    ) {
        let nodes = Nodes::new();
        let good = nodes.packet(&*format, seed);
        let mut bytes: Vec<u8> = noise.iter().copied().cycle().take(good.len()).collect();
        prop_assert!(format.authenticate(&nodes.keys[0], &bytes).is_err());
        // The secret of one packet applied to another gives noise, not a panic.
        let auth = format.authenticate(&nodes.keys[0], &good).unwrap();
        if let Ok(Opened::Forward { blinding, .. }) = format.open(&mut bytes, auth) {
            let _ = format.blind(&mut bytes, blinding);
        }
        let (_, keys) = format.create_surb(&mut rng(6), &nodes.path).unwrap();
        prop_assert!(format.open_reply(&keys, &mut bytes).is_err());
    }

    #[test]
    fn arbitrary_bytes_as_a_reply_block_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 734)) {
        bytes[94 + 31] &= 0x7f;
        let sphinx = Sphinx::new("lioness/pad".parse().unwrap());
        if let Ok(surb) = Surb::from_bytes(&bytes) {
            prop_assert_eq!(&surb.to_bytes()[..], &bytes[..]);
            sphinx.use_surb(&mut rng(8), surb, b"answer", &mut [0; PACKET_LEN]).unwrap();
        }
    }
}

/// The 8 points α + T of one packet's α, in canonical form (§21 W5).
fn torsion_variants(alpha: [u8; 32]) -> Vec<[u8; 32]> {
    let point = MontgomeryPoint(alpha).to_edwards(0).unwrap();
    EIGHT_TORSION.iter().map(|torsion| (point + torsion).to_montgomery().to_bytes()).collect()
}

#[test]
fn every_encoding_of_alpha_has_the_same_tag_or_is_refused() {
    let nodes = Nodes::new();
    for format in kinds() {
        let original = nodes.packet(&*format, 9);
        let tag = format.authenticate(&nodes.keys[0], &original).unwrap().tag();
        let alpha: [u8; 32] = original[..32].try_into().unwrap();
        let variants = torsion_variants(alpha);
        assert!(variants.iter().filter(|variant| **variant != alpha).count() >= 7);
        for mut variant in variants {
            let mut packet = original.clone();
            packet[..32].copy_from_slice(&variant);
            assert_eq!(format.authenticate(&nodes.keys[0], &packet).unwrap().tag(), tag);
            variant[31] |= 0x80;
            packet[..32].copy_from_slice(&variant);
            assert_eq!(format.authenticate(&nodes.keys[0], &packet).err(), Some(Reject::Alpha));
        }
    }
}

#[test]
fn zero_unreduced_and_low_order_alpha_are_refused() {
    let nodes = Nodes::new();
    for format in kinds() {
        let mut packet = nodes.packet(&*format, 11);
        let mut refuse = |alpha: [u8; 32]| {
            packet[..32].copy_from_slice(&alpha);
            format.authenticate(&nodes.keys[0], &packet).err().unwrap()
        };
        assert_eq!(refuse([0; 32]), Reject::Alpha);
        let mut unreduced = [0xff; 32];
        unreduced[31] = 0x7f;
        for low in 0xed..=0xff {
            unreduced[0] = low;
            assert_eq!(refuse(unreduced), Reject::Alpha);
        }
        // Before the MAC counts.
        let refusals = EIGHT_TORSION.map(|torsion| refuse(torsion.to_montgomery().to_bytes()));
        assert!(refusals.contains(&Reject::ZeroSecret));
        assert!(refusals.iter().all(|refusal| matches!(refusal, Reject::ZeroSecret | Reject::Alpha)), "{refusals:?}");
    }
}

#[test]
fn a_packet_for_another_key_or_of_another_size_is_refused() {
    let nodes = Nodes::new();
    let other = PrivateKey::generate(&mut rng(14));
    for format in kinds() {
        let packet = nodes.packet(&*format, 13);
        assert_eq!(format.authenticate(&other, &packet).err(), Some(Reject::Mac));
        let len = packet.len();
        let foreign = kinds().into_iter().map(|format| format.packet_len()).filter(|foreign| *foreign != len);
        for len in [0, len - 1, len + 1].into_iter().chain(foreign) {
            assert_eq!(format.authenticate(&nodes.keys[0], &vec![1; len]).err(), Some(Reject::Size));
        }
    }
}

#[test]
fn debug_of_what_a_hop_holds_is_redacted() {
    let nodes = Nodes::new();
    for format in kinds() {
        let mut packet = nodes.packet(&*format, 15);
        let auth = format.authenticate(&nodes.keys[0], &packet).unwrap();
        let tag = auth.tag();
        let shown = format!("{auth:?} {tag:?} {:?}", nodes.path[0]);
        let opened = format.open(&mut packet, auth).unwrap();
        let shown = format!("{shown} {opened:?}");
        assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
    }
}
