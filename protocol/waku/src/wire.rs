//! Protobuf fields written by hand, and the one error of all decoders.
//!
//! prost leaves out fields that hold their default value; the Nim nodes need some of them present
//! (spec/waku.md §1.2). So writing is done here, field by field, in the order of the caller.

/// The wire types that these protocols write.
const VARINT: u32 = 0;
const LENGTH_DELIMITED: u32 = 2;

/// Why bytes are not the message that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not a protobuf message with fields of these types.
    #[error("not a valid protobuf message: {0}")]
    Protobuf(#[from] prost::DecodeError),
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
