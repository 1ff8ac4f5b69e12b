//! Which exit, which path, which way back: decided from one directory snapshot, without I/O (`spec/mix-wire.md §11.1`,
//! `§13`).

use libp2p_identity::PeerId;
use rand::{CryptoRng, seq::IndexedRandom};
use wakumix_mix::{HopAddress, MIN_POOL, MixNode, PathError, forward_path, forward_path_to, reply_path};
use wakumix_role_api::{Directory, directory::ServiceNode, sender::PushFailure};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, PATH_LEN};

/// Everything about a request that depends on the directory.
pub(crate) struct Route {
    /// The way to the exit.
    pub(crate) path: [MixNode; PATH_LEN],
    /// Where the exit passes the request on to; all zero when it serves the request itself.
    pub(crate) destination: AddressBytes,
    /// A way back for each reply block.
    pub(crate) reply_paths: Vec<[MixNode; PATH_LEN]>,
}

/// What the last hop does with a request.
#[derive(Debug)]
enum Target {
    /// Serves it.
    Exit(PeerId),
    /// Passes it on to a service outside the pool; any node of the pool will do as the exit.
    Beyond(HopAddress),
}

/// Chooses the ways of one request of the node `me`, with `surbs` ways back.
///
/// # Errors
/// [`PushFailure::PoolTooSmall`], [`PushFailure::ExitUnknown`], [`PushFailure::NoExit`].
pub(crate) fn choose<R: CryptoRng>(
    rng: &mut R,
    directory: &Directory,
    me: &MixNode,
    exit: Option<PeerId>,
    surbs: usize,
) -> Result<Route, PushFailure> {
    let pool = &directory.mix_nodes;
    let (path, destination, excluded) = match target(rng, directory, &me.peer(), exit)? {
        Target::Exit(exit) => {
            let path = forward_path(rng, pool, &me.peer(), &exit).map_err(|error| failure(error, exit))?;
            (path, [0; ADDRESS_LEN], vec![exit])
        }
        Target::Beyond(service) => {
            let peer = service.peer();
            let path = forward_path_to(rng, pool, &me.peer(), &peer).map_err(|error| failure(error, peer))?;
            let excluded = vec![path[PATH_LEN - 1].peer(), peer];
            (path, service.encode(), excluded)
        }
    };
    let back = |_| reply_path(rng, pool, me, &excluded).map_err(|error| failure(error, me.peer()));
    let reply_paths = (0..surbs).map(back).collect::<Result<_, _>>()?;
    Ok(Route { path, destination, reply_paths })
}

/// Different nodes of the pool, this node not counted.
pub(crate) fn usable_nodes(directory: &Directory, me: &PeerId) -> usize {
    let mut peers: Vec<_> = directory.mix_nodes.iter().map(MixNode::peer).filter(|peer| peer != me).collect();
    peers.sort_unstable();
    peers.dedup();
    peers.len()
}

/// Whether some service can be reached, as exit or beyond one.
pub(crate) fn has_service(directory: &Directory, me: &PeerId) -> bool {
    directory.lightpush.iter().any(|node| node.peer != *me && (is_exit(directory, node) || address(node).is_some()))
}

/// An exit that serves lightpush itself is preferred: there the request is read by one party less. All such exits are
/// equally likely, so that the directory's order does not gather everybody's requests at one of them.
fn target<R: CryptoRng>(
    rng: &mut R,
    directory: &Directory,
    me: &PeerId,
    exit: Option<PeerId>,
) -> Result<Target, PushFailure> {
    let too_small = || {
        let usable = usable_nodes(directory, me);
        (usable < MIN_POOL).then_some(PushFailure::PoolTooSmall { usable, needed: MIN_POOL })
    };
    if let Some(exit) = exit {
        let known = directory.mix_node(&exit).is_some() && exit != *me;
        return if known { Ok(Target::Exit(exit)) } else { Err(too_small().unwrap_or(PushFailure::ExitUnknown(exit))) };
    }
    let others = || directory.lightpush.iter().filter(|node| node.peer != *me);
    let exits: Vec<_> = others().filter(|node| is_exit(directory, node)).collect();
    if let Some(exit) = exits.choose(rng) {
        return Ok(Target::Exit(exit.peer));
    }
    let beyond: Vec<_> = others().filter_map(address).collect();
    match beyond.choose(rng) {
        Some(service) => Ok(Target::Beyond(service.clone())),
        None => Err(too_small().unwrap_or(PushFailure::NoExit)),
    }
}

fn is_exit(directory: &Directory, node: &ServiceNode) -> bool {
    directory.mix_node(&node.peer).is_some()
}

/// The first address of a service that a header can carry.
fn address(node: &ServiceNode) -> Option<HopAddress> {
    node.addresses.iter().find_map(|address| HopAddress::from_multiaddr(address, node.peer).ok())
}

fn failure(error: PathError, exit: PeerId) -> PushFailure {
    match error {
        PathError::PoolTooSmall { usable, needed } => PushFailure::PoolTooSmall { usable, needed },
        PathError::ExitUnknown => PushFailure::ExitUnknown(exit),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::{SeedableRng, rngs::StdRng};
    use wakumix_mix::path::{is_sound_forward_path, is_sound_reply_path};
    use wakumix_sphinx::PrivateKey;

    use super::*;

    fn rng(seed: u64) -> StdRng {
        StdRng::seed_from_u64(seed)
    }

    fn peer(seed: u8) -> PeerId {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([seed + 1; 32]).unwrap();
        let keypair = libp2p_identity::secp256k1::Keypair::from(secret);
        libp2p_identity::Keypair::from(keypair).public().to_peer_id()
    }

    fn node(seed: u8) -> MixNode {
        let address = format!("/ip4/10.0.0.{seed}/tcp/4000").parse().unwrap();
        let key = PrivateKey::from_bytes([seed + 1; 32]).public();
        MixNode::new(HopAddress::from_multiaddr(&address, peer(seed)).unwrap(), key)
    }

    fn service(seed: u8, address: &str) -> ServiceNode {
        ServiceNode::new(peer(seed), vec![address.parse().unwrap()])
    }

    fn directory(pool: &[u8], services: &[u8]) -> Directory {
        Directory {
            mix_nodes: pool.iter().map(|&seed| node(seed)).collect(),
            lightpush: services.iter().map(|&seed| service(seed, "/ip4/10.0.0.9/tcp/4000")).collect(),
        }
    }

    fn chosen(directory: &Directory, exit: Option<u8>, seed: u64) -> Result<Route, PushFailure> {
        choose(&mut rng(seed), directory, &node(99), exit.map(peer), 3)
    }

    #[test]
    fn every_exit_that_serves_lightpush_is_chosen_sooner_or_later() {
        let directory = directory(&[0, 1, 2, 3, 4], &[3, 1, 77]);
        let exits: BTreeSet<_> = (0..50).map(|seed| chosen(&directory, None, seed).unwrap().path[2].peer()).collect();
        assert_eq!(exits, BTreeSet::from([peer(1), peer(3)]));
    }

    #[test]
    fn the_exit_asked_for_is_the_destination() {
        let route = chosen(&directory(&[0, 1, 2, 3, 4], &[1]), Some(4), 1).unwrap();
        assert_eq!(route.path[2], node(4));
        assert_eq!(route.destination, [0; ADDRESS_LEN]);
    }

    #[test]
    fn a_service_outside_the_pool_is_reached_beyond_an_exit() {
        for seed in 0..20 {
            let route = chosen(&directory(&[0, 1, 2, 3], &[77]), None, seed).unwrap();
            assert_eq!(HopAddress::decode(&route.destination).unwrap().peer(), peer(77));
            assert!(is_sound_forward_path(&route.path, &peer(77)));
        }
    }

    #[test]
    fn every_way_back_ends_here_and_avoids_the_exit() {
        let route = chosen(&directory(&[0, 1, 2, 3, 4], &[1]), None, 5).unwrap();
        assert_eq!(route.reply_paths.len(), 3);
        for path in &route.reply_paths {
            assert!(is_sound_reply_path(path, &peer(99)));
            assert!(path.iter().all(|node| node.peer() != peer(1)));
        }
    }

    #[test]
    fn this_node_is_no_exit_for_itself() {
        let directory = directory(&[0, 1, 2, 3, 99], &[99]);
        assert_eq!(chosen(&directory, None, 1).err(), Some(PushFailure::NoExit));
        assert_eq!(chosen(&directory, Some(99), 1).err(), Some(PushFailure::ExitUnknown(peer(99))));
        assert!(!has_service(&directory, &peer(99)));
    }

    #[test]
    fn a_small_pool_is_named_before_anything_that_follows_from_it() {
        let too_small = |usable| Some(PushFailure::PoolTooSmall { usable, needed: 4 });
        assert_eq!(chosen(&directory(&[], &[]), None, 1).err(), too_small(0));
        assert_eq!(chosen(&directory(&[0, 0, 1, 2, 99], &[2]), None, 1).err(), too_small(3));
        assert_eq!(chosen(&directory(&[0, 1], &[]), Some(7), 1).err(), too_small(2));
        let beyond = chosen(&directory(&[0, 1], &[77]), None, 1).err();
        assert_eq!(beyond, Some(PushFailure::PoolTooSmall { usable: 2, needed: 3 }));
    }

    #[test]
    fn without_a_service_there_is_no_exit() {
        let mut directory = directory(&[0, 1, 2, 3], &[]);
        assert_eq!(chosen(&directory, None, 1).err(), Some(PushFailure::NoExit));
        assert_eq!(chosen(&directory, Some(7), 1).err(), Some(PushFailure::ExitUnknown(peer(7))));
        directory.lightpush = vec![service(77, "/ip6/::1/tcp/4000")];
        assert_eq!(chosen(&directory, None, 1).err(), Some(PushFailure::NoExit), "no header carries that address");
    }
}
