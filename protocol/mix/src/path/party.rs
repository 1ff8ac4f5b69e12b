//! Who sees an exchange from where.

use std::net::Ipv4Addr;

use libp2p_identity::PeerId;

use super::{Family, MixNode};
use crate::HopAddress;

/// A node that sees an exchange: a hop, or the service that its exit asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    pub(super) peer: PeerId,
    pub(super) ip: Ipv4Addr,
    pub(super) family: Option<Family>,
}

impl Party {
    /// Its peer id.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }
}

impl From<&MixNode> for Party {
    fn from(node: &MixNode) -> Self {
        Self { peer: node.peer(), ip: node.address.ip(), family: node.family }
    }
}

impl From<&HopAddress> for Party {
    /// A node of no known family.
    fn from(address: &HopAddress) -> Self {
        Self { peer: address.peer(), ip: address.ip(), family: None }
    }
}

/// What the hops of a path are kept apart from, besides each other and the sender: no node is seen on both sides.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Those that see an end of the exchange: the exit, the service behind it. Diversity towards them is given up last.
    pub ends: &'a [Party],
    /// The other hops of the exchange. Diversity towards them is given up first.
    pub hops: &'a [Party],
}

impl Beside<'static> {
    /// Nothing.
    pub const NOTHING: Self = Self { ends: &[], hops: &[] };
}
