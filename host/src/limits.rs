//! Bounds of connections.
//!
//! The behaviour of this name in libp2p 0.57 keeps an entry for every peer id that was ever connected; a remote that
//! connects with fresh identities makes it grow without end. This one forgets a peer with its last connection.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, ToSwarm, dummy},
};

use wakumix_telemetry::Telemetry;

use crate::{
    config::ConnectionLimits,
    metrics::{ConnectionRefusal, RefusalMetrics},
    transport::Setups,
};

/// A connection that is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {limit} {what} are allowed", what = .refusal.counted())]
pub(crate) struct Exceeded {
    refusal: ConnectionRefusal,
    limit: usize,
}

/// Refuses connections beyond the limits.
pub(crate) struct Behaviour {
    limits: ConnectionLimits,
    /// Which of `pending_inbound` give way to others.
    setups: Setups,
    metrics: RefusalMetrics,
    /// Bound: `limits.pending_inbound`, and those that were told to give way and have not ended yet.
    pending_inbound: HashSet<ConnectionId>,
    pending_outbound: HashSet<ConnectionId>,
    /// Established connections; true for those that the remote opened.
    established: HashMap<ConnectionId, bool>,
    per_peer: HashMap<PeerId, usize>,
}

impl Behaviour {
    pub(crate) fn new(limits: ConnectionLimits, telemetry: &Telemetry) -> Self {
        Self {
            limits,
            setups: Setups::new(telemetry),
            metrics: RefusalMetrics::new(telemetry),
            pending_inbound: HashSet::new(),
            pending_outbound: HashSet::new(),
            established: HashMap::new(),
            per_peer: HashMap::new(),
        }
    }

    /// The connections that remotes are setting up, for the transports that see what they say.
    pub(crate) fn setups(&self) -> &Setups {
        &self.setups
    }

    /// A remote has set its connection up, or will not.
    fn inbound_ended(&mut self, connection: ConnectionId) {
        self.setups.ended(connection);
        self.pending_inbound.remove(&connection);
    }

    fn admit(&self, peer: &PeerId, inbound: bool) -> Result<THandler<Self>, ConnectionDenied> {
        let inbound_now = self.established.values().filter(|inbound| **inbound).count();
        let of_peer = self.per_peer.get(peer).copied().unwrap_or_default();
        self.check(ConnectionRefusal::Total, self.established.len(), self.limits.total)?;
        self.check(ConnectionRefusal::PerPeer, of_peer, self.limits.per_peer)?;
        if inbound {
            self.check(ConnectionRefusal::Inbound, inbound_now, self.limits.inbound)?;
        }
        Ok(dummy::ConnectionHandler)
    }

    fn check(&self, refusal: ConnectionRefusal, now: usize, limit: usize) -> Result<(), ConnectionDenied> {
        if now < limit {
            return Ok(());
        }
        self.metrics.refused(refusal);
        Err(ConnectionDenied::new(Exceeded { refusal, limit }))
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let (pending, limit) = (self.pending_inbound.len(), self.limits.pending_inbound);
        if pending >= limit && !self.setups.make_room() {
            self.check(ConnectionRefusal::PendingInbound, pending, limit)?;
        }
        self.setups.began(connection);
        self.pending_inbound.insert(connection);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inbound_ended(connection);
        self.admit(&peer, true)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        _: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.check(ConnectionRefusal::PendingOutbound, self.pending_outbound.len(), self.limits.pending_outbound)?;
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
        self.admit(&peer, false)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.established.insert(event.connection_id, event.endpoint.is_listener());
                *self.per_peer.entry(event.peer_id).or_default() += 1;
            }
            FromSwarm::ConnectionClosed(event) => {
                self.established.remove(&event.connection_id);
                if event.remaining_established == 0 {
                    self.per_peer.remove(&event.peer_id);
                } else if let Some(count) = self.per_peer.get_mut(&event.peer_id) {
                    *count = event.remaining_established;
                }
            }
            FromSwarm::DialFailure(event) => {
                self.pending_outbound.remove(&event.connection_id);
            }
            FromSwarm::ListenFailure(event) => {
                self.inbound_ended(event.connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}
