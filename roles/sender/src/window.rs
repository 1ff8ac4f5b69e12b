//! How many requests may have a try under way: what paces a burst.
//!
//! A request waits for its place in the order of acceptance, keeps it over all its tries and gives it back when it ends, so
//! retries never wait behind new requests. The window is additive-increase, multiplicative-decrease: whoever says that it is
//! busy (a service with 429, a full queue here) halves it, once a round trip; a window full of answers adds one place.
//! Silence alone does not: mixnets lose packets for other reasons than load, and a sender that backs off from loss would
//! stand still where it is needed most.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wakumix_telemetry::Gauge;

/// The window never gets smaller: 8 requests of half a second are 16 a second, which a busy service can bear.
const SMALLEST: usize = 8;

/// The window of a sender.
pub(crate) struct Window {
    places: Arc<Semaphore>,
    state: Mutex<State>,
    largest: usize,
    shown: Gauge,
}

struct State {
    size: usize,
    /// Places that are taken away as soon as their requests end.
    debt: usize,
    /// Answers since the window grew last.
    answers: usize,
    halved: Option<Instant>,
}

/// A request's place in the window; dropping it gives it back.
pub(crate) struct Place {
    window: Arc<Window>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Window {
    /// A window that begins with its largest size.
    pub(crate) fn new(largest: usize, shown: Gauge) -> Arc<Self> {
        shown.set(shown_as(largest));
        let state = Mutex::new(State { size: largest, debt: 0, answers: 0, halved: None });
        Arc::new(Self { places: Arc::new(Semaphore::new(largest)), state, largest, shown })
    }

    /// Waits for a place, behind those who wait already.
    ///
    /// Cancel safe: yes; dropping the future gives up the place in the queue.
    pub(crate) async fn enter(self: &Arc<Self>) -> Place {
        // The semaphore is never closed; without a permit the place would only not be counted.
        let permit = Arc::clone(&self.places).acquire_owned().await.ok();
        Place { window: Arc::clone(self), permit }
    }

    /// Requests that have a place.
    pub(crate) fn taken(&self) -> usize {
        let state = self.lock();
        (state.size + state.debt).saturating_sub(self.places.available_permits())
    }

    /// A request was answered.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        state.answers += 1;
        if state.answers < state.size || state.size >= self.largest {
            return;
        }
        state.answers = 0;
        self.resize(&mut state, 1, 0);
    }

    /// Somebody on the way has too much to do. Counts once a round trip: what left before it was heard says nothing new.
    pub(crate) fn busy(&self, now: Instant, round_trip: Duration) {
        let mut state = self.lock();
        if state.halved.is_some_and(|halved| now < halved + round_trip) {
            return;
        }
        state.halved = Some(now);
        state.answers = 0;
        let fewer = state.size - (state.size / 2).max(SMALLEST.min(self.largest));
        self.resize(&mut state, 0, fewer);
    }

    fn resize(&self, state: &mut State, more: usize, fewer: usize) {
        state.size = state.size + more - fewer;
        self.shown.set(shown_as(state.size));
        let forgiven = more.min(state.debt);
        state.debt -= forgiven;
        self.places.add_permits(more - forgiven);
        state.debt += fewer - self.places.forget_permits(fewer);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        let mut state = self.window.lock();
        if state.debt > 0 {
            state.debt -= 1;
            permit.forget();
        }
    }
}

fn shown_as(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_secs(1);

    fn window(largest: usize) -> Arc<Window> {
        Window::new(largest, Gauge::noop())
    }

    fn enter_all(window: &Arc<Window>) -> Vec<Place> {
        std::iter::from_fn(|| window.enter().now_or_never()).collect()
    }

    #[test]
    fn as_many_requests_are_under_way_as_the_window_is_wide() {
        let window = window(16);
        let mut places = enter_all(&window);
        assert_eq!((places.len(), window.taken()), (16, 16));
        places.pop();
        assert_eq!(window.taken(), 15);
        assert_eq!(enter_all(&window).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_busy_halves_it_once_a_round_trip_and_answers_widen_it() {
        let window = window(64);
        let places = enter_all(&window);
        window.busy(Instant::now(), ROUND_TRIP);
        window.busy(Instant::now(), ROUND_TRIP);
        drop(places);
        assert_eq!(enter_all(&window).len(), 32);
        tokio::time::advance(ROUND_TRIP).await;
        for expected in [16, 8, 8] {
            window.busy(Instant::now(), ROUND_TRIP);
            assert_eq!(enter_all(&window).len(), expected);
            tokio::time::advance(ROUND_TRIP).await;
        }
        (0..8 + 9).for_each(|_| window.answered());
        assert_eq!(enter_all(&window).len(), 10);
        (0..100_000).for_each(|_| window.answered());
        assert_eq!(enter_all(&window).len(), 64, "never wider than it began");
    }

    #[tokio::test(start_paused = true)]
    async fn places_that_are_taken_away_while_in_use_go_when_their_requests_end() {
        let window = window(32);
        let mut places = enter_all(&window);
        window.busy(Instant::now(), ROUND_TRIP);
        (0..16).for_each(|_| window.answered());
        places.truncate(17);
        assert_eq!(window.taken(), 17);
        assert!(enter_all(&window).is_empty());
        places.pop();
        assert_eq!(enter_all(&window).len(), 1);
    }

    #[test]
    fn a_narrow_window_stays_as_it_is() {
        let window = window(2);
        window.busy(Instant::now(), ROUND_TRIP);
        assert_eq!(enter_all(&window).len(), 2);
    }
}
