//! Where a packet may go next (`spec/mix-wire.md` §10.2, §21 W8).
//!
//! A header names any IPv4 address, so a node that forwards dials on behalf of unknown senders. Unless its operator allows
//! more, it dials public addresses, the closed network that it is in itself, and the nodes of its directory. Any other packet
//! may still use a connection that its next hop has opened: so replies reach senders behind a NAT and web pages.

use std::net::Ipv4Addr;

use libp2p_identity::PeerId;
use wakumix_sphinx::AddressBytes;

use crate::{DropReason, HopAddress, is_neighbour, is_public};

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
#[derive(Clone, Copy, Debug)]
pub struct NextHopPolicy {
    /// This node.
    pub own_peer: PeerId,
    /// Where others reach this node; `None` while it does not know.
    pub own_ip: Option<Ipv4Addr>,
    /// Whether packets of others are passed on at all.
    pub forward: bool,
    /// Whether every address may be dialled, public or not; for test nets.
    pub allow_private_addresses: bool,
}

impl NextHopPolicy {
    /// Where a packet goes next, and whether that address may be dialled. `known` gives the address of a mix node of the
    /// directory.
    ///
    /// Paths never visit a node twice (`spec/mix-wire.md` §13), so a next hop that is this node was made to keep it busy and is
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
        let is_allowed =
            |ip: Ipv4Addr| self.allow_private_addresses || is_public(ip.into()) || is_neighbour(self.own_ip, ip);
        // The system takes 0.0.0.0 for this machine.
        !to.ip().is_unspecified() && to.port() != 0 && is_allowed(to.ip())
    }
}
