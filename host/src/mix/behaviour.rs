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

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;
    use libp2p::{
        core::ConnectedPoint,
        identity::{Keypair, secp256k1},
        swarm::{
            DialFailure,
            behaviour::{ConnectionClosed, ConnectionEstablished},
        },
    };
    use tokio::sync::{mpsc, oneshot};
    use wakumix_mix::{HopAddress, Ledger, Origin, Packet};
    use wakumix_sphinx::BufferPool;
    use wakumix_telemetry::Telemetry;

    use super::*;
    use crate::metrics::MixMetrics;

    struct Bench {
        behaviour: Behaviour,
        pool: BufferPool,
        ledger: Arc<Ledger>,
        /// Packets that readers would deliver: none here.
        _packets: mpsc::Receiver<Packet>,
    }

    type Outcome = oneshot::Receiver<Result<(), SendFailure>>;

    impl Bench {
        fn new() -> Self {
            let (pool, ledger) = (BufferPool::new(64, 8), Ledger::new());
            let (packets, receiver) = super::super::ingress_channel();
            let ingress = Ingress {
                pool: pool.clone(),
                ledger: ledger.clone(),
                packets,
                turn: Arc::default(),
                frame_timeout: std::time::Duration::from_secs(1),
                metrics: MixMetrics::new(&Telemetry::new()),
            };
            let limits = MixLimits { max_dialling: 2, ..MixLimits::default() };
            let behaviour = Behaviour::new(StreamProtocol::new("/mix/1.0.0"), limits, ingress);
            Self { behaviour, pool, ledger, _packets: receiver }
        }

        fn send(&mut self, to: PeerId) -> Outcome {
            let packet = Packet::originated(self.pool.take().unwrap(), &self.ledger, Origin::Request);
            let (done, outcome) = oneshot::channel();
            let to = HopAddress::from_multiaddr(&address(), to).unwrap();
            self.behaviour.send(OutboundPacket { to, packet, done: Some(done) });
            outcome
        }

        /// What the behaviour asks for next: the connection it dials or writes on.
        fn asks(&mut self) -> Option<Asked> {
            let waker = noop_waker();
            match self.behaviour.poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(ToSwarm::Dial { opts }) => Some(Asked::Dial(opts.connection_id())),
                Poll::Ready(ToSwarm::NotifyHandler { handler: NotifyHandler::One(on), .. }) => Some(Asked::Write(on)),
                _ => None,
            }
        }

        fn dial_fails(&mut self, peer: PeerId, connection_id: ConnectionId) {
            let error = DialError::Aborted;
            let failure = DialFailure { peer_id: Some(peer), error: &error, connection_id };
            self.behaviour.on_swarm_event(FromSwarm::DialFailure(failure));
        }

        fn connects(&mut self, peer_id: PeerId, connection_id: ConnectionId) {
            let endpoint = endpoint();
            drop(self.behaviour.handle_established_inbound_connection(connection_id, peer_id, &address(), &address()));
            self.behaviour.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                failed_addresses: &[],
                other_established: 0,
            }));
        }

        fn disconnects(&mut self, peer_id: PeerId, connection_id: ConnectionId) {
            let endpoint = endpoint();
            self.behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                cause: None,
                remaining_established: 0,
            }));
        }
    }

    #[derive(Debug, PartialEq)]
    enum Asked {
        Dial(ConnectionId),
        Write(ConnectionId),
    }

    fn address() -> Multiaddr {
        "/ip4/127.0.0.1/tcp/4001".parse().unwrap()
    }

    fn endpoint() -> ConnectedPoint {
        ConnectedPoint::Listener { local_addr: address(), send_back_addr: address() }
    }

    fn peer() -> PeerId {
        Keypair::from(secp256k1::Keypair::generate()).public().to_peer_id()
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(1_000_000 + number)
    }

    #[test]
    fn dials_once_for_many_packets_and_forgets_a_peer_that_cannot_be_reached() {
        let (mut bench, peer) = (Bench::new(), peer());
        let outcomes = [bench.send(peer), bench.send(peer)];
        let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
        assert_eq!(bench.asks(), None);
        bench.dial_fails(peer, dial);
        for mut outcome in outcomes {
            assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::DialFailed)));
        }
        assert!(bench.behaviour.peers.is_empty());
    }

    #[test]
    fn refuses_packets_for_one_dialled_peer_too_many() {
        let mut bench = Bench::new();
        let (_first, _second, mut third) = (bench.send(peer()), bench.send(peer()), bench.send(peer()));
        assert_eq!(third.try_recv(), Ok(Err(SendFailure::QueueFull)));
        assert_eq!(bench.behaviour.peers.len(), 2);
    }

    #[test]
    fn writes_on_one_live_connection_and_moves_on_when_it_closes() {
        let (mut bench, peer) = (Bench::new(), peer());
        bench.connects(peer, connection(1));
        bench.connects(peer, connection(2));
        let _outcomes = [bench.send(peer), bench.send(peer)];
        assert_eq!(bench.asks(), Some(Asked::Write(connection(2))), "the newest");
        assert_eq!(bench.asks(), None, "one stream is enough");
        bench.disconnects(peer, connection(2));
        assert_eq!(bench.asks(), Some(Asked::Write(connection(1))));
        bench.disconnects(peer, connection(1));
        assert!(matches!(bench.asks(), Some(Asked::Dial(_))));
    }

    #[test]
    fn looks_for_another_way_when_a_stream_cannot_be_opened() {
        let (mut bench, peer) = (Bench::new(), peer());
        bench.connects(peer, connection(1));
        let mut outcome = bench.send(peer);
        assert_eq!(bench.asks(), Some(Asked::Write(connection(1))));
        let failed = ToBehaviour::OpenFailed { unsupported: false };
        bench.behaviour.on_connection_handler_event(peer, connection(1), failed);
        let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
        bench.dial_fails(peer, dial);
        assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::DialFailed)));
    }

    #[test]
    fn forgets_a_peer_with_its_last_connection() {
        let (mut bench, peer) = (Bench::new(), peer());
        bench.connects(peer, connection(1));
        bench.connects(peer, connection(2));
        bench.disconnects(peer, connection(1));
        assert_eq!(bench.behaviour.peers.len(), 1);
        bench.disconnects(peer, connection(2));
        assert!(bench.behaviour.peers.is_empty());
    }

    #[test]
    fn settles_everything_when_it_is_dropped() {
        let (mut bench, peer) = (Bench::new(), peer());
        let mut outcome = bench.send(peer);
        drop(bench.behaviour);
        assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::Stopped)));
        assert_eq!((bench.pool.in_use(), bench.ledger.snapshot().residue(0)), (0, 0));
    }
}
