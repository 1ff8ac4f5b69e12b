//! What comes to nothing at the exit: nobody is asked, and the sender is told why.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

mod support;

use std::time::Duration;

use support::{EXIT, HERE, SENDER, World, at, node, peer, response, status};
use tokio::time::Instant;
use wakumix_exit::Config;
use wakumix_mix::{
    DelayLaw, DropReason, ExitStatus, HopAddress, MIX_PROTOCOL, fragment::FRAGMENT_CODEC, reply_capacity,
};
use wakumix_role_api::{Directory, directory::ServiceNode, host::RequestFailure};
use wakumix_sphinx::{ADDRESS_LEN, Profile, Sphinx};
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, UNKNOWN_REQUEST_ID, V2_PROTOCOL, V3_PROTOCOL, v2, v3},
};

const LIMIT: Duration = wakumix_exit::DEFAULT_SERVICE_TIMEOUT;
/// Refusals that the exit answers at a time.
const REFUSALS: usize = 32;

fn request(id: &str) -> Vec<u8> {
    let message = WakuMessage { payload: b"hello".to_vec(), ..WakuMessage::default() };
    frame::encode(&v3::Request { request_id: id.to_owned(), pubsub_topic: None, message }.encode())
}

#[actix::test]
async fn refused_requests_reach_nobody_and_their_senders_hear_why() {
    let mut world = World::new(Config::default());
    let v3 = |destination| (destination, V3_PROTOCOL);
    let refused = [
        (v3(at("/ip4/127.0.0.1/tcp/4000")), ExitStatus::AddressRefused, DropReason::PolicyRefused),
        (v3(at("/ip4/100.64.0.1/tcp/4000")), ExitStatus::AddressRefused, DropReason::PolicyRefused),
        (v3(at("/ip4/169.254.169.254/tcp/8080")), ExitStatus::AddressRefused, DropReason::PolicyRefused),
        (v3(at("/ip4/8.8.8.8/tcp/22")), ExitStatus::PortRefused, DropReason::PolicyRefused),
        (v3([1; ADDRESS_LEN]), ExitStatus::InvalidDestination, DropReason::InvalidDestination),
    ];
    for ((destination, codec), expected, reason) in refused {
        let before = world.dropped(reason);
        let answer = world.hears(destination, codec, &request("id-7")).await;
        assert_eq!(status(&answer), expected);
        assert_eq!(response(&answer).request_id, "id-7");
        assert_eq!(world.dropped(reason), before + 1, "{expected:?}");
    }
    world.finished().await;
    assert_eq!(world.balance().delivered, 0);
    assert!(world.service.try_recv().is_none() && world.host.try_recv().is_none());
    world.counts("waku_mix_exit_requests_total{outcome=\"address_refused\"} 3").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"port_refused\"} 1").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"sent_status\"} 5").await;
}

#[actix::test]
async fn an_exit_that_passes_nothing_on_says_so() {
    let mut world = World::new(Config { forward: false, ..Config::default() });
    assert_eq!(
        status(&world.hears(at("/ip4/8.8.8.8/tcp/4000"), V3_PROTOCOL, &request("id")).await),
        ExitStatus::NotForwarding
    );
}

#[actix::test]
async fn other_protocols_and_nested_mix_have_the_empty_answer_of_the_nwaku() {
    let mut world = World::new(Config::default());
    let elsewhere = at("/ip4/8.8.8.8/tcp/4000");
    let codecs = [MIX_PROTOCOL, "/ipfs/id/1.0.0", "/vac/waku/store/3.0.0", "/wakumix/sphinx-packet/1.0.0"];
    for codec in codecs {
        for destination in [HERE, elsewhere] {
            assert_eq!(world.hears(destination, codec, &frame::encode(b"request")).await, b"", "{codec}");
        }
    }
    // Fragments are for the exit itself.
    let (surbs, keys) = world.surbs(1);
    world.request(elsewhere, FRAGMENT_CODEC, surbs, &[0; 100]).await;
    assert_eq!(world.answer(&keys).await, b"");
    world.finished().await;
    assert!(world.service.try_recv().is_none() && world.host.try_recv().is_none());
    world.counts("waku_mix_exit_requests_total{outcome=\"codec_refused\"} 9").await;
    assert_eq!(world.dropped(DropReason::PolicyRefused), 9);
}

#[actix::test]
async fn version_2_is_refused_in_its_own_form() {
    let mut world = World::new(Config::default());
    let answer = world.hears(HERE, V2_PROTOCOL, &frame::encode(b"request")).await;
    let (body, _) = frame::decode(&answer, 1024).unwrap().unwrap();
    let refused = v2::PushRpc::decode(body).unwrap();
    assert_eq!(refused.request_id, UNKNOWN_REQUEST_ID);
    assert_eq!(refused.response.unwrap().info.as_deref(), Some("exit: no_service"));
    assert_eq!(world.dropped(DropReason::NoExit), 1);
    world.finished().await;
}

#[actix::test]
async fn a_malformed_frame_is_a_bad_request() {
    let mut world = World::new(Config::default());
    for data in [&b""[..], b"\x05abc", b"\xff\xff\x7f", b"\x80\x00"] {
        let answer = world.hears(HERE, V3_PROTOCOL, data).await;
        assert_eq!(status(&answer), ExitStatus::Malformed);
        assert_eq!(response(&answer).status_code, StatusCode::BAD_REQUEST);
    }
    world.finished().await;
    assert_eq!(world.dropped(DropReason::BadMessage), 4);
}

#[actix::test]
async fn without_reply_blocks_a_refusal_is_only_counted() {
    let mut world = World::new(Config::default());
    world.request(HERE, MIX_PROTOCOL, Vec::new(), b"").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"codec_refused\"} 1").await;
    world.finished().await;
    assert_eq!(world.balance().originated, 0);
}

#[actix::test]
async fn an_answer_that_does_not_fit_is_told_to_be_too_long() {
    let mut world = World::new(Config::default());
    // Two bytes of length in front.
    let largest = reply_capacity(&Sphinx::new(Profile::default())) - 2;
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(vec![7; largest]).unwrap();
    assert_eq!(world.answer(&keys).await.len(), largest + 2);
    let (surbs, keys) = world.surbs(2);
    world.lightpush(surbs, b"request").await;
    world.asked().await.respond.send(vec![7; largest + 1]).unwrap();
    let answer = world.answer(&keys).await;
    assert_eq!(status(&answer), ExitStatus::AnswerTooLong);
    assert_eq!(response(&answer).status_code, StatusCode::INTERNAL_SERVER_ERROR);
    world.counts("waku_mix_exit_replies_total{outcome=\"surplus\"} 1").await;
    world.counts("waku_mix_exit_requests_total{outcome=\"answer_too_long\"} 1").await;
    world.finished().await;
}

#[actix::test]
async fn a_service_that_never_answers_is_given_up() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(1);
    let started = Instant::now();
    world.lightpush(surbs, b"request").await;
    let _asked = world.asked().await;
    assert_eq!(status(&world.answer(&keys).await), ExitStatus::NoAnswer);
    assert!(started.elapsed() >= LIMIT);
    world.finished().await;
    world.counts("waku_mix_exit_requests_total{outcome=\"timed_out\"} 1").await;
}

#[actix::test]
async fn a_service_without_an_answer_is_told() {
    let mut world = World::new(Config::default());
    let (surbs, keys) = world.surbs(1);
    world.request(HERE, V3_PROTOCOL, surbs, &request("id-8")).await;
    drop(world.asked().await.respond);
    let answer = world.answer(&keys).await;
    assert_eq!((status(&answer), response(&answer).request_id.as_str()), (ExitStatus::NoAnswer, "id-8"));
    world.counts("waku_mix_exit_requests_total{outcome=\"no_answer\"} 1").await;
}

/// How a service elsewhere can fail that says nothing, and how the operator of the exit sees it.
fn silences() -> [(Option<RequestFailure>, &'static str); 4] {
    [
        (Some(RequestFailure::DialFailed), "unreachable"),
        (Some(RequestFailure::Unsupported), "unreachable"),
        (Some(RequestFailure::Stream("reset".to_owned())), "no_answer"),
        // It never answers.
        (None, "timed_out"),
    ]
}

/// Asks an exit for the service of node 9 at a private address, which fails so: what its sender hears, and after how many
/// hundredths of a second; the timer ticks each millisecond.
async fn silence(world: &mut World, failure: Option<RequestFailure>) -> (Vec<u8>, u128) {
    let (surbs, keys) = world.surbs(2);
    let started = Instant::now();
    world.request(node(9).address.encode(), V3_PROTOCOL, surbs, &request("id-9")).await;
    let asked = world.asked_elsewhere().await;
    let silent = match failure {
        Some(failure) => {
            assert!(asked.reply.send(Err(failure)).is_ok(), "the exit waits");
            None
        }
        None => Some(asked),
    };
    let answer = world.answer(&keys).await;
    let after = started.elapsed().as_millis() / 10;
    drop(silent);
    world.finished().await;
    (answer, after)
}

#[actix::test]
async fn a_sender_cannot_tell_a_port_that_refuses_from_one_that_is_silent() {
    let config = Config { allow_private_addresses: true, hold: DelayLaw::None, ..Config::default() };
    let mut world = World::new(config);
    let mut heard = Vec::new();
    for (failure, counted) in silences() {
        heard.push(silence(&mut world, failure).await);
        let series = format!("waku_mix_exit_requests_total{{outcome=\"{counted}\"}}");
        world.counts(&format!("{series} {}", if counted == "unreachable" { heard.len() } else { 1 })).await;
    }
    world.counts("waku_mix_exit_replies_total{outcome=\"surplus\"} 4").await;
    let (answer, after) = &heard[0];
    assert_eq!((status(answer), *after), (ExitStatus::NoAnswer, LIMIT.as_millis() / 10));
    assert!(heard.iter().all(|other| other == &heard[0]), "{heard:?}");
}

#[actix::test]
async fn a_service_of_the_directory_that_fails_is_told_at_once() {
    let config = Config { hold: DelayLaw::None, ..Config::default() };
    let mut world = World::new(config);
    let lightpush = vec![ServiceNode::new(peer(9), vec![node(9).address.multiaddr()])];
    let mix_nodes = vec![node(1), node(2)];
    world.around.directory.publish(Directory { mix_nodes, lightpush, ..Directory::default() });
    for (failure, _) in silences().into_iter().filter(|(failure, _)| failure.is_some()) {
        let (answer, after) = silence(&mut world, failure).await;
        assert_eq!((status(&answer), after), (ExitStatus::NoAnswer, 0));
    }
    let (answer, after) = silence(&mut world, Some(RequestFailure::Busy)).await;
    assert_eq!((status(&answer), after), (ExitStatus::Busy, 0));
}

#[actix::test]
async fn a_host_that_never_answers_is_given_up() {
    let mut world = World::new(Config { allow_private_addresses: true, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    world.request(node(9).address.encode(), V3_PROTOCOL, surbs, b"\x00").await;
    let _asked = world.asked_elsewhere().await;
    assert_eq!(status(&world.answer(&keys).await), ExitStatus::NoAnswer);
    world.counts("waku_mix_exit_requests_total{outcome=\"timed_out\"} 1").await;
}

#[actix::test]
async fn named_networks_and_ports_are_asked() {
    let config = Config {
        networks: vec!["100.64.0.0/24".parse().unwrap()],
        closed_networks: vec!["192.168.77.0/24".parse().unwrap()],
        ports: vec![22..=22, 4000..=4000],
        ..Config::default()
    };
    let mut world = World::new(config);
    for address in
        ["/ip4/192.168.77.9/tcp/4000", "/ip4/100.64.0.9/tcp/4000", "/ip4/100.64.0.1/tcp/22", "/ip4/8.8.8.8/tcp/22"]
    {
        world.request(at(address), V3_PROTOCOL, Vec::new(), b"\x00").await;
        assert_eq!(world.asked_elsewhere().await.addresses, [address.parse().unwrap()]);
    }
    let (surbs, keys) = world.surbs(2);
    let mut surbs = surbs.into_iter();
    world.request(at("/ip4/100.64.1.9/tcp/4000"), V3_PROTOCOL, surbs.by_ref().take(1).collect(), b"\x00").await;
    assert_eq!(status(&world.answer(&keys).await), ExitStatus::AddressRefused);
    world.request(at("/ip4/100.64.0.9/tcp/4001"), V3_PROTOCOL, surbs.collect(), b"\x00").await;
    assert_eq!(status(&world.answer(&keys).await), ExitStatus::PortRefused);
}

#[actix::test]
async fn reply_blocks_that_begin_at_strangers_here_or_nowhere_are_not_used() {
    let mut world = World::new(Config::default());
    let (mut surbs, keys) = world.surbs(1);
    let (here, _) = world.surbs_through([EXIT, 1, SENDER], 1);
    let (strange, _) = world.surbs_through([3, 1, SENDER], 2);
    let (nowhere, _) = world.surbs(1);
    let nowhere = world.redirected(&nowhere[0], &[0xff; ADDRESS_LEN]);
    surbs.extend(here.into_iter().chain([nowhere]).chain(strange));
    world.lightpush(surbs, b"request").await;
    world.serves(&keys, 1).await;
    world.counts("waku_mix_exit_replies_total{outcome=\"invalid_hop\"} 2").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"strange_hop\"} 2").await;
    world.finished().await;
}

#[actix::test]
async fn a_reply_goes_where_the_directory_says_and_not_where_the_reply_block_says() {
    let mut world = World::new(Config { hold: DelayLaw::None, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    let claimed = "/ip4/127.0.0.1/tcp/22".parse().unwrap();
    let claimed = HopAddress::from_multiaddr(&claimed, peer(1)).unwrap().encode();
    world.lightpush(vec![world.redirected(&surbs[0], &claimed)], b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    let local = world.dispatch().await;
    assert_eq!(local.to, node(1).address);
    assert_eq!(world.open(local, &keys), frame::encode(b"answer"));
}

#[actix::test]
async fn an_exit_that_knows_no_mix_nodes_sends_no_replies() {
    let mut world = World::new(Config::default());
    world.around.directory.publish(Directory::default());
    let (surbs, _) = world.surbs(2);
    world.request(HERE, V2_PROTOCOL, surbs, b"").await;
    world.counts("waku_mix_exit_replies_total{outcome=\"strange_hop\"} 2").await;
    world.finished().await;
    assert_eq!(world.balance().originated, 0);
}

#[actix::test]
async fn beyond_its_places_an_exit_says_that_it_is_overloaded() {
    let mut world = World::new(Config { max_requests: 1, ..Config::default() });
    let (surbs, keys) = world.surbs(1);
    world.lightpush(surbs, b"one").await;
    let asked = world.asked().await;
    let (surbs, refused) = world.surbs(1);
    world.lightpush(surbs, b"two").await;
    let answer = world.answer(&refused).await;
    assert_eq!(status(&answer), ExitStatus::Overloaded);
    assert_eq!(response(&answer).status_code, StatusCode::TOO_MANY_REQUESTS);
    world.counts("waku_mix_exit_requests_total{outcome=\"overloaded\"} 1").await;
    asked.respond.send(b"answer".to_vec()).unwrap();
    assert_eq!(world.answer(&keys).await, frame::encode(b"answer"));
    world.finished().await;
    assert_eq!(world.dropped(DropReason::QueueFull), 1);
}

#[actix::test]
async fn refusals_beyond_their_own_bound_are_withheld_and_crowd_out_no_request() {
    let mut world = World::new(Config { max_requests: 1, ..Config::default() });
    // The one worker is held up, so that no refusal can end. A still clock would wait for it.
    tokio::time::resume();
    let (hold, held) = std::sync::mpsc::sync_channel::<()>(1);
    let workers = world.around.context.workers.clone();
    let (begin, begun) = tokio::sync::oneshot::channel();
    let busy = tokio::spawn(async move { workers.run(move || begin.send(()).is_ok() && held.recv().is_err()).await });
    begun.await.unwrap();
    for _ in 0..REFUSALS + 3 {
        let (surbs, _) = world.surbs(1);
        world.request(HERE, "/ipfs/id/1.0.0", surbs, b"").await;
    }
    world.counts("waku_mix_exit_replies_total{outcome=\"withheld\"} 3").await;
    world.lightpush(Vec::new(), b"request").await;
    world.asked().await.respond.send(b"answer".to_vec()).unwrap();
    drop(hold);
    busy.await.unwrap().unwrap();
    for _ in 0..REFUSALS {
        world.dispatch().await.packet.finish(wakumix_mix::Outcome::Sent);
    }
    world.finished().await;
    assert_eq!(world.dropped(DropReason::PolicyRefused), 35);
}
