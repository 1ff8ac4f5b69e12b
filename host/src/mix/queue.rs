//! The packets that wait for one peer.
//!
//! Shared between the behaviour, which fills it, and the one connection that writes to the peer, which empties it.
//! Bound: `capacity` packets, those being written included; overflow: refuse newest.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use wakumix_mix::{DropReason, Outcome, Packet, Stage};
use wakumix_role_api::host::{OutboundPacket, PeerLine, Reach, SendFailure};

/// A write is tried at most this often: the first time and once more over a fresh stream (`spec/mix-wire.md §2`).
const MAX_ATTEMPTS: u8 = 2;

/// A packet on its way out and who waits for it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    packet: Packet,
    done: Option<oneshot::Sender<Result<(), SendFailure>>>,
    failed_attempts: u8,
    reach: Reach,
    /// To be lost on the way, as a test wants it: the caller gets the result of a written packet.
    lost: bool,
}

impl Outgoing {
    /// A packet that was not tried yet.
    pub(crate) fn new(packet: Packet, reach: Reach, done: Option<oneshot::Sender<Result<(), SendFailure>>>) -> Self {
        Self { packet, done, failed_attempts: 0, reach, lost: false }
    }

    /// The same packet, `lost` where it would be written.
    pub(crate) fn lost(self, lost: bool) -> Self {
        Self { lost, ..self }
    }

    /// Whether it is to be written.
    pub(super) fn is_written(&self) -> bool {
        !self.lost
    }

    /// The packet's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.packet.bytes()
    }

    /// Finishes a packet that left.
    fn written(self) {
        let outcome = match self.packet.origin() {
            _ if self.lost => Outcome::Dropped { stage: Stage::Egress, reason: DropReason::InjectedLoss },
            Some(_) => Outcome::Sent,
            None => Outcome::Forwarded,
        };
        self.packet.finish(outcome);
        tell(self.done, Ok(()));
    }

    /// Finishes a packet that did not leave.
    pub(crate) fn fail(self, failure: SendFailure) {
        // What must not be dialled has not failed by a dial.
        let failure = match failure {
            SendFailure::DialFailed if self.reach == Reach::ConnectedOnly => SendFailure::NotConnected,
            other => other,
        };
        let (stage, reason) = match failure {
            SendFailure::QueueFull => (Stage::Egress, DropReason::QueueFull),
            SendFailure::DialFailed => (Stage::Egress, DropReason::DialFailed),
            SendFailure::NotConnected => (Stage::Egress, DropReason::PrivateDestination),
            SendFailure::WriteFailed => (Stage::Egress, DropReason::WriteFailed),
            SendFailure::Stopped => (Stage::Shutdown, DropReason::Stopped),
        };
        self.packet.finish(Outcome::Dropped { stage, reason });
        tell(self.done, Err(failure));
    }
}

fn tell(done: Option<oneshot::Sender<Result<(), SendFailure>>>, result: Result<(), SendFailure>) {
    if let Some(done) = done {
        // Nobody waits any more: the outcome is in the ledger all the same.
        let _ = done.send(result);
    }
}

/// The bounded queue of one peer.
#[derive(Debug)]
pub(crate) struct PeerQueue {
    capacity: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Outgoing>,
    /// Packets taken by the writer and not finished yet.
    in_flight: usize,
    /// The task of the writer that waits for packets.
    writer: Option<Waker>,
    /// No packet is taken any more, and none goes back to `waiting`.
    closed: Option<SendFailure>,
    /// The writer shall close its stream once nothing waits.
    finishing: bool,
}

/// What a writer finds in its queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// At least one packet was moved to the writer.
    Packets,
    /// Nothing waits and nothing will come.
    Finished,
}

impl PeerQueue {
    /// A queue of at most `capacity` packets.
    pub(super) fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity, inner: Mutex::default() })
    }

    /// Adds a packet; finishes it at once when the queue is full or closed.
    pub(super) fn push(&self, outgoing: Outgoing) {
        let mut inner = self.inner.lock();
        let refusal = match inner.closed {
            Some(failure) => Some(failure),
            None if inner.waiting.len() + inner.in_flight >= self.capacity => Some(SendFailure::QueueFull),
            None => None,
        };
        if let Some(failure) = refusal {
            drop(inner);
            return outgoing.fail(failure);
        }
        inner.waiting.push_back(outgoing);
        wake(inner);
    }

    /// Packets that are not finished yet.
    pub(super) fn len(&self) -> usize {
        let inner = self.inner.lock();
        inner.waiting.len() + inner.in_flight
    }

    /// Whether packets wait for a writer.
    pub(super) fn has_waiting(&self) -> bool {
        !self.inner.lock().waiting.is_empty()
    }

    /// Whether one of the packets that wait is worth a dial.
    pub(super) fn wants_dial(&self) -> bool {
        self.inner.lock().waiting.iter().any(|outgoing| outgoing.reach == Reach::Dial)
    }

    /// Finishes those that wait for a connection that is gone.
    pub(super) fn fail_connected_only(&self) {
        let mut inner = self.inner.lock();
        if inner.waiting.iter().all(|outgoing| outgoing.reach == Reach::Dial) {
            return;
        }
        let (stay, lost) =
            std::mem::take(&mut inner.waiting).into_iter().partition(|packet| packet.reach == Reach::Dial);
        inner.waiting = stay;
        drop(inner);
        let lost: VecDeque<Outgoing> = lost;
        lost.into_iter().for_each(|outgoing| outgoing.fail(SendFailure::NotConnected));
    }

    /// Counts a failed attempt for all that wait; who has had its attempts is finished with `failure`.
    pub(super) fn attempt_failed(&self, failure: SendFailure) {
        let mut inner = self.inner.lock();
        let waiting = std::mem::take(&mut inner.waiting);
        let mut lost = Vec::new();
        for mut outgoing in waiting {
            outgoing.failed_attempts += 1;
            if outgoing.failed_attempts >= MAX_ATTEMPTS {
                lost.push(outgoing);
            } else {
                inner.waiting.push_back(outgoing);
            }
        }
        drop(inner);
        lost.into_iter().for_each(|outgoing| outgoing.fail(failure));
    }

    /// Finishes all that wait with `failure`; the queue goes on.
    pub(super) fn fail_waiting(&self, failure: SendFailure) {
        let waiting = std::mem::take(&mut self.inner.lock().waiting);
        waiting.into_iter().for_each(|outgoing| outgoing.fail(failure));
    }

    /// Finishes all that wait, and from now on all that comes, with `failure`.
    pub(super) fn close(&self, failure: SendFailure) {
        let mut inner = self.inner.lock();
        inner.closed = Some(failure);
        inner.finishing = true;
        let waiting = std::mem::take(&mut inner.waiting);
        wake(inner);
        waiting.into_iter().for_each(|outgoing| outgoing.fail(failure));
    }

    /// Lets the writer close its stream as soon as nothing waits.
    pub(super) fn finish(&self) {
        let mut inner = self.inner.lock();
        inner.finishing = true;
        wake(inner);
    }

    /// Moves up to `max` packets into `batch`, or remembers the task to wake.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>, batch: &mut InFlight, max: usize) -> Poll<Taken> {
        let mut inner = self.inner.lock();
        if inner.waiting.is_empty() {
            if inner.finishing {
                return Poll::Ready(Taken::Finished);
            }
            inner.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = inner.waiting.len().min(max);
        batch.packets.extend(inner.waiting.drain(..count));
        inner.in_flight += count;
        Poll::Ready(Taken::Packets)
    }

    /// Takes packets back whose write was cut off, in front of those that wait.
    fn give_back(&self, packets: VecDeque<Outgoing>) {
        let mut inner = self.inner.lock();
        inner.in_flight -= packets.len().min(inner.in_flight);
        let closed = inner.closed;
        let mut lost = Vec::new();
        for mut outgoing in packets.into_iter().rev() {
            outgoing.failed_attempts += 1;
            if closed.is_some() || outgoing.failed_attempts >= MAX_ATTEMPTS {
                lost.push(outgoing);
            } else {
                inner.waiting.push_front(outgoing);
            }
        }
        drop(inner);
        lost.into_iter().for_each(|outgoing| outgoing.fail(closed.unwrap_or(SendFailure::WriteFailed)));
    }
}

impl PeerLine for PeerQueue {
    fn push(&self, packet: OutboundPacket) {
        let OutboundPacket { reach, packet, done, .. } = packet;
        self.push(Outgoing::new(packet, reach, done));
    }
}

/// Wakes the writer outside the lock.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let writer = inner.writer.take();
    drop(inner);
    if let Some(writer) = writer {
        writer.wake();
    }
}

/// Packets that a writer holds. Whatever is not reported as written when this is dropped (the stream broke, the
/// connection went away, the task ended) goes back to the queue for its second attempt, or is finished.
#[derive(Debug)]
pub(super) struct InFlight {
    queue: Arc<PeerQueue>,
    packets: VecDeque<Outgoing>,
}

impl InFlight {
    pub(super) fn new(queue: Arc<PeerQueue>) -> Self {
        Self { queue, packets: VecDeque::new() }
    }

    /// The packets, in the order in which they are written.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Outgoing> {
        self.packets.iter()
    }

    /// Finishes all as written.
    pub(super) fn written(&mut self) {
        let packets = std::mem::take(&mut self.packets);
        let count = packets.len();
        let mut inner = self.queue.inner.lock();
        inner.in_flight -= count.min(inner.in_flight);
        drop(inner);
        packets.into_iter().for_each(Outgoing::written);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if !self.packets.is_empty() {
            self.queue.give_back(std::mem::take(&mut self.packets));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker;
    use wakumix_mix::{Ledger, Origin};
    use wakumix_sphinx::BufferPool;

    use super::*;

    struct Bench {
        pool: BufferPool,
        ledger: Arc<Ledger>,
        queue: Arc<PeerQueue>,
    }

    impl Bench {
        fn new(capacity: usize) -> Self {
            Self { pool: BufferPool::new(64, 8), ledger: Ledger::new(), queue: PeerQueue::new(capacity) }
        }

        fn push(&self, number: u8) -> oneshot::Receiver<Result<(), SendFailure>> {
            self.push_by(Reach::Dial, number)
        }

        fn push_by(&self, reach: Reach, number: u8) -> oneshot::Receiver<Result<(), SendFailure>> {
            let mut buffer = self.pool.take().unwrap();
            buffer.fill(number);
            let (done, outcome) = oneshot::channel();
            let packet = Packet::originated(buffer, &self.ledger, Origin::Request);
            self.queue.push(Outgoing::new(packet, reach, Some(done)));
            outcome
        }

        fn take(&self, max: usize) -> InFlight {
            let mut batch = InFlight::new(self.queue.clone());
            let waker = noop_waker();
            let taken = self.queue.poll_take(&mut Context::from_waker(&waker), &mut batch, max);
            assert_eq!(taken, Poll::Ready(Taken::Packets));
            batch
        }

        fn numbers(&self, batch: &InFlight) -> Vec<u8> {
            batch.iter().map(|outgoing| outgoing.bytes()[0]).collect()
        }

        fn assert_finished(&self) {
            assert_eq!((self.pool.in_use(), self.queue.len(), self.ledger.snapshot().unaccounted(0)), (0, 0, 0));
        }
    }

    #[test]
    fn refuses_the_newest_and_counts_what_is_being_written() {
        let bench = Bench::new(2);
        let mut kept = vec![bench.push(1), bench.push(2)];
        let mut batch = bench.take(1);
        assert_eq!(bench.push(3).try_recv(), Ok(Err(SendFailure::QueueFull)));
        batch.written();
        kept.push(bench.push(4));
        let mut rest = bench.take(8);
        assert_eq!(bench.numbers(&rest), [2, 4]);
        rest.written();
        for mut outcome in kept {
            assert_eq!(outcome.try_recv(), Ok(Ok(())));
        }
        bench.assert_finished();
    }

    #[test]
    fn a_packet_lost_on_purpose_looks_written_and_is_counted_as_lost() {
        let bench = Bench::new(8);
        let packet = Packet::originated(bench.pool.take().unwrap(), &bench.ledger, Origin::Request);
        let (done, mut outcome) = oneshot::channel();
        bench.queue.push(Outgoing::new(packet, Reach::Dial, Some(done)).lost(true));
        let mut batch = bench.take(8);
        assert!(batch.iter().all(|outgoing| !outgoing.is_written()));
        batch.written();
        assert_eq!(outcome.try_recv(), Ok(Ok(())));
        assert_eq!(bench.ledger.snapshot().dropped, [(Stage::Egress, DropReason::InjectedLoss, 1)]);
        bench.assert_finished();
    }

    #[test]
    fn a_packet_is_written_twice_at_most_and_keeps_its_place() {
        let bench = Bench::new(8);
        let (mut first, mut second) = (bench.push(1), bench.push(2));
        let broken = bench.take(1);
        drop(broken);
        let broken = bench.take(8);
        assert_eq!(bench.numbers(&broken), [1, 2]);
        drop(broken);
        assert_eq!(first.try_recv(), Ok(Err(SendFailure::WriteFailed)));
        assert!(second.try_recv().is_err(), "it has one attempt left");
        let mut batch = bench.take(8);
        assert_eq!(bench.numbers(&batch), [2]);
        batch.written();
        assert_eq!(second.try_recv(), Ok(Ok(())));
        bench.assert_finished();
    }

    #[test]
    fn a_stream_that_cannot_be_opened_costs_an_attempt() {
        let bench = Bench::new(8);
        let mut outcome = bench.push(1);
        bench.queue.attempt_failed(SendFailure::DialFailed);
        assert!(outcome.try_recv().is_err());
        bench.queue.attempt_failed(SendFailure::DialFailed);
        assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::DialFailed)));
        bench.assert_finished();
    }

    #[test]
    fn without_a_connection_only_packets_that_may_be_dialled_for_wait_on() {
        let bench = Bench::new(8);
        let mut dialled = bench.push(1);
        let mut connected_only = [2, 3].map(|number| bench.push_by(Reach::ConnectedOnly, number));
        assert!(bench.queue.wants_dial());
        bench.queue.fail_connected_only();
        for outcome in &mut connected_only {
            assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::NotConnected)));
        }
        assert_eq!(bench.ledger.snapshot().dropped, [(Stage::Egress, DropReason::PrivateDestination, 2)]);
        let mut batch = bench.take(8);
        assert_eq!(bench.numbers(&batch), [1]);
        batch.written();
        assert_eq!(dialled.try_recv(), Ok(Ok(())));
        let _waits = bench.push_by(Reach::ConnectedOnly, 4);
        assert!(bench.queue.has_waiting() && !bench.queue.wants_dial());
        bench.queue.fail_connected_only();
        bench.assert_finished();
    }

    #[test]
    fn a_closed_queue_finishes_what_waits_what_comes_and_what_comes_back() {
        let bench = Bench::new(8);
        let mut outcomes = vec![bench.push(1), bench.push(2)];
        let in_flight = bench.take(1);
        bench.queue.close(SendFailure::Stopped);
        outcomes.push(bench.push(3));
        drop(in_flight);
        for mut outcome in outcomes {
            assert_eq!(outcome.try_recv(), Ok(Err(SendFailure::Stopped)));
        }
        let drops = bench.ledger.snapshot().dropped;
        assert_eq!(drops, [(Stage::Shutdown, DropReason::Stopped, 3)]);
        bench.assert_finished();
    }
}
