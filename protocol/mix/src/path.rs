//! Path choice: three different nodes, drawn uniformly from the pool (`spec/mix-wire.md` §13).
//!
//! A pool lists each peer once; a peer listed twice is drawn as often as it is listed, but never twice into the
//! same path and never counted twice.

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use thiserror::Error;
use wakumix_sphinx::{PATH_LEN, PublicKey};

use crate::{HopAddress, random};

/// Smallest pool that carries requests: an exit and three more, as the fleet demands. The node itself does
/// not count.
pub const MIN_POOL: usize = 4;

/// Nodes drawn for a reply path; its last hop is the sender.
const REPLY_DRAWS: usize = PATH_LEN - 1;

/// A node that packets can pass through.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MixNode {
    /// Where it is reached; relay addresses are fine.
    pub address: HopAddress,
    /// Its mix key.
    pub key: PublicKey,
}

impl MixNode {
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
    /// The wanted exit is not in the pool, or it is the sender itself.
    #[error("the exit is not a known mix node")]
    ExitUnknown,
}

/// A path whose last hop is also the destination.
///
/// # Errors
/// [`PathError::ExitUnknown`]; [`PathError::PoolTooSmall`] with fewer than [`MIN_POOL`] nodes, the exit included
/// and `me` not.
pub fn forward_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &PeerId,
    exit: &PeerId,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let exit_node =
        pool.iter().find(|node| node.peer() == *exit).filter(|_| exit != me).ok_or(PathError::ExitUnknown)?;
    require(pool, &[*me], MIN_POOL)?;
    let [first, second] = draw(rng, pool, &[*me, *exit]);
    let path = [first, second, exit_node].map(MixNode::clone);
    debug_assert!(is_sound_forward_path(&path, me));
    Ok(path)
}

/// A path to a destination beyond its last hop. The destination need not be in the pool and is no hop.
///
/// # Errors
/// [`PathError::PoolTooSmall`] with fewer than three nodes besides `me` and the destination.
pub fn forward_path_to<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &PeerId,
    destination: &PeerId,
) -> Result<[MixNode; PATH_LEN], PathError> {
    let excluded = [*me, *destination];
    require(pool, &excluded, PATH_LEN)?;
    let path = draw(rng, pool, &excluded).map(MixNode::clone);
    debug_assert!(is_sound_forward_path(&path, me));
    Ok(path)
}

/// A path for a SURB: two drawn nodes, then the sender. `exclude` names the exit and the destination of the
/// request that the SURB travels with.
///
/// # Errors
/// [`PathError::PoolTooSmall`] with fewer than two nodes besides `me` and those excluded.
pub fn reply_path<R: CryptoRng + ?Sized>(
    rng: &mut R,
    pool: &[MixNode],
    me: &MixNode,
    exclude: &[PeerId],
) -> Result<[MixNode; PATH_LEN], PathError> {
    let mut excluded = Vec::with_capacity(exclude.len() + 1);
    excluded.push(me.peer());
    excluded.extend_from_slice(exclude);
    require(pool, &excluded, REPLY_DRAWS)?;
    let [first, second] = draw(rng, pool, &excluded);
    let path = [first, second, me].map(MixNode::clone);
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

/// Draws `N` nodes of different peers outside `excluded`, uniformly and without replacement, by rejection: the cost
/// does not grow with the pool. The pool must hold that many, which [`require`] has made sure of.
fn draw<'p, R: CryptoRng + ?Sized, const N: usize>(
    rng: &mut R,
    pool: &'p [MixNode],
    excluded: &[PeerId],
) -> [&'p MixNode; N] {
    let mut drawn = [0; N];
    for place in 0..N {
        drawn[place] = loop {
            let candidate = random::index(rng, pool.len());
            let peer = pool[candidate].peer();
            let is_taken = drawn[..place].iter().any(|&at| pool[at].peer() == peer);
            if !is_taken && !excluded.contains(&peer) {
                break candidate;
            }
        };
    }
    drawn.map(|at| &pool[at])
}
