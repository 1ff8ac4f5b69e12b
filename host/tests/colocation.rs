//! Strangers at the address of an honest relay.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use futures::AsyncWriteExt as _;
use libp2p::Stream;
use support::{
    raw::{Muxer, RawPeer, frame},
    relay::{RELAY, Relay, TOPIC, subscription},
};
use wakumix_role_api::host::Verdict;

/// A relay that counts who comes from where, an honest one that passes on what a third says, and strangers, all at one address.
struct Net {
    counting: Relay,
    honest: Relay,
    third: Relay,
    _strangers: Vec<Stranger>,
}

struct Stranger {
    _peer: RawPeer,
    _accepted: libp2p_stream::IncomingStreams,
    _stream: Option<Stream>,
}

impl Net {
    async fn start(strangers: usize, say: Option<&[u8]>) -> Self {
        let counting = Relay::start_with(16, |config| config.score_colocation = true).await;
        let (honest, third) = (Relay::start(16).await, Relay::start(16).await);
        honest.node.handle.keep_connected(vec![counting.node.full_address(0), third.node.full_address(0)]).await;
        honest.mesh(2).await;
        counting.mesh(1).await;
        let mut crowd = Vec::new();
        for _ in 0..strangers {
            crowd.push(Stranger::start(&counting, say).await);
        }
        counting.node.peers(strangers + 1).await;
        let net = Self { counting, honest, third, _strangers: crowd };
        if say.is_some() {
            net.counting.mesh(0).await;
        }
        // Those with a low score leave the mesh with a heartbeat.
        net.counting.heartbeats(2).await;
        net
    }
}

impl Stranger {
    async fn start(relay: &Relay, say: Option<&[u8]>) -> Self {
        let mut peer = RawPeer::start(Muxer::Yamux).await;
        let accepted = peer.accept(RELAY);
        peer.connect(relay.node.full_address(0)).await;
        let mut stream = None;
        if let Some(frame) = say {
            let mut opened = peer.open(relay.node.peer(), RELAY).await;
            opened.write_all(frame).await.unwrap();
            opened.flush().await.unwrap();
            stream = Some(opened);
        }
        Self { _peer: peer, _accepted: accepted, _stream: stream }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_from_its_address_do_not_cut_an_honest_relays_gossip() {
    let mut net = Net::start(6, None).await;
    net.third.publish(b"passed on").await;
    let message = net.honest.next().await;
    net.honest.judge(&message, Verdict::Accept).await;
    assert_eq!(net.counting.next().await.data, b"passed on");
}

/// They are scored, or the test above would show nothing: what the relay passes on is lost. Its own messages and those for it
/// are not, however many they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_speakers_at_its_address_costs_an_honest_relay_its_mesh_and_not_its_messages() {
    let elsewhere = frame(&subscription("/waku/2/rs/66/7"));
    let mut net = Net::start(12, Some(&elsewhere)).await;
    net.third.publish(b"passed on").await;
    let message = net.honest.next().await;
    net.honest.judge(&message, Verdict::Accept).await;
    // It is in lists for three heartbeats.
    net.honest.heartbeats(5).await;
    net.honest.publish(b"own").await;
    assert_eq!(net.counting.next().await.data, b"own");
    assert_eq!(net.counting.node.handle.publish(TOPIC.to_owned(), b"answer".to_vec()).await, Ok(1));
    assert_eq!(net.honest.next().await.data, b"answer");
}
