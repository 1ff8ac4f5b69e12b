//! How many requests are answered: token buckets, one for all requesters together and one for each of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How fast a bucket fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Time that refills one token.
    pub token: Duration,
    /// Time that refills an empty bucket.
    pub bucket: Duration,
}

impl Refill {
    /// A bucket of so many tokens, one of which comes back in every `token`.
    #[must_use]
    pub const fn of(tokens: u32, token: Duration) -> Self {
        Self { token, bucket: token.saturating_mul(tokens) }
    }
}

/// A token bucket, known by the time at which it will be full again: one number instead of a level and an update time. Times
/// count from any fixed moment; a new bucket is full.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenBucket {
    full_at: Duration,
}

impl TokenBucket {
    /// Takes a token; false if there is none.
    pub fn take(&mut self, refill: Refill, now: Duration) -> bool {
        let after = self.after(refill, now);
        *self = after.unwrap_or(*self);
        after.is_some()
    }

    /// The bucket with one token less; `None` if it has none, that is, if refilling would take longer than the bucket lasts.
    fn after(self, refill: Refill, now: Duration) -> Option<Self> {
        let full_at = self.full_at.max(now).saturating_add(refill.token);
        (full_at.saturating_sub(now) <= refill.bucket).then_some(Self { full_at })
    }
}

/// The buckets of a service.
///
/// A requester is remembered only after a token of the shared bucket was spent on it, and forgotten when its own bucket is
/// full again: the number of buckets is bounded by what the shared one lets through in the time that refills an own one,
/// between two sweeps twice that.
#[derive(Debug)]
pub struct Budget<K> {
    shared: (Refill, TokenBucket),
    refill: Refill,
    own: HashMap<K, TokenBucket>,
    next_sweep: Duration,
}

impl<K: Eq + Hash> Budget<K> {
    /// Full buckets: one for all requesters together, one for each.
    #[must_use]
    pub fn new(shared: Refill, each: Refill) -> Self {
        Self { shared: (shared, TokenBucket::default()), refill: each, own: HashMap::new(), next_sweep: Duration::ZERO }
    }

    /// Takes a token of the requester and one of all; false if one of them has none, and then none is taken: a requester over
    /// its own budget does not use up that of the others.
    pub fn admit(&mut self, requester: K, now: Duration) -> bool {
        self.sweep(now);
        let (refill, shared) = self.shared;
        let own = self.own.get(&requester).copied().unwrap_or_default();
        let Some((own, shared)) = own.after(self.refill, now).zip(shared.after(refill, now)) else { return false };
        self.own.insert(requester, own);
        self.shared.1 = shared;
        true
    }

    /// Requesters that are remembered now.
    #[must_use]
    pub fn requesters(&self) -> usize {
        self.own.len()
    }

    fn sweep(&mut self, now: Duration) {
        if now >= self.next_sweep {
            self.own.retain(|_, bucket| bucket.full_at > now);
            self.next_sweep = now.saturating_add(self.refill.bucket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Refill = Refill::of(100, Duration::from_millis(10));
    const OWN: Refill = Refill::of(3, Duration::from_secs(1));

    fn admitted(budget: &mut Budget<u32>, requester: u32, now: Duration) -> usize {
        (0..1000).filter(|_| budget.admit(requester, now)).count()
    }

    #[test]
    fn a_requester_has_its_burst_and_then_its_pace() {
        let mut budget = Budget::new(ALL, OWN);
        assert_eq!(admitted(&mut budget, 1, Duration::ZERO), 3);
        assert_eq!(admitted(&mut budget, 1, OWN.token), 1);
        assert_eq!(admitted(&mut budget, 1, OWN.token * 60), 3, "never more than the burst");
    }

    #[test]
    fn all_together_have_a_bound_that_the_greedy_do_not_use_up() {
        let mut budget = Budget::new(ALL, OWN);
        assert_eq!(admitted(&mut budget, 0, Duration::ZERO), 3);
        assert_eq!((1..1000).filter(|other| budget.admit(*other, Duration::ZERO)).count(), 97);
        assert!(!budget.admit(1000, Duration::ZERO));
        assert!(budget.admit(1000, ALL.token));
    }

    #[test]
    fn requesters_are_forgotten() {
        let mut budget = Budget::new(ALL, OWN);
        for index in 0..100_000 {
            budget.admit(index, Duration::from_millis(1) * index);
            assert!(budget.requesters() <= 2 * 400, "{} after {index}", budget.requesters());
        }
    }
}
