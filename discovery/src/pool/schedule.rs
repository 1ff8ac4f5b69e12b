//! Who is checked next: fair to nodes that are known to live, to every source, and to every part of the network.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use libp2p_identity::PeerId;
use rand::{Rng, seq::SliceRandom};
use tokio::time::Instant;

use crate::{
    peer_report::SourceName,
    peer_table::{Block, Node, PeerTable},
};

/// Checks that may start at once after a quiet time: a pool of 45 at the start of a node.
const BURST: u32 = 64;
/// Between two checks in the long run: 25 per second keep 1000 nodes fresh each minute and make no scan of anybody.
const PACE: Duration = Duration::from_millis(40);
/// Candidates that are chosen at a time. The rest waits for the next choice.
const BATCH: usize = 32;

/// The order of checks, and how fast they come.
#[derive(Debug)]
pub(crate) struct Schedule {
    queue: VecDeque<PeerId>,
    tokens: u32,
    refilled: Instant,
}

impl Schedule {
    pub(crate) fn new(now: Instant) -> Self {
        Self { queue: VecDeque::new(), tokens: BURST, refilled: now }
    }

    /// The next node to check, unless the pace forbids.
    pub(crate) fn next<R: Rng + ?Sized>(&mut self, table: &PeerTable, now: Instant, rng: &mut R) -> Option<PeerId> {
        self.refill(now);
        if self.tokens == 0 {
            return None;
        }
        let is_due = |peer: &PeerId| table.get(peer).is_some_and(|node| node.contact.is_due(now));
        let next = loop {
            match self.queue.pop_front() {
                Some(peer) if is_due(&peer) => break peer,
                Some(_) => {}
                None => {
                    self.queue = choose(table, now, rng).into();
                    if self.queue.is_empty() {
                        return None;
                    }
                }
            }
        };
        self.tokens -= 1;
        Some(next)
    }

    /// Forgets the order, for nodes have come that may be more urgent.
    pub(crate) fn reconsider(&mut self) {
        self.queue.clear();
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && self.refilled + PACE <= now {
            self.tokens += 1;
            self.refilled += PACE;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
    }
}

/// Nodes that are due, by turns: one that was reached before or is an entry, longest due first; one that never was.
fn choose<R: Rng + ?Sized>(table: &PeerTable, now: Instant, rng: &mut R) -> Vec<PeerId> {
    let due = table.nodes().filter(|node| node.contact.is_due(now) && table.is_wanted(node));
    let (mut known, unverified): (Vec<_>, Vec<_>) = due.partition(|node| node.is_kept());
    known.shuffle(rng);
    known.sort_by_key(|node| node.contact.due);
    let mut known = known.into_iter().map(|node| node.peer);
    let mut unverified = by_turns(unverified, rng).into_iter();
    let mut chosen = Vec::new();
    while chosen.len() < BATCH {
        let next = [known.next(), unverified.next()];
        if next == [None, None] {
            break;
        }
        chosen.extend(next.into_iter().flatten());
    }
    chosen
}

/// Unverified peers by turns over the sources that introduced them, and within a source over the parts of the network, so
/// that a flood from one source, or from one /24, delays the others by its turns and no more.
fn by_turns<R: Rng + ?Sized>(mut unverified: Vec<&Node>, rng: &mut R) -> Vec<PeerId> {
    unverified.shuffle(rng);
    let mut parts: HashMap<(SourceName, Option<Block>), Vec<PeerId>> = HashMap::new();
    for node in unverified {
        let subnet = node.blocks.iter().find(|block| matches!(block, Block::Subnet4(_) | Block::Subnet6(_)));
        parts.entry((node.introduced_by, subnet.copied())).or_default().push(node.peer);
    }
    let mut sources: HashMap<SourceName, VecDeque<Vec<PeerId>>> = HashMap::new();
    for ((source, _), peers) in parts {
        sources.entry(source).or_default().push_back(peers);
    }
    let mut sources: Vec<_> = sources.into_values().collect();
    sources.shuffle(rng);
    for subnets in &mut sources {
        subnets.make_contiguous().shuffle(rng);
    }
    let mut chosen = Vec::new();
    while chosen.len() < BATCH && !sources.is_empty() {
        for subnets in &mut sources {
            if let Some(mut peers) = subnets.pop_front() {
                chosen.extend(peers.pop());
                if !peers.is_empty() {
                    subnets.push_back(peers);
                }
            }
        }
        sources.retain(|subnets| !subnets.is_empty());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::{SeedableRng, rngs::StdRng};
    use wakumix_waku::record::{Capabilities, Shards};

    use super::*;
    use crate::{
        clock::Now,
        peer_report::PeerReport,
        peer_table::{CheckOutcome, Rules},
    };

    struct World {
        table: PeerTable,
        schedule: Schedule,
        rng: StdRng,
        now: Now,
    }

    impl World {
        fn new() -> Self {
            let table = PeerTable::new(Rules::of_cluster_2(PeerId::random(), 16_384));
            let now = Now { unix: 1_000_000, at: Instant::now() };
            Self { table, schedule: Schedule::new(now.at), rng: StdRng::seed_from_u64(3), now }
        }

        fn report(&mut self, source: SourceName, subnet: u32, host: u8) -> PeerId {
            let [_, a, b, c] = subnet.to_be_bytes();
            let peer = PeerId::random();
            let report = PeerReport {
                addresses: vec![format!("/ip4/{}.{b}.{c}.{host}/tcp/1", 11 + a).parse().unwrap()],
                capabilities: Some(Capabilities::MIX),
                shards: Some(Shards { cluster: 2, shards: Vec::new() }),
                ..PeerReport::new(peer, 1)
            };
            self.table.report(source, report, self.now, &mut self.rng).unwrap();
            peer
        }

        /// One node in each of these subnets.
        fn report_many(&mut self, subnets: std::ops::Range<u32>) {
            for subnet in subnets {
                self.report(SourceName::Discv5, subnet, 1);
            }
        }

        /// Starts checks until the pace forbids or nobody is due.
        fn round(&mut self) -> Vec<PeerId> {
            let mut started = Vec::new();
            while let Some(peer) = self.schedule.next(&self.table, self.now.at, &mut self.rng) {
                self.table.checking(&peer, self.now);
                started.push(peer);
            }
            started
        }

        fn pass(&mut self, time: Duration) {
            self.now.at += time;
        }
    }

    #[test]
    fn a_burst_then_a_pace() {
        let mut world = World::new();
        world.report_many(0..200);
        assert_eq!(world.round().len(), BURST as usize);
        assert_eq!(world.round().len(), 0);
        world.pass(PACE * 10);
        assert_eq!(world.round().len(), 10);
        world.pass(Duration::from_secs(3600));
        assert_eq!(world.round().len(), BURST as usize, "a long wait saves no more than one burst");
    }

    #[test]
    fn nobody_is_checked_twice_at_a_time_or_before_its_time() {
        let mut world = World::new();
        let peer = world.report(SourceName::Discv5, 1, 1);
        assert_eq!(world.round(), [peer]);
        assert_eq!(world.round(), []);
        let (table, now) = (&mut world.table, world.now);
        table.checked(&peer, CheckOutcome::Alive, now, &mut world.rng);
        assert_eq!(world.round(), []);
        world.pass(Duration::from_secs(60));
        assert_eq!(world.round(), [peer]);
    }

    #[test]
    fn a_flood_of_one_source_does_not_delay_another_source() {
        let mut world = World::new();
        world.report_many(0..2000);
        let honest: Vec<_> = (0..10).map(|host| world.report(SourceName::Rendezvous, 5000, host + 1)).collect();
        let round = world.round();
        assert!(honest.iter().all(|peer| round.contains(peer)), "each second turn is the other source's");
    }

    #[test]
    fn a_full_subnet_gets_the_turns_of_one() {
        let mut world = World::new();
        for host in 1..=60 {
            world.report(SourceName::Discv5, 1, host);
        }
        let others: Vec<_> = (2..12).map(|subnet| world.report(SourceName::Discv5, subnet, 1)).collect();
        let first: Vec<_> = world.round().into_iter().take(22).collect();
        assert!(others.iter().all(|peer| first.contains(peer)));
    }

    #[test]
    fn nodes_that_were_reached_get_every_second_turn() {
        let mut world = World::new();
        let friends: Vec<_> = (0..20).map(|subnet| world.report(SourceName::Discv5, subnet, 1)).collect();
        for peer in &friends {
            world.table.checking(peer, world.now);
            world.table.checked(peer, CheckOutcome::Alive, world.now, &mut world.rng);
        }
        world.pass(Duration::from_secs(60));
        world.report_many(100..1000);
        let round = world.round();
        assert!(friends.iter().all(|peer| round[..40].contains(peer)));
    }
}
