//! What is written is read back; no bytes make a decoder panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use wakumix_waku::lightpush::{StatusCode, v2, v3};
use wakumix_waku::metadata::Metadata;
use wakumix_waku::record::{self, Capabilities, Shards};
use wakumix_waku::{ContentTopic, MessageHash, PubsubTopic, WakuMessage, frame};

fn message() -> impl Strategy<Value = WakuMessage> {
    let contents = (vec(any::<u8>(), 0..200), ".{0,40}", vec(any::<u8>(), 0..=64), vec(any::<u8>(), 0..80));
    (contents, any::<u32>(), option::of(any::<i64>().prop_filter("0 is absent", |&t| t != 0)), any::<bool>()).prop_map(
        |((payload, content_topic, meta, rate_limit_proof), version, timestamp, ephemeral)| WakuMessage {
            payload,
            content_topic,
            version,
            timestamp,
            meta,
            rate_limit_proof,
            ephemeral,
        },
    )
}

proptest! {
    #[test]
    fn messages_are_read_as_written(message in message()) {
        prop_assert_eq!(WakuMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn hashes_depend_on_each_hashed_field_only(message in message(), version: u32, proof: Vec<u8>, ephemeral: bool) {
        let topic = "/waku/2/rs/1/0";
        let hash = MessageHash::of(topic, &message);
        let same = WakuMessage { version, rate_limit_proof: proof, ephemeral, ..message.clone() };
        prop_assert_eq!(MessageHash::of(topic, &same), hash);
        prop_assert_ne!(MessageHash::of("/waku/2/rs/1/1", &message), hash);
        let mut other = message;
        other.payload.push(0);
        prop_assert_ne!(MessageHash::of(topic, &other), hash);
    }

    #[test]
    fn lightpush_v3_is_read_as_written(
        request_id in ".{0,30}", pubsub_topic in option::of(".{0,30}"), message in message(),
        code: u32, status_desc in option::of(".{0,30}"), relay_peer_count: Option<u32>,
    ) {
        let request = v3::Request { request_id: request_id.clone(), pubsub_topic, message };
        prop_assert_eq!(v3::Request::decode(&request.encode()), Ok(request));
        let response = v3::Response { request_id, status_code: StatusCode(code), status_desc, relay_peer_count };
        prop_assert_eq!(v3::Response::decode(&response.encode()), Ok(response));
    }

    #[test]
    fn lightpush_v2_is_read_as_written(
        request_id in ".{0,30}", request in option::of((".{0,30}", message())),
        response in option::of((any::<bool>(), option::of(".{0,30}"))),
    ) {
        let rpc = v2::PushRpc {
            request_id,
            request: request.map(|(pubsub_topic, message)| v2::PushRequest { pubsub_topic, message }),
            response: response.map(|(is_success, info)| v2::PushResponse { is_success, info }),
        };
        prop_assert_eq!(v2::PushRpc::decode(&rpc.encode()), Ok(rpc));
    }

    #[test]
    fn metadata_is_read_as_written(cluster_id: Option<u32>, shards in vec(any::<u32>(), 0..60)) {
        let metadata = Metadata { cluster_id, shards };
        prop_assert_eq!(Metadata::decode(&metadata.encode()), Ok(metadata));
    }

    #[test]
    fn frames_are_read_as_written(body: Vec<u8>, rest: Vec<u8>) {
        let mut bytes = frame::encode(&body);
        let len = bytes.len();
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(frame::decode(&bytes, body.len()), Ok(Some((&body[..], len))));
    }

    #[test]
    fn topics_are_read_as_written(cluster: u16, shard in 0_u16..1024) {
        let topic = PubsubTopic::new(cluster, shard).unwrap();
        prop_assert_eq!(PubsubTopic::parse(topic.as_str()), Ok(topic));
    }

    #[test]
    fn record_fields_are_read_as_written(
        bits: u8, cluster: u16, shards in vec(any::<u16>(), 0..=63), addresses: std::collections::BTreeSet<[u8; 3]>,
    ) {
        let capabilities = Capabilities::from_bits(bits);
        prop_assert_eq!(Capabilities::decode(&capabilities.encode()), Ok(capabilities));
        let shards = Shards { cluster, shards };
        prop_assert_eq!(Shards::decode(&shards.encode().unwrap()), Ok(shards));
        let addresses: Vec<_> = addresses.iter().map(|address| &address[..]).collect();
        let value = record::encode_multiaddrs(&addresses).unwrap();
        prop_assert_eq!(record::decode_multiaddrs(&value), Ok(addresses));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), max: usize) {
        decode_everything(&bytes, max);
    }

    #[test]
    fn damaged_messages_never_panic(message in message(), at: prop::sample::Index, value: u8, max: usize) {
        let mut bytes = v3::Request { request_id: "r".into(), pubsub_topic: None, message }.encode();
        let at = at.index(bytes.len());
        bytes[at] = value;
        decode_everything(&bytes, max);
    }

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,60}", parts in "(/[a0-9]{0,3}){0,7}") {
        for text in [text, parts] {
            let _ = PubsubTopic::parse(&text);
            let _ = ContentTopic::parse(&text);
            let _ = text.parse::<MessageHash>();
        }
    }
}

fn decode_everything(bytes: &[u8], max: usize) {
    let _ = WakuMessage::decode(bytes);
    let _ = v3::Request::decode(bytes);
    let _ = v3::Response::decode(bytes);
    let _ = v2::PushRpc::decode(bytes);
    let _ = Metadata::decode(bytes);
    let _ = frame::decode(bytes, max);
    let _ = Capabilities::decode(bytes);
    let _ = Shards::decode(bytes);
    let _ = record::decode_multiaddrs(bytes);
}
