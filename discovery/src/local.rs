//! What this node tells of itself: the one description that every source publishes in its own form.

use std::net::{Ipv4Addr, UdpSocket};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::HopAddress;
use wakumix_sphinx::{PublicKey, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

use crate::peer_report::UnixSeconds;

/// What this node is now. Replaced whenever roles, addresses, keys or readiness change; sources follow it through a
/// [`tokio::sync::watch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalRecord {
    /// This node.
    pub peer: PeerId,
    /// Where it can be reached, without `/p2p`, the most preferred first; relay addresses behind direct ones. Empty while
    /// it is not known to be reachable.
    pub addresses: Vec<Multiaddr>,
    /// What headers carry for it.
    pub hop_address: Option<HopAddress>,
    /// What it offers now: only roles that are ready.
    pub capabilities: Capabilities,
    /// Its cluster and shards.
    pub shards: Shards,
    /// Its mix key, while it forwards or exits.
    pub mix_key: Option<PublicKey>,
    /// The key that follows it, and from when; only descriptors have room for it.
    pub next_key: Option<(PublicKey, UnixSeconds)>,
    /// Whether it puts fragments of requests together when a path ends at it.
    pub reassembles: bool,
    /// Whether so many are connected that newcomers should look elsewhere; only descriptors have room for it.
    pub is_full: bool,
    /// The wire profiles that it speaks.
    pub profiles: Vec<WireFormat>,
    /// What its operator calls itself.
    pub operator: Option<String>,
    /// Other nodes of its operator.
    pub family: Vec<PeerId>,
}

/// Whether this machine has a route to IPv4 addresses now. Nothing is sent: connecting a UDP socket looks a route up.
pub(crate) fn has_ip4() -> bool {
    // Set aside for documentation (RFC 5737): routed like any address of the internet.
    const SOMEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| socket.connect(SOMEWHERE)).is_ok()
}
