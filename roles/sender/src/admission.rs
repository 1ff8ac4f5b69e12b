//! How many requests are open and how many bytes they hold, whether more are taken, and when all have ended.

use std::sync::Arc;

use tokio::sync::watch;
use wakumix_telemetry::Gauge;

/// Counts requests and replies at work, and carries the word to stop to their tasks.
pub(crate) struct Admission {
    state: watch::Sender<State>,
    limits: Limits,
    pending: Gauge,
}

/// What may be open at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) requests: usize,
    /// Bytes of their messages.
    pub(crate) bytes: usize,
}

#[derive(Clone, Copy, Default)]
struct State {
    work: Work,
    phase: Phase,
}

/// What is at work.
#[derive(Clone, Copy, Default)]
struct Work {
    requests: usize,
    bytes: usize,
    replies: usize,
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
    work: Work,
}

impl Admission {
    /// Admits so much at a time; `pending` shows how many requests there are.
    pub(crate) fn new(limits: Limits, pending: Gauge) -> Arc<Self> {
        Arc::new(Self { state: watch::Sender::new(State::default()), limits, pending })
    }

    /// Admits a request whose message has so many bytes.
    pub(crate) fn request(self: &Arc<Self>, bytes: usize) -> Result<Slot, Refused> {
        let State { work, phase } = *self.state.borrow();
        if phase != Phase::Open {
            return Err(Refused::Closed);
        }
        let fits = work.requests < self.limits.requests && work.bytes.saturating_add(bytes) <= self.limits.bytes;
        if !fits {
            return Err(Refused::Full);
        }
        Ok(self.enter(Work { requests: 1, bytes, replies: 0 }))
    }

    /// Counts a reply that is being opened; the packet buffers bound these.
    pub(crate) fn reply(self: &Arc<Self>) -> Slot {
        self.enter(Work { replies: 1, ..Work::default() })
    }

    /// Requests that wait for their answers.
    pub(crate) fn requests(&self) -> usize {
        self.state.borrow().work.requests
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
        self.reached(|state| state.work.requests + state.work.replies == 0).await;
    }

    async fn reached(&self, is_reached: impl FnMut(&State) -> bool) {
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = self.state.subscribe().wait_for(is_reached).await;
    }

    fn raise(&self, phase: Phase) {
        self.state.send_modify(|state| state.phase = state.phase.max(phase));
    }

    fn enter(self: &Arc<Self>, work: Work) -> Slot {
        self.change(|now| {
            now.requests += work.requests;
            now.bytes += work.bytes;
            now.replies += work.replies;
        });
        Slot { admission: Arc::clone(self), work }
    }

    fn change(&self, change: impl FnOnce(&mut Work)) {
        self.state.send_modify(|state| {
            change(&mut state.work);
            self.pending.set(u32::try_from(state.work.requests).unwrap_or(u32::MAX));
        });
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.change(|now| {
            now.requests -= self.work.requests;
            now.bytes -= self.work.bytes;
            now.replies -= self.work.replies;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_their_bytes_are_bounded_and_come_back() {
        let admission = Admission::new(Limits { requests: 2, bytes: 100 }, Gauge::noop());
        let first = admission.request(60).ok().unwrap();
        assert_eq!(admission.request(41).err(), Some(Refused::Full));
        let second = admission.request(40).ok().unwrap();
        assert_eq!(admission.request(0).err(), Some(Refused::Full), "two are open");
        drop(first);
        let third = admission.request(60).ok();
        assert!(third.is_some());
        drop((second, third));
        assert_eq!(admission.requests(), 0);
        admission.close();
        assert_eq!(admission.request(0).err(), Some(Refused::Closed));
    }
}
