//! Where a packet may go next (`spec/mix-wire.md §10.2`, §21 W8).
//!
//! A header names any IPv4 address and port, so a node that forwards dials on behalf of unknown senders. Unless its operator
//! allows more, it dials public addresses at the usual ports, and the nodes of its directory. No closed network is opened
//! because the node has an address in it. Any other packet may still use a connection that its next hop has opened: so
//! replies reach senders behind a NAT and web pages.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use libp2p_identity::PeerId;
use wakumix_sphinx::AddressBytes;

use crate::{DIAL_PORTS, DropReason, HopAddress, is_public, is_within};

/// How the next hop of a packet may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Over a connection if there is one, else by dialling the address of the packet.
    Dial,
    /// Over a connection that exists at the moment of writing. A peer behind a NAT and a web page open such connections and
    /// cannot be dialled; the address of the packet is never used.
    ConnectedOnly,
}

/// The rule for next hops.
#[derive(Clone, Debug)]
pub struct NextHopPolicy {
    /// This node.
    pub own_peer: PeerId,
    /// Whether packets of others are passed on at all.
    pub forward: bool,
    /// Whether every address may be dialled, public or not; for test nets.
    pub allow_private_addresses: bool,
    /// Networks whose addresses may be dialled, public or not.
    pub networks: Vec<IpNet>,
    /// Ports that may be dialled. Nodes of the directory are reached at any port.
    pub ports: Vec<RangeInclusive<u16>>,
}

impl NextHopPolicy {
    /// The rule of a node that forwards and whose operator has set nothing.
    #[must_use]
    pub fn new(own_peer: PeerId) -> Self {
        let (networks, ports) = (Vec::new(), DIAL_PORTS.to_vec());
        Self { own_peer, forward: true, allow_private_addresses: false, networks, ports }
    }

    /// Where a packet goes next, and whether that address may be dialled. `known` gives the address of a mix node of the
    /// directory.
    ///
    /// Paths never visit a node twice (`spec/mix-wire.md §13`), so a next hop that is this node was made to keep it busy and is
    /// refused like any other useless address. Which peers are connected is not asked here: the answer could be wrong by the
    /// time of writing.
    ///
    /// # Errors
    /// [`DropReason::NotForwarding`], [`DropReason::InvalidDestination`].
    pub fn next_hop(
        &self,
        next: &AddressBytes,
        known: &dyn Fn(&PeerId) -> Option<HopAddress>,
    ) -> Result<(HopAddress, Reach), DropReason> {
        if !self.forward {
            return Err(DropReason::NotForwarding);
        }
        let to = HopAddress::decode(next).map_err(|error| error.drop_reason())?;
        if to.peer() == self.own_peer {
            return Err(DropReason::InvalidDestination);
        }
        if self.may_dial(&to) {
            return Ok((to, Reach::Dial));
        }
        // A known node is reached where the directory says, so that its name opens no other address.
        Ok(known(&to.peer()).map_or((to, Reach::ConnectedOnly), |address| (address, Reach::Dial)))
    }

    fn may_dial(&self, to: &HopAddress) -> bool {
        let (ip, port) = (to.ip(), to.port());
        let is_allowed = self.allow_private_addresses || is_public(ip.into()) || is_within(&self.networks, ip);
        // The system takes 0.0.0.0 for this machine.
        is_allowed && !ip.is_unspecified() && port != 0 && self.ports.iter().any(|ports| ports.contains(&port))
    }
}
