//! Kademlia service discovery: messages, and advertisements as they come and behind a good signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{PEER_RECORD, sealed};
use wakumix_records::service_discovery::{Message, PeerRecord};

fuzz_target!(|data: &[u8]| {
    if let Ok(decoded) = Message::decode(data) {
        let _ = Message::decode(&decoded.message.encode_fitting()).expect("what was written can be read");
    }
    let _ = PeerRecord::open(data);
    if let Ok(record) = PeerRecord::open(&sealed(PEER_RECORD, data)) {
        let _ = record.mix_key();
        let _ = record.offers(&[7; 32]);
    }
});
