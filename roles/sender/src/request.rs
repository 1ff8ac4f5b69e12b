//! From a caller's message to the bytes of a lightpush request, without I/O (`spec/waku.md §4.1`, `§5.5`).

use std::sync::Arc;

use rand::{CryptoRng, Rng};
use wakumix_mix::fragment::MAX_PAYLOAD_LEN;
use wakumix_role_api::{plain::PlainRequest, sender::PushFailure};
use wakumix_waku::{ContentTopic, MessageHash, PubsubTopic, WakuMessage, frame, lightpush::v3, message::MAX_META_LEN};

use crate::config::AutoShards;

/// Random bytes in a request id, which is written as twice as many hex digits, like the fleet's clients do.
const REQUEST_ID_LEN: usize = 10;

/// A lightpush request, ready to travel.
pub(crate) struct Request {
    /// The id that the answer must repeat.
    pub(crate) id: String,
    /// The request with its length in front.
    pub(crate) frame: Arc<[u8]>,
    /// Bytes of the message's payload.
    pub(crate) payload_len: usize,
    /// Where the message will be published, unless the service derives that and this node cannot.
    pub(crate) topic: Option<PubsubTopic>,
    /// The hash of the message, where the topic is known.
    pub(crate) hash: Option<[u8; 32]>,
    /// The request once more, if it may go directly.
    pub(crate) plain: Option<PlainRequest>,
}

/// Checks a message and writes its request.
///
/// `now` is in nanoseconds since the Unix epoch; it becomes the timestamp of a message that has none, because the
/// implementations hash a missing one differently (`spec/waku.md §1.3`).
///
/// # Errors
/// [`PushFailure::InvalidMessage`] says what is malformed.
pub(crate) fn prepare<R: CryptoRng>(
    rng: &mut R,
    now: i64,
    mut message: WakuMessage,
    topic: Option<String>,
    auto_shards: Option<AutoShards>,
    may_go_directly: bool,
) -> Result<Request, PushFailure> {
    if message.meta.len() > MAX_META_LEN {
        let text = format!("meta has {} bytes, at most {MAX_META_LEN} are allowed", message.meta.len());
        return Err(PushFailure::InvalidMessage(text));
    }
    message.timestamp = message.timestamp.filter(|&timestamp| timestamp != 0).or(Some(now));
    let shard = shard(topic.as_deref(), &message.content_topic, auto_shards)?;
    let hash = shard.as_ref().map(|shard| *MessageHash::of(shard.as_str(), &message).as_bytes());
    let id = request_id(rng);
    let payload_len = message.payload.len();
    let request = v3::Request { request_id: id.clone(), pubsub_topic: topic, message };
    let frame = frame::encode(&request.encode()).into();
    let v3::Request { request_id, pubsub_topic, message } = request;
    let plain = may_go_directly.then_some(PlainRequest { id: request_id, topic: pubsub_topic, message });
    Ok(Request { id, frame, payload_len, topic: shard, hash, plain })
}

/// Refuses payloads that no packet format carries.
///
/// # Errors
/// [`PushFailure::PayloadTooLarge`] with size and limit.
pub(crate) fn check_payload(size: usize) -> Result<(), PushFailure> {
    let limit = MAX_PAYLOAD_LEN;
    if size > limit { Err(PushFailure::PayloadTooLarge { size, limit }) } else { Ok(()) }
}

/// The topic that the message will be published on; `None` when the service derives it and we cannot.
fn shard(
    topic: Option<&str>,
    content_topic: &str,
    auto_shards: Option<AutoShards>,
) -> Result<Option<PubsubTopic>, PushFailure> {
    let invalid = |error: wakumix_waku::TopicError| PushFailure::InvalidMessage(error.to_string());
    match topic {
        Some(topic) => PubsubTopic::parse(topic).map(Some).map_err(invalid),
        None => {
            let content = ContentTopic::parse(content_topic).map_err(invalid)?;
            let derive = |auto: AutoShards| PubsubTopic::of_content(auto.cluster, &content, auto.shards);
            auto_shards.map(derive).transpose().map_err(invalid)
        }
    }
}

fn request_id<R: Rng>(rng: &mut R) -> String {
    let mut bytes = [0; REQUEST_ID_LEN];
    rng.fill_bytes(&mut bytes);
    bytes.iter().fold(String::with_capacity(2 * REQUEST_ID_LEN), |mut text, byte| {
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
        text
    })
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    const NOW: i64 = 1_756_000_000_123_456_789;
    const TOPIC: &str = "/waku/2/rs/2/0";

    fn message() -> WakuMessage {
        WakuMessage {
            payload: b"hello mix".to_vec(),
            content_topic: "/mixtest/1/chat/proto".to_owned(),
            ..WakuMessage::default()
        }
    }

    fn prepared(message: WakuMessage, topic: Option<&str>, auto: Option<AutoShards>) -> Result<Request, PushFailure> {
        prepare(&mut StdRng::seed_from_u64(1), NOW, message, topic.map(str::to_owned), auto, true)
    }

    fn refusal(message: WakuMessage, topic: Option<&str>) -> String {
        prepared(message, topic, None).err().unwrap().to_string()
    }

    #[test]
    fn writes_a_framed_request_with_a_fresh_id_of_20_hex_digits() {
        let request = prepared(message(), Some(TOPIC), None).unwrap();
        let (body, consumed) = frame::decode(&request.frame, 4096).unwrap().unwrap();
        assert_eq!(consumed, request.frame.len());
        let decoded = v3::Request::decode(body).unwrap();
        assert_eq!(decoded.request_id, request.id);
        assert_eq!(decoded.pubsub_topic.as_deref(), Some(TOPIC));
        assert!(request.id.len() == 20 && request.id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let mut rng = StdRng::seed_from_u64(1);
        assert_ne!(request_id(&mut rng), request_id(&mut rng));
    }

    /// The message and hash of `spec/waku.md §1.3`.
    #[test]
    fn hashes_the_message_with_the_timestamp_that_it_was_given() {
        let expected = "0x5fa526b87fd202dd2d75ab1f435f3df914e135001d5218885b6a7522b3d50407";
        for timestamp in [None, Some(0), Some(NOW)] {
            let message = WakuMessage { timestamp, ..message() };
            let hash = prepared(message, Some(TOPIC), None).unwrap().hash.unwrap();
            assert_eq!(MessageHash::from(hash).to_string(), expected);
        }
    }

    #[test]
    fn hashes_on_the_derived_shard_only_if_it_knows_how_many_there_are() {
        let auto = AutoShards { cluster: 2, shards: NonZeroU16::MIN };
        let derived = prepared(message(), None, Some(auto)).unwrap().hash;
        assert_eq!(derived, prepared(message(), Some(TOPIC), None).unwrap().hash);
        assert_eq!(prepared(message(), None, None).unwrap().hash, None);
    }

    #[test]
    fn says_what_is_malformed() {
        assert!(refusal(message(), Some("")).contains("is not a pubsub topic"));
        assert!(refusal(message(), Some("/waku/2/rs/2/1024")).contains("shard 1024"));
        let topicless = WakuMessage { content_topic: "chat".to_owned(), ..message() };
        assert!(refusal(topicless.clone(), None).contains("is not a content topic"));
        assert!(prepared(topicless, Some(TOPIC), None).is_ok(), "static sharding takes any content topic");
        let meta = WakuMessage { meta: vec![0; 65], ..message() };
        assert_eq!(refusal(meta, Some(TOPIC)), "meta has 65 bytes, at most 64 are allowed");
    }

    #[test]
    fn a_payload_of_4096_bytes_is_allowed_and_one_more_is_not() {
        assert_eq!(check_payload(4096), Ok(()));
        let refused = check_payload(4097).unwrap_err();
        assert_eq!(refused.kind(), "too_large");
        assert_eq!(refused.to_string(), "the payload is 4097 bytes, at most 4096 are allowed over the mixnet");
    }

    #[test]
    fn what_may_go_directly_is_the_same_request() {
        let request = prepared(message(), Some(TOPIC), None).unwrap();
        let plain = request.plain.unwrap();
        assert_eq!((plain.id, plain.topic.as_deref(), plain.message.timestamp), (request.id, Some(TOPIC), Some(NOW)));
    }
}
