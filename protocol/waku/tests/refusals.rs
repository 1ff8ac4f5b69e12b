//! What decoders refuse, and what they say about it.

use wakumix_waku::frame::{self, FrameError};
use wakumix_waku::lightpush::{StatusCode, v2, v3};
use wakumix_waku::metadata::{self, Metadata};
use wakumix_waku::record::{self, Capabilities, RecordFieldError, Shards};
use wakumix_waku::{ContentTopic, DecodeError, MessageHash, PubsubTopic, TopicError, WakuMessage};

const NUMBER: &str = "a number that is cut short, too long or not in its shortest form";

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap_or_default()
}

#[test]
fn requires_payload_and_content_topic() {
    assert_eq!(WakuMessage::decode(&bytes("120174")), Err(DecodeError::Missing("payload")));
    let error = WakuMessage::decode(&bytes("0a0170")).unwrap_err();
    assert_eq!(error.to_string(), "required field `content_topic` is missing");
    assert!(WakuMessage::decode(&bytes("0a001200")).is_ok(), "present but empty is enough");
}

#[test]
fn refuses_meta_above_64_bytes() {
    let longest = WakuMessage { meta: vec![7; 64], ..WakuMessage::default() };
    assert_eq!(WakuMessage::decode(&longest.encode()), Ok(longest));
    let longer = WakuMessage { meta: vec![7; 65], ..WakuMessage::default() };
    let error = WakuMessage::decode(&longer.encode()).unwrap_err();
    assert_eq!(error.to_string(), "field `meta` has 65 bytes, at most 64 are allowed");
}

#[test]
fn refuses_truncated_and_mistyped_messages() {
    let error = |text| WakuMessage::decode(&bytes(text)).unwrap_err().to_string();
    assert_eq!(error("0a05ff"), "not a valid protobuf message: a field that goes beyond the end");
    assert_eq!(error("0a001200188100"), format!("not a valid protobuf message: {NUMBER}"));
    assert_eq!(error("0a001200188080808010"), "not a valid protobuf message: a number of more than 32 bits");
    assert_eq!(error("0a0012000b0c"), "not a valid protobuf message: a wire type that does not exist");
    assert_eq!(error("0801"), "required field `payload` is missing", "of another wire type");
    assert_eq!(error("0a001201ff"), "field `content_topic` is not UTF-8");
}

#[test]
fn ignores_fields_it_does_not_know() {
    assert!(WakuMessage::decode(&bytes("0a001200a20601ff")).is_ok());
}

#[test]
fn requires_the_fields_of_lightpush_v3() {
    assert_eq!(v3::Request::decode(&bytes("aa01040a001200")), Err(DecodeError::Missing("request_id")));
    assert_eq!(v3::Request::decode(&bytes("0a0172")), Err(DecodeError::Missing("message")));
    assert_eq!(v3::Request::decode(&bytes("0a0172aa01020a00")), Err(DecodeError::Missing("content_topic")));
    assert_eq!(v3::Response::decode(&bytes("50c801")), Err(DecodeError::Missing("request_id")));
    assert_eq!(v3::Response::decode(&bytes("0a0172")), Err(DecodeError::Missing("status_code")));
}

#[test]
fn tells_an_absent_topic_from_an_empty_one() {
    let absent = v3::Request::decode(&bytes("0a0172aa01040a001200")).unwrap();
    assert_eq!(absent.pubsub_topic, None);
    let empty = v3::Request::decode(&bytes("0a0172a20100aa01040a001200")).unwrap();
    assert_eq!(empty.pubsub_topic.as_deref(), Some(""));
}

#[test]
fn requires_the_fields_of_lightpush_v2() {
    assert_eq!(v2::PushRpc::decode(&bytes("1200")), Err(DecodeError::Missing("request_id")));
    assert_eq!(v2::PushRpc::decode(&bytes("0a01721200")), Err(DecodeError::Missing("request.pubsub_topic")));
    assert_eq!(v2::PushRpc::decode(&bytes("0a017212030a0174")), Err(DecodeError::Missing("request.message")));
    assert_eq!(v2::PushRpc::decode(&bytes("0a01721a00")), Err(DecodeError::Missing("response.is_success")));
    let neither = v2::PushRpc::decode(&bytes("0a0172")).unwrap();
    assert_eq!((neither.request, neither.response), (None, None));
}

#[test]
fn names_status_codes() {
    assert_eq!(StatusCode::INVALID_MESSAGE.to_string(), "420 INVALID_MESSAGE");
    assert_eq!(StatusCode(299).to_string(), "299 UNKNOWN");
    assert!(StatusCode::SUCCESS.is_success() && !StatusCode(201).is_success());
}

#[test]
fn refuses_metadata_above_its_limit() {
    let long = Metadata { cluster_id: Some(1), shards: vec![1; 600] }.encode();
    assert!(long.len() > metadata::MAX_LEN);
    assert!(matches!(Metadata::decode(&long), Err(DecodeError::TooLong { max: 1024, .. })));
}

#[test]
fn waits_for_the_rest_of_a_frame() {
    let framed = frame::encode(&[9; 300]);
    for end in 0..framed.len() {
        assert_eq!(frame::decode(&framed[..end], 300), Ok(None), "{end} bytes");
    }
    let mut two = framed.clone();
    two.extend_from_slice(&framed);
    assert_eq!(frame::decode(&two, 300), Ok(Some((&[9; 300][..], 302))));
}

#[test]
fn refuses_a_long_frame_before_its_body_arrives() {
    assert_eq!(frame::decode(&bytes("ac02"), 299), Err(FrameError::TooLong { len: 300, max: 299 }));
    let error = frame::decode(&bytes("ffffffffffffffffff01"), usize::MAX - 1).unwrap_err();
    assert!(error.to_string().starts_with("frame of 18446744073709551615 bytes"));
}

#[test]
fn refuses_frame_lengths_that_are_not_minimal() {
    assert_eq!(frame::decode(&bytes("8000"), 9), Err(FrameError::Prefix));
    assert_eq!(frame::decode(&bytes("ffffffffffffffffffff01"), 9), Err(FrameError::Prefix));
    // 2^64: its only bit has no room in 64 bits.
    assert_eq!(frame::decode(&bytes("80808080808080808002"), 9), Err(FrameError::Prefix));
}

#[test]
fn reads_only_canonical_pubsub_topics() {
    let topic = PubsubTopic::parse("/waku/2/rs/65535/1023").unwrap();
    assert_eq!((topic.cluster(), topic.shard()), (65535, 1023));
    assert_eq!(PubsubTopic::parse("/waku/2/rs/1/1024"), Err(TopicError::Shard(1024)));
    assert_eq!(PubsubTopic::new(1, 1024), Err(TopicError::Shard(1024)));
    for text in [
        "",
        "/waku/2/default-waku/proto",
        "/waku/2/rs/1",
        "/waku/2/rs/65536/0",
        "/waku/2/rs/01/0",
        "/waku/2/rs/1/+0",
        "/waku/2/rs/1/0/",
        "/waku/2/rs/1/-1",
        " /waku/2/rs/1/0",
    ] {
        assert_eq!(PubsubTopic::parse(text), Err(TopicError::Pubsub(text.into())));
    }
}

#[test]
fn refuses_content_topics_that_have_no_shard() {
    for text in ["", "app/1/name/proto", "/app/1/name", "/app//name/proto", "/app/1/name/", "/0/0/app/1/name/proto"] {
        assert_eq!(ContentTopic::parse(text), Err(TopicError::Content(text.into())));
    }
    for generation in ["1", "x"] {
        let text = format!("/{generation}/app/1/name/proto");
        assert_eq!(ContentTopic::parse(&text), Err(TopicError::Generation(generation.into())));
    }
}

#[test]
fn hides_what_users_write_from_debug_output() {
    let message =
        WakuMessage { payload: b"secret".to_vec(), content_topic: "/secret/1/a/b".into(), ..WakuMessage::default() };
    let content = ContentTopic::parse("/secret/1/a/b").unwrap();
    assert!(!format!("{message:?} {content:?}").contains("secret"));
}

#[test]
fn reads_hashes_as_written() {
    let hash = MessageHash::from([0xab; 32]);
    assert_eq!(hash.to_string().parse(), Ok(hash));
    assert_eq!("AB".repeat(32).parse(), Ok(hash));
    for text in ["", "0x", "0xzz", &"g".repeat(64), &"a".repeat(63)] {
        assert!(text.parse::<MessageHash>().is_err(), "{text}");
    }
}

#[test]
fn refuses_malformed_record_fields() {
    assert_eq!(Capabilities::decode(&[]), Err(RecordFieldError::Capabilities(0)));
    for value in ["", "0001", "000101", "00010200ff", "000100ff"] {
        assert_eq!(Shards::decode(&bytes(value)), Err(RecordFieldError::Shards(value.len() / 2)));
    }
    let many = |count| Shards { cluster: 1, shards: vec![0; count] }.encode();
    assert!(many(63).is_ok());
    assert_eq!(many(64), Err(RecordFieldError::TooManyShards(64)));
    assert_eq!(many(256), Err(RecordFieldError::TooManyShards(256)));

    assert_eq!(record::decode_multiaddrs(&bytes("0000")), Err(RecordFieldError::EmptyAddress));
    assert_eq!(record::decode_multiaddrs(&bytes("00")), Err(RecordFieldError::Truncated));
    assert_eq!(record::decode_multiaddrs(&bytes("0003ffff")), Err(RecordFieldError::Truncated));
    assert_eq!(record::encode_multiaddrs(&[""]), Err(RecordFieldError::EmptyAddress));
    assert_eq!(record::encode_multiaddrs(&[vec![0; 65536]]), Err(RecordFieldError::AddressTooLong(65536)));
}

#[test]
fn leaves_repeated_addresses_out() {
    assert_eq!(record::encode_multiaddrs(&["a", "b", "a"]), Ok(bytes("000161000162")));
    assert_eq!(record::decode_multiaddrs(&bytes("000161000162000161")), Ok(vec![&b"a"[..], &b"b"[..]]));
}
