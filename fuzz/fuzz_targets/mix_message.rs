//! What packets carry: requests, replies, cover. What was read is written back byte by byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::packets::FORMATS;
use wakumix_mix::{Body, COVER_CODEC, MixMessage, Request, decode_reply, encode_reply};
use wakumix_sphinx::MAX_SURBS;

fuzz_target!(|data: &[u8]| {
    if let Ok(message) = MixMessage::decode(data) {
        assert_eq!(message.encode().expect("what was read can be written"), data);
    }
    if let Ok(reply) = decode_reply(data) {
        assert_eq!(encode_reply(reply), data);
    }
    for format in &*FORMATS {
        match Request::decode(&**format, data) {
            Ok(Body::Request(request)) => {
                assert!(request.surbs.len() <= MAX_SURBS);
                assert_eq!(request.encode().expect("what was read can be written"), data);
            }
            Ok(Body::Cover) => {
                assert!(MixMessage::decode(data).is_ok_and(|message| message.codec == COVER_CODEC.as_bytes()));
            }
            Err(_) => {}
        }
    }
});
