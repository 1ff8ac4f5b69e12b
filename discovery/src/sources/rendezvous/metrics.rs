//! What rendezvous counts beyond what every source does.

use wakumix_telemetry::{Counter, Gauge, Telemetry};

use super::point::Outcome;
use crate::metrics::Metric;

/// Handles, taken once.
#[derive(Clone)]
pub(super) struct Metrics {
    requests: [Counter; Outcome::ALL.len()],
    registered: Gauge,
    succeeded: Counter,
    failed: Counter,
}

impl Metrics {
    pub(super) fn new(telemetry: &Telemetry) -> Self {
        let request = |outcome: Outcome| {
            let labels = [("protocol", "rendezvous"), ("outcome", outcome.as_str())];
            telemetry.counter(Metric::DiscoveryRequestsTotal, &labels)
        };
        let registration = |outcome| telemetry.counter(Metric::RendezvousRegistrationsTotal, &[("outcome", outcome)]);
        Self {
            requests: Outcome::ALL.map(request),
            registered: telemetry.gauge(Metric::RendezvousRegistered, &[]),
            succeeded: registration("registered"),
            failed: registration("failed"),
        }
    }

    /// A request of another node.
    pub(super) fn request(&self, outcome: Outcome) {
        if let Some(counter) = self.requests.get(outcome as usize) {
            counter.increment(1);
        }
    }

    /// So many registrations are held for others.
    pub(super) fn registered(&self, registrations: usize) {
        self.registered.set(u32::try_from(registrations).unwrap_or(u32::MAX));
    }

    /// This node has tried to register with a point.
    pub(super) fn registration(&self, is_registered: bool) {
        if is_registered { self.succeeded.increment(1) } else { self.failed.increment(1) }
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}
