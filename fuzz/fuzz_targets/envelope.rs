//! Signed envelopes of every purpose.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{DESCRIPTOR, MIX_RECORD, PEER_RECORD, SIGNER, sealed};

/// Which lengths of payloads are signed: every one of so many, because that takes longer than all else.
const SIGNED: usize = 64;

fuzz_target!(|data: &[u8]| {
    for purpose in [DESCRIPTOR, PEER_RECORD, MIX_RECORD] {
        let _ = purpose.open(data);
    }
    if !data.len().is_multiple_of(SIGNED) {
        return;
    }
    let bytes = sealed(PEER_RECORD, data);
    let opened = PEER_RECORD.open(&bytes).expect("what was sealed can be opened");
    assert!(opened.payload == data && opened.signer == *SIGNER);
    assert!(DESCRIPTOR.open(&bytes).is_err());
});
