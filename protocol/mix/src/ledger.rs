//! Packet accounting: every packet in a node is one pooled buffer and one open entry in the ledger.
//!
//! A [`Packet`] is the only way to hold a buffer with a packet in it. It is entered when it is received or made
//! and must end in exactly one [`Outcome`]; one that is merely dropped counts as
//! [`DropReason::Abandoned`]. Hence `received + originated = outcomes + held` at every moment of rest,
//! and [`Balance::unaccounted`] says by how much it does not hold.
//!
//! What this number can show depends on where the count of held packets comes from. Measured against the buffer pool
//! ([`BufferPool::in_use`](wakumix_sphinx::BufferPool::in_use)) it shows buffers outside packets and packets outside
//! the pool, and can be watched while traffic flows: it is off by the packets that are in mid-step. A packet
//! leaked as a whole (`mem::forget`, a cycle of `Arc`s) keeps its buffer too and
//! stays "held" forever; it shows against the held packets that the queues themselves can name, which at
//! rest hold nothing: `unaccounted(0)` must be 0.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wakumix_sphinx::PacketBuf;

use crate::admission::Place;
use crate::outcome::{DropReason, HopKind, Origin, Outcome, Stage};

/// Counters by origin, with one place more for packets received.
const SOURCES: usize = Origin::ALL.len() + 1;
const RECEIVED: usize = SOURCES - 1;

type Drops = [[[AtomicU64; DropReason::ALL.len()]; Stage::ALL.len()]; SOURCES];

/// All counts of one node since its start. Lock-free; shared by everyone who holds packets.
///
/// Counters are ephemeral: they start at zero with the process, as Prometheus expects.
pub struct Ledger {
    entered: [AtomicU64; SOURCES],
    sent: [AtomicU64; Origin::ALL.len()],
    forwarded: AtomicU64,
    delivered: AtomicU64,
    replied: AtomicU64,
    cover: AtomicU64,
    opened: [AtomicU64; HopKind::ALL.len()],
    dropped: Drops,
}

impl Ledger {
    /// A ledger with nothing in it.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            entered: Default::default(),
            sent: Default::default(),
            forwarded: AtomicU64::default(),
            delivered: AtomicU64::default(),
            replied: AtomicU64::default(),
            cover: AtomicU64::default(),
            opened: Default::default(),
            dropped: std::array::from_fn(|_| std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::default()))),
        })
    }

    /// A copy of all counts. Counters are read one by one: exact at rest, off by packets in mid-step otherwise.
    #[must_use]
    pub fn snapshot(&self) -> Balance {
        let originated_by = counts(&Origin::ALL, |origin| &self.entered[origin as usize]);
        let sent_by = counts(&Origin::ALL, |origin| &self.sent[origin as usize]);
        Balance {
            received: read(&self.entered[RECEIVED]),
            originated: total(&originated_by),
            forwarded: read(&self.forwarded),
            sent: total(&sent_by),
            delivered: read(&self.delivered),
            replied: read(&self.replied),
            cover: read(&self.cover),
            dropped: self.drops(),
            originated_by,
            sent_by,
            opened: counts(&HopKind::ALL, |kind| &self.opened[kind as usize]),
        }
    }

    /// Counts a packet that a peer sent and that was refused before it had a buffer: it is received and dropped in one
    /// step, so the balance stays.
    pub fn refuse(&self, reason: DropReason) {
        self.enter(None);
        self.record(None, Outcome::Dropped { stage: Stage::Ingress, reason });
    }

    /// Every drop count that is not zero, over all origins.
    fn drops(&self) -> Vec<(Stage, DropReason, u64)> {
        let mut drops = Vec::new();
        for stage in Stage::ALL {
            for reason in DropReason::ALL {
                let count = self.dropped.iter().map(|source| read(&source[stage as usize][reason as usize])).sum();
                if count > 0 {
                    drops.push((stage, reason, count));
                }
            }
        }
        drops
    }

    /// Every drop count with the origin of the packets, `None` for those received.
    pub(crate) fn drops_by_origin(&self) -> impl Iterator<Item = (Option<Origin>, Stage, DropReason, u64)> {
        let origins = Origin::ALL.iter().copied().map(Some).chain([None]);
        origins.flat_map(move |origin| {
            let source = &self.dropped[source_index(origin)];
            Stage::ALL.iter().flat_map(move |&stage| {
                let counts = &source[stage as usize];
                DropReason::ALL.iter().map(move |&reason| (origin, stage, reason, read(&counts[reason as usize])))
            })
        })
    }

    fn enter(&self, origin: Option<Origin>) {
        increment(&self.entered[source_index(origin)]);
    }

    fn record(&self, origin: Option<Origin>, outcome: Outcome) {
        debug_assert!(outcome.fits(origin), "{outcome:?} is no end for {origin:?}");
        let counter = match (outcome, origin) {
            (Outcome::Sent, Some(origin)) => &self.sent[origin as usize],
            (Outcome::Sent | Outcome::Forwarded, _) => &self.forwarded,
            (Outcome::Delivered, _) => &self.delivered,
            (Outcome::Replied, _) => &self.replied,
            (Outcome::Cover, _) => &self.cover,
            (Outcome::Dropped { stage, reason }, _) => {
                &self.dropped[source_index(origin)][stage as usize][reason as usize]
            }
        };
        increment(counter);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// A packet in this node: its buffer and its open entry in the ledger.
///
/// Ends by [`Self::finish`]; dropping it instead counts as [`DropReason::Abandoned`] at the stage it was last
/// said to be in. Either way the buffer goes back to its pool.
#[must_use = "a packet that is dropped without an outcome counts as abandoned"]
pub struct Packet {
    buffer: PacketBuf,
    ledger: Arc<Ledger>,
    origin: Option<Origin>,
    stage: Stage,
    /// Its place among the packets of the peer that sent it, until it ends.
    place: Option<Place>,
    is_finished: bool,
}

impl Packet {
    /// Enters a packet that a peer has sent.
    pub fn received(buffer: PacketBuf, ledger: &Arc<Ledger>) -> Self {
        Self::enter_ledger(buffer, ledger, None, Stage::Ingress)
    }

    /// Keeps a place for as long as the packet is in this node.
    pub fn in_place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// Enters a packet that was made here.
    pub fn originated(buffer: PacketBuf, ledger: &Arc<Ledger>, origin: Origin) -> Self {
        Self::enter_ledger(buffer, ledger, Some(origin), Stage::Egress)
    }

    /// The whole buffer: the packet and the room for its proof.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    /// The whole buffer, to work in place.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Why it was made, or `None` if it was received.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Where in the node it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Says where in the node it is from now on; an abandoned packet is counted there.
    pub fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Counts what this node turned out to be on the path of this packet. Once per packet, when it was opened.
    pub fn opened_as(&self, kind: HopKind) {
        increment(&self.ledger.opened[kind as usize]);
    }

    /// Ends the packet.
    pub fn finish(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    /// Ends the packet as dropped at the stage where it is.
    pub fn reject(self, reason: DropReason) {
        let stage = self.stage;
        self.finish(Outcome::Dropped { stage, reason });
    }

    fn enter_ledger(buffer: PacketBuf, ledger: &Arc<Ledger>, origin: Option<Origin>, stage: Stage) -> Self {
        ledger.enter(origin);
        Self { buffer, ledger: Arc::clone(ledger), origin, stage, place: None, is_finished: false }
    }

    fn close(&mut self, outcome: Outcome) {
        self.ledger.record(self.origin, outcome);
        self.is_finished = true;
    }
}

impl AsMut<[u8]> for Packet {
    fn as_mut(&mut self) -> &mut [u8] {
        self.bytes_mut()
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        if !self.is_finished {
            self.close(Outcome::Dropped { stage: self.stage, reason: DropReason::Abandoned });
        }
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet").field("origin", &self.origin).field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// What a ledger said at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Packets received from peers.
    pub received: u64,
    /// Packets made here.
    pub originated: u64,
    /// Packets received and written to the next hop.
    pub forwarded: u64,
    /// Packets made here and written to the first hop.
    pub sent: u64,
    /// Packets consumed at the end of their forward path.
    pub delivered: u64,
    /// Packets opened as replies to own requests.
    pub replied: u64,
    /// Cover packets recognised and forgotten.
    pub cover: u64,
    /// Packets given up, each pair of stage and reason that occurred.
    pub dropped: Vec<(Stage, DropReason, u64)>,
    /// [`Self::originated`] by origin, all of them, in the order of [`Origin::ALL`].
    pub originated_by: Vec<(Origin, u64)>,
    /// [`Self::sent`] by origin, likewise.
    pub sent_by: Vec<(Origin, u64)>,
    /// Packets opened, by what this node was on their path, in the order of [`HopKind::ALL`].
    pub opened: Vec<(HopKind, u64)>,
}

impl Balance {
    /// Packets given up, for whatever reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(.., count)| count).sum()
    }

    /// Packets that have ended.
    #[must_use]
    pub fn outcomes(&self) -> u64 {
        self.forwarded + self.sent + self.delivered + self.replied + self.cover + self.dropped_total()
    }

    /// Packets unaccounted for: those entered, minus those ended, minus those that are said to be `held`.
    /// Zero in a sound node at rest; positive if packets are lost, negative if some were counted twice.
    #[must_use]
    pub fn unaccounted(&self, held: u64) -> i64 {
        let entered = self.received + self.originated;
        let accounted = self.outcomes() + held;
        // Counters far below 2^63 in practice; wrapping subtraction gives the signed difference.
        entered.wrapping_sub(accounted).cast_signed()
    }
}

fn source_index(origin: Option<Origin>) -> usize {
    origin.map_or(RECEIVED, |origin| origin as usize)
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn counts<'a, T: Copy>(labels: &[T], counter: impl Fn(T) -> &'a AtomicU64) -> Vec<(T, u64)> {
    labels.iter().map(|&label| (label, read(counter(label)))).collect()
}

fn total<T>(counts: &[(T, u64)]) -> u64 {
    counts.iter().map(|(_, count)| count).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wakumix_sphinx::BufferPool;

    use super::*;
    use crate::admission::{Places, Room};

    const BUFFER_LEN: usize = 8;

    fn received(pool: &BufferPool, ledger: &Arc<Ledger>) -> Packet {
        Packet::received(pool.take().unwrap(), ledger)
    }

    fn held(pool: &BufferPool) -> u64 {
        pool.in_use() as u64
    }

    #[test]
    fn every_packet_is_held_until_it_ends() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        let packet = received(&pool, &ledger);
        assert_eq!(ledger.snapshot().unaccounted(held(&pool)), 0);
        assert_eq!(ledger.snapshot().unaccounted(0), 1);
        packet.finish(Outcome::Forwarded);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(ledger.snapshot().unaccounted(0), 0);
        assert_eq!(ledger.snapshot().forwarded, 1);
    }

    #[test]
    fn a_packet_refused_without_a_buffer_is_received_and_dropped() {
        let ledger = Ledger::new();
        ledger.refuse(DropReason::PeerRate);
        let balance = ledger.snapshot();
        assert_eq!(balance.dropped, [(Stage::Ingress, DropReason::PeerRate, 1)]);
        assert_eq!((balance.received, balance.unaccounted(0)), (1, 0));
    }

    #[test]
    fn a_packet_keeps_its_place_until_it_ends() {
        let (pool, ledger, room) = (BufferPool::new(4, BUFFER_LEN), Ledger::new(), Room::new(4));
        let places = Places::of(&room);
        let packet = received(&pool, &ledger).in_place(places.take().unwrap());
        assert_eq!(room.taken(), 1);
        packet.finish(Outcome::Forwarded);
        assert_eq!(room.taken(), 0);
        drop(received(&pool, &ledger).in_place(places.take().unwrap()));
        assert_eq!(room.taken(), 0);
    }

    #[test]
    fn a_packet_let_go_of_counts_as_abandoned_where_it_was() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        let mut packet = received(&pool, &ledger);
        packet.enter(Stage::Delay);
        drop(packet);
        let balance = ledger.snapshot();
        assert_eq!(balance.dropped, [(Stage::Delay, DropReason::Abandoned, 1)]);
        assert_eq!(balance.unaccounted(held(&pool)), 0);
    }

    #[test]
    fn a_rejected_packet_counts_at_its_stage() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        let mut packet = received(&pool, &ledger);
        packet.enter(Stage::Unwrap);
        packet.reject(DropReason::Mac);
        assert_eq!(ledger.snapshot().dropped, [(Stage::Unwrap, DropReason::Mac, 1)]);
    }

    #[test]
    fn a_forgotten_packet_leaves_a_unaccounted() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        std::mem::forget(received(&pool, &ledger));
        received(&pool, &ledger).finish(Outcome::Delivered);
        assert_eq!(ledger.snapshot().unaccounted(0), 1);
    }

    #[test]
    fn a_buffer_outside_any_packet_leaves_a_unaccounted() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        let stray = pool.take();
        assert_eq!(ledger.snapshot().unaccounted(held(&pool)), -1);
        drop(stray);
        assert_eq!(ledger.snapshot().unaccounted(held(&pool)), 0);
    }

    #[test]
    #[should_panic(expected = "is no end for")]
    fn a_received_packet_cannot_be_sent() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        received(&pool, &ledger).finish(Outcome::Sent);
    }

    #[test]
    fn debug_output_shows_no_bytes() {
        let (pool, ledger) = (BufferPool::new(4, BUFFER_LEN), Ledger::new());
        let text = format!("{:?}", received(&pool, &ledger));
        assert_eq!(text, "Packet { origin: None, stage: Ingress, .. }");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the node shares a ledger between threads")]
    fn counts_from_many_threads_add_up() {
        let (pool, ledger) = (BufferPool::new(8, BUFFER_LEN), Ledger::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..500 {
                        let packet = received(&pool, &ledger);
                        if round % 2 == 0 {
                            packet.finish(Outcome::Forwarded);
                        }
                    }
                });
            }
        });
        let balance = ledger.snapshot();
        assert_eq!((balance.received, balance.forwarded, balance.dropped_total()), (2000, 1000, 1000));
        assert_eq!(balance.unaccounted(held(&pool)), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Enter(Option<usize>),
        Finish(usize, usize, usize),
        Abandon(usize),
        Move(usize, usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let stage = 0..Stage::ALL.len();
        prop_oneof![
            proptest::option::of(0..Origin::ALL.len()).prop_map(Step::Enter),
            (any::<usize>(), any::<usize>(), stage.clone()).prop_map(|(at, end, stage)| Step::Finish(at, end, stage)),
            any::<usize>().prop_map(Step::Abandon),
            (any::<usize>(), stage).prop_map(|(at, stage)| Step::Move(at, stage)),
        ]
    }

    /// One of the ends that fit the packet.
    fn an_end(packet: &Packet, choice: usize, stage: usize) -> Outcome {
        let dropped =
            Outcome::Dropped { stage: Stage::ALL[stage], reason: DropReason::ALL[choice % DropReason::ALL.len()] };
        let ends = [Outcome::Forwarded, Outcome::Sent, Outcome::Delivered, Outcome::Replied, Outcome::Cover, dropped];
        let fitting: Vec<_> = ends.into_iter().filter(|end| end.fits(packet.origin())).collect();
        fitting[choice % fitting.len()]
    }

    proptest! {
        #[test]
        fn nothing_is_lost_whatever_happens_to_packets(steps in proptest::collection::vec(any_step(), 0..60)) {
            let (pool, ledger) = (BufferPool::new(16, BUFFER_LEN), Ledger::new());
            let mut packets: Vec<Packet> = Vec::new();
            for step in steps {
                match step {
                    Step::Enter(origin) => packets.extend(pool.take().map(|buffer| match origin {
                        Some(at) => Packet::originated(buffer, &ledger, Origin::ALL[at]),
                        None => Packet::received(buffer, &ledger),
                    })),
                    _ if packets.is_empty() => {}
                    Step::Finish(at, end, stage) => {
                        let packet = packets.swap_remove(at % packets.len());
                        let end = an_end(&packet, end, stage);
                        packet.finish(end);
                    }
                    Step::Abandon(at) => drop(packets.swap_remove(at % packets.len())),
                    Step::Move(at, stage) => {
                        let at = at % packets.len();
                        packets[at].enter(Stage::ALL[stage]);
                    }
                }
                prop_assert_eq!(pool.in_use(), packets.len());
                prop_assert_eq!(ledger.snapshot().unaccounted(held(&pool)), 0);
            }
            packets.clear();
            let balance = ledger.snapshot();
            prop_assert_eq!(balance.unaccounted(0), 0);
            prop_assert_eq!(balance.outcomes(), balance.received + balance.originated);
        }
    }
}
