//! Files of mix keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wakumix_keyring::fuzzing::read_key_file(data));
