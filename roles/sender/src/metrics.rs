//! What the sender counts.

use std::time::Duration;

use wakumix_role_api::sender::{Answer, LoopOutcome, PushFailure};
use wakumix_telemetry::{Counter, Gauge, Histogram, Metric, Telemetry};
use wakumix_waku::lightpush::StatusCode;

/// Answered with 200.
const ANSWERED: &str = "answered";
/// Answered with any other status.
const REFUSED: &str = "refused";
/// The caller did not wait for the answer.
const CALLER_GONE: &str = "caller_gone";
/// Every value of the label `outcome`: the three above and the kinds of [`PushFailure`] that a request can have.
const OUTCOMES: [&str; 17] = [
    ANSWERED,
    REFUSED,
    CALLER_GONE,
    "pool_too_small",
    "no_exit",
    "exit_unknown",
    "too_large",
    "invalid_message",
    "busy",
    "no_reply_address",
    "no_connected_hop",
    "first_hop_failed",
    "surb_timeout",
    "bad_answer",
    "service_unreachable",
    "stopped",
    "internal",
];

/// Handles, taken once.
pub(crate) struct Metrics {
    requests: Vec<(&'static str, Counter)>,
    round_trip: Histogram,
    timeouts: Counter,
    loops_returned: Counter,
    loops_lost: Counter,
    loops_failed: Counter,
    credentials_expired: Counter,
    credentials_rejected: Counter,
    pub(crate) credentials_active: Gauge,
    pub(crate) pending: Gauge,
}

impl Metrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let loops = |outcome| telemetry.counter(Metric::LoopsTotal, &[("outcome", outcome)]);
        let requests = |outcome| (outcome, telemetry.counter(Metric::RequestsTotal, &[("outcome", outcome)]));
        Self {
            requests: OUTCOMES.into_iter().map(requests).collect(),
            round_trip: telemetry.histogram(Metric::RoundTripSeconds, &[]),
            timeouts: telemetry.counter(Metric::MixReplyTimeoutsTotal, &[]),
            loops_returned: loops("returned"),
            loops_lost: loops("lost"),
            loops_failed: loops("failed"),
            credentials_expired: telemetry.counter(Metric::MixSurbCredsExpiredTotal, &[]),
            credentials_rejected: telemetry.counter(Metric::MixSurbCredsRejectedTotal, &[]),
            credentials_active: telemetry.gauge(Metric::MixSurbCredsActive, &[]),
            pending: telemetry.gauge(Metric::RequestsPending, &[]),
        }
    }

    /// A request ended so.
    pub(crate) fn record(&self, outcome: &Result<Answer, PushFailure>) {
        self.count(match outcome {
            Ok(answer) if StatusCode(answer.status).is_success() => ANSWERED,
            Ok(_) => REFUSED,
            Err(failure) => failure.kind(),
        });
    }

    /// A request ended because its caller went away.
    pub(crate) fn record_caller_gone(&self) {
        self.count(CALLER_GONE);
    }

    /// A loop ended so.
    pub(crate) fn record_loop(&self, outcome: &Result<LoopOutcome, PushFailure>) {
        let counter = match outcome {
            Ok(LoopOutcome::Returned(_)) => &self.loops_returned,
            Ok(LoopOutcome::Lost) => &self.loops_lost,
            Err(_) => &self.loops_failed,
        };
        counter.increment(1);
    }

    /// An answer was opened.
    pub(crate) fn record_round_trip(&self, round_trip: Duration) {
        self.round_trip.record(round_trip);
    }

    /// A request with this many reply blocks was not answered in time.
    pub(crate) fn record_timeout(&self, surbs: usize) {
        self.timeouts.increment(1);
        self.credentials_expired.increment(u64::try_from(surbs).unwrap_or(u64::MAX));
    }

    /// There was no room for the credentials of a request.
    pub(crate) fn record_rejected_credentials(&self) {
        self.credentials_rejected.increment(1);
    }

    fn count(&self, outcome: &str) {
        if let Some((_, counter)) = self.requests.iter().find(|(label, _)| *label == outcome) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_is_counted() {
        let peer = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o".parse().unwrap();
        let failures = [
            PushFailure::PoolTooSmall { usable: 0, needed: 4, reason: String::new() },
            PushFailure::NoExit { topic: None },
            PushFailure::ExitUnknown(peer),
            PushFailure::TooLarge { size: 2, limit: 1 },
            PushFailure::InvalidMessage(String::new()),
            PushFailure::Busy,
            PushFailure::NoReplyAddress,
            PushFailure::NoConnectedHop,
            PushFailure::FirstHop(wakumix_role_api::host::SendFailure::QueueFull),
            PushFailure::Timeout { limit: Duration::ZERO },
            PushFailure::BadAnswer(String::new()),
            PushFailure::ServiceUnreachable,
            PushFailure::Stopped,
            PushFailure::Internal(""),
        ];
        for failure in failures {
            assert!(OUTCOMES.contains(&failure.kind()), "{}", failure.kind());
        }
    }
}
