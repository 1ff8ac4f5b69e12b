//! A message as REST callers write it.

use data_encoding::BASE64;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wakumix_waku::{WakuMessage, message::MAX_META_LEN};

/// Base64 with padding, whose last character has no bits beyond the last byte.
const BASE64_FORM: &str = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// A message as REST callers write it (`spec/waku.md §7.2`, "Message JSON").
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Message", description = "A WakuMessage.")]
pub struct MessageJson {
    /// The content, in base64.
    #[schemars(regex(pattern = BASE64_FORM))]
    payload: String,
    /// What the message is of, e.g. `/app/1/name/proto`.
    #[schemars(length(min = 1))]
    content_topic: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_295_u32))]
    version: Option<u32>,
    /// Nanoseconds since the Unix epoch; 0 stands for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    /// At most 64 bytes, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = BASE64_FORM), length(max = 88))]
    meta: Option<String>,
    /// Whether store nodes should leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ephemeral: Option<bool>,
    /// A rate-limit proof, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = BASE64_FORM))]
    proof: Option<String>,
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

impl From<WakuMessage> for MessageJson {
    fn from(message: WakuMessage) -> Self {
        let encoded = |bytes: &[u8]| (!bytes.is_empty()).then(|| BASE64.encode(bytes));
        Self {
            payload: BASE64.encode(&message.payload),
            meta: encoded(&message.meta),
            proof: encoded(&message.rate_limit_proof),
            content_topic: message.content_topic,
            version: Some(message.version),
            timestamp: message.timestamp,
            ephemeral: Some(message.ephemeral),
        }
    }
}

fn base64(field: &str, text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text.as_bytes()).map_err(|error| format!("{field} is not base64 with padding: {error}"))
}
