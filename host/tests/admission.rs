//! What a host takes from whom, over real sockets.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use futures::AsyncWriteExt;
use support::{
    Node, PACKET_LEN, Setup, TCP,
    raw::{MIX, Muxer, RawPeer, packet_frame},
    until, within,
};
use wakumix_mix::{DropReason, Stage};

/// A node that takes so many packets per second.
async fn bearing(packets_per_second: u32) -> Node {
    let mut setup = Setup::listening(&[TCP]);
    setup.config.mix.capacity = Some(support::capacity(packets_per_second));
    setup.start().await
}

async fn peer_of(node: &Node, muxer: Muxer) -> RawPeer {
    let mut peer = RawPeer::start(muxer).await;
    peer.connect(node.full_address(0)).await;
    peer
}

/// Writes the same packet for as long as it is read.
async fn flood(peer: &mut RawPeer, node: &Node, number: u32) -> tokio::task::JoinHandle<()> {
    let mut stream = peer.open(node.peer(), MIX).await;
    let frame = packet_frame(number);
    tokio::spawn(async move { while stream.write_all(&frame).await.is_ok() {} })
}

/// Floods a node, and waits until a modest peer's packet has passed all the same.
async fn pass_a_flooder(node: &mut Node, muxer: Muxer) {
    let (mut hostile, mut honest) = (peer_of(node, muxer).await, peer_of(node, Muxer::Yamux).await);
    let flood = flood(&mut hostile, node, 7).await;
    until(async || node.dropped(Stage::Ingress, DropReason::PeerRate) > 2).await;
    let mut stream = honest.open(node.peer(), MIX).await;
    within(stream.write_all(&packet_frame(1))).await.unwrap();
    within(stream.flush()).await.unwrap();
    while node.receive_number().await != 1 {}
    flood.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooder_is_refused_without_a_buffer_while_a_modest_peer_passes() {
    let mut node = bearing(20).await;
    pass_a_flooder(&mut node, Muxer::Yamux).await;
    until(async || node.metric("waku_mix_streams{direction=\"inbound\"}") == 0).await;
    let refused = node.metric("waku_mix_admission_frames_total{outcome=\"peer_rate\"}");
    assert_eq!(node.dropped(Stage::Ingress, DropReason::PeerRate), refused);
    while node.formats.held() > 0 {
        node.receive_number().await;
    }
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flooder_whose_muxer_has_no_flow_control_is_refused_too() {
    let mut node = bearing(20).await;
    pass_a_flooder(&mut node, Muxer::Mplex).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_of_one_peer_take_no_more_than_their_share_of_the_buffers() {
    const ALLOWED: u64 = 512;
    let mut setup = Setup::listening(&[TCP]);
    (setup.buffers, setup.mixer_queue) = (1024, 1024);
    let mut node = setup.start().await;
    let (mut greedy, mut other) = (peer_of(&node, Muxer::Yamux).await, peer_of(&node, Muxer::Yamux).await);
    let mut stream = greedy.open(node.peer(), MIX).await;
    for _ in 0..=ALLOWED {
        within(stream.write_all(&packet_frame(7))).await.unwrap();
    }
    within(stream.flush()).await.unwrap();
    until(async || node.dropped(Stage::Ingress, DropReason::PeerFrames) == 1).await;
    assert_eq!(node.buffers.in_use() as u64, ALLOWED);

    let mut second = other.open(node.peer(), MIX).await;
    within(second.write_all(&packet_frame(1))).await.unwrap();
    within(second.flush()).await.unwrap();
    let mut numbers = node.receive_numbers(513).await;
    assert_eq!((numbers.remove(0), numbers.len() as u64), (1, ALLOWED));
    assert!(numbers.iter().all(|number| *number == 7));
    // There is room again.
    within(stream.write_all(&packet_frame(8))).await.unwrap();
    within(stream.flush()).await.unwrap();
    assert_eq!(node.receive_number().await, 8);
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn short_frames_of_a_flooder_cost_it_as_much_as_long_ones() {
    let node = bearing(20).await;
    let mut hostile = peer_of(&node, Muxer::Yamux).await;
    let mut stream = hostile.open(node.peer(), MIX).await;
    let empty = vec![0u8; PACKET_LEN];
    tokio::spawn(async move { while stream.write_all(&empty).await.is_ok() {} });
    until(async || node.dropped(Stage::Ingress, DropReason::PeerRate) > 0).await;
    assert!(node.dropped(Stage::Ingress, DropReason::NoData) > 0);
    assert_eq!(node.buffers.in_use(), 0);
}

/// The numbers that arrive of 200 when half of them are lost.
async fn survivors(seed: u64) -> Vec<u32> {
    let mut there = Setup::listening(&[TCP]).start().await;
    let mut setup = Setup::listening(&[]);
    setup.config.mix.inject_loss = Some(wakumix_host::Loss { share: 0.5, seed });
    let here = setup.start().await;
    let to = there.hop(0);
    let sent = (0..200).map(|number| here.send(&to, number)).collect();
    support::all_sent(sent).await;
    let lost = here.dropped(Stage::Egress, DropReason::InjectedLoss);
    here.assert_balanced();
    there.receive_numbers(200 - usize::try_from(lost).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_loses_packets_on_purpose_says_they_were_sent_and_loses_the_same_for_the_same_seed() {
    let (first, again, other) = (survivors(1).await, survivors(1).await, survivors(2).await);
    assert!((50..150).contains(&first.len()), "{}", first.len());
    assert_eq!(first, again);
    assert_ne!(first, other);
}
