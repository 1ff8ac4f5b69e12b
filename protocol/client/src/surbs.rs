//! The SURB store: what opens the replies to requests under way.
//!
//! The state machine fills it and empties it. A node opens replies on its workers, so the store is shared; it is locked for
//! look-ups and insertions only, never while anything is computed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use wakumix_mix::{DropReason, Full, GroupId, MessageError, ReplyStore, decode_reply};
use wakumix_sphinx::{PacketFormat, ReplyKeys, SurbId, Weaknesses};

use crate::{TryId, countermeasures::burns_on_arrival};

/// A bounded store of reply credentials, one group for each try. Cheap to clone; all clones are one store.
#[derive(Clone, Debug)]
pub struct SurbStore {
    /// Ephemeral: without it replies cannot be opened, and their requests end unanswered.
    store: Arc<Mutex<Inner>>,
    weaknesses: Weaknesses,
}

#[derive(Debug)]
struct Inner {
    replies: ReplyStore<TryId>,
    groups: BTreeMap<TryId, GroupId>,
}

/// What a reply packet turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum ReplyOpening {
    /// The application bytes of the answer to a try, whose other credentials are gone with this.
    Opened(TryId, Vec<u8>),
    /// It is dropped for this reason. Nothing is used up: a good copy may still come through the same or another reply block
    /// (`spec/mix-wire.md §21 W7`).
    Refused(DropReason),
    /// It is dropped, and its try is used up nevertheless: only without the countermeasure.
    Burned(TryId, DropReason),
}

impl SurbStore {
    /// A store for `cap` credentials, each kept for `ttl` at most.
    #[must_use]
    pub fn new(cap: usize, ttl: Duration, weaknesses: Weaknesses) -> Self {
        let inner = Inner { replies: ReplyStore::new(cap, ttl), groups: BTreeMap::new() };
        Self { store: Arc::new(Mutex::new(inner)), weaknesses }
    }

    /// Keeps the credentials of a try.
    ///
    /// # Errors
    /// [`Full`]; nothing is kept then, and the packets of the try must not leave.
    pub fn insert(&self, now: Duration, id: TryId, keys: Vec<ReplyKeys>) -> Result<(), Full> {
        let mut store = self.lock();
        let group = store.replies.insert(now, keys, id)?;
        store.groups.insert(id, group);
        Ok(())
    }

    /// Whether a reply through this reply block is awaited.
    #[must_use]
    pub fn knows(&self, id: &SurbId) -> bool {
        self.lock().replies.keys(id).is_some()
    }

    /// Opens the reply that came through this reply block, in place.
    pub fn open(&self, format: &dyn PacketFormat, id: &SurbId, packet: &mut [u8]) -> ReplyOpening {
        let Some(keys) = self.lock().replies.keys(id).cloned() else {
            return ReplyOpening::Refused(DropReason::UnknownReply);
        };
        let burned = burns_on_arrival(self.weaknesses).then(|| self.complete(id)).flatten();
        match (open(format, &keys, packet), burned) {
            (Ok(data), burned) => match burned.or_else(|| self.complete(id)) {
                Some(owner) => ReplyOpening::Opened(owner, data),
                None => ReplyOpening::Refused(DropReason::UnknownReply),
            },
            (Err(reason), Some(owner)) => ReplyOpening::Burned(owner, reason),
            (Err(reason), None) => ReplyOpening::Refused(reason),
        }
    }

    /// Credentials that are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().replies.len()
    }

    /// Whether no reply is awaited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().replies.is_empty()
    }

    /// Forgets a try that nobody waits for any more.
    pub(crate) fn cancel(&self, id: TryId) {
        let mut store = self.lock();
        if let Some(group) = store.groups.remove(&id) {
            store.replies.cancel(group);
        }
    }

    /// Forgets what is older than the longest limit, and says what that was. Requests end at their own limits before that; this
    /// is what bounds the life of credentials if one of them does not.
    pub(crate) fn expire(&self, now: Duration) -> Vec<TryId> {
        let mut store = self.lock();
        let expired = store.replies.expire(now);
        expired.iter().for_each(|id| _ = store.groups.remove(id));
        expired
    }

    /// When [`Self::expire`] next has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.lock().replies.next_deadline()
    }

    /// Takes the try out whose reply has been opened; its other credentials go too.
    fn complete(&self, id: &SurbId) -> Option<TryId> {
        let mut store = self.lock();
        let owner = store.replies.complete(id)?;
        store.groups.remove(&owner);
        Some(owner)
    }

    /// No code panics while it holds the lock, so a poisoned store is still consistent.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(format: &dyn PacketFormat, keys: &ReplyKeys, packet: &mut [u8]) -> Result<Vec<u8>, DropReason> {
    let body = format.open_reply(keys, packet).map_err(DropReason::from)?;
    let body = packet.get(body).ok_or(DropReason::BadMessage)?;
    decode_reply(body).map(<[u8]>::to_vec).map_err(MessageError::drop_reason)
}
