//! How many requests are open, whether more are taken, and when all have ended.

use std::sync::Arc;

use tokio::sync::watch;
use wakumix_telemetry::Gauge;

/// Counts requests and replies at work, and carries the word to stop to their tasks.
pub(crate) struct Admission {
    state: watch::Sender<State>,
    limit: usize,
    pending: Gauge,
}

#[derive(Clone, Copy, Default)]
struct State {
    requests: usize,
    replies: usize,
    phase: Phase,
}

/// How far stopping has come.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Open,
    /// No new request; those under way may still be answered.
    Closed,
    /// Those under way end now.
    Ending,
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
}

/// One request or reply at work; dropping it ends it.
pub(crate) struct Slot {
    admission: Arc<Admission>,
    count: fn(&mut State) -> &mut usize,
}

impl Admission {
    /// Admits `limit` requests at a time; `pending` shows how many there are.
    pub(crate) fn new(limit: usize, pending: Gauge) -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::new(State::default()), limit, pending })
    }

    /// Admits a request.
    pub(crate) fn request(self: &Arc<Self>) -> Result<Slot, Refused> {
        if self.is_closed() {
            return Err(Refused::Closed);
        }
        if self.requests() >= self.limit {
            return Err(Refused::Full);
        }
        Ok(self.enter(|state| &mut state.requests))
    }

    /// Counts a reply that is being opened; the packet buffers bound these.
    pub(crate) fn reply(self: &Arc<Self>) -> Slot {
        self.enter(|state| &mut state.replies)
    }

    /// Requests that wait for their answers.
    pub(crate) fn requests(&self) -> usize {
        self.state.borrow().requests
    }

    /// Whether no more requests are admitted.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().phase != Phase::Open
    }

    /// Admits no more requests.
    pub(crate) fn close(&self) {
        self.raise(Phase::Closed);
    }

    /// Ends the requests that still wait.
    pub(crate) fn end(&self) {
        self.raise(Phase::Ending);
    }

    /// Waits for the word of [`Self::end`].
    ///
    /// Cancel safe: yes.
    pub(crate) async fn ending(&self) {
        self.reached(|state| state.phase == Phase::Ending).await;
    }

    /// Waits until nothing is at work.
    ///
    /// Cancel safe: yes.
    pub(crate) async fn idle(&self) {
        self.reached(|state| state.requests + state.replies == 0).await;
    }

    async fn reached(&self, is_reached: impl FnMut(&State) -> bool) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.state.subscribe().wait_for(is_reached).await;
    }

    fn raise(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = state.phase.max(phase));
    }

    fn enter(self: &Arc<Self>, count: fn(&mut State) -> &mut usize) -> Slot {
        self.change(|state| *count(state) += 1);
        Slot { admission: Arc::clone(self), count }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            change(state);
            self.pending.set(u32::try_from(state.requests).unwrap_or(u32::MAX));
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.change(|state| *(self.count)(state) -= 1);
    }
}
