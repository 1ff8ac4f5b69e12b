//! What a client knows of the network from its own tries: how long answers take, and how often none comes.
//!
//! Both are estimates over all requests of a client. The response timeout is TCP's retransmission timeout (RFC 6298): smoothed round
//! trip and four deviations, from the round trips of tries that were answered. A try has reply blocks of its own, so an
//! answer always tells which try it belongs to: what Karn's rule leaves out is measured here.
//!
//! A machine or a net that is busy must not be asked everything twice, which would make it busier:
//!
//! | what is seen | what follows |
//! |---|---|
//! | a round trip far from the others | the deviation follows in a few answers, and forgets slowly |
//! | an answer after the timeout of its try | that try was not lost, and the estimates jump to what it took (RFC 4015) |
//! | nothing at all since a try left, with several requests under way | a standstill and no loss, which would hit some of them: one of them tries again in each timeout, the others wait for its answer |

use std::time::Duration;

use wakumix_mix::DelayLaw;

/// Added to the timeout of a client that has measured nothing yet: dialling and the service. RFC 6298 begins with as much.
const FIRST_ALLOWANCE: Duration = Duration::from_secs(1);
/// The least timeout, for paths without delays: a busy machine takes some of it.
const LEAST: Duration = Duration::from_millis(200);
/// Tries that fit a deadline while answers are faster than this share of it. With one packet in ten lost on each of six
/// links, 8 tries leave less than one request in 5000 without answer (`docs/sending.md`).
const TRIES_IN_LIMIT: u32 = 8;
/// Where answers are slower than that, the timeout grows with them up to this share, so that a slow net is not asked everything
/// twice.
const SLOW_TRIES_IN_LIMIT: u32 = 3;
/// Each further try of a request is waited for longer by this share of the first one's timeout.
const GROWTH: u32 = 4;
/// Weight of the newest try in all estimates: 16 tries are remembered, more or less. RFC 6298 has an eighth and a quarter, for
/// one exchange at a time; here many requests measure at once.
const MEMORY: u32 = 16;
const LOSS_WEIGHT: f64 = 1.0 / 16.0;
/// A deviation that grows is learnt with RFC 6298's quarter: the first slow answer makes the timeout longer.
const MEMORY_OF_LESS: u32 = 4;
/// The sum of six exponential holds is below 2.75 of its means in 999 of 1000 cases; the timeout is never shorter than that.
const LONG_HOLDS: (u32, u32) = (11, 4);
/// Requests under way of which none is answered: a standstill. With one packet in twenty lost on each link, one in 200 such
/// groups is silent by chance; the one that tries again finds out.
const STANDSTILL: usize = 4;
/// In a standstill the timeout is no longer than this share of the limit: one more try must fit.
const STANDSTILL_IN_LIMIT: u32 = 2;
/// Above this share of lost tries first tries are protected too. One loss after many answers is 0.0625, two are 0.12.
const LOSSY: f64 = 0.1;

/// Answers after which the smoothed round trip is one: e⁻⁴ of the first is left in it.
const LEARNT: u64 = 4 * MEMORY as u64;

/// By one part in so many of it the shortest round trip grows with each answer, so that a network that has become slower for
/// good is not taken for a busy one forever: by half in 27 000 answers.
const FORGOTTEN: u32 = 1 << 16;

/// Tries in a row without answer that are no chance: more than one request makes, and with one packet in ten lost on each link,
/// where a try fails with 0.47, one such row in 8000.
const SILENCE: u32 = 12;

/// What is known of the network.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    floor: Duration,
    smoothed: Option<Duration>,
    /// The least that the smoothed round trip was.
    least: Option<Duration>,
    deviation: Duration,
    loss: f64,
    answers: u64,
    /// Tries that were given up since the last answer.
    timeouts: u32,
}

impl Conditions {
    /// Nothing measured yet, on paths with these delays. The floor is the mean of the six holds of a round trip: own hold, two
    /// hops, the exit, two hops. Of the last four this node asks for as much as of the first two.
    pub(crate) fn new(hold: DelayLaw, delay: DelayLaw) -> Self {
        let holds = u64::from(hold.encode()) + 5 * u64::from(delay.encode());
        let floor = Duration::from_millis(holds).max(LEAST);
        Self { floor, smoothed: None, least: None, deviation: Duration::ZERO, loss: 0.0, answers: 0, timeouts: 0 }
    }

    /// A try was answered after so long.
    pub(crate) fn answered(&mut self, round_trip: Duration) {
        self.answers = self.answers.wrapping_add(1);
        self.timeouts = 0;
        self.count_loss(0.0);
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(round_trip);
            self.deviation = round_trip / 2;
            return;
        };
        let off = smoothed.abs_diff(round_trip);
        let memory = if off > self.deviation { MEMORY_OF_LESS } else { MEMORY };
        self.deviation = ((memory - 1) * self.deviation + off) / memory;
        let smoothed = ((MEMORY - 1) * smoothed + round_trip) / MEMORY;
        self.smoothed = Some(smoothed);
        // Before that it is mostly the first round trip, which chance may have made half as long as the others.
        if self.answers >= LEARNT {
            self.least = Some(self.least.map_or(smoothed, |least| smoothed.min(least + least / FORGOTTEN)));
        }
    }

    /// A try was answered after so long although it had counted as [lost](Self::lost): the timeout was too short.
    pub(crate) fn answered_late(&mut self, round_trip: Duration) {
        self.loss = ((self.loss - LOSS_WEIGHT) / (1.0 - LOSS_WEIGHT)).max(0.0);
        self.answered(round_trip);
        self.smoothed = self.smoothed.max(Some(round_trip));
        self.deviation = self.deviation.max(round_trip / 2);
    }

    /// A try timed out.
    pub(crate) fn lost(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.count_loss(1.0);
    }

    /// How long the try with this number, from 1, of a request with this limit is waited for: as long as its holds may well
    /// take, unless the limit is too short for that.
    pub(crate) fn response_timeout(&self, number: u32, limit: Duration) -> Duration {
        let base = self.smoothed.map_or(2 * self.floor + FIRST_ALLOWANCE, |smoothed| smoothed + 4 * self.deviation);
        let slow = self.smoothed.unwrap_or_default() * 3 / 2;
        let longest = (limit / TRIES_IN_LIMIT).max(slow.min(limit / SLOW_TRIES_IN_LIMIT));
        let (times, of) = LONG_HOLDS;
        let grown = base.max(self.floor * times / of) * (GROWTH + number.saturating_sub(1)) / GROWTH;
        grown.min(longest).max(self.floor)
    }

    /// The same for a try that has been waited for so long, after what has been learnt meanwhile. `under_way` requests have a
    /// try under way, and `answers` is what [`Self::answers`] was when this one left.
    pub(crate) fn timeout_after(
        &self,
        waited: Duration,
        number: u32,
        limit: Duration,
        under_way: usize,
        answers: u64,
    ) -> Duration {
        let timeout = self.response_timeout(number, limit);
        let is_its_turn = waited >= timeout * (self.timeouts + 1);
        if under_way < STANDSTILL || answers != self.answers || is_its_turn {
            return timeout;
        }
        timeout.max((limit / STANDSTILL_IN_LIMIT).min(waited + self.floor))
    }

    /// How many tries were answered.
    pub(crate) fn answers(&self) -> u64 {
        self.answers
    }

    /// The time that an answer takes at the very least on average: a try that has less is not worth its packets.
    pub(crate) fn floor(&self) -> Duration {
        self.floor
    }

    /// A round trip as measured, or as long as the holds take.
    pub(crate) fn round_trip(&self) -> Duration {
        self.smoothed.unwrap_or(self.floor)
    }

    /// Whether tries were lost lately.
    pub(crate) fn is_lossy(&self) -> bool {
        self.loss > LOSSY
    }

    /// Whether more requests may be under way: nothing is lost to speak of, and round trips are what they were when they were
    /// shortest, so nothing waits in queues on the way.
    pub(crate) fn bears_more(&self) -> bool {
        let is_as_short = |(smoothed, least): (Duration, Duration)| smoothed * 2 <= least * 3;
        !self.is_lossy() && self.smoothed.zip(self.least).is_none_or(is_as_short)
    }

    /// Tries without answer since the last answer, once they are so many that it is no chance.
    pub(crate) fn silence(&self) -> Option<u32> {
        (self.timeouts >= SILENCE).then_some(self.timeouts)
    }

    /// The share of tries that were lost lately.
    pub(crate) fn loss(&self) -> f64 {
        self.loss
    }

    fn count_loss(&mut self, sample: f64) {
        self.loss += LOSS_WEIGHT * (sample - self.loss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn conditions() -> Conditions {
        Conditions::new(DelayLaw::default(), DelayLaw::default())
    }

    #[test]
    fn the_timeout_begins_with_the_holds_and_an_allowance_and_lets_eight_tries_fit() {
        assert_eq!(conditions().floor(), ms(300));
        assert_eq!(conditions().response_timeout(1, LIMIT), ms(1250), "an eighth of the limit is less than 1.6 s");
        assert_eq!(conditions().response_timeout(1, 6 * LIMIT), ms(1600));
        assert_eq!(conditions().response_timeout(1, ms(500)), ms(300), "never less than the holds take");
        assert_eq!(Conditions::new(DelayLaw::None, DelayLaw::None).floor(), ms(200));
    }

    #[test]
    fn more_is_borne_while_round_trips_are_short_and_answered_and_one_lucky_round_trip_changes_nothing() {
        let mut conditions = conditions();
        conditions.answered(ms(100));
        (0..1000).for_each(|step| conditions.answered(ms(if step % 2 == 0 { 200 } else { 400 })));
        assert!(conditions.bears_more());
        (0..100).for_each(|_| conditions.answered(ms(600)));
        assert!(!conditions.bears_more(), "they wait in queues");
        (0..100).for_each(|_| conditions.answered(ms(300)));
        assert!(conditions.bears_more());
        (0..4).for_each(|_| conditions.lost());
        assert!(!conditions.bears_more());
    }

    #[test]
    fn a_network_that_stays_slower_is_not_taken_for_a_busy_one_forever() {
        let mut conditions = conditions();
        (0..100).for_each(|_| conditions.answered(ms(300)));
        (0..100).for_each(|_| conditions.answered(ms(500)));
        assert!(!conditions.bears_more());
        (0..30_000).for_each(|_| conditions.answered(ms(500)));
        assert!(conditions.bears_more());
    }

    #[test]
    fn the_timeout_follows_the_round_trips() {
        let mut conditions = conditions();
        for _ in 0..100 {
            conditions.answered(ms(400));
        }
        assert_eq!(conditions.response_timeout(1, LIMIT), ms(825), "the holds alone may take as long");
        for step in 0..100 {
            conditions.answered(ms(if step % 2 == 0 { 300 } else { 500 }));
        }
        let timeout = conditions.response_timeout(1, LIMIT);
        assert!((ms(825)..ms(900)).contains(&timeout), "{timeout:?}");
        assert!(conditions.response_timeout(3, LIMIT) > timeout, "later tries are waited for longer");
    }

    /// Conditions after a hundred round trips of 300 ms.
    fn quick() -> Conditions {
        let mut conditions = conditions();
        (0..100).for_each(|_| conditions.answered(ms(300)));
        conditions
    }

    #[test]
    fn one_slow_answer_makes_the_timeout_longer_and_many_quick_ones_shorter() {
        let mut conditions = quick();
        assert_eq!(conditions.response_timeout(1, LIMIT), ms(825));
        conditions.answered(ms(1100));
        assert!(conditions.response_timeout(1, LIMIT) > ms(1100), "{:?}", conditions.response_timeout(1, LIMIT));
        (0..4).for_each(|_| conditions.answered(ms(300)));
        assert!(conditions.response_timeout(1, LIMIT) > ms(825));
        (0..60).for_each(|_| conditions.answered(ms(300)));
        assert_eq!(conditions.response_timeout(1, LIMIT), ms(825));
    }

    #[test]
    fn an_answer_after_the_timeout_was_no_loss_and_is_what_the_next_try_is_given() {
        let mut conditions = quick();
        conditions.lost();
        conditions.lost();
        assert!(conditions.is_lossy());
        conditions.answered_late(ms(1300));
        conditions.answered_late(ms(1300));
        assert!(conditions.loss() < 0.01, "{}", conditions.loss());
        assert!(conditions.response_timeout(1, LIMIT) > ms(1300));
        assert_eq!(conditions.response_timeout(1, LIMIT / 10), ms(1000) / 3, "several tries still fit");
    }

    #[test]
    fn a_dozen_tries_without_answer_are_silence_until_the_next_answer() {
        let mut conditions = quick();
        (1..SILENCE).for_each(|_| conditions.lost());
        assert_eq!(conditions.silence(), None);
        conditions.lost();
        conditions.lost();
        assert_eq!(conditions.silence(), Some(SILENCE + 1));
        conditions.answered(ms(300));
        assert_eq!(conditions.silence(), None);
    }

    #[test]
    fn in_a_standstill_one_tries_again_in_each_timeout_and_the_others_wait() {
        let mut conditions = quick();
        let answers = conditions.answers();
        let after = |conditions: &Conditions, waited, under_way, answers| {
            conditions.timeout_after(waited, 1, LIMIT, under_way, answers)
        };
        assert_eq!(after(&conditions, ms(825), 4, answers), ms(825), "the first goes");
        conditions.lost();
        assert_eq!(after(&conditions, ms(825), 4, answers), ms(1125), "the next looks again when that may be answered");
        assert_eq!(after(&conditions, ms(1650), 4, answers), ms(825), "or goes if it was not");
        (0..9).for_each(|_| conditions.lost());
        assert_eq!(after(&conditions, ms(4900), 4, answers), LIMIT / 2);
        assert_eq!(after(&conditions, LIMIT / 2, 4, answers), LIMIT / 2, "and goes");
        assert_eq!(after(&conditions, ms(825), 3, answers), ms(825), "so few may all be lost");
        assert_eq!(after(&conditions, ms(825), 4, answers - 1), ms(825), "somebody was answered: this one was lost");
        conditions.answered(ms(300));
        assert_eq!(after(&conditions, ms(825), 4, answers + 1), ms(825), "a new standstill has a first again");
    }

    #[test]
    fn where_answers_are_slow_fewer_tries_are_made() {
        let mut conditions = conditions();
        for _ in 0..100 {
            conditions.answered(ms(2000));
        }
        assert_eq!(conditions.response_timeout(5, LIMIT), ms(3000));
        for _ in 0..100 {
            conditions.answered(ms(20_000));
        }
        assert_eq!(conditions.response_timeout(1, LIMIT), LIMIT / 3);
    }

    #[test]
    fn two_losses_in_a_row_make_a_net_lossy_and_answers_make_it_good_again() {
        let mut conditions = conditions();
        conditions.lost();
        assert!(!conditions.is_lossy());
        conditions.lost();
        assert!(conditions.is_lossy() && conditions.loss() > 0.12);
        (0..16).for_each(|_| conditions.answered(ms(400)));
        assert!(!conditions.is_lossy());
    }
}
