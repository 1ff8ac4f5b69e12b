//! The exit role: the last hop of requests (`spec/mix-wire.md §11`).
//!
//! Takes packets whose path ends here, has a service of this node or of another answer the request in them, and sends the
//! answer back through the reply blocks that came along. It knows what was asked, never who asked: services see all
//! of them as [`Requester::Anonymous`](wakumix_role_api::Requester).
//!
//! | module | what |
//! |---|---|
//! | [`wakumix_mix::exit`] | the rules, without I/O |
//! | `policy`, `refusal` | what the rules are fed with here, and what a refusal says |
//! | `fragments` | the sets of fragments that wait to be whole, and their metrics |
//! | `actor` | the shell: one packet at a time |
//! | `exchange`, `reply` | a task for each request, a worker job for its replies |
//!
//! Non-goals: budgets for services (they are the services' own).
//!
//! ```
//! use wakumix_exit::{Config, ExitRole};
//! use wakumix_role_api::Role;
//!
//! let role = ExitRole::new(Config { forward: false, ..Config::default() })?;
//! assert_eq!(role.name().as_str(), "exit");
//! # Ok::<(), wakumix_role_api::ConfigError>(())
//! ```

mod actor;
mod config;
mod countermeasures;
mod exchange;
mod fragments;
mod metrics;
mod policy;
mod refusal;
mod reply;
mod role;
mod tally;

pub use config::{
    Config, DEFAULT_FRAGMENT_TIMEOUT, DEFAULT_MAX_FRAGMENT_BYTES, DEFAULT_MAX_FRAGMENT_SETS, DEFAULT_MAX_REQUESTS,
    DEFAULT_SERVICE_TIMEOUT,
};
pub use metrics::METRICS;
pub use role::{ExitFactory, ExitRole};
