//! `/admin`: the pool, probes, and who may ask.

use std::sync::atomic::{AtomicBool, Ordering};

use wakumix_discovery::{AddError, Addition, ContactClass, PoolEntry, peer_report::SourceName};
use wakumix_mix::Family;
use wakumix_role_api::directory::PoolState;
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
        is_full: false,
        profiles: vec!["lioness/pad".parse().unwrap()],
        sources: vec![SourceName::Static, SourceName::Discv5],
        operator: family.map(|family| format!("operator-{family}")),
        family: family.map(Family),
        class: ContactClass::Entry,
        is_connected: true,
        last_seen: Some(Duration::from_millis(7900)),
        failures: 0,
        state,
        reason: "why not".to_owned(),
        since: Duration::from_secs(61),
        next_check: None,
    }
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
            "class": "entry",
            "connected": true,
            "shards": { "cluster": 66, "shards": [0] },
            "addresses": ["/ip4/10.0.0.1/tcp/4000"],
            "hopAddress": node(1).address.to_string(),
            "mixPubKey": format!("0x{}", node(1).key),
        })
    );
}

#[actix::test]
async fn nodes_that_are_handed_over_reach_discovery_all_or_none() {
    let (mut world, _queues) = World::new(SENDER);
    let taken = Arc::<parking_lot::Mutex<Vec<Addition>>>::default();
    let (takes, fails) = (Arc::clone(&taken), Arc::new(AtomicBool::new(false)));
    let is_failing = Arc::clone(&fails);
    world.api.add_nodes = Arc::new(move |nodes| {
        let failure = is_failing.load(Ordering::Relaxed).then(|| AddError::Names(vec!["gone.example".to_owned()]));
        takes.lock().extend(nodes);
        std::future::ready(failure.map_or(Ok(()), Err)).boxed()
    });
    let address = |seed| format!("{}/p2p/{}", node(seed).address.multiaddr(), node(seed).peer());
    let good = [format!("{}:{}", address(1), node(1).key), address(2)];
    let (status, body) = world.post(POOL, json!({ "nodes": good }).to_string()).await;
    assert_eq!((status, serde_json::from_str(&body).ok()), (StatusCode::OK, Some(json!({ "added": 2 }))));
    assert!(matches!(taken.lock()[..], [Addition::MixNode(_), Addition::Peer(_)]));

    let some = json!({ "nodes": [&good[0], "10.0.0.1:60000", "enr:-junk"] });
    for (body, parts) in [
        (some.to_string(), &["no node is added", "`10.0.0.1:60000`: neither", "`enr:-junk`: "][..]),
        (json!({ "nodes": [] }).to_string(), &["`nodes` is empty"]),
        (json!({ "node": "x" }).to_string(), &["malformed JSON body", "`node`"]),
    ] {
        let (status, words) = world.post(POOL, body).await;
        assert!(status == StatusCode::BAD_REQUEST && parts.iter().all(|part| words.contains(part)), "{words}");
    }
    assert_eq!(taken.lock().len(), 2);
    fails.store(true, Ordering::Relaxed);
    let (status, words) = world.post(POOL, json!({ "nodes": good }).to_string()).await;
    assert!(status == StatusCode::BAD_REQUEST && words.contains("gone.example"), "{words}");
    world.api.admin = false;
    assert_eq!(world.post(POOL, json!({ "nodes": good }).to_string()).await.0, StatusCode::FORBIDDEN);
}

#[actix::test]
async fn outside_loopback_admin_is_off_and_says_how_to_turn_it_on() {
    let (mut world, _queues) = World::new(SENDER);
    world.api.admin = false;
    for (status, words) in [world.get(POOL).await, world.post(PROBE, "").await] {
        assert!(status == StatusCode::FORBIDDEN && words.contains("rest-admin = true"), "{status}: {words}");
    }
}
