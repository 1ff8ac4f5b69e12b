//! What a node shows over HTTP, on a net that carries messages.

use std::net::{SocketAddr, TcpListener};

use data_encoding::BASE64;
use enr::{Enr, k256::ecdsa::SigningKey};
use multiaddr::{Multiaddr, Protocol};
use serde_json::{Value, json};
use wakumix_integration_tests::{
    CONTENT_TOPIC, TOPIC, eventually,
    http::{self, metric},
    net::{Net, NodePlan, all_with, plans, usual},
    run,
};

const PUSH: &str = "/lightpush/v3/message";

/// The usual net, every node with REST.
async fn net_with_rest() -> Net {
    Net::start(all_with(usual(), "rest", "true")).await
}

fn rest(net: &Net, name: &str) -> SocketAddr {
    net.node(name).rest_address().expect("it serves REST")
}

fn request(payload: &str, anonymity: &str) -> Value {
    json!({
        "pubsubTopic": TOPIC,
        "message": { "payload": BASE64.encode(payload.as_bytes()), "contentTopic": CONTENT_TOPIC },
        "anonymity": anonymity,
    })
}

/// A pubsub topic as part of a path.
fn in_path(topic: &str) -> String {
    topic.replace('/', "%2F")
}

/// The messages that a relay has received, once there are any.
async fn messages(relay: SocketAddr) -> Vec<Value> {
    eventually(async || {
        let answer = http::get(relay, &format!("/relay/v1/messages/{}", in_path(TOPIC))).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let messages = answer.json().as_array().expect("a list").clone();
        if messages.is_empty() { Err("no message yet".to_owned()) } else { Ok(messages) }
    })
    .await
}

#[test]
fn a_push_over_rest_is_answered_and_subscribers_show_the_message_with_the_same_hash() {
    run(async {
        let net = net_with_rest().await;
        let relay = rest(&net, "relay-1");
        let joined = http::post(relay, "/relay/v1/subscriptions", json!([TOPIC]).to_string()).await;
        assert_eq!((joined.status, joined.body.as_str()), (200, "OK"));

        let mut tries = Vec::new();
        for (payload, anonymity, way) in [("hidden", "required", "mixnet"), ("plain", "none", "direct")] {
            let answer = http::post(rest(&net, "sender-1"), PUSH, request(payload, anonymity).to_string()).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let answer = answer.json();
            assert_eq!((&answer["outcome"], &answer["way"]), (&json!("confirmed"), &json!(way)), "{answer}");
            tries.push(answer["tries"].as_u64().unwrap());
            let messages = messages(relay).await;
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0]["payload"], BASE64.encode(payload.as_bytes()));
            assert_eq!(messages[0]["contentTopic"], CONTENT_TOPIC);
            assert_eq!(messages[0]["messageHash"], answer["messageHash"]);
        }
        let dropped = net.at_rest().await.values().sum::<u64>();
        let sender = net.balance("sender-1");
        assert_eq!(sender.sent, tries[0], "the plain push made no packet");
        // From the second try on, each has two reply blocks.
        assert_eq!(sender.replied + dropped, 2 * sender.sent - 1);
        net.end().await;
    });
}

#[test]
fn a_node_without_the_sender_role_publishes_plainly_and_refuses_to_pretend() {
    run(async {
        let net = net_with_rest().await;
        let plain = http::post(rest(&net, "relay-1"), PUSH, request("by the relay", "none").to_string()).await;
        assert_eq!(plain.status, 200, "{}", plain.body);
        let refused = http::post(rest(&net, "relay-1"), PUSH, request("by the relay", "required").to_string()).await;
        assert_eq!((refused.status, &refused.json()["error"]), (503, &json!("no_sender")));
        assert!(refused.json()["statusDesc"].as_str().unwrap().contains("add it to roles"));
        net.end().await;
    });
}

#[test]
fn each_malformed_push_is_400_with_a_sentence_and_makes_no_packet() {
    run(async {
        let net = net_with_rest().await;
        let sender = rest(&net, "sender-1");
        let with = |change: &dyn Fn(&mut Value)| {
            let mut body = request("x", "required");
            change(&mut body);
            body.to_string()
        };
        let without_topic = |body: &mut Value| {
            body.as_object_mut().unwrap().remove("pubsubTopic");
            body["message"]["contentTopic"] = json!("no topic");
        };
        let cases = [
            ("{\"message\":".to_owned(), "malformed JSON body"),
            ("[]".to_owned(), "malformed JSON body"),
            (with(&|body| body["message"]["payload"] = json!("no base64!")), "payload is not base64"),
            (with(&|body| body["message"]["meta"] = json!("~")), "meta is not base64"),
            (with(&|body| body["message"]["meta"] = json!(BASE64.encode(&[0; 65]))), "at most 64"),
            (with(&without_topic), "content topic"),
            (with(&|body| body["message"]["contentTopic"] = json!("")), "contentTopic is empty"),
            (with(&|body| body["pubsubTopic"] = json!("/waku/2/default")), "pubsub topic"),
            (with(&|body| body["message"]["paylaod"] = json!("")), "unknown field `paylaod`"),
            (with(&|body| body["surbs"] = json!(1)), "unknown field `surbs`"),
            (with(&|body| drop(body["message"].as_object_mut().unwrap().remove("payload"))), "missing field `payload`"),
            (with(&|body| drop(body.as_object_mut().unwrap().remove("message"))), "missing field `message`"),
            (with(&|body| body["anonymity"] = json!("maybe")), "unknown value `maybe`"),
        ];
        for (body, words) in cases {
            let answer = http::post(sender, PUSH, body.as_str()).await;
            assert_eq!(answer.status, 400, "{body}: {}", answer.body);
            let answer = answer.json();
            assert_eq!(answer["error"], "bad_request");
            assert!(answer["statusDesc"].as_str().unwrap().contains(words), "{body}: {answer}");
        }
        assert_eq!(net.balance("sender-1").originated, 0);
        net.end().await;
    });
}

#[test]
fn failures_before_the_service_have_their_own_status_and_code() {
    run(async {
        let net = net_with_rest().await;
        let too_large = request(&"x".repeat(4097), "required").to_string();
        let answer = http::post(rest(&net, "sender-1"), PUSH, too_large).await;
        assert_eq!((answer.status, &answer.json()["error"]), (413, &json!("too_large")));
        assert_eq!(answer.json()["statusDesc"], "the payload is 4097 bytes, at most 4096 are allowed over the mixnet");

        let lonely = Net::strangers(all_with(plans(0, 0, 0, 1), "rest", "true")).await;
        let answer = http::post(rest(&lonely, "sender-1"), PUSH, request("x", "required").to_string()).await;
        assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("pool_too_small")));
        let words = answer.json()["statusDesc"].as_str().unwrap().to_owned();
        assert!(words.contains("pool too small: 0 usable mix nodes, 4 needed"), "{words}");

        let off_shard = json!({
            "pubsubTopic": "/waku/2/rs/66/7",
            "message": { "payload": "", "contentTopic": CONTENT_TOPIC },
        });
        let answer = http::post(rest(&net, "sender-1"), PUSH, off_shard.to_string()).await;
        assert_eq!(answer.status, 421);
        assert_eq!(answer.json()["statusDesc"], "this node does not relay the pubsub topic");
        net.end().await;
        lonely.end().await;
    });
}

#[test]
fn info_names_addresses_record_and_mix_key() {
    run(async {
        let plan = |name: &str, roles: &[&str]| NodePlan::new(name, roles).with("rest", "true");
        let net = Net::strangers(vec![plan("mixer", &["mixer"]), plan("relay", &["relay"])]).await;
        let node = net.node("mixer");
        let info = http::get(rest(&net, "mixer"), "/debug/v1/info").await.json();
        let addresses = info["listenAddresses"].as_array().unwrap();
        let address: Multiaddr = addresses[0].as_str().unwrap().parse().unwrap();
        assert_eq!(address, node.listen_addresses()[0].clone().with(Protocol::P2p(node.peer_id())));

        let record: Enr<SigningKey> = info["enrUri"].as_str().unwrap().parse().unwrap();
        assert!(record.verify());
        let tcp = node.listen_addresses()[0].iter().nth(1).unwrap();
        assert_eq!(record.tcp4().map(Protocol::Tcp), Some(tcp));
        assert_eq!(record.get_raw_rlp("waku2"), Some(&[1 << 5][..]), "mix and nothing else, from the start");

        let key = info["mixPubKey"].as_str().unwrap();
        assert_eq!(key, format!("0x{}", node.mix_node().unwrap().key));
        assert_eq!(key.len(), 66);
        let other = http::get(rest(&net, "relay"), "/info").await.json();
        assert_eq!(other.get("mixPubKey"), None, "no mix role, no key");
        assert_eq!(http::get(rest(&net, "relay"), "/debug/v1/version").await.body, wakumix_node::VERSION);
        net.end().await;
    });
}

#[test]
fn the_pool_is_shown_and_loops_come_back_from_every_guard() {
    run(async {
        let net = net_with_rest().await;
        let sender = rest(&net, "sender-1");
        let pool = http::get(sender, "/admin/v1/pool").await.json();
        let states: Vec<_> = pool["nodes"].as_array().unwrap().iter().map(|node| node["state"].clone()).collect();
        assert_eq!(states, vec![json!("usable"); net.pool().len()], "{pool}");
        assert_eq!(pool["diversity"]["subnets"], 1, "all are on loopback");

        // The sender is ready with its first guard; the others are being dialled.
        let lines = eventually(async || {
            let answer = http::post(sender, "/admin/v1/probe", json!({ "loops": 2 }).to_string()).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            if lines.len() > 2 { Ok(lines) } else { Err(format!("one guard at most is probed: {}", answer.body)) }
        })
        .await;
        let (head, nodes) = lines.split_first().unwrap();
        assert_eq!((&head["nodes"], nodes.len()), (&json!(nodes.len()), nodes.len()));
        assert!(nodes.len() <= 6, "a node that only sends probes its guards: {}", nodes.len());
        for node in nodes {
            assert_eq!(
                (&node["returned"], &node["lost"], &node["failed"]),
                (&2.into(), &0.into(), &0.into()),
                "{node}"
            );
        }
        let refused = http::post(rest(&net, "relay-1"), "/admin/v1/probe", "").await;
        assert_eq!((refused.status, refused.body.as_str()), (503, "the sender role is off; add it to roles"));
        net.end().await;
    });
}

#[test]
fn readiness_says_what_is_missing_until_the_pool_is_there() {
    run(async {
        let net = Net::strangers(all_with(usual(), "rest", "true")).await;
        let sender = rest(&net, "sender-1");
        assert_eq!(http::get(sender, "/health/live").await.status, 200);
        let ready = http::get(sender, "/health/ready").await;
        assert_eq!(
            (ready.status, ready.body.as_str()),
            (503, "sender: pool too small: 0 usable mix nodes, 4 needed (no other node is known)")
        );
        let health = http::get(sender, "/health").await;
        assert_eq!((health.status, &health.json()["nodeHealth"]), (200, &json!("INITIALIZING")));

        net.tell_all(&net.pool(), &net.services()).await;
        net.link_relays().await;
        net.ready().await;
        for name in ["sender-1", "relay-1", "mixer-1", "exit-1"] {
            // What a node has of others is looked at once a second.
            eventually(async || {
                let ready = http::get(rest(&net, name), "/health/ready").await;
                if (ready.status, ready.body.as_str()) == (200, "OK") { Ok(()) } else { Err(ready.body) }
            })
            .await;
            assert_eq!(http::get(rest(&net, name), "/health").await.json()["nodeHealth"], "READY", "{name}");
        }
        let health = http::get(rest(&net, "exit-1"), "/health").await.json();
        assert_eq!(health["connectionStatus"], "Connected");
        let protocols = health["protocolsHealth"].as_array().unwrap();
        let of = |name: &str| protocols.iter().find_map(|protocol| protocol.get(name)).unwrap();
        for protocol in ["Relay", "Lightpush", "Mix"] {
            assert_eq!(of(protocol), "READY");
        }
        net.end().await;
    });
}

#[test]
fn the_metrics_page_has_our_counters_those_of_the_nwaku_and_those_of_libp2p() {
    run(async {
        let plans = all_with(all_with(usual(), "rest", "true"), "metrics-server", "true");
        let net = Net::start(plans).await;
        let pushed = http::post(rest(&net, "sender-1"), PUSH, request("counted", "required").to_string()).await;
        assert_eq!(pushed.status, 200);
        let tries = pushed.json()["tries"].as_f64().unwrap();
        net.at_rest().await;

        let server = net.node("sender-1").metrics_address().unwrap();
        assert_eq!(http::get(server, "/health").await.body, "OK");
        assert_eq!(http::get(server, PUSH).await.status, 404, "nothing but metrics and health here");
        let page = http::get(server, "/metrics").await.body;
        for (series, value) in [
            ("waku_mix_packets_originated_total{origin=\"request\"}", tries),
            ("waku_mix_packets_replied_total", net.balance("sender-1").replied as f64),
            ("waku_mix_packet_balance_residue", 0.0),
            ("waku_mix_requests_total{outcome=\"confirmed\"}", 1.0),
            ("waku_mix_round_trip_seconds_count", 1.0),
            ("mix_messages_forwarded_total{type=\"Entry\"}", tries),
            ("mix_pool_size", 5.0),
        ] {
            assert_eq!(metric(&page, series), Some(value), "{series}");
        }
        assert!(page.contains("\nlibp2p_bandwidth_bytes_total{"));
        parses_as_prometheus_text(&page);
        net.end().await;
    });
}

/// Every line is a comment that names a metric, or a sample of a metric that a comment has given a type.
fn parses_as_prometheus_text(page: &str) {
    let mut types = std::collections::HashMap::new();
    for line in page.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            match (words.next().unwrap(), words.next(), words.next()) {
                ("TYPE", Some(name), Some(kind)) => {
                    assert!(["counter", "gauge", "histogram", "summary", "untyped", "info"].contains(&kind), "{line}");
                    assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "typed twice: {line}");
                }
                ("HELP" | "UNIT", Some(_), _) | ("EOF", ..) => {}
                _ => panic!("{line}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        assert!(value.parse::<f64>().is_ok() || ["+Inf", "-Inf", "NaN"].contains(&value), "{line}");
        let name = series.split('{').next().unwrap();
        let base = ["_bucket", "_sum", "_count", "_total"].iter().find_map(|end| name.strip_suffix(end));
        let typed = types.contains_key(name) || base.is_some_and(|base| types.contains_key(base));
        assert!(typed, "no type for {line}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    run(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let cases = [
            ("rest", "rest-port", "rest-address and rest-port"),
            ("metrics-server", "metrics-server-port", "metrics-server-address and metrics-server-port"),
        ];
        for (switch, key, words) in cases {
            let plan = NodePlan::new("late", &["mixer"]).with(switch, "true").with(key, &port);
            let error = plan.start().await.err().expect("the port is taken").to_string();
            assert!(error.contains(words) && error.contains(&port) && error.contains("free the port"), "{error}");
        }
        let error = NodePlan::new("late", &["mixer"]).with("tcp-port", &port).start().await.err().unwrap().to_string();
        assert!(error.contains(&port) && error.contains("tcp-port"), "{error}");
    });
}

#[test]
fn relay_subscriptions_and_messages_refuse_bad_input_with_words() {
    run(async {
        let net = net_with_rest().await;
        let relay = rest(&net, "relay-1");
        for (body, words) in [
            ("{", "malformed JSON"),
            ("[\"/waku/2/default\"]", "/waku/2/rs/"),
            ("[\"/waku/2/rs/65/0\"]", "another cluster"),
        ] {
            let answer = http::post(relay, "/relay/v1/subscriptions", body).await;
            assert_eq!(answer.status, 400);
            assert!(answer.body.contains(words), "{body}: {}", answer.body);
        }
        let unknown = http::get(relay, &format!("/relay/v1/messages/{}", in_path("/waku/2/rs/66/7"))).await;
        assert_eq!(unknown.status, 404);
        assert!(unknown.body.contains("not subscribed to /waku/2/rs/66/7"), "{}", unknown.body);
        let off = http::get(rest(&net, "sender-1"), &format!("/relay/v1/messages/{}", in_path(TOPIC))).await;
        assert_eq!((off.status, off.body.as_str()), (503, "the relay role is off; add it to roles"));
        net.end().await;
    });
}

#[test]
fn the_metrics_page_shrinks_again_when_topics_are_left() {
    run(async {
        let net = Net::start(usual()).await;
        let node = net.node("relay-1");
        let relay = node.relay().unwrap();
        let others: Vec<String> = (1..30).map(|shard| format!("/waku/2/rs/66/{shard}")).collect();
        let series = |topic: &str| {
            let page = node.telemetry().render();
            page.lines().filter(|line| line.starts_with("libp2p_") && line.contains(&format!("\"{topic}\""))).count()
        };
        for topic in &others {
            relay.subscribe(topic.clone()).await.unwrap();
        }
        eventually(async || if series(&others[0]) > 3 { Ok(()) } else { Err("no series of a topic yet".to_owned()) })
            .await;
        for topic in &others {
            relay.unsubscribe(topic.clone()).await.unwrap();
        }
        eventually(async || match others.iter().map(|topic| series(topic)).sum::<usize>() {
            0 => Ok(()),
            left => Err(format!("{left} series of topics that were left")),
        })
        .await;
        assert!(series(TOPIC) > 3, "the topic that the relay is still in");
        net.end().await;
    });
}
