//! Where packets may go on to: decided without I/O (`spec/mix-wire.md` §10.2, §21 W8).
//!
//! A header names any IPv4 address, so a node that forwards dials on behalf of strangers. Unless its operator allows more, it
//! dials public addresses, the closed network that it is in itself, and the nodes of its directory. Any other packet may
//! still use a connection that its next hop has opened: so replies reach senders behind a NAT and web pages.

use std::net::Ipv4Addr;

use libp2p_identity::PeerId;
use tokio::sync::watch;
use wakumix_mix::{DropReason, HopAddress, is_neighbour, is_public};
use wakumix_role_api::{DirectoryReader, host::Reach};
use wakumix_sphinx::AddressBytes;

/// What decides where packets go.
pub(crate) struct Policy {
    pub(crate) me: PeerId,
    /// Whether packets of others are passed on at all.
    pub(crate) forward: bool,
    pub(crate) allow_private_addresses: bool,
    /// Where this node is.
    pub(crate) hop_address: watch::Receiver<Option<HopAddress>>,
    pub(crate) directory: DirectoryReader,
}

impl Policy {
    /// Where a packet goes on, and whether that may be dialled. Paths never visit a node twice (`spec/mix-wire.md` §13), so
    /// a next hop that is this node was made to keep it busy and is refused like any other useless address.
    ///
    /// Who is connected is the host's to say, at the moment of writing: said here, it could be wrong by then.
    pub(crate) fn next_hop(&self, next: &AddressBytes) -> Result<(HopAddress, Reach), DropReason> {
        if !self.forward {
            return Err(DropReason::NotForwarding);
        }
        let to = HopAddress::decode(next).map_err(|error| error.drop_reason())?;
        if to.peer() == self.me {
            return Err(DropReason::InvalidDestination);
        }
        if self.may_dial(&to) {
            return Ok((to, Reach::Dial));
        }
        // A known node is reached where the directory says, so that its name opens no other address.
        let known = self.directory.snapshot().mix_node(&to.peer()).map(|node| node.address.clone());
        Ok(known.map_or((to, Reach::ConnectedOnly), |address| (address, Reach::Dial)))
    }

    fn may_dial(&self, to: &HopAddress) -> bool {
        let me = || self.hop_address.borrow().as_ref().map(HopAddress::ip);
        let is_allowed = |ip: Ipv4Addr| self.allow_private_addresses || is_public(ip.into()) || is_neighbour(me(), ip);
        // The system takes 0.0.0.0 for this machine.
        !to.ip().is_unspecified() && to.port() != 0 && is_allowed(to.ip())
    }
}
