//! What the exit counts.

use wakumix_telemetry::{Counter, Metric, Telemetry};

use crate::policy::Refusal;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The service took it, and answered where an answer was wanted.
    Served,
    /// The service had no answer, or a broken one.
    NoAnswer,
    /// The service took too long.
    TimedOut,
    /// The service, or the host, was overloaded or stopped.
    Busy,
    /// The service elsewhere could not be reached.
    Unreachable,
    /// The policy refused it.
    Refused(Refusal),
    /// It has no frame.
    Malformed,
    /// Too many requests were at work.
    Overloaded,
}

impl RequestOutcome {
    const ALL: [Self; 12] = [
        Self::Served,
        Self::NoAnswer,
        Self::TimedOut,
        Self::Busy,
        Self::Unreachable,
        Self::Refused(Refusal::Codec),
        Self::Refused(Refusal::NoService),
        Self::Refused(Refusal::NotForwarding),
        Self::Refused(Refusal::InvalidDestination),
        Self::Refused(Refusal::Address),
        Self::Malformed,
        Self::Overloaded,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::NoAnswer => "no_answer",
            Self::TimedOut => "timed_out",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
            Self::Refused(Refusal::Codec) => "codec_refused",
            Self::Refused(Refusal::NoService) => "no_service",
            Self::Refused(Refusal::NotForwarding) => "not_forwarding",
            Self::Refused(Refusal::InvalidDestination) => "invalid_destination",
            Self::Refused(Refusal::Address) => "address_refused",
            Self::Malformed => "malformed",
            Self::Overloaded => "overloaded",
        }
    }
}

/// How a reply, one for each reply block, ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyOutcome {
    /// Handed to the mixer with an answer.
    Sent,
    /// Handed to the mixer without an answer in it.
    SentEmpty,
    /// The answer does not fit one packet; nothing was sent.
    TooLong,
    /// The reply block's first hop is no address, or this node.
    InvalidHop,
    /// No packet buffer was free.
    NoBuffer,
    /// The mixer's queue was full, or it had stopped.
    MixerRefused,
    /// It could not be built: a defect.
    Failed,
}

impl ReplyOutcome {
    const ALL: [Self; 7] = [
        Self::Sent,
        Self::SentEmpty,
        Self::TooLong,
        Self::InvalidHop,
        Self::NoBuffer,
        Self::MixerRefused,
        Self::Failed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::SentEmpty => "sent_empty",
            Self::TooLong => "too_long",
            Self::InvalidHop => "invalid_hop",
            Self::NoBuffer => "no_buffer",
            Self::MixerRefused => "mixer_refused",
            Self::Failed => "failed",
        }
    }
}

/// Handles, taken once.
pub(crate) struct Metrics {
    requests: Vec<(RequestOutcome, Counter)>,
    replies: Vec<(ReplyOutcome, Counter)>,
}

impl Metrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let request = |outcome: RequestOutcome| {
            (outcome, telemetry.counter(Metric::ExitRequestsTotal, &[("outcome", outcome.as_str())]))
        };
        let reply = |outcome: ReplyOutcome| {
            (outcome, telemetry.counter(Metric::ExitRepliesTotal, &[("outcome", outcome.as_str())]))
        };
        Self {
            requests: RequestOutcome::ALL.into_iter().map(request).collect(),
            replies: ReplyOutcome::ALL.into_iter().map(reply).collect(),
        }
    }

    /// A request ended so.
    pub(crate) fn record_request(&self, outcome: RequestOutcome) {
        increment(&self.requests, outcome, 1);
    }

    /// That many replies ended so.
    pub(crate) fn record_replies(&self, outcome: ReplyOutcome, count: usize) {
        increment(&self.replies, outcome, u64::try_from(count).unwrap_or(u64::MAX));
    }
}

fn increment<T: PartialEq + Copy>(counters: &[(T, Counter)], outcome: T, by: u64) {
    if let Some((_, counter)) = counters.iter().find(|(counted, _)| *counted == outcome) {
        counter.increment(by);
    }
}
