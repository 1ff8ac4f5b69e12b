//! Which connection carries which request.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent, ToSwarm,
        dial_opts::PeerCondition,
    },
};
use tokio::{sync::Semaphore, time::Instant};
use wakumix_role_api::{
    Services,
    host::{OutboundRequest, RequestFailure},
};

use super::{
    exchange::Ask,
    handler::{Handler, Serving},
};
use crate::{config::RequestLimits, limits::LastUses, slots::StreamSlots, transport::dial};

/// The behaviour of all request–response protocols.
pub(crate) struct Behaviour {
    serving: Serving,
    uses: LastUses,
    /// Own requests that may be open at a time.
    permits: Arc<Semaphore>,
    /// Connected peers, and those that are dialled for a request.
    peers: HashMap<PeerId, Peer>,
    /// At most one per open request.
    actions: VecDeque<ToSwarm<Infallible, Ask>>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Peer {
    connections: Vec<ConnectionId>,
    slots: Arc<StreamSlots>,
    /// Requests that wait for the dial.
    waiting: Vec<Ask>,
    dial: Option<ConnectionId>,
}

impl Behaviour {
    pub(crate) fn new(services: Services, limits: RequestLimits, uses: LastUses) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(limits.outbound)),
            serving: Serving::new(services, limits),
            uses,
            peers: HashMap::new(),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Starts an exchange; its answer, or why there is none, goes to the request's own channel.
    pub(crate) fn request(&mut self, mut request: OutboundRequest) {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            // Nobody waits any more if this fails.
            let _ = request.reply.send(Err(RequestFailure::Busy));
            return;
        };
        let peer_id = request.peer;
        let addresses = std::mem::take(&mut request.addresses);
        let Some(ask) = Ask::new(request, permit) else { return };
        let peer = self.peers.entry(peer_id).or_default();
        if let Some(connection) = peer.connections.last().copied() {
            return self.ask_on(peer_id, connection, ask);
        }
        peer.waiting.push(ask);
        if peer.dial.is_none() {
            let opts = dial(peer_id, addresses, PeerCondition::Disconnected);
            peer.dial = Some(opts.connection_id());
            self.act(ToSwarm::Dial { opts });
        }
    }

    /// Ends requests whose dial took too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            for ask in peer.waiting.extract_if(.., |ask| ask.deadline <= now) {
                ask.fail(RequestFailure::Timeout);
            }
        }
    }

    fn ask_on(&mut self, peer_id: PeerId, connection: ConnectionId, ask: Ask) {
        let handler = NotifyHandler::One(connection);
        self.act(ToSwarm::NotifyHandler { peer_id, handler, event: ask });
    }

    fn act(&mut self, action: ToSwarm<Infallible, Ask>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn handler(&mut self, peer: PeerId, connection: ConnectionId) -> Handler {
        let slots = self.peers.entry(peer).or_default().slots.clone();
        Handler::new(peer, self.serving.clone(), slots, self.uses.of(connection))
    }

    fn connected(&mut self, peer_id: PeerId, connection: ConnectionId) {
        let peer = self.peers.entry(peer_id).or_default();
        peer.connections.push(connection);
        peer.dial = None;
        for ask in std::mem::take(&mut peer.waiting) {
            self.ask_on(peer_id, connection, ask);
        }
    }

    fn disconnected(&mut self, peer_id: PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.connections.retain(|other| *other != connection);
        }
        self.forget_if_idle(peer_id);
    }

    fn dial_failed(&mut self, peer_id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        if peer.dial == Some(connection) {
            peer.dial = None;
            for ask in std::mem::take(&mut peer.waiting) {
                ask.fail(RequestFailure::DialFailed);
            }
        }
        self.forget_if_idle(peer_id);
    }

    fn forget_if_idle(&mut self, peer_id: PeerId) {
        let idle = |peer: &Peer| peer.connections.is_empty() && peer.waiting.is_empty() && peer.dial.is_none();
        if self.peers.get(&peer_id).is_some_and(idle) {
            self.peers.remove(&peer_id);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.connected(event.peer_id, event.connection_id),
            FromSwarm::ConnectionClosed(event) => self.disconnected(event.peer_id, event.connection_id),
            FromSwarm::DialFailure(event) => {
                if let Some(peer_id) = event.peer_id {
                    self.dial_failed(peer_id, event.connection_id);
                }
            }
            FromSwarm::ListenFailure(event) => {
                if let Some(peer_id) = event.peer_id {
                    self.forget_if_idle(peer_id);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: Infallible) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
