//! Frames of the request streams: the length of the body as an unsigned varint, then the body.

use crate::wire::put_raw_varint;

/// Why bytes do not start with a frame; the stream is of no use any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than the reader accepts.
    #[error("frame of {len} bytes, at most {max} are accepted")]
    TooLong {
        /// Length announced by the prefix.
        len: u64,
        /// Length accepted.
        max: usize,
    },
    /// The length prefix is not a varint of 64 bits in its shortest form.
    #[error("frame length is not a minimal varint")]
    Prefix,
}

/// Puts the length in front of `body`.
pub fn encode(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    put_raw_varint(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    out
}

/// Takes the first frame off `bytes`: its body, and how many bytes the whole frame took. `None` while it is incomplete;
/// a body longer than `max` is refused as soon as its prefix is there.
///
/// # Errors
/// [`FrameError::TooLong`], or [`FrameError::Prefix`] for a length that is not in its shortest form.
pub fn decode(bytes: &[u8], max: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    let (len, rest) = match unsigned_varint::decode::u64(bytes) {
        Ok(prefix) => prefix,
        Err(unsigned_varint::decode::Error::Insufficient) => return Ok(None),
        Err(_) => return Err(FrameError::Prefix),
    };
    let prefix_len = bytes.len() - rest.len();
    // The library drops the bits of a tenth byte that 64 bits have no room for.
    if bytes[..prefix_len].get(9).is_some_and(|&last| last > 1) {
        return Err(FrameError::Prefix);
    }
    let body_len = usize::try_from(len).ok().filter(|&len| len <= max).ok_or(FrameError::TooLong { len, max })?;
    Ok(rest.get(..body_len).map(|body| (body, prefix_len + body_len)))
}

/// The body of the first frame in `bytes`; `None` if there is no whole frame, or its body is longer than `max`. Bytes behind
/// the frame are not looked at, as in a stream. In the mixnet a sender whose message block has a sequence number leaves four
/// there if the reader's has none (`spec/mix-wire.md §7.2`).
pub fn first_body(bytes: &[u8], max: usize) -> Option<&[u8]> {
    let (body, _) = decode(bytes, max).ok()??;
    Some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_body_and_leaves_what_follows() {
        assert_eq!(first_body(b"\x03abc", 3), Some(&b"abc"[..]));
        assert_eq!(first_body(b"\x03abc\x01\x02\x03\x04", 3), Some(&b"abc"[..]));
        assert_eq!(first_body(b"\x00", 3), Some(&b""[..]));
    }

    #[test]
    fn a_frame_that_is_cut_short_too_long_or_not_minimal_has_no_first_body() {
        for data in [&b""[..], b"\x03ab", b"\x04abcd", b"\x83\x00abc"] {
            assert_eq!(first_body(data, 3), None, "{data:02x?}");
        }
    }
}
