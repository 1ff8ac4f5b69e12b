//! The sets of fragments that this exit holds, shared with the task that ends those whose time is over.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use wakumix_mix::{
    exit::{ExitRequest, FragmentOutcome, FragmentRefusal, FragmentSets},
    fragment::{Losses, ReassemblyLimits},
};
use wakumix_sphinx::{FormatKind, Weaknesses};

use crate::{
    config::Config,
    countermeasures::bound,
    metrics::{FragmentLabel, Metrics, RequestOutcome},
};

/// How often sets are looked at that nobody adds to: a share of the shortest sensible time limit, for a few comparisons each.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// The sets of all formats. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fragments {
    sets: Arc<Mutex<FragmentSets>>,
    metrics: Arc<Metrics>,
    epoch: Instant,
}

impl Fragments {
    /// No sets yet; `None` if the exit is not to reassemble.
    pub(crate) fn new(config: &Config, weaknesses: Weaknesses, metrics: Arc<Metrics>) -> Option<Self> {
        if config.max_fragment_sets == 0 {
            return None;
        }
        let [sets, bytes] = [config.max_fragment_sets, config.max_fragment_bytes].map(|most| bound(weaknesses, most));
        let limits = ReassemblyLimits { sets, bytes, age: config.fragment_timeout };
        let sets = Arc::new(Mutex::new(FragmentSets::new(limits)));
        Some(Self { sets, metrics, epoch: Instant::now() })
    }

    /// Takes a fragment that came in a packet of this format.
    pub(crate) fn insert(&self, kind: FormatKind, request: ExitRequest) -> FragmentOutcome {
        let mut sets = self.sets.lock();
        let outcome = sets.insert(self.epoch.elapsed(), kind, request);
        self.record(&mut sets);
        drop(sets);
        self.metrics.record_fragment(label(&outcome));
        if let FragmentOutcome::Refused { refusal, .. } = &outcome
            && refusal.ends_request()
        {
            self.metrics.record_request(RequestOutcome::Failed(refusal.status()));
        }
        outcome
    }

    /// Ends sets whose time is over, for as long as it is polled.
    pub(crate) async fn expire(self) {
        loop {
            sleep(EXPIRE_EVERY).await;
            let mut sets = self.sets.lock();
            sets.expire(self.epoch.elapsed());
            self.record(&mut sets);
        }
    }

    fn record(&self, sets: &mut FragmentSets) {
        let Losses { expired, displaced } = sets.take_losses();
        self.metrics.record_requests(RequestOutcome::FragmentTimeout, expired);
        self.metrics.record_requests(RequestOutcome::FragmentsDisplaced, displaced);
        self.metrics.record_sets(sets.sets(), sets.bytes());
    }
}

fn label(outcome: &FragmentOutcome) -> FragmentLabel {
    match outcome {
        FragmentOutcome::Kept => FragmentLabel::Kept,
        FragmentOutcome::Duplicate => FragmentLabel::Duplicate,
        FragmentOutcome::Late => FragmentLabel::Late,
        FragmentOutcome::Complete(_) => FragmentLabel::Completed,
        FragmentOutcome::Refused { refusal: FragmentRefusal::Unreadable(_), .. } => FragmentLabel::Unreadable,
        FragmentOutcome::Refused { refusal: FragmentRefusal::Set(reason), .. } => FragmentLabel::Refused(*reason),
    }
}
