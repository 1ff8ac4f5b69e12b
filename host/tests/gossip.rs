//! Gossipsub between hosts, with the test as the relay that judges.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::time::Duration;

use futures::{AsyncWriteExt as _, StreamExt as _, future, stream};
use support::{
    Setup,
    raw::{Muxer, RawPeer, frame},
    relay::{Listener, RELAY, Relay, TOPIC, field, publication, subscription},
    within,
};
use wakumix_role_api::host::{PublishFailure, Verdict};

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_message_travels_on_and_a_rejected_one_does_not() {
    let (first, mut middle, mut last) = (Relay::start(16).await, Relay::start(16).await, Relay::start(16).await);
    middle.node.handle.keep_connected(vec![first.node.full_address(0), last.node.full_address(0)]).await;
    middle.mesh(2).await;

    assert_eq!(first.publish(b"bad").await, 1);
    let bad = middle.next().await;
    middle.judge(&bad, Verdict::Reject).await;
    assert_eq!(first.publish(b"good").await, 1);
    let good = middle.next().await;
    assert_eq!((good.data.as_slice(), good.topic.as_str(), good.source), (&b"good"[..], TOPIC, first.node.peer()));
    assert_eq!(good.id, wakumix_waku::message_id(b"good"));
    middle.judge(&good, Verdict::Accept).await;
    assert_eq!(last.next().await.data, b"good");
}

#[tokio::test(flavor = "multi_thread")]
async fn says_why_nothing_was_published() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(16).await);
    let publish = |data: Vec<u8>| here.node.handle.publish(TOPIC.to_owned(), data);
    assert_eq!(publish(b"alone".to_vec()).await, Err(PublishFailure::NoPeers));
    here.node.connect(there.node.full_address(0)).await;
    assert_eq!(here.publish(b"once").await, 1);
    assert_eq!(there.next().await.data, b"once");
    assert_eq!(publish(b"once".to_vec()).await, Err(PublishFailure::Duplicate));
    assert_eq!(publish(vec![0; 153_601]).await, Err(PublishFailure::TooLarge));
    let bare = Setup::listening(&[]).start().await;
    assert_eq!(bare.handle.publish(TOPIC.to_owned(), vec![1]).await, Err(PublishFailure::NoRelay));
    assert!(!bare.handle.subscribe(TOPIC.to_owned()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_nearly_150_kib_arrives() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(16).await);
    here.node.connect(there.node.full_address(0)).await;
    let data = vec![7; 153_000];
    here.publish(&data).await;
    assert_eq!(there.next().await.data, data);
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_messages_without_blame_while_the_relay_is_behind() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(1).await);
    here.node.connect(there.node.full_address(0)).await;
    for number in 0..5u8 {
        here.publish(&[number]).await;
    }
    support::until(async || there.node.metric("waku_mix_gossip_messages_total{verdict=\"overload\"}") == 4).await;
    assert_eq!(there.next().await.data, [0]);
    assert!(there.messages.try_recv().is_none());
    there.node.peers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_the_health_of_its_topics_where_harnesses_look() {
    let hub = Relay::start(16).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let other = Relay::start(16).await;
        other.node.connect(hub.node.full_address(0)).await;
        others.push(other);
    }
    hub.mesh(4).await;
    support::until(async || hub.node.metric("libp2p_gossipsub_healthy_peers_topics") == 1).await;
    support::until(async || others[0].node.metric("libp2p_gossipsub_healthy_peers_topics") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnects_a_peer_that_keeps_sending_invalid_messages() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(16).await);
    here.node.connect(there.node.full_address(0)).await;
    // −100 for the square of their number: eleven are below −10 000.
    for number in 0..11u8 {
        here.publish(&[number]).await;
        let message = there.next().await;
        there.judge(&message, Verdict::Reject).await;
    }
    there.node.peers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_page_has_each_family_once() {
    let (here, there) = (Relay::start(16).await, Relay::start(16).await);
    here.node.connect(there.node.full_address(0)).await;
    here.publish(b"message").await;
    let page = here.node.telemetry.render();
    let mut families: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    families.sort_unstable();
    let count = families.len();
    families.dedup_by_key(|line| line.split(' ').next().unwrap_or_default().to_owned());
    assert_eq!(families.len(), count);
    for expected in ["libp2p_bandwidth_bytes", "libp2p_gossipsub_mesh_peer_counts", "waku_mix_dials_total"] {
        assert!(families.iter().any(|family| family.starts_with(expected)), "{expected}");
    }
}

/// One relay in the middle of fourteen: more than its mesh takes, so some hear of messages only by lists of their ids. One of
/// them publishes `rate` messages per second for six seconds; afterwards every message reaches every other.
async fn a_star_hears_everything_after(rate: u64) {
    let hub = Listener::start().await;
    let mut others = Vec::new();
    for _ in 0..14 {
        let other = Listener::start().await;
        other.node.connect(hub.node.full_address(0)).await;
        others.push(other);
    }
    hub.node.peers(14).await;
    let first = &others[0];
    support::until(async || first.node.metric("libp2p_gossipsub_low_peers_topics") == 1).await;
    let mut next = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
    for number in 0..6 * rate {
        next.tick().await;
        // Refused where the machine does not keep up; that is not what is tested here.
        let _ = first.publish(format!("load {number}").into_bytes()).await;
    }
    for listener in others.iter().skip(1).chain([&hub]) {
        first.reaches(listener).await;
    }
    let afterwards: Vec<_> = (0..10).map(|number| format!("afterwards {number}").into_bytes()).collect();
    for data in &afterwards {
        assert_eq!(first.publish(data.clone()).await, Ok(1));
    }
    for listener in others.iter().skip(1).chain([&hub]) {
        for data in &afterwards {
            listener.sees(data).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_of_fifteen_hears_everything_after_170_messages_a_second() {
    a_star_hears_everything_after(170).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_of_fifteen_hears_everything_after_400_messages_a_second() {
    a_star_hears_everything_after(400).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_relays_are_alive_after_more_than_they_can_carry() {
    let (here, there) = (Listener::start().await, Listener::start().await);
    here.node.connect(there.node.full_address(0)).await;
    support::until(async || here.node.metric("libp2p_gossipsub_low_peers_topics") == 1).await;
    // Always many at once, so that the node has the next one at hand however slow the machine is; reading takes more work.
    let attempts = stream::iter(0_u32..).map(|number| {
        let here = &here;
        async move {
            let data = [number.to_le_bytes().as_slice(), &[0; 16_000]].concat();
            match here.publish(data.clone()).await {
                Ok(_) => false,
                Err(PublishFailure::QueuesFull) => {
                    // Whoever tries again must not be told that it is on its way.
                    assert_eq!(here.publish(data).await, Err(PublishFailure::QueuesFull), "message {number}");
                    true
                }
                Err(other) => panic!("{other}"),
            }
        }
    });
    let refusals = attempts.buffer_unordered(512).filter(|refused| future::ready(*refused));
    within(refusals.take(1000).collect::<Vec<_>>()).await;
    here.reaches(&there).await;
    there.reaches(&here).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_gossip_does_not_get_away_is_disconnected() {
    let Relay { node, .. } = Relay::start(16).await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    let mut streams = peer.accept(RELAY);
    peer.connect(node.full_address(0)).await;
    let mut stream = peer.open(node.peer(), RELAY).await;
    // It subscribes, and never reads what it is sent.
    stream.write_all(&frame(&subscription(TOPIC))).await.unwrap();
    stream.flush().await.unwrap();
    let _unread = within(streams.next()).await;
    let mut next = tokio::time::interval(Duration::from_millis(10));
    within(async {
        for number in 0_u32.. {
            if !peer.is_connected() {
                break;
            }
            next.tick().await;
            let data = [number.to_le_bytes().as_slice(), &[0; 16_000]].concat();
            // Refused once the queue is full.
            let _ = node.handle.publish(TOPIC.to_owned(), data).await;
        }
    })
    .await;
    support::until(async || node.metric("waku_mix_gossip_slow_peers_total") == 1).await;
    node.peers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_the_longest_lists_that_nodes_of_the_network_send() {
    let mut relay = Relay::start(16).await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    // A node speaks gossipsub only to peers that do.
    let _streams = peer.accept(RELAY);
    peer.connect(relay.node.full_address(0)).await;
    let mut stream = peer.open(relay.node.peer(), RELAY).await;
    let subscriptions: Vec<u8> = (0..1024).flat_map(|shard| subscription(&format!("/waku/2/rs/66/{shard}"))).collect();
    let ids: Vec<u8> = (0..5000_u32).flat_map(|id| field(2, &[id.to_be_bytes(); 8].concat())).collect();
    let list = field(3, &field(1, &[field(1, TOPIC.as_bytes()), ids].concat()));
    assert!(list.len() > 170_000);
    // A message behind each of them, in the same write, shows that the stream goes on.
    for (number, long) in [subscriptions, list].into_iter().enumerate() {
        let data = format!("message {number}").into_bytes();
        stream.write_all(&[frame(&long), frame(&publication(&data))].concat()).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(relay.next().await.data, data);
    }
}

/// What was asked for from lists comes late from an honest peer when this node reads it slowly.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_is_not_blamed_for_what_it_has_listed_and_this_node_has_not_read_in_time() {
    let mut relay = Relay::start(16).await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    let _streams = peer.accept(RELAY);
    peer.connect(relay.node.full_address(0)).await;
    let mut stream = peer.open(relay.node.peer(), RELAY).await;
    for heartbeat in 0..5_u32 {
        let ids: Vec<u8> =
            (0..480_u32).flat_map(|id| field(2, &[(heartbeat << 16 | id).to_be_bytes(); 8].concat())).collect();
        let list = field(3, &field(1, &[field(1, TOPIC.as_bytes()), ids].concat()));
        stream.write_all(&frame(&list)).await.unwrap();
        stream.flush().await.unwrap();
        relay.heartbeats(1).await;
    }
    // The library counts what has not come after three seconds.
    relay.heartbeats(6).await;
    assert!(peer.is_connected());
    stream.write_all(&frame(&publication(b"late"))).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(relay.next().await.data, b"late");
}
