//! What an adversary on the path may try (`spec/mix-wire.md` §21).

use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::prelude::*;
use wakumix_sphinx::{Opened, PacketFormat, PrivateKey, Profile, Reject, Sphinx};

use crate::support::{FORMAT, HEADER_LEN, Nodes, PACKET_LEN, rng};

#[test]
fn a_damaged_byte_anywhere_in_the_header_is_refused_at_the_first_hop() {
    let nodes = Nodes::new();
    let original = nodes.packet(3);
    for at in 0..HEADER_LEN {
        let mut packet = original.clone();
        packet[at] ^= 0x10;
        let refusal = FORMAT.authenticate(&nodes.keys[0], &packet).err();
        if at < 32 {
            assert!(matches!(refusal, Some(Reject::Mac | Reject::Alpha | Reject::ZeroSecret)), "byte {at}");
        } else {
            assert_eq!(refusal, Some(Reject::Mac), "byte {at}");
        }
    }
}

/// Every eleventh byte: each place within the blocks of both ciphers that make the wide block, and the last byte.
#[test]
fn a_damaged_byte_anywhere_in_the_payload_is_refused_at_the_exit() {
    let nodes = Nodes::new();
    let mut original = nodes.packet(4);
    nodes.forward(0, &mut original);
    nodes.forward(1, &mut original);
    for at in (HEADER_LEN..PACKET_LEN).rev().step_by(11) {
        let mut packet = original.clone();
        packet[at] ^= 0x10;
        assert_eq!(nodes.open(2, &mut packet).err(), Some(Reject::Integrity), "byte {at}");
    }
}

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_payload_damaged_on_any_link_is_refused_at_the_exit(
        at in HEADER_LEN..PACKET_LEN,
        flip in 1u8..,
        hop in 0usize..3,
    ) {
        let nodes = Nodes::new();
        let mut packet = nodes.packet(5);
        for i in 0..hop {
            nodes.forward(i, &mut packet);
        }
        packet[at] ^= flip;
        for i in hop..2 {
            nodes.forward(i, &mut packet);
        }
        prop_assert_eq!(nodes.open(2, &mut packet).err(), Some(Reject::Integrity));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..7000)) {
        let nodes = Nodes::new();
        prop_assert!(FORMAT.authenticate(&nodes.keys[0], &bytes).is_err());
        let _ = FORMAT.read_surb(&bytes);
        let (_, keys) = FORMAT.create_surb(&mut rng(6), &nodes.path).unwrap();
        let mut bytes = bytes;
        prop_assert!(FORMAT.open_reply(&keys, &mut bytes).is_err());
    }

    #[test]
    fn arbitrary_packets_of_the_right_size_never_panic(seed in any::<u64>(), noise in any::<[u8; 32]>()) {
        let nodes = Nodes::new();
        let good = nodes.packet(seed);
        let mut bytes: Vec<u8> = noise.iter().copied().cycle().take(PACKET_LEN).collect();
        prop_assert!(FORMAT.authenticate(&nodes.keys[0], &bytes).is_err());
        // The secret of one packet applied to another gives noise, not a panic.
        let authentic = FORMAT.authenticate(&nodes.keys[0], &good).unwrap();
        if let Ok(Opened::Forward { blinding, .. }) = FORMAT.open(&mut bytes, authentic) {
            let _ = FORMAT.blind(&mut bytes, blinding);
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
    let original = nodes.packet(9);
    let tag = FORMAT.authenticate(&nodes.keys[0], &original).unwrap().tag();
    let alpha: [u8; 32] = original[..32].try_into().unwrap();
    let variants = torsion_variants(alpha);
    assert!(variants.iter().filter(|variant| **variant != alpha).count() >= 7);
    for mut variant in variants {
        let mut packet = original.clone();
        packet[..32].copy_from_slice(&variant);
        assert_eq!(FORMAT.authenticate(&nodes.keys[0], &packet).unwrap().tag(), tag);
        variant[31] |= 0x80;
        packet[..32].copy_from_slice(&variant);
        assert_eq!(FORMAT.authenticate(&nodes.keys[0], &packet).err(), Some(Reject::Alpha));
    }
}

#[test]
fn zero_unreduced_and_low_order_alpha_are_refused() {
    let nodes = Nodes::new();
    let mut packet = nodes.packet(11);
    let mut refuse = |alpha: [u8; 32]| {
        packet[..32].copy_from_slice(&alpha);
        FORMAT.authenticate(&nodes.keys[0], &packet).err()
    };
    assert_eq!(refuse([0; 32]), Some(Reject::Alpha));
    let mut unreduced = [0xff; 32];
    unreduced[31] = 0x7f;
    for low in 0xed..=0xff {
        unreduced[0] = low;
        assert_eq!(refuse(unreduced), Some(Reject::Alpha));
    }
    for torsion in &EIGHT_TORSION {
        let refusal = refuse(torsion.to_montgomery().to_bytes());
        assert!(matches!(refusal, Some(Reject::ZeroSecret | Reject::Alpha)), "{refusal:?}");
    }
}

#[test]
fn one_key_serves_both_formats_without_a_tag_in_common() {
    let nodes = Nodes::new();
    let mix = Sphinx::new(Profile::default());
    let mut mix_packet = vec![0; Profile::default().packet_len()];
    // The same random numbers give the same α, so the same shared secret.
    mix.build(&mut rng(12), &nodes.path, &[0; 94], b"body", &mut mix_packet).unwrap();
    let packet = nodes.packet(12);
    assert_eq!(mix_packet[..32], packet[..32]);
    let mix_tag = mix.authenticate(&nodes.keys[0], &mix_packet).unwrap().tag();
    let tag = FORMAT.authenticate(&nodes.keys[0], &packet).unwrap().tag();
    assert_ne!(mix_tag, tag);
}

#[test]
fn a_packet_for_another_key_or_format_is_refused() {
    let nodes = Nodes::new();
    let packet = nodes.packet(13);
    let other = PrivateKey::generate(&mut rng(14));
    assert_eq!(FORMAT.authenticate(&other, &packet).err(), Some(Reject::Mac));
    let refusal = Sphinx::new(Profile::default()).authenticate(&nodes.keys[0], &packet).err();
    assert_eq!(refusal, Some(Reject::Size));
    for len in [0, PACKET_LEN - 1, PACKET_LEN + 1, wakumix_sphinx::PACKET_LEN] {
        assert_eq!(FORMAT.authenticate(&nodes.keys[0], &vec![1; len]).err(), Some(Reject::Size));
    }
}

#[test]
fn debug_of_what_a_hop_holds_is_redacted() {
    let nodes = Nodes::new();
    let mut packet = nodes.packet(15);
    let authentic = FORMAT.authenticate(&nodes.keys[0], &packet).unwrap();
    let tag = authentic.tag();
    let shown = format!("{authentic:?} {tag:?} {:?}", nodes.path[0]);
    let opened = FORMAT.open(&mut packet, authentic).unwrap();
    let shown = format!("{shown} {opened:?}");
    assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
}
