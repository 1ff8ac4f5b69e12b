//! Frames of mplex: a varint with the stream's number and what the frame is, a varint length, that many bytes.

use std::io;

/// Longest varint of a header: nine groups of seven bits hold every stream number and its three bits.
const MAX_VARINT: u32 = 9;
/// Longest frame (mplex specification, "message size").
const MAX_LEN: u64 = 1 << 20;

/// A stream, as this side sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StreamId {
    pub(super) number: u64,
    /// Whether this side has opened it: both sides number their own.
    pub(super) is_own: bool,
}

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Open,
    Data,
    Close,
    Reset,
}

/// What has been read of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A frame without bytes of interest.
    Frame(StreamId, Action),
    /// Bytes of a stream, as they come.
    Data(StreamId, &'a [u8]),
}

/// Reads frames byte by byte, and hands their content on as it comes: a frame need not be in memory as a whole.
#[derive(Debug, Default)]
pub(super) struct Parser {
    varint: Varint,
    /// What the header said.
    header: Option<(StreamId, Action)>,
    /// Bytes of the frame that are still to come.
    left: usize,
}

#[derive(Debug, Default)]
struct Varint {
    value: u64,
    groups: u32,
}

impl Varint {
    fn push(&mut self, byte: u8) -> io::Result<Option<u64>> {
        if self.groups == MAX_VARINT {
            return Err(malformed("a number is too long"));
        }
        self.value |= u64::from(byte & 0x7f) << (7 * self.groups);
        self.groups += 1;
        if byte & 0x80 != 0 {
            return Ok(None);
        }
        Ok(Some(std::mem::take(self).value))
    }
}

impl Parser {
    /// Reads some bytes and hands on what is in them.
    ///
    /// # Errors
    /// They are not mplex, or `take` says so.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Piece<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (content, rest) = bytes.split_at(self.left.min(bytes.len()));
                self.left -= content.len();
                bytes = rest;
                if let Some((id, Action::Data)) = self.header {
                    take(Piece::Data(id, content))?;
                }
                if self.left == 0 {
                    self.header = None;
                }
                continue;
            }
            let Some((byte, rest)) = bytes.split_first() else { break };
            bytes = rest;
            let Some(number) = self.varint.push(*byte)? else { continue };
            match self.header {
                None => self.header = Some(header(number)?),
                Some((id, action)) => {
                    if number > MAX_LEN {
                        return Err(malformed("a frame is too long"));
                    }
                    self.left = usize::try_from(number).unwrap_or(usize::MAX);
                    if action != Action::Data {
                        take(Piece::Frame(id, action))?;
                    }
                    if self.left == 0 {
                        self.header = None;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The stream and the action of a header that the remote has sent.
fn header(number: u64) -> io::Result<(StreamId, Action)> {
    // Even flags are those of the side that has opened the stream.
    let (action, is_own) = match number & 7 {
        0 => (Action::Open, false),
        1 => (Action::Data, true),
        2 => (Action::Data, false),
        3 => (Action::Close, true),
        4 => (Action::Close, false),
        5 => (Action::Reset, true),
        6 => (Action::Reset, false),
        _ => return Err(malformed("a header of no known kind")),
    };
    Ok((StreamId { number: number >> 3, is_own }, action))
}

/// Appends the head of a frame of this side, before so many bytes.
pub(super) fn append_head(out: &mut impl Extend<u8>, id: StreamId, action: Action, len: usize) {
    let flag = match action {
        Action::Open => 0,
        Action::Data => 1,
        Action::Close => 3,
        Action::Reset => 5,
    } + u64::from(id.is_own && action != Action::Open);
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend(unsigned_varint::encode::u64((id.number << 3) | flag, &mut buffer).iter().copied());
    let mut buffer = unsigned_varint::encode::usize_buffer();
    out.extend(unsigned_varint::encode::usize(len, &mut buffer).iter().copied());
}

pub(super) fn malformed(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> io::Result<Vec<(StreamId, String)>> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        for bytes in pieces {
            parser.read(bytes, |piece| {
                found.push(match piece {
                    Piece::Frame(id, action) => (id, format!("{action:?}")),
                    Piece::Data(id, bytes) => (id, String::from_utf8_lossy(bytes).into_owned()),
                });
                Ok(())
            })?;
        }
        Ok(found)
    }

    #[test]
    fn reads_what_the_other_side_writes_however_it_is_cut() {
        let mut written = Vec::new();
        let (theirs, ours) = (StreamId { number: 300, is_own: false }, StreamId { number: 7, is_own: true });
        let seen = |id: StreamId| StreamId { is_own: !id.is_own, ..id };
        append_head(&mut written, seen(theirs), Action::Open, 4);
        written.extend_from_slice(b"name");
        append_head(&mut written, seen(theirs), Action::Data, 5);
        written.extend_from_slice(b"hello");
        append_head(&mut written, seen(ours), Action::Data, 0);
        append_head(&mut written, seen(ours), Action::Close, 0);
        append_head(&mut written, seen(theirs), Action::Reset, 0);
        let expected = |text: &str| {
            let open = (theirs, "Open".to_owned());
            let ends = [(ours, "Close".to_owned()), (theirs, "Reset".to_owned())];
            [open]
                .into_iter()
                .chain(text.split(' ').map(|part| (theirs, part.to_owned())))
                .chain(ends)
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&[&written]).unwrap(), expected("hello"));
        let bytes: Vec<&[u8]> = written.chunks(1).collect();
        assert_eq!(read(&bytes).unwrap(), expected("h e l l o"));
    }

    #[test]
    fn refuses_what_is_no_mplex() {
        assert!(read(&[&[7, 0]]).is_err(), "no such flag");
        assert!(read(&[&[2, 0x81, 0x80, 0x40]]).is_err(), "longer than a frame may be");
        assert!(read(&[&[0xff; 10]]).is_err(), "a number without end");
    }
}
