//! A packet's bytes seen as α, MAC, routing information and payload, without copying.

use crate::layout::{ALPHA_LEN, GAMMA_LEN};
use crate::sphinx_packet::layout::{PACKET_LEN, PAYLOAD_LEN, ROUTING_LEN};

/// The header of a packet or reply block, to read.
pub(super) struct HeaderRef<'a> {
    pub(super) alpha: &'a [u8; ALPHA_LEN],
    pub(super) mac: &'a [u8; GAMMA_LEN],
    pub(super) routing: &'a [u8; ROUTING_LEN],
}

impl<'a> HeaderRef<'a> {
    /// `None` when `bytes` is shorter than a header.
    pub(super) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (alpha, rest) = bytes.split_first_chunk()?;
        let (mac, rest) = rest.split_first_chunk()?;
        let (routing, _) = rest.split_first_chunk()?;
        Some(Self { alpha, mac, routing })
    }
}

/// The header of a packet or reply block, to write.
pub(super) struct HeaderMut<'a> {
    pub(super) alpha: &'a mut [u8; ALPHA_LEN],
    pub(super) mac: &'a mut [u8; GAMMA_LEN],
    pub(super) routing: &'a mut [u8; ROUTING_LEN],
}

impl HeaderMut<'_> {
    /// Copies a header.
    pub(super) fn copy_from(&mut self, other: &HeaderRef<'_>) {
        *self.alpha = *other.alpha;
        *self.mac = *other.mac;
        *self.routing = *other.routing;
    }
}

/// A whole packet, to write.
pub(super) struct PacketMut<'a> {
    pub(super) header: HeaderMut<'a>,
    pub(super) payload: &'a mut [u8; PAYLOAD_LEN],
}

impl<'a> PacketMut<'a> {
    /// The packet at the beginning of `bytes`; `None` when they are fewer.
    pub(super) fn at_start(bytes: &'a mut [u8]) -> Option<Self> {
        let (alpha, rest) = bytes.split_first_chunk_mut()?;
        let (mac, rest) = rest.split_first_chunk_mut()?;
        let (routing, rest) = rest.split_first_chunk_mut()?;
        let (payload, _) = rest.split_first_chunk_mut()?;
        Some(Self { header: HeaderMut { alpha, mac, routing }, payload })
    }

    /// The packet that `bytes` are; `None` when they are fewer or more.
    pub(super) fn exact(bytes: &'a mut [u8]) -> Option<Self> {
        if bytes.len() == PACKET_LEN { Self::at_start(bytes) } else { None }
    }
}
