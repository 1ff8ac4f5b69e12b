//! The sender through its handle: answers, failures, bounds, stopping.

use std::time::Duration;

use crate::support::{
    ME, MIXER_QUEUE, NO_CREDENTIALS, TOPIC, World, cannot_leave, directory, message, node, peer, response,
};
use wakumix_mix::{DelayLaw, DropReason, HopAddress, Outcome, Stage};
use wakumix_role_api::{
    directory::{PoolCounts, PoolState, ServiceKind, ServiceNode},
    host::{HostAddresses, Reachability, SendFailure},
    sender::{ClientError, PushFailure},
};
use wakumix_sender::Config;
use wakumix_sphinx::{ADDRESS_LEN, Block, Cipher, Profile};
use wakumix_waku::{
    MessageHash,
    lightpush::{StatusCode, V3_PROTOCOL},
    record::Shards,
};

const PRESETS: [(Cipher, Block); 3] =
    [(Cipher::AesCtr, Block::Seq), (Cipher::Lioness, Block::Seq), (Cipher::Lioness, Block::Pad)];

fn with_surbs(surbs: usize) -> Config {
    Config { surbs, ..Config::default() }
}

#[actix::test]
async fn an_answer_comes_back_through_the_reply_block_in_every_profile() {
    tokio::time::pause();
    for (cipher, block) in PRESETS {
        let mut world = World::with_profile(Config::default(), Profile { cipher, block, proof_len: 0 });
        let outcome = world.push(b"hello");
        let mut at_exit = world.arrival().await;
        assert_eq!((at_exit.exit, at_exit.destination), (peer(1), [0; ADDRESS_LEN]));
        assert_eq!(at_exit.codec, V3_PROTOCOL);
        assert_eq!(at_exit.request.message, message(b"hello"));
        assert_eq!(at_exit.request.pubsub_topic.as_deref(), Some(TOPIC));
        let surb = at_exit.surbs.pop().unwrap();
        assert!(at_exit.surbs.is_empty(), "one reply block by default");
        let reply = world.answer(surb, &response(&at_exit.request, StatusCode::SUCCESS, 3));
        world.reply(&reply).await;
        let answer = outcome.await.unwrap().unwrap();
        assert_eq!((answer.status, answer.relay_peer_count), (200, Some(3)));
        let expected = *MessageHash::of(TOPIC, &message(b"hello")).as_bytes();
        assert_eq!(answer.message_hash, Some(expected));
        world.finished().await;
        assert_eq!((world.around.balance().sent, world.around.balance().replied), (1, 1));
        assert!(world.has_no_credentials());
        assert!(world.metric("waku_mix_requests_total{outcome=\"confirmed\"} 1"));
        assert!(world.metric("waku_mix_round_trip_seconds_count 1"));
    }
}

#[actix::test]
async fn a_refusal_of_the_service_is_an_answer() {
    let mut world = World::new(Config::default());
    let outcome = world.push(b"hello");
    let mut at_exit = world.arrival().await;
    world.respond(&mut at_exit, StatusCode::INVALID_MESSAGE, 0).await;
    assert_eq!(outcome.await.unwrap().unwrap().status, 420);
    assert!(world.metric("waku_mix_requests_total{outcome=\"refused\"} 1"));
}

#[actix::test]
async fn an_empty_answer_says_that_the_service_was_not_reached() {
    let mut world = World::new(Config::default());
    let outcome = world.push(b"hello");
    let mut at_exit = world.arrival().await;
    let reply = world.answer(at_exit.surbs.pop().unwrap(), b"");
    world.reply(&reply).await;
    assert_eq!(outcome.await.unwrap(), Err(PushFailure::ServiceUnreachable));
    world.finished().await;
    assert!(world.has_no_credentials());
}

#[actix::test]
async fn the_packet_is_held_and_asks_for_delays_as_configured() {
    tokio::time::pause();
    let without = Config { delay: DelayLaw::None, hold: DelayLaw::None, ..Config::default() };
    for (config, is_held) in [(Config::default(), true), (without, false)] {
        let mut world = World::with_profile(config, Profile::default());
        let outcomes: Vec<_> = (0..4).map(|_| world.push(b"hello")).collect();
        let mut holds = Duration::ZERO;
        for _ in &outcomes {
            let local = world.dispatch().await;
            holds += local.hold;
            local.packet.finish(Outcome::Sent);
        }
        assert_eq!(holds > Duration::ZERO, is_held);
    }
}

#[actix::test]
async fn a_service_outside_the_pool_is_named_as_destination() {
    let mut world = World::new(Config::default());
    let address = "/ip4/10.0.0.77/tcp/4000".parse().unwrap();
    let mut known = directory(6);
    known.lightpush = vec![ServiceNode::new(peer(77), vec![address])];
    world.around.directory.publish(known);
    let outcome = world.push(b"hello");
    let mut at_exit = world.arrival().await;
    assert_eq!(HopAddress::decode(&at_exit.destination), Ok(node(77).address));
    world.respond(&mut at_exit, StatusCode::SUCCESS, 1).await;
    assert_eq!(outcome.await.unwrap().unwrap().status, 200);
    world.finished().await;
}

#[actix::test]
async fn the_exit_asked_for_is_taken() {
    let mut world = World::new(Config::default());
    let outcome = world.push_with(message(b"hello"), Some(peer(5)), None);
    assert_eq!(world.arrival().await.exit, peer(5));
    outcome.abort();
    let unknown = world.push_with(message(b"hello"), Some(peer(99)), None);
    assert_eq!(unknown.await.unwrap(), Err(ClientError::ExitUnknown(peer(99)).into()));
}

#[actix::test]
async fn a_small_pool_is_refused_at_once_with_its_numbers() {
    let mut world = World::new(Config::default());
    let mut known = directory(3);
    known.pool.add(PoolState::Expired);
    world.around.directory.publish(known);
    let failure = world.push(b"hello").await.unwrap().unwrap_err();
    assert_eq!(
        failure,
        PushFailure::Client(ClientError::PoolTooSmall {
            usable: 3,
            needed: 4,
            others: PoolCounts::from_iter([(PoolState::Expired, 1)])
        })
    );
    assert_eq!(failure.to_string(), "pool too small: 3 usable mix nodes, 4 needed (1 expired)");
    assert_eq!(world.role.ready(), Err(failure.to_string()));
    world.finished().await;
    assert_eq!(world.around.balance().originated, 0);
    assert!(world.metric("waku_mix_requests_total{outcome=\"pool_too_small\"} 1"));
}

#[actix::test]
async fn readiness_names_what_is_missing() {
    let world = World::new(Config::default());
    assert_eq!(world.role.ready(), Ok(()));
    let mut without_service = directory(4);
    without_service.lightpush.clear();
    world.around.directory.publish(without_service);
    assert_eq!(world.role.ready(), Err("no node that serves lightpush is known".to_owned()));
    world.around.hop_address.send_replace(None);
    assert_eq!(world.role.ready(), Err(PushFailure::Client(ClientError::NoReplyAddress).to_string()));
    assert_eq!(world.push(b"hello").await.unwrap(), Err(ClientError::NoReplyAddress.into()));
    let private = HostAddresses { reachability: Reachability::Private, ..HostAddresses::default() };
    world.around.host_addresses.send_replace(private);
    world.around.hop_address.send_replace(Some(node(ME).address));
    assert_eq!(world.role.ready(), Err(PushFailure::Client(ClientError::NoConnectedHop).to_string()));
}

#[actix::test]
async fn a_message_goes_to_an_exit_of_its_shard_or_nowhere() {
    let world = World::new(Config::default());
    let mut known = directory(6);
    known.lightpush[0].shards = Some(Shards { cluster: 2, shards: vec![1] });
    world.around.directory.publish(known);
    let topic = TOPIC.parse().ok();
    assert_eq!(
        world.push(b"hello").await.unwrap(),
        Err(PushFailure::Client(ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic }))
    );
}

#[actix::test]
async fn a_request_that_does_not_fit_is_refused_with_size_and_limit() {
    let mut world = World::new(Config::default());
    let Err(PushFailure::Client(ClientError::TooLarge { size, limit })) = world.push(&[7; 4096]).await.unwrap() else {
        panic!()
    };
    assert_eq!(limit, 3205);
    // The length of the payload is written with two bytes in both cases.
    let largest = 4096 - (size - limit);
    let outcome = world.push(&vec![7; largest]);
    assert_eq!(world.arrival().await.request.message.payload.len(), largest);
    outcome.abort();
    let refused = world.push(&vec![7; largest + 1]).await.unwrap();
    assert_eq!(refused, Err(PushFailure::Client(ClientError::TooLarge { size: limit + 1, limit })));
}

#[actix::test]
async fn a_malformed_topic_is_refused() {
    let world = World::new(Config::default());
    let refused = world.handle.push(message(b"hello"), Some("shard 0".to_owned()), None, None).await;
    assert!(matches!(refused, Err(PushFailure::InvalidMessage(_))));
}

#[actix::test]
async fn a_request_without_answer_ends_at_its_limit_and_frees_its_credentials() {
    let mut world = World::new(with_surbs(2));
    let limit = Duration::from_secs(3);
    let outcome = world.push_with(message(b"hello"), None, Some(limit));
    let mut at_exit = world.arrival().await;
    assert!(world.metric("mix_surb_creds_active 2"));
    let Err(PushFailure::Client(ClientError::Deadline { limit: told, tries })) = outcome.await.unwrap() else {
        panic!()
    };
    assert_eq!(told, limit);
    assert_eq!(usize::try_from(tries).unwrap(), 1 + world.write_all());
    assert!(tries > 4, "{tries} tries");
    assert!(world.has_no_credentials());
    assert!(world.metric("waku_mix_requests_total{outcome=\"deadline\"} 1"));
    assert!(world.metric("mix_reply_timeouts_total 1"));
    assert!(world.metric(&format!("mix_surb_creds_expired_total {}", 2 * tries)));
    assert!(world.metric(&format!("waku_mix_request_packets_total {tries}")));
    let late = world.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, StatusCode::SUCCESS, 1));
    world.reply(&late).await;
    world.finished().await;
    assert_eq!(world.around.balance().dropped, [(Stage::Reply, DropReason::UnknownReply, 1)]);
}

#[actix::test]
async fn a_limit_beyond_the_longest_is_cut() {
    let mut world = World::new(Config::default());
    let outcome = world.push_with(message(b"hello"), None, Some(Duration::from_secs(3600)));
    world.arrival().await;
    let Err(PushFailure::Client(ClientError::Deadline { limit, .. })) = outcome.await.unwrap() else { panic!() };
    assert_eq!(limit, Config::default().max_timeout);
}

#[actix::test]
async fn garbage_burns_no_credentials_in_any_profile() {
    tokio::time::pause();
    for (cipher, block) in PRESETS {
        let mut world = World::with_profile(with_surbs(2), Profile { cipher, block, proof_len: 0 });
        let outcome = world.push(b"hello");
        let mut at_exit = world.arrival().await;
        let data = response(&at_exit.request, StatusCode::SUCCESS, 1);
        let (first, second) = (at_exit.surbs.pop().unwrap(), at_exit.surbs.pop().unwrap());
        let good = world.answer(first, &data);
        let mut garbage = good.clone();
        for byte in &mut garbage.bytes[700..] {
            *byte ^= 0x55;
        }
        world.reply(&garbage).await;
        world.finished().await;
        assert!(world.metric("mix_surb_creds_active 2"));
        let with_codec = world.answer_body(second, b"\x05/evil");
        world.reply(&with_codec).await;
        world.finished().await;
        assert!(world.metric("mix_surb_creds_active 2"));
        assert!(!outcome.is_finished());
        world.reply(&good).await;
        assert_eq!(outcome.await.unwrap().unwrap().status, 200);
        world.finished().await;
        assert_eq!((world.around.balance().replied, world.around.balance().dropped_total()), (1, 2));
        assert!(world.around.balance().dropped.contains(&(Stage::Reply, DropReason::BadMessage, 1)));
    }
}

#[actix::test]
async fn the_first_of_several_replies_wins() {
    let mut world = World::new(with_surbs(3));
    let outcome = world.push(b"hello");
    let at_exit = world.arrival().await;
    assert_eq!(at_exit.surbs.len(), 3);
    let data = response(&at_exit.request, StatusCode::SUCCESS, 2);
    let mut replies = Vec::new();
    for surb in at_exit.surbs {
        replies.push(world.answer(surb, &data));
    }
    for reply in &replies {
        world.reply(reply).await;
    }
    assert_eq!(outcome.await.unwrap().unwrap().relay_peer_count, Some(2));
    world.finished().await;
    assert_eq!(world.around.balance().replied, 1);
    assert_eq!(world.around.balance().dropped, [(Stage::Reply, DropReason::UnknownReply, 2)]);
}

#[actix::test]
async fn a_caller_that_goes_away_frees_its_request() {
    let mut world = World::new(Config { in_flight: 1, ..Config::default() });
    let outcome = world.push(b"hello");
    world.arrival().await;
    assert_eq!(world.push(b"again").await.unwrap(), Err(ClientError::Busy.into()));
    outcome.abort();
    world.shows(NO_CREDENTIALS).await;
    let next = world.push(b"again");
    world.arrival().await;
    assert!(!next.is_finished());
    assert!(world.metric("waku_mix_requests_total{outcome=\"caller_gone\"} 1"));
    assert!(world.metric("waku_mix_requests_total{outcome=\"busy\"} 1"));
    world.finished().await;
}

#[actix::test]
async fn without_a_free_buffer_until_the_deadline_the_sender_is_busy() {
    let mut world = World::new(Config::default());
    let taken: Vec<_> = std::iter::from_fn(|| world.around.buffers().take()).collect();
    assert_eq!(world.push(b"hello").await.unwrap(), Err(ClientError::Busy.into()));
    drop(taken);
    world.finished().await;
    assert!(world.has_no_credentials());
}

#[actix::test]
async fn a_full_mixer_queue_is_waited_for() {
    let mut world = World::new(Config::default());
    let outcomes: Vec<_> = (0..3 * MIXER_QUEUE).map(|_| world.push(b"hello")).collect();
    for _ in &outcomes {
        let mut at_exit = world.arrival().await;
        world.respond(&mut at_exit, StatusCode::SUCCESS, 1).await;
    }
    for outcome in outcomes {
        assert_eq!(outcome.await.unwrap().map(|answer| answer.status), Ok(200));
    }
    world.finished().await;
}

#[actix::test]
async fn when_no_first_hop_can_be_reached_the_failure_is_reported_at_once() {
    let mut world = World::new(Config::default());
    let accepted = tokio::time::Instant::now();
    let outcome = world.push(b"hello");
    while !outcome.is_finished() {
        let dispatched = tokio::time::timeout(Duration::from_millis(100), world.dispatch()).await;
        let Ok(local) = dispatched else { break };
        cannot_leave(local);
    }
    assert_eq!(outcome.await.unwrap(), Err(ClientError::FirstHop(SendFailure::DialFailed).into()));
    assert!(accepted.elapsed() < Duration::from_secs(1));
    assert!(world.has_no_credentials());
    world.finished().await;
}

#[actix::test]
async fn stopping_waits_for_answers_under_way_and_tells_the_rest() {
    let mut world = World::new(Config::default());
    let answered = world.push(b"one");
    let mut at_exit = world.arrival().await;
    let unanswered = world.push(b"two");
    world.arrival().await;
    let reply = world.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, StatusCode::SUCCESS, 1));
    let stopping = tokio::spawn(world.stop(Duration::from_secs(4)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.push(b"three").await.unwrap(), Err(ClientError::Stopped.into()));
    world.reply(&reply).await;
    assert_eq!(answered.await.unwrap().unwrap().status, 200);
    assert_eq!(unanswered.await.unwrap(), Err(ClientError::Stopped.into()));
    let report = stopping.await.unwrap();
    assert_eq!((report.finished, report.abandoned, report.in_time), (1, 1, true));
    assert_eq!(world.push(b"four").await.unwrap(), Err(ClientError::Stopped.into()));
    assert_eq!(world.role.ready(), Err("stopped".to_owned()));
    world.finished().await;
    assert!(world.has_no_credentials());
}

#[actix::test]
async fn after_a_panic_callers_are_told_and_requests_are_taken_again() {
    let mut world = World::new(Config { in_flight: 1, ..Config::default() });
    let lost = world.push(b"one");
    let mut at_exit = world.arrival().await;
    world.role.actor().inject_panic().await;
    assert!(matches!(lost.await.unwrap(), Err(PushFailure::Client(ClientError::Internal(_)))));
    let outcome = world.push(b"two");
    let mut second = world.arrival().await;
    assert!(world.metric("mix_surb_creds_active 1"), "those of the lost request are gone");
    let stale = world.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, StatusCode::SUCCESS, 1));
    world.reply(&stale).await;
    world.respond(&mut second, StatusCode::SUCCESS, 1).await;
    assert_eq!(outcome.await.unwrap().unwrap().status, 200);
    world.finished().await;
    assert_eq!(world.around.balance().dropped, [(Stage::Reply, DropReason::UnknownReply, 1)]);
}

#[actix::test]
async fn own_addresses_of_the_pool_are_never_hops() {
    let mut world = World::new(Config::default());
    let mut known = directory(4);
    known.mix_nodes.push(node(ME));
    world.around.directory.publish(known);
    for _ in 0..5 {
        let outcome = world.push(b"hello");
        assert_ne!(world.dispatch().await.to.peer(), peer(ME));
        outcome.abort();
    }
}
