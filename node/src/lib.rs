//! The wakumix node as a library: configuration, role start-up, REST, its life.

pub mod clock;
pub mod config;
pub mod keys;
mod metrics;
pub mod node;
mod plain;
pub mod rest;
pub mod roles;
pub mod runtime;
pub mod token;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
