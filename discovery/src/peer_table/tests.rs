//! The rules of the peer table, one by one. `histories` tries them in random order.

mod histories;
mod hostile;
mod keys;
mod outages;

use std::time::Duration;

use multiaddr::Multiaddr;
use rand::{SeedableRng, rngs::StdRng};
use wakumix_role_api::directory::PoolState;
use wakumix_sphinx::{PrivateKey, PublicKey, WireFormat};
use wakumix_waku::record::Shards;

use super::{
    subnet_limits::{MAX_UNTRIED_PER_ADDRESS, MAX_UNTRIED_PER_SUBNET},
    *,
};

const START: UnixSeconds = 1_000_000;

fn secp256k1_peer() -> PeerId {
    let secret = libp2p_identity::secp256k1::Keypair::generate();
    libp2p_identity::Keypair::from(secret).public().to_peer_id()
}

fn key(seed: u8) -> PublicKey {
    PrivateKey::from_bytes([seed; 32]).public()
}

fn address(text: &str) -> Vec<Multiaddr> {
    vec![text.parse().unwrap()]
}

fn at(index: u32) -> Vec<Multiaddr> {
    let [_, b, c, d] = index.to_be_bytes();
    address(&format!("/ip4/8.{b}.{c}.{d}/tcp/60000"))
}

/// A mix node's record of cluster 2 with key 1.
fn record(peer: PeerId, version: u64) -> PeerReport {
    PeerReport {
        addresses: at(1),
        capabilities: Some(Capabilities::MIX | Capabilities::RELAY),
        shards: Some(Shards { cluster: 2, shards: vec![0] }),
        mix_key: Some(key(1)),
        ..PeerReport::new(peer, version)
    }
}

struct World {
    table: PeerTable,
    rng: StdRng,
    now: Now,
}

impl World {
    fn new() -> Self {
        Self::with(Rules::of_cluster_2(secp256k1_peer(), 400))
    }

    /// With a peer of which nothing is known yet.
    fn with_peer() -> (Self, PeerId) {
        (Self::new(), secp256k1_peer())
    }

    fn with(rules: Rules) -> Self {
        let table = PeerTable::new(rules);
        Self { table, rng: StdRng::seed_from_u64(7), now: Now { unix: START, at: Instant::now() } }
    }

    fn pass(&mut self, seconds: u64) {
        self.now.unix += seconds;
        self.now.at += Duration::from_secs(seconds);
        self.table.expire(self.now);
    }

    fn report(&mut self, source: SourceName, report: PeerReport) -> Result<bool, Refusal> {
        let result = self.table.report(source, report, self.now, &mut self.rng);
        self.table.assert_whole();
        result
    }

    fn reach(&mut self, peer: &PeerId) {
        self.table.reached(peer, self.now, &mut self.rng);
    }

    fn fail(&mut self, peer: &PeerId) {
        // Failures at one moment are one.
        self.now.at += Duration::from_secs(1);
        self.table.checking(peer, self.now);
        self.table.checked(peer, CheckOutcome::Failed, self.now, &mut self.rng);
    }

    fn node(&self, peer: &PeerId) -> &Node {
        self.table.get(peer).unwrap()
    }

    fn state(&self, peer: &PeerId) -> PoolState {
        self.node(peer).state.unwrap().0
    }
}

impl PeerTable {
    /// What holds at any time.
    pub(super) fn assert_whole(&self) {
        assert!(self.nodes.len() <= self.rules.max_nodes);
        assert!(!self.nodes.contains_key(&self.rules.me));
        for source in SourceName::ALL {
            let unverified = self.nodes().filter(|node| !node.is_kept() && node.introduced_by == source);
            let of_source = unverified.count();
            assert_eq!(of_source, self.quota.of(source));
            assert!(of_source <= self.quota.share(), "{source:?} has {of_source}");
        }
        let mut subnet_limits = SubnetLimits::default();
        for node in self.nodes() {
            assert!(!node.is_forgotten());
            if node.is_untried() {
                subnet_limits.enter(&node.blocks);
            }
        }
        assert_eq!(subnet_limits, self.subnet_limits);
    }
}

#[test]
fn what_a_peer_says_over_a_connection_adds_to_its_records_for_an_hour() {
    let (mut world, peer) = World::with_peer();
    let service = Capabilities::LIGHTPUSH | Capabilities::RELAY;
    let said = |world: &World| PeerReport {
        capabilities: Some(service),
        expires: Some(world.now.unix + 3600),
        ..PeerReport::new(peer, world.now.unix)
    };
    let report = said(&world);
    assert_eq!(world.report(SourceName::Identify, report.clone()), Err(Refusal::Irrelevant), "it finds no nodes");
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    let before = world.node(&peer).view.clone();
    assert_eq!(world.report(SourceName::Identify, report), Ok(true));
    let view = &world.node(&peer).view;
    assert!(view.capabilities.unwrap().contains(service | before.capabilities.unwrap()));
    assert_eq!((view.mixes, view.key, &view.addresses), (before.mixes, before.key, &before.addresses));
    world.pass(3601);
    assert_eq!(world.node(&peer).view.capabilities, before.capabilities);
}

#[test]
fn what_a_peer_says_over_a_connection_does_not_make_it_mix_nor_outlive_its_records() {
    let (mut world, peer) = World::with_peer();
    let record = PeerReport { expires: Some(world.now.unix + 60), ..record(peer, 1) };
    world.report(SourceName::Descriptors, record).unwrap();
    let said = PeerReport { capabilities: Some(Capabilities::LIGHTPUSH), ..PeerReport::new(peer, 1) };
    world.report(SourceName::Identify, said).unwrap();
    world.pass(61);
    assert_eq!(world.state(&peer), PoolState::Expired);
}

#[test]
fn each_broken_rule_has_its_reason() {
    let (mut world, peer) = World::with_peer();
    let good = || record(peer, 1);
    let me = world.table.rules().me;
    let nothing = Some(Capabilities::FILTER);
    let table = [
        (record(me, 1), Refusal::Irrelevant),
        (PeerReport { expires: Some(START), ..good() }, Refusal::Expired),
        (PeerReport { shards: Some(Shards { cluster: 3, shards: vec![] }), ..good() }, Refusal::Cluster),
        (PeerReport { shards: None, ..good() }, Refusal::Cluster),
        (PeerReport { capabilities: nothing, mix_key: None, ..good() }, Refusal::Irrelevant),
        (PeerReport { capabilities: None, mix_key: None, ..good() }, Refusal::Irrelevant),
        (PeerReport { addresses: address("/ip4/10.0.0.1/tcp/1"), ..good() }, Refusal::Address),
        (PeerReport { addresses: Vec::new(), ..good() }, Refusal::Address),
    ];
    for (report, refusal) in table {
        assert_eq!(world.report(SourceName::Discv5, report), Err(refusal));
    }
    assert_eq!(world.table.len(), 0);
    assert_eq!(world.report(SourceName::Discv5, good()), Ok(true));
    assert_eq!(world.report(SourceName::Discv5, good()), Ok(false), "the same again is no news");
}

#[test]
fn an_older_record_of_a_source_is_a_replay() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, record(peer, 5)).unwrap();
    let old = PeerReport { addresses: at(2), ..record(peer, 4) };
    assert_eq!(world.report(SourceName::Discv5, old.clone()), Err(Refusal::Replayed));
    assert_eq!(world.report(SourceName::Dns, old), Ok(true), "another source's first word is no replay");
    let view = &world.node(&peer).view;
    assert_eq!(view.addresses, [at(1), at(2)].concat(), "but the higher sequence number stands first");
    assert_eq!(world.node(&peer).sources(), [SourceName::Discv5, SourceName::Dns]);
}

#[test]
fn a_newer_record_replaces_what_it_tells_and_leaves_the_rest() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    let moved = PeerReport { addresses: at(9), mix_key: None, ..record(peer, 2) };
    assert_eq!(world.report(SourceName::Discv5, moved), Ok(true));
    let view = &world.node(&peer).view;
    assert_eq!((view.addresses.clone(), view.key), (at(9), Some(key(1))));
}

#[test]
fn the_more_trusted_source_wins_field_by_field() {
    let (mut world, peer) = World::with_peer();
    let told = |seed: u8| PeerReport { mix_key: Some(key(seed)), addresses: at(seed.into()), ..record(peer, 1) };
    for (source, seed) in [(SourceName::Rendezvous, 1), (SourceName::ServiceDiscovery, 2), (SourceName::Discv5, 3)] {
        world.report(source, told(seed)).unwrap();
        assert_eq!(world.node(&peer).view.key, Some(key(seed)), "{source:?}");
    }
    let entry = PeerReport { addresses: at(9), mix_key: Some(key(9)), ..PeerReport::new(peer, 0) };
    world.report(SourceName::Static, entry).unwrap();
    assert_eq!(world.node(&peer).view.key, Some(key(9)), "the operator's word");
    world.report(SourceName::Descriptors, told(4)).unwrap();
    let node = world.node(&peer);
    assert_eq!(node.view.key, Some(key(4)), "the peer's own signed word on its key");
    assert_eq!(node.view.hop.as_ref().map(wakumix_mix::HopAddress::multiaddr), at(9).pop(), "not on the address");
    assert_eq!(node.view.addresses.len(), 5);
}

#[test]
fn what_the_operator_says_a_peer_offers_hides_nothing_that_it_says_itself() {
    let service = || PeerReport {
        addresses: at(1),
        capabilities: Some(Capabilities::RELAY | Capabilities::LIGHTPUSH),
        ..PeerReport::new(secp256k1_peer(), 0)
    };
    for source in [SourceName::Descriptors, SourceName::Discv5] {
        let (mut world, written) = (World::new(), service());
        let peer = written.peer;
        let told = Some(Capabilities::MIX | Capabilities::STORE);
        world.report(SourceName::Static, written.clone()).unwrap();
        assert_eq!(world.node(&peer).view.capabilities, written.capabilities);
        world.report(source, PeerReport { capabilities: told, ..record(peer, 1) }).unwrap();
        let all = Capabilities::RELAY | Capabilities::LIGHTPUSH | Capabilities::MIX | Capabilities::STORE;
        assert_eq!(world.node(&peer).view.capabilities, Some(all), "{source:?}");
        assert!(world.node(&peer).view.mixes);
    }
}

#[test]
fn headers_carry_no_address_that_a_descriptor_of_this_run_has_left_out() {
    let mut world = World::new();
    let (peer, now) = (secp256k1_peer(), world.now);
    let hop = |world: &World| world.node(&peer).view.hop.as_ref().map(wakumix_mix::HopAddress::multiaddr);
    let descriptor = |addresses| PeerReport { addresses, ..record(peer, 7) };
    let unaddressable = || address("/ip4/8.8.8.8/tcp/1/wss");
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    world.table.remember(SourceName::Descriptors, descriptor(unaddressable()), None, now, &mut world.rng).unwrap();
    assert_eq!(hop(&world), at(1).pop(), "what an earlier run was told may be the older word");
    world.report(SourceName::Descriptors, PeerReport { addresses: at(2), ..record(peer, 8) }).unwrap();
    assert_eq!(hop(&world), at(2).pop());
    world.report(SourceName::Descriptors, PeerReport { addresses: unaddressable(), ..record(peer, 9) }).unwrap();
    assert_eq!((hop(&world), world.state(&peer)), (None, PoolState::Unaddressable));
    assert_eq!(world.node(&peer).view.addresses, [unaddressable(), at(1)].concat(), "they are dialled all the same");
    let entry = PeerReport { addresses: at(3), mix_key: Some(key(1)), ..PeerReport::new(peer, 0) };
    world.report(SourceName::Static, entry).unwrap();
    assert_eq!(hop(&world), at(3).pop(), "the operator's word stands");
}

#[test]
fn what_an_earlier_run_was_told_stands_until_its_source_says_more() {
    let mut world = World::new();
    let (peer, now) = (secp256k1_peer(), world.now);
    let seen = now.instant_of(START - 60);
    world.table.remember(SourceName::Descriptors, record(peer, 7), seen, now, &mut world.rng).unwrap();
    assert_eq!((world.state(&peer), world.node(&peer).sources()), (PoolState::Usable, vec![SourceName::Cache]));
    let entry = PeerReport { addresses: at(1), mix_key: Some(key(9)), ..PeerReport::new(peer, 0) };
    world.report(SourceName::Static, entry).unwrap();
    assert_eq!(world.node(&peer).view.key, Some(key(9)), "an old descriptor does not overrule the operator");
    assert_eq!(world.report(SourceName::Descriptors, record(peer, 6)), Err(Refusal::Replayed));
    assert_eq!(world.report(SourceName::Descriptors, record(peer, 7)), Ok(true), "said again, it counts");
    assert_eq!(world.node(&peer).view.key, Some(key(1)));
}

#[test]
fn a_remembered_node_ages() {
    let mut world = World::new();
    let (fresh, old, now) = (secp256k1_peer(), secp256k1_peer(), world.now);
    let max_age = world.table.rules().pool.max_age.as_secs();
    for (peer, age) in [(fresh, max_age), (old, max_age + 1)] {
        let seen = now.instant_of(START - age);
        world.table.remember(SourceName::Discv5, record(peer, 1), seen, now, &mut world.rng).unwrap();
    }
    assert_eq!((world.state(&fresh), world.state(&old)), (PoolState::Usable, PoolState::Expired));
    assert!(world.node(&old).contact.is_due(now.at), "it is tried before it is forgotten");
}

#[test]
fn untried_peers_fill_an_address_and_a_subnet() {
    let mut world = World::new();
    let mut report =
        |addresses| world.report(SourceName::Discv5, PeerReport { addresses, ..record(secp256k1_peer(), 1) });
    for _ in 0..MAX_UNTRIED_PER_ADDRESS {
        assert_eq!(report(at(1)), Ok(true));
    }
    assert_eq!(report(at(1)), Err(Refusal::Flood));
    for index in 0..MAX_UNTRIED_PER_SUBNET - MAX_UNTRIED_PER_ADDRESS {
        assert_eq!(report(at(2 + index)), Ok(true), "{index}");
    }
    assert_eq!(report(at(200)), Err(Refusal::Flood));
    assert_eq!(report(at(0x100)), Ok(true), "the next /24");
    let tried = world.table.nodes().find(|node| node.view.addresses == at(1)).unwrap().peer;
    world.fail(&tried);
    let honest = PeerReport { addresses: at(1), ..record(secp256k1_peer(), 1) };
    assert_eq!(world.report(SourceName::Discv5, honest), Ok(true), "one that was tried in vain makes room");
}

#[test]
fn a_test_net_may_live_at_one_address() {
    let mut world = World::with(Rules { allow_private: true, ..Rules::of_cluster_2(secp256k1_peer(), 1000) });
    for _ in 0..200 {
        let report = PeerReport { addresses: address("/ip4/127.0.0.1/tcp/1"), ..record(secp256k1_peer(), 1) };
        assert_eq!(world.report(SourceName::Discv5, report), Ok(true));
    }
}

#[test]
fn a_node_that_no_longer_mixes_leaves_the_pool_and_one_of_another_cluster_the_table() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    let relay = PeerReport { capabilities: Some(Capabilities::RELAY), mix_key: None, ..record(peer, 2) };
    world.report(SourceName::Discv5, relay).unwrap();
    assert_eq!(world.node(&peer).state, None);
    let gone = PeerReport { shards: Some(Shards { cluster: 9, shards: vec![] }), ..record(peer, 3) };
    assert_eq!(world.report(SourceName::Discv5, gone), Err(Refusal::Cluster));
    assert_eq!(world.table.len(), 0);
}

#[test]
fn a_replay_of_another_cluster_withdraws_nothing() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, record(peer, 5)).unwrap();
    let old = PeerReport { shards: Some(Shards { cluster: 9, shards: vec![] }), ..record(peer, 3) };
    assert_eq!(world.report(SourceName::Discv5, old), Err(Refusal::Cluster));
    assert_eq!(world.state(&peer), PoolState::Unchecked);
}

#[test]
fn a_node_without_a_live_record_expires_and_is_forgotten() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Descriptors, PeerReport { expires: Some(START + 10), ..record(peer, 1) }).unwrap();
    world.reach(&peer);
    assert_eq!(world.state(&peer), PoolState::Usable);
    world.pass(10);
    assert_eq!(world.state(&peer), PoolState::Expired);
    world.pass(FORGET_EXPIRED_AFTER + 1);
    assert!(world.table.get(&peer).is_none());
}

#[test]
fn unverified_peers_are_given_up_and_friends_get_a_day() {
    let mut world = World::new();
    let (unverified, friend) = (secp256k1_peer(), secp256k1_peer());
    world.report(SourceName::Discv5, record(unverified, 1)).unwrap();
    world.report(SourceName::Discv5, record(friend, 1)).unwrap();
    world.reach(&friend);
    for _ in 0..GIVE_UP {
        world.fail(&unverified);
        world.fail(&friend);
    }
    world.pass(1);
    assert!(world.table.get(&unverified).is_none());
    assert_eq!(world.state(&friend), PoolState::Unreachable);
    world.pass(FORGET_AFTER.as_secs());
    assert!(world.table.get(&friend).is_none());
}

#[test]
fn a_peer_that_was_reached_before_it_is_found_counts_as_reached() {
    let (mut world, peer) = World::with_peer();
    let now = world.now;
    world.table.reached_at(peer, at(1).remove(0), now, &mut world.rng);
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    assert_eq!(world.state(&peer), PoolState::Usable);
    assert!(world.table.set_connected(Vec::new(), |_| true, now, &mut world.rng), "an event was missed");
    assert!(!world.node(&peer).contact.is_connected && world.node(&peer).contact.is_due(now.at));
}

#[test]
fn a_peer_that_dialled_in_or_was_dialled_elsewhere_was_not_reached_where_it_says_that_it_is() {
    let (mut world, peer) = World::with_peer();
    let now = world.now;
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    world.table.connected(peer, now);
    assert_eq!(world.state(&peer), PoolState::Unchecked);
    world.table.reached_at(peer, at(2).remove(0), now, &mut world.rng);
    assert_eq!(world.state(&peer), PoolState::Unchecked);
    assert!(world.node(&peer).contact.is_connected, "replies go over any connection");
    world.table.reached_at(peer, at(1).remove(0), now, &mut world.rng);
    assert_eq!(world.state(&peer), PoolState::Usable);
}

#[test]
fn a_node_that_says_that_it_has_moved_has_to_be_reached_there() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    world.table.reached_at(peer, at(1).remove(0), world.now, &mut world.rng);
    let moved = PeerReport { addresses: at(0x10_0000), ..record(peer, 2) };
    world.report(SourceName::Discv5, moved).unwrap();
    assert_eq!(world.state(&peer), PoolState::Unchecked);
    assert!(world.node(&peer).contact.is_due(world.now.at) && world.node(&peer).is_kept());
    // A check that was on its way to the old address says nothing of the new one.
    world.table.checking(&peer, world.now);
    world.report(SourceName::Discv5, record(peer, 3)).unwrap();
    world.table.checked(&peer, CheckOutcome::Alive, world.now, &mut world.rng);
    assert_eq!(world.state(&peer), PoolState::Unchecked);
    world.reach(&peer);
    assert_eq!(world.state(&peer), PoolState::Usable);
}

#[test]
fn a_node_without_a_route_of_ipv4_reaches_others_at_their_ipv6_addresses_too() {
    let (mut world, peer) = World::with_peer();
    let ip6 = || address("/ip6/2a00::1/tcp/60000");
    world.report(SourceName::Discv5, PeerReport { addresses: [at(1), ip6()].concat(), ..record(peer, 1) }).unwrap();
    assert_eq!(world.table.checking(&peer, world.now), Some(at(1)), "the address that headers carry");
    world.table.set_has_ip4(false);
    assert_eq!(world.table.checking(&peer, world.now), Some([at(1), ip6()].concat()));
    world.table.checked(&peer, CheckOutcome::Alive, world.now, &mut world.rng);
    assert_eq!(world.state(&peer), PoolState::Usable);
    let four_only = secp256k1_peer();
    world.report(SourceName::Discv5, record(four_only, 1)).unwrap();
    assert_eq!(world.table.checking(&four_only, world.now), Some(at(1)), "there is nothing else to try");
}

#[test]
fn a_dial_that_failed_elsewhere_is_not_held_against_a_peer() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, record(peer, 1)).unwrap();
    world.reach(&peer);
    // A packet told this node to look for it there.
    assert!(!world.table.dial_failed(&peer, &at(9), None, world.now, &mut world.rng));
    assert_eq!(world.state(&peer), PoolState::Usable);
    let impostor = secp256k1_peer();
    assert!(world.table.dial_failed(&peer, &at(1), Some(impostor), world.now, &mut world.rng));
    let reason = reason(world.node(&peer), PoolState::Unreachable, world.table.rules(), world.now);
    assert!(reason.ends_with(&format!(": {impostor} answers at its address")), "{reason}");
    assert_eq!(world.state(&peer), PoolState::Unreachable);
}

#[test]
fn states_follow_what_is_missing() {
    let mut world = World::new();
    let mut state = |change: fn(&mut PeerReport)| {
        let peer = secp256k1_peer();
        let mut report = record(peer, 1);
        change(&mut report);
        world.report(SourceName::Descriptors, report).unwrap();
        world.reach(&peer);
        world.state(&peer)
    };
    assert_eq!(state(|_| {}), PoolState::Usable);
    assert_eq!(state(|report| report.mix_key = None), PoolState::KeyUnknown);
    assert_eq!(state(|report| report.addresses = address("/ip4/8.8.8.8/tcp/1/wss")), PoolState::Unaddressable);
    let other = |report: &mut PeerReport| report.profiles = Some(vec!["aes-ctr/seq".parse().unwrap()]);
    assert_eq!(state(other), PoolState::OtherProfile);
    let both = |report: &mut PeerReport| {
        report.profiles = Some(vec!["aes-ctr/seq".parse().unwrap(), WireFormat::default()]);
    };
    assert_eq!(state(both), PoolState::Usable);
}
