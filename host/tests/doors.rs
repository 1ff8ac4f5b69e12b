//! Who gets in, and who goes for it, when many want to.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{
    Multiaddr, StreamProtocol, Transport as _,
    core::{
        Endpoint,
        transport::{DialOpts, PortUse},
    },
    identity::Keypair,
    quic,
};
use parking_lot::Mutex;
use support::{
    LOOPBACK, Node, QUIC, Setup, TCP,
    raw::{MIX, Muxer, RawPeer, frame, packet_frame},
    until, within,
};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    task::JoinSet,
};
use wakumix_role_api::{
    InboundRequest, Service, Services,
    host::{ReadRule, RequestFailure},
};
use wakumix_waku::lightpush::V3_PROTOCOL;

/// Longer than a test takes.
const NEVER: Duration = Duration::from_secs(3600);
const LIGHTPUSH: StreamProtocol = StreamProtocol::new(V3_PROTOCOL);

/// A node with a dozen places for remotes.
fn small(grace: Duration, shared: &[&str]) -> Setup {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.connections.total = 16;
    setup.config.connections.inbound = 12;
    setup.config.connections.grace = grace;
    setup.config.connections.shared_addresses = shared.iter().map(|network| network.parse().unwrap()).collect();
    setup
}

async fn peer_at(node: &Node, ip: &str) -> RawPeer {
    let mut peer = RawPeer::start_at(Muxer::Yamux, ip).await;
    peer.connect(node.full_address(0)).await;
    peer
}

fn refused(node: &Node, reason: &str) -> u64 {
    node.metric(&format!("waku_mix_connections_refused_total{{reason=\"{reason}\"}}"))
}

fn inbound(node: &Node) -> u64 {
    node.metric("waku_mix_inbound_connections")
}

#[tokio::test(flavor = "multi_thread")]
async fn identities_of_one_address_keep_nobody_else_out() {
    // Where the address counts as one that many share, they do.
    for (shared, reason, let_in) in [(&[][..], "address_share", 3), (&[LOOPBACK][..], "inbound", 12)] {
        let node = small(NEVER, shared).start().await;
        let mut crowd = Vec::new();
        for _ in 0..14 {
            crowd.push(peer_at(&node, "127.0.0.1").await);
        }
        until(async || refused(&node, reason) == 14 - let_in).await;
        assert_eq!(inbound(&node), let_in);
        let mut newcomer = peer_at(&node, "127.0.1.1").await;
        if shared.is_empty() {
            until(async || inbound(&node) == let_in + 1).await;
            assert!(newcomer.is_connected());
        } else {
            newcomer.disconnected().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_the_place_of_the_connection_that_was_longest_of_no_use() {
    let mut node = small(Duration::ZERO, &[LOOPBACK]).start().await;
    let mut peers = Vec::new();
    for _ in 0..12 {
        peers.push(peer_at(&node, "127.0.0.1").await);
    }
    until(async || inbound(&node) == 12).await;
    // The first has sent a packet since then, so the second goes; it has a stream, which is no use.
    let mut idle = peers[1].open(node.peer(), MIX).await;
    idle.flush().await.unwrap();
    let mut stream = peers[0].open(node.peer(), MIX).await;
    within(stream.write_all(&packet_frame(7))).await.unwrap();
    within(stream.flush()).await.unwrap();
    assert_eq!(node.receive_number().await, 7);
    let newcomer = peer_at(&node, "127.0.0.1").await;
    peers[1].disconnected().await;
    until(async || node.metric("waku_mix_connections_evicted_total") == 1).await;
    assert!(newcomer.is_connected() && peers[0].is_connected());
    assert_eq!((inbound(&node), refused(&node, "inbound")), (12, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_the_node_stays_connected_to_are_not_let_go() {
    let node = small(Duration::ZERO, &[LOOPBACK]).start().await;
    let mut kept = RawPeer::start(Muxer::Yamux).await;
    kept.connect(node.full_address(0)).await;
    node.handle.keep_connected(vec![kept.full_address()]).await;
    let dialled = RawPeer::start(Muxer::Yamux).await;
    node.handle.keep_connected(vec![kept.full_address(), dialled.full_address()]).await;
    until(async || dialled.is_connected()).await;
    let mut others = Vec::new();
    for _ in 0..14 {
        others.push(peer_at(&node, "127.0.0.1").await);
    }
    until(async || node.metric("waku_mix_connections_evicted_total") == 3).await;
    until(async || others.iter().filter(|other| other.is_connected()).count() == 11).await;
    assert!(kept.is_connected() && dialled.is_connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_that_it_is_full_before_it_is() {
    let node = small(NEVER, &[LOOPBACK]).start().await;
    let mut peers = Vec::new();
    for _ in 0..10 {
        peers.push(peer_at(&node, "127.0.0.1").await);
    }
    until(async || inbound(&node) == 10).await;
    assert!(!node.host.addresses().borrow().is_full);
    peers.push(peer_at(&node, "127.0.0.1").await);
    node.addresses(|addresses| addresses.is_full).await;
}

/// A connection on which the first word of negotiation was said, and heard if it has a place.
async fn one_word(node: &Node, ip: &str) -> TcpStream {
    let port = node.full_address(0).iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Tcp(port) => Some(port),
        _ => None,
    });
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    let mut stream = within(socket.connect(format!("127.0.0.1:{}", port.unwrap()).parse().unwrap())).await.unwrap();
    let words = b"\x13/multistream/1.0.0\n";
    // It may be refused meanwhile.
    if tokio::io::AsyncWriteExt::write_all(&mut stream, words).await.is_ok() {
        let _ = within(tokio::io::AsyncReadExt::read_exact(&mut stream, &mut [0; 20])).await;
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn set_ups_of_one_address_keep_nobody_else_out() {
    for (shared, own, all) in [(&[][..], 6, 0), (&[LOOPBACK][..], 0, 1)] {
        let mut setup = small(NEVER, shared);
        setup.config.connections.pending_inbound = 8;
        let node = setup.start().await;
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(one_word(&node, "127.0.0.1").await);
        }
        assert_eq!(refused(&node, "address_share"), own);
        let other = one_word(&node, "127.0.1.1").await;
        assert_eq!(refused(&node, "pending_inbound"), all);
        drop((silent, other));
    }
}

/// First packets of QUIC, whose senders will not say more.
async fn first_packets(count: usize) -> Vec<Vec<u8>> {
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let (mut packets, mut dials) = (Vec::new(), JoinSet::new());
    for _ in 0..count {
        let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = sink.local_addr().unwrap().port();
        let address: Multiaddr = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().unwrap();
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        dials.spawn(transport.dial(address, opts).unwrap());
        let mut packet = vec![0; 2048];
        let length = within(sink.recv(&mut packet)).await.unwrap();
        packet.truncate(length);
        packets.push(packet);
    }
    packets
}

#[tokio::test(flavor = "multi_thread")]
async fn first_packets_of_quic_without_a_second_keep_nobody_out() {
    let mut setup = Setup::listening(&[QUIC, TCP]);
    setup.config.connections.pending_inbound = 4;
    setup.config.connections.pending_quic = 8;
    let node = setup.start().await;
    let port = node.full_address(0).iter().find_map(|part| match part {
        libp2p::multiaddr::Protocol::Udp(port) => Some(port),
        _ => None,
    });
    let target = format!("127.0.0.1:{}", port.unwrap());
    let mut sent = 0;
    for packet in first_packets(80).await {
        sent += 1;
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&packet, &target).await.unwrap();
    }
    until(async || refused(&node, "displaced") >= sent / 2).await;
    for n in [0, 1] {
        let newcomer = Setup::listening(&[]).start().await;
        newcomer.connect(node.full_address(n)).await;
        assert_eq!(newcomer.metric("waku_mix_dials_total{outcome=\"failed\"}"), 0);
    }
    assert_eq!(refused(&node, "pending_inbound"), 0);
}

/// A service that answers all but "silence".
fn echo() -> Services {
    let unanswered = Mutex::new(Vec::new());
    let answer = move |request: InboundRequest| match request.body.as_slice() {
        b"silence" => unanswered.lock().push(request),
        _ => _ = request.respond.send(request.body),
    };
    Services::new([("test", vec![Service::new(V3_PROTOCOL, 1024, answer)])]).unwrap()
}

async fn ask(client: &Node, server: &Node, body: &[u8]) -> Result<Vec<u8>, RequestFailure> {
    let addresses = server.host.listen_addresses().to_vec();
    let read = ReadRule::LengthPrefixed { max: 1024 };
    within(client.handle.request(server.peer(), addresses, V3_PROTOCOL, frame(body), read, NEVER)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_begin_and_do_not_end_keep_no_other_waiting() {
    let mut setup = Setup::listening(&[TCP]);
    setup.services = echo();
    setup.config.requests.inbound = 4;
    setup.config.requests.read_timeout = NEVER;
    let server = setup.start().await;
    let (mut hostile, mut begun) = (RawPeer::connected(&server).await, Vec::new());
    for _ in 0..16 {
        let mut stream = hostile.open(server.peer(), LIGHTPUSH).await;
        within(stream.write_all(&frame(b"never ending")[..2])).await.unwrap();
        within(stream.flush()).await.unwrap();
        begun.push(stream);
    }
    let client = Setup::listening(&[]).start().await;
    assert_eq!(ask(&client, &server, b"hello").await, Ok(frame(b"hello")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_request_without_a_permit_is_reset_at_once() {
    let mut setup = Setup::listening(&[TCP]);
    setup.services = echo();
    setup.config.requests.inbound = 1;
    setup.config.requests.answer_timeout = NEVER;
    let server = setup.start().await;
    let mut holder = RawPeer::connected(&server).await;
    let mut stream = holder.open(server.peer(), LIGHTPUSH).await;
    within(stream.write_all(&frame(b"silence"))).await.unwrap();
    within(stream.flush()).await.unwrap();
    let client = Setup::listening(&[]).start().await;
    // The first may come before the holder's is complete.
    until(async || matches!(ask(&client, &server, b"hello").await, Err(RequestFailure::Stream(_)))).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_of_requests_take_bounded_memory_and_the_slowest_give_way() {
    let mut setup = Setup::listening(&[TCP]);
    setup.services = echo();
    setup.config.requests.body_bytes = 4096;
    setup.config.requests.read_timeout = NEVER;
    let server = setup.start().await;
    let (mut hostile, mut halves) = (RawPeer::connected(&server).await, Vec::new());
    for _ in 0..5 {
        let mut stream = hostile.open(server.peer(), LIGHTPUSH).await;
        within(stream.write_all(&frame(&[7; 1000])[..500])).await.unwrap();
        within(stream.flush()).await.unwrap();
        halves.push(stream);
    }
    // One of them is one too many.
    let ends = halves.iter_mut().map(|half| async move { !matches!(half.read(&mut [0; 1]).await, Ok(1..)) });
    assert!(within(futures::future::select_all(ends.map(Box::pin))).await.0);
    let client = Setup::listening(&[]).start().await;
    until(async || ask(&client, &server, &[1; 500]).await == Ok(frame(&[1; 500]))).await;
}
