use futures::task::noop_waker;
use libp2p::{
    core::ConnectedPoint,
    identity::{Keypair, secp256k1},
    swarm::{
        DialFailure,
        behaviour::{ConnectionClosed, ConnectionEstablished},
    },
};
use tokio::sync::oneshot;
use wakumix_mix::{HopAddress, Ledger, Origin, Packet};
use wakumix_role_api::{Formats, Inbox, mailbox, mixer::MixerHandle};
use wakumix_role_testkit::telemetry;
use wakumix_sphinx::{BufferPool, Profile, Sphinx};

use super::*;
use crate::{limits::LastUses, metrics::MixMetrics};

struct Bench {
    behaviour: Behaviour,
    pool: BufferPool,
    ledger: Arc<Ledger>,
    /// Packets that readers would deliver: none here.
    _packets: Inbox<Packet>,
}

type Outcome = oneshot::Receiver<Result<(), SendFailure>>;

impl Bench {
    fn new() -> Self {
        let (pool, ledger) = (BufferPool::new(64, 8), Ledger::new());
        let telemetry = telemetry(&crate::METRICS);
        let (received, receiver) = mailbox("mixer", 8, &telemetry);
        let (local, _) = mailbox("mixer_local", 1, &telemetry);
        let mixer = MixerHandle::new(received, local);
        let ingress = Ingress {
            pool: pool.clone(),
            ledger: ledger.clone(),
            mixer,
            turn: Arc::default(),
            idle_timeout: std::time::Duration::from_secs(1),
            frame_timeout: std::time::Duration::from_secs(1),
            metrics: MixMetrics::new(&telemetry),
            uses: LastUses::default(),
        };
        let limits = MixLimits { max_dialling: 2, ..MixLimits::default() };
        let formats = Formats::one(Sphinx::new(Profile::default()), 8);
        let gate = Gate::new(&formats, &limits, &Arc::default(), Weaknesses::NONE, &telemetry);
        let protocol = StreamProtocol::new("/mix/1.0.0");
        let behaviour = Behaviour::new(protocol, limits, Weaknesses::NONE, ingress, gate, None, PeerLines::default());
        Self { behaviour, pool, ledger, _packets: receiver }
    }

    fn send(&mut self, to: PeerId) -> Outcome {
        self.send_to(to, &address())
    }

    fn send_to(&mut self, to: PeerId, address: &Multiaddr) -> Outcome {
        self.send_by(Reach::Dial, to, address)
    }

    fn send_if_connected(&mut self, to: PeerId) -> Outcome {
        self.send_by(Reach::ConnectedOnly, to, &address())
    }

    fn send_by(&mut self, reach: Reach, to: PeerId, address: &Multiaddr) -> Outcome {
        let packet = Packet::originated(self.pool.take().unwrap(), &self.ledger, Origin::Request);
        let (done, outcome) = oneshot::channel();
        let to = HopAddress::from_multiaddr(address, to).unwrap();
        self.behaviour.send(OutboundPacket { to, reach, packet, done: Some(done) });
        outcome
    }

    /// What the behaviour asks for next: the connection it dials or writes on.
    fn asks(&mut self) -> Option<Asked> {
        let waker = noop_waker();
        match self.behaviour.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(ToSwarm::Dial { opts }) => Some(Asked::Dial(opts.connection_id())),
            Poll::Ready(ToSwarm::NotifyHandler { handler: NotifyHandler::One(on), .. }) => Some(Asked::Write(on)),
            Poll::Ready(ToSwarm::CloseConnection { peer_id, .. }) => Some(Asked::GiveUp(peer_id)),
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
        self.closes(peer_id, connection_id, &endpoint());
    }

    /// A peer hangs up on a connection that this node opened.
    fn refuses(&mut self, peer_id: PeerId, connection_id: ConnectionId) {
        let (role_override, port_use) = (Endpoint::Dialer, PortUse::New);
        let endpoint = ConnectedPoint::Dialer { address: address(), role_override, port_use };
        self.closes(peer_id, connection_id, &endpoint);
    }

    fn closes(&mut self, peer_id: PeerId, connection_id: ConnectionId, endpoint: &ConnectedPoint) {
        self.behaviour.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id,
            endpoint,
            cause: None,
            remaining_established: 0,
        }));
    }
}

#[derive(Debug, PartialEq)]
enum Asked {
    Dial(ConnectionId),
    Write(ConnectionId),
    GiveUp(PeerId),
}

fn address() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/4001".parse().unwrap()
}

fn elsewhere() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/4002".parse().unwrap()
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

#[tokio::test(start_paused = true)]
async fn dials_once_for_many_packets_and_forgets_a_peer_that_cannot_be_reached() {
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

#[tokio::test(start_paused = true)]
async fn refuses_packets_for_one_dialled_peer_too_many() {
    let mut bench = Bench::new();
    let (_first, _second, mut third) = (bench.send(peer()), bench.send(peer()), bench.send(peer()));
    assert_eq!(third.try_recv(), Ok(Err(SendFailure::QueueFull)));
    assert_eq!(bench.behaviour.peers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn writes_on_one_live_connection_and_moves_on_when_it_closes() {
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

#[tokio::test(start_paused = true)]
async fn a_peer_without_a_place_for_this_node_is_not_dialled_again_and_again() {
    let (mut bench, peer) = (Bench::new(), peer());
    let outcome = bench.send(peer);
    for attempt in 1..=2 {
        let Some(Asked::Dial(connection)) = bench.asks() else { panic!("attempt {attempt}") };
        bench.connects(peer, connection);
        assert_eq!(bench.asks(), Some(Asked::Write(connection)));
        bench.refuses(peer, connection);
    }
    assert_eq!(outcome.await, Ok(Err(SendFailure::DialFailed)));
    assert_eq!(bench.asks(), None);
}

#[tokio::test(start_paused = true)]
async fn looks_for_another_way_when_a_stream_cannot_be_opened() {
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

#[tokio::test(start_paused = true)]
async fn forgets_a_peer_with_its_last_connection() {
    let (mut bench, peer) = (Bench::new(), peer());
    bench.connects(peer, connection(1));
    bench.connects(peer, connection(2));
    bench.disconnects(peer, connection(1));
    assert_eq!(bench.behaviour.peers.len(), 1);
    bench.disconnects(peer, connection(2));
    assert!(bench.behaviour.peers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn finishes_everything_when_it_is_dropped() {
    let (mut bench, peer) = (Bench::new(), peer());
    let mut outcome = bench.send(peer);
    drop(bench.behaviour);
    assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::Stopped)));
    assert_eq!((bench.pool.in_use(), bench.ledger.snapshot().unaccounted(0)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_dial_that_takes_too_long_is_given_up_and_its_address_left_alone_for_a_moment() {
    let (mut bench, peer) = (Bench::new(), peer());
    let mut outcome = bench.send(peer);
    let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
    tokio::time::advance(bench.behaviour.limits.dial_timeout).await;
    assert_eq!(bench.asks(), Some(Asked::GiveUp(peer)));
    assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::DialFailed)));
    assert!(bench.behaviour.peers.is_empty());
    // What the swarm says of it afterwards changes nothing.
    bench.dial_fails(peer, dial);
    assert_eq!(bench.send(peer).try_recv(), Ok(Err(SendFailure::DialFailed)), "nobody was there a moment ago");
    assert_eq!(bench.asks(), None);
    let _other = bench.send_to(peer, &elsewhere());
    assert!(matches!(bench.asks(), Some(Asked::Dial(_))), "another address may be right");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_dial_gives_way_when_all_have_had_their_time() {
    let mut bench = Bench::new();
    let (first, second, third) = (peer(), peer(), peer());
    let (mut oldest, _second) = (bench.send(first), bench.send(second));
    assert_eq!(bench.send(third).try_recv(), Ok(Err(SendFailure::QueueFull)));
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let mut newest = bench.send(third);
    assert_eq!(oldest.try_recv(), Ok(Err(SendFailure::DialFailed)));
    assert!(newest.try_recv().is_err(), "it waits for its dial");
    let asked: Vec<_> = std::iter::from_fn(|| bench.asks()).collect();
    assert!(
        matches!(asked[..], [Asked::Dial(_), Asked::Dial(_), Asked::GiveUp(gone), Asked::Dial(_)] if gone == first)
    );
    assert_eq!(bench.behaviour.peers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn packets_wait_for_a_second_dial_when_another_address_was_named_meanwhile() {
    let (mut bench, peer) = (Bench::new(), peer());
    let mut first = bench.send(peer);
    let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
    let mut second = bench.send_to(peer, &elsewhere());
    assert_eq!(bench.asks(), None);
    bench.dial_fails(peer, dial);
    let Some(Asked::Dial(again)) = bench.asks() else { panic!("no second dial") };
    assert!(first.try_recv().is_err() && second.try_recv().is_err());
    bench.dial_fails(peer, again);
    for outcome in [&mut first, &mut second] {
        assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::DialFailed)));
    }
    assert!(bench.behaviour.peers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_during_a_dial_is_used_and_outlives_its_failure() {
    let (mut bench, peer) = (Bench::new(), peer());
    let mut outcome = bench.send(peer);
    let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
    bench.connects(peer, connection(1));
    assert_eq!(bench.asks(), Some(Asked::Write(connection(1))));
    bench.dial_fails(peer, dial);
    assert!(outcome.try_recv().is_err(), "the connection still has to try");
}

#[tokio::test(start_paused = true)]
async fn keeps_the_newest_addresses_of_a_peer() {
    let (mut bench, peer) = (Bench::new(), peer());
    bench.connects(peer, connection(1));
    for port in 1..20 {
        let _outcome = bench.send_to(peer, &format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap());
    }
    let known = &bench.behaviour.peers[&peer].addresses;
    assert_eq!((known.len(), known.last().unwrap().to_string()), (MAX_ADDRESSES, "/ip4/127.0.0.1/tcp/19".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_packet_for_connected_peers_only_waits_for_no_dial() {
    let (mut bench, peer) = (Bench::new(), peer());
    assert_eq!(bench.send_if_connected(peer).try_recv(), Ok(Err(SendFailure::NotConnected)));
    assert_eq!(bench.asks(), None);
    assert!(bench.behaviour.peers.is_empty());
    // Not even for a dial that somebody else has asked for.
    let mut dialled = bench.send(peer);
    let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
    assert_eq!(bench.send_if_connected(peer).try_recv(), Ok(Err(SendFailure::NotConnected)));
    bench.dial_fails(peer, dial);
    assert_eq!(dialled.try_recv(), Ok(Err(SendFailure::DialFailed)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_dialled_when_the_connection_goes_between_decision_and_write() {
    let (mut bench, peer) = (Bench::new(), peer());
    bench.connects(peer, connection(1));
    let mut outcome = bench.send_if_connected(peer);
    assert_eq!(bench.asks(), Some(Asked::Write(connection(1))));
    bench.disconnects(peer, connection(1));
    assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::NotConnected)));
    assert_eq!(bench.asks(), None);
    assert!(bench.behaviour.peers.is_empty(), "and its address is not kept");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_only_the_packets_that_may_not_be_dialled_for() {
    let (mut bench, peer) = (Bench::new(), peer());
    bench.connects(peer, connection(1));
    bench.connects(peer, connection(2));
    let (mut connected_only, mut dialled) = (bench.send_if_connected(peer), bench.send_to(peer, &elsewhere()));
    assert_eq!(bench.asks(), Some(Asked::Write(connection(2))));
    bench.disconnects(peer, connection(2));
    assert_eq!(bench.asks(), Some(Asked::Write(connection(1))), "another connection is as good");
    bench.disconnects(peer, connection(1));
    assert_eq!(connected_only.try_recv(), Ok(Err(SendFailure::NotConnected)));
    let Some(Asked::Dial(dial)) = bench.asks() else { panic!("no dial") };
    bench.dial_fails(peer, dial);
    assert_eq!(dialled.try_recv(), Ok(Err(SendFailure::DialFailed)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_cannot_be_opened_is_tried_again_where_nothing_may_be_dialled() {
    let (mut bench, peer) = (Bench::new(), peer());
    bench.connects(peer, connection(1));
    let mut outcome = bench.send_if_connected(peer);
    for _ in 0..2 {
        assert_eq!(bench.asks(), Some(Asked::Write(connection(1))));
        assert!(outcome.try_recv().is_err());
        let failed = ToBehaviour::OpenFailed { unsupported: false };
        bench.behaviour.on_connection_handler_event(peer, connection(1), failed);
    }
    assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::NotConnected)));
    assert_eq!(bench.asks(), None);
}
