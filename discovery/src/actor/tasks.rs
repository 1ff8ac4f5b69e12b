//! What runs beside the actor and talks to the host.

use std::time::Duration;

use multiaddr::Multiaddr;
use tokio::sync::{
    broadcast::{self, error::RecvError},
    watch,
};
use wakumix_role_api::{
    Address,
    host::{HostHandle, PeerEvent},
};

use super::DiscoveryMessage;

/// How often the list of connected peers is asked for: events may be lost, seldom.
const RECONCILE_EVERY: Duration = Duration::from_secs(30);

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
            Ok(PeerEvent::Identified { .. }) => {}
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
