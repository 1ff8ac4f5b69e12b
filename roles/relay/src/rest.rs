//! `/relay/v1`: subscriptions and messages of pubsub topics and, below `auto`, of content topics, in nwaku's shapes
//! (`spec/waku.md §7.2`).

mod operations;
#[cfg(test)]
mod tests;

use std::num::NonZeroU16;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use wakumix_role_api::Ports;
use wakumix_role_api::relay::{Received, RelayHandle};
use wakumix_role_api::rest::{Access, MessageJson, Method, Object, Operation, Request, Response, Route, RouteContext};
use wakumix_waku::lightpush::StatusCode;
use wakumix_waku::{ContentTopic, PubsubTopic, WakuMessage};

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct RestPort {
    pub(crate) relay: RelayHandle,
    /// The cluster that it relays for.
    pub(crate) cluster: u16,
    /// Shards under auto-sharding; `None` under static sharding.
    pub(crate) shards: Option<NonZeroU16>,
}

/// A received message; the hash is ours, the rest nwaku's.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReceivedMessage", description = "A received message.")]
struct ReceivedJson {
    #[serde(flatten)]
    message: MessageJson,
    /// The deterministic hash, `0x` and 64 hex digits.
    message_hash: String,
}

pub(crate) fn routes() -> Vec<Route> {
    const SUBSCRIPTIONS: &str = "/relay/v1/subscriptions";
    const MESSAGES: &str = "/relay/v1/messages/{topic}";
    const AUTO_SUBSCRIPTIONS: &str = "/relay/v1/auto/subscriptions";
    const AUTO_MESSAGES: &str = "/relay/v1/auto/messages";
    const AUTO_MESSAGES_OF: &str = "/relay/v1/auto/messages/{contentTopic}";
    use Method::{Delete, Get, Post};
    use operations as of;
    vec![
        route(Post, SUBSCRIPTIONS, &of::SUBSCRIBE, |context, request| answer(subscribe(context, request, topics))),
        route(Delete, SUBSCRIPTIONS, &of::UNSUBSCRIBE, |context, request| {
            answer(unsubscribe(context, request, topics))
        }),
        route(Get, MESSAGES, &of::MESSAGES, |context, request| answer(messages(context, request))),
        route(Post, MESSAGES, &of::PUBLISH, |context, request| answer(publish(context, request))),
        route(Post, AUTO_SUBSCRIPTIONS, &of::AUTO_SUBSCRIBE, |context, request| {
            answer(subscribe(context, request, content_topics))
        }),
        route(Delete, AUTO_SUBSCRIPTIONS, &of::AUTO_UNSUBSCRIBE, |context, request| {
            answer(unsubscribe(context, request, content_topics))
        }),
        route(Get, AUTO_MESSAGES_OF, &of::AUTO_MESSAGES, |context, request| answer(auto_messages(context, request))),
        route(Post, AUTO_MESSAGES, &of::AUTO_PUBLISH, |context, request| answer(auto_publish(context, request))),
    ]
}

/// A route for every program. Those that read take what they read.
fn route(
    method: Method,
    path: &'static str,
    operation: &'static Operation,
    handler: fn(RouteContext, Request) -> BoxFuture<'static, Response>,
) -> Route {
    Route { access: Access::Everybody, method, path, takes: method == Method::Get, operation, handler }
}

/// A request that ends early ends with its answer.
fn answer(request: impl Future<Output = Result<Response, Response>> + Send + 'static) -> BoxFuture<'static, Response> {
    request.map(|answer| answer.unwrap_or_else(|refused| refused)).boxed()
}

/// A pubsub topic, and the content topic on it that is meant, if one is.
struct Interest {
    topic: PubsubTopic,
    content_topic: Option<ContentTopic>,
}

impl Interest {
    fn into_parts(self) -> (String, Option<String>) {
        let Self { topic, content_topic } = self;
        (topic.to_string(), content_topic.map(|content_topic| content_topic.to_string()))
    }
}

/// What a list names.
type Named = fn(&RestPort, &[String]) -> Result<Vec<Interest>, Response>;

async fn subscribe(
    RouteContext { ports, .. }: RouteContext,
    request: Request,
    named: Named,
) -> Result<Response, Response> {
    let port = port(&ports)?;
    for interest in named(&port, &request.json::<Vec<String>>()?)? {
        let (topic, content_topic) = interest.into_parts();
        port.relay.subscribe_to(topic, content_topic).await.map_err(Response::unavailable)?;
    }
    Ok(Response::text(200, "OK"))
}

async fn unsubscribe(
    RouteContext { ports, .. }: RouteContext,
    request: Request,
    named: Named,
) -> Result<Response, Response> {
    let port = port(&ports)?;
    for interest in named(&port, &request.json::<Vec<String>>()?)? {
        let (topic, content_topic) = interest.into_parts();
        port.relay.unsubscribe_from(topic, content_topic).await.map_err(Response::unavailable)?;
    }
    Ok(Response::text(200, "OK"))
}

async fn messages(RouteContext { ports, .. }: RouteContext, request: Request) -> Result<Response, Response> {
    let port = port(&ports)?;
    let topic = parse(request.parameter("topic"))?;
    let unknown = format!("not subscribed to {topic}; subscribe with POST /relay/v1/subscriptions");
    take(&port, Interest { topic, content_topic: None }, unknown).await
}

async fn auto_messages(RouteContext { ports, .. }: RouteContext, request: Request) -> Result<Response, Response> {
    let port = port(&ports)?;
    let interest = port.place(request.parameter("contentTopic"))?;
    let content_topic = request.parameter("contentTopic");
    let unknown = format!("not subscribed to {content_topic}; subscribe with POST /relay/v1/auto/subscriptions");
    take(&port, interest, unknown).await
}

async fn take(port: &RestPort, interest: Interest, unknown: String) -> Result<Response, Response> {
    let (topic, content_topic) = interest.into_parts();
    let kept = port.relay.messages_of(topic, content_topic).await.map_err(Response::unavailable)?;
    let received = kept.ok_or_else(|| Response::text(404, unknown))?;
    Ok(Response::json(&received.into_iter().map(ReceivedJson::from).collect::<Vec<_>>()))
}

async fn publish(RouteContext { ports, .. }: RouteContext, request: Request) -> Result<Response, Response> {
    let port = port(&ports)?;
    let topic = parse(request.parameter("topic"))?;
    let message = message(&request)?;
    publish_to(&port, &topic, message).await
}

async fn auto_publish(RouteContext { ports, .. }: RouteContext, request: Request) -> Result<Response, Response> {
    let port = port(&ports)?;
    let message = message(&request)?;
    let Interest { topic, .. } = port.place(&message.content_topic)?;
    publish_to(&port, &topic, message).await
}

fn message(request: &Request) -> Result<WakuMessage, Response> {
    let Object(message) = request.json::<Object<MessageJson>>()?;
    WakuMessage::try_from(message).map_err(Response::bad_request)
}

async fn publish_to(port: &RestPort, topic: &PubsubTopic, message: WakuMessage) -> Result<Response, Response> {
    let overloaded = || Response::unavailable("the relay is overloaded; try again later");
    let published = port.relay.publish(Some(topic.to_string()), message).await.ok_or_else(overloaded)?;
    let words = published.description.unwrap_or_default();
    match published.status {
        200 => Ok(Response::text(200, "OK")),
        status if status == StatusCode::UNSUPPORTED_PUBSUB_TOPIC.0 => {
            let words = format!("{words}: {topic}; subscribe to it with POST /relay/v1/subscriptions");
            Err(Response::bad_request(words))
        }
        // nwaku answers 400 for what its validators refuse, 500 otherwise. What can be tried again is no failure of this node.
        429 => Err(Response::text(429, words)),
        status if status == StatusCode::NO_PEERS_TO_RELAY.0 => Err(Response::unavailable(words)),
        400..500 => Err(Response::bad_request(words)),
        _ => Err(Response::text(500, words)),
    }
}

fn port(ports: &Ports) -> Result<RestPort, Response> {
    ports.get().ok_or_else(|| Response::unavailable("the relay has stopped"))
}

fn topics(port: &RestPort, topics: &[String]) -> Result<Vec<Interest>, Response> {
    let interest = |topic: &String| {
        let topic = parse(topic)?;
        if topic.cluster() != port.cluster {
            let words = format!("{topic} is of another cluster; this node is in {}", port.cluster);
            return Err(Response::bad_request(words));
        }
        Ok(Interest { topic, content_topic: None })
    };
    topics.iter().map(interest).collect()
}

fn content_topics(port: &RestPort, topics: &[String]) -> Result<Vec<Interest>, Response> {
    topics.iter().map(|topic| port.place(topic)).collect()
}

fn parse(topic: &str) -> Result<PubsubTopic, Response> {
    PubsubTopic::parse(topic).map_err(|error| Response::bad_request(error.to_string()))
}

impl RestPort {
    /// Where auto-sharding puts a content topic.
    fn place(&self, content_topic: &str) -> Result<Interest, Response> {
        let no_auto_sharding = || {
            let words = "this node knows no number of shards, so it cannot tell which is that of a content topic; set \
                num-shards-in-network, or name pubsub topics at /relay/v1/subscriptions and /relay/v1/messages";
            Response::bad_request(words)
        };
        let bad = |error: wakumix_waku::TopicError| Response::bad_request(error.to_string());
        let content_topic = ContentTopic::parse(content_topic).map_err(bad)?;
        let shards = self.shards.ok_or_else(no_auto_sharding)?;
        let topic = PubsubTopic::of_content(self.cluster, &content_topic, shards).map_err(bad)?;
        Ok(Interest { topic, content_topic: Some(content_topic) })
    }
}

impl From<Received> for ReceivedJson {
    fn from(received: Received) -> Self {
        Self { message_hash: received.hash.to_string(), message: received.message.into() }
    }
}
