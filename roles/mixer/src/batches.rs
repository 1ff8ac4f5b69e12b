//! The work on batches of received packets.
//!
//! A batch is admitted on a worker, waits without one until its replay tags are kept, and is opened on a worker, which also
//! carries out what was decided. Where tags are kept at once, in memory, all of it is one job, and the actor hands the batch
//! straight to its worker. Where they are written to disk, the batch waits with others, oldest first as the log writes them,
//! for the one task that gives it a worker again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use wakumix_mix::Packet;
use wakumix_role_api::{FreeWorker, Workers};

use crate::delay_queue::stop_deadline;
use crate::effects::Effects;
use crate::metrics::UnwrapMetrics;
use crate::pipeline::{Pending, Pipeline};

/// Batches under way, most of them waiting for their tags to be written. With batches of 32 and 20 ms for a write, which a
/// slow disk needs, they are 100 000 packets/s, more than can be admitted; they hold at most 2048 packets, 9.4 MB.
const MAX_BATCHES: u32 = 64;

/// The name of the work on a batch. Its panic loses the packets of that batch, which the ledger counts as abandoned.
const BATCH: &str = "mixer_batch";

/// What works on batches. It outlives an actor that is restarted.
pub(crate) struct Batches {
    pub(crate) workers: Workers,
    /// One permit for each batch that may be under way.
    pub(crate) under_way: Arc<Semaphore>,
    pipeline: Arc<Pipeline>,
    effects: Effects,
    metrics: UnwrapMetrics,
    /// At most [`MAX_BATCHES`], for each holds its place.
    waiting: Mutex<WaitingBatches>,
    /// Told when a batch waits that did not, or when none will any more.
    changed: Notify,
}

/// Ephemeral: batches whose tags are being written, the oldest first.
#[derive(Default)]
struct WaitingBatches {
    batches: VecDeque<Waiting>,
    is_closed: bool,
}

/// A batch whose tags are being written.
struct Waiting {
    pending: Pending,
    /// Time on a worker so far.
    spent: Duration,
    place: OwnedSemaphorePermit,
}

impl Batches {
    /// No batch yet.
    pub(crate) fn new(workers: &Workers, pipeline: Arc<Pipeline>, effects: Effects, metrics: UnwrapMetrics) -> Self {
        Self {
            workers: workers.named(BATCH),
            under_way: Arc::new(Semaphore::new(MAX_BATCHES as usize)),
            pipeline,
            effects,
            metrics,
            waiting: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Has a worker work on a batch.
    pub(crate) fn start(self: &Arc<Self>, place: OwnedSemaphorePermit, worker: FreeWorker, batch: Vec<Packet>) {
        let batches = Arc::clone(self);
        self.workers.start(worker, move || batches.work(place, batch));
    }

    /// The first job on a batch, which is the last if its tags are kept at once.
    fn work(&self, place: OwnedSemaphorePermit, batch: Vec<Packet>) {
        let started = std::time::Instant::now();
        self.metrics.batch_packets.record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        let pending = self.pipeline.admit(batch);
        if pending.is_committed() {
            self.open(pending);
            self.metrics.processing.record(started.elapsed());
        } else {
            self.wait(Waiting { pending, spent: started.elapsed(), place });
        }
    }

    fn wait(&self, waiting: Waiting) {
        let mut queue = self.waiting.lock();
        if queue.is_closed {
            drop(queue);
            return waiting.pending.give_up();
        }
        queue.batches.push_back(waiting);
        drop(queue);
        self.changed.notify_one();
    }

    /// The second job on a batch whose tags had to be written.
    fn finish(&self, waiting: Waiting) {
        let Waiting { pending, spent, place: _place } = waiting;
        let started = std::time::Instant::now();
        self.open(pending);
        self.metrics.processing.record(spent + started.elapsed());
    }

    fn open(&self, pending: Pending) {
        self.effects.carry_out(self.pipeline.dispatch(pending.into_fresh()));
    }

    /// Gives batches a worker as soon as their tags are kept, until none will wait any more. `stop` says by when the node
    /// stops, once it does.
    pub(crate) async fn follow_tags(self: Arc<Self>, mut stop: watch::Receiver<Option<Instant>>) {
        while let Some(Waiting { pending, spent, place }) = self.next_waiting().await {
            let Some(pending) = committed_in_time(pending, &mut stop).await else { continue };
            let (worker, batches) = (self.workers.free().await, Arc::clone(&self));
            self.workers.start(worker, move || batches.finish(Waiting { pending, spent, place }));
        }
    }

    async fn next_waiting(&self) -> Option<Waiting> {
        loop {
            let next = {
                let mut queue = self.waiting.lock();
                let next = queue.batches.pop_front();
                if next.is_none() && queue.is_closed {
                    return None;
                }
                next
            };
            match next {
                Some(waiting) => return Some(waiting),
                None => self.changed.notified().await,
            }
        }
    }

    /// From now on no batch waits for its tags; those that would are given up.
    pub(crate) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Waits until no batch is under way.
    pub(crate) async fn ended(self: Arc<Self>) {
        // The semaphore is never closed.
        drop(self.under_way.acquire_many(MAX_BATCHES).await);
    }
}

/// Waits until the tags of a batch are kept. A node that stops does not wait beyond its deadline: `None`, and the packets
/// are given up.
async fn committed_in_time(mut pending: Pending, stop: &mut watch::Receiver<Option<Instant>>) -> Option<Pending> {
    let deadline = async { sleep_until(stop_deadline(stop).await).await };
    tokio::select! {
        biased;
        () = pending.committed() => return Some(pending),
        () = deadline => {}
    }
    pending.give_up();
    None
}
