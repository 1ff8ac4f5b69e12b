//! How many requests may have a try under way: what paces a burst.
//!
//! A request waits for its place in the order of acceptance, keeps it over all its tries and gives it back when it ends, so
//! retries never wait behind new requests.
//!
//! | what is seen | what follows |
//! |---|---|
//! | somebody says that it is busy: a service with 429, a full queue here | half, once per round trip, and no less than [`SMALLEST`] |
//! | answers, below [`FIRST`] | one place more for a window of them |
//! | answers at [`FIRST`] and above, while every place is taken and the network [bears more](crate::conditions) | one place more for [`GROWTH`] of them |
//! | answers above [`FIRST`] while it does not: packets are lost, or round trips have become longer | one place less for each |
//!
//! Loss alone never takes the window below [`FIRST`]: mixnets lose packets for other reasons than load, and a client that backs
//! off from loss would stand still where it is needed most.

use std::time::Duration;

/// The window never gets smaller: 8 requests of half a second are 16 per second, which a busy service can bear.
const SMALLEST: usize = 8;

/// What a window begins with: at a third of a second 190 requests per second, which any hop bears.
pub(crate) const FIRST: usize = 64;

/// Answers for a further place above [`FIRST`]: an eighth more in a round trip, so it doubles in six.
const GROWTH: usize = 8;

/// The window of a client.
#[derive(Debug)]
pub(crate) struct Window {
    size: usize,
    first: usize,
    largest: usize,
    /// Requests that have a place; more than the size for a while after it has shrunk.
    taken: usize,
    /// Answers since the window grew last.
    answers: usize,
    halved: Option<Duration>,
}

impl Window {
    /// A window that begins with [`FIRST`] places, or with its largest size if that is less.
    pub(crate) fn new(largest: usize) -> Self {
        let first = FIRST.min(largest);
        Self { size: first, first, largest, taken: 0, answers: 0, halved: None }
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

    /// A request was answered, and has its place still. `bears_more` is what round trips and losses say of the network.
    pub(crate) fn answered(&mut self, bears_more: bool) {
        let is_wide = self.size >= self.first;
        if is_wide && !bears_more {
            self.answers = 0;
            self.size = self.first.max(self.size - 1);
            return;
        }
        if is_wide && self.taken < self.size {
            return;
        }
        self.answers += 1;
        let needed = if is_wide { GROWTH } else { self.size };
        if self.answers >= needed && self.size < self.largest {
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
        (0..8 + 9).for_each(|_| window.answered(false));
        assert_eq!(window.size(), 10, "loss does not keep it from growing back");
        (0..100_000).for_each(|_| window.answered(true));
        assert_eq!(window.size(), 64, "no wider than it began while places are free");
    }

    #[test]
    fn a_full_window_grows_while_the_network_bears_more_and_shrinks_to_its_first_size_while_it_does_not() {
        let mut window = Window::new(256);
        // Requests wait for every place.
        let round = |window: &mut Window, bears_more| {
            enter_all(window);
            for _ in 0..window.size() {
                window.answered(bears_more);
                window.leave();
                enter_all(window);
            }
        };
        assert_eq!(window.size(), FIRST);
        let mut rounds = 0;
        while window.size() < 2 * FIRST {
            round(&mut window, true);
            rounds += 1;
        }
        assert!((4..=7).contains(&rounds), "doubled in {rounds} round trips");
        (0..100).for_each(|_| round(&mut window, true));
        assert_eq!(window.size(), 256);
        round(&mut window, false);
        assert_eq!(window.size(), FIRST);
        (0..10).for_each(|_| round(&mut window, false));
        assert_eq!(window.size(), FIRST, "loss alone takes it no lower");
    }

    #[test]
    fn places_that_are_taken_away_while_in_use_go_when_their_requests_end() {
        let mut window = Window::new(32);
        enter_all(&mut window);
        window.busy(Duration::ZERO, ROUND_TRIP);
        (0..16).for_each(|_| window.answered(true));
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
