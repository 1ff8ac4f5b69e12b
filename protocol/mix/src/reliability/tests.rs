//! What may be inferred from trips, and what an adversary can make of it.

use proptest::prelude::*;
use rand_core::CryptoRng;

use super::*;
use crate::random;
use crate::testing::{peer, rng};

const SECOND: Duration = Duration::from_secs(1);
const RETURNED: Trip = Trip::Returned(Duration::from_millis(300));
const LIMITS: ReliabilityLimits = ReliabilityLimits { nodes: 64, half_life: Duration::from_secs(3600) };

/// A pool whose nodes lose packets by a rule, seen through loops of two hops, one each second.
struct Pool {
    nodes: Vec<PeerId>,
    seen: Reliability,
    now: Duration,
}

impl Pool {
    fn new(nodes: u16) -> Self {
        Self { nodes: (0..nodes).map(peer).collect(), seen: Reliability::new(LIMITS), now: Duration::ZERO }
    }

    /// Loops through random pairs; `is_lost` decides by the numbers of first and second hop.
    fn run<R: CryptoRng>(&mut self, rng: &mut R, loops: u32, is_lost: impl Fn(&mut R, [usize; 2]) -> bool) {
        for _ in 0..loops {
            let first = random::index(rng, self.nodes.len());
            let second = (first + 1 + random::index(rng, self.nodes.len() - 1)) % self.nodes.len();
            let trip = if is_lost(rng, [first, second]) { Trip::Lost } else { RETURNED };
            self.now += SECOND;
            self.seen.looped(self.now, &[self.nodes[first], self.nodes[second]], trip);
        }
    }

    fn weight(&self, node: usize) -> f64 {
        self.seen.weight(self.now, &self.nodes[node])
    }

    fn down_weighted(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.weight(*node) < 1.0).collect()
    }
}

/// Each node loses this share of what comes through it, by accident.
fn accident<R: CryptoRng>(rng: &mut R, share: f64) -> bool {
    random::open_unit(rng) < share
}

#[test]
fn nobody_is_known_at_first_and_everybody_weighs_one() {
    let seen = Reliability::default();
    assert!(seen.weight(SECOND, &peer(1)) >= 1.0);
    assert_eq!(seen.estimate(SECOND, &peer(1)), None);
}

#[test]
fn a_node_that_loses_everything_weighs_the_least_and_the_others_one() {
    for seed in 0..20 {
        let mut pool = Pool::new(12);
        pool.run(&mut rng(seed), 300, |_, hops| hops.contains(&3));
        assert_eq!(pool.down_weighted(), [3], "seed {seed}");
        assert!(pool.weight(3) <= MIN_WEIGHT);
    }
}

#[test]
fn a_node_that_loses_half_of_its_packets_weighs_about_half() {
    let mut pool = Pool::new(12);
    pool.run(&mut rng(1), 600, |rng, hops| hops.contains(&3) && accident(rng, 0.5));
    assert_eq!(pool.down_weighted(), [3]);
    assert!((0.4..0.7).contains(&pool.weight(3)), "{}", pool.weight(3));
}

#[test]
fn a_hop_that_drops_what_comes_through_another_cannot_weigh_it_down() {
    for seed in 0..50 {
        // The smallest pool that is judged, where the share of one partner is the largest, and a larger one.
        for nodes in [8, 20] {
            let mut pool = Pool::new(nodes);
            pool.run(&mut rng(seed), 60 * u32::from(nodes), |_, hops| hops.contains(&0) && hops.contains(&1));
            assert_eq!(pool.weight(1).to_bits(), 1.0_f64.to_bits(), "seed {seed}, {nodes} nodes");
            let [framer, framed] = [0, 1].map(|node| pool.seen.estimate(pool.now, &pool.nodes[node]).unwrap().loss);
            // It pays as much as it takes, but for who else each of them met.
            assert!((framer - framed).abs() < 0.1, "seed {seed}: {framer} {framed}");
        }
    }
}

#[test]
fn one_hop_can_weigh_down_itself_at_most_whatever_it_drops() {
    for seed in 0..50 {
        let mut rng = rng(1000 + seed);
        let nodes = 8 + random::index(&mut rng, 12);
        // With which probability hop 0 drops what it gets from, or has to pass on to, each of the others.
        let strategy: Vec<_> = (0..nodes).map(|_| if accident(&mut rng, 0.5) { 1.0 } else { 0.0 }).collect();
        let mut pool = Pool::new(u16::try_from(nodes).unwrap());
        pool.run(&mut rng, 1500, |rng, hops| {
            let [one, other] = hops;
            (one == 0 && accident(rng, strategy[other])) || (other == 0 && accident(rng, strategy[one]))
        });
        assert!(pool.down_weighted().iter().all(|node| *node == 0), "seed {seed}: {:?}", pool.down_weighted());
    }
}

#[test]
fn several_hops_together_take_no_more_from_another_than_their_share_of_its_partners() {
    for seed in 0..20 {
        // Five of twenty drop what comes through node 19: of its nineteen partners.
        let mut pool = Pool::new(20);
        pool.run(&mut rng(seed), 2000, |_, hops| hops.contains(&19) && hops.iter().any(|hop| *hop < 5));
        assert!(pool.weight(19) > 1.0 - 5.0 / 19.0 - 0.12, "seed {seed}: {}", pool.weight(19));
        assert!(pool.down_weighted().iter().all(|node| *node == 19), "seed {seed}");
    }
}

#[test]
fn a_hop_that_drops_everything_pulls_nobody_down_with_it() {
    for seed in 0..50 {
        let mut pool = Pool::new(8);
        pool.run(&mut rng(seed), 600, |rng, hops| hops.contains(&0) || accident(rng, 0.05));
        assert_eq!(pool.down_weighted(), [0], "seed {seed}");
    }
}

#[test]
fn blaming_the_path_lets_one_hop_take_others_out() {
    // What the countermeasure prevents: a hop that drops everything, and a rule that blames every hop of a lost loop.
    let mut pool = Pool::new(8);
    let (mut blamed, mut judged) = (Reliability::default(), Reliability::default());
    pool.run(&mut rng(1), 100, |_, _| false);
    for other in 1..8 {
        let hops = [pool.nodes[0], pool.nodes[other]];
        hops.iter().for_each(|hop| blamed.first_hop_failed(pool.now, hop));
        judged.looped(pool.now, &hops, Trip::Lost);
    }
    let weigh_least = |seen: &Reliability| pool.nodes.iter().filter(|node| seen.weight(pool.now, node) < 1.0).count();
    assert_eq!((weigh_least(&blamed), weigh_least(&judged)), (8, 0));
}

#[test]
fn a_network_that_is_bad_for_everybody_weighs_nobody_down() {
    for seed in 0..50 {
        let mut pool = Pool::new(16);
        pool.run(&mut rng(seed), 800, |rng, _| accident(rng, 0.4));
        assert!(pool.down_weighted().len() <= 1, "seed {seed}: {:?}", pool.down_weighted());
    }
}

#[test]
fn at_most_a_quarter_is_down_weighted_however_many_are_bad() {
    let mut pool = Pool::new(16);
    // Seven of sixteen lose three quarters of what they get from each other or from the rest.
    pool.run(&mut rng(1), 2000, |rng, hops| hops.iter().any(|hop| *hop < 7) && accident(rng, 0.75));
    assert!(pool.down_weighted().len() <= 4);
    assert!(pool.down_weighted().iter().all(|node| *node < 7), "{:?}", pool.down_weighted());
    assert_eq!(pool.seen.marked(pool.now), pool.down_weighted().len());
}

#[test]
fn a_pool_too_small_to_tell_is_not_judged() {
    let mut pool = Pool::new(7);
    pool.run(&mut rng(1), 500, |_, hops| hops.contains(&3));
    assert!(pool.down_weighted().is_empty());
}

#[test]
fn a_node_that_recovers_weighs_one_again() {
    let mut pool = Pool::new(12);
    pool.run(&mut rng(1), 300, |_, hops| hops.contains(&3));
    assert_eq!(pool.down_weighted(), [3]);
    pool.now += 5 * LIMITS.half_life;
    pool.run(&mut rng(2), 300, |_, _| false);
    assert!(pool.down_weighted().is_empty());
}

#[test]
fn a_judgement_without_news_ends_with_the_half_life() {
    let mut pool = Pool::new(12);
    pool.run(&mut rng(1), 300, |_, hops| hops.contains(&3));
    pool.now += LIMITS.half_life;
    assert_eq!(pool.seen.marked(pool.now), 1);
    pool.now += SECOND;
    assert!(pool.down_weighted().is_empty());
    assert_eq!(pool.seen.marked(pool.now), 0);
}

#[test]
fn estimates_fade_and_keep_their_means() {
    let mut seen = Reliability::new(LIMITS);
    for trip in [RETURNED, Trip::Returned(Duration::from_millis(500)), Trip::Lost, Trip::Lost] {
        seen.looped(Duration::ZERO, &[peer(1)], trip);
    }
    let now = seen.estimate(Duration::ZERO, &peer(1)).unwrap();
    assert!((now.trips - 4.0).abs() < 1e-9 && (now.loss - 0.5).abs() < 1e-9);
    let later = seen.estimate(LIMITS.half_life, &peer(1)).unwrap();
    assert!((later.trips - 2.0).abs() < 1e-9 && (later.loss - 0.5).abs() < 1e-9);
    let error = later.latency.unwrap().abs_diff(Duration::from_millis(400));
    assert!(error < Duration::from_micros(1), "{error:?}");
}

#[test]
fn a_first_hop_that_fails_pauses_longer_each_time_until_it_is_reached() {
    let mut seen = Reliability::default();
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        seen.first_hop_failed(now, &peer(1));
        // More packets of the same outage.
        seen.first_hop_failed(now, &peer(1));
        let started = now;
        while seen.weight(now, &peer(1)) < 1.0 {
            assert!(seen.weight(now, &peer(1)) >= MIN_WEIGHT);
            now += SECOND;
        }
        pauses.push((now - started).as_secs());
    }
    assert_eq!(pauses, [30, 60, 120, 240, 480, 480]);
    seen.first_hop_failed(now, &peer(1));
    seen.first_hop_reached(&peer(1));
    assert!(seen.weight(now, &peer(1)) >= 1.0);
    seen.first_hop_failed(now, &peer(1));
    assert!(seen.weight(now + FIRST_PAUSE, &peer(1)) >= 1.0);
}

#[test]
fn a_trip_that_returned_shows_that_its_first_hop_can_be_reached_and_nothing_of_the_second() {
    let mut seen = Reliability::default();
    [1, 2].map(peer).iter().for_each(|hop| seen.first_hop_failed(SECOND, hop));
    seen.looped(SECOND, &[1, 2].map(peer), RETURNED);
    assert!(seen.weight(SECOND, &peer(1)) >= 1.0);
    assert!(seen.weight(SECOND, &peer(2)) <= MIN_WEIGHT);
}

#[test]
fn the_node_heard_of_least_recently_makes_room() {
    let mut seen = Reliability::new(ReliabilityLimits { nodes: 2, ..LIMITS });
    seen.looped(SECOND, &[peer(1)], RETURNED);
    seen.looped(SECOND * 2, &[peer(2)], RETURNED);
    seen.looped(SECOND * 3, &[peer(1)], RETURNED);
    seen.looped(SECOND * 4, &[peer(3)], RETURNED);
    let known = [1, 2, 3].map(|n| seen.estimate(SECOND * 4, &peer(n)).is_some());
    assert_eq!(known, [true, false, true]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weights_and_bounds_hold_whatever_is_seen(
        steps in prop::collection::vec((0..6_u8, 0..24_u16, 0..24_u16, 0..4000_u64), 1..400),
    ) {
        let peers: Vec<_> = (0..24).map(peer).collect();
        let mut seen = Reliability::new(ReliabilityLimits { nodes: 20, half_life: Duration::from_secs(600) });
        let mut now = Duration::ZERO;
        for (step, one, other, ms) in steps {
            let hops = [peers[usize::from(one)], peers[usize::from(other)]];
            match step {
                0 => seen.first_hop_failed(now, &hops[0]),
                1 => seen.first_hop_reached(&hops[0]),
                2 => seen.looped(now, &hops, Trip::Returned(Duration::from_millis(ms))),
                // A clock that a caller reads out of turn.
                3 => seen.looped(now.saturating_sub(SECOND), &hops, Trip::Lost),
                _ => seen.looped(now, &hops, Trip::Lost),
            }
            now += Duration::from_millis(ms);
            prop_assert!(seen.nodes.len() <= 20);
            prop_assert!(seen.marked(now) <= 5);
            for peer in &peers {
                prop_assert!((MIN_WEIGHT..=1.0).contains(&seen.weight(now, peer)));
                prop_assert!(seen.estimate(now, peer).is_none_or(|known| (0.0..=1.0).contains(&known.loss)));
            }
        }
    }
}
