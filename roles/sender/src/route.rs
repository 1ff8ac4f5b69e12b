//! Which exit, which path, which way back: decided from one directory snapshot, without I/O (`spec/mix-wire.md §11.1`,
//! `§13`).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use libp2p_identity::PeerId;
use rand::CryptoRng;
use wakumix_mix::{
    HopAddress, LoopPlace, MIN_POOL, MixNode, PathError, Preference, forward_path, forward_path_to, loop_path, random,
    reply_path,
};
use wakumix_role_api::{Directory, Formats, Served, directory::ServiceNode, sender::PushFailure};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, FormatKind, PATH_LEN};
use wakumix_waku::PubsubTopic;

use crate::{
    fit::{self, Carriage, Protection},
    way_back::WayBack,
};

/// Everything about a try that depends on the directory.
#[derive(Debug)]
pub(crate) struct Route {
    /// The format of its packets.
    pub(crate) kind: FormatKind,
    /// Who is asked: the exit, or the service beyond it.
    pub(crate) service: PeerId,
    /// Where the exit passes the request on to; all zero when it serves the request itself.
    pub(crate) destination: AddressBytes,
    /// What travels in each packet.
    pub(crate) carriage: Carriage,
    /// A leg for each packet.
    pub(crate) legs: Vec<Leg>,
}

/// The ways of one packet and of the answers through its reply blocks.
#[derive(Debug)]
pub(crate) struct Leg {
    /// The way to the exit.
    pub(crate) path: [MixNode; PATH_LEN],
    /// A way back for each reply block.
    pub(crate) reply_paths: Vec<[MixNode; PATH_LEN]>,
}

/// Whom a request is for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The exit, if the caller names one.
    pub(crate) exit: Option<PeerId>,
    /// Where the message goes, if that is known: then other exits must serve it as far as they have told.
    pub(crate) topic: Option<&'a PubsubTopic>,
    /// Bytes of the framed request.
    pub(crate) len: usize,
}

/// What earlier tries of a request have shown. Bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// How often each service was asked.
    pub(crate) asked: BTreeMap<PeerId, u32>,
    /// Services that said that they cannot.
    pub(crate) refused: BTreeSet<PeerId>,
    /// Hops of tries without answer.
    pub(crate) hops: BTreeSet<PeerId>,
}

/// What a route is chosen from.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) directory: &'a Directory,
    pub(crate) way_back: &'a WayBack,
    pub(crate) formats: &'a Formats,
    /// How reliable nodes are, from this sender's own loops.
    pub(crate) weight: &'a dyn Fn(&PeerId) -> f64,
}

impl Route {
    /// How many answers can come back.
    pub(crate) fn reply_blocks(&self) -> usize {
        self.legs.iter().map(|leg| leg.reply_paths.len()).sum()
    }

    /// Every hop of its ways but the sender.
    pub(crate) fn hops(&self) -> impl Iterator<Item = PeerId> {
        let there = self.legs.iter().flat_map(|leg| &leg.path);
        let back = self.legs.iter().flat_map(|leg| &leg.reply_paths).flat_map(|path| &path[..PATH_LEN - 1]);
        there.chain(back).map(MixNode::peer)
    }
}

/// Chooses the ways of one try: in the first format that carries it, to a service that was asked least, over hops that no
/// try without answer had, as far as the pool allows.
///
/// # Errors
/// [`PushFailure::PoolTooSmall`], [`PushFailure::ExitUnknown`], [`PushFailure::NoExit`], [`PushFailure::NoConnectedHop`],
/// [`PushFailure::TooLarge`] with the most that fits towards any exit in any format.
pub(crate) fn choose<R: CryptoRng>(
    rng: &mut R,
    around: Surroundings<'_>,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<Route, PushFailure> {
    let mut problem = None;
    for served in around.formats.all() {
        match choose_in(rng, served, around, wanted, protection, history) {
            Ok(route) => return Ok(route),
            Err(failure) => problem = Some(worse(problem, failure)),
        }
    }
    Err(problem.unwrap_or(PushFailure::Internal("no packet format")))
}

/// What to tell of two formats that do not serve: the size if that is what hinders one of them, else the first.
fn worse(one: Option<PushFailure>, other: PushFailure) -> PushFailure {
    match (one, other) {
        (None, other) => other,
        (Some(PushFailure::TooLarge { size, limit }), PushFailure::TooLarge { limit: more, .. }) => {
            PushFailure::TooLarge { size, limit: limit.max(more) }
        }
        (Some(one @ PushFailure::TooLarge { .. }), _) => one,
        (Some(_), other @ PushFailure::TooLarge { .. }) => other,
        (Some(one), _) => one,
    }
}

fn choose_in<R: CryptoRng>(
    rng: &mut R,
    served: &Served,
    around: Surroundings<'_>,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<Route, PushFailure> {
    let kind = served.format.wire().kind();
    let (directory, me) = (around.directory, &around.way_back.me);
    let pool = Pool { nodes: speaking(&directory.mix_nodes, kind), directory, me: me.peer() };
    let (target, carriage) = target(rng, &pool, served, wanted, protection, history)?;
    let mut ways = Ways { pool: &pool, around, there: history.hops.clone(), back: history.hops.clone() };
    let (service, destination) = match &target {
        Target::Exit(exit) => (*exit, [0; ADDRESS_LEN]),
        Target::Beyond(service) => (service.peer(), service.encode()),
    };
    let legs = (0..carriage.packets()).map(|_| ways.leg(rng, &target, carriage.surbs())).collect::<Result<_, _>>()?;
    Ok(Route { kind, service, destination, carriage, legs })
}

/// The pool as one format sees it.
struct Pool<'a> {
    nodes: Cow<'a, [MixNode]>,
    directory: &'a Directory,
    me: PeerId,
}

impl Pool<'_> {
    fn node(&self, peer: &PeerId) -> Option<&MixNode> {
        self.nodes.iter().find(|node| node.peer() == *peer && *peer != self.me)
    }
}

/// The nodes that speak a kind of packet.
fn speaking(nodes: &[MixNode], kind: FormatKind) -> Cow<'_, [MixNode]> {
    if nodes.iter().all(|node| node.formats.contains(kind)) {
        return Cow::Borrowed(nodes);
    }
    nodes.iter().filter(|node| node.formats.contains(kind)).cloned().collect()
}

/// The ways of one try, drawn one after the other so that they share as few hops as the pool allows.
struct Ways<'a> {
    pool: &'a Pool<'a>,
    around: Surroundings<'a>,
    /// Hops that the next way to the exit avoids.
    there: BTreeSet<PeerId>,
    /// Hops that the next way back avoids.
    back: BTreeSet<PeerId>,
}

impl Ways<'_> {
    fn leg<R: CryptoRng>(&mut self, rng: &mut R, target: &Target, surbs: usize) -> Result<Leg, PushFailure> {
        let (path, excluded) = self.way_there(rng, target)?;
        let reply_paths = (0..surbs).map(|_| self.way_back(rng, &excluded)).collect::<Result<_, _>>()?;
        Ok(Leg { path, reply_paths })
    }

    /// The path, and the peers that ways back leave out.
    fn way_there<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        target: &Target,
    ) -> Result<([MixNode; PATH_LEN], Vec<PeerId>), PushFailure> {
        let (nodes, me) = (&self.pool.nodes, &self.around.way_back.me);
        let preference = Preference::NONE.weighted(self.around.weight).avoiding(&self.there);
        let (peer, drawn) = match target {
            Target::Exit(exit) => (*exit, forward_path(rng, nodes, me, exit, preference)),
            Target::Beyond(service) => (service.peer(), forward_path_to(rng, nodes, me, &service.peer(), preference)),
        };
        let path = drawn.map_err(|error| failure(error, self.around.directory, PushFailure::ExitUnknown(peer)))?;
        let [first, second, exit] = path.each_ref().map(MixNode::peer);
        self.there.extend([first, second]);
        Ok((path, if exit == peer { vec![exit] } else { vec![exit, peer] }))
    }

    fn way_back<R: CryptoRng>(&mut self, rng: &mut R, excluded: &[PeerId]) -> Result<[MixNode; PATH_LEN], PushFailure> {
        let (way_back, directory) = (self.around.way_back, self.around.directory);
        let last = way_back.last_hops(directory, excluded);
        let preference = Preference::NONE.weighted(self.around.weight).avoiding(&self.back);
        let drawn = reply_path(rng, &self.pool.nodes, &way_back.me, excluded, last, preference);
        let path = drawn.map_err(|error| failure(error, directory, PushFailure::NodeUnknown(way_back.me.peer())))?;
        self.back.extend(path[..PATH_LEN - 1].iter().map(MixNode::peer));
        Ok(path)
    }
}

/// Chooses the way of a loop. A node that cannot be the last hop before this one is passed first.
///
/// # Errors
/// [`PushFailure::NodeUnknown`], [`PushFailure::PoolTooSmall`], [`PushFailure::NoConnectedHop`].
pub(crate) fn choose_loop<R: CryptoRng>(
    rng: &mut R,
    directory: &Directory,
    way_back: &WayBack,
    kind: FormatKind,
    through: PeerId,
    place: LoopPlace,
) -> Result<[MixNode; PATH_LEN], PushFailure> {
    let nodes = speaking(&directory.mix_nodes, kind);
    let last = way_back.last_hops(directory, &[]);
    let mut path = |place| loop_path(rng, &nodes, &way_back.me, &through, place, last, Preference::NONE);
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

/// What the last hop does with a request.
#[derive(Debug)]
enum Target {
    /// Serves it.
    Exit(PeerId),
    /// Passes it on to a service outside the pool; any node of the pool will do as the exit.
    Beyond(HopAddress),
}

/// An exit that serves lightpush itself is preferred: there the request is read by one party less. Of such exits those that
/// were asked least are equally likely, so that the directory's order does not gather everybody's requests at one of them.
fn target<R: CryptoRng>(
    rng: &mut R,
    pool: &Pool<'_>,
    served: &Served,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<(Target, Carriage), PushFailure> {
    let unless_small = |failure| pool_problem(pool.directory, &pool.me).unwrap_or(failure);
    let whole = fit::whole(&*served.format, wanted.len, protection);
    let carriage = |node: &MixNode| {
        let in_parts = || fit::fragments(&*served.format, wanted.len, protection).filter(|_| node.reassembles);
        whole.or_else(in_parts)
    };
    let too_large = |reassembles| {
        let limit = fit::longest(&*served.format, reassembles);
        PushFailure::TooLarge { size: wanted.len, limit }
    };
    if let Some(exit) = wanted.exit {
        let node = pool.node(&exit).filter(|_| !history.refused.contains(&exit));
        let node = node.ok_or_else(|| unless_small(PushFailure::ExitUnknown(exit)))?;
        let carriage = carriage(node).ok_or_else(|| too_large(node.reassembles))?;
        return Ok((Target::Exit(exit), carriage));
    }
    let serves = |node: &&ServiceNode| {
        let is_on_shard = wanted.topic.is_none_or(|topic| node.may_serve(topic.cluster(), topic.shard()));
        is_on_shard && node.peer != pool.me && !history.refused.contains(&node.peer)
    };
    let services = || pool.directory.lightpush.iter().filter(serves);
    let exits: Vec<_> = services().filter_map(|service| pool.node(&service.peer)).collect();
    let able = exits.iter().filter_map(|node| Some((node.peer(), carriage(node)?)));
    if let Some((exit, carriage)) = least_asked(rng, able, history) {
        return Ok((Target::Exit(exit), carriage));
    }
    let beyond = services().filter(|service| !is_exit(pool.directory, service)).filter_map(address);
    let beyond = beyond.filter_map(|address| Some((address.peer(), (address, whole?))));
    if let Some((_, (service, carriage))) = least_asked(rng, beyond, history) {
        return Ok((Target::Beyond(service), carriage));
    }
    if !exits.is_empty() || (whole.is_none() && services().any(|service| address(service).is_some())) {
        return Err(unless_small(too_large(exits.iter().any(|node| node.reassembles))));
    }
    let topic = wanted.topic.map(|topic| topic.as_str().to_owned());
    Err(unless_small(PushFailure::NoExit { topic }))
}

/// One of those candidates that were asked least and, if that leaves any, were no hop of a try without answer, each being
/// equally likely.
fn least_asked<R: CryptoRng, T>(
    rng: &mut R,
    candidates: impl Iterator<Item = (PeerId, T)>,
    history: &History,
) -> Option<(PeerId, T)> {
    let asked = |peer: &PeerId| (history.asked.get(peer).copied().unwrap_or(0), history.hops.contains(peer));
    let mut candidates: Vec<_> = candidates.collect();
    let least = candidates.iter().map(|(peer, _)| asked(peer)).min()?;
    candidates.retain(|(peer, _)| asked(peer) == least);
    let index = random::index(rng, candidates.len());
    Some(candidates.swap_remove(index))
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
