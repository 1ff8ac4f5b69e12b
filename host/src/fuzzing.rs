//! Body of a fuzz target, which has this file and `frame.rs` compiled in: the readers are no part of the public interface.

use std::io::ErrorKind;

use futures::FutureExt;

use crate::frame::{PrefixReader, append_frame, read_frame, read_frame_after};

/// Reads frames of at most `max` bytes one after another, as requests and answers are read and as packets are: what was read
/// would be written as it was, and both ways agree.
pub(crate) fn read_frames(bytes: &[u8], max: usize) {
    let mut rest = bytes;
    loop {
        let prefix = read_prefix(&mut PrefixReader::new(max), rest);
        let mut stream = rest;
        // A stream that is all there is never waited for.
        let Some(read) = read_frame(&mut stream, max).now_or_never() else { return assert!(rest.is_empty()) };
        match read {
            Ok(body) => {
                assert!(body.len() <= max && prefix.is_some_and(|(_, length)| length == body.len()));
                let mut written = Vec::new();
                append_frame(&mut written, &body);
                let (frame, left) = rest.split_at(rest.len() - stream.len());
                assert_eq!(written, frame);
                let mut behind = &frame[1..];
                let again = read_frame_after(&mut behind, frame[0], max).now_or_never();
                assert!(again.is_some_and(|again| again.is_ok_and(|again| again == body)));
                rest = left;
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return assert!(prefix.is_none_or(|(prefix, length)| rest.len() - prefix < length));
            }
            Err(error) => return assert!(error.kind() == ErrorKind::InvalidData && prefix.is_none()),
        }
    }
}

/// Reads the length prefixes of packets of at most `max` bytes, byte by byte, with one reader for all of them.
pub(crate) fn read_prefixes(bytes: &[u8], max: usize) {
    let (mut reader, mut rest) = (PrefixReader::new(max), bytes);
    while let Some((prefix, length)) = read_prefix(&mut reader, rest) {
        assert!(length <= max && !reader.begun());
        rest = rest.get(prefix + length..).unwrap_or_default();
    }
}

/// How many bytes the next prefix has, and what it says; `None` if it is refused or has no end.
fn read_prefix(reader: &mut PrefixReader, bytes: &[u8]) -> Option<(usize, usize)> {
    for (place, byte) in bytes.iter().enumerate() {
        if let Some(length) = reader.push(*byte).ok()? {
            return Some((place + 1, length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_takes_frames_and_what_is_near_them() {
        let mut frames = Vec::new();
        for length in [0, 3, 200] {
            append_frame(&mut frames, &vec![7; length]);
        }
        for at in 0..frames.len() {
            let mut changed = frames.clone();
            changed[at] ^= 0x80;
            for input in [&frames[..at], &changed] {
                read_frames(input, 150);
                read_prefixes(input, 4608);
            }
        }
    }
}
