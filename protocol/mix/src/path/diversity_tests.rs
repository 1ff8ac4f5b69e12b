//! No operator twice on a path where the pool allows it, and no path preferred among those that remain.

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::prelude::*;

use super::{
    preference_tests::law,
    rule::Rule,
    tests::{assert_law, count, forward_path, forward_path_to, loop_path, reply_path},
    *,
};
use crate::testing::{nodes, peer, rng};

/// The seed of the node itself.
const ME: u16 = 63;

/// A node in a /24 of this number, of a family unless it is 0. Keys are made once: they are what takes time here.
pub(super) fn placed(seed: u16, subnet: u8, family: u32) -> MixNode {
    static NODES: LazyLock<Vec<MixNode>> = LazyLock::new(|| nodes(ME + 1));
    let node = &NODES[usize::from(seed)];
    let address = format!("/ip4/10.7.{subnet}.{seed}/tcp/4000");
    let address = HopAddress::from_multiaddr(&address.parse().unwrap(), node.peer()).unwrap();
    MixNode { address, family: (family > 0).then_some(Family(family)), ..node.clone() }
}

/// A pool of nodes with these subnets and families.
pub(super) fn pool(places: &[(u8, u32)]) -> Vec<MixNode> {
    (0..).zip(places).map(|(seed, &(subnet, family))| placed(seed, subnet, family)).collect()
}

/// A sender that shares nothing with any pool.
pub(super) fn stranger() -> MixNode {
    placed(ME, 200, 0)
}

/// Whether the hops share nothing of what a rule forbids.
pub(super) fn keeps(rule: Rule, path: &[MixNode]) -> bool {
    path.iter().enumerate().all(|(at, one)| path[..at].iter().all(|other| rule.allows(&one.into(), &other.into())))
}

/// Whether a rule lets both be on one path.
fn allows(rule: Rule, one: &MixNode, other: &MixNode) -> bool {
    rule.allows(&one.into(), &other.into())
}

/// Every pair of first hops that a rule allows in front of an exit, by brute force.
fn allowed(rule: Rule, pool: &[MixNode], me: &MixNode, exit: &MixNode) -> usize {
    let usable: Vec<_> = pool
        .iter()
        .filter(|node| [me, exit].into_iter().all(|other| allows(rule, node, other)) && node.peer() != me.peer())
        .collect();
    usable.iter().map(|one| usable.iter().filter(|other| allows(rule, one, other)).count()).sum()
}

#[test]
fn no_two_hops_are_in_one_subnet_or_of_one_family() {
    let pool = pool(&[(0, 0), (0, 0), (1, 1), (2, 1), (3, 2), (4, 2), (5, 0), (6, 3)]);
    for seed in 0..200 {
        let mut rng = rng(seed);
        for path in [
            forward_path(&mut rng, &pool, &stranger(), &peer(2), Preference::NONE).unwrap(),
            forward_path_to(&mut rng, &pool, &stranger(), &peer(3), Preference::NONE).unwrap(),
            reply_path(&mut rng, &pool, &stranger(), &[peer(1)], None, Preference::NONE).unwrap(),
            loop_path(&mut rng, &pool, &stranger(), &peer(4), LoopPlace::Second, None, Preference::NONE).unwrap(),
        ] {
            assert!(keeps(Rule::IN_ORDER[0], &path), "{path:?}");
        }
    }
}

#[test]
fn nodes_of_the_sender_itself_and_of_its_subnet_are_no_hops() {
    let pool = pool(&[(0, 9), (1, 9), (50, 0), (2, 0), (3, 0), (4, 0)]);
    let me = placed(ME, 50, 9);
    let own = [peer(0), peer(1), peer(2)];
    for seed in 0..100 {
        let forward = forward_path(&mut rng(seed), &pool, &me, &peer(3), Preference::NONE).unwrap();
        let back = reply_path(&mut rng(seed), &pool, &me, &[], None, Preference::NONE).unwrap();
        assert!(forward.iter().chain(&back).all(|hop| !own.contains(&hop.peer())));
    }
    let own_exit = forward_path(&mut rng(1), &pool, &me, &peer(0), Preference::NONE).unwrap();
    assert_eq!(own_exit[2], pool[0], "an exit that is asked for is taken");
}

#[test]
fn nodes_behind_one_relay_share_its_subnet() {
    let mut pool = pool(&[(0, 0), (1, 0), (2, 0), (3, 0)]);
    for entry in &mut pool[..2] {
        let circuit = format!("/ip4/10.9.9.9/tcp/1/p2p/{}/p2p-circuit", peer(50));
        entry.address = HopAddress::from_multiaddr(&circuit.parse().unwrap(), entry.peer()).unwrap();
    }
    for seed in 0..100 {
        let path = forward_path(&mut rng(seed), &pool, &stranger(), &peer(2), Preference::NONE).unwrap();
        assert!(path[..2].contains(&pool[3]), "{path:?}");
    }
}

#[test]
fn subnets_are_given_up_before_families_and_both_before_the_path() {
    // (pool, the first rule that it allows with node 0 as the exit)
    for (places, rule) in [
        (&[(0, 0), (0, 0), (0, 0), (0, 0)][..], 1),
        (&[(0, 0), (0, 0), (0, 1), (0, 1)], 1),
        (&[(0, 1), (1, 1), (2, 1), (3, 1)], 2),
        (&[(0, 1), (1, 1), (2, 1), (2, 2)], 2),
        (&[(0, 1), (0, 1), (0, 1), (0, 1)], 3),
        (&[(0, 1), (0, 1), (1, 1), (0, 1)], 3),
        (&[(0, 1), (1, 2), (2, 3), (0, 1)], 0),
    ] {
        let (pool, me) = (pool(places), stranger());
        for seed in 0..20 {
            let path = forward_path(&mut rng(seed), &pool, &me, &peer(0), Preference::NONE).unwrap();
            let kept = Rule::IN_ORDER.into_iter().position(|rule| keeps(rule, &path));
            assert_eq!(kept, Some(rule), "{places:?}");
        }
    }
}

#[test]
fn every_allowed_pair_is_as_likely_as_its_shares_say() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0), (4, 3), (5, 3)]);
    let (me, exit) = (stranger(), peer(0));
    let mut rng = rng(3);
    let counts = count(8000, || forward_path(&mut rng, &pool, &me, &exit, Preference::NONE).unwrap());
    assert_law(&counts, &law(&pool, &[&pool[0], &me], |_| 1.0));
}

#[test]
fn a_pool_that_one_operator_floods_yields_every_pair_that_it_still_allows() {
    // One operator has 20 nodes in its /24 and as many of its family elsewhere; four others remain. Nearly every pair
    // drawn by luck is refused, so that most are drawn by counting.
    let flood = (0..20).map(|_| (1, 1)).chain((0..20).map(|at| (100 + at, 1)));
    let places: Vec<_> = [(0, 0), (2, 0), (3, 0), (4, 0)].into_iter().chain(flood).collect();
    let (pool, me, exit) = (pool(&places), stranger(), peer(0));
    let pairs = allowed(Rule::IN_ORDER[0], &pool, &me, &pool[0]);
    assert_eq!(pairs, 3 * 2 + 2 * 3 * 40);
    let mut rng = rng(4);
    let counts = count(12_000, || forward_path(&mut rng, &pool, &me, &exit, Preference::NONE).unwrap());
    let law = law(&pool, &[&pool[0], &me], |_| 1.0);
    assert_eq!(law.len(), pairs);
    assert_law(&counts, &law);
    let of_operator = |(first, second): &(PeerId, PeerId)| {
        [first, second].iter().any(|hop| !pool[..4].iter().any(|node| node.peer() == **hop))
    };
    let theirs: u32 = counts.iter().filter(|(pair, _)| of_operator(pair)).map(|(_, count)| count).sum();
    assert!(theirs < 6500, "one of four has about half of the pairs, not nine in ten: {theirs}");
}

#[test]
fn a_limited_last_hop_leaves_all_pairs_their_shares() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0), (4, 3), (5, 3)]);
    let last = BTreeSet::from([peer(2), peer(3), peer(8)]);
    let (mut rng, me) = (rng(5), stranger());
    let counts = count(8000, || reply_path(&mut rng, &pool, &me, &[], Some(&last), Preference::NONE).unwrap());
    let mut law = law(&pool, &[&me], |_| 1.0);
    law.retain(|(_, second), _| last.contains(second));
    assert_law(&counts, &law);
}

#[test]
fn exits_of_one_subnet_or_family_have_the_draws_of_one() {
    let places: Vec<_> = (0..4)
        .map(|subnet| (subnet, 0))
        .chain((0..20).map(|_| (9, 0)))
        .chain((20..25).map(|subnet| (subnet, 7)))
        .collect();
    let pool = pool(&places);
    let exits: Vec<_> = pool.iter().collect();
    let mut rng = rng(7);
    let mut drawn = || draw_apart(&mut rng, &exits, &[], Preference::NONE).unwrap().peer();
    let draws: Vec<_> = (0..6000).map(|_| drawn()).collect();
    for (nodes, what) in [(4..24, "subnet"), (24..29, "family"), (0..1, "node")] {
        let hits = draws.iter().filter(|exit| pool[nodes.clone()].iter().any(|node| node.peer() == **exit)).count();
        assert!((850..1150).contains(&hits), "one in six for each {what}: {hits} of 6000");
    }
}

#[test]
fn exits_are_apart_from_the_guard_where_there_are_any() {
    let pool = pool(&[(1, 0), (1, 0), (2, 5), (3, 5), (4, 0)]);
    let exits: Vec<_> = pool.iter().collect();
    let drawn = |exits: &[&MixNode], guard: usize, seed| {
        draw_apart(&mut rng(seed), exits, &[(&pool[guard]).into()], Preference::NONE).map(MixNode::peer)
    };
    for seed in 0..50 {
        assert!([2, 3, 4].map(peer).contains(&drawn(&exits, 0, seed).unwrap()));
        assert!([0, 1, 4].map(peer).contains(&drawn(&exits, 2, seed).unwrap()));
        assert_eq!(drawn(&exits[..2], 0, seed), Some(peer(1)), "the subnet is given up before the exit");
        assert_eq!(drawn(&exits[..1], 0, seed), None, "the guard is no exit");
    }
}

/// The twenty nodes of one /24 beside twenty others: no exchange has them at its exit and as last reply hop.
#[test]
fn a_reply_path_is_apart_from_the_exit_and_from_the_other_hops_of_its_request() {
    let places: Vec<_> = (0..20).map(|subnet| (subnet, 0)).chain((0..20).map(|_| (99, 0))).collect();
    let (nodes, me) = (pool(&places), stranger());
    let pool = MixPool::new(nodes.clone());
    for seed in 0..500 {
        let mut rng = rng(seed);
        let exit = draw_apart(&mut rng, &nodes[10..30].iter().collect::<Vec<_>>(), &[], Preference::NONE).unwrap();
        let forward = super::forward_path(&mut rng, &pool, &me, None, &exit.peer(), Preference::NONE).unwrap();
        let [first, second, _] = forward.each_ref().map(Party::from);
        let beside = Beside { ends: &[exit.into()], hops: &[first, second] };
        let reply = super::reply_path(&mut rng, &pool, &me, beside, LastHop::Any, Preference::NONE).unwrap();
        let exchange = [forward.as_slice(), &reply[..2]].concat();
        assert!(keeps(Rule::IN_ORDER[0], &exchange), "{exchange:?}");
    }
}

#[test]
fn a_pool_too_small_for_a_diverse_exchange_still_has_paths_apart_from_the_exit() {
    let (pool, me) = (MixPool::new(pool(&[(0, 0), (1, 0), (2, 0), (2, 0)])), stranger());
    for seed in 0..50 {
        let mut rng = rng(seed);
        let forward = super::forward_path(&mut rng, &pool, &me, None, &peer(3), Preference::NONE).unwrap();
        let [first, second, exit] = forward.each_ref().map(Party::from);
        let beside = Beside { ends: &[exit], hops: &[first, second] };
        let reply = super::reply_path(&mut rng, &pool, &me, beside, LastHop::Any, Preference::NONE).unwrap();
        assert!(reply[..2].iter().all(|hop| [peer(0), peer(1)].contains(&hop.peer())), "{reply:?}");
    }
}

#[test]
fn a_guard_is_the_first_hop_and_the_last_reply_hop() {
    let nodes = pool(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (5, 0)]);
    let (pool, me, guard) = (MixPool::new(nodes.clone()), stranger(), peer(2));
    for seed in 0..50 {
        let mut rng = rng(seed);
        let to = super::forward_path(&mut rng, &pool, &me, Some(&guard), &peer(5), Preference::NONE).unwrap();
        let far = Party::from(&nodes[4]);
        let beyond = super::forward_path_to(&mut rng, &pool, &me, Some(&guard), &far, Preference::NONE).unwrap();
        assert!(beyond.iter().all(|hop| hop.peer() != peer(4)));
        let beside = Beside { ends: &[(&nodes[5]).into()], hops: &[(&to[1]).into()] };
        let last = LastHop::Guard(&guard);
        let reply = super::reply_path(&mut rng, &pool, &me, beside, last, Preference::NONE).unwrap();
        assert_eq!([to[0].peer(), beyond[0].peer(), reply[1].peer()], [guard; 3]);
        assert_ne!(to[1], reply[0], "the hops between are others on the reply path");
    }
    let own = super::forward_path(&mut rng(1), &pool, &me, Some(&peer(77)), &peer(5), Preference::NONE);
    assert_eq!(own, Err(PathError::NodeUnknown));
    let beside = Beside { ends: &[(&nodes[2]).into()], hops: &[] };
    let exit = super::reply_path(&mut rng(1), &pool, &me, beside, LastHop::Guard(&guard), Preference::NONE);
    assert_eq!(exit, Err(PathError::NoConnectedHop), "a guard is not the exit of its own request");
}

#[test]
fn a_peer_or_a_key_that_is_listed_again_is_one_node() {
    let mut nodes = pool(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]);
    nodes[4].key = nodes[0].key;
    nodes.push(nodes[1].clone());
    let pool = MixPool::new(nodes.clone());
    assert_eq!(pool.nodes(), &nodes[..4]);
    assert_eq!((pool.len_without(&peer(1)), pool.len_without(&peer(9))), (3, 4));
}

#[test]
fn every_exit_in_front_of_a_destination_is_as_likely_as_its_share_says() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0), (5, 0)]);
    let (mut rng, me, destination) = (rng(6), stranger(), peer(77));
    let mut counts = std::collections::HashMap::new();
    for _ in 0..4000 {
        let [.., exit] = forward_path_to(&mut rng, &pool, &me, &destination, Preference::NONE).unwrap();
        *counts.entry((exit.peer(), exit.peer())).or_insert(0) += 1;
    }
    let mixed = MixPool::new(pool);
    let law = mixed.shared().map(|(node, share)| ((node.peer(), node.peer()), f64::from(share))).collect();
    assert_law(&counts, &law);
}

proptest! {
    #[test]
    fn a_path_keeps_the_first_rule_that_its_pool_allows(
        seed: u64,
        places in proptest::collection::vec((0..4_u8, 0..4_u32), 4..14),
        own in (0..4_u8, 0..4_u32),
    ) {
        let (pool, me) = (pool(&places), placed(ME, own.0, own.1));
        let path = forward_path(&mut rng(seed), &pool, &me, &peer(0), Preference::NONE).unwrap();
        let best = Rule::IN_ORDER.into_iter().find(|&rule| allowed(rule, &pool, &me, &pool[0]) > 0).unwrap();
        let [first, second, exit] = &path;
        prop_assert!(allows(best, first, second));
        prop_assert!([first, second].iter().all(|hop| allows(best, hop, exit) && allows(best, hop, &me)));
    }
}
