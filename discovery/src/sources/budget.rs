//! How many requests a source answers: one budget for all peers together, one for each of them.

use std::{collections::HashMap, time::Duration};

use libp2p_identity::PeerId;
use tokio::time::Instant;
use wakumix_role_api::Requester;

/// So many requests at once, and then one in every `refill`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) burst: u32,
    pub(super) refill: Duration,
}

/// A token bucket, told by the time at which it will be full again; `None` while it is full.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Option<Instant>,
}

impl Bucket {
    /// The bucket after one more request, if it has a token for it.
    fn after(self, pace: Pace, now: Instant) -> Option<Self> {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + pace.refill;
        (full_at - now <= pace.refill * pace.burst).then_some(Self { full_at: Some(full_at) })
    }

    fn is_full(self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
    }
}

/// Decides which requests are read at all. Everybody behind the mixnet is one requester.
///
/// A requester is remembered only after a token of the shared bucket was spent on it, and forgotten when its own bucket is
/// full again: the number of buckets is bounded by what the shared one lets through in the time that refills an own one,
/// between two sweeps twice that.
#[derive(Debug)]
pub(super) struct Budget {
    all: (Pace, Bucket),
    pace: Pace,
    own: HashMap<Option<PeerId>, Bucket>,
    next_sweep: Option<Instant>,
}

impl Budget {
    /// Full buckets: of all requesters together, and of each.
    pub(super) fn new(all: Pace, pace: Pace) -> Self {
        Self { all: (all, Bucket::default()), pace, own: HashMap::new(), next_sweep: None }
    }

    /// Spends a token of the requester and one of all; false if one of them has none.
    pub(super) fn admit(&mut self, requester: Requester, now: Instant) -> bool {
        self.sweep(now);
        let (pace, all) = self.all;
        let peer = match requester {
            Requester::Peer(peer) => Some(peer),
            Requester::Anonymous => None,
        };
        let own = self.own.get(&peer).copied().unwrap_or_default();
        // A requester over its own budget does not use up that of the others.
        let Some((own, all)) = own.after(self.pace, now).zip(all.after(pace, now)) else { return false };
        self.own.insert(peer, own);
        self.all.1 = all;
        true
    }

    fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|next| next <= now) {
            self.own.retain(|_, bucket| !bucket.is_full(now));
            self.next_sweep = Some(now + self.pace.refill * self.pace.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Pace = Pace { burst: 100, refill: Duration::from_millis(10) };
    const OWN: Pace = Pace { burst: 3, refill: Duration::from_secs(1) };

    fn somebody() -> Requester {
        Requester::Peer(PeerId::random())
    }

    fn admitted(budget: &mut Budget, requester: Requester, tries: usize, now: Instant) -> usize {
        (0..tries).filter(|_| budget.admit(requester, now)).count()
    }

    #[test]
    fn a_requester_has_its_burst_and_then_its_pace() {
        let start = Instant::now();
        for requester in [somebody(), Requester::Anonymous] {
            let mut budget = Budget::new(ALL, OWN);
            assert_eq!(admitted(&mut budget, requester, 10, start), 3);
            assert_eq!(admitted(&mut budget, requester, 10, start + OWN.refill), 1);
            assert_eq!(admitted(&mut budget, requester, 10, start + OWN.refill * 60), 3);
        }
    }

    #[test]
    fn all_together_have_a_bound_that_the_greedy_do_not_use_up() {
        let (mut budget, now) = (Budget::new(ALL, OWN), Instant::now());
        assert_eq!(admitted(&mut budget, somebody(), 10_000, now), 3);
        assert_eq!((0..10_000).filter(|_| budget.admit(somebody(), now)).count(), 97);
        assert!(!budget.admit(somebody(), now));
        assert!(budget.admit(somebody(), now + ALL.refill));
    }

    #[test]
    fn requesters_are_forgotten() {
        let (mut budget, start) = (Budget::new(ALL, OWN), Instant::now());
        for index in 0..100_000_u32 {
            budget.admit(somebody(), start + Duration::from_millis(1) * index);
            assert!(budget.own.len() <= 2 * 400, "{} after {index}", budget.own.len());
        }
    }
}
