//! Which paths are drawn, how often, and when there is none.

use std::collections::HashMap;

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::testing::{node, nodes, peer, rng};

type Drawn = Result<[MixNode; PATH_LEN], PathError>;

/// [`super::forward_path`] without a guard.
pub(super) fn forward_path(
    rng: &mut ChaCha20Rng,
    pool: &[MixNode],
    me: &MixNode,
    exit: &PeerId,
    preference: Preference<'_>,
) -> Drawn {
    super::forward_path(rng, &MixPool::new(pool.to_vec()), me, None, exit, preference)
}

/// [`super::forward_path_to`] without a guard.
pub(super) fn forward_path_to(
    rng: &mut ChaCha20Rng,
    pool: &[MixNode],
    me: &MixNode,
    destination: &PeerId,
    preference: Preference<'_>,
) -> Drawn {
    let destination = party(pool, destination);
    super::forward_path_to(rng, &MixPool::new(pool.to_vec()), me, None, &destination, preference)
}

/// [`super::reply_path`] to a request of which the ends alone are known.
pub(super) fn reply_path(
    rng: &mut ChaCha20Rng,
    pool: &[MixNode],
    me: &MixNode,
    ends: &[PeerId],
    last: Option<&BTreeSet<PeerId>>,
    preference: Preference<'_>,
) -> Drawn {
    let ends: Vec<_> = ends.iter().map(|end| party(pool, end)).collect();
    let (beside, last) = (Beside { ends: &ends, hops: &[] }, last.map_or(LastHop::Any, LastHop::Among));
    super::reply_path(rng, &MixPool::new(pool.to_vec()), me, beside, last, preference)
}

/// [`super::loop_path`].
pub(super) fn loop_path(
    rng: &mut ChaCha20Rng,
    pool: &[MixNode],
    me: &MixNode,
    through: &PeerId,
    place: LoopPlace,
    last: Option<&BTreeSet<PeerId>>,
    preference: Preference<'_>,
) -> Drawn {
    super::loop_path(rng, &MixPool::new(pool.to_vec()), me, through, place, last, preference)
}

/// A peer as a party; one that is not in the pool is in a /24 of its own.
fn party(pool: &[MixNode], peer: &PeerId) -> Party {
    let stranger = Party { peer: *peer, ip: [203, 0, 113, 9].into(), family: None };
    pool.iter().find(|node| node.peer() == *peer).map_or(stranger, Party::from)
}

#[test]
fn the_destination_is_the_exit() {
    let pool = nodes(6);
    let path = forward_path(&mut rng(1), &pool, &node(99), &peer(3), Preference::NONE).unwrap();
    assert_eq!(path[2], pool[3]);
}

#[test]
fn a_destination_beyond_the_exit_is_no_hop_and_need_not_be_known() {
    let pool = nodes(4);
    for seed in 0..50 {
        let path = forward_path_to(&mut rng(seed), &pool, &node(99), &peer(2), Preference::NONE).unwrap();
        assert!(path.iter().all(|hop| hop.peer() != peer(2)));
    }
    assert!(forward_path_to(&mut rng(1), &pool, &node(99), &peer(77), Preference::NONE).is_ok());
}

#[test]
fn a_reply_path_ends_at_the_sender_and_avoids_the_excluded() {
    let pool = nodes(5);
    for seed in 0..50 {
        let path = reply_path(&mut rng(seed), &pool, &node(99), &[peer(0), peer(4)], None, Preference::NONE).unwrap();
        assert_eq!(path[2], node(99));
        assert!(path[..2].iter().all(|hop| ![peer(0), peer(4)].contains(&hop.peer())));
    }
}

#[test]
fn relay_addresses_are_fine() {
    let mut pool = nodes(4);
    for entry in &mut pool {
        let circuit = format!("/ip4/10.0.0.1/tcp/1/p2p/{}/p2p-circuit", peer(50));
        entry.address = HopAddress::from_multiaddr(&circuit.parse().unwrap(), entry.peer()).unwrap();
    }
    assert!(forward_path(&mut rng(1), &pool, &node(99), &peer(0), Preference::NONE).is_ok());
}

#[test]
fn an_exit_must_be_known_and_another_node() {
    let pool = nodes(6);
    for (me, exit) in [(node(99), peer(98)), (node(1), peer(1))] {
        let outcome = forward_path(&mut rng(1), &pool, &me, &exit, Preference::NONE);
        assert_eq!(outcome, Err(PathError::NodeUnknown));
    }
}

#[test]
fn says_how_many_nodes_are_usable_and_how_many_are_needed() {
    // Three nodes, one of them listed three times, and the sender itself.
    let mut pool = nodes(4);
    pool.extend([node(1), node(1)]);
    let too_small = |usable, needed| Some(PathError::PoolTooSmall { usable, needed });
    let mut rng = rng(1);
    let forward = forward_path(&mut rng, &pool, &node(0), &peer(1), Preference::NONE);
    assert_eq!(forward.err(), too_small(3, MIN_POOL));
    let beyond = forward_path_to(&mut rng, &pool, &node(0), &peer(3), Preference::NONE);
    assert_eq!(beyond.err(), too_small(2, 3));
    let reply = reply_path(&mut rng, &pool, &node(0), &[peer(1), peer(3)], None, Preference::NONE);
    assert_eq!(reply.err(), too_small(1, 2));
    assert_eq!(reply_path(&mut rng, &[], &node(0), &[], None, Preference::NONE).err(), too_small(0, 2));
}

#[test]
fn every_ordered_pair_of_first_hops_is_equally_likely() {
    // Exit 0, so 7·6 = 42 pairs from the other seven.
    let (pool, me, exit) = (nodes(9), node(8), peer(0));
    let mut rng = rng(7);
    let counts = count(21_000, || forward_path(&mut rng, &pool, &me, &exit, Preference::NONE).unwrap());
    assert_uniform(&counts, 42);
}

#[test]
fn a_loop_passes_the_node_at_the_place_asked_for() {
    let pool = nodes(5);
    for seed in 0..20 {
        for (place, at) in [(LoopPlace::First, 0), (LoopPlace::Second, 1)] {
            let path = loop_path(&mut rng(seed), &pool, &node(99), &peer(2), place, None, Preference::NONE).unwrap();
            assert_eq!(path[at], pool[2]);
            assert!(is_sound_reply_path(&path, &peer(99)));
        }
    }
    let unknown = loop_path(&mut rng(1), &pool, &node(99), &peer(7), LoopPlace::First, None, Preference::NONE);
    assert_eq!(unknown, Err(PathError::NodeUnknown));
    let alone = loop_path(&mut rng(1), &pool[..1], &node(99), &peer(0), LoopPlace::First, None, Preference::NONE);
    assert_eq!(alone, Err(PathError::PoolTooSmall { usable: 1, needed: 2 }));
}

#[test]
fn a_limited_last_hop_is_taken_or_its_lack_is_told() {
    let pool = nodes(6);
    let last = BTreeSet::from([peer(1), peer(4), peer(77)]);
    for seed in 0..50 {
        let path = reply_path(&mut rng(seed), &pool, &node(99), &[peer(4)], Some(&last), Preference::NONE).unwrap();
        assert_eq!(path[1], pool[1]);
        let path =
            loop_path(&mut rng(seed), &pool, &node(99), &peer(4), LoopPlace::First, Some(&last), Preference::NONE)
                .unwrap();
        assert_eq!(path[1], pool[1]);
    }
    let mut rng = rng(1);
    let none = reply_path(&mut rng, &pool, &node(99), &[peer(1), peer(4)], Some(&last), Preference::NONE);
    assert_eq!(none, Err(PathError::NoConnectedHop));
    for (through, place, is_possible) in
        [(4, LoopPlace::Second, true), (2, LoopPlace::Second, false), (2, LoopPlace::First, true)]
    {
        let path = loop_path(&mut rng, &pool, &node(99), &peer(through), place, Some(&last), Preference::NONE);
        assert_eq!(path.is_ok(), is_possible, "{through} {place:?}");
    }
}

/// How often each pair of hops occurs in so many paths.
pub(super) fn count(draws: u32, mut path: impl FnMut() -> [MixNode; PATH_LEN]) -> HashMap<(PeerId, PeerId), u32> {
    let mut counts = HashMap::new();
    for _ in 0..draws {
        let [first, second, _] = path();
        *counts.entry((first.peer(), second.peer())).or_insert(0) += 1;
    }
    counts
}

/// Fails when there are not so many pairs, or when one is drawn more often than chance explains.
pub(super) fn assert_uniform(counts: &HashMap<(PeerId, PeerId), u32>, pairs: u32) {
    assert_eq!(counts.len(), usize::try_from(pairs).unwrap());
    assert_law(counts, &counts.keys().map(|&pair| (pair, 1.0)).collect());
}

/// Fails when other pairs are drawn than the law has, or when they are drawn less or more often than in proportion to
/// what it says and chance explains: χ² beyond about its 99.9 % quantile, in the approximation of Wilson and Hilferty.
pub(super) fn assert_law(counts: &HashMap<(PeerId, PeerId), u32>, law: &HashMap<(PeerId, PeerId), f64>) {
    assert!(counts.keys().all(|pair| law.contains_key(pair)), "a pair that the law has not");
    let draws: u32 = counts.values().sum();
    let sum: f64 = law.values().sum();
    let deviation = |(pair, weight): (&(PeerId, PeerId), &f64)| {
        let expected = f64::from(draws) * weight / sum;
        assert!(expected > 20.0, "too few draws for χ²");
        let difference = f64::from(counts.get(pair).copied().unwrap_or(0)) - expected;
        difference * difference / expected
    };
    let chi_square: f64 = law.iter().map(deviation).sum();
    let freedom = law.len() as f64 - 1.0;
    let spread = 2.0 / (9.0 * freedom);
    let quantile = freedom * libm::pow(1.0 - spread + 3.09 * spread.sqrt(), 3.0);
    assert!(chi_square < quantile, "χ² {chi_square} of {freedom} degrees of freedom");
}

proptest! {
    #[test]
    fn paths_are_sound_whenever_they_exist(
        seed: u64,
        listed in proptest::collection::vec(0..12_u16, 0..16),
        me in 0..12_u16,
        other in 0..12_u16,
    ) {
        let pool: Vec<_> = listed.iter().map(|&seed| node(seed)).collect();
        let distinct = |excluded: &[u16]| {
            let usable = listed.iter().filter(|seed| !excluded.contains(seed));
            usable.collect::<std::collections::BTreeSet<_>>().len()
        };
        let mut rng = rng(seed);

        let is_possible = me != other && listed.contains(&other) && distinct(&[me]) >= MIN_POOL;
        let path = forward_path(&mut rng, &pool, &node(me), &peer(other), Preference::NONE);
        prop_assert_eq!(path.is_ok(), is_possible);
        if let Ok(path) = path {
            prop_assert!(is_sound_forward_path(&path, &peer(me)));
            prop_assert_eq!(path[2].peer(), peer(other));
        }

        let path = forward_path_to(&mut rng, &pool, &node(me), &peer(other), Preference::NONE);
        prop_assert_eq!(path.is_ok(), distinct(&[me, other]) >= 3);
        if let Ok(path) = path {
            prop_assert!(is_sound_forward_path(&path, &peer(me)));
            prop_assert!(is_sound_forward_path(&path, &peer(other)));
        }

        let path = reply_path(&mut rng, &pool, &node(me), &[peer(other)], None, Preference::NONE);
        prop_assert_eq!(path.is_ok(), distinct(&[me, other]) >= 2);
        if let Ok(path) = path {
            prop_assert!(is_sound_reply_path(&path, &peer(me)));
            prop_assert!(me == other || path.iter().all(|hop| hop.peer() != peer(other)));
        }
    }
}
