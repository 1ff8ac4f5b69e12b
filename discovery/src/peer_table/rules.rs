//! What records and nodes are measured by: plain values, for the rules of the peer table and of the pool.

use std::time::Duration;

use libp2p_identity::PeerId;
use wakumix_sphinx::WireFormat;

/// What records are measured by.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) me: PeerId,
    pub(crate) cluster: u16,
    pub(crate) shards: Vec<u16>,
    pub(crate) profiles: Vec<WireFormat>,
    pub(crate) family: Vec<PeerId>,
    pub(crate) allow_private: bool,
    pub(crate) relays: bool,
    /// Whether this node has a route to IPv4 addresses.
    pub(crate) has_ip4: bool,
    pub(crate) max_nodes: usize,
    pub(crate) pool: PoolConfig,
}

/// The rules of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Whether this node sends requests over the pool, and so stays connected to it.
    pub sends: bool,
    /// Between two checks of a node that answers; each wait is drawn between half of it and the whole. Every node checks
    /// what it uses for cover or tells others.
    pub check_interval: Duration,
    /// A node that has not been reached for this long is expired.
    pub max_age: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { sends: true, check_interval: Duration::from_secs(60), max_age: Duration::from_secs(30 * 60) }
    }
}

#[cfg(test)]
impl Rules {
    /// Those of a node of cluster 2, some of them open for tests to change.
    pub(crate) fn of_cluster_2(me: PeerId, max_nodes: usize) -> Self {
        Self {
            me,
            cluster: 2,
            shards: Vec::new(),
            profiles: vec![WireFormat::default()],
            family: Vec::new(),
            allow_private: false,
            relays: false,
            has_ip4: true,
            max_nodes,
            pool: PoolConfig::default(),
        }
    }
}
