//! `/admin`: the pool, probes, and who may ask.

use libp2p_identity::PeerId;
use wakumix_discovery::{PoolEntry, finding::SourceName};
use wakumix_mix::{Family, LoopPlace};
use wakumix_role_api::{
    Directory,
    directory::PoolState,
    sender::{Loop, LoopOutcome, LoopRequest},
};
use wakumix_role_testkit::node;
use wakumix_waku::record::{Capabilities, Shards};

use super::*;

const POOL: &str = "/admin/v1/pool";
const PROBE: &str = "/admin/v1/probe";

fn entry(seed: u16, state: PoolState, family: Option<u32>) -> PoolEntry {
    let node = node(seed);
    PoolEntry {
        peer: node.peer(),
        addresses: vec![node.address.multiaddr()],
        hop_address: Some(node.address.clone()),
        mix_key: Some(node.key),
        capabilities: Capabilities::RELAY | Capabilities::MIX,
        shards: Some(Shards { cluster: 66, shards: vec![0] }),
        reassembles: None,
        profiles: vec!["lioness/pad".parse().unwrap()],
        sources: vec![SourceName::Static, SourceName::Discv5],
        operator: family.map(|family| format!("operator-{family}")),
        family: family.map(Family),
        is_connected: true,
        last_seen: Some(Duration::from_millis(7900)),
        failures: 0,
        state,
        reason: "why not".to_owned(),
        since: Duration::from_secs(61),
        next_check: None,
    }
}

/// Answers so many loops; where each was to pass its node.
async fn answer_loops(
    sender: &mut Receiver<SenderMessage>,
    outcomes: impl IntoIterator<Item = Result<LoopOutcome, ClientError>>,
) -> Vec<(PeerId, LoopPlace, Option<Duration>)> {
    let mut places = Vec::new();
    for outcome in outcomes {
        let Some(SenderMessage::Loop(Loop { request: LoopRequest { through, place, timeout }, reply })) =
            sender.recv().await
        else {
            panic!("no loop")
        };
        places.push((through, place, timeout));
        reply.send(outcome).unwrap();
    }
    places
}

fn returned(milliseconds: u64) -> Result<LoopOutcome, ClientError> {
    Ok(LoopOutcome::Returned(Duration::from_millis(milliseconds)))
}

#[actix::test]
async fn the_pool_tells_of_every_node_usable_ones_first() {
    let (mut world, _queues) = World::new(NEITHER);
    let entries = [
        entry(1, PoolState::Expired, None),
        entry(2, PoolState::Usable, Some(1)),
        // In another /24.
        entry(0x103, PoolState::Usable, Some(1)),
    ];
    world.api.pool = Arc::new(move || std::future::ready(entries.to_vec()).boxed());
    let (status, body) = world.get(POOL).await;
    assert_eq!(status, StatusCode::OK);
    let pool: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (&pool["needed"], &pool["counts"]["usable"], &pool["counts"]["expired"]),
        (&4.into(), &2.into(), &1.into())
    );
    assert_eq!(pool["diversity"], json!({ "subnets": 2, "operators": 1 }));
    let states: Vec<_> = pool["nodes"].as_array().unwrap().iter().map(|node| node["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["usable", "usable", "expired"]);
    assert_eq!(
        pool["nodes"][2],
        json!({
            "peerId": node(1).peer().to_string(),
            "state": "expired",
            "reason": "why not",
            "roles": ["relay", "mix"],
            "profiles": ["lioness/pad"],
            "sources": ["static", "discv5"],
            "ageSeconds": 7,
            "sinceSeconds": 61,
            "failures": 0,
            "connected": true,
            "shards": { "cluster": 66, "shards": [0] },
            "addresses": ["/ip4/10.0.0.1/tcp/4000"],
            "hopAddress": node(1).address.to_string(),
            "mixPubKey": format!("0x{}", node(1).key),
        })
    );
}

#[actix::test]
async fn outside_loopback_admin_is_off_and_says_how_to_turn_it_on() {
    let (mut world, _queues) = World::new(SENDER);
    world.api.admin = false;
    for (status, words) in [world.get(POOL).await, world.post(PROBE, "").await] {
        assert!(status == StatusCode::FORBIDDEN && words.contains("rest-admin = true"), "{status}: {words}");
    }
}

#[actix::test]
async fn a_probe_sends_loops_through_each_node_in_both_places() {
    let (world, mut queues) = World::new(SENDER);
    world.directory.publish(Directory { mix_nodes: vec![node(1)], ..Directory::default() });
    let outcomes = [returned(100), Ok(LoopOutcome::Lost), returned(300), Err(ClientError::Busy)];
    let body = json!({ "loops": 4, "timeoutMs": 700 }).to_string();
    let ((status, answer), places) =
        futures::join!(world.post(PROBE, body), answer_loops(&mut queues.sender, outcomes));
    assert_eq!(status, StatusCode::OK);
    let limit = Some(Duration::from_millis(700));
    let expected = [LoopPlace::First, LoopPlace::Second, LoopPlace::First, LoopPlace::Second];
    assert_eq!(places, expected.map(|place| (node(1).peer(), place, limit)));
    let lines: Vec<Value> = answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        lines,
        [
            json!({ "nodes": 1, "loops": 4, "timeoutMs": 700 }),
            json!({
                "peerId": node(1).peer().to_string(),
                "returned": 2,
                "lost": 1,
                "failed": 1,
                "error": "busy",
                "latencyMs": { "min": 100, "mean": 200, "max": 300 },
            }),
        ]
    );
}

#[actix::test]
async fn one_probe_runs_at_a_time_and_the_next_after_it() {
    let (world, mut queues) = World::new(SENDER);
    world.directory.publish(Directory { mix_nodes: vec![node(1)], ..Directory::default() });
    let body = || json!({ "loops": 1 }).to_string();
    let second = async {
        // The first has begun: its loop waits.
        let Some(SenderMessage::Loop(Loop { reply, .. })) = queues.sender.recv().await else { panic!("no loop") };
        let refused = world.post(PROBE, body()).await;
        reply.send(returned(1)).unwrap();
        refused
    };
    let ((status, _), (refused, words)) = futures::join!(world.post(PROBE, body()), second);
    assert_eq!((status, refused), (StatusCode::OK, StatusCode::CONFLICT));
    assert!(words.contains("a probe is running"), "{words}");
    let ((status, _), _) = futures::join!(world.post(PROBE, body()), answer_loops(&mut queues.sender, [returned(1)]));
    assert_eq!(status, StatusCode::OK);
}

#[actix::test]
async fn a_probe_that_cannot_run_says_why() {
    let (world, _queues) = World::new(SENDER);
    let (status, words) = world.post(PROBE, "").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && words.contains("no mix node is usable"), "{words}");
    for (body, part) in [
        (json!({ "loops": 0 }), "loops is 0; use 1 to 100"),
        (json!({ "loops": 101 }), "loops is 101; use 1 to 100"),
        (json!({ "timeoutMs": 5 }), "timeoutMs is 5; use 100 to 60000"),
        (json!({ "loop": 5 }), "unknown field `loop`"),
    ] {
        let (status, words) = world.post(PROBE, body.to_string()).await;
        assert!(status == StatusCode::BAD_REQUEST && words.contains(part), "{body}: {words}");
    }
    let mix_nodes = vec![node(1); 101];
    world.directory.publish(Directory { mix_nodes, ..Directory::default() });
    let (status, words) = world.post(PROBE, json!({ "loops": 100 }).to_string()).await;
    assert!(status == StatusCode::BAD_REQUEST && words.contains("10100 loops in all"), "{words}");
    let (status, words) = World::new(RELAY).0.post(PROBE, "").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && words.contains("the sender role is off"), "{words}");
}
