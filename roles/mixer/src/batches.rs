//! The work on a batch of received packets.
//!
//! A batch is admitted on a worker, waits without one until its replay tags are kept, and is opened on a worker, which also
//! carries out what was decided. Where tags are kept at once, in memory, both halves are one job.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use wakumix_mix::Packet;
use wakumix_role_api::{WorkerPanicked, Workers};

use crate::delay_queue::stop_deadline;
use crate::effects::Effects;
use crate::metrics::UnwrapMetrics;
use crate::pipeline::{Pending, Pipeline};

/// What works on a batch. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Batches {
    pub(crate) workers: Workers,
    /// As many permits as there are workers: held by a batch that is being admitted.
    pub(crate) admissions: Arc<Semaphore>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) effects: Effects,
    pub(crate) metrics: UnwrapMetrics,
    /// By when the node stops, once it does.
    pub(crate) stop: watch::Receiver<Option<Instant>>,
}

/// How far a batch has come after its first job.
enum Step {
    /// Its tags are kept, and it is opened.
    Opened,
    /// Its tags are being written.
    Pending(Pending),
}

impl Batches {
    /// Works on one batch.
    pub(crate) async fn work(self, admission: Option<OwnedSemaphorePermit>, batch: Vec<Packet>) {
        self.metrics.batch_packets.record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
        let admitted = self.run(move |batches| batches.admit(batch)).await;
        drop(admission);
        let opened = match admitted {
            Ok((Step::Opened, spent)) => Ok(spent),
            Ok((Step::Pending(pending), spent)) => {
                let Some(pending) = committed_in_time(pending, self.stop.clone()).await else { return };
                let opened = self.run(move |batches| batches.open(pending)).await;
                opened.map(|((), more)| spent + more)
            }
            Err(error) => Err(error),
        };
        match opened {
            Ok(spent) => self.metrics.processing.record(spent),
            Err(error) => tracing::error!(%error, "a batch of packets is lost; report this as a bug"),
        }
    }

    /// Runs a job on a worker and says how long it took there.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<(T, Duration), WorkerPanicked> {
        let batches = self.clone();
        let timed = move || {
            let started = std::time::Instant::now();
            let done = job(&batches);
            (done, started.elapsed())
        };
        self.workers.run(timed).await
    }

    /// The first job on a batch, which is the last if its tags are kept at once.
    fn admit(&self, batch: Vec<Packet>) -> Step {
        let mut pending = self.pipeline.admit(batch);
        match pending.committed().now_or_never() {
            Some(()) => {
                self.open(pending);
                Step::Opened
            }
            None => Step::Pending(pending),
        }
    }

    fn open(&self, pending: Pending) {
        self.effects.carry_out(self.pipeline.dispatch(pending.into_fresh()));
    }
}

/// Waits until the tags of a batch are kept. A node that stops does not wait beyond its deadline: `None`, and the packets
/// are given up.
async fn committed_in_time(mut pending: Pending, mut stop: watch::Receiver<Option<Instant>>) -> Option<Pending> {
    let deadline = async { sleep_until(stop_deadline(&mut stop).await).await };
    tokio::select! {
        biased;
        () = pending.committed() => return Some(pending),
        () = deadline => {}
    }
    pending.give_up();
    None
}
