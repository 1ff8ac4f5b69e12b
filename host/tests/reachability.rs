//! Where a host can be reached: events of connections, circuit relays, AutoNAT, all on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::time::Duration;

use libp2p::{Multiaddr, PeerId};
use support::{Node, Setup, TCP, all_sent, until, within};
use wakumix_host::{AutonatTimes, CircuitRelayLimits};
use wakumix_mix::HopAddress;
use wakumix_role_api::host::{
    AfterVisit, HostAddresses, PeerEvent, Reachability, ReadRule, RequestFailure, SendFailure,
};

/// Nobody listens there.
const NOWHERE: &str = "/ip4/127.0.0.1/tcp/1";

/// A host in a net where loopback addresses count.
fn local(addresses: &[&str]) -> Setup {
    let mut setup = Setup::listening(addresses);
    setup.config.allow_private = true;
    setup
}

async fn relay(limits: CircuitRelayLimits) -> Node {
    let mut setup = local(&[TCP]);
    setup.config.circuit_relay = Some(limits);
    setup.start().await
}

/// A host that does not listen and asks for a reservation.
async fn behind(relay: &Node) -> Node {
    let mut setup = local(&[]);
    setup.config.relay_reservations = vec![relay.full_address(0)];
    setup.start().await
}

/// The address in a header of a node behind a relay.
async fn relayed_hop(node: &Node) -> HopAddress {
    let addresses = node.addresses(|addresses| !addresses.relayed.is_empty()).await;
    HopAddress::from_multiaddr(&addresses.relayed[0], node.peer()).expect("a header can carry it")
}

fn connected(wanted: PeerId) -> impl Fn(PeerEvent) -> Option<Option<Multiaddr>> {
    move |event| match event {
        PeerEvent::Connected { peer, dialled } if peer == wanted => Some(dialled),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_who_connects_what_it_is_and_that_it_is_gone() {
    let (mut here, mut there) = (local(&[TCP]).start().await, local(&[TCP]).start().await);
    let (here_peer, there_peer) = (here.peer(), there.peer());
    here.connect(there.full_address(0)).await;
    let dialled = here.event(connected(there_peer)).await;
    assert_eq!(dialled.as_ref(), there.host.listen_addresses().first());
    assert_eq!(there.event(connected(here_peer)).await, None);
    let (protocols, addresses) = here
        .event(|event| match event {
            PeerEvent::Identified { peer, protocols, addresses } if peer == there_peer => Some((protocols, addresses)),
            _ => None,
        })
        .await;
    assert!(protocols.iter().any(|protocol| protocol == "/mix/1.0.0"), "{protocols:?}");
    assert!(addresses.contains(&there.host.listen_addresses()[0]), "{addresses:?}");
    there.stop().await;
    here.event(|event| (event == PeerEvent::Disconnected { peer: there_peer }).then_some(())).await;
}

/// Who dials in proves its key, and nothing of the addresses that it claims: only a connection of this node's own does.
#[tokio::test(flavor = "multi_thread")]
async fn a_visit_dials_a_peer_that_has_dialled_in_and_a_false_address_fails_though_it_is_connected() {
    let (mut here, mut there) = (local(&[TCP]).start().await, local(&[TCP]).start().await);
    let (here_peer, there_peer) = (here.peer(), there.peer());
    there.connect(here.full_address(0)).await;
    assert_eq!(here.event(connected(there_peer)).await, None);
    let read = ReadRule::LengthPrefixed { max: 100 };
    let handle = here.handle.clone();
    let visit = |address: Multiaddr| {
        let (handle, timeout) = (handle.clone(), Duration::from_secs(30));
        async move { handle.visit(there_peer, vec![address], "/test/1", Vec::new(), read, timeout).await }
    };
    assert_eq!(visit(NOWHERE.parse().unwrap()).await, Err(RequestFailure::DialFailed));
    let address = there.host.listen_addresses()[0].clone();
    assert_eq!(visit(address.clone()).await, Err(RequestFailure::Unsupported), "it answers there");
    let reached = here.event(|event| match event {
        PeerEvent::Reached { peer, address } => Some((peer, address)),
        _ => None,
    });
    assert_eq!(reached.await, (there_peer, address.clone()));
    assert_eq!(visit(address).await, Err(RequestFailure::Unsupported), "over the same connection");
    assert_eq!(here.metric("waku_mix_dials_total{outcome=\"connected\"}"), 1);
    there.event(|event| matches!(event, PeerEvent::Reached { peer, .. } if peer == here_peer).then_some(())).await;
}

/// Visits the other one at its own address.
async fn visit(one: &Node, other: &Node) {
    let (read, address) = (ReadRule::LengthPrefixed { max: 100 }, other.host.listen_addresses()[0].clone());
    let timeout = Duration::from_secs(30);
    let answer = one.handle.visit(other.peer(), vec![address], "/test/1", Vec::new(), read, timeout).await;
    assert_eq!(answer, Err(RequestFailure::Unsupported), "it answers there");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hops_that_have_visited_each_other_both_keep_the_same_connection_until_packets_take_the_other() {
    let [mut one, mut other] = [local(&[TCP]).start().await, local(&[TCP]).start().await];
    if one.peer() > other.peer() {
        std::mem::swap(&mut one, &mut other);
    }
    let inbound = |node: &Node| node.metric("waku_mix_inbound_connections");
    for _ in 0..2 {
        visit(&one, &other).await;
        visit(&other, &one).await;
        until(async || (inbound(&one), inbound(&other)) == (1, 1)).await;
        for (node, peer) in [(&one, other.peer()), (&other, one.peer())] {
            node.handle.end_visit(peer, AfterVisit::KeepOne);
        }
        until(async || (inbound(&one), inbound(&other)) == (0, 1)).await;
    }
    visit(&other, &one).await;
    until(async || inbound(&one) == 1).await;
    // The newest connection is the one that packets take.
    all_sent(vec![other.send(&one.hop(0), 1)]).await;
    other.handle.end_visit(one.peer(), AfterVisit::KeepOne);
    visit(&one, &other).await;
    assert_eq!((inbound(&one), inbound(&other)), (1, 1));
    for (node, peer) in [(&one, other.peer()), (&other, one.peer())] {
        node.handle.end_visit(peer, AfterVisit::Leave);
    }
    until(async || (inbound(&one), inbound(&other)) == (1, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_once_that_a_peer_answers_at_none_of_its_addresses() {
    let (mut here, nobody) = (local(&[]).start().await, Setup::listening(&[]).identity.public().to_peer_id());
    let other = local(&[TCP]).start().await;
    let addresses = [NOWHERE.parse().unwrap(), other.host.listen_addresses()[0].clone()];
    let timeout = Duration::from_secs(30);
    let read = ReadRule::Nothing;
    let answer = here.handle.request(nobody, addresses.to_vec(), "/test/1", Vec::new(), read, timeout).await;
    assert_eq!(answer, Err(RequestFailure::DialFailed));
    let dialled = here.event(|event| match event {
        PeerEvent::DialFailed { peer, addresses, .. } if peer == nobody => Some(addresses),
        _ => None,
    });
    let dialled = dialled.await;
    assert!(addresses.iter().all(|address| dialled.contains(address)) || dialled == addresses[1..], "{dialled:?}");
    assert!(here.events.is_empty(), "the wrong peer at the second address is no connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_list_of_kept_peers_leaves_open_connections() {
    let here = local(&[]).start().await;
    let (first, second) = (local(&[TCP]).start().await, local(&[TCP]).start().await);
    here.connect(first.full_address(0)).await;
    here.handle.keep_connected(vec![second.full_address(0)]).await;
    here.peers(2).await;
    assert_eq!(here.metric("waku_mix_dials_total{outcome=\"connected\"}"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_flow_both_ways_through_a_relay() {
    let relay = relay(CircuitRelayLimits::default()).await;
    let mut hidden = behind(&relay).await;
    let mut open = local(&[TCP]).start().await;
    let hop = relayed_hop(&hidden).await;
    assert_eq!((hop.relay(), hop.peer()), (Some(relay.peer()), hidden.peer()));

    let hidden_peer = hidden.peer();
    all_sent((0..100).map(|number| open.send(&hop, number)).collect()).await;
    assert_eq!(hidden.receive_numbers(100).await, (0..100).collect::<Vec<_>>());
    let dialled = open.event(connected(hidden_peer)).await.unwrap();
    assert_eq!(dialled, hop.multiaddr(), "a peer behind a relay is connected like any other");

    // Back over the same connection, whatever the address says.
    let wrong = HopAddress::from_multiaddr(&NOWHERE.parse().unwrap(), open.peer()).unwrap();
    all_sent((0..100).map(|number| hidden.send(&wrong, number)).collect()).await;
    assert_eq!(open.receive_numbers(100).await, (0..100).collect::<Vec<_>>());
    assert_eq!(hidden.handle.status().await.unwrap().connected_peers, 2, "the relay and the other hop");
    assert_eq!(open.handle.status().await.unwrap().connected_peers, 2);
    for node in [&hidden, &open, &relay] {
        assert!(node.handle.status().await.unwrap().listen_addresses.len() < 2);
        node.assert_balanced();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_to_a_connected_peer_needs_no_address() {
    let (mut here, mut there) = (local(&[]).start().await, local(&[TCP]).start().await);
    here.connect(there.full_address(0)).await;
    let wrong = HopAddress::from_multiaddr(&NOWHERE.parse().unwrap(), here.peer()).unwrap();
    there.peers(1).await;
    all_sent(vec![there.send(&wrong, 7)]).await;
    assert_eq!(here.receive_number().await, 7);
    all_sent(vec![here.send(&there.hop(0), 8)]).await;
    assert_eq!(there.receive_number().await, 8);
    assert_eq!(there.metric("waku_mix_dials_total{outcome=\"failed\"}"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_gives_no_more_reservations_than_it_may() {
    let relay = relay(CircuitRelayLimits { reservations: 1, ..CircuitRelayLimits::default() }).await;
    let first = behind(&relay).await;
    relayed_hop(&first).await;
    let second = behind(&relay).await;
    second.peers(1).await;
    let denied = "libp2p_relay_events_total{event=\"ReservationReqDenied\"}";
    until(async || relay.metric(denied) > 0).await;
    assert!(second.host.addresses().borrow().relayed.is_empty());
    assert!(!first.host.addresses().borrow().relayed.is_empty());
    // The place of the first is free once it is gone, and the second still asks.
    first.stop().await;
    relayed_hop(&second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_makes_no_more_circuits_than_it_may() {
    let relay = relay(CircuitRelayLimits { circuits: 1, ..CircuitRelayLimits::default() }).await;
    let mut hidden = behind(&relay).await;
    let hop = relayed_hop(&hidden).await;
    let (first, second) = (local(&[]).start().await, local(&[]).start().await);
    all_sent(vec![first.send(&hop, 1)]).await;
    assert_eq!(hidden.receive_number().await, 1);
    assert_eq!(within(second.send(&hop, 2)).await.unwrap(), Err(SendFailure::DialFailed));
    all_sent(vec![first.send(&hop, 3)]).await;
    assert_eq!(hidden.receive_number().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circuit_that_reached_its_bound_of_bytes_is_made_anew() {
    let limits = CircuitRelayLimits { circuit_bytes: 64 * 1024, ..CircuitRelayLimits::default() };
    let relay = relay(limits).await;
    let mut hidden = behind(&relay).await;
    let hop = relayed_hop(&hidden).await;
    let (open, peer) = (local(&[]).start().await, hidden.peer());
    let mut open = open;
    all_sent((0..10).map(|number| open.send(&hop, number)).collect()).await;
    assert_eq!(hidden.receive_numbers(10).await.len(), 10);
    open.event(connected(peer)).await;
    // What was under way when the relay cut the circuit may be lost, as with any connection; what comes later is not.
    let cut: Vec<_> = (10..30).map(|number| open.send(&hop, number)).collect();
    for outcome in cut {
        within(outcome).await.unwrap().ok();
    }
    open.event(|event| (event == PeerEvent::Disconnected { peer }).then_some(())).await;
    all_sent(vec![open.send(&hop, 99)]).await;
    while hidden.receive_number().await != 99 {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reservation_is_made_again() {
    let relay_node = relay(CircuitRelayLimits::default()).await;
    let (address, identity) = (relay_node.host.listen_addresses()[0].to_string(), relay_node.identity.clone());
    let hidden = behind(&relay_node).await;
    relayed_hop(&hidden).await;
    relay_node.stop().await;
    hidden.addresses(|addresses| addresses.relayed.is_empty()).await;
    let mut setup = local(&[&address]);
    setup.config.circuit_relay = Some(CircuitRelayLimits::default());
    setup.identity = identity;
    let _relay = setup.start().await;
    relayed_hop(&hidden).await;
}

fn asking(setup: &mut Setup) {
    let often = Duration::from_millis(100);
    setup.config.autonat = Some(AutonatTimes { first: often, retry: often, refresh: often });
}

async fn askable(is_relay: bool) -> Node {
    let mut setup = local(&[TCP]);
    setup.config.autonat = Some(AutonatTimes::default());
    setup.config.circuit_relay = is_relay.then(CircuitRelayLimits::default);
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_two_others_can_dial_knows_it_and_where() {
    let mut setup = local(&[TCP]);
    asking(&mut setup);
    let (here, first, second) = (setup.start().await, askable(false).await, askable(false).await);
    here.handle.keep_connected(vec![first.full_address(0)]).await;
    here.peers(1).await;
    assert_eq!(here.host.addresses().borrow().reachability, Reachability::Unknown);
    here.handle.keep_connected(vec![first.full_address(0), second.full_address(0)]).await;
    let addresses = here.addresses(|addresses| addresses.reachability == Reachability::Public).await;
    assert_eq!(addresses.external, here.host.listen_addresses());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_nobody_can_dial_knows_it_and_reserves_at_relays_that_it_finds() {
    // Others see it at 127.0.0.1, where it does not listen: as behind a NAT.
    let mut setup = local(&["/ip4/127.0.0.2/tcp/0"]);
    asking(&mut setup);
    let here = setup.start().await;
    let (first, second, third) = (askable(true).await, askable(false).await, askable(false).await);
    here.handle.keep_connected([&first, &second, &third].map(|node| node.full_address(0)).to_vec()).await;
    // Three peers see it there, which would do if nobody had tried to dial.
    let was_told = |addresses: &HostAddresses| !addresses.external.is_empty();
    let addresses = here.addresses(|addresses| was_told(addresses) || !addresses.relayed.is_empty()).await;
    assert_eq!((addresses.reachability, addresses.external), (Reachability::Private, vec![]));
    let relayed = relayed_hop(&here).await;
    assert_eq!(relayed.relay(), Some(first.peer()));
}

#[tokio::test(flavor = "multi_thread")]
async fn three_peers_that_see_the_same_address_are_believed() {
    let here = local(&[TCP]).start().await;
    let mut others = Vec::new();
    for _ in 0..3 {
        others.push(local(&[TCP]).start().await);
    }
    here.handle.keep_connected(others.iter().map(|node| node.full_address(0)).collect()).await;
    let addresses = here.addresses(|addresses| !addresses.external.is_empty()).await;
    assert_eq!(addresses.external, here.host.listen_addresses());
    assert_eq!(addresses.reachability, Reachability::Unknown);
}
