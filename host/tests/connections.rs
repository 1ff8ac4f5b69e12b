//! Listening, staying connected, limits, metadata.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{StreamProtocol, identity::Keypair};
use support::{
    QUIC, Setup, TCP, WEBSOCKET,
    raw::{Muxer, RawPeer, frame},
    until, within,
};
use wakumix_host::HostError;
use wakumix_waku::metadata::{Metadata, PROTOCOL};

const METADATA: StreamProtocol = StreamProtocol::new(PROTOCOL);

#[tokio::test(flavor = "multi_thread")]
async fn tells_the_ports_that_it_was_given() {
    let node = Setup::listening(&[TCP, QUIC, WEBSOCKET]).start().await;
    let bound: Vec<_> = node.host.listen_addresses().iter().map(ToString::to_string).collect();
    assert_eq!(bound.len(), 3);
    assert!(bound.iter().all(|address| !address.contains("/0")), "{bound:?}");
    assert!(bound[1].ends_with("/quic-v1") && bound[2].ends_with("/ws"), "{bound:?}");
    let mut told: Vec<_> = node.handle.status().await.unwrap().listen_addresses;
    told.sort();
    let mut listening = node.host.listen_addresses().to_vec();
    listening.sort();
    assert_eq!(told, listening);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_protocol() {
    let node = Setup::listening(&[TCP, QUIC, WEBSOCKET]).start().await;
    for (address, expected) in node.host.listen_addresses().iter().zip(["TCP", "QUIC", "WebSocket"]) {
        let text = address.to_string();
        match Setup::listening(&[&text]).try_start().await.map(|_| ()) {
            Err(HostError::AddressInUse { address: named, protocol }) => {
                assert_eq!((named.to_string(), protocol), (text, expected));
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_cannot_use_a_port_twice() {
    let node = Setup::listening(&[TCP]).start().await;
    let address = node.host.listen_addresses()[0].to_string();
    drop(node);
    let both = [address.as_str(), &format!("{address}/ws")];
    until(async || std::net::TcpListener::bind(("127.0.0.1", port(&address))).is_ok()).await;
    let failure = Setup::listening(&both).try_start().await.map(|_| ()).unwrap_err();
    assert!(matches!(failure, HostError::AddressInUse { protocol: "WebSocket", .. }), "{failure}");
}

fn port(address: &str) -> u16 {
    address.rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn says_which_address_it_cannot_listen_on() {
    for address in ["/dns4/localhost/tcp/0", "/memory/7", "/ip4/127.0.0.1/udp/0"] {
        let failure = Setup::listening(&[address]).try_start().await.map(|_| ()).unwrap_err();
        assert!(matches!(failure, HostError::AddressNotSupported { .. }), "{address}: {failure}");
        assert!(failure.to_string().contains(address), "{failure}");
    }
    let failure = Setup::listening(&["/ip4/192.0.2.1/tcp/0"]).try_start().await.map(|_| ()).unwrap_err();
    assert!(matches!(failure, HostError::Listen { protocol: "TCP", .. }), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_node_without_mix_may_have_another_kind_of_key() {
    let mut setup = Setup::listening(&[]);
    setup.identity = Keypair::generate_ed25519();
    let failure = setup.try_start().await.map(|_| ()).unwrap_err();
    assert!(matches!(&failure, HostError::IdentityType { found } if found.contains("Ed25519")), "{failure}");
    let mut setup = Setup::listening(&[]);
    setup.identity = Keypair::generate_ed25519();
    setup.mix = false;
    setup.start().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dials_a_kept_peer_until_it_is_there_and_again_when_it_is_lost() {
    let there = Setup::listening(&[TCP]).start().await;
    let (address, full, identity) =
        (there.host.listen_addresses()[0].to_string(), there.full_address(0), there.identity.clone());
    there.stop().await;
    let here = Setup::listening(&[]).start().await;
    here.handle.keep_connected(vec![full]).await;
    until(async || here.metric("waku_mix_dials_total{outcome=\"failed\"}") > 0).await;
    for _ in 0..2 {
        let mut setup = Setup::listening(&[&address]);
        setup.identity = identity.clone();
        let there = setup.start().await;
        here.peers(1).await;
        there.stop().await;
        here.peers(0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn denies_connections_beyond_the_bound_of_a_peer_and_keeps_the_others() {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.connections.per_peer = 2;
    setup.config.connections.total = 3;
    setup.config.connections.grace = Duration::from_secs(3600);
    let node = setup.start().await;
    let (mut first, mut second, mut third) =
        (RawPeer::start(Muxer::Yamux).await, RawPeer::start(Muxer::Yamux).await, RawPeer::start(Muxer::Yamux).await);
    first.connect(node.full_address(0)).await;
    first.connect(node.full_address(0)).await;
    second.connect(node.full_address(0)).await;
    node.peers(2).await;
    // The fourth connection is closed as soon as it is known whose it is.
    third.connect(node.full_address(0)).await;
    third.disconnected().await;
    assert!(first.is_connected() && second.is_connected());
    node.peers(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_one_cluster_stay_connected_and_tell_their_metadata() {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.require_metadata = true;
    let here = setup.start().await;
    let there = Setup::listening(&[TCP]).start().await;
    here.connect(there.full_address(0)).await;
    for direction in ["inbound", "outbound"] {
        let series = format!("waku_mix_metadata_exchanges_total{{direction=\"{direction}\",outcome=\"same_cluster\"}}");
        until(async || here.metric(&series) == 1 && there.metric(&series) == 1).await;
    }
    here.peers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnects_a_node_of_another_cluster() {
    let here = Setup::listening(&[TCP]).start().await;
    let mut setup = Setup::listening(&[TCP]);
    setup.config.cluster = 67;
    let there = setup.start().await;
    here.handle.keep_connected(vec![there.full_address(0)]).await;
    let refused = |node: &support::Node| {
        ["inbound", "outbound"]
            .map(|direction| {
                node.metric(&format!(
                    "waku_mix_metadata_exchanges_total{{direction=\"{direction}\",outcome=\"other_cluster\"}}"
                ))
            })
            .iter()
            .sum::<u64>()
    };
    until(async || refused(&here) + refused(&there) > 0).await;
    here.peers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_metadata_stays_unless_it_is_required() {
    for required in [false, true] {
        let mut setup = Setup::listening(&[TCP]);
        setup.config.require_metadata = required;
        let node = setup.start().await;
        let mut peer = RawPeer::connected(&node).await;
        let series = "waku_mix_metadata_exchanges_total{direction=\"outbound\",outcome=\"unsupported\"}";
        until(async || node.metric(series) == 1).await;
        if required {
            peer.disconnected().await;
        } else {
            node.peers(1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_metadata_whether_or_not_the_question_is_closed() {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.shards = vec![0, 5];
    let node = setup.start().await;
    let mut peer = RawPeer::connected(&node).await;
    let question = Metadata { cluster_id: Some(66), shards: vec![] }.encode();
    for closed in [false, true] {
        let mut stream = peer.open(node.peer(), METADATA).await;
        within(stream.write_all(&frame(&question))).await.unwrap();
        within(stream.flush()).await.unwrap();
        if closed {
            within(stream.close()).await.unwrap();
        }
        let mut answer = Vec::new();
        within(stream.read_to_end(&mut answer)).await.unwrap();
        let body = wakumix_waku::frame::decode(&answer, 1024).unwrap().unwrap().0;
        assert_eq!(Metadata::decode(body).unwrap(), Metadata { cluster_id: Some(66), shards: vec![0, 5] });
    }
    assert!(peer.is_connected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_names_no_cluster_is_disconnected() {
    let node = Setup::listening(&[TCP]).start().await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    let mut questions = peer.accept(METADATA);
    peer.connect(node.full_address(0)).await;
    let mut stream = within(questions.next()).await.unwrap().1;
    // js-waku answers before it reads the question.
    within(stream.write_all(&frame(&Metadata::default().encode()))).await.unwrap();
    within(stream.close()).await.unwrap();
    peer.disconnected().await;
}

/// Waits until the remote has ended a connection on which nothing was ever said.
async fn ended(socket: &mut tokio::net::TcpStream) {
    // A reset is an end too.
    let end = within(tokio::io::AsyncReadExt::read(socket, &mut [0; 1])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

async fn silent(node: &support::Node, n: usize) -> tokio::net::TcpStream {
    let address = node.host.listen_addresses()[n].to_string();
    within(tokio::net::TcpStream::connect(("127.0.0.1", port(address.trim_end_matches("/ws"))))).await.unwrap()
}

fn refused(node: &support::Node, reason: &str) -> u64 {
    node.metric(&format!("waku_mix_connections_refused_total{{reason=\"{reason}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_give_way_the_oldest_first_and_keep_nobody_out() {
    let mut setup = Setup::listening(&[TCP, WEBSOCKET]);
    setup.config.connections.pending_inbound = 4;
    let node = setup.start().await;
    // Two of each transport fill all places.
    let mut oldest = silent(&node, 0).await;
    let mut others = vec![silent(&node, 1).await, silent(&node, 0).await, silent(&node, 1).await];
    let here = Setup::listening(&[]).start().await;
    here.connect(node.full_address(0)).await;
    ended(&mut oldest).await;
    assert_eq!((refused(&node, "displaced"), refused(&node, "pending_inbound")), (1, 0));
    // What is left is ended in time.
    for socket in &mut others {
        ended(socket).await;
    }
    assert_eq!((refused(&node, "displaced"), refused(&node, "silent")), (1, 3));
    node.peers(1).await;
}

/// Says what negotiation begins with, and reads the answer: it was heard.
async fn says_one_word(socket: &mut tokio::net::TcpStream) {
    let words = b"\x13/multistream/1.0.0\n";
    tokio::io::AsyncWriteExt::write_all(socket, words).await.unwrap();
    within(tokio::io::AsyncReadExt::read_exact(socket, &mut [0; 20])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_spoken_does_not_give_way_at_once() {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.connections.pending_inbound = 1;
    let node = setup.start().await;
    let mut spoken = silent(&node, 0).await;
    says_one_word(&mut spoken).await;
    let mut newcomer = silent(&node, 0).await;
    ended(&mut newcomer).await;
    assert_eq!((refused(&node, "displaced"), refused(&node, "pending_inbound")), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_a_word_and_stop_keep_nobody_out() {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.connections.pending_inbound = 4;
    let node = setup.start().await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = silent(&node, 0).await;
        says_one_word(&mut socket).await;
        sockets.push(socket);
    }
    let here = Setup::listening(&[]).start().await;
    // It dials again until the oldest of them has had its time.
    here.connect(node.full_address(0)).await;
    assert_eq!(refused(&node, "displaced"), 1);
    ended(&mut sockets[0]).await;
}
