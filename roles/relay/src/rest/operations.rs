//! What the routes do.

use schemars::JsonSchema;
use wakumix_role_api::rest::{MessageJson, Operation, Parameter, Reply, RequestBody};

use super::ReceivedJson;

const PUBSUB_FORM: &str = "^/waku/2/rs/(0|[1-9][0-9]{0,3})/(0|[1-9][0-9]{0,2})$";
const CONTENT_FORM: &str = "^(/0)?(/[^/]+){4}$";

/// A pubsub topic in a list.
#[derive(JsonSchema)]
#[schemars(rename = "PubsubTopic")]
#[expect(dead_code, reason = "its form alone is used")]
struct PubsubJson(#[schemars(regex(pattern = PUBSUB_FORM))] String);

/// A content topic in a list.
#[derive(JsonSchema)]
#[schemars(rename = "ContentTopic")]
#[expect(dead_code, reason = "its form alone is used")]
struct ContentJson(#[schemars(regex(pattern = CONTENT_FORM))] String);

/// In a path it is one part: each `/` is written `%2F`.
const TOPIC: Parameter = Parameter {
    name: "topic",
    meaning: "A pubsub topic; each / in it is written %2F.",
    example: "/waku/2/rs/66/0",
    pattern: PUBSUB_FORM,
};

const CONTENT_TOPIC: Parameter = Parameter {
    name: "contentTopic",
    meaning: "A content topic; each / in it is written %2F.",
    example: "/app/1/name/proto",
    pattern: CONTENT_FORM,
};

const DONE: Reply = Reply::text(200, "OK");
const TAKEN: Reply = Reply::json::<Vec<ReceivedJson>>(200, "The messages since the last request, oldest first.");
const BAD_TOPICS: Reply = Reply::text(400, "The body is malformed, or this node cannot relay one of the topics.");
const NOT_PUBLISHED: Reply = Reply::text(400, "The message or its topic is refused; the text says why.");
const BUSY: Reply = Reply::text(429, "Too many publications are in progress.");
const FAILED: Reply = Reply::text(500, "Publishing failed.");
const OVERLOADED: Reply = Reply::text(503, "The relay cannot do it now, or its role is off.");
const NO_PEERS: Reply = Reply::text(503, "No relay peer takes the topic now, or the relay cannot do it now.");

pub(super) const SUBSCRIBE: Operation = Operation {
    summary: "Join pubsub topics and keep their messages",
    parameters: &[],
    body: Some(RequestBody::required::<Vec<PubsubJson>>()),
    replies: &[DONE, BAD_TOPICS, OVERLOADED],
};

pub(super) const UNSUBSCRIBE: Operation =
    Operation { summary: "Leave pubsub topics; what was left before stays so", ..SUBSCRIBE };

pub(super) const MESSAGES: Operation = Operation {
    summary: "Take the messages that a pubsub topic has received",
    parameters: &[TOPIC],
    body: None,
    replies: &[
        TAKEN,
        Reply::text(400, "This is no pubsub topic."),
        Reply::text(404, "The topic is not subscribed."),
        OVERLOADED,
    ],
};

pub(super) const PUBLISH: Operation = Operation {
    summary: "Publish a message on a pubsub topic",
    parameters: &[TOPIC],
    body: Some(RequestBody::required::<MessageJson>()),
    replies: &[DONE, NOT_PUBLISHED, BUSY, FAILED, NO_PEERS],
};

pub(super) const AUTO_SUBSCRIBE: Operation = Operation {
    summary: "Join the shards of content topics and keep the messages of these",
    parameters: &[],
    body: Some(RequestBody::required::<Vec<ContentJson>>()),
    replies: &[DONE, BAD_TOPICS, OVERLOADED],
};

pub(super) const AUTO_UNSUBSCRIBE: Operation =
    Operation { summary: "Leave content topics, and each shard that no other subscription needs", ..AUTO_SUBSCRIBE };

pub(super) const AUTO_MESSAGES: Operation = Operation {
    summary: "Take the messages that a content topic has received",
    parameters: &[CONTENT_TOPIC],
    body: None,
    replies: &[
        TAKEN,
        Reply::text(400, "This is no content topic, or this node does not know its shard."),
        Reply::text(404, "The content topic is not subscribed."),
        OVERLOADED,
    ],
};

pub(super) const AUTO_PUBLISH: Operation = Operation {
    summary: "Publish a message on the shard of its content topic",
    parameters: &[],
    body: Some(RequestBody::required::<MessageJson>()),
    replies: &[DONE, NOT_PUBLISHED, BUSY, FAILED, NO_PEERS],
};
