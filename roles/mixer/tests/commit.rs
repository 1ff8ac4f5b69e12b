//! No packet is opened before its replay tag is kept, and what becomes of it if that fails; several keys.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use wakumix_keyring::{KeyRing, Rotation};
use wakumix_mix::{DropReason, Stage};
use wakumix_mixer::DelayRule;
use wakumix_role_api::RunningRole as _;
use wakumix_sphinx::PrivateKey;

use support::{Fixture, Setup};

const SHORT: Duration = Duration::from_millis(1);

/// A mixer whose tags are kept when the sender says so.
fn gated() -> (Fixture, watch::Sender<Option<bool>>) {
    let (ring, gate) = KeyRing::gated(PrivateKey::from_bytes([1; 32]), 4096);
    let mut setup = Setup { ring: Some(ring), ..Setup::default() };
    setup.config.delay = DelayRule::AsEncoded;
    setup.config.max_batch = 2;
    (Fixture::start(setup), gate)
}

/// One packet of each kind.
fn all_kinds(fixture: &mut Fixture) -> Vec<Vec<u8>> {
    vec![fixture.forward_packet(0), fixture.forward_packet(5), fixture.exit_packet(), fixture.reply_packet()]
}

#[actix::test]
async fn nothing_is_done_with_a_packet_before_its_tag_is_kept() {
    let (mut fixture, gate) = gated();
    let packets = all_kinds(&mut fixture);
    fixture.receive(&packets).await;
    fixture.run_for(Duration::from_secs(30)).await;
    assert_eq!(fixture.consume_all(), (0, 0, 0));
    assert_eq!((fixture.around.buffers().in_use(), fixture.balance().dropped_total()), (4, 0));
    // Not even that they were for this node.
    assert!(fixture.balance().opened.iter().all(|(_, count)| *count == 0));
    gate.send_replace(Some(true));
    fixture.run_for(Duration::from_millis(10)).await;
    assert_eq!(fixture.consume_all(), (2, 1, 1));
    fixture.assert_finished();
}

#[actix::test]
async fn packets_whose_tags_cannot_be_kept_are_dropped_and_stay_known() {
    let (mut fixture, gate) = gated();
    let packets = all_kinds(&mut fixture);
    gate.send_replace(Some(false));
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::TagsUnwritable), 4);
    gate.send_replace(Some(true));
    fixture.receive(&packets).await;
    fixture.run_to_rest().await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Duplicate), 4);
    assert_eq!(fixture.consume_all(), (0, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn batches_that_wait_hold_no_worker_and_their_number_has_a_bound() {
    let (mut fixture, gate) = gated();
    // Two workers; 64 batches of two wait for their tags, and what comes then waits in the queue.
    for _ in 0..40 {
        let packets: Vec<_> = (0..4).map(|_| fixture.forward_packet(0)).collect();
        fixture.receive(&packets).await;
        fixture.run_for(SHORT).await;
    }
    let page = fixture.around.context.telemetry.render();
    let depth = page.lines().find_map(|line| line.strip_prefix("waku_mix_queue_depth{queue=\"mixer\"} "));
    assert_eq!(depth, Some("32"));
    gate.send_replace(Some(true));
    fixture.run_for(Duration::from_millis(50)).await;
    assert_eq!(fixture.consume_all(), (160, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn a_panic_while_tags_are_written_loses_one_batch_and_the_others_go_on() {
    let (mut fixture, gate) = gated();
    let packets: Vec<_> = (0..4).map(|_| fixture.forward_packet(0)).collect();
    fixture.receive(&packets).await;
    fixture.run_for(SHORT).await;
    fixture.around.context.supervisor.tasks().inject_panic("mixer_tags");
    // The task is made again after 50 ms.
    fixture.run_for(Duration::from_secs(1)).await;
    gate.send_replace(Some(true));
    fixture.run_for(SHORT).await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Abandoned), 2);
    assert_eq!(fixture.consume_all(), (2, 0, 0));
    assert_eq!((fixture.balance().unaccounted(0), fixture.around.context.formats.held()), (0, 0));
    assert_eq!(fixture.mixer.ready(), Ok(()));
}

#[actix::test]
async fn a_stop_waits_for_tags_until_its_deadline_and_no_longer() {
    let (mut fixture, _gate) = gated();
    let packets = all_kinds(&mut fixture);
    fixture.receive(&packets).await;
    fixture.run_for(SHORT).await;
    let started = Instant::now();
    fixture.mixer.stop(started + Duration::from_secs(2)).await;
    assert!(started.elapsed() >= Duration::from_secs(2));
    fixture.run_for(SHORT).await;
    assert_eq!(fixture.dropped(Stage::Shutdown, DropReason::Stopped), 4);
    assert_eq!(fixture.consume_all(), (0, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn a_stop_finishes_packets_whose_tags_are_kept_in_time() {
    let (mut fixture, gate) = gated();
    let packets = all_kinds(&mut fixture);
    fixture.receive(&packets).await;
    fixture.run_for(SHORT).await;
    let stopped = fixture.mixer.stop(Instant::now() + Duration::from_secs(2));
    let decided = async {
        fixture.run_for(Duration::from_secs(1)).await;
        gate.send_replace(Some(true));
    };
    let (report, ()) = tokio::join!(stopped, decided);
    assert!(report.in_time);
    assert_eq!(fixture.consume_all(), (2, 1, 1));
    fixture.assert_finished();
}

/// A mixer whose keys follow each other each hour, with half an hour of overlap, on a clock that the test sets.
fn rotating() -> (Fixture, Rotation, Arc<AtomicU64>) {
    let clock = Arc::new(AtomicU64::new(1_000_000));
    let config = wakumix_keyring::Config {
        lifetime: Duration::from_secs(3600),
        overlap: Duration::from_secs(1800),
        tags: 1024,
        ..wakumix_keyring::Config::default()
    };
    let reads = Arc::clone(&clock);
    let (ring, rotation) = KeyRing::open(config, move || reads.load(Ordering::Relaxed)).unwrap();
    (Fixture::start(Setup { ring: Some(ring), ..Setup::default() }), rotation, clock)
}

#[actix::test]
async fn packets_of_an_earlier_key_pass_until_it_is_gone_and_are_then_refused_for_their_mac() {
    let (mut fixture, mut rotation, clock) = rotating();
    let [current, late, too_late] = [(); 3].map(|()| fixture.forward_packet(0));
    fixture.receive(std::slice::from_ref(&current)).await;
    fixture.run_for(SHORT).await;
    clock.fetch_add(3700, Ordering::Relaxed);
    rotation.turn();
    // In the overlap: new packets pass, old ones are still known.
    fixture.receive(&[current, late]).await;
    fixture.run_for(SHORT).await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Duplicate), 1);
    assert_eq!(fixture.consume_all(), (2, 0, 0));
    clock.fetch_add(1900, Ordering::Relaxed);
    rotation.turn();
    fixture.receive(&[too_late]).await;
    fixture.run_for(SHORT).await;
    assert_eq!(fixture.dropped(Stage::Unwrap, DropReason::Mac), 1);
    assert_eq!(fixture.consume_all(), (0, 0, 0));
    fixture.assert_finished();
}

#[actix::test]
async fn one_batch_may_hold_packets_of_several_keys() {
    let (mut fixture, mut rotation, clock) = rotating();
    let of_old: Vec<_> = (0..3).map(|_| fixture.forward_packet(0)).collect();
    clock.fetch_add(3700, Ordering::Relaxed);
    rotation.turn();
    fixture.take_up_current_key();
    let of_new: Vec<_> = (0..3).map(|_| fixture.forward_packet(0)).collect();
    let mixed: Vec<_> = of_old.iter().zip(&of_new).flat_map(|(old, new)| [old.clone(), new.clone()]).collect();
    fixture.receive(&mixed).await;
    fixture.run_for(SHORT).await;
    assert_eq!(fixture.consume_all(), (6, 0, 0));
    assert!(fixture.around.context.telemetry.render().contains("waku_mix_replay_tags 6"));
    fixture.assert_finished();
}
