//! The exit through its queue: services here and elsewhere, refusals, bounds, stopping.

mod support;

use std::time::Duration;

use support::{EXIT, HERE, SENDER, World, node, peer};
use tokio::time::Instant;
use wakumix_exit::Config;
use wakumix_mix::{COVER_CODEC, DelayLaw, DropReason, HopAddress, MIX_PROTOCOL, Stage, reply_capacity};
use wakumix_role_api::{
    Directory, Requester,
    directory::ServiceNode,
    host::{ReadRule, RequestFailure},
};
use wakumix_sphinx::{Profile, Sphinx};
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
    world.settled().await;
    assert_eq!((world.balance().delivered, world.balance().sent), (1, 1));
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"sent\"} 1").await;
}

#[actix::test]
async fn the_packet_is_delivered_as_soon_as_its_request_is_taken() {
    let mut world = World::new(Config::default());
    world.lightpush(Vec::new(), b"request").await;
    let _asked = world.asked().await;
    assert_eq!((world.balance().delivered, world.buffers.in_use()), (1, 0));
}

#[actix::test]
async fn without_reply_blocks_nothing_is_sent() {
    let mut world = World::new(Config::default());
    world.lightpush(Vec::new(), b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
    world.settled().await;
    assert_eq!(world.balance().originated, 0);
}

#[actix::test]
async fn the_answer_goes_through_every_reply_block_after_a_hold_of_its_own() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(4);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    let mut holds = Vec::new();
    for _ in 0..4 {
        let local = world.departure().await;
        holds.push(local.hold);
        assert_eq!(world.open(local, &keys), frame::encode(b"answer"));
    }
    holds.sort_unstable();
    holds.dedup();
    assert!(holds.len() > 1, "they would leave together");
    world.settled().await;
}

#[actix::test]
async fn replies_leave_at_once_when_no_hold_is_wanted() {
    let mut world = World::new(Config { hold: DelayLaw::None, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    let local = world.departure().await;
    assert_eq!(local.hold, Duration::ZERO);
    world.open(local, &keys);
}

#[actix::test]
async fn an_answer_that_does_not_fit_is_not_sent() {
    let mut world = World::new(Config::default());
    // Two bytes of length in front.
    let largest = reply_capacity(&Sphinx::new(Profile::default())) - 2;
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(vec![7; largest]).unwrap();
    assert_eq!(world.answer(&keys).await.len(), largest + 2);
    let (surbs, _) = world.surbs(2);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(vec![7; largest + 1]).unwrap();
    world.counts("waku_mix_exit_replies_total{outcome=\"too_long\"} 2").await;
    world.settled().await;
    assert_eq!(world.balance().originated, 1);
}

#[actix::test]
async fn a_service_that_never_answers_is_given_up_with_an_empty_answer() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(1);
    let started = Instant::now();
    world.lightpush(surbs, b"request").await;
    let _asked = world.asked().await;
    assert_eq!(world.answer(&keys).await, b"");
    assert!(started.elapsed() >= LIMIT);
    world.settled().await;
    world.counts("waku_mix_exit_requests_total{outcome=\"timed_out\"} 1").await;
}

#[actix::test]
async fn a_service_without_an_answer_is_told_by_an_empty_one() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    drop(world.asked().await.respond);
    assert_eq!(world.answer(&keys).await, b"");
    world.counts("waku_mix_exit_requests_total{outcome=\"no_answer\"} 1").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"sent_empty\"} 1").await;
}

#[actix::test]
async fn refused_requests_reach_nobody_and_are_answered_empty() {
    let mut world = World::new(Config::default());
    let private = HopAddress::from_multiaddr(&"/ip4/127.0.0.1/tcp/22".parse().unwrap(), peer(9)).unwrap().encode();
    let refused = [
        (HERE, MIX_PROTOCOL, DropReason::PolicyRefused),
        (HERE, "/ipfs/id/1.0.0", DropReason::PolicyRefused),
        (HERE, V2_PROTOCOL, DropReason::NoExit),
        (private, V3_PROTOCOL, DropReason::PolicyRefused),
        ([1; 94], V3_PROTOCOL, DropReason::InvalidDestination),
    ];
    for (destination, codec, reason) in refused {
        let before = world.balance();
        let (surbs, keys) = world.surbs(1);
        world.request(destination, codec, surbs, &frame::encode(b"request")).await;
        assert_eq!(world.answer(&keys).await, b"", "{codec}");
        let counted = |balance: &wakumix_mix::Balance| {
            let found = balance.dropped.iter().find(|(stage, why, _)| (*stage, *why) == (Stage::Exit, reason));
            found.map_or(0, |(.., count)| *count)
        };
        assert_eq!(counted(&world.balance()), counted(&before) + 1, "{codec}");
    }
    world.settled().await;
    assert_eq!(world.balance().delivered, 0);
    assert!(world.service.try_recv().is_none() && world.host.try_recv().is_none());
    world.counts("waku_mix_exit_requests_total{outcome=\"codec_refused\"} 2").await;
}

#[actix::test]
async fn a_malformed_frame_is_answered_empty() {
    let mut world = World::new(Config::default());
    for data in [&b""[..], b"\x05abc", b"\xff\xff\x7f", b"\x80\x00"] {
        let (surbs, keys) = world.surbs(1);
        world.request(HERE, V3_PROTOCOL, surbs, data).await;
        assert_eq!(world.answer(&keys).await, b"");
    }
    world.settled().await;
    assert_eq!(world.balance().dropped, [(Stage::Exit, DropReason::BadMessage, 4)]);
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
    world.settled().await;
    let expected = [(Stage::Exit, DropReason::BadMessage, 6), (Stage::Exit, DropReason::BadSurbs, 2)];
    assert_eq!(world.balance().dropped, expected);
}

#[actix::test]
async fn cover_is_counted_and_forgotten() {
    let mut world = World::new(Config::default());
    let body = [&[16][..], COVER_CODEC.as_bytes(), &[0xaa; 100]].concat();
    world.deliver(HERE, &body).await;
    world.counts("waku_mix_queue_wait_seconds_count{queue=\"exit\"} 1").await;
    world.settled().await;
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
    world.settled().await;
    assert_eq!(world.balance().delivered, 1);
}

#[actix::test]
async fn a_known_service_is_passed_requests_at_the_address_of_the_directory() {
    let mut world = World::new(Config::default());
    let address: multiaddr::Multiaddr = "/ip4/192.168.0.9/tcp/60000".parse().unwrap();
    let known = ServiceNode::new(peer(9), vec![address.clone()]);
    world.publish(Directory { lightpush: vec![known], ..Directory::default() });
    world.request(node(9).address.encode(), V3_PROTOCOL, Vec::new(), b"\x00").await;
    let asked = world.asked_elsewhere().await;
    assert_eq!((asked.addresses, asked.read), (vec![address], ReadRule::Nothing));
    asked.reply.send(Ok(Vec::new())).unwrap();
    world.counts("waku_mix_exit_requests_total{outcome=\"served\"} 1").await;
}

#[actix::test]
async fn a_service_elsewhere_that_fails_is_answered_empty() {
    let mut world = World::new(Config { allow_private_addresses: true, ..Config::default() });
    let failures = [
        (RequestFailure::DialFailed, "unreachable"),
        (RequestFailure::Stream("reset".to_owned()), "no_answer"),
        (RequestFailure::Busy, "busy"),
    ];
    for (failure, outcome) in failures {
        let (surbs, keys) = world.surbs(2);
        world.request(node(9).address.encode(), V3_PROTOCOL, surbs, b"\x00").await;
        world.asked_elsewhere().await.reply.send(Err(failure)).unwrap();
        assert_eq!(world.answer(&keys).await, b"");
        assert_eq!(world.answer(&keys).await, b"");
        world.counts(&format!("waku_mix_exit_requests_total{{outcome=\"{outcome}\"}} 1")).await;
    }
    world.settled().await;
}

#[actix::test]
async fn a_host_that_never_answers_is_given_up() {
    let mut world = World::new(Config { allow_private_addresses: true, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    world.request(node(9).address.encode(), V3_PROTOCOL, surbs, b"\x00").await;
    let _asked = world.asked_elsewhere().await;
    assert_eq!(world.answer(&keys).await, b"");
    world.counts("waku_mix_exit_requests_total{outcome=\"timed_out\"} 1").await;
}

#[actix::test]
async fn reply_blocks_that_begin_here_or_nowhere_are_not_used() {
    let mut world = World::new(Config::default());
    let (mut surbs, keys) = world.surbs(1);
    let (here, _) = world.surbs_through([EXIT, 1, SENDER], 1);
    let (mut nowhere, _) = world.surbs(1);
    nowhere[0].hop = [0xff; 94];
    surbs.extend(here.into_iter().chain(nowhere));
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    world.counts("waku_mix_exit_replies_total{outcome=\"invalid_hop\"} 2").await;
    world.settled().await;
}

#[actix::test]
async fn beyond_its_places_an_exit_drops_requests_unanswered() {
    let mut world = World::new(Config { max_requests: 1, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"one").await;
    let asked = world.asked().await;
    let (surbs, _) = world.surbs(1);
    world.lightpush(surbs, b"two").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"overloaded\"} 1").await;
    asked.respond.send(b"answer".to_vec()).unwrap();
    assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    world.settled().await;
    assert_eq!(world.balance().dropped, [(Stage::Exit, DropReason::QueueFull, 1)]);
}

#[actix::test]
async fn without_free_buffers_replies_are_given_up() {
    let mut world = World::new(Config::default());
    let (surbs, _) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    let asked = world.asked().await;
    let taken: Vec<_> = std::iter::from_fn(|| world.buffers.take()).collect();
    asked.respond.send(b"answer".to_vec()).unwrap();
    world.counts("waku_mix_exit_replies_total{outcome=\"no_buffer\"} 1").await;
    drop(taken);
    world.settled().await;
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
    world.settled().await;
}

#[actix::test]
async fn stopping_gives_up_at_the_deadline() {
    let mut world = World::new(Config::default());
    let (surbs, _) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    let _asked = world.asked().await;
    let report = world.role.stop(Instant::now() + LIMIT / 2).await;
    assert_eq!((report.finished, report.abandoned), (0, 1));
    world.settled().await;
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
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    world.settled().await;
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
