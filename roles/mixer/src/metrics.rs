//! The mixer's handles to its metrics. Packets themselves are counted by the ledger.

mod catalogue;

use wakumix_role_api::metrics::Metric as SharedMetric;
use wakumix_telemetry::{Counter, Histogram, Telemetry};

pub use catalogue::METRICS;
pub(crate) use catalogue::Metric;

/// Label of the queue of packets that are held.
pub(crate) const DELAY_QUEUE: &str = "delay";

/// What the work on batches records.
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
            refused: telemetry.counter(SharedMetric::QueueRefusedTotal, &[("queue", DELAY_QUEUE)]),
        }
    }
}
