//! The routes in front of a relay that the tests play.

use futures::FutureExt as _;
use serde_json::{Value, json};
use wakumix_role_api::host::HostHandle;
use wakumix_role_api::relay::{NAME, Published, RelayMessage};
use wakumix_role_api::{DirectoryPublisher, Receiver, mailbox};
use wakumix_waku::MessageHash;

use super::*;

const TOPIC: &str = "/waku/2/rs/66/0";
const CONTENT_TOPIC: &str = "/app/1/chat/proto";
/// The shard of that among eight.
const ITS_TOPIC: &str = "/waku/2/rs/66/4";

/// The routes, and the relay behind them as the test plays it.
fn world() -> (Ports, Receiver<RelayMessage>) {
    let telemetry = wakumix_role_testkit::telemetry(&crate::metrics::METRICS);
    let (host, _) = mailbox("host", 1, &telemetry);
    let (relay, inbox) = mailbox("relay", 4, &telemetry);
    let mut ports = Ports::new(HostHandle::new(host));
    ports.insert(NAME, RestPort { relay: RelayHandle::new(relay), cluster: 66, shards: NonZeroU16::new(8) }).unwrap();
    (ports, inbox.receiver().unwrap())
}

async fn call(ports: &Ports, method: Method, path: &str, body: Value) -> (u16, String) {
    let route = routes().into_iter().find(|route| route.method == method && route.fixed_path() == path).unwrap();
    let parameters = [("topic", TOPIC), ("contentTopic", CONTENT_TOPIC)];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let request = Request { parameters, body: body.to_string().into_bytes() };
    let (_publisher, directory) = DirectoryPublisher::new();
    let response = (route.handler)(RouteContext { ports: ports.clone(), directory }, request).await;
    (response.status, String::from_utf8(response.into_bytes().await).unwrap())
}

fn message() -> Value {
    json!({ "payload": "aGVsbG8=", "contentTopic": "/app/1/chat/proto" })
}

#[tokio::test]
async fn subscriptions_and_publishing_answer_as_nwaku_does() {
    let (ports, mut relay) = world();
    for (topic, part) in [("chat", "not a pubsub topic"), ("/waku/2/rs/1/0", "this node is in 66")] {
        let (status, words) = call(&ports, Method::Post, "/relay/v1/subscriptions", json!([topic])).await;
        assert!(status == 400 && words.contains(part), "{topic}: {words}");
    }
    for (published, status) in [(200, 200), (420, 400), (421, 400), (429, 429), (505, 503), (500, 500)] {
        let publish = async {
            let Some(RelayMessage::Publish { topic, reply, .. }) = relay.recv().await else { panic!() };
            let description = (published != 200).then(|| "no".to_owned());
            reply.send(Published { status: published, description, relay_peer_count: Some(1), hash: None }).unwrap();
            topic
        };
        let (response, topic) = futures::join!(call(&ports, Method::Post, "/relay/v1/messages/", message()), publish);
        assert_eq!((response.0, topic.as_deref()), (status, Some(TOPIC)));
    }
}

#[tokio::test]
async fn received_messages_are_shown_with_their_hash() {
    let (ports, mut relay) = world();
    let message = WakuMessage {
        payload: b"hello".to_vec(),
        content_topic: "/app/1/chat/proto".to_owned(),
        version: 0,
        timestamp: Some(5),
        meta: vec![1],
        rate_limit_proof: Vec::new(),
        ephemeral: true,
    };
    let hash = MessageHash::of(TOPIC, &message);
    let show = async |relay: &mut Receiver<RelayMessage>, kept| {
        let Some(RelayMessage::Messages { topic, content_topic: None, reply }) = relay.recv().await else {
            panic!("nothing asked")
        };
        assert_eq!(topic, TOPIC);
        reply.send(kept).unwrap();
    };
    let received = Received { topic: TOPIC.to_owned(), message, hash };
    let get = || call(&ports, Method::Get, "/relay/v1/messages/", Value::Null).boxed();
    let ((status, body), ()) = futures::join!(get(), show(&mut relay, Some(vec![received])));
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!([{
            "payload": "aGVsbG8=",
            "contentTopic": "/app/1/chat/proto",
            "version": 0,
            "timestamp": 5,
            "meta": "AQ==",
            "ephemeral": true,
            "messageHash": hash.to_string(),
        }])
    );
    let ((status, words), ()) = futures::join!(get(), show(&mut relay, None));
    assert_eq!(status, 404);
    assert!(words.contains("POST /relay/v1/subscriptions"), "{words}");
}

#[tokio::test]
async fn content_topics_are_subscribed_read_and_left_on_their_shard() {
    let (ports, mut relay) = world();
    const SUBSCRIPTIONS: &str = "/relay/v1/auto/subscriptions";
    for (method, topic) in [(Method::Post, ITS_TOPIC), (Method::Delete, ITS_TOPIC)] {
        let asked = async {
            let (topic, content_topic, reply) = match relay.recv().await {
                Some(RelayMessage::Subscribe { topic, content_topic, reply }) if method == Method::Post => {
                    (topic, content_topic, reply)
                }
                Some(RelayMessage::Unsubscribe { topic, content_topic, reply }) if method == Method::Delete => {
                    (topic, content_topic, reply)
                }
                other => panic!("{other:?}"),
            };
            reply.send(Ok(())).unwrap();
            (topic, content_topic)
        };
        let (answer, asked) = futures::join!(call(&ports, method, SUBSCRIPTIONS, json!([CONTENT_TOPIC])), asked);
        assert_eq!(answer, (200, "OK".to_owned()));
        assert_eq!(asked, (topic.to_owned(), Some(CONTENT_TOPIC.to_owned())));
        for (body, part) in [(json!(["chat"]), "`chat` is not a content topic"), (json!({}), "expected a list")] {
            let (status, words) = call(&ports, method, SUBSCRIPTIONS, body).await;
            assert!(status == 400 && words.contains(part), "{words}");
        }
    }
    let show = async |relay: &mut Receiver<RelayMessage>, kept| {
        let Some(RelayMessage::Messages { topic, content_topic, reply }) = relay.recv().await else { panic!() };
        assert_eq!((topic.as_str(), content_topic.as_deref()), (ITS_TOPIC, Some(CONTENT_TOPIC)));
        reply.send(kept).unwrap();
    };
    for (kept, expected) in [(Some(Vec::new()), (200, "[]")), (None, (404, "not subscribed to /app/1/chat/proto; "))] {
        let get = call(&ports, Method::Get, "/relay/v1/auto/messages/", Value::Null);
        let ((status, body), ()) = futures::join!(get, show(&mut relay, kept));
        assert!(status == expected.0 && body.starts_with(expected.1), "{status}: {body}");
    }
}

#[tokio::test]
async fn a_message_is_published_on_the_shard_of_its_content_topic() {
    let (ports, mut relay) = world();
    let publish = async {
        let Some(RelayMessage::Publish { topic, reply, .. }) = relay.recv().await else { panic!() };
        reply.send(Published { status: 200, description: None, relay_peer_count: Some(1), hash: None }).unwrap();
        topic
    };
    let (answer, topic) = futures::join!(call(&ports, Method::Post, "/relay/v1/auto/messages", message()), publish);
    assert_eq!((answer, topic.as_deref()), ((200, "OK".to_owned()), Some(ITS_TOPIC)));
    let odd = json!({ "payload": "aGVsbG8=", "contentTopic": "chat" });
    let (status, words) = call(&ports, Method::Post, "/relay/v1/auto/messages", odd).await;
    assert!(status == 400 && words.contains("`chat` is not a content topic"), "{words}");

    // Under static sharding nobody knows the shard.
    let (mut ports, _relay) = world();
    let relay = ports.get::<RestPort>().unwrap().relay;
    ports = Ports::new(ports.host);
    ports.insert(NAME, RestPort { relay, cluster: 66, shards: None }).unwrap();
    for path in ["/relay/v1/auto/messages", "/relay/v1/auto/subscriptions"] {
        let body = if path.ends_with('s') && path.contains("sub") { json!([CONTENT_TOPIC]) } else { message() };
        let (status, words) = call(&ports, Method::Post, path, body).await;
        assert!(status == 400 && words.contains("num-shards-in-network"), "{words}");
    }
}
