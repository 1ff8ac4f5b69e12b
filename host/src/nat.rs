//! Where this node can be reached: what is bound, what others see and have dialled, and what relays have reserved.
//!
//! No single peer can make this node believe in an address or in its absence: see [`quorum`], [`observed`], [`verdicts`].
//! Non-goal: making a hole in a NAT (DCUtR). A node behind one is reached through its relay.

mod observed;
mod ports;
pub(crate) mod quiet;
mod quorum;
mod reservations;
mod scope;
mod verdicts;

use std::{collections::HashMap, time::Duration};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v1::{Event, OutboundProbeError, OutboundProbeEvent, ResponseError},
    core::{ConnectedPoint, transport::ListenerId},
    identify,
    relay::HOP_PROTOCOL_NAME,
    swarm::ConnectionId,
};
use tokio::time::Instant;
use wakumix_role_api::host::{HostAddresses, Reachability};

pub use self::ports::with_bound_ports;
use self::{observed::Observed, reservations::Reservations, scope::Scope, verdicts::Verdicts};
use crate::{HostConfig, transport::without_peer};

/// How long a host that asks others to dial it waits for their word before it tells an address that nobody has dialled. A
/// node behind a NAT knows after half a minute; where nobody answers, the address is better than none.
const PROBE_TIMEOUT: Duration = Duration::from_secs(300);

/// Whether an address means the same to everybody: it begins with a public IP address or a name.
pub fn is_public(address: &Multiaddr) -> bool {
    Scope::new(false).takes(address)
}

/// What is known about this node's addresses. All of it is ephemeral.
#[derive(Debug)]
pub(crate) struct Nat {
    scope: Scope,
    announce: Vec<Multiaddr>,
    listens: bool,
    relays_circuits: bool,
    /// Bound addresses, of the configured listeners in their order first. Bound: this machine's interfaces.
    bound: Vec<(ListenerId, Multiaddr)>,
    /// Established connections.
    connections: HashMap<ConnectionId, (PeerId, ConnectedPoint)>,
    /// What peers that dialled this node see.
    reached: Observed,
    /// What peers that this node dialled see: behind a NAT, the NAT.
    seen: Observed,
    /// From when on `seen` counts without AutoNAT's word.
    patient_until: Instant,
    verdicts: Verdicts,
    pub(crate) reservations: Reservations,
}

impl Nat {
    pub(crate) fn new(
        config: &HostConfig,
        me: PeerId,
        announce: Vec<Multiaddr>,
        bound: Vec<(ListenerId, Multiaddr)>,
        now: Instant,
    ) -> Self {
        let scope = Scope::new(config.allow_private);
        Self {
            scope,
            announce,
            listens: !config.listen.is_empty(),
            relays_circuits: config.circuit_relay.is_some(),
            bound,
            connections: HashMap::new(),
            reached: Observed::new(scope),
            seen: Observed::new(scope),
            patient_until: if config.autonat.is_some() { now + PROBE_TIMEOUT } else { now },
            verdicts: Verdicts::new(scope),
            reservations: Reservations::new(me, &config.relay_reservations, now),
        }
    }

    /// A listener has an address.
    pub(crate) fn listening(&mut self, listener: ListenerId, address: Multiaddr) {
        if !self.reservations.told(listener, &address) && !self.bound.contains(&(listener, address.clone())) {
            self.bound.push((listener, address));
        }
    }

    /// A listener no longer has an address: an interface is gone.
    pub(crate) fn not_listening(&mut self, listener: ListenerId, address: &Multiaddr) {
        self.bound.retain(|(other, bound)| (*other, bound) != (listener, address));
    }

    /// A listener is closed.
    pub(crate) fn listener_closed(&mut self, listener: ListenerId, now: Instant) {
        self.bound.retain(|(other, _)| *other != listener);
        self.reservations.closed(listener, now);
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self, connection: ConnectionId, peer: PeerId, endpoint: ConnectedPoint) {
        self.connections.insert(connection, (peer, endpoint));
    }

    /// A connection is gone; `last` of those to its peer.
    pub(crate) fn closed(&mut self, connection: ConnectionId, peer: &PeerId, last: bool) {
        self.connections.remove(&connection);
        if last {
            self.reservations.lost(peer);
        }
    }

    /// A peer has told what it is, and where it sees this node. Whether it can be asked to dial this node.
    pub(crate) fn identified(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        info: &identify::Info,
        now: Instant,
    ) -> bool {
        let Some((_, endpoint)) = self.connections.get(&connection) else { return false };
        let remote = endpoint.get_remote_address();
        if scope::is_relayed(remote) {
            return false;
        }
        let bound = self.bound();
        let reports = if endpoint.is_dialer() { &mut self.seen } else { &mut self.reached };
        reports.report(peer, endpoint, &info.observed_addr, &bound, now);
        let speaks = |protocol: &str| info.protocols.iter().any(|spoken| spoken.as_ref() == protocol);
        if speaks(HOP_PROTOCOL_NAME.as_ref()) {
            let dialled = endpoint.is_dialer().then(|| without_peer(remote));
            let told = info.listen_addrs.iter().map(without_peer).filter(|address| self.scope.takes(address));
            self.reservations.found(peer, dialled.into_iter().chain(told), now);
        }
        speaks(quiet::PROTOCOL) && self.scope.group(peer, remote).is_some()
    }

    /// A peer that was asked to dial this node has answered.
    pub(crate) fn dialled_back(&mut self, event: Event, now: Instant) {
        let (peer, dialled) = match event {
            Event::OutboundProbe(OutboundProbeEvent::Response { peer, address, .. }) => (peer, Some(address)),
            Event::OutboundProbe(OutboundProbeEvent::Error {
                peer: Some(peer),
                error: OutboundProbeError::Response(ResponseError::DialError),
                ..
            }) => (peer, None),
            _ => return,
        };
        let direct = self.connections.values().find(|(other, endpoint)| *other == peer && !endpoint.is_relayed());
        if let Some((_, endpoint)) = direct {
            self.verdicts.answer(peer, endpoint.get_remote_address(), dialled.as_ref().map(without_peer), now);
        }
    }

    /// Where this node can be reached.
    pub(crate) fn addresses(&self, now: Instant) -> HostAddresses {
        let listen = self.bound();
        let reachability = match self.listens {
            true => self.verdicts.reachability(now),
            // Nobody can dial what does not listen.
            false => Reachability::Private,
        };
        let mut external = self.announce.clone();
        if reachability != Reachability::Private {
            let confirmed = self.verdicts.confirmed(&listen, now).into_iter();
            let is_finished = reachability == Reachability::Public || now >= self.patient_until;
            let seen = if is_finished { self.seen.believed(now) } else { Vec::new() };
            for address in confirmed.chain(self.reached.believed(now)).chain(seen) {
                if !external.contains(&address) {
                    external.push(address);
                }
            }
        }
        HostAddresses { listen, external, relayed: self.reservations.addresses(), reachability, is_full: false }
    }

    /// The addresses that identify, and a circuit relay's reservations, tell besides the bound ones. A node that relays
    /// circuits is meant to be dialled: until others say that it cannot, where it listens is where it is.
    pub(crate) fn told(&self, addresses: &HostAddresses) -> Vec<Multiaddr> {
        let mut told = addresses.external.clone();
        if self.relays_circuits && addresses.reachability != Reachability::Private {
            let bound = addresses.listen.iter().filter(|address| self.scope.takes(address) && !told.contains(address));
            let bound: Vec<_> = bound.cloned().collect();
            told.extend(bound);
        }
        told
    }

    /// Bound addresses without repetitions.
    fn bound(&self) -> Vec<Multiaddr> {
        let mut bound = Vec::new();
        for (_, address) in &self.bound {
            if !bound.contains(address) {
                bound.push(address.clone());
            }
        }
        bound
    }
}
