//! What the tests of several crates share.
//!
//! - [`peer`], [`mix_key`], [`node`] and what is made of them: each is a function of its seed, so that a test names a node
//!   by a number;
//! - [`Surroundings`]: everything that one role is started with, where the test plays every other actor;
//! - [`walk`]: a packet over nodes that the test plays;
//! - [`telemetry`]: what a test of one crate records into;
//! - [`within`], [`until`], [`shows`], [`metric_appears`]: waiting without a guess how long.
//!
//! Helpers fail the test that calls them by panicking. The protocol crates keep their own: they know no roles.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail the test by panicking"
)]

mod nodes;
mod surroundings;
mod waiting;
mod walk;

pub use nodes::{hop, hop_address, keypair, mix_key, node, peer, secret};
pub use surroundings::{Queues, Surroundings};
pub use waiting::{DEADLINE, metric_appears, shows, telemetry, until, within};
pub use walk::{Walk, walk};
