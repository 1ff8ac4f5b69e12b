//! The wire is the crate's: each side opens what the other made, byte for byte.

use proptest::prelude::*;
use sphinx_packet::header::delays::Delay;
use sphinx_packet::packet::ProcessedPacketData;
use sphinx_packet::route::{Destination, DestinationAddressBytes, Node, NodeAddressBytes};
use sphinx_packet::version::SINGLE_SEED_SURB_VERSION;
use sphinx_packet::{SURB, SURBMaterial, SphinxPacket, SphinxPacketBuilder, SurbReplyRecovery};
use wakumix_sphinx::{AddressBytes, Opened, PacketFormat, SurbId};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::second::{FORMAT, PACKET_LEN, PAYLOAD_LEN, nodes, odd};
use crate::support::{NO_ADDRESS, Nodes, address, body, rng};

/// A block of the crate, without what this project adds to it.
const CRATE_SURB_LEN: usize = 396;

/// The crate's 32 bytes for an address: the x coordinate.
fn coordinate(address: &AddressBytes) -> [u8; 32] {
    address[14..46].try_into().unwrap()
}

/// The crate's 8 bytes of delay: IPv4 address, port, parity, transport, milliseconds.
fn contact(address: &AddressBytes, delay_ms: u16) -> u64 {
    let [a, b, c, d, transport, high, low, ..] = *address;
    let flags = u16::from(address[13] == 3) << 15 | u16::from(transport) << 14;
    let [flags, rest] = (flags | delay_ms).to_be_bytes();
    u64::from_be_bytes([a, b, c, d, high, low, flags, rest])
}

fn secret(nodes: &Nodes, hop: usize) -> StaticSecret {
    StaticSecret::from(*nodes.keys[hop].as_bytes())
}

fn route(nodes: &Nodes) -> Vec<Node> {
    let node = |hop: usize| {
        let address = NodeAddressBytes::from_bytes(coordinate(&nodes.path[hop].address));
        Node::new(address, PublicKey::from(&secret(nodes, hop)))
    };
    (0..3).map(node).collect()
}

fn delays(nodes: &Nodes) -> Vec<Delay> {
    let next = |hop: usize| nodes.path.get(hop + 1).map_or(&NO_ADDRESS, |next| &next.address);
    (0..3).map(|hop| Delay::new_from_nanos(contact(next(hop), nodes.path[hop].delay_ms))).collect()
}

fn destination(address: &AddressBytes) -> Destination {
    let mut identifier = [0; 16];
    if *address != NO_ADDRESS {
        identifier[..8].copy_from_slice(&contact(address, 0).to_be_bytes());
    }
    let x = if *address == NO_ADDRESS { [0; 32] } else { coordinate(address) };
    Destination::new(DestinationAddressBytes::from_bytes(x), identifier)
}

/// What the crate makes of a packet at a hop.
fn process(nodes: &Nodes, hop: usize, packet: &[u8]) -> ProcessedPacketData {
    SphinxPacket::from_bytes(packet).unwrap().process(&secret(nodes, hop)).unwrap().data
}

/// Walks a packet through both implementations at once; they must agree on every byte. Returns the packet as it
/// reaches the last hop.
fn walk_both(nodes: &Nodes, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for hop in 0..2 {
        let theirs = process(nodes, hop, &packet);
        let expanded = SphinxPacket::from_bytes(&packet).unwrap().header;
        let expanded = expanded.compute_expanded_shared_secret(&secret(nodes, hop));
        let tag = FORMAT.authenticate(&nodes.keys[hop], &packet).unwrap().tag();
        assert_eq!(tag.as_bytes(), expanded.replay_tag());
        nodes.forward(&*FORMAT, hop, &mut packet);
        let ProcessedPacketData::ForwardHop { next_hop_packet, next_hop_address, delay } = theirs else {
            panic!("hop {hop} is not the last");
        };
        assert_eq!(next_hop_packet.to_bytes(), packet);
        let next = &nodes.path[hop + 1].address;
        assert_eq!(next_hop_address.to_bytes(), coordinate(next));
        assert_eq!(delay.to_nanos(), contact(next, nodes.path[hop].delay_ms));
    }
    packet
}

proptest! {
    // Each case walks packets through several hops, twice.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_crate_opens_what_is_built_here(len in 0..=PAYLOAD_LEN - 17, elsewhere in any::<bool>(), seed in any::<u64>()) {
        let nodes = nodes();
        let target = if elsewhere { odd(address([10, 0, 0, 9], 1, 9000, 0xdd)) } else { NO_ADDRESS };
        let body = body(len);
        let mut packet = vec![0; PACKET_LEN];
        FORMAT.build(&mut rng(seed), &nodes.path, &target, &body, &mut packet).unwrap();
        let packet = walk_both(&nodes, &packet);
        let ProcessedPacketData::FinalHop { destination: found, identifier, payload } = process(&nodes, 2, &packet) else {
            panic!("the last hop");
        };
        prop_assert_eq!(Destination::new(found, identifier), destination(&target));
        prop_assert_eq!(payload.recover_plaintext().unwrap(), body);
    }

    #[test]
    fn what_the_crate_builds_is_opened_here(len in 0..=PAYLOAD_LEN - 17, elsewhere in any::<bool>(), key in any::<[u8; 32]>()) {
        let nodes = nodes();
        let target = if elsewhere { odd(address([10, 0, 0, 9], 1, 9000, 0xdd)) } else { NO_ADDRESS };
        let body = body(len);
        let packet = SphinxPacketBuilder::new()
            .with_payload_size(PAYLOAD_LEN)
            .with_initial_secret(&StaticSecret::from(key))
            .build_packet(&body, &route(&nodes), &destination(&target), &delays(&nodes))
            .unwrap()
            .to_bytes();
        let mut packet = walk_both(&nodes, &packet);
        match nodes.open(&*FORMAT, 2, &mut packet).unwrap() {
            Opened::Exit { destination, body: range } => {
                prop_assert_eq!(destination, target);
                prop_assert_eq!(&packet[range], &body[..]);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn the_crate_uses_a_reply_block_made_here(len in 0..=PAYLOAD_LEN - 17, seed in any::<u64>()) {
        let nodes = nodes();
        let (surb, keys) = FORMAT.create_surb(&mut rng(seed), &nodes.path).unwrap();
        let body = body(len);
        let theirs = SURB::from_bytes(&surb.to_bytes()[..CRATE_SURB_LEN]).unwrap();
        let (packet, first) = theirs.use_surb(&body, PAYLOAD_LEN).unwrap();
        prop_assert_eq!(first.to_bytes(), coordinate(&surb.hop));
        let mut ours = vec![0; PACKET_LEN];
        FORMAT.use_surb(&mut rng(0), surb, &body, &mut ours).unwrap();
        prop_assert_eq!(packet.to_bytes(), ours);

        let mut packet = walk_both(&nodes, &packet.to_bytes());
        prop_assert_eq!(reply_id(&nodes, &mut packet), keys.id());
        let found = FORMAT.open_reply(&keys, &mut packet).unwrap();
        prop_assert_eq!(&packet[found], &body[..]);
    }

    #[test]
    fn a_reply_block_of_the_crate_is_used_here(len in 0..=PAYLOAD_LEN - 17, key in any::<[u8; 32]>(), id in 1u128..) {
        let nodes = nodes();
        let id = id.to_be_bytes();
        let target = Destination::new(DestinationAddressBytes::from_bytes([0; 32]), id);
        let material = SURBMaterial::new(route(&nodes), delays(&nodes), target, SINGLE_SEED_SURB_VERSION);
        let (surb, recovery) = SURB::new_recoverable(StaticSecret::from(key), material).unwrap();
        let first = &nodes.path[0].address;
        let bytes = [&surb.to_bytes()[..], &contact(first, 0).to_be_bytes()].concat();
        let surb = FORMAT.read_surb(&bytes).unwrap();
        prop_assert_eq!(&surb.hop, first);

        let body = body(len);
        let mut packet = vec![0; PACKET_LEN];
        FORMAT.use_surb(&mut rng(0), surb, &body, &mut packet).unwrap();
        let mut packet = walk_both(&nodes, &packet);
        prop_assert_eq!(recover(&nodes, &recovery, &packet), body);
        prop_assert_eq!(reply_id(&nodes, &mut packet), SurbId::from_bytes(id));
    }
}

/// Opens a reply at its sender, as far as its id.
fn reply_id(nodes: &Nodes, packet: &mut [u8]) -> SurbId {
    match nodes.open(&*FORMAT, 2, packet).unwrap() {
        Opened::Reply { id } => id,
        other => panic!("{other:?}"),
    }
}

/// What the crate reads from a reply at its sender.
fn recover(nodes: &Nodes, recovery: &SurbReplyRecovery, packet: &[u8]) -> Vec<u8> {
    match process(nodes, 2, packet) {
        ProcessedPacketData::FinalHop { payload, .. } => recovery.recover_plaintext(payload).unwrap(),
        ProcessedPacketData::ForwardHop { .. } => panic!("the last hop"),
    }
}
