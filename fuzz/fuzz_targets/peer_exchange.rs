//! Peer exchange: requests and answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_records::{
    node_record,
    peer_exchange::{self, Response},
};

fuzz_target!(|data: &[u8]| {
    let _ = peer_exchange::decode_request(data);
    let Ok(response) = Response::decode(data) else { return };
    for record in &response.records {
        let _ = node_record::decode(record);
    }
    let _ = Response::decode(&response.encode()).expect("what was written can be read");
});
