//! The directory: which mix nodes and services are known. Everyone reads one immutable snapshot.

use std::{collections::BTreeSet, fmt, sync::Arc};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use tokio::sync::watch;
use wakumix_mix::{Family, MixNode};
use wakumix_waku::record::Shards;

/// One snapshot of what discovery knows.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The mix pool: nodes that a header can address, whose key is known and that are believed to be alive. This node is
    /// not among them.
    pub mix_nodes: Vec<MixNode>,
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

/// What a known mix node can be used for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoolState {
    /// In the pool.
    Usable,
    /// Its record is good, but it has not been reached yet.
    Unchecked,
    /// It could not be reached when it was tried last.
    Unreachable,
    /// Nothing has been heard of it for too long.
    Expired,
    /// It mixes, but its key is not known yet.
    KeyUnknown,
    /// It has no address that a header can carry.
    Unaddressable,
    /// It speaks none of this node's wire profiles.
    OtherProfile,
    /// It is known by a name that does not resolve.
    Unresolved,
}

impl PoolState {
    /// Every state, the best first.
    pub const ALL: [Self; 8] = [
        Self::Usable,
        Self::Unchecked,
        Self::Unreachable,
        Self::Expired,
        Self::KeyUnknown,
        Self::Unaddressable,
        Self::OtherProfile,
        Self::Unresolved,
    ];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Unchecked => "unchecked",
            Self::Unreachable => "unreachable",
            Self::Expired => "expired",
            Self::KeyUnknown => "key_unknown",
            Self::Unaddressable => "unaddressable",
            Self::OtherProfile => "other_profile",
            Self::Unresolved => "unresolved",
        }
    }

    /// What people read.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Unchecked => "not reached yet",
            Self::Unreachable => "unreachable",
            Self::Expired => "expired",
            Self::KeyUnknown => "without key",
            Self::Unaddressable => "without usable address",
            Self::OtherProfile => "of another wire profile",
            Self::Unresolved => "with unresolved name",
        }
    }
}

/// How many known mix nodes are in which state. `Display` tells those that cannot be used: `1 expired, 2 unreachable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounts([u32; PoolState::ALL.len()]);

impl PoolCounts {
    /// Counts one more node.
    pub fn add(&mut self, state: PoolState) {
        self.add_many(state, 1);
    }

    /// Counts so many more nodes.
    pub fn add_many(&mut self, state: PoolState, nodes: u32) {
        if let Some(count) = self.0.get_mut(state as usize) {
            *count = count.saturating_add(nodes);
        }
    }

    /// Known nodes that are not in the pool and that the next check or look-up of a name may bring there.
    pub fn expected(&self) -> u32 {
        [PoolState::Unchecked, PoolState::Unreachable, PoolState::Unresolved].map(|state| self.of(state)).iter().sum()
    }

    /// Nodes in a state.
    pub fn of(&self, state: PoolState) -> u32 {
        self.0.get(state as usize).copied().unwrap_or(0)
    }
}

impl fmt::Display for PoolCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut unusable = PoolState::ALL.into_iter().skip(1).filter(|&state| self.of(state) > 0).peekable();
        if unusable.peek().is_none() {
            return f.write_str("no other node is known");
        }
        for (index, state) in unusable.enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{} {}", self.of(state), state.describe())?;
        }
        Ok(())
    }
}

impl Directory {
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
    fn counts_tell_what_cannot_be_used_and_why() {
        let mut counts = PoolCounts::default();
        counts.add(PoolState::Usable);
        assert_eq!(counts.to_string(), "no other node is known");
        counts.add(PoolState::Expired);
        counts.add_many(PoolState::Unreachable, 2);
        assert_eq!(counts.to_string(), "2 unreachable, 1 expired");
        assert_eq!((counts.of(PoolState::Usable), counts.of(PoolState::Unreachable)), (1, 2));
        counts.add(PoolState::Unchecked);
        assert_eq!(counts.expected(), 3, "neither those in the pool nor those that are gone");
    }

    #[test]
    fn states_stand_at_their_places() {
        for (index, state) in PoolState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, index, "{}", state.as_str());
        }
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
