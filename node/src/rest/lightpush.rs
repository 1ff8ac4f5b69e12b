//! `POST /lightpush/v3/message`: push over the mixnet or plainly.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use wakumix_role_api::{
    host::{ReadRule, RequestFailure},
    sender::{Answer, PushFailure},
};
use wakumix_waku::{
    ContentTopic, PubsubTopic, WakuMessage, frame,
    lightpush::{self, MAX_RESPONSE_LEN, StatusCode as LightpushStatus, V3_PROTOCOL, v3},
};

use super::{
    Api, Sharding,
    body::{self, MessageJson},
};

/// The limit of a plain push, as nwaku's REST has it (`spec/waku.md §7.2`).
const PLAIN_LIMIT: Duration = Duration::from_secs(5);

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.route("/lightpush/v3/message", web::post().to(push));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PushJson {
    #[serde(default)]
    pubsub_topic: Option<String>,
    message: MessageJson,
    #[serde(default)]
    anonymity: Option<Anonymity>,
}

/// How a message is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Anonymity {
    /// Over the mixnet or not at all.
    Required,
    /// Directly: the service sees who pushes.
    None,
}

/// What a caller reads. `statusDesc` and `relayPeerCount` are nwaku's, the others ours.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(skip)]
    status: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_desc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay_peer_count: Option<u32>,
    /// Stable code of a failure before any service answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_hash: Option<String>,
}

async fn push(api: web::Data<Api>, bytes: web::Bytes) -> impl Responder {
    let outcome = match parse(&api, &bytes) {
        Ok((Anonymity::Required, topic, message)) => push_over_mix(&api, topic, message).await,
        Ok((Anonymity::None, topic, message)) => push_plainly(&api, topic, message).await,
        Err(problem) => Outcome::failed(LightpushStatus::BAD_REQUEST, "bad_request", problem),
    };
    let status = u16::try_from(outcome.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
    HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)).json(outcome)
}

fn parse(api: &Api, bytes: &web::Bytes) -> Result<(Anonymity, Option<String>, WakuMessage), String> {
    let request: PushJson = body::parse(bytes)?;
    let mut message = WakuMessage::try_from(request.message)?;
    // Publishers put the time in before anything is hashed (spec/waku.md §1.2).
    message.timestamp.get_or_insert_with(crate::clock::unix_nanoseconds);
    let topic = match request.pubsub_topic {
        Some(topic) => Some(PubsubTopic::parse(&topic).map_err(|error| error.to_string())?),
        None => derive_topic(api.sharding, &message.content_topic)?,
    };
    // A node that can push anonymously does so unless it is told not to: a forgotten field must not tell who sent.
    let default = if api.sender.is_some() { Anonymity::Required } else { Anonymity::None };
    Ok((request.anonymity.unwrap_or(default), topic.map(|topic| topic.as_str().to_owned()), message))
}

/// The topic of a content topic under auto-sharding; under static sharding the service says that it wants one.
fn derive_topic(sharding: Sharding, content_topic: &str) -> Result<Option<PubsubTopic>, String> {
    let Some(shards) = sharding.shards else { return Ok(None) };
    let content_topic = ContentTopic::parse(content_topic).map_err(|error| error.to_string())?;
    PubsubTopic::of_content(sharding.cluster, &content_topic, shards).map(Some).map_err(|error| error.to_string())
}

async fn push_over_mix(api: &Api, topic: Option<String>, message: WakuMessage) -> Outcome {
    let Some(sender) = &api.sender else {
        let words = format!("{}: the sender role is off; add it to roles", lightpush::text::MIX_NOT_AVAILABLE);
        return Outcome::failed(LightpushStatus::SERVICE_NOT_AVAILABLE, "no_sender", words);
    };
    match sender.push(message, topic, None, None).await {
        Ok(answer) => Outcome::from(answer),
        Err(failure) => Outcome::from(&failure),
    }
}

async fn push_plainly(api: &Api, topic: Option<String>, message: WakuMessage) -> Outcome {
    if let Some(relay) = &api.relay {
        return match relay.publish(topic, message).await {
            Some(published) => Outcome {
                status: published.status,
                status_desc: published.description,
                relay_peer_count: published.relay_peer_count,
                message_hash: published.hash.map(|hash| hash.to_string()),
                error: None,
            },
            None => Outcome::failed(LightpushStatus::SERVICE_NOT_AVAILABLE, "busy", "the relay is overloaded"),
        };
    }
    let directory = api.directory.snapshot();
    let Some(service) = directory.lightpush.first() else {
        let words = "no relay runs here and no lightpushnode is configured";
        return Outcome::failed(LightpushStatus::SERVICE_NOT_AVAILABLE, "no_service", words);
    };
    let hash = topic.as_deref().map(|topic| wakumix_waku::MessageHash::of(topic, &message).to_string());
    let request = v3::Request { request_id: request_id(), pubsub_topic: topic, message };
    let frame = frame::encode(&request.encode());
    let read = ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN };
    let answer = api.host.request(service.peer, service.addresses.clone(), V3_PROTOCOL, frame, read, PLAIN_LIMIT).await;
    match answer {
        Ok(frame) => read_answer(&frame, hash),
        Err(failure) => Outcome::from(&failure),
    }
}

fn read_answer(bytes: &[u8], message_hash: Option<String>) -> Outcome {
    let malformed = || Outcome::failed(LightpushStatus::INTERNAL_SERVER_ERROR, "bad_answer", "the answer is malformed");
    let Ok(Some((body, _))) = frame::decode(bytes, MAX_RESPONSE_LEN) else { return malformed() };
    let Ok(response) = v3::Response::decode(body) else { return malformed() };
    Outcome {
        status: response.status_code.0,
        status_desc: response.status_desc,
        relay_peer_count: response.relay_peer_count,
        error: None,
        message_hash,
    }
}

/// 20 random hex digits, as the fleet's clients have (`spec/waku.md §5.5`).
fn request_id() -> String {
    let mut bytes = [0; 10];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

impl Outcome {
    fn failed(status: LightpushStatus, error: &'static str, words: impl Into<String>) -> Self {
        Self { status: status.0, status_desc: Some(words.into()), error: Some(error), ..Self::default() }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status,
            status_desc: answer.description,
            relay_peer_count: answer.relay_peer_count,
            error: None,
            message_hash: answer.message_hash.map(|hash| format!("0x{}", hex::encode(hash))),
        }
    }
}

impl From<&PushFailure> for Outcome {
    fn from(failure: &PushFailure) -> Self {
        let status = match failure {
            PushFailure::TooLarge { .. } => LightpushStatus::PAYLOAD_TOO_LARGE,
            PushFailure::InvalidMessage(_) => LightpushStatus::BAD_REQUEST,
            PushFailure::Busy => LightpushStatus::TOO_MANY_REQUESTS,
            PushFailure::BadAnswer(_) | PushFailure::Internal(_) => LightpushStatus::INTERNAL_SERVER_ERROR,
            _ => LightpushStatus::SERVICE_NOT_AVAILABLE,
        };
        Self::failed(status, failure.kind(), failure.to_string())
    }
}

impl From<&RequestFailure> for Outcome {
    fn from(failure: &RequestFailure) -> Self {
        // A dial failure is 505 at the fleet's clients (spec/waku.md §4.1).
        let (status, code) = match failure {
            RequestFailure::DialFailed => (LightpushStatus::NO_PEERS_TO_RELAY, "dial_failed"),
            RequestFailure::Busy => (LightpushStatus::TOO_MANY_REQUESTS, "busy"),
            RequestFailure::Timeout => (LightpushStatus::SERVICE_NOT_AVAILABLE, "timeout"),
            RequestFailure::Unsupported => (LightpushStatus::SERVICE_NOT_AVAILABLE, "unsupported"),
            RequestFailure::Stream(_) => (LightpushStatus::SERVICE_NOT_AVAILABLE, "stream_failed"),
            RequestFailure::Stopped => (LightpushStatus::SERVICE_NOT_AVAILABLE, "stopped"),
        };
        Self::failed(status, code, failure.to_string())
    }
}
