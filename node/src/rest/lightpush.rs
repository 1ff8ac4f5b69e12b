//! `POST /lightpush/v3/message`: push over the mixnet, or plainly. `POST /lightpush/v1/message` is the same push with the answers of
//! nwaku's older interface: `OK`, or a sentence.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, Responder,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web,
};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wakumix_role_api::{
    rest::{MessageJson, Object, Operation, Reply, RequestBody, object, read_json},
    sender::{Anonymity, Answer, ClientError, DeliveryPath, DirectFailure, DirectPush, Exposure, PushFailure},
};
use wakumix_waku::{
    ContentTopic, PubsubTopic, WakuMessage,
    lightpush::{self, StatusCode as LightpushStatus},
};

use super::{Api, Sharding, access, body, routes::OwnRoute};

/// The limit of a plain push that names none, as nwaku's REST has it (`spec/waku.md §7.2`).
const PLAIN_LIMIT: Duration = Duration::from_secs(5);
/// The longest limit of a plain push. A request over the mixnet has the sender's.
const LONGEST_PLAIN_LIMIT: Duration = Duration::from_secs(60);

const PUSH: Operation = Operation {
    summary: "Push a message, over the mixnet where this node can",
    parameters: &[],
    body: Some(RequestBody::required::<PushJson>()),
    replies: &[
        Reply::json::<Outcome>(200, "The message is published."),
        Reply::json::<Outcome>(400, "The body is malformed, or the message cannot be sent."),
        Reply::json::<Outcome>(401, "A direct push without the token that it needs."),
        Reply::json::<Outcome>(403, "Direct pushes are off."),
        Reply::json::<Outcome>(413, "The message is too large."),
        Reply::json::<Outcome>(420, "The service refuses the message."),
        Reply::json::<Outcome>(421, "The service does not relay the pubsub topic."),
        Reply::json::<Outcome>(429, "This node or the service is busy."),
        Reply::json::<Outcome>(500, "The service failed, or its answer does not parse."),
        Reply::json::<Outcome>(503, "The mixnet or a service cannot be used now; `outcome` says why."),
        Reply::json::<Outcome>(504, "The service has no rate-limit proof for the message."),
        Reply::json::<Outcome>(505, "No relay peer took the message, or the service cannot be reached."),
    ],
};

const PUSH_V1: Operation = Operation {
    summary: "Push a message as /lightpush/v3/message does, with the answers of nwaku's older interface",
    parameters: &[],
    body: Some(RequestBody::required::<PushJson>()),
    replies: &[
        Reply::text(200, "OK"),
        Reply::text(400, "The body is malformed, or the message cannot be sent."),
        Reply::text(401, "A direct push without the token that it needs."),
        Reply::text(403, "Direct pushes are off."),
        Reply::text(413, "The message is too large."),
        Reply::text(429, "This node or the service is busy."),
        Reply::text(503, "The message is not published; the text says why."),
    ],
};

pub(super) fn routes() -> Vec<OwnRoute> {
    vec![
        OwnRoute::post("/lightpush/v3/message", &PUSH, |route| route.to(push)),
        OwnRoute::post("/lightpush/v1/message", &PUSH_V1, |route| route.to(push_v1)),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Push")]
struct PushJson {
    /// Where to publish; left out, the shard of the content topic.
    #[serde(default)]
    pubsub_topic: Option<String>,
    #[serde(deserialize_with = "object")]
    #[schemars(with = "MessageJson")]
    message: MessageJson,
    /// Over the mixnet or not at all; directly where the mixnet cannot be used; directly. Left out, it is `required` on a node
    /// with the sender role, else `none`.
    #[serde(default)]
    anonymity: Option<AnonymityJson>,
    /// How long the caller waits for an outcome.
    #[serde(default)]
    #[schemars(range(min = 1))]
    timeout_ms: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Anonymity")]
enum AnonymityJson {
    Required,
    Preferred,
    None,
}

impl From<AnonymityJson> for Anonymity {
    fn from(json: AnonymityJson) -> Self {
        match json {
            AnonymityJson::Required => Self::Required,
            AnonymityJson::Preferred => Self::Preferred,
            AnonymityJson::None => Self::None,
        }
    }
}

/// What is asked for.
struct Asked {
    anonymity: Anonymity,
    topic: Option<String>,
    message: WakuMessage,
    timeout: Option<Duration>,
}

/// What a caller reads. `statusDesc` and `relayPeerCount` are nwaku's, the others ours.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    #[serde(skip)]
    status: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_desc: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay_peer_count: Option<u32>,
    /// Stable code: `confirmed`, `published_unconfirmed`, `refused`, or that of a failure.
    outcome: &'static str,
    /// The same code, only where no service has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    /// `mixnet` or `direct`; absent where nothing was published.
    #[serde(skip_serializing_if = "Option::is_none")]
    way: Option<&'static str>,
    /// Why the mixnet was left out although it was preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    /// How often the message was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
    /// Who saw something of it on the way over the mixnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    exposure: Option<ExposureJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_hash: Option<String>,
}

/// How often a message was exposed: counts, and no peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Exposure")]
pub struct ExposureJson {
    /// Mix nodes that saw this node: first hops and last hops of replies.
    pub guards: u32,
    /// Exits that read the message.
    pub exits: u32,
    /// Packets that were made for it.
    pub packets: u32,
    /// Reply paths in them.
    pub reply_paths: u32,
}

impl ExposureJson {
    /// Of an answer; `None` for one that did not come over the mixnet.
    #[must_use]
    pub fn of(answer: &Answer) -> Option<Self> {
        let Exposure { guards, exits, packets, reply_paths } = answer.exposure;
        (answer.path == DeliveryPath::Mixnet).then_some(Self { guards, exits, packets, reply_paths })
    }
}

/// Why the mixnet could not be used.
#[derive(Debug, Serialize, JsonSchema)]
struct Fallback {
    /// The stable code of the failure.
    code: &'static str,
    /// Its words.
    text: String,
}

async fn push(api: web::Data<Api>, request: HttpRequest, bytes: web::Bytes) -> impl Responder {
    let outcome = outcome(&api, &request, &bytes).await;
    let mut answer = answer(http_status(outcome.status));
    answer.json(outcome)
}

async fn push_v1(api: web::Data<Api>, request: HttpRequest, bytes: web::Bytes) -> impl Responder {
    let Outcome { status, status_desc, .. } = outcome(&api, &request, &bytes).await;
    let words = status_desc.unwrap_or_default();
    // What nwaku has no status for is 503 there.
    let (status, words) = match status {
        200 => (StatusCode::OK, "OK".to_owned()),
        400 | 401 | 403 | 413 | 429 => (http_status(status), words),
        _ => (StatusCode::SERVICE_UNAVAILABLE, format!("Failed to request a message push: {words}")),
    };
    answer(status).content_type("text/plain; charset=utf-8").body(words)
}

async fn outcome(api: &Api, request: &HttpRequest, bytes: &[u8]) -> Outcome {
    match parse(api, bytes) {
        Ok(asked) => match refusal(api, asked.anonymity, request.headers()) {
            None => carry_out(api, asked).await,
            Some(refused) => refused,
        },
        Err(problem) => Outcome::failed(LightpushStatus::BAD_REQUEST, "bad_request", problem),
    }
}

/// An answer of this status. Two codes of lightpush mean nothing, or something else, in HTTP.
fn answer(status: StatusCode) -> HttpResponseBuilder {
    let mut answer = HttpResponse::build(status);
    match LightpushStatus(status.as_u16().into()) {
        UNAUTHORIZED => drop(answer.insert_header((header::WWW_AUTHENTICATE, body::SCHEME))),
        LightpushStatus::INVALID_MESSAGE => drop(answer.reason("Invalid Message")),
        LightpushStatus::NO_PEERS_TO_RELAY => drop(answer.reason("No Peers To Relay")),
        _ => {}
    }
    answer
}

/// A direct push without the token that it needs.
const UNAUTHORIZED: LightpushStatus = LightpushStatus(401);
/// A direct push where there are none.
const FORBIDDEN: LightpushStatus = LightpushStatus(403);

/// Why a message may not be pushed as is asked for, if it may not: without the mixnet only with the token, where one is set, and
/// not where the operator has turned that off.
fn refusal(api: &Api, anonymity: Anonymity, headers: &HeaderMap) -> Option<Outcome> {
    if anonymity == Anonymity::Required {
        return None;
    }
    if let Err(words) = access::check_token(api, headers) {
        return Some(Outcome::failed(UNAUTHORIZED, "unauthorized", words));
    }
    (!api.direct).then(|| Outcome::from(&PushFailure::DirectNotAllowed))
}

/// The status of the HTTP answer: that of lightpush, where it is one that ends an exchange.
fn http_status(status: u32) -> StatusCode {
    let code = u16::try_from(status).ok().filter(|code| *code == 200 || (400..600).contains(code));
    code.and_then(|code| StatusCode::from_u16(code).ok()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn parse(api: &Api, bytes: &[u8]) -> Result<Asked, String> {
    let Object(request) = read_json::<Object<PushJson>>(bytes)?;
    let message = WakuMessage::try_from(request.message)?;
    let topic = match request.pubsub_topic {
        Some(topic) => Some(PubsubTopic::parse(&topic).map_err(|error| error.to_string())?),
        None => derive_topic(api.sharding, &message.content_topic)?,
    };
    if request.timeout_ms == Some(0) {
        return Err("timeoutMs is 0; leave it out, or give it a time in milliseconds".to_owned());
    }
    // A node that can push anonymously does so unless it is told not to: a forgotten field must not tell who sent.
    let default = if api.sender.is_some() { Anonymity::Required } else { Anonymity::None };
    Ok(Asked {
        anonymity: request.anonymity.map_or(default, Anonymity::from),
        topic: topic.map(|topic| topic.as_str().to_owned()),
        message,
        timeout: request.timeout_ms.map(Duration::from_millis),
    })
}

/// The topic of a content topic under auto-sharding; under static sharding the service says that it wants one.
fn derive_topic(sharding: Sharding, content_topic: &str) -> Result<Option<PubsubTopic>, String> {
    let Some(shards) = sharding.shards else { return Ok(None) };
    let content_topic = ContentTopic::parse(content_topic).map_err(|error| error.to_string())?;
    PubsubTopic::of_content(sharding.cluster, &content_topic, shards).map(Some).map_err(|error| error.to_string())
}

/// Pushes as is asked for. A node without the sender role pushes directly where that is allowed, and says why.
async fn carry_out(api: &Api, asked: Asked) -> Outcome {
    match (asked.anonymity, &api.sender) {
        (Anonymity::None, _) => push_plainly(api, asked).await,
        (anonymity, Some(sender)) => {
            let Asked { topic, message, timeout, .. } = asked;
            sender.push_as(anonymity, message, topic, None, timeout).await.into()
        }
        (Anonymity::Preferred, None) => {
            let fallback = Fallback { code: NO_SENDER, text: no_sender() };
            Outcome { fallback: Some(fallback), ..push_plainly(api, asked).await }
        }
        (Anonymity::Required, None) => Outcome::failed(LightpushStatus::SERVICE_NOT_AVAILABLE, NO_SENDER, no_sender()),
    }
}

/// The code of a node that cannot push over the mixnet at all.
const NO_SENDER: &str = "no_sender";

fn no_sender() -> String {
    format!("{}: the sender role is off; add it to roles", lightpush::text::MIX_NOT_AVAILABLE)
}

async fn push_plainly(api: &Api, asked: Asked) -> Outcome {
    let Asked { topic, mut message, timeout, .. } = asked;
    // Publishers put the time in before anything is hashed (`spec/waku.md §1.2`). Over the mixnet the sender does.
    message.timestamp.get_or_insert_with(crate::clock::unix_nanoseconds);
    let limit = timeout.unwrap_or(PLAIN_LIMIT).min(LONGEST_PLAIN_LIMIT);
    api.plain.push(DirectPush { id: request_id(), topic, message }, limit).await.into()
}

/// 20 random hex digits, as nwaku's clients have (`spec/waku.md §5.5`).
fn request_id() -> String {
    let mut bytes = [0; 10];
    rand::rng().fill_bytes(&mut bytes);
    hex::encode(bytes)
}

impl Outcome {
    fn failed(status: LightpushStatus, error: &'static str, words: impl Into<String>) -> Self {
        Self {
            status: status.0,
            status_desc: Some(words.into()),
            outcome: error,
            error: Some(error),
            ..Self::default()
        }
    }
}

impl From<Result<Answer, PushFailure>> for Outcome {
    fn from(outcome: Result<Answer, PushFailure>) -> Self {
        outcome.map_or_else(|failure| Self::from(&failure), Self::from)
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        let (outcome, exposure) = (answer.kind(), ExposureJson::of(&answer));
        let (way, failure) = match answer.path {
            DeliveryPath::Mixnet => ("mixnet", None),
            DeliveryPath::Direct(failure) => ("direct", failure),
        };
        Self {
            status: answer.status,
            status_desc: answer.description,
            relay_peer_count: answer.relay_peer_count,
            outcome,
            error: None,
            way: Some(way),
            fallback: failure.map(|failure| Fallback { code: failure.kind(), text: failure.to_string() }),
            tries: Some(answer.tries),
            exposure,
            message_hash: answer.message_hash.map(|hash| format!("0x{}", hex::encode(hash))),
        }
    }
}

impl From<&PushFailure> for Outcome {
    fn from(failure: &PushFailure) -> Self {
        let status = match failure {
            PushFailure::Client(ClientError::PayloadTooLarge { .. } | ClientError::TooLarge { .. }) => {
                LightpushStatus::PAYLOAD_TOO_LARGE
            }
            PushFailure::InvalidMessage(_) => LightpushStatus::BAD_REQUEST,
            PushFailure::DirectNotAllowed => FORBIDDEN,
            PushFailure::Client(ClientError::Busy) => LightpushStatus::TOO_MANY_REQUESTS,
            PushFailure::BadAnswer(_) | PushFailure::Client(ClientError::Internal(_)) => {
                LightpushStatus::INTERNAL_SERVER_ERROR
            }
            // A dial failure is 505 at nwaku's clients (`spec/waku.md §4.1`).
            PushFailure::Service(DirectFailure::DialFailed) => LightpushStatus::NO_PEERS_TO_RELAY,
            _ => LightpushStatus::SERVICE_NOT_AVAILABLE,
        };
        Self { tries: failure.tries_until_deadline(), ..Self::failed(status, failure.kind(), failure.to_string()) }
    }
}
