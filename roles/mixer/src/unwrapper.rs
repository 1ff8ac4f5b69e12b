//! Takes packets out of the unwrap queue in batches and has workers open them.
//!
//! A batch is admitted on a worker, waits without one until its replay tags are kept, and is opened on a worker. Where tags
//! are kept at once, in memory, both halves are one job. As many batches are being admitted as there are workers; the rest
//! waits in the queue, whose bound is the back-pressure. A batch takes what is waiting, so batches are small when there is
//! little to do and large when there is much.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use wakumix_mix::{Packet, admission::Pressure};
use wakumix_role_api::{Inbox, Receiver, WorkerPanicked, Workers};

use crate::admit::Pending;
use crate::delay_queue::stop_deadline;
use crate::effects::{Effects, give_up_stopped};
use crate::metrics::UnwrapMetrics;
use crate::pipeline::{Decisions, Pipeline};

/// Batches under way, most of them waiting for their tags to be written. With batches of 32 and 20 ms for a write, which a
/// slow disk needs, they are 100 000 packets/s, more than can be admitted; they hold at most 2048 packets, 9.4 MB.
const MAX_BATCHES: usize = 64;

/// Quarters of the queue that may be full before packets count as piling up. The last one takes what comes until the host
/// has heard of it, and bursts that end by themselves.
const PILED_UP: usize = 3;

/// What the task is made of.
pub(crate) struct Unwrapper {
    pub(crate) queue: Inbox<Packet>,
    pub(crate) batches: Batches,
    pub(crate) max_batch: usize,
    /// Raised when more than [`PILED_UP`] of the queue is full.
    pub(crate) pressure: Arc<Pressure>,
    pub(crate) max_waiting: usize,
}

/// What works on a batch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Batches {
    pub(crate) workers: Workers,
    /// As many permits as there are workers: held by a batch that is being admitted.
    pub(crate) admissions: Arc<Semaphore>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) effects: Effects,
    pub(crate) metrics: UnwrapMetrics,
}

/// How far a batch has come after its first job.
enum Step {
    /// Its tags are kept, and it is decided about.
    Decided(Decisions),
    /// Its tags are being written.
    Pending(Pending),
}

/// By when the node stops, once it does.
type Stop = watch::Receiver<Option<Instant>>;

impl Unwrapper {
    /// Runs until `stop` names a deadline, then finishes what is queued by that deadline; returns how many packets it
    /// had to give up unopened.
    pub(crate) async fn run(self, stop: Stop) -> u64 {
        let Some(mut queue) = self.queue.receiver() else {
            tracing::error!("the unwrap queue is read by somebody else; report this as a bug");
            return 0;
        };
        let mut under_way = JoinSet::new();
        let mut stopping = stop.clone();
        let stopped = stop_deadline(&mut stopping);
        tokio::pin!(stopped);
        let deadline = loop {
            tokio::select! {
                biased;
                deadline = &mut stopped => break deadline,
                Some(ended) = under_way.join_next() => report_panic(ended),
                Some((slot, first)) = self.next(&mut queue), if under_way.len() < MAX_BATCHES => {
                    under_way.spawn(self.batches.clone().work(slot, self.batch(first, &mut queue), stop.clone()));
                }
            }
        };
        self.queue.close();
        let in_time = timeout_at(deadline, self.finish(&mut queue, &mut under_way, &stop)).await.is_ok();
        // Batches that are still under way end by themselves: they stop waiting, or find the delay queue closed.
        under_way.detach_all();
        if in_time { 0 } else { give_up_rest(&mut queue) }
    }

    /// The next packet, once it can be admitted.
    ///
    /// Cancel safe: yes; the packet is taken last.
    async fn next(&self, queue: &mut Receiver<Packet>) -> Option<(OwnedSemaphorePermit, Packet)> {
        let slot = Arc::clone(&self.batches.admissions).acquire_owned().await.ok()?;
        Some((slot, queue.recv().await?))
    }

    /// Opens everything that is queued.
    async fn finish(&self, queue: &mut Receiver<Packet>, under_way: &mut JoinSet<()>, stop: &Stop) {
        while let Ok(slot) = Arc::clone(&self.batches.admissions).acquire_owned().await
            && let Some(first) = queue.try_recv()
        {
            under_way.spawn(self.batches.clone().work(slot, self.batch(first, queue), stop.clone()));
            while under_way.len() >= MAX_BATCHES
                && let Some(ended) = under_way.join_next().await
            {
                report_panic(ended);
            }
        }
        while let Some(ended) = under_way.join_next().await {
            report_panic(ended);
        }
    }

    /// The first packet and what else waits.
    fn batch(&self, first: Packet, queue: &mut Receiver<Packet>) -> Vec<Packet> {
        if queue.len() > self.max_waiting * PILED_UP / 4 {
            self.pressure.raise();
        }
        let mut batch = Vec::with_capacity(self.max_batch.min(1 + queue.len()));
        batch.push(first);
        while batch.len() < self.max_batch
            && let Some(packet) = queue.try_recv()
        {
            batch.push(packet);
        }
        self.batches.metrics.batch_packets.record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        batch
    }
}

impl Batches {
    /// The work on one batch.
    async fn work(self, slot: OwnedSemaphorePermit, batch: Vec<Packet>, stop: Stop) {
        let admitted = self.run(move |pipeline| admit(pipeline, batch)).await;
        drop(slot);
        let decided = match admitted {
            Ok((Step::Decided(decisions), spent)) => Ok((decisions, spent)),
            Ok((Step::Pending(pending), spent)) => {
                let Some(pending) = committed_in_time(pending, stop).await else { return };
                let opened = self.run(move |pipeline| pipeline.dispatch(pending.into_fresh())).await;
                opened.map(|(decisions, more)| (decisions, spent + more))
            }
            Err(error) => Err(error),
        };
        match decided {
            Ok((decisions, spent)) => {
                self.metrics.processing.record(spent);
                self.effects.carry_out(decisions);
            }
            Err(error) => tracing::error!(%error, "a batch of packets is lost; report this as a bug"),
        }
    }

    /// Runs a job on a worker and says how long it took there.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Pipeline) -> T + Send + 'static,
    ) -> Result<(T, Duration), WorkerPanicked> {
        let pipeline = Arc::clone(&self.pipeline);
        let timed = move || {
            let started = std::time::Instant::now();
            let done = job(&pipeline);
            (done, started.elapsed())
        };
        self.workers.run(timed).await
    }
}

/// The first job on a batch, which is the last if its tags are kept at once.
fn admit(pipeline: &Pipeline, batch: Vec<Packet>) -> Step {
    let mut pending = pipeline.admit(batch);
    match pending.committed().now_or_never() {
        Some(()) => Step::Decided(pipeline.dispatch(pending.into_fresh())),
        None => Step::Pending(pending),
    }
}

/// Waits until the tags of a batch are kept. A node that stops does not wait beyond its deadline: `None`, and the packets
/// are given up.
async fn committed_in_time(mut pending: Pending, mut stop: Stop) -> Option<Pending> {
    let deadline = async { sleep_until(stop_deadline(&mut stop).await).await };
    tokio::select! {
        biased;
        () = pending.committed() => return Some(pending),
        () = deadline => {}
    }
    pending.give_up();
    None
}

fn give_up_rest(queue: &mut Receiver<Packet>) -> u64 {
    let mut given_up = 0;
    while let Some(packet) = queue.try_recv() {
        give_up_stopped(packet);
        given_up += 1;
    }
    given_up
}

fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a batch of packets is lost; report this as a bug");
    }
}
