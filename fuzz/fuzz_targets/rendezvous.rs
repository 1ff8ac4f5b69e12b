//! Rendezvous: messages, and records as they come and behind a good signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{KEY, opened};
use wakumix_records::{
    fuzzing,
    rendezvous::{MixRecord, PeerRecord, Request, Response},
};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(Request::decode(&request.clone().encode()).expect("what was written can be read"), request);
    }
    let _ = Response::decode(data, 1);
    if let Ok(response) = Response::decode(data, 1000) {
        let _ = Response::decode(&response.encode(), 1000).expect("what was written can be read");
    }
    let _ = MixRecord::open(data);
    let _ = PeerRecord::open(data);
    let opened = opened(data);
    if let Ok(record) = fuzzing::mix_record(&opened) {
        let again = record.seal(&KEY).expect("a secp256k1 key signs");
        assert_eq!(MixRecord::open(&again).expect("what was written can be read"), record);
    }
    if let Ok(record) = fuzzing::peer_record(&opened) {
        let again = record.seal(&KEY).expect("a secp256k1 key signs");
        assert_eq!(PeerRecord::open(&again).expect("what was written can be read"), record);
    }
});
