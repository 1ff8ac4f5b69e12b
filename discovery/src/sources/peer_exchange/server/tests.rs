use std::collections::{HashMap, HashSet};

use rand::{RngExt, SeedableRng};
use wakumix_records::peer_exchange::encode_request;

use super::*;
use crate::sources::{
    peer_exchange::tests::{known, record, with_multiaddrs},
    test_double::{CLUSTER, peer},
};

fn rng() -> StdRng {
    StdRng::seed_from_u64(6)
}

/// Records with these peers' numbers in them; the first `alive` of them are of living nodes.
fn server(records: u16, alive: u16) -> Server {
    let shareable =
        |seed: u16| Shareable { peer: peer(seed), record: seed.to_be_bytes().to_vec(), is_alive: seed < alive };
    let mut server = Server::new(rng());
    server.replace((0..records).map(shareable).collect());
    server
}

/// Asks as often as nobody would mind.
fn ask(server: &mut Server, from: Requester, body: &[u8], round: u32) -> (Outcome, Response) {
    server.answer(from, body, Instant::now() + Duration::from_secs(60) * round)
}

fn told(server: &mut Server, count: u64, round: u32) -> Vec<u16> {
    let (_, response) = ask(server, Requester::Anonymous, &encode_request(count), round);
    assert_eq!(response.status, PeerExchangeStatus::Success);
    response.records.iter().map(|record| record[1].into()).collect()
}

#[test]
fn gives_what_is_asked_for_and_never_more_than_an_answer_holds() {
    let mut server = server(100, 100);
    let mut lens = [0, 5, 60, 61, 1 << 40, u64::MAX].map(|count| (count, 0)).to_vec();
    for ((count, len), round) in lens.iter_mut().zip(0..) {
        let told = told(&mut server, *count, round);
        assert_eq!(told.iter().collect::<HashSet<_>>().len(), told.len());
        *len = told.len();
    }
    assert_eq!(lens.iter().map(|(_, len)| *len).collect::<Vec<_>>(), [0, 5, 60, 60, 60, 60]);
}

#[test]
fn the_sample_is_unbiased() {
    let mut server = server(50, 50);
    let mut counts = HashMap::<u16, u32>::new();
    for round in 0..2000 {
        told(&mut server, 10, round).into_iter().for_each(|seed| *counts.entry(seed).or_default() += 1);
    }
    // Each is told 400 times on average with a deviation of 18.
    assert!((0..50).all(|seed| (310..490).contains(&counts[&seed])), "{counts:?}");
}

#[test]
fn nodes_that_were_not_reached_are_a_quarter_of_an_answer() {
    let mut one = server(100, 9);
    let answer = told(&mut one, 20, 0);
    assert_eq!((answer.iter().filter(|seed| **seed < 9).count(), answer.len()), (9, 12));
    let mut other = server(100, 50);
    let answer = told(&mut other, 20, 0);
    assert_eq!((answer.iter().filter(|seed| **seed < 50).count(), answer.len()), (15, 20));
    assert!(told(&mut server(100, 0), 20, 0).is_empty());
}

#[test]
fn nobody_is_told_of_himself() {
    let mut server = server(10, 10);
    let (_, response) = ask(&mut server, Requester::Peer(peer(3)), &encode_request(60), 0);
    assert!(response.records.len() == 9 && !response.records.contains(&vec![0, 3]));
}

#[test]
fn who_knows_nobody_gives_an_empty_success() {
    let (outcome, response) = ask(&mut server(0, 0), Requester::Anonymous, &encode_request(60), 0);
    assert_eq!((outcome, response), (Outcome::Empty, Response::success(Vec::new())));
}

#[test]
fn what_is_no_request_is_a_bad_one() {
    for (body, round) in [&b""[..], &[0xff; 9], &[0x12, 0]].into_iter().zip(0..) {
        let (outcome, response) = ask(&mut server(9, 9), Requester::Anonymous, body, round);
        assert_eq!(
            (outcome, response.status, response.records.len()),
            (Outcome::Malformed, PeerExchangeStatus::BadRequest, 0)
        );
    }
}

#[test]
fn whoever_asks_too_often_is_told_so_and_keeps_nobody_from_his() {
    let (mut server, now, body) = (server(9, 9), Instant::now(), encode_request(60));
    let mut status = |from| server.answer(from, &body, now).1.status;
    let from = Requester::Peer(peer(1));
    assert_eq!((0..1000).filter(|_| status(from) == PeerExchangeStatus::Success).count(), 5);
    assert_eq!(status(from), PeerExchangeStatus::TooManyRequests);
    assert_eq!(status(Requester::Peer(peer(2))), PeerExchangeStatus::Success);
}

#[test]
fn ten_thousand_hostile_requests_are_all_answered() {
    let (mut server, mut rng, start) = (server(9, 9), rng(), Instant::now());
    let mut outcomes = [0; Outcome::ALL.len()];
    for index in 0..10_000_u32 {
        let mut body = vec![0; rng.random_range(0..20)];
        rng.fill(&mut body[..]);
        let from = Requester::Peer(peer(rng.random_range(0..200)));
        let (outcome, response) = server.answer(from, &body, start + Duration::from_millis(20) * index);
        assert!(response.records.len() <= 9);
        outcomes[outcome as usize] += 1;
    }
    assert_eq!(outcomes.iter().sum::<u32>(), 10_000);
    assert!(outcomes[Outcome::Malformed as usize] > 5000, "{outcomes:?}");
}

async fn shared(known: &[PeerReport], standing: impl Fn(&PeerId) -> Standing) -> Vec<(PeerId, bool)> {
    let known: Vec<_> =
        known.iter().map(|report| KnownRecord { report: report.clone(), standing: standing(&report.peer) }).collect();
    let mut looked_at = LookedAt::default();
    let records = shareable(&known, CLUSTER, &mut looked_at, &mut rng()).await;
    assert_eq!(shareable(&known, CLUSTER, &mut looked_at, &mut rng()).await, records, "the same without decoding");
    records.into_iter().map(|shareable| (shareable.peer, shareable.is_alive)).collect()
}

#[tokio::test(start_paused = true)]
async fn only_sound_records_of_this_cluster_are_given_away() {
    let good = known(1);
    let of_other_cluster = |mut report: PeerReport| {
        report.shards.as_mut().unwrap().cluster = 3;
        report
    };
    let holding = |bytes: Vec<u8>| PeerReport { record: Some(SignedRecord::NodeRecord(bytes)), ..known(2) };
    let address = [0, 8, 4, 203, 0, 113, 7, 6, 0x1f, 0x90];
    let sound = with_multiaddrs(3, &address);
    let mut foreign = record(2, CLUSTER).encoded;
    *foreign.last_mut().unwrap() ^= 1;
    let false_ones = [
        PeerReport { record: None, ..known(2) },
        PeerReport { record: Some(SignedRecord::Descriptor(record(2, CLUSTER).encoded)), ..known(2) },
        PeerReport { shards: None, ..known(2) },
        of_other_cluster(known(2)),
        // What the record itself says is another thing.
        holding(record(2, 3).encoded),
        holding(record(4, CLUSTER).encoded),
        holding(foreign),
        holding(Vec::new()),
        // Undecodable addresses, which js-waku stumbles over: an unknown protocol, one cut short, none.
        holding(with_multiaddrs(2, &[0, 2, 0x77, 0x77])),
        holding(with_multiaddrs(2, &[0, 8, 4, 203])),
        holding(with_multiaddrs(2, &[0, 0])),
        holding(with_multiaddrs(2, &[])),
    ];
    let untried = |_: &PeerId| Standing::Untried;
    for report in false_ones {
        assert_eq!(shared(&[report.clone(), good.clone()], untried).await, [(peer(1), false)], "{report:?}");
    }
    let sound = PeerReport { record: Some(SignedRecord::NodeRecord(sound)), ..known(3) };
    assert_eq!(shared(&[sound], untried).await, [(peer(3), false)]);
}

#[tokio::test(start_paused = true)]
async fn what_this_node_has_tried_in_vain_is_given_to_nobody() {
    let standing = |id: &PeerId| match (1..5).find(|seed| *id == peer(*seed)) {
        Some(1 | 2) => Standing::Reached,
        Some(3) => Standing::Untried,
        _ => Standing::Failed,
    };
    let mut shared = shared(&[1, 2, 3, 4].map(known), standing).await;
    shared.sort_by_key(|(id, _)| (1..5).position(|seed| *id == peer(seed)));
    assert_eq!(shared, [(peer(1), true), (peer(2), true), (peer(3), false)]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_records_takes_bounded_room_and_displaces_no_living_node() {
    let flood = (100..).take(2 * MAX_SHAREABLE).map(known);
    let everybody: Vec<_> = flood.chain((0..20).map(known)).collect();
    let alive: HashSet<_> = (0..20).map(peer).collect();
    let standing = |id: &PeerId| if alive.contains(id) { Standing::Reached } else { Standing::Untried };
    let shared = shared(&everybody, standing).await;
    assert_eq!(shared.len(), MAX_SHAREABLE);
    assert_eq!(shared.iter().filter(|(_, is_alive)| *is_alive).count(), 20);
}
