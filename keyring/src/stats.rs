//! Figures of a ring, for whoever exports them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::UnixSeconds;

/// What a ring has done and holds. Counts grow from the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Tags of the current key.
    pub tags: usize,
    /// Most tags of a key.
    pub capacity: usize,
    /// Memory of the tags of all keys that open packets, in bytes.
    pub bytes_in_memory: usize,
    /// Length of their logs, in bytes.
    pub bytes_on_disk: u64,
    /// Tags that are not known to be on the disk.
    pub waiting: u64,
    /// Groups of tags that were acknowledged.
    pub commits: u64,
    /// Syncs of a log.
    pub syncs: u64,
    /// Time from the first tag of a group until the group was acknowledged, summed over all groups.
    pub commit_time: Duration,
    /// The longest of these times.
    pub longest_commit: Duration,
    /// Logs whose torn end was cut off at the start.
    pub torn_tails: u64,
    /// Writes and syncs that failed.
    pub failures: u64,
    /// Times that a key took the place of another.
    pub rotations: u64,
    /// Keys that were given up because their tags were lost.
    pub retired: u64,
    /// When the current key became so.
    pub current_since: UnixSeconds,
    /// Until when an earlier key opens packets.
    pub overlap_until: Option<UnixSeconds>,
}

/// The counts behind [`Stats`].
#[derive(Debug, Default)]
pub(crate) struct Totals {
    commits: AtomicU64,
    syncs: AtomicU64,
    commit_nanos: AtomicU64,
    longest_nanos: AtomicU64,
    torn_tails: AtomicU64,
    failures: AtomicU64,
    rotations: AtomicU64,
    retired: AtomicU64,
}

impl Totals {
    pub(crate) fn committed(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.longest_nanos.fetch_max(nanos, Ordering::Relaxed);
    }

    pub(crate) fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn torn(&self) {
        self.torn_tails.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rotated(&self) {
        self.rotations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn retired(&self) {
        self.retired.fetch_add(1, Ordering::Relaxed);
    }

    /// The counts, in stats that are otherwise empty.
    pub(crate) fn stats(&self) -> Stats {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Stats {
            commits: of(&self.commits),
            syncs: of(&self.syncs),
            commit_time: Duration::from_nanos(of(&self.commit_nanos)),
            longest_commit: Duration::from_nanos(of(&self.longest_nanos)),
            torn_tails: of(&self.torn_tails),
            failures: of(&self.failures),
            rotations: of(&self.rotations),
            retired: of(&self.retired),
            ..Stats::default()
        }
    }
}
