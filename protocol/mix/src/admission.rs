//! Admission: how many frames a node accepts, and from which peers, before any X25519 multiplication
//! (`spec/mix-wire.md §21 W6`, W9).
//!
//! Token buckets whose unit is seconds of the node's time. A frame costs the larger of `1 / packets per second` and
//! `its bytes / bytes per second` of [`Limits`], so one bucket limits both rates. The node's bucket gains one second per
//! second. Its level belongs to the active peers in equal parts:
//!
//! - Each active peer has its own bucket, which fills at `1 / active` seconds per second. That part is guaranteed: its frames are
//!   admitted even when others have emptied the node's bucket, whose level then goes below zero.
//! - What peers do not use of their parts stays in the node's bucket, first come, first served.
//!
//! All buckets fill more slowly while the node falls behind what it admits ([`Pressure`]).
//!
//! So a peer that sends less than `capacity / active` is never refused, however much others send, and a single peer has the
//! whole capacity. A peer is active for one to two [`Limits::active_for`] after a frame. The active peers are counted in two
//! generations with a mark in each [`PeerShare`]: nothing here grows with the number of peers.
//!
//! # What it cannot do
//!
//! Peer ids cost nothing. An adversary with `k` connections under different ids has `k` parts; only the host's limit on connections
//! bounds `k`, and the others are guaranteed `capacity / active` with all `k` counted. A new peer starts with one frame,
//! which costs this node less than the handshake of its connection, so reconnecting under new ids gains nothing.

mod pace;
mod places;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use pace::Pace;
pub use pace::Pressure;
pub use places::{Place, Places, Room};

/// With fewer active peers than this, each has a part as if there were this many: the first peers of an idle node could
/// otherwise each take the whole burst.
const MIN_SHARES: usize = 16;

/// The node's bucket owes at most this many [`Limits::share_burst`]: what all of 512 peers have saved if they come one
/// after another, 1 + ln(512 / 16). Only peers that come and go faster than they are counted get there.
const MAX_DEBT: f64 = 5.0;

/// How many packets a node can open, queue and hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Packets per second that it can open, by estimate; [`Pressure`] corrects it.
    pub packets_per_second: NonZeroU32,
    /// Packets that can wait to be opened.
    pub waiting: usize,
    /// Packets that can be held at a time, of the format with the largest packets.
    pub held: usize,
}

/// Limits on the frames that a node accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Packets per second that it can open.
    pub packets_per_second: NonZeroU32,
    /// Bytes per second that it can receive.
    pub bytes_per_second: NonZeroU64,
    /// Capacity of the node's bucket: the largest burst from all peers together.
    pub burst: Duration,
    /// Capacity of all peers' buckets together; each has an equal part of it.
    pub share_burst: Duration,
    /// How long a peer counts as active after a frame, at least.
    pub active_for: Duration,
}

impl Limits {
    /// Half a second at most: honest traffic of many senders is no burstier.
    const BURST: Duration = Duration::from_millis(500);
    /// Longer than the pauses of a peer that sends at all regularly, shorter than what a flood takes to be noticed.
    const ACTIVE_FOR: Duration = Duration::from_secs(5);

    /// Limits of a node whose packets have at most `frame_len` bytes each. A burst may fill half of the queue of packets to
    /// open; the other half is for packets that arrive while the burst is opened.
    #[must_use]
    pub fn for_capacity(capacity: Capacity, frame_len: usize) -> Self {
        let Capacity { packets_per_second, waiting, .. } = capacity;
        let bytes = u64::from(packets_per_second.get()).saturating_mul(frame_len as u64);
        let queue = Duration::from_secs_f64(count(waiting) / 2.0 / f64::from(packets_per_second.get()));
        let burst = queue.min(Self::BURST);
        Self {
            packets_per_second,
            bytes_per_second: NonZeroU64::new(bytes).unwrap_or(NonZeroU64::MIN),
            burst,
            share_burst: burst,
            active_for: Self::ACTIVE_FOR,
        }
    }
}

/// Why a frame was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The peer has used its part, and the other peers have left nothing unused.
    #[error("the peer sends more than its part and the node is loaded")]
    PeerRate,
    /// The node's bucket is at its lowest level; the peer is not at fault.
    #[error("the node is overloaded")]
    NodeRate,
}

/// One peer's bucket. One per peer, over all its connections, streams and packet formats.
#[derive(Debug)]
pub struct PeerShare {
    /// Seconds of the node's time.
    level: f64,
    /// The time at which `level` was computed.
    filled: Duration,
    /// The generation in which it was seen last.
    generation: Option<u64>,
}

/// The buckets of a node. Times are since an epoch of the caller's choice and do not go back.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    /// Level of the node's bucket, in seconds of the node's time; may go below zero.
    level: f64,
    /// The time at which `level` was computed.
    filled: Duration,
    activity: Activity,
    pace: Pace,
}

impl Admission {
    /// An idle node, which slows down under this pressure.
    #[must_use]
    pub fn new(limits: Limits, pressure: Arc<Pressure>) -> Self {
        let level = limits.burst.as_secs_f64();
        Self { limits, level, filled: Duration::ZERO, activity: Activity::default(), pace: Pace::new(pressure) }
    }

    /// The bucket of a peer that has just connected: it holds one frame.
    #[must_use]
    pub fn share(&self, now: Duration) -> PeerShare {
        PeerShare { level: self.cost(0), filled: now, generation: None }
    }

    /// Charges a peer and the node for a frame of `bytes` bytes.
    ///
    /// # Errors
    /// [`Refusal`]; then nothing was charged.
    pub fn admit(&mut self, now: Duration, share: &mut PeerShare, bytes: usize) -> Result<(), Refusal> {
        let cost = self.cost(bytes);
        let active = self.activity.saw(self.generation(now), share);
        let pace = self.pace.share(now);
        self.fill(now, pace);
        self.fill_share(now, share, active, cost, pace);
        if share.level >= cost {
            if self.level - cost < -self.max_debt(active, cost) {
                return Err(Refusal::NodeRate);
            }
            share.level -= cost;
        } else if self.level < cost {
            return Err(Refusal::PeerRate);
        }
        self.level -= cost;
        Ok(())
    }

    /// How long to stop reading from a peer that was just refused: until its bucket is half full and one such frame fits.
    #[must_use]
    pub fn pause(&mut self, now: Duration, share: &PeerShare, bytes: usize) -> Duration {
        let cost = self.cost(bytes);
        let active = self.activity.active.max(1);
        let wanted = (self.share_cap(active, cost) / 2.0).max(cost);
        let missing = (wanted - share.level).max(cost) * count(active) / self.pace.share(now);
        Duration::try_from_secs_f64(missing).unwrap_or(Duration::MAX)
    }

    /// The share of the capacity that is admitted now: less than 1 while the node falls behind.
    pub fn pace(&mut self, now: Duration) -> f64 {
        self.pace.share(now)
    }

    /// A peer is gone: it no longer counts as active.
    pub fn forget(&mut self, share: &PeerShare) {
        self.activity.forget(share);
    }

    /// The number of peers that share the node's capacity now.
    pub fn active(&mut self, now: Duration) -> usize {
        self.activity.turn(self.generation(now));
        self.activity.active
    }

    /// Seconds of the node's time that a frame costs.
    fn cost(&self, bytes: usize) -> f64 {
        let by_packet = f64::from(self.limits.packets_per_second.get()).recip();
        by_packet.max(count(bytes) / bytes_per_second(self.limits.bytes_per_second))
    }

    /// Capacity of the bucket of one of `active` peers; at least one frame, or a peer of a slow node could never send.
    fn share_cap(&self, active: usize, cost: f64) -> f64 {
        (self.limits.share_burst.as_secs_f64() / count(active.max(MIN_SHARES))).max(cost)
    }

    /// With a frame for each peer, which it may have saved on a slow node.
    fn max_debt(&self, active: usize, cost: f64) -> f64 {
        MAX_DEBT * self.limits.share_burst.as_secs_f64() + count(active) * cost
    }

    fn fill(&mut self, now: Duration, pace: f64) {
        let gained = now.saturating_sub(self.filled).as_secs_f64() * pace;
        self.level = (self.level + gained).min(self.limits.burst.as_secs_f64());
        self.filled = self.filled.max(now);
    }

    fn fill_share(&self, now: Duration, share: &mut PeerShare, active: usize, cost: f64, pace: f64) {
        let gained = now.saturating_sub(share.filled).as_secs_f64() * pace / count(active);
        share.level = (share.level + gained).min(self.share_cap(active, cost));
        share.filled = share.filled.max(now);
    }

    fn generation(&self, now: Duration) -> u64 {
        let generation = now.as_nanos() / self.limits.active_for.as_nanos().max(1);
        u64::try_from(generation).unwrap_or(u64::MAX)
    }
}

/// Counts the active peers: those seen in this generation or in the one before.
#[derive(Debug, Default)]
struct Activity {
    generation: u64,
    /// Peers seen in this generation or the one before.
    active: usize,
    /// Those of this generation.
    seen: usize,
}

impl Activity {
    /// Marks a peer as seen; returns the number of active peers, this one included.
    fn saw(&mut self, generation: u64, share: &mut PeerShare) -> usize {
        self.turn(generation);
        if share.generation != Some(self.generation) {
            if !self.counts(share) {
                self.active += 1;
            }
            self.seen += 1;
            share.generation = Some(self.generation);
        }
        self.active
    }

    fn turn(&mut self, generation: u64) {
        if generation > self.generation {
            self.active = if generation - self.generation == 1 { self.seen } else { 0 };
            self.seen = 0;
            self.generation = generation;
        }
    }

    fn forget(&mut self, share: &PeerShare) {
        if self.counts(share) {
            self.active = self.active.saturating_sub(1);
        }
        if share.generation == Some(self.generation) {
            self.seen = self.seen.saturating_sub(1);
        }
    }

    fn counts(&self, share: &PeerShare) -> bool {
        share.generation.is_some_and(|seen| self.generation - seen.min(self.generation) <= 1)
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::cast_precision_loss, reason = "a rate need not be exact")]
fn bytes_per_second(rate: NonZeroU64) -> f64 {
    rate.get() as f64
}

#[cfg(test)]
mod tests;
