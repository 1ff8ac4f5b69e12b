//! Peer exchange, as client and as server (`spec/waku.md §6.5`).

use crate::entry::PeerAddress;

/// The settings of peer exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerExchangeConfig {
    /// Nodes to ask, besides connected ones that answer the protocol.
    pub peers: Vec<PeerAddress>,
}
