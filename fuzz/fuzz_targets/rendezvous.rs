//! Rendezvous: messages, and records as they come and behind a good signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{KEY, MIX_RECORD, PEER_RECORD, sealed};
use wakumix_records::rendezvous::{MixRecord, PeerRecord, Request, Response};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        assert_eq!(Request::decode(&request.clone().encode()).expect("what was written can be read"), request);
    }
    let _ = Response::decode(data, 1);
    let _ = Response::decode(data, 1000);
    let _ = MixRecord::open(data);
    let _ = PeerRecord::open(data);
    if let Ok(record) = MixRecord::open(&sealed(MIX_RECORD, data)) {
        let again = record.seal(&KEY).expect("a secp256k1 key signs");
        assert_eq!(MixRecord::open(&again).expect("what was written can be read"), record);
    }
    if let Ok(record) = PeerRecord::open(&sealed(PEER_RECORD, data)) {
        let again = record.seal(&KEY).expect("a secp256k1 key signs");
        assert_eq!(PeerRecord::open(&again).expect("what was written can be read"), record);
    }
});
