use libp2p_identity::Keypair;
use rand::{RngExt, SeedableRng};
use wakumix_records::rendezvous::MAX_RESPONSE;
use wakumix_sphinx::PrivateKey;

use super::*;
use crate::sources::{
    rendezvous::registrations::MAX_REGISTRATIONS,
    test_double::{CLUSTER, damaged, key, peer},
};

const MIX: &str = "rs/2/mix";

struct World {
    point: Point,
    now: Instant,
}

fn record(seed: u16) -> MixRecord {
    let addresses = vec!["/ip4/203.0.113.7/tcp/60001".parse().unwrap()];
    MixRecord { peer: peer(seed), seq: 1, addresses, mix_key: Some(PrivateKey::from_bytes([7; 32]).public()) }
}

fn registration(seed: u16) -> Registration {
    Registration { namespace: MIX.to_owned(), record: record(seed).seal(&key(seed)).unwrap(), ttl: Some(60) }
}

impl World {
    fn new() -> Self {
        Self { point: Point::new(CLUSTER, StdRng::seed_from_u64(3)), now: Instant::now() }
    }

    fn answer(&mut self, from: Requester, request: Request) -> Option<Response> {
        // Nobody here asks too often.
        self.now += Duration::from_secs(1);
        let (outcome, response) = self.point.answer(from, None, &request.encode(), self.now);
        assert_ne!(outcome, Outcome::Throttled);
        response
    }

    fn register(&mut self, from: u16, registration: Registration) -> Result<u64, Status> {
        match self.answer(Requester::Peer(peer(from)), Request::Register(registration)) {
            Some(Response::Register(outcome)) => outcome.map_err(|refused| refused.status),
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn discover(&mut self, query: Query) -> Result<Vec<Registration>, Status> {
        match self.answer(Requester::Anonymous, Request::Discover(query)) {
            Some(Response::Discover(outcome)) => {
                outcome.map(|page| page.registrations).map_err(|refused| refused.status)
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn told(&mut self, namespace: &str) -> Vec<Registration> {
        self.discover(Query { namespace: Some(namespace.to_owned()), ..Query::default() }).unwrap()
    }
}

#[test]
fn tells_what_was_registered() {
    let mut world = World::new();
    assert_eq!(world.register(1, registration(1)), Ok(60));
    let told = world.told(MIX);
    assert_eq!(told, [Registration { ttl: Some(59), ..registration(1) }]);
    assert_eq!(world.point.take_news(), [record(1)]);
    assert_eq!(world.point.take_news(), []);
}

#[test]
fn forgets_what_was_unregistered_by_the_peer_itself() {
    let mut world = World::new();
    world.register(1, registration(1)).unwrap();
    for (from, namespace, left) in [(2, MIX, 1), (1, "rs/2", 1), (1, "rs/3/mix", 1), (1, MIX, 0)] {
        let request = Request::Unregister { namespace: namespace.to_owned() };
        assert_eq!(world.answer(Requester::Peer(peer(from)), request), None);
        assert_eq!(world.told(MIX).len(), left);
    }
}

#[test]
fn registrations_end_and_no_wish_makes_them_last_longer_than_the_limit() {
    let mut world = World::new();
    assert_eq!(world.register(1, Registration { ttl: None, ..registration(1) }), Ok(MIN_TTL));
    world.point.set_reached([peer(2)].into());
    let longest = |seed| Registration { ttl: Some(MAX_TTL), ..registration(seed) };
    assert_eq!(world.register(2, longest(2)), Ok(LONGEST_TTL));
    assert_eq!(world.register(3, longest(3)), Ok(LONGEST_TTL_OF_UNVERIFIED), "lies do not outlive the liar for long");
    assert_eq!(world.told(MIX).len(), 3);
    world.now += Duration::from_secs(LONGEST_TTL_OF_UNVERIFIED);
    assert_eq!(world.told(MIX).len(), 1);
    world.now += Duration::from_secs(LONGEST_TTL);
    assert_eq!(world.told(MIX), []);
    assert_eq!(world.point.expire(world.now), 0);
}

#[test]
fn refuses_with_the_statuses_of_libp2p() {
    let with = |ttl| Registration { ttl: Some(ttl), ..registration(1) };
    let among = |namespace: &str| Registration { namespace: namespace.to_owned(), ..registration(1) };
    let holding =
        |record: MixRecord, key: &Keypair| Registration { record: record.seal(key).unwrap(), ..registration(1) };
    let keyless = MixRecord { mix_key: None, ..record(1) };
    let long = vec![format!("/dns4/{}.example.org/tcp/443/wss", "n".repeat(60)).parse().unwrap(); 14];
    let table = [
        (with(MIN_TTL - 1), Status::InvalidTtl),
        (with(MAX_TTL + 1), Status::InvalidTtl),
        (with(u64::MAX), Status::InvalidTtl),
        (among("rs/3/mix"), Status::InvalidNamespace),
        (among("rs/2/mix/"), Status::InvalidNamespace),
        (among("rs/2/0"), Status::InvalidNamespace),
        (among(""), Status::InvalidNamespace),
        // Another's record, replayed; a record about another; one without a key; one that is too long; none.
        (registration(2), Status::InvalidRecord),
        (holding(record(1), &key(2)), Status::InvalidRecord),
        (holding(keyless, &key(1)), Status::InvalidRecord),
        (holding(MixRecord { addresses: long, ..record(1) }, &key(1)), Status::InvalidRecord),
        (Registration { record: vec![7; 40], ..registration(1) }, Status::InvalidRecord),
    ];
    let mut world = World::new();
    for (registration, status) in table {
        assert_eq!(world.register(1, registration.clone()), Err(status), "{registration:?}");
    }
    assert_eq!((world.point.expire(world.now), world.point.take_news()), (0, vec![]));
    for namespace in [Some("rs/3/mix".to_owned()), None] {
        let query = Query { namespace, ..Query::default() };
        assert_eq!(world.discover(query), Err(Status::InvalidNamespace));
    }
}

#[test]
fn nobody_registers_through_the_mixnet() {
    let mut world = World::new();
    let response = world.answer(Requester::Anonymous, Request::Register(registration(1)));
    assert!(matches!(response, Some(Response::Register(Err(Refused { status: Status::NotAuthorized, .. })))));
}

#[test]
fn all_nodes_of_the_cluster_may_register_with_either_record() {
    let mut world = World::new();
    let MixRecord { peer, seq, addresses, .. } = record(2);
    let plain = PeerRecord { peer, seq, addresses };
    let namespace = "rs/2".to_owned();
    let plain = Registration { namespace: namespace.clone(), record: plain.seal(&key(2)).unwrap(), ttl: Some(60) };
    assert_eq!(world.register(1, Registration { namespace, ..registration(1) }), Ok(60));
    assert_eq!(world.register(2, plain.clone()), Ok(60));
    assert_eq!(world.register(3, plain.clone()), Err(Status::InvalidRecord));
    assert_eq!(world.register(2, Registration { namespace: MIX.to_owned(), ..plain }), Err(Status::InvalidRecord));
    assert_eq!((world.told("rs/2").len(), world.told(MIX).len()), (2, 0));
    assert_eq!(world.point.take_news(), []);
}

#[test]
fn a_page_holds_what_was_asked_for_and_fits_what_readers_take() {
    let mut world = World::new();
    for seed in (0..).take(MAX_TOLD + 10) {
        world.register(seed, registration(seed)).unwrap();
    }
    let mut told =
        |limit| world.discover(Query { namespace: Some(MIX.to_owned()), limit, cookie: None }).unwrap().len();
    assert_eq!([told(Some(0)), told(Some(12)), told(Some(u64::MAX)), told(None)], [0, 12, MAX_TOLD, MAX_TOLD]);
    let largest = Registration { namespace: MIX.to_owned(), record: vec![0; MAX_RECORD], ttl: Some(LONGEST_TTL) };
    let page = Page { registrations: vec![largest; MAX_TOLD], surplus: 0, cookie: Some(vec![0; 16]) };
    assert!(Response::Discover(Ok(page)).encode().len() <= MAX_RESPONSE);
}

#[test]
fn whoever_asks_too_often_gets_no_answer_and_keeps_nobody_from_his() {
    let mut world = World::new();
    let body = Request::Discover(Query { namespace: Some(MIX.to_owned()), ..Query::default() }).encode();
    let mut served =
        |seed| world.point.answer(Requester::Peer(peer(seed)), None, &body, world.now).0 == Outcome::Served;
    assert_eq!((0..1000).filter(|_| served(1)).count(), 8);
    assert!(served(2));
}

#[test]
fn ten_thousand_hostile_requests_register_nobody() {
    let mut world = World::new();
    world.register(1, registration(1)).unwrap();
    world.point.take_news();
    let (mut rng, honest) = (StdRng::seed_from_u64(9), Request::Register(registration(1)).encode());
    let mut outcomes = [0; Outcome::ALL.len()];
    for _ in 0..10_000 {
        world.now += Duration::from_millis(10);
        // One in four is a whole request of somebody else.
        let body = if rng.random_range(0..4) == 0 { honest.clone() } else { damaged(&mut rng, &honest) };
        let from = Requester::Peer(peer(rng.random_range(2..200)));
        let (outcome, response) = world.point.answer(from, None, &body, world.now);
        assert!(!matches!(response, Some(Response::Register(Ok(_)))));
        outcomes[outcome as usize] += 1;
    }
    assert_eq!(world.point.take_news(), []);
    assert!(world.point.expire(world.now - Duration::from_secs(100)) <= 1);
    assert_eq!(outcomes.iter().sum::<u32>(), 10_000);
    assert!(outcomes[Outcome::Refused as usize] > 1000 && outcomes[Outcome::Malformed as usize] > 1000, "{outcomes:?}");
}

/// A hundred registrations per second from four networks, by ever new identities, and as many readers.
#[test]
fn a_flood_of_registrations_starves_neither_readers_nor_newcomers_nor_those_that_were_reached() {
    let mut world = World::new();
    world.point.set_reached((0..6).map(peer).collect());
    let register = |seed| Request::Register(registration(seed)).encode();
    let read = Request::Discover(Query { namespace: Some(MIX.to_owned()), ..Query::default() }).encode();
    let (mut served, mut asked) = (0, 0);
    let mut answer = |seed: u16, ip: [u8; 4], body: &[u8], now| {
        world.point.answer(Requester::Peer(peer(seed)), Some(ip.into()), body, now).0 == Outcome::Served
    };
    let mut rng = StdRng::seed_from_u64(4);
    for second in 0..10_u64 {
        for part in 0..100_u64 {
            let now = world.now + Duration::from_millis(second * 1000 + part * 10);
            let liar = rng.random_range(1000..60_000);
            answer(liar, [77, 1, u8::try_from(part % 4).unwrap(), 9], &[], now);
            answer(liar, [77, 1, u8::try_from(part % 4).unwrap(), 9], &register(liar), now);
            if part == 50 && second == 9 {
                // Six that were reached, in the flooded network, six newcomers and six readers elsewhere.
                for honest in 0..6 {
                    asked += 3;
                    served += usize::from(answer(honest, [77, 1, 0, 200], &register(honest), now));
                    let ip = [90 + u8::try_from(honest).unwrap(), 1, 1, 1];
                    served += usize::from(answer(100 + honest, ip, &register(100 + honest), now));
                    served += usize::from(answer(200 + honest, ip, &read, now));
                }
            }
        }
    }
    assert_eq!((served, asked), (18, 18));
    world.now += Duration::from_secs(30);
    let told = world.discover(Query { namespace: Some(MIX.to_owned()), limit: Some(6), cookie: None }).unwrap();
    let peers: HashSet<_> = told.iter().map(|told| MixRecord::open(&told.record).unwrap().peer).collect();
    assert_eq!(peers, (0..6).map(peer).collect(), "those that were reached are told first");
}

#[test]
fn registrations_and_news_are_bounded() {
    let mut world = World::new();
    world.point.set_reached((0..).take(MAX_REGISTRATIONS + 100).map(peer).collect());
    for seed in (0..).take(MAX_REGISTRATIONS + 100) {
        let longest = Registration { ttl: Some(LONGEST_TTL), ..registration(seed) };
        world.register(seed, longest).unwrap();
    }
    assert_eq!(world.point.expire(world.now), MAX_REGISTRATIONS);
    assert_eq!(world.point.take_news().len(), MAX_NEWS);
}
