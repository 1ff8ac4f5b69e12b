//! What is in a packet whose path ends here, read without I/O (`spec/mix-wire.md §7.3`, `§11`).

use std::ops::Range;

use wakumix_mix::{Body, DropReason, Packet, Request};
use wakumix_sphinx::{PacketFormat, Surb};

/// What an exit finds.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Cover traffic.
    Cover,
    /// A request, taken out of its packet.
    Request(TakenRequest),
}

/// A request with everything that is needed to answer it.
pub(crate) struct TakenRequest {
    /// The protocol.
    pub(crate) codec: String,
    /// The ways back, each to be used once.
    pub(crate) surbs: Vec<Surb>,
    /// The application's bytes.
    pub(crate) data: Vec<u8>,
}

impl std::fmt::Debug for TakenRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TakenRequest(redacted)")
    }
}

/// Reads the body of a packet of this format.
///
/// # Errors
/// How the packet is counted when there is no request in it.
pub(crate) fn read(format: &dyn PacketFormat, packet: &Packet, body: Range<usize>) -> Result<Incoming, DropReason> {
    let body = packet.bytes().get(body).ok_or(DropReason::BadMessage)?;
    match Request::decode(format, body).map_err(wakumix_mix::MessageError::drop_reason)? {
        Body::Cover => Ok(Incoming::Cover),
        Body::Request(Request { codec, surbs, data }) => {
            Ok(Incoming::Request(TakenRequest { codec: codec.to_owned(), surbs, data: data.to_vec() }))
        }
    }
}
