//! Which connection carries which request.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, ToSwarm, dial_opts::PeerCondition,
    },
};
use tokio::{sync::Semaphore, time::Instant};
use wakumix_role_api::{
    Services,
    host::{OutboundRequest, Over, RequestFailure},
};

use super::{
    exchange::{Ask, Remote},
    handler::{Handler, Serving},
};
use crate::{
    config::RequestLimits,
    limits::LastUses,
    slots::StreamSlots,
    transport::{dial, without_peer},
};

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
    connections: Vec<Link>,
    slots: Arc<StreamSlots>,
    /// At most one for each [`Over`].
    dials: Vec<Dial>,
}

/// A connection to a peer.
struct Link {
    id: ConnectionId,
    /// Where this node dialled it; `None` when the peer opened it.
    dialled: Option<Multiaddr>,
}

/// A dial that is under way, and the requests that wait for it.
struct Dial {
    id: ConnectionId,
    over: Over,
    waiting: Vec<Ask>,
}

impl Peer {
    /// A connection that may carry a request, the newest first.
    fn link(&self, over: Over, addresses: &[Multiaddr]) -> Option<ConnectionId> {
        let may_carry = |link: &&Link| match over {
            Over::Any => true,
            Over::Dialled => link.dialled.as_ref().is_some_and(|at| addresses.contains(at)),
        };
        self.connections.iter().rev().find(may_carry).map(|link| link.id)
    }
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
        let (peer_id, over) = (request.peer, request.over);
        let addresses = std::mem::take(&mut request.addresses);
        let Some(ask) = Ask::new(request, permit) else { return };
        let peer = self.peers.entry(peer_id).or_default();
        if let Some(connection) = peer.link(over, &addresses) {
            return self.ask_on(peer_id, connection, ask);
        }
        if let Some(dial) = peer.dials.iter_mut().find(|dial| dial.over == over) {
            return dial.waiting.push(ask);
        }
        let condition = match over {
            Over::Any => PeerCondition::Disconnected,
            Over::Dialled => PeerCondition::Always,
        };
        let opts = dial(peer_id, addresses, condition);
        peer.dials.push(Dial { id: opts.connection_id(), over, waiting: vec![ask] });
        self.act(ToSwarm::Dial { opts });
    }

    /// Ends requests whose dial took too long, and dials that nobody waits for any more: a silent address keeps no place
    /// among the dials longer than its request. A dial may be ended only together with the peer's connections, so where
    /// there are any it is left to the transport's own limit.
    pub(crate) fn expire(&mut self, now: Instant) {
        let mut given_up = Vec::new();
        for (peer_id, peer) in &mut self.peers {
            for dial in &mut peer.dials {
                let late: Vec<_> = dial.waiting.extract_if(.., |ask| ask.deadline <= now).collect();
                if !late.is_empty() && dial.waiting.is_empty() && peer.connections.is_empty() {
                    given_up.push(*peer_id);
                }
                late.into_iter().for_each(|ask| ask.fail(RequestFailure::Timeout));
            }
        }
        for peer_id in given_up {
            self.act(ToSwarm::CloseConnection { peer_id, connection: CloseConnection::All });
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

    /// The connections to a peer, each with whether this node opened it.
    pub(crate) fn links(&self, peer: &PeerId) -> Vec<(ConnectionId, bool)> {
        let links = self.peers.get(peer).into_iter().flat_map(|peer| &peer.connections);
        links.map(|link| (link.id, link.dialled.is_some())).collect()
    }

    fn handler(&mut self, peer: PeerId, connection: ConnectionId, address: &Multiaddr) -> Handler {
        let remote = Remote::new(peer, address);
        let slots = self.peers.entry(peer).or_default().slots.clone();
        Handler::new(remote, self.serving.clone(), slots, self.uses.of(connection))
    }

    fn connected(&mut self, peer_id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let peer = self.peers.entry(peer_id).or_default();
        let dialled = endpoint.is_dialer().then(|| without_peer(endpoint.get_remote_address()));
        peer.connections.push(Link { id: connection, dialled });
        let is_over = |dial: &mut Dial| dial.over == Over::Any || dial.id == connection;
        let asks: Vec<_> = peer.dials.extract_if(.., is_over).flat_map(|dial| dial.waiting).collect();
        for ask in asks {
            self.ask_on(peer_id, connection, ask);
        }
    }

    fn disconnected(&mut self, peer_id: PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.connections.retain(|link| link.id != connection);
        }
        self.forget_if_idle(peer_id);
    }

    fn dial_failed(&mut self, peer_id: PeerId, connection: ConnectionId, error: &DialError) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        // A dial for which this node has no room says nothing of the peer.
        let failure =
            if matches!(error, DialError::Denied { .. }) { RequestFailure::Busy } else { RequestFailure::DialFailed };
        for dial in peer.dials.extract_if(.., |dial| dial.id == connection) {
            dial.waiting.into_iter().for_each(|ask| ask.fail(failure.clone()));
        }
        self.forget_if_idle(peer_id);
    }

    fn forget_if_idle(&mut self, peer_id: PeerId) {
        let idle = |peer: &Peer| peer.connections.is_empty() && peer.dials.is_empty();
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
        address: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection, address))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(peer, connection, address))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => {
                self.connected(event.peer_id, event.connection_id, event.endpoint);
            }
            FromSwarm::ConnectionClosed(event) => self.disconnected(event.peer_id, event.connection_id),
            FromSwarm::DialFailure(event) => {
                if let Some(peer_id) = event.peer_id {
                    self.dial_failed(peer_id, event.connection_id, event.error);
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
