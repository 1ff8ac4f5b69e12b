//! The sender role: lightpush over the mixnet (`spec/waku.md §5.5`), and loops that test its nodes.
//!
//! One request is one packet through three hops to an exit that serves lightpush, or that passes the request on to a
//! service; its answer comes back through a single-use reply block, three hops as well. Every request ends in a typed
//! outcome: an answer, or a [`PushFailure`](wakumix_role_api::sender::PushFailure).
//!
//! Callers hold a [`SenderHandle`](wakumix_role_api::sender::SenderHandle); this crate has the other end.
//!
//! | module | what |
//! |---|---|
//! | `request`, `route`, `way_back`, `seal`, `answer` | the rules, without I/O |
//! | `actor` | the shell: one message at a time |
//! | `exchange`, `probe` | a task for each request and reply, and for each loop |
//! | `under_way` | waiting for what has left |
//! | `admission`, `book` | the bounds: open requests, credentials |
//!
//! Non-goals: retries, fragments, pacing of bursts.
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
mod admission;
mod answer;
mod book;
mod config;
mod exchange;
mod metrics;
mod probe;
mod request;
mod role;
mod route;
mod seal;
#[cfg(test)]
mod testing;
mod under_way;
mod way_back;

pub use config::{AutoShards, Config, DEFAULT_IN_FLIGHT, DEFAULT_MAX_TIMEOUT, DEFAULT_SURBS, DEFAULT_TIMEOUT};
pub use role::SenderRole;
