//! Loop cover, seen from outside, in virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::time::Instant;
use wakumix_mix::{DelayLaw, DropReason, Outcome, Stage, cover::gap};
use wakumix_mixer::{Config, CoverRule};
use wakumix_role_api::{
    RunningRole as _,
    host::{OutboundPacket, SendFailure},
};
use wakumix_sphinx::ADDRESS_LEN;

use support::{Fixture, Peer, SEED, Setup, assert_is_due, written};

const MEAN: Duration = Duration::from_secs(1);
/// Time for what happens at once.
const SHORT: Duration = Duration::from_millis(1);
/// Longer than any loop may take: 10 s and the longest delays of two hops.
const TOO_LATE: Duration = Duration::from_secs(12);

/// A mixer that knows three others and sends loops.
fn looping() -> Setup {
    let config = Config { cover: CoverRule::Every(MEAN), ..Config::default() };
    Setup { config, knows_others: true, ..Setup::default() }
}

/// The next loop; fails when none comes any more.
async fn next_loop(fixture: &Fixture) -> OutboundPacket {
    let mut sent = fixture.next_to_host().await;
    assert_eq!(sent.len(), 1);
    sent.remove(0)
}

/// Lets a loop travel; the packet as it arrives at the mixer.
fn travelled(fixture: &Fixture, outbound: OutboundPacket) -> Vec<u8> {
    let (first, mut bytes) = (outbound.to.clone(), outbound.packet.bytes().to_vec());
    written(outbound);
    fixture.carry(&first, &mut bytes);
    bytes
}

fn counted(fixture: &Fixture, outcome: &str) -> u64 {
    let page = fixture.around.context.telemetry.render();
    let name = format!("waku_mix_cover_loops_total{{outcome=\"{outcome}\"}} ");
    let line = page.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or("0").parse().unwrap()
}

/// Loss and number of trips through a node; `None` if nothing is known of it.
fn known_of(fixture: &Fixture, peer: &Peer) -> Option<(f64, f64)> {
    let estimate = fixture.around.context.reliability.lock().estimate(Duration::ZERO, &peer.id());
    estimate.map(|estimate| (estimate.loss, estimate.trips))
}

#[actix::test]
async fn loops_leave_at_poisson_times_and_end_as_cover_when_they_are_back() {
    let fixture = Fixture::start(looping());
    let started = Instant::now();
    let first = next_loop(&fixture).await;
    assert_is_due(started, gap(&mut StdRng::from_seed(SEED.map(|byte| !byte)), MEAN));
    let mut back = travelled(&fixture, first);
    let (mut left, mut squares) = (Instant::now(), 0.0);
    for _ in 0..150 {
        fixture.receive(&[back]).await;
        back = travelled(&fixture, next_loop(&fixture).await);
        let gap = std::mem::replace(&mut left, Instant::now()).elapsed().as_secs_f64();
        squares += gap * gap;
    }
    // 151 gaps with a mean of 1 s: their sum has a standard deviation of 12 s. The mean square of exponential gaps is 2 s²,
    // with one of 0.37 s²; that of equal ones would be 1 s².
    let elapsed = started.elapsed().as_secs();
    assert!((91..=211).contains(&elapsed), "{elapsed} s");
    assert!((1.3..4.0).contains(&(squares / 150.0)), "{} s²", squares / 150.0);
    fixture.receive(&[back]).await;
    fixture.run_for(SHORT).await;
    fixture.mixer.stop(Instant::now() + MEAN).await;
    assert_eq!((fixture.balance().sent, fixture.balance().cover), (151, 151));
    assert_eq!((counted(&fixture, "sent"), counted(&fixture, "returned"), counted(&fixture, "lost")), (151, 151, 0));
    assert_eq!(fixture.at_exit().len(), 0);
    for other in &fixture.others {
        let (loss, trips) = known_of(&fixture, other).unwrap();
        assert!(loss <= 0.0 && trips > 50.0, "{trips}");
    }
    fixture.assert_finished();
}

#[actix::test]
async fn for_every_hop_a_loop_is_what_a_request_is() {
    let mut setup = looping();
    setup.config.cover_delay = DelayLaw::Exponential { mean_ms: 77 };
    let mut fixture = Fixture::start(setup);
    let request = fixture.forward_packet(0);
    for _ in 0..20 {
        let outbound = next_loop(&fixture).await;
        let mut bytes = outbound.packet.bytes().to_vec();
        assert_eq!(bytes.len(), request.len());
        assert_ne!(outbound.to, fixture.me.address);
        assert_eq!(fixture.carry(&outbound.to, &mut bytes), [77, 77]);
        written(outbound);
    }
}

#[actix::test]
async fn formats_that_are_served_take_turns() {
    let fixture = Fixture::start(Setup { serves_both: true, ..looping() });
    let mut lengths = Vec::new();
    for _ in 0..8 {
        let outbound = next_loop(&fixture).await;
        lengths.push(outbound.packet.bytes().len());
        let back = travelled(&fixture, outbound);
        fixture.receive(&[back]).await;
    }
    fixture.run_for(SHORT).await;
    assert_eq!(counted(&fixture, "returned"), 8);
    assert_ne!(lengths[0], lengths[1]);
    assert!(lengths.chunks(2).all(|pair| pair == &lengths[..2]));
    fixture.assert_balanced();
}

#[actix::test]
async fn a_loop_that_does_not_come_back_counts_as_lost_for_both_hops_and_comes_back_as_nothing_but_cover() {
    let fixture = Fixture::start(looping());
    let outbound = next_loop(&fixture).await;
    let (first, sent) = (outbound.to.peer(), Instant::now());
    let late = travelled(&fixture, outbound);
    while sent.elapsed() < TOO_LATE {
        let outbound = next_loop(&fixture).await;
        let back = travelled(&fixture, outbound);
        fixture.receive(&[back]).await;
    }
    fixture.run_for(SHORT).await;
    assert_eq!(counted(&fixture, "lost"), 1);
    let lossy: Vec<_> = fixture.others.iter().filter(|other| known_of(&fixture, other).unwrap().0 > 0.0).collect();
    assert_eq!(lossy.len(), 2);
    assert!(lossy.iter().any(|other| other.id() == first));
    let returned = counted(&fixture, "returned");
    fixture.receive(&[late]).await;
    fixture.mixer.stop(Instant::now() + MEAN).await;
    assert_eq!((counted(&fixture, "returned"), counted(&fixture, "lost")), (returned, 1));
    fixture.consume_all();
    fixture.assert_finished();
}

#[actix::test]
async fn a_first_hop_that_takes_no_loop_is_paused_and_nobody_is_said_to_lose_packets() {
    let fixture = Fixture::start(looping());
    let OutboundPacket { to, packet, done, .. } = next_loop(&fixture).await;
    packet.reject(DropReason::DialFailed);
    done.unwrap().send(Err(SendFailure::DialFailed)).unwrap();
    let since = Instant::now();
    while since.elapsed() < TOO_LATE {
        let outbound = next_loop(&fixture).await;
        let is_paused = outbound.to == to;
        let back = travelled(&fixture, outbound);
        fixture.receive(&[back]).await;
        if is_paused {
            break;
        }
        let reliability = fixture.around.context.reliability.lock();
        assert!(reliability.weight(Duration::ZERO, &to.peer()) < 1.0);
        assert!(
            fixture
                .others
                .iter()
                .filter(|other| other.id() != to.peer())
                .all(|other| { reliability.weight(Duration::ZERO, &other.id()) >= 1.0 })
        );
    }
    assert_eq!((counted(&fixture, "not_sent"), counted(&fixture, "lost")), (1, 0));
}

#[actix::test]
async fn a_loop_that_the_own_node_had_no_room_for_says_nothing_of_its_first_hop() {
    let fixture = Fixture::start(looping());
    let OutboundPacket { to, packet, done, .. } = next_loop(&fixture).await;
    packet.reject(DropReason::QueueFull);
    done.unwrap().send(Err(SendFailure::QueueFull)).unwrap();
    next_loop(&fixture).await;
    assert_eq!(counted(&fixture, "not_sent"), 1);
    assert!(fixture.around.context.reliability.lock().weight(Duration::ZERO, &to.peer()) >= 1.0);
}

#[actix::test]
async fn a_copy_of_a_loop_is_a_replay_and_the_loop_is_back_once() {
    let fixture = Fixture::start(looping());
    let outbound = next_loop(&fixture).await;
    let back = travelled(&fixture, outbound);
    fixture.receive(&[back.clone(), back]).await;
    next_loop(&fixture).await;
    assert_eq!(counted(&fixture, "returned"), 1);
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Duplicate), 1);
}

#[actix::test]
async fn cover_of_others_ends_here_without_an_exit_and_tells_nothing() {
    let mut fixture = Fixture::start(Setup { exit_queue: None, ..Setup::default() });
    let body = fixture.cover_body();
    let short = body[..20].to_vec();
    let packets = [body, short].map(|body| fixture.packet_with(&[0; ADDRESS_LEN], &body));
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.balance().cover, 2);
    assert_eq!(counted(&fixture, "returned"), 0);
    assert!(fixture.others.iter().all(|other| known_of(&fixture, other).is_none()));
    fixture.assert_finished();
}

#[actix::test]
async fn cover_that_names_a_destination_is_the_exits_to_refuse() {
    let mut fixture = Fixture::start(Setup::default());
    let body = fixture.cover_body();
    let destination = fixture.others[2].address.encode();
    let packet = fixture.packet_with(&destination, &body);
    fixture.receive(&[packet]).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.consume_all(), (0, 1, 0));
    assert_eq!(fixture.balance().cover, 0);
}

#[actix::test]
async fn a_pool_too_small_for_a_loop_is_waited_for() {
    let fixture = Fixture::start(Setup { knows_others: false, ..looping() });
    fixture.discover(&fixture.others[..1]);
    fixture.run_for(Duration::from_secs(60)).await;
    assert_eq!(fixture.at_host().len(), 0);
    assert_eq!(fixture.balance().originated, 0);
    assert!(counted(&fixture, "skipped") > 0);
    assert_eq!(fixture.mixer.ready(), Ok(()));
    fixture.discover(&fixture.others);
    next_loop(&fixture).await.packet.finish(Outcome::Sent);
}

#[actix::test]
async fn a_node_that_does_not_forward_sends_cover_too_unless_it_is_told_not_to() {
    for (cover, sends) in [(CoverRule::ByRole, true), (CoverRule::Off, false), (CoverRule::Every(MEAN), true)] {
        let config = Config { cover, ..Config::default() };
        let fixture = Fixture::start(Setup { config, forward: false, knows_others: true, ..Setup::default() });
        fixture.run_for(Duration::from_secs(600)).await;
        assert_eq!(!fixture.at_host().is_empty(), sends, "{cover:?}");
        assert!(fixture.mixer.stop(Instant::now() + MEAN).await.in_time);
        tokio::time::resume();
    }
}

#[actix::test]
async fn a_node_that_forwards_sends_cover_by_default_and_none_once_it_stops() {
    let fixture = Fixture::start(Setup { config: Config::default(), knows_others: true, ..Setup::default() });
    next_loop(&fixture).await.packet.finish(Outcome::Sent);
    assert!(fixture.mixer.stop(Instant::now() + MEAN).await.in_time);
    fixture.consume_all();
    let sent = fixture.balance().originated;
    fixture.run_for(Duration::from_secs(600)).await;
    assert_eq!(fixture.balance().originated, sent);
    fixture.assert_finished();
}
