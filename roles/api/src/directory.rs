//! The directory: which mix nodes and services are known. Everyone reads one immutable snapshot.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::watch;
pub use wakumix_client::{
    PoolCounts, PoolState, ServiceKind,
    guards::{GuardCandidate, GuardSample, SampledGuard},
};
use wakumix_mix::{Family, HopAddress, MIN_POOL, MixNode};
use wakumix_sphinx::PATH_LEN;
use wakumix_waku::record::Shards;

/// One snapshot of what discovery knows.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The mix pool: nodes that a header can address, whose key is known and that are believed to be alive. This node is
    /// not among them.
    pub mix_nodes: Vec<MixNode>,
    /// The operator's entries of mix nodes that cannot be used now. Answers and packets of others may still be sent to them:
    /// the operator wrote their addresses.
    pub written: Vec<MixNode>,
    /// Nodes that serve lightpush, in the order of preference. Those that are also in `mix_nodes` serve as exit and
    /// destination at once; the others, all of them written by the operator, are reached through an exit. A service that
    /// was found is listed only while it is in `mix_nodes`.
    pub lightpush: Vec<ServiceNode>,
    /// Pool nodes that this node is connected to now. A node that cannot be dialled takes replies from these.
    pub connected: BTreeSet<PeerId>,
    /// How many known mix nodes are in which state.
    pub pool: PoolCounts,
    /// Whether nodes are looked for that nobody has written down here. Until such a search has had some time, what is
    /// missing is no verdict.
    pub is_searching: bool,
    /// The family in `mix_nodes` that this node itself belongs to, if its operator has named one.
    pub own_family: Option<Family>,
    /// The sampled guards in their order, on a node that sends and does not forward: what it sends enters and leaves the
    /// mixnet over those of them that it is connected to. `None` on others.
    pub guards: Option<Vec<PeerId>>,
    /// How many independent hands the pool lies in: its /24s, where each of the operator's entries counts as one. `None` where
    /// that says nothing: the pool is the operator's entries alone, or in a closed network.
    pub independent: Option<usize>,
    /// What is wrong with this machine's clock, as far as other nodes show.
    pub clock: Option<ClockSkew>,
}

/// How this machine's clock is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockSkew {
    /// Ahead of most nodes, by so much at least.
    Fast(Duration),
    /// Behind most nodes, by so much at least.
    Slow(Duration),
    /// It shows a time before the network had mix nodes.
    NeverSet,
}

impl ClockSkew {
    /// Which way, whatever the amount.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Fast(_) => "fast",
            Self::Slow(_) => "slow",
            Self::NeverSet => "never_set",
        }
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = |by: &Duration| by.as_secs().div_ceil(60);
        match self {
            Self::Fast(by) => {
                write!(f, "clock: this machine's is {} min or more ahead of most nodes; set it", minutes(by))
            }
            Self::Slow(by) => {
                write!(f, "clock: this machine's is {} min or more behind most nodes; set it", minutes(by))
            }
            Self::NeverSet => f.write_str("clock: this machine's was never set; set it"),
        }
    }
}

/// A node that serves a request–response protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceNode {
    /// Its peer id.
    pub peer: PeerId,
    /// Where it listens, without `/p2p`.
    pub addresses: Vec<Multiaddr>,
    /// The shards that it relays; `None` when it has not told.
    pub shards: Option<Shards>,
}

impl ServiceNode {
    /// A service that has not told its shards.
    pub fn new(peer: PeerId, addresses: Vec<Multiaddr>) -> Self {
        Self { peer, addresses, shards: None }
    }

    /// Whether it relays a shard as far as is known; one that has not told may.
    pub fn may_serve(&self, cluster: u16, shard: u16) -> bool {
        self.shards.as_ref().is_none_or(|own| own.cluster == cluster && own.shards.contains(&shard))
    }
}

impl Directory {
    /// Pool nodes that a request needs, as a client counts them: the service is one of them, unless there is one beyond the pool.
    pub fn needed(&self) -> usize {
        let is_beyond = |service: &ServiceNode| self.mix_node(&service.peer).is_none();
        if self.lightpush.iter().any(is_beyond) { PATH_LEN } else { MIN_POOL }
    }

    /// Where packets of others reach a mix node: one of the pool, or one that the operator has written down.
    pub fn address(&self, peer: &PeerId) -> Option<&HopAddress> {
        let written = || self.written.iter().find(|node| node.peer() == *peer);
        self.mix_node(peer).or_else(written).map(|node| &node.address)
    }

    /// The pool entry of a peer.
    pub fn mix_node(&self, peer: &PeerId) -> Option<&MixNode> {
        self.mix_nodes.iter().find(|node| node.peer() == *peer)
    }
}

/// Reads the newest snapshot without locks held. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectoryReader(watch::Receiver<Arc<Directory>>);

/// Replaces the snapshot; held by discovery alone.
#[derive(Debug)]
pub struct DirectoryPublisher(watch::Sender<Arc<Directory>>);

impl DirectoryPublisher {
    /// An empty directory, which may be about to be filled, and its first reader.
    pub fn new() -> (Self, DirectoryReader) {
        let (sender, receiver) = watch::channel(Arc::new(Directory { is_searching: true, ..Directory::default() }));
        (Self(sender), DirectoryReader(receiver))
    }

    /// Replaces the snapshot.
    pub fn publish(&self, directory: Directory) {
        self.0.send_replace(Arc::new(directory));
    }
}

impl DirectoryReader {
    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Directory> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits for the next snapshot; false when discovery has stopped.
    ///
    /// Cancel safe: yes.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_needs_one_node_less_where_a_service_is_beyond_the_pool() {
        let mut directory = Directory::default();
        assert_eq!(directory.needed(), 4);
        directory.lightpush = vec![ServiceNode::new(PeerId::random(), Vec::new())];
        assert_eq!(directory.needed(), 3);
    }

    #[test]
    fn a_service_that_told_its_shards_serves_no_others() {
        let mut service =
            ServiceNode::new("16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o".parse().unwrap(), Vec::new());
        assert!(service.may_serve(2, 5));
        service.shards = Some(Shards { cluster: 2, shards: vec![0, 5] });
        assert!(service.may_serve(2, 5) && !service.may_serve(2, 1) && !service.may_serve(3, 5));
    }
}
