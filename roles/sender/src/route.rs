//! Which exit, which path, which way back: decided from one directory snapshot, without I/O (`spec/mix-wire.md §11.1`,
//! `§13`).

use libp2p_identity::PeerId;
use rand::{CryptoRng, seq::IndexedRandom};
use wakumix_mix::{
    HopAddress, LoopPlace, MIN_POOL, MixNode, PathError, Preference, forward_path, forward_path_to, loop_path, reply_path,
};
use wakumix_role_api::{Directory, directory::ServiceNode, sender::PushFailure};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, PATH_LEN};
use wakumix_waku::PubsubTopic;

use crate::way_back::WayBack;

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

/// Whom a request is for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The exit, if the caller names one.
    pub(crate) exit: Option<PeerId>,
    /// Where the message goes, if that is known: then other exits must serve it as far as they have told.
    pub(crate) topic: Option<&'a PubsubTopic>,
}

/// Chooses the ways of one request, with `surbs` ways back.
///
/// # Errors
/// [`PushFailure::PoolTooSmall`], [`PushFailure::ExitUnknown`], [`PushFailure::NoExit`], [`PushFailure::NoConnectedHop`].
pub(crate) fn choose<R: CryptoRng>(
    rng: &mut R,
    directory: &Directory,
    way_back: &WayBack,
    wanted: Wanted<'_>,
    surbs: usize,
) -> Result<Route, PushFailure> {
    let (pool, me) = (&directory.mix_nodes, &way_back.me);
    let failed = |error, unknown| failure(error, directory, unknown);
    let (path, destination, excluded) = match target(rng, directory, &me.peer(), wanted)? {
        Target::Exit(exit) => {
            let unknown = PushFailure::ExitUnknown(exit);
            let path = forward_path(rng, pool, me, &exit, Preference::NONE).map_err(|error| failed(error, unknown))?;
            (path, [0; ADDRESS_LEN], vec![exit])
        }
        Target::Beyond(service) => {
            let (peer, unknown) = (service.peer(), PushFailure::ExitUnknown(service.peer()));
            let path = forward_path_to(rng, pool, me, &peer, Preference::NONE).map_err(|error| failed(error, unknown))?;
            let excluded = vec![path[PATH_LEN - 1].peer(), peer];
            (path, service.encode(), excluded)
        }
    };
    let last = way_back.last_hops(directory, &excluded);
    let back = |_| {
        let path = reply_path(rng, pool, me, &excluded, last, Preference::NONE);
        path.map_err(|error| failed(error, PushFailure::NodeUnknown(me.peer())))
    };
    let reply_paths = (0..surbs).map(back).collect::<Result<_, _>>()?;
    Ok(Route { path, destination, reply_paths })
}

/// Chooses the way of a loop. A node that cannot be the last hop before this one is passed first.
///
/// # Errors
/// [`PushFailure::NodeUnknown`], [`PushFailure::PoolTooSmall`], [`PushFailure::NoConnectedHop`].
pub(crate) fn choose_loop<R: CryptoRng>(
    rng: &mut R,
    directory: &Directory,
    way_back: &WayBack,
    through: PeerId,
    place: LoopPlace,
) -> Result<[MixNode; PATH_LEN], PushFailure> {
    let last = way_back.last_hops(directory, &[]);
    let mut path = |place| loop_path(rng, &directory.mix_nodes, &way_back.me, &through, place, last, Preference::NONE);
    let chosen = match path(place) {
        Err(PathError::NoConnectedHop) if place == LoopPlace::Second => path(LoopPlace::First),
        chosen => chosen,
    };
    chosen.map_err(|error| failure(error, directory, PushFailure::NodeUnknown(through)))
}

/// Why the pool carries no request of the node `me`, if it does not.
pub(crate) fn pool_problem(directory: &Directory, me: &PeerId) -> Option<PushFailure> {
    let usable = usable_nodes(directory, me);
    (usable < MIN_POOL).then(|| too_small(directory, usable, MIN_POOL))
}

/// Different nodes of the pool, this node not counted.
fn usable_nodes(directory: &Directory, me: &PeerId) -> usize {
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
    wanted: Wanted<'_>,
) -> Result<Target, PushFailure> {
    let unless_small = |failure| pool_problem(directory, me).unwrap_or(failure);
    if let Some(exit) = wanted.exit {
        let known = directory.mix_node(&exit).is_some() && exit != *me;
        return if known { Ok(Target::Exit(exit)) } else { Err(unless_small(PushFailure::ExitUnknown(exit))) };
    }
    let serves = |node: &&ServiceNode| wanted.topic.is_none_or(|topic| node.may_serve(topic.cluster(), topic.shard()));
    let others = || directory.lightpush.iter().filter(|node| node.peer != *me).filter(serves);
    let exits: Vec<_> = others().filter(|node| is_exit(directory, node)).collect();
    if let Some(exit) = exits.choose(rng) {
        return Ok(Target::Exit(exit.peer));
    }
    let beyond: Vec<_> = others().filter_map(address).collect();
    match beyond.choose(rng) {
        Some(service) => Ok(Target::Beyond(service.clone())),
        None => {
            let topic = wanted.topic.map(|topic| topic.as_str().to_owned());
            Err(unless_small(PushFailure::NoExit { topic }))
        }
    }
}

fn is_exit(directory: &Directory, node: &ServiceNode) -> bool {
    directory.mix_node(&node.peer).is_some()
}

/// The first address of a service that a header can carry.
fn address(node: &ServiceNode) -> Option<HopAddress> {
    node.addresses.iter().find_map(|address| HopAddress::from_multiaddr(address, node.peer).ok())
}

/// `unknown` is what it means that a node is not in the pool.
fn failure(error: PathError, directory: &Directory, unknown: PushFailure) -> PushFailure {
    match error {
        PathError::PoolTooSmall { usable, needed } => too_small(directory, usable, needed),
        PathError::NodeUnknown => unknown,
        PathError::NoConnectedHop => PushFailure::NoConnectedHop,
    }
}

fn too_small(directory: &Directory, usable: usize, needed: usize) -> PushFailure {
    PushFailure::PoolTooSmall { usable, needed, reason: directory.pool.to_string() }
}

#[cfg(test)]
mod tests;
