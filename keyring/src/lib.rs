//! A node's mix keys, each with the replay tags of the packets that it has opened.
//!
//! Key and tags are one unit: they are created, kept and erased together (`spec/mix-wire.md §15`, §21 W4). The mixer holds a
//! [`KeyRing`], tries its [`keys`](KeyRing::keys) in order, and has the tags of the authentic packets
//! [admitted](MixKey::admit) and [committed](Admitted::committed) before it does anything with those packets. [`Rotation`]
//! replaces the current key when its lifetime is over.
//!
//! `docs/keys.md` has the files, byte by byte, and what each failure does.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use wakumix_keyring::{Config, KeyRing};
//! use wakumix_sphinx::ReplayTag;
//!
//! let (ring, _rotation) = KeyRing::open(Config::default(), || 1_764_000_000)?;
//! let current = &ring.keys()[0];
//! let tag = ReplayTag::from_bytes([7; 32]);
//! let mut admitted = current.admit([tag, tag]);
//! assert!(admitted.verdicts[0].is_ok() && admitted.verdicts[1].is_err());
//! assert!(admitted.committed().await.is_ok());
//! # Ok(())
//! # }
//! ```

mod checksum;
mod config;
mod countermeasures;
mod directory;
mod error;
#[cfg(any(test, fuzzing, feature = "fuzzing"))]
pub mod fuzzing;
mod key;
mod key_file;
mod open;
pub mod private;
mod rotation;
mod stats;
mod store;
mod tag_log;
mod tag_set;

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;
use wakumix_sphinx::{PrivateKey, PublicKey};

pub use config::{Config, ConfigError, ConfigProblem, MAX_LIFETIME, MAX_TAG_SYNC, MIN_LIFETIME, MIN_TAGS};
pub use error::OpenError;
pub use key::{Admitted, MixKey, Uncommitted};
pub use key_file::KeyFileError;
pub use rotation::{CLOCK_SKEW, Rotation};
pub use stats::Stats;
pub use tag_log::LogError;

use stats::Totals;

/// Seconds since the Unix epoch.
pub type UnixSeconds = u64;

/// The keys of a node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KeyRing {
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
}

/// The public keys of a ring, as the node publishes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The key for which senders build packets now.
    pub current: PublicKey,
    /// The next key, and the time from which it is the current one.
    pub next: Option<(PublicKey, UnixSeconds)>,
}

#[derive(Clone, Debug)]
struct State {
    keys: Arc<[Arc<MixKey>]>,
    announced: Announced,
    current_since: UnixSeconds,
    overlap_until: Option<UnixSeconds>,
}

/// State that a ring shares with its rotation.
#[derive(Debug, Default)]
struct Shared {
    totals: Arc<Totals>,
    /// Why the current key cannot be replaced.
    problem: Mutex<Option<String>>,
    /// The file of a key in use that was deleted.
    missing: Mutex<Option<PathBuf>>,
}

impl KeyRing {
    /// A ring of one key that is never replaced. It keeps at most `tags` replay tags, in memory: they are lost with the process.
    #[must_use]
    pub fn fixed(key: PrivateKey, tags: usize) -> Self {
        let state = State::of_one(Arc::new(MixKey::in_memory(key, tags)), 0);
        Self { state: watch::Sender::new(state).subscribe(), shared: Arc::default() }
    }

    /// As [`fixed`](Self::fixed), but a test decides whether tags are committed: the sender's `Some(true)` commits them,
    /// `Some(false)` fails them.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn gated(key: PrivateKey, tags: usize) -> (Self, watch::Sender<Option<bool>>) {
        let (gate, outcome) = watch::channel(None);
        let key = MixKey::gated(key, tags, tag_log::Commit::decided_by(outcome));
        (Self { state: watch::Sender::new(State::of_one(Arc::new(key), 0)).subscribe(), shared: Arc::default() }, gate)
    }

    /// Opens the ring of a directory, or one in memory, and generates the keys that it lacks. Blocks while it reads the
    /// tags. `clock` gives the wall-clock time.
    ///
    /// # Errors
    /// [`OpenError`]. Lost or damaged tags are an error only for a key that the operator has set; a key that the ring
    /// generated is retired instead and replaced by a new one.
    pub fn open(
        config: Config,
        clock: impl Fn() -> UnixSeconds + Send + Sync + 'static,
    ) -> Result<(Self, Rotation), OpenError> {
        open::open(config, Box::new(clock))
    }

    /// The keys that open packets now, the current one first; never empty.
    #[must_use]
    pub fn keys(&self) -> Arc<[Arc<MixKey>]> {
        Arc::clone(&self.state.borrow().keys)
    }

    /// The public keys that the node publishes.
    #[must_use]
    pub fn announced(&self) -> Announced {
        self.state.borrow().announced
    }

    /// The public half of the current key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.announced().current
    }

    /// Waits until the keys or the [announced](Self::announced) ones change; false when the rotation has ended, so that they
    /// no longer can.
    ///
    /// Cancel safe: yes, because it only waits on a watch channel.
    pub async fn changed(&mut self) -> bool {
        self.state.changed().await.is_ok()
    }

    /// Why packets are refused, or why the keys are no longer replaced; for readiness.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let of_logs = self.keys().iter().find_map(|key| key.log()?.problem());
        of_logs.or_else(|| self.shared.problem.lock().clone()).or_else(|| self.shared.missing())
    }

    /// Values for the metrics. Cheap enough for every scrape.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let State { keys, current_since, overlap_until, .. } = self.state.borrow().clone();
        let logs = || keys.iter().filter_map(|key| key.log());
        Stats {
            tags: keys[0].tags(),
            capacity: keys[0].tag_capacity(),
            bytes_in_memory: keys.iter().map(|key| key.bytes_in_memory()).sum(),
            bytes_on_disk: logs().map(|log| log.bytes()).sum(),
            waiting: logs().map(|log| log.waiting()).sum(),
            current_since,
            overlap_until,
            ..self.shared.totals.stats()
        }
    }
}

impl State {
    /// The state of a ring whose key is never replaced.
    fn of_one(key: Arc<MixKey>, since: UnixSeconds) -> Self {
        let announced = Announced { current: key.public(), next: None };
        Self { keys: [key].into(), announced, current_since: since, overlap_until: None }
    }
}

impl Shared {
    /// Reports that the file of a key in use was deleted, or is back.
    fn report_missing(&self, file: Option<PathBuf>) {
        let mut missing = self.missing.lock();
        if *missing == file {
            return;
        }
        *missing = file;
        drop(missing);
        match self.missing() {
            Some(problem) => tracing::error!("{problem}"),
            None => tracing::info!("the files of the mix keys are there again"),
        }
    }

    fn missing(&self) -> Option<String> {
        let file = self.missing.lock().clone()?;
        Some(format!(
            "{} is gone, the file of a mix key in use: after a restart this node has other keys, and recorded packets are taken again; put it back, or restart the node now",
            file.display()
        ))
    }

    fn report(&self, problem: Option<String>) {
        *self.problem.lock() = problem;
    }
}
