//! Requests that go well, and those that are refused with words.

use std::{collections::HashSet, time::Duration};

use multiaddr::Protocol;
use wakumix_integration_tests::{
    TOPIC,
    http::metric,
    net::{Net, NodePlan, all_with, drops, message, over_quic, plans, push, push_as, push_many, usual},
    run, within,
};
use wakumix_mix::Balance;
use wakumix_role_api::sender::{Anonymity, ClientError, DeliveryPath, PushFailure};

async fn a_message_and_its_answer_cross_the_mixnet(profile: &str) {
    let net = Net::start(all_with(usual(), "mix.profile", profile)).await;
    let mut first = net.follow("relay-1").await;
    let mut second = net.follow("relay-2").await;

    let answer = push(net.node("sender-1"), "hello mix").await.unwrap();
    assert_eq!((answer.kind(), answer.status, &answer.path), ("confirmed", 200, &DeliveryPath::Mixnet));
    for received in [within(first.recv()).await.unwrap(), within(second.recv()).await.unwrap()] {
        assert_eq!(received.message.payload, b"hello mix");
        assert_eq!(Some(*received.hash.as_bytes()), answer.message_hash);
    }

    net.at_rest_after("sender-1", std::slice::from_ref(&answer)).await;
    let sum = |count: fn(&Balance) -> u64, names: &[&str]| names.iter().map(|name| count(&net.balance(name))).sum();
    let mixes: [&str; 5] = ["mixer-1", "mixer-2", "mixer-3", "exit-1", "exit-2"];
    let (forwarded, delivered): (u64, u64) = (sum(|b| b.forwarded, &mixes), sum(|b| b.delivered, &mixes));
    let sender = net.balance("sender-1");
    assert_eq!(sender.sent, delivered);
    assert_eq!(forwarded, 2 * (sender.sent + sender.received), "two hops there, two hops back");
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
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        let sent: HashSet<_> = answers.iter().map(|answer| answer.message_hash.unwrap()).collect();
        assert_eq!(sent.len(), 40);
        for relay in &mut relays {
            let mut received = HashSet::new();
            for _ in 0..40 {
                received.insert(*within(relay.recv()).await.unwrap().hash.as_bytes());
            }
            assert_eq!(received, sent);
            assert!(relay.try_recv().is_err(), "no message came twice");
        }
        net.at_rest_after("sender-1", &answers).await;
        net.end().await;
    });
}

#[test]
fn an_exit_passes_a_request_on_to_a_service_outside_the_pool() {
    run(async {
        let mut plans = plans(0, 0, 2, 1);
        plans.extend((1..=4).map(|number| NodePlan::new(format!("gate-{number}"), &["mixer", "exit"])));
        let net = Net::strangers(plans).await;
        net.tell_all(&net.pool(), &[net.service_of("relay-1")]).await;
        net.link_relays().await;
        net.ready().await;
        let mut subscriber = net.follow("relay-2").await;

        let answer = push(net.node("sender-1"), "beyond the exit").await.unwrap();
        assert_eq!(answer.kind(), "confirmed");
        let received = within(subscriber.recv()).await.unwrap();
        assert_eq!(Some(*received.hash.as_bytes()), answer.message_hash);
        net.at_rest_after("sender-1", &[answer]).await;
        assert_eq!(net.balance("relay-1").received, 0, "the service is no hop");
        net.end().await;
    });
}

#[test]
fn a_net_that_speaks_quic_alone_carries_messages() {
    run(async {
        let net = Net::start(usual().into_iter().map(over_quic).collect()).await;
        let mut subscriber = net.follow("relay-1").await;
        let answer = push(net.node("sender-1"), "over QUIC").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(Some(*within(subscriber.recv()).await.unwrap().hash.as_bytes()), answer.message_hash);
        net.at_rest_after("sender-1", &[answer]).await;
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
        assert!(
            matches!(failure, PushFailure::Client(ClientError::PoolTooSmall { usable: 3, needed: 4, .. })),
            "{failure}"
        );
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
        assert_eq!(answer.description.as_deref().unwrap(), "this node does not relay the pubsub topic");
        assert_eq!((answer.kind(), answer.relay_peer_count), ("refused", None));
        net.at_rest_after("sender-1", &[answer]).await;
        net.end().await;
    });
}

/// The longest payload that the mixnet takes, every byte of it another one than its neighbours.
fn longest_payload() -> Vec<u8> {
    (0..4096_u32).map(|index| u8::try_from(index * 31 % 251).unwrap()).collect()
}

/// Sends the longest payload, which takes so many packets, and one that is a byte longer.
async fn the_longest_payload_is_received_byte_for_byte(profile: &str, packets: u32) {
    let net = Net::start(all_with(usual(), "mix.profile", profile)).await;
    let mut relays = [net.follow("relay-1").await, net.follow("relay-2").await];
    let sender = net.node("sender-1");
    let failure = push(sender, vec![b'x'; 4097]).await.unwrap_err();
    assert_eq!(failure, PushFailure::Client(ClientError::PayloadTooLarge { size: 4097, limit: 4096 }));
    assert_eq!(failure.kind(), "too_large");
    assert_eq!(net.balance("sender-1").originated, 0, "no packet was made");

    let answer = push(sender, longest_payload()).await.unwrap();
    assert_eq!((answer.kind(), &answer.path), ("confirmed", &DeliveryPath::Mixnet));
    assert!(answer.exposure.packets >= packets * answer.tries, "{answer:?}");
    if answer.tries == 1 {
        assert_eq!(answer.exposure.packets, packets);
    }
    for relay in &mut relays {
        let received = within(relay.recv()).await.unwrap();
        assert!(received.message.payload == longest_payload(), "another payload came out");
        assert_eq!(Some(*received.hash.as_bytes()), answer.message_hash);
        assert!(relay.try_recv().is_err(), "it came once");
    }
    net.at_rest_after("sender-1", &[answer]).await;
    net.end().await;
}

#[test]
fn the_longest_payload_is_received_byte_for_byte_with_aes_ctr_seq() {
    run(the_longest_payload_is_received_byte_for_byte("aes-ctr/seq", 2));
}

#[test]
fn the_longest_payload_is_received_byte_for_byte_with_lioness_seq() {
    run(the_longest_payload_is_received_byte_for_byte("lioness/seq", 2));
}

#[test]
fn the_longest_payload_is_received_byte_for_byte_with_lioness_pad() {
    run(the_longest_payload_is_received_byte_for_byte("lioness/pad", 2));
}

#[test]
fn the_longest_payload_is_received_byte_for_byte_with_sphinx_packet() {
    run(the_longest_payload_is_received_byte_for_byte("sphinx-packet", 1));
}

#[test]
fn the_longest_payload_is_received_byte_for_byte_where_both_formats_are_served() {
    run(the_longest_payload_is_received_byte_for_byte("lioness/pad,sphinx-packet", 2));
}

#[test]
fn what_exits_do_not_put_together_travels_in_the_larger_packets_if_these_are_served() {
    run(async {
        let plans = all_with(usual(), "mix.profile", "lioness/pad,sphinx-packet");
        let net = Net::start(all_with(plans, "exit.max-fragment-sets", "0")).await;
        let mut subscriber = net.follow("relay-1").await;
        let answer = push(net.node("sender-1"), longest_payload()).await.unwrap();
        assert_eq!((answer.kind(), answer.exposure.packets), ("confirmed", answer.tries), "one packet a try");
        assert!(within(subscriber.recv()).await.unwrap().message.payload == longest_payload());
        net.at_rest_after("sender-1", &[answer]).await;
        net.end().await;
    });
}

#[test]
fn a_request_too_large_for_one_packet_to_exits_that_take_no_fragments_is_refused_and_the_largest_that_fits_arrives() {
    run(async {
        let net = Net::start(all_with(usual(), "exit.max-fragment-sets", "0")).await;
        let mut subscriber = net.follow("relay-1").await;
        let sender = net.node("sender-1");
        let Err(PushFailure::Client(ClientError::TooLarge { size, limit })) = push(sender, vec![b'x'; 4000]).await
        else {
            panic!("4000 bytes of payload do not fit");
        };
        assert!(size > 4000 && limit < 4000, "{size} {limit}");
        assert_eq!(net.balance("sender-1").originated, 0, "no packet was made");

        let largest = 4000 - (size - limit);
        let failure = push(sender, vec![b'x'; largest + 1]).await.unwrap_err();
        assert_eq!(failure, PushFailure::Client(ClientError::TooLarge { size: limit + 1, limit }));
        let answer = push(sender, vec![b'x'; largest]).await.unwrap();
        assert_eq!((answer.kind(), answer.exposure.packets), ("confirmed", answer.tries));
        assert_eq!(within(subscriber.recv()).await.unwrap().message.payload.len(), largest);
        net.at_rest_after("sender-1", &[answer]).await;
        net.end().await;
    });
}

#[test]
fn a_push_that_prefers_the_mixnet_goes_directly_where_the_pool_is_too_small_and_says_so() {
    run(async {
        let net = Net::strangers(all_with(plans(2, 1, 2, 1), "sender.fallback-after", "0s")).await;
        net.tell_all(&net.pool(), &net.services()).await;
        net.link_relays().await;
        let mut subscriber = net.follow("relay-1").await;
        // Without the mixnet the sender is never ready; the relays are.
        net.meshed().await;
        let sender = net.node("sender-1");
        let required = push_as(sender, Anonymity::Required, "hidden or not at all").await.unwrap_err();
        assert_eq!(required.kind(), "pool_too_small");
        let preferred = push_as(sender, Anonymity::Preferred, "hidden if possible").await.unwrap();
        assert_eq!(preferred.kind(), "confirmed");
        assert_eq!(preferred.path, DeliveryPath::Direct(Some(Box::new(required))));
        assert_eq!(within(subscriber.recv()).await.unwrap().message.payload, b"hidden if possible");
        assert_eq!(net.balance("sender-1").originated, 0, "no packet was made");
        let page = sender.telemetry().render();
        assert_eq!(metric(&page, "waku_mix_direct_pushes_total{reason=\"fallback\"}"), Some(1.0));
        assert_eq!(metric(&page, "waku_mix_direct_pushes_total{reason=\"asked\"}"), Some(0.0));
        net.end().await;
    });
}

#[test]
fn a_push_goes_over_the_mixnet_if_that_is_preferred_and_directly_if_no_anonymity_is_asked_for() {
    run(async {
        let net = Net::start(usual()).await;
        let sender = net.node("sender-1");
        let preferred = push_as(sender, Anonymity::Preferred, "hidden").await.unwrap();
        assert_eq!((preferred.kind(), &preferred.path), ("confirmed", &DeliveryPath::Mixnet));
        let direct = push_as(sender, Anonymity::None, "for all to see").await.unwrap();
        assert_eq!((direct.kind(), &direct.path), ("confirmed", &DeliveryPath::Direct(None)));
        assert_eq!(direct.exposure.packets, 0);
        net.at_rest_after("sender-1", &[preferred]).await;
        net.end().await;
    });
}

#[test]
fn of_several_replies_the_first_wins_and_the_others_are_dropped_and_counted() {
    run(async {
        let plans = all_with(all_with(usual(), "sender.surbs", "3"), "exit.max-answers", "3");
        let net = Net::start(plans).await;
        let answer = push(net.node("sender-1"), "three ways back").await.unwrap();
        assert_eq!(answer.kind(), "confirmed");
        let dropped = net.at_rest().await;
        let (tries, replied) = (u64::from(answer.tries), net.balance("sender-1").replied);
        assert!((1..=tries).contains(&replied), "one for each try at most: {replied}");
        let spare = 3 * tries - replied;
        assert_eq!(dropped, drops(&[("sender-1", "reply/unknown_reply", spare)]));
        let page = net.node("sender-1").telemetry().render();
        assert_eq!(metric(&page, "mix_surb_creds_active"), Some(0.0));
        assert_eq!(
            metric(&page, "waku_mix_packets_dropped_total{stage=\"reply\",reason=\"unknown_reply\"}"),
            Some(spare as f64)
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
        assert_eq!(second.description.as_deref().unwrap(), "Dropping already-seen message");
        assert_eq!(first.message_hash, second.message_hash);
        net.at_rest_after("sender-1", &[first, second]).await;
        net.end().await;
    });
}
