//! The sender through its handle.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

mod account;
mod dependable;
mod lightpush;
mod net;
mod return_route;
mod start;
mod support;
