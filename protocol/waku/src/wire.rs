//! Protobuf fields written and read by hand, and the one error of all decoders.
//!
//! prost leaves out fields that hold their default value and empty lists; the Nim nodes need some of them present
//! (`spec/waku.md §1.2`). So messages and metadata are written here, field by field, in the order of the caller.
//!
//! prost also reads by other rules than the Nim nodes: it refuses a known field of another wire type, which they skip, and
//! takes groups and varints that are longer than necessary, which they refuse. A relay must take what they take, or it
//! parts from the nodes that pass such messages on. So messages that relays pass on are read here, by their rules
//! (`protocol/waku/vectors/message-encodings.json` has what they said to 270 encodings).

/// The wire types that exist for the Nim nodes; groups do not.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// Why bytes are not the message that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a protobuf message with fields of these types.
    #[error("not a valid protobuf message: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The bytes are not a protobuf message as the Nim nodes read it.
    #[error("not a valid protobuf message: {0}")]
    Malformed(&'static str),
    /// A field that should be text is not UTF-8. The Nim nodes take it and pass it on: for them it is bytes.
    #[error("field `{0}` is not UTF-8")]
    NotText(&'static str),
    /// A field that the protocol requires is absent.
    #[error("required field `{0}` is missing")]
    Missing(&'static str),
    /// A field holds more bytes than the protocol allows.
    #[error("field `{field}` has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

/// Appends a field of wire type varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, field: u32, value: u64) {
    put_raw_varint(out, u64::from(field << 3 | VARINT));
    put_raw_varint(out, value);
}

/// Appends a field of wire type sint64: zig-zag, so that small negative numbers stay short.
pub(crate) fn put_sint64(out: &mut Vec<u8>, field: u32, value: i64) {
    let zigzag = (value << 1) ^ (value >> 63);
    put_varint(out, field, u64::from_ne_bytes(zigzag.to_ne_bytes()));
}

/// Appends a length-delimited field: bytes, a string or an embedded message.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    put_raw_varint(out, u64::from(field << 3 | LENGTH_DELIMITED));
    put_raw_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Appends a base-128 varint without a field key.
pub(crate) fn put_raw_varint(out: &mut Vec<u8>, value: u64) {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    out.extend_from_slice(unsigned_varint::encode::u64(value, &mut buffer));
}

/// The value of a field, of the wire types whose content is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed 32 or 64 bits.
    Fixed,
}

/// The fields of a message in their order, as the Nim nodes read them: every varint in its shortest form, no groups, any
/// field number that fits its key. A damaged field anywhere damages the whole message, so all of them must be read.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn read(&mut self) -> Result<(u64, Value<'a>), DecodeError> {
        let key = self.varint()?;
        let value = match u32::try_from(key & 7).unwrap_or_default() {
            VARINT => Value::Varint(self.varint()?),
            FIXED64 => self.take(8).map(|_| Value::Fixed)?,
            LENGTH_DELIMITED => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            FIXED32 => self.take(4).map(|_| Value::Fixed)?,
            _ => return Err(DecodeError::Malformed("a wire type that does not exist")),
        };
        Ok((key >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let malformed = DecodeError::Malformed("a number that is cut short, too long or not in its shortest form");
        let Ok((value, rest)) = unsigned_varint::decode::u64(self.0) else { return Err(malformed) };
        // The library drops bits above the 64th; then the number is not what was written.
        if !self.0.starts_with(unsigned_varint::encode::u64(value, &mut unsigned_varint::encode::u64_buffer())) {
            return Err(malformed);
        }
        self.0 = rest;
        Ok(value)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let taken = usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len));
        let (taken, rest) = taken.ok_or(DecodeError::Malformed("a field that goes beyond the end"))?;
        self.0 = rest;
        Ok(taken)
    }
}

/// Ends after the first error.
impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.read().inspect_err(|_| self.0 = &[]))
    }
}

/// A number of the protobuf type uint32; what does not fit is refused, not cut.
pub(crate) fn uint32(value: u64) -> Result<u32, DecodeError> {
    u32::try_from(value).map_err(|_| DecodeError::Malformed("a number of more than 32 bits"))
}

/// A number of the protobuf type sint64.
pub(crate) fn sint64(zigzag: u64) -> i64 {
    let half = (zigzag >> 1).cast_signed();
    if zigzag & 1 == 0 { half } else { !half }
}
