//! The lightpush service and local publishing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{Fixture, QUEUE, TOPIC, config, finish, joined, message, peer, status};
use libp2p_identity::PeerId;
use wakumix_relay::{Config, RequestBudget};
use wakumix_role_api::Requester;
use wakumix_role_api::host::PublishFailure;
use wakumix_waku::lightpush::{V2_PROTOCOL, V3_PROTOCOL, v2, v3};
use wakumix_waku::{PubsubTopic, WakuMessage};

/// The host answers the next publication.
async fn host_answers(fixture: &Fixture, outcome: Result<usize, PublishFailure>) -> (String, Vec<u8>) {
    let (topic, data, reply) = fixture.publication().await;
    reply.send(outcome).unwrap();
    (topic, data)
}

async fn v2_info(response: tokio::sync::oneshot::Receiver<Vec<u8>>) -> (String, bool, String) {
    let rpc = v2::PushRpc::decode(&response.await.unwrap()).unwrap();
    let response = rpc.response.unwrap();
    (rpc.request_id, response.is_success, response.info.unwrap())
}

#[actix::test]
async fn publishes_a_v3_request_and_answers_with_the_peer_count() {
    let fixture = joined(config()).await;
    let mut follower = fixture.relay.follow().await.unwrap();
    let request =
        v3::Request { request_id: "req-0001".into(), pubsub_topic: Some(TOPIC.into()), message: message("hello mix") };
    let response = fixture.request(V3_PROTOCOL, Requester::Anonymous, request.encode());
    let (topic, data) = host_answers(&fixture, Ok(3)).await;
    assert_eq!((topic.as_str(), data), (TOPIC, message("hello mix").encode()));
    // The success vector of `spec/waku.md §4.1`, without its frame.
    assert_eq!(response.await.unwrap(), b"\x0a\x08req-0001\x50\xc8\x01\x60\x03");
    let seen = follower.recv().await.unwrap();
    assert_eq!(seen.message, message("hello mix"), "the publisher receives its own message");
}

#[actix::test]
async fn refuses_requests_with_the_codes_and_texts_of_the_nwaku() {
    let fixture = joined(Config { max_message_len: 100, ..config() }).await;
    let cases = [
        (Some(" "), message("x"), 400, "topic must not be empty"),
        (None, message("x"), 420, "Pubsub topic must be specified when static sharding is enabled"),
        (Some(TOPIC), message(&"x".repeat(100)), 420, "Message size exceeded maximum of 100 bytes"),
        (Some("/waku/2/rs/2/1"), message("x"), 421, "this node does not relay the pubsub topic"),
        (Some("/waku/2/rs/1/0"), message("x"), 421, "this node does not relay the pubsub topic"),
        (Some("chat"), message("x"), 421, "this node does not relay the pubsub topic"),
        (Some("chat"), message(&"x".repeat(100)), 420, "Message size exceeded maximum of 100 bytes"),
    ];
    for (topic, message, code, text) in cases {
        assert_eq!(status(fixture.push(topic, message)).await, (code, Some(text.into())));
    }
    assert!(fixture.asked_nothing().await);
}

#[actix::test]
async fn answers_undecodable_requests_without_an_id() {
    let fixture = joined(config()).await;
    for body in [vec![0xff; 20], vec![], vec![0x0a, 0x01, b'r']] {
        let response = fixture.request(V3_PROTOCOL, Requester::Anonymous, body);
        let response = v3::Response::decode(&response.await.unwrap()).unwrap();
        assert_eq!((response.request_id.as_str(), response.status_code.0), ("N/A", 400));
        assert!(response.status_desc.unwrap().starts_with("decode_rpc_failure: "));
        assert_eq!(response.relay_peer_count, None);
    }
}

#[actix::test]
async fn answers_what_gossipsub_says() {
    let fixture = joined(config()).await;
    let cases = [
        (Ok(0), 505, "No peers for topic, skipping publish"),
        (Err(PublishFailure::NoPeers), 505, "No peers for topic, skipping publish"),
        (Err(PublishFailure::Duplicate), 420, "Dropping already-seen message"),
        (Err(PublishFailure::TooLarge), 420, "the message does not fit a gossipsub frame"),
        (Err(PublishFailure::NoRelay), 500, "no waku relay found"),
        (Err(PublishFailure::Other("why".into())), 500, "why"),
    ];
    let mut follower = fixture.relay.follow().await.unwrap();
    for (outcome, code, text) in cases {
        let response = fixture.push(Some(TOPIC), message("x"));
        host_answers(&fixture, outcome).await;
        assert_eq!(status(response).await, (code, Some(text.into())));
    }
    assert!(follower.try_recv().is_err(), "what did not leave is not shown");
}

#[actix::test]
async fn a_client_that_repeats_its_push_is_told_again_that_it_succeeded_and_nobody_else_is() {
    let fixture = joined(config()).await;
    let client = |number: u8| Requester::Peer(PeerId::from_bytes(&[0, 2, 8, number]).unwrap());
    let pushed = WakuMessage { timestamp: Some(7), ..message("x") };
    let push = async |from: Requester, outcome: Result<usize, PublishFailure>| {
        let response = fixture.push_from(from, Some(TOPIC), pushed.clone());
        host_answers(&fixture, outcome).await;
        let response = v3::Response::decode(&response.await.unwrap()).unwrap();
        (response.status_code.0, response.relay_peer_count)
    };
    let again = || Err(PublishFailure::Duplicate);
    assert_eq!(push(client(1), again()).await, (420, None), "it came by gossip");
    assert_eq!(push(client(1), Ok(0)).await, (505, None), "nobody has it");
    assert_eq!(push(client(1), again()).await, (420, None));
    assert_eq!(push(client(1), Ok(3)).await, (200, Some(3)));
    assert_eq!(push(client(1), again()).await, (200, Some(3)));
    assert_eq!(push(client(2), again()).await, (420, None));
    assert_eq!(push(Requester::Anonymous, again()).await, (420, None));
    // Of the mixnet, nobody is the one who has pushed before.
    assert_eq!(push(Requester::Anonymous, Ok(3)).await, (200, Some(3)));
    assert_eq!(push(Requester::Anonymous, again()).await, (420, None));
}

#[actix::test]
async fn a_host_that_drops_the_publication_is_a_failure() {
    let fixture = joined(config()).await;
    let response = fixture.push(Some(TOPIC), message("x"));
    drop(fixture.publication().await);
    assert_eq!(status(response).await, (500, Some("no waku relay found".into())));
}

#[actix::test]
async fn finds_the_shard_of_a_content_topic() {
    let fixture = joined(Config { shards: vec![4], shards_in_network: 8, ..config() }).await;
    let response = fixture.push(None, message("x"));
    assert_eq!(host_answers(&fixture, Ok(1)).await.0, "/waku/2/rs/2/4");
    assert_eq!(status(response).await, (200, None));

    let elsewhere = WakuMessage { content_topic: "/toychat/2/a/b".into(), ..message("x") };
    assert_eq!(status(fixture.push(None, elsewhere)).await.0, 421);
    let malformed = WakuMessage { content_topic: "/a/b".into(), ..message("x") };
    let (code, text) = status(fixture.push(None, malformed)).await;
    assert_eq!(code, 420);
    assert!(text.unwrap().starts_with("Invalid content-topic:"));
}

#[actix::test]
async fn sets_a_missing_timestamp_before_hashing() {
    let fixture = joined(config()).await;
    let mut follower = fixture.relay.follow().await.unwrap();
    let now = || i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap();
    for timestamp in [None, Some(0)] {
        let before = now();
        let _response = fixture.push(Some(TOPIC), WakuMessage { timestamp, ..message("x") });
        let (_, data) = host_answers(&fixture, Ok(1)).await;
        let sent = WakuMessage::decode(&data).unwrap();
        assert!((before..=now()).contains(&sent.timestamp.unwrap()));
        let seen = follower.recv().await.unwrap();
        assert_eq!(seen.hash, sent.hash(&PubsubTopic::parse(TOPIC).unwrap()));
    }
}

#[actix::test]
async fn serves_version_2_with_its_own_texts() {
    let fixture = joined(config()).await;
    let request = |topic: &str| {
        let request = Some(v2::PushRequest { pubsub_topic: topic.into(), message: message("x") });
        v2::PushRpc { request_id: "id".into(), request, response: None }.encode()
    };
    let push = |body| fixture.request(V2_PROTOCOL, Requester::Anonymous, body);

    let response = push(request(TOPIC));
    host_answers(&fixture, Ok(2)).await;
    assert_eq!(v2_info(response).await, ("id".into(), true, "OK".into()));
    let response = push(request(TOPIC));
    host_answers(&fixture, Err(PublishFailure::NoPeers)).await;
    assert_eq!(v2_info(response).await, ("id".into(), false, "not_published_to_any_peer".into()));

    assert_eq!(v2_info(push(request(""))).await, ("id".into(), false, "topic must not be empty".into()));
    let empty = v2::PushRpc { request_id: "id".into(), ..v2::PushRpc::default() }.encode();
    assert_eq!(v2_info(push(empty)).await, ("id".into(), false, "empty_request_body_failure".into()));
    let (id, _, info) = v2_info(push(vec![0xff])).await;
    assert_eq!(id, "N/A");
    assert!(info.starts_with("decode_rpc_failure: "));
}

#[actix::test]
async fn limits_direct_clients_and_the_mixnet_apart() {
    let rate = |volume| Some(RequestBudget { volume, period: Duration::from_secs(1) });
    let fixture = joined(Config { lightpush_rate: rate(1), lightpush_rate_mix: rate(2), ..config() }).await;
    let admitted = async |from| {
        let mut admitted = 0;
        // A blank topic: answered without the host, and only if the request was read.
        while status(fixture.push_from(from, Some(""), message("x"))).await.0 == 400 {
            admitted += 1;
        }
        admitted
    };
    let client = Requester::Peer(peer(1));
    assert_eq!(admitted(client).await, 7, "three quarters of a burst of ten");
    assert_eq!(admitted(Requester::Anonymous).await, 20);
    let refused = status(fixture.push_from(client, Some(TOPIC), message("x"))).await;
    assert_eq!(refused, (429, Some("Request rejected due to too many requests".into())));
    let body = v2::PushRpc::default().encode();
    let response = fixture.request(V2_PROTOCOL, client, body);
    assert_eq!(v2_info(response).await, ("N/A".into(), false, "TOO_MANY_REQUESTS".into()));

    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(admitted(Requester::Anonymous).await, 2);
    assert_eq!(admitted(client).await, 1);
}

#[actix::test]
async fn answers_overload_with_429() {
    let fixture = joined(Config { max_in_flight: 2, ..config() }).await;
    let first = fixture.push(Some(TOPIC), message("1"));
    let second = fixture.push(Some(TOPIC), message("2"));
    assert_eq!(status(fixture.push(Some(TOPIC), message("3"))).await.0, 429);
    let local = fixture.relay.publish(Some(TOPIC.into()), message("4")).await.unwrap();
    assert_eq!(local.status, 429);
    host_answers(&fixture, Ok(1)).await;
    host_answers(&fixture, Ok(1)).await;
    assert_eq!((status(first).await.0, status(second).await.0), (200, 200));
    finish().await;
    let third = fixture.push(Some(TOPIC), message("3"));
    host_answers(&fixture, Ok(1)).await;
    assert_eq!(status(third).await.0, 200);
}

#[actix::test]
async fn answers_a_full_queue_with_429() {
    let fixture = joined(config()).await;
    // Nothing else runs before the first await, so the queue fills.
    let responses: Vec<_> = (0..=QUEUE).map(|_| fixture.push(Some(""), message("x"))).collect();
    let mut codes = Vec::new();
    for response in responses {
        codes.push(status(response).await.0);
    }
    assert_eq!(codes.iter().filter(|&&code| code == 429).count(), 1, "{codes:?}");
    assert_eq!(codes.last(), Some(&429));
}

#[actix::test]
async fn publishes_for_this_node_by_the_same_rules() {
    let fixture = joined(config()).await;
    let (published, _) =
        tokio::join!(fixture.relay.publish(Some(TOPIC.into()), message("hello mix")), host_answers(&fixture, Ok(4)));
    let published = published.unwrap();
    assert_eq!((published.status, published.description, published.relay_peer_count), (200, None, Some(4)));
    assert_eq!(
        published.hash.unwrap().to_string(),
        "0x5fa526b87fd202dd2d75ab1f435f3df914e135001d5218885b6a7522b3d50407"
    );
    let refused = fixture.relay.publish(None, message("x")).await.unwrap();
    assert_eq!((refused.status, refused.relay_peer_count, refused.hash), (420, None, None));
    let long_meta = WakuMessage { meta: vec![0; 65], ..message("x") };
    let refused = fixture.relay.publish(Some(TOPIC.into()), long_meta).await.unwrap();
    assert_eq!(
        (refused.status, refused.description.unwrap().as_str()),
        (420, "meta has 65 bytes, at most 64 are allowed")
    );
}

#[actix::test]
async fn serves_nothing_when_lightpush_is_off() {
    let fixture = joined(Config { lightpush: false, ..config() }).await;
    assert!(
        fixture.around.context.services.get(V3_PROTOCOL).is_none()
            && fixture.around.context.services.get(V2_PROTOCOL).is_none()
    );
}

#[actix::test]
async fn counts_responses_by_version_and_class() {
    let fixture = joined(config()).await;
    status(fixture.push(Some(""), message("x"))).await;
    let response = fixture.push(Some(TOPIC), message("x"));
    host_answers(&fixture, Err(PublishFailure::NoPeers)).await;
    status(response).await;
    let page = fixture.around.context.telemetry.render();
    for line in [
        "waku_mix_lightpush_responses_total{version=\"v3\",class=\"refused\"} 1",
        "waku_mix_lightpush_responses_total{version=\"v3\",class=\"no_peers\"} 1",
        "waku_lightpush_v3_errors_total{type=\"BAD_REQUEST\"} 1",
        "waku_lightpush_v3_messages_total{type=\"PushRequest\"} 2",
        "waku_service_requests_total{service=\"/vac/waku/lightpush/3.0.0\",state=\"served\"} 2",
    ] {
        assert!(page.contains(line), "{line} is not in\n{page}");
    }
}

#[actix::test]
async fn stop_answers_what_is_in_progress() {
    let fixture = joined(config()).await;
    let response = fixture.push(Some(TOPIC), message("x"));
    let (_, _, reply) = fixture.publication().await;
    let stopping = fixture.running.stop(tokio::time::Instant::now() + Duration::from_secs(5));
    let host = async {
        finish().await;
        assert!(fixture.relay.address().is_closed(), "new work is refused");
        reply.send(Ok(1)).unwrap();
    };
    let (report, ()) = tokio::join!(stopping, host);
    assert_eq!((report.finished, report.abandoned, report.in_time), (1, 0, true));
    assert_eq!(status(response).await.0, 200);
}

#[actix::test]
async fn stop_gives_up_at_the_deadline_and_says_so() {
    let fixture = joined(config()).await;
    let response = fixture.push(Some(TOPIC), message("x"));
    let unanswered = fixture.publication().await;
    let report = fixture.stop(Duration::from_secs(5)).await;
    assert_eq!((report.finished, report.abandoned, report.in_time), (0, 1, false));
    finish().await;
    assert!(response.await.is_err(), "no answer");
    drop(unanswered);
}
