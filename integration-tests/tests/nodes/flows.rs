//! Requests that go well, and those that are refused with words.

use std::{collections::HashSet, time::Duration};

use multiaddr::Protocol;
use wakumix_integration_tests::{
    http::metric,
    net::{Net, Plan, TOPIC, all_with, drops, message, plans, push, push_many, usual},
    run, within,
};
use wakumix_mix::Balance;
use wakumix_role_api::sender::PushFailure;

/// Nothing was dropped.
fn none() -> wakumix_integration_tests::net::Drops {
    drops(&[])
}

async fn a_message_and_its_answer_cross_the_mixnet(profile: &str) {
    let net = Net::start(all_with(usual(), "mix.profile", profile)).await;
    let mut first = net.follow("relay-1").await;
    let mut second = net.follow("relay-2").await;

    let answer = push(net.node("sender-1"), "hello mix").await.unwrap();
    assert_eq!((answer.status, answer.description), (200, None));
    assert!(answer.relay_peer_count.unwrap() >= 1);
    for received in [within(first.recv()).await.unwrap(), within(second.recv()).await.unwrap()] {
        assert_eq!(received.message.payload, b"hello mix");
        assert_eq!(Some(*received.hash.as_bytes()), answer.message_hash);
    }

    assert_eq!(net.at_rest().await, none());
    let sum = |count: fn(&Balance) -> u64, names: &[&str]| names.iter().map(|name| count(&net.balance(name))).sum();
    let mixes: [&str; 5] = ["mixer-1", "mixer-2", "mixer-3", "exit-1", "exit-2"];
    let (forwarded, delivered): (u64, u64) = (sum(|b| b.forwarded, &mixes), sum(|b| b.delivered, &mixes));
    assert_eq!((forwarded, delivered), (4, 1), "two hops there, the exit, two hops back");
    let sender = net.balance("sender-1");
    assert_eq!((sender.sent, sender.received, sender.replied), (1, 1, 1));
    net.end().await;
}

#[test]
fn a_message_and_its_answer_cross_the_mixnet_with_aes_ctr_seq() {
    run(a_message_and_its_answer_cross_the_mixnet("aes-ctr/seq"));
}

#[test]
fn a_message_and_its_answer_cross_the_mixnet_with_lioness_seq() {
    run(a_message_and_its_answer_cross_the_mixnet("lioness/seq"));
}

#[test]
fn a_message_and_its_answer_cross_the_mixnet_with_lioness_pad() {
    run(a_message_and_its_answer_cross_the_mixnet("lioness/pad"));
}

#[test]
fn every_message_of_many_is_answered_and_reaches_every_subscriber_once() {
    run(async {
        let net = Net::start(usual()).await;
        let mut relays = [net.follow("relay-1").await, net.follow("relay-2").await];
        let answers = push_many(net.node("sender-1"), 40, 8).await;
        let sent: HashSet<_> = answers.into_iter().map(|answer| answer.unwrap().message_hash.unwrap()).collect();
        assert_eq!(sent.len(), 40);
        for relay in &mut relays {
            let mut received = HashSet::new();
            for _ in 0..40 {
                received.insert(*within(relay.recv()).await.unwrap().hash.as_bytes());
            }
            assert_eq!(received, sent);
            assert!(relay.try_recv().is_err(), "no message came twice");
        }
        assert_eq!(net.at_rest().await, none());
        net.end().await;
    });
}

#[test]
fn an_exit_passes_a_request_on_to_a_service_outside_the_pool() {
    run(async {
        let mut plans = plans(0, 0, 2, 1);
        plans.extend((1..=4).map(|number| Plan::new(format!("gate-{number}"), &["mixer", "exit"])));
        let net = Net::strangers(plans).await;
        net.tell_all(&net.pool(), &[net.service_of("relay-1")]).await;
        net.link_relays().await;
        net.ready().await;
        let mut subscriber = net.follow("relay-2").await;

        let answer = push(net.node("sender-1"), "beyond the exit").await.unwrap();
        assert_eq!((answer.status, answer.relay_peer_count), (200, Some(1)));
        let received = within(subscriber.recv()).await.unwrap();
        assert_eq!(Some(*received.hash.as_bytes()), answer.message_hash);
        assert_eq!(net.at_rest().await, none());
        assert_eq!(net.balance("relay-1").received, 0, "the service is no hop");
        net.end().await;
    });
}

#[test]
fn a_net_that_speaks_quic_alone_carries_messages() {
    run(async {
        let net = Net::start(usual().into_iter().map(Plan::over_quic).collect()).await;
        let mut subscriber = net.follow("relay-1").await;
        let answer = push(net.node("sender-1"), "over QUIC").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(Some(*within(subscriber.recv()).await.unwrap().hash.as_bytes()), answer.message_hash);
        assert_eq!(net.at_rest().await, none());
        for node in ["sender-1", "mixer-1", "exit-1", "relay-2"] {
            let page = net.node(node).telemetry().render();
            let bytes: Vec<_> = page.lines().filter(|line| line.starts_with("libp2p_bandwidth_bytes_total{")).collect();
            assert!(!bytes.is_empty());
            assert!(bytes.iter().all(|line| line.contains("quic-v1") && !line.contains("tcp")), "{bytes:#?}");
        }
        assert!(net.node("sender-1").mix_node().unwrap().address.multiaddr().iter().any(|p| p == Protocol::QuicV1));
        net.end().await;
    });
}

#[test]
fn a_pool_that_is_too_small_is_told_at_once_with_both_numbers() {
    run(async {
        let net = Net::strangers(plans(2, 1, 1, 1)).await;
        net.tell_all(&net.pool(), &net.services()).await;
        let failure = push(net.node("sender-1"), "too few").await.unwrap_err();
        assert!(matches!(failure, PushFailure::PoolTooSmall { usable: 3, needed: 4, .. }), "{failure}");
        assert_eq!(failure.kind(), "pool_too_small");
        assert_eq!(net.balance("sender-1").originated, 0, "no packet was made");
        assert_eq!(net.node("sender-1").missing(), [format!("sender: {failure}")]);
        net.end().await;
    });
}

#[test]
fn a_shard_that_the_service_does_not_relay_is_refused_through_the_mixnet() {
    run(async {
        let net = Net::start(usual()).await;
        let sender = net.node("sender-1").sender().unwrap();
        let answer = within(sender.push(message("off shard"), Some("/waku/2/rs/66/7".to_owned()), None, None)).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, 421);
        assert_eq!(answer.description.unwrap(), "this node does not relay the pubsub topic");
        assert_eq!(answer.relay_peer_count, None);
        assert_eq!(net.at_rest().await, none());
        net.end().await;
    });
}

#[test]
fn a_request_too_large_for_one_packet_is_refused_and_the_largest_that_fits_arrives() {
    run(async {
        let net = Net::start(usual()).await;
        let mut subscriber = net.follow("relay-1").await;
        let sender = net.node("sender-1");
        let Err(PushFailure::TooLarge { size, limit }) = push(sender, vec![b'x'; 4000]).await else {
            panic!("4000 bytes of payload do not fit");
        };
        assert!(size > 4000 && limit < 4000, "{size} {limit}");
        assert_eq!(net.balance("sender-1").originated, 0, "no packet was made");

        let largest = 4000 - (size - limit);
        let failure = push(sender, vec![b'x'; largest + 1]).await.unwrap_err();
        assert_eq!(failure, PushFailure::TooLarge { size: limit + 1, limit });
        assert_eq!(push(sender, vec![b'x'; largest]).await.unwrap().status, 200);
        assert_eq!(within(subscriber.recv()).await.unwrap().message.payload.len(), largest);
        assert_eq!(net.at_rest().await, none());
        net.end().await;
    });
}

#[test]
fn of_several_replies_the_first_wins_and_the_others_are_dropped_and_counted() {
    run(async {
        let net = Net::start(all_with(usual(), "sender.surbs", "3")).await;
        let answer = push(net.node("sender-1"), "three ways back").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(net.at_rest().await, drops(&[("sender-1", "reply/unknown_reply", 2)]));
        assert_eq!(net.balance("sender-1").replied, 1);
        let page = net.node("sender-1").telemetry().render();
        assert_eq!(metric(&page, "mix_surb_creds_active"), Some(0.0));
        assert_eq!(
            metric(&page, "waku_mix_packets_dropped_total{stage=\"reply\",reason=\"unknown_reply\"}"),
            Some(2.0)
        );
        net.end().await;
    });
}

#[test]
fn the_same_message_again_is_a_success_that_tells_that_it_is_a_duplicate() {
    run(async {
        let net = Net::start(plans(3, 1, 2, 1)).await;
        let sender = net.node("sender-1").sender().unwrap();
        let mut same = message("once");
        same.timestamp = Some(1_756_000_000_000_000_000);
        let limit = Some(Duration::from_secs(30));
        let first = sender.push(same.clone(), Some(TOPIC.to_owned()), None, limit).await.unwrap();
        let second = sender.push(same, Some(TOPIC.to_owned()), None, limit).await.unwrap();
        assert_eq!((first.status, second.status), (200, 200));
        assert_eq!(second.description.unwrap(), "Dropping already-seen message");
        assert_eq!(first.message_hash, second.message_hash);
        assert_eq!(net.at_rest().await, none());
        net.end().await;
    });
}
