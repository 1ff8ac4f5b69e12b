//! One key and its tags.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use wakumix_mix::ReplayError;
use wakumix_sphinx::{PrivateKey, PublicKey, ReplayTag};

use crate::{
    directory::Directory,
    tag_log::{Commit, Committer},
    tag_set::{Tag, TagSet, kept},
};

/// A mix key with the replay tags of the packets that it has opened.
///
/// Whoever holds one can open packets with it also after the ring has erased it, so hold it only as long as a batch takes.
/// The secret is wiped from memory with the last holder.
pub struct MixKey {
    private: PrivateKey,
    public: PublicKey,
    tags: Mutex<TagSet>,
    log: Option<Log>,
    /// What tags in memory wait for.
    #[cfg(feature = "testing")]
    gate: Option<Commit>,
}

/// The log of a key; it ends before the directory is unlocked.
struct Log {
    committer: Committer,
    _directory: Arc<Directory>,
}

/// Tags that were looked at together.
#[derive(Debug)]
pub struct Admitted {
    /// For each tag in order whether its packet is new.
    pub verdicts: Vec<Result<(), ReplayError>>,
    keeping: Keeping,
}

/// What becomes of the new tags.
#[derive(Debug)]
enum Keeping {
    /// Nothing is to be done.
    Kept,
    /// They are on their way to the log.
    OnTheWay(Commit),
    /// The log does not take them.
    Refused,
}

/// The tags of new packets could not be kept; the packets must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncommitted;

impl MixKey {
    pub(crate) fn in_memory(private: PrivateKey, tags: usize) -> Self {
        Self::new(private, TagSet::new(tags), None)
    }

    /// A key in memory whose tags are kept when a test says so.
    #[cfg(feature = "testing")]
    pub(crate) fn gated(private: PrivateKey, tags: usize, gate: Commit) -> Self {
        Self { gate: Some(gate), ..Self::in_memory(private, tags) }
    }

    pub(crate) fn durable(private: PrivateKey, tags: TagSet, committer: Committer, directory: Arc<Directory>) -> Self {
        Self::new(private, tags, Some(Log { committer, _directory: directory }))
    }

    fn new(private: PrivateKey, tags: TagSet, log: Option<Log>) -> Self {
        Self {
            public: private.public(),
            private,
            tags: Mutex::new(tags),
            log,
            #[cfg(feature = "testing")]
            gate: None,
        }
    }

    /// The private half.
    #[must_use]
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Remembers the tags of packets whose MAC is good. Of equal tags the first is new.
    ///
    /// Tags whose commit fails stay remembered, so a packet that was dropped for a failing disk is not taken when it comes
    /// again. While the log is known to fail, tags are looked up and not remembered: nothing grows.
    #[must_use]
    pub fn admit(&self, tags: impl IntoIterator<Item = ReplayTag>) -> Admitted {
        let tags = tags.into_iter().map(|tag| kept(&tag));
        let Some(log) = &self.log else {
            let mut seen = self.tags.lock();
            let verdicts = tags.map(|tag| seen.insert(&tag)).collect();
            return Admitted { verdicts, keeping: self.in_memory_keeping() };
        };
        let tags: Vec<Tag> = tags.collect();
        // Held until the new tags are queued: the room that was seen is still there.
        let mut seen = self.tags.lock();
        if log.committer.takes(tags.len()) { admit(&mut seen, &tags, &log.committer) } else { refuse(&seen, &tags) }
    }

    /// Tags remembered.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.tags.lock().len()
    }

    /// Tags for which there is room.
    #[must_use]
    pub fn tag_capacity(&self) -> usize {
        self.tags.lock().capacity()
    }

    /// Memory of the tags in bytes.
    pub(crate) fn bytes_in_memory(&self) -> usize {
        self.tags.lock().bytes()
    }

    /// The log, if tags outlive the process.
    pub(crate) fn log(&self) -> Option<&Committer> {
        self.log.as_ref().map(|log| &log.committer)
    }

    /// Forgets the tags in memory.
    pub(crate) fn forget(&self) {
        self.tags.lock().clear();
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::unused_self, reason = "the key decides in a test")]
    fn in_memory_keeping(&self) -> Keeping {
        Keeping::Kept
    }

    #[cfg(feature = "testing")]
    fn in_memory_keeping(&self) -> Keeping {
        self.gate.clone().map_or(Keeping::Kept, Keeping::OnTheWay)
    }
}

impl Admitted {
    /// Waits until the new tags are kept as durably as the ring promises. Only then may anything be done with their packets.
    ///
    /// # Errors
    /// [`Uncommitted`].
    ///
    /// Cancel safe: yes; the tags stay remembered.
    pub async fn committed(&mut self) -> Result<(), Uncommitted> {
        let kept = match &mut self.keeping {
            Keeping::Kept => true,
            Keeping::OnTheWay(commit) => commit.wait().await,
            Keeping::Refused => false,
        };
        if kept { Ok(()) } else { Err(Uncommitted) }
    }
}

impl fmt::Debug for MixKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MixKey({})", self.public())
    }
}

fn admit(seen: &mut TagSet, tags: &[Tag], log: &Committer) -> Admitted {
    let mut new = Vec::with_capacity(tags.len());
    let verdict = |tag: &Tag| seen.insert(tag).inspect(|()| new.push(*tag));
    let verdicts = tags.iter().map(verdict).collect();
    let keeping = if new.is_empty() { Keeping::Kept } else { Keeping::OnTheWay(log.commit(&new)) };
    Admitted { verdicts, keeping }
}

fn refuse(seen: &TagSet, tags: &[Tag]) -> Admitted {
    let verdict = |tag| if seen.contains(tag) { Err(ReplayError::Duplicate) } else { Ok(()) };
    Admitted { verdicts: tags.iter().map(verdict).collect(), keeping: Keeping::Refused }
}
