//! What runs beside the actor and talks to the host.

use std::{sync::Arc, time::Duration};

use multiaddr::Multiaddr;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use wakumix_role_api::{
    Address,
    host::{HostHandle, PeerEvent},
};

use crate::{cache::CacheFile, clock::Now, messages::DiscoveryMessage, peer_report::Remembered};

/// How often the list of connected peers is asked for: events may be lost, seldom.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);

/// When the cache is written first: by then the pool is full, and a crash does not lose it.
const FIRST_STORE: Duration = Duration::from_secs(30);
/// Between two writes of the cache.
const STORE_EVERY: Duration = Duration::from_secs(3 * 60);

/// Tells the host every new list, the first one if there is anybody on it.
pub(super) async fn keep_connected(host: HostHandle, mut connections: watch::Receiver<Vec<Multiaddr>>) {
    if connections.borrow().is_empty() && connections.changed().await.is_err() {
        return;
    }
    loop {
        let current = connections.borrow_and_update().clone();
        host.keep_connected(current).await;
        if connections.changed().await.is_err() {
            return;
        }
    }
}

/// Passes on what happens to connections.
pub(super) async fn follow(mut events: broadcast::Receiver<PeerEvent>, address: Address<DiscoveryMessage>) {
    loop {
        match events.recv().await {
            // For the source that learns services from them.
            Ok(PeerEvent::Identified { .. } | PeerEvent::Shards { .. }) => {}
            Ok(event) => {
                if address.send(DiscoveryMessage::Event(event)).await.is_err() {
                    return;
                }
            }
            // The next list of connected peers mends it.
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Asks who is connected, now and then.
pub(super) async fn reconcile(host: HostHandle, address: Address<DiscoveryMessage>) {
    loop {
        tokio::time::sleep(RECONCILE_EVERY).await;
        let peers = host.peers().await;
        if address.send(DiscoveryMessage::Connected(peers)).await.is_err() {
            return;
        }
    }
}

/// Keeps the cache up to date.
pub(super) async fn keep_cache(cache: Arc<CacheFile>, address: Address<DiscoveryMessage>) {
    let mut wait = FIRST_STORE;
    loop {
        tokio::time::sleep(wait).await;
        wait = STORE_EVERY;
        let Some(nodes) = address.ask(|reply| DiscoveryMessage::Memory { reply }).await else { return };
        store(Arc::clone(&cache), nodes).await;
    }
}

/// Writes the cache. Where nothing is known, what was known before stays.
pub(super) async fn store(cache: Arc<CacheFile>, nodes: Vec<Remembered>) {
    if nodes.is_empty() {
        return;
    }
    if let Err(error) = cache.store(&nodes, Now::read().unix).await {
        let path = cache.path().display();
        tracing::warn!(%path, %error, "the directory cannot be kept for a later run; check the place and its rights");
    }
}
