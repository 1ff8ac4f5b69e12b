//! REST as programs use it that know nwaku's: nodes of the real program, and what they answer from the first moment to the last.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wakumix_integration_tests::{CONTENT_TOPIC, eventually, http, process::Process, run, until};
use wakumix_records::node_record::NodeRecord;
use wakumix_waku::{RELAY_PROTOCOL, record::Capabilities};

use crate::wakumix;

/// A node of the program on free ports, and its REST server.
async fn node(flags: &[&str]) -> (Process, SocketAddr) {
    const LOCAL: [&str; 5] = ["node", "--preset=local", "--listen-address=127.0.0.1", "--tcp-port=0", "--rest-port=0"];
    let process = Process::start(wakumix(), &[&LOCAL, flags].concat());
    let rest = process.says("REST on http://").await;
    let rest = rest.trim().parse().expect("an address");
    (process, rest)
}

async fn info(rest: SocketAddr) -> Value {
    let answer = http::get(rest, "/debug/v1/info").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// The one address of a node, with its peer id.
fn address(info: &Value) -> String {
    info["listenAddresses"][0].as_str().expect("an address").to_owned()
}

#[test]
fn the_record_that_is_read_right_after_the_start_says_all_that_the_node_is() {
    run(async {
        let discv5 = ["--discv5-discovery=true", "--discv5-udp-port=0"];
        let (_node, rest) = node(&[&["--roles=relay,mixer,exit,sender"], &discv5[..]].concat()).await;
        let info = info(rest).await;
        let record: NodeRecord = info["enrUri"].as_str().unwrap().parse().unwrap();
        let all = Capabilities::RELAY | Capabilities::LIGHTPUSH | Capabilities::MIX;
        assert_eq!(record.fields.capabilities, Some(all));
        assert!(record.fields.udp4.is_some() && record.fields.tcp4.is_some(), "{:?}", record.fields);
        let key = record.fields.mix_key.expect("it mixes");
        assert_eq!(info["mixPubKey"], format!("0x{key}"));
    });
}

#[test]
fn the_key_that_is_shown_is_the_one_of_now() {
    run(async {
        let rotation = ["--keys.lifetime=10s", "--keys.overlap=5s"];
        let (_node, rest) = node(&[&["--roles=mixer"], &rotation[..]].concat()).await;
        let first = info(rest).await["mixPubKey"].clone();
        until("another key", async || info(rest).await["mixPubKey"] != first).await;
        let now = info(rest).await;
        let record: NodeRecord = now["enrUri"].as_str().unwrap().parse().unwrap();
        assert_eq!(now["mixPubKey"], format!("0x{}", record.fields.mix_key.unwrap()));
    });
}

#[test]
fn peers_are_dialled_and_content_topics_followed_as_nwakus_clients_do_it() {
    run(async {
        const SUBSCRIPTIONS: &str = "/relay/v1/auto/subscriptions";
        let flags = ["--roles=relay", "--num-shards-in-network=8", "--discv5-discovery=false"];
        let (_first, one) = node(&flags).await;
        let (_second, other) = node(&flags).await;
        let address = address(&info(other).await);
        let peer = address.rsplit('/').next().unwrap();
        for rest in [one, other] {
            let joined = http::post(rest, SUBSCRIPTIONS, json!([CONTENT_TOPIC]).to_string()).await;
            assert_eq!((joined.status, joined.body.as_str()), (200, "OK"));
        }

        let nobody = "/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
        let refused = http::post(one, "/admin/v1/peers", json!([address, nobody]).to_string()).await;
        assert_eq!((refused.status, refused.body), (400, format!("Failed to connect to peer at index: 1 - {nobody}")));
        let added = http::post(one, "/admin/v1/peers", json!([address]).to_string()).await;
        assert_eq!((added.status, added.body.as_str()), (200, "OK"));
        let of_shard = eventually(async || {
            let peers = http::get(one, "/admin/v1/peers/mesh").await.json();
            let shards = peers.as_array().unwrap().iter();
            let found =
                shards.clone().find(|of| of["shard"] != 0 && of["peers"].as_array().unwrap().len() == 1).cloned();
            found.ok_or_else(|| format!("no mesh peer: {peers}"))
        })
        .await;
        assert_eq!(of_shard["peers"][0]["multiaddr"], address);
        let known = http::get(one, &format!("/admin/v1/peer/{peer}")).await.json();
        assert_eq!((&known["connected"], &known["multiaddr"]), (&json!("Connected"), &json!(address)));
        assert!(known["protocols"].as_array().unwrap().contains(&json!(RELAY_PROTOCOL)), "{known}");
        let stats = http::get(one, "/admin/v1/peers/stats").await.json();
        assert_eq!(stats["By Connectedness"]["Connected"], 1);

        let message = json!({ "payload": "aGVsbG8=", "contentTopic": CONTENT_TOPIC });
        let published = http::post(one, "/relay/v1/auto/messages", message.to_string()).await;
        assert_eq!((published.status, published.body.as_str()), (200, "OK"));
        let path = format!("/relay/v1/auto/messages/{}", CONTENT_TOPIC.replace('/', "%2F"));
        let messages = eventually(async || {
            let messages = http::get(other, &path).await.json();
            if messages == json!([]) { Err("no message yet".to_owned()) } else { Ok(messages) }
        })
        .await;
        assert_eq!((&messages[0]["payload"], messages.as_array().unwrap().len()), (&json!("aGVsbG8="), 1));

        for _ in 0..2 {
            let left = http::delete(other, SUBSCRIPTIONS, json!([CONTENT_TOPIC]).to_string()).await;
            assert_eq!((left.status, left.body.as_str()), (200, "OK"), "also what was left already");
        }
        let unknown = http::get(other, &path).await;
        assert!(unknown.status == 404 && unknown.body.starts_with("not subscribed to"), "{}", unknown.body);
    });
}

#[test]
fn the_log_level_changes_while_the_node_runs() {
    run(async {
        let (node, rest) = node(&["--roles=relay", "--discv5-discovery=false"]).await;
        for (level, status) in [("error", 200), ("loud", 400), ("INFO", 200), ("error", 200)] {
            let answer = http::post(rest, &format!("/admin/v1/log-level/{level}"), "").await;
            assert_eq!(answer.status, status, "{}", answer.body);
        }
        node.terminate();
        let ended = node.ended().await;
        assert!(ended.stderr.contains("node started") && ended.stderr.contains("level=INFO"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("level=error") && !ended.stderr.contains("stopped"), "{}", ended.stderr);
    });
}

#[test]
fn while_a_node_drains_health_and_metrics_answer_and_all_else_is_refused() {
    run(async {
        let flags = ["--roles=sender", "--discv5-discovery=false", "--drain-timeout=30s"];
        let (node, rest) = node(&flags).await;
        // It knows nobody, and waits for the first seconds before it says so.
        let message = json!({ "payload": "aGVsbG8=", "contentTopic": CONTENT_TOPIC });
        let push = http::post(rest, "/lightpush/v3/message", json!({ "message": message }).to_string());
        let watch = async {
            until("the push", async || {
                let page = http::get(rest, "/metrics").await.body;
                http::metric(&page, "waku_mix_requests_pending") == Some(1.0)
            })
            .await;
            assert_eq!(http::get(rest, "/health").await.json()["nodeHealth"], "INITIALIZING");
            node.terminate();
            until("the stop", async || http::get(rest, "/health").await.json()["nodeHealth"] == "SHUTTING_DOWN").await;
            let ready = http::get(rest, "/health/ready").await;
            assert!(ready.status == 503 && ready.body.contains("the node is stopping"), "{}", ready.body);
            assert_eq!(http::get(rest, "/metrics").await.status, 200);
            let refused = http::get(rest, "/info").await;
            assert!(refused.status == 503 && refused.body.contains("the node is stopping"), "{}", refused.body);
        };
        let (pushed, ()) = tokio::join!(push, watch);
        assert_eq!(pushed.status, 503, "the push has its answer: {}", pushed.body);
        assert_eq!(node.ended().await.code, Some(0));
    });
}
