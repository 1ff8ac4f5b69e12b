//! What the rule for next hops is fed with: the operator's settings, this node's address, the directory.

use libp2p_identity::PeerId;
use tokio::sync::watch;
use wakumix_mix::{HopAddress, hop::NextHopPolicy};
use wakumix_role_api::DirectoryReader;

/// Where the inputs come from.
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
    /// The rule as it is now.
    pub(crate) fn next_hops(&self) -> NextHopPolicy {
        NextHopPolicy {
            own_peer: self.me,
            own_ip: self.hop_address.borrow().as_ref().map(HopAddress::ip),
            forward: self.forward,
            allow_private_addresses: self.allow_private_addresses,
        }
    }

    /// The address that the directory has for a mix node.
    pub(crate) fn known(&self, peer: &PeerId) -> Option<HopAddress> {
        self.directory.snapshot().mix_node(peer).map(|node| node.address.clone())
    }
}
