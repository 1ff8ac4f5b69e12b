//! The mixer role: unwraps packets, delays and forwards them.
//!
//! Contract:
//! - Takes packets from the wire and finished packets that this node made, through
//!   [`MixerHandle`](wakumix_role_api::mixer::MixerHandle). Every one of them ends in exactly one outcome of the ledger, here
//!   or with the peer that it was handed to.
//! - Nothing is done with a packet before its replay tag is kept as durably as the key ring promises.
//! - A packet that is not for us, damaged, replayed or unwanted is dropped silently and counted by reason.
//! - Every queue has a bound and refuses the newest; no full queue makes another packet wait.
//! - Present in every node that forwards, exits or sends: the last hop of a sender's reply paths is the sender. What
//!   makes a node a *mixer* is the `forward` switch; without it a packet that wants to go on is dropped.
//!
//! Non-goals: making packets (sender, exit), opening messages and replies (exit, sender), sockets (host).
//!
//! ```text
//! received ─ actor takes a batch ─> worker: authenticate, tags ─ tags are kept ─ worker: open, blind ─┬─> delay queue ─> peer
//! made here ─ local packets ────────────────────────────────────────────────────────── (its hold) ────┤
//! cover ──── a packet to this node itself through two others, at Poisson times ───────────────────────┤
//!                                                                                                     ├─> exit
//!                                                                                                     ├─> sender: its reply opener
//!                                                                                                     └─> own loops
//! ```
//!
//! ```
//! use wakumix_mixer::{Config, Mixer};
//! use wakumix_role_api::{Role as _, mixer::NAME};
//!
//! let config = Config { max_held: 10_000, ..Config::default() };
//! let mixer = Mixer::new(config, true)?;
//! assert_eq!(mixer.name(), NAME);
//!
//! let refused = Mixer::new(Config { max_batch: 0, ..Config::default() }, true).unwrap_err();
//! assert_eq!(refused.to_string(), "max_batch is 0; use a number from 1 to 1024");
//! # Ok::<(), wakumix_role_api::ConfigError>(())
//! ```

mod actor;
mod batches;
mod capacity;
mod config;
mod countermeasures;
mod cover;
mod delay_queue;
mod effects;
mod gauges;
mod local;
mod loops;
mod metrics;
mod outbound;
mod pipeline;
mod policy;
mod role;
#[cfg(feature = "fuzzing")]
pub mod stepped;

pub use capacity::measure_capacity;
pub use config::{
    Config, CoverRule, DEFAULT_COVER, DEFAULT_MAX_BATCH, DEFAULT_MAX_DELAY, DEFAULT_MAX_HELD, DEFAULT_MAX_WAITING,
    DEFAULT_SENDER_COVER, DelayRule,
};
pub use metrics::METRICS;
pub use role::{Mixer, MixerFactory, RunningMixer};
