//! A disk without room: nothing passes that is not kept, and nothing is lost that was.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod support;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use support::*;
use wakumix_keyring::{Config, KeyRing};

const DIRECTORY: &str = "KEYRING_TEST_DIRECTORY";
const TAG_SYNC: &str = "KEYRING_TEST_TAG_SYNC";
/// Tags of a batch: 2000 bytes, which do not divide any limit of a shell.
const BATCH: u64 = 100;
/// More than fit under a limit of 64 blocks, whatever the shell takes for a block.
const BATCHES: u64 = 100;

fn config(directory: &std::path::Path, tag_sync: u64) -> Config {
    Config { directory: Some(directory.to_owned()), tag_sync: Duration::from_millis(tag_sync), ..Config::default() }
}

/// The process whose files may not grow beyond a limit. Does nothing in a usual run.
#[tokio::test]
async fn the_process_without_room() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let tag_sync = std::env::var(TAG_SYNC).unwrap().parse().unwrap();
    let (ring, _rotation) = KeyRing::open(config(directory.as_ref(), tag_sync), || START).unwrap();
    let key = ring.keys()[0].clone();
    let mut kept = 0;
    while kept < BATCHES * BATCH {
        let mut admitted = key.admit(tags(kept..kept + BATCH));
        if admitted.committed().await.is_err() {
            break;
        }
        kept += BATCH;
    }
    let problem = ring.problem().unwrap();
    assert!(problem.contains(".tags cannot be written: "), "{problem}");
    // What is refused is not taken later, what is kept is known, and what is new is refused without growing anything.
    assert!(knows(&key, 0..kept + BATCH));
    let before = ring.stats();
    let mut refused = key.admit(tags(1_000_000..1_000_100));
    assert!(refused.verdicts.iter().all(Result::is_ok));
    refused.committed().await.unwrap_err();
    assert_eq!(ring.stats().tags, before.tags);
    assert!(before.failures > 0 && before.waiting >= BATCH);
    println!("\nkept {kept}");
}

fn run_without_room(directory: &std::path::Path, tag_sync: u64) -> u64 {
    let output = Command::new("sh")
        // The signal would end the process before it sees the error.
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" --exact the_process_without_room --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(DIRECTORY, directory)
        .env(TAG_SYNC, tag_sync.to_string())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("kept ")?.parse().ok()).unwrap()
}

#[tokio::test]
async fn a_full_disk_refuses_packets_and_loses_no_tag() {
    for tag_sync in [0, 60_000] {
        let folder = tempfile::tempdir().unwrap();
        let kept = run_without_room(folder.path(), tag_sync);
        assert!(kept > BATCH && kept < BATCHES * BATCH, "{kept}");
        let (ring, _rotation) = KeyRing::open(config(folder.path(), tag_sync), || START).unwrap();
        assert_eq!((ring.stats().retired, ring.stats().tags as u64), (0, kept));
        assert!(knows(&ring.keys()[0], 0..kept));
        // With room again the log goes on.
        keep(&ring.keys()[0], kept..kept + BATCH).await;
    }
}
