//! No operator twice on a path where the pool allows it, and no path preferred among those that remain.

use std::{collections::BTreeSet, sync::LazyLock};

use proptest::prelude::*;

use super::{
    rule::Rule,
    tests::{assert_uniform, count},
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
    path.iter().enumerate().all(|(at, one)| path[..at].iter().all(|other| rule.allows(one, other)))
}

/// Every pair of first hops that a rule allows in front of an exit, by brute force.
fn allowed(rule: Rule, pool: &[MixNode], me: &MixNode, exit: &MixNode) -> usize {
    let usable: Vec<_> = pool
        .iter()
        .filter(|node| [me, exit].iter().all(|other| rule.allows(node, other)) && node.peer() != me.peer())
        .collect();
    usable.iter().map(|one| usable.iter().filter(|other| rule.allows(one, other)).count()).sum()
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
fn every_allowed_pair_is_equally_likely() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0), (4, 3), (5, 3)]);
    let (me, exit) = (stranger(), peer(0));
    let pairs = allowed(Rule::IN_ORDER[0], &pool, &me, &pool[0]);
    let mut rng = rng(3);
    let counts = count(8000, || forward_path(&mut rng, &pool, &me, &exit, Preference::NONE).unwrap());
    assert_uniform(&counts, u32::try_from(pairs).unwrap());
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
    let counts = count(8000, || forward_path(&mut rng, &pool, &me, &exit, Preference::NONE).unwrap());
    assert_uniform(&counts, u32::try_from(pairs).unwrap());
}

#[test]
fn a_limited_last_hop_leaves_all_pairs_equally_likely() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0), (4, 3), (5, 3)]);
    let last = BTreeSet::from([peer(2), peer(3), peer(8)]);
    let rule = Rule::IN_ORDER[0];
    let pairs: usize =
        [2, 3, 8].iter().map(|&at| pool.iter().filter(|node| rule.allows(node, &pool[at])).count()).sum();
    let (mut rng, me) = (rng(5), stranger());
    let counts = count(8000, || reply_path(&mut rng, &pool, &me, &[], Some(&last), Preference::NONE).unwrap());
    assert_uniform(&counts, u32::try_from(pairs).unwrap());
}

#[test]
fn every_exit_in_front_of_a_destination_is_equally_likely() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0), (5, 0)]);
    let (mut rng, me, destination) = (rng(6), stranger(), peer(77));
    let mut counts = std::collections::HashMap::new();
    for _ in 0..4000 {
        let [.., exit] = forward_path_to(&mut rng, &pool, &me, &destination, Preference::NONE).unwrap();
        *counts.entry((exit.peer(), exit.peer())).or_insert(0) += 1;
    }
    assert_uniform(&counts, 8);
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
        prop_assert!(best.allows(first, second));
        prop_assert!([first, second].iter().all(|hop| best.allows(hop, exit) && best.allows(hop, &me)));
    }
}
