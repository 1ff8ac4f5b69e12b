//! What only the second packet format has, and what tells it from the first.

use std::sync::LazyLock;

use proptest::prelude::*;
use wakumix_sphinx::{
    AddressBytes, BuildError, FormatKind, Opened, PacketFormat, Profile, Sphinx, SphinxPacketFormat, SurbError,
    WireFormat,
};

use crate::support::{NO_ADDRESS, Nodes, address, rng};

/// Sizes as the crate and `docs/decisions/008-second-format.md` give them.
pub(crate) const PAYLOAD_LEN: usize = 5632;
pub(crate) const PACKET_LEN: usize = 5980;
const DATA_LEN: usize = 5615;
const SURB_LEN: usize = 404;
/// Length prefix, codec and number of blocks in front of a lightpush request that carries one reply block.
const ENVELOPE_LEN: usize = 1 + "/vac/waku/lightpush/3.0.0".len() + 1 + SURB_LEN;

/// The format; it has no state.
pub(crate) static FORMAT: LazyLock<SphinxPacketFormat> = LazyLock::new(SphinxPacketFormat::new);

/// The address of a peer whose key is the odd one of its x coordinate.
pub(crate) fn odd(mut address: AddressBytes) -> AddressBytes {
    address[13] = 3;
    address
}

/// Nodes with odd keys, both transports and the longest delay.
pub(crate) fn nodes() -> Nodes {
    let mut nodes = Nodes::new();
    for hop in &mut nodes.path {
        hop.address = odd(hop.address);
    }
    nodes.path[1].address[4] = 1;
    nodes.path[1].delay_ms = 16_383;
    nodes
}

proptest! {
    // Each case walks a packet through several hops.
    #![proptest_config(ProptestConfig::with_cases(32))]

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
fn a_message_of_4096_bytes_fits_beside_its_reply_block() {
    let framing = FORMAT.data_len() - ENVELOPE_LEN - 4096;
    assert!(framing >= 1024, "{framing} bytes for topics, metadata and field tags");
}

#[test]
fn a_hop_or_destination_behind_a_relay_is_refused() {
    let nodes = nodes();
    let mut relayed = nodes.path[1].address;
    relayed.copy_within(7..46, 46);
    let mut out = vec![0; PACKET_LEN];
    for hop in [1, 2] {
        let mut path = nodes.path;
        path[hop].address = relayed;
        let error = FORMAT.build(&mut rng(4), &path, &NO_ADDRESS, b"", &mut out).unwrap_err();
        assert_eq!(error, BuildError::Address);
        assert_eq!(FORMAT.create_surb(&mut rng(4), &path).unwrap_err(), BuildError::Address);
    }
    assert_eq!(FORMAT.build(&mut rng(4), &nodes.path, &relayed, b"", &mut out), Err(BuildError::Address));
    assert!(BuildError::Address.to_string().contains("relay"));
    // A packet does not tell its first hop's address, a reply block does.
    let mut path = nodes.path;
    path[0].address = relayed;
    assert_eq!(FORMAT.build(&mut rng(4), &path, &NO_ADDRESS, b"", &mut out), Ok(()));
    assert_eq!(FORMAT.create_surb(&mut rng(4), &path).unwrap_err(), BuildError::Address);
}

#[test]
fn a_hop_that_is_only_known_by_its_peer_id_is_carried() {
    let mut nodes = nodes();
    nodes.path[1].address = address([0; 4], 0, 0, 0xa1);
    let mut packet = nodes.packet(&*FORMAT, 5);
    assert!(matches!(nodes.walk(&*FORMAT, &mut packet), Ok(Opened::Exit { .. })));
}

#[test]
fn a_longer_delay_than_there_is_room_for_is_cut() {
    let nodes = nodes();
    let mut path = nodes.path;
    path[0].delay_ms = u16::MAX;
    let mut packet = vec![0; PACKET_LEN];
    FORMAT.build(&mut rng(6), &path, &NO_ADDRESS, b"", &mut packet).unwrap();
    match nodes.open(&*FORMAT, 0, &mut packet).unwrap() {
        Opened::Forward { delay_ms, .. } => assert_eq!(delay_ms, 16_383),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_formats_share_no_length() {
    let longest: Profile = "lioness/pad/1024".parse().unwrap();
    assert!(longest.packet_len() < FORMAT.packet_len());
    for (_, profile) in Profile::PRESETS {
        assert_ne!(profile.packet_len(), FORMAT.packet_len());
        assert_ne!(PacketFormat::surb_len(&Sphinx::new(*profile)), FORMAT.surb_len());
    }
}

#[test]
fn the_word_in_the_configuration_gives_this_format() {
    let wire: WireFormat = "sphinx-packet".parse().unwrap();
    assert_eq!((wire, wire.kind()), (WireFormat::SphinxPacket, FormatKind::SphinxPacket));
    assert_eq!(wire.to_string(), "sphinx-packet");
    let format = wire.format();
    assert_eq!((format.wire(), format.packet_len(), format.data_len()), (wire, PACKET_LEN, DATA_LEN));
    assert_eq!(format.surb_len(), SURB_LEN);
    let error = "sphinxpacket".parse::<WireFormat>().unwrap_err().to_string();
    assert!(
        error.contains("sphinxpacket") && error.contains("lioness") && error.ends_with("or sphinx-packet"),
        "{error}"
    );
}

#[test]
fn a_block_of_another_format_is_refused() {
    let nodes = nodes();
    let mix = Sphinx::new(Profile::default());
    let (foreign, _) = mix.create_surb(&mut rng(1), &nodes.path).unwrap();
    let error = FORMAT.use_surb(&mut rng(2), foreign, b"", &mut [0; PACKET_LEN]).unwrap_err();
    assert_eq!(error, BuildError::ForeignSurb);
    let (ours, _) = FORMAT.create_surb(&mut rng(1), &nodes.path).unwrap();
    let error = mix.use_surb(&mut rng(2), ours, b"", &mut [0; PACKET_LEN]).unwrap_err();
    assert_eq!(error, BuildError::ForeignSurb);
}

#[test]
fn a_block_with_a_wrong_first_hop_is_refused() {
    let nodes = nodes();
    let (surb, _) = FORMAT.create_surb(&mut rng(27), &nodes.path).unwrap();
    let bytes = surb.to_bytes();
    let changed = |change: fn(&mut [u8])| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        FORMAT.read_surb(&bytes).err()
    };
    assert_eq!(changed(|bytes| bytes[348..380].fill(0)), Some(SurbError::Hop));
    assert_eq!(changed(|bytes| bytes[403] = 1), Some(SurbError::Hop));
    assert_eq!(changed(|bytes| bytes[380] ^= 1), None);
}

#[test]
fn one_key_serves_both_formats_without_a_tag_in_common() {
    let nodes = nodes();
    let mix = Sphinx::new(Profile::default());
    let mut mix_packet = vec![0; Profile::default().packet_len()];
    // The same random numbers give the same α, so the same shared secret.
    mix.build(&mut rng(12), &nodes.path, &[0; 94], b"body", &mut mix_packet).unwrap();
    let packet = nodes.packet(&*FORMAT, 12);
    assert_eq!(mix_packet[..32], packet[..32]);
    let mix_tag = mix.authenticate(&nodes.keys[0], &mix_packet).unwrap().tag();
    let tag = FORMAT.authenticate(&nodes.keys[0], &packet).unwrap().tag();
    assert_ne!(mix_tag, tag);
}
