//! The relay through its handle and its services, in virtual time, with a host that the test plays.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing step of a test is a failing test")]

mod gossip;
mod lightpush;
mod support;
