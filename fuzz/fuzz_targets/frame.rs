//! Frames on request streams: whatever arrives first, the same frames come out, written as they were.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_waku::frame::{decode, encode};

/// Longest body that is accepted.
const MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let mut rest = data;
    while let Ok(Some((body, len))) = decode(rest, MAX) {
        assert!(body.len() <= MAX && encode(body) == rest[..len]);
        // A frame that is not all there yet is incomplete, and not wrong.
        assert_eq!(decode(&rest[..len - 1], MAX), Ok(None));
        rest = &rest[len..];
    }
});
