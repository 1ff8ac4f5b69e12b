//! The places for established connections: who gets one, and who gives his up.
//!
//! A node whose places are full is of no use to a newcomer unless somebody goes. Of the connections that remotes opened, the
//! one goes that carried no packet and no request for longest, once that is [`ConnectionLimits::grace`] ago. A newcomer takes
//! no place from an address or subnet that has fewer than its own, so one crowd never pushes out others; and a crowd that has
//! far more than the newcomer's gives one up even if it uses them all. One address never gets more than a quarter of the
//! places and one subnet never more than half, so neither fills a node. Addresses that many share are not counted.

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
/// Connections that may be on their way out at a time, or an eighth of the places; each takes a moment to read what has come.
const LEAVING: usize = 8;

/// Established connections. Bound: `limits.total`, and those that are on their way out.
pub(crate) struct Places {
    limits: ConnectionLimits,
    held: HashMap<ConnectionId, Place>,
    peers: HashMap<PeerId, OfPeer>,
    /// Those that remotes opened and that are not on their way out, by where they come from.
    addresses: HashMap<IpNet, usize>,
    subnets: HashMap<IpNet, usize>,
    inbound: usize,
    leaving: usize,
    /// Peers whose connections stay: those that the node is to stay connected to, and those that it gossips with.
    needed: HashSet<PeerId>,
}

struct Place {
    peer: PeerId,
    /// Where the remote that opened it is; `None` outside for one that this node opened.
    inbound: Option<Option<Source>>,
    last_use: LastUse,
    is_leaving: bool,
}

#[derive(Default)]
struct OfPeer {
    connections: usize,
    dialled: usize,
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
            limits,
            held: HashMap::new(),
            peers: HashMap::new(),
            addresses: HashMap::new(),
            subnets: HashMap::new(),
            inbound: 0,
            leaving: 0,
            needed: HashSet::new(),
        }
    }

    /// From now on the connections of these peers stay, and of no others.
    pub(crate) fn need(&mut self, peers: HashSet<PeerId>) {
        self.needed = peers;
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
        let leaver = self.gives_way(exceeded.refusal, None, now).filter(|_| may_take).ok_or(exceeded)?;
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
        let leaver = self.gives_way(exceeded.refusal, source, now).ok_or(exceeded)?;
        self.sends_off(leaver.connection);
        Ok(Some(leaver))
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
        if let Some(source) = inbound {
            self.count(source, true);
        }
        self.held.insert(connection, Place { peer, inbound, last_use, is_leaving: false });
    }

    /// A connection is closed.
    pub(crate) fn left(&mut self, connection: ConnectionId) {
        let Some(place) = self.held.remove(&connection) else { return };
        match place.inbound {
            _ if place.is_leaving => self.leaving -= 1,
            Some(source) => self.count(source, false),
            None => {}
        }
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

    /// Which connection makes room for a newcomer from there: the idlest of the largest crowd that may have to.
    fn gives_way(&self, lacking: ConnectionRefusal, source: Option<Source>, now: Instant) -> Option<Leaver> {
        if self.leaving >= LEAVING.max(self.limits.inbound / 8) {
            return None;
        }
        let newcomer = self.weight(source, source);
        let candidates = self.held.iter().filter_map(|(connection, place)| {
            let from = place.inbound.filter(|_| !place.is_leaving && !self.is_needed(&place.peer))?;
            let weight = self.weight(from, source);
            let is_asked = match lacking {
                ConnectionRefusal::AddressShare => same(from, source, |source| source.address),
                ConnectionRefusal::SubnetShare => same(from, source, |source| source.subnet) && weight >= newcomer,
                _ => weight >= newcomer,
            };
            let last_use = place.last_use.at();
            let is_idle = now.saturating_duration_since(last_use) >= self.limits.grace;
            let gives_way = is_asked && (is_idle || weight > FAR_MORE * newcomer);
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

    fn is_needed(&self, peer: &PeerId) -> bool {
        self.needed.contains(peer) || self.peers.get(peer).is_some_and(|of_peer| of_peer.dialled > 0)
    }

    fn of_peer(&self, peer: &PeerId) -> usize {
        self.peers.get(peer).map_or(0, |of_peer| of_peer.connections)
    }

    fn staying(&self) -> usize {
        self.held.len() - self.leaving
    }

    /// The connection no longer counts, though it is there for a moment.
    fn sends_off(&mut self, connection: ConnectionId) {
        let Some(place) = self.held.get_mut(&connection) else { return };
        place.is_leaving = true;
        let source = place.inbound;
        self.leaving += 1;
        if let Some(source) = source {
            self.count(source, false);
        }
    }

    fn count(&mut self, source: Option<Source>, comes: bool) {
        let step = |count: &mut usize| *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        step(&mut self.inbound);
        let Some(Source { address, subnet }) = source else { return };
        for (counts, of) in [(&mut self.addresses, address), (&mut self.subnets, subnet)] {
            let count = counts.entry(of).or_default();
            step(count);
            if *count == 0 {
                counts.remove(&of);
            }
        }
    }

    fn check(&self, refusal: ConnectionRefusal, now: usize, limit: usize) -> Result<(), Exceeded> {
        if now < limit { Ok(()) } else { Err(Exceeded { refusal, limit }) }
    }
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
