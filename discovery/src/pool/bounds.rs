//! Which nodes stay out of the pool although they could be used: strangers in an outage, copies of a key, and whatever
//! goes beyond what one subnet, one family or one source may hold.
//!
//! | group | may hold | why |
//! |---|---|---|
//! | one mix key | one node | only one of them can open packets: the operator's entry, or the one that told the key first and was reached |
//! | a /24 of public addresses | 8, or a quarter of the pool | whoever rents a subnet owns no more of the pool |
//! | a family | 16, or a quarter of the pool | the same for whoever says whose it is |
//! | nodes that one source alone tells of | 64, or half of the pool | whoever feeds a source owns no more of the pool |
//!
//! A share is counted from the nodes outside the group, so that no group makes its own share grow.
//! The operator's entries count and always stay. Who stays otherwise is drawn once, by each node for itself
//! ([`Rank`](crate::peer_table::Rank)), so that all of a large fleet are used by some.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use libp2p_identity::PeerId;
use wakumix_mix::is_public;
use wakumix_role_api::directory::PoolState;

use super::{
    directory::by_rank,
    family::{Own, families},
};
use crate::{
    clock::Now,
    peer_table::{Block, Held, Node, PeerTable},
};

/// What a group may always hold, and the share of the pool that it may hold if that is more: one part for so many parts of
/// others.
#[derive(Clone, Copy, Debug)]
struct Bound {
    floor: usize,
    others: usize,
}

const SUBNET: Bound = Bound { floor: 8, others: 3 };
const FAMILY: Bound = Bound { floor: 16, others: 3 };
const SOURCE: Bound = Bound { floor: 64, others: 1 };

/// The nodes that could be used and stay out, and why.
pub(crate) fn held(table: &PeerTable, own_operator: Option<&str>, now: Now) -> HashMap<PeerId, Held> {
    let could_be_used =
        |node: &Node| node.state.is_some_and(|(state, _)| matches!(state, PoolState::Usable | PoolState::HeldBack));
    let mut held = HashMap::new();
    let mut pool = by_rank(table, could_be_used);
    hold(&mut pool, &mut held, Held::Unverified, |node| table.is_unverified_peer_in_outage(node, now));
    let copies = copies(&pool);
    hold(&mut pool, &mut held, Held::SameKey, |node| copies.contains(&node.peer));
    if !table.rules().allow_private {
        let subnet = |node: &Node| Some(node.view.hop.as_ref()?.ip()).filter(|ip| is_public((*ip).into()));
        let beyond = beyond(SUBNET, &pool, |node| subnet(node).map(Block::subnet4));
        hold(&mut pool, &mut held, Held::Subnet, |node| beyond.contains(&node.peer));
    }
    let (families, _) = families(&pool, Own { operator: own_operator, family: &table.rules().family });
    let families: HashMap<_, _> = pool.iter().map(|node| node.peer).zip(families).collect();
    let beyond_family = beyond(FAMILY, &pool, |node| families.get(&node.peer).copied().flatten());
    hold(&mut pool, &mut held, Held::Family, |node| beyond_family.contains(&node.peer));
    let beyond_source = beyond(SOURCE, &pool, |node| match node.sources()[..] {
        [source] => Some(source),
        _ => None,
    });
    hold(&mut pool, &mut held, Held::Source, |node| beyond_source.contains(&node.peer));
    held
}

fn hold(pool: &mut Vec<&Node>, held: &mut HashMap<PeerId, Held>, rule: Held, is_held: impl Fn(&Node) -> bool) {
    pool.retain(|node| {
        let is_held = is_held(node);
        if is_held {
            held.insert(node.peer, rule);
        }
        !is_held
    });
}

/// Nodes that tell a key which another one tells with more right.
fn copies(pool: &[&Node]) -> HashSet<PeerId> {
    let mut by_right: Vec<_> = pool.iter().collect();
    by_right.sort_by_key(|node| (!node.is_entry(), node.key_since(), node.rank));
    let mut keys = HashSet::new();
    let is_copy = |node: &&&&Node| node.view.key.is_some_and(|key| !keys.insert(*key.as_bytes()));
    by_right.iter().filter(is_copy).map(|node| node.peer).collect()
}

/// Nodes that are too many for their group.
fn beyond<G: Hash + Eq>(bound: Bound, pool: &[&Node], group: impl Fn(&Node) -> Option<G>) -> HashSet<PeerId> {
    let mut groups: HashMap<G, Vec<&Node>> = HashMap::new();
    for node in pool {
        if let Some(group) = group(node) {
            groups.entry(group).or_default().push(node);
        }
    }
    let beyond_of = |members: Vec<&Node>| {
        let allowed = bound.floor.max((pool.len() - members.len()) / bound.others);
        let beyond = members.into_iter().skip(allowed).filter(|node| !node.is_entry());
        beyond.map(|node| node.peer).collect::<Vec<_>>()
    };
    groups.into_values().flat_map(beyond_of).collect()
}
