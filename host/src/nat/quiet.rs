//! AutoNAT 1 without its faith in single peers.
//!
//! The library's client makes every address that a peer claims to have dialled an external address of this node, and keeps
//! every address that a peer says it sees forever. This wrapper keeps both from it: what counts is decided in
//! [`super::verdicts`].

use std::task::{Context, Poll};

use libp2p::{
    Multiaddr, PeerId,
    autonat::v1,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
        ToSwarm,
    },
};

/// The protocol that a peer must speak to be asked.
pub(crate) const PROTOCOL: &str = "/libp2p/autonat/1.0.0";

/// AutoNAT, client and server.
pub(crate) struct Behaviour(v1::Behaviour);

impl Behaviour {
    pub(crate) fn new(inner: v1::Behaviour) -> Self {
        Self(inner)
    }

    /// May ask this peer from now on. Bound: connected peers, since [`Self::forget`] follows.
    pub(crate) fn ask(&mut self, peer: PeerId) {
        self.0.add_server(peer, None);
    }

    /// Asks this peer no more.
    pub(crate) fn forget(&mut self, peer: &PeerId) {
        self.0.remove_server(peer);
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <v1::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = v1::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.0.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0.handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if !matches!(event, FromSwarm::NewExternalAddrCandidate(_)) {
            self.0.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.0.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.0.poll(cx) {
                Poll::Ready(ToSwarm::ExternalAddrConfirmed(_)) => {}
                other => return other,
            }
        }
    }
}
