//! The one place where packets wait for their time.
//!
//! A bounded heap of absolute deadlines, read by its own task: actix timers cost O(pending) per message. Whoever
//! puts a packet in learns at once whether there is room ("refuse newest"); the task releases what is due in batches.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use wakumix_mix::{DropReason, Stage};
use wakumix_role_api::{
    Formats,
    host::{HostHandle, OutboundPacket, SendFailure},
};

use crate::metrics::DelayMetrics;
use crate::outbound::{give_up, send_now};

/// Packets released in one message to the host at most.
const RELEASE_BATCH: usize = 64;

/// Where packets are put to be held. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DelayQueue {
    shared: Arc<Shared>,
}

/// A packet and how long it is held from now on.
pub(crate) struct Delayed {
    pub(crate) delay: Duration,
    pub(crate) outbound: OutboundPacket,
}

impl AsMut<OutboundPacket> for Delayed {
    fn as_mut(&mut self) -> &mut OutboundPacket {
        &mut self.outbound
    }
}

/// The task's side of the queue. Cheap to clone: the queue outlives the task.
#[derive(Clone)]
pub(crate) struct Releaser {
    shared: Arc<Shared>,
    host: HostHandle,
    stop: watch::Receiver<Option<Instant>>,
}

/// What became of the packets that were held when the node stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drained {
    pub(crate) released: u64,
    pub(crate) given_up: u64,
}

/// How much is held at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) packets: usize,
    /// As many bytes as so many packets of the preferred format have: larger packets take the room of several.
    pub(crate) bytes: usize,
}

impl Bounds {
    /// Room for so many packets of the preferred of these formats.
    pub(crate) fn new(packets: usize, formats: &Formats) -> Self {
        let len = formats.preferred().map_or(0, |preferred| preferred.format.packet_len());
        Self { packets, bytes: packets.saturating_mul(len) }
    }

    /// So many packets fit, in whatever of these formats they are.
    pub(crate) fn room(self, formats: &Formats) -> usize {
        let longest = formats.all().iter().map(|served| served.format.packet_len()).max().unwrap_or(1);
        self.packets.min(self.bytes / longest)
    }
}

struct Shared {
    bounds: Bounds,
    held: Mutex<HeldPackets>,
    /// Told when the earliest deadline has changed.
    changed: Notify,
    metrics: DelayMetrics,
}

/// Ephemeral: packets that are held are lost with the process, and counted when it stops in order.
struct HeldPackets {
    /// When which packet leaves. Packets themselves stay where they are: the heap moves its entries.
    heap: BinaryHeap<Reverse<Entry>>,
    /// The packets, each at the place that its entry names.
    places: Vec<Option<OutboundPacket>>,
    /// Places that are free.
    free: Vec<usize>,
    /// Bytes of the packets.
    bytes: usize,
    /// Turn of the next packet: among equal deadlines the first in is the first out.
    next_turn: u64,
    is_closed: bool,
}

/// In the order in which packets leave; no two have the same turn.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    release_at: Instant,
    turn: u64,
    place: usize,
}

impl DelayQueue {
    /// A queue within `bounds` and the side that releases packets to `host`.
    pub(crate) fn new(
        bounds: Bounds,
        host: HostHandle,
        metrics: DelayMetrics,
        stop: watch::Receiver<Option<Instant>>,
    ) -> (Self, Releaser) {
        let held = HeldPackets {
            heap: BinaryHeap::new(),
            places: Vec::new(),
            free: Vec::new(),
            bytes: 0,
            next_turn: 0,
            is_closed: false,
        };
        let shared = Arc::new(Shared { bounds, held: Mutex::new(held), changed: Notify::new(), metrics });
        (Self { shared: Arc::clone(&shared) }, Releaser { shared, host, stop })
    }

    /// Holds packets, each for its delay. Those for which there is no room are dropped and counted.
    pub(crate) fn hold(&self, packets: impl IntoIterator<Item = Delayed>) {
        let now = Instant::now();
        let mut refused = Vec::new();
        let mut held = self.shared.held.lock();
        let earliest = held.next_deadline();
        let reason = if held.is_closed { DropReason::Stopped } else { DropReason::QueueFull };
        for Delayed { delay, mut outbound } in packets {
            if held.is_closed || !held.has_room(&outbound, self.shared.bounds) {
                refused.push(outbound);
                continue;
            }
            outbound.packet.enter(Stage::Delay);
            self.shared.metrics.hold.record(delay);
            held.push(now + delay, outbound);
        }
        let is_earlier = held.next_deadline() != earliest;
        drop(held);
        if is_earlier {
            self.shared.changed.notify_one();
        }
        self.refuse(refused, reason);
    }

    /// Packets held now.
    pub(crate) fn len(&self) -> usize {
        self.shared.held.lock().heap.len()
    }

    /// Bytes of the packets held now.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn bytes(&self) -> usize {
        self.shared.held.lock().bytes
    }

    /// Packets that can be held.
    pub(crate) fn capacity(&self) -> usize {
        self.shared.bounds.packets
    }

    fn refuse(&self, packets: Vec<OutboundPacket>, reason: DropReason) {
        for packet in packets {
            if reason == DropReason::Stopped {
                give_up(packet, Stage::Shutdown, reason, SendFailure::Stopped);
            } else {
                self.shared.metrics.refused.increment(1);
                give_up(packet, Stage::Delay, reason, SendFailure::QueueFull);
            }
        }
    }
}

impl Releaser {
    /// Releases packets at their times until `stop` names a deadline; then refuses new ones, goes on until nothing is
    /// left that is due before the deadline, and gives up the rest.
    pub(crate) async fn run(self) -> Drained {
        let mut stop = self.stop.clone();
        let stopped = stop_deadline(&mut stop);
        tokio::pin!(stopped);
        let deadline = loop {
            let next = self.shared.held.lock().next_deadline();
            tokio::select! {
                biased;
                deadline = &mut stopped => break deadline,
                () = until(next) => { self.release_due(); }
                () = self.shared.changed.notified() => {}
            }
        };
        self.drain(deadline).await
    }

    async fn drain(self, deadline: Instant) -> Drained {
        self.shared.held.lock().is_closed = true;
        let mut released = 0;
        loop {
            let next = self.shared.held.lock().next_deadline();
            let Some(next) = next.filter(|next| *next <= deadline) else { break };
            sleep_until(next).await;
            released += self.release_due();
        }
        let rest = self.shared.held.lock().take_all();
        let mut given_up = 0;
        for outbound in rest {
            give_up(outbound, Stage::Shutdown, DropReason::Stopped, SendFailure::Stopped);
            given_up += 1;
        }
        Drained { released, given_up }
    }

    /// Hands everything that is due to the host; how many.
    pub(crate) fn release_due(&self) -> u64 {
        let mut released = 0;
        while let Some(batch) = self.take_due() {
            released += u64::try_from(batch.len()).unwrap_or(u64::MAX);
            send_now(&self.host, batch);
        }
        released
    }

    /// At least one packet that is due, `None` when there is none. With random delays it is mostly one.
    fn take_due(&self) -> Option<Vec<OutboundPacket>> {
        let now = Instant::now();
        let lateness = |release_at| self.shared.metrics.lateness.record(now - release_at);
        let mut held = self.shared.held.lock();
        let (release_at, first) = held.pop_due(now)?;
        lateness(release_at);
        let mut batch = vec![first];
        while batch.len() < RELEASE_BATCH
            && let Some((release_at, due)) = held.pop_due(now)
        {
            lateness(release_at);
            batch.push(due);
        }
        Some(batch)
    }
}

impl HeldPackets {
    fn has_room(&self, outbound: &OutboundPacket, bounds: Bounds) -> bool {
        self.heap.len() < bounds.packets && self.bytes.saturating_add(len(outbound)) <= bounds.bytes
    }

    fn push(&mut self, release_at: Instant, outbound: OutboundPacket) {
        self.bytes += len(&outbound);
        let turn = self.next_turn;
        self.next_turn += 1;
        let place = self.free.pop().unwrap_or(self.places.len());
        match self.places.get_mut(place) {
            Some(free) => *free = Some(outbound),
            None => self.places.push(Some(outbound)),
        }
        self.heap.push(Reverse(Entry { release_at, turn, place }));
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.release_at)
    }

    /// The next packet that is due, and since when.
    fn pop_due(&mut self, now: Instant) -> Option<(Instant, OutboundPacket)> {
        if self.next_deadline()? > now {
            return None;
        }
        let Reverse(Entry { release_at, place, .. }) = self.heap.pop()?;
        let outbound = self.places.get_mut(place)?.take()?;
        self.free.push(place);
        self.bytes -= len(&outbound);
        Some((release_at, outbound))
    }

    fn take_all(&mut self) -> impl Iterator<Item = OutboundPacket> + use<> {
        self.bytes = 0;
        self.heap.clear();
        self.free.clear();
        std::mem::take(&mut self.places).into_iter().flatten()
    }
}

fn len(outbound: &OutboundPacket) -> usize {
    outbound.packet.bytes().len()
}

/// The deadline once there is one. When nobody is left to name one, it is now.
///
/// Cancel safe: yes.
pub(crate) async fn stop_deadline(stop: &mut watch::Receiver<Option<Instant>>) -> Instant {
    let deadline = stop.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    deadline.unwrap_or_else(Instant::now)
}

/// Waits for a moment; forever for none.
///
/// Cancel safe: yes.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use wakumix_mix::{HopAddress, Ledger, Packet};
    use wakumix_role_api::{host::Reach, mailbox};
    use wakumix_role_testkit::telemetry;
    use wakumix_sphinx::BufferPool;

    use super::*;

    fn delayed(pool: &BufferPool, ledger: &Arc<Ledger>) -> Delayed {
        let peer = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o".parse().unwrap();
        let packet = Packet::received(pool.take().unwrap(), ledger);
        let outbound =
            OutboundPacket { to: HopAddress::placeholder(peer).unwrap(), reach: Reach::Dial, packet, done: None };
        Delayed { delay: Duration::from_secs(1), outbound }
    }

    #[test]
    fn large_packets_take_the_room_of_several_small_ones() {
        let (telemetry, ledger) = (telemetry(&crate::METRICS), Ledger::new());
        let (small, large) = (BufferPool::new(8, 100), BufferPool::new(8, 150));
        let host = HostHandle::new(mailbox("host", 1, &telemetry).0);
        let bounds = Bounds { packets: 4, bytes: 400 };
        let (queue, _releaser) = DelayQueue::new(bounds, host, DelayMetrics::new(&telemetry), watch::channel(None).1);
        queue.hold([&large, &large, &large, &small].map(|pool| delayed(pool, &ledger)));
        // The third large one found no room for its bytes, the small one did.
        assert_eq!((queue.len(), large.in_use(), small.in_use()), (3, 2, 1));
        assert_eq!(ledger.snapshot().dropped, [(Stage::Delay, DropReason::QueueFull, 1)]);
        queue.hold([&small, &small].map(|pool| delayed(pool, &ledger)));
        assert_eq!((queue.len(), ledger.snapshot().dropped_total()), (3, 3));
    }
}
