//! Packets between hosts over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::time::Duration;

use futures::StreamExt as _;
use support::{Node, QUIC, Setup, TCP, WEBSOCKET, all_sent, raw, until, within};
use tokio::time::Instant;
use wakumix_mix::{DropReason, HopAddress, Stage};
use wakumix_role_api::host::SendFailure;

async fn carries_packets_both_ways(listen: &str) {
    let mut here = Setup::listening(&[listen]).start().await;
    let mut there = Setup::listening(&[listen]).start().await;
    // A header cannot say WebSocket: such a peer is reached over a connection that exists.
    let (to_here, to_there) = if listen == WEBSOCKET {
        here.connect(there.full_address(0)).await;
        there.peers(1).await;
        (nowhere(&here), nowhere(&there))
    } else {
        (here.hop(0), there.hop(0))
    };
    let sent: Vec<_> = (0..100).map(|number| here.send(&to_there, number)).collect();
    assert_eq!(there.receive_numbers(100).await, (0..100).collect::<Vec<_>>());
    all_sent(sent).await;
    let sent: Vec<_> = (0..100).map(|number| there.send(&to_here, number)).collect();
    assert_eq!(here.receive_numbers(100).await, (0..100).collect::<Vec<_>>());
    all_sent(sent).await;
    here.assert_balanced();
    there.assert_balanced();
    assert_eq!(here.ledger.snapshot().sent, 100);
    assert_eq!(here.ledger.snapshot().received, 100);
}

/// An address at which nobody listens: port 9 of the local machine.
fn nowhere(node: &Node) -> HopAddress {
    HopAddress::from_multiaddr(&"/ip4/127.0.0.1/tcp/9".parse().unwrap(), node.peer()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_packets_both_ways_over_tcp() {
    carries_packets_both_ways(TCP).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_packets_both_ways_over_quic() {
    carries_packets_both_ways(QUIC).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn carries_packets_both_ways_over_websocket() {
    carries_packets_both_ways(WEBSOCKET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_nobody_can_dial_gets_packets_over_the_connection_that_it_has_opened() {
    let mut hidden = Setup::listening(&[]).start().await;
    let there = Setup::listening(&[TCP]).start().await;
    hidden.connect(there.full_address(0)).await;
    there.peers(1).await;
    let to_hidden = HopAddress::placeholder(hidden.peer()).unwrap();
    let sent: Vec<_> = (0..100).map(|number| there.send_if_connected(&to_hidden, number)).collect();
    assert_eq!(hidden.receive_numbers(100).await, (0..100).collect::<Vec<_>>());
    all_sent(sent).await;
    hidden.stop().await;
    there.peers(0).await;
    assert_eq!(within(there.send_if_connected(&to_hidden, 100)).await.unwrap(), Err(SendFailure::NotConnected));
    assert_eq!(there.dropped(Stage::Egress, DropReason::PrivateDestination), 1);
    assert_eq!(dials(&there), 0);
    there.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_dialled_for_packets_whose_peer_hangs_up_before_they_are_written() {
    let node = Setup::listening(&[TCP]).start().await;
    let mut peer = raw::RawPeer::start(raw::Muxer::Yamux).await;
    let mut streams = peer.accept(raw::MIX);
    peer.connect(node.full_address(0)).await;
    node.peers(1).await;
    // It listens, so it could be dialled, and takes a stream without reading it: more waits than fits into its window.
    let to = peer.hop();
    let sent: Vec<_> = (0..200).map(|number| node.send_if_connected(&to, number)).collect();
    let stream = within(streams.next()).await;
    drop((peer, streams, stream));
    let mut not_connected = 0;
    for outcome in sent {
        match within(outcome).await.unwrap() {
            Ok(()) | Err(SendFailure::WriteFailed) => {}
            Err(SendFailure::NotConnected) => not_connected += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(not_connected > 0);
    assert_eq!(node.dropped(Stage::Egress, DropReason::PrivateDestination), not_connected);
    assert_eq!(dials(&node), 0);
    node.assert_balanced();
}

/// Dials that have ended, however.
fn dials(node: &Node) -> u64 {
    let series = |outcome| format!("waku_mix_dials_total{{outcome=\"{outcome}\"}}");
    ["connected", "failed", "denied"].map(|outcome| node.metric(&series(outcome))).iter().sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_a_thousand_packets_to_one_stream_and_loses_none() {
    let here = Setup::listening(&[TCP]).start().await;
    let mut there = Setup::listening(&[TCP]).start().await;
    let to = there.hop(0);
    for wave in 0..10 {
        let sent: Vec<_> = (0..100).map(|n| here.send(&to, wave * 100 + n)).collect();
        all_sent(sent).await;
        let expected: Vec<_> = (wave * 100..(wave + 1) * 100).collect();
        assert_eq!(there.receive_numbers(100).await, expected);
    }
    assert_eq!(here.metric("waku_mix_streams_opened_total{direction=\"outbound\"}"), 1);
    assert_eq!(there.metric("waku_mix_streams_opened_total{direction=\"inbound\"}"), 1);
    assert_eq!(here.ledger.snapshot().sent, 1000);
    here.assert_balanced();
    there.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_one_stream_however_many_connections_there_are() {
    let mut here = Setup::listening(&[TCP, QUIC]).start().await;
    let mut there = Setup::listening(&[TCP, QUIC]).start().await;
    // Both dial at once: usually two connections come of it.
    let sent = vec![here.send(&there.hop(0), 1), there.send(&here.hop(1), 2)];
    assert_eq!(there.receive_number().await, 1);
    assert_eq!(here.receive_number().await, 2);
    all_sent(sent).await;
    let sent: Vec<_> = (0..50).map(|number| here.send(&there.hop(1), number)).collect();
    assert_eq!(there.receive_numbers(50).await.len(), 50);
    all_sent(sent).await;
    assert_eq!(here.metric("waku_mix_streams_opened_total{direction=\"outbound\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn receives_from_two_senders_at_once() {
    let first = Setup::listening(&[]).start().await;
    let second = Setup::listening(&[]).start().await;
    let mut there = Setup::listening(&[TCP, QUIC]).start().await;
    let mut sent = Vec::new();
    for number in 0..200 {
        sent.push(first.send(&there.hop(0), number));
        sent.push(second.send(&there.hop(1), 1000 + number));
    }
    let expected: Vec<_> = (0..200).chain(1000..1200).collect();
    assert_eq!(there.receive_numbers(400).await, expected);
    all_sent(sent).await;
    there.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_reading_while_no_buffer_is_free_and_then_loses_nothing() {
    let here = Setup::listening(&[]).start().await;
    let mut setup = Setup::listening(&[TCP]);
    setup.buffers = 8;
    let mut there = setup.start().await;
    let to = there.hop(0);
    let sent: Vec<_> = (0..200).map(|number| here.send(&to, number)).collect();
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(there.receive().await);
    }
    assert_eq!(there.buffers.in_use(), 8);
    assert!(there.packets.try_recv().is_none(), "a ninth packet needs a ninth buffer");
    let mut numbers: Vec<_> =
        held.iter().map(|packet| u32::from_le_bytes(*packet.bytes().first_chunk().unwrap())).collect();
    held.into_iter().for_each(|packet| packet.finish(wakumix_mix::Outcome::Delivered));
    numbers.extend(there.receive_numbers(192).await);
    numbers.sort_unstable();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    all_sent(sent).await;
    there.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_a_full_mixer_the_newest_packets_are_dropped_and_counted() {
    let here = Setup::listening(&[]).start().await;
    let mut setup = Setup::listening(&[TCP]);
    setup.mixer_queue = 1;
    let mut there = setup.start().await;
    let to = there.hop(0);
    let sent: Vec<_> = (0..250).map(|number| here.send(&to, number)).collect();
    all_sent(sent).await;
    let dropped = || {
        let dropped = there.ledger.snapshot().dropped;
        dropped.iter().find(|(stage, ..)| *stage == Stage::Unwrap).map_or(0, |(.., count)| *count)
    };
    until(async || dropped() == 249).await;
    assert_eq!(there.receive_number().await, 0, "the first has its place");
    there.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn reaches_a_peer_again_after_it_was_restarted() {
    let here = Setup::listening(&[TCP]).start().await;
    let mut there = Setup::listening(&[TCP]).start().await;
    let (to, identity) = (there.hop(0), there.identity.clone());
    let listen = there.host.listen_addresses()[0].to_string();
    let sent = here.send(&to, 1);
    assert_eq!(there.receive_number().await, 1);
    all_sent(vec![sent]).await;
    assert!(there.stop().await.in_time);
    here.peers(0).await;

    let mut setup = Setup::listening(&[&listen]);
    setup.identity = identity;
    let mut again = setup.start().await;
    let sent = here.send(&to, 2);
    assert_eq!(again.receive_number().await, 2);
    all_sent(vec![sent]).await;
    here.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_nobody_can_reach_costs_its_packets_and_says_so() {
    let here = Setup::listening(&[]).start().await;
    let there = Setup::listening(&[TCP]).start().await;
    let to = nowhere(&there);
    let sent: Vec<_> = (0..10).map(|number| here.send(&to, number)).collect();
    for outcome in sent {
        assert_eq!(within(outcome).await.unwrap(), Err(SendFailure::DialFailed));
    }
    assert_eq!(here.dropped(Stage::Egress, DropReason::DialFailed), 10);
    until(async || here.metric("waku_mix_dials_total{outcome=\"failed\"}") >= 1).await;
    here.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn does_not_dial_itself() {
    let here = Setup::listening(&[TCP]).start().await;
    let sent = here.send(&here.hop(0), 1);
    assert_eq!(within(sent).await.unwrap(), Err(SendFailure::DialFailed));
    here.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_fills_its_queue_and_no_more() {
    let mut setup = Setup::listening(&[]);
    setup.config.mix.queue_packets = 32;
    setup.config.mix.write_timeout = Duration::from_secs(1);
    setup.buffers = 512;
    let here = setup.start().await;
    let mut there = raw::RawPeer::start(raw::Muxer::Yamux).await;
    // Accepted streams stay in this queue, unread.
    let _unread = there.accept(raw::MIX);
    let streams = || here.metric("waku_mix_streams_opened_total{direction=\"outbound\"}");
    let (mut sent, mut refused) = (Vec::new(), 0);
    // Until the window of one stream is full, the write is given up, and the next stream is tried.
    within(async {
        while streams() < 2 || refused < 50 {
            let mut outcome = here.send(&there.hop(), 0);
            // The host has handled what was sent before once it answers.
            here.handle.status().await.unwrap();
            assert!(here.buffers.in_use() <= 32, "the queue grew");
            match outcome.try_recv() {
                Ok(Err(SendFailure::QueueFull)) => refused += 1,
                Ok(outcome) => assert!(matches!(outcome, Ok(()) | Err(SendFailure::WriteFailed))),
                Err(_) => sent.push(outcome),
            }
        }
    })
    .await;
    assert_eq!(here.dropped(Stage::Egress, DropReason::QueueFull), refused);
    for outcome in sent {
        // Written into a window, or given up for the second time.
        assert!(matches!(within(outcome).await.unwrap(), Ok(()) | Err(SendFailure::WriteFailed)));
    }
    here.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_host_writes_what_waits() {
    let here = Setup::listening(&[]).start().await;
    let mut there = Setup::listening(&[TCP]).start().await;
    let to = there.hop(0);
    let sent: Vec<_> = (0..200).map(|number| here.send(&to, number)).collect();
    let (buffers, ledger) = (here.buffers.clone(), here.ledger.clone());
    let (report, numbers) = tokio::join!(here.stop(), there.receive_numbers(200));
    assert!(report.in_time, "{report:?}");
    assert_eq!((report.abandoned, numbers), (0, (0..200).collect()));
    all_sent(sent).await;
    assert_eq!((buffers.in_use(), ledger.snapshot().unaccounted(0)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_host_finishes_what_it_cannot_write() {
    let here = Setup::listening(&[]).start().await;
    let mut there = raw::RawPeer::start(raw::Muxer::Yamux).await;
    let _unread = there.accept(raw::MIX);
    let sent: Vec<_> = (0..200).map(|number| here.send(&there.hop(), number)).collect();
    let (buffers, ledger) = (here.buffers.clone(), here.ledger.clone());
    let report = within(here.host.stop(Instant::now() + Duration::from_millis(500))).await;
    assert!(!report.in_time && report.abandoned > 0, "{report:?}");
    for outcome in sent {
        assert!(matches!(within(outcome).await.unwrap(), Ok(()) | Err(SendFailure::Stopped)));
    }
    until(async || buffers.in_use() == 0).await;
    assert_eq!(ledger.snapshot().unaccounted(0), 0);
    let stopped = ledger.snapshot().dropped;
    assert!(stopped.iter().any(|(stage, reason, _)| (*stage, *reason) == (Stage::Shutdown, DropReason::Stopped)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_address_is_not_dialled_again_at_once_and_does_not_hide_a_sound_one() {
    let here = Setup::listening(&[]).start().await;
    let mut there = Setup::listening(&[TCP]).start().await;
    for number in 0..5 {
        let sent = here.send(&nowhere(&there), number);
        assert_eq!(within(sent).await.unwrap(), Err(SendFailure::DialFailed));
    }
    assert_eq!(here.metric("waku_mix_dials_total{outcome=\"failed\"}"), 1);
    let sent = here.send(&there.hop(0), 5);
    assert_eq!(there.receive_number().await, 5);
    all_sent(vec![sent]).await;
    here.assert_balanced();
}
