//! `kill -9` at random moments: every tag that was acknowledged is there afterwards.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    time::Duration,
};

use support::*;
use wakumix_keyring::{Config, KeyRing};

/// Names the directory for the process that is killed, and how long its tags may be unsynced, in milliseconds.
const DIRECTORY: &str = "KEYRING_TEST_DIRECTORY";
const TAG_SYNC: &str = "KEYRING_TEST_TAG_SYNC";
const FIRST: &str = "KEYRING_TEST_FIRST";
const ROUNDS: u64 = 12;
/// Tags of a batch, so that groups have many pages and a kill may fall into the middle of one.
const BATCH: u64 = 700;

fn config(directory: &std::path::Path, tag_sync: u64) -> Config {
    Config {
        directory: Some(directory.to_owned()),
        tag_sync: Duration::from_millis(tag_sync),
        tags: 1 << 24,
        ..Config::default()
    }
}

/// The process that is killed: admits tags as fast as it can and says which are acknowledged. Does nothing in a usual run.
#[tokio::test]
async fn the_process_that_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (ring, _rotation) = KeyRing::open(config(directory.as_ref(), number(TAG_SYNC)), || START).unwrap();
    let key = ring.keys()[0].clone();
    for batch in 0.. {
        let first = number(FIRST) + batch * BATCH;
        let mut admitted = key.admit(tags(first..first + BATCH));
        admitted.committed().await.unwrap();
        // One call, so a line is whole or not there.
        std::io::stdout().write_all(format!("\nkept {}\n", first + BATCH).as_bytes()).unwrap();
    }
}

/// Runs the process, kills it after so many acknowledgements, and gives the end of what it said is kept.
fn run_and_kill(directory: &std::path::Path, tag_sync: u64, first: u64, acknowledgements: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(TAG_SYNC, tag_sync.to_string())
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut kept = lines.by_ref().filter_map(|line| line.strip_prefix("kept ")?.parse().ok());
    let mut end = kept.by_ref().take(acknowledgements).last().unwrap();
    child.kill().unwrap();
    // What it said before it died counts.
    end = kept.last().unwrap_or(end);
    child.wait().unwrap();
    end
}

/// A number that depends on both and looks random.
fn random(seed: u64, round: u64) -> usize {
    usize::from(tag(seed << 32 | round).as_bytes()[0])
}

fn survives_kills(tag_sync: u64, seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut known = Vec::new();
    let mut first = 0;
    for round in 0..ROUNDS {
        let acknowledgements = 1 + random(seed, round) % 16;
        let end = run_and_kill(folder.path(), tag_sync, first, acknowledgements);
        known.push(first..end);
        // Behind everything that may have been on its way.
        first = end + 100 * BATCH;
        let (ring, _rotation) = KeyRing::open(config(folder.path(), tag_sync), || START).unwrap();
        assert_eq!(ring.stats().retired, 0, "round {round} of seed {seed}");
        for range in &known {
            assert!(knows(&ring.keys()[0], range.clone()), "round {round} of seed {seed}");
        }
    }
}

/// One after the other: a process that is just being forked for one has the lock of the other for a moment.
#[test]
fn every_acknowledged_tag_outlives_kill_9_synced_or_not() {
    survives_kills(0, 1);
    survives_kills(10_000, 2);
}
