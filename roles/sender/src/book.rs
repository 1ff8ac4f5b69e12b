//! The credentials of requests under way: shared by the actor, which looks replies up, and by its tasks.
//!
//! The lock is held for look-ups and insertions only, never while anything is computed or awaited.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use wakumix_mix::{Full, GroupId, ReplyStore};
use wakumix_sphinx::{ReplyKeys, SurbId};
use wakumix_telemetry::Gauge;

use crate::departure::Sink;

/// A bounded [`ReplyStore`] on this node's clock.
pub(crate) struct Book {
    /// Ephemeral: without them replies cannot be opened, and their requests end unanswered.
    store: Mutex<ReplyStore<Sink>>,
    epoch: Instant,
    active: Gauge,
}

impl Book {
    /// A book for `cap` credentials, each kept for `ttl` at most; `active` shows how many there are.
    pub(crate) fn new(cap: usize, ttl: Duration, active: Gauge) -> Self {
        active.set(0);
        Self { store: Mutex::new(ReplyStore::new(cap, ttl)), epoch: Instant::now(), active }
    }

    /// Keeps the credentials of a try.
    pub(crate) fn insert(&self, keys: Vec<ReplyKeys>, sink: Sink) -> Result<GroupId, Full> {
        self.change(|store| store.insert(self.epoch.elapsed(), keys, sink))
    }

    /// A copy of the credentials that open a reply.
    pub(crate) fn keys(&self, id: &SurbId) -> Option<ReplyKeys> {
        self.lock().keys(id).cloned()
    }

    /// Takes the try out whose reply has been opened; its other credentials go too.
    pub(crate) fn complete(&self, id: &SurbId) -> Option<Sink> {
        self.change(|store| store.complete(id))
    }

    /// Forgets a try that nobody waits for any more.
    pub(crate) fn cancel(&self, group: GroupId) {
        self.change(|store| store.cancel(group));
    }

    /// Forgets what is older than the longest limit. Requests forget themselves at their own limits before that; this
    /// is what bounds the life of credentials if one of them does not.
    pub(crate) fn expire(&self) {
        self.change(|store| store.expire(self.epoch.elapsed()));
    }

    fn change<T>(&self, change: impl FnOnce(&mut ReplyStore<Sink>) -> T) -> T {
        let mut store = self.lock();
        let result = change(&mut store);
        self.active.set(u32::try_from(store.len()).unwrap_or(u32::MAX));
        result
    }

    /// No code panics while it holds the lock, so a poisoned store is still consistent.
    fn lock(&self) -> MutexGuard<'_, ReplyStore<Sink>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
