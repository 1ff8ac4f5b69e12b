//! What the mixer does with packets, seen from outside, in virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;
use wakumix_mix::{DelayLaw, DropReason, Stage};
use wakumix_mixer::{Config, DelayRule};
use wakumix_role_api::{
    RunningRole as _,
    host::{Reach, SendFailure},
};

use support::{BODY, Fixture, Peer, SEED, Setup, assert_is_due, written};

const SHORT: Duration = Duration::from_millis(1);

fn as_encoded() -> Setup {
    let mut setup = Setup::default();
    setup.config.delay = DelayRule::AsEncoded;
    setup
}

#[actix::test]
async fn a_packet_is_passed_on_to_its_next_hop_after_the_sampled_delay() {
    let mut fixture = Fixture::start(Setup::default());
    let packet = fixture.forward_packet(50);
    let started = Instant::now();
    fixture.receive(&[packet]).await;
    let mut sent = fixture.next_to_host().await;
    let expected = DelayLaw::default().sample(&mut StdRng::from_seed(SEED), 50);
    assert_is_due(started, expected);
    let outbound = sent.pop().unwrap();
    assert_eq!(outbound.to, fixture.others[0].address);
    assert!(fixture.opens_at(&fixture.others[0], outbound.packet.bytes()));
    fixture.assert_balanced();
    written(outbound);
    assert_eq!(fixture.balance().forwarded, 1);
    fixture.assert_finished();
}

#[actix::test]
async fn packets_leave_in_the_order_of_their_deadlines() {
    let mut fixture = Fixture::start(as_encoded());
    let started = Instant::now();
    for delay in [30, 10, 20, 10] {
        let packet = fixture.forward_packet(delay);
        fixture.receive(&[packet]).await;
    }
    let mut left = Vec::new();
    while left.len() < 4 {
        let sent = fixture.next_to_host().await;
        // Rounded to 10 ms: the timer ticks each millisecond.
        left.extend(sent.iter().map(|_| started.elapsed().as_millis() / 10));
        sent.into_iter().for_each(written);
    }
    assert_eq!(left, [1, 1, 2, 3]);
    fixture.assert_finished();
}

#[actix::test]
async fn no_packet_is_held_longer_than_the_configured_cap() {
    let mut setup = as_encoded();
    setup.config.max_delay = Duration::from_secs(1);
    let mut fixture = Fixture::start(setup);
    let packet = fixture.forward_packet(60_000);
    let started = Instant::now();
    fixture.receive(&[packet]).await;
    fixture.next_to_host().await.into_iter().for_each(written);
    assert_is_due(started, Duration::from_secs(1));
}

#[actix::test]
async fn a_packet_is_held_for_ten_seconds_at_most_unless_it_is_configured() {
    let mut fixture = Fixture::start(as_encoded());
    let packet = fixture.forward_packet(u16::MAX);
    let started = Instant::now();
    fixture.receive(&[packet]).await;
    fixture.next_to_host().await.into_iter().for_each(written);
    assert_is_due(started, Duration::from_secs(10));
}

#[actix::test]
async fn a_packet_that_asks_for_no_delay_leaves_at_once() {
    let mut fixture = Fixture::start(Setup::default());
    let packet = fixture.forward_packet(0);
    let started = Instant::now();
    fixture.receive(&[packet]).await;
    fixture.next_to_host().await.into_iter().for_each(written);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[actix::test]
async fn a_replay_is_dropped_and_the_first_copy_goes_on() {
    let mut fixture = Fixture::start(Setup::default());
    let packet = fixture.forward_packet(5);
    fixture.receive(&[packet.clone(), packet.clone()]).await;
    fixture.run_to_rest().await;
    fixture.receive(&[packet]).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.consume_all(), (1, 0, 0));
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Duplicate), 2);
    fixture.assert_finished();
}

#[actix::test]
async fn a_copy_with_a_bad_mac_does_not_keep_the_good_packet_out() {
    let mut fixture = Fixture::start(Setup::default());
    let good = fixture.forward_packet(5);
    let mut bad = good.clone();
    bad[wakumix_sphinx::HEADER_LEN - 1] ^= 1;
    fixture.receive(&[bad, good]).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Mac), 1);
    assert_eq!(fixture.consume_all(), (1, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn packets_of_others_and_to_nowhere_are_dropped_by_reason() {
    let mut fixture = Fixture::start(Setup::default());
    let mut zero_alpha = fixture.forward_packet(5);
    zero_alpha[..wakumix_sphinx::ALPHA_LEN].fill(0);
    let packets = [fixture.foreign_packet(), fixture.looping_packet(), fixture.packet_to_nowhere(), zero_alpha];
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Mac), 1);
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::InvalidDestination), 2);
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Alpha), 1);
    fixture.assert_finished();
}

#[actix::test]
async fn a_packet_into_a_closed_network_may_only_use_a_connection_that_its_hop_has_opened() {
    let mut fixture = Fixture::start(Setup { ip: "8.8.8.8", ..Setup::default() });
    assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, Reach::ConnectedOnly);
}

#[actix::test]
async fn so_it_is_where_the_mixer_itself_is_in_that_network() {
    let mut fixture = Fixture::start(Setup { ip: "10.0.0.1", ..Setup::default() });
    assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, Reach::ConnectedOnly);
}

#[actix::test]
async fn into_a_closed_network_that_its_operator_names_a_mixer_dials() {
    let mut setup = Setup::default();
    setup.config.networks = vec!["10.0.0.0/24".parse().unwrap()];
    let mut fixture = Fixture::start(setup);
    assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, Reach::Dial);
    fixture.others[0] = Peer::at(2, "10.0.1.2");
    assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, Reach::ConnectedOnly);
}

#[actix::test]
async fn a_mixer_dials_the_ports_that_are_allowed_only() {
    let mut setup = Setup::default();
    setup.config.ports = vec![443..=443];
    let mut fixture = Fixture::start(setup);
    for (port, expected) in [(443, Reach::Dial), (22, Reach::ConnectedOnly), (60_000, Reach::ConnectedOnly)] {
        fixture.others[0] = Peer::at_port(2, "8.8.8.8", port);
        assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, expected, "{port}");
    }
}

/// Forwards a packet to the first of the others, at 10.0.0.2 unless a test moves it; whether the host may dial for it.
async fn reach_of_a_forwarded_packet(fixture: &mut Fixture) -> Reach {
    let packet = fixture.forward_packet(5);
    fixture.receive(&[packet]).await;
    fixture.run_to_rest().await;
    let outbound = fixture.at_host().pop().unwrap();
    assert_eq!(outbound.to, fixture.others[0].address);
    let reach = outbound.reach;
    written(outbound);
    fixture.assert_finished();
    reach
}

#[actix::test]
async fn a_hop_that_names_no_address_is_never_dialled_not_even_where_all_addresses_are_allowed() {
    let mut setup = Setup::default();
    setup.config.allow_private_addresses = true;
    setup.config.ports = vec![0..=65535];
    let mut fixture = Fixture::start(setup);
    for (ip, port) in [("0.0.0.0", 0), ("0.0.0.0", 60_000), ("10.0.0.2", 0)] {
        fixture.others[0] = Peer::at_port(2, ip, port);
        assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, Reach::ConnectedOnly, "{ip}:{port}");
    }
}

#[actix::test]
async fn an_operator_can_allow_closed_networks() {
    let mut setup = Setup::default();
    setup.config.allow_private_addresses = true;
    let mut fixture = Fixture::start(setup);
    assert_eq!(reach_of_a_forwarded_packet(&mut fixture).await, Reach::Dial);
}

#[actix::test]
async fn a_known_node_is_reached_in_any_network_and_at_any_port_but_only_where_discovery_says() {
    let mut fixture = Fixture::start(Setup::default());
    let known = Peer::at_port(2, "192.168.7.7", 80);
    assert_eq!(known.id(), fixture.others[0].id());
    fixture.discover(std::slice::from_ref(&known));
    // The header says 10.0.0.2.
    let packet = fixture.forward_packet(5);
    fixture.receive(&[packet]).await;
    fixture.run_to_rest().await;
    let sent = fixture.at_host();
    let places: Vec<_> = sent.iter().map(|outbound| (&outbound.to, outbound.reach)).collect();
    assert_eq!(places, [(&known.address, Reach::Dial)]);
    sent.into_iter().for_each(written);
    fixture.assert_finished();
}

#[actix::test]
async fn a_node_that_does_not_forward_still_takes_what_ends_at_it() {
    let mut fixture = Fixture::start(Setup { forward: false, ..Setup::default() });
    let packets = [fixture.forward_packet(5), fixture.exit_packet(), fixture.reply_packet()];
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::NotForwarding), 1);
    assert_eq!(fixture.consume_all(), (0, 1, 1));
    fixture.assert_finished();
}

#[actix::test]
async fn an_exit_packet_reaches_the_exit_with_its_body() {
    let mut fixture = Fixture::start(Setup::default());
    let packet = fixture.exit_packet();
    fixture.receive(&[packet]).await;
    fixture.run_for(SHORT).await;
    let at_exit = fixture.at_exit();
    assert_eq!(at_exit.len(), 1);
    assert_eq!(&at_exit[0].packet.bytes()[at_exit[0].body.clone()], BODY);
    assert_eq!(at_exit[0].destination, [0; wakumix_sphinx::ADDRESS_LEN]);
    assert_eq!(at_exit[0].packet.stage(), Stage::Exit);
}

#[actix::test]
async fn a_reply_is_opened_and_reaches_the_sender() {
    let mut fixture = Fixture::start(Setup::default());
    let packet = fixture.reply_packet();
    fixture.receive(&[packet]).await;
    fixture.run_for(SHORT).await;
    assert_eq!(fixture.at_sender(), [BODY]);
    assert_eq!(fixture.balance().replied, 1);
}

#[actix::test]
async fn what_ends_at_a_node_without_exit_and_sender_is_dropped() {
    let mut fixture = Fixture::start(Setup { exit_queue: None, sender_queue: None, ..Setup::default() });
    let packets = [fixture.exit_packet(), fixture.reply_packet()];
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Exit, DropReason::NoExit), 1);
    assert_eq!(fixture.dropped(Stage::Reply, DropReason::UnknownReply), 1);
    fixture.assert_finished();
}

#[actix::test]
async fn a_full_delay_queue_refuses_the_newest_but_lets_packets_without_delay_pass() {
    let mut setup = as_encoded();
    setup.config.max_held = 2;
    let mut fixture = Fixture::start(setup);
    let packets = [10, 20, 30, 0].map(|delay| fixture.forward_packet(delay));
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Delay, DropReason::QueueFull), 1);
    assert_eq!(fixture.consume_all(), (3, 0, 0));
    assert!(fixture.around.context.telemetry.render().contains("waku_mix_queue_refused_total{queue=\"delay\"} 1"));
    fixture.assert_finished();
}

#[actix::test]
async fn a_burst_beyond_the_unwrap_queue_is_dropped_and_counted() {
    let config = Config { max_waiting: 2, ..Config::default() };
    let mut fixture = Fixture::start(Setup { config, ..Setup::default() });
    let packets: Vec<_> = (0..5).map(|_| fixture.forward_packet(5)).collect();
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::QueueFull), 3);
    assert_eq!(fixture.consume_all(), (2, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn a_full_exit_or_sender_does_not_hold_up_the_others() {
    let mut fixture = Fixture::start(Setup { exit_queue: Some(1), sender_queue: Some(1), ..Setup::default() });
    let packets = [
        fixture.exit_packet(),
        fixture.exit_packet(),
        fixture.reply_packet(),
        fixture.reply_packet(),
        fixture.forward_packet(5),
    ];
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Exit, DropReason::QueueFull), 1);
    assert_eq!(fixture.dropped(Stage::Reply, DropReason::QueueFull), 1);
    assert_eq!(fixture.consume_all(), (1, 1, 1));
    fixture.assert_finished();
}

#[actix::test]
async fn a_full_host_drops_packets_instead_of_holding_them_back() {
    let mut setup = as_encoded();
    setup.host_queue = 1;
    let mut fixture = Fixture::start(setup);
    let packets = [10, 20].map(|delay| fixture.forward_packet(delay));
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Egress, DropReason::QueueFull), 1);
    assert_eq!(fixture.consume_all(), (1, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn tags_that_are_used_up_refuse_packets_and_readiness_says_so() {
    let config = Config { max_waiting: 2048, ..Config::default() };
    let mut fixture = Fixture::start(Setup { config, tags: 1024, ..Setup::default() });
    assert_eq!(fixture.mixer.ready(), Ok(()));
    for _ in 0..8 {
        let packets: Vec<_> = (0..128).map(|_| fixture.forward_packet(0)).collect();
        fixture.receive(&packets).await;
        fixture.run_for(SHORT).await;
        fixture.consume_all();
    }
    let helps = "all 1024 replay tags of a mix key are used; raise keys.replay-tags and restart the node";
    assert_eq!(fixture.mixer.ready(), Err(helps.to_owned()));
    let packet = fixture.forward_packet(0);
    fixture.receive(&[packet]).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::TagsFull), 1);
    let page = fixture.around.context.telemetry.render();
    assert!(page.contains("waku_mix_replay_tags 1024"), "{page}");
    let memory = page.lines().find_map(|line| line.strip_prefix("waku_mix_replay_tags_memory_bytes ")).unwrap();
    assert!(memory.parse::<f64>().unwrap() >= 1024.0 * 8.0, "{memory}");
    fixture.assert_finished();
}

#[actix::test]
async fn a_local_packet_leaves_after_its_hold_and_its_caller_hears_of_it() {
    let mut fixture = Fixture::start(Setup::default());
    let to = fixture.others[0].address.clone();
    let (packet, outcome) = fixture.local_packet(&to, Duration::from_millis(40));
    let started = Instant::now();
    fixture.handle.send(packet).unwrap();
    let mut sent = fixture.next_to_host().await;
    assert_is_due(started, Duration::from_millis(40));
    assert_eq!(sent[0].to, to);
    written(sent.pop().unwrap());
    assert_eq!(outcome.await, Ok(Ok(())));
    assert_eq!(fixture.balance().sent, 1);
    fixture.assert_finished();
}

#[actix::test]
async fn a_local_packet_to_this_node_itself_is_refused() {
    let mut fixture = Fixture::start(Setup::default());
    let me = fixture.me.address.clone();
    let (packet, outcome) = fixture.local_packet(&me, Duration::ZERO);
    fixture.handle.send(packet).unwrap();
    assert_eq!(outcome.await, Ok(Err(SendFailure::DialFailed)));
    assert_eq!(fixture.dropped(Stage::Egress, DropReason::InvalidDestination), 1);
    fixture.assert_finished();
}

#[actix::test]
async fn a_local_packet_for_which_there_is_no_room_comes_back_as_an_error() {
    let config = Config { max_held: 1, ..Config::default() };
    let mut fixture = Fixture::start(Setup { config, ..Setup::default() });
    let to = fixture.others[0].address.clone();
    let hold = Duration::from_millis(40);
    let (first, _) = fixture.local_packet(&to, hold);
    let (second, refused) = fixture.local_packet(&to, hold);
    fixture.handle.send(first).unwrap();
    fixture.handle.send(second).unwrap();
    assert_eq!(refused.await, Ok(Err(SendFailure::QueueFull)));
    fixture.run_to_rest().await;
    assert_eq!(fixture.consume_all(), (1, 0, 0));
    fixture.assert_finished();
}
