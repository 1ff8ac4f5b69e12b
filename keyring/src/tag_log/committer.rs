//! Group commit: one thread a log writes what has gathered with one call, and tells all who wait for it.
//!
//! What arrives while a group is being written goes into the next, so the disk sets the size of the groups. With a
//! `tag_sync` of zero a group is done when it is on the disk; otherwise when it is written, which outlives the process, and
//! it is on the disk at most that time later.
//!
//! A failed write fails its group and everything behind it until a write works again: the log is tried once a second with
//! the tags that failed, so it recovers without traffic.

use std::{
    io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{LogFile, Records};
use crate::{stats::Totals, tag_set::Tag};

/// Tags that may wait for the disk, 1 MiB of them: six seconds at 10 000 packets per second, and a thousand times what a mixer
/// has under way at once. Overflow rule: the newest packets are refused.
const MAX_WAITING: usize = 65_536;
/// Tags that may be written and not synced, whatever `tag_sync` allows.
const MAX_UNSYNCED: usize = 65_536;
/// Time between two tries to write to a log that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The problem of a log whose thread is gone.
const PANICKED: &str = "the thread that writes replay tags panicked; restart the node and report this as a bug";

/// How a log is kept.
pub(crate) struct Settings {
    /// What to call the log in messages.
    pub(crate) name: String,
    /// How long a tag may be written and not synced.
    pub(crate) tag_sync: Duration,
    /// Time between two tries to write to a log that failed.
    pub(crate) retry: Duration,
    /// Counts for the ring.
    pub(crate) totals: Arc<Totals>,
}

/// What became of a group: true if its tags are kept.
type Outcome = Option<bool>;

/// Waits for a group of tags.
#[derive(Clone, Debug)]
pub(crate) struct Commit(watch::Receiver<Outcome>);

/// The thread that keeps a log. Dropping it writes and syncs what waits, and ends the thread.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Why the log cannot be written at the moment.
    problem: Mutex<Option<String>>,
    /// Length of the log.
    bytes: AtomicU64,
    waiting: AtomicU64,
}

struct Queue {
    group: Group,
    closing: bool,
}

/// Tags that are written together.
struct Group {
    tags: Vec<Tag>,
    since: Option<Instant>,
    done: watch::Sender<Outcome>,
}

struct Writer<F> {
    records: Records<F>,
    settings: Settings,
    shared: Arc<Shared>,
    /// When the log has to be synced, or tried again.
    deadline: Option<Instant>,
    failing: bool,
}

enum Work {
    Group(Group),
    Deadline,
    Close,
}

impl Settings {
    /// The settings of a log of a ring.
    pub(crate) fn new(name: String, tag_sync: Duration, totals: Arc<Totals>) -> Self {
        Self { name, tag_sync, retry: RETRY, totals }
    }
}

impl Commit {
    /// One that somebody else decides.
    #[cfg(feature = "testing")]
    pub(crate) fn decided_by(outcome: watch::Receiver<Option<bool>>) -> Self {
        Self(outcome)
    }

    /// Waits for the group; true if its tags are kept. Cancel safe: yes.
    pub(crate) async fn wait(&mut self) -> bool {
        self.0.wait_for(Option::is_some).await.is_ok_and(|outcome| *outcome == Some(true))
    }
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start<F: LogFile + 'static>(records: Records<F>, settings: Settings) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { group: Group::new(), closing: false }),
            wake: Condvar::new(),
            problem: Mutex::new(None),
            bytes: AtomicU64::new(records.len()),
            waiting: AtomicU64::new(0),
        });
        let writer = Writer { records, settings, shared: Arc::clone(&shared), deadline: None, failing: false };
        let keep = {
            let shared = Arc::clone(&shared);
            move || shared.close_if_it_panics(|| writer.run())
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "it closes the log if it panics, and the node is no longer ready"
        )]
        let thread = thread::Builder::new().name("replay-tags".to_owned()).spawn(keep)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether `tags` more tags can be taken: the log works and the queue has room.
    pub(crate) fn takes(&self, tags: usize) -> bool {
        self.problem().is_none() && self.shared.queue.lock().group.tags.len() + tags <= MAX_WAITING
    }

    /// Queues tags for the next group.
    pub(crate) fn commit(&self, tags: &[Tag]) -> Commit {
        let mut queue = self.shared.queue.lock();
        if queue.closing {
            return Commit(Group::new().done.subscribe());
        }
        queue.group.tags.extend_from_slice(tags);
        queue.group.since.get_or_insert_with(Instant::now);
        self.shared.waiting.fetch_add(tags.len() as u64, Ordering::Relaxed);
        let commit = Commit(queue.group.done.subscribe());
        drop(queue);
        self.shared.wake.notify_one();
        commit
    }

    /// Why the log cannot be written at the moment.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shared.problem.lock().clone()
    }

    /// Length of the log in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Tags that are not known to be on the disk.
    pub(crate) fn waiting(&self) -> u64 {
        self.shared.waiting.load(Ordering::Relaxed)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.shared.queue.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // The thread answers its panics; nobody waits for its result.
            let _ = thread.join();
        }
    }
}

impl Group {
    fn new() -> Self {
        Self { tags: Vec::new(), since: None, done: watch::Sender::new(None) }
    }
}

impl Shared {
    /// A log that nothing writes any more takes no tags, and says why.
    fn close_if_it_panics(&self, writes: impl FnOnce()) {
        if catch_unwind(AssertUnwindSafe(writes)).is_err() {
            *self.problem.lock() = Some(PANICKED.to_owned());
            let mut queue = self.queue.lock();
            queue.closing = true;
            queue.group = Group::new();
        }
    }

    /// Waits for tags, for the deadline, or for the end.
    fn next(&self, deadline: Option<Instant>) -> Work {
        let mut queue = self.queue.lock();
        loop {
            if !queue.group.tags.is_empty() {
                return Work::Group(mem::replace(&mut queue.group, Group::new()));
            }
            if queue.closing {
                return Work::Close;
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.wake.wait(&mut queue),
                Some(Duration::ZERO) => return Work::Deadline,
                Some(left) => drop(self.wake.wait_for(&mut queue, left)),
            };
        }
    }
}

impl<F: LogFile> Writer<F> {
    fn run(mut self) {
        loop {
            match self.shared.next(self.deadline) {
                Work::Group(group) => self.commit(&group),
                Work::Deadline => self.finish(),
                Work::Close => break,
            }
        }
        self.finish();
    }

    fn commit(&mut self, group: &Group) {
        self.records.append(&group.tags);
        let result = self.write(self.settings.tag_sync.is_zero());
        let kept = result.is_ok();
        if kept {
            self.settings.totals.committed(group.since.map_or(Duration::ZERO, |since| since.elapsed()));
        }
        self.note(result);
        group.done.send_replace(Some(kept));
        if kept && self.is_due() {
            self.finish();
        }
    }

    /// Whether what is written has to be synced now.
    fn is_due(&self) -> bool {
        self.records.unsynced() > MAX_UNSYNCED || self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Syncs what is written, and writes what failed.
    fn finish(&mut self) {
        if self.records.unsynced() > 0 {
            let result = self.write(true);
            self.note(result);
        }
    }

    fn write(&mut self, sync: bool) -> io::Result<()> {
        self.records.write()?;
        if sync {
            self.records.sync()?;
            self.settings.totals.synced();
        }
        Ok(())
    }

    /// Makes known how a write went, and when the next is due.
    fn note(&mut self, result: io::Result<()>) {
        let now = Instant::now();
        match result {
            Ok(()) => {
                if mem::take(&mut self.failing) {
                    tracing::info!(log = self.settings.name, "replay tags can be written again; packets pass");
                    *self.shared.problem.lock() = None;
                }
                let due = now.checked_add(self.settings.tag_sync).filter(|_| self.records.unsynced() > 0);
                // The deadline of the oldest tag stays while it waits.
                self.deadline = due.map(|due| self.deadline.map_or(due, |earlier| earlier.min(due)));
            }
            Err(error) => {
                self.settings.totals.failed();
                if !mem::replace(&mut self.failing, true) {
                    tracing::error!(log = self.settings.name, %error, "replay tags cannot be written; packets are refused");
                }
                let problem = format!("the replay tags of {} cannot be written: {error}", self.settings.name);
                *self.shared.problem.lock() = Some(problem);
                self.deadline = now.checked_add(self.settings.retry);
            }
        }
        self.shared.bytes.store(self.records.len(), Ordering::Relaxed);
        // Groups that came in meanwhile are counted when they are written.
        let queued = self.shared.queue.lock().group.tags.len();
        self.shared.waiting.store((self.records.unsynced() + queued) as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
