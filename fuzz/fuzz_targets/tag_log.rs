//! Logs of replay tags, whole and cut.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wakumix_keyring::fuzzing::read_tag_log(data));
