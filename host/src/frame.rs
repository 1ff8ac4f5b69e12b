//! Frames: a minimal varint length, then that many bytes. Packets travel in them (`spec/mix-wire.md §2`), and so do
//! requests, answers and metadata.

use std::io;

use futures::{AsyncRead, AsyncReadExt};

/// A body grows by at most this much before the next bytes have arrived: an announced length alone costs no memory.
const GROWTH: usize = 16 * 1024;
/// The first bytes of a body: a stream on which little comes costs little.
const FIRST_GROWTH: usize = 1024;

/// Longest prefix that this crate writes: five groups of seven bits hold every `u32`.
const MAX_PREFIX_LEN: usize = 5;

/// Why a length prefix spoils its stream: after it, nobody knows where the next frame begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PrefixError {
    /// The length is above what is accepted here.
    #[error("the frame is longer than accepted")]
    TooLong,
    /// The length has superfluous groups (`80 00` for 0).
    #[error("the length prefix is not minimal")]
    NotMinimal,
}

/// Reads a length prefix byte by byte.
#[derive(Debug)]
pub(crate) struct PrefixReader {
    max: usize,
    value: usize,
    shift: u32,
}

impl PrefixReader {
    /// A reader that accepts lengths up to `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, value: 0, shift: 0 }
    }

    /// Whether the first byte has been read: a frame has begun.
    pub(crate) fn begun(&self) -> bool {
        self.shift > 0
    }

    /// Takes the next byte; `Some` is the frame's length and the reader is ready for the next prefix.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<usize>, PrefixError> {
        let group = usize::from(byte & 0x7f);
        let last = byte & 0x80 == 0;
        if last && group == 0 && self.begun() {
            return Err(PrefixError::NotMinimal);
        }
        // `max` bounds the value, so the shift stops growing long before it overflows.
        self.value |= group.checked_shl(self.shift).ok_or(PrefixError::TooLong)?;
        if self.value > self.max {
            return Err(PrefixError::TooLong);
        }
        if last {
            let length = self.value;
            *self = Self::new(self.max);
            return Ok(Some(length));
        }
        self.shift += 7;
        // A group beyond the first that does not fit `max` can only be too long or not minimal.
        if self.shift >= 28 { Err(PrefixError::TooLong) } else { Ok(None) }
    }
}

/// Appends one frame to `out`.
pub(crate) fn append_frame(out: &mut Vec<u8>, body: &[u8]) {
    let mut prefix = [0u8; MAX_PREFIX_LEN];
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(unsigned_varint::encode::u32(length, &mut prefix));
    out.extend_from_slice(body);
}

/// Reads one frame of at most `max` bytes and returns its body.
///
/// # Errors
/// `UnexpectedEof` when the stream ends first, `InvalidData` for a bad prefix.
pub(crate) async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S, max: usize) -> io::Result<Vec<u8>> {
    let mut first = [0u8; 1];
    stream.read_exact(&mut first).await?;
    read_frame_after(stream, first[0], max).await
}

/// As [`read_frame`], after the first byte of the prefix was read.
pub(crate) async fn read_frame_after<S: AsyncRead + Unpin>(
    stream: &mut S,
    first: u8,
    max: usize,
) -> io::Result<Vec<u8>> {
    read_frame_as_it_grows(stream, first, max, |_| Ok(())).await
}

/// As [`read_frame_after`]; asks before the body takes so many bytes more.
pub(crate) async fn read_frame_as_it_grows<S: AsyncRead + Unpin>(
    stream: &mut S,
    first: u8,
    max: usize,
    may_grow: impl Fn(usize) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut prefix = PrefixReader::new(max);
    let mut byte = first;
    loop {
        if let Some(length) = push(&mut prefix, byte)? {
            return read_body(stream, length, may_grow).await;
        }
        let mut next = [0u8; 1];
        stream.read_exact(&mut next).await?;
        byte = next[0];
    }
}

fn push(prefix: &mut PrefixReader, byte: u8) -> io::Result<Option<usize>> {
    prefix.push(byte).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

async fn read_body<S: AsyncRead + Unpin>(
    stream: &mut S,
    length: usize,
    may_grow: impl Fn(usize) -> io::Result<()>,
) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < length {
        let start = body.len();
        let growth = (length - start).min(start.clamp(FIRST_GROWTH, GROWTH));
        may_grow(growth)?;
        body.resize(start + growth, 0);
        stream.read_exact(&mut body[start..]).await?;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], max: usize) -> Result<Option<usize>, PrefixError> {
        let mut reader = PrefixReader::new(max);
        for byte in bytes {
            if let Some(length) = reader.push(*byte)? {
                return Ok(Some(length));
            }
        }
        Ok(None)
    }

    #[test]
    fn reads_the_prefixes_of_both_packet_sizes() {
        assert_eq!(read(&[0x80, 0x24], 4608), Ok(Some(4608)));
        assert_eq!(read(&[0xad, 0x26], 4909), Ok(Some(4909)));
    }

    #[test]
    fn refuses_lengths_above_a_packet() {
        assert_eq!(read(&[0x81, 0x24], 4608), Err(PrefixError::TooLong));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f], 4608), Err(PrefixError::TooLong));
        assert_eq!(read(&[0x80; 16], 4608), Err(PrefixError::TooLong));
    }

    #[test]
    fn refuses_prefixes_with_superfluous_groups() {
        assert_eq!(read(&[0x80, 0x00], 4608), Err(PrefixError::NotMinimal));
        assert_eq!(read(&[0x80, 0xa4, 0x00], 4608), Err(PrefixError::NotMinimal));
    }

    #[test]
    fn reads_empty_and_short_frames_one_after_another() {
        let mut reader = PrefixReader::new(4608);
        assert_eq!(reader.push(0), Ok(Some(0)));
        assert_eq!(reader.push(5), Ok(Some(5)));
        assert_eq!(reader.push(0x80), Ok(None));
        assert!(reader.begun());
        assert_eq!(reader.push(0x24), Ok(Some(4608)));
        assert!(!reader.begun());
    }

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0usize, 1, 127, 128, 4608, 4909, 16383] {
            let mut frame = Vec::new();
            append_frame(&mut frame, &vec![7; length]);
            let prefix = frame.len() - length;
            assert_eq!(read(&frame[..prefix], 16384), Ok(Some(length)));
        }
    }
}
