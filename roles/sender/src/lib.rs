//! The sender role: lightpush over the mixnet (`spec/waku.md §5.5`), and loops that test its nodes.
//!
//! A request goes in one packet, or in fragments of it, through three hops to an exit that serves lightpush, or that passes
//! the request on to a service; its answer comes back through single-use reply blocks, three hops as well. A try that is not
//! answered is followed by another over other hops, until the deadline. Every request ends in a typed outcome: an answer, or
//! a [`PushFailure`](wakumix_role_api::sender::PushFailure).
//!
//! Callers hold a [`SenderHandle`](wakumix_role_api::sender::SenderHandle); this crate has the other end.
//!
//! | module | what |
//! |---|---|
//! | `request`, `fit`, `route`, `way_back`, `seal`, `answer` | the rules of one try, without I/O |
//! | `progress`, `patience` | the rules of many: when the next one goes out, when a request ends |
//! | `actor` | the shell: one message at a time |
//! | `exchange`, `reply`, `probe` | a task for each request, each reply, and each loop |
//! | `departure` | packets that leave, and what is forgotten when nobody waits for their answers |
//! | `admission`, `window`, `book` | the bounds: open requests and their bytes, tries under way, credentials |
//! | `watch` | messages that were seen on relay |
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
mod admission;
mod answer;
mod book;
mod caller;
mod config;
#[cfg(test)]
mod decisions;
mod departure;
mod exchange;
mod fit;
mod metrics;
mod patience;
mod probe;
mod progress;
mod reply;
mod request;
mod role;
mod route;
mod seal;
mod shared;
#[cfg(test)]
mod testing;
mod watch;
mod way_back;
mod window;

pub use config::{
    AutoShards, Config, DEFAULT_IN_FLIGHT, DEFAULT_MAX_TIMEOUT, DEFAULT_PARITY, DEFAULT_QUEUE_BYTES, DEFAULT_SURBS,
    DEFAULT_TIMEOUT, DEFAULT_WINDOW,
};
pub use role::SenderRole;
