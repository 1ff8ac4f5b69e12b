//! What an adversary on the path may try (`spec/mix-wire.md` §21).

use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::constants::EIGHT_TORSION;
use proptest::prelude::*;
use wakumix_sphinx::{HEADER_LEN, Opened, PACKET_LEN, PrivateKey, Reject, Sphinx, Surb};

use crate::support::{NO_ADDRESS, Nodes, packet, profiles, rng};

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_flipped_header_byte_is_refused_at_the_first_hop(
        at in 0..HEADER_LEN,
        flip in 1u8..,
        profile in profiles(),
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new(profile);
        let mut packet = vec![0; profile.packet_len()];
        sphinx.build(&mut rng(3), &nodes.path, &NO_ADDRESS, b"body", &mut packet).unwrap();
        packet[at] ^= flip;
        let refusal = sphinx.authenticate(&nodes.keys[0], &packet).err();
        if at < 32 {
            prop_assert!(matches!(refusal, Some(Reject::Mac | Reject::Alpha | Reject::ZeroSecret)));
        } else {
            prop_assert_eq!(refusal, Some(Reject::Mac));
        }
    }

    #[test]
    fn a_flipped_payload_byte_destroys_a_lioness_packet(
        at in HEADER_LEN..PACKET_LEN,
        flip in 1u8..,
        hop in 0usize..3,
    ) {
        let nodes = Nodes::new();
        let (sphinx, mut packet) = packet(&nodes, 4);
        for i in 0..hop {
            nodes.forward(sphinx, i, &mut packet);
        }
        packet[at] ^= flip;
        for i in hop..2 {
            nodes.forward(sphinx, i, &mut packet);
        }
        prop_assert_eq!(nodes.open(sphinx, 2, &mut packet).err(), Some(Reject::Integrity));
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
        match nodes.walk(sphinx, &mut packet) {
            Err(refusal) if at < 16 => prop_assert_eq!(refusal, Reject::Integrity),
            Err(refusal) => prop_assert_eq!(refusal, Reject::Padding),
            // A shorter padding length makes padding part of the body: AES-CTR cannot tell.
            Ok(_) => prop_assert!(at == 16 || at == 17),
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..6000),
        profile in profiles(),
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new(profile);
        prop_assert!(sphinx.authenticate(&nodes.keys[0], &bytes).is_err());
        let _ = sphinx.split_proof(&bytes);
        let _ = Surb::from_bytes(&bytes);
        let (_, keys) = sphinx.create_surb(&mut rng(6), &nodes.path).unwrap();
        let mut bytes = bytes;
        prop_assert!(sphinx.open_reply(&keys, &mut bytes).is_err());
    }

    #[test]
    fn arbitrary_packets_of_the_right_size_never_panic(
        seed in any::<u64>(),
        noise in any::<[u8; 32]>(),
        profile in profiles(),
    ) {
        let nodes = Nodes::new();
        let sphinx = Sphinx::new(profile);
        let mut good = vec![0; profile.packet_len()];
        sphinx.build(&mut rng(seed), &nodes.path, &NO_ADDRESS, b"", &mut good).unwrap();
        let mut bytes: Vec<u8> = noise.iter().copied().cycle().take(profile.packet_len()).collect();
        prop_assert!(sphinx.authenticate(&nodes.keys[0], &bytes).is_err());
        // The secret of one packet applied to another gives noise, not a panic.
        let auth = sphinx.authenticate(&nodes.keys[0], &good).unwrap();
        if let Ok(Opened::Forward { blinding, .. }) = sphinx.open(&mut bytes, auth) {
            let _ = sphinx.blind(&mut bytes, blinding);
        }
        let (_, keys) = sphinx.create_surb(&mut rng(6), &nodes.path).unwrap();
        prop_assert!(sphinx.open_reply(&keys, &mut bytes).is_err());
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
fn every_torsion_variant_of_alpha_has_the_same_tag() {
    let nodes = Nodes::new();
    let (sphinx, original) = packet(&nodes, 9);
    let tag = sphinx.authenticate(&nodes.keys[0], &original).unwrap().tag();
    let alpha: [u8; 32] = original[..32].try_into().unwrap();
    let variants = torsion_variants(alpha);
    assert!(variants.iter().filter(|variant| **variant != alpha).count() >= 7);
    for variant in variants {
        let mut packet = original;
        packet[..32].copy_from_slice(&variant);
        let auth = sphinx.authenticate(&nodes.keys[0], &packet).unwrap();
        assert_eq!(auth.tag(), tag);
    }
}

#[test]
fn every_variant_of_alpha_with_the_top_bit_is_refused() {
    let nodes = Nodes::new();
    let (sphinx, original) = packet(&nodes, 10);
    let alpha: [u8; 32] = original[..32].try_into().unwrap();
    for mut variant in torsion_variants(alpha) {
        variant[31] |= 0x80;
        let mut packet = original;
        packet[..32].copy_from_slice(&variant);
        let refusal = sphinx.authenticate(&nodes.keys[0], &packet).err();
        assert_eq!(refusal, Some(Reject::Alpha));
    }
}

#[test]
fn zero_and_unreduced_alpha_are_refused() {
    let nodes = Nodes::new();
    let (sphinx, mut packet) = packet(&nodes, 11);
    packet[..32].fill(0);
    let refusal = sphinx.authenticate(&nodes.keys[0], &packet).err();
    assert_eq!(refusal, Some(Reject::Alpha));
    packet[..32].fill(0xff);
    packet[31] = 0x7f;
    for low in 0xed..=0xff {
        packet[0] = low;
        let refusal = sphinx.authenticate(&nodes.keys[0], &packet).err();
        assert_eq!(refusal, Some(Reject::Alpha));
    }
}

#[test]
fn alpha_of_low_order_is_refused_before_its_mac_counts() {
    let nodes = Nodes::new();
    let (sphinx, mut packet) = packet(&nodes, 12);
    let mut refusals = Vec::new();
    for torsion in &EIGHT_TORSION {
        packet[..32].copy_from_slice(&torsion.to_montgomery().to_bytes());
        refusals.push(sphinx.authenticate(&nodes.keys[0], &packet).err().unwrap());
    }
    assert!(refusals.contains(&Reject::ZeroSecret));
    for refusal in refusals {
        assert!(matches!(refusal, Reject::ZeroSecret | Reject::Alpha));
    }
}

#[test]
fn a_packet_for_another_key_is_refused() {
    let nodes = Nodes::new();
    let (sphinx, packet) = packet(&nodes, 13);
    let other = PrivateKey::generate(&mut rng(14));
    assert_eq!(sphinx.authenticate(&other, &packet).err(), Some(Reject::Mac));
}

#[test]
fn debug_of_what_a_hop_holds_is_redacted() {
    let nodes = Nodes::new();
    let (sphinx, mut packet) = packet(&nodes, 15);
    let auth = sphinx.authenticate(&nodes.keys[0], &packet).unwrap();
    let tag = auth.tag();
    let shown = format!("{auth:?} {tag:?} {:?}", nodes.path[0]);
    let opened = sphinx.open(&mut packet, auth).unwrap();
    let shown = format!("{shown} {opened:?}");
    assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
}
