//! Dependable sending: silence, bursts, silent and busy services, large messages, and what is said in each case.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;
use wakumix_mix::{DropReason, Outcome, Stage};
use wakumix_role_api::{
    Directory,
    directory::ServiceNode,
    host::SendFailure,
    relay::Received,
    sender::{Anonymity, Certainty, ClientError, DeliveryPath, DirectFailure, PushFailure},
};
use wakumix_sender::Config;
use wakumix_sphinx::{FormatKind, Profile, Sphinx, WireFormat};
use wakumix_waku::{
    MessageHash,
    lightpush::{StatusCode, text},
};

use crate::{
    net::{Conduct, Net},
    support::{MIXER_QUEUE, Setup, TOPIC, World, cannot_leave, directory, message, node, peer},
};

/// The pool `1..=size` in which the first `services` serve lightpush and put fragments together.
fn services(size: u16, services: u16) -> Directory {
    let mut directory = directory(size);
    directory.mix_nodes[..usize::from(services)].iter_mut().for_each(|node| node.reassembles = true);
    let service = |seed| ServiceNode::new(peer(seed), vec![node(seed).address.multiaddr()]);
    directory.lightpush = (1..=services).map(service).collect();
    directory
}

fn world(size: u16, count: u16) -> World {
    world_with(Config::default(), size, count)
}

/// Stops the clock too, as a test's first world does.
fn world_with(config: Config, size: u16, count: u16) -> World {
    tokio::time::pause();
    World::knowing(config, services(size, count))
}

/// A further world of a test.
fn another(size: u16, count: u16) -> World {
    World::knowing(Config::default(), services(size, count))
}

#[actix::test]
async fn a_burst_of_400_is_paced_and_answered() {
    let mut world = world(8, 2);
    let mut net = Net::new(3);
    let outcomes: Vec<_> = (0..400).map(|number| world.push(format!("message {number}").as_bytes())).collect();
    let outcomes = world.play_all(&mut net, outcomes).await;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_ok_and(|answer| answer.kind() == "confirmed")));
    assert_eq!(net.published.len(), 400);
    world.finished().await;
    let in_vain = |(_, reason, _): &(Stage, DropReason, u64)| *reason != DropReason::UnknownReply;
    assert!(!world.around.balance().dropped.iter().any(in_vain), "there is room before a packet is made");
    assert!(net.packets < 420, "{} packets", net.packets);
}

/// A busy machine: for seconds nothing is answered, and then everything is.
#[actix::test]
async fn in_a_standstill_few_packets_are_made() {
    let mut world = world(8, 2);
    let mut net = Net::new(17);
    net.lag = Duration::from_millis(2500);
    let outcomes: Vec<_> = (0..20).map(|number| world.push(&[number])).collect();
    let outcomes = world.play_all(&mut net, outcomes).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert!(net.packets <= 20 + 3, "{} packets", net.packets);
}

#[actix::test]
async fn when_a_net_comes_back_that_has_lost_everything_all_is_sent_again_soon() {
    let mut world = world(8, 2);
    let mut net = Net::new(18);
    net.dead_until = Instant::now() + Duration::from_secs(1);
    let outcomes: Vec<_> = (0..20).map(|number| world.push(&[number])).collect();
    for outcome in world.play_all(&mut net, outcomes).await {
        let answer = outcome.unwrap();
        assert!(answer.round_trip < Duration::from_secs(4), "{answer:?}");
    }
    assert!(net.packets <= 2 * 20 + 3, "{} packets", net.packets);
}

#[actix::test]
async fn a_service_that_limits_its_rate_slows_the_burst_down_and_answers_all_of_it() {
    let mut world = world(8, 1);
    let mut net = Net::new(4).with(peer(1), Conduct::Limited(60));
    let outcomes: Vec<_> = (0..400).map(|number| world.push(format!("message {number}").as_bytes())).collect();
    let outcomes = world.play_all(&mut net, outcomes).await;
    let answered = outcomes.iter().filter(|outcome| outcome.as_ref().is_ok_and(|answer| answer.kind() == "confirmed"));
    assert_eq!(answered.count(), 400);
}

#[actix::test]
async fn beyond_the_open_requests_and_their_bytes_a_request_is_refused_at_once() {
    let mut world = world_with(Config { in_flight: 2, ..Config::default() }, 6, 1);
    let outcomes = [world.push(b"one"), world.push(b"two")];
    world.dispatch().await.packet.finish(Outcome::Sent);
    assert_eq!(world.push(b"three").await.unwrap(), Err(ClientError::Busy.into()));
    outcomes.iter().for_each(tokio::task::JoinHandle::abort);
    world.finished().await;

    let mut world = World::knowing(Config { queue_bytes: 256 << 10, ..Config::default() }, services(6, 1));
    let large = vec![0; 200 << 10];
    let open = world.push_as(Anonymity::None, &large);
    let _asked = world.direct.recv().await.unwrap();
    assert_eq!(world.push_as(Anonymity::None, &large).await.unwrap(), Err(ClientError::Busy.into()));
    open.abort();
}

#[actix::test]
async fn callers_that_go_away_while_they_wait_free_their_places_at_once() {
    let mut world = world_with(Config { window: 1, in_flight: 3, ..Config::default() }, 6, 1);
    let first = world.push(b"one");
    world.arrival().await;
    let queued = [world.push(b"two"), world.push(b"three")];
    world.shows("waku_mix_requests_pending 3").await;
    queued.iter().for_each(tokio::task::JoinHandle::abort);
    first.abort();
    world.shows("waku_mix_requests_pending 0").await;
    assert!(world.has_no_credentials());
    let mut net = Net::new(5);
    let next = world.push(b"four");
    assert_eq!(world.play(&mut net, next).await.map(|answer| answer.tries), Ok(1));
    assert!(world.metric("waku_mix_requests_total{outcome=\"caller_gone\"} 3"));
}

#[actix::test]
async fn a_silent_exit_is_followed_by_another_over_other_hops() {
    let mut world = world(12, 2);
    let mut net = Net::new(6).with(peer(1), Conduct::Mute).with(peer(2), Conduct::Mute);
    let outcome = world.push_with(message(b"hello"), None, Some(Duration::from_secs(3)));
    assert!(matches!(
        world.play(&mut net, outcome).await,
        Err(PushFailure::Client(ClientError::Deadline { tries: 2.., .. }))
    ));
    let (first, second) = (&net.ways[0], &net.ways[1]);
    let [first, second] = [first, second].map(|way| way.iter().copied().collect::<HashSet<_>>());
    assert!(first.is_disjoint(&second));
    let exits: HashSet<_> = net.ways.iter().map(|way| *way.last().unwrap()).collect();
    assert_eq!(exits, HashSet::from([peer(1), peer(2)]));
}

#[actix::test]
async fn an_earlier_try_may_still_be_answered() {
    let mut world = world(6, 1);
    let outcome = world.push(b"hello");
    let mut first = world.arrival().await;
    let second = world.arrival().await;
    assert_eq!(second.surbs.len(), 2, "retries have more protection");
    assert_eq!(first.request.request_id, second.request.request_id);
    world.respond(&mut first, StatusCode::SUCCESS, 3).await;
    let answer = outcome.await.unwrap().unwrap();
    assert_eq!((answer.kind(), answer.tries, answer.exposure.packets), ("confirmed", 2, 2));
    assert!(answer.round_trip > Duration::from_secs(1), "from the first packet");
    assert!(world.has_no_credentials());
    world.finished().await;
}

#[actix::test]
async fn after_losses_first_tries_are_protected_until_answers_come_again() {
    let mut world = world(8, 1);
    let lost = world.push_with(message(b"lost"), None, Some(Duration::from_secs(4)));
    assert!(lost.await.unwrap().is_err());
    world.write_all();
    let outcome = world.push(b"next");
    let mut at_exit = world.arrival().await;
    assert_eq!(at_exit.surbs.len(), 2);
    world.respond(&mut at_exit, StatusCode::SUCCESS, 3).await;
    outcome.await.unwrap().unwrap();
    let mut net = Net::new(8);
    for number in 0..40 {
        let outcome = world.push(format!("message {number}").as_bytes());
        world.play(&mut net, outcome).await.unwrap();
    }
    let outcome = world.push(b"last");
    assert_eq!(world.arrival().await.surbs.len(), 1);
    outcome.abort();
}

#[actix::test]
async fn what_one_service_cannot_another_is_asked_for_and_the_last_refusal_is_told() {
    let refuses = |status, words| Conduct::Refuses(StatusCode(status), words);
    tokio::time::pause();
    for conduct in [refuses(503, "no"), refuses(505, text::NO_PEERS), refuses(400, "exit: codec_refused")] {
        let mut world = another(8, 2);
        let mut net = Net::new(9).with(peer(1), conduct);
        for _ in 0..4 {
            let outcome = world.push(b"hello");
            assert_eq!(world.play(&mut net, outcome).await.map(|answer| answer.kind()), Ok("confirmed"));
            net.published.clear();
        }
    }
    let mut world = another(8, 2);
    let mut net = Net::new(10).with(peer(1), refuses(505, text::NO_PEERS)).with(peer(2), refuses(505, text::NO_PEERS));
    let outcome = world.push(b"hello");
    let answer = world.play(&mut net, outcome).await.unwrap();
    assert_eq!((answer.kind(), answer.status, answer.tries), ("refused", 505, 2), "a first 505 is no success");
    let exits = |words| refuses(503, words);
    let mut net = Net::new(11).with(peer(1), exits("exit: unreachable")).with(peer(2), exits("exit: unreachable"));
    let outcome = world.push(b"hello");
    let failure = world.play(&mut net, outcome).await.unwrap_err();
    assert_eq!(failure.kind(), "exit_refused");
    assert_eq!(failure.to_string(), "the exit did not serve the request, status 503: unreachable");
    assert!(world.metric("waku_mix_requests_total{outcome=\"exit_refused\"} 1"));
}

#[actix::test]
async fn a_first_hop_that_cannot_be_reached_is_replaced_at_once_and_remembered() {
    let mut world = world(8, 1);
    let outcome = world.push(b"hello");
    let dead = world.dispatch().await;
    let dead_hop = dead.to.peer();
    dead.packet.reject(DropReason::DialFailed);
    let failed = Instant::now();
    dead.done.unwrap().send(Err(SendFailure::DialFailed)).unwrap();
    let next = world.dispatch().await;
    assert!(failed.elapsed() < Duration::from_millis(10));
    assert_ne!(next.to.peer(), dead_hop);
    let mut at_exit = world.carry(next);
    assert_eq!(at_exit.surbs.len(), 1, "nothing was lost");
    let weight = |peer| world.around.context.reliability.lock().weight(Duration::ZERO, &peer);
    assert!(weight(dead_hop) < 1.0);
    world.respond(&mut at_exit, StatusCode::SUCCESS, 3).await;
    let answer = outcome.await.unwrap().unwrap();
    assert_eq!((answer.tries, answer.exposure.packets), (1, 2));
    assert!(world.metric("waku_mix_tries_total{outcome=\"not_left\"} 1"));
    world.finished().await;
}

#[actix::test]
async fn a_request_whose_only_exit_has_gone_before_it_left_goes_to_one_that_is_found() {
    let searching = |known| Directory { is_searching: true, ..known };
    let mut world = world(8, 1);
    let mut outcome = world.push(b"hello");
    let dead = world.dispatch().await;
    world.around.directory.publish(searching(services(8, 0)));
    cannot_leave(dead);
    assert!(tokio::time::timeout(Duration::from_secs(3), &mut outcome).await.is_err(), "it waits");
    world.around.directory.publish(searching(services(8, 1)));
    let mut at_exit = world.arrival().await;
    world.respond(&mut at_exit, StatusCode::SUCCESS, 3).await;
    assert_eq!(outcome.await.unwrap().unwrap().tries, 1);
    world.finished().await;
}

#[actix::test]
async fn a_message_of_4096_bytes_travels_in_fragments_and_4097_are_refused() {
    let mut world = world(10, 2);
    let mut net = Net::new(12);
    let outcome = world.push(&[7; 4096]);
    let answer = world.play(&mut net, outcome).await.unwrap();
    assert_eq!((answer.kind(), answer.exposure.packets, net.packets), ("confirmed", 2, 2));
    assert_eq!(net.times_pushed(&[7; 4096]), 1);
    let hops = |way: &[libp2p_identity::PeerId]| way[..2].iter().copied().collect::<HashSet<_>>();
    assert!(hops(&net.ways[0]).is_disjoint(&hops(&net.ways[1])), "each on its own path");
    let refused = world.push(&[7; 4097]).await.unwrap().unwrap_err();
    assert_eq!(refused, PushFailure::Client(ClientError::PayloadTooLarge { size: 4097, limit: 4096 }));
    world.finished().await;
}

#[actix::test]
async fn parity_that_is_asked_for_is_there_from_the_first_try() {
    let mut world = world_with(Config { parity: 2, ..Config::default() }, 10, 1);
    let mut net = Net::new(13);
    let outcome = world.push(&[7; 4096]);
    assert_eq!(world.play(&mut net, outcome).await.map(|answer| answer.exposure.packets), Ok(4));
    let outcome = world.push(b"small");
    assert_eq!(world.play(&mut net, outcome).await.map(|answer| answer.exposure.packets), Ok(1));
}

#[actix::test]
async fn where_both_speak_it_the_second_format_carries_4096_bytes_in_one_packet() {
    tokio::time::pause();
    let formats = vec![Arc::new(Sphinx::new(Profile::default())) as _, WireFormat::SphinxPacket.format()];
    let mut world = World::with(Setup { formats, ..Setup::default() });
    let mut known = directory(6);
    world.around.directory.publish(known.clone());
    let refused = world.push(&[7; 4096]).await.unwrap();
    assert!(
        matches!(refused, Err(PushFailure::Client(ClientError::TooLarge { limit: 3205, .. }))),
        "the exit speaks one: {refused:?}"
    );
    known.mix_nodes.iter_mut().for_each(|node| node.formats = node.formats.with(FormatKind::SphinxPacket));
    world.around.directory.publish(known);
    let mut net = Net::new(14);
    let outcome = world.push(&[7; 4096]);
    let answer = world.play(&mut net, outcome).await.unwrap();
    assert_eq!((answer.kind(), answer.exposure.packets), ("confirmed", 1));
    world.finished().await;
}

#[actix::test]
async fn a_message_that_was_seen_on_relay_is_published_though_nobody_answered() {
    let (mut world, relay) = World::beside_relay(Setup::default()).await;
    let outcome = world.push(b"hello");
    world.arrival().await;
    let hash = MessageHash::of(TOPIC, &message(b"hello"));
    relay.send(Received { topic: TOPIC.to_owned(), message: message(b"hello"), hash }).unwrap();
    let answer = outcome.await.unwrap().unwrap();
    assert_eq!((answer.kind(), answer.certainty), ("published_unconfirmed", Certainty::Seen));
    assert_eq!((answer.status, answer.tries, answer.message_hash), (200, 1, Some(*hash.as_bytes())));
    assert!(world.has_no_credentials());
    assert!(world.metric("waku_mix_requests_total{outcome=\"published_unconfirmed\"} 1"));
    world.finished().await;
}

/// A sender whose messages two services are to confirm.
fn twice() -> Config {
    Config { confirmations: 2, ..Config::default() }
}

#[actix::test]
async fn a_second_service_confirms_what_the_first_says_it_has_done() {
    let mut world = world_with(twice(), 8, 2);
    let mut net = Net::new(15);
    let outcome = world.push(b"hello");
    let answer = world.play(&mut net, outcome).await.unwrap();
    assert_eq!((answer.kind(), answer.tries, answer.relay_peer_count), ("confirmed", 2, Some(3)), "the first answer");
    assert_eq!(net.times_pushed(b"hello"), 2);
    let outcome = world.push_with(message(b"to one"), Some(peer(1)), None);
    let answer = world.play(&mut net, outcome).await.unwrap();
    assert_eq!((answer.kind(), answer.tries), ("confirmed", 1), "a caller that names its exit believes it");
}

#[actix::test]
async fn a_message_that_no_second_service_confirms_is_a_failure_of_its_own() {
    let mut world = world_with(twice(), 8, 2);
    let mut net = Net::new(16).with(peer(1), Conduct::Refuses(StatusCode(503), "no")).with(peer(2), Conduct::Serves);
    let outcome = world.push(b"hello");
    let failure = world.play(&mut net, outcome).await.unwrap_err();
    assert_eq!(failure, PushFailure::Client(ClientError::Unconfirmed { said: 1, needed: 2 }));
    assert!(world.metric("waku_mix_requests_total{outcome=\"unconfirmed\"} 1"));
    assert!(world.has_no_credentials());
}

#[actix::test]
async fn what_this_node_has_seen_on_relay_needs_no_second_service() {
    let (mut world, relay) = World::beside_relay(Setup { config: twice(), ..Setup::default() }).await;
    world.around.directory.publish(services(8, 2));
    let outcome = world.push(b"hello");
    let mut first = world.arrival().await;
    world.respond(&mut first, StatusCode::SUCCESS, 5).await;
    let second = world.arrival().await;
    assert_ne!(second.exit, first.exit);
    let hash = MessageHash::of(TOPIC, &message(b"hello"));
    relay.send(Received { topic: TOPIC.to_owned(), message: message(b"hello"), hash }).unwrap();
    let answer = outcome.await.unwrap().unwrap();
    assert_eq!((answer.kind(), answer.tries, answer.relay_peer_count), ("confirmed", 2, Some(5)));
}

#[actix::test]
async fn without_anonymity_the_message_is_pushed_directly() {
    let mut world = world(2, 1);
    let outcome = world.push_as(Anonymity::None, &[7; 10_000]);
    let (pushed, limit) = world.serve_directly().await;
    assert_eq!((pushed.topic.as_deref(), pushed.message), (Some(TOPIC), message(&[7; 10_000])));
    assert_eq!((pushed.id.len(), limit), (20, Config::default().timeout));
    let answer = outcome.await.unwrap().unwrap();
    assert_eq!((answer.kind(), answer.path, answer.exposure.packets), ("confirmed", DeliveryPath::Direct(None), 0));
    assert_eq!(answer.relay_peer_count, Some(5));
    assert!(world.metric("waku_mix_direct_pushes_total{reason=\"asked\"} 1"));
}

#[actix::test]
async fn a_direct_push_that_fails_or_panics_says_so_and_frees_its_place() {
    let mut world = world_with(Config { in_flight: 1, fallback_after: Duration::ZERO, ..Config::default() }, 3, 1);
    for failure in [PushFailure::NoService, PushFailure::Service(DirectFailure::DialFailed)] {
        let outcome = world.push_as(Anonymity::Preferred, b"hello");
        world.direct.recv().await.unwrap().reply.send(Err(failure.clone())).unwrap();
        assert_eq!(outcome.await.unwrap(), Err(failure));
    }
    let outcome = world.push_as(Anonymity::None, b"hello");
    drop(world.direct.recv().await.unwrap());
    assert_eq!(outcome.await.unwrap().map_err(|failure| failure.kind()), Err("internal"));
    let outcome = world.push_as(Anonymity::None, b"hello");
    world.serve_directly().await;
    assert_eq!(outcome.await.unwrap().map(|answer| answer.kind()), Ok("confirmed"));
}

#[actix::test]
async fn where_direct_pushes_are_off_those_that_may_go_so_are_refused_and_the_others_are_sent() {
    let mut world = world_with(Config { allow_direct: false, ..Config::default() }, 6, 1);
    for anonymity in [Anonymity::None, Anonymity::Preferred] {
        let refused = world.push_as(anonymity, b"hello").await.unwrap();
        assert_eq!(refused, Err(PushFailure::DirectNotAllowed));
    }
    assert!(world.direct.is_empty() && world.metric("waku_mix_requests_total{outcome=\"direct_not_allowed\"} 2"));
    let outcome = world.push_as(Anonymity::Required, b"hello");
    let answer = world.play(&mut Net::new(17), outcome).await;
    assert_eq!(answer.map(|answer| answer.path), Ok(DeliveryPath::Mixnet));
}

#[actix::test]
async fn preferred_anonymity_falls_back_when_it_may_and_says_why() {
    let mut small = world_with(Config { fallback_after: Duration::ZERO, ..Config::default() }, 3, 1);
    let outcome = small.push_as(Anonymity::Preferred, b"hello");
    let asked = Instant::now();
    small.serve_directly().await;
    let answer = outcome.await.unwrap().unwrap();
    let DeliveryPath::Direct(Some(reason)) = answer.path else { panic!() };
    assert_eq!((reason.kind(), asked.elapsed()), ("pool_too_small", Duration::ZERO));
    assert!(small.metric("waku_mix_direct_pushes_total{reason=\"fallback\"} 1"));

    let mut large = another(6, 1);
    let outcome = large.push_as(Anonymity::Preferred, &[7; 4097]);
    large.serve_directly().await;
    let DeliveryPath::Direct(Some(reason)) = outcome.await.unwrap().unwrap().path else { panic!() };
    assert_eq!(reason.kind(), "too_large");
}

#[actix::test]
async fn preferred_anonymity_uses_the_mixnet_where_it_can_and_never_falls_back_once_a_try_has_left() {
    let mut world = world(6, 1);
    let mut net = Net::new(15);
    let outcome = world.push_as(Anonymity::Preferred, b"hello");
    assert_eq!(world.play(&mut net, outcome).await.map(|answer| answer.path), Ok(DeliveryPath::Mixnet));
    let outcome = world.push_as(Anonymity::Preferred, b"lost");
    world.dispatch().await.packet.finish(Outcome::Sent);
    world.around.directory.publish(directory(2));
    assert_eq!(outcome.await.unwrap().unwrap_err().kind(), "deadline");
    assert!(world.direct.is_empty());
    world.finished().await;
}

#[actix::test]
async fn a_full_queue_costs_no_packets() {
    let mut world = world(6, 1);
    let outcomes: Vec<_> = (0..2 * MIXER_QUEUE).map(|number| world.push(&[u8::try_from(number).unwrap()])).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.write_all(), MIXER_QUEUE);
    let mut net = Net::new(16);
    let outcomes = world.play_all(&mut net, outcomes).await;
    assert!(outcomes.iter().all(Result::is_ok));
    world.finished().await;
}
