//! What the rule for next hops is fed with: the operator's settings, and the directory.

use libp2p_identity::PeerId;
use wakumix_mix::{HopAddress, hop::NextHopPolicy};
use wakumix_role_api::DirectoryReader;

/// The rule, and what it depends on.
pub(crate) struct Policy {
    pub(crate) rules: NextHopPolicy,
    pub(crate) directory: DirectoryReader,
}

impl Policy {
    /// The address that the directory has for a mix node.
    pub(crate) fn known(&self, peer: &PeerId) -> Option<HopAddress> {
        self.directory.snapshot().address(peer).cloned()
    }
}
