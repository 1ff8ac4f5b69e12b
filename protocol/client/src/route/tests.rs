//! Which exit and which paths are chosen, and what is said when there are none.

use std::collections::BTreeSet;

use wakumix_mix::path::{is_sound_forward_path, is_sound_reply_path};
use wakumix_sphinx::{FormatSet, Profile, Sphinx};
use wakumix_waku::{lightpush::V3_PROTOCOL, record::Shards};

use super::*;
use crate::{
    PoolCounts, PoolState,
    testing::{node, peer, rng},
};

fn service(seed: u8) -> ServiceEntry {
    let address = HopAddress::from_multiaddr(&"/ip4/10.0.0.9/tcp/4000".parse().unwrap(), peer(seed)).unwrap();
    ServiceEntry { kind: ServiceKind::LIGHTPUSH, peer: peer(seed), address: Some(address), shards: None }
}

fn directory(pool: &[u8], services: &[u8]) -> DirectorySnapshot {
    DirectorySnapshot {
        mix_nodes: pool.iter().map(|&seed| node(seed)).collect(),
        services: services.iter().map(|&seed| service(seed)).collect(),
        ..DirectorySnapshot::default()
    }
}

const LEN: usize = 100;
const THREE: Protection = Protection { surbs: 3, parity: 0 };

/// What a choice is made from; the defaults are a first try of a small request with three reply blocks.
struct Choice<'a> {
    directory: &'a DirectorySnapshot,
    connected: Connected,
    formats: Vec<Arc<dyn PacketFormat>>,
    return_route: ReturnRoute,
    guards: Option<Vec<PeerId>>,
    protection: Protection,
    history: History,
}

impl<'a> Choice<'a> {
    fn from(directory: &'a DirectorySnapshot) -> Self {
        let formats = vec![Arc::new(Sphinx::new(Profile::default())) as _];
        let return_route = ReturnRoute::from_anywhere(node(99));
        let connected = Connected::new();
        let history = History::default();
        Self { directory, connected, formats, return_route, guards: None, protection: THREE, history }
    }

    fn make(&self, wanted: Wanted<'_>, seed: u64) -> Result<Route, ClientError> {
        let Self { connected, formats, return_route, .. } = self;
        let network = &Network::new(Arc::new(self.directory.clone()));
        let guards = self.guards.as_deref();
        let around = Surroundings { network, connected, return_route, formats, guards, weight: &|_| 1.0 };
        choose(&mut rng(seed), around, wanted, self.protection, &self.history)
    }
}

fn chosen(directory: &DirectorySnapshot, exit: Option<u8>, seed: u64) -> Result<Route, ClientError> {
    chosen_for(directory, Wanted { exit: exit.map(peer), ..ANY }, seed)
}

fn chosen_for(directory: &DirectorySnapshot, wanted: Wanted<'_>, seed: u64) -> Result<Route, ClientError> {
    Choice::from(directory).make(wanted, seed)
}

const ANY: Wanted<'_> =
    Wanted { service: ServiceKind::LIGHTPUSH, codec: V3_PROTOCOL, exit: None, topic: None, len: LEN };

#[test]
fn every_exit_that_serves_lightpush_is_chosen_sooner_or_later() {
    let directory = directory(&[0, 1, 2, 3, 4], &[3, 1, 77]);
    let exits: BTreeSet<_> =
        (0..50).map(|seed| chosen(&directory, None, seed).unwrap().pairs[0].forward[2].peer()).collect();
    assert_eq!(exits, BTreeSet::from([peer(1), peer(3)]));
}

#[test]
fn the_exit_asked_for_is_the_destination() {
    let route = chosen(&directory(&[0, 1, 2, 3, 4], &[1]), Some(4), 1).unwrap();
    assert_eq!(route.pairs[0].forward[2], node(4));
    assert_eq!(route.destination, [0; ADDRESS_LEN]);
}

#[test]
fn a_service_outside_the_pool_is_reached_beyond_an_exit() {
    for seed in 0..20 {
        let route = chosen(&directory(&[0, 1, 2, 3], &[77]), None, seed).unwrap();
        assert_eq!(HopAddress::decode(&route.destination).unwrap().peer(), peer(77));
        assert!(is_sound_forward_path(&route.pairs[0].forward, &peer(77)));
    }
}

#[test]
fn every_reply_path_ends_here_and_avoids_the_exit() {
    let route = chosen(&directory(&[0, 1, 2, 3, 4], &[1]), None, 5).unwrap();
    assert_eq!(route.pairs[0].reply.len(), 3);
    for path in &route.pairs[0].reply {
        assert!(is_sound_reply_path(path, &peer(99)));
        assert!(path.iter().all(|node| node.peer() != peer(1)));
    }
}

#[test]
fn this_node_is_no_exit_for_itself() {
    let directory = directory(&[0, 1, 2, 3, 99], &[99]);
    assert_eq!(
        chosen(&directory, None, 1).err(),
        Some(ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None })
    );
    assert_eq!(chosen(&directory, Some(99), 1).err(), Some(ClientError::ExitUnknown(peer(99))));
    assert!(!has_service(&directory, &peer(99), ServiceKind::LIGHTPUSH));
}

#[test]
fn a_small_pool_is_named_before_anything_that_follows_from_it() {
    let others = PoolCounts::default();
    let too_small = |usable| Some(ClientError::PoolTooSmall { usable, needed: 4, others });
    assert_eq!(chosen(&directory(&[], &[]), None, 1).err(), too_small(0));
    assert_eq!(chosen(&directory(&[0, 0, 1, 2, 99], &[2]), None, 1).err(), too_small(3));
    assert_eq!(chosen(&directory(&[0, 1], &[]), Some(7), 1).err(), too_small(2));
    let beyond = chosen(&directory(&[0, 1], &[77]), None, 1).err();
    assert_eq!(beyond, Some(ClientError::PoolTooSmall { usable: 2, needed: 3, others }));
}

#[test]
fn without_a_service_there_is_no_exit() {
    let mut directory = directory(&[0, 1, 2, 3], &[]);
    assert_eq!(
        chosen(&directory, None, 1).err(),
        Some(ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None })
    );
    assert_eq!(chosen(&directory, Some(7), 1).err(), Some(ClientError::ExitUnknown(peer(7))));
    directory.services = vec![ServiceEntry { address: None, ..service(77) }];
    assert_eq!(
        chosen(&directory, None, 1).err(),
        Some(ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None }),
        "no header carries its address"
    );
}

#[test]
fn a_small_pool_says_what_is_wrong_with_the_other_nodes() {
    let mut directory = directory(&[0, 1, 2], &[1]);
    directory.pool.add(PoolState::Expired);
    directory.pool.add_many(PoolState::Unreachable, 2);
    let failure = chosen(&directory, None, 1).err().unwrap();
    assert_eq!(failure.to_string(), "pool too small: 3 usable mix nodes, 4 needed (2 unreachable, 1 expired)");
    assert_eq!(pool_problem(&directory, &peer(99), 3), Some(failure));
}

#[test]
fn an_exit_serves_the_shard_of_the_message_as_far_as_is_known() {
    let mut directory = directory(&[0, 1, 2, 3, 4], &[1, 2, 3]);
    for (service, shard) in directory.services.iter_mut().zip([5, 6]) {
        service.shards = Some(Shards { cluster: 2, shards: vec![shard] });
    }
    let exits = |topic: &str| -> BTreeSet<_> {
        let topic = PubsubTopic::parse(topic).unwrap();
        let wanted = Wanted { topic: Some(&topic), ..ANY };
        (0..50).map(|seed| chosen_for(&directory, wanted, seed).unwrap().pairs[0].forward[2].peer()).collect()
    };
    assert_eq!(exits("/waku/2/rs/2/5"), BTreeSet::from([peer(1), peer(3)]));
    assert_eq!(exits("/waku/2/rs/2/6"), BTreeSet::from([peer(2), peer(3)]));
    assert_eq!(exits("/waku/2/rs/3/5"), BTreeSet::from([peer(3)]));

    directory.services.pop();
    let topic = PubsubTopic::parse("/waku/2/rs/2/7").unwrap();
    let failure = chosen_for(&directory, Wanted { topic: Some(&topic), ..ANY }, 1).err().unwrap();
    assert_eq!(failure, ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: Some(topic.clone()) });
    assert!(failure.to_string().contains("serves lightpush on /waku/2/rs/2/7"), "{failure}");
    let asked = Wanted { exit: Some(peer(1)), topic: Some(&topic), ..ANY };
    assert!(chosen_for(&directory, asked, 1).is_ok(), "an exit that is asked for is taken");
}

/// What a loop is chosen from.
fn around<'a>(
    network: &'a Network,
    connected: &'a Connected,
    return_route: &'a ReturnRoute,
    guards: Option<&'a [PeerId]>,
) -> Surroundings<'a> {
    Surroundings { network, connected, return_route, formats: &[], guards, weight: &|_| 1.0 }
}

#[test]
fn a_loop_over_guards_passes_two_of_them_and_no_other_node() {
    let network = Network::new(Arc::new(directory(&[0, 1, 2, 3, 4, 5], &[])));
    let (connected, return_route) = ([0, 1, 2].map(peer).into(), ReturnRoute::from_anywhere(node(99)));
    let guards = [0, 1, 2].map(peer);
    for seed in 0..20 {
        for (place, at) in [(LoopPlace::First, 0), (LoopPlace::Second, 1)] {
            let around = around(&network, &connected, &return_route, Some(&guards));
            let path = choose_loop(&mut rng(seed), around, FormatKind::Mix, (peer(1), place)).unwrap();
            assert_eq!(path[at], node(1));
            assert!(is_sound_reply_path(&path, &peer(99)));
            assert!(path[..2].iter().all(|hop| guards.contains(&hop.peer())), "{path:?}");
        }
    }
    let around = around(&network, &connected, &return_route, Some(&guards));
    let other = choose_loop(&mut rng(1), around, FormatKind::Mix, (peer(4), LoopPlace::First));
    assert_eq!(other, Err(ClientError::NotAGuard(peer(4))));
}

#[test]
fn all_paths_of_a_route_begin_and_end_at_its_guard_and_its_exit_is_another() {
    let directory = two_exits();
    let wanted = Wanted { len: 4300, ..ANY };
    for seed in 0..20 {
        let choice = Choice {
            guards: Some(vec![peer(9), peer(2)]),
            protection: Protection { surbs: 2, parity: 1 },
            ..Choice::from(&directory)
        };
        // The first guard is the only exit that puts fragments together, so the second one is used.
        let route = choice.make(wanted, seed).unwrap();
        assert_eq!((route.service, route.pairs.len()), (peer(9), 3));
        assert!(route.ends().all(|end| end == peer(2)));
        assert!(route.hops().filter(|hop| *hop == peer(2)).count() == 9, "three ways there, six back");
        let small = choice.make(ANY, seed).unwrap();
        assert_eq!((small.service, small.first_hop()), (peer(8), Some(peer(9))));
    }
    let none = Choice { guards: Some(Vec::new()), ..Choice::from(&directory) }.make(ANY, 1).err();
    assert_eq!(none, Some(ClientError::NoGuard { sampled: 0 }));
    let named = Choice { guards: Some(vec![peer(9)]), ..Choice::from(&directory) };
    let named = named.make(Wanted { exit: Some(peer(9)), ..ANY }, 1).err();
    assert_eq!(named, Some(ClientError::NoGuard { sampled: 0 }), "a guard is not the exit of its own request");
}

#[test]
fn a_pool_in_too_few_networks_carries_nothing() {
    let mut directory = two_exits();
    let problem = |directory: &DirectorySnapshot| pool_problem(directory, &peer(99), 3);
    assert_eq!(problem(&directory), None, "where they are not counted");
    directory.independent = Some(2);
    assert_eq!(problem(&directory), Some(ClientError::TooFewSubnets { found: 2, needed: 3 }));
    directory.independent = Some(3);
    assert_eq!(problem(&directory), None);
}

#[test]
fn a_loop_that_cannot_end_at_its_node_begins_there() {
    let directory = directory(&[0, 1, 2, 3], &[]);
    let connected = Connected::from([peer(2)]);
    let return_route = ReturnRoute::from_connected(node(99));
    let network = Network::new(Arc::new(directory));
    let chosen = |through, place| {
        choose_loop(
            &mut rng(1),
            around(&network, &connected, &return_route, None),
            FormatKind::Mix,
            (peer(through), place),
        )
    };
    for (through, place, at) in [(2, LoopPlace::Second, 1), (3, LoopPlace::Second, 0), (3, LoopPlace::First, 0)] {
        let path = chosen(through, place).unwrap();
        assert_eq!(path[at], node(through));
        assert!(is_sound_reply_path(&path, &peer(99)));
    }
    let alone = chosen(2, LoopPlace::First);
    assert_eq!(alone, Err(ClientError::NoConnectedHop), "the only connected node cannot be both hops");
    let unknown = chosen(7, LoopPlace::First);
    assert_eq!(unknown, Err(ClientError::NodeUnknown(peer(7))));
}

#[test]
fn replies_to_a_node_that_cannot_be_dialled_come_over_its_connections() {
    let directory = directory(&[0, 1, 2, 3, 4], &[1]);
    let chosen = |connected: &[u8], seed| {
        let return_route = ReturnRoute::from_connected(node(99));
        let (protection, connected) =
            (Protection { surbs: 2, parity: 0 }, connected.iter().copied().map(peer).collect());
        Choice { return_route, protection, connected, ..Choice::from(&directory) }.make(ANY, seed)
    };
    for seed in 0..20 {
        let route = chosen(&[1, 4], seed).unwrap();
        assert!(route.pairs[0].reply.iter().all(|path| path[1] == node(4)), "the exit is no hop");
    }
    assert_eq!(chosen(&[1], 1).err(), Some(ClientError::NoConnectedHop));
}

/// The pool 0..10 in which 8 and 9 are services; 9 puts fragments together.
fn two_exits() -> DirectorySnapshot {
    let mut directory = directory(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[8, 9]);
    directory.mix_nodes[9].reassembles = true;
    directory
}

#[test]
fn a_retry_shares_no_hop_with_the_tries_that_failed_and_asks_another_service() {
    let directory = two_exits();
    for seed in 0..20 {
        let mut choice = Choice { protection: Protection { surbs: 1, parity: 0 }, ..Choice::from(&directory) };
        let first = choice.make(ANY, seed).unwrap();
        choice.history.hops.extend(first.hops());
        choice.history.asked.insert(first.service, 1);
        let second = choice.make(ANY, seed).unwrap();
        assert_ne!(second.service, first.service);
        let failed: BTreeSet<_> = first.hops().collect();
        let others = second.hops().filter(|hop| *hop != second.service);
        assert_eq!(others.filter(|hop| failed.contains(hop)).count(), 0, "{seed}");
    }
}

#[test]
fn when_every_service_was_asked_the_least_asked_is_asked_again_and_those_that_refused_are_not() {
    let directory = two_exits();
    let mut choice = Choice::from(&directory);
    choice.history.asked.extend([(peer(8), 2), (peer(9), 1)]);
    for seed in 0..10 {
        assert_eq!(choice.make(ANY, seed).unwrap().service, peer(9));
    }
    choice.history.refused.insert(peer(9));
    assert_eq!(choice.make(ANY, 1).unwrap().service, peer(8));
    choice.history.refused.insert(peer(8));
    assert_eq!(choice.make(ANY, 1).err(), Some(ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None }));
}

#[test]
fn what_does_not_fit_one_packet_goes_in_fragments_to_an_exit_that_puts_them_together() {
    let directory = two_exits();
    let wanted = Wanted { len: 4300, ..ANY };
    for seed in 0..10 {
        let choice = Choice { protection: Protection { surbs: 1, parity: 1 }, ..Choice::from(&directory) };
        let route = choice.make(wanted, seed).unwrap();
        assert_eq!((route.service, route.pairs.len()), (peer(9), 3));
        assert!(route.pairs.iter().all(|pair| pair.forward[2].peer() == peer(9) && pair.reply.len() == 1));
        let first_hops: BTreeSet<_> =
            route.pairs.iter().flat_map(|pair| &pair.forward[..2]).map(MixNode::peer).collect();
        assert_eq!(first_hops.len(), 6, "paths of one request share no hop where the pool allows it");
        let back: BTreeSet<_> = route.pairs.iter().flat_map(|pair| &pair.reply[0][..2]).map(MixNode::peer).collect();
        assert_eq!(back.len(), 6);
    }
}

#[test]
fn where_no_exit_puts_fragments_together_the_refusal_says_how_much_fits() {
    let mut directory = two_exits();
    let wanted = Wanted { len: 4300, ..ANY };
    let towards = |directory: &DirectorySnapshot, exit| chosen_for(directory, Wanted { exit, ..wanted }, 1).err();
    let refused = Some(ClientError::TooLarge { size: 4300, limit: 3205 });
    assert_eq!(towards(&directory, Some(peer(8))), refused);
    directory.mix_nodes[9].reassembles = false;
    assert_eq!(towards(&directory, None), refused);
    directory.mix_nodes[9].reassembles = true;
    let longer = chosen_for(&directory, Wanted { len: 6000, ..ANY }, 1).err();
    assert_eq!(longer, Some(ClientError::TooLarge { size: 6000, limit: 5094 }));
    directory.services = vec![service(77)];
    assert_eq!(towards(&directory, None), refused, "a service beyond an exit takes one packet");
}

#[test]
fn a_route_stays_among_nodes_that_speak_its_format() {
    let mut directory = two_exits();
    for node in &mut directory.mix_nodes[..4] {
        node.formats = FormatSet::default().with(FormatKind::SphinxPacket);
    }
    let alien: BTreeSet<_> = (0..4).map(peer).collect();
    for seed in 0..20 {
        let route = chosen(&directory, None, seed).unwrap();
        assert!(route.kind == FormatKind::Mix && route.hops().all(|hop| !alien.contains(&hop)));
    }
}
