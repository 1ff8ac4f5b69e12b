//! Takes packets out of the unwrap queue in batches and has workers open them.
//!
//! As many batches are under way as there are workers; the rest waits in the queue, whose bound is the back-pressure.
//! A batch takes what is waiting, so batches are small when there is little to do and large when there is much.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use wakumix_mix::Packet;
use wakumix_role_api::{Inbox, Receiver, Workers};

use crate::delay_queue::stop_deadline;
use crate::effects::{Effects, give_up_stopped};
use crate::metrics::UnwrapMetrics;
use crate::pipeline::Pipeline;

/// What the task is made of.
pub(crate) struct Unwrapper {
    pub(crate) queue: Inbox<Packet>,
    pub(crate) workers: Workers,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) effects: Effects,
    pub(crate) max_batch: usize,
    pub(crate) metrics: UnwrapMetrics,
}

impl Unwrapper {
    /// Runs until `stop` names a deadline, then finishes what is queued by that deadline; returns how many packets it
    /// had to give up.
    pub(crate) async fn run(self, mut stop: watch::Receiver<Option<Instant>>) -> u64 {
        let Some(mut queue) = self.queue.receiver() else {
            tracing::error!("the unwrap queue is read by somebody else; report this as a bug");
            return 0;
        };
        let mut batches = JoinSet::new();
        let stopped = stop_deadline(&mut stop);
        tokio::pin!(stopped);
        let deadline = loop {
            tokio::select! {
                biased;
                deadline = &mut stopped => break deadline,
                Some(ended) = batches.join_next() => report_panic(ended),
                Some(first) = queue.recv(), if batches.len() < self.workers.count() => {
                    batches.spawn(self.batch(first, &mut queue));
                }
            }
        };
        self.queue.close();
        let in_time = timeout_at(deadline, self.finish(&mut queue, &mut batches)).await.is_ok();
        // Batches that are still under way end by themselves: their packets find the delay queue closed.
        batches.detach_all();
        if in_time { 0 } else { give_up_rest(&mut queue) }
    }

    /// Opens everything that is queued.
    async fn finish(&self, queue: &mut Receiver<Packet>, batches: &mut JoinSet<()>) {
        while let Some(first) = queue.try_recv() {
            batches.spawn(self.batch(first, queue));
            while batches.len() >= self.workers.count()
                && let Some(ended) = batches.join_next().await
            {
                report_panic(ended);
            }
        }
        while let Some(ended) = batches.join_next().await {
            report_panic(ended);
        }
    }

    /// The work on one batch: the first packet and what else waits.
    fn batch(&self, first: Packet, queue: &mut Receiver<Packet>) -> impl Future<Output = ()> + Send + use<> {
        let mut batch = Vec::with_capacity(self.max_batch.min(1 + queue.len()));
        batch.push(first);
        while batch.len() < self.max_batch
            && let Some(packet) = queue.try_recv()
        {
            batch.push(packet);
        }
        let (workers, pipeline) = (self.workers.clone(), Arc::clone(&self.pipeline));
        let (effects, metrics) = (self.effects.clone(), self.metrics.clone());
        async move {
            metrics.batch_packets.record(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
            let job = move || {
                let started = std::time::Instant::now();
                let decisions = pipeline.process(batch);
                metrics.processing.record(started.elapsed());
                decisions
            };
            match workers.run(job).await {
                Ok(decisions) => effects.carry_out(decisions),
                Err(error) => tracing::error!(%error, "a batch of packets is lost; report this as a bug"),
            }
        }
    }
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
