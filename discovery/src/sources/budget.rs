//! How many requests a source answers: one budget for all peers together, one for each of them.

use libp2p_identity::PeerId;
use tokio::time::Instant;
use wakumix_mix::Refill;
use wakumix_role_api::Requester;

/// Decides which requests are read at all. Everybody behind the mixnet is one requester.
#[derive(Debug)]
pub(super) struct Budget {
    buckets: wakumix_mix::Budget<Option<PeerId>>,
    /// When the first request came.
    epoch: Option<Instant>,
}

impl Budget {
    /// Full buckets: of all requesters together, and of each.
    pub(super) fn new(all: Refill, each: Refill) -> Self {
        Self { buckets: wakumix_mix::Budget::new(all, each), epoch: None }
    }

    /// Spends a token of the requester and one of all; false if one of them has none.
    pub(super) fn admit(&mut self, requester: Requester, now: Instant) -> bool {
        let peer = match requester {
            Requester::Peer(peer) => Some(peer),
            Requester::Anonymous => None,
        };
        self.buckets.admit(peer, now.saturating_duration_since(*self.epoch.get_or_insert(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: Refill = Refill::of(100, Duration::from_millis(10));
    const OWN: Refill = Refill::of(3, Duration::from_secs(1));

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
            assert_eq!(admitted(&mut budget, requester, 10, start + OWN.token), 1);
            assert_eq!(admitted(&mut budget, requester, 10, start + OWN.token * 60), 3);
        }
    }
}
