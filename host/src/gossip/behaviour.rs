//! gossipsub behind the gate, with colocation counted by our own rule.

use std::{
    collections::HashSet,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    gossipsub,
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

use super::{
    Gossipsub,
    colocation::{Colocation, Penalties},
    gate::Gate,
    handler::{Event, Handler},
};

/// The behaviour as libp2p's derive sees it.
pub(crate) struct Behaviour {
    pub(super) library: Gossipsub,
    pub(super) gate: Gate,
    /// Off for nets on one machine.
    colocation: Option<Colocation>,
    /// Peers whose writer has found a message that had waited for too long. Bound: connected peers.
    moving: HashSet<PeerId>,
}

impl Behaviour {
    pub(super) fn new(library: Gossipsub, gate: Gate, score_colocation: bool) -> Self {
        Self { library, gate, colocation: score_colocation.then(Colocation::default), moving: HashSet::new() }
    }

    /// Whether the stream to a peer has moved since this was last asked: the writer looks at the next message when the one before
    /// is written.
    pub(crate) fn has_moved(&mut self, peer: &PeerId) -> bool {
        self.moving.remove(peer)
    }

    fn count(&mut self, change: impl FnOnce(&mut Colocation) -> Penalties) {
        for (peer, penalty) in self.colocation.as_mut().map(change).unwrap_or_default() {
            self.library.set_application_score(&peer, -penalty);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let library = self.library.handle_established_inbound_connection(connection, peer, local, remote)?;
        Ok(Handler::new(library, self.gate.peer(peer)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let library = self.library.handle_established_outbound_connection(connection, peer, address, role, port)?;
        Ok(Handler::new(library, self.gate.peer(peer)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match &event {
            FromSwarm::ConnectionEstablished(established) => self.count(|colocation| {
                colocation.connected(established.connection_id, established.endpoint.get_remote_address());
                Penalties::new()
            }),
            FromSwarm::ConnectionClosed(closed) => {
                self.count(|colocation| colocation.closed(closed.connection_id));
                if closed.remaining_established == 0 {
                    self.moving.remove(&closed.peer_id);
                }
            }
            FromSwarm::AddressChange(change) => self.count(|colocation| {
                colocation.moved(change.connection_id, change.peer_id, change.new.get_remote_address())
            }),
            _ => {}
        }
        self.library.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        match &event {
            Event::Message { .. } => self.count(|colocation| colocation.spoke(connection, peer)),
            Event::MessageDropped(_) => _ = self.moving.insert(peer),
            Event::PeerKind(_) => {}
        }
        self.library.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.library.poll(cx)
    }
}
