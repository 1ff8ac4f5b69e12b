//! The cache of the last good directory.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wakumix_discovery::fuzzing::read_cache(data));
