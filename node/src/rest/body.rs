//! Request and response bodies.

use actix_web::{HttpResponse, ResponseError, http::StatusCode, web};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wakumix_role_api::relay::Received;
use wakumix_waku::{WakuMessage, message::MAX_META_LEN, topic::TopicError};

/// A message as REST callers write it (`spec/waku.md §7.2`, "Message JSON").
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MessageJson {
    payload: String,
    content_topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    meta: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ephemeral: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

/// A received message; the hash is ours, the rest nwaku's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceivedJson {
    #[serde(flatten)]
    message: MessageJson,
    message_hash: String,
}

/// How many bytes of JSON are read: a message in base64 and room for its other fields.
pub(super) fn limit(max_message: usize) -> usize {
    max_message.saturating_mul(4) / 3 + 16 * 1024
}

/// Parses a JSON body.
///
/// # Errors
/// A sentence that says what is malformed and where.
pub(super) fn parse<T: DeserializeOwned>(body: &web::Bytes) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("malformed JSON body: {error}"))
}

/// A plain-text answer.
pub(super) fn text(status: StatusCode, words: impl Into<String>) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain; charset=utf-8").body(words.into())
}

/// A request that is answered with a sentence in plain text instead.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
pub(super) struct Refused {
    status: StatusCode,
    words: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, words: impl Into<String>) -> Self {
        Self { status, words: words.into() }
    }

    /// The caller's request is wrong.
    pub(super) fn bad_request(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, words)
    }

    /// This node cannot do it, or not now.
    pub(super) fn unavailable(words: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, words)
    }
}

impl From<TopicError> for Refused {
    fn from(error: TopicError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        text(self.status, self.words.as_str())
    }
}

impl TryFrom<MessageJson> for WakuMessage {
    type Error = String;

    fn try_from(json: MessageJson) -> Result<Self, String> {
        let meta = json.meta.map_or(Ok(Vec::new()), |meta| base64("meta", &meta))?;
        if meta.len() > MAX_META_LEN {
            return Err(format!("meta is {} bytes, at most {MAX_META_LEN} are allowed", meta.len()));
        }
        if json.content_topic.is_empty() {
            return Err("contentTopic is empty; name one, e.g. /app/1/name/proto".to_owned());
        }
        Ok(Self {
            payload: base64("payload", &json.payload)?,
            content_topic: json.content_topic,
            version: json.version.unwrap_or(0),
            timestamp: json.timestamp.filter(|timestamp| *timestamp != 0),
            meta,
            rate_limit_proof: json.proof.map_or(Ok(Vec::new()), |proof| base64("proof", &proof))?,
            ephemeral: json.ephemeral.unwrap_or(false),
        })
    }
}

impl From<Received> for ReceivedJson {
    fn from(received: Received) -> Self {
        let Received { message, hash, .. } = received;
        let encoded = |bytes: &[u8]| (!bytes.is_empty()).then(|| BASE64.encode(bytes));
        Self {
            message: MessageJson {
                payload: BASE64.encode(&message.payload),
                meta: encoded(&message.meta),
                proof: encoded(&message.rate_limit_proof),
                content_topic: message.content_topic,
                version: Some(message.version),
                timestamp: message.timestamp,
                ephemeral: Some(message.ephemeral),
            },
            message_hash: hash.to_string(),
        }
    }
}

fn base64(field: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text.as_bytes()).map_err(|error| format!("{field} is not base64 with padding: {error}"))
}
