//! Waku messages, lightpush of both versions, topics: what was read can be written and read again.
#![no_main]

use std::{fmt::Debug, num::NonZeroU16};

use libfuzzer_sys::fuzz_target;
use wakumix_waku::{
    ContentTopic, MessageHash, PubsubTopic, WakuMessage,
    lightpush::{v2, v3},
    message::MAX_META_LEN,
};

fuzz_target!(|data: &[u8]| {
    if let Some(message) = twice(data, WakuMessage::decode, WakuMessage::encode) {
        assert!(message.meta.len() <= MAX_META_LEN);
        let hash = MessageHash::of("/waku/2/rs/2/0", &message);
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
    twice(data, v3::Request::decode, v3::Request::encode);
    twice(data, v3::Response::decode, v3::Response::encode);
    twice(data, v2::PushRpc::decode, v2::PushRpc::encode);
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(topic) = PubsubTopic::parse(text) {
        assert_eq!(PubsubTopic::new(topic.cluster(), topic.shard()).map(|again| again.as_str() == text), Ok(true));
    }
    if let Ok(topic) = ContentTopic::parse(text) {
        let shards = NonZeroU16::new(8).expect("eight is not zero");
        assert!(topic.as_str() == text && topic.shard(shards) < shards.get());
    }
    let _ = text.parse::<MessageHash>();
});

fn twice<T: PartialEq + Debug, E: Debug>(
    data: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, E>,
    encode: impl Fn(&T) -> Vec<u8>,
) -> Option<T> {
    let read = decode(data).ok()?;
    assert_eq!(decode(&encode(&read)).expect("what was written can be read"), read);
    Some(read)
}
