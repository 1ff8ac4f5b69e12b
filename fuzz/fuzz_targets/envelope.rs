//! Signed envelopes of every purpose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{DESCRIPTOR, KEY, MIX_RECORD, PEER_RECORD, sealed};

fuzz_target!(|data: &[u8]| {
    for purpose in [DESCRIPTOR, PEER_RECORD, MIX_RECORD] {
        let _ = purpose.open(data);
    }
    let opened = PEER_RECORD.open(&sealed(PEER_RECORD, data)).expect("what was sealed can be opened");
    assert!(opened.payload == data && opened.signer == KEY.public());
    assert!(DESCRIPTOR.open(&sealed(PEER_RECORD, data)).is_err());
});
