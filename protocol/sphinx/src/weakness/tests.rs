//! Each attack works where its countermeasure is missing, and only there.

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::testing::appendix_path;
use crate::{
    HEADER_LEN, Opened, PacketFormat, PathHop, PrivateKey, Profile, Reject, ReplyError, Sphinx, Weakness, Weaknesses,
};

const BODY: &[u8] = b"body";

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

fn key(hop: usize) -> PrivateKey {
    PrivateKey::from_bytes([[0x10, 0x20, 0x30][hop]; 32])
}

fn path() -> [PathHop; 3] {
    appendix_path()
}

fn without(weakness: Weakness) -> Weaknesses {
    Weaknesses::NONE.with(weakness)
}

fn mix(profile: &str, weaknesses: Weaknesses) -> Sphinx {
    Sphinx::new(profile.parse::<Profile>().unwrap()).weakened(weaknesses)
}

/// Both formats with these countermeasures missing; the first one in its newest profile.
fn formats(weaknesses: Weaknesses) -> Vec<Box<dyn PacketFormat>> {
    vec![
        Box::new(mix("lioness/pad", weaknesses)),
        #[cfg(feature = "sphinx-packet")]
        Box::new(crate::SphinxPacketFormat::new().weakened(weaknesses)),
    ]
}

fn packet(format: &dyn PacketFormat) -> Vec<u8> {
    let mut packet = vec![0; format.packet_len()];
    format.build(&mut rng(), &path(), &[0; 94], BODY, &mut packet).unwrap();
    packet
}

fn open(format: &dyn PacketFormat, hop: usize, packet: &mut [u8]) -> Result<Opened, Reject> {
    let authentic = format.authenticate(&key(hop), packet)?;
    format.open(packet, authentic)
}

fn forward(format: &dyn PacketFormat, hops: core::ops::Range<usize>, packet: &mut [u8]) {
    for hop in hops {
        match open(format, hop, packet).unwrap() {
            Opened::Forward { blinding, .. } => format.blind(packet, blinding).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

/// The first word of a hash, as the reference takes it.
fn word(hash: impl AsRef<[u8]>) -> u32 {
    u32::from_be_bytes(hash.as_ref()[..4].try_into().unwrap())
}

/// The sequence field that an exit reads.
fn sequence(sphinx: Sphinx) -> u32 {
    let mut packet = packet(&sphinx);
    forward(&sphinx, 0..2, &mut packet);
    open(&sphinx, 2, &mut packet).unwrap();
    word(&packet[packet.len() - 4..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn an_exit_computes_the_sender_from_the_sequence_field(id in any::<[u8; 39]>(), seconds in any::<u32>()) {
        let sphinx = mix("lioness/seq", without(Weakness::SenderInSequence)).weakened_sender(&id, seconds);
        let time = (i64::from(seconds) * 1000).to_be_bytes();
        let known = word(Sha256::digest([BODY, &time].concat()));
        let sum = word(Sha256::digest(id)).wrapping_add(known);
        prop_assert_eq!(sequence(sphinx), sum % u32::MAX);
    }
}

#[test]
fn the_sequence_field_says_nothing_of_a_sender_with_the_countermeasure() {
    let named = |id: &[u8]| mix("lioness/seq", Weaknesses::NONE).weakened_sender(id, 7);
    assert_eq!(sequence(named(b"one")), sequence(named(b"other")));
    assert_eq!(sequence(named(b"one")), sequence(mix("lioness/seq", Weaknesses::NONE)));
}

#[test]
fn a_packet_passes_again_in_another_encoding_of_alpha() {
    for format in formats(without(Weakness::EncodingInTag)) {
        let packet = packet(&*format);
        let tag = format.authenticate(&key(0), &packet).unwrap().tag();
        let mut again = packet;
        again[31] |= 0x80;
        assert_ne!(format.authenticate(&key(0), &again).unwrap().tag(), tag);
        forward(&*format, 0..1, &mut again);
    }
}

#[test]
fn marked_padding_reaches_the_exit() {
    let mark_at = HEADER_LEN + 100;
    for (weaknesses, passes) in [(without(Weakness::UncheckedPadding), true), (Weaknesses::NONE, false)] {
        let format = mix("aes-ctr/seq", weaknesses);
        let mut packet = packet(&format);
        packet[mark_at] ^= 1;
        forward(&format, 0..2, &mut packet);
        match open(&format, 2, &mut packet) {
            Ok(Opened::Exit { body, .. }) => assert!(passes && &packet[body] == BODY),
            other => assert!(!passes && matches!(other, Err(Reject::Padding)), "{other:?}"),
        }
    }
}

#[test]
fn garbage_passes_for_a_reply_under_aes_ctr() {
    for (weaknesses, outcome) in
        [(without(Weakness::UncheckedPadding), None), (Weaknesses::NONE, Some(ReplyError::Integrity))]
    {
        let format = mix("aes-ctr/pad", weaknesses);
        let (surb, keys) = format.create_surb(&mut rng(), &path()).unwrap();
        let mut packet = vec![0; format.profile().packet_len()];
        format.use_surb(&mut rng(), surb, BODY, &mut packet).unwrap();
        packet[HEADER_LEN] ^= 1;
        forward(&format, 0..2, &mut packet);
        open(&format, 2, &mut packet).unwrap();
        assert_eq!(format.open_reply(&keys, &mut packet).err(), outcome);
    }
}

#[test]
fn a_wrong_mac_is_refused_however_it_is_compared() {
    for format in formats(without(Weakness::EarlyMacExit)) {
        let mut packet = packet(&*format);
        assert!(format.authenticate(&key(0), &packet).is_ok());
        // A byte of the routing information in both formats.
        packet[64] ^= 1;
        assert_eq!(format.authenticate(&key(0), &packet).err(), Some(Reject::Mac));
    }
}
