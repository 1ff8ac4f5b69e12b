//! The places for established connections: who gets one, and who gives his up.
//!
//! A node whose places are full is of no use to a newcomer unless somebody goes. Of the connections that remotes opened, the
//! one goes that carried no packet and no request for longest, once that is [`ConnectionLimits::grace`] ago. A newcomer takes
//! no place from an address or subnet that has fewer than its own, so one crowd never pushes out others; and a crowd that has
//! far more than the newcomer's gives one up even if it uses them all. One address never gets more than a quarter of the
//! places and one subnet never more than half, so neither fills a node. Addresses that many share are not counted.
//!
//! Most who come only look whether the node is there, and are gone a moment later. So some may come while all places are
//! taken, and need one only if they stay.
//!
//! Mix nodes that this node has reached where they say that they are stay like those that it dials, and take a place from
//! whoever is not one of them, up to half of all places: packets cannot go on where nobody lets them in.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    time::Duration,
};

use ipnet::IpNet;
use libp2p::{PeerId, swarm::ConnectionId};
use tokio::time::Instant;

use super::{Exceeded, last_use::LastUse, source::Source};
use crate::{config::ConnectionLimits, metrics::ConnectionRefusal};

/// A subnet counts half of what one address does: as many connections from two addresses are as likely to be of two users.
const ADDRESS_WEIGHT: usize = 2;
/// How many times as large as the newcomer's a crowd must be to give up a place that it uses.
const FAR_MORE: usize = 2;
/// Connections beyond the places that may be coming at a time, and going, or an eighth of the places. One that goes takes a
/// moment to read what has come.
const PASSING: usize = 8;
/// From when on who has come needs a place: a visit is a handshake and one request, under a second over continents.
const STAYS: Duration = Duration::from_secs(3);

/// How long a mix node is one after it was reached; they are visited every minute if nothing else is set.
const REACHED_FOR: Duration = Duration::from_secs(10 * 60);

/// Established connections. Bound: `limits.total`, and those that are coming or going.
pub(crate) struct Places {
    limits: ConnectionLimits,
    /// How many may be coming at a time, and how many going.
    passing: [usize; 2],
    held: HashMap<ConnectionId, Place>,
    peers: HashMap<PeerId, OfPeer>,
    /// Those that remotes opened and that are not on their way out, by where they come from.
    addresses: HashMap<IpNet, usize>,
    subnets: HashMap<IpNet, usize>,
    inbound: usize,
    coming: usize,
    leaving: usize,
    /// Peers whose connections stay: those that the node is to stay connected to, and those that it gossips with.
    needed: HashSet<PeerId>,
    /// Mix nodes, and when each was reached last. Bound: `limits.total`.
    reached: HashMap<PeerId, Instant>,
}

struct Place {
    peer: PeerId,
    /// Where the remote that opened it is; `None` outside for one that this node opened.
    inbound: Option<Option<Source>>,
    last_use: LastUse,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It has no place yet, and needs one if it is still there then.
    ComesUntil(Instant),
    Stays,
    Leaves,
}

#[derive(Default)]
struct OfPeer {
    connections: usize,
    dialled: usize,
}

/// Who wants a place.
#[derive(Clone, Copy)]
struct Newcomer {
    source: Option<Source>,
    /// A mix node that this node has reached.
    is_hop: bool,
}

/// A connection that gives its place up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaver {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
}

impl Places {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            passing: [PASSING.max(limits.inbound / 8); 2],
            limits,
            held: HashMap::new(),
            peers: HashMap::new(),
            addresses: HashMap::new(),
            subnets: HashMap::new(),
            inbound: 0,
            coming: 0,
            leaving: 0,
            needed: HashSet::new(),
            reached: HashMap::new(),
        }
    }

    /// From now on the connections of these peers stay, and of no others.
    pub(crate) fn need(&mut self, peers: HashSet<PeerId>) {
        self.needed = peers;
    }

    /// A mix node is where it says. It is one for as long as it is reached again and again; beyond the bound the newest are none.
    pub(crate) fn reached(&mut self, peer: PeerId, now: Instant) {
        self.reached.retain(|other, at| *other != peer && now.saturating_duration_since(*at) < REACHED_FOR);
        if self.reached.len() < self.limits.total {
            self.reached.insert(peer, now);
        }
    }

    /// Connections that remotes opened and that stay.
    pub(crate) fn inbound(&self) -> usize {
        self.inbound
    }

    /// Whether this node may have one more that it opened, and which connection makes room for it. Up to half of all places it
    /// takes those of remotes that are of no use; packets name whom it dials, so they shall not take more.
    pub(crate) fn admit_outbound(&mut self, peer: &PeerId, now: Instant) -> Result<Option<Leaver>, Exceeded> {
        self.check(ConnectionRefusal::PerPeer, self.of_peer(peer), self.limits.per_peer)?;
        let Err(exceeded) = self.check(ConnectionRefusal::Total, self.staying(), self.limits.total) else {
            return Ok(None);
        };
        let may_take = self.staying() - self.inbound < self.limits.total / 2;
        let newcomer = Newcomer { source: None, is_hop: false };
        let leaver = self.gives_way(exceeded.refusal, newcomer, now).filter(|_| may_take).ok_or(exceeded)?;
        self.sends_off(leaver.connection);
        Ok(Some(leaver))
    }

    /// Whether a remote may have one more, and which connection makes room for it. The caller closes that one.
    pub(crate) fn admit_inbound(
        &mut self,
        peer: &PeerId,
        source: Option<Source>,
        now: Instant,
    ) -> Result<Option<Leaver>, Exceeded> {
        self.check(ConnectionRefusal::PerPeer, self.of_peer(peer), self.limits.per_peer)?;
        let Err(exceeded) = self.has_room(source) else { return Ok(None) };
        let is_hop = self.is_hop(peer);
        let is_full = matches!(exceeded.refusal, ConnectionRefusal::Inbound | ConnectionRefusal::Total);
        if is_full && !is_hop && self.may_come(source) {
            return Ok(None);
        }
        let leaver = self.gives_way(exceeded.refusal, Newcomer { source, is_hop }, now).ok_or(exceeded)?;
        self.sends_off(leaver.connection);
        Ok(Some(leaver))
    }

    /// Whether one more may be coming from there: one address has a quarter of those, too, and one subnet half.
    fn may_come(&self, source: Option<Source>) -> bool {
        let [all, _] = self.passing;
        let coming = || self.held.values().filter(|place| matches!(place.standing, Standing::ComesUntil(_)));
        let from = |of: fn(Source) -> IpNet| coming().filter(|place| same(place.inbound.flatten(), source, of)).count();
        self.coming < all
            && from(|source| source.address) < all.div_ceil(4)
            && from(|source| source.subnet) < all.div_ceil(2)
    }

    /// Gives places to those who have come and stayed, first to whoever was of use last. Who goes for them, or finds no place
    /// himself and for what reason; the caller closes these.
    pub(crate) fn finish(&mut self, now: Instant) -> Vec<(Leaver, Option<ConnectionRefusal>)> {
        let is_due = |place: &Place| matches!(place.standing, Standing::ComesUntil(until) if until <= now);
        let due = self.held.iter().filter(|(_, place)| is_due(place));
        let mut due: Vec<_> = due.map(|(connection, place)| (Reverse(place.last_use.at()), *connection)).collect();
        due.sort_unstable();
        due.into_iter().filter_map(|(_, connection)| self.finish_one(connection, now)).collect()
    }

    fn finish_one(&mut self, connection: ConnectionId, now: Instant) -> Option<(Leaver, Option<ConnectionRefusal>)> {
        let place = self.held.get(&connection)?;
        let (peer, source, last_use) = (place.peer, place.inbound?, place.last_use.clone());
        let Err(exceeded) = self.has_room(source) else {
            self.stands(connection, Standing::Stays);
            return None;
        };
        let newcomer = Newcomer { source, is_hop: self.is_hop(&peer) };
        if let Some(leaver) = self.gives_way(exceeded.refusal, newcomer, now) {
            self.sends_off(leaver.connection);
            self.stands(connection, Standing::Stays);
            return Some((leaver, None));
        }
        let idle_at = last_use.at() + self.limits.grace;
        if last_use.was_used() && now < idle_at {
            self.stands(connection, Standing::ComesUntil(idle_at));
            return None;
        }
        self.sends_off(connection);
        Some((Leaver { peer, connection }, Some(exceeded.refusal)))
    }

    /// A connection is established.
    pub(crate) fn taken(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        inbound: Option<Option<Source>>,
        last_use: LastUse,
    ) {
        let of_peer = self.peers.entry(peer).or_default();
        of_peer.connections += 1;
        of_peer.dialled += usize::from(inbound.is_none());
        let has_room = inbound.is_none_or(|source| self.has_room(source).is_ok());
        // Counted by what follows.
        let standing = Standing::ComesUntil(last_use.at() + STAYS);
        self.coming += 1;
        self.held.insert(connection, Place { peer, inbound, last_use, standing });
        if has_room {
            self.stands(connection, Standing::Stays);
        }
    }

    /// A connection is closed.
    pub(crate) fn left(&mut self, connection: ConnectionId) {
        let Some(place) = self.held.remove(&connection) else { return };
        self.counts_as(&place, place.standing, false);
        if let Some(of_peer) = self.peers.get_mut(&place.peer) {
            of_peer.connections -= 1;
            of_peer.dialled -= usize::from(place.inbound.is_none());
            if of_peer.connections == 0 {
                self.peers.remove(&place.peer);
            }
        }
    }

    fn has_room(&self, source: Option<Source>) -> Result<(), Exceeded> {
        if let Some(source) = source {
            let [address, subnet] = self.counts(source);
            self.check(ConnectionRefusal::AddressShare, address, self.limits.inbound.div_ceil(4))?;
            self.check(ConnectionRefusal::SubnetShare, subnet, self.limits.inbound.div_ceil(2))?;
        }
        self.check(ConnectionRefusal::Inbound, self.inbound, self.limits.inbound)?;
        self.check(ConnectionRefusal::Total, self.staying(), self.limits.total)
    }

    /// Which connection makes room for a newcomer: the idlest of the largest crowd that may have to.
    fn gives_way(&self, lacking: ConnectionRefusal, newcomer: Newcomer, now: Instant) -> Option<Leaver> {
        let [_, may_go] = self.passing;
        if self.leaving >= may_go {
            return None;
        }
        let Newcomer { source, is_hop } = newcomer;
        let weight_of_newcomer = self.weight(source, source);
        let hops_stay = self.hops() <= self.limits.total / 2;
        let candidates = self.held.iter().filter_map(|(connection, place)| {
            let may_go = place.standing == Standing::Stays && !self.stays(&place.peer, hops_stay);
            let from = place.inbound.filter(|_| may_go)?;
            let weight = self.weight(from, source);
            let is_asked = match lacking {
                ConnectionRefusal::AddressShare => same(from, source, |source| source.address),
                ConnectionRefusal::SubnetShare => {
                    same(from, source, |source| source.subnet) && weight >= weight_of_newcomer
                }
                _ => weight >= weight_of_newcomer,
            };
            let last_use = place.last_use.at();
            let is_idle = now.saturating_duration_since(last_use) >= self.limits.grace;
            let gives_way = is_asked && (is_idle || is_hop || weight > FAR_MORE * weight_of_newcomer);
            let leaver = Leaver { peer: place.peer, connection: *connection };
            // Crowds of about one size are one: of three neighbours and one on his own, the idlest goes.
            gives_way.then_some(((Reverse(weight.ilog2()), last_use, leaver.connection), leaver))
        });
        candidates.min_by_key(|(order, _)| *order).map(|(_, leaver)| leaver)
    }

    /// How much of the node those have who come from there, once the newcomer has its place.
    fn weight(&self, source: Option<Source>, newcomer: Option<Source>) -> usize {
        let Some(source) = source else { return ADDRESS_WEIGHT };
        let [address, subnet] = self.counts(source);
        let joins =
            |of: fn(&Source) -> IpNet| usize::from(newcomer.is_some_and(|newcomer| of(&newcomer) == of(&source)));
        let address = address + joins(|source| source.address);
        let subnet = subnet + joins(|source| source.subnet);
        (ADDRESS_WEIGHT * address).max(subnet).max(ADDRESS_WEIGHT)
    }

    fn counts(&self, source: Source) -> [usize; 2] {
        let count = |counts: &HashMap<IpNet, usize>, of: IpNet| counts.get(&of).copied().unwrap_or_default();
        [count(&self.addresses, source.address), count(&self.subnets, source.subnet)]
    }

    /// Whether a peer's connections stay; `hops_stay` if those of mix nodes do.
    fn stays(&self, peer: &PeerId, hops_stay: bool) -> bool {
        let has_own = self.peers.get(peer).is_some_and(|of_peer| of_peer.dialled > 0);
        self.needed.contains(peer) || has_own || (hops_stay && self.reached.contains_key(peer))
    }

    /// Whether a newcomer may take somebody's place for packets to go on.
    fn is_hop(&self, peer: &PeerId) -> bool {
        self.reached.contains_key(peer) && self.hops() < self.limits.total / 2
    }

    /// Connections of mix nodes.
    fn hops(&self) -> usize {
        self.held.values().filter(|place| self.reached.contains_key(&place.peer)).count()
    }

    fn of_peer(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |of_peer| of_peer.connections)
    }

    fn staying(&self) -> usize {
        self.held.len() - self.coming - self.leaving
    }

    /// The connection no longer counts, though it is there for a moment.
    fn sends_off(&mut self, connection: ConnectionId) {
        self.stands(connection, Standing::Leaves);
    }

    fn stands(&mut self, connection: ConnectionId, standing: Standing) {
        let Some(mut place) = self.held.remove(&connection) else { return };
        self.counts_as(&place, place.standing, false);
        self.counts_as(&place, standing, true);
        place.standing = standing;
        self.held.insert(connection, place);
    }

    fn counts_as(&mut self, place: &Place, standing: Standing, comes: bool) {
        match (standing, place.inbound) {
            (Standing::ComesUntil(_), _) => step(&mut self.coming, comes),
            (Standing::Leaves, _) => step(&mut self.leaving, comes),
            (Standing::Stays, Some(source)) => self.count(source, comes),
            (Standing::Stays, None) => {}
        }
    }

    fn count(&mut self, source: Option<Source>, comes: bool) {
        step(&mut self.inbound, comes);
        let Some(Source { address, subnet }) = source else { return };
        for (counts, of) in [(&mut self.addresses, address), (&mut self.subnets, subnet)] {
            let count = counts.entry(of).or_default();
            step(count, comes);
            if *count == 0 {
                counts.remove(&of);
            }
        }
    }

    fn check(&self, refusal: ConnectionRefusal, now: usize, limit: usize) -> Result<(), Exceeded> {
        if now < limit { Ok(()) } else { Err(Exceeded { refusal, limit }) }
    }
}

fn step(count: &mut usize, comes: bool) {
    *count = if comes { *count + 1 } else { count.saturating_sub(1) };
}

/// Whether both are counted, and under the same.
fn same(one: Option<Source>, other: Option<Source>, of: fn(Source) -> IpNet) -> bool {
    one.zip(other).is_some_and(|(one, other)| of(one) == of(other))
}

/// Whether new senders should look elsewhere. It changes seldom, or it would tell who comes and goes.
#[derive(Debug)]
pub(crate) struct Fill {
    is_full: bool,
    since: Option<Instant>,
}

/// From one change to the next: each makes a new descriptor.
const FILL_HOLDS: Duration = Duration::from_secs(300);
/// Full from nine tenths of the places on, and no longer at seven tenths.
const FULL_AT: usize = 90;
const NOT_FULL_AT: usize = 70;

impl Fill {
    pub(crate) fn new() -> Self {
        Self { is_full: false, since: None }
    }

    /// Whether the node is full, with so many of its places taken.
    pub(crate) fn with(&mut self, taken: usize, places: usize, now: Instant) -> bool {
        let percent = (taken * 100).checked_div(places).unwrap_or(100);
        let is_full = if self.is_full { percent > NOT_FULL_AT } else { percent >= FULL_AT };
        let may_change = self.since.is_none_or(|since| now.saturating_duration_since(since) >= FILL_HOLDS);
        if is_full != self.is_full && may_change {
            (self.is_full, self.since) = (is_full, Some(now));
        }
        self.is_full
    }
}

#[cfg(test)]
mod tests;
