//! What the sender counts.

mod catalogue;

use std::time::Duration;

use wakumix_client::{
    ClientError, Exposure, LoopOutcome,
    lightpush::{Answer, PushFailure},
};
use wakumix_telemetry::{Counter, Gauge, Histogram, Telemetry};

pub use catalogue::METRICS;
use catalogue::Metric;

/// The caller did not wait for the answer.
const CALLER_GONE: &str = "caller_gone";
/// Every value of the label `outcome`: the kinds of an [`Answer`], the one above and the kinds of [`PushFailure`] that a
/// request can have.
const OUTCOMES: [&str; 28] = [
    "confirmed",
    "published_unconfirmed",
    "refused",
    CALLER_GONE,
    "pool_too_small",
    "no_exit",
    "exit_unknown",
    "too_large",
    "invalid_message",
    "busy",
    "no_reply_address",
    "no_connected_hop",
    "no_guard",
    "too_few_subnets",
    "first_hop_failed",
    "deadline",
    "no_replies",
    "unconfirmed",
    "bad_answer",
    "service_unreachable",
    "exit_refused",
    "direct_not_allowed",
    "no_service",
    "dial_failed",
    "unsupported",
    "stream_failed",
    "stopped",
    "internal",
];

/// Handles, taken once.
pub(crate) struct Metrics {
    requests: Vec<(&'static str, Counter)>,
    round_trip: Histogram,
    timeouts: Counter,
    packets: Counter,
    /// To guards, to exits, by reply paths.
    exposure: [Counter; 3],
    tries_answered: Counter,
    tries_refused: Counter,
    tries_silent: Counter,
    tries_not_left: Counter,
    direct_asked: Counter,
    direct_fallback: Counter,
    loops_returned: Counter,
    loops_lost: Counter,
    loops_failed: Counter,
    credentials_expired: Counter,
    credentials_rejected: Counter,
    credentials_active: Gauge,
    pub(crate) pending: Gauge,
    pub(crate) window: Gauge,
    pub(crate) loss: Gauge,
}

impl Metrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let loops = |outcome| telemetry.counter(Metric::LoopsTotal, &[("outcome", outcome)]);
        let tries = |outcome| telemetry.counter(Metric::TriesTotal, &[("outcome", outcome)]);
        let direct = |reason| telemetry.counter(Metric::DirectPushesTotal, &[("reason", reason)]);
        let requests = |outcome| (outcome, telemetry.counter(Metric::RequestsTotal, &[("outcome", outcome)]));
        Self {
            requests: OUTCOMES.into_iter().map(requests).collect(),
            round_trip: telemetry.histogram(Metric::RoundTripSeconds, &[]),
            timeouts: telemetry.counter(Metric::MixReplyTimeoutsTotal, &[]),
            packets: telemetry.counter(Metric::RequestPacketsTotal, &[]),
            exposure: ["guards", "exits", "reply_paths"]
                .map(|to| telemetry.counter(Metric::RequestExposureTotal, &[("to", to)])),
            tries_answered: tries("answered"),
            tries_refused: tries("refused"),
            tries_silent: tries("silent"),
            tries_not_left: tries("not_left"),
            direct_asked: direct("asked"),
            direct_fallback: direct("fallback"),
            loops_returned: loops("returned"),
            loops_lost: loops("lost"),
            loops_failed: loops("failed"),
            credentials_expired: telemetry.counter(Metric::MixSurbCredsExpiredTotal, &[]),
            credentials_rejected: telemetry.counter(Metric::MixSurbCredsRejectedTotal, &[]),
            credentials_active: telemetry.gauge(Metric::MixSurbCredsActive, &[]),
            pending: telemetry.gauge(Metric::RequestsPending, &[]),
            window: telemetry.gauge(Metric::SendWindow, &[]),
            loss: telemetry.gauge(Metric::TryLossRatio, &[]),
        }
    }

    /// A request ended so.
    pub(crate) fn record(&self, outcome: &Result<Answer, PushFailure>) {
        self.count(match outcome {
            Ok(answer) => answer.kind(),
            Err(failure) => failure.kind(),
        });
    }

    /// A request ended because its caller went away.
    pub(crate) fn record_caller_gone(&self) {
        self.count(CALLER_GONE);
    }

    /// A loop ended so.
    pub(crate) fn record_loop(&self, outcome: &Result<LoopOutcome, ClientError>) {
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
    pub(crate) fn record_deadline(&self, reply_blocks: usize) {
        self.timeouts.increment(1);
        self.credentials_expired.increment(u64::try_from(reply_blocks).unwrap_or(u64::MAX));
    }

    /// A request ended that was exposed so often.
    pub(crate) fn record_exposure(&self, exposure: Exposure) {
        let Exposure { guards, exits, packets, reply_paths } = exposure;
        self.packets.increment(packets.into());
        for (counter, count) in self.exposure.iter().zip([guards, exits, reply_paths]) {
            counter.increment(count.into());
        }
    }

    /// A try was answered.
    pub(crate) fn record_answer(&self, is_done: bool) {
        let counter = if is_done { &self.tries_answered } else { &self.tries_refused };
        counter.increment(1);
    }

    /// A try timed out.
    pub(crate) fn record_timeout(&self) {
        self.tries_silent.increment(1);
    }

    /// A try did not get past its first hop.
    pub(crate) fn record_not_left(&self) {
        self.tries_not_left.increment(1);
    }

    /// A message goes directly: as it was asked for, or because the mixnet cannot be used.
    pub(crate) fn record_direct(&self, is_fallback: bool) {
        if is_fallback { &self.direct_fallback } else { &self.direct_asked }.increment(1);
    }

    /// There was no room for the credentials of a request.
    pub(crate) fn record_rejected_credentials(&self) {
        self.credentials_rejected.increment(1);
    }

    /// So many credentials are held.
    pub(crate) fn show_credentials(&self, credentials: usize) {
        self.credentials_active.set(u32::try_from(credentials).unwrap_or(u32::MAX));
    }

    fn count(&self, outcome: &str) {
        if let Some((_, counter)) = self.requests.iter().find(|(label, _)| *label == outcome) {
            counter.increment(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use wakumix_client::{PoolCounts, SendFailure, ServiceKind, lightpush::DirectFailure};
    use wakumix_mix::ExitStatus;
    use wakumix_sphinx::WireFormat;
    use wakumix_waku::lightpush::AnswerError;

    use super::*;

    #[test]
    fn every_kind_of_failure_is_counted() {
        let peer = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o".parse().unwrap();
        let failures = [
            ClientError::PoolTooSmall { usable: 0, needed: 4, others: PoolCounts::default() },
            ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None },
            ClientError::ExitUnknown(peer),
            ClientError::TooLarge { size: 2, limit: 1 },
            ClientError::PayloadTooLarge { size: 2, limit: 1 },
            ClientError::Busy,
            ClientError::NoReplyAddress,
            ClientError::NoConnectedHop,
            ClientError::NoGuard { sampled: 6 },
            ClientError::TooFewSubnets { found: 1, needed: 3 },
            ClientError::NotYetDirect { problem: Box::new(ClientError::NoConnectedHop), left: Duration::ZERO },
            ClientError::FirstHop(SendFailure::QueueFull),
            ClientError::Deadline { limit: Duration::ZERO, tries: 1 },
            ClientError::NoReplies {
                limit: Duration::ZERO,
                tries: 1,
                silent: 12,
                address: None,
                wire: WireFormat::default(),
            },
            ClientError::Unsound,
            ClientError::Stopped,
            ClientError::Internal(""),
        ];
        let of_push = [
            PushFailure::InvalidMessage(String::new()),
            PushFailure::BadAnswer(AnswerError::Truncated),
            PushFailure::ServiceUnreachable,
            PushFailure::ExitRefused { status: 503, reason: ExitStatus::Busy },
            PushFailure::DirectNotAllowed,
            PushFailure::NoService,
            PushFailure::Service(DirectFailure::DialFailed),
            PushFailure::Service(DirectFailure::Unsupported),
            PushFailure::Service(DirectFailure::Stream(String::new())),
        ];
        for failure in failures.map(PushFailure::from).into_iter().chain(of_push) {
            assert!(OUTCOMES.contains(&failure.kind()), "{}", failure.kind());
        }
    }
}
