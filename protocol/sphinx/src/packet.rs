//! A packet's bytes seen as α, β, γ and δ, without copying.

use crate::layout::{ALPHA_LEN, BETA_LEN, DELTA_LEN, GAMMA_LEN, HEADER_LEN, PACKET_LEN};

/// The header of a packet or SURB, to read.
pub(crate) struct HeaderRef<'a> {
    pub(crate) alpha: &'a [u8; ALPHA_LEN],
    pub(crate) beta: &'a [u8; BETA_LEN],
    pub(crate) gamma: &'a [u8; GAMMA_LEN],
}

impl<'a> HeaderRef<'a> {
    /// `None` when `bytes` is shorter than a header.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (alpha, rest) = bytes.split_first_chunk()?;
        let (beta, rest) = rest.split_first_chunk()?;
        let (gamma, _) = rest.split_first_chunk()?;
        Some(Self { alpha, beta, gamma })
    }
}

/// The header of a packet or SURB, to write.
pub(crate) struct HeaderMut<'a> {
    pub(crate) alpha: &'a mut [u8; ALPHA_LEN],
    pub(crate) beta: &'a mut [u8; BETA_LEN],
    pub(crate) gamma: &'a mut [u8; GAMMA_LEN],
}

/// A whole packet, to write; bytes after the first 4608 stay out of reach.
pub(crate) struct PacketMut<'a> {
    pub(crate) header: HeaderMut<'a>,
    pub(crate) delta: &'a mut [u8; DELTA_LEN],
}

impl<'a> PacketMut<'a> {
    /// `None` when `bytes` is shorter than a packet without its proof.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Option<Self> {
        let (alpha, rest) = bytes.split_first_chunk_mut()?;
        let (beta, rest) = rest.split_first_chunk_mut()?;
        let (gamma, rest) = rest.split_first_chunk_mut()?;
        let (delta, _) = rest.split_first_chunk_mut()?;
        let header = HeaderMut { alpha, beta, gamma };
        Some(Self { header, delta })
    }
}

const _: () = assert!(HEADER_LEN + DELTA_LEN == PACKET_LEN);
