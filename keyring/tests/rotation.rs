//! Keys follow each other by the clock, whatever the clock does.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::{collections::VecDeque, fs::File, io::Read as _, time::Duration};

use support::*;
use wakumix_keyring::{KeyRing, UnixSeconds};
use wakumix_sphinx::PublicKey;

#[test]
fn announces_the_next_key_from_the_very_beginning() {
    for fixture in [Fixture::new(), Fixture::in_memory()] {
        let (ring, _rotation) = fixture.open();
        assert_eq!(publics(&ring), [ring.public()]);
        let (key, from) = next(&ring);
        assert_ne!(key, ring.public());
        assert_eq!(from, START + LIFETIME);
        assert_eq!(ring.stats().current_since, START);
    }
}

#[test]
fn a_key_is_announced_then_current_then_earlier_then_gone() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let (first, (second, from)) = (ring.public(), next(&ring));

    fixture.set(from - 61);
    rotation.turn();
    assert_eq!(publics(&ring), [first]);
    fixture.set(from - 60);
    rotation.turn();
    assert_eq!(publics(&ring), [first, second]);

    fixture.set(from);
    rotation.turn();
    assert_eq!(publics(&ring), [second, first]);
    let (third, then) = next(&ring);
    assert!(third != first && third != second);
    assert_eq!(then, from + LIFETIME);
    assert_eq!((ring.stats().rotations, ring.stats().overlap_until), (1, Some(from + OVERLAP)));

    fixture.set(from + OVERLAP - 1);
    rotation.turn();
    assert_eq!(publics(&ring), [second, first]);
    // Whoever has the file open, as a file system that keeps removed blocks does, finds no secret in it.
    let mut file = File::open(fixture.key_file(&first)).unwrap();
    fixture.set(from + OVERLAP);
    rotation.turn();
    let mut left = Vec::new();
    file.read_to_end(&mut left).unwrap();
    assert!(left.len() > 32 && left.iter().all(|byte| *byte == 0));
    assert_eq!(publics(&ring), [second]);
    assert_eq!(fixture.names().len(), 4);
    assert!(!fixture.key_file(&first).exists() && !fixture.log(&first).exists());
}

#[tokio::test]
async fn a_change_wakes_those_who_wait_for_it() {
    let fixture = Fixture::in_memory();
    let (mut ring, mut rotation) = fixture.open();
    let second = next(&ring).0;
    let waiter = tokio::spawn(async move {
        assert!(ring.changed().await);
        ring
    });
    fixture.set(START + LIFETIME);
    rotation.turn();
    let mut ring = waiter.await.unwrap();
    assert_eq!(ring.public(), second);
    drop(rotation);
    assert!(!ring.changed().await);
}

#[tokio::test]
async fn tags_stay_as_long_as_their_key() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let first = ring.keys()[0].clone();
    keep(&first, 0..10).await;
    fixture.set(START + LIFETIME);
    rotation.turn();
    assert!(knows(&ring.keys()[1], 0..10));
    // Each key has tags of its own.
    keep(&ring.keys()[0], 0..10).await;
    // A batch that holds the key still ends as it began.
    fixture.set(START + LIFETIME + OVERLAP);
    rotation.turn();
    keep(&first, 10..20).await;
}

#[test]
fn a_restart_finds_every_key_in_its_place() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    fixture.set(START + LIFETIME);
    rotation.turn();
    let (keys, announced) = (publics(&ring), ring.announced());
    drop((ring, rotation));
    let (ring, _rotation) = fixture.open();
    assert_eq!((publics(&ring), ring.announced()), (keys, announced));
    assert_eq!(ring.stats().overlap_until, Some(START + LIFETIME + OVERLAP));
}

#[test]
fn a_rotation_that_came_late_still_gives_its_whole_overlap_also_after_a_restart() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let (first, late) = (ring.public(), START + LIFETIME + 5000);
    fixture.set(late);
    rotation.turn();
    drop((ring, rotation));
    let (ring, _rotation) = fixture.open();
    assert_eq!(publics(&ring)[1], first);
    assert_eq!(ring.stats().overlap_until, Some(late + OVERLAP));
}

#[test]
fn a_node_that_was_off_for_long_goes_on_with_the_key_that_it_announced() {
    let fixture = Fixture::new();
    let (ring, rotation) = fixture.open();
    let (second, _) = next(&ring);
    drop((ring, rotation));
    fixture.set(START + 100 * LIFETIME);
    let (ring, _rotation) = fixture.open();
    assert_eq!(ring.public(), second);
    assert_eq!(next(&ring).1, START + 101 * LIFETIME);
}

#[test]
fn a_clock_that_leaps_ahead_rotates_once() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let (first, (second, _)) = (ring.public(), next(&ring));
    fixture.set(START + 365 * 24 * 3600);
    for _ in 0..10 {
        rotation.turn();
    }
    assert_eq!(publics(&ring), [second, first]);
    assert_eq!((ring.stats().rotations, next(&ring).1), (1, fixture.now() + LIFETIME));
}

#[test]
fn a_clock_that_goes_back_across_a_rotation_brings_no_older_key_back() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    fixture.set(START + LIFETIME);
    rotation.turn();
    let (current, (after, _)) = (ring.public(), next(&ring));

    fixture.set(START - 100_000);
    rotation.turn();
    assert_eq!(ring.public(), current);
    assert_eq!(next(&ring), (after, START - 100_000 + LIFETIME));
    assert_eq!(ring.stats().overlap_until, Some(START - 100_000 + OVERLAP));
    assert_eq!(ring.problem(), None);
    drop((ring, rotation));

    let (ring, mut rotation) = fixture.open();
    assert_eq!(ring.public(), current);
    assert_eq!(next(&ring), (after, START - 100_000 + LIFETIME));
    fixture.set(START - 100_000 + LIFETIME);
    rotation.turn();
    assert_eq!(ring.public(), after);
}

#[test]
fn a_clock_that_leaps_to_and_fro_rotates_at_most_once_a_leap_and_gathers_no_keys() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    for leap in 1..=20 {
        fixture.set(START + LIFETIME + OVERLAP);
        rotation.turn();
        rotation.turn();
        fixture.set(START);
        rotation.turn();
        assert_eq!(ring.stats().rotations, leap);
        assert!(fixture.names().len() <= 6);
    }
}

/// A packet as its sender sees it: the key that he took, and when it arrives.
struct Underway {
    key: PublicKey,
    arrives: UnixSeconds,
}

/// The key for a packet, by a record that was read at some time and a clock of one's own.
fn chosen(record: &wakumix_keyring::Announced, clock: UnixSeconds) -> PublicKey {
    record.next.filter(|(_, from)| *from <= clock).map_or(record.current, |(key, _)| key)
}

#[test]
fn no_packet_meets_a_node_without_its_key() {
    let fixture = Fixture::in_memory();
    let (ring, mut rotation) = fixture.open();
    // Senders whose clocks are off, whose record is up to a lifetime old, and whose packets take up to the overlap.
    let mut records = VecDeque::from([ring.announced()]);
    let mut underway: Vec<Underway> = Vec::new();
    for now in (START..START + 5 * LIFETIME).step_by(5) {
        fixture.set(now);
        rotation.turn();
        let open = publics(&ring);
        let (arrived, waits): (Vec<_>, Vec<_>) = underway.into_iter().partition(|packet| packet.arrives <= now);
        assert!(arrived.iter().all(|packet| open.contains(&packet.key)), "at {}", now - START);
        underway = waits;
        records.push_back(ring.announced());
        if records.len() * 5 > usize::try_from(LIFETIME).unwrap() - 100 {
            records.pop_front();
        }
        for record in [&records[0], &records[records.len() - 1]] {
            for clock in [now - 30, now, now + 55] {
                for takes in [0, 5, OVERLAP - 35] {
                    underway.push(Underway { key: chosen(record, clock), arrives: now + takes });
                }
            }
        }
    }
    assert_eq!(ring.stats().rotations, 4);
}

#[tokio::test(start_paused = true)]
async fn the_task_rotates_by_itself() {
    let mut fixture = Fixture::new();
    fixture.config.lifetime = Duration::from_secs(60);
    fixture.config.overlap = Duration::from_secs(20);
    let began = tokio::time::Instant::now();
    let (mut ring, rotation) =
        KeyRing::open(fixture.config.clone(), move || START + began.elapsed().as_secs()).unwrap();
    let mut rotation = rotation;
    let task = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rotation.turn();
        }
    });
    let mut seen = vec![ring.public()];
    let mut number = 0;
    while seen.len() < 11 {
        assert!(ring.changed().await);
        if ring.public() != seen[seen.len() - 1] {
            seen.push(ring.public());
        }
        for key in ring.keys().iter() {
            keep(key, number..number + 1).await;
            number += 1;
        }
    }
    task.abort();
    // Virtual time goes on while a log is written, so there may have been more.
    assert!(ring.stats().rotations >= 10);
}

#[test]
fn a_directory_that_cannot_be_written_keeps_the_current_key_and_says_so() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let (first, (second, from)) = (ring.public(), next(&ring));
    let elsewhere = fixture.directory().with_extension("gone");
    std::fs::rename(fixture.directory(), &elsewhere).unwrap();
    fixture.set(from);
    rotation.turn();
    // Packets for either find their key.
    assert_eq!(publics(&ring), [first, second]);
    let problem = ring.problem().unwrap();
    assert!(problem.starts_with("no new mix key can be made, the current one stays: "), "{problem}");
    std::fs::rename(&elsewhere, fixture.directory()).unwrap();
    rotation.turn();
    assert_eq!(publics(&ring), [second, first]);
    assert_eq!(ring.problem(), None);
    assert_eq!(fixture.names().len(), 6);
}

#[test]
fn files_that_are_deleted_under_a_running_ring_are_missed_at_once() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    rotation.turn();
    assert_eq!(ring.problem(), None);
    let elsewhere = fixture.directory().with_extension("gone");
    std::fs::rename(fixture.directory(), &elsewhere).unwrap();
    rotation.turn();
    let problem = ring.problem().unwrap();
    assert!(problem.contains("is gone") && problem.contains(fixture.directory().to_str().unwrap()), "{problem}");
    std::fs::rename(&elsewhere, fixture.directory()).unwrap();
    rotation.turn();
    assert_eq!(ring.problem(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_under_way_end_well_while_keys_come_and_go() {
    let fixture = Fixture::new();
    let (ring, mut rotation) = fixture.open();
    let workers: Vec<_> = (0..4_u64)
        .map(|worker| {
            let ring = ring.clone();
            tokio::spawn(async move {
                let mut number = worker << 32;
                while ring.stats().rotations < 10 {
                    for key in ring.keys().iter() {
                        keep(key, number..number + 3).await;
                        assert!(knows(key, number..number + 3));
                        number += 3;
                    }
                }
            })
        })
        .collect();
    for now in (START..=START + 10 * LIFETIME).step_by(50) {
        fixture.set(now);
        tokio::task::block_in_place(|| rotation.turn());
    }
    for worker in workers {
        worker.await.unwrap();
    }
    assert_eq!((ring.stats().failures, ring.problem()), (0, None));
}
