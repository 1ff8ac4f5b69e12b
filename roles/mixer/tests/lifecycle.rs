//! Stop, restart, and the books in all of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;
use wakumix_mix::{DropReason, Stage};
use wakumix_mixer::DelayRule;
use wakumix_role_api::{RunningRole as _, SendError, StopReport, host::SendFailure};

use support::{Fixture, Setup, assert_is_due, far_off};

fn as_encoded() -> Setup {
    let mut setup = Setup::default();
    setup.config.delay = DelayRule::AsEncoded;
    setup
}

#[actix::test]
async fn stop_releases_held_packets_at_their_times_and_gives_up_the_rest_at_the_deadline() {
    let mut fixture = Fixture::start(as_encoded());
    let packets = [10, 100, 60_000].map(|delay| fixture.forward_packet(delay));
    let started = Instant::now();
    fixture.receive(&packets).await;
    fixture.run_for(Duration::from_millis(1)).await;
    let report = fixture.mixer.stop(started + Duration::from_secs(1)).await;
    assert_eq!(report, StopReport { finished: 2, abandoned: 1, in_time: true });
    // After the second packet nothing is left to wait for.
    assert_is_due(started, Duration::from_millis(100));
    assert_eq!(fixture.dropped(Stage::Shutdown, DropReason::Stopped), 1);
    assert_eq!(fixture.consume_all(), (2, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn stop_unwraps_what_is_queued_and_refuses_what_comes_after() {
    let mut fixture = Fixture::start(as_encoded());
    let packets = [fixture.exit_packet(), fixture.forward_packet(10)];
    let to = fixture.others[0].address.clone();
    let (late, refused) = fixture.local_packet(&to, Duration::ZERO);
    fixture.receive(&packets).await;
    let report = fixture.mixer.stop(far_off()).await;
    assert_eq!(report, StopReport { finished: 1, abandoned: 0, in_time: true });
    let SendError::Closed(late) = fixture.handle.send(late).unwrap_err() else { panic!("the address is closed") };
    late.packet.reject(DropReason::Stopped);
    drop(late.done);
    assert!(refused.await.is_err());
    assert_eq!(fixture.consume_all(), (1, 1, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn a_caller_whose_packet_is_given_up_at_the_stop_hears_of_it() {
    let mut fixture = Fixture::start(Setup::default());
    let to = fixture.others[0].address.clone();
    let (packet, outcome) = fixture.local_packet(&to, Duration::from_secs(60));
    fixture.handle.send(packet).unwrap();
    fixture.run_for(Duration::from_millis(1)).await;
    fixture.mixer.stop(Instant::now() + Duration::from_secs(1)).await;
    assert_eq!(outcome.await, Ok(Err(SendFailure::Stopped)));
    fixture.assert_finished();
}

#[actix::test]
async fn a_stop_without_time_gives_up_what_is_held_at_once() {
    let mut fixture = Fixture::start(as_encoded());
    let packet = fixture.forward_packet(100);
    let started = Instant::now();
    fixture.receive(&[packet]).await;
    fixture.run_for(Duration::from_millis(1)).await;
    let report = fixture.mixer.stop(Instant::now()).await;
    assert_eq!((report.finished, report.abandoned), (0, 1));
    assert!(started.elapsed() < Duration::from_millis(100));
    assert_eq!(fixture.dropped(Stage::Shutdown, DropReason::Stopped), 1);
    fixture.assert_finished();
}

#[actix::test]
async fn a_second_stop_has_nothing_to_do() {
    let fixture = Fixture::start(Setup::default());
    assert!(fixture.mixer.stop(far_off()).await.in_time);
    assert_eq!(fixture.mixer.stop(far_off()).await, StopReport { in_time: true, ..StopReport::default() });
    assert!(fixture.mixer.ready().is_err());
}

#[actix::test]
async fn a_panic_of_the_actor_loses_nothing_that_was_queued_or_held_and_forgets_no_tag() {
    let mut fixture = Fixture::start(as_encoded());
    let (held, queued) = (fixture.forward_packet(1000), fixture.forward_packet(10));
    fixture.receive(std::slice::from_ref(&held)).await;
    fixture.run_for(Duration::from_millis(1)).await;
    fixture.mixer.actor().inject_panic().await;
    fixture.run_for(Duration::from_millis(1)).await;
    // The actor is down now, for its first back-off of 50 ms.
    fixture.receive(&[queued, held]).await;
    assert_eq!(fixture.consume_all(), (0, 0, 0));
    fixture.run_to_rest().await;
    assert_eq!(fixture.mixer.actor().restarts(), 1);
    assert_eq!(fixture.consume_all(), (2, 0, 0));
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Duplicate), 1);
    assert_eq!(fixture.mixer.ready(), Ok(()));
    fixture.assert_finished();
}

#[actix::test]
async fn a_panic_in_a_batch_is_counted_and_loses_the_packets_of_that_batch_alone() {
    let mut fixture = Fixture::start(as_encoded());
    let packets = [0, 0, 10].map(|delay| fixture.forward_packet(delay));
    let tasks = fixture.around.context.supervisor.tasks().clone();
    tasks.inject_panic("mixer_batch");
    fixture.receive(&packets[..2]).await;
    fixture.run_for(Duration::from_millis(1)).await;
    assert_eq!(fixture.balance().dropped, [(Stage::Unwrap, DropReason::Abandoned, 2)]);
    fixture.receive(&packets[2..]).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.consume_all(), (1, 0, 0));
    assert_eq!((fixture.balance().unaccounted(0), fixture.around.context.formats.held()), (0, 0));
    let panics = "waku_mix_task_panics_total{task=\"mixer_batch\"} 1";
    assert!(fixture.around.context.telemetry.render().lines().any(|line| line == panics));
    assert!(fixture.mixer.stop(far_off()).await.in_time);
}

#[test]
fn every_packet_ends_exactly_once_whatever_comes() {
    for seed in 0..6 {
        actix::System::new().block_on(random_traffic(seed));
    }
}

/// Good, bad, replayed, foreign and local packets in random order and bundles, small queues, pauses between.
async fn random_traffic(seed: u64) {
    let mut setup = Setup { host_queue: 4, exit_queue: Some(3), sender_queue: Some(3), ..Setup::default() };
    setup.config.max_held = 12;
    setup.config.max_waiting = 8;
    setup.config.max_batch = 3;
    let mut fixture = Fixture::start(setup);
    let mut rng = StdRng::seed_from_u64(seed);
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for _ in 0..25 {
        let bundle: Vec<_> = (0..rng.random_range(1..6)).map(|_| any_packet(&mut fixture, &mut rng, &seen)).collect();
        seen.extend(bundle.iter().cloned());
        fixture.receive(&bundle).await;
        if rng.random_bool(0.3) {
            let to = fixture.others[rng.random_range(0..3)].address.clone();
            let (packet, _) = fixture.local_packet(&to, Duration::from_millis(rng.random_range(0..80)));
            fixture.handle.send(packet).unwrap();
        }
        fixture.run_for(Duration::from_millis(rng.random_range(1..60))).await;
        fixture.assert_balanced();
        if rng.random_bool(0.5) {
            fixture.consume_all();
        }
    }
    if seed.is_multiple_of(2) {
        fixture.run_to_rest().await;
    } else {
        fixture.mixer.stop(Instant::now() + Duration::from_millis(20)).await;
    }
    fixture.consume_all();
    fixture.assert_finished();
}

fn any_packet(fixture: &mut Fixture, rng: &mut StdRng, seen: &[Vec<u8>]) -> Vec<u8> {
    match rng.random_range(0..9) {
        0 if !seen.is_empty() => seen[rng.random_range(0..seen.len())].clone(),
        1 => fixture.foreign_packet(),
        2 => fixture.looping_packet(),
        3 => fixture.exit_packet(),
        4 => fixture.reply_packet(),
        5 => {
            let mut packet = fixture.exit_packet();
            let at = rng.random_range(0..packet.len());
            packet[at] ^= 1 << rng.random_range(0..8);
            packet
        }
        _ => fixture.forward_packet(rng.random_range(0..200)),
    }
}
