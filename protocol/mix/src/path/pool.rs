//! The nodes that paths are drawn from, and how much of the draws each of them gets.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use libp2p_identity::PeerId;
use wakumix_sphinx::PublicKey;

use super::{
    Family, MixNode,
    rule::{SUBNET_LEN, subnet_of},
};

/// Parts of the share of a node that is alone in its /24 and family. Draws count in whole numbers, so that sums are exact in
/// any order: of 2^14 nodes the pairs weigh 2^60 at most.
pub(super) const UNIT: u32 = 1 << 16;

/// The nodes that paths are drawn from: no peer and no mix key twice.
///
/// Who runs many nodes in one /24, or one family, gets no more of the draws than who runs one: a node's share is one over the
/// nodes of its /24, or of its family if they are more. It is what drawing the /24 first and then the node comes to.
#[derive(Clone, Debug, Default)]
pub struct MixPool {
    nodes: Vec<MixNode>,
    /// Parts of [`UNIT`], one for each node.
    shares: Vec<u32>,
    /// The largest of them.
    largest: u32,
}

impl MixPool {
    /// A pool of these nodes. Of a peer or a mix key that occurs again the first stays.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = MixNode>) -> Self {
        let (mut peers, mut keys): (HashSet<PeerId>, HashSet<PublicKey>) = (HashSet::new(), HashSet::new());
        let is_new = |node: &MixNode| peers.insert(node.peer()) && keys.insert(node.key);
        let nodes: Vec<_> = nodes.into_iter().filter(is_new).collect();
        let shares = shares(&nodes.iter().collect::<Vec<_>>());
        let largest = shares.iter().copied().max().unwrap_or(UNIT);
        Self { nodes, shares, largest }
    }

    /// Its nodes.
    #[must_use]
    pub fn nodes(&self) -> &[MixNode] {
        &self.nodes
    }

    /// How many of them are not this peer.
    #[must_use]
    pub fn len_without(&self, peer: &PeerId) -> usize {
        self.nodes.len() - usize::from(self.node(peer).is_some())
    }

    /// The entry of a peer.
    #[must_use]
    pub fn node(&self, peer: &PeerId) -> Option<&MixNode> {
        self.nodes.iter().find(|node| node.peer() == *peer)
    }

    /// Nodes with their shares.
    pub(super) fn shared(&self) -> impl Iterator<Item = (&MixNode, u32)> {
        self.nodes.iter().zip(self.shares.iter().copied())
    }

    /// A node and its share.
    pub(super) fn at(&self, index: usize) -> (&MixNode, u32) {
        (&self.nodes[index], self.shares[index])
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The largest share.
    pub(super) fn largest(&self) -> u32 {
        self.largest
    }
}

/// The shares of nodes among themselves.
pub(super) fn shares(nodes: &[&MixNode]) -> Vec<u32> {
    let subnets = sizes(nodes.iter().map(|node| subnet_of(node.address.ip())));
    let families = sizes(nodes.iter().filter_map(|node| node.family));
    let share = |node: &&MixNode| share(node, &subnets, &families);
    nodes.iter().map(share).collect()
}

fn share(node: &MixNode, subnets: &HashMap<[u8; SUBNET_LEN], u32>, families: &HashMap<Family, u32>) -> u32 {
    let in_subnet = subnets.get(&subnet_of(node.address.ip())).copied().unwrap_or(1);
    let in_family = node.family.and_then(|family| families.get(&family).copied()).unwrap_or(1);
    (UNIT / in_subnet.max(in_family)).max(1)
}

fn sizes<G: Hash + Eq>(groups: impl Iterator<Item = G>) -> HashMap<G, u32> {
    let mut sizes = HashMap::new();
    groups.for_each(|group| *sizes.entry(group).or_default() += 1);
    sizes
}
