//! When a node was reached, and when it is tried again.
//!
//! Only what this node sees itself counts: a connection, an answer, a dial that failed. No other node is asked and no
//! lost packet is held against anybody, so that no hop can frame another.

use std::time::Duration;

use rand::{Rng, RngExt};
use tokio::time::Instant;

use super::rules::PoolConfig;

/// The wait after the first failure to reach a node that was reached before; it doubles with each further one.
pub(crate) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The same for a node that has never been reached: most of those never will be.
pub(crate) const FIRST_BACK_OFF_OF_UNVERIFIED: Duration = Duration::from_secs(15);
/// The longest wait.
pub(crate) const LONGEST_BACK_OFF: Duration = Duration::from_secs(10 * 60);

/// What this node has seen of another one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contact {
    /// When it was reached last.
    pub(crate) last_seen: Option<Instant>,
    /// Failures since then.
    pub(crate) failures: u32,
    /// When the last of them was.
    pub(crate) last_failure: Option<Instant>,
    /// A connection to it is up.
    pub(crate) is_connected: bool,
    /// A check of it is on its way.
    pub(crate) is_checking: bool,
    /// When it is tried next; `None`: at once.
    pub(crate) due: Option<Instant>,
}

impl Contact {
    /// It was reached. One success forgives every failure.
    pub(crate) fn reached<R: Rng + ?Sized>(&mut self, now: Instant, config: &PoolConfig, rng: &mut R) {
        self.last_seen = Some(now);
        self.failures = 0;
        self.last_failure = None;
        self.due = Some(now + jittered(config.check_interval, rng));
    }

    /// It could not be reached.
    pub(crate) fn failed<R: Rng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        let first = if self.last_seen.is_some() { FIRST_BACK_OFF } else { FIRST_BACK_OFF_OF_UNVERIFIED };
        let doublings = self.failures.min(16);
        let wait = first.saturating_mul(1 << doublings).min(LONGEST_BACK_OFF);
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        self.due = Some(now + jittered(wait, rng));
    }

    /// A check could not be made: neither a success nor a failure.
    pub(crate) fn postpone<R: Rng + ?Sized>(&mut self, now: Instant, rng: &mut R) {
        self.due = Some(now + jittered(FIRST_BACK_OFF, rng));
    }

    /// A visit to it has ended.
    pub(crate) fn left(&mut self) {
        self.is_connected = false;
    }

    /// The last connection to it is gone: it is tried at once.
    pub(crate) fn lost(&mut self) {
        self.is_connected = false;
        self.due = None;
    }

    /// Whether it was ever reached.
    pub(crate) fn was_seen(&self) -> bool {
        self.last_seen.is_some()
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.is_checking && self.due.is_none_or(|due| due <= now)
    }

    /// Whether a failure is held against it. Where nobody checks nodes, it is forgotten when its wait is over.
    pub(crate) fn is_blamed(&self, now: Instant, config: &PoolConfig) -> bool {
        self.failures > 0 && !self.is_connected && (config.is_checked || self.due.is_some_and(|due| now < due))
    }
}

wakumix_sphinx::named_enum! {
    /// How a check ended.
    pub(crate) enum CheckOutcome {
        /// The peer was there.
        Alive = "alive",
        /// It could not be reached.
        Failed = "failed",
        /// This node had no room to try.
        Abandoned = "abandoned",
    }
}

/// A wait between half of `whole` and the whole, so that nodes met at once are not tried at once for ever.
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
        let (mut contact, mut rng, now) = fixture();
        contact.reached(now, &PoolConfig::default(), &mut rng);
        for failures in 0..40 {
            contact.failed(now, &mut rng);
            let whole = FIRST_BACK_OFF.saturating_mul(1 << failures.min(16)).min(LONGEST_BACK_OFF);
            let wait = contact.due.unwrap() - now;
            assert!(whole / 2 <= wait && wait <= whole, "{failures}: {wait:?}");
        }
        contact.reached(now, &PoolConfig::default(), &mut rng);
        assert_eq!((contact.failures, contact.last_seen), (0, Some(now)));
        assert!(!contact.is_due(now));
    }

    #[test]
    fn a_lost_connection_makes_a_node_due() {
        let (mut contact, mut rng, now) = fixture();
        contact.is_connected = true;
        contact.reached(now, &PoolConfig::default(), &mut rng);
        contact.lost();
        assert!(contact.is_due(now) && !contact.is_connected);
    }

    #[test]
    fn where_nobody_checks_a_failure_is_forgotten_after_its_wait() {
        let (mut contact, mut rng, now) = fixture();
        contact.failed(now, &mut rng);
        let unchecked = PoolConfig { is_checked: false, ..PoolConfig::default() };
        assert!(contact.is_blamed(now, &unchecked));
        let later = now + FIRST_BACK_OFF_OF_UNVERIFIED;
        assert!(!contact.is_blamed(later, &unchecked));
        assert!(contact.is_blamed(later, &PoolConfig::default()));
    }
}
