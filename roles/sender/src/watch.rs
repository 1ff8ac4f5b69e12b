//! Which open requests' messages were seen on relay, where this node relays (`spec/waku.md §5.5`: a message seen on relay
//! counts as published even without a reply).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::broadcast::error::RecvError;
use wakumix_role_api::relay::RelayHandle;

/// How long a relay that has just failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The hashes of open requests. At most one for each of them, so [`Admission`](crate::admission::Admission) bounds it.
#[derive(Default)]
pub(crate) struct Watchlist(Mutex<HashMap<[u8; 32], Entry>>);

struct Entry {
    watches: usize,
    seen: Arc<AtomicBool>,
}

/// One request that watches for its message; dropping it ends that.
pub(crate) struct Watch {
    list: Arc<Watchlist>,
    hash: [u8; 32],
    seen: Arc<AtomicBool>,
}

impl Watchlist {
    /// Watches for a message from now on.
    pub(crate) fn watch(self: &Arc<Self>, hash: [u8; 32]) -> Watch {
        let mut entries = self.lock();
        let entry = entries.entry(hash).or_insert_with(|| Entry { watches: 0, seen: Arc::default() });
        entry.watches += 1;
        Watch { list: Arc::clone(self), hash, seen: Arc::clone(&entry.seen) }
    }

    /// A message was accepted.
    pub(crate) fn mark(&self, hash: &[u8; 32]) {
        if let Some(entry) = self.lock().get(hash) {
            entry.seen.store(true, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Whether the message was seen.
    pub(crate) fn has_seen(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut entries = self.list.lock();
        if let Some(entry) = entries.get_mut(&self.hash) {
            entry.watches -= 1;
            if entry.watches == 0 {
                entries.remove(&self.hash);
            }
        }
    }
}

/// Marks what the relay accepts, until it is gone for good. What a lagging reader loses is only not seen.
pub(crate) async fn follow(relay: RelayHandle, list: Arc<Watchlist>) {
    while !relay.address().is_closed() {
        if let Ok(mut messages) = relay.follow().await {
            loop {
                match messages.recv().await {
                    Ok(message) => list.mark(message.hash.as_bytes()),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_that_are_watched_for_are_kept_in_mind() {
        let list = Arc::new(Watchlist::default());
        list.mark(&[1; 32]);
        let (first, second, other) = (list.watch([1; 32]), list.watch([1; 32]), list.watch([2; 32]));
        assert!(!first.has_seen(), "seen before the request began");
        list.mark(&[1; 32]);
        assert!(first.has_seen() && second.has_seen() && !other.has_seen());
        drop(first);
        assert!(second.has_seen() && list.watch([1; 32]).has_seen());
        drop((second, other));
        assert!(list.lock().is_empty());
    }
}
