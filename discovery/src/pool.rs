//! The pool: which of the known mix nodes may carry packets now.

mod entry;

use std::time::Duration;

pub use entry::PoolEntry;

/// The rules of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Whether this node uses the pool itself and so has to know who is alive: senders.
    pub is_checked: bool,
    /// Between two checks of a node that answers; each wait is drawn between half of it and the whole.
    pub check_interval: Duration,
    /// A node that has not been reached for this long is expired.
    pub max_age: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self { is_checked: true, check_interval: Duration::from_secs(60), max_age: Duration::from_secs(30 * 60) }
    }
}
