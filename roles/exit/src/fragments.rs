//! The sets of fragments that this exit holds: one store for each packet format, since a set is answered in one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use wakumix_mix::{
    DropReason, ExitStatus,
    fragment::{Fragment, FragmentError, Limits, Losses, Progress, Reassembly, SetRefusal},
};
use wakumix_role_api::Formats;
use wakumix_sphinx::{FormatKind, Surb, Weakness, Weaknesses};

use crate::{
    config::Config,
    incoming::TakenRequest,
    metrics::{FragmentOutcome, Metrics, RequestOutcome},
};

/// How often sets are looked at that nobody adds to: a share of the shortest sensible time limit, for a few comparisons each.
const SWEEP: Duration = Duration::from_secs(1);

/// What became of a fragment, for its packet.
pub(crate) enum Taken {
    /// Its bytes are kept, or known already.
    Kept,
    /// Its set is whole: the request.
    Whole(TakenRequest),
    /// It is not kept.
    Refused {
        /// How the packet is counted.
        reason: DropReason,
        /// What its sender is told.
        status: ExitStatus,
        /// The ways to tell.
        surbs: Vec<Surb>,
    },
}

/// The sets of all formats. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fragments {
    stores: Arc<Mutex<Vec<(FormatKind, Reassembly)>>>,
    metrics: Arc<Metrics>,
    epoch: Instant,
}

impl Fragments {
    /// No sets yet; `None` if the exit is not to reassemble.
    pub(crate) fn new(
        config: &Config,
        formats: &Formats,
        weaknesses: Weaknesses,
        metrics: Arc<Metrics>,
    ) -> Option<Self> {
        if config.max_fragment_sets == 0 {
            return None;
        }
        let limits = limits(config, weaknesses);
        let store = |served: &wakumix_role_api::Served| (served.format.wire().kind(), Reassembly::new(limits));
        let stores = Arc::new(Mutex::new(formats.all().iter().map(store).collect()));
        Some(Self { stores, metrics, epoch: Instant::now() })
    }

    /// Takes a fragment that came in a packet of this format.
    pub(crate) fn insert(&self, kind: FormatKind, request: TakenRequest) -> Taken {
        let TakenRequest { surbs, data, .. } = request;
        let fragment = match Fragment::decode(&data) {
            Ok(fragment) => fragment,
            Err(error) => return self.unreadable(error, surbs),
        };
        let mut stores = self.lock();
        let Some((_, store)) = stores.iter_mut().find(|(served, _)| *served == kind) else {
            return Taken::Refused { reason: DropReason::Size, status: ExitStatus::BadFragment, surbs };
        };
        let progress = store.insert(self.epoch.elapsed(), fragment, surbs);
        self.record(&mut stores);
        drop(stores);
        self.metrics.record_fragment(outcome(&progress));
        match progress {
            Progress::Incomplete | Progress::Duplicate | Progress::Late => Taken::Kept,
            Progress::Complete { codec, data, surbs } => Taken::Whole(TakenRequest { codec, surbs, data }),
            Progress::Refused { reason, surbs } => self.refused(reason, surbs),
        }
    }

    /// Ends sets whose time is over, for as long as it is polled.
    pub(crate) async fn sweep(self) {
        loop {
            sleep(SWEEP).await;
            let (mut stores, now) = (self.lock(), self.epoch.elapsed());
            stores.iter_mut().for_each(|(_, store)| store.expire(now));
            self.record(&mut stores);
        }
    }

    fn unreadable(&self, error: FragmentError, surbs: Vec<Surb>) -> Taken {
        self.metrics.record_fragment(FragmentOutcome::Unreadable);
        Taken::Refused { reason: error.drop_reason(), status: ExitStatus::BadFragment, surbs }
    }

    fn refused(&self, reason: SetRefusal, surbs: Vec<Surb>) -> Taken {
        let status = match reason {
            SetRefusal::NoRoom => ExitStatus::Overloaded,
            _ => ExitStatus::BadFragment,
        };
        // Here a request has ended; otherwise only a fragment has.
        if matches!(reason, SetRefusal::Damaged | SetRefusal::NoRequest) {
            self.metrics.record_request(RequestOutcome::Failed(status));
        }
        Taken::Refused { reason: reason.drop_reason(), status, surbs }
    }

    fn record(&self, stores: &mut [(FormatKind, Reassembly)]) {
        for (_, store) in &mut *stores {
            let Losses { expired, displaced } = store.take_losses();
            self.metrics.record_requests(RequestOutcome::FragmentTimeout, expired);
            self.metrics.record_requests(RequestOutcome::FragmentsDisplaced, displaced);
        }
        let (sets, bytes) =
            (stores.iter().map(|(_, store)| store.sets()), stores.iter().map(|(_, store)| store.bytes()));
        self.metrics.record_sets(sets.sum(), bytes.sum());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(FormatKind, Reassembly)>> {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limits(config: &Config, weaknesses: Weaknesses) -> Limits {
    let age = config.fragment_timeout;
    if weaknesses.has(Weakness::Unbounded) {
        return Limits { sets: usize::MAX, bytes: usize::MAX, age };
    }
    Limits { sets: config.max_fragment_sets, bytes: config.max_fragment_bytes, age }
}

fn outcome(progress: &Progress) -> FragmentOutcome {
    match progress {
        Progress::Incomplete => FragmentOutcome::Kept,
        Progress::Duplicate => FragmentOutcome::Duplicate,
        Progress::Late => FragmentOutcome::Late,
        Progress::Complete { .. } => FragmentOutcome::Completed,
        Progress::Refused { reason, .. } => FragmentOutcome::Refused(*reason),
    }
}
