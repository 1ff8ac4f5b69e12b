//! The pool: which of the known mix nodes may carry packets now.
//!
//! Only what this node sees itself decides who is alive: no other node is asked, so nobody can frame anybody. A node that
//! cannot be reached leaves the pool with the first failure and comes back with the first success. How long a dead node
//! stays: when its connection closes it is tried at once, so until that try fails, at most
//! [`CHECK_TIMEOUT`](check::CHECK_TIMEOUT); when nothing closes, at most [`PoolConfig::check_interval`] longer.

mod check;
mod contact;
mod directory;
mod diversity;
mod entry;
mod family;
mod schedule;
mod state;

use std::time::Duration;

pub use entry::PoolEntry;

pub(crate) use check::{CheckOutcome, PARALLEL_CHECKS, check};
pub(crate) use contact::Contact;
pub(crate) use directory::{View, connections, entries};
pub(crate) use diversity::Diversity;
pub(crate) use schedule::Schedule;
pub(crate) use state::{is_alive, state_of};

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
