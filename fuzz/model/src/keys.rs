//! The keys of the mixer under test: one in memory whose commits the target decides, or a ring in a directory that crashes,
//! is damaged, and moves on with the clock.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::watch;
use wakumix_keyring::{Config, KeyRing, Rotation};
use wakumix_sphinx::{PrivateKey, PublicKey, ReplayTag, Weaknesses};

/// Fewer than packets in a run, so that the set of tags fills up.
const FEW_TAGS: usize = 6;
const START: u64 = 1_764_000_000;
const LIFETIME: Duration = Duration::from_secs(1000);
const OVERLAP: Duration = Duration::from_secs(100);
/// Bytes of a log before its first record, of a record, and of the tag in it (docs/keys.md).
const HEADER_LEN: usize = 48;
const RECORD_LEN: usize = 20;
const TAG_LEN: usize = 16;
/// Where a log has the key that it belongs to.
const KEY: Range<usize> = 12..44;
/// A folder whose files need no disk.
const IN_MEMORY: &str = "/dev/shm";

/// Where every ring in a directory begins. It is made once: new keys take as long as some ten events.
static BEGINNING: LazyLock<Beginning> = LazyLock::new(Beginning::new);

/// The files of a directory of keys that nobody has used yet.
struct Beginning {
    files: Vec<(OsString, Vec<u8>)>,
    keys: Vec<PublicKey>,
}

impl Beginning {
    fn new() -> Self {
        let folder = memory();
        let (ring, _) = KeyRing::open(config(folder.path()), || START).unwrap();
        let announced = ring.announced();
        let keys = [Some(announced.current), announced.next.map(|(next, _)| next)].into_iter().flatten().collect();
        drop(ring);
        let entries = fs::read_dir(folder.path()).unwrap().map(Result::unwrap);
        let files = entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
        Self { files, keys }
    }

    fn write(&self, directory: &Path) {
        let (mut folder, mut file) = (DirBuilder::new(), OpenOptions::new());
        // Others must not read keys.
        #[cfg(unix)]
        {
            std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
            std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        }
        folder.create(directory).unwrap();
        for (name, bytes) in &self.files {
            file.write(true).create_new(true).open(directory.join(name)).unwrap().write_all(bytes).unwrap();
        }
    }
}

/// The private key of a mixer that has one key only.
fn fixed_key() -> PrivateKey {
    PrivateKey::from_bytes([1; 32])
}

/// Whether a key is the same in all runs of this process.
pub(super) fn is_lasting(key: &PublicKey) -> bool {
    *key == fixed_key().public() || BEGINNING.keys.contains(key)
}

/// A folder that is gone with its last use.
fn memory() -> TempDir {
    let mut private = tempfile::Builder::new();
    // A ring refuses a directory that others can look into.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        private.permissions(fs::Permissions::from_mode(0o700));
    }
    private.tempdir_in(IN_MEMORY).or_else(|_| private.tempdir()).unwrap()
}

fn config(directory: &Path) -> Config {
    Config {
        directory: Some(directory.to_owned()),
        lifetime: LIFETIME,
        overlap: OVERLAP,
        tags: wakumix_keyring::MIN_TAGS,
        ..Config::default()
    }
}

/// What a crash does to the log of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Nothing,
    /// Bytes of a write that was interrupted are at its end.
    Torn,
    /// What was not acknowledged is missing, from any byte on.
    Cut,
    /// It ends in its header.
    Header,
    /// A byte of a record is another one, and a sound record follows.
    Changed,
    Missing,
    /// It is the log of another key.
    Foreign,
}

impl Damage {
    pub(super) fn read(byte: u8) -> Self {
        use Damage::{Changed, Cut, Foreign, Header, Missing, Nothing, Torn};
        let all = [Nothing, Torn, Cut, Header, Changed, Missing, Foreign];
        all[usize::from(byte) % all.len()]
    }

    /// Whether acknowledged tags may be lost.
    fn loses_tags(self) -> bool {
        !matches!(self, Self::Nothing | Self::Torn | Self::Cut)
    }
}

/// Closes rings, whose threads are waited for, while the next run goes on; so many wait for it.
static CLOSING: LazyLock<SyncSender<Durable>> = LazyLock::new(|| {
    let (closing, closed) = mpsc::sync_channel::<Durable>(8);
    #[expect(clippy::disallowed_methods, reason = "fuzzing is no part of a node")]
    thread::spawn(move || closed.into_iter().for_each(drop));
    closing
});

pub(super) enum Keys {
    Gated { ring: KeyRing, gate: watch::Sender<Option<bool>> },
    Durable(Box<Durable>),
}

/// A ring in a directory.
pub(super) struct Durable {
    folder: TempDir,
    clock: Arc<AtomicU64>,
    /// `None` while no process has the directory.
    ring: Option<(KeyRing, Rotation)>,
    /// Every key that was announced, in order.
    announced: Vec<PublicKey>,
    /// Keys that must not open anything any more.
    gone: BTreeSet<PublicKey>,
    weaknesses: Weaknesses,
}

impl Keys {
    pub(super) fn gated() -> Self {
        let (ring, gate) = KeyRing::gated(fixed_key(), FEW_TAGS);
        Self::Gated { ring, gate }
    }

    pub(super) fn durable(weaknesses: Weaknesses) -> Self {
        let folder = memory();
        let clock = Arc::new(AtomicU64::new(START));
        let mut durable =
            Durable { folder, clock, ring: None, announced: Vec::new(), gone: BTreeSet::new(), weaknesses };
        BEGINNING.write(&durable.directory());
        durable.open();
        Self::Durable(Box::new(durable))
    }

    pub(super) fn ring(&self) -> KeyRing {
        match self {
            Self::Gated { ring, .. } => ring.clone(),
            Self::Durable(durable) => durable.ring().clone(),
        }
    }

    pub(super) fn outlive_processes(&self) -> bool {
        matches!(self, Self::Durable(_))
    }

    /// The run is over.
    pub(super) fn close(self) {
        if let Self::Durable(durable) = self {
            CLOSING.send(*durable).expect("the thread takes all");
        }
    }

    /// One of the keys that were ever announced.
    pub(super) fn announced(&self, which: usize) -> PublicKey {
        match self {
            Self::Gated { .. } => fixed_key().public(),
            Self::Durable(durable) => durable.announced[which % durable.announced.len()],
        }
    }

    /// Decides about all tags that wait; `None`: they wait on. A ring in a directory decides itself.
    pub(super) fn decide(&self, is_kept: Option<bool>) {
        if let Self::Gated { gate, .. } = self {
            gate.send_replace(is_kept);
        }
    }

    /// Whether tags are kept only when the target says so.
    pub(super) fn are_gated(&self) -> bool {
        matches!(self, Self::Gated { .. })
    }

    /// How many keys open nothing any more.
    pub(super) fn gone(&self) -> usize {
        match self {
            Self::Gated { .. } => 0,
            Self::Durable(durable) => durable.gone.len(),
        }
    }

    /// Whether tags would be found after a crash, unless their key would not. `gone` is how many keys were when the tags
    /// were admitted: the log of one that is since then is erased.
    pub(super) fn would_know(&self, tags: &[ReplayTag], gone: usize) -> bool {
        match self {
            Self::Gated { .. } => true,
            Self::Durable(durable) if durable.gone.len() > gone => true,
            Self::Durable(durable) => {
                let known = durable.logged();
                tags.iter().all(|tag| known.contains(&tag.as_bytes()[..TAG_LEN]))
            }
        }
    }

    /// Changes the clock and has keys replaced.
    pub(super) fn turn(&mut self, seconds: i64) {
        let Self::Durable(durable) = self else { return };
        let now = durable.clock.load(Ordering::Relaxed).saturating_add_signed(seconds).max(START / 2);
        durable.clock.store(now, Ordering::Relaxed);
        if let Some((_, rotation)) = &mut durable.ring {
            rotation.turn();
        }
        durable.note();
    }

    /// Opens the directory again after a crash. Nobody else may hold the ring.
    pub(super) fn reopen(&mut self, damage: Damage, key: usize, at: u8, opened: &HashSet<ReplayTag>) {
        let Self::Durable(durable) = self else { return };
        durable.ring = None;
        let key = durable.announced[key % durable.announced.len()];
        durable.damage(damage, &key, at, opened);
        durable.open();
    }
}

impl Durable {
    fn ring(&self) -> &KeyRing {
        &self.ring.as_ref().expect("a process has the directory").0
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn log(&self, key: &PublicKey) -> PathBuf {
        self.directory().join(&key.to_string()[..16]).with_extension("tags")
    }

    fn open(&mut self) {
        let clock = Arc::clone(&self.clock);
        let config = Config { weaknesses: self.weaknesses, ..config(&self.directory()) };
        self.ring = Some(KeyRing::open(config, move || clock.load(Ordering::Relaxed)).unwrap());
        self.note();
    }

    /// Remembers which keys there are. One that was replaced and opens nothing stays so.
    fn note(&mut self) {
        let announced = self.ring().announced();
        for key in [Some(announced.current), announced.next.map(|(next, _)| next)].into_iter().flatten() {
            if !self.announced.contains(&key) {
                self.announced.push(key);
            }
        }
        let open: BTreeSet<_> = self.ring().keys().iter().map(|key| key.public()).collect();
        let current = self.announced.iter().position(|key| *key == announced.current).expect("it is announced");
        self.gone.extend(self.announced[..current].iter().filter(|key| !open.contains(key)));
        assert!(open.is_disjoint(&self.gone), "a key has come back");
        assert!(open.contains(&announced.current));
    }

    /// All tags that are on the disk.
    fn logged(&self) -> HashSet<Vec<u8>> {
        let logs = fs::read_dir(self.directory()).unwrap().map(|entry| entry.unwrap().path());
        let logs = logs.filter(|path| path.extension().is_some_and(|ending| ending == "tags"));
        logs.flat_map(|path| tags_of(&path)).collect()
    }

    fn damage(&mut self, damage: Damage, key: &PublicKey, at: u8, opened: &HashSet<ReplayTag>) {
        let path = self.log(key);
        // It may be erased by now, or cut before.
        let Some(mut log) = fs::read(&path).ok().filter(|log| log.len() >= HEADER_LEN) else { return };
        match damage {
            Damage::Nothing => {}
            Damage::Torn => log.extend(std::iter::repeat_n(at, 1 + usize::from(at) % 50)),
            Damage::Cut => {
                let acknowledged = acknowledged(&tags_of(&path), opened);
                log.truncate(acknowledged + usize::from(at) % (log.len() - acknowledged + 1));
            }
            Damage::Header => log.truncate(usize::from(at) % HEADER_LEN),
            Damage::Changed => {
                let records = (log.len() - HEADER_LEN) / RECORD_LEN;
                let Some(before_last) = records.checked_sub(1).filter(|before| *before > 0) else { return };
                log[HEADER_LEN + usize::from(at) % (before_last * RECORD_LEN)] ^= 1;
            }
            Damage::Missing => {
                fs::remove_file(&path).unwrap();
                self.gone.insert(*key);
                return;
            }
            Damage::Foreign => {
                let Some(other) = self.announced.iter().rev().find(|other| *other != key) else { return };
                // That one may itself have been exchanged, and be the log of this key.
                let is_foreign = |log: &Vec<u8>| log.get(KEY) != Some(&key.as_bytes()[..]);
                let Some(foreign) = fs::read(self.log(other)).ok().filter(is_foreign) else { return };
                log = foreign;
            }
        }
        fs::write(&path, log).unwrap();
        if damage.loses_tags() {
            self.gone.insert(*key);
        }
    }
}

/// The tags in a log.
fn tags_of(log: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(log).unwrap();
    let records = bytes.get(HEADER_LEN..).unwrap_or_default().chunks_exact(RECORD_LEN);
    records.map(|record| record[..TAG_LEN].to_vec()).collect()
}

/// The end of the last record whose packet was opened, in bytes.
fn acknowledged(tags: &[Vec<u8>], opened: &HashSet<ReplayTag>) -> usize {
    let is_opened = |tag: &Vec<u8>| opened.iter().any(|opened| opened.as_bytes()[..TAG_LEN] == tag[..]);
    let records = tags.iter().rposition(is_opened).map_or(0, |last| last + 1);
    HEADER_LEN + records * RECORD_LEN
}
