//! Why a host did not start.

use libp2p::Multiaddr;

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Somebody else listens there.
    #[error("{address} is in use: another program listens on this {protocol} port")]
    AddressInUse {
        /// The configured address.
        address: Multiaddr,
        /// `TCP`, `QUIC` or `WebSocket`.
        protocol: &'static str,
    },
    /// The address is none of TCP, QUIC or WebSocket over an IP address.
    #[error("cannot listen on {address}: use /ip4/…/tcp/…, /ip4/…/udp/…/quic-v1 or /ip4/…/tcp/…/ws")]
    AddressNotSupported {
        /// The configured address.
        address: Multiaddr,
    },
    /// The operating system refuses the address.
    #[error("cannot listen on {address} ({protocol}): {reason}")]
    Listen {
        /// The configured address.
        address: Multiaddr,
        /// `TCP`, `QUIC` or `WebSocket`.
        protocol: &'static str,
        /// What the system says.
        reason: String,
    },
    /// A header carries only secp256k1 peer ids (`spec/mix-wire.md §5`).
    #[error("the identity is a {found} key; a mix node needs a secp256k1 key, because no other fits a packet header")]
    IdentityType {
        /// The type of the configured key.
        found: String,
    },
    /// A part of libp2p refuses its configuration.
    #[error("cannot set up {part}: {reason}")]
    Setup {
        /// Which.
        part: &'static str,
        /// Why.
        reason: String,
    },
}

impl HostError {
    /// A part of libp2p that refuses its configuration.
    pub(crate) fn setup(part: &'static str, reason: &impl ToString) -> Self {
        Self::Setup { part, reason: reason.to_string() }
    }
}
