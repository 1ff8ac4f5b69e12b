//! What the sender's tasks share: ways to the rest of the node, and the count of what is at work.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::watch, time::Instant};
use wakumix_mix::Ledger;
use wakumix_role_api::{DirectoryReader, Formats, LocalNode, Workers, mixer::MixerHandle, sender::PlainPush};

use crate::{metrics::Metrics, watch::Watchlist};

/// All of it is derivable but the count, which outlives a panic: its guards come back by themselves.
#[derive(Clone)]
pub(crate) struct Shell {
    pub(crate) node: LocalNode,
    pub(crate) directory: DirectoryReader,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) formats: Formats,
    pub(crate) workers: Workers,
    pub(crate) mixer: MixerHandle,
    pub(crate) plain: PlainPush,
    pub(crate) watchlist: Arc<Watchlist>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) work: Arc<Work>,
    pub(crate) silence: Arc<Silence>,
    /// What the client's times count from; the same for all roles.
    pub(crate) epoch: Instant,
}

impl Shell {
    /// The client's time.
    pub(crate) fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.epoch)
    }
}

/// How long a silence counts that no further try has confirmed: a node that nobody asks for as long as it is not ready must be
/// ready again some time.
const SILENCE_COUNTS: Duration = Duration::from_secs(60);

/// Whether tries have gone without answer for long, as readiness tells it. Bound: one entry.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Option<(u32, Instant)>>);

impl Silence {
    /// So many tries were not answered; `None` while that may be chance.
    pub(crate) fn note(&self, tries: Option<u32>) {
        let mut noted = self.0.lock();
        if noted.map(|(tries, _)| tries) != tries {
            *noted = tries.map(|tries| (tries, Instant::now()));
        }
    }

    /// So many, if the last of them is not long ago.
    pub(crate) fn recent(&self) -> Option<u32> {
        let (tries, since) = (*self.0.lock())?;
        (since.elapsed() < SILENCE_COUNTS).then_some(tries)
    }
}

/// Counts callers that wait, and says when there are none.
#[derive(Debug)]
pub(crate) struct Work(watch::Sender<WorkCount>);

#[derive(Clone, Copy, Debug, Default)]
struct WorkCount {
    requests: usize,
    is_closed: bool,
}

/// One caller; dropping it ends its wait.
pub(crate) struct WorkGuard(Arc<Work>);

impl Work {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(WorkCount::default())))
    }

    /// A caller waits.
    pub(crate) fn request(self: &Arc<Self>) -> WorkGuard {
        self.0.send_modify(|count| count.requests += 1);
        WorkGuard(Arc::clone(self))
    }

    /// Callers that wait.
    pub(crate) fn requests(&self) -> usize {
        self.0.borrow().requests
    }

    /// Takes no more requests; those under way may still be answered.
    pub(crate) fn close(&self) {
        self.0.send_modify(|count| count.is_closed = true);
    }

    /// Whether no more requests are taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.borrow().is_closed
    }

    /// Waits until nothing is at work.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn idle(&self) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|count| count.requests == 0).await;
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| count.requests = count.requests.saturating_sub(1));
    }
}
