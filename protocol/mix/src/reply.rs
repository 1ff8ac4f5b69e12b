//! Reply credentials: what opens the answers to our own requests (`spec/mix-wire.md §9`, §12, §21 W6–W7).
//!
//! The SURBs of one request form a group. The first reply that opens completes the group and takes all its
//! credentials with it; a reply that does not open burns nothing, because looking a credential up
//! ([`ReplyStore::keys`]) and using the group up ([`ReplyStore::complete`]) are two steps.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use thiserror::Error;
use wakumix_sphinx::{ReplyKeys, SurbId};

/// The store is at its cap; the request must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many replies are awaited")]
pub struct Full;

/// Names the credentials of one request inside one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u64);

/// Credentials of one request, and the owner of its reply.
struct Group<T> {
    keys: Vec<ReplyKeys>,
    deadline: Duration,
    value: T,
}

/// Credentials of all requests that await a reply, each group with a value of the caller's choice.
///
/// Overflow rule: refuse the newest. At most `cap` credentials and at most `cap` groups are held. A group is held
/// for `ttl`, then [`Self::expire`] hands its value back. Every operation costs O(log groups) whatever is in the
/// store, and expiry that much for each group that it removes. All state is ephemeral: it dies with the process,
/// and so do the replies.
///
/// Time must not run backwards; if it does, groups live longer, in the order of their insertion.
pub struct ReplyStore<T> {
    /// Ordered by age and therefore, with one `ttl` for all, by deadline.
    groups: BTreeMap<GroupId, Group<T>>,
    owners: HashMap<SurbId, GroupId>,
    credentials: usize,
    cap: usize,
    ttl: Duration,
    next: u64,
}

impl<T> ReplyStore<T> {
    /// An empty store for at most `cap` credentials, each kept for `ttl`.
    #[must_use]
    pub fn new(cap: usize, ttl: Duration) -> Self {
        Self { groups: BTreeMap::new(), owners: HashMap::new(), credentials: 0, cap, ttl, next: 0 }
    }

    /// Keeps the credentials of one request until a reply, a cancellation or the time limit.
    ///
    /// # Errors
    /// [`Full`] if the cap would be exceeded; nothing is kept then.
    pub fn insert(&mut self, now: Duration, group: Vec<ReplyKeys>, value: T) -> Result<GroupId, Full> {
        let fits = group.len() <= self.cap - self.credentials && self.groups.len() < self.cap;
        if !fits {
            return Err(Full);
        }
        let id = GroupId(self.next);
        self.next += 1;
        for keys in &group {
            self.owners.insert(keys.id(), id);
        }
        self.credentials += group.len();
        let deadline = self.deadline_from(now);
        self.groups.insert(id, Group { keys: group, deadline, value });
        debug_assert!(self.is_consistent());
        Ok(id)
    }

    /// The credentials that open the reply with this id, if it answers a request that still waits.
    #[must_use]
    pub fn keys(&self, id: &SurbId) -> Option<&ReplyKeys> {
        let group = self.groups.get(self.owners.get(id)?)?;
        group.keys.iter().find(|keys| keys.id() == *id)
    }

    /// Ends the wait of the request that this id belongs to: its reply has been opened. Forgets the whole group.
    pub fn complete(&mut self, id: &SurbId) -> Option<T> {
        let group = *self.owners.get(id)?;
        self.remove(group)
    }

    /// Ends the wait of a request that nobody wants an answer to any more. Forgets its group.
    pub fn cancel(&mut self, group: GroupId) -> Option<T> {
        self.remove(group)
    }

    /// Forgets every group whose time limit is reached and returns their values, oldest first.
    pub fn expire(&mut self, now: Duration) -> Vec<T> {
        let mut expired = Vec::new();
        while let Some(oldest) = self.groups.first_entry()
            && oldest.get().deadline <= now
        {
            let group = *oldest.key();
            expired.extend(self.remove(group));
        }
        expired
    }

    /// When [`Self::expire`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.groups.first_key_value().map(|(_, group)| group.deadline)
    }

    /// Number of credentials held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.credentials
    }

    /// Whether no request awaits a reply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Number of requests that await a reply.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The invariant: the bounds hold, deadlines follow the order of insertion, and each credential leads to its group.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        let bounded = self.credentials <= self.cap && self.groups.len() <= self.cap;
        let counted = self.groups.values().map(|group| group.keys.len()).sum::<usize>();
        let ordered = self.groups.values().is_sorted_by_key(|group| group.deadline);
        let owned = self.owners.values().all(|group| self.groups.contains_key(group));
        bounded && counted == self.credentials && ordered && owned
    }

    /// `now + ttl`, but never before the deadline of a group that is already held.
    fn deadline_from(&self, now: Duration) -> Duration {
        let newest = self.groups.last_key_value();
        let earliest = newest.map_or(Duration::ZERO, |(_, group)| group.deadline);
        now.saturating_add(self.ttl).max(earliest)
    }

    fn remove(&mut self, id: GroupId) -> Option<T> {
        let group = self.groups.remove(&id)?;
        self.credentials -= group.keys.len();
        for keys in &group.keys {
            // An id that a later group repeats belongs to that group.
            if self.owners.get(&keys.id()) == Some(&id) {
                self.owners.remove(&keys.id());
            }
        }
        Some(group.value)
    }
}

impl<T> fmt::Debug for ReplyStore<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyStore")
            .field("credentials", &self.credentials)
            .field("groups", &self.groups.len())
            .field("cap", &self.cap)
            .field("ttl", &self.ttl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::surb;

    const TTL: Duration = Duration::from_secs(30);

    fn keys(seeds: impl IntoIterator<Item = u64>) -> Vec<ReplyKeys> {
        seeds.into_iter().map(|seed| surb(seed).1).collect()
    }

    fn id(seed: u64) -> SurbId {
        surb(seed).1.id()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_reply_wins_and_takes_its_group_along() {
        let mut store = ReplyStore::new(10, TTL);
        store.insert(at(0), keys(0..3), "first").unwrap();
        store.insert(at(0), keys(3..5), "second").unwrap();
        assert_eq!(store.complete(&id(1)), Some("first"));
        for late in 0..3 {
            assert!(store.keys(&id(late)).is_none());
            assert_eq!(store.complete(&id(late)), None);
        }
        assert!(store.keys(&id(3)).is_some());
        assert_eq!((store.len(), store.groups()), (2, 1));
    }

    #[test]
    fn a_reply_that_does_not_open_burns_nothing() {
        let mut store = ReplyStore::new(10, TTL);
        store.insert(at(0), keys(0..2), ()).unwrap();
        for _ in 0..3 {
            assert_eq!(store.keys(&id(0)).map(ReplyKeys::id), Some(id(0)));
            assert!(store.keys(&id(9)).is_none());
        }
        assert_eq!(store.len(), 2);
        assert_eq!(store.complete(&id(1)), Some(()));
    }

    #[test]
    fn time_limit_frees_the_credentials_and_hands_the_values_back_oldest_first() {
        let mut store = ReplyStore::new(10, TTL);
        for (second, seed) in [(0, 0), (5, 1), (40, 2)] {
            store.insert(at(second), keys([seed]), seed).unwrap();
        }
        assert_eq!(store.next_deadline(), Some(at(30)));
        assert_eq!(store.expire(at(29)), []);
        assert_eq!(store.expire(at(35)), [0, 1]);
        assert!(store.keys(&id(0)).is_none());
        assert_eq!(store.len(), 1);
        assert_eq!(store.next_deadline(), Some(at(70)));
        assert_eq!(store.expire(Duration::MAX), [2]);
        assert!(store.is_empty());
        assert_eq!(store.next_deadline(), None);
    }

    #[test]
    fn the_cap_refuses_the_newest_and_keeps_the_rest() {
        let mut store = ReplyStore::new(4, TTL);
        let first = store.insert(at(0), keys(0..3), 'a').unwrap();
        assert_eq!(store.insert(at(0), keys(3..5), 'b'), Err(Full));
        assert!(store.keys(&id(3)).is_none());
        store.insert(at(0), keys([5]), 'c').unwrap();
        assert_eq!(store.insert(at(0), keys([6]), 'd'), Err(Full));
        assert_eq!(store.cancel(first), Some('a'));
        assert_eq!(store.cancel(first), None);
        assert!(store.insert(at(0), keys(6..9), 'd').is_ok());
    }

    #[test]
    fn the_cap_holds_for_groups_without_credentials_too() {
        let mut store = ReplyStore::new(1, TTL);
        store.insert(at(0), Vec::new(), ()).unwrap();
        assert_eq!(store.insert(at(0), Vec::new(), ()), Err(Full));
        assert_eq!(store.expire(TTL), [()]);
    }

    #[test]
    fn time_that_runs_backwards_only_prolongs() {
        let mut store = ReplyStore::new(10, TTL);
        store.insert(at(100), keys([0]), 0).unwrap();
        store.insert(at(10), keys([1]), 1).unwrap();
        assert_eq!(store.expire(at(129)), []);
        assert_eq!(store.expire(at(130)), [0, 1]);
    }

    #[test]
    fn a_repeated_id_belongs_to_its_newest_group() {
        let mut store = ReplyStore::new(10, TTL);
        let old = store.insert(at(0), keys([0]), "old").unwrap();
        store.insert(at(0), keys([0]), "new").unwrap();
        assert_eq!(store.cancel(old), Some("old"));
        assert_eq!(store.complete(&id(0)), Some("new"));
        assert!(store.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize),
        Complete(u64),
        Expire(u64),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_usize).prop_map(Step::Insert),
            (0..30_u64).prop_map(Step::Complete),
            (0..20_u64).prop_map(Step::Expire),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn stays_consistent_and_returns_each_value_once(steps in proptest::collection::vec(any_step(), 0..30)) {
            let mut store = ReplyStore::new(6, TTL);
            let (mut now, mut seed, mut accepted, mut returned) = (0, 0, 0, 0);
            for step in steps {
                match step {
                    Step::Insert(size) => {
                        let group = keys(seed..seed + size as u64);
                        seed += size as u64;
                        accepted += usize::from(store.insert(at(now), group, ()).is_ok());
                    }
                    Step::Complete(seed) => returned += usize::from(store.complete(&id(seed)).is_some()),
                    Step::Expire(seconds) => {
                        now += seconds;
                        returned += store.expire(at(now)).len();
                        prop_assert!(store.next_deadline().is_none_or(|deadline| deadline > at(now)));
                    }
                }
                prop_assert!(store.is_consistent());
                prop_assert_eq!(accepted - returned, store.groups());
            }
        }
    }
}
