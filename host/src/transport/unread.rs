//! What remotes have sent and nobody has read yet, over all connections.
//!
//! Each muxer bounds what waits on one of its connections; many connections together would still fill the memory. So when
//! [`BUDGET`] is reached, each may only have [`LEAST`] waiting. Whoever reads what comes does not notice.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Bytes on all connections together.
const BUDGET: usize = 32 << 20;
/// Bytes of one connection when that much waits: three packets.
const LEAST: usize = 16 << 10;

/// How long a connection may stand still because nobody reads what it has sent; below what a ping may take.
pub(super) const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What waits on all connections. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread(Arc<AtomicUsize>);

/// What waits on one of them.
#[derive(Debug)]
pub(super) struct OfConnection {
    all: Unread,
    bytes: usize,
}

impl Unread {
    pub(super) fn connection(&self) -> OfConnection {
        OfConnection { all: self.clone(), bytes: 0 }
    }
}

impl OfConnection {
    /// Bytes that may come yet, on a connection that may have `most`.
    pub(super) fn room(&self, most: usize) -> usize {
        let limit = if self.all.0.load(Ordering::Relaxed) < BUDGET { most } else { most.min(LEAST) };
        limit.saturating_sub(self.bytes)
    }

    pub(super) fn came(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.all.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn went(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.all.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for OfConnection {
    fn drop(&mut self) {
        self.went(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_little_once_all_have_much() {
        let all = Unread::default();
        let (mut greedy, mut other) = (all.connection(), all.connection());
        assert_eq!(other.room(100_000), 100_000);
        other.came(1000);
        greedy.came(BUDGET);
        assert_eq!((greedy.room(100_000), other.room(100_000)), (0, LEAST - 1000));
        greedy.went(1000);
        assert_eq!(other.room(100_000), LEAST - 1000);
        greedy.went(1);
        assert_eq!(other.room(100_000), 99_000);
        drop((greedy, other));
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }
}
