//! Weights are kept exactly, and avoided peers are left out where that costs no diversity.

use std::collections::{BTreeSet, HashMap};

use proptest::prelude::*;

use super::{
    diversity_tests::{keeps, placed, pool, stranger},
    rule::Rule,
    tests::{assert_law, count, forward_path, forward_path_to, loop_path, reply_path},
    *,
};
use crate::testing::{node, nodes, peer, rng};

/// Weights of the peers with these seeds.
fn weights(parts: &[f64]) -> HashMap<PeerId, f64> {
    (0..).zip(parts).map(|(seed, &weight)| (peer(seed), weight)).collect()
}

/// What each pair of hops before or between these nodes weighs, by brute force.
pub(super) fn law(
    pool: &[MixNode],
    given: &[&MixNode],
    weight: impl Fn(&PeerId) -> f64,
) -> HashMap<(PeerId, PeerId), f64> {
    let mixed = MixPool::new(pool.to_vec());
    let mut law = HashMap::new();
    for (first, of_first) in mixed.shared() {
        for (second, of_second) in mixed.shared() {
            let path: Vec<_> = [&[first, second], given].concat().into_iter().cloned().collect();
            if keeps(Rule::IN_ORDER[0], &path) {
                let shares = f64::from(of_first) * f64::from(of_second);
                law.insert((first.peer(), second.peer()), shares * weight(&first.peer()) * weight(&second.peer()));
            }
        }
    }
    law
}

#[test]
fn pairs_are_drawn_as_the_product_of_their_weights_says() {
    let pool = pool(&[(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (3, 2), (4, 0)]);
    let weights = weights(&[1.0, 1.0, 0.25, 0.5, 1.0, 0.75, 0.25]);
    let (me, mut rng) = (stranger(), rng(11));
    let weight = |peer: &PeerId| weights[peer];
    let preference = Preference::NONE.weighted(&weight);
    let counts = count(20_000, || forward_path(&mut rng, &pool, &me, &peer(0), preference).unwrap());
    assert_law(&counts, &law(&pool, &[&pool[0], &me], weight));
}

#[test]
fn pairs_that_luck_hardly_finds_keep_their_weights_too() {
    // Nearly every pair is of the one operator, so that most are drawn by counting.
    let places: Vec<_> = [(0, 0), (2, 0), (3, 0), (4, 0)].into_iter().chain((0..24).map(|at| (100 + at, 1))).collect();
    let pool = pool(&places);
    let parts: Vec<_> = (0..pool.len()).map(|at| [1.0, 0.5, 0.75, 0.5][at % 4]).collect();
    let weights = weights(&parts);
    let (me, mut rng) = (stranger(), rng(12));
    let weight = |peer: &PeerId| weights[peer];
    let preference = Preference::NONE.weighted(&weight);
    let counts = count(12_000, || forward_path(&mut rng, &pool, &me, &peer(0), preference).unwrap());
    assert_law(&counts, &law(&pool, &[&pool[0], &me], weight));
}

#[test]
fn drawn_exits_single_hops_and_hops_of_reply_paths_keep_their_weights() {
    let (pool, me) = (nodes(4), node(99));
    let weights = weights(&[0.25, 0.5, 0.75, 1.0]);
    let weight = |peer: &PeerId| weights[peer];
    let preference = Preference::NONE.weighted(&weight);
    let single: HashMap<_, _> = weights.iter().map(|(&peer, &weight)| ((peer, peer), weight)).collect();
    let mut rng = rng(13);

    let exits = count(10_000, || {
        let [.., exit] = forward_path_to(&mut rng, &pool, &me, &peer(77), preference).unwrap();
        [exit.clone(), exit.clone(), exit]
    });
    assert_law(&exits, &single);

    let mut of_three = single;
    of_three.remove(&(peer(3), peer(3)));
    let drawn = count(10_000, || {
        let [_, drawn, _] = loop_path(&mut rng, &pool, &me, &peer(3), LoopPlace::First, None, preference).unwrap();
        [drawn.clone(), drawn.clone(), drawn]
    });
    assert_law(&drawn, &of_three);

    let pairs = pool.iter().flat_map(|first| pool.iter().map(move |second| (first.peer(), second.peer())));
    let law = pairs.filter(|(first, second)| first != second);
    let law = law.map(|(first, second)| ((first, second), weights[&first] * weights[&second])).collect();
    let ways_back = count(20_000, || reply_path(&mut rng, &pool, &me, &[], None, preference).unwrap());
    assert_law(&ways_back, &law);
}

#[test]
fn weights_out_of_range_count_as_the_nearest_and_no_number_as_one() {
    for (weight, parts) in [
        (1.0, 1000),
        (MIN_WEIGHT, 250),
        (0.5, 500),
        (0.0, 250),
        (-3.0, 250),
        (f64::NEG_INFINITY, 250),
        (7.0, 1000),
        (f64::INFINITY, 1000),
        (f64::NAN, 1000),
    ] {
        assert_eq!(Preference::NONE.weighted(&|_| weight).weigh(&peer(1), 1000), parts, "{weight}");
    }
}

#[test]
fn paths_avoid_the_hops_of_a_failed_one_where_the_pool_allows_it() {
    let (pool, me) = (nodes(9), node(99));
    let failed = BTreeSet::from([peer(1), peer(2), peer(3), peer(4)]);
    let preference = Preference::NONE.avoiding(&failed);
    for seed in 0..100 {
        let mut rng = rng(seed);
        for path in [
            forward_path(&mut rng, &pool, &me, &peer(0), preference).unwrap(),
            forward_path_to(&mut rng, &pool, &me, &peer(0), preference).unwrap(),
            reply_path(&mut rng, &pool, &me, &[peer(0)], None, preference).unwrap(),
            loop_path(&mut rng, &pool, &me, &peer(0), LoopPlace::Second, None, preference).unwrap(),
        ] {
            assert!(path.iter().all(|hop| !failed.contains(&hop.peer())), "{path:?}");
        }
    }
}

#[test]
fn a_pool_without_enough_other_nodes_yields_paths_with_as_few_avoided_ones_as_it_can() {
    let (pool, me) = (nodes(6), node(99));
    let avoided_hops = |path: &[MixNode; PATH_LEN], failed: &BTreeSet<PeerId>| {
        path.iter().filter(|hop| failed.contains(&hop.peer())).count()
    };
    // (avoided nodes of the six, hops that cannot but be avoided ones: to the exit 0, beyond the exit, back)
    for (avoided, [to_exit, beyond, back]) in
        [(2, [0, 0, 0]), (3, [0, 0, 0]), (4, [1, 1, 0]), (5, [2, 2, 1]), (6, [3, 3, 2])]
    {
        // The exit is the last to be avoided.
        let failed: BTreeSet<_> = (0..avoided).map(|at| peer(5 - at)).collect();
        let preference = Preference::NONE.avoiding(&failed);
        for seed in 0..40 {
            let mut rng = rng(seed);
            let path = forward_path(&mut rng, &pool, &me, &peer(0), preference).unwrap();
            assert_eq!(avoided_hops(&path, &failed), to_exit, "{avoided} avoided");
            let path = forward_path_to(&mut rng, &pool, &me, &peer(77), preference).unwrap();
            assert_eq!(avoided_hops(&path, &failed), beyond, "{avoided} avoided");
            let path = reply_path(&mut rng, &pool, &me, &[], None, preference).unwrap();
            assert_eq!(avoided_hops(&path, &failed), back, "{avoided} avoided");
        }
    }
}

#[test]
fn every_pair_with_one_avoided_hop_is_equally_likely_where_none_is_free_of_them() {
    let (pool, me) = (nodes(5), node(99));
    let failed = BTreeSet::from([peer(2), peer(3), peer(4)]);
    let mut rng = rng(14);
    let preference = Preference::NONE.avoiding(&failed);
    let counts = count(6000, || forward_path(&mut rng, &pool, &me, &peer(0), preference).unwrap());
    let law = failed.iter().flat_map(|&hop| [((peer(1), hop), 1.0), ((hop, peer(1)), 1.0)]).collect();
    assert_law(&counts, &law);
}

#[test]
fn losing_packets_drives_no_sender_on_to_less_diverse_paths() {
    // The two other operators have one node each; everything else is of one family.
    let pool = pool(&[(0, 0), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1), (6, 1)]);
    let failed = BTreeSet::from([peer(1), peer(2)]);
    for seed in 0..200 {
        let path =
            forward_path(&mut rng(seed), &pool, &stranger(), &peer(0), Preference::NONE.avoiding(&failed)).unwrap();
        assert!(keeps(Rule::IN_ORDER[0], &path), "{path:?}");
    }
}

#[test]
fn a_last_hop_that_must_be_connected_may_be_an_avoided_one() {
    let (pool, me) = (nodes(6), node(99));
    let (last, failed) = (BTreeSet::from([peer(1)]), BTreeSet::from([peer(1), peer(2)]));
    for seed in 0..50 {
        let preference = Preference::NONE.avoiding(&failed);
        let [first, second, _] = reply_path(&mut rng(seed), &pool, &me, &[], Some(&last), preference).unwrap();
        assert_eq!(second, pool[1]);
        assert_ne!(first, pool[2]);
    }
}

proptest! {
    #[test]
    fn preferences_never_refuse_a_path_nor_cost_diversity(
        seed: u64,
        places in proptest::collection::vec((0..4_u8, 0..4_u32), 4..14),
        own in (0..4_u8, 0..4_u32),
        avoided in proptest::collection::hash_set(0..14_u16, 0..14),
        weight in 0.0..1.0_f64,
    ) {
        let (pool, me) = (pool(&places), placed(63, own.0, own.1));
        let avoided: BTreeSet<_> = avoided.into_iter().map(peer).collect();
        let weight = |peer: &PeerId| if avoided.contains(peer) { weight } else { 1.0 };
        let preference = Preference::NONE.weighted(&weight).avoiding(&avoided);
        let kept = |path: &[MixNode]| Rule::IN_ORDER.into_iter().position(|rule| keeps(rule, path)).unwrap();
        let plain = forward_path(&mut rng(seed), &pool, &me, &peer(0), Preference::NONE).unwrap();
        let preferred = forward_path(&mut rng(seed), &pool, &me, &peer(0), preference).unwrap();
        prop_assert!(is_sound_forward_path(&preferred, &me.peer()));
        let with_me = |path: &[MixNode; PATH_LEN]| [path.as_slice(), std::slice::from_ref(&me)].concat();
        if kept(&with_me(&plain)) == 0 {
            prop_assert_eq!(kept(&with_me(&preferred)), 0);
        }
    }
}
