//! A key directory, a clock that the test sets, and tags.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use wakumix_keyring::{Config, KeyRing, MixKey, OpenError, Rotation, UnixSeconds};
use wakumix_mix::ReplayError;
use wakumix_sphinx::{PrivateKey, PublicKey, ReplayTag};

pub(crate) const START: UnixSeconds = 1_764_000_000;
pub(crate) const LIFETIME: u64 = 1000;
pub(crate) const OVERLAP: u64 = 100;
/// Bytes of a log before its first record, and of a record.
pub(crate) const HEADER_LEN: usize = 48;
pub(crate) const RECORD_LEN: usize = 20;

/// A directory and a clock; rings come and go.
pub(crate) struct Fixture {
    folder: TempDir,
    now: Arc<AtomicU64>,
    pub(crate) config: Config,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            directory: Some(folder.path().join("keys")),
            lifetime: Duration::from_secs(LIFETIME),
            overlap: Duration::from_secs(OVERLAP),
            tags: 1024,
            ..Config::default()
        };
        Self { folder, now: Arc::new(AtomicU64::new(START)), config }
    }

    pub(crate) fn in_memory() -> Self {
        let mut fixture = Self::new();
        fixture.config.directory = None;
        fixture
    }

    pub(crate) fn fixed() -> Self {
        let mut fixture = Self::new();
        fixture.config.fixed = Some(operators_key());
        fixture
    }

    pub(crate) fn try_open(&self) -> Result<(KeyRing, Rotation), OpenError> {
        let now = Arc::clone(&self.now);
        KeyRing::open(self.config.clone(), move || now.load(Ordering::Relaxed))
    }

    pub(crate) fn open(&self) -> (KeyRing, Rotation) {
        self.try_open().unwrap()
    }

    /// Why it does not open, and what to do.
    pub(crate) fn refusal(&self) -> (String, String) {
        let error = self.try_open().unwrap_err();
        (error.to_string(), error.help())
    }

    pub(crate) fn set(&self, now: UnixSeconds) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        self.now.load(Ordering::Relaxed)
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    pub(crate) fn file(&self, key: &PublicKey, ending: &str) -> PathBuf {
        self.directory().join(format!("{}.{ending}", &key.to_string()[..16]))
    }

    pub(crate) fn log(&self, key: &PublicKey) -> PathBuf {
        self.file(key, "tags")
    }

    pub(crate) fn key_file(&self, key: &PublicKey) -> PathBuf {
        self.file(key, "key")
    }

    /// Names in the directory but the lock, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "lock");
        names.sort();
        names
    }
}

pub(crate) fn operators_key() -> PrivateKey {
    PrivateKey::from_bytes([0x42; 32])
}

/// A tag that looks like a hash.
pub(crate) fn tag(number: u64) -> ReplayTag {
    let mut bytes = [0; 32];
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for chunk in bytes.chunks_mut(8) {
        state = (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(number);
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    ReplayTag::from_bytes(bytes)
}

pub(crate) fn tags(numbers: std::ops::Range<u64>) -> Vec<ReplayTag> {
    numbers.map(tag).collect()
}

/// Has tags kept that must all be new.
pub(crate) async fn keep(key: &MixKey, numbers: std::ops::Range<u64>) {
    let mut admitted = key.admit(tags(numbers));
    assert!(admitted.verdicts.iter().all(Result::is_ok));
    admitted.committed().await.unwrap();
}

/// Whether tags are all known.
pub(crate) fn knows(key: &MixKey, numbers: std::ops::Range<u64>) -> bool {
    let admitted = key.admit(tags(numbers));
    admitted.verdicts.iter().all(|verdict| *verdict == Err(ReplayError::Duplicate))
}

pub(crate) fn publics(ring: &KeyRing) -> Vec<PublicKey> {
    ring.keys().iter().map(|key| key.public()).collect()
}

pub(crate) fn next(ring: &KeyRing) -> (PublicKey, UnixSeconds) {
    ring.announced().next.unwrap()
}

pub(crate) fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
