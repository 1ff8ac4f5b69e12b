//! How many requests were taken and how many have ended, for the report of a stop.

use std::sync::atomic::{AtomicU64, Ordering};

/// Two counts since the start.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    taken: AtomicU64,
    finished: AtomicU64,
}

impl Tally {
    /// A request was taken.
    pub(crate) fn take(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended.
    pub(crate) fn finish(&self) {
        self.finished.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that have ended.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// Requests that have not.
    pub(crate) fn open(&self) -> u64 {
        self.taken.load(Ordering::Relaxed).saturating_sub(self.finished())
    }
}
