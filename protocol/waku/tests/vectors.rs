//! The vectors of `spec/waku.md`, byte for byte.

use std::num::NonZeroU16;

use wakumix_waku::lightpush::{StatusCode, v2, v3};
use wakumix_waku::metadata::Metadata;
use wakumix_waku::record::{Capabilities, Shards, decode_multiaddrs, encode_multiaddrs};
use wakumix_waku::{ContentTopic, MessageHash, PubsubTopic, WakuMessage, frame, message_id};

const OWN_NIM: &str =
    "0a0968656c6c6f206d697812152f6d6978746573742f312f636861742f70726f746f180050aab48e8fc9acc8de305a00aa0100f80100";
const OWN_MINIMAL: &str = "0a0968656c6c6f206d697812152f6d6978746573742f312f636861742f70726f746f50aab48e8fc9acc8de30";

fn own_message() -> WakuMessage {
    WakuMessage {
        payload: b"hello mix".to_vec(),
        content_topic: "/mixtest/1/chat/proto".into(),
        timestamp: Some(1_756_000_000_123_456_789),
        ..WakuMessage::default()
    }
}

fn shards(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap_or(NonZeroU16::MIN)
}

#[test]
fn hashes_messages_like_the_rfc_and_nim() {
    let payload = "010203045445535405060708";
    let secret = "73757065722d736563726574";
    let long_meta = hex::encode((0_u8..64).collect::<Vec<_>>());
    let old = "/waku/2/default-waku/proto";
    let new = "/waku/2/rs/0/0";
    let table = [
        (old, payload, secret, "64cce733fed134e83da02b02c6f689814872b1a0ac97ea56b76095c3c72bfe05"),
        (old, payload, &long_meta, "7158b6498753313368b9af8f6e0a0a05104f68f972981da42a43bc53fb0c1b27"),
        (old, payload, "", "a2554498b31f5bcdfcbf7fa58ad1c2d45f0254f3f8110a85588ec3cf10720fd8"),
        (old, "", secret, "483ea950cb63f9b9d6926b262bb36194d3f40a0463ce8446228350bd44e96de4"),
        (new, payload, "", "cccab07fed94181c83937c8ca8340c9108492b7ede354a6d95421ad34141fd37"),
        (new, payload, secret, "b9b4852f9d8c489846e8bfc6c5ca6a1a8d460a40d28832a966e029eb39619199"),
        (new, payload, &long_meta, "653460d04f66c5b11814d235152f4f246e6f03ef80a305a825913636fbafd0ba"),
        (new, "", secret, "0f6448cc23b2db6c696aa6ab4b693eff4cf3549ff346fe1dbeb281697396a09f"),
    ];
    for (topic, payload, meta, expected) in table {
        let message = WakuMessage {
            payload: hex::decode(payload).unwrap(),
            content_topic: "/waku/2/default-content/proto".into(),
            timestamp: Some(0x1757_89bf_a23f_8400),
            meta: hex::decode(meta).unwrap(),
            ..WakuMessage::default()
        };
        assert_eq!(hex::encode(MessageHash::of(topic, &message).as_bytes()), expected, "{topic} {payload} {meta}");
    }
}

#[test]
fn hashes_the_eight_timestamp_bytes_even_when_absent() {
    let topic = PubsubTopic::new(2, 0).unwrap();
    let hash = |timestamp| WakuMessage { timestamp, ..own_message() }.hash(&topic).to_string();
    assert_eq!(
        hash(Some(1_756_000_000_123_456_789)),
        "0x5fa526b87fd202dd2d75ab1f435f3df914e135001d5218885b6a7522b3d50407"
    );
    assert_eq!(hash(None), "0x70a1657e11c5a9a9960fb05891eff6527732276fe448e4569e7efbc6e34f29e8");
    assert_eq!(hash(None), hash(Some(0)));
}

#[test]
fn writes_every_field_and_reads_both_spellings() {
    assert_eq!(hex::encode(own_message().encode()), OWN_NIM);
    assert_eq!(WakuMessage::decode(&hex::decode(OWN_NIM).unwrap()), Ok(own_message()));
    assert_eq!(WakuMessage::decode(&hex::decode(OWN_MINIMAL).unwrap()), Ok(own_message()));
    assert_eq!(hex::encode(WakuMessage::default().encode()), "0a001200180050005a00aa0100f80100");
}

#[test]
fn derives_the_gossipsub_id_from_the_bytes_as_sent() {
    let id = |data| hex::encode(message_id(&hex::decode(data).unwrap()));
    assert_eq!(id(OWN_NIM), "d207096c47a8fafabd9ce146c9daccda3c5a1fb1dec19ae268859398307b63a7");
    assert_eq!(id(OWN_MINIMAL), "714c0ac900bea018a0ca4587431c90269e17259c142b892a59e661b860003f0f");
}

#[test]
fn assigns_content_topics_to_shards() {
    let table = [
        ("myapp", "1", 8, 0),
        ("toychat", "2", 8, 3),
        ("waku", "2", 8, 1),
        ("statusim", "1", 8, 4),
        ("app", "22", 8, 2),
        ("app", "27", 8, 5),
        ("app", "29", 8, 6),
        ("app", "20", 8, 7),
        ("app", "20", 16, 15),
        ("app", "20", 2, 1),
        ("app", "20", 1, 0),
        ("mixtest", "1", 8, 4),
        ("toy-chat", "2", 8, 7),
        ("toy-chat", "mix", 8, 2),
    ];
    for (application, version, count, expected) in table {
        for text in [format!("/{application}/{version}/name/proto"), format!("/0/{application}/{version}/other/cbor")] {
            let content = ContentTopic::parse(&text).unwrap();
            assert_eq!(content.shard(shards(count)), expected, "{text} in {count} shards");
            let topic = PubsubTopic::of_content(1, &content, shards(count)).unwrap();
            assert_eq!(topic.as_str(), format!("/waku/2/rs/1/{expected}"));
        }
    }
}

#[test]
fn frames_the_lightpush_v3_request_and_success() {
    let request = v3::Request {
        request_id: "req-0001".into(),
        pubsub_topic: Some("/waku/2/rs/2/0".into()),
        message: own_message(),
    };
    let framed = frame::encode(&request.encode());
    assert_eq!(
        hex::encode(&framed),
        format!("540a087265712d30303031a2010e2f77616b752f322f72732f322f30aa0136{OWN_NIM}")
    );
    let (body, consumed) = frame::decode(&framed, 4096).unwrap().unwrap();
    assert_eq!(consumed, framed.len());
    assert_eq!(v3::Request::decode(body), Ok(request));

    let success = v3::Response {
        request_id: "req-0001".into(),
        status_code: StatusCode::SUCCESS,
        status_desc: None,
        relay_peer_count: Some(3),
    };
    assert_eq!(hex::encode(frame::encode(&success.encode())), "0f0a087265712d3030303150c8016003");
    assert_eq!(v3::Response::decode(&success.encode()), Ok(success));
}

#[test]
fn writes_lightpush_v2_in_its_envelope() {
    let rpc = v2::PushRpc {
        request_id: "r".into(),
        request: Some(v2::PushRequest { pubsub_topic: "t".into(), message: own_message() }),
        response: None,
    };
    assert_eq!(hex::encode(rpc.encode()), format!("0a0172123b0a01741236{OWN_NIM}"));
    let rpc = v2::PushRpc {
        request_id: "r".into(),
        request: None,
        response: Some(v2::PushResponse { is_success: false, info: Some("OK".into()) }),
    };
    assert_eq!(hex::encode(rpc.encode()), "0a01721a06080012024f4b");
}

#[test]
fn writes_metadata_shards_unpacked_and_packed() {
    let metadata = Metadata { cluster_id: Some(2), shards: vec![0, 300] };
    assert_eq!(hex::encode(metadata.encode()), "0802100010ac021a0300ac02");
    assert_eq!(hex::encode(Metadata { cluster_id: Some(2), shards: vec![] }.encode()), "08021a00");
}

#[test]
fn reads_metadata_shards_in_every_spelling() {
    let read = |bytes| Metadata::decode(&hex::decode(bytes).unwrap()).unwrap();
    let expected = Metadata { cluster_id: Some(2), shards: vec![0, 7] };
    assert_eq!(read("080210001007"), expected, "unpacked 2");
    assert_eq!(read("080212020007"), expected, "packed 2");
    assert_eq!(read("08021a020007"), expected, "packed 3");
    assert_eq!(read("080210011a020007"), expected, "packed 3 before unpacked 2");
    assert_eq!(read("0802100010071a00"), expected, "an empty field 3 does not hide field 2");
    assert_eq!(read("1a00"), Metadata::default(), "absent cluster");
}

#[test]
fn reads_the_fields_of_known_node_records() {
    let mix_node = Capabilities::decode(&[0x2d]).unwrap();
    assert_eq!(format!("{mix_node:?}"), "Capabilities(relay+filter+lightpush+mix)");
    let store_node = Capabilities::RELAY | Capabilities::STORE;
    assert_eq!(store_node.encode(), [0x03]);
    assert!(!store_node.contains(Capabilities::MIX));

    for (value, cluster, list) in
        [("0002010000", 2, vec![0]), ("00100500010020004000800100", 16, vec![1, 32, 64, 128, 256])]
    {
        let shards = Shards { cluster, shards: list };
        assert_eq!(hex::encode(shards.encode().unwrap()), value);
        assert_eq!(Shards::decode(&hex::decode(value).unwrap()), Ok(shards));
    }

    let host = hex::encode("store-01.do-ams3.status.prod.status.im");
    let value = hex::decode(format!("002b3626{host}06765f002d3626{host}0601bbde03")).unwrap();
    let addresses = decode_multiaddrs(&value).unwrap();
    assert_eq!(hex::encode(addresses[0]), format!("3626{host}06765f"));
    assert_eq!(hex::encode(addresses[1]), format!("3626{host}0601bbde03"));
    assert_eq!(encode_multiaddrs(&addresses).unwrap(), value);
    assert_eq!(decode_multiaddrs(&[]), Ok(vec![]));
}
