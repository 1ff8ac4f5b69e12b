//! Frames as the host reads them: the lengths of packets byte by byte, requests and answers whole.
//!
//! The host's reader needs nothing of the host, so its source is compiled in here: libp2p takes longer to build than all else.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../host/src/frame.rs"]
mod frame;
#[path = "../../host/src/fuzzing.rs"]
mod fuzzing;

/// Two lengths of packets.
const PACKETS: [usize; 2] = [4608, 5980];
/// Short frames, and such as answers have.
const FRAMES: [usize; 2] = [100, 1 << 16];

fuzz_target!(|data: &[u8]| {
    for max in PACKETS {
        fuzzing::read_prefixes(data, max);
    }
    for max in FRAMES {
        fuzzing::read_frames(data, max);
    }
});
