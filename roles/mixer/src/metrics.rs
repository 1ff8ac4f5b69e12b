//! The mixer's handles to its metrics. Packets themselves are counted by the ledger.

use std::sync::Arc;

use wakumix_telemetry::{Counter, Histogram, Metric, Telemetry};

use crate::delay_queue::DelayQueue;
use crate::loops::Loops;
use crate::pipeline::Pipeline;

/// Label of the queue of packets that wait to be unwrapped.
pub(crate) const UNWRAP_QUEUE: &str = "unwrap";
/// Label of the queue of packets that are held.
pub(crate) const DELAY_QUEUE: &str = "delay";

/// What the unwrapper records.
#[derive(Clone)]
pub(crate) struct UnwrapMetrics {
    /// Seconds in a worker, per batch.
    pub(crate) processing: Histogram,
    /// Packets per batch.
    pub(crate) batch_packets: Histogram,
}

/// What the delay queue records.
#[derive(Clone)]
pub(crate) struct DelayMetrics {
    /// Delays of the packets held.
    pub(crate) hold: Histogram,
    /// Seconds from deadline to release.
    pub(crate) lateness: Histogram,
    /// Packets refused because the queue was full.
    pub(crate) refused: Counter,
}

/// What becomes of loops. Each is sent or not; one that was sent returns or is lost.
#[derive(Clone)]
pub(crate) struct LoopMetrics {
    /// Entered and given to the host.
    pub(crate) sent: Counter,
    /// Came back in time.
    pub(crate) returned: Counter,
    /// Did not come back in time.
    pub(crate) lost: Counter,
    /// Could not be handed to its first hop.
    pub(crate) not_sent: Counter,
    /// Was due but not made: no path, no buffer, or too many on their way.
    pub(crate) skipped: Counter,
    /// Seconds from sending to return.
    pub(crate) latency: Histogram,
}

impl LoopMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let counter = |outcome| telemetry.counter(Metric::CoverLoopsTotal, &[("outcome", outcome)]);
        Self {
            sent: counter("sent"),
            returned: counter("returned"),
            lost: counter("lost"),
            not_sent: counter("not_sent"),
            skipped: counter("skipped"),
            latency: telemetry.histogram(Metric::CoverLoopSeconds, &[]),
        }
    }
}

impl UnwrapMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self {
            processing: telemetry.histogram(Metric::HopProcessingSeconds, &[]),
            batch_packets: telemetry.histogram(Metric::BatchPackets, &[]),
        }
    }
}

impl DelayMetrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self {
            hold: telemetry.histogram(Metric::HoldSeconds, &[]),
            lateness: telemetry.histogram(Metric::ReleaseLatenessSeconds, &[]),
            refused: telemetry.counter(Metric::QueueRefusedTotal, &[("queue", DELAY_QUEUE)]),
        }
    }
}

/// Shows fill and size of the bounded sets, of all keys together, and what is thought of others at each scrape.
pub(crate) fn export(telemetry: &Telemetry, queue: &DelayQueue, pipeline: &Arc<Pipeline>, loops: &Loops) {
    let weighed_down = telemetry.gauge(Metric::NodesWeighedDown, &[]);
    let depth = telemetry.gauge(Metric::QueueDepth, &[("queue", DELAY_QUEUE)]);
    telemetry.gauge(Metric::QueueCapacity, &[("queue", DELAY_QUEUE)]).set(as_gauge(queue.capacity()));
    let tags = telemetry.gauge(Metric::ReplayTags, &[]);
    let capacity = telemetry.gauge(Metric::ReplayTagsCapacity, &[]);
    let (queue, pipeline, loops) = (queue.clone(), Arc::downgrade(pipeline), loops.clone());
    telemetry.on_scrape(move |_| {
        depth.set(as_gauge(queue.len()));
        weighed_down.set(as_gauge(loops.weighed_down()));
        if let Some(pipeline) = pipeline.upgrade() {
            let keys = pipeline.keys.keys();
            tags.set(as_gauge(keys.iter().map(|key| key.tags()).sum()));
            capacity.set(as_gauge(keys.iter().map(|key| key.tag_capacity()).sum()));
        }
    });
}

/// A gauge is a float; counts beyond 2³² do not occur.
fn as_gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
