//! Peers, in front of a host and a pool that the tests play.

use std::collections::BTreeMap;

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use wakumix_role_api::host::PeerDetails;
use wakumix_role_testkit::peer;

use super::*;

fn details(seed: u16, topics: &[&str], mesh: &[&str]) -> PeerDetails {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PeerDetails {
        peer: peer(seed),
        address: Some(format!("/ip4/10.0.0.{seed}/tcp/60000").parse().unwrap()),
        protocols: vec!["/vac/waku/relay/2.0.0".to_owned()],
        agent: "nwaku".to_owned(),
        topics: owned(topics),
        mesh: owned(mesh),
        score: Some(1.5),
    }
}

fn full(seed: u16) -> String {
    format!("/ip4/10.0.0.{seed}/tcp/60000/p2p/{}", peer(seed))
}

/// What the host answers until it is asked no more.
async fn play(host: &mut Receiver<HostMessage>, connected: Vec<PeerDetails>, dialled: &[(PeerId, bool)]) {
    let reached: BTreeMap<PeerId, bool> = dialled.iter().copied().collect();
    while let Some(message) = host.recv().await {
        match message {
            HostMessage::PeerDetails(reply) => reply.send(connected.clone()).unwrap(),
            HostMessage::Status(reply) => {
                let mesh_peers = vec![(TOPIC.to_owned(), 1), ("/waku/2/rs/66/5".to_owned(), 0)];
                reply.send(HostStatus { mesh_peers, ..HostStatus::default() }).unwrap();
            }
            HostMessage::Dial { peer, reply, .. } => reply.send(reached[&peer]).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

async fn get(world: &World, host: &mut Receiver<HostMessage>, path: &str) -> (StatusCode, String) {
    let connected = vec![details(1, &[TOPIC, "/waku/2/rs/9/3"], &[TOPIC]), details(2, &[TOPIC], &[])];
    tokio::select! {
        answer = world.get(path) => answer,
        () = play(host, connected, &[]) => panic!("the host has ended"),
    }
}

#[actix::test]
async fn peers_have_the_shapes_of_nwaku() {
    let (world, mut queues) = World::new(RELAY);
    let expected = |seed: u16| {
        json!({
            "multiaddr": full(seed),
            "protocols": ["/vac/waku/relay/2.0.0"],
            "shards": [0],
            "connected": "Connected",
            "agent": "nwaku",
            "origin": "UnknownOrigin",
            "score": 1.5,
        })
    };
    let mut both = [(peer(1).to_base58(), expected(1)), (peer(2).to_base58(), expected(2))];
    both.sort_by(|one, other| one.0.cmp(&other.0));
    let both = both.map(|(_, peer)| peer);
    for (path, answer) in [
        ("/admin/v1/peers".to_owned(), json!(both)),
        ("/admin/v1/peers/connected".to_owned(), json!(both)),
        ("/admin/v1/peers/connected/on/0".to_owned(), json!(both)),
        ("/admin/v1/peers/connected/on/5".to_owned(), json!([])),
        ("/admin/v1/peers/service".to_owned(), json!(both)),
        (format!("/admin/v1/peer/{}", peer(2)), expected(2)),
        ("/admin/v1/peers/relay".to_owned(), json!([{ "shard": 0, "peers": both }, { "shard": 5, "peers": [] }])),
        ("/admin/v1/peers/relay/on/0".to_owned(), json!({ "shard": 0, "peers": both })),
        (
            "/admin/v1/peers/mesh".to_owned(),
            json!([{ "shard": 0, "peers": [expected(1)] }, { "shard": 5, "peers": [] }]),
        ),
        ("/admin/v1/peers/mesh/on/0".to_owned(), json!({ "shard": 0, "peers": [expected(1)] })),
    ] {
        let (status, body) = get(&world, &mut queues.host, &path).await;
        assert_eq!((status, serde_json::from_str::<Value>(&body).unwrap()), (StatusCode::OK, answer), "{path}");
    }
    let (_, stats) = get(&world, &mut queues.host, "/admin/v1/peers/stats").await;
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!(stats["Relay peers"], json!({ "0": 2, "5": 0, "Total relay peers": 2 }));
    assert_eq!(stats["Mesh peers"], json!({ "0": 1, "5": 0, "Total mesh peers": 1 }));
    for (path, status, part) in [
        ("/admin/v1/peer/nobody".to_owned(), 400, "this is no peer id"),
        (format!("/admin/v1/peer/{}", peer(9)), 404, "not found"),
        ("/admin/v1/peers/mesh/on/1024".to_owned(), 400, "Invalid shardId"),
    ] {
        let (found, words) = get(&world, &mut queues.host, &path).await;
        assert!(found.as_u16() == status && words.contains(part), "{path}: {words}");
    }
    let (world, mut queues) = World::new(SENDER);
    let (status, words) = get(&world, &mut queues.host, "/admin/v1/peers/relay").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && words.contains("the relay role is off"), "{words}");
}

#[actix::test]
async fn peers_that_are_reached_are_kept_and_the_first_that_is_not_is_named() {
    let (mut world, mut queues) = World::new(RELAY);
    let kept = Arc::<Mutex<Vec<String>>>::default();
    let keeping = Arc::clone(&kept);
    world.api.keep = Arc::new(move |peer| {
        keeping.lock().push(peer.full().to_string());
        std::future::ready(true).boxed()
    });
    let dialled = [(peer(1), true), (peer(2), false), (peer(3), true)];
    for (seeds, status, words) in [
        (vec![1, 3], 200, "OK".to_owned()),
        (vec![3, 2, 1], 400, format!("Failed to connect to peer at index: 1 - {}", full(2))),
    ] {
        let body = json!(seeds.into_iter().map(full).collect::<Vec<_>>()).to_string();
        let answer = tokio::select! {
            answer = world.post("/admin/v1/peers", body) => answer,
            () = play(&mut queues.host, Vec::new(), &dialled) => panic!("the host has ended"),
        };
        assert_eq!((answer.0.as_u16(), answer.1), (status, words));
    }
    assert_eq!(*kept.lock(), [full(1), full(3), full(3)]);
    for (body, part) in [
        (json!(["/ip4/10.0.0.1/tcp/1"]), "peer 0, `/ip4/10.0.0.1/tcp/1`: the address does not end with /p2p/"),
        (json!(vec![full(1); 65]), "65 peers in one request, at most 64"),
        (json!({}), "expected a list"),
    ] {
        let (status, words) = world.post("/admin/v1/peers", body.to_string()).await;
        assert!(status == StatusCode::BAD_REQUEST && words.contains(part), "{words}");
    }
}
