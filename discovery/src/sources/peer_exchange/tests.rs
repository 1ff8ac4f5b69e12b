use enr::{Enr, k256::ecdsa::SigningKey};
use rand::SeedableRng;
use tokio::time::Instant;
use wakumix_records::{
    node_record::{NodeRecord, RecordFields},
    peer_exchange::{MAX_RESPONSE, PeerExchangeStatus, Response, decode_request},
};
use wakumix_role_api::{
    Requester,
    host::{OutboundRequest, ReadRule, RequestFailure},
};
use wakumix_waku::record::{Capabilities, Shards};

use super::*;
use crate::{
    local::LocalRecord,
    node_record::report,
    peer_report::{PeerReport, SignedRecord},
    sources::test_double::{CLUSTER, Node, answer, body_of, by_peer, damaged, peer, secret, sender},
};

/// The node record of a test peer.
pub(super) fn record(seed: u16, cluster: u16) -> NodeRecord {
    let [high, low] = seed.to_be_bytes();
    let fields = RecordFields {
        ip4: Some([203, 0, high, low].into()),
        tcp4: Some(60_000),
        capabilities: Some(Capabilities::RELAY),
        shards: Some(Shards { cluster, shards: vec![0] }),
        ..RecordFields::default()
    };
    let key = SigningKey::from_slice(&secret(seed)).unwrap();
    NodeRecord::of(&fields.sign(1, &key).unwrap().record).unwrap()
}

/// What discovery knows of a test peer.
pub(super) fn known(seed: u16) -> PeerReport {
    report(&record(seed, CLUSTER))
}

/// The record that a peer report holds. Signatures are randomised: none is made twice.
fn record_of(report: &PeerReport) -> Vec<u8> {
    match &report.record {
        Some(SignedRecord::NodeRecord(bytes)) => bytes.clone(),
        other => panic!("unexpected: {other:?}"),
    }
}

/// A record with these bytes under `multiaddrs` and no other address.
pub(super) fn with_multiaddrs(seed: u16, multiaddrs: &[u8]) -> Vec<u8> {
    let key = SigningKey::from_slice(&secret(seed)).unwrap();
    let shards = Shards { cluster: CLUSTER, shards: vec![0] }.encode().unwrap();
    let mut builder = Enr::builder();
    builder.add_value("rs", &&shards[..]).add_value("multiaddrs", &multiaddrs);
    NodeRecord::of(&builder.build(&key).unwrap()).unwrap().encoded
}

fn source(config: PeerExchangeConfig) -> PeerExchange {
    PeerExchange::with_rng(config, CLUSTER, StdRng::seed_from_u64(8))
}

fn node(seed: u16, local: LocalRecord) -> Node {
    Node::new(seed, local, &source(PeerExchangeConfig::default()))
}

/// A node that asks peer 2.
fn asking() -> Node {
    let node = node(1, sender(1));
    node.meets(peer(2), PROTOCOL);
    node
}

/// Checks a request and answers it with records.
fn give(request: OutboundRequest, records: Vec<Vec<u8>>) {
    assert_eq!(decode_request(&body_of(&request)), Ok(60));
    assert_eq!((request.protocol.as_str(), request.read), (PROTOCOL, ReadRule::LengthPrefixed { max: MAX_RESPONSE }));
    answer(request, &Response::success(records).encode());
}

#[tokio::test(start_paused = true)]
async fn a_client_finds_what_a_server_knows() {
    let everybody: Vec<_> = (10..40).map(known).collect();
    let others = [report(&record(50, 3))];
    let known = everybody.iter().cloned().chain(others).collect();
    let server = Node::knowing(2, sender(2), &source(PeerExchangeConfig::default()), known);
    // The server looks at what is known before anybody asks.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut client = node(1, sender(1));
    client.meets(server.peer, PROTOCOL);
    let request = client.request().await;
    client.carry(request, &server).await;
    let (mut log, _) = client.log_at_next_request().await;
    log.found.sort_by_key(|report| report.addresses.clone());
    assert_eq!(log.found, everybody);
    assert_eq!((log.answered, log.refused.len()), (1, 0));
    assert!(server.has_metric(r#"waku_mix_discovery_requests_total{protocol="peer-exchange",outcome="served"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn a_server_follows_what_is_known() {
    let server = node(2, sender(2));
    let mut asks = 0;
    let mut count = async |server: &Node| {
        asks += 1;
        let body = wakumix_records::peer_exchange::encode_request(60);
        let answer = server.serve(Requester::Peer(peer(100 + asks)), body).await.unwrap();
        Response::decode(&answer).map(|response| response.records.len())
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(count(&server).await, Ok(0));
    server.log.lock().known = by_peer((10..80).map(known));
    tokio::time::sleep(REFRESH_SOON).await;
    assert_eq!(count(&server).await, Ok(60));
    server.log.lock().known.clear();
    tokio::time::sleep(REFRESH - Duration::from_secs(10)).await;
    assert_eq!(count(&server).await, Ok(60));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(count(&server).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn configured_peers_are_asked_at_once_and_at_their_address() {
    let text = format!("/dns4/px.example.org/tcp/443/wss/p2p/{}", peer(2));
    let peers = vec![text.parse().unwrap()];
    let mut client = Node::new(1, sender(1), &source(PeerExchangeConfig { peers }));
    let start = Instant::now();
    let request = client.request().await;
    assert_eq!((request.peer, start.elapsed()), (peer(2), Duration::ZERO));
    assert_eq!(request.addresses, ["/dns4/px.example.org/tcp/443/wss".parse().unwrap()]);
    // It is asked again though it could not be reached.
    request.reply.send(Err(RequestFailure::DialFailed)).unwrap();
    assert_eq!(client.request().await.peer, peer(2));
}

#[tokio::test(start_paused = true)]
async fn a_small_pool_is_asked_for_often_and_a_large_one_seldom() {
    for (pool, expected) in [(0, 10), (4, 30), (31, 30), (32, 300)] {
        let mut client = node(1, sender(1));
        client.show_pool(1..=pool);
        client.meets(peer(2), PROTOCOL);
        give(client.request().await, Vec::new());
        let start = Instant::now();
        for _ in 0..200 {
            give(client.request().await, Vec::new());
        }
        let average = start.elapsed().as_secs_f64() / 200.0;
        assert!((0.9..1.1).contains(&(average / f64::from(expected))), "{average} s with {pool} nodes");
    }
}

#[tokio::test(start_paused = true)]
async fn each_false_record_is_counted_by_its_reason_and_spoils_nothing_else() {
    let mut client = asking();
    let known = known(5);
    let good = record_of(&known);
    let mut changed = good.clone();
    *changed.last_mut().unwrap() ^= 1;
    let table = [
        ("malformed", Vec::new()),
        ("malformed", vec![0xff; 100]),
        ("malformed", good[..good.len() - 1].to_vec()),
        ("malformed", [&good[..], &[0]].concat()),
        ("signature", changed),
        ("too_many", vec![0; 301]),
    ];
    let mut request = client.request().await;
    for (reason, record) in table {
        give(request, vec![record.clone(), good.clone()]);
        let (log, next) = client.log_at_next_request().await;
        assert_eq!(log.refused.into_iter().collect::<Vec<_>>(), [(reason, 1)], "{record:?}");
        assert_eq!(log.found, std::slice::from_ref(&known));
        request = next;
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_asked_for_is_counted_and_not_looked_at() {
    let mut client = asking();
    give(client.request().await, vec![record(5, CLUSTER).encoded; MAX_RECORDS + 9]);
    let (log, _) = client.log_at_next_request().await;
    assert_eq!((log.found.len(), log.refused.get("too_many")), (MAX_RECORDS, Some(&9)));
}

#[tokio::test(start_paused = true)]
async fn answers_without_success_and_bytes_that_cannot_be_read_count_as_no_answer() {
    let mut client = asking();
    let failures = [
        PeerExchangeStatus::BadRequest,
        PeerExchangeStatus::TooManyRequests,
        PeerExchangeStatus::Unavailable,
        PeerExchangeStatus::Other(599),
    ];
    for status in failures {
        answer(client.request().await, &Response::failure(status, "no").encode());
    }
    for body in [&b""[..], &[0xff; 20], &[0x12, 0]] {
        answer(client.request().await, body);
    }
    client.request().await.reply.send(Ok(vec![5, 1])).unwrap();
    let (log, _) = client.log_at_next_request().await;
    assert_eq!((log.answered, log.unanswered, log.found.len()), (0, 8, 0));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_this_node_is_no_news() {
    let mut client = asking();
    give(client.request().await, vec![record(1, CLUSTER).encoded]);
    let (log, _) = client.log_at_next_request().await;
    assert!(log.found.is_empty() && log.refused.is_empty());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_hostile_records_leave_nothing_behind() {
    let mut client = asking();
    let (mut rng, known) = (StdRng::seed_from_u64(4), known(5));
    let good = record_of(&known);
    let mut refused = 0;
    let mut request = client.request().await;
    for _ in 0..10_000 / (MAX_RECORDS - 1) + 1 {
        let mut records: Vec<_> = (1..MAX_RECORDS).map(|_| damaged(&mut rng, &good)).collect();
        records.push(good.clone());
        give(request, records);
        let (log, next) = client.log_at_next_request().await;
        assert_eq!(log.found, std::slice::from_ref(&known));
        refused += log.refused.values().sum::<u64>();
        request = next;
    }
    assert!(refused >= 10_000, "{refused}");
}
