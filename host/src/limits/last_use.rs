//! When each connection last carried a packet or a request, which is what it is kept for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use libp2p::swarm::ConnectionId;
use parking_lot::Mutex;
use tokio::time::Instant;

/// The last use of one connection. Cheap to clone; every protocol that uses the connection has one.
#[derive(Clone, Debug)]
pub(crate) struct LastUse(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    start: Instant,
    /// Milliseconds since then.
    last: AtomicU64,
}

impl LastUse {
    /// One that is used now.
    pub(crate) fn now() -> Self {
        Self(Arc::new(Clock { start: Instant::now(), last: AtomicU64::new(0) }))
    }

    /// The connection carries a packet or a request.
    pub(crate) fn mark(&self) {
        let since = u64::try_from(self.0.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last.fetch_max(since, Ordering::Relaxed);
    }

    /// When it last did; when it was made, if it never did.
    pub(crate) fn at(&self) -> Instant {
        self.0.start + Duration::from_millis(self.0.last.load(Ordering::Relaxed))
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

    /// The connection is gone.
    pub(crate) fn forget(&self, connection: ConnectionId) {
        self.0.lock().remove(&connection);
    }
}
