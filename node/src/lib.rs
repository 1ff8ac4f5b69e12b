//! The wakumix node: configuration, role start-up, REST, command line, test net.

pub mod cli;
pub mod clock;
pub mod config;
pub mod keys;
pub mod metrics;
pub mod node;
mod plain;
pub mod rest;
pub mod roles;
pub mod runtime;
pub mod testnet;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
