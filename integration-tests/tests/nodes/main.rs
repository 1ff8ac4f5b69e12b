//! Whole nodes over real sockets: what a user, an operator and a peer see.
//!
//! One program for all of them: it is linked once.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing step of a test is a failing test"
)]

mod discovery;
mod drill;
mod durability;
mod faults;
mod flows;
mod gossip;
mod nwaku;
mod places;
mod plugin;
mod processes;
mod rest;
mod rotation;
mod secure;
mod signals;
mod simulation;
mod surfaces;

/// The program under test.
fn wakumix() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_BIN_EXE_wakumix-under-test"))
}
