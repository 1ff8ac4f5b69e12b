//! Readiness: a node is ready when every part that announced itself says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metric::Metric;
use crate::recorder::Telemetry;

/// The latches of one node. Clones share them.
///
/// Liveness is another question and never depends on this: a node without peers is alive and not ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    latches: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

/// One part's own switch. It stays as it was last set when the handle is dropped. Clones share it.
#[derive(Debug, Clone)]
pub struct Latch {
    readiness: Readiness,
    name: &'static str,
}

/// What one latch says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatchState {
    /// Name of the part, for example `pool`.
    pub name: &'static str,
    /// Why it is not ready; `None` if it is.
    pub reason: Option<String>,
}

impl Readiness {
    /// No latches: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Announces a part that is not ready yet and says why. A name that is announced again starts anew.
    pub fn latch(&self, name: &'static str, reason: impl Into<String>) -> Latch {
        self.lock().insert(name, Some(reason.into()));
        Latch { readiness: self.clone(), name }
    }

    /// Whether every latch is set.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(Option::is_none)
    }

    /// All latches, sorted by name.
    pub fn states(&self) -> Vec<LatchState> {
        let state = |(name, reason): (&&'static str, &Option<String>)| LatchState { name, reason: reason.clone() };
        self.lock().iter().map(state).collect()
    }

    /// The latches that keep the node from being ready, sorted by name.
    pub fn missing(&self) -> Vec<LatchState> {
        self.states().into_iter().filter(|state| state.reason.is_some()).collect()
    }

    /// Shows on the metrics page of `telemetry` whether the node is ready.
    pub fn export(&self, telemetry: &Telemetry) {
        let readiness = self.clone();
        telemetry.on_scrape(move |telemetry| {
            let ready = f64::from(u8::from(readiness.is_ready()));
            telemetry.gauge(Metric::Ready, &[]).set(ready);
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.latches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Latch {
    /// Name given when it was announced.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The part is ready.
    pub fn set_ready(&self) {
        self.readiness.lock().insert(self.name, None);
    }

    /// The part is not ready (any more). The reason is shown to operators: no peer, topic or payload in it.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        self.readiness.lock().insert(self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_ready_only_when_every_latch_is_set() {
        let readiness = Readiness::new();
        let pool = readiness.latch("pool", "no mix nodes known");
        let host = readiness.latch("host", "not listening");
        assert!(!readiness.is_ready());
        pool.set_ready();
        assert_eq!(readiness.missing(), [LatchState { name: "host", reason: Some("not listening".into()) }]);
        host.set_ready();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_latch_can_fall_back_and_says_why() {
        let readiness = Readiness::new();
        let pool = readiness.latch("pool", "starting");
        pool.set_ready();
        pool.set_not_ready("3 mix nodes known, 4 needed");
        drop(pool);
        assert_eq!(
            readiness.states(),
            [LatchState { name: "pool", reason: Some("3 mix nodes known, 4 needed".into()) }]
        );
    }

    #[test]
    fn readiness_shows_on_the_metrics_page() {
        let (readiness, telemetry) = (Readiness::new(), Telemetry::new());
        readiness.export(&telemetry);
        let latch = readiness.latch("host", "starting");
        assert!(telemetry.render().contains("waku_mix_ready 0"));
        latch.set_ready();
        assert!(telemetry.render().contains("waku_mix_ready 1"));
    }
}
