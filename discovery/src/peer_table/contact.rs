//! When a node was reached, and when it is tried again.
//!
//! Only what this node sees itself counts: a connection that it opened, an answer, a dial that failed. No other node is
//! asked and no lost packet is held against anybody, so that no hop can frame another. A connection that the other side
//! opened proves a key and no address: whoever dials in may claim any, so it counts for replies and for nothing else.

use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::{Rng, RngExt};
use tokio::time::Instant;

use super::rules::PoolConfig;

/// The wait after the first failure to reach a node that was reached before; it doubles with each further one.
pub(crate) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The same for a node that was found and has never been reached: most of those never will be.
pub(crate) const FIRST_BACK_OFF_OF_UNVERIFIED: Duration = Duration::from_secs(15);
/// The longest wait for an operator's entry while the pool is small: it may start at any moment, and then it is used at once.
pub(crate) const LONGEST_BACK_OFF_OF_NEEDED: Duration = Duration::from_secs(2);
/// What a dial that failed is reported by, it is one failure: its check and the host say it a moment apart. Checks of one node
/// are further apart than this.
const ONE_FAILURE: Duration = Duration::from_millis(400);
/// The longest wait.
pub(crate) const LONGEST_BACK_OFF: Duration = Duration::from_secs(10 * 60);
/// A connection that was up for so long was no visit.
const LASTS: Duration = Duration::from_secs(60);
/// Checks in a row that may fail while a connection seems to be up, for a slow node is no dead one. Then it is taken to
/// be gone, whatever event was missed.
const MAX_FAILURES_WHILE_CONNECTED: u32 = 3;

/// What this node has seen of another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    /// When it was reached last at the address that it has now.
    pub(crate) last_seen: Option<Instant>,
    /// When it was reached first, wherever that was.
    pub(crate) first_seen: Option<Instant>,
    /// Where it was reached last, if it mixes: the address that headers carried then.
    pub(crate) reached_at: Option<Multiaddr>,
    /// Failures since then.
    pub(crate) failures: u32,
    /// When the last of them was.
    pub(crate) last_failure: Option<Instant>,
    /// It was there, and said that it does not mix now.
    pub(crate) says_no: bool,
    /// It was there, and closed the connection.
    pub(crate) hangs_up: bool,
    /// Who answered in its place, where somebody did.
    pub(crate) impostor: Option<PeerId>,
    /// A connection to it is up, whoever opened it.
    pub(crate) is_connected: bool,
    /// One is up that this node opened to an address of its record, and it has spoken over it.
    pub(crate) is_dialled: bool,
    /// When a connection that was to stay was lost last, and how many were in a row, each soon after the one before.
    pub(crate) last_loss: Option<(Instant, u32)>,
    /// A check of it is on its way.
    pub(crate) is_checking: bool,
    /// Where that check tries it.
    pub(crate) tried_at: Option<Multiaddr>,
    /// When it is tried next; `None`: at once.
    pub(crate) due: Option<Instant>,
}

impl Contact {
    /// It was reached there. One success forgives every failure.
    pub(crate) fn reached<R: Rng + ?Sized>(
        &mut self,
        at: Option<Multiaddr>,
        now: Instant,
        config: &PoolConfig,
        rng: &mut R,
    ) {
        self.seen(at, now);
        self.due = Some(now + jittered(config.check_interval, rng));
    }

    /// The same, without a word on when it is tried next.
    pub(crate) fn seen(&mut self, at: Option<Multiaddr>, now: Instant) {
        self.last_seen = Some(now);
        self.first_seen.get_or_insert(now);
        self.reached_at = at;
        self.failures = 0;
        self.last_failure = None;
        (self.says_no, self.hangs_up, self.impostor) = (false, false, None);
    }

    /// It could not be reached. `is_known`: it was reached before, or the operator wrote it down, perhaps before it runs. It is
    /// tried again after `longest` at the latest.
    pub(crate) fn failed<R: Rng + ?Sized>(&mut self, is_known: bool, longest: Duration, now: Instant, rng: &mut R) {
        if self.last_failure.is_some_and(|last| now.saturating_duration_since(last) < ONE_FAILURE) {
            return;
        }
        let first = if is_known { FIRST_BACK_OFF } else { FIRST_BACK_OFF_OF_UNVERIFIED };
        let doublings = self.failures.min(16);
        let wait = first.saturating_mul(1 << doublings).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        self.is_dialled &= self.failures < MAX_FAILURES_WHILE_CONNECTED;
        self.due = Some(now + jittered(wait, rng));
    }

    /// A check could not be made: neither a success nor a failure.
    pub(crate) fn postpone<R: Rng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        self.due = Some(now + jittered(FIRST_BACK_OFF, rng));
    }

    /// It says that it is elsewhere now: what was seen of it counts no longer, and it is tried at once.
    pub(crate) fn moved(&mut self) {
        self.last_seen = None;
        self.failures = 0;
        self.last_failure = None;
        (self.says_no, self.hangs_up, self.impostor) = (false, false, None);
        self.is_dialled = false;
        self.due = None;
    }

    /// The last connection over which it was reached is gone. One that was to stay is news: it is tried at once. A node that
    /// has no place for this one hangs up soon every time, and is tried ever more rarely.
    pub(crate) fn lost<R: Rng + ?Sized>(&mut self, was_to_stay: bool, now: Instant, rng: &mut R) {
        if !std::mem::take(&mut self.is_dialled) || !was_to_stay {
            return;
        }
        let before = self.last_loss.filter(|(at, _)| now.saturating_duration_since(*at) <= LASTS);
        let losses = before.map_or(0, |(_, losses)| losses.saturating_add(1));
        self.last_loss = Some((now, losses));
        let wait = |doublings: u32| FIRST_BACK_OFF.saturating_mul(1 << doublings.min(16)).min(LASTS);
        self.due = losses.checked_sub(1).map(|doublings| now + jittered(wait(doublings), rng));
    }

    /// Whether it was ever reached.
    pub(crate) fn was_seen(&self) -> bool {
        self.first_seen.is_some()
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.is_checking && self.due.is_none_or(|due| due <= now)
    }

    /// It is connected, so it runs: one that could not be reached is tried again, however often that failed, but no sooner than
    /// after a first failure. A node that nobody can dial connects again and again.
    pub(crate) fn came(&mut self, now: Instant) {
        if self.is_blamed() {
            let again = self.last_failure.map_or(now, |last| last + FIRST_BACK_OFF);
            self.due = self.due.map(|due| due.min(again));
        }
    }

    /// Whether a failure is held against it.
    pub(crate) fn is_blamed(&self) -> bool {
        self.failures > 0 && (!self.is_dialled || self.says_no)
    }
}

wakumix_sphinx::named_enum! {
    /// How a check ended.
    pub(crate) enum CheckOutcome {
        /// The peer was there.
        Alive = "alive",
        /// It could not be reached.
        Failed = "failed",
        /// It was there, has a descriptor that says that it mixes, and answered that it does not now: it drains, starts, lacks
        /// what it needs, or has another role.
        NotMixing = "not_mixing",
        /// It was there, and closed the connection before it answered: it has no place for this node, or wants nothing of it.
        HungUp = "hung_up",
        /// This node had no room to try.
        Abandoned = "abandoned",
    }
}

/// A wait between half of `whole` and the whole, so that nodes met at once are not tried at once forever.
fn jittered<R: Rng + ?Sized>(whole: Duration, rng: &mut R) -> Duration {
    rng.random_range(whole / 2..=whole)
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn fixture() -> (Contact, StdRng, Instant) {
        (Contact::default(), StdRng::seed_from_u64(1), Instant::now())
    }

    #[test]
    fn waits_grow_up_to_the_longest_and_a_success_ends_them() {
        let (mut contact, mut rng, mut now) = fixture();
        contact.reached(None, now, &PoolConfig::default(), &mut rng);
        for failures in 0..40 {
            now += LONGEST_BACK_OFF;
            contact.failed(true, LONGEST_BACK_OFF, now, &mut rng);
            let whole = FIRST_BACK_OFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACK_OFF);
            let wait = contact.due.unwrap() - now;
            assert!(whole / 2 <= wait && wait <= whole, "{failures}: {wait:?}");
        }
        contact.reached(None, now, &PoolConfig::default(), &mut rng);
        assert_eq!((contact.failures, contact.last_seen), (0, Some(now)));
        assert!(!contact.is_due(now));
    }

    #[test]
    fn a_lost_connection_that_was_to_stay_makes_a_node_due_and_the_end_of_a_visit_does_not() {
        for was_to_stay in [true, false] {
            let (mut contact, mut rng, now) = fixture();
            contact.is_dialled = true;
            contact.reached(None, now, &PoolConfig::default(), &mut rng);
            contact.lost(was_to_stay, now, &mut rng);
            assert_eq!((contact.is_due(now), contact.is_dialled), (was_to_stay, false));
            // One that the node opened tells nothing.
            contact.reached(None, now, &PoolConfig::default(), &mut rng);
            contact.lost(true, now, &mut rng);
            assert!(!contact.is_due(now));
        }
    }

    #[test]
    fn a_node_that_hangs_up_again_and_again_is_tried_ever_more_rarely() {
        let (mut contact, mut rng, mut now) = fixture();
        let mut waits = Vec::new();
        for _ in 0..10 {
            contact.is_dialled = true;
            contact.lost(true, now, &mut rng);
            let wait = contact.due.map_or(Duration::ZERO, |due| due - now);
            now += wait;
            waits.push(wait);
        }
        assert_eq!(waits[0], Duration::ZERO, "the first is news");
        let whole = |losses: u32| FIRST_BACK_OFF.saturating_mul(1 << (losses - 1)).min(LASTS);
        assert!(
            (1..).zip(&waits[1..]).all(|(losses, wait)| (whole(losses) / 2..=whole(losses)).contains(wait)),
            "{waits:?}"
        );
        contact.is_dialled = true;
        contact.lost(true, now + LASTS + LASTS, &mut rng);
        assert_eq!(contact.due, None, "this one has lasted");
    }

    #[test]
    fn a_dial_that_is_reported_twice_is_one_failure() {
        let (mut contact, mut rng, now) = fixture();
        for pause in [Duration::ZERO, Duration::from_millis(1), ONE_FAILURE] {
            contact.failed(true, LONGEST_BACK_OFF, now + pause, &mut rng);
        }
        assert_eq!(contact.failures, 2);
    }

    #[test]
    fn a_node_that_was_missed_and_connects_is_tried_again() {
        let (mut contact, mut rng, mut now) = fixture();
        for _ in 0..20 {
            now += LONGEST_BACK_OFF;
            contact.failed(true, LONGEST_BACK_OFF, now, &mut rng);
        }
        assert!(!contact.is_due(now + FIRST_BACK_OFF));
        contact.came(now);
        assert!(!contact.is_due(now) && contact.is_due(now + FIRST_BACK_OFF));
    }

    #[test]
    fn a_slow_node_is_not_blamed_at_once_while_it_is_connected() {
        let (mut contact, mut rng, mut now) = fixture();
        contact.is_dialled = true;
        for failures in 1..=MAX_FAILURES_WHILE_CONNECTED {
            now += FIRST_BACK_OFF;
            contact.failed(false, LONGEST_BACK_OFF, now, &mut rng);
            assert_eq!(contact.is_blamed(), failures == MAX_FAILURES_WHILE_CONNECTED);
        }
    }
}
