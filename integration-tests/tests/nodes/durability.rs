//! What a mixer knows of packets outlives the process: `kill -9` under load, and key directories that cannot be used.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use futures::StreamExt as _;
use libp2p::{PeerId, Stream};
use multiaddr::{Multiaddr, Protocol};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;
use tokio::sync::watch;
use wakumix_integration_tests::{
    CLUSTER, eventually, http,
    net::NodePlan,
    peer::{MIX, Muxer, RawPeer, read_frame, write_frame},
    process::Process,
    run, within,
};
use wakumix_mix::HopAddress;
use wakumix_sphinx::{ADDRESS_LEN, PathHop, PrivateKey, Profile, PublicKey, ReplayTag, Sphinx};

use crate::{processes::refuses, wakumix};

/// How often the mixer is killed in a usual run; `WAKUMIX_KILLS` says otherwise.
const KILLS: usize = 3;
/// New packets that a mixer gets before it is killed: when one to all of them have been passed on, and others are being
/// read, remembered, opened or written.
const LOAD: usize = 80;
/// Packets that are sent again at once: half of what the mixer's queue takes.
const AT_ONCE: usize = 512;
/// The series of packets that were refused because they were known.
const DUPLICATES: &str = "waku_mix_packets_dropped_total{stage=\"unwrap\",reason=\"duplicate\"}";
/// Where the moments come from.
const SEED: u64 = 5;

/// The hop behind the mixer. It remembers how often it saw the tag of each packet.
struct Recorder {
    peer: RawPeer,
    key: PrivateKey,
    seen: watch::Sender<Seen>,
}

#[derive(Default)]
struct Seen {
    times: HashMap<ReplayTag, usize>,
    arrivals: usize,
    /// Streams that are being read.
    streams: usize,
}

impl Recorder {
    async fn start() -> Self {
        let peer = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let mut incoming = peer.accept(MIX);
        let (key, seen) = (PrivateKey::generate(&mut rand::rng()), watch::Sender::default());
        let (opens, sees) = (key.clone(), seen.clone());
        tokio::spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                sees.send_modify(|seen: &mut Seen| seen.streams += 1);
                tokio::spawn(record(stream, opens.clone(), sees.clone()));
            }
        });
        Self { peer, key, seen }
    }

    fn hop(&self) -> PathHop {
        let address = HopAddress::from_multiaddr(self.peer.address(), self.peer.peer_id()).unwrap();
        PathHop { key: self.key.public(), address: address.encode(), delay_ms: 0 }
    }

    fn arrivals(&self) -> usize {
        self.seen.borrow().arrivals
    }

    /// Packets that came more than once: their mixer has accepted a replay.
    fn replays(&self) -> usize {
        self.seen.borrow().times.values().filter(|times| **times > 1).count()
    }

    async fn has_seen(&self, wanted: impl FnMut(&Seen) -> bool) {
        within(self.seen.subscribe().wait_for(wanted)).await.expect("the recorder runs");
    }
}

/// Reads a stream to its end.
async fn record(mut stream: Stream, key: PrivateKey, seen: watch::Sender<Seen>) {
    let format = Sphinx::new(Profile::default());
    while let Ok(Some(packet)) = read_frame(&mut stream).await {
        let tag = format.authenticate(&key, &packet).expect("a packet for this hop").tag();
        seen.send_modify(|seen| {
            seen.arrivals += 1;
            *seen.times.entry(tag).or_default() += 1;
        });
    }
    seen.send_modify(|seen| seen.streams -= 1);
}

/// A mixer in its own process, with keys of its own in a directory.
struct MixerProcess {
    process: Process,
    rest: SocketAddr,
    peer: PeerId,
    address: Multiaddr,
}

/// What a mixer has done since it started.
#[derive(Clone, Copy, Debug)]
struct Counts {
    received: usize,
    forwarded: usize,
    duplicates: usize,
}

impl MixerProcess {
    async fn start(plan: &NodePlan) -> Self {
        let process = started(plan);
        let rest = rest(&process).await;
        let info = http::get(rest, "/debug/v1/info").await.json();
        let full: Multiaddr = info["listenAddresses"][0].as_str().expect("an address").parse().unwrap();
        let peer = full.iter().find_map(|part| if let Protocol::P2p(peer) = part { Some(peer) } else { None });
        let address = full.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        Self { process, rest, peer: peer.expect("a peer id"), address }
    }

    /// Waits until `packets` packets have come and nothing is to be done with any of them.
    async fn has_done(&self, packets: usize) -> Counts {
        eventually(async || {
            let page = http::get(self.rest, "/metrics").await.body;
            let count = |series: &str| {
                let value = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
                page.lines().find_map(value).unwrap_or(0)
            };
            let drops = page.lines().filter(|line| line.starts_with("waku_mix_packets_dropped_total{"));
            let others: Vec<_> = drops.filter(|line| !line.starts_with(DUPLICATES) && !line.ends_with(" 0")).collect();
            assert!(others.is_empty(), "{others:?}");
            let counts = Counts {
                received: count("waku_mix_packets_received_total"),
                forwarded: count("waku_mix_packets_forwarded_total"),
                duplicates: count(DUPLICATES),
            };
            let is_done = counts.received == packets && counts.forwarded + counts.duplicates == packets;
            if is_done { Ok(counts) } else { Err(format!("{packets} packets: {counts:?}")) }
        })
        .await
    }

    async fn connected(&self, peer: &RawPeer) -> Stream {
        // It may not have noticed that the process before is gone.
        peer.contacts_are(|contacts| !contacts.connections.contains_key(&self.peer)).await;
        peer.connect(self.peer, self.address.clone()).await;
        peer.open(self.peer, MIX).await
    }
}

fn mixer(folder: &TempDir) -> NodePlan {
    let directory = folder.path().join("keys");
    NodePlan::new("mixer", &["mixer"])
        .with("rest", "true")
        .with("mixer.delay-rule", "as-encoded")
        .with("keys.directory", directory.to_str().expect("a path in UTF-8"))
}

fn started(plan: &NodePlan) -> Process {
    Process::start(wakumix(), &arguments(plan))
}

fn arguments(plan: &NodePlan) -> Vec<String> {
    [vec!["node".to_owned()], plan.arguments()].concat()
}

async fn rest(process: &Process) -> SocketAddr {
    let said = process.says("REST on http://").await;
    said.split_whitespace().next().and_then(|address| address.parse().ok()).expect("an address")
}

/// The files of a key directory with this ending.
fn files(folder: &TempDir, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("keys")).expect("a key directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|found| found == ending)).collect()
}

/// What a line of a key file says (docs/keys.md).
fn line_of(file: &Path, name: &str) -> String {
    let text = fs::read_to_string(file).expect("a key file");
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    found.unwrap_or_else(|| panic!("no {name} in {}", file.display()))
}

/// The key that is current: the next one was made later and has a higher number.
fn current_key(folder: &TempDir) -> PublicKey {
    let mut keys = files(folder, "key");
    keys.sort_by_key(|file| line_of(file, "number").parse::<u64>().expect("a number"));
    line_of(&keys[0], "public").parse().expect("a public key")
}

fn kills() -> usize {
    std::env::var("WAKUMIX_KILLS").map_or(KILLS, |kills| kills.parse().expect("WAKUMIX_KILLS is a number"))
}

/// Packets that go through the mixer to the recorder, and name another hop behind it.
fn packets(mixer: &MixerProcess, key: PublicKey, recorder: &Recorder, behind: &Recorder) -> Vec<Vec<u8>> {
    let address = HopAddress::from_multiaddr(&mixer.address, mixer.peer).unwrap().encode();
    let path = [PathHop { key, address, delay_ms: 0 }, recorder.hop(), behind.hop()];
    let format = Sphinx::new(Profile::default());
    let build = |_| {
        let mut packet = vec![0; format.profile().packet_len()];
        format.build(&mut rand::rng(), &path, &[0; ADDRESS_LEN], b"once", &mut packet).unwrap();
        packet
    };
    (0..LOAD).map(build).collect()
}

/// Sends all packets again; those that a mixer takes are at most those that the recorder has not seen.
async fn nothing_passes_twice(mixer: &MixerProcess, stream: &mut Stream, sent: &[Vec<u8>], recorder: &Recorder) {
    let before = recorder.arrivals();
    let (mut count, mut passed) = (0, 0);
    for some in sent.chunks(AT_ONCE) {
        for packet in some {
            write_frame(stream, packet).await.expect("the mixer reads");
        }
        count += some.len();
        passed = mixer.has_done(count).await.forwarded;
    }
    recorder.has_seen(|seen| seen.arrivals >= before + passed).await;
    assert_eq!(recorder.replays(), 0, "of {} packets", sent.len());
    assert!(recorder.arrivals() <= sent.len());
}

#[test]
fn a_mixer_that_is_killed_under_load_takes_no_packet_a_second_time() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let plan = mixer(&folder).without("mixkey");
        let (recorder, behind) = (Recorder::start().await, Recorder::start().await);
        let feeder = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let (mut sent, mut rng) = (Vec::new(), StdRng::seed_from_u64(SEED));
        for _ in 0..kills() {
            let mut mixer = MixerProcess::start(&plan).await;
            let mut stream = mixer.connected(&feeder).await;
            nothing_passes_twice(&mixer, &mut stream, &sent, &recorder).await;

            let new = packets(&mixer, current_key(&folder), &recorder, &behind);
            sent.extend_from_slice(&new);
            let before = recorder.arrivals();
            // When this one has come the mixer is connected to the recorder, and the others wait for nothing.
            write_frame(&mut stream, &new[0]).await.expect("the mixer reads");
            recorder.has_seen(|seen| seen.arrivals > before).await;
            let moment = before + rng.random_range(1..=LOAD);
            let load = tokio::spawn(async move {
                for packet in &new[1..] {
                    // It may be killed by now.
                    let _ = write_frame(&mut stream, packet).await;
                }
            });
            recorder.has_seen(|seen| seen.arrivals >= moment).await;
            mixer.process.kill();
            assert_eq!(mixer.process.ended().await.code, None);
            within(load).await.unwrap();
            // What was on its way from the dead mixer has come.
            recorder.has_seen(|seen| seen.streams == 0).await;
        }
        let mixer = MixerProcess::start(&plan).await;
        let mut stream = mixer.connected(&feeder).await;
        nothing_passes_twice(&mixer, &mut stream, &sent, &recorder).await;
        mixer.process.terminate();
        assert_eq!(mixer.process.ended().await.code, Some(0));
        println!(
            "{} kills, {} packets, {} passed on, {} twice",
            kills(),
            sent.len(),
            recorder.arrivals(),
            recorder.replays()
        );
    });
}

/// Refused before anything of it is listening, with what to do.
async fn is_refused(plan: &NodePlan, words: &[&str]) {
    let arguments = arguments(plan);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refuses(&arguments, 3, words).await;
}

#[test]
fn a_second_process_on_a_key_directory_is_refused_and_the_first_runs_on() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let first = started(&mixer(&folder));
        let server = rest(&first).await;
        for second in [mixer(&folder), mixer(&folder).without("mixkey")] {
            is_refused(&second, &["error: ", "in use by another process", "stop the other process"]).await;
        }
        assert_eq!(http::get(server, "/health/live").await.status, 200);
        first.terminate();
        assert_eq!(first.ended().await.code, Some(0));
        // Its directory is free again.
        rest(&started(&mixer(&folder).without("mixkey"))).await;
    });
}

/// A key that is set, and the log of its tags as an earlier run has left it.
async fn with_log() -> (TempDir, NodePlan, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let plan = mixer(&folder);
    let process = started(&plan);
    rest(&process).await;
    process.terminate();
    assert_eq!(process.ended().await.code, Some(0));
    let mut logs = files(&folder, "tags");
    assert_eq!(logs.len(), 1);
    (folder, plan, logs.remove(0))
}

#[test]
fn a_node_does_not_start_with_the_tags_of_another_key() {
    run(async {
        let (_other_folder, _, other) = with_log().await;
        let (_folder, plan, log) = with_log().await;
        fs::copy(other, &log).unwrap();
        is_refused(&plan, &["error: ", log.to_str().unwrap(), "the tags of another key", "bring back the newest"])
            .await;
        fs::remove_file(&log).unwrap();
        is_refused(&plan, &["error: ", log.to_str().unwrap(), "the log is missing", "set another mix key"]).await;
    });
}

#[test]
fn a_node_does_not_start_with_tags_that_a_later_release_has_written() {
    run(async {
        let (_folder, plan, log) = with_log().await;
        let mut bytes = fs::read(&log).unwrap();
        // Bytes 8 to 12 are the version (docs/keys.md).
        bytes[11] += 1;
        fs::write(&log, &bytes).unwrap();
        is_refused(&plan, &["error: ", log.to_str().unwrap(), "has version 2", "run the release that wrote it"]).await;
        assert_eq!(fs::read(&log).unwrap(), bytes, "it is left as it is");
    });
}

#[test]
fn a_ring_that_has_lost_the_tags_of_its_own_key_says_so_and_takes_another_key() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let plan = mixer(&folder).without("mixkey");
        let first = started(&plan);
        rest(&first).await;
        first.terminate();
        assert_eq!(first.ended().await.code, Some(0));
        let before = current_key(&folder);
        let log = folder.path().join("keys").join(&before.to_string()[..16]).with_extension("tags");
        fs::remove_file(&log).unwrap();
        let second = started(&plan);
        second.says("the replay tags of a mix key are lost, so it opens no more packets").await;
        let page = http::get(rest(&second).await, "/debug/v1/info").await;
        assert_eq!(page.status, 200);
        assert!(!log.exists(), "the key that was given up gets no new log");
    });
}
