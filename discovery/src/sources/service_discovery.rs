//! Kademlia service discovery, as advertiser, registrar and discoverer (`spec/waku.md §6.6`).

use std::time::Duration;

use crate::entry::PeerAddress;

/// The settings of Kademlia service discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceDiscoveryConfig {
    /// Nodes to ask first; none in the first node of a net.
    pub bootstrap: Vec<PeerAddress>,
    /// Between two random walks.
    pub random_lookup: Duration,
    /// Between two look-ups of the service.
    pub service_lookup: Duration,
}
