use std::{collections::HashMap, time::Duration};

use rand::{SeedableRng, rngs::StdRng};

use super::*;

struct World {
    registrations: Registrations,
    peers: Vec<PeerId>,
    now: Instant,
    reached: HashSet<PeerId>,
    rng: StdRng,
}

/// The record of the peer with this index.
fn record(index: usize) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

fn index(record: &[u8]) -> usize {
    usize::from_be_bytes(record.try_into().unwrap())
}

impl World {
    fn of(peers: usize) -> Self {
        let (now, rng) = (Instant::now(), StdRng::seed_from_u64(5));
        let peers: Vec<_> = (0..peers).map(|_| PeerId::random()).collect();
        let reached = HashSet::new();
        let mut world = Self { registrations: Registrations::default(), peers, now, reached, rng };
        for place in 0..world.peers.len() {
            world.insert(world.peers[place], place);
        }
        world
    }

    fn insert(&mut self, peer: PeerId, index: usize) {
        let ends = self.now + Duration::from_secs(60);
        self.registrations.insert(peer, record(index), ends, self.now, &self.reached, &mut self.rng);
    }

    /// The indices told, and the cookie.
    fn tell(&mut self, cookie: Option<&[u8]>, limit: usize) -> (Vec<usize>, Vec<u8>) {
        let Told { records, cookie } =
            self.registrations.tell(None, cookie, limit, self.now, &self.reached, &mut self.rng);
        (records.iter().map(|(record, _)| index(record)).collect(), cookie)
    }
}

#[test]
fn a_peer_has_one_record_its_last() {
    let mut world = World::of(1);
    world.insert(world.peers[0], 9);
    assert_eq!((world.tell(None, 12).0, world.registrations.len()), (vec![9], 1));
    world.registrations.remove(&world.peers[0]);
    assert!(world.tell(None, 12).0.is_empty());
}

#[test]
fn a_record_is_told_with_the_time_it_has_left_and_no_longer() {
    let mut world = World::of(1);
    let mut left = |seconds| {
        let now = world.now + Duration::from_secs(seconds);
        let told = world.registrations.tell(None, None, 12, now, &world.reached, &mut world.rng);
        told.records.first().map(|(_, left)| *left)
    };
    assert_eq!([left(0), left(45), left(59), left(60)], [Some(60), Some(15), Some(1), None]);
    world.registrations.expire(world.now + Duration::from_secs(60));
    assert_eq!(world.registrations.len(), 0);
}

#[test]
fn the_first_page_is_an_unbiased_sample() {
    let mut world = World::of(50);
    let mut counts = HashMap::<usize, u32>::new();
    for _ in 0..2000 {
        let (told, _) = world.tell(None, 10);
        assert_eq!(told.len(), 10);
        told.into_iter().for_each(|index| *counts.entry(index).or_default() += 1);
    }
    // Each is told 400 times on average with a deviation of 18; five of these are passed once in 35,000 runs of 50.
    assert!((0..50).all(|index| (310..490).contains(&counts[&index])), "{counts:?}");
}

#[test]
fn who_gives_the_cookie_back_is_told_everybody_once_before_anybody_twice() {
    let mut world = World::of(100);
    for _ in 0..3 {
        let (mut cookie, mut told) = (None, Vec::new());
        for _ in 0..8 {
            let (page, next) = world.tell(cookie.as_deref(), 12);
            (cookie, told) = (Some(next), [told, page].concat());
        }
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), 96);
        let (page, _) = world.tell(cookie.as_deref(), 12);
        // The four that are left, and the first eight of another order.
        assert_eq!(page.iter().collect::<HashSet<_>>().len(), 12);
        assert_eq!(told.iter().chain(&page[..4]).collect::<HashSet<_>>().len(), 100);
    }
}

#[test]
fn a_small_namespace_is_told_as_a_whole_every_time() {
    let mut world = World::of(5);
    let mut cookie = None;
    for _ in 0..20 {
        let (mut told, next) = world.tell(cookie.as_deref(), 12);
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2, 3, 4]);
        cookie = Some(next);
    }
}

#[test]
fn a_cookie_of_another_point_begins_anew() {
    let mut world = World::of(5);
    // The last one is that of a point of nwaku: an offset and a namespace.
    for cookie in [&[][..], &[0; 15], &[0; 17], &[8, 5, 18, 4, b'r', b's', b'/', b'2']] {
        assert_eq!(world.tell(Some(cookie), 12).0.len(), 5, "{cookie:?}");
    }
    assert_eq!(world.tell(Some(&[0xff; 16]), 12).0.len(), 5);
}

#[test]
fn the_reader_is_not_told_of_itself() {
    let mut world = World::of(5);
    let reader = Some(world.peers[3]);
    let told = world.registrations.tell(reader, None, 12, world.now, &world.reached, &mut world.rng);
    let told: HashSet<_> = told.records.iter().map(|(record, _)| index(record)).collect();
    assert_eq!(told, HashSet::from([0, 1, 2, 4]));
}

#[test]
fn a_flood_takes_the_places_that_its_share_of_registrations_gives_it() {
    let mut world = World::of(100);
    let honest = world.peers.clone();
    for round in 0..40 {
        // In each round the flood registers 900 new peers, and the honest ones renew.
        for _ in 0..900 {
            world.insert(PeerId::random(), 1000);
        }
        honest.iter().enumerate().for_each(|(index, peer)| world.insert(*peer, index));
        assert!(world.registrations.len() <= MAX_REGISTRATIONS, "{round}");
    }
    let left = honest.iter().filter(|peer| world.registrations.entries.contains_key(*peer)).count();
    // They have just renewed: hardly any has been hit since.
    assert!(left >= 85, "{left} of 100");
}

#[test]
fn a_flood_takes_no_place_of_a_node_that_was_reached() {
    let mut world = World::of(100);
    world.reached = world.peers.iter().copied().collect();
    for _ in 0..5 * MAX_REGISTRATIONS {
        world.insert(PeerId::random(), 1000);
    }
    assert!(world.peers.iter().all(|peer| world.registrations.entries.contains_key(peer)));
    let (told, _) = world.tell(None, 48);
    assert!(told.len() == 48 && told.iter().all(|index| *index < 100), "and they are told first: {told:?}");
}

#[test]
fn what_has_ended_makes_room_first() {
    let mut world = World::of(MAX_REGISTRATIONS);
    world.now += Duration::from_secs(60);
    world.insert(PeerId::random(), 7);
    assert_eq!(world.registrations.len(), 1);
}
