//! Signed mix descriptors, fetched from any node and served by every node.

use crate::entry::PeerAddress;

/// The settings of descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorsConfig {
    /// Nodes to ask first, besides those that are known.
    pub peers: Vec<PeerAddress>,
}
