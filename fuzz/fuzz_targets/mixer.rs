//! The mixer as a state machine: arbitrary packets, commits, crashes, damaged logs, clocks and full queues.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| wakumix_fuzz_model::run(data));
