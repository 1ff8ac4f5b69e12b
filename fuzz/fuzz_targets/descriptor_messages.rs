//! Requests for descriptors, and the answers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_records::descriptor::{MAX_DESCRIPTORS, Request, Response};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = Request::decode(data) {
        assert!(request.wants() <= MAX_DESCRIPTORS);
        assert_eq!(Request::decode(&request.encode()).expect("what was written can be read"), request);
    }
    if let Ok(response) = Response::decode(data) {
        assert_eq!(Response::decode(&response.clone().encode()).expect("what was written can be read"), response);
    }
});
