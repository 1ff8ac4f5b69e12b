//! What packets and single-use reply blocks are built from, and why they cannot be.

use thiserror::Error;

use crate::keys::PublicKey;
use crate::layout::AddressBytes;

/// One hop of a path, as its sender knows it.
#[derive(Clone, Copy)]
pub struct PathHop {
    /// The hop's public mix key.
    pub key: PublicKey,
    /// Where the hop before it sends packets.
    pub address: AddressBytes,
    /// How long the hop holds the packet, in milliseconds; not used for the last hop, whose field is zero (§6.2). The second
    /// format has room for 16383 and cuts what is longer.
    pub delay_ms: u16,
}

crate::redacted!(PathHop);

/// Why a packet or a single-use reply block could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The body does not fit in one packet of this profile.
    #[error("the body has {len} bytes, but one packet carries at most {max}")]
    BodyTooLong {
        /// Bytes of the body.
        len: usize,
        /// Most bytes that the profile carries.
        max: usize,
    },
    /// The output buffer cannot hold a packet.
    #[error("the output buffer has {len} bytes, but a packet needs {needed}")]
    OutputTooShort {
        /// Bytes of the buffer.
        len: usize,
        /// Bytes of a packet without its proof.
        needed: usize,
    },
    /// The SURB id is all zero, which on the wire means "no SURB" (§9.1).
    #[error("the id of a single-use reply block must not be zero")]
    ZeroSurbId,
    /// The random scalars have no usable product: probability about 2^−126, so the random source is broken.
    #[error("the random source gave a degenerate scalar")]
    Degenerate,
    /// An address that the second format has no room for.
    #[error(
        "a packet of this format carries only IPv4 addresses of secp256k1 peers that are reached directly by TCP or QUIC, \
         none behind a circuit relay"
    )]
    Address,
    /// The single-use reply block belongs to another packet format.
    #[error("the single-use reply block is of another packet format")]
    ForeignSurb,
}
