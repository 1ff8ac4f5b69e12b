//! What is taken from gossip peers, before gossipsub sees it.
//!
//! gossipsub keeps the id of every message for 120 s in its scores and for [`DUPLICATES_KEPT`] to know copies, and meters nothing:
//! messages of 60 bytes would grow a node by 700 bytes each. Two meters stand before it, each with a share for every peer and
//! the rest for whoever comes first ([`wakumix_mix::admission`]):
//!
//! - **Reading**, in messages, bytes and lists of ids. Beyond it a peer is read more slowly: its stream's window closes.
//! - **Keeping**, in new messages and their bytes. What is beyond it waits for a moment, so that bursts lose nothing, and is then
//!   dropped before it is remembered anywhere: another peer, or the same one when it is asked after a list of ids, can bring it
//!   again. Waiting for longer would not do: what a flooded peer passes on comes in one stream with all else, and some thousand
//!   small messages fit its window.
//!
//! Copies of what has come already cost a place in a score and are of no further use; those beyond a rate are dropped.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    num::{NonZeroU32, NonZeroU64},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libp2p::{PeerId, gossipsub::RawMessage};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use wakumix_mix::{
    Admission,
    admission::{AdmissionLimits, AdmissionRefusal, PeerShare},
    budget::{Refill, TokenBucket},
};

use super::seen::Seen;
use crate::{
    config::GossipLimits,
    metrics::{GossipAdmission, GossipMetrics, GossipPause},
};

/// How long gossipsub refuses a message that it has had. Half of what the network's nodes choose (120 s, `spec/waku.md §2.2`), the
/// default of the library. A copy is late by what its sender may answer from (6 heartbeats), by its queue (5 s) and by its stream's
/// window: 256 KiB are 4000 messages of 60 bytes, 26 s at the part of 26 peers that are all read at their limit. A message
/// that is sent again after longer passes here once more; nodes with 120 s stop it.
pub(crate) const DUPLICATES_KEPT: Duration = Duration::from_secs(60);

/// How much of its time a node that reads little saves, as for packets.
const READING_BURST: Duration = Duration::from_millis(500);

/// How long a peer counts as active after it has sent something, at least.
const ACTIVE_FOR: Duration = Duration::from_secs(5);

/// Shortest and longest time that a stream is not read, as for packets.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Bytes of decoded frames that wait to be admitted, of all connections: 16 of the largest, half a MiB each. A larger one that finds no
/// room is dropped; one of [`SMALL_FRAME`] always waits, a few hundred of them are 2 MiB.
const WAITING_ROOM: usize = 8 << 20;

/// Subscriptions, grafts and a list of 40 ids, or one message of the usual size.
const SMALL_FRAME: usize = 4096;

/// What the library's types take for each message, besides its content.
const MESSAGE_OVERHEAD: usize = 256;

/// The gate of a node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Shared>);

struct Shared {
    prices: Prices,
    meters: Mutex<Meters>,
    start: Instant,
    /// Keyed, so that nobody can make a message that looks like another.
    fingerprints: RandomState,
    /// Bound: connections.
    peers: Mutex<HashMap<PeerId, Weak<PeerGate>>>,
    /// Bytes of frames that wait.
    waiting: AtomicUsize,
    metrics: GossipMetrics,
}

struct Meters {
    reading: Admission,
    keeping: Admission,
    duplicates: (Refill, TokenBucket),
    seen: Seen,
}

/// What is read costs in bytes of messages.
#[derive(Clone, Copy)]
struct Prices {
    /// Of a message, however short.
    message: usize,
    /// Of a byte of lists, subscriptions and the like.
    control_byte: usize,
}

impl Gate {
    pub(crate) fn new(limits: &GossipLimits, metrics: GossipMetrics) -> Self {
        let per = |part: u64| usize::try_from(limits.read_bytes_per_second / part.max(1)).unwrap_or(usize::MAX).max(1);
        let prices = Prices {
            message: per(limits.read_messages_per_second.into()),
            control_byte: per(limits.control_bytes_per_second),
        };
        let reading = AdmissionLimits {
            packets_per_second: at_least_one(limits.read_messages_per_second),
            bytes_per_second: NonZeroU64::new(limits.read_bytes_per_second).unwrap_or(NonZeroU64::MIN),
            burst: READING_BURST,
            share_burst: READING_BURST,
            active_for: ACTIVE_FOR,
        };
        let keeping = AdmissionLimits {
            packets_per_second: at_least_one(limits.messages_per_second),
            bytes_per_second: NonZeroU64::new(limits.bytes_per_second).unwrap_or(NonZeroU64::MIN),
            burst: limits.burst,
            // What peers have saved may come on top: five times this at most, so a burst of the node's twice.
            share_burst: limits.burst / 5,
            active_for: ACTIVE_FOR,
        };
        let copies = at_least_one(limits.copies_per_second).get();
        let meters = Meters {
            reading: Admission::new(reading, Arc::default()),
            keeping: Admission::new(keeping, Arc::default()),
            duplicates: (Refill::of(copies, Duration::from_secs(1) / copies), TokenBucket::default()),
            seen: Seen::new(DUPLICATES_KEPT),
        };
        Self(Arc::new(Shared {
            prices,
            meters: Mutex::new(meters),
            start: Instant::now(),
            fingerprints: RandomState::new(),
            peers: Mutex::default(),
            waiting: AtomicUsize::new(0),
            metrics,
        }))
    }

    /// What is kept of a peer; the same for everybody who asks while somebody holds it.
    pub(super) fn peer(&self, peer: PeerId) -> Arc<PeerGate> {
        let mut peers = self.0.peers.lock();
        if let Some(known) = peers.get(&peer).and_then(Weak::upgrade) {
            return known;
        }
        let shares = {
            let (meters, now) = self.0.lock();
            Shares { reading: meters.reading.share(now), keeping: meters.keeping.share(now) }
        };
        let known = Arc::new(PeerGate { gate: self.clone(), peer, shares: Mutex::new(shares) });
        peers.insert(peer, Arc::downgrade(&known));
        known
    }

    /// By what a message is known here.
    pub(super) fn fingerprint(&self, data: &[u8]) -> u64 {
        self.0.fingerprints.hash_one(data)
    }

    /// This node has published something: what comes back is a copy.
    pub(super) fn published(&self, fingerprint: u64) {
        let (mut meters, now) = self.0.lock();
        meters.seen.insert(fingerprint, now);
    }
}

impl Shared {
    /// The meters and the time, which does not go back between two holders of the lock.
    fn lock(&self) -> (MutexGuard<'_, Meters>, Duration) {
        let meters = self.meters.lock();
        (meters, self.start.elapsed())
    }
}

/// What a frame holds, as far as it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FrameSize {
    /// Messages.
    pub(super) messages: usize,
    /// Their bytes.
    pub(super) message_bytes: usize,
    /// Bytes of all else.
    pub(super) control_bytes: usize,
}

impl FrameSize {
    /// Bytes in memory, decoded.
    fn decoded(self) -> usize {
        let messages = self.messages.saturating_mul(MESSAGE_OVERHEAD).saturating_add(self.message_bytes);
        messages.saturating_add(self.control_bytes.saturating_mul(2))
    }
}

/// Room in which a frame waits; free again when this is dropped.
pub(super) struct WaitingPlace {
    gate: Gate,
    bytes: usize,
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        self.gate.0.waiting.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// One peer at the gate.
pub(super) struct PeerGate {
    gate: Gate,
    peer: PeerId,
    shares: Mutex<Shares>,
}

struct Shares {
    reading: PeerShare,
    keeping: PeerShare,
}

impl PeerGate {
    /// Asks for a frame that was read.
    ///
    /// # Errors
    /// For how long it has to wait, and its stream with it, before this is asked again.
    pub(super) fn read(&self, size: FrameSize) -> Result<(), Duration> {
        let Shared { prices, metrics, .. } = &*self.gate.0;
        let messages = size.message_bytes.max(size.messages.saturating_mul(prices.message));
        let cost = messages.saturating_add(size.control_bytes.saturating_mul(prices.control_byte));
        let mut shares = self.shares.lock();
        let (mut meters, now) = self.gate.0.lock();
        let reading = &mut meters.reading;
        reading.admit(now, &mut shares.reading, cost).map_err(|refusal| {
            metrics.paused(match refusal {
                AdmissionRefusal::PeerRate => GossipPause::PeerRate,
                AdmissionRefusal::NodeRate => GossipPause::NodeRate,
            });
            reading.pause(now, &shares.reading, cost).clamp(PAUSES.0, PAUSES.1)
        })
    }

    /// Room for a frame that has to wait; without it, it is dropped.
    pub(super) fn wait(&self, size: FrameSize) -> Option<WaitingPlace> {
        let Shared { waiting, metrics, .. } = &*self.gate.0;
        let bytes = Some(size.decoded()).filter(|bytes| *bytes > SMALL_FRAME).unwrap_or(0);
        let more = |waiting: usize| waiting.checked_add(bytes).filter(|sum| *sum <= WAITING_ROOM);
        let has_room = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok();
        if !has_room {
            metrics.paused(GossipPause::NoRoom);
        }
        has_room.then(|| WaitingPlace { gate: self.gate.clone(), bytes })
    }

    /// Whether gossipsub may see a message.
    ///
    /// # Errors
    /// For how long it has to wait before this is asked again, if it may wait.
    pub(super) fn take(&self, message: &RawMessage, may_wait: bool) -> Result<bool, Duration> {
        let bytes = len(message);
        let outcome = self.judge(self.gate.fingerprint(&message.data), bytes);
        let metrics = &self.gate.0.metrics;
        let pause = match outcome {
            GossipAdmission::PeerRate => GossipPause::PeerRate,
            GossipAdmission::NodeRate => GossipPause::NodeRate,
            GossipAdmission::New | GossipAdmission::Copy | GossipAdmission::CopyRate => {
                metrics.message(outcome);
                return Ok(outcome != GossipAdmission::CopyRate);
            }
        };
        if !may_wait {
            metrics.message(outcome);
            return Ok(false);
        }
        metrics.paused(pause);
        let shares = self.shares.lock();
        let (mut meters, now) = self.gate.0.lock();
        Err(meters.keeping.pause(now, &shares.keeping, bytes).clamp(PAUSES.0, PAUSES.1))
    }

    fn judge(&self, fingerprint: u64, bytes: usize) -> GossipAdmission {
        let mut shares = self.shares.lock();
        let (mut meters, now) = self.gate.0.lock();
        if meters.seen.contains(fingerprint, now) {
            let (refill, bucket) = &mut meters.duplicates;
            return if bucket.take(*refill, now) { GossipAdmission::Copy } else { GossipAdmission::CopyRate };
        }
        match meters.keeping.admit(now, &mut shares.keeping, bytes) {
            Ok(()) => {
                meters.seen.insert(fingerprint, now);
                GossipAdmission::New
            }
            Err(AdmissionRefusal::PeerRate) => GossipAdmission::PeerRate,
            Err(AdmissionRefusal::NodeRate) => GossipAdmission::NodeRate,
        }
    }
}

impl Drop for PeerGate {
    fn drop(&mut self) {
        // A newer one may stand in its place already.
        let mut peers = self.gate.0.peers.lock();
        if peers.get(&self.peer).is_some_and(|known| known.strong_count() == 0) {
            peers.remove(&self.peer);
        }
        drop(peers);
        let shares = self.shares.get_mut();
        let (mut meters, _) = self.gate.0.lock();
        meters.reading.forget(&shares.reading);
        meters.keeping.forget(&shares.keeping);
    }
}

/// Bytes that gossipsub keeps of a message while it may be asked for: whatever its sender has put into it.
fn len(message: &RawMessage) -> usize {
    let optional = |field: &Option<Vec<u8>>| field.as_ref().map_or(0, Vec::len);
    message.data.len() + message.topic.as_str().len() + optional(&message.key) + optional(&message.signature)
}

/// The size of messages of a frame.
pub(super) fn sizes<'a>(messages: impl Iterator<Item = &'a RawMessage>) -> FrameSize {
    messages.fold(FrameSize::default(), |size, message| FrameSize {
        messages: size.messages + 1,
        message_bytes: size.message_bytes + len(message),
        ..size
    })
}

fn at_least_one(rate: u32) -> NonZeroU32 {
    NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests;
