use tokio::time::advance;

use super::{super::source::Sources, *};

/// As many places for remotes as are wanted, and a third as many for others.
struct World {
    places: Places,
    sources: Sources,
    next: usize,
}

#[derive(Clone)]
struct Held {
    connection: ConnectionId,
    peer: PeerId,
    last_use: LastUse,
}

const GRACE: Duration = Duration::from_secs(5);

impl World {
    fn new(inbound: usize) -> Self {
        let limits =
            ConnectionLimits { total: inbound + inbound / 3, inbound, grace: GRACE, ..ConnectionLimits::default() };
        let sources = Sources::new(vec!["127.0.0.0/8".parse().unwrap()]);
        Self { places: Places::new(limits), sources, next: 0 }
    }

    /// Whoever comes needs a place at once.
    fn without_room_to_come(inbound: usize) -> Self {
        let mut world = Self::new(inbound);
        world.places.passing[0] = 0;
        world
    }

    /// Somebody comes from there; who has gone for it.
    fn comes(&mut self, ip: &str) -> Result<(Held, Option<Leaver>), ConnectionRefusal> {
        let (peer, source) = (PeerId::random(), self.sources.of(&format!("/ip4/{ip}/tcp/1").parse().unwrap()));
        let leaver = self.places.admit_inbound(&peer, source, Instant::now()).map_err(|exceeded| exceeded.refusal)?;
        let held = self.held(peer, Some(source));
        if let Some(leaver) = leaver {
            self.places.left(leaver.connection);
        }
        Ok((held, leaver))
    }

    fn held(&mut self, peer: PeerId, inbound: Option<Option<Source>>) -> Held {
        self.next += 1;
        let held = Held { connection: ConnectionId::new_unchecked(self.next), peer, last_use: LastUse::now() };
        self.places.taken(held.connection, peer, inbound, held.last_use.clone());
        held
    }

    /// All of them come, and nobody goes.
    fn come(&mut self, ips: impl IntoIterator<Item = String>) -> Vec<Held> {
        let mut all = Vec::new();
        for ip in ips {
            let (held, leaver) = self.comes(&ip).unwrap();
            assert_eq!(leaver, None);
            all.push(held);
        }
        all
    }

    /// The one that goes for a newcomer from there.
    fn leaver(&mut self, ip: &str) -> Result<Option<ConnectionId>, ConnectionRefusal> {
        self.comes(ip).map(|(_, leaver)| leaver.map(|leaver| leaver.connection))
    }
}

fn alone(number: usize) -> String {
    format!("10.1.{number}.1")
}

#[tokio::test(start_paused = true)]
async fn who_only_visits_a_full_node_takes_nobodys_place() {
    let mut world = World::new(12);
    let all = world.come((0..12).map(alone));
    advance(GRACE).await;
    let visitors = world.come((100..100 + PASSING).map(alone));
    assert!(world.leaver(&alone(50)).unwrap().is_some(), "not more at a time");
    for visitor in &visitors {
        assert_eq!(world.places.finish(Instant::now()), []);
        world.places.left(visitor.connection);
    }
    advance(STAYS).await;
    assert_eq!(world.places.finish(Instant::now()), []);
    assert_eq!(world.places.inbound(), 12);
    assert_eq!(all.iter().filter(|held| world.places.held.contains_key(&held.connection)).count(), 11);
}

#[tokio::test(start_paused = true)]
async fn a_mix_node_is_one_for_as_long_as_it_is_reached_and_there_are_no_more_than_places() {
    let (mut places, peer) = (World::new(3).places, PeerId::random());
    places.reached(peer, Instant::now());
    (0..9).for_each(|_| places.reached(PeerId::random(), Instant::now()));
    assert_eq!(places.reached.len(), 4);
    advance(REACHED_FOR / 2).await;
    places.reached(peer, Instant::now());
    advance(REACHED_FOR / 2).await;
    places.reached(PeerId::random(), Instant::now());
    assert!(places.reached.len() == 2 && places.reached.contains_key(&peer));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_keeps_no_other_from_coming() {
    let mut world = World::new(12);
    world.come((0..12).map(alone));
    world.come([10, 10, 11, 12].map(|host| format!("10.2.0.{host}")));
    for refused in ["10.2.0.10", "10.2.0.13"] {
        assert_eq!(world.leaver(refused), Err(ConnectionRefusal::Inbound), "{refused}: all places are in use");
    }
    world.come((50..54).map(alone));
    assert_eq!(world.leaver(&alone(60)), Err(ConnectionRefusal::Inbound), "not more than eight");
}

#[tokio::test(start_paused = true)]
async fn who_stays_takes_the_place_of_the_idlest_or_goes() {
    let mut world = World::new(2);
    let all = world.come((0..2).map(alone));
    let [first, second, third] = [10, 11, 12].map(|n| world.come([alone(n)]).remove(0));
    advance(GRACE).await;
    all[1].last_use.packet();
    third.last_use.packet();
    assert_eq!(world.places.inbound(), 2);
    let finish = |world: &mut World| -> Vec<ConnectionId> {
        let gone = world.places.finish(Instant::now());
        gone.iter().for_each(|(leaver, _)| world.places.left(leaver.connection));
        gone.iter().map(|(leaver, _)| leaver.connection).collect()
    };
    assert_eq!(finish(&mut world), [all[0].connection, first.connection, second.connection]);
    assert_eq!((world.places.inbound(), world.places.coming), (2, 0));
    // All places are in use, and so is who comes: it may wait for one.
    let fourth = world.come([alone(13)]).remove(0);
    advance(STAYS - GRACE / 10).await;
    [&all[1], &third, &fourth].iter().for_each(|held| held.last_use.packet());
    advance(GRACE / 10).await;
    assert_eq!(finish(&mut world), []);
    advance(GRACE).await;
    assert_eq!(finish(&mut world).len(), 1);
    assert!(world.places.held.contains_key(&fourth.connection));
}

#[tokio::test(start_paused = true)]
async fn mix_nodes_that_were_reached_take_places_and_stay_up_to_half_of_all() {
    let mut world = World::new(12);
    world.come((0..12).map(alone));
    world.places.passing = [0, 16];
    assert_eq!(world.leaver(&alone(50)), Err(ConnectionRefusal::Inbound), "all are in use");
    let comes = |world: &mut World, number: usize| {
        let (peer, source) =
            (PeerId::random(), world.sources.of(&format!("/ip4/{}/tcp/1", alone(number)).parse().unwrap()));
        world.places.reached(peer, Instant::now());
        let leaver = world.places.admit_inbound(&peer, source, Instant::now()).map_err(|exceeded| exceeded.refusal)?;
        let leaver = leaver.expect("somebody goes");
        world.places.left(leaver.connection);
        Ok((world.held(peer, Some(source)), leaver))
    };
    let hops: Vec<Held> = (60..68).map(|number| comes(&mut world, number).unwrap().0).collect();
    assert_eq!(comes(&mut world, 70).map(|(_, leaver)| leaver), Err(ConnectionRefusal::Inbound), "half of sixteen");
    advance(GRACE).await;
    let gone: Vec<_> = (0..4).map(|number| world.leaver(&alone(80 + number)).unwrap().unwrap()).collect();
    assert!(hops.iter().all(|held| !gone.contains(&held.connection)));
    assert_eq!(world.leaver(&alone(90)), Err(ConnectionRefusal::Inbound), "the others are fresh");
}

#[tokio::test(start_paused = true)]
async fn a_full_node_lets_go_of_the_connection_that_was_longest_without_a_packet() {
    let mut world = World::without_room_to_come(12);
    let all = world.come((0..12).map(alone));
    advance(GRACE).await;
    all.iter().enumerate().filter(|(n, _)| *n != 7).for_each(|(_, held)| held.last_use.packet());
    assert_eq!(world.leaver("10.9.0.1"), Ok(Some(all[7].connection)));
    assert_eq!(world.leaver("10.9.1.1"), Err(ConnectionRefusal::Inbound), "all others are in use");
    advance(GRACE).await;
    assert!(world.leaver("10.9.1.1").unwrap().is_some());
    assert_eq!(world.places.inbound(), 12);
}

#[tokio::test(start_paused = true)]
async fn those_that_this_node_dialled_or_needs_stay() {
    let mut world = World::without_room_to_come(3);
    let all = world.come((0..3).map(alone));
    world.held(all[0].peer, None);
    world.places.need(HashSet::from([all[1].peer]));
    advance(GRACE).await;
    assert_eq!(world.leaver(&alone(5)), Ok(Some(all[2].connection)));
}

#[tokio::test(start_paused = true)]
async fn what_this_node_dials_takes_idle_places_up_to_half_of_all() {
    let mut world = World::without_room_to_come(12);
    world.come((0..12).map(alone));
    let mut dial = |now| {
        let admitted = world.places.admit_outbound(&PeerId::random(), now);
        if let Ok(leaver) = &admitted {
            world.held(PeerId::random(), None);
            leaver.iter().for_each(|leaver| world.places.left(leaver.connection));
        }
        admitted.map(|leaver| leaver.is_some()).map_err(|exceeded| exceeded.refusal)
    };
    let now = Instant::now();
    let all = [now; 5].map(&mut dial);
    assert_eq!(all, [Ok(false), Ok(false), Ok(false), Ok(false), Err(ConnectionRefusal::Total)], "all are in use");
    let all = [now + GRACE; 5].map(&mut dial);
    assert_eq!(all, [Ok(true), Ok(true), Ok(true), Ok(true), Err(ConnectionRefusal::Total)]);
}

#[tokio::test(start_paused = true)]
async fn one_address_gets_a_quarter_of_the_places_and_one_subnet_half_whoever_comes_from_there() {
    let mut world = World::without_room_to_come(40);
    let crowd = world.come((0..10).map(|_| "10.2.0.1".to_owned()));
    assert_eq!(world.leaver("10.2.0.1"), Err(ConnectionRefusal::AddressShare));
    advance(GRACE).await;
    assert_eq!(world.leaver("10.2.0.1"), Ok(Some(crowd[0].connection)), "the idlest of its own");
    world.come((2..12).map(|n| format!("10.2.0.{n}")));
    assert_eq!(world.leaver("10.2.0.20"), Ok(Some(crowd[1].connection)), "the largest crowd of the subnet");
    assert_eq!(world.places.inbound(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_takes_no_place_from_those_who_have_fewer_and_gives_up_what_it_uses() {
    let mut world = World::without_room_to_come(40);
    let crowds: Vec<Held> = (0..4).flat_map(|n| world.come((0..7).map(|_| format!("10.3.{n}.1")))).collect();
    let honest = world.come((0..12).map(alone));
    advance(GRACE).await;
    crowds.iter().for_each(|held| held.last_use.packet());
    // All of the honest are idle, and none of the crowds is.
    assert_eq!(world.leaver("10.3.0.1"), Err(ConnectionRefusal::Inbound));
    let leaver = world.leaver(&alone(50)).unwrap().unwrap();
    assert!(crowds.iter().any(|held| held.connection == leaver), "an honest newcomer takes it from a crowd");
    assert!(honest.iter().all(|held| world.places.held.contains_key(&held.connection)));
}

#[tokio::test(start_paused = true)]
async fn shared_addresses_are_not_counted_and_nothing_is_kept_of_who_has_gone() {
    let mut world = World::without_room_to_come(12);
    let all = world.come((0..12).map(|_| "127.0.0.1".to_owned()));
    advance(GRACE).await;
    assert_eq!(world.leaver("127.0.0.1"), Ok(Some(all[0].connection)));
    let held: Vec<_> = world.places.held.keys().copied().collect();
    held.into_iter().for_each(|connection| world.places.left(connection));
    let other = world.come(["10.4.0.1".to_owned()]);
    world.places.left(other[0].connection);
    let Places { held, peers, addresses, subnets, inbound, leaving, .. } = &world.places;
    assert!(held.is_empty() && peers.is_empty() && addresses.is_empty() && subnets.is_empty());
    assert_eq!((*inbound, *leaving), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_few_are_on_their_way_out_at_a_time() {
    let mut world = World::without_room_to_come(16);
    let all = world.come((0..16).map(alone));
    advance(GRACE).await;
    let now = Instant::now();
    let mut asks = (100..110).map(|n| {
        let source = world.sources.of(&format!("/ip4/{}/tcp/1", alone(n)).parse().unwrap());
        let leaver = world.places.admit_inbound(&PeerId::random(), source, now);
        leaver.map(|leaver| {
            world.held(PeerId::random(), Some(source));
            leaver.unwrap()
        })
    });
    let gone: Vec<Leaver> = asks.by_ref().map_while(Result::ok).collect();
    assert_eq!(gone.len(), PASSING);
    assert!(gone.iter().all(|leaver| all.iter().any(|held| held.connection == leaver.connection)));
}

#[tokio::test(start_paused = true)]
async fn a_node_is_full_from_nine_tenths_to_seven_tenths_and_changes_its_mind_every_five_minutes() {
    let (mut fill, start) = (Fill::new(), Instant::now());
    let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
    assert!(!fill.with(89, 100, at(0)));
    assert!(fill.with(90, 100, at(1)));
    assert!(fill.with(10, 100, at(5)), "not yet");
    assert!(fill.with(71, 100, at(7)));
    assert!(!fill.with(70, 100, at(7)));
    assert!(!fill.with(100, 100, at(11)));
    assert!(fill.with(100, 100, at(12)));
}
