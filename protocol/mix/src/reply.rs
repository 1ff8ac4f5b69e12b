//! Reply credentials: what opens the answers to our own requests (`spec/mix-wire.md` §9, §12, §21 W6–W7).
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

/// Credentials of one request, and whom its reply is for.
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
