//! Who is sampled, who is not, and what an adversary gains by making guards unreachable.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use wakumix_mix::HopAddress;

use super::*;
use crate::testing::{node, peer, rng};

const START: u64 = 1_800_000_000;

/// A network that a sample is drawn from.
struct World {
    known: BTreeMap<PeerId, GuardCandidate>,
    sample: GuardSample,
    rng: ChaCha20Rng,
    unix: u64,
    now: Duration,
}

impl World {
    /// Nodes with these numbers, each in a /24 of its own.
    fn of(numbers: std::ops::Range<u8>) -> Self {
        let mut world = Self {
            known: BTreeMap::new(),
            sample: GuardSample::default(),
            rng: rng(7),
            unix: START,
            now: Duration::ZERO,
        };
        world.add(numbers);
        world
    }

    fn add(&mut self, numbers: std::ops::Range<u8>) {
        for number in numbers {
            let node = placed(number, number);
            let candidate =
                GuardCandidate { node, is_usable: true, is_entry: false, is_service: false, is_full: false };
            self.known.insert(peer(number), candidate);
        }
    }

    fn change(&mut self, number: u8, change: impl FnOnce(&mut GuardCandidate)) {
        change(self.known.get_mut(&peer(number)).unwrap());
    }

    fn update(&mut self) -> bool {
        let known: Vec<_> = self.known.values().cloned().collect();
        self.sample.update(&mut self.rng, &known, self.unix, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.unix += time.as_secs();
    }

    fn sampled(&self) -> Vec<PeerId> {
        self.sample.peers().collect()
    }

    /// Everybody in the sample can no longer be reached.
    fn silence(&mut self) {
        for peer in self.sampled() {
            self.known.get_mut(&peer).unwrap().is_usable = false;
        }
    }
}

fn placed(number: u8, subnet: u8) -> MixNode {
    let address = format!("/ip4/10.0.{subnet}.{number}/tcp/4000").parse().unwrap();
    MixNode { address: HopAddress::from_multiaddr(&address, peer(number)).unwrap(), ..node(number) }
}

#[test]
fn a_sample_is_a_fifth_of_the_pool_between_six_and_twenty_and_leaves_an_exit() {
    for (nodes, size) in [(0, 0), (1, 0), (4, 3), (7, 6), (30, 6), (60, 12), (200, 20)] {
        let mut world = World::of(0..nodes);
        world.update();
        assert_eq!(world.sampled().len(), size, "of {nodes}");
        assert!(!world.update(), "it stays as it is");
    }
}

#[test]
fn a_guard_that_is_gone_keeps_its_rank_and_nobody_takes_its_place() {
    let mut world = World::of(0..30);
    world.update();
    let sampled = world.sampled();
    world.known.get_mut(&sampled[0]).unwrap().is_usable = false;
    world.pass(Duration::from_secs(24 * 3600));
    assert!(!world.update());
    assert_eq!(world.sampled(), sampled);
}

#[test]
fn whoever_makes_all_guards_unreachable_gets_one_more_draw_an_hour() {
    let mut world = World::of(0..30);
    world.update();
    let mut sizes = Vec::new();
    for _ in 0..=24 {
        world.silence();
        world.update();
        sizes.push(world.sampled().len());
        world.pass(Duration::from_secs(300));
    }
    // Ten minutes, then one each hour: within two hours two.
    assert_eq!((sizes[1], sizes[2], sizes[13], sizes[14], sizes[24]), (6, 7, 7, 8, 8), "{sizes:?}");
    for _ in 0..400 {
        world.silence();
        world.update();
        world.pass(Duration::from_secs(3600));
    }
    assert_eq!(world.sampled().len(), MAX_SAMPLE);
}

#[test]
fn while_nothing_at_all_is_reached_the_sample_does_not_grow() {
    let mut world = World::of(0..30);
    world.update();
    for number in 0..30 {
        world.change(number, |candidate| candidate.is_usable = false);
    }
    for _ in 0..10 {
        world.pass(Duration::from_secs(3600));
        assert!(!world.update());
    }
}

#[test]
fn what_was_drawn_from_a_captured_pool_is_drawn_again_once_the_others_are_there() {
    // Six strangers are all that a starting sender reaches; then twenty honest nodes come back.
    let mut world = World::of(0..7);
    world.update();
    assert_eq!(world.sampled().len(), 6);
    world.add(20..50);
    world.update();
    let strangers =
        world.sampled().iter().filter(|sampled| (0..7).map(peer).any(|stranger| stranger == **sampled)).count();
    assert!(strangers <= 3, "a fifth of the pool has a fifth of the draws: {strangers} of 8");
}

#[test]
fn an_entry_lives_for_thirty_to_sixty_days() {
    let mut world = World::of(0..30);
    world.update();
    for entry in world.sample.entries() {
        assert!(LIFETIME.contains(&(entry.expires - START)));
    }
    let first = world.sampled();
    world.pass(Duration::from_secs(30 * DAY - 1));
    assert!(!world.update());
    world.pass(Duration::from_secs(30 * DAY + 1));
    world.update();
    assert_ne!(world.sampled(), first);
    assert_eq!(world.sampled().len(), 6);
    assert!(world.sample.entries().iter().all(|entry| entry.expires > world.unix));
}

#[test]
fn a_sample_lasts_beyond_its_run_and_with_new_addresses() {
    let mut world = World::of(0..30);
    world.update();
    let sampled = world.sampled();
    world.sample = GuardSample::restored(world.sample.entries().to_vec());
    for number in 0..30 {
        world.change(number, |candidate| candidate.node = placed(number, 100 + number));
    }
    assert!(!world.update());
    assert_eq!(world.sampled(), sampled);
}

#[test]
fn guards_are_in_different_subnets_where_there_are_enough() {
    let mut world = World::of(0..8);
    for number in 8..60 {
        world.add(number..number + 1);
        world.change(number, |candidate| candidate.node = placed(number, 200));
    }
    world.update();
    let flooded = world.sampled().iter().filter(|sampled| (8..60).any(|number| peer(number) == **sampled)).count();
    assert!(world.sampled().len() == 12 && flooded >= 4, "beyond the nine subnets one is taken again");
    assert!(world.sampled()[..9].iter().filter(|sampled| (8..60).any(|number| peer(number) == **sampled)).count() <= 1);
}

#[test]
fn the_operators_entries_come_first_and_services_and_full_nodes_last() {
    let mut world = World::of(0..20);
    for number in 0..3 {
        world.change(number, |candidate| candidate.is_entry = true);
    }
    for number in 10..20 {
        world.change(number, |candidate| candidate.is_service = true);
    }
    world.change(3, |candidate| candidate.is_full = true);
    world.update();
    let sampled = world.sampled();
    assert!(sampled[..3].iter().all(|sampled| (0..3).any(|number| peer(number) == *sampled)));
    assert!(sampled.iter().all(|sampled| (0..10).any(|number| number != 3 && peer(number) == *sampled)));
}

#[test]
fn a_service_becomes_a_guard_where_the_others_are_fewer_than_six_and_one_stays_an_exit() {
    let mut world = World::of(0..8);
    for number in 5..8 {
        world.change(number, |candidate| candidate.is_service = true);
    }
    world.update();
    let is_service = |sampled: &PeerId| (5..8).any(|number| peer(number) == *sampled);
    assert_eq!(world.sampled().iter().filter(|sampled| is_service(sampled)).count(), 1);

    let mut world = World::of(0..4);
    world.change(0, |candidate| candidate.is_service = true);
    world.update();
    assert!(!world.sampled().contains(&peer(0)), "the only exit is no guard");
}

#[test]
fn entries_that_no_source_tells_of_any_more_make_room_for_others() {
    let mut world = World::of(0..10);
    world.update();
    world.known.clear();
    world.update();
    assert_eq!(world.sampled().len(), 6, "they may come back");
    world.add(20..30);
    world.update();
    assert_eq!(world.sampled().len(), 12);
    assert_eq!(world.sample.listed(&world.known.values().cloned().collect::<Vec<_>>()).count(), 6);
}
