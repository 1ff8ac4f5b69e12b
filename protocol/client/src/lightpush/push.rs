//! From a caller's message to a request (`spec/waku.md §4.1`, §5.5).

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::random;
use wakumix_sphinx::Weaknesses;
use wakumix_waku::{
    ContentTopic, MessageHash, PubsubTopic, TopicError, WakuMessage, frame,
    lightpush::{V2_PROTOCOL, V3_PROTOCOL, v2, v3},
    message::MAX_META_LEN,
};

use super::{PushFailure, PushReader, Version};
use crate::{Anonymity, Request, ServiceKind};

/// In nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// Random bytes in a request id, which is written as twice as many hex digits, like nwaku's clients do.
const REQUEST_ID_LEN: usize = 10;

/// A message to be published.
#[derive(Clone, Debug)]
pub struct Push {
    /// The message. A missing timestamp is set before it is hashed (`spec/waku.md §1.2`), to one that does not tell when it
    /// was sent.
    pub message: WakuMessage,
    /// The pubsub topic; `None` lets the service derive the shard.
    pub pubsub_topic: Option<String>,
    /// The exit to use; `None` chooses among those that serve lightpush.
    pub exit: Option<PeerId>,
    /// How long the caller waits for the answer; `None` takes the configured limit.
    pub timeout: Option<Duration>,
    /// Whether the mixnet may be left out.
    pub anonymity: Anonymity,
}

/// What is the same for all messages of a client.
#[derive(Clone, Copy, Debug, Default)]
pub struct PushRules {
    /// The version of the protocol.
    pub version: Version,
    /// Where the network shards by content topic: lets the client hash messages for which the service derives the topic.
    pub auto_shards: Option<AutoShards>,
    /// How many services must say that they have a message; 0 counts as 1. A push that names its exit believes that exit.
    pub confirmations: usize,
    /// Countermeasures that are missing: none but in the attack suite.
    pub weaknesses: Weaknesses,
}

/// How a network maps content topics to shards (`spec/waku.md §2.5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoShards {
    /// The cluster.
    pub cluster: u16,
    /// Its number of shards.
    pub shards: NonZeroU16,
}

/// A message, ready to travel.
#[derive(Debug)]
pub struct Prepared {
    /// The request for the client.
    pub request: Request,
    /// Reads its outcome.
    pub reader: PushReader,
    /// The request once more, if it may go directly.
    pub direct: Option<DirectPush>,
}

/// A message that goes directly.
#[derive(Clone, Debug)]
pub struct DirectPush {
    /// The request id, 20 random hex digits as nwaku's clients have (`spec/waku.md §5.5`).
    pub id: String,
    /// The pubsub topic; `None` lets the relay or the service derive the shard.
    pub topic: Option<String>,
    /// The message.
    pub message: WakuMessage,
}

/// Bytes of a message that wait with its request.
#[must_use]
pub fn held_bytes(message: &WakuMessage, topic: Option<&str>) -> usize {
    let topic = topic.map_or(0, str::len);
    message.payload.len() + message.meta.len() + message.content_topic.len() + topic
}

impl Push {
    /// Checks the message and writes its request.
    ///
    /// `unix_nanoseconds` is the time now. A message without a timestamp gets one of the two seconds before the current one,
    /// because the implementations hash a missing one differently (`spec/waku.md §1.3`); it is the same for all tries.
    ///
    /// # Errors
    /// [`PushFailure::InvalidMessage`] says what is malformed.
    pub fn prepare<R: CryptoRng>(
        self,
        rng: &mut R,
        unix_nanoseconds: i64,
        rules: PushRules,
    ) -> Result<Prepared, PushFailure> {
        let Self { mut message, pubsub_topic, exit, timeout, anonymity } = self;
        let held_bytes = held_bytes(&message, pubsub_topic.as_deref());
        if message.meta.len() > MAX_META_LEN {
            let text = format!("meta has {} bytes, at most {MAX_META_LEN} are allowed", message.meta.len());
            return Err(PushFailure::InvalidMessage(text));
        }
        if message.timestamp.is_none_or(|timestamp| timestamp == 0) {
            message.timestamp = Some(coarse(unix_nanoseconds, rng));
        }
        let topic = topic(pubsub_topic.as_deref(), &message.content_topic, rules.auto_shards)?;
        let hash = topic.as_ref().map(|topic| *MessageHash::of(topic.as_str(), &message).as_bytes());
        let id = request_id(rng);
        let payload_len = message.payload.len();
        let push = DirectPush { id: id.clone(), topic: pubsub_topic, message };
        let (codec, body, push) = encode(push, topic.as_ref(), rules.version)?;
        let PushRules { version, weaknesses, .. } = rules;
        let confirmations = if exit.is_some() { 1 } else { rules.confirmations };
        let reader = PushReader { id, hash, version, confirmations, weaknesses };
        let request = Request {
            service: ServiceKind::LIGHTPUSH,
            codec: codec.into(),
            bytes: Arc::from(frame::encode(&body)),
            payload_len,
            held_bytes,
            topic,
            exit,
            timeout,
            anonymity,
            reader: Box::new(reader.clone()),
        };
        let direct = (anonymity != Anonymity::Required).then_some(push);
        Ok(Prepared { request, reader, direct })
    }
}

/// The codec and the body of a request; the message is given back.
fn encode(
    push: DirectPush,
    topic: Option<&PubsubTopic>,
    version: Version,
) -> Result<(&'static str, Vec<u8>, DirectPush), PushFailure> {
    let DirectPush { id, topic: named, message } = push;
    match version {
        Version::V3 => {
            let request = v3::Request { request_id: id, pubsub_topic: named, message };
            let body = request.encode();
            let v3::Request { request_id: id, pubsub_topic: topic, message } = request;
            Ok((V3_PROTOCOL, body, DirectPush { id, topic, message }))
        }
        Version::V2 => {
            let missing = || PushFailure::InvalidMessage("lightpush v2 needs a pubsub topic; name one".to_owned());
            let pubsub_topic = topic.ok_or_else(missing)?.as_str().to_owned();
            let request = v2::PushRequest { pubsub_topic, message };
            let rpc = v2::PushRpc { request_id: id.clone(), request: Some(request), response: None };
            let body = rpc.encode();
            let message = rpc.request.map(|request| request.message).unwrap_or_default();
            Ok((V2_PROTOCOL, body, DirectPush { id, topic: named, message }))
        }
    }
}

/// The topic that the message will be published on; `None` when the service derives it and we cannot.
fn topic(
    topic: Option<&str>,
    content_topic: &str,
    auto_shards: Option<AutoShards>,
) -> Result<Option<PubsubTopic>, PushFailure> {
    let invalid = |error: TopicError| PushFailure::InvalidMessage(error.to_string());
    match topic {
        Some(topic) => PubsubTopic::parse(topic).map(Some).map_err(invalid),
        None => {
            let content = ContentTopic::parse(content_topic).map_err(invalid)?;
            let derive = |auto: AutoShards| PubsubTopic::of_content(auto.cluster, &content, auto.shards);
            auto_shards.map(derive).transpose().map_err(invalid)
        }
    }
}

/// A time anywhere in the two seconds before the current one. A timestamp is public on the relay network: the clock of the
/// sender to the nanosecond would tell its messages from those of others, and when each was handed over. The digits below the
/// second keep the hashes of equal messages apart.
fn coarse<R: CryptoRng>(unix_nanoseconds: i64, rng: &mut R) -> i64 {
    let second = unix_nanoseconds - unix_nanoseconds.rem_euclid(SECOND);
    let before = random::below(rng, 2 * SECOND.unsigned_abs());
    second.saturating_sub_unsigned(before + 1).max(1)
}

fn request_id<R: CryptoRng>(rng: &mut R) -> String {
    let mut bytes = [0; REQUEST_ID_LEN];
    rng.fill_bytes(&mut bytes);
    bytes.iter().fold(String::with_capacity(2 * REQUEST_ID_LEN), |mut text, byte| {
        text.extend([byte >> 4, byte & 0xf].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
        text
    })
}

#[cfg(test)]
mod tests {
    use wakumix_waku::frame;

    use super::*;
    use crate::testing::rng;

    const NOW: i64 = 1_756_000_000_123_456_789;
    const TOPIC: &str = "/waku/2/rs/2/0";

    fn message() -> WakuMessage {
        WakuMessage {
            payload: b"hello mix".to_vec(),
            content_topic: "/mixtest/1/chat/proto".to_owned(),
            ..WakuMessage::default()
        }
    }

    fn prepared_as(message: WakuMessage, topic: Option<&str>, rules: PushRules) -> Result<Prepared, PushFailure> {
        let anonymity = Anonymity::Preferred;
        let push = Push { message, pubsub_topic: topic.map(str::to_owned), exit: None, timeout: None, anonymity };
        push.prepare(&mut rng(1), NOW, rules)
    }

    fn prepared(message: WakuMessage, topic: Option<&str>) -> Result<Prepared, PushFailure> {
        prepared_as(message, topic, PushRules::default())
    }

    fn refusal(message: WakuMessage, topic: Option<&str>) -> String {
        prepared(message, topic).err().unwrap().to_string()
    }

    #[test]
    fn writes_a_framed_request_with_a_fresh_id_of_20_hex_digits() {
        let Prepared { request, reader, .. } = prepared(message(), Some(TOPIC)).unwrap();
        assert_eq!((&*request.codec, request.payload_len), (V3_PROTOCOL, 9));
        let (body, consumed) = frame::decode(&request.bytes, 4096).unwrap().unwrap();
        assert_eq!(consumed, request.bytes.len());
        let decoded = v3::Request::decode(body).unwrap();
        assert_eq!(decoded.request_id, reader.id);
        assert_eq!(decoded.pubsub_topic.as_deref(), Some(TOPIC));
        assert!(reader.id.len() == 20 && reader.id.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let mut rng = rng(1);
        assert_ne!(request_id(&mut rng), request_id(&mut rng));
    }

    /// The message and hash of `spec/waku.md §1.3`.
    #[test]
    fn hashes_the_message_with_the_timestamp_that_it_was_given() {
        let expected = "0x5fa526b87fd202dd2d75ab1f435f3df914e135001d5218885b6a7522b3d50407";
        let hash =
            prepared(WakuMessage { timestamp: Some(NOW), ..message() }, Some(TOPIC)).unwrap().reader.hash.unwrap();
        assert_eq!(MessageHash::from(hash).to_string(), expected);
    }

    #[test]
    fn a_timestamp_that_was_left_out_does_not_tell_when_the_message_was_sent() {
        let (mut rng, second) = (rng(1), NOW - NOW % SECOND);
        let drawn: Vec<i64> = [None, Some(0)]
            .into_iter()
            .cycle()
            .take(2000)
            .map(|timestamp| {
                let message = WakuMessage { timestamp, ..message() };
                let anonymity = Anonymity::Preferred;
                let push = Push { message, pubsub_topic: Some(TOPIC.to_owned()), exit: None, timeout: None, anonymity };
                let Prepared { reader, direct, .. } = push.prepare(&mut rng, NOW, PushRules::default()).unwrap();
                let message = direct.unwrap().message;
                let hash = *MessageHash::of(TOPIC, &message).as_bytes();
                assert_eq!(reader.hash, Some(hash), "hashed as it is sent");
                message.timestamp.unwrap()
            })
            .collect();
        assert!(drawn.iter().all(|time| (second - 2 * SECOND..second).contains(time)));
        // Every tenth of the two seconds has its share: 200 of 2000, give or take five standard deviations.
        for tenth in 0..10 {
            let begin = second - 2 * SECOND + tenth * SECOND / 5;
            let share = drawn.iter().filter(|time| (begin..begin + SECOND / 5).contains(*time)).count();
            assert!((130..270).contains(&share), "{share} in tenth {tenth}");
        }
        let different: std::collections::BTreeSet<_> = drawn.iter().collect();
        assert_eq!(different.len(), drawn.len());
        assert_eq!(coarse(5, &mut rng), 1, "a clock before the epoch");
    }

    #[test]
    fn hashes_on_the_derived_shard_only_if_it_knows_how_many_there_are() {
        let auto_shards = Some(AutoShards { cluster: 2, shards: NonZeroU16::MIN });
        let rules = PushRules { auto_shards, ..PushRules::default() };
        let derived = prepared_as(message(), None, rules).unwrap().reader.hash;
        assert_eq!(derived, prepared(message(), Some(TOPIC)).unwrap().reader.hash);
        assert_eq!(prepared(message(), None).unwrap().reader.hash, None);
    }

    #[test]
    fn version_2_has_the_topic_that_its_service_does_not_derive() {
        let auto_shards = Some(AutoShards { cluster: 2, shards: NonZeroU16::MIN });
        let rules = PushRules { version: Version::V2, auto_shards, ..PushRules::default() };
        for topic in [None, Some(TOPIC)] {
            let Prepared { request, direct, .. } = prepared_as(message(), topic, rules).unwrap();
            assert_eq!(&*request.codec, V2_PROTOCOL);
            let (body, _) = frame::decode(&request.bytes, 4096).unwrap().unwrap();
            let request = v2::PushRpc::decode(body).unwrap().request.unwrap();
            assert_eq!((request.pubsub_topic.as_str(), request.message.payload.as_slice()), (TOPIC, &b"hello mix"[..]));
            assert_eq!(direct.unwrap().message, request.message);
        }
        let refused = prepared_as(message(), None, PushRules { auto_shards: None, ..rules }).err().unwrap();
        assert_eq!(refused.to_string(), "lightpush v2 needs a pubsub topic; name one");
    }

    #[test]
    fn says_what_is_malformed() {
        assert!(refusal(message(), Some("")).contains("is not a pubsub topic"));
        assert!(refusal(message(), Some("/waku/2/rs/2/1024")).contains("shard 1024"));
        let topicless = WakuMessage { content_topic: "chat".to_owned(), ..message() };
        assert!(refusal(topicless.clone(), None).contains("is not a content topic"));
        assert!(prepared(topicless, Some(TOPIC)).is_ok(), "static sharding takes any content topic");
        let meta = WakuMessage { meta: vec![0; 65], ..message() };
        assert_eq!(refusal(meta, Some(TOPIC)), "meta has 65 bytes, at most 64 are allowed");
    }

    #[test]
    fn what_may_go_directly_is_the_same_request() {
        let Prepared { reader, direct, .. } = prepared(message(), Some(TOPIC)).unwrap();
        let direct = direct.unwrap();
        assert_eq!((direct.id, direct.topic.as_deref()), (reader.id, Some(TOPIC)));
        assert_eq!(MessageHash::of(TOPIC, &direct.message).as_bytes(), &reader.hash.unwrap());
    }
}
