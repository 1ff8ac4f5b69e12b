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
    /// Nodes with the same number are run by one operator as far as is known; a path holds one of them where the pool
    /// allows it. The numbers mean nothing outside one snapshot of the pool.
    pub family: Option<Family>,
}

/// The number of a set of nodes that one operator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub u32);

impl MixNode {
    /// A node of no known family.
    #[must_use]
    pub fn new(address: HopAddress, key: PublicKey) -> Self {
        Self { address, key, family: None }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::testing::{node, nodes, peer, rng};

    #[test]
    fn the_destination_is_the_exit() {
        let pool = nodes(6);
        let path = forward_path(&mut rng(1), &pool, &peer(99), &peer(3)).unwrap();
        assert_eq!(path[2], pool[3]);
    }

    #[test]
    fn a_destination_beyond_the_exit_is_no_hop_and_need_not_be_known() {
        let pool = nodes(4);
        for seed in 0..50 {
            let path = forward_path_to(&mut rng(seed), &pool, &peer(99), &peer(2)).unwrap();
            assert!(path.iter().all(|hop| hop.peer() != peer(2)));
        }
        assert!(forward_path_to(&mut rng(1), &pool, &peer(99), &peer(77)).is_ok());
    }

    #[test]
    fn a_reply_path_ends_at_the_sender_and_avoids_the_excluded() {
        let pool = nodes(5);
        for seed in 0..50 {
            let path = reply_path(&mut rng(seed), &pool, &node(99), &[peer(0), peer(4)]).unwrap();
            assert_eq!(path[2], node(99));
            assert!(path[..2].iter().all(|hop| ![peer(0), peer(4)].contains(&hop.peer())));
        }
    }

    #[test]
    fn relay_addresses_are_fine() {
        let mut pool = nodes(4);
        for entry in &mut pool {
            let circuit = format!("/ip4/10.0.0.1/tcp/1/p2p/{}/p2p-circuit", peer(50));
            entry.address = HopAddress::from_multiaddr(&circuit.parse().unwrap(), entry.peer()).unwrap();
        }
        assert!(forward_path(&mut rng(1), &pool, &peer(99), &peer(0)).is_ok());
    }

    #[test]
    fn an_exit_must_be_known_and_another_node() {
        let pool = nodes(6);
        for (me, exit) in [(peer(99), peer(98)), (peer(1), peer(1))] {
            let outcome = forward_path(&mut rng(1), &pool, &me, &exit);
            assert_eq!(outcome, Err(PathError::ExitUnknown));
        }
    }

    #[test]
    fn says_how_many_nodes_are_usable_and_how_many_are_needed() {
        // Three nodes, one of them listed three times, and the sender itself.
        let mut pool = nodes(4);
        pool.extend([node(1), node(1)]);
        let too_small = |usable, needed| Some(PathError::PoolTooSmall { usable, needed });
        let mut rng = rng(1);
        let forward = forward_path(&mut rng, &pool, &peer(0), &peer(1));
        assert_eq!(forward.err(), too_small(3, MIN_POOL));
        let beyond = forward_path_to(&mut rng, &pool, &peer(0), &peer(3));
        assert_eq!(beyond.err(), too_small(2, 3));
        let reply = reply_path(&mut rng, &pool, &node(0), &[peer(1), peer(3)]);
        assert_eq!(reply.err(), too_small(1, 2));
        assert_eq!(reply_path(&mut rng, &[], &node(0), &[]).err(), too_small(0, 2));
    }

    #[test]
    fn every_ordered_pair_of_first_hops_is_equally_likely() {
        // Exit 0, so 7·6 = 42 pairs from the other seven; 41 degrees of freedom, the 99.9 % quantile is 74.7.
        let pool = nodes(9);
        let (me, exit) = (peer(8), peer(0));
        let draws = 21_000_u32;
        let mut counts = HashMap::new();
        let mut rng = rng(7);
        for _ in 0..draws {
            let [first, second, _] = forward_path(&mut rng, &pool, &me, &exit).unwrap();
            *counts.entry((first.peer(), second.peer())).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 42);
        let expected = f64::from(draws) / 42.0;
        let chi_square: f64 = counts.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        assert!(chi_square < 74.7, "chi square {chi_square}");
    }

    proptest! {
        #[test]
        fn paths_are_sound_whenever_they_exist(
            seed: u64,
            listed in proptest::collection::vec(0..12_u16, 0..16),
            me in 0..12_u16,
            other in 0..12_u16,
        ) {
            let pool: Vec<_> = listed.iter().map(|&seed| node(seed)).collect();
            let distinct = |excluded: &[u16]| {
                let usable = listed.iter().filter(|seed| !excluded.contains(seed));
                usable.collect::<std::collections::BTreeSet<_>>().len()
            };
            let mut rng = rng(seed);

            let is_possible = me != other && listed.contains(&other) && distinct(&[me]) >= MIN_POOL;
            let path = forward_path(&mut rng, &pool, &peer(me), &peer(other));
            prop_assert_eq!(path.is_ok(), is_possible);
            if let Ok(path) = path {
                prop_assert!(is_sound_forward_path(&path, &peer(me)));
                prop_assert_eq!(path[2].peer(), peer(other));
            }

            let path = forward_path_to(&mut rng, &pool, &peer(me), &peer(other));
            prop_assert_eq!(path.is_ok(), distinct(&[me, other]) >= 3);
            if let Ok(path) = path {
                prop_assert!(is_sound_forward_path(&path, &peer(me)));
                prop_assert!(is_sound_forward_path(&path, &peer(other)));
            }

            let path = reply_path(&mut rng, &pool, &node(me), &[peer(other)]);
            prop_assert_eq!(path.is_ok(), distinct(&[me, other]) >= 2);
            if let Ok(path) = path {
                prop_assert!(is_sound_reply_path(&path, &peer(me)));
                prop_assert!(me == other || path.iter().all(|hop| hop.peer() != peer(other)));
            }
        }
    }
}
