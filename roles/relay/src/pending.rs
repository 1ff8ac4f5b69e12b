//! Requests in progress: their bound, and the count that a stop reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds requests in progress and counts what becomes of them. Clones share it; it outlives the actor.
#[derive(Clone)]
pub(crate) struct InFlight {
    permits: Arc<Semaphore>,
    max: usize,
    tally: Arc<Tally>,
}

/// Requests since the start, by how they ended.
#[derive(Default)]
struct Tally {
    begun: AtomicU64,
    answered: AtomicU64,
    /// Dropped before an answer, for instance with the tasks of an actor that panicked.
    lost: AtomicU64,
}

/// One request in progress. Dropped without [`answered`](Self::answered), it counts as lost.
pub(crate) struct Pending {
    tally: Arc<Tally>,
    answered: bool,
    _permit: OwnedSemaphorePermit,
}

/// The counts at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) answered: u64,
    pub(crate) lost: u64,
    /// Neither answered nor lost yet.
    pub(crate) open: u64,
}

impl InFlight {
    pub(crate) fn new(max: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(max)), max, tally: Arc::default() }
    }

    /// Begins a request; `None` when as many as allowed are in progress.
    pub(crate) fn begin(&self) -> Option<Pending> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        self.tally.begun.fetch_add(1, Ordering::Relaxed);
        Some(Pending { tally: Arc::clone(&self.tally), answered: false, _permit: permit })
    }

    /// Waits until no request is in progress.
    pub(crate) async fn idle(self) {
        let all = u32::try_from(self.max).unwrap_or(u32::MAX);
        // An error would mean that the semaphore was closed, which nobody does.
        drop(self.permits.acquire_many(all).await);
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        // Ends first: one that falls between the reads must not make the difference negative.
        let answered = self.tally.answered.load(Ordering::Relaxed);
        let lost = self.tally.lost.load(Ordering::Relaxed);
        let open = self.tally.begun.load(Ordering::Relaxed).saturating_sub(answered + lost);
        Snapshot { answered, lost, open }
    }
}

impl Pending {
    /// The request has its answer.
    pub(crate) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let end = if self.answered { &self.tally.answered } else { &self.tally.lost };
        end.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_answers_losses_and_what_is_open() {
        let in_flight = InFlight::new(2);
        let first = in_flight.begin().unwrap();
        let second = in_flight.begin().unwrap();
        assert!(in_flight.begin().is_none(), "two are the bound");
        assert_eq!(in_flight.snapshot().open, 2);
        first.answered();
        drop(second);
        let Snapshot { answered, lost, open } = in_flight.snapshot();
        assert_eq!((answered, lost, open), (1, 1, 0));
        in_flight.idle().await;
    }
}
