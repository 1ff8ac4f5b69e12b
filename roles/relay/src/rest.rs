//! `/relay/v1`: subscriptions and messages of pubsub topics, in nwaku's shapes (`spec/waku.md §7.2`).

use futures::FutureExt as _;
use serde::Serialize;
use wakumix_role_api::Ports;
use wakumix_role_api::relay::{Received, RelayHandle};
use wakumix_role_api::rest::{Access, MessageJson, Method, Request, Response, Route, RouteContext};
use wakumix_waku::{PubsubTopic, WakuMessage};

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct RestPort {
    pub(crate) relay: RelayHandle,
    /// The cluster that it relays for.
    pub(crate) cluster: u16,
}

/// A received message; the hash is ours, the rest nwaku's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReceivedJson {
    #[serde(flatten)]
    message: MessageJson,
    message_hash: String,
}

pub(crate) fn routes() -> Vec<Route> {
    const SUBSCRIPTIONS: &str = "/relay/v1/subscriptions";
    const MESSAGES: &str = "/relay/v1/messages/{topic}";
    vec![
        Route {
            access: Access::Everybody,
            method: Method::Post,
            path: SUBSCRIPTIONS,
            takes: false,
            handler: |RouteContext { ports, .. }, request| answer(subscribe(ports, request)).boxed(),
        },
        Route {
            access: Access::Everybody,
            method: Method::Delete,
            path: SUBSCRIPTIONS,
            takes: false,
            handler: |RouteContext { ports, .. }, request| answer(unsubscribe(ports, request)).boxed(),
        },
        Route {
            access: Access::Everybody,
            method: Method::Get,
            path: MESSAGES,
            takes: true,
            handler: |RouteContext { ports, .. }, request| answer(messages(ports, request)).boxed(),
        },
        Route {
            access: Access::Everybody,
            method: Method::Post,
            path: MESSAGES,
            takes: false,
            handler: |RouteContext { ports, .. }, request| answer(publish(ports, request)).boxed(),
        },
    ]
}

/// A request that ends early ends with its answer.
async fn answer(request: impl Future<Output = Result<Response, Response>>) -> Response {
    request.await.unwrap_or_else(|refused| refused)
}

async fn subscribe(ports: Ports, request: Request) -> Result<Response, Response> {
    let (relay, topics) = relay_and_topics(&ports, &request)?;
    for topic in topics {
        relay.subscribe(topic).await.map_err(Response::unavailable)?;
    }
    Ok(Response::text(200, "OK"))
}

async fn unsubscribe(ports: Ports, request: Request) -> Result<Response, Response> {
    let (relay, topics) = relay_and_topics(&ports, &request)?;
    for topic in topics {
        relay.unsubscribe(topic).await.map_err(Response::unavailable)?;
    }
    Ok(Response::text(200, "OK"))
}

async fn messages(ports: Ports, request: Request) -> Result<Response, Response> {
    let RestPort { relay, .. } = port(&ports)?;
    let topic = parse(request.parameter("topic"))?;
    let kept = relay.messages(topic.as_str().to_owned()).await.map_err(Response::unavailable)?;
    let received = kept.ok_or_else(|| {
        let words = format!("not subscribed to {}; subscribe with POST /relay/v1/subscriptions", topic.as_str());
        Response::text(404, words)
    })?;
    Ok(Response::json(&received.into_iter().map(ReceivedJson::from).collect::<Vec<_>>()))
}

async fn publish(ports: Ports, request: Request) -> Result<Response, Response> {
    let RestPort { relay, .. } = port(&ports)?;
    let topic = parse(request.parameter("topic"))?;
    let message = WakuMessage::try_from(request.json::<MessageJson>()?).map_err(Response::bad_request)?;
    let overloaded = || Response::unavailable("the relay is overloaded; try again later");
    let published = relay.publish(Some(topic.as_str().to_owned()), message).await.ok_or_else(overloaded)?;
    let words = published.description.unwrap_or_default();
    match published.status {
        200 => Ok(Response::text(200, "OK")),
        // nwaku answers 400 for what its validators refuse, 500 otherwise.
        400..500 => Err(Response::bad_request(words)),
        _ => Err(Response::text(500, words)),
    }
}

fn port(ports: &Ports) -> Result<RestPort, Response> {
    ports.get().ok_or_else(|| Response::unavailable("the relay has stopped"))
}

fn relay_and_topics(ports: &Ports, request: &Request) -> Result<(RelayHandle, Vec<String>), Response> {
    let RestPort { relay, cluster } = port(ports)?;
    let topics: Vec<String> = request.json()?;
    for topic in &topics {
        let parsed = parse(topic)?;
        if parsed.cluster() != cluster {
            let words = format!("{topic} is of another cluster; this node is in {cluster}");
            return Err(Response::bad_request(words));
        }
    }
    Ok((relay, topics))
}

fn parse(topic: &str) -> Result<PubsubTopic, Response> {
    PubsubTopic::parse(topic).map_err(|error| Response::bad_request(error.to_string()))
}

impl From<Received> for ReceivedJson {
    fn from(received: Received) -> Self {
        Self { message_hash: received.hash.to_string(), message: received.message.into() }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use serde_json::{Value, json};
    use wakumix_role_api::host::HostHandle;
    use wakumix_role_api::relay::{NAME, Published, RelayMessage};
    use wakumix_role_api::{DirectoryPublisher, Receiver, mailbox};
    use wakumix_waku::MessageHash;

    use super::*;

    const TOPIC: &str = "/waku/2/rs/66/0";

    /// The routes, and the relay behind them as the test plays it.
    fn world() -> (Ports, Receiver<RelayMessage>) {
        let telemetry = wakumix_role_testkit::telemetry(&crate::metrics::METRICS);
        let (host, _) = mailbox("host", 1, &telemetry);
        let (relay, inbox) = mailbox("relay", 4, &telemetry);
        let mut ports = Ports::new(HostHandle::new(host));
        ports.insert(NAME, RestPort { relay: RelayHandle::new(relay), cluster: 66 }).unwrap();
        (ports, inbox.receiver().unwrap())
    }

    async fn call(ports: &Ports, method: Method, path: &str, body: Value) -> (u16, String) {
        let route = routes().into_iter().find(|route| route.method == method && route.path.starts_with(path)).unwrap();
        let parameters = [("topic".to_owned(), TOPIC.to_owned())].into();
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
        for (published, status) in [(200, 200), (420, 400), (505, 500)] {
            let publish = async {
                let Some(RelayMessage::Publish { topic, reply, .. }) = relay.recv().await else { panic!() };
                let description = (published != 200).then(|| "no".to_owned());
                reply
                    .send(Published { status: published, description, relay_peer_count: Some(1), hash: None })
                    .unwrap();
                topic
            };
            let (response, topic) =
                futures::join!(call(&ports, Method::Post, "/relay/v1/messages", message()), publish);
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
            let Some(RelayMessage::Messages { topic, reply }) = relay.recv().await else { panic!("nothing asked") };
            assert_eq!(topic, TOPIC);
            reply.send(kept).unwrap();
        };
        let received = Received { topic: TOPIC.to_owned(), message, hash };
        let get = || call(&ports, Method::Get, "/relay/v1/messages", Value::Null).boxed();
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
}
