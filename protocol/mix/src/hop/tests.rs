//! Hops in memory: packets pass them byte for byte as they pass nodes.

use std::sync::Arc;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use wakumix_sphinx::{ADDRESS_LEN, HEADER_LEN, PathHop};

use super::*;
use crate::testing::{hops, mix_key, node, peer, rng, sphinx};
use crate::{COVER_CODEC, ReplayTags, Request, encode_cover, encode_reply};

const NOWHERE: AddressBytes = [0; ADDRESS_LEN];
const DELAY_MS: u16 = 40;

fn policy(own: u16) -> NextHopPolicy {
    NextHopPolicy { allow_private_addresses: true, ..NextHopPolicy::new(peer(own)) }
}

fn hop(seed: u16) -> SingleKeyHop {
    SingleKeyHop {
        format: Arc::new(sphinx()),
        key: mix_key(seed),
        tags: ReplayTags::new(8),
        policy: policy(seed),
        delay: ForwardDelay { law: DelayLaw::None, max: Duration::from_secs(1) },
    }
}

fn nobody(_: &PeerId) -> Option<HopAddress> {
    None
}

/// The path of [`hops`] with a delay at its first two hops.
fn path() -> [PathHop; 3] {
    hops().map(|hop| PathHop { delay_ms: DELAY_MS, ..hop })
}

fn packet(seed: u64, destination: &AddressBytes, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; sphinx().profile().packet_len()];
    sphinx().build(&mut rng(seed), &path(), destination, body, &mut packet).unwrap();
    packet
}

fn handle(hop: &mut SingleKeyHop, packet: &mut [u8]) -> HopDecision<ForwardStep> {
    hop.handle(&mut rng(99), &nobody, packet)
}

/// The reason and kind of a refusal.
fn refused<F>(decision: &HopDecision<F>) -> Option<(DropReason, Option<HopKind>)> {
    match decision {
        HopDecision::Refused { reason, kind } => Some((*reason, *kind)),
        _ => None,
    }
}

/// Takes a packet through the first two hops of [`path`]; what the third decides.
fn through(packet: &mut [u8]) -> HopDecision<ForwardStep> {
    for seed in [1, 2] {
        match handle(&mut hop(seed), packet) {
            HopDecision::Forward(dispatch) => {
                let delay = Duration::from_millis(u64::from(DELAY_MS));
                assert_eq!(dispatch, ForwardStep { to: node(seed + 1).address, reach: Reach::Dial, delay });
            }
            other => panic!("hop {seed}: {other:?}"),
        }
    }
    handle(&mut hop(3), packet)
}

#[test]
fn a_request_passes_three_hops_and_ends_at_the_exit() {
    let there = node(9).address.encode();
    for destination in [NOWHERE, there] {
        let mut packet = packet(1, &destination, b"\x05/ping\x00hello");
        match through(&mut packet) {
            HopDecision::Exit { destination: found, body } => {
                assert_eq!((found, &packet[body]), (destination, &b"\x05/ping\x00hello"[..]));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reply_ends_at_the_sender_with_the_id_of_its_reply_block() {
    let (surb, keys) = sphinx().create_surb(&mut rng(5), &path()).unwrap();
    let mut packet = vec![0; sphinx().profile().packet_len()];
    sphinx().use_surb(&mut rng(6), surb, &encode_reply(b"answer"), &mut packet).unwrap();
    assert!(matches!(through(&mut packet), HopDecision::Reply { id } if id == keys.id()));
}

#[test]
fn cover_ends_without_a_destination_only() {
    let body = encode_cover(&mut rng(1), &sphinx());
    let id = CoverBody::read(&body).unwrap().id;
    assert!(matches!(through(&mut packet(1, &NOWHERE, &body)), HopDecision::Cover { id: found } if found == id));
    let short = [&[16][..], COVER_CODEC.as_bytes()].concat();
    assert!(matches!(through(&mut packet(1, &NOWHERE, &short)), HopDecision::Cover { id: None }));
    let elsewhere = node(9).address.encode();
    assert!(matches!(through(&mut packet(1, &elsewhere, &body)), HopDecision::Exit { .. }));
}

#[test]
fn the_same_packet_passes_once_and_a_damaged_copy_does_not_keep_it_out() {
    let mut first = hop(1);
    let mut good = packet(1, &NOWHERE, b"");
    let mut damaged = good.clone();
    damaged[HEADER_LEN - 1] ^= 1;
    assert_eq!(refused(&handle(&mut first, &mut damaged)), Some((DropReason::Mac, None)));
    assert!(matches!(handle(&mut first, &mut good.clone()), HopDecision::Forward(_)));
    assert_eq!(refused(&handle(&mut first, &mut good)), Some((DropReason::Duplicate, None)));
    assert_eq!(first.tags.len(), 1);
}

#[test]
fn a_hop_without_room_for_tags_lets_nothing_through() {
    let mut full = SingleKeyHop { tags: ReplayTags::new(0), ..hop(1) };
    let decision = handle(&mut full, &mut packet(1, &NOWHERE, b""));
    assert_eq!(refused(&decision), Some((DropReason::TagsFull, None)));
}

#[test]
fn no_packet_is_held_for_longer_than_the_node_allows() {
    let longest = Duration::from_millis(u64::from(DELAY_MS) - 1);
    let mut hasty = SingleKeyHop { delay: ForwardDelay { law: DelayLaw::None, max: longest }, ..hop(1) };
    let decision = handle(&mut hasty, &mut packet(1, &NOWHERE, b""));
    assert!(matches!(decision, HopDecision::Forward(ForwardStep { delay, .. }) if delay == longest));
}

#[test]
fn a_packet_that_may_not_go_on_counts_as_one_that_wanted_to() {
    let mut last = hop(1);
    last.policy.forward = false;
    let decision = handle(&mut last, &mut packet(1, &NOWHERE, b""));
    assert_eq!(refused(&decision), Some((DropReason::NotForwarding, Some(HopKind::Intermediate))));
    assert_eq!(decision.kind(), Some(HopKind::Intermediate));
}

#[test]
fn finds_the_key_of_a_packet_and_reports_those_whose_mac_was_wrong() {
    let keys = [4, 2, 1, 3].map(|seed| (seed, mix_key(seed)));
    let handles = || keys.iter().map(|(seed, key)| (*seed, key));
    let mut wrong = Vec::new();
    let packet = packet(1, &NOWHERE, b"");
    let found = authenticate(&sphinx(), handles(), &packet, |seed| wrong.push(*seed)).unwrap();
    assert_eq!((found.1, wrong), (1, vec![4, 2]));
    let nobodys = authenticate(&sphinx(), handles().take(2), &packet, |_| {});
    assert_eq!(nobodys.err(), Some(DropReason::Mac));
    assert_eq!(authenticate(&sphinx(), handles().take(0), &packet, |_| {}).err(), Some(DropReason::Mac));
    assert_eq!(authenticate(&sphinx(), handles(), &packet[1..], |_| {}).err(), Some(DropReason::Size));
}

fn at(ip: &str, port: u16) -> HopAddress {
    HopAddress::from_multiaddr(&format!("/ip4/{ip}/tcp/{port}").parse().unwrap(), peer(2)).unwrap()
}

/// How a hop reaches an address of a node that it does not know.
fn reach(policy: &NextHopPolicy, ip: &str, port: u16) -> Reach {
    let to = at(ip, port);
    let (address, reach) = policy.next_hop(&to.encode(), &nobody).unwrap();
    assert_eq!(address, to);
    reach
}

#[test]
fn dials_public_addresses_and_no_closed_network() {
    let usual = NextHopPolicy::new(peer(1));
    assert_eq!(reach(&usual, "8.8.8.8", 4000), Reach::Dial);
    for ip in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254"] {
        assert_eq!(reach(&usual, ip, 4000), Reach::ConnectedOnly, "{ip}");
    }
}

#[test]
fn dials_the_networks_that_the_operator_names() {
    let networks = vec!["127.0.0.0/8".parse().unwrap(), "10.1.0.0/16".parse().unwrap()];
    let named = NextHopPolicy { networks, ..NextHopPolicy::new(peer(1)) };
    for (ip, expected) in [
        ("127.0.0.1", Reach::Dial),
        ("10.1.2.3", Reach::Dial),
        ("10.2.0.1", Reach::ConnectedOnly),
        ("192.168.1.1", Reach::ConnectedOnly),
    ] {
        assert_eq!(reach(&named, ip, 4000), expected, "{ip}");
    }
}

#[test]
fn dials_the_ports_that_are_allowed_only_and_known_nodes_at_any() {
    let usual = NextHopPolicy::new(peer(1));
    for (port, expected) in [
        (22, Reach::ConnectedOnly),
        (80, Reach::ConnectedOnly),
        (443, Reach::Dial),
        (1023, Reach::ConnectedOnly),
        (1024, Reach::Dial),
        (65535, Reach::Dial),
    ] {
        assert_eq!(reach(&usual, "8.8.8.8", port), expected, "{port}");
    }
    let everywhere = NextHopPolicy { allow_private_addresses: true, ..usual.clone() };
    assert_eq!(reach(&everywhere, "10.0.0.1", 22), Reach::ConnectedOnly);
    let known = |asked: &PeerId| (*asked == peer(2)).then(|| at("8.8.8.8", 80));
    assert_eq!(usual.next_hop(&at("8.8.8.8", 22).encode(), &known), Ok((at("8.8.8.8", 80), Reach::Dial)));
}

#[test]
fn never_dials_the_unspecified_address_or_port_0() {
    for (ip, port) in [("0.0.0.0", 4000), ("8.8.8.8", 0)] {
        let networks = vec!["0.0.0.0/0".parse().unwrap()];
        let named = NextHopPolicy { networks, ports: vec![0..=65535], ..NextHopPolicy::new(peer(1)) };
        assert_eq!(reach(&named, ip, port), Reach::ConnectedOnly);
        let everywhere = NextHopPolicy { ports: vec![0..=65535], ..policy(1) };
        assert_eq!(reach(&everywhere, ip, port), Reach::ConnectedOnly, "also where private addresses are allowed");
    }
}

#[test]
fn a_known_node_is_dialled_where_the_directory_says() {
    let policy = NextHopPolicy::new(peer(1));
    let known = |asked: &PeerId| (*asked == peer(2)).then(|| at("10.0.0.7", 7000));
    let next = policy.next_hop(&at("127.0.0.1", 22).encode(), &known);
    assert_eq!(next, Ok((at("10.0.0.7", 7000), Reach::Dial)));
    let public = policy.next_hop(&at("8.8.8.8", 4000).encode(), &known);
    assert_eq!(public, Ok((at("8.8.8.8", 4000), Reach::Dial)));
}

#[test]
fn refuses_next_hops_that_are_not_addresses_or_are_this_node() {
    let refusal = |policy: NextHopPolicy, next: &AddressBytes| policy.next_hop(next, &nobody).err();
    for next in [NOWHERE, [0xff; ADDRESS_LEN], node(1).address.encode()] {
        assert_eq!(refusal(policy(1), &next), Some(DropReason::InvalidDestination));
    }
    let closed = NextHopPolicy { forward: false, ..policy(1) };
    assert_eq!(refusal(closed, &node(2).address.encode()), Some(DropReason::NotForwarding));
}

#[test]
fn debug_output_names_no_peer() {
    let decision = handle(&mut hop(1), &mut packet(1, &NOWHERE, b""));
    let text = format!("{decision:?}");
    assert_eq!(text, "Forward(redacted)");
    let HopDecision::Forward(dispatch) = decision else { panic!() };
    assert_eq!(format!("{dispatch:?}"), "ForwardStep(redacted)");
}

proptest! {
    #[test]
    fn a_damaged_packet_never_reaches_the_end_of_its_path_as_it_was(
        seed: u64,
        which in 0..3_u16,
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let request = Request { codec: "/ping", surbs: Vec::new(), data: b"hello" }.encode().unwrap();
        let mut bytes = packet(seed, &NOWHERE, &request);
        let mut rng: ChaCha20Rng = rng(seed);
        for own in 1..=3 {
            if own == which + 1 {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            match hop(own).handle(&mut rng, &nobody, &mut bytes) {
                HopDecision::Forward(_) => prop_assert!(own < 3),
                HopDecision::Refused { .. } => return Ok(()),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn bytes_that_are_not_a_packet_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
        let mut bytes = bytes;
        let is_refused = matches!(hop(1).handle(&mut rng(1), &nobody, &mut bytes), HopDecision::Refused { kind: None, .. });
        prop_assert!(is_refused);
    }
}
