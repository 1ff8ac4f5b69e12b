//! Body of the fuzz target `mixer`: the mixer as a state machine fed with arbitrary events.
//!
//! Pipeline, queues and keys are those of a node; sockets, tasks and waiting are not there. After every event bounds hold, and
//! packets balance. Nothing is opened before its tag is kept or with a key that is gone, and nothing is opened
//! twice, over crashes and damaged logs too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what goes wrong here is a finding")]

mod keys;
mod node;
mod packets;

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use wakumix_sphinx::{ReplayTag, Weaknesses};

use self::keys::{Damage, Keys};
use self::node::Node;
use self::packets::{Kind, build};

/// Events of one run; what comes after them is not read.
const MAX_EVENTS: usize = 96;
/// Events between two looks at the balance, which takes as long as an event.
const BALANCED_EVERY: usize = 4;
/// Packets of one run that are kept to be sent again.
const MAX_BUILT: usize = 32;
/// Longer than any packet is held.
const LONGEST_HOLD: Duration = Duration::from_secs(70);
/// The bit of the first byte that asks for keys in a directory, and of how many such inputs one gets them: threads and files
/// take up to a hundred times as long as all else.
const DURABLE: u8 = 1;
const DURABLE_ONE_IN: u8 = 64;

thread_local! {
    /// The clock of all runs: to make one takes as long as some events, and it only ever goes on.
    static TIME: Rc<Runtime> =
        Rc::new(Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"));
}

/// The first byte says what kind of mixer it is, each four bytes after it are an event.
pub fn run(data: &[u8]) {
    let Some(([setup], events)) = data.split_first_chunk::<1>() else { return };
    let setup = if sum(data).is_multiple_of(DURABLE_ONE_IN) { *setup } else { setup & !DURABLE };
    let mut world = World::new(setup, Weaknesses::NONE);
    for (number, event) in events.as_chunks().0.iter().take(MAX_EVENTS).enumerate() {
        world.happen(Event::read(*event));
        world.node.check_bounds();
        // A packet that is lost stays lost, so that it is seen later too.
        if number % BALANCED_EVERY == 0 {
            world.node.check_balance();
        }
    }
    world.end();
}

/// Tells inputs apart, so that some of those that are alike get a directory.
fn sum(data: &[u8]) -> u8 {
    data.iter().fold(0, |sum: u8, byte| sum.rotate_left(3) ^ byte.wrapping_mul(29))
}

/// An input with bytes behind its events that give it a directory if it asks for one.
fn with_directory(mut input: Vec<u8>) -> Vec<u8> {
    input.push(0);
    let end = input.len() - 1;
    input[end] =
        (0..=u8::MAX).find(|last| sum(&[&input[..end], &[*last]].concat()).is_multiple_of(DURABLE_ONE_IN)).unwrap_or(0);
    input
}

/// Inputs to begin with: one of each event to each kind of mixer, and some stories.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let all_kinds: Vec<u8> = (0..8).flat_map(|kind| [0, kind, 0, 16]).collect();
    let each_event: Vec<u8> = (0..16).flat_map(|event| [event, 1, 2, 3]).collect();
    let handled = [[6, 3, 0, 0], [8, 0, 0, 1]];
    let replayed = [[0, 0, 0, 0], handled[0], handled[1], [2, 0, 0, 0], handled[0], handled[1]].concat();
    let refused = [[0, 0, 0, 0], handled[0], [8, 0, 0, 0], [2, 0, 0, 0], handled[0], handled[1]].concat();
    let with_crash = |damage: u8| {
        let crash =
            [[0, 0, 0, 16], [0, 4, 0, 0], handled[0], handled[1], [0, 0, 0, 32], handled[0], [14, damage, 0, 200]];
        let again = [[2, 0, 0, 0], [2, 1, 0, 0], [2, 2, 0, 0], [6, 3, 0, 0], handled[1], [0, 0, 1, 0]];
        [crash.concat(), again.concat()].concat()
    };
    let rotated =
        [[0, 0, 0, 0], handled[0], handled[1], [13, 4, 0, 0], [2, 0, 0, 0], [0, 0, 1, 0], handled[0], handled[1]];
    let too_many = [[0, 1, 0, 32]].concat().repeat(20);
    let mutated =
        [[0, 0, 0, 0], [4, 0, 31, 128], [4, 0, 90, 1], [4, 128, 200, 1], [5, 0, 0, 0], handled[0], handled[1]];
    let mut seeds = vec![
        ("kinds", [vec![0], all_kinds.clone(), each_event.clone()].concat()),
        ("kinds-durable", [vec![1], all_kinds.clone(), each_event.clone()].concat()),
        ("kinds-last-hop", [vec![2], all_kinds, each_event].concat()),
        ("replayed", [vec![0], replayed.clone()].concat()),
        ("replayed-durable", [vec![1], replayed].concat()),
        ("not-kept", [vec![0], refused].concat()),
        ("rotated", [vec![1], rotated.concat(), rotated.concat()].concat()),
        ("too-many", [vec![0], too_many, handled.concat()].concat()),
        ("mutated", [vec![0], mutated.concat()].concat()),
    ];
    let crashes =
        ["crash", "crash-torn", "crash-cut", "crash-header", "crash-changed", "crash-missing", "crash-foreign"];
    seeds.extend((0..).zip(crashes).map(|(damage, name)| (name, [vec![1], with_crash(damage)].concat())));
    seeds.into_iter().map(|(name, input)| (name, with_directory(input))).collect()
}

/// What happens next. Numbers are cut to what there is.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A packet is made for one of the keys that were ever announced, and arrives.
    Arrival { kind: Kind, key: usize, delay_ms: u16 },
    /// One that was made before arrives again.
    Copy { which: usize },
    /// One that was made before arrives with a byte changed.
    Changed { which: usize, place: Place, change: u8 },
    /// Bytes that nobody made arrive.
    Garbage { format: usize, fill: u8 },
    /// A worker takes so many packets.
    Work { packets: usize },
    /// The tags of a batch are kept or, where the keys let the test decide, cannot be.
    Commit { which: usize, is_kept: bool },
    /// Time passes.
    Later { time: Duration },
    /// Host, exit or sender take what is there for them, and succeed or not.
    Taken { succeeds: bool },
    /// This node sends its own packet.
    Own { to_itself: bool, hold: Duration },
    /// The wall clock is changed, and keys move on.
    Clock { seconds: i64 },
    /// The process is killed, its log damaged, and it starts again.
    Crash { damage: Damage, key: usize, at: u8 },
}

/// Where a packet is changed.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// At a byte of the first 256.
    Front(u8),
    /// After so many 256ths of its length.
    Anywhere(u8),
}

impl Event {
    fn read([event, which, a, b]: [u8; 4]) -> Self {
        let (number, seconds) = (usize::from(which), i64::from(u16::from_be_bytes([which, a])));
        match event % 16 {
            0 | 1 => Self::Arrival { kind: Kind::read(which), key: usize::from(a), delay_ms: u16::from(b / 16) * 64 },
            2 | 3 => Self::Copy { which: number },
            4 if which < 128 => Self::Changed { which: number, place: Place::Front(a), change: b },
            4 => Self::Changed { which: number, place: Place::Anywhere(a), change: b },
            5 => Self::Garbage { format: number, fill: a },
            6 | 7 => Self::Work { packets: 1 + number % 4 },
            8 | 9 => Self::Commit { which: number, is_kept: b != 0 },
            10 => Self::Later { time: Duration::from_millis(u64::from(a) << 2) },
            11 | 15 => Self::Taken { succeeds: b != 0 },
            12 => Self::Own { to_itself: which == 0, hold: Duration::from_millis(a.into()) },
            13 if b >= 240 => Self::Clock { seconds: -seconds },
            13 => Self::Clock { seconds },
            _ => Self::Crash { damage: Damage::read(which), key: usize::from(a), at: b },
        }
    }
}

/// The mixer, and what outlives it.
struct World {
    node: Node,
    keys: Keys,
    built: Vec<Vec<u8>>,
    /// Tags of all packets that were opened.
    opened: HashSet<ReplayTag>,
    forwards: bool,
    time: Rc<Runtime>,
}

impl World {
    /// A mixer whose keys lack countermeasures.
    fn new(setup: u8, weaknesses: Weaknesses) -> Self {
        let time = TIME.with(Rc::clone);
        let keys = if setup & DURABLE != 0 { Keys::durable(weaknesses) } else { Keys::gated() };
        let forwards = setup & 2 == 0;
        let node = {
            let _entered = time.enter();
            Node::new(keys.ring(), forwards)
        };
        Self { node, keys, built: Vec::new(), opened: HashSet::new(), forwards, time }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Later { time } => {
                self.time.block_on(tokio::time::advance(time));
                let _entered = self.time.enter();
                self.node.release();
            }
            Event::Crash { damage, key, at } => self.crash(damage, key, at),
            other => {
                let entered = self.time.handle().clone();
                let _entered = entered.enter();
                self.happen_now(other);
            }
        }
    }

    fn happen_now(&mut self, event: Event) {
        match event {
            Event::Arrival { kind, key, delay_ms } => self.arrive(kind, key, delay_ms),
            Event::Copy { which } => {
                if let Some(packet) = pick(&self.built, which) {
                    self.node.receive(packet);
                }
            }
            Event::Changed { which, place, change } => self.arrive_changed(which, place, change),
            Event::Garbage { format, fill } => self.node.receive_garbage(format, fill),
            Event::Work { packets } => self.node.work(packets, &self.keys),
            Event::Commit { which, is_kept } => self.node.commit(which, is_kept, &self.keys, &mut self.opened),
            Event::Taken { succeeds } => self.node.be_emptied(succeeds),
            Event::Own { to_itself, hold } => self.node.send(to_itself, hold),
            Event::Clock { seconds } => self.keys.turn(seconds),
            Event::Later { .. } | Event::Crash { .. } => {}
        }
    }

    fn arrive(&mut self, kind: Kind, key: usize, delay_ms: u16) {
        let key = self.keys.announced(key);
        let packet = build(kind, &key, delay_ms, self.built.len());
        self.node.receive(&packet);
        if self.built.len() < MAX_BUILT {
            self.built.push(packet);
        }
    }

    fn arrive_changed(&self, which: usize, place: Place, change: u8) {
        let Some(mut packet) = pick(&self.built, which).cloned() else { return };
        let at = match place {
            Place::Front(at) => usize::from(at),
            Place::Anywhere(part) => packet.len() * usize::from(part) / 256,
        };
        packet[at] ^= change;
        self.node.receive(&packet);
    }

    fn crash(&mut self, damage: Damage, key: usize, at: u8) {
        if !self.keys.outlive_processes() {
            return;
        }
        self.node.forget();
        self.keys.reopen(damage, key, at, &self.opened);
        let _entered = self.time.enter();
        self.node = Node::new(self.keys.ring(), self.forwards);
    }

    /// Every packet comes once more, and all that is in the node gets to its end.
    fn end(mut self) {
        let entered = self.time.handle().clone();
        for packets in self.built.chunks(node::MAX_WAITING) {
            let _entered = entered.enter();
            packets.iter().for_each(|packet| self.node.receive(packet));
            self.node.finish(&self.keys, &mut self.opened);
        }
        {
            let _entered = entered.enter();
            self.node.finish(&self.keys, &mut self.opened);
        }
        self.happen(Event::Later { time: LONGEST_HOLD });
        self.node.be_emptied(true);
        self.node.check_empty();
        self.node.forget();
        self.keys.close();
    }
}

fn pick<T>(items: &[T], which: usize) -> Option<&T> {
    items.get(which.checked_rem(items.len())?)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn the_target_takes_its_seeds() {
        for (_, input) in seeds() {
            run(&input);
        }
    }

    #[test]
    fn the_target_takes_events_in_any_order() {
        let mut rng = StdRng::seed_from_u64(1);
        for _ in 0..15 {
            let mut input = [0; 1 + 4 * 60];
            rng.fill_bytes(&mut input);
            run(&input);
            input[0] |= DURABLE;
            run(&with_directory(input.to_vec()));
        }
    }

    /// Runs events and gives the number of packets that were opened.
    fn opened(setup: u8, events: &[[u8; 4]]) -> usize {
        let mut world = World::new(setup, Weaknesses::NONE);
        events.iter().for_each(|event| world.happen(Event::read(*event)));
        world.opened.len()
    }

    #[test]
    fn sound_packets_are_opened_and_others_are_not() {
        let [work, keep, lose] = [[6, 3, 0, 0], [8, 0, 0, 1], [8, 0, 0, 0]];
        let (packet, copy, changed) = ([0, 0, 0, 0], [2, 0, 0, 0], [4, 0, 90, 1]);
        for setup in [0, DURABLE] {
            assert_eq!(opened(setup, &[packet, packet, copy, changed, work, keep]), 2);
            assert_eq!(opened(setup, &[packet, work]), 0, "its tag is not kept");
        }
        assert_eq!(opened(0, &[packet, work, lose, copy, work, keep]), 0);
        // After a crash what was not opened may be, and what was may not.
        let crash = [14, 2, 0, 0];
        assert_eq!(opened(DURABLE, &[packet, work, crash, copy, work, keep]), 1);
        assert_eq!(opened(DURABLE, &[packet, work, keep, crash, copy, work, keep]), 1);
        // A key that has lost its log opens nothing, the next one does.
        let (lost, for_next) = ([14, 5, 0, 0], [0, 0, 1, 0]);
        assert_eq!(opened(DURABLE, &[packet, lost, copy, work, keep]), 0);
        assert_eq!(opened(DURABLE, &[lost, for_next, work, keep]), 1);
    }

    /// Runs events with keys that lack a countermeasure: what is asserted must find it.
    #[cfg(feature = "weaknesses")]
    fn run_without(weakness: wakumix_sphinx::Weakness, events: &[[u8; 4]]) {
        let mut world = World::new(DURABLE, Weaknesses::NONE.with(weakness));
        events.iter().for_each(|event| world.happen(Event::read(*event)));
    }

    #[cfg(feature = "weaknesses")]
    #[test]
    #[should_panic(expected = "a packet is opened a second time")]
    fn a_ring_that_forgets_its_tags_is_found() {
        let handled = [[6, 3, 0, 0], [8, 0, 0, 1]];
        let events = [&[[0, 0, 0, 0]], &handled[..], &[[14, 0, 0, 0], [2, 0, 0, 0]], &handled].concat();
        run_without(wakumix_sphinx::Weakness::ForgottenTags, &events);
    }

    #[cfg(feature = "weaknesses")]
    #[test]
    #[should_panic(expected = "a key has come back")]
    fn a_ring_that_trusts_a_damaged_log_is_found() {
        let events = [[0, 0, 0, 0], [0, 0, 0, 0], [6, 3, 0, 0], [8, 0, 0, 1], [14, 4, 0, 0]];
        run_without(wakumix_sphinx::Weakness::TrustedTail, &events);
    }
}
