//! The pool: which of the known mix nodes may carry packets now.
//!
//! Only what this node sees itself decides who is alive: no other node is asked, so nobody can frame anybody. A node that
//! cannot be reached leaves the pool with the first failure and comes back with the first success. How long a dead node
//! stays: when its connection closes it is tried at once, so until that try fails, at most
//! [`CHECK_TIMEOUT`](check::CHECK_TIMEOUT); when nothing closes, at most [`PoolConfig::check_interval`](crate::PoolConfig::check_interval) longer.

mod bounds;
mod check;
mod directory;
mod diversity;
mod entry;
mod family;
mod guards;
mod schedule;

pub use entry::{ContactClass, PoolEntry};

pub(crate) use bounds::held;
pub(crate) use check::{Check, Checked, MAX_PARALLEL_CHECKS, parallel_checks};
pub(crate) use directory::{View, connections, entries, is_usable};
pub(crate) use diversity::Diversity;
pub(crate) use guards::Guards;
pub(crate) use schedule::Schedule;
