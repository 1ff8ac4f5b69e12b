//! What the relay counts.

mod catalogue;

use wakumix_role_api::{host::Verdict, metrics::Metric as SharedMetric};
use wakumix_telemetry::{Counter, Histogram, Telemetry};

use crate::policy::{GossipFault, Refusal};
use crate::service::Version;
pub use catalogue::METRICS;
use catalogue::Metric;

/// Counters of one node's relay. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Metrics {
    telemetry: Telemetry,
    message_size: Histogram,
    accepted: Counter,
    rejected: Counter,
    ignored: Counter,
    /// One for each [`GossipFault`].
    unusable: [Counter; GossipFault::NAMES.len()],
    verdicts_lost: Counter,
    v3: ServiceMetrics,
    v2: ServiceMetrics,
}

/// Counters of one lightpush version.
#[derive(Clone)]
struct ServiceMetrics {
    bytes_in: Counter,
    pushes: Counter,
    served: Counter,
    rejected: Counter,
    /// One for each [`Class`].
    responses: [Counter; Class::ALL.len()],
}

wakumix_mix::named_enum! {
    /// Outcomes that an operator treats differently.
    enum Class {
        Success = "success",
        /// The client's fault.
        Refused = "refused",
        /// Over a budget or a bound.
        Overload = "overload",
        NoPeers = "no_peers",
        /// This node's fault.
        Failure = "failure",
    }
}

impl Class {
    fn of(outcome: &Result<u32, Refusal>) -> Self {
        match outcome.as_ref().map_err(|refusal| refusal.status().0) {
            Ok(_) => Self::Success,
            Err(429) => Self::Overload,
            Err(505) => Self::NoPeers,
            Err(500) => Self::Failure,
            Err(_) => Self::Refused,
        }
    }
}

impl Metrics {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        let gossip = |verdict| telemetry.counter(SharedMetric::GossipMessagesTotal, &[("verdict", verdict)]);
        Self {
            message_size: telemetry.histogram(Metric::WakuHistogramMessageSize, &[]),
            accepted: gossip("accept"),
            rejected: gossip("reject"),
            ignored: gossip("ignore"),
            unusable: GossipFault::NAMES
                .map(|reason| telemetry.counter(Metric::GossipUnusableTotal, &[("reason", reason)])),
            verdicts_lost: telemetry.counter(Metric::WakuNodeErrorsTotal, &[("type", "gossip_verdict_lost")]),
            v3: ServiceMetrics::new(&telemetry, Version::V3, Metric::WakuLightpushV3MessagesTotal),
            v2: ServiceMetrics::new(&telemetry, Version::V2, Metric::WakuLightpushMessagesTotal),
            telemetry,
        }
    }

    /// Counts accepted messages of a topic. Only subscribed topics get a series.
    pub(crate) fn delivered(&self, topic: &str) -> Counter {
        self.telemetry.counter(Metric::WakuNodeMessagesTotal, &[("type", topic)])
    }

    /// The encoded size of an accepted message.
    pub(crate) fn message_size(&self, bytes: usize) {
        let bytes = f64::from(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.message_size.record(bytes / 1000.0);
    }

    pub(crate) fn gossip(&self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Accept => &self.accepted,
            Verdict::Reject => &self.rejected,
            Verdict::Ignore => &self.ignored,
        };
        counter.increment(1);
    }

    /// A gossip message that no local reader sees.
    pub(crate) fn unusable(&self, fault: &GossipFault) {
        if let Some(counter) = self.unusable.get(fault.index()) {
            counter.increment(1);
        }
    }

    /// A verdict that the host could not take; gossipsub forgets the message by itself.
    pub(crate) fn verdict_lost(&self) {
        self.verdicts_lost.increment(1);
    }

    /// A lightpush request within its budget.
    pub(crate) fn request(&self, version: Version, body_len: usize) {
        let service = self.service(version);
        service.pushes.increment(1);
        service.bytes_in.increment(u64::try_from(body_len).unwrap_or(u64::MAX));
    }

    /// A lightpush response.
    pub(crate) fn response(&self, version: Version, outcome: &Result<u32, Refusal>) {
        let service = self.service(version);
        let class = Class::of(outcome);
        service.responses[class as usize].increment(1);
        let state = if matches!(class, Class::Overload) { &service.rejected } else { &service.served };
        state.increment(1);
        if let Err(refusal) = outcome {
            let errors = match version {
                Version::V3 => Metric::WakuLightpushV3ErrorsTotal,
                Version::V2 => Metric::WakuLightpushErrorsTotal,
            };
            self.telemetry.counter(errors, &[("type", refusal.status().name())]).increment(1);
        }
    }

    fn service(&self, version: Version) -> &ServiceMetrics {
        match version {
            Version::V3 => &self.v3,
            Version::V2 => &self.v2,
        }
    }
}

impl ServiceMetrics {
    fn new(telemetry: &Telemetry, version: Version, pushes: Metric) -> Self {
        let service = ("service", version.protocol());
        let requests = |state| telemetry.counter(Metric::WakuServiceRequestsTotal, &[service, ("state", state)]);
        let response = |class: Class| {
            let labels = [("version", version.as_str()), ("class", class.as_str())];
            telemetry.counter(Metric::LightpushResponsesTotal, &labels)
        };
        Self {
            bytes_in: telemetry.counter(Metric::WakuServiceNetworkBytesTotal, &[service, ("direction", "in")]),
            pushes: telemetry.counter(pushes, &[("type", "PushRequest")]),
            served: requests("served"),
            rejected: requests("rejected"),
            responses: Class::ALL.map(response),
        }
    }
}
