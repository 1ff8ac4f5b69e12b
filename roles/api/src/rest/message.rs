//! A message as REST callers write it.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use wakumix_waku::{WakuMessage, message::MAX_META_LEN};

/// A message as REST callers write it (`spec/waku.md §7.2`, "Message JSON").
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageJson {
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
