//! The sender role: lightpush over the mixnet (`spec/waku.md §5.5`), and loops that test its nodes.
//!
//! The rules of sending are [`wakumix_client`]'s. This crate is their shell in a node: it feeds the client what happens, builds
//! packets and opens replies on workers, and carries outcomes to callers.
//!
//! Callers hold a [`SenderHandle`](wakumix_role_api::sender::SenderHandle); this crate has the other end.
//!
//! | module | what |
//! |---|---|
//! | `actor` | feeds the client one input at a time, and carries out what it decides |
//! | `dispatch` | packets on their way out and replies on their way in, on workers |
//! | `surroundings`, `timer`, `watch` | what the client hears of the directory, of time, and of messages seen on relay |
//! | `caller`, `shell` | the callers' ends, and what the tasks share |
//!
//! Non-goals: cover traffic (the mixer's), order among requests, storage of what could not be sent.
//!
//! ```
//! use wakumix_sender::{Config, SenderRole};
//! use wakumix_role_api::Role;
//!
//! let role = SenderRole::new(Config::default())?;
//! assert_eq!(role.name().as_str(), "sender");
//! # Ok::<(), wakumix_role_api::ConfigError>(())
//! ```

mod actor;
mod caller;
mod config;
mod dispatch;
mod metrics;
mod probe;
mod role;
mod shell;
mod surroundings;
mod timer;
mod watch;

pub use config::{
    AutoShards, Config, DEFAULT_FALLBACK_AFTER, DEFAULT_GUARDS, DEFAULT_IN_FLIGHT, DEFAULT_MAX_TIMEOUT,
    DEFAULT_MIN_SUBNETS, DEFAULT_PARITY, DEFAULT_QUEUE_BYTES, DEFAULT_SURBS, DEFAULT_TIMEOUT, DEFAULT_WINDOW,
};
pub use metrics::METRICS;
pub use role::{SenderFactory, SenderRole};
