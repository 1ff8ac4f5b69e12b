//! What is in a packet whose path ends here (`spec/mix-wire.md §7.3`, §11).

use std::fmt;
use std::ops::Range;

use wakumix_sphinx::{AddressBytes, PacketFormat, Surb};

use crate::address::is_absent;
use crate::fragment::FRAGMENT_CODEC;
use crate::{Body, DropReason, MessageError, Request};

/// What an exit finds in a packet.
#[derive(Debug)]
pub enum Incoming {
    /// Cover traffic.
    Cover,
    /// A request, taken out of its packet.
    Request(ExitRequest),
}

/// A request with everything that is needed to answer it.
pub struct ExitRequest {
    /// The protocol that it names.
    pub codec: String,
    /// The reply blocks, each to be used once.
    pub surbs: Vec<Surb>,
    /// The application's bytes.
    pub data: Vec<u8>,
}

impl ExitRequest {
    /// Whether it is a fragment for this exit; a fragment for another destination is a request like any other.
    #[must_use]
    pub fn is_fragment(&self, destination: &AddressBytes) -> bool {
        self.codec == FRAGMENT_CODEC && is_absent(destination)
    }
}

impl fmt::Debug for ExitRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExitRequest(redacted)")
    }
}

/// Reads the body of a packet of this format: the bytes of `packet` in `body`.
///
/// # Errors
/// How the packet is counted when there is no request in it.
pub fn read(format: &dyn PacketFormat, packet: &[u8], body: Range<usize>) -> Result<Incoming, DropReason> {
    let body = packet.get(body).ok_or(DropReason::BadMessage)?;
    match Request::decode(format, body).map_err(MessageError::drop_reason)? {
        Body::Cover => Ok(Incoming::Cover),
        Body::Request(Request { codec, surbs, data }) => {
            Ok(Incoming::Request(ExitRequest { codec: codec.to_owned(), surbs, data: data.to_vec() }))
        }
    }
}
