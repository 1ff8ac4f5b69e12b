//! The wakumix node: configuration, role start-up, REST, command line, test net.

pub mod cli;
pub mod config;
pub mod keys;
