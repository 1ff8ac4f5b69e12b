//! Path choice: three different nodes, drawn from the pool (`spec/mix-wire.md` §13) among those paths that no operator
//! can see twice, as far as is known.
//!
//! No two hops of a path, the node itself included, are in one /24 or of one [`Family`], where the pool allows it. Where
//! it does not, the /24 is given up first, then the family, then both; a path is never refused for lack of diversity.
//!
//! Every path that is allowed is equally likely, unless a [`Preference`] gives nodes weights; then it is as likely as the
//! product of the weights of its drawn hops says. Peers that a preference avoids are left out where that costs no
//! diversity: for each of those rules in turn paths without them are tried, then paths with one, with two.
//!
//! A pool lists each peer once; a peer listed twice is drawn as often as it is listed, but never twice into the
//! same path and never counted twice.

#[cfg(test)]
mod diversity_tests;
mod draw;
mod preference;
#[cfg(test)]
mod preference_tests;
mod rule;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use thiserror::Error;
use wakumix_sphinx::{FormatSet, PATH_LEN, PublicKey};

use self::draw::{Draw, Terms};
pub use self::preference::{MIN_WEIGHT, Preference};
use crate::HopAddress;

/// Smallest pool that carries requests: an exit and three more, as the fleet demands. The node itself does
/// not count.
pub const MIN_POOL: usize = 4;

/// Nodes drawn for a reply path; its last hop is the sender.
const REPLY_DRAWS: usize = PATH_LEN - 1;

/// Exits that are tried for a path under one rule when the pool leaves the first of them no two other hops.
const EXIT_TRIES: usize = 8;

/// A node that packets can pass through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MixNode {
    /// Where it is reached; relay addresses are fine.
    pub address: HopAddress,
    /// Its mix key.
    pub key: PublicKey,
    /// Nodes with the same number are run by one operator as far as is known; a path holds one of them where the pool
    /// allows it. The numbers mean nothing outside one snapshot of the pool.
    pub family: Option<Family>,
    /// The kinds of packets that it speaks.
    pub formats: FormatSet,
    /// Whether it puts fragments of requests together when a path ends at it.
    pub reassembles: bool,
}

/// The number of a set of nodes that one operator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub u32);

impl MixNode {
    /// A node of no known family that speaks the fleet's packet and takes no fragments: what is known of a node of the
    /// fleet.
    #[must_use]
    pub fn new(address: HopAddress, key: PublicKey) -> Self {
        Self { address, key, family: None, formats: FormatSet::MIX, reassembles: false }
    }

    /// The node's peer id.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.address.peer()
    }
}

/// Why no path can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// Too few different nodes once the sender and the excluded peers are left out.
    #[error("{usable} usable mix nodes, {needed} are needed")]
    PoolTooSmall {
        /// Different nodes that could be used.
        usable: usize,
        /// How many it takes.
        needed: usize,
    },
    /// The wanted node is not in the pool, or it is the sender itself.
    #[error("the node is not a known mix node")]
    NodeUnknown,
    /// The last drawn hop of a reply path must be a connected node, and none can be it.
    #[error("no node of the pool that may be the last hop is connected")]
    NoConnectedHop,
}

/// A path whose last hop is also the destination.
///
/// # Errors
/// [`PathError::NodeUnknown`]; [`PathError::PoolTooSmall`] with fewer than [`MIN_POOL`] nodes, the exit included
/// and `me` not.
pub fn forward_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &MixNode,
    exit: &PeerId,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let exit = find(pool, me, exit)?;
    let excluded = [me.peer(), exit.peer()];
    require(pool, &excluded[..1], MIN_POOL)?;
    let draw = Draw { pool, excluded: &excluded, others: &[me, exit], second: None, preference };
    let [first, second] = draw.pair(rng).ok_or(TOO_FEW)?;
    let path = [first, second, exit].map(MixNode::clone);
    debug_assert!(is_sound_forward_path(&path, &me.peer()));
    Ok(path)
}

/// A path to a destination beyond its last hop. The destination need not be in the pool and is no hop. The exit is drawn
/// first, each node being as likely as its weight says, then the others.
///
/// # Errors
/// [`PathError::PoolTooSmall`] with fewer than three nodes besides `me` and the destination.
pub fn forward_path_to<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &MixNode,
    destination: &PeerId,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let excluded = [me.peer(), *destination];
    require(pool, &excluded, PATH_LEN)?;
    let exits = Draw { pool, excluded: &excluded, others: &[me], second: None, preference };
    let mut path_under = |terms: Terms| {
        (0..EXIT_TRIES).find_map(|_| {
            let exit = exits.single_under(rng, terms)?;
            let left = terms.without(exit, &preference);
            let [first, second] = Draw { others: &[me, exit], ..exits }.pair_under(rng, left)?;
            Some([first, second, exit])
        })
    };
    let path = Terms::in_order(&preference, PATH_LEN).find_map(&mut path_under).ok_or(TOO_FEW)?.map(MixNode::clone);
    debug_assert!(is_sound_forward_path(&path, &me.peer()));
    Ok(path)
}

/// A path for a SURB: two drawn nodes, then the sender. `exclude` names the exit and the destination of the
/// request that the SURB travels with. With `last` the hop before the sender is one of these peers: a sender that cannot
/// be dialled is reached over the connection that it has to them (`spec/waku.md` §8.3).
///
/// # Errors
/// [`PathError::PoolTooSmall`] with fewer than two nodes besides `me` and those excluded; [`PathError::NoConnectedHop`]
/// when none of them is among `last`.
pub fn reply_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &MixNode,
    exclude: &[PeerId],
    last: Option<&BTreeSet<PeerId>>,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let mut excluded = Vec::with_capacity(exclude.len() + 1);
    excluded.push(me.peer());
    excluded.extend_from_slice(exclude);
    require(pool, &excluded, REPLY_DRAWS)?;
    let draw = Draw { pool, excluded: &excluded, others: &[me], second: last, preference };
    let [first, second] = draw.pair(rng).ok_or(PathError::NoConnectedHop)?;
    let path = [first, second, me].map(MixNode::clone);
    debug_assert!(is_sound_reply_path(&path, &me.peer()));
    Ok(path)
}

/// Where a loop passes the node that it is to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopPlace {
    /// As the first hop.
    First,
    /// As the second and last before the sender.
    Second,
}

/// A path from the sender to itself through one node and a drawn one. `last` is as in [`reply_path`].
///
/// # Errors
/// [`PathError::NodeUnknown`]; [`PathError::PoolTooSmall`] with fewer than two nodes besides `me`;
/// [`PathError::NoConnectedHop`] when the hop before the sender cannot be one of `last`.
pub fn loop_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &MixNode,
    through: &PeerId,
    place: LoopPlace,
    last: Option<&BTreeSet<PeerId>>,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let through = find(pool, me, through)?;
    let excluded = [me.peer(), through.peer()];
    require(pool, &excluded[..1], REPLY_DRAWS)?;
    let may_be_last = |node: &MixNode| last.is_none_or(|last| last.contains(&node.peer()));
    let others = [me, through];
    let draw = Draw { pool, excluded: &excluded, others: &others, second: last, preference };
    let path = match place {
        LoopPlace::First => draw.single(rng).map(|second| [through, second, me]),
        LoopPlace::Second if may_be_last(through) => {
            Draw { second: None, ..draw }.single(rng).map(|first| [first, through, me])
        }
        LoopPlace::Second => None,
    };
    let path = path.ok_or(PathError::NoConnectedHop)?.map(MixNode::clone);
    debug_assert!(is_sound_reply_path(&path, &me.peer()));
    Ok(path)
}

/// Whether no peer occurs twice on a path.
#[must_use]
pub fn is_free_of_repetition(path: &[MixNode; PATH_LEN]) -> bool {
    let [first, second, third] = path.each_ref().map(MixNode::peer);
    first != second && first != third && second != third
}

/// The invariant of forward paths: no peer twice, the sender never.
#[must_use]
pub fn is_sound_forward_path(path: &[MixNode; PATH_LEN], me: &PeerId) -> bool {
    is_free_of_repetition(path) && path.iter().all(|node| node.peer() != *me)
}

/// The invariant of reply paths: no peer twice, the sender last.
#[must_use]
pub fn is_sound_reply_path(path: &[MixNode; PATH_LEN], me: &PeerId) -> bool {
    is_free_of_repetition(path) && path[PATH_LEN - 1].peer() == *me
}

/// What a draw without outcome would mean after [`require`] has let it pass; it does not occur.
const TOO_FEW: PathError = PathError::PoolTooSmall { usable: 0, needed: MIN_POOL };

/// The entry of a peer that is not `me`.
fn find<'p>(pool: &'p [MixNode], me: &MixNode, peer: &PeerId) -> Result<&'p MixNode, PathError> {
    let found = pool.iter().find(|node| node.peer() == *peer);
    found.filter(|_| *peer != me.peer()).ok_or(PathError::NodeUnknown)
}

/// Refuses a pool with fewer than `needed` different nodes outside `excluded`; stops reading at the last one needed.
fn require(pool: &[MixNode], excluded: &[PeerId], needed: usize) -> Result<(), PathError> {
    let mut usable = Vec::with_capacity(needed);
    for peer in pool.iter().map(MixNode::peer) {
        if usable.len() == needed {
            break;
        }
        if !excluded.contains(&peer) && !usable.contains(&peer) {
            usable.push(peer);
        }
    }
    if usable.len() < needed {
        return Err(PathError::PoolTooSmall { usable: usable.len(), needed });
    }
    Ok(())
}
