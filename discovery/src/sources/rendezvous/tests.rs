use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;
use wakumix_records::rendezvous::{
    MAX_RESPONSE, MIN_TTL, MixRecord, PAGE, PROTOCOL, Page, Query, Refused, Registration, Request, Response, Status,
};
use wakumix_role_api::host::{OutboundRequest, ReadRule, RequestFailure};

use super::{
    Rendezvous,
    client::{INTERVAL, signed},
    registrations::MAX_RECORD,
};
use crate::{
    local::LocalRecord,
    sources::test_double::{CLUSTER, Node, answer, body_of, damaged, key, mixer, peer, sender},
};

fn node(seed: u16, local: LocalRecord) -> Node {
    Node::new(seed, local, &Rendezvous::with_rng(CLUSTER, StdRng::seed_from_u64(2)))
}

/// A node that asks peer 2.
fn asking() -> Node {
    let node = node(1, sender(1));
    node.meets(peer(2), PROTOCOL);
    node
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn record(seed: u16) -> MixRecord {
    let LocalRecord { peer, addresses, mix_key, .. } = mixer(seed);
    MixRecord { peer, seq: now(), addresses, mix_key }
}

fn registration(record: &MixRecord, seed: u16) -> Registration {
    Registration { namespace: "rs/2/mix".to_owned(), record: record.seal(&key(seed)).unwrap(), ttl: Some(60) }
}

fn asked(request: &OutboundRequest) -> Request {
    assert_eq!((request.protocol.as_str(), request.addresses.len()), (PROTOCOL, 0));
    assert_eq!(request.read, ReadRule::LengthPrefixed { max: MAX_RESPONSE });
    Request::decode(&body_of(request)).unwrap()
}

fn query(request: &OutboundRequest) -> Query {
    match asked(request) {
        Request::Discover(query) => query,
        other => panic!("unexpected: {other:?}"),
    }
}

fn page(request: OutboundRequest, registrations: Vec<Registration>, cookie: Option<Vec<u8>>) {
    answer(request, &Response::Discover(Ok(Page { registrations, surplus: 0, cookie })).encode());
}

#[tokio::test(start_paused = true)]
async fn a_mixer_registers_and_those_who_ask_find_it_as_the_point_itself_does() {
    let (mut one, mut point, mut other) = (node(1, mixer(1)), node(2, sender(2)), node(3, sender(3)));
    one.meets(point.peer, PROTOCOL);
    let register = one.request().await;
    assert!(matches!(asked(&register), Request::Register(_)));
    one.carry(register, &point).await;
    let discover = one.request().await;
    one.carry(discover, &point).await;

    other.meets(point.peer, PROTOCOL);
    let discover = other.request().await;
    let asked_for = Query { namespace: Some("rs/2/mix".to_owned()), limit: Some(12), cookie: None };
    assert_eq!(query(&discover), asked_for);
    other.carry(discover, &point).await;
    let (log, _) = other.log_at_next_request().await;
    let [found] = &log.found[..] else { panic!("{log:?}") };
    let LocalRecord { peer, addresses, mix_key, .. } = mixer(1);
    assert_eq!((found.peer, &found.addresses, found.mix_key), (peer, &addresses, mix_key));
    assert!(now() - found.version < 60 && found.capabilities.is_none() && found.expires.is_none());
    assert_eq!((log.answered, log.unanswered), (1, 0));

    // What is registered is also found by whom it is registered with.
    point.meets(one.peer, PROTOCOL);
    let (log, _) = point.log_at_next_request().await;
    assert_eq!(log.found.iter().map(|report| report.peer).collect::<Vec<_>>(), [one.peer]);
    assert!(point.has_metric("waku_mix_rendezvous_registered 1"));
    assert!(point.has_metric(r#"waku_mix_discovery_requests_total{protocol="rendezvous",outcome="served"} 3"#));
    assert!(one.has_metric(r#"waku_mix_rendezvous_registrations_total{outcome="registered"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_renewed_is_forgotten() {
    let (mut one, point, mut other) = (node(1, mixer(1)), node(2, sender(2)), node(3, sender(3)));
    one.meets(point.peer, PROTOCOL);
    let register = one.request().await;
    one.carry(register, &point).await;
    other.meets(point.peer, PROTOCOL);
    for (wait, found) in [(0, 1), (MIN_TTL, 0)] {
        tokio::time::advance(Duration::from_secs(wait)).await;
        let discover = other.request().await;
        other.carry(discover, &point).await;
        let (log, next) = other.log_at_next_request().await;
        assert_eq!(log.found.len(), found);
        next.reply.send(Err(RequestFailure::Timeout)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_mixer_that_can_be_reached_registers() {
    for local in
        [sender(1), LocalRecord { addresses: Vec::new(), ..mixer(1) }, LocalRecord { mix_key: None, ..mixer(1) }]
    {
        let mut one = node(1, local);
        one.meets(peer(2), PROTOCOL);
        for _ in 0..3 {
            let request = one.request().await;
            query(&request);
            page(request, Vec::new(), None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_point_is_asked_about_every_ten_seconds() {
    let mut one = asking();
    drop(one.request().await);
    let start = Instant::now();
    for _ in 0..100 {
        drop(one.request().await);
    }
    let average = start.elapsed() / 100;
    assert!((INTERVAL * 9 / 10..INTERVAL * 11 / 10).contains(&average), "{average:?}");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_speak_the_protocol_after_all_is_not_asked_again() {
    let mut one = asking();
    one.request().await.reply.send(Err(RequestFailure::Unsupported)).unwrap();
    one.meets(peer(3), PROTOCOL);
    for _ in 0..5 {
        let request = one.request().await;
        assert_eq!(request.peer, peer(3));
        request.reply.send(Err(RequestFailure::Timeout)).unwrap();
    }
    let (log, _) = one.log_at_next_request().await;
    assert_eq!((log.answered, log.unanswered), (0, 6));
}

#[tokio::test(start_paused = true)]
async fn the_cookie_of_a_point_is_given_back_until_it_is_refused() {
    let mut one = asking();
    let refused = Response::Discover(Err(Refused::new(Status::InvalidCookie, "no"))).encode();
    let mut cookie = None;
    for given in [Some(vec![1; 20]), Some(vec![2; 512]), Some(vec![3; 513]), None, Some(vec![4])] {
        let request = one.request().await;
        assert_eq!(query(&request).cookie, cookie);
        page(request, Vec::new(), given.clone());
        cookie = given.filter(|cookie| cookie.len() <= 512);
    }
    let request = one.request().await;
    assert_eq!(query(&request).cookie, cookie);
    answer(request, &refused);
    assert_eq!(query(&one.request().await).cookie, None);
}

#[tokio::test(start_paused = true)]
async fn each_false_record_is_counted_by_its_reason_and_spoils_nothing_else() {
    let mut one = asking();
    let good = registration(&record(5), 5);
    let sealed = |record: MixRecord| registration(&record, 5);
    let broken = |place: usize| {
        let mut changed = good.clone();
        changed.record[place] ^= 1;
        changed
    };
    let last = good.record.len() - 1;
    let table = [
        ("malformed", Registration { record: Vec::new(), ..good.clone() }),
        ("malformed", Registration { record: vec![0xff; 300], ..good.clone() }),
        ("signature", broken(last)),
        ("signature", registration(&record(6), 5)),
        ("cluster", Registration { namespace: "rs/3/mix".to_owned(), ..good.clone() }),
        ("cluster", Registration { namespace: "rs/2".to_owned(), ..good.clone() }),
        ("address", sealed(MixRecord { addresses: Vec::new(), ..record(5) })),
        ("irrelevant", sealed(MixRecord { mix_key: None, ..record(5) })),
        ("expired", sealed(MixRecord { seq: now() - 73 * 3600, ..record(5) })),
        ("expired", sealed(MixRecord { seq: now() + 3600, ..record(5) })),
        ("expired", sealed(MixRecord { seq: u64::MAX, ..record(5) })),
    ];
    for (reason, registration) in table {
        page(one.request().await, vec![registration.clone(), good.clone()], None);
        // Nothing is sent that would tell when the answer was taken, except for the next request.
        let (log, next) = one.log_at_next_request().await;
        assert_eq!(log.refused.into_iter().collect::<Vec<_>>(), [(reason, 1)], "{registration:?}");
        assert_eq!(log.found.len(), 1);
        next.reply.send(Err(RequestFailure::Timeout)).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_of_this_node_is_no_news() {
    let mut one = asking();
    page(one.request().await, vec![registration(&record(1), 1)], None);
    let (log, _) = one.log_at_next_request().await;
    assert!(log.found.is_empty() && log.refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_than_asked_for_is_counted_and_not_looked_at() {
    let mut one = asking();
    page(one.request().await, vec![registration(&record(5), 5); PAGE + 7], None);
    let (log, _) = one.log_at_next_request().await;
    assert_eq!((log.found.len(), log.refused.get("too_many")), (PAGE, Some(&7)));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_hostile_records_leave_nothing_behind() {
    let mut one = asking();
    let (mut rng, good) = (StdRng::seed_from_u64(4), registration(&record(5), 5));
    let mut hostile = || Registration { record: damaged(&mut rng, &good.record), ..good.clone() };
    let mut refused = 0;
    let mut request = one.request().await;
    for _ in 0..10_000 / (PAGE - 1) + 1 {
        let mut registrations: Vec<_> = (1..PAGE).map(|_| hostile()).collect();
        registrations.push(good.clone());
        page(request, registrations, None);
        let (log, next) = one.log_at_next_request().await;
        assert_eq!((log.found.len(), log.found[0].peer), (1, peer(5)));
        refused += log.refused.values().sum::<u64>();
        request = next;
    }
    assert!(refused >= 10_000, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_none_counts_as_no_answer() {
    let mut one = asking();
    let registered = Response::Register(Ok(60)).encode();
    for body in [&b""[..], &[0xff; 20], &registered] {
        answer(one.request().await, body);
    }
    one.request().await.reply.send(Ok(vec![5, 1])).unwrap();
    let (log, _) = one.log_at_next_request().await;
    assert_eq!((log.answered, log.unanswered, log.found.len()), (0, 4, 0));
}

#[test]
fn a_record_has_as_many_addresses_as_fit() {
    let name = |index| format!("/dns4/{}{index}.example.org/tcp/443/wss", "n".repeat(180)).parse().unwrap();
    let local = LocalRecord { addresses: (0..8).map(name).collect(), ..mixer(1) };
    let bytes = signed(&local, &key(1), 7).unwrap();
    let record = MixRecord::open(&bytes).unwrap();
    assert!(bytes.len() <= MAX_RECORD);
    assert_eq!((record.seq, record.addresses), (7, local.addresses[..3].to_vec()));
    let local = LocalRecord { addresses: vec!["/ip4/203.0.113.7/tcp/1".parse().unwrap(); 20], ..mixer(1) };
    assert_eq!(MixRecord::open(&signed(&local, &key(1), 7).unwrap()).unwrap().addresses.len(), 8);
}
