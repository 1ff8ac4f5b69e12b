//! W4: a recorded packet is sent again to the same hop when the hop may have forgotten it.
//!
//! After a restart, after `kill -9` in the middle of a write to the tag log, with a log that the disk has damaged, and after
//! a change of keys. The adversary has recorded the packets and sees what leaves the hop.

use std::{
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use wakumix_integration_tests::{
    eventually,
    net::{NodePlan, STOP_LIMIT, parse_mix_node},
    process::Process,
    run,
};
use wakumix_mix::MixNode;
use wakumix_node::node::Node;
use wakumix_sphinx::{PublicKey, Weakness, Weaknesses, WireFormat};

use crate::{Verdict, adversary::Hop, check};

/// Packets that the adversary records.
const RECORDED: usize = 3;
/// Bytes of a tag log before its first record (docs/keys.md).
const LOG_HEADER_LEN: usize = 48;
/// Bytes of a record.
const RECORD_LEN: usize = 20;
/// Lives of keys, in seconds.
const LIFETIME: u64 = 7200;
const OVERLAP: u64 = 3600;

#[test]
fn no_packet_passes_again_after_a_restart() {
    check(Weakness::ForgottenTags, async |weak| {
        let mixer = Mixer::with_own_keys();
        let recording = mixer.recorded().await;
        mixer.passes(weak, &recording.hop, &recording.packets).await
    });
}

#[test]
fn no_packet_for_a_key_that_is_set_passes_again_after_a_restart() {
    check(Weakness::ForgottenTags, async |weak| {
        let mixer = Mixer::with_set_key();
        let recording = mixer.recorded().await;
        mixer.passes(weak, &recording.hop, &recording.packets).await
    });
}

#[test]
fn no_packet_passes_again_when_the_process_was_killed() {
    check(Weakness::ForgottenTags, async |weak| {
        let mixer = Mixer::with_own_keys();
        let (recording, _) = mixer.killed().await;
        mixer.passes(weak, &recording.hop, &recording.packets).await
    });
}

/// A write that `kill -9` cuts off leaves a part of what nobody has acknowledged. Here the log ends at every byte in turn:
/// packets whose tags were acknowledged when it was that long must not pass. Without a whole header, which is on the disk
/// before the key opens anything, the key has to be given up, and nothing passes.
#[test]
fn no_acknowledged_packet_passes_again_wherever_the_log_is_cut_off() {
    check(Weakness::ForgottenTags, async |weak| {
        let mixer = Mixer::with_own_keys();
        let (Recording { hop, packets, key }, log_lens) = mixer.killed().await;
        let log = fs::read(mixer.file(&key, "tags")).unwrap();
        assert_eq!(log.len(), LOG_HEADER_LEN + RECORDED * RECORD_LEN);
        // The latest first: it is the likeliest to be forgotten.
        for cut in (0..=log.len()).rev() {
            let acknowledged = match cut {
                0..LOG_HEADER_LEN => RECORDED,
                _ => log_lens.iter().filter(|len| **len <= cut).count(),
            };
            let copy = mixer.copy_with_log(&key, &log[..cut]);
            if copy.passes(weak, &hop, &packets[..acknowledged]).await == Verdict::Succeeded {
                return Verdict::Succeeded;
            }
        }
        Verdict::Failed
    });
}

/// Every byte of the first of three records. Damage to the last one looks like a write that was cut off.
#[test]
fn damage_to_the_log_lets_no_packet_pass_again() {
    check(Weakness::TrustedTail, async |weak| {
        let mixer = Mixer::with_own_keys();
        let Recording { hop, packets, key } = mixer.recorded().await;
        let log = fs::read(mixer.file(&key, "tags")).unwrap();
        for at in LOG_HEADER_LEN..LOG_HEADER_LEN + RECORD_LEN {
            let mut damaged = log.clone();
            damaged[at] ^= 1;
            if mixer.copy_with_log(&key, &damaged).passes(weak, &hop, &packets).await == Verdict::Succeeded {
                return Verdict::Succeeded;
            }
        }
        Verdict::Failed
    });
}

#[test]
fn no_packet_passes_again_in_the_overlap_of_its_key() {
    check(Weakness::TagsBeforeKey, async |weak| {
        let mixer = Mixer::with_own_keys();
        let Recording { hop, packets, key } = mixer.recorded().await;
        mixer.let_time_pass(LIFETIME);
        let node = mixer.start(weak).await;
        assert_ne!(node.mix_node().unwrap().key, key, "the next key is in use");
        assert_eq!(hop.passed(&node, &new_packet(&hop, &node, key)).await, 1, "the old key opens packets");
        let again = hop.passed(&node, &packets).await;
        stop(node, &hop).await;
        (again > 0).into()
    });
}

#[test]
fn nothing_passes_for_a_key_whose_overlap_is_over() {
    run(async {
        let mixer = Mixer::with_own_keys();
        let Recording { hop, packets, key } = mixer.recorded().await;
        mixer.let_time_pass(LIFETIME);
        stop(mixer.start(Weaknesses::NONE).await, &hop).await;
        mixer.let_time_pass(OVERLAP + 1);
        let node = mixer.start(Weaknesses::NONE).await;
        assert_eq!(hop.passed(&node, &packets).await, 0);
        assert_eq!(hop.passed(&node, &new_packet(&hop, &node, key)).await, 0, "not even one that nobody has seen");
        let current = node.mix_node().unwrap().key;
        assert_eq!(hop.passed(&node, &new_packet(&hop, &node, current)).await, 1);
        assert!(!mixer.file(&key, "key").exists(), "the key is erased");
        stop(node, &hop).await;
    });
}

/// A mixer that keeps its keys or their tags in a directory.
struct Mixer {
    plan: NodePlan,
    directory: TempDir,
}

/// What the adversary has after a life of the mixer.
struct Recording {
    /// The hop behind the mixer, which also sends to it.
    hop: Hop,
    packets: Vec<Vec<u8>>,
    /// The key that the packets were made for.
    key: PublicKey,
}

impl Mixer {
    fn with_own_keys() -> Self {
        Self::of(&NodePlan::new("victim", &["mixer"]).without("mixkey"))
    }

    fn with_set_key() -> Self {
        Self::of(&NodePlan::new("victim", &["mixer"]))
    }

    fn of(plan: &NodePlan) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan.clone().with("keys.directory", directory.path().to_str().unwrap());
        let plan = plan.with("keys.lifetime", &format!("{LIFETIME}s")).with("keys.overlap", &format!("{OVERLAP}s"));
        Self { plan, directory }
    }

    /// The same mixer with another log.
    fn copy_with_log(&self, key: &PublicKey, log: &[u8]) -> Self {
        let copy = Self::of(&self.plan);
        for file in self.files() {
            fs::copy(&file, copy.directory.path().join(file.file_name().unwrap())).unwrap();
        }
        fs::write(copy.file(key, "tags"), log).unwrap();
        copy
    }

    /// Runs it as a node of this process, which stops in order.
    async fn recorded(&self) -> Recording {
        let hop = Hop::start(WireFormat::default()).await;
        let node = self.start(Weaknesses::NONE).await;
        let victim = node.mix_node().unwrap();
        let packets = hop.packets_over(&victim, RECORDED);
        assert_eq!(hop.passed(&node, &packets).await, RECORDED);
        stop(node, &hop).await;
        Recording { hop, packets, key: victim.key }
    }

    /// Runs it as a process that is killed. Packets go one by one; with the length of the log when each had passed, so that its
    /// tag was acknowledged.
    async fn killed(&self) -> (Recording, Vec<usize>) {
        let hop = Hop::start(WireFormat::default()).await;
        let program = Path::new(env!("CARGO_BIN_EXE_wakumix-under-test"));
        let mut process = Process::start(program, &[vec!["node".to_owned()], self.plan.arguments()].concat());
        let victim = parse_mix_node(&process.says("for the mixnode list of others: ").await);
        let packets = hop.packets_over(&victim, RECORDED);
        let mut log_lens = Vec::new();
        for (packet, passed) in packets.iter().zip(1..) {
            hop.write(&victim.address, packet).await;
            hop.caught(passed).await;
            log_lens.push(fs::read(self.file(&victim.key, "tags")).unwrap().len());
        }
        process.kill();
        process.ended().await;
        hop.forget(victim.peer()).await;
        (Recording { hop, packets, key: victim.key }, log_lens)
    }

    /// Starts it once more and sends the packets again; the adversary has won if one passes.
    async fn passes(&self, weak: Weaknesses, hop: &Hop, packets: &[Vec<u8>]) -> Verdict {
        let node = self.start(weak).await;
        let again = hop.passed(&node, packets).await;
        let current = node.mix_node().unwrap().key;
        assert_eq!(hop.passed(&node, &new_packet(hop, &node, current)).await, 1, "a new packet passes");
        stop(node, hop).await;
        (again > 0).into()
    }

    /// Starts it. The directory is free as soon as the last task of the node before has ended.
    async fn start(&self, weak: Weaknesses) -> Node {
        let plan = self.plan.clone().weakened(weak);
        eventually(async || plan.start().await.map_err(|error| error.to_string())).await
    }

    /// Lets its keys be older than they are, while it does not run.
    fn let_time_pass(&self, seconds: u64) {
        for file in self.files().filter(|file| file.extension().is_some_and(|ending| ending == "key")) {
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().map(|line| match line.split_once(' ') {
                Some((name @ ("from" | "until"), time)) => {
                    format!("{name} {}\n", time.parse::<u64>().unwrap() - seconds)
                }
                _ => format!("{line}\n"),
            });
            fs::write(&file, lines.collect::<String>()).unwrap();
        }
    }

    fn file(&self, key: &PublicKey, ending: &str) -> PathBuf {
        self.directory.path().join(format!("{}.{ending}", hex::encode(&key.as_bytes()[..8])))
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path())
    }
}

/// A packet that nobody has seen, for this key of the node.
fn new_packet(hop: &Hop, node: &Node, key: PublicKey) -> Vec<Vec<u8>> {
    hop.packets_over(&MixNode { key, ..node.mix_node().unwrap() }, 1)
}

async fn stop(node: Node, hop: &Hop) {
    let peer = node.peer_id();
    node.stop(STOP_LIMIT).await;
    hop.forget(peer).await;
}
