//! Which exit, which paths, which reply paths: decided from one directory snapshot (`spec/mix-wire.md §11.1`, `§13`).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::{
    HopAddress, LoopPlace, MIN_POOL, MixNode, PathError, Preference, forward_path, forward_path_to, loop_path, random,
    reply_path,
};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, FormatKind, PATH_LEN, PacketFormat};
use wakumix_waku::PubsubTopic;

use crate::{
    ClientError, DirectorySnapshot, ServiceEntry, ServiceKind,
    layout::{self, PacketLayout, Protection},
    return_route::{Connected, ReturnRoute},
};

/// Everything about a try that depends on the directory.
#[derive(Debug)]
pub(crate) struct Route {
    /// The format of its packets.
    pub(crate) kind: FormatKind,
    /// The service that is asked: the exit, or one beyond it.
    pub(crate) service: PeerId,
    /// Where the exit passes the request on to; all zero when it serves the request itself.
    pub(crate) destination: AddressBytes,
    /// What travels in each packet.
    pub(crate) layout: PacketLayout,
    /// A pair for each packet.
    pub(crate) pairs: Vec<PathPair>,
}

/// The path of one packet and those of the answers through its reply blocks.
#[derive(Debug)]
pub(crate) struct PathPair {
    /// To the exit.
    pub(crate) forward: [MixNode; PATH_LEN],
    /// Back, one for each reply block.
    pub(crate) reply: Vec<[MixNode; PATH_LEN]>,
}

/// What a request is for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The kind of service.
    pub(crate) service: ServiceKind,
    /// The protocol that the exit is to speak.
    pub(crate) codec: &'a str,
    /// The exit, if the caller names one.
    pub(crate) exit: Option<PeerId>,
    /// Where it is wanted, if that is known: then exits must serve it as far as is known.
    pub(crate) topic: Option<&'a PubsubTopic>,
    /// Bytes of the framed request.
    pub(crate) len: usize,
}

/// What earlier tries of a request have shown. Bounded by their number.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// How often each service was asked.
    pub(crate) asked: BTreeMap<PeerId, u32>,
    /// Services that said that they cannot, or that have done it where another is to say so too.
    pub(crate) refused: BTreeSet<PeerId>,
    /// Hops of tries without answer, and of those after which another service is to say the same.
    pub(crate) hops: BTreeSet<PeerId>,
}

/// What a route is chosen from.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) directory: &'a DirectorySnapshot,
    pub(crate) connected: &'a Connected,
    pub(crate) return_route: &'a ReturnRoute,
    /// The formats of this node, the one that it prefers first.
    pub(crate) formats: &'a [Arc<dyn PacketFormat>],
    /// How reliable nodes are, as this node has seen.
    pub(crate) weight: &'a dyn Fn(&PeerId) -> f64,
}

impl Route {
    /// How many answers can come back.
    pub(crate) fn reply_blocks(&self) -> usize {
        self.pairs.iter().map(|pair| pair.reply.len()).sum()
    }

    /// Where the packets become a request again: at the service, or in front of it.
    pub(crate) fn exit(&self) -> PeerId {
        self.pairs.first().map_or(self.service, |pair| pair.forward[PATH_LEN - 1].peer())
    }

    /// Every hop of its paths but this node.
    pub(crate) fn hops(&self) -> impl Iterator<Item = PeerId> {
        let there = self.pairs.iter().flat_map(|pair| &pair.forward);
        let back = self.pairs.iter().flat_map(|pair| &pair.reply).flat_map(|path| &path[..PATH_LEN - 1]);
        there.chain(back).map(MixNode::peer)
    }
}

/// Chooses the paths of one try: in the first format that carries it, to a service that was asked least, over hops that no
/// try without answer had, as far as the pool allows.
///
/// # Errors
/// [`ClientError::PoolTooSmall`], [`ClientError::ExitUnknown`], [`ClientError::NoExit`], [`ClientError::NoConnectedHop`],
/// [`ClientError::TooLarge`] with the most that fits towards any exit in any format.
pub(crate) fn choose<R: CryptoRng>(
    rng: &mut R,
    around: Surroundings<'_>,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<Route, ClientError> {
    let mut problem = None;
    for format in around.formats {
        match choose_in(rng, &**format, around, wanted, protection, history) {
            Ok(route) => return Ok(route),
            Err(failure) => problem = Some(worse(problem, failure)),
        }
    }
    Err(problem.unwrap_or(ClientError::Internal("no packet format")))
}

/// What to say of two formats that do not serve: the size if that is what hinders one of them, else the first.
fn worse(one: Option<ClientError>, other: ClientError) -> ClientError {
    match (one, other) {
        (None, other) => other,
        (Some(ClientError::TooLarge { size, limit }), ClientError::TooLarge { limit: more, .. }) => {
            ClientError::TooLarge { size, limit: limit.max(more) }
        }
        (Some(one @ ClientError::TooLarge { .. }), _) => one,
        (Some(_), other @ ClientError::TooLarge { .. }) => other,
        (Some(one), _) => one,
    }
}

fn choose_in<R: CryptoRng>(
    rng: &mut R,
    format: &dyn PacketFormat,
    around: Surroundings<'_>,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<Route, ClientError> {
    let kind = format.wire().kind();
    let (directory, me) = (around.directory, &around.return_route.me);
    let pool = Pool { nodes: speaking(&directory.mix_nodes, kind), directory, me: me.peer() };
    let (target, layout) = target(rng, &pool, format, wanted, protection, history)?;
    let mut paths = Paths { pool: &pool, around, there: history.hops.clone(), back: history.hops.clone() };
    let (service, destination) = match &target {
        Target::Exit(exit) => (*exit, [0; ADDRESS_LEN]),
        Target::Beyond(service) => (service.peer(), service.encode()),
    };
    let pairs = (0..layout.packets()).map(|_| paths.pair(rng, &target, layout.surbs())).collect::<Result<_, _>>()?;
    Ok(Route { kind, service, destination, layout, pairs })
}

/// The pool as one format sees it.
struct Pool<'a> {
    nodes: Cow<'a, [MixNode]>,
    directory: &'a DirectorySnapshot,
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

/// The paths of one try, drawn one after the other so that they share as few hops as the pool allows.
struct Paths<'a> {
    pool: &'a Pool<'a>,
    around: Surroundings<'a>,
    /// Hops that the next path to the exit avoids.
    there: BTreeSet<PeerId>,
    /// Hops that the next reply path avoids.
    back: BTreeSet<PeerId>,
}

impl Paths<'_> {
    fn pair<R: CryptoRng>(&mut self, rng: &mut R, target: &Target, surbs: usize) -> Result<PathPair, ClientError> {
        let (forward, excluded) = self.forward(rng, target)?;
        let reply = (0..surbs).map(|_| self.reply(rng, &excluded)).collect::<Result<_, _>>()?;
        Ok(PathPair { forward, reply })
    }

    /// The path, and the peers that reply paths leave out.
    fn forward<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        target: &Target,
    ) -> Result<([MixNode; PATH_LEN], Vec<PeerId>), ClientError> {
        let (nodes, me) = (&self.pool.nodes, &self.around.return_route.me);
        let preference = Preference::NONE.weighted(self.around.weight).avoiding(&self.there);
        let (peer, drawn) = match target {
            Target::Exit(exit) => (*exit, forward_path(rng, nodes, me, exit, preference)),
            Target::Beyond(service) => (service.peer(), forward_path_to(rng, nodes, me, &service.peer(), preference)),
        };
        let path = drawn.map_err(|error| failure(error, self.around.directory, ClientError::ExitUnknown(peer)))?;
        let [first, second, exit] = path.each_ref().map(MixNode::peer);
        self.there.extend([first, second]);
        Ok((path, if exit == peer { vec![exit] } else { vec![exit, peer] }))
    }

    fn reply<R: CryptoRng>(&mut self, rng: &mut R, excluded: &[PeerId]) -> Result<[MixNode; PATH_LEN], ClientError> {
        let Surroundings { return_route, directory, connected, .. } = self.around;
        let last = return_route.last_hops(directory, connected, excluded);
        let preference = Preference::NONE.weighted(self.around.weight).avoiding(&self.back);
        let drawn = reply_path(rng, &self.pool.nodes, &return_route.me, excluded, last, preference);
        let path =
            drawn.map_err(|error| failure(error, directory, ClientError::NodeUnknown(return_route.me.peer())))?;
        self.back.extend(path[..PATH_LEN - 1].iter().map(MixNode::peer));
        Ok(path)
    }
}

/// Chooses the path of a loop. A node that cannot be the last hop before this one is passed first.
///
/// # Errors
/// [`ClientError::NodeUnknown`], [`ClientError::PoolTooSmall`], [`ClientError::NoConnectedHop`].
pub(crate) fn choose_loop<R: CryptoRng>(
    rng: &mut R,
    directory: &DirectorySnapshot,
    connected: &Connected,
    return_route: &ReturnRoute,
    kind: FormatKind,
    (through, place): (PeerId, LoopPlace),
) -> Result<[MixNode; PATH_LEN], ClientError> {
    let nodes = speaking(&directory.mix_nodes, kind);
    let last = return_route.last_hops(directory, connected, &[]);
    let mut path = |place| loop_path(rng, &nodes, &return_route.me, &through, place, last, Preference::NONE);
    let chosen = match path(place) {
        Err(PathError::NoConnectedHop) if place == LoopPlace::Second => path(LoopPlace::First),
        chosen => chosen,
    };
    chosen.map_err(|error| failure(error, directory, ClientError::NodeUnknown(through)))
}

/// Why the pool carries no request of the node `me`, if it does not.
pub(crate) fn pool_problem(directory: &DirectorySnapshot, me: &PeerId) -> Option<ClientError> {
    let usable = usable_nodes(directory, me);
    (usable < MIN_POOL).then(|| too_small(directory, usable, MIN_POOL))
}

/// Different nodes of the pool, this node not counted.
fn usable_nodes(directory: &DirectorySnapshot, me: &PeerId) -> usize {
    let mut peers: Vec<_> = directory.mix_nodes.iter().map(MixNode::peer).filter(|peer| peer != me).collect();
    peers.sort_unstable();
    peers.dedup();
    peers.len()
}

/// Whether some service of a kind can be reached, as exit or beyond one.
pub(crate) fn has_service(directory: &DirectorySnapshot, me: &PeerId, kind: ServiceKind) -> bool {
    let can_be_reached = |node: &ServiceEntry| is_exit(directory, node) || node.address.is_some();
    directory.services.iter().any(|node| node.kind == kind && node.peer != *me && can_be_reached(node))
}

/// What the last hop does with a request.
#[derive(Debug)]
enum Target {
    /// Serves it.
    Exit(PeerId),
    /// Passes it on to a service outside the pool; any node of the pool will do as the exit.
    Beyond(HopAddress),
}

/// An exit that serves the request itself is preferred: there it is read by one party less. Of such exits those that
/// were asked least are equally likely, so that the directory's order does not gather everybody's requests at one of them.
fn target<R: CryptoRng>(
    rng: &mut R,
    pool: &Pool<'_>,
    format: &dyn PacketFormat,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<(Target, PacketLayout), ClientError> {
    let unless_small = |failure| pool_problem(pool.directory, &pool.me).unwrap_or(failure);
    let (codec, len) = (wanted.codec, wanted.len);
    let whole = layout::whole(format, codec, len, protection);
    let layout = |node: &MixNode| {
        let in_parts = || layout::fragments(format, codec, len, protection).filter(|_| node.reassembles);
        whole.or_else(in_parts)
    };
    let too_large = |reassembles| {
        let limit = layout::longest(format, codec, reassembles);
        ClientError::TooLarge { size: len, limit }
    };
    if let Some(exit) = wanted.exit {
        let node = pool.node(&exit).filter(|_| !history.refused.contains(&exit));
        let node = node.ok_or_else(|| unless_small(ClientError::ExitUnknown(exit)))?;
        let layout = layout(node).ok_or_else(|| too_large(node.reassembles))?;
        return Ok((Target::Exit(exit), layout));
    }
    let serves = |node: &&ServiceEntry| {
        let is_wanted = node.kind == wanted.service && wanted.topic.is_none_or(|topic| node.may_serve(topic));
        is_wanted && node.peer != pool.me && !history.refused.contains(&node.peer)
    };
    let services = || pool.directory.services.iter().filter(serves);
    let exits: Vec<_> = services().filter_map(|service| pool.node(&service.peer)).collect();
    let able = exits.iter().filter_map(|node| Some((node.peer(), layout(node)?)));
    if let Some((exit, layout)) = least_asked(rng, able, history) {
        return Ok((Target::Exit(exit), layout));
    }
    let beyond = services().filter(|service| !is_exit(pool.directory, service));
    let beyond = beyond.filter_map(|service| Some((service.peer, (service.address.clone()?, whole?))));
    if let Some((_, (service, layout))) = least_asked(rng, beyond, history) {
        return Ok((Target::Beyond(service), layout));
    }
    if !exits.is_empty() || (whole.is_none() && services().any(|service| service.address.is_some())) {
        return Err(unless_small(too_large(exits.iter().any(|node| node.reassembles))));
    }
    Err(unless_small(ClientError::NoExit { service: wanted.service, topic: wanted.topic.cloned() }))
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

fn is_exit(directory: &DirectorySnapshot, node: &ServiceEntry) -> bool {
    directory.mix_node(&node.peer).is_some()
}

/// `unknown` is what it means that a node is not in the pool.
fn failure(error: PathError, directory: &DirectorySnapshot, unknown: ClientError) -> ClientError {
    match error {
        PathError::PoolTooSmall { usable, needed } => too_small(directory, usable, needed),
        PathError::NodeUnknown => unknown,
        PathError::NoConnectedHop => ClientError::NoConnectedHop,
    }
}

fn too_small(directory: &DirectorySnapshot, usable: usize, needed: usize) -> ClientError {
    ClientError::PoolTooSmall { usable, needed, others: directory.pool }
}

#[cfg(test)]
mod tests;
