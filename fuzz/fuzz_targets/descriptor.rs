//! Descriptors: the envelope as it comes, and any payload behind a good signature.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wakumix_fuzz::{KEY, NOW, opened};
use wakumix_records::{
    descriptor::{Descriptor, MAX_LEN, MAX_LIFETIME},
    fuzzing,
};

/// More than an envelope adds to its payload.
const ENVELOPE: usize = 150;

fuzz_target!(|data: &[u8]| {
    let _ = Descriptor::open(data, NOW);
    let _ = Descriptor::times(data);
    let Ok(descriptor) = fuzzing::descriptor(&opened(data), NOW) else { return };
    assert!(descriptor.expires > NOW && descriptor.expires - descriptor.issued <= MAX_LIFETIME);
    if data.len() + ENVELOPE > MAX_LEN {
        return;
    }
    // What is unknown was skipped, so the bytes may differ, but not what they say.
    let again = descriptor.seal(&KEY).expect("what was read can be written");
    assert_eq!(Descriptor::open(&again, NOW).expect("what was written can be read"), descriptor);
});
