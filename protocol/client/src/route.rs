//! Which exit, which paths, which reply paths: decided from one directory snapshot (`spec/mix-wire.md §11.1`, §13).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::{
    Beside, HopAddress, LastHop, LoopPlace, MIN_POOL, MixNode, MixPool, Party, PathError, Preference, draw_apart,
    forward_path, forward_path_to, loop_path, random, reply_path,
};
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, FormatKind, PATH_LEN, PacketFormat};
use wakumix_waku::PubsubTopic;

use crate::{
    ClientError, DirectorySnapshot, ServiceEntry, ServiceKind,
    layout::{self, PacketLayout, Protection},
    network::Network,
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
    pub(crate) network: &'a Network,
    pub(crate) connected: &'a Connected,
    pub(crate) return_route: &'a ReturnRoute,
    /// The formats of this node, the one that it prefers first.
    pub(crate) formats: &'a [Arc<dyn PacketFormat>],
    /// The guards that the route may use, the one to be used first; `None` for a node that draws its own first hops.
    pub(crate) guards: Option<&'a [PeerId]>,
    /// How reliable nodes are, as this node has seen.
    pub(crate) weight: &'a dyn Fn(&PeerId) -> f64,
}

impl Route {
    /// How many answers can come back.
    pub(crate) fn reply_blocks(&self) -> usize {
        self.pairs.iter().map(|pair| pair.reply.len()).sum()
    }

    /// The nodes that see this one: first hops, and last hops of replies.
    pub(crate) fn ends(&self) -> impl Iterator<Item = PeerId> {
        let first = self.pairs.iter().map(|pair| &pair.forward[0]);
        let last = self.pairs.iter().flat_map(|pair| &pair.reply).map(|path| &path[PATH_LEN - 2]);
        first.chain(last).map(MixNode::peer)
    }

    /// The first hop; with a guard all its paths have the same.
    pub(crate) fn first_hop(&self) -> Option<PeerId> {
        self.pairs.first().map(|pair| pair.forward[0].peer())
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
/// [`ClientError::NoGuard`], [`ClientError::TooLarge`] with the most that fits towards any exit in any format.
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
    let Some(guards) = around.guards else {
        return choose_over(rng, format, around, wanted, protection, history, None);
    };
    let pool = around.network.pool(format.wire().kind());
    let mut problem = None;
    for guard in guards.iter().filter(|guard| wanted.exit != Some(**guard)).filter_map(|guard| pool.node(guard)) {
        match choose_over(rng, format, around, wanted, protection, history, Some(guard)) {
            // It may be the only exit that is able to, so another guard has to do.
            Err(failure @ (ClientError::NoExit { .. } | ClientError::TooLarge { .. })) => problem = Some(failure),
            chosen => return chosen,
        }
    }
    Err(problem.unwrap_or_else(|| no_guard(around.network.directory())))
}

fn choose_over<R: CryptoRng>(
    rng: &mut R,
    format: &dyn PacketFormat,
    around: Surroundings<'_>,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
    guard: Option<&MixNode>,
) -> Result<Route, ClientError> {
    let (network, me) = (around.network, &around.return_route.me);
    let kind = format.wire().kind();
    let pool = Pool { mix: network.pool(kind), directory: network.directory(), me: me.peer(), guard };
    let (target, layout) = target(rng, &pool, format, wanted, protection, history)?;
    let mut paths = Paths { pool: &pool, around, there: history.hops.clone(), back: history.hops.clone() };
    let (service, destination) = match &target {
        Target::Exit(exit) => (*exit, [0; ADDRESS_LEN]),
        Target::Beyond(service) => (service.peer(), service.encode()),
    };
    let pairs = (0..layout.packets()).map(|_| paths.pair(rng, &target, layout.surbs())).collect::<Result<_, _>>()?;
    Ok(Route { kind, service, destination, layout, pairs })
}

/// The pool as one format sees it, and the guard of the route.
struct Pool<'a> {
    mix: &'a MixPool,
    directory: &'a DirectorySnapshot,
    me: PeerId,
    guard: Option<&'a MixNode>,
}

impl<'a> Pool<'a> {
    /// A node that may be the exit: neither this one nor the guard.
    fn exit(&self, peer: &PeerId) -> Option<&'a MixNode> {
        let is_guard = self.guard.is_some_and(|guard| guard.peer() == *peer);
        self.mix.node(peer).filter(|_| *peer != self.me && !is_guard)
    }
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
        let forward = self.forward(rng, target)?;
        let [first, second, exit] = forward.each_ref().map(Party::from);
        let ends = match target {
            Target::Exit(_) => vec![exit],
            Target::Beyond(service) => vec![exit, service.into()],
        };
        let beside = Beside { ends: &ends, hops: &[first, second] };
        let reply = (0..surbs).map(|_| self.reply(rng, beside)).collect::<Result<_, _>>()?;
        Ok(PathPair { forward, reply })
    }

    fn forward<R: CryptoRng>(&mut self, rng: &mut R, target: &Target) -> Result<[MixNode; PATH_LEN], ClientError> {
        let (mix, me) = (self.pool.mix, &self.around.return_route.me);
        let guard = self.pool.guard.map(MixNode::peer);
        let preference = Preference::NONE.weighted(self.around.weight).avoiding(&self.there);
        let (peer, drawn) = match target {
            Target::Exit(exit) => (*exit, forward_path(rng, mix, me, guard.as_ref(), exit, preference)),
            Target::Beyond(service) => {
                (service.peer(), forward_path_to(rng, mix, me, guard.as_ref(), &service.into(), preference))
            }
        };
        let path = drawn.map_err(|error| failure(error, self.pool.directory, ClientError::ExitUnknown(peer)))?;
        self.there.extend(path[..PATH_LEN - 1].iter().map(MixNode::peer));
        Ok(path)
    }

    fn reply<R: CryptoRng>(&mut self, rng: &mut R, beside: Beside<'_>) -> Result<[MixNode; PATH_LEN], ClientError> {
        let Surroundings { return_route, connected, .. } = self.around;
        let directory = self.pool.directory;
        let guard = self.pool.guard.map(MixNode::peer);
        let excluded: Vec<_> = beside.ends.iter().map(Party::peer).collect();
        let last = match (&guard, return_route.last_hops(directory, connected, &excluded)) {
            (Some(guard), _) => LastHop::Guard(guard),
            (None, Some(connected)) => LastHop::Among(connected),
            (None, None) => LastHop::Any,
        };
        let preference = Preference::NONE.weighted(self.around.weight).avoiding(&self.back);
        let drawn = reply_path(rng, self.pool.mix, &return_route.me, beside, last, preference);
        let path =
            drawn.map_err(|error| failure(error, directory, ClientError::NodeUnknown(return_route.me.peer())))?;
        self.back.extend(path[..PATH_LEN - 1].iter().map(MixNode::peer));
        Ok(path)
    }
}

/// Chooses the path of a loop. A node that cannot be the last hop before this one is passed first. With guards both nodes are
/// such.
///
/// # Errors
/// [`ClientError::NodeUnknown`], [`ClientError::PoolTooSmall`], [`ClientError::NoConnectedHop`], [`ClientError::NotAGuard`].
pub(crate) fn choose_loop<R: CryptoRng>(
    rng: &mut R,
    around: Surroundings<'_>,
    kind: FormatKind,
    (through, place): (PeerId, LoopPlace),
) -> Result<[MixNode; PATH_LEN], ClientError> {
    let Surroundings { network, connected, return_route, guards, .. } = around;
    let (pool, directory) = (network.pool(kind), network.directory());
    let guards: Option<BTreeSet<PeerId>> = guards.map(|guards| guards.iter().copied().collect());
    let is_guard = guards.as_ref().is_none_or(|guards| guards.contains(&through));
    if !is_guard && pool.node(&through).is_some() {
        return Err(ClientError::NotAGuard(through));
    }
    let last = guards.as_ref().or_else(|| return_route.last_hops(directory, connected, &[]));
    let mut path = |place| loop_path(rng, pool, &return_route.me, &through, place, last, Preference::NONE);
    let chosen = match path(place) {
        Ok([drawn, through, me]) if guards.as_ref().is_some_and(|guards| !guards.contains(&drawn.peer())) => {
            path(LoopPlace::First).map(|[_, drawn, _]| [drawn, through, me])
        }
        Err(PathError::NoConnectedHop) if place == LoopPlace::Second => path(LoopPlace::First),
        chosen => chosen,
    };
    chosen.map_err(|error| failure(error, directory, ClientError::NodeUnknown(through)))
}

/// Why the pool carries no request of the node `me`, if it does not.
pub(crate) fn pool_problem(directory: &DirectorySnapshot, me: &PeerId, min_subnets: usize) -> Option<ClientError> {
    let usable = usable_nodes(directory, me);
    if usable < MIN_POOL {
        return Some(too_small(directory, usable, MIN_POOL));
    }
    let found = directory.independent.filter(|found| *found < min_subnets)?;
    Some(ClientError::TooFewSubnets { found, needed: min_subnets })
}

/// Different nodes of the pool, this node not counted.
fn usable_nodes(directory: &DirectorySnapshot, me: &PeerId) -> usize {
    let mut peers: Vec<_> = directory.mix_nodes.iter().map(MixNode::peer).filter(|peer| peer != me).collect();
    peers.sort_unstable();
    peers.dedup();
    peers.len()
}

/// What it means that no guard is connected.
pub(crate) fn no_guard(directory: &DirectorySnapshot) -> ClientError {
    ClientError::NoGuard { sampled: directory.guards.as_ref().map_or(0, Vec::len) }
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
/// were asked least one is drawn, each by its share, in no /24 and no family of the guard where there are any.
fn target<R: CryptoRng>(
    rng: &mut R,
    pool: &Pool<'_>,
    format: &dyn PacketFormat,
    wanted: Wanted<'_>,
    protection: Protection,
    history: &History,
) -> Result<(Target, PacketLayout), ClientError> {
    let unless_small = |failure| pool_problem(pool.directory, &pool.me, 0).unwrap_or(failure);
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
        let node = pool.exit(&exit).filter(|_| !history.refused.contains(&exit));
        let node = node.ok_or_else(|| unless_small(ClientError::ExitUnknown(exit)))?;
        let layout = layout(node).ok_or_else(|| too_large(node.reassembles))?;
        return Ok((Target::Exit(exit), layout));
    }
    let serves = |node: &&ServiceEntry| {
        let is_wanted = node.kind == wanted.service && wanted.topic.is_none_or(|topic| node.may_serve(topic));
        is_wanted && node.peer != pool.me && !history.refused.contains(&node.peer)
    };
    let services = || pool.directory.services.iter().filter(serves);
    let exits: Vec<_> = services().filter_map(|service| pool.exit(&service.peer)).collect();
    let able = exits.iter().copied().filter(|node| layout(node).is_some()).collect();
    let able: Vec<_> = least_asked(able, MixNode::peer, history);
    let guard: Vec<_> = pool.guard.map(Party::from).into_iter().collect();
    if let Some(exit) = draw_apart(rng, &able, &guard, Preference::NONE)
        && let Some(layout) = layout(exit)
    {
        return Ok((Target::Exit(exit.peer()), layout));
    }
    let beyond = services().filter(|service| !is_exit(pool.directory, service));
    let beyond = beyond.filter_map(|service| service.address.as_ref().filter(|_| whole.is_some())).collect();
    let beyond = least_asked(beyond, |address| address.peer(), history);
    if let (Some(service), Some(layout)) = (draw_address(rng, &beyond), whole) {
        return Ok((Target::Beyond(service.clone()), layout));
    }
    if !exits.is_empty() || (whole.is_none() && services().any(|service| service.address.is_some())) {
        return Err(unless_small(too_large(exits.iter().any(|node| node.reassembles))));
    }
    Err(unless_small(ClientError::NoExit { service: wanted.service, topic: wanted.topic.cloned() }))
}

/// Those candidates that were asked least and, if that leaves any, were no hop of a try without answer.
fn least_asked<T: Copy>(candidates: Vec<T>, peer: impl Fn(T) -> PeerId, history: &History) -> Vec<T> {
    let asked = |candidate: &T| {
        let peer = peer(*candidate);
        (history.asked.get(&peer).copied().unwrap_or(0), history.hops.contains(&peer))
    };
    let least = candidates.iter().map(asked).min();
    candidates.into_iter().filter(|candidate| Some(asked(candidate)) == least).collect()
}

/// One of the addresses, each /24 being equally likely.
fn draw_address<'a, R: CryptoRng>(rng: &mut R, addresses: &[&'a HopAddress]) -> Option<&'a HopAddress> {
    let mut subnets: BTreeMap<[u8; 3], Vec<&'a HopAddress>> = BTreeMap::new();
    for address in addresses {
        let [a, b, c, _] = address.ip().octets();
        subnets.entry([a, b, c]).or_default().push(address);
    }
    let subnets: Vec<_> = subnets.into_values().collect();
    let subnet = (!subnets.is_empty()).then(|| &subnets[random::index(rng, subnets.len())])?;
    Some(subnet[random::index(rng, subnet.len())])
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
