//! What a client knows of the network at one moment, and itself.

use std::fmt;

use libp2p_identity::PeerId;
use wakumix_mix::{Family, HopAddress, MixNode};
use wakumix_sphinx::PublicKey;
use wakumix_waku::{PubsubTopic, record::Shards};

/// A kind of request–response service, by the name that operators know: `lightpush`, `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKind(pub &'static str);

impl ServiceKind {
    /// Publishes messages (`spec/waku.md §4`).
    pub const LIGHTPUSH: Self = Self("lightpush");
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// One snapshot of the network. It does not say which nodes are connected: that changes by the minute, and comes as
/// [`Input::Connected`](crate::Input::Connected) and [`Input::Disconnected`](crate::Input::Disconnected).
#[derive(Clone, Debug, Default)]
pub struct DirectorySnapshot {
    /// The mix pool: nodes that a header can address, whose key is known and that are believed to be alive. This node is
    /// not among them.
    pub mix_nodes: Vec<MixNode>,
    /// Nodes that serve something, in the order of preference. Those that are also in `mix_nodes` serve as exit and
    /// destination at once; the others are reached through an exit.
    pub services: Vec<ServiceEntry>,
    /// How many known mix nodes are in which state.
    pub pool: PoolCounts,
    /// Whether nodes are looked for that nobody has written down here. Until such a search has had some time, what is
    /// missing is no verdict.
    pub is_searching: bool,
    /// The family in `mix_nodes` that this node itself belongs to, if its operator has named one.
    pub own_family: Option<Family>,
    /// The sampled [guards](crate::guards) in their order, for a node that does not forward: its requests enter and leave the
    /// mixnet over those of them that it is connected to. `None` for a node that forwards: over guards its own packets would
    /// stand out, so it draws first hops and last reply hops from the whole pool.
    pub guards: Option<Vec<PeerId>>,
    /// How many independent hands the pool lies in: its /24s, where each of the operator's entries counts as one. `None` where
    /// that says nothing: the pool is the operator's entries alone, or in a closed network.
    pub independent: Option<usize>,
}

/// A node that serves one kind of request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// What it serves.
    pub kind: ServiceKind,
    /// Its peer id.
    pub peer: PeerId,
    /// Where an exit reaches it; `None` if it has no address that a header can carry.
    pub address: Option<HopAddress>,
    /// The shards that it relays; `None` when they are not known.
    pub shards: Option<Shards>,
}

impl ServiceEntry {
    /// Whether it serves a topic as far as is known; one whose shards are not known may.
    #[must_use]
    pub fn may_serve(&self, topic: &PubsubTopic) -> bool {
        let is_on = |own: &Shards| own.cluster == topic.cluster() && own.shards.contains(&topic.shard());
        self.shards.as_ref().is_none_or(is_on)
    }
}

impl DirectorySnapshot {
    /// The pool entry of a peer.
    #[must_use]
    pub fn mix_node(&self, peer: &PeerId) -> Option<&MixNode> {
        self.mix_nodes.iter().find(|node| node.peer() == *peer)
    }
}

/// The node that a client runs on, as the end of its reply paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnNode {
    /// Its peer id.
    pub peer: PeerId,
    /// Where a header can address it; `None` if it has no such address.
    pub address: Option<HopAddress>,
    /// The public half of its current mix key.
    pub key: PublicKey,
    /// Whether others can dial it.
    pub reachability: Reachability,
}

/// Whether others can dial a node directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reachability {
    /// Nobody has tried.
    #[default]
    Unknown,
    /// They can.
    Public,
    /// They tried and could not.
    Private,
}

wakumix_sphinx::named_enum! {
    /// What a known mix node can be used for now.
    pub enum PoolState {
        /// In the pool.
        Usable = "usable",
        /// Its record is good, but it has not been reached yet.
        Unchecked = "unchecked",
        /// It could not be reached when it was tried last.
        Unreachable = "unreachable",
        /// Nothing has been heard of it for too long.
        Expired = "expired",
        /// It mixes, but its key is not known yet.
        KeyUnknown = "key_unknown",
        /// It has no address that a header can carry.
        Unaddressable = "unaddressable",
        /// It speaks none of this node's wire profiles.
        OtherProfile = "other_profile",
        /// It is known by a name that does not resolve.
        Unresolved = "unresolved",
        /// It could be used, and a rule of the pool keeps it out.
        HeldBack = "held_back",
    }
}

impl PoolState {
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
            Self::HeldBack => "held back",
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

impl FromIterator<(PoolState, u32)> for PoolCounts {
    fn from_iter<I: IntoIterator<Item = (PoolState, u32)>>(states: I) -> Self {
        states.into_iter().fold(Self::default(), |mut counts, (state, nodes)| {
            counts.add_many(state, nodes);
            counts
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::peer;

    #[test]
    fn counts_name_what_cannot_be_used_and_why() {
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
    fn a_service_whose_shards_are_known_serves_no_others() {
        let topic = |cluster, shard| PubsubTopic::new(cluster, shard).unwrap();
        let mut service = ServiceEntry { kind: ServiceKind::LIGHTPUSH, peer: peer(1), address: None, shards: None };
        assert!(service.may_serve(&topic(2, 5)));
        service.shards = Some(Shards { cluster: 2, shards: vec![0, 5] });
        assert!(service.may_serve(&topic(2, 5)));
        assert!(!service.may_serve(&topic(2, 1)) && !service.may_serve(&topic(3, 5)));
    }
}
