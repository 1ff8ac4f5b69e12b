//! How many requests may have a try under way: what paces a burst.
//!
//! A request waits for its place in the order of acceptance, keeps it over all its tries and gives it back when it ends, so
//! retries never wait behind new requests. The window is additive-increase, multiplicative-decrease: whoever says that it is
//! busy (a service with 429, a full queue here) halves it, once per round trip; a window full of answers adds one place.
//! Silence alone does not: mixnets lose packets for other reasons than load, and a client that backs off from loss would
//! stand still where it is needed most.

use std::time::Duration;

/// The window never gets smaller: 8 requests of half a second are 16 per second, which a busy service can bear.
const SMALLEST: usize = 8;

/// The window of a client.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    largest: usize,
    /// Requests that have a place; more than the size for a while after it has shrunk.
    taken: usize,
    /// Answers since the window grew last.
    answers: usize,
    halved: Option<Duration>,
}

impl Window {
    /// A window that begins with its largest size.
    pub(crate) fn new(largest: usize) -> Self {
        Self { size: largest, largest, taken: 0, answers: 0, halved: None }
    }

    /// Takes a place, if there is one.
    pub(crate) fn enter(&mut self) -> bool {
        let has_place = self.taken < self.size;
        self.taken += usize::from(has_place);
        has_place
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self) {
        self.taken = self.taken.saturating_sub(1);
    }

    /// Requests that have a place.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// How many may have one.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self) {
        self.answers += 1;
        if self.answers >= self.size && self.size < self.largest {
            self.answers = 0;
            self.size += 1;
        }
    }

    /// Somebody on the way has too much to do. Counts once per round trip: what left before it was heard says nothing new.
    pub(crate) fn busy(&mut self, now: Duration, round_trip: Duration) {
        if self.halved.is_some_and(|halved| now < halved + round_trip) {
            return;
        }
        self.halved = Some(now);
        self.answers = 0;
        self.size = (self.size / 2).max(SMALLEST.min(self.largest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND_TRIP: Duration = Duration::from_secs(1);

    fn enter_all(window: &mut Window) -> usize {
        std::iter::from_fn(|| window.enter().then_some(())).count()
    }

    fn leave(window: &mut Window, places: usize) {
        (0..places).for_each(|_| window.leave());
    }

    #[test]
    fn as_many_requests_are_under_way_as_the_window_is_wide() {
        let mut window = Window::new(16);
        assert_eq!((enter_all(&mut window), window.taken()), (16, 16));
        window.leave();
        assert_eq!((enter_all(&mut window), window.taken()), (1, 16));
    }

    #[test]
    fn a_busy_peer_halves_it_once_per_round_trip_and_answers_widen_it() {
        let mut window = Window::new(64);
        window.busy(Duration::ZERO, ROUND_TRIP);
        window.busy(Duration::ZERO, ROUND_TRIP);
        assert_eq!(window.size(), 32);
        for (round, expected) in [(1, 16), (2, 8), (3, 8)] {
            window.busy(round * ROUND_TRIP, ROUND_TRIP);
            assert_eq!(window.size(), expected);
        }
        (0..8 + 9).for_each(|_| window.answered());
        assert_eq!(window.size(), 10);
        (0..100_000).for_each(|_| window.answered());
        assert_eq!(window.size(), 64, "never wider than it began");
    }

    #[test]
    fn places_that_are_taken_away_while_in_use_go_when_their_requests_end() {
        let mut window = Window::new(32);
        enter_all(&mut window);
        window.busy(Duration::ZERO, ROUND_TRIP);
        (0..16).for_each(|_| window.answered());
        leave(&mut window, 15);
        assert_eq!((window.taken(), enter_all(&mut window)), (17, 0));
        leave(&mut window, 1);
        assert_eq!(enter_all(&mut window), 1);
    }

    #[test]
    fn a_narrow_window_stays_as_it_is() {
        let mut window = Window::new(2);
        window.busy(Duration::ZERO, ROUND_TRIP);
        assert_eq!(window.size(), 2);
    }
}
