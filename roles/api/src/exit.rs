//! What the exit takes: packets whose path ends here.

use std::ops::Range;

use wakumix_mix::Packet;
use wakumix_sphinx::AddressBytes;

use crate::RoleName;

/// The role that takes these messages.
pub const NAME: RoleName = RoleName::new("exit");

/// A message to the exit.
#[derive(Debug)]
pub enum ExitMessage {
    /// A packet whose last hop is this node.
    Packet(ExitPacket),
}

/// A packet whose last hop is this node, its layers removed.
#[derive(Debug)]
pub struct ExitPacket {
    /// Where the message goes; all zero when this node is the destination (`spec/mix-wire.md §11`).
    pub destination: AddressBytes,
    /// The packet; its body is `packet.bytes()[body]`.
    pub packet: Packet,
    /// Where the body lies in the packet.
    pub body: Range<usize>,
}
