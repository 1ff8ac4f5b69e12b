//! The gossipsub frame around a message (`spec/waku.md §2.3`): how large it may be, and how large it is.

/// Bytes of the largest frame that a node of the network reads with default settings, its own length not counted: 150 KiB.
/// The message, its topic and what lies around them must fit together; a reader of a larger one ends the stream, and
/// everything that is written to it afterwards is lost.
pub const MAX_FRAME_LEN: usize = 150 * 1024;

/// Bytes of one message id: a SHA-256 (`spec/waku.md §2.1`).
pub const MESSAGE_ID_LEN: usize = 32;

/// Bytes of the frame that carries one message of `data_len` bytes, its own length not counted.
///
/// ```
/// use wakumix_waku::gossip::{MAX_FRAME_LEN, frame_len};
///
/// assert_eq!(frame_len("/waku/2/rs/2/0", 153_576), MAX_FRAME_LEN);
/// ```
#[must_use]
pub fn frame_len(topic: &str, data_len: usize) -> usize {
    // In field 2 of the frame (`publish`), the message: field 2 is the data, field 4 the topic.
    field_len(field_len(data_len).saturating_add(field_len(topic.len())))
}

/// Bytes of a field with a one-byte key and so many bytes of content.
fn field_len(content: usize) -> usize {
    let len = unsigned_varint::encode::usize(content, &mut unsigned_varint::encode::usize_buffer()).len();
    content.saturating_add(1 + len)
}
