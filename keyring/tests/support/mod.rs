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

pub const START: UnixSeconds = 1_764_000_000;
pub const LIFETIME: u64 = 1000;
pub const OVERLAP: u64 = 100;
/// Bytes of a log before its first record, and of a record.
pub const HEADER_LEN: usize = 48;
pub const RECORD_LEN: usize = 20;

/// A directory and a clock; rings come and go.
pub struct Fixture {
    folder: TempDir,
    now: Arc<AtomicU64>,
    pub config: Config,
}

impl Fixture {
    pub fn new() -> Self {
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

    pub fn in_memory() -> Self {
        let mut fixture = Self::new();
        fixture.config.directory = None;
        fixture
    }

    pub fn fixed() -> Self {
        let mut fixture = Self::new();
        fixture.config.fixed = Some(operators_key());
        fixture
    }

    pub fn try_open(&self) -> Result<(KeyRing, Rotation), OpenError> {
        let now = Arc::clone(&self.now);
        KeyRing::open(self.config.clone(), move || now.load(Ordering::Relaxed))
    }

    pub fn open(&self) -> (KeyRing, Rotation) {
        self.try_open().unwrap()
    }

    /// Why it does not open, and what to do.
    pub fn refusal(&self) -> (String, String) {
        let error = self.try_open().unwrap_err();
        (error.to_string(), error.help())
    }

    pub fn set(&self, now: UnixSeconds) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub fn now(&self) -> UnixSeconds {
        self.now.load(Ordering::Relaxed)
    }

    pub fn directory(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    pub fn file(&self, key: &PublicKey, ending: &str) -> PathBuf {
        self.directory().join(format!("{}.{ending}", &key.to_string()[..16]))
    }

    pub fn log(&self, key: &PublicKey) -> PathBuf {
        self.file(key, "tags")
    }

    pub fn key_file(&self, key: &PublicKey) -> PathBuf {
        self.file(key, "key")
    }

    /// Names in the directory but the lock, sorted.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "lock");
        names.sort();
        names
    }
}

pub fn operators_key() -> PrivateKey {
    PrivateKey::from_bytes([0x42; 32])
}

/// A tag that looks like a hash.
pub fn tag(number: u64) -> ReplayTag {
    let mut bytes = [0; 32];
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    for chunk in bytes.chunks_mut(8) {
        state = (state ^ state >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9).wrapping_add(number);
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    ReplayTag::from_bytes(bytes)
}

pub fn tags(numbers: std::ops::Range<u64>) -> Vec<ReplayTag> {
    numbers.map(tag).collect()
}

/// Has tags kept that must all be new.
pub async fn keep(key: &MixKey, numbers: std::ops::Range<u64>) {
    let mut admitted = key.admit(&tags(numbers));
    assert!(admitted.verdicts.iter().all(Result::is_ok));
    admitted.committed().await.unwrap();
}

/// Whether tags are all known.
pub fn knows(key: &MixKey, numbers: std::ops::Range<u64>) -> bool {
    let admitted = key.admit(&tags(numbers));
    admitted.verdicts.iter().all(|verdict| *verdict == Err(ReplayError::Duplicate))
}

pub fn publics(ring: &KeyRing) -> Vec<PublicKey> {
    ring.keys().iter().map(|key| key.public()).collect()
}

pub fn next(ring: &KeyRing) -> (PublicKey, UnixSeconds) {
    ring.announced().next.unwrap()
}

pub fn overwrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
