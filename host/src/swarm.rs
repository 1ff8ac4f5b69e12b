//! The host's one task: swarm events and commands in turn.
//!
//! Packets that arrive do not pass through here: each connection reads its own and hands them to the mixer. Packets
//! that leave pass as commands and are written by their connection.

mod addresses;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub, identify,
    metrics::{Metrics, Recorder},
    ping,
    swarm::{ConnectionId, DialError, SwarmEvent, dial_opts::PeerCondition},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout_at},
};
use wakumix_role_api::{
    Address, Receiver, StopReport,
    host::{AfterVisit, GossipMessage, HostAddresses, HostMessage, HostStatus, PeerEvent, PublishFailure, Verdict},
    relay::RelayMessage,
};

use crate::{
    asked_dials::AskedDials,
    behaviour::{HostBehaviour, HostBehaviourEvent},
    dialled::Dialled,
    durable::Durable,
    gossip::{self, MeshHealth, SlowPeers, Unsent},
    kept::Kept,
    metadata,
    metrics::{DialOutcome, Direction, HostMetrics},
    mix,
    nat::Nat,
    peers::PeerTable,
    transport::{dial, without_peer},
};

#[expect(clippy::panic, reason = "a panic is how a task fails: the registry makes it again")]
fn fail() -> ! {
    panic!("a connection's task has panicked");
}

/// How often kept peers are looked after, mesh gauges set and waiting requests timed out.
const TICK: Duration = Duration::from_millis(500);

/// How often a stopping host looks whether its queues are empty.
const STOP_TICK: Duration = Duration::from_millis(10);

/// Pings in a row that a connection may fail before it is closed.
const MAX_PING_FAILURES: u8 = 2;

/// What the owner of a host may ask of its task.
pub(crate) enum Control {
    /// Write what waits, close everything, end.
    Stop {
        /// By when.
        deadline: Instant,
        /// How it went.
        done: oneshot::Sender<StopReport>,
    },
}

type Event = SwarmEvent<HostBehaviourEvent>;

/// The state of the host's task. All of it is ephemeral.
pub(crate) struct Host {
    pub(crate) swarm: Swarm<HostBehaviour>,
    pub(crate) commands: Receiver<HostMessage>,
    pub(crate) control: Arc<tokio::sync::Mutex<mpsc::Receiver<Control>>>,
    /// Told when a connection's task has panicked.
    pub(crate) failed: Arc<Notify>,
    pub(crate) durable: Arc<Mutex<Durable>>,
    pub(crate) listeners: Vec<ListenerId>,
    pub(crate) relay: Option<Address<RelayMessage>>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) addresses: watch::Sender<HostAddresses>,
    pub(crate) nat: Nat,
    pub(crate) dialled: Dialled,
    /// The external addresses that the swarm was given.
    pub(crate) told: Vec<Multiaddr>,
    pub(crate) require_metadata: bool,
    pub(crate) kept: Kept,
    pub(crate) peers: PeerTable,
    pub(crate) asked_dials: AskedDials,
    pub(crate) slow_peers: SlowPeers,
    pub(crate) unsent: Unsent,
    /// Failed pings in a row. Bound: connections.
    pub(crate) ping_failures: HashMap<ConnectionId, u8>,
    pub(crate) metrics: HostMetrics,
    pub(crate) libp2p_metrics: Metrics,
    pub(crate) mesh_health: MeshHealth,
}

impl Host {
    /// Runs until it is told to stop or its owner is gone.
    pub(crate) async fn run(mut self) {
        let mut tick = ticker(TICK);
        let (control, failed) = (Arc::clone(&self.control), Arc::clone(&self.failed));
        let mut control = control.lock().await;
        let stop = loop {
            // In no fixed order: neither busy peers nor busy roles keep the other waiting.
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                Some(command) = self.commands.recv() => self.on_command(command),
                _ = tick.tick() => self.on_tick(),
                control = control.recv() => break control,
                () = failed.notified() => fail(),
            }
        };
        if let Some(Control::Stop { deadline, done }) = stop {
            let report = self.stop(deadline).await;
            // The owner may have given up waiting.
            let _ = done.send(report);
        }
    }

    fn on_command(&mut self, command: HostMessage) {
        match command {
            HostMessage::SendPackets(packets) => {
                let behaviour = self.swarm.behaviour_mut();
                packets.into_iter().for_each(|packet| behaviour.send(packet));
            }
            HostMessage::Request(request) => self.swarm.behaviour_mut().rpc.request(request),
            HostMessage::Publish { topic, data, reply } => {
                let gossip = self.swarm.behaviour_mut().gossip.as_mut();
                let published =
                    gossip.map_or(Err(PublishFailure::NoRelay), |gossip| self.unsent.publish(gossip, &topic, data));
                // Nobody waits any more.
                let _ = reply.send(published);
            }
            HostMessage::Subscribe { topic, reply } => {
                self.durable.lock().topics.insert(topic.clone());
                let joined = self.gossip().is_some_and(|gossip| gossip::subscribe(gossip, &topic));
                // Nobody waits any more.
                let _ = reply.send(joined);
            }
            HostMessage::Unsubscribe { topic } => {
                self.durable.lock().topics.remove(&topic);
                if let Some(gossip) = self.gossip() {
                    gossip::unsubscribe(gossip, &topic);
                }
            }
            HostMessage::Verdict { id, source, verdict } => self.judge(id, &source, verdict),
            HostMessage::KeepConnected(addresses) => {
                self.durable.lock().kept.clone_from(&addresses);
                self.keep_connected(addresses);
            }
            HostMessage::EndVisit(peer, then) => self.end_visit(peer, then),
            HostMessage::Peers(reply) => {
                // Nobody waits any more.
                let _ = reply.send(self.swarm.connected_peers().copied().collect());
            }
            HostMessage::Status(reply) => {
                // Nobody waits any more.
                let _ = reply.send(self.status());
            }
            HostMessage::PeerDetails(reply) => {
                let mut peers: Vec<_> = self.peers.details().collect();
                if let Some(gossip) = self.swarm.behaviour().gossip.as_ref() {
                    gossip::describe(gossip, peers.iter_mut());
                }
                // Nobody waits any more.
                let _ = reply.send(peers);
            }
            HostMessage::Dial { peer, addresses, reply } => {
                self.asked_dials.begin(&mut self.swarm, peer, addresses, reply);
            }
        }
    }

    fn end_visit(&mut self, peer: PeerId, then: AfterVisit) {
        if then == AfterVisit::KeepOne {
            self.swarm.behaviour_mut().limits.reached(peer, Instant::now());
        }
        // gossipsub says only once, over one of the connections to a peer, what this node has subscribed to.
        let gossips = self.swarm.behaviour().gossip.is_enabled() && self.peers.may_gossip(&peer);
        if gossips || (then == AfterVisit::Leave && self.kept.contains(&peer)) {
            return;
        }
        let me = *self.swarm.local_peer_id();
        for connection in self.swarm.behaviour().after_visit(me, peer, then) {
            // False for one that is gone meanwhile.
            let _ = self.swarm.close_connection(connection);
        }
    }

    /// Does what was asked of the host before this one.
    pub(crate) fn take_up(&mut self) {
        let (kept, topics) = {
            let durable = self.durable.lock();
            (durable.kept.clone(), durable.topics.clone())
        };
        self.keep_connected(kept);
        if let Some(gossip) = self.gossip() {
            topics.iter().for_each(|topic| _ = gossip::subscribe(gossip, topic));
        }
    }

    fn gossip(&mut self) -> Option<&mut gossip::Behaviour> {
        self.swarm.behaviour_mut().gossip.as_mut()
    }

    fn judge(&mut self, id: Vec<u8>, source: &PeerId, verdict: Verdict) {
        if let Some(gossip) = self.gossip() {
            gossip::judge(gossip, id, source, verdict);
        }
    }

    fn status(&self) -> HostStatus {
        let gossip = self.swarm.behaviour().gossip.as_ref();
        HostStatus {
            listen_addresses: self.addresses.borrow().listen.clone(),
            connected_peers: self.peers.len(),
            mesh_peers: gossip.map(gossip::mesh_peers).unwrap_or_default(),
        }
    }

    fn keep_connected(&mut self, addresses: Vec<Multiaddr>) {
        let now = Instant::now();
        for (address, reason) in self.kept.replace(addresses, |peer| self.swarm.is_connected(peer), now) {
            tracing::warn!(%address, %reason, "a peer to stay connected to is left out");
        }
        self.hold_on_to_needed();
        self.dial_kept(now);
    }

    /// Says which connections stay when places are needed, whoever opened them.
    fn hold_on_to_needed(&mut self) {
        let gossip = self.swarm.behaviour().gossip.as_ref();
        let needed = gossip.into_iter().flat_map(gossip::peers_in_mesh).chain(self.kept.peers()).collect();
        self.swarm.behaviour_mut().limits.need(needed);
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        self.dial_kept(now);
        self.look_after_addresses(now);
        self.swarm.behaviour_mut().rpc.expire(now);
        self.hold_on_to_needed();
        self.swarm.behaviour_mut().limits.finish(now);
        if let Some(gossip) = self.swarm.behaviour().gossip.as_ref() {
            self.mesh_health.record(&gossip::mesh_peers(gossip));
            for peer in gossip::bad_peers(gossip) {
                // Gone meanwhile.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    fn dial_kept(&mut self, now: Instant) {
        for (peer, addresses) in self.kept.take_due(now) {
            if self.swarm.is_connected(&peer) {
                self.kept.connected(&peer, now);
                continue;
            }
            let opts = dial(peer, addresses, PeerCondition::DisconnectedAndNotDialing);
            if let Err(error) = self.swarm.dial(opts) {
                self.dial_failed(Some(&peer), &error);
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        self.libp2p_metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, num_established, .. } => {
                let direction = if endpoint.is_dialer() { Direction::Outbound } else { Direction::Inbound };
                if direction == Direction::Outbound {
                    self.metrics.dialled(DialOutcome::Connected);
                    self.dialled.connected(connection_id, peer_id, without_peer(endpoint.get_remote_address()));
                }
                if num_established.get() == 1 {
                    let dialled = endpoint.is_dialer().then(|| without_peer(endpoint.get_remote_address()));
                    self.durable.lock().connected.insert(peer_id);
                    self.tell(PeerEvent::Connected { peer: peer_id, dialled });
                }
                let dialled = endpoint.is_dialer().then(|| without_peer(endpoint.get_remote_address()));
                self.nat.connected(connection_id, peer_id, endpoint);
                self.peers.connected(peer_id, direction, dialled);
                self.asked_dials.ended(connection_id, true);
                self.kept.connected(&peer_id, Instant::now());
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.ping_failures.remove(&connection_id);
                self.nat.closed(connection_id, &peer_id, num_established == 0);
                if self.dialled.closed(connection_id) && num_established > 0 {
                    self.tell(PeerEvent::ReachedLost { peer: peer_id });
                }
                if num_established == 0 {
                    self.forget_dialler(&peer_id);
                    self.durable.lock().connected.remove(&peer_id);
                    self.tell(PeerEvent::Disconnected { peer: peer_id });
                    self.peers.disconnected(&peer_id);
                    self.slow_peers.disconnected(&peer_id);
                    self.kept.lost(&peer_id, Instant::now());
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.asked_dials.ended(connection_id, false);
                self.dial_failed(peer_id.as_ref(), &error);
            }
            SwarmEvent::ListenerError { listener_id, error } if self.listeners.contains(&listener_id) => {
                tracing::warn!(%error, "a listener had an error");
            }
            SwarmEvent::NewListenAddr { listener_id, address } => {
                self.nat.listening(listener_id, address);
                self.look_after_addresses(Instant::now());
            }
            SwarmEvent::ExpiredListenAddr { listener_id, address } => {
                self.nat.not_listening(listener_id, &address);
                self.look_after_addresses(Instant::now());
            }
            SwarmEvent::ListenerClosed { listener_id, addresses, reason } => {
                if let (Err(error), true) = (reason, self.listeners.contains(&listener_id)) {
                    tracing::error!(?addresses, %error, "the node no longer listens on these addresses");
                }
                self.nat.listener_closed(listener_id, Instant::now());
                self.look_after_addresses(Instant::now());
            }
            _ => {}
        }
    }

    fn dial_failed(&mut self, peer: Option<&PeerId>, error: &DialError) {
        match error {
            // Not dialled at all: connected, or somebody else is dialling.
            DialError::DialPeerConditionFalse(_) => {}
            DialError::Denied { .. } => self.metrics.dialled(DialOutcome::Denied),
            _ => self.metrics.dialled(DialOutcome::Failed),
        }
        if let Some(peer) = peer.filter(|peer| !self.swarm.is_connected(peer)) {
            self.kept.failed(peer, Instant::now());
            if !matches!(error, DialError::DialPeerConditionFalse(_) | DialError::Denied { .. }) {
                let addresses = match error {
                    DialError::Transport(errors) => errors.iter().map(|(address, _)| without_peer(address)).collect(),
                    DialError::WrongPeerId { address, .. } => vec![without_peer(address)],
                    _ => Vec::new(),
                };
                let answered_by = match error {
                    DialError::WrongPeerId { obtained, .. } => Some(*obtained),
                    _ => None,
                };
                self.tell(PeerEvent::DialFailed { peer: *peer, addresses, answered_by });
            }
        }
    }

    fn tell(&self, event: PeerEvent) {
        // A node without discovery has no listener.
        let _ = self.events.send(event);
    }

    fn on_behaviour_event(&mut self, event: HostBehaviourEvent) {
        match event {
            HostBehaviourEvent::Gossip(event) => {
                self.libp2p_metrics.record(&event);
                match event {
                    gossipsub::Event::Message { propagation_source, message_id, message } => {
                        self.on_gossip(propagation_source, message_id.0, message);
                    }
                    gossipsub::Event::SlowPeer { peer_id, .. } => self.on_slow_peer(peer_id),
                    _ => {}
                }
            }
            HostBehaviourEvent::Identify(event) => {
                self.libp2p_metrics.record(&event);
                if let identify::Event::Received { connection_id, peer_id, info } = event {
                    self.look_at_identity(connection_id, peer_id, &info);
                    self.peers.identified(&peer_id, &info);
                    if let Some(address) = self.dialled.spoke(connection_id) {
                        self.tell(PeerEvent::Reached { peer: peer_id, address });
                    }
                    let protocols = info.protocols.iter().map(ToString::to_string).collect();
                    self.tell(PeerEvent::Identified { peer: peer_id, protocols, addresses: info.listen_addrs });
                }
            }
            HostBehaviourEvent::Ping(event) => {
                self.libp2p_metrics.record(&event);
                self.on_ping(&event);
            }
            HostBehaviourEvent::Metadata(event) => self.on_metadata(event),
            HostBehaviourEvent::Circuits(event) => self.on_circuits(&event),
            HostBehaviourEvent::CircuitRelay(event) => self.libp2p_metrics.record(&event),
            HostBehaviourEvent::Autonat(event) => {
                self.nat.dialled_back(event, Instant::now());
                self.look_after_addresses(Instant::now());
            }
            HostBehaviourEvent::Mix(()) | HostBehaviourEvent::SphinxPacket(()) => {}
            HostBehaviourEvent::Limits(never) | HostBehaviourEvent::Rpc(never) => match never {},
        }
    }

    /// Hands a message to the relay for its verdict. When the relay's queue is full the message is dropped without
    /// blame: who sent it is not at fault.
    fn on_gossip(&mut self, source: PeerId, id: Vec<u8>, message: gossipsub::Message) {
        let topic = message.topic.into_string();
        let gossip = GossipMessage { id: id.clone(), source, topic, data: message.data };
        let handed_over = self.relay.as_ref().is_some_and(|relay| relay.try_send(RelayMessage::Gossip(gossip)).is_ok());
        if !handed_over {
            self.metrics.gossip_overload();
            self.judge(id, &source, Verdict::Ignore);
        }
    }

    fn on_slow_peer(&mut self, peer: PeerId) {
        if self.gossip().is_some_and(|gossip| gossip.has_moved(&peer)) {
            return self.slow_peers.moved(&peer);
        }
        // gossipsub reports a peer that has gone meanwhile too.
        if self.swarm.is_connected(&peer) && self.slow_peers.reported(peer, Instant::now()) {
            self.metrics.slow_peer();
            tracing::debug!(%peer, "gossip does not get away to this peer; disconnecting, a new connection has new streams");
            // Gone meanwhile.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    fn on_ping(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(_) | Err(ping::Failure::Unsupported) => {
                self.ping_failures.remove(&event.connection);
            }
            Err(_) => {
                let failures = self.ping_failures.entry(event.connection).or_default();
                *failures += 1;
                if *failures >= MAX_PING_FAILURES {
                    self.swarm.close_connection(event.connection);
                }
            }
        }
    }

    fn on_metadata(&mut self, event: metadata::Event) {
        self.metrics.metadata(event.direction, event.judgement.as_str());
        if !event.judgement.disconnects(self.require_metadata) {
            if !event.shards.is_empty() {
                self.tell(PeerEvent::Shards { peer: event.peer, shards: event.shards });
            }
            return;
        }
        if self.kept.contains(&event.peer) {
            let found = event.judgement.as_str();
            tracing::warn!(peer = %event.peer, found, "a peer to stay connected to is not of this node's cluster; disconnecting");
        }
        self.swarm.close_connection(event.connection);
    }

    /// Stops accepting, writes what waits until `deadline`, finishes the rest, closes all connections.
    async fn stop(mut self, deadline: Instant) -> StopReport {
        let reservations = self.nat.reservations.end();
        for listener in std::mem::take(&mut self.listeners).into_iter().chain(reservations) {
            self.swarm.remove_listener(listener);
        }
        while let Some(command) = self.commands.try_recv() {
            self.on_command(command);
        }
        let waiting = self.pending();
        self.swarm.behaviour_mut().formats_mut().for_each(mix::Behaviour::finish);
        let flushed = self.until(deadline, Self::is_flushed).await;
        let abandoned = self.pending();
        self.swarm.behaviour_mut().formats_mut().for_each(mix::Behaviour::abandon);
        let connected: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            // Gone meanwhile.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = self.until(deadline, |host| host.swarm.connected_peers().next().is_none()).await;
        StopReport {
            finished: waiting.saturating_sub(abandoned) as u64,
            abandoned: abandoned as u64,
            in_time: flushed && closed,
        }
    }

    fn pending(&self) -> usize {
        self.swarm.behaviour().formats().map(mix::Behaviour::pending).sum()
    }

    fn is_flushed(&self) -> bool {
        self.swarm.behaviour().formats().all(|format| format.pending() == 0 && format.writers() == 0)
    }

    /// Runs the swarm until `is_done`; false when the deadline came first.
    async fn until(&mut self, deadline: Instant, is_done: impl Fn(&Self) -> bool) -> bool {
        let mut tick = ticker(STOP_TICK);
        let work = async {
            while !is_done(self) {
                tokio::select! {
                    event = self.swarm.select_next_some() => self.on_event(event),
                    _ = tick.tick() => {}
                }
            }
        };
        timeout_at(deadline, work).await.is_ok()
    }
}

fn ticker(period: Duration) -> Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    tick
}
