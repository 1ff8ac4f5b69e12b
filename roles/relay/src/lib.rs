//! The relay role: validates gossip, keeps the latest messages for local readers, and serves lightpush v3 and v2.
//!
//! The crate is a plugin: [`Relay`] implements [`Role`](wakumix_role_api::Role), takes
//! [`RelayMessage`](wakumix_role_api::relay::RelayMessage)s and talks to the host by messages only. Other crates hold
//! a [`RelayHandle`](wakumix_role_api::relay::RelayHandle).
//!
//! | module | what | I/O |
//! |---|---|---|
//! | `policy` | what is published, what is refused and with which words | none |
//! | `service` | lightpush bytes to requests, outcomes to bytes | none |
//! | `limiter` | rate limits of lightpush, per client and over the mixnet | none |
//! | `repeats` | what this node published for each client in the last two minutes, to answer a repeated push with success | none |
//! | `delivery` | caches of accepted messages, and local readers that follow them as a stream | none |
//! | `actor` | the shell: message in, decision out | host |
//!
//! ```
//! use wakumix_relay::{Config, Relay};
//!
//! let relay = Relay::new(Config { cluster: 2, shards: vec![0], ..Config::default() })?;
//! assert!(Relay::new(Config { shards: vec![1024], ..Config::default() }).is_err());
//! # drop(relay);
//! # Ok::<(), wakumix_role_api::ConfigError>(())
//! ```

mod actor;
mod config;
mod delivery;
mod limiter;
mod metrics;
mod pending;
mod policy;
mod repeats;
mod rest;
mod role;
mod service;

pub use config::{
    Config, DEFAULT_CACHE_CAPACITY, DEFAULT_FOLLOW_CAPACITY, DEFAULT_LIGHTPUSH_RATE, DEFAULT_LIGHTPUSH_RATE_MIX,
    DEFAULT_MAX_IN_FLIGHT, RateLimit,
};
pub use metrics::METRICS;
pub use role::{Relay, RelayFactory};
