//! Several packet formats on one host, over real sockets.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use futures::AsyncWriteExt;
use libp2p::StreamProtocol;
use support::{
    Node, PACKET_LEN, Setup, TCP, all_sent,
    raw::{MIX, RawPeer, frame, packet_frame},
    until, within,
};
use wakumix_mix::{DropReason, MIX_PROTOCOL, SPHINX_PACKET_PROTOCOL, Stage};
use wakumix_role_api::host::{PeerEvent, SendFailure};
use wakumix_sphinx::{FormatKind, WireFormat};

const SPHINX_PACKET: StreamProtocol = StreamProtocol::new(SPHINX_PACKET_PROTOCOL);

fn serving(listen: &[&str], formats: &[WireFormat]) -> Setup {
    let mut setup = Setup::listening(listen);
    setup.formats = formats.to_vec();
    setup
}

fn both() -> [WireFormat; 2] {
    [WireFormat::default(), WireFormat::SphinxPacket]
}

/// Lengths of the next packets, by number; each is finished.
async fn lengths(node: &mut Node, count: usize) -> Vec<(u32, usize)> {
    let mut lengths = Vec::new();
    for _ in 0..count {
        let packet = node.receive().await;
        lengths.push((u32::from_le_bytes(*packet.bytes().first_chunk().unwrap()), packet.bytes().len()));
        packet.finish(wakumix_mix::Outcome::Delivered);
    }
    lengths.sort_unstable();
    lengths
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_packets_of_both_formats_each_on_a_stream_of_its_own() {
    let here = serving(&[], &both()).start().await;
    let mut there = serving(&[TCP], &both()).start().await;
    let to = there.hop(0);
    let other = there.formats.of_kind(FormatKind::SphinxPacket).unwrap().format.packet_len();
    assert_ne!(other, PACKET_LEN);
    let sent: Vec<_> = (0..100)
        .flat_map(|number| [here.send(&to, number), here.send_as(FormatKind::SphinxPacket, &to, 1000 + number)])
        .collect();
    let expected: Vec<_> =
        (0..100).map(|number| (number, PACKET_LEN)).chain((1000..1100).map(|number| (number, other))).collect();
    assert_eq!(lengths(&mut there, 200).await, expected);
    all_sent(sent).await;
    assert_eq!(here.metric("waku_mix_streams_opened_total{direction=\"outbound\"}"), 2);
    here.assert_balanced();
    there.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn announces_the_formats_that_it_serves_and_no_others() {
    for (formats, wanted) in [(both().to_vec(), [true, true]), (vec![WireFormat::SphinxPacket], [false, true])] {
        let mut here = Setup::listening(&[]).start().await;
        let there = serving(&[TCP], &formats).start().await;
        here.connect(there.full_address(0)).await;
        let announced = here
            .event(|event| match event {
                PeerEvent::Identified { protocols, .. } => Some(protocols),
                _ => None,
            })
            .await;
        let has = |protocol: &str| announced.iter().any(|announced| announced == protocol);
        assert_eq!([has(MIX_PROTOCOL), has(SPHINX_PACKET_PROTOCOL)], wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_format_that_a_peer_does_not_serve_costs_its_packets_and_no_others() {
    let here = serving(&[], &both()).start().await;
    let mut there = Setup::listening(&[TCP]).start().await;
    let to = there.hop(0);
    let lost = here.send_as(FormatKind::SphinxPacket, &to, 1);
    assert_eq!(within(lost).await.unwrap(), Err(SendFailure::DialFailed));
    let sent = here.send(&to, 2);
    assert_eq!(there.receive_number().await, 2);
    all_sent(vec![sent]).await;
    here.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_has_one_share_for_all_formats() {
    let mut setup = serving(&[TCP], &both());
    setup.config.mix.capacity = Some(support::capacity(20));
    let node = setup.start().await;
    let length = node.formats.of_kind(FormatKind::SphinxPacket).unwrap().format.packet_len();
    let mut peer = RawPeer::connected(&node).await;
    for (protocol, frame) in [(MIX, packet_frame(1)), (SPHINX_PACKET, frame(&vec![2; length]))] {
        let mut stream = peer.open(node.peer(), protocol).await;
        tokio::spawn(async move { while stream.write_all(&frame).await.is_ok() {} });
    }
    until(async || node.dropped(Stage::Ingress, DropReason::PeerRate) > 2).await;
    assert_eq!(node.metric("waku_mix_admission_active_peers"), 1);
}
