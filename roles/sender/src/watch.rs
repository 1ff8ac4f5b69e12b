//! Which open requests' messages were seen on relay, where this node relays (`spec/waku.md §5.5`: a message seen on relay
//! counts as published even without a reply).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use wakumix_client::{Input, RequestId};
use wakumix_role_api::{Address, relay::RelayHandle, sender::SenderMessage};

/// How long a relay that has just failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The hashes of open requests. At most one for each of them, so the bound on open requests is its bound.
#[derive(Default)]
pub(crate) struct Watchlist(Mutex<BTreeMap<[u8; 32], Vec<RequestId>>>);

/// One request that watches for its message; dropping it ends that.
pub(crate) struct Watch {
    list: Arc<Watchlist>,
    hash: [u8; 32],
    id: RequestId,
}

impl Watchlist {
    /// Watches for a message from now on.
    pub(crate) fn watch(self: &Arc<Self>, hash: [u8; 32], id: RequestId) -> Watch {
        self.0.lock().entry(hash).or_default().push(id);
        Watch { list: Arc::clone(self), hash, id }
    }

    /// The requests that watch for a message.
    fn watching(&self, hash: &[u8; 32]) -> Vec<RequestId> {
        self.0.lock().get(hash).cloned().unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut list = self.list.0.lock();
        if let Some(ids) = list.get_mut(&self.hash) {
            ids.retain(|id| *id != self.id);
            if ids.is_empty() {
                list.remove(&self.hash);
            }
        }
    }
}

/// Brings the client what the relay accepts and an open request watches for, until the relay is gone for good. What a lagging
/// reader loses is only not seen.
pub(crate) async fn follow(relay: RelayHandle, list: Arc<Watchlist>, sender: Address<SenderMessage>) {
    while !relay.address().is_closed() {
        if let Ok(mut messages) = relay.follow().await {
            loop {
                let message = match messages.recv().await {
                    Ok(message) => message,
                    Err(RecvError::Lagged(_)) => continue,
                    Err(RecvError::Closed) => break,
                };
                for id in list.watching(message.hash.as_bytes()) {
                    // A sender that has stopped needs no news.
                    let _ = sender.send(SenderMessage::Client(Box::new(Input::SeenDone(id)))).await;
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
    fn only_messages_of_open_requests_are_watched_for() {
        let list = Arc::new(Watchlist::default());
        assert!(list.watching(&[1; 32]).is_empty());
        let [first, second, other] = [(1, 1), (1, 2), (2, 3)].map(|(hash, id)| list.watch([hash; 32], RequestId(id)));
        assert_eq!(list.watching(&[1; 32]), [RequestId(1), RequestId(2)]);
        drop(first);
        assert_eq!(list.watching(&[1; 32]), [RequestId(2)]);
        drop((second, other));
        assert!(list.0.lock().is_empty());
    }
}
