//! Path choice: three different nodes, drawn from the pool (`spec/mix-wire.md §13`) among those paths that no operator
//! can see twice, as far as is known.
//!
//! No two hops of a path, the node itself included, are in one /24 or of one [`Family`], where the pool allows it; nor is a
//! hop of a reply path with one of the request that it answers ([`Beside`]). Where the pool does not allow it, the other
//! hops of the exchange are given up first, then the /24, then the family, then both; a path is never refused for lack of
//! diversity.
//!
//! A /24 or family gets the draws of one node, however many it has ([`MixPool`]). A path is as likely as the product of the
//! shares of its drawn hops says, and of their weights, if a [`Preference`] gives them any. Peers that a preference avoids
//! are left out where that costs no diversity: for each of those rules in turn paths without them are tried, then paths with
//! one, with two.
//!
//! A sender that keeps its first hop and its last reply hop, its guard, names it, and only the other hops are drawn.

#[cfg(test)]
mod diversity_tests;
mod draw;
mod families;
mod party;
mod pool;
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

use self::draw::{Draw, Terms, weighed};
pub use self::families::{Member, OwnOperator, families};
pub use self::party::{Beside, Party};
pub use self::pool::MixPool;
pub use self::preference::{MIN_WEIGHT, Preference};
use self::rule::Rule;
use crate::HopAddress;

/// Smallest pool that carries requests: an exit and three more, as nwaku demands. The node itself does
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
    /// A node of no known family that speaks nwaku's packet and takes no fragments: what is known of a node of the
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
    /// Too few different nodes once the sender and those that must not be hops are left out.
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

/// Which nodes may be the hop before the sender on a reply path.
#[derive(Clone, Copy, Debug)]
pub enum LastHop<'a> {
    /// All: the sender can be dialled.
    Any,
    /// One of these, which have a connection to the sender (`spec/waku.md §8.3`).
    Among(&'a BTreeSet<PeerId>),
    /// This one, the sender's guard.
    Guard(&'a PeerId),
}

/// A path whose last hop is also the destination, over a guard if one is given.
///
/// # Errors
/// [`PathError::NodeUnknown`]; [`PathError::PoolTooSmall`] with fewer than [`MIN_POOL`] nodes, the exit included
/// and `me` not.
pub fn forward_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &MixPool,
    me: &MixNode,
    guard: Option<&PeerId>,
    exit: &PeerId,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let exit = find(pool, me, exit)?;
    let guard = guard.map(|guard| find(pool, me, guard)).transpose()?;
    require(pool, &[me.into()], MIN_POOL)?;
    let others: Vec<Party> = [me, exit].into_iter().chain(guard).map(Party::from).collect();
    let draw = Draw { pool, others: &others, beside: Beside::NOTHING, second: None, preference };
    let [first, second] = match guard {
        Some(guard) => draw.single(rng).map(|second| [guard, second]),
        None => draw.pair(rng),
    }
    .ok_or(TOO_FEW)?;
    let path = [first, second, exit].map(MixNode::clone);
    debug_assert!(is_sound_forward_path(&path, &me.peer()));
    Ok(path)
}

/// A path to a destination beyond its last hop, over a guard if one is given. The destination need not be in the pool and is
/// no hop. The exit is drawn first, then the others.
///
/// # Errors
/// [`PathError::NodeUnknown`]; [`PathError::PoolTooSmall`] with fewer than three nodes besides `me` and the destination.
pub fn forward_path_to<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &MixPool,
    me: &MixNode,
    guard: Option<&PeerId>,
    destination: &Party,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let guard = guard.map(|guard| find(pool, me, guard)).transpose()?;
    require(pool, &[me.into(), *destination], PATH_LEN)?;
    let given: Vec<Party> = [me.into(), *destination].into_iter().chain(guard.map(Party::from)).collect();
    let exits = Draw { pool, others: &given, beside: Beside::NOTHING, second: None, preference };
    let mut path_under = |terms: Terms| {
        (0..EXIT_TRIES).find_map(|_| {
            let exit = exits.single_under(rng, terms)?;
            let left = terms.without(exit, &preference);
            let others = [given.as_slice(), &[exit.into()]].concat();
            let draw = Draw { others: &others, ..exits };
            let [first, second] = match guard {
                Some(guard) => draw.single_under(rng, left).map(|second| [guard, second]),
                None => draw.pair_under(rng, left),
            }?;
            Some([first, second, exit])
        })
    };
    let terms = Terms::in_order(&preference, &Beside::NOTHING, PATH_LEN);
    let path = { terms }.find_map(&mut path_under).ok_or(TOO_FEW)?.map(MixNode::clone);
    debug_assert!(is_sound_forward_path(&path, &me.peer()));
    Ok(path)
}

/// A path for a SURB: two nodes, then the sender. `beside` names the exit and the destination of the request that the SURB
/// travels with as its ends, none of which is a hop, and the other hops of that request.
///
/// # Errors
/// [`PathError::PoolTooSmall`] with fewer than two nodes besides `me` and the ends; [`PathError::NoConnectedHop`] when none
/// of them may be the last.
pub fn reply_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &MixPool,
    me: &MixNode,
    beside: Beside<'_>,
    last: LastHop<'_>,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    require(pool, &[&[me.into()], beside.ends].concat(), REPLY_DRAWS)?;
    let me_alone = [me.into()];
    let draw = Draw { pool, others: &me_alone, beside, second: None, preference };
    let pair = match last {
        LastHop::Any => draw.pair(rng),
        LastHop::Among(last) => Draw { second: Some(last), ..draw }.pair(rng),
        LastHop::Guard(guard) => find(pool, me, guard)
            .ok()
            .filter(|guard| beside.ends.iter().all(|end| end.peer != guard.peer()))
            .and_then(|guard| Some([Draw { others: &[me.into(), guard.into()], ..draw }.single(rng)?, guard])),
    };
    let [first, second] = pair.ok_or(PathError::NoConnectedHop)?;
    let path = [first, second, me].map(MixNode::clone);
    debug_assert!(is_sound_reply_path(&path, &me.peer()));
    Ok(path)
}

/// One of these nodes, in no /24 and no family of those parties as far as can be, by shares and weights; `None` of none, or
/// of those parties alone.
pub fn draw_apart<'p, R: CryptoRng + ?Sized>(
    rng: &mut R,
    nodes: &[&'p MixNode],
    parties: &[Party],
    preference: Preference<'_>,
) -> Option<&'p MixNode> {
    Rule::IN_ORDER.into_iter().find_map(|rule| {
        let is_apart = |node: &&&'p MixNode| parties.iter().all(|other| rule.allows(&(**node).into(), other));
        weighed(rng, nodes.iter().filter(is_apart).copied(), &preference)
    })
}

/// Where a loop passes the node that it is to test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopPlace {
    /// As the first hop.
    First,
    /// As the second and last before the sender.
    Second,
}

/// A path from the sender to itself through one node and a drawn one, which is one of `among` if that is limited. So is the
/// node itself, where it is the last.
///
/// # Errors
/// [`PathError::NodeUnknown`]; [`PathError::PoolTooSmall`] with fewer than two nodes besides `me`;
/// [`PathError::NoConnectedHop`] when the hop before the sender cannot be one of `last`.
pub fn loop_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &MixPool,
    me: &MixNode,
    through: &PeerId,
    place: LoopPlace,
    last: Option<&BTreeSet<PeerId>>,
    preference: Preference<'_>,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let through = find(pool, me, through)?;
    require(pool, &[me.into()], REPLY_DRAWS)?;
    let may_be_last = |node: &MixNode| last.is_none_or(|last| last.contains(&node.peer()));
    let others = [me.into(), through.into()];
    let draw = Draw { pool, others: &others, beside: Beside::NOTHING, second: last, preference };
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

/// Whether no peer and no key occurs twice on a path.
#[must_use]
pub fn is_free_of_repetition(path: &[MixNode; PATH_LEN]) -> bool {
    let differ = |one: &MixNode, other: &MixNode| one.peer() != other.peer() && one.key != other.key;
    let [first, second, third] = path;
    differ(first, second) && differ(first, third) && differ(second, third)
}

/// The invariant of forward paths: no peer and no key twice, the sender never.
#[must_use]
pub fn is_sound_forward_path(path: &[MixNode; PATH_LEN], me: &PeerId) -> bool {
    is_free_of_repetition(path) && path.iter().all(|node| node.peer() != *me)
}

/// The invariant of reply paths: no peer and no key twice, the sender last.
#[must_use]
pub fn is_sound_reply_path(path: &[MixNode; PATH_LEN], me: &PeerId) -> bool {
    is_free_of_repetition(path) && path[PATH_LEN - 1].peer() == *me
}

/// What a draw without outcome would mean after [`require`] has let it pass; it does not occur.
const TOO_FEW: PathError = PathError::PoolTooSmall { usable: 0, needed: MIN_POOL };

/// The entry of a peer that is not `me`.
fn find<'p>(pool: &'p MixPool, me: &MixNode, peer: &PeerId) -> Result<&'p MixNode, PathError> {
    pool.node(peer).filter(|_| *peer != me.peer()).ok_or(PathError::NodeUnknown)
}

/// Refuses a pool with fewer than `needed` nodes besides those.
fn require(pool: &MixPool, without: &[Party], needed: usize) -> Result<(), PathError> {
    let is_left = |node: &&MixNode| without.iter().all(|other| other.peer != node.peer());
    let usable = pool.nodes().iter().filter(is_left).take(needed).count();
    if usable < needed { Err(PathError::PoolTooSmall { usable, needed }) } else { Ok(()) }
}
