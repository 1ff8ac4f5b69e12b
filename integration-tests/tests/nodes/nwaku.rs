//! Beside nodes that behave as nwaku does: in every place of a path, with every habit that was seen.

use std::collections::HashSet;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::Stream;
use multiaddr::{Multiaddr, Protocol};
use wakumix_integration_tests::{
    CLUSTER, TOPIC, eventually,
    hop::{Conduct, NwakuNode, Passage, RELAY_PEERS},
    http::metric,
    net::{Net, NodePlan, address_with, all_with, drops, hop_of, message, plans, push, tell, usual},
    peer::{MIX, Muxer, RawPeer, write_frame},
    run, until, within,
};
use wakumix_node::node::Node;
use wakumix_sphinx::{PACKET_LEN, Profile};
use wakumix_waku::{PubsubTopic, frame};

fn tcp(node: &Node) -> Multiaddr {
    address_with(node, |part| matches!(part, Protocol::Tcp(_)))
}

fn websocket(node: &Node) -> Multiaddr {
    address_with(node, |part| matches!(part, Protocol::Ws(_)))
}

#[test]
fn metadata_is_asked_and_answered_on_a_connection_of_the_nwaku() {
    run(async {
        let net = Net::strangers(vec![NodePlan::new("mixer", &["mixer"]).with("host.require-metadata", "true")]).await;
        let node = net.node("mixer");
        let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        peer.connect(node.peer_id(), tcp(node)).await;
        peer.contacts_are(|contacts| !contacts.questions.is_empty() && !contacts.answers.is_empty()).await;
        let contacts = peer.contacts();
        assert_eq!(contacts.questions, [node.peer_id()]);
        let answer = &contacts.answers[&node.peer_id()];
        assert_eq!((answer.cluster_id, answer.shards.as_slice()), (Some(u32::from(CLUSTER)), &[0][..]));
        assert_eq!(contacts.ended, 0);
        net.end().await;
    });
}

#[test]
fn a_peer_of_another_cluster_is_disconnected_and_counted() {
    run(async {
        let net = Net::strangers(vec![NodePlan::new("mixer", &["mixer"])]).await;
        let node = net.node("mixer");
        let stranger = RawPeer::start(Muxer::Yamux, CLUSTER + 1).await;
        stranger.connect(node.peer_id(), tcp(node)).await;
        stranger.contacts_are(|contacts| contacts.ended == 1 && contacts.connections.is_empty()).await;
        let page = node.telemetry().render();
        let asked =
            metric(&page, "waku_mix_metadata_exchanges_total{direction=\"outbound\",outcome=\"other_cluster\"}");
        let told = metric(&page, "waku_mix_metadata_exchanges_total{direction=\"inbound\",outcome=\"other_cluster\"}");
        assert!(asked.unwrap_or(0.0) + told.unwrap_or(0.0) >= 1.0);
        net.end().await;
    });
}

/// A net whose sender knows three mixers, one of them of nwaku, and one exit.
async fn net_with(nwaku: &NwakuNode) -> Net {
    let net = Net::strangers(plans(2, 1, 1, 1)).await;
    let pool = [net.pool(), vec![nwaku.mix_node()]].concat();
    net.tell_all(&pool, &net.services()).await;
    net.link_relays().await;
    net.ready().await;
    net
}

/// The places of a node in the middle of a path: first and second hop, there and back.
const MIDDLE_PLACES: usize = 4;

/// Sends requests until the node of nwaku was in every place in the middle of a path. All are answered.
async fn is_answered_wherever_it_stands(net: &Net, nwaku: &NwakuNode) {
    let mut answers = Vec::new();
    let (sender, exit) = (net.node("sender-1"), net.node("exit-1").peer_id());
    let me = sender.peer_id();
    let place = |passage: &Passage| (passage.from == me, passage.to == exit, passage.from == exit, passage.to == me);
    eventually(async || {
        answers.push(push(sender, format!("message {}", answers.len())).await.unwrap());
        let places: HashSet<_> = nwaku.log().passages.iter().map(place).collect();
        assert!(places.len() <= MIDDLE_PLACES, "{places:?}");
        if places.len() == MIDDLE_PLACES { Ok(()) } else { Err(format!("so far {places:?}")) }
    })
    .await;
    assert!(answers.iter().all(|answer| answer.kind() == "confirmed"), "{answers:?}");
    net.at_rest_after_with(&[nwaku], "sender-1", &answers).await;
}

async fn a_node_of_the_nwaku_in_every_place(muxer: Muxer, conduct: Conduct) -> NwakuNode {
    let nwaku = NwakuNode::start(Profile::default(), muxer, conduct).await;
    let net = net_with(&nwaku).await;
    is_answered_wherever_it_stands(&net, &nwaku).await;
    let peers: HashSet<_> = nwaku.log().passages.iter().map(|passage| passage.from).collect();
    assert_eq!(nwaku.log().streams, peers.len(), "our nodes reuse one stream for each peer");
    net.end().await;
    nwaku
}

#[test]
fn a_hop_that_keeps_its_streams_carries_requests_and_replies_in_every_place() {
    run(a_node_of_the_nwaku_in_every_place(Muxer::Yamux, Conduct::KeepsStreams));
}

#[test]
fn a_hop_that_opens_a_stream_for_each_packet_carries_requests_and_replies_in_every_place() {
    run(a_node_of_the_nwaku_in_every_place(Muxer::Yamux, Conduct::FreshStreams));
}

#[test]
fn a_hop_that_knows_mplex_alone_carries_requests_and_replies_in_every_place() {
    run(a_node_of_the_nwaku_in_every_place(Muxer::Mplex, Conduct::KeepsStreams));
}

#[test]
fn an_exit_of_the_nwaku_answers_through_reply_blocks() {
    run(async {
        let exit = NwakuNode::start(Profile::default(), Muxer::Yamux, Conduct::KeepsStreams).await;
        let net = Net::strangers(all_with(plans(3, 0, 0, 1), "sender.surbs", "2")).await;
        net.tell_all(&[net.pool(), vec![exit.mix_node()]].concat(), &[exit.service()]).await;
        net.ready().await;
        let answer = push(net.node("sender-1"), "to nwaku").await.unwrap();
        assert_eq!((answer.status, answer.relay_peer_count), (200, Some(RELAY_PEERS)));
        let served = exit.log().served;
        assert!(!served.is_empty());
        let hash = served[0].hash(&PubsubTopic::parse(TOPIC).unwrap());
        assert_eq!(Some(*hash.as_bytes()), answer.message_hash);
        let dropped = net.at_rest_with(&[&exit]).await;
        let sender = net.balance("sender-1");
        assert_eq!(sender.sent, u64::from(answer.tries));
        assert_eq!(dropped, drops(&[("sender-1", "reply/unknown_reply", 2 * sender.sent - sender.replied)]));
        net.end().await;
    });
}

#[test]
fn a_sender_of_the_nwaku_is_answered_by_our_exit() {
    run(async {
        for profile in ["aes-ctr/seq", "lioness/seq", "lioness/pad"] {
            let sender = NwakuNode::start(profile.parse().unwrap(), Muxer::Yamux, Conduct::KeepsStreams).await;
            let net = Net::start(all_with(plans(2, 1, 1, 0), "mix.profile", profile)).await;
            let mut subscriber = net.follow("relay-1").await;
            let pool = net.pool_of(&["mixer-1", "mixer-2", "exit-1"]);
            let path = [pool[0].clone(), pool[1].clone(), pool[2].clone()];
            let back = [pool[1].clone(), pool[0].clone()];
            let answer = sender.push(&path, back, message(format!("from nwaku with {profile}"))).await;
            assert_eq!((answer.status_code.0, answer.request_id.as_str()), (200, "fleet"));
            assert!(answer.relay_peer_count.unwrap() >= 1);
            let received = within(subscriber.recv()).await.unwrap();
            assert_eq!(received.message.payload, format!("from nwaku with {profile}").into_bytes());
            assert_eq!(net.at_rest_with(&[&sender]).await, drops(&[]));
            net.end().await;
        }
    });
}

#[test]
fn a_hop_that_has_connected_over_websocket_with_mplex_is_reached_over_that_connection() {
    run(async {
        let nwaku = NwakuNode::start(Profile::default(), Muxer::Mplex, Conduct::KeepsStreams).await;
        let net =
            Net::strangers(all_with(all_with(plans(2, 1, 1, 1), "websocket-support", "true"), "websocket-port", "0"))
                .await;
        let names = ["mixer-1", "mixer-2", "exit-1", "sender-1"];
        for node in names.map(|name| net.node(name)) {
            nwaku.peer().connect(node.peer_id(), websocket(node)).await;
            until("the node knows of the connection", async || {
                node.host().status().await.unwrap().connected_peers == 1
            })
            .await;
        }
        for node in names.map(|name| net.node(name)) {
            assert!(tell(node, &[net.pool(), vec![nwaku.mix_node()]].concat(), &net.services()).await);
        }
        net.link_relays().await;
        net.ready().await;
        is_answered_wherever_it_stands(&net, &nwaku).await;
        let contacts = nwaku.peer().contacts();
        for node in names.map(|name| net.node(name)) {
            let connections = contacts.connections[&node.peer_id()];
            assert!(connections <= 2, "its own, and one of a check: {connections}");
        }
        net.end().await;
    });
}

/// A mixer, and a peer of nwaku that is connected to it.
async fn mixer_and_peer() -> (Net, RawPeer) {
    let net = Net::strangers(vec![NodePlan::new("mixer", &["mixer"])]).await;
    let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
    peer.connect(net.node("mixer").peer_id(), tcp(net.node("mixer"))).await;
    (net, peer)
}

async fn dropped(net: &Net, stage_and_reason: &str, count: u64) {
    until(&format!("{count} drops as {stage_and_reason}"), async || {
        let all = net.balance("mixer").dropped;
        let found =
            all.iter().find(|(stage, reason, _)| format!("{}/{}", stage.as_str(), reason.as_str()) == stage_and_reason);
        found.map_or(0, |(.., count)| *count) == count
    })
    .await;
}

/// Waits until the other side has ended the stream.
async fn ended(stream: &mut Stream) {
    let mut rest = Vec::new();
    // Reset or closed: it is over.
    let _ = within(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "nothing is ever written back");
}

#[test]
fn short_empty_and_damaged_packets_are_counted_and_the_stream_goes_on() {
    run(async {
        let (net, peer) = mixer_and_peer().await;
        let mut stream = peer.open(net.node("mixer").peer_id(), MIX).await;
        write_frame(&mut stream, &[7; 100]).await.unwrap();
        dropped(&net, "ingress/size", 1).await;
        write_frame(&mut stream, &[]).await.unwrap();
        dropped(&net, "ingress/no_data", 1).await;
        write_frame(&mut stream, &[0; PACKET_LEN]).await.unwrap();
        dropped(&net, "unwrap/alpha", 1).await;
        write_frame(&mut stream, &[9; PACKET_LEN]).await.unwrap();
        dropped(&net, "unwrap/mac", 1).await;
        write_frame(&mut stream, &[7; PACKET_LEN - 1]).await.unwrap();
        dropped(&net, "ingress/size", 2).await;
        assert_eq!(net.balance("mixer").received, 5);
        assert_eq!(peer.contacts().ended, 0, "the connection is kept");
        net.at_rest_with_losses().await;
        net.end().await;
    });
}

async fn a_bad_prefix_ends_its_stream_alone(prefix: &[u8], reason: &str) {
    let (net, peer) = mixer_and_peer().await;
    let mixer = net.node("mixer").peer_id();
    let mut bystander = peer.open(mixer, MIX).await;
    write_frame(&mut bystander, &[9; PACKET_LEN]).await.unwrap();
    dropped(&net, "unwrap/mac", 1).await;

    let mut stream = peer.open(mixer, MIX).await;
    stream.write_all(prefix).await.unwrap();
    stream.flush().await.unwrap();
    ended(&mut stream).await;
    let series = format!("waku_mix_frames_refused_total{{reason=\"{reason}\"}}");
    assert_eq!(metric(&net.node("mixer").telemetry().render(), &series), Some(1.0));

    write_frame(&mut bystander, &[8; PACKET_LEN]).await.unwrap();
    dropped(&net, "unwrap/mac", 2).await;
    assert_eq!(peer.contacts().ended, 0, "the connection is kept");
    net.at_rest_with_losses().await;
    net.end().await;
}

#[test]
fn a_frame_longer_than_a_packet_ends_its_stream_alone() {
    run(a_bad_prefix_ends_its_stream_alone(&frame::encode(&[0; PACKET_LEN + 1])[..2], "too_long"));
}

#[test]
fn a_length_that_is_not_minimal_ends_its_stream_alone() {
    run(a_bad_prefix_ends_its_stream_alone(&[0x80, 0xa4, 0x00], "not_minimal"));
}

#[test]
fn a_request_that_is_no_protobuf_is_answered_and_no_reason_to_disconnect() {
    run(async {
        let net = Net::start(usual()).await;
        let exit = net.node("exit-1");
        let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        peer.connect(exit.peer_id(), tcp(exit)).await;
        let lightpush = libp2p::StreamProtocol::new(wakumix_waku::lightpush::V3_PROTOCOL);
        let mut stream = peer.open(exit.peer_id(), lightpush).await;
        write_frame(&mut stream, b"no protobuf").await.unwrap();
        let answer = within(wakumix_integration_tests::peer::read_frame(&mut stream)).await.unwrap().unwrap();
        let answer = wakumix_waku::lightpush::v3::Response::decode(&answer).unwrap();
        assert_eq!(answer.status_code.0, 400);
        assert!(answer.status_desc.unwrap().starts_with("decode_rpc_failure"));
        assert_eq!(peer.contacts().ended, 0);
        net.end().await;
    });
}

#[test]
fn the_pool_entry_of_a_node_is_where_it_listens() {
    run(async {
        let net = Net::strangers(vec![NodePlan::new("mixer", &["mixer"])]).await;
        let node = net.node("mixer");
        assert_eq!(hop_of(node).multiaddr(), tcp(node));
        assert_eq!(hop_of(node).peer(), node.peer_id());
        net.end().await;
    });
}
