//! What both sides of a connection ask each other first.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_waku::metadata::{MAX_LEN, Metadata};

fuzz_target!(|data: &[u8]| {
    let Ok(metadata) = Metadata::decode(data) else { return };
    assert!(data.len() <= MAX_LEN);
    // The shards are written twice, so a list that just fits may not fit again.
    let written = metadata.encode();
    if written.len() <= MAX_LEN {
        assert_eq!(Metadata::decode(&written).expect("what was written can be read"), metadata);
    }
});
