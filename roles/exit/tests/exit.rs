//! The exit through its queue: services here and elsewhere, bounds, stopping.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

mod support;

use std::time::Duration;

use support::{HERE, SENDER, World, node, peer};
use tokio::time::Instant;
use wakumix_exit::Config;
use wakumix_mix::{COVER_CODEC, DelayLaw, DropReason, Stage};
use wakumix_role_api::{Directory, Requester, directory::ServiceNode, host::ReadRule};
use wakumix_waku::{
    frame,
    lightpush::{V2_PROTOCOL, V3_PROTOCOL},
};

const LIMIT: Duration = wakumix_exit::DEFAULT_SERVICE_TIMEOUT;

#[actix::test]
async fn a_local_service_is_asked_and_its_answer_opens_at_the_sender() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    let asked = world.asked().await;
    assert_eq!((asked.protocol, asked.from), (V3_PROTOCOL, Requester::Anonymous));
    assert_eq!(asked.body, b"request");
    asked.respond.send(b"answer".to_vec()).unwrap();
    assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    world.finished().await;
    assert_eq!((world.balance().delivered, world.balance().sent), (1, 1));
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"sent\"} 1").await;
}

#[actix::test]
async fn the_packet_is_delivered_as_soon_as_its_request_is_taken() {
    let mut world = World::new(Config::default());
    world.lightpush(Vec::new(), b"request").await;
    let _asked = world.asked().await;
    assert_eq!((world.balance().delivered, world.around.buffers().in_use()), (1, 0));
}

#[actix::test]
async fn without_reply_blocks_nothing_is_sent() {
    let mut world = World::new(Config::default());
    world.lightpush(Vec::new(), b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
    world.finished().await;
    assert_eq!(world.balance().originated, 0);
}

#[actix::test]
async fn each_answer_leaves_after_a_hold_of_its_own() {
    let mut world = World::new(Config { max_answers: 4, ..Config::default() });
    let (surbs, keys) = world.surbs(4);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    let mut holds = Vec::new();
    for _ in 0..4 {
        let local = world.dispatch().await;
        holds.push(local.hold);
        assert_eq!(world.open(local, &keys), frame::encode(b"answer"));
    }
    holds.sort_unstable();
    holds.dedup();
    assert!(holds.len() > 1, "they would leave together");
    world.finished().await;
}

#[actix::test]
async fn a_request_has_two_answers_whatever_reply_blocks_it_brings() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(5);
    world.lightpush(surbs, b"request").await;
    world.serves(&keys, 2).await;
    world.counts("waku_mix_exit_replies_total{outcome=\"surplus\"} 3").await;
    world.finished().await;
    assert_eq!(world.balance().sent, 2);
}

#[actix::test]
async fn a_reply_block_that_cannot_be_used_is_none_of_the_two() {
    let mut world = World::new(Config::default());
    let (mut surbs, _) = world.surbs_through([3, 1, SENDER], 2);
    let (good, keys) = world.surbs(3);
    surbs.extend(good);
    world.lightpush(surbs, b"request").await;
    world.serves(&keys, 2).await;
    world.counts("waku_mix_exit_replies_total{outcome=\"strange_hop\"} 2").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"surplus\"} 1").await;
    world.finished().await;
}

#[actix::test]
async fn replies_leave_at_once_when_no_hold_is_wanted() {
    let mut world = World::new(Config { hold: DelayLaw::None, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    let local = world.dispatch().await;
    assert_eq!(local.hold, Duration::ZERO);
    world.open(local, &keys);
}

#[actix::test]
async fn malformed_bodies_are_dropped_and_counted() {
    let mut world = World::new(Config::default());
    let truncated_surbs = [&[1][..], b"/", &[1, 0, 0]].concat();
    let too_many_surbs = [&[1][..], b"/", &[6]].concat();
    for body in [&b""[..], b"\x00\x00", b"\x05/x", b"\x01/", &[0xff; 40]] {
        world.deliver(HERE, body).await;
    }
    world.deliver(HERE, &truncated_surbs).await;
    world.deliver(HERE, &too_many_surbs).await;
    world.deliver_range(HERE, b"", 4000..9000).await;
    world.counts("waku_mix_queue_wait_seconds_count{queue=\"exit\"} 8").await;
    world.finished().await;
    let expected = [(Stage::Exit, DropReason::BadMessage, 6), (Stage::Exit, DropReason::BadSurbs, 2)];
    assert_eq!(world.balance().dropped, expected);
}

#[actix::test]
async fn cover_is_counted_and_forgotten() {
    let mut world = World::new(Config::default());
    let body = [&[16][..], COVER_CODEC.as_bytes(), &[0xaa; 100]].concat();
    world.deliver(HERE, &body).await;
    world.counts("waku_mix_queue_wait_seconds_count{queue=\"exit\"} 1").await;
    world.finished().await;
    assert_eq!(world.balance().cover, 1);
}

#[actix::test]
async fn a_request_for_another_node_is_passed_on_byte_for_byte() {
    let mut world = World::new(Config { allow_private_addresses: true, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    let bytes = frame::encode(b"request");
    world.request(node(9).address.encode(), V3_PROTOCOL, surbs, &bytes).await;
    let asked = world.asked_elsewhere().await;
    assert_eq!((asked.peer, asked.addresses), (peer(9), vec![node(9).address.multiaddr()]));
    assert_eq!((asked.protocol.as_str(), asked.bytes), (V3_PROTOCOL, bytes));
    assert!(matches!(asked.read, ReadRule::LengthPrefixed { .. }));
    let answer = frame::encode(b"answer");
    asked.reply.send(Ok(answer.clone())).unwrap();
    assert_eq!(world.answer(&keys).await, answer, "the prefix is there once");
    world.finished().await;
    assert_eq!(world.balance().delivered, 1);
}

#[actix::test]
async fn a_known_service_is_passed_requests_at_the_address_of_the_directory() {
    let mut world = World::new(Config::default());
    let address: multiaddr::Multiaddr = "/ip4/192.168.0.9/tcp/60000".parse().unwrap();
    let known = ServiceNode::new(peer(9), vec![address.clone()]);
    world.around.directory.publish(Directory { lightpush: vec![known], ..Directory::default() });
    world.request(node(9).address.encode(), V3_PROTOCOL, Vec::new(), b"\x00").await;
    let asked = world.asked_elsewhere().await;
    assert_eq!((asked.addresses, asked.read), (vec![address], ReadRule::Nothing));
    asked.reply.send(Ok(Vec::new())).unwrap();
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
}

#[actix::test]
async fn without_free_buffers_replies_are_given_up() {
    let mut world = World::new(Config::default());
    let (surbs, _) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    let asked = world.asked().await;
    let taken: Vec<_> = std::iter::from_fn(|| world.around.buffers().take()).collect();
    asked.respond.send(b"answer".to_vec()).unwrap();
    world.counts("waku_mix_exit_replies_total{outcome=\"no_buffer\"} 1").await;
    drop(taken);
    world.finished().await;
}

#[actix::test]
async fn stopping_finishes_the_requests_at_work() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    let asked = world.asked().await;
    let stopping = tokio::spawn(world.role.stop(Instant::now() + Duration::from_secs(20)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    asked.respond.send(b"answer".to_vec()).unwrap();
    assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    let report = stopping.await.unwrap();
    assert_eq!((report.finished, report.abandoned, report.in_time), (1, 0, true));
    assert_eq!(world.role.ready(), Err("stopped".to_owned()));
    world.finished().await;
}

#[actix::test]
async fn stopping_gives_up_at_the_deadline() {
    let mut world = World::new(Config::default());
    let (surbs, _) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    let _asked = world.asked().await;
    let report = world.role.stop(Instant::now() + LIMIT / 2).await;
    assert_eq!((report.finished, report.abandoned), (0, 1));
    world.finished().await;
}

#[actix::test]
async fn after_a_panic_all_places_are_free_again() {
    let mut world = World::new(Config { max_requests: 1, ..Config::default() });
    let (surbs, _) = world.surbs(1);
    world.lightpush(surbs, b"one").await;
    let _lost = world.asked().await;
    world.role.actor().inject_panic().await;
    world.counts("waku_mix_actor_restarts_total{actor=\"exit\"} 1").await;
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"two").await;
    world.serves(&keys, 1).await;
    world.finished().await;
    assert_eq!(world.balance().delivered, 2);
}

#[actix::test]
async fn an_exit_without_anything_to_serve_is_not_ready() {
    let world = World::new(Config { codecs: vec![V2_PROTOCOL.to_owned()], forward: false, ..Config::default() });
    assert!(world.role.ready().unwrap_err().contains("nothing to serve"));
}

#[actix::test]
async fn an_exit_that_only_passes_on_is_ready() {
    let world = World::new(Config { codecs: vec![V2_PROTOCOL.to_owned()], ..Config::default() });
    assert_eq!(world.role.ready(), Ok(()));
}
