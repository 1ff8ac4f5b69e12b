//! Request budgets of the lightpush service (`spec/waku.md §4.2`): one for direct clients, of which a single client gets at
//! most three quarters, and one for the mixnet as a whole. Both lightpush versions draw on the same budgets.

use std::time::Duration;

use libp2p_identity::PeerId;
use wakumix_mix::{Budget, Refill, TokenBucket};
use wakumix_role_api::Requester;

use crate::config::RequestBudget;

/// How the bucket of all fills.
fn refill(limit: RequestBudget) -> Refill {
    Refill { token: limit.period / limit.volume.max(1), bucket: limit.period * limit.burst_periods() }
}

/// How the bucket of one client fills: three quarters of the tokens in the same time.
fn refill_of_one_client(limit: RequestBudget) -> Refill {
    let all = refill(limit);
    Refill { token: all.token * 4 / 3, ..all }
}

/// Decides which requests are read at all.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Its table of clients has at most about three times the burst entries.
    direct: Option<Budget<PeerId>>,
    anonymous: Option<(Refill, TokenBucket)>,
}

impl Limiter {
    /// Full buckets; `None` admits everything.
    pub(crate) fn new(direct: Option<RequestBudget>, anonymous: Option<RequestBudget>) -> Self {
        let direct = direct.map(|limit| Budget::new(refill(limit), refill_of_one_client(limit)));
        Self { direct, anonymous: anonymous.map(|limit| (refill(limit), TokenBucket::default())) }
    }

    /// Spends a token of the requester's budget; false if there is none. `now` counts from any fixed moment.
    pub(crate) fn admit(&mut self, requester: Requester, now: Duration) -> bool {
        match requester {
            Requester::Peer(peer) => self.direct.as_mut().is_none_or(|direct| direct.admit(peer, now)),
            Requester::Anonymous => self.anonymous.as_mut().is_none_or(|(refill, bucket)| bucket.take(*refill, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limit(volume: u32, period: Duration) -> Option<RequestBudget> {
        Some(RequestBudget { volume, period })
    }

    fn admitted(limiter: &mut Limiter, requester: Requester, tries: usize, now: Duration) -> usize {
        (0..tries).filter(|_| limiter.admit(requester, now)).count()
    }

    fn client(number: u32) -> Requester {
        let mut bytes = vec![0, 4];
        bytes.extend_from_slice(&number.to_be_bytes());
        Requester::Peer(PeerId::from_bytes(&bytes).unwrap())
    }

    #[test]
    fn one_client_gets_three_quarters_of_the_burst() {
        let mut limiter = Limiter::new(limit(5, SECOND), None);
        assert_eq!(admitted(&mut limiter, client(1), 100, SECOND), 37);
        assert_eq!(admitted(&mut limiter, client(2), 100, SECOND), 13, "the rest of 50 is for others");
        assert_eq!(admitted(&mut limiter, client(3), 100, SECOND), 0);
    }

    #[test]
    fn a_greedy_client_leaves_the_others_their_share() {
        let mut limiter = Limiter::new(limit(5, SECOND), None);
        let greedy = client(1);
        for tenth in 0..1000 {
            limiter.admit(greedy, SECOND * tenth / 10);
        }
        assert_eq!(admitted(&mut limiter, client(2), 100, SECOND * 100), 37);
    }

    #[test]
    fn tokens_come_back_at_the_configured_rate() {
        let mut limiter = Limiter::new(None, limit(5, SECOND));
        assert_eq!(admitted(&mut limiter, Requester::Anonymous, 100, SECOND), 50);
        assert_eq!(admitted(&mut limiter, Requester::Anonymous, 100, SECOND * 2), 5);
        assert_eq!(admitted(&mut limiter, Requester::Anonymous, 100, SECOND * 100), 50, "never more than the burst");
    }

    #[test]
    fn bursts_shrink_with_longer_periods() {
        for (period, burst) in [(SECOND, 40), (SECOND * 2, 12), (SECOND * 60, 12), (SECOND * 61, 8)] {
            let mut limiter = Limiter::new(None, limit(4, period));
            assert_eq!(admitted(&mut limiter, Requester::Anonymous, 100, SECOND), burst, "{period:?}");
        }
    }

    #[test]
    fn direct_clients_and_the_mixnet_do_not_share_a_budget() {
        let mut limiter = Limiter::new(limit(1, SECOND), limit(2, SECOND));
        assert_eq!(admitted(&mut limiter, Requester::Anonymous, 100, SECOND), 20);
        assert_eq!(admitted(&mut limiter, client(1), 100, SECOND), 7);
    }

    #[test]
    fn no_limit_admits_everything() {
        let mut limiter = Limiter::new(None, None);
        assert_eq!(admitted(&mut limiter, client(1), 1000, SECOND), 1000);
        assert_eq!(admitted(&mut limiter, Requester::Anonymous, 1000, SECOND), 1000);
    }

    #[test]
    fn the_table_of_clients_is_bounded_by_the_burst() {
        let limit = RequestBudget { volume: 5, period: SECOND };
        let mut limiter = Limiter::new(Some(limit), None);
        let mut largest = 0;
        for step in 0..5000 {
            limiter.admit(client(step), Duration::from_millis(10) * step);
            largest = largest.max(limiter.direct.as_ref().map_or(0, Budget::requesters));
        }
        assert!(largest <= 3 * limit.burst() as usize, "{largest} clients");
    }
}
