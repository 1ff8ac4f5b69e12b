//! Streams of `/mix/1.0.0` as peers of every age and temper open them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::Stream;
use support::{
    Node, PACKET_LEN, Setup, TCP, all_sent,
    raw::{MIX, Muxer, RawPeer, frame, packet_frame},
    until, within,
};
use wakumix_mix::{DropReason, Stage};

async fn pair(muxer: Muxer) -> (RawPeer, Node) {
    pair_with(muxer, Setup::listening(&[TCP])).await
}

async fn pair_with(muxer: Muxer, setup: Setup) -> (RawPeer, Node) {
    let node = setup.start().await;
    let mut peer = RawPeer::start(muxer).await;
    peer.connect(node.full_address(0)).await;
    node.peers(1).await;
    (peer, node)
}

async fn write(stream: &mut Stream, bytes: &[u8]) {
    within(stream.write_all(bytes)).await.unwrap();
    within(stream.flush()).await.unwrap();
}

/// Waits until the other side has ended the stream, cleanly or not.
async fn ended(mut stream: Stream) {
    let read = within(stream.read(&mut [0; 1])).await;
    assert!(!matches!(read, Ok(1)), "nothing is ever written back");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_many_packets_of_one_stream() {
    let (mut peer, mut node) = pair(Muxer::Yamux).await;
    let mut stream = peer.open(node.peer(), MIX).await;
    for number in 0..20 {
        write(&mut stream, &packet_frame(number)).await;
    }
    assert_eq!(node.receive_numbers(20).await, (0..20).collect::<Vec<_>>());
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_one_packet_per_stream() {
    let (mut peer, mut node) = pair(Muxer::Yamux).await;
    for number in 0..20 {
        let mut stream = peer.open(node.peer(), MIX).await;
        within(stream.write_all(&packet_frame(number))).await.unwrap();
        within(stream.close()).await.unwrap();
        // The old style waits for the other side before it opens the next.
        ended(stream).await;
    }
    assert_eq!(node.receive_numbers(20).await, (0..20).collect::<Vec<_>>());
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_packets_that_come_in_small_pieces() {
    let (mut peer, mut node) = pair(Muxer::Yamux).await;
    let mut stream = peer.open(node.peer(), MIX).await;
    let frames = [packet_frame(1), packet_frame(2)].concat();
    for piece in frames.chunks(577) {
        write(&mut stream, piece).await;
    }
    assert_eq!(node.receive_numbers(2).await, [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_mplex_alone_sends_and_is_sent_to() {
    let (mut peer, mut node) = pair(Muxer::Mplex).await;
    let mut stream = peer.open(node.peer(), MIX).await;
    // More than mplex buffers: without flow control of its own it must hold the connection back, not reset.
    for number in 0..300 {
        write(&mut stream, &packet_frame(number)).await;
    }
    assert_eq!(node.receive_numbers(300).await, (0..300).collect::<Vec<_>>());

    let mut streams = peer.accept(MIX);
    let sent: Vec<_> = (0..100).map(|number| node.send(&peer.hop(), number)).collect();
    let mut back = within(streams.next()).await.unwrap().1;
    let mut read = vec![0; 100 * packet_frame(0).len()];
    within(back.read_exact(&mut read)).await.unwrap();
    // Packets that are handed over while the stream is being opened may be overtaken.
    let mut frames: Vec<_> = read.chunks(packet_frame(0).len()).collect();
    frames.sort_unstable();
    let mut expected: Vec<_> = (0..100).map(packet_frame).collect();
    expected.sort_unstable();
    assert!(frames == expected);
    all_sent(sent).await;
    node.assert_balanced();
}

async fn a_bad_prefix_ends_only_its_stream(prefix: &[u8], reason: &str) {
    let (mut peer, mut node) = pair(Muxer::Yamux).await;
    let mut sound = peer.open(node.peer(), MIX).await;
    let mut bad = peer.open(node.peer(), MIX).await;
    write(&mut sound, &packet_frame(1)).await;
    write(&mut bad, &packet_frame(2)).await;
    write(&mut bad, prefix).await;
    ended(bad).await;
    write(&mut sound, &packet_frame(3)).await;
    assert_eq!(node.receive_numbers(3).await, [1, 2, 3]);
    assert_eq!(node.metric(&format!("waku_mix_frames_refused_total{{reason=\"{reason}\"}}")), 1);
    assert!(peer.is_connected());
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_above_a_packet_ends_only_its_stream() {
    a_bad_prefix_ends_only_its_stream(&[0x81, 0x24], "too_long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_not_minimal_ends_only_its_stream() {
    a_bad_prefix_ends_only_its_stream(&[0x80, 0xa4, 0x00], "not_minimal").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_empty_and_short_frames_and_reads_on() {
    let (mut peer, mut node) = pair(Muxer::Yamux).await;
    let mut stream = peer.open(node.peer(), MIX).await;
    write(&mut stream, &frame(&[])).await;
    write(&mut stream, &frame(&[1; 100])).await;
    write(&mut stream, &frame(&[1; PACKET_LEN - 1])).await;
    write(&mut stream, &packet_frame(7)).await;
    assert_eq!(node.receive_number().await, 7);
    assert_eq!(node.dropped(Stage::Ingress, DropReason::NoData), 1);
    assert_eq!(node.dropped(Stage::Ingress, DropReason::Size), 2);
    assert_eq!(node.ledger.snapshot().received, 4);
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_stream_and_half_a_frame_hold_no_buffer_for_long() {
    let node = {
        let mut setup = Setup::listening(&[TCP]);
        setup.config.mix.frame_timeout = std::time::Duration::from_millis(200);
        setup.start().await
    };
    let mut peer = RawPeer::connected(&node).await;
    let _idle = peer.open(node.peer(), MIX).await;
    let mut slow = peer.open(node.peer(), MIX).await;
    write(&mut slow, &packet_frame(1)[..100]).await;
    ended(slow).await;
    assert_eq!(node.metric("waku_mix_frames_refused_total{reason=\"slow\"}"), 1);
    node.assert_balanced();
    assert_eq!(node.ledger.snapshot().received, 0);
    // The reader of the refused stream leaves the gauge a moment after the remote has learnt of the end.
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_frames_on_many_streams_hold_one_buffer_each() {
    let (mut peer, node) = pair(Muxer::Yamux).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = peer.open(node.peer(), MIX).await;
        write(&mut stream, &packet_frame(1)[..100]).await;
        streams.push(stream);
    }
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 10).await;
    until(async || node.buffers.in_use() == 10).await;
}

/// A node on which other peers have all places that they can have.
fn without_further_streams() -> Setup {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.mix.further_streams = 0;
    setup
}

/// What a sender of the existing network does while its connection is fresh: a stream for each packet that is under way, all at
/// once, none of which is closed (`spec/live-behaviour.md §6`).
async fn a_burst_arrives(muxer: Muxer, packets: u32) {
    let (peer, mut node) = pair(muxer).await;
    let to = node.peer();
    let streams = futures::future::join_all((0..packets).map(|number| {
        let mut control = peer.streams.clone();
        async move {
            let mut stream = within(control.open_stream(to, MIX)).await.unwrap();
            write(&mut stream, &packet_frame(number)).await;
            stream
        }
    }))
    .await;
    let received = node.receive_numbers(usize::try_from(packets).unwrap()).await;
    assert_eq!(received, (0..packets).collect::<Vec<_>>());
    assert_eq!(node.metric("waku_mix_streams{direction=\"inbound\"}"), u64::from(packets));
    assert_eq!(node.metric("waku_mix_frames_refused_total{reason=\"stream_limit\"}"), 0);
    assert!(peer.is_connected());
    drop(streams);
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_packets_at_once_arrive_on_as_many_streams() {
    a_burst_arrives(Muxer::Yamux, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_at_once_arrive_on_as_many_streams_of_mplex_as_its_library_opens() {
    a_burst_arrives(Muxer::Mplex, 120).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_streams_are_reset_but_for_the_ten_newest() {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.mix.idle_timeout = std::time::Duration::from_millis(200);
    let (mut peer, mut node) = pair_with(Muxer::Yamux, setup).await;
    let mut streams = Vec::new();
    for number in 0..30 {
        let mut stream = peer.open(node.peer(), MIX).await;
        write(&mut stream, &packet_frame(number)).await;
        assert_eq!(node.receive_number().await, number);
        streams.push(stream);
    }
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 10).await;
    let newest = streams.split_off(20);
    for mut stream in streams {
        assert!(!matches!(within(stream.read(&mut [0; 1])).await, Ok(1)));
        // The writer notices.
        within(stream.write_all(&[0])).await.unwrap_err();
    }
    for (number, mut stream) in (0..).zip(newest) {
        write(&mut stream, &packet_frame(number)).await;
        assert_eq!(node.receive_number().await, number);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_the_eleventh_stream_where_all_places_are_taken_and_takes_another_after_one_ends() {
    let (mut peer, mut node) = pair_with(Muxer::Yamux, without_further_streams()).await;
    let mut streams = Vec::new();
    for number in 0..10 {
        let mut stream = peer.open(node.peer(), MIX).await;
        write(&mut stream, &packet_frame(number)).await;
        streams.push(stream);
    }
    assert_eq!(node.receive_numbers(10).await.len(), 10);
    ended(peer.open(node.peer(), MIX).await).await;
    assert_eq!(node.metric("waku_mix_frames_refused_total{reason=\"stream_limit\"}"), 1);

    within(streams.pop().unwrap().close()).await.unwrap();
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 9).await;
    let mut next = peer.open(node.peer(), MIX).await;
    write(&mut next, &packet_frame(11)).await;
    assert_eq!(node.receive_number().await, 11);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_streams_of_all_connections_of_a_peer_together() {
    let (mut peer, node) = pair_with(Muxer::Yamux, without_further_streams()).await;
    peer.connect(node.full_address(0)).await;
    let mut streams = Vec::new();
    // The bare peer opens streams on either connection as it likes.
    for _ in 0..10 {
        streams.push(peer.open(node.peer(), MIX).await);
    }
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 10).await;
    ended(peer.open(node.peer(), MIX).await).await;
}

async fn read_packet(stream: &mut Stream) -> Vec<u8> {
    let mut read = vec![0; packet_frame(0).len()];
    within(stream.read_exact(&mut read)).await.unwrap();
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn opens_a_new_stream_after_the_peer_has_reset_the_old_one() {
    let (mut peer, node) = pair(Muxer::Yamux).await;
    let mut streams = peer.accept(MIX);
    for number in 0..5 {
        let sent = node.send(&peer.hop(), number);
        let mut stream = within(streams.next()).await.unwrap().1;
        assert_eq!(read_packet(&mut stream).await, packet_frame(number));
        all_sent(vec![sent]).await;
        drop(stream);
        until(async || node.metric("waku_mix_streams{direction=\"outbound\"}") == 0).await;
    }
    assert_eq!(node.metric("waku_mix_dials_total{outcome=\"connected\"}"), 0, "the live connection served");
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_a_half_closed_stream_before_the_next_packet_is_lost_on_it() {
    let (mut peer, node) = pair(Muxer::Yamux).await;
    let mut streams = peer.accept(MIX);
    let sent = node.send(&peer.hop(), 1);
    let mut first = within(streams.next()).await.unwrap().1;
    assert_eq!(read_packet(&mut first).await, packet_frame(1));
    all_sent(vec![sent]).await;
    within(first.close()).await.unwrap();
    // We close our half too, so that the peer sees the end of the stream.
    assert_eq!(within(first.read(&mut [0; 1])).await.unwrap(), 0);

    let sent = node.send(&peer.hop(), 2);
    let mut second = within(streams.next()).await.unwrap().1;
    assert_eq!(read_packet(&mut second).await, packet_frame(2));
    all_sent(vec![sent]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sends_over_the_connection_that_the_peer_has_opened() {
    let (mut peer, node) = pair(Muxer::Yamux).await;
    let mut streams = peer.accept(MIX);
    // The address is a browser's: nobody listens there.
    let nowhere = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    let sent = node.send(&wakumix_mix::HopAddress::from_multiaddr(&nowhere, peer.peer).unwrap(), 5);
    let mut stream = within(streams.next()).await.unwrap().1;
    assert_eq!(read_packet(&mut stream).await, packet_frame(5));
    all_sent(vec![sent]).await;
    assert_eq!(node.metric("waku_mix_dials_total{outcome=\"failed\"}"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_does_not_speak_mix_costs_its_packets() {
    let (peer, node) = pair(Muxer::Yamux).await;
    let sent = node.send(&peer.hop(), 1);
    assert_eq!(within(sent).await.unwrap(), Err(wakumix_role_api::host::SendFailure::DialFailed));
    node.assert_balanced();
}
