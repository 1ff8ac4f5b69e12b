//! Which connection writes to which peer, and what happens to a peer's packets when it breaks.
//!
//! A peer has at most one outgoing stream over all its connections. A live connection, whoever opened it, is preferred
//! over dialling the address in the packet: a browser can only be reached that way (`notes/browser.md §2`).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, ToSwarm, dial_opts::PeerCondition,
    },
};
use tokio::sync::Semaphore;
use wakumix_role_api::host::{OutboundPacket, SendFailure};

use super::{
    handler::{FromBehaviour, Handler, PeerShare, ToBehaviour},
    inbound::Ingress,
    queue::{Outgoing, PeerQueue},
};
use crate::{config::MixLimits, slots::StreamSlots, transport::dial};

/// The behaviour of `/mix/1.0.0`.
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    limits: MixLimits,
    ingress: Ingress,
    /// Peers that are connected, being dialled, or have packets. Bound: connections + `limits.max_dialling`.
    peers: HashMap<PeerId, Peer>,
    /// At most a few per peer and turn.
    actions: VecDeque<ToSwarm<(), FromBehaviour>>,
    waker: Option<Waker>,
    stopped: bool,
}

struct Peer {
    queue: Arc<PeerQueue>,
    slots: Arc<StreamSlots>,
    /// Frames that may be in reception from this peer.
    reception: Arc<Semaphore>,
    connections: Vec<ConnectionId>,
    /// The connection that was asked to write.
    writer: Option<ConnectionId>,
    /// The dial that is under way for waiting packets.
    dial: Option<ConnectionId>,
    /// Where the newest packet said that the peer listens.
    address: Option<Multiaddr>,
}

impl Peer {
    fn new(limits: &MixLimits) -> Self {
        Self {
            queue: PeerQueue::new(limits.queue_packets),
            slots: Arc::default(),
            reception: Arc::new(Semaphore::new(limits.frames_in_reception)),
            connections: Vec::new(),
            writer: None,
            dial: None,
            address: None,
        }
    }

    fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.dial.is_none() && self.queue.len() == 0
    }
}

impl Behaviour {
    pub(crate) fn new(protocol: StreamProtocol, limits: MixLimits, ingress: Ingress) -> Self {
        Self { protocol, limits, ingress, peers: HashMap::new(), actions: VecDeque::new(), waker: None, stopped: false }
    }

    /// Sends a packet. It is settled later, or at once when there is no room for it.
    pub(crate) fn send(&mut self, outbound: OutboundPacket) {
        let OutboundPacket { to, packet, done } = outbound;
        let outgoing = Outgoing::new(packet, done);
        if self.stopped {
            return outgoing.fail(SendFailure::Stopped);
        }
        let peer_id = to.peer();
        if !self.peers.contains_key(&peer_id) && self.dialling() >= self.limits.max_dialling {
            return outgoing.fail(SendFailure::QueueFull);
        }
        let peer = self.peers.entry(peer_id).or_insert_with(|| Peer::new(&self.limits));
        peer.address = Some(to.multiaddr());
        peer.queue.push(outgoing);
        self.find_way(peer_id, None);
    }

    /// Packets that are not settled yet.
    pub(crate) fn pending(&self) -> usize {
        self.peers.values().map(|peer| peer.queue.len()).sum()
    }

    /// Open outgoing streams.
    pub(crate) fn writers(&self) -> usize {
        self.peers.values().filter(|peer| peer.writer.is_some()).count()
    }

    /// Refuses new packets and closes each outgoing stream once its queue is empty.
    pub(crate) fn finish(&mut self) {
        self.stopped = true;
        self.peers.values().for_each(|peer| peer.queue.finish());
    }

    /// Settles everything that is left.
    pub(crate) fn abandon(&mut self) {
        self.stopped = true;
        self.peers.values().for_each(|peer| peer.queue.close(SendFailure::Stopped));
    }

    /// Peers that have packets and no connection. Counted only when a new one comes.
    fn dialling(&self) -> usize {
        self.peers.values().filter(|peer| peer.connections.is_empty()).count()
    }

    /// Gives a peer's waiting packets a way out: a live connection, else a dial. `broken` is a connection on which no
    /// stream could be opened; it is used again only if there is nothing else.
    fn find_way(&mut self, peer_id: PeerId, broken: Option<ConnectionId>) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        if peer.writer.is_some() || peer.dial.is_some() || !peer.queue.has_waiting() {
            return self.forget_if_idle(peer_id);
        }
        // The newest first: an old one may be dead without having noticed.
        let sound = peer.connections.iter().rev().copied().find(|connection| Some(*connection) != broken);
        if let Some(connection) = sound {
            return self.write_on(peer_id, connection);
        }
        let Some(address) = peer.address.clone() else {
            peer.queue.fail_waiting(SendFailure::DialFailed);
            return self.forget_if_idle(peer_id);
        };
        let condition = if broken.is_some() { PeerCondition::Always } else { PeerCondition::Disconnected };
        let opts = dial(peer_id, vec![address], condition);
        peer.dial = Some(opts.connection_id());
        self.act(ToSwarm::Dial { opts });
    }

    fn write_on(&mut self, peer_id: PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            peer.writer = Some(connection);
            self.act(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(connection),
                event: FromBehaviour::Write,
            });
        }
    }

    fn act(&mut self, action: ToSwarm<(), FromBehaviour>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn share(&mut self, peer_id: PeerId) -> PeerShare {
        let peer = self.peers.entry(peer_id).or_insert_with(|| Peer::new(&self.limits));
        PeerShare {
            queue: peer.queue.clone(),
            slots: peer.slots.clone(),
            reception: peer.reception.clone(),
            ingress: self.ingress.clone(),
            max_inbound_streams: self.limits.inbound_streams,
            open_timeout: self.limits.open_timeout,
            write_timeout: self.limits.write_timeout,
        }
    }

    fn connected(&mut self, peer_id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.connections.push(connection);
        if peer.dial == Some(connection) {
            peer.dial = None;
        }
        self.find_way(peer_id, None);
    }

    fn disconnected(&mut self, peer_id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.connections.retain(|other| *other != connection);
        if peer.writer == Some(connection) {
            peer.writer = None;
        }
        self.find_way(peer_id, None);
    }

    fn dial_failed(&mut self, peer_id: Option<PeerId>, connection: ConnectionId, error: &DialError) {
        // A peer that only tried to connect, and was denied, leaves an entry without connections behind.
        let Some(peer_id) = peer_id else { return };
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        if peer.dial == Some(connection) {
            peer.dial = None;
            let reachable = !peer.connections.is_empty();
            match error {
                // Connected meanwhile: that connection will do.
                DialError::DialPeerConditionFalse(_) if reachable => {}
                _ => peer.queue.fail_waiting(SendFailure::DialFailed),
            }
        }
        self.find_way(peer_id, None);
    }

    fn forget_if_idle(&mut self, peer_id: PeerId) {
        if self.peers.get(&peer_id).is_some_and(Peer::is_idle) {
            self.peers.remove(&peer_id);
        }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone(), self.share(peer)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone(), self.share(peer)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.connected(event.peer_id, event.connection_id),
            FromSwarm::ConnectionClosed(event) => self.disconnected(event.peer_id, event.connection_id),
            FromSwarm::DialFailure(event) => self.dial_failed(event.peer_id, event.connection_id, event.error),
            FromSwarm::ListenFailure(event) => {
                if let Some(peer_id) = event.peer_id {
                    self.forget_if_idle(peer_id);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, peer_id: PeerId, connection: ConnectionId, event: ToBehaviour) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        if peer.writer == Some(connection) {
            peer.writer = None;
        }
        match event {
            ToBehaviour::StreamClosed | ToBehaviour::WriteFailed => self.find_way(peer_id, None),
            ToBehaviour::OpenFailed { unsupported: true } => {
                peer.queue.fail_waiting(SendFailure::DialFailed);
                self.find_way(peer_id, Some(connection));
            }
            ToBehaviour::OpenFailed { unsupported: false } => {
                peer.queue.attempt_failed(SendFailure::DialFailed);
                self.find_way(peer_id, Some(connection));
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Behaviour {
    /// Handlers may outlive the swarm for a moment: what they give back is settled, not lost.
    fn drop(&mut self) {
        self.abandon();
    }
}
