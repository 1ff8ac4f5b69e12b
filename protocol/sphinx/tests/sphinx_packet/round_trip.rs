//! What is built comes out again.

use proptest::prelude::*;
use wakumix_sphinx::{BuildError, FormatKind, Opened, PacketFormat, Profile, Sphinx, WireFormat};

use crate::support::{DATA_LEN, FORMAT, NO_ADDRESS, Nodes, PACKET_LEN, SURB_LEN, address, body, rng};

/// Length prefix, codec and number of blocks in front of a lightpush request that carries one reply block.
const ENVELOPE_LEN: usize = 1 + "/vac/waku/lightpush/3.0.0".len() + 1 + SURB_LEN;

proptest! {
    // Each case walks packets through several hops.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_body_of_any_length_reaches_the_exit(
        len in prop_oneof![0usize..=8, 0..=DATA_LEN, DATA_LEN - 2..=DATA_LEN],
        elsewhere in any::<Option<([u8; 4], bool, u16)>>(),
        seed in any::<u64>(),
    ) {
        let nodes = Nodes::new();
        let destination = elsewhere.map_or(NO_ADDRESS, |(ip, quic, port)| address(ip, quic.into(), port, 0xdd));
        let body = body(len);
        let mut packet = vec![0x5A; PACKET_LEN];
        FORMAT.build(&mut rng(seed), &nodes.path, &destination, &body, &mut packet).unwrap();
        match nodes.walk(&mut packet).unwrap() {
            Opened::Exit { destination: found, body: range } => {
                prop_assert_eq!(found, destination);
                prop_assert_eq!(&packet[range], &body[..]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn a_message_of_4096_bytes_fits_beside_its_reply_block() {
    let framing = FORMAT.data_len() - ENVELOPE_LEN - 4096;
    assert!(framing >= 1024, "{framing} bytes for topics, metadata and field tags");
}

#[test]
fn one_byte_more_than_fits_is_refused_and_nothing_is_written() {
    let nodes = Nodes::new();
    let mut packet = vec![0x5A; PACKET_LEN];
    let error = FORMAT.build(&mut rng(1), &nodes.path, &NO_ADDRESS, &body(DATA_LEN + 1), &mut packet).unwrap_err();
    assert_eq!(error, BuildError::BodyTooLong { len: DATA_LEN + 1, max: DATA_LEN });
    assert!(packet.iter().all(|&byte| byte == 0x5A));
    let error = FORMAT.build(&mut rng(1), &nodes.path, &NO_ADDRESS, b"", &mut packet[1..]).unwrap_err();
    assert_eq!(error, BuildError::OutputTooShort { len: PACKET_LEN - 1, needed: PACKET_LEN });
}

#[test]
fn what_follows_a_packet_in_its_buffer_is_left_alone() {
    let nodes = Nodes::new();
    let mut packet = vec![0x5A; PACKET_LEN + 9];
    FORMAT.build(&mut rng(1), &nodes.path, &NO_ADDRESS, b"body", &mut packet).unwrap();
    assert_eq!(packet[PACKET_LEN..], [0x5A; 9]);
}

#[test]
fn a_packet_depends_on_the_callers_random_numbers_alone() {
    let nodes = Nodes::new();
    assert_eq!(nodes.packet(2), nodes.packet(2));
    assert_ne!(nodes.packet(2)[..32], nodes.packet(3)[..32]);
}

#[test]
fn a_hop_or_destination_behind_a_relay_is_refused() {
    let nodes = Nodes::new();
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
    let mut nodes = Nodes::new();
    nodes.path[1].address = address([0; 4], 0, 0, 0xa1);
    let mut packet = nodes.packet(5);
    assert!(matches!(nodes.walk(&mut packet), Ok(Opened::Exit { .. })));
}

#[test]
fn a_longer_delay_than_there_is_room_for_is_cut() {
    let nodes = Nodes::new();
    let mut path = nodes.path;
    path[0].delay_ms = u16::MAX;
    let mut packet = vec![0; PACKET_LEN];
    FORMAT.build(&mut rng(6), &path, &NO_ADDRESS, b"", &mut packet).unwrap();
    match nodes.open(0, &mut packet).unwrap() {
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
