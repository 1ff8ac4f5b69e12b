//! Bounds of connections.
//!
//! The behaviour of this name in libp2p 0.57 keeps an entry for every peer id that was ever connected; a remote that
//! connects with fresh identities makes it grow without end. This one forgets a peer with its last connection.
//!
//! | file | idea |
//! |---|---|
//! | `places` | the places for established connections, and who gives his up |
//! | `source` | where connections come from |
//! | `last_use` | when each last carried a packet or a request |

mod last_use;
mod places;
mod source;

use std::{
    collections::{HashSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        ToSwarm, dummy,
    },
};
use tokio::time::Instant;
use wakumix_telemetry::Telemetry;

use self::places::{Fill, Leaver, Places};
pub(crate) use self::{
    last_use::{LastUse, LastUses},
    source::{Source, Sources},
};
use crate::{
    config::ConnectionLimits,
    metrics::{ConnectionMetrics, ConnectionRefusal},
    transport::Setups,
};

/// A connection that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {limit} {what} are allowed", what = .refusal.counted())]
pub(crate) struct Exceeded {
    pub(crate) refusal: ConnectionRefusal,
    pub(crate) limit: usize,
}

/// Refuses connections beyond the limits, or lets others go for them.
pub(crate) struct Behaviour {
    pending_outbound_limit: usize,
    inbound_limit: usize,
    sources: Sources,
    setups: Setups,
    places: Places,
    uses: LastUses,
    fill: Fill,
    metrics: ConnectionMetrics,
    pending_outbound: HashSet<ConnectionId>,
    /// Connections to close. Bound: those that may be on their way out.
    leavers: VecDeque<ToSwarm<Infallible, Infallible>>,
    waker: Option<Waker>,
}

impl Behaviour {
    pub(crate) fn new(limits: ConnectionLimits, uses: LastUses, telemetry: &Telemetry) -> Self {
        let sources = Sources::new(limits.shared_addresses.clone());
        let metrics = ConnectionMetrics::new(telemetry);
        metrics.places(limits.inbound);
        Self {
            pending_outbound_limit: limits.pending_outbound,
            inbound_limit: limits.inbound,
            setups: Setups::new(limits.pending_inbound, limits.pending_quic, sources.clone(), telemetry),
            sources,
            places: Places::new(limits),
            uses,
            fill: Fill::new(),
            metrics,
            pending_outbound: HashSet::new(),
            leavers: VecDeque::new(),
            waker: None,
        }
    }

    /// The connections that remotes are setting up, for the transports that see what they say.
    pub(crate) fn setups(&self) -> &Setups {
        &self.setups
    }

    /// The connections of these peers stay, whoever opened them; of others, those go first that are not used.
    pub(crate) fn need(&mut self, peers: HashSet<PeerId>) {
        self.places.need(peers);
    }

    /// A mix node is where it says: packets come from it and go to it.
    pub(crate) fn reached(&mut self, peer: PeerId, now: Instant) {
        self.places.reached(peer, now);
    }

    /// Whoever has come and stayed gets a place, or goes.
    pub(crate) fn finish(&mut self, now: Instant) {
        for (leaver, refusal) in self.places.finish(now) {
            match refusal {
                None => self.metrics.evicted(),
                Some(refusal) => self.metrics.refused(refusal),
            }
            self.close(leaver);
        }
        self.metrics.inbound(self.places.inbound());
    }

    /// Whether nothing would be missed if a connection ended.
    pub(crate) fn is_free(&self, connection: ConnectionId) -> bool {
        self.uses.is_free(connection)
    }

    /// Whether new senders should look elsewhere.
    pub(crate) fn is_full(&mut self, now: Instant) -> bool {
        self.fill.with(self.places.inbound(), self.inbound_limit, now)
    }

    fn refuse(&self, exceeded: Exceeded) -> ConnectionDenied {
        self.metrics.refused(exceeded.refusal);
        ConnectionDenied::new(exceeded)
    }

    fn admit_inbound(&mut self, peer: &PeerId, remote: &Multiaddr) -> Result<(), ConnectionDenied> {
        let admitted = self.places.admit_inbound(peer, self.sources.of(remote), Instant::now());
        self.make_way(admitted.map_err(|exceeded| self.refuse(exceeded))?);
        Ok(())
    }

    fn make_way(&mut self, leaver: Option<Leaver>) {
        if let Some(leaver) = leaver {
            self.metrics.evicted();
            self.close(leaver);
        }
    }

    fn close(&mut self, leaver: Leaver) {
        let connection = CloseConnection::One(leaver.connection);
        self.leavers.push_back(ToSwarm::CloseConnection { peer_id: leaver.peer, connection });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// From now on the connection has a last use.
    fn begin(&self, connection: ConnectionId) -> dummy::ConnectionHandler {
        self.uses.of(connection);
        dummy::ConnectionHandler
    }

    fn ended(&mut self, connection: ConnectionId) {
        self.uses.forget(connection);
        self.places.left(connection);
        self.metrics.inbound(self.places.inbound());
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.setups.admit(connection, remote).map_err(|exceeded| self.refuse(exceeded))
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.setups.ended(connection);
        self.admit_inbound(&peer, remote)?;
        Ok(self.begin(connection))
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if self.pending_outbound.len() >= self.pending_outbound_limit {
            let refusal = ConnectionRefusal::PendingOutbound;
            return Err(self.refuse(Exceeded { refusal, limit: self.pending_outbound_limit }));
        }
        self.pending_outbound.insert(connection);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending_outbound.remove(&connection);
        let admitted = self.places.admit_outbound(&peer, Instant::now());
        self.make_way(admitted.map_err(|exceeded| self.refuse(exceeded))?);
        Ok(self.begin(connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                let from = event.endpoint.is_listener().then(|| self.sources.of(event.endpoint.get_remote_address()));
                self.places.taken(event.connection_id, event.peer_id, from, self.uses.of(event.connection_id));
                self.metrics.inbound(self.places.inbound());
            }
            FromSwarm::ConnectionClosed(event) => self.ended(event.connection_id),
            FromSwarm::DialFailure(event) => {
                self.pending_outbound.remove(&event.connection_id);
                self.ended(event.connection_id);
            }
            FromSwarm::ListenFailure(event) => {
                self.setups.ended(event.connection_id);
                self.ended(event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        if let Some(leaver) = self.leavers.pop_front() {
            return Poll::Ready(leaver);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
