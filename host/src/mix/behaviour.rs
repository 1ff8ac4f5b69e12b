//! Which connection writes to which peer, and what happens to a peer's packets when it breaks.
//!
//! A peer has at most one outgoing stream over all its connections. A live connection, whoever opened it, is preferred
//! over dialling the address in the packet: a browser cannot be dialled, and a reply reaches it only over the connection that it
//! opened (`spec/waku.md §8.3`). A packet that may only use a live connection is dropped as soon as there is none.
//!
//! The peer to dial, and its address, are in packets, so any sender can cause a dial. Hence a dial that takes long is given up, one gives
//! way to the next when there are many, and an address that failed is not tried again for a moment.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, DialError, FromSwarm, NetworkBehaviour, NotifyHandler,
        THandler, THandlerInEvent, ToSwarm, dial_opts::PeerCondition,
    },
};
use tokio::time::Instant;
use wakumix_mix::HopAddress;
use wakumix_role_api::host::{OutboundPacket, PeerLine, PeerLines, Reach, SendFailure};
use wakumix_sphinx::Weaknesses;

use super::{
    dials::{Dial, Dials, Room},
    failures::Failures,
    gate::{Gate, PeerGate},
    handler::{FromBehaviour, Handler, PeerLink, ToBehaviour},
    inbound::Ingress,
    loss::Dice,
    queue::{Outgoing, PeerQueue},
    streams::{FurtherStreams, PeerStreams},
};
use crate::{config::MixLimits, countermeasures::bound, limits::LastUse, transport::dial};

/// Addresses of one peer that are kept and dialled at the same time: as many as a dial tries at once.
const MAX_ADDRESSES: usize = 4;

/// The behaviour of one packet format.
pub(crate) struct Behaviour {
    protocol: StreamProtocol,
    limits: Arc<MixLimits>,
    /// Streams of all peers beyond those that each has anyway.
    further: Arc<FurtherStreams>,
    ingress: Ingress,
    gate: Gate,
    /// Peers that are connected, being dialled, or have packets. Bound: connections + `limits.max_dialling`.
    peers: HashMap<PeerId, Peer>,
    dials: Dials,
    failures: Failures,
    /// `None` outside tests.
    dice: Option<Dice>,
    /// Where it says which peers are being written to; `None` in tests that lose packets on purpose.
    lines: Option<PeerLines>,
    /// At most a few per peer and turn.
    actions: VecDeque<ToSwarm<(), FromBehaviour>>,
    waker: Option<Waker>,
    stopped: bool,
}

struct Peer {
    queue: Arc<PeerQueue>,
    streams: Arc<PeerStreams>,
    gate: Arc<PeerGate>,
    connections: Vec<ConnectionId>,
    /// The connection that was asked to write.
    writer: Option<(ConnectionId, LastUse)>,
    /// The dial that is under way for waiting packets, and where to.
    dial: Option<(ConnectionId, Vec<Multiaddr>)>,
    /// Where packets said that the peer listens and nobody has failed to reach it, the newest last. Bound:
    /// [`MAX_ADDRESSES`].
    addresses: Vec<Multiaddr>,
}

impl Peer {
    fn new(limits: &MixLimits, gate: Arc<PeerGate>) -> Self {
        Self {
            queue: PeerQueue::new(limits.queue_packets),
            streams: Arc::default(),
            gate,
            connections: Vec::new(),
            writer: None,
            dial: None,
            addresses: Vec::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.dial.is_none() && self.queue.len() == 0
    }

    /// A packet says that the peer listens there. Anybody can make it say so, hence several are kept.
    fn is_said_to_be_at(&mut self, address: Multiaddr) {
        if self.addresses.last() == Some(&address) {
            return;
        }
        self.addresses.retain(|known| *known != address);
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.remove(0);
        }
        self.addresses.push(address);
    }
}

impl Behaviour {
    pub(super) fn new(
        protocol: StreamProtocol,
        mut limits: MixLimits,
        weak: Weaknesses,
        ingress: Ingress,
        gate: Gate,
        dice: Option<Dice>,
        lines: PeerLines,
    ) -> Self {
        limits.inbound_streams = bound(weak, limits.inbound_streams);
        Self {
            protocol,
            dials: Dials::new(limits.max_dialling, limits.dial_timeout),
            limits: Arc::new(limits),
            further: Arc::default(),
            ingress,
            gate,
            peers: HashMap::new(),
            failures: Failures::default(),
            lines: dice.is_none().then_some(lines),
            dice,
            actions: VecDeque::new(),
            waker: None,
            stopped: false,
        }
    }

    /// Whether this is the format of a packet.
    pub(crate) fn carries(&self, outbound: &OutboundPacket) -> bool {
        outbound.packet.bytes().len() == self.ingress.packet_len()
    }

    /// Sends a packet. It is finished later, or at once when there is no room for it or no way to its peer.
    pub(crate) fn send(&mut self, outbound: OutboundPacket) {
        let OutboundPacket { to, reach, packet, done } = outbound;
        let outgoing = Outgoing::new(packet, reach, done).lost(self.dice.as_mut().is_some_and(Dice::loses));
        if self.stopped {
            return outgoing.fail(SendFailure::Stopped);
        }
        match reach {
            Reach::Dial => self.send_or_dial(&to, outgoing),
            Reach::ConnectedOnly => self.send_if_connected(to.peer(), outgoing),
        }
    }

    fn send_if_connected(&mut self, peer_id: PeerId, outgoing: Outgoing) {
        match self.peers.get(&peer_id).filter(|peer| !peer.connections.is_empty()) {
            Some(peer) => peer.queue.push(outgoing),
            None => return outgoing.fail(SendFailure::NotConnected),
        }
        self.find_way(peer_id, None);
    }

    fn send_or_dial(&mut self, to: &HopAddress, outgoing: Outgoing) {
        let (peer_id, address) = (to.peer(), to.multiaddr());
        let is_dead = self.failures.contains(peer_id, &address, Instant::now());
        if is_dead && !self.peers.contains_key(&peer_id) {
            return outgoing.fail(SendFailure::DialFailed);
        }
        let peer = self.peer(peer_id);
        if !is_dead {
            peer.is_said_to_be_at(address);
        }
        peer.queue.push(outgoing);
        self.find_way(peer_id, None);
    }

    /// Packets that are not finished yet.
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
        self.close_lines();
        self.peers.values().for_each(|peer| peer.queue.finish());
    }

    /// Finishes everything that is left.
    pub(crate) fn abandon(&mut self) {
        self.stopped = true;
        self.close_lines();
        self.peers.values().for_each(|peer| peer.queue.close(SendFailure::Stopped));
    }

    fn peer(&mut self, peer_id: PeerId) -> &mut Peer {
        let (limits, gate) = (&self.limits, &self.gate);
        self.peers.entry(peer_id).or_insert_with(|| Peer::new(limits, gate.peer(peer_id)))
    }

    /// Gives a peer's waiting packets a way out: a live connection, else a dial. `broken` is a connection on which no
    /// stream could be opened; it is used again only if there is nothing else.
    fn find_way(&mut self, peer_id: PeerId, broken: Option<ConnectionId>) {
        let Some(peer) = self.peers.get(&peer_id) else { return };
        if peer.connections.is_empty() {
            peer.queue.fail_connected_only();
        }
        if peer.writer.is_some() || !peer.queue.has_waiting() {
            return self.forget_if_idle(peer_id);
        }
        // The newest first: an old one may be dead without having noticed.
        let sound = peer.connections.iter().rev().copied().find(|connection| Some(*connection) != broken);
        match sound {
            Some(connection) => self.write_on(peer_id, connection),
            None if peer.dial.is_some() => {}
            None if peer.queue.wants_dial() => self.dial(peer_id, broken.is_some()),
            None => broken.into_iter().for_each(|connection| self.write_on(peer_id, connection)),
        }
    }

    /// Dials a peer wherever packets said that it listens; `anyway` even if it is connected.
    fn dial(&mut self, peer_id: PeerId, anyway: bool) {
        let now = Instant::now();
        if self.peers.get(&peer_id).is_none_or(|peer| peer.addresses.is_empty()) {
            return self.no_way(peer_id, SendFailure::DialFailed);
        }
        match self.dials.room(now) {
            Room::Free => {}
            Room::InPlaceOf(oldest) => self.displace(oldest),
            Room::None => return self.no_way(peer_id, SendFailure::QueueFull),
        }
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        let addresses = peer.addresses.clone();
        let condition = if anyway { PeerCondition::Always } else { PeerCondition::Disconnected };
        let opts = dial(peer_id, addresses.clone(), condition);
        peer.dial = Some((opts.connection_id(), addresses));
        self.dials.begin(peer_id, opts.connection_id(), now);
        self.act(ToSwarm::Dial { opts });
    }

    /// Gives up a dial that took too long. It may be ended only together with the peer's connections, so if there are any
    /// it is left to the transport's own limit.
    fn give_up(&mut self, dial: Dial) {
        let connected = self.peers.get(&dial.peer).is_some_and(|peer| !peer.connections.is_empty());
        if !connected {
            self.act(ToSwarm::CloseConnection { peer_id: dial.peer, connection: CloseConnection::All });
        }
        self.dials.end(dial.connection);
        self.dial_ended(dial.peer, dial.connection, true);
    }

    /// Gives up a dial for the sake of another. Its packets fail, whatever addresses were named meanwhile: a peer that
    /// dialled again at once would take the place that it gives.
    fn displace(&mut self, dial: Dial) {
        self.give_up(dial);
        match self.peers.get(&dial.peer) {
            Some(peer) if !peer.connections.is_empty() => self.find_way(dial.peer, None),
            _ => self.no_way(dial.peer, SendFailure::DialFailed),
        }
    }

    fn no_way(&mut self, peer_id: PeerId, failure: SendFailure) {
        if let Some(peer) = self.peers.get(&peer_id) {
            peer.queue.fail_waiting(failure);
        }
        self.forget_if_idle(peer_id);
    }

    fn write_on(&mut self, peer_id: PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(&peer_id) {
            let last_use = self.ingress.uses.of(connection);
            last_use.packets_follow();
            peer.writer = Some((connection, last_use));
            if let Some(lines) = self.lines.as_ref().filter(|_| !self.stopped) {
                lines.open(peer_id, self.ingress.packet_len(), Arc::clone(&peer.queue) as Arc<dyn PeerLine>);
            }
            self.act(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::One(connection),
                event: FromBehaviour::Write,
            });
        }
    }

    /// From now on packets for the peer come to the behaviour, which finds them another way. Gives the use that the
    /// connection had, if it was the peer's writer.
    fn writer_ended(&mut self, peer_id: PeerId, connection: ConnectionId) -> Option<LastUse> {
        let peer = self.peers.get_mut(&peer_id)?;
        let (_, last_use) = peer.writer.take_if(|(writer, _)| *writer == connection)?;
        if let Some(lines) = &self.lines {
            lines.close(peer_id, self.ingress.packet_len());
        }
        Some(last_use)
    }

    /// No packet comes but through [`Self::send`].
    fn close_lines(&self) {
        let Some(lines) = &self.lines else { return };
        let writing = self.peers.iter().filter(|(_, peer)| peer.writer.is_some());
        writing.for_each(|(peer_id, _)| lines.close(*peer_id, self.ingress.packet_len()));
    }

    fn act(&mut self, action: ToSwarm<(), FromBehaviour>) {
        self.actions.push_back(action);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn link(&mut self, peer_id: PeerId, connection: ConnectionId) -> PeerLink {
        let last_use = self.ingress.uses.of(connection);
        let peer = self.peer(peer_id);
        let (queue, streams, gate) = (peer.queue.clone(), peer.streams.clone(), peer.gate.clone());
        PeerLink {
            queue,
            streams,
            further: self.further.clone(),
            gate,
            ingress: self.ingress.clone(),
            last_use,
            limits: self.limits.clone(),
        }
    }

    fn connected(&mut self, peer_id: PeerId, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.connections.push(connection);
        if peer.dial.as_ref().is_some_and(|(dialled, _)| *dialled == connection) {
            peer.dial = None;
            self.dials.end(connection);
        }
        self.find_way(peer_id, None);
    }

    /// `was_dialled`: this node opened the connection. If nothing passed over it, the peer has no place for this node.
    fn disconnected(&mut self, peer_id: PeerId, connection: ConnectionId, was_dialled: bool) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        peer.connections.retain(|other| *other != connection);
        let queue = Arc::clone(&peer.queue);
        let last_use = self.writer_ended(peer_id, connection);
        if was_dialled && last_use.is_some_and(|last_use| !last_use.was_used()) {
            queue.attempt_failed(SendFailure::DialFailed);
        }
        self.find_way(peer_id, None);
    }

    fn dial_failed(&mut self, peer_id: Option<PeerId>, connection: ConnectionId, error: &DialError) {
        // A peer that only tried to connect, and was denied, leaves an entry without connections behind.
        let Some(peer_id) = peer_id else { return };
        // Not tried at all: nothing is known of the addresses.
        let untried = matches!(error, DialError::DialPeerConditionFalse(_) | DialError::Denied { .. });
        self.dial_ended(peer_id, connection, !untried);
        self.find_way(peer_id, None);
    }

    /// A dial led nowhere. Packets wait on if there is another way: a connection that came meanwhile, or an address that was
    /// named meanwhile.
    fn dial_ended(&mut self, peer_id: PeerId, connection: ConnectionId, tried: bool) {
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
        let Some((_, addresses)) = peer.dial.take_if(|(dialled, _)| *dialled == connection) else { return };
        self.dials.end(connection);
        let connected = !peer.connections.is_empty();
        if !tried {
            if !connected {
                peer.queue.fail_waiting(SendFailure::DialFailed);
            }
            return;
        }
        peer.addresses.retain(|address| !addresses.contains(address));
        if connected || !peer.addresses.is_empty() {
            peer.queue.attempt_failed(SendFailure::DialFailed);
        } else {
            peer.queue.fail_waiting(SendFailure::DialFailed);
        }
        let now = Instant::now();
        addresses.into_iter().for_each(|address| self.failures.add(peer_id, address, now));
    }

    fn forget_if_idle(&mut self, peer_id: PeerId) {
        if self.peers.get(&peer_id).is_some_and(Peer::is_idle) {
            self.peers.remove(&peer_id);
        }
    }
}

/// Finishes a packet of a format that this host does not serve.
pub(crate) fn cannot_send(outbound: OutboundPacket) {
    Outgoing::new(outbound.packet, outbound.reach, outbound.done).fail(SendFailure::DialFailed);
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone(), self.link(peer, connection)))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.protocol.clone(), self.link(peer, connection)))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(event) => self.connected(event.peer_id, event.connection_id),
            FromSwarm::ConnectionClosed(event) => {
                self.disconnected(event.peer_id, event.connection_id, event.endpoint.is_dialer());
            }
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
        let _ = self.writer_ended(peer_id, connection);
        let Some(peer) = self.peers.get_mut(&peer_id) else { return };
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
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Poll::Ready(action);
            }
            match self.dials.poll_late(cx) {
                Poll::Ready(late) => {
                    self.give_up(late);
                    self.find_way(late.peer, None);
                }
                Poll::Pending => break,
            }
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Behaviour {
    /// Handlers may outlive the swarm for a moment: what they give back is finished, not lost.
    fn drop(&mut self) {
        self.abandon();
    }
}

#[cfg(test)]
mod tests;
