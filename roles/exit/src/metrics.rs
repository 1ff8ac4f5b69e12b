//! What the exit counts.

mod catalogue;

use wakumix_mix::{ExitStatus, fragment::SetRefusal};
use wakumix_telemetry::{Counter, Gauge, Telemetry};

pub use catalogue::METRICS;
use catalogue::Metric;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The service took it, and answered where an answer was wanted.
    Served,
    /// It came to nothing, and its sender was told so where it can be told.
    Failed(ExitStatus),
    /// Some of its fragments came and the others did not in time.
    FragmentTimeout,
    /// Some of its fragments came and had to make room before the others did.
    FragmentsDisplaced,
}

impl RequestOutcome {
    fn all() -> impl Iterator<Item = Self> {
        let failed = ExitStatus::ALL.into_iter().map(Self::Failed);
        [Self::Served, Self::FragmentTimeout, Self::FragmentsDisplaced].into_iter().chain(failed)
    }

    /// Whether the service said nothing, or was not there.
    pub(crate) fn is_silence(self) -> bool {
        matches!(self, Self::Failed(status) if status.told() == ExitStatus::NoAnswer)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Failed(status) => status.as_str(),
            Self::FragmentTimeout => "fragment_timeout",
            Self::FragmentsDisplaced => "fragments_displaced",
        }
    }
}

/// What became of a fragment, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FragmentLabel {
    /// Kept until its set is whole.
    Kept,
    /// Its set is whole.
    Completed,
    /// Known already.
    Duplicate,
    /// Its set has been answered.
    Late,
    /// No fragment at all.
    Unreadable,
    /// Its set did not take it.
    Refused(SetRefusal),
}

impl FragmentLabel {
    fn all() -> impl Iterator<Item = Self> {
        let refused = SetRefusal::ALL.into_iter().map(Self::Refused);
        [Self::Kept, Self::Completed, Self::Duplicate, Self::Late, Self::Unreadable].into_iter().chain(refused)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Completed => "completed",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::Unreadable => "unreadable",
            Self::Refused(reason) => reason.as_str(),
        }
    }
}

wakumix_sphinx::named_enum! {
    /// How a reply, one for each reply block, ended.
    pub(crate) enum ReplyOutcome {
        /// Handed to the mixer with an answer of the service.
        Sent = "sent",
        /// Handed to the mixer with a status of this exit.
        SentStatus = "sent_status",
        /// Handed to the mixer without an answer in it.
        SentEmpty = "sent_empty",
        /// The request had its answers, or its refusal; the reply block was discarded.
        Surplus = "surplus",
        /// Too many refusals are being answered already; nothing was sent.
        Withheld = "withheld",
        /// The answer does not fit one packet, and its protocol has no other to send instead.
        TooLong = "too_long",
        /// The reply block's first hop is no address, or this node.
        InvalidHop = "invalid_hop",
        /// The reply block's first hop is no mix node that is known.
        StrangeHop = "strange_hop",
        /// No packet buffer was free.
        NoBuffer = "no_buffer",
        /// The mixer's queue was full, or it had stopped.
        MixerRefused = "mixer_refused",
        /// It could not be built: a defect.
        Failed = "failed",
    }
}

/// Handles, taken once.
pub(crate) struct Metrics {
    requests: Vec<(RequestOutcome, Counter)>,
    fragments: Vec<(FragmentLabel, Counter)>,
    replies: Vec<(ReplyOutcome, Counter)>,
    fragment_sets: Gauge,
    fragment_bytes: Gauge,
}

impl Metrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let counter = |metric, outcome: &'static str| telemetry.counter(metric, &[("outcome", outcome)]);
        let request = |outcome: RequestOutcome| (outcome, counter(Metric::ExitRequestsTotal, outcome.as_str()));
        let fragment = |outcome: FragmentLabel| (outcome, counter(Metric::ExitFragmentsTotal, outcome.as_str()));
        let reply = |outcome: ReplyOutcome| (outcome, counter(Metric::ExitRepliesTotal, outcome.as_str()));
        Self {
            requests: RequestOutcome::all().map(request).collect(),
            fragments: FragmentLabel::all().map(fragment).collect(),
            replies: ReplyOutcome::ALL.into_iter().map(reply).collect(),
            fragment_sets: telemetry.gauge(Metric::ExitFragmentSets, &[]),
            fragment_bytes: telemetry.gauge(Metric::ExitFragmentBytes, &[]),
        }
    }

    /// A request ended so.
    pub(crate) fn record_request(&self, outcome: RequestOutcome) {
        self.record_requests(outcome, 1);
    }

    /// That many requests ended so.
    pub(crate) fn record_requests(&self, outcome: RequestOutcome, count: u64) {
        increment(&self.requests, outcome, count);
    }

    /// A fragment ended so.
    pub(crate) fn record_fragment(&self, outcome: FragmentLabel) {
        increment(&self.fragments, outcome, 1);
    }

    /// What incomplete sets hold now.
    pub(crate) fn record_sets(&self, sets: usize, bytes: usize) {
        self.fragment_sets.set(as_gauge(sets));
        self.fragment_bytes.set(as_gauge(bytes));
    }

    /// That many replies ended so.
    pub(crate) fn record_replies(&self, outcome: ReplyOutcome, count: usize) {
        increment(&self.replies, outcome, u64::try_from(count).unwrap_or(u64::MAX));
    }
}

/// A count of things held, exact up to `u32::MAX`.
fn as_gauge(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn increment<T: PartialEq + Copy>(counters: &[(T, Counter)], outcome: T, by: u64) {
    if let Some((_, counter)) = counters.iter().find(|(counted, _)| *counted == outcome) {
        counter.increment(by);
    }
}
