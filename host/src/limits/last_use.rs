//! When each connection last carried a packet or a request, which is what it is kept for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use libp2p::swarm::ConnectionId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long after a packet another one may be expected.
const PACKETS_FOLLOW: Duration = Duration::from_secs(60);

/// The last use of one connection. Cheap to clone; every protocol that uses the connection has one.
#[derive(Clone, Debug)]
pub(crate) struct LastUse(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    start: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
    /// The same of the last packet, plus one; 0 before the first.
    last_packet: AtomicU64,
    /// Requests that are not answered yet.
    requests: AtomicUsize,
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct OpenRequest(LastUse);

impl LastUse {
    /// One that is used now.
    pub(crate) fn now() -> Self {
        let (last, last_packet, requests) = (AtomicU64::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        Self(Arc::new(Clock { start: Instant::now(), last, last_packet, requests }))
    }

    /// The connection carries a packet.
    pub(crate) fn packet(&self) {
        self.0.last.fetch_max(self.since_start(), Ordering::Relaxed);
        self.packets_follow();
    }

    /// A stream is opened on it for packets. That alone is no use: it may stay silent.
    pub(crate) fn packets_follow(&self) {
        self.0.last_packet.fetch_max(self.since_start().saturating_add(1), Ordering::Relaxed);
    }

    /// The connection carries a request, until this is dropped.
    pub(crate) fn request(&self) -> OpenRequest {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.last.fetch_max(self.since_start(), Ordering::Relaxed);
        OpenRequest(self.clone())
    }

    /// When it last did; when it was made, if it never did.
    pub(crate) fn at(&self) -> Instant {
        if self.0.requests.load(Ordering::Relaxed) > 0 {
            return Instant::now();
        }
        self.0.start + Duration::from_millis(self.0.last.load(Ordering::Relaxed))
    }

    /// Whether it has carried anything.
    pub(crate) fn was_used(&self) -> bool {
        self.at() > self.0.start
    }

    /// Whether nothing would be missed if it ended: no request is open, and no packet came lately.
    fn is_free(&self) -> bool {
        let last_packet = self.0.last_packet.load(Ordering::Relaxed);
        let follows = last_packet > 0
            && Duration::from_millis(self.since_start().saturating_sub(last_packet - 1)) < PACKETS_FOLLOW;
        !follows && self.0.requests.load(Ordering::Relaxed) == 0
    }

    fn since_start(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let clock = &self.0.0;
        clock.last.fetch_max(self.0.since_start(), Ordering::Relaxed);
        clock.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The last uses of all connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastUses(Arc<Mutex<HashMap<ConnectionId, LastUse>>>);

impl LastUses {
    /// That of one connection; begins now if nobody has asked before. Bound: who admits connections asks first and forgets
    /// each.
    pub(crate) fn of(&self, connection: ConnectionId) -> LastUse {
        self.0.lock().entry(connection).or_insert_with(LastUse::now).clone()
    }

    /// Whether nothing would be missed if a connection ended.
    pub(crate) fn is_free(&self, connection: ConnectionId) -> bool {
        self.0.lock().get(&connection).is_none_or(LastUse::is_free)
    }

    /// The connection is gone.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.0.lock().remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_used_while_a_request_is_open_and_for_a_minute_after_a_packet() {
        let last_use = LastUse::now();
        assert!(last_use.is_free());
        let request = last_use.request();
        tokio::time::advance(PACKETS_FOLLOW).await;
        assert!(!last_use.is_free());
        assert_eq!(last_use.at(), Instant::now(), "in use as long as it is open");
        drop(request);
        let answered = Instant::now();
        assert!(last_use.is_free());
        tokio::time::advance(PACKETS_FOLLOW).await;
        assert_eq!(last_use.at(), answered);
        last_use.packet();
        assert!(!last_use.is_free());
        tokio::time::advance(PACKETS_FOLLOW).await;
        assert!(last_use.is_free());
    }
}
