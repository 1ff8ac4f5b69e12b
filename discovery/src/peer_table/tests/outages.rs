//! Who may come in while most of the nodes known before are gone, and what one group may hold.

use super::*;
use crate::pool::held;

impl World {
    /// So many nodes of these subnets that were reached.
    fn reached(&mut self, subnets: std::ops::Range<u32>) -> Vec<PeerId> {
        let peers: Vec<_> = subnets.clone().map(|_| secp256k1_peer()).collect();
        for (subnet, peer) in subnets.zip(&peers) {
            let key = PrivateKey::from_bytes([u8::try_from(subnet + 1).unwrap(); 32]).public();
            let report = PeerReport { addresses: at(subnet * 0x100), mix_key: Some(key), ..record(*peer, 1) };
            self.report(SourceName::Discv5, report).unwrap();
            self.reach(peer);
        }
        self.rule();
        peers
    }

    fn fail_all(&mut self, peers: &[PeerId]) {
        peers.iter().for_each(|peer| self.fail(peer));
        self.rule();
    }

    /// What happens at each tick.
    fn rule(&mut self) {
        self.table.expire(self.now);
        let held = held(&self.table, None, self.now);
        self.table.hold(&held, self.now);
    }

    fn wait(&mut self, seconds: u64) {
        self.pass(seconds);
        self.rule();
    }

    fn usable(&self, peers: &[PeerId]) -> usize {
        peers.iter().filter(|peer| self.state(peer) == PoolState::Usable).count()
    }

    fn entries(&mut self, subnets: std::ops::Range<u32>) -> Vec<PeerId> {
        let peers: Vec<_> = subnets.clone().map(|_| secp256k1_peer()).collect();
        for (subnet, peer) in subnets.zip(&peers) {
            let key = PrivateKey::from_bytes([u8::try_from(subnet + 1).unwrap(); 32]).public();
            let entry = PeerReport { addresses: at(subnet * 0x100), mix_key: Some(key), ..PeerReport::new(*peer, 0) };
            self.report(SourceName::Static, entry).unwrap();
        }
        self.rule();
        peers
    }
}

#[test]
fn unverified_peers_do_not_take_the_place_of_entries_that_are_merely_unreachable() {
    let mut world = World::new();
    let entries = world.entries(0..6);
    world.fail_all(&entries);
    let strangers = world.reached(100..106);
    assert_eq!((world.usable(&entries), world.usable(&strangers)), (0, 0));
    assert_eq!(world.state(&strangers[0]), PoolState::HeldBack);
    // The attack ends: who was known returns at once, who came meanwhile waits.
    entries.iter().for_each(|peer| world.reach(peer));
    world.rule();
    assert_eq!((world.usable(&entries), world.usable(&strangers)), (6, 0));
    world.wait(601);
    strangers.iter().for_each(|peer| world.reach(peer));
    world.rule();
    assert_eq!(world.usable(&strangers), 6);
}

#[test]
fn nodes_that_came_just_before_an_outage_do_not_profit_from_it() {
    let mut world = World::new();
    let honest = world.reached(0..20);
    world.wait(900);
    honest.iter().for_each(|peer| world.reach(peer));
    let sybils = world.reached(100..110);
    assert_eq!((world.usable(&honest), world.usable(&sybils)), (20, 10));
    world.fail_all(&honest[..16]);
    assert_eq!((world.usable(&honest), world.usable(&sybils)), (4, 0), "more than half are gone within a minute");
}

#[test]
fn nodes_that_go_one_by_one_make_no_outage() {
    let mut world = World::new();
    let honest = world.reached(0..20);
    world.wait(900);
    honest.iter().for_each(|peer| world.reach(peer));
    world.rule();
    for peer in &honest[..15] {
        world.wait(15);
        world.fail(peer);
    }
    world.rule();
    let late = world.reached(100..110);
    assert_eq!(world.usable(&late), 10);
}

#[test]
fn in_a_net_that_has_just_begun_nobody_who_is_left_is_a_unverified_peer() {
    let mut world = World::new();
    let all = world.reached(0..12);
    world.wait(30);
    world.fail_all(&all[..8]);
    assert_eq!(world.usable(&all), 4);
    let late = world.reached(100..104);
    assert_eq!(world.usable(&late), 0, "but who comes now");
}

#[test]
fn after_a_quarter_of_an_hour_without_any_node_all_are_tried_within_seconds() {
    let mut world = World::new();
    let all = world.reached(0..20);
    for _ in 0..90 {
        world.wait(10);
        for peer in &all {
            if world.node(peer).contact.is_due(world.now.at) {
                world.fail(peer);
            }
        }
        world.rule();
    }
    assert_eq!(world.usable(&all), 0);
    let longest = all.iter().map(|peer| world.now.until(world.node(peer).contact.due.unwrap())).max().unwrap();
    assert!(longest <= Duration::from_secs(10), "{longest:?}");
    world.reach(&all[0]);
    assert!(all[1..].iter().all(|peer| world.node(peer).contact.is_due(world.now.at)), "one is back: perhaps all are");
}

#[test]
fn one_subnet_one_family_and_one_source_have_their_share_and_no_more() {
    let mut world = World::with(Rules::of_cluster_2(secp256k1_peer(), 16_384));
    let honest = world.reached(0..20);
    let mut sybils = |count: u8, place: &dyn Fn(u32) -> Vec<Multiaddr>, operator: Option<&str>| {
        let peers: Vec<_> = (0..count).map(|_| secp256k1_peer()).collect();
        for (index, peer) in peers.iter().enumerate() {
            let secret = [&[count, u8::try_from(index).unwrap()][..], &[7; 30]].concat();
            let report = PeerReport {
                addresses: place(index.try_into().unwrap()),
                mix_key: Some(PrivateKey::from_bytes(secret.try_into().unwrap()).public()),
                operator: operator.map(str::to_owned),
                ..record(*peer, 1)
            };
            // Unverified of one /24 enter as others of it are reached.
            world.report(SourceName::Rendezvous, report).unwrap();
            world.reach(peer);
        }
        world.rule();
        (world.usable(&peers), peers)
    };
    let (of_subnet, mut all) = sybils(40, &|index| at(0x50_0000 + index), None);
    assert_eq!(of_subnet, 8);
    let (of_family, more) = sybils(60, &|index| at(0x60_0000 + index * 0x100), Some("them"));
    assert_eq!(of_family, 16);
    all.extend(more);
    all.extend(sybils(200, &|index| at(0x70_0000 + index * 0x100), None).1);
    assert_eq!(world.usable(&all), 64, "of one source");
    assert_eq!(world.usable(&honest), 20);
}

#[test]
fn a_copied_key_gains_its_copier_nothing() {
    let mut world = World::new();
    let honest = world.reached(0..5);
    world.wait(60);
    let copier = secp256k1_peer();
    let copy =
        |version, seed| PeerReport { addresses: at(0x50_0000), mix_key: Some(key(seed)), ..record(copier, version) };
    // Told in advance it is a copy all the same: the announcement came from its owner.
    let next = PeerReport { addresses: at(0), next_key: Some((key(77), world.now.unix + 300)), ..record(honest[0], 2) };
    world.report(SourceName::Discv5, next).unwrap();
    world.report(SourceName::Discv5, copy(1, 1)).unwrap();
    world.reach(&copier);
    world.rule();
    assert_eq!((world.usable(&honest), world.state(&copier)), (5, PoolState::HeldBack));
    world.wait(120);
    world.report(SourceName::Discv5, copy(2, 77)).unwrap();
    world.wait(180);
    honest.iter().chain([&copier]).for_each(|peer| world.reach(peer));
    world.rule();
    assert_eq!(world.node(&honest[0]).view.key, Some(key(77)));
    assert_eq!((world.usable(&honest), world.state(&copier)), (5, PoolState::HeldBack));
}

#[test]
fn of_seven_names_of_one_key_one_is_usable_and_the_operators_entry_before_all() {
    let mut world = World::new();
    let mut name = |place: u32| {
        let peer = secp256k1_peer();
        world.report(SourceName::Discv5, PeerReport { addresses: at(place * 0x100), ..record(peer, 1) }).unwrap();
        world.reach(&peer);
        world.wait(1);
        peer
    };
    let names: Vec<_> = (0..7).map(&mut name).collect();
    assert_eq!((world.usable(&names), world.state(&names[0])), (1, PoolState::Usable));
    let owner = secp256k1_peer();
    let entry = PeerReport { addresses: at(0x5000), mix_key: Some(key(1)), ..PeerReport::new(owner, 0) };
    world.report(SourceName::Static, entry).unwrap();
    world.rule();
    assert_eq!((world.usable(&names), world.state(&owner)), (0, PoolState::Usable));
}
