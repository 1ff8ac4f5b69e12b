//! Which peers the source asks, and when.

use std::{collections::HashSet, time::Duration};

use libp2p_identity::PeerId;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;
use wakumix_records::descriptor::{Descriptor, MAX_DESCRIPTORS, Request};
use wakumix_waku::record::Capabilities;

use super::support::{ME, NOW, address, descriptor, keypair, known, mix_key, peer};
use crate::{
    clock::Now,
    entry::PeerAddress,
    peer_report::{PeerReport, SignedRecord},
    sources::{
        descriptors::{
            asker::{Ask, Asked, Asker, Outcome, QUIET_SAMPLES},
            store::DescriptorStore,
        },
        test_double::reached,
    },
};

const SAMPLE: Request = Request::Sample(MAX_DESCRIPTORS);

struct World {
    asker: Asker,
    store: DescriptorStore,
    protocol_peers: Vec<PeerId>,
    /// Those of them that this node has dialled; all of them if that is not said.
    dialled: Option<Vec<PeerId>>,
    pool: HashSet<PeerId>,
    /// The wall clock, which [`World::know`] sets.
    unix: u64,
    now: Instant,
    rng: StdRng,
}

impl World {
    fn new(entries: &[u16]) -> Self {
        let entries = entries.iter().map(|&seed| PeerAddress { peer: peer(seed), address: address(seed) });
        let now = Instant::now();
        Self {
            asker: Asker::new(peer(ME), entries.collect(), now),
            store: DescriptorStore::default(),
            protocol_peers: Vec::new(),
            dialled: None,
            pool: HashSet::new(),
            unix: NOW,
            now,
            rng: StdRng::seed_from_u64(1),
        }
    }

    fn know(&mut self, reports: Vec<PeerReport>, unix: u64) {
        self.store = DescriptorStore::new(reached(reports), &self.pool, unix);
        self.unix = unix;
        self.plan();
    }

    fn plan(&mut self) {
        self.asker.plan(Now { unix: self.unix, at: self.now }, &self.store, &mut self.rng);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.unix += time.as_secs();
        self.plan();
    }

    fn next(&mut self) -> Option<Ask> {
        let dialled = self.dialled.clone().unwrap_or_else(|| self.protocol_peers.clone());
        let protocol_peers = Asked { connected: self.protocol_peers.clone(), reached: dialled };
        self.asker.next(self.now, &protocol_peers, &self.store, &mut self.rng)
    }

    /// All that is to be asked now.
    fn all(&mut self) -> Vec<Ask> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn note(&mut self, ask: &Ask, outcome: &Outcome) {
        self.asker.note(ask, outcome, self.now, &mut self.rng);
    }

    /// The samples that are to be drawn now; everything else is answered with nothing.
    fn samples(&mut self) -> Vec<Ask> {
        let (samples, others): (Vec<_>, Vec<_>) = self.all().into_iter().partition(|ask| ask.request == SAMPLE);
        others.iter().for_each(|ask| self.answer(ask, &[], 0));
        samples
    }

    /// For how many seconds there is no sample; then there is one.
    fn quiet_for(&mut self) -> (u64, Ask) {
        for seconds in 0..=600 {
            if let Some(ask) = self.samples().pop() {
                return (seconds, ask);
            }
            self.pass(Duration::from_secs(1));
        }
        panic!("no sample in ten minutes");
    }

    fn answer(&mut self, ask: &Ask, told: &[u16], news: usize) {
        let told = told.iter().map(|&seed| peer(seed)).collect();
        self.note(ask, &Outcome::Answered { told, news });
    }
}

fn keyless(seed: u16) -> PeerReport {
    let capabilities = Some(Capabilities::MIX);
    PeerReport { capabilities, addresses: vec![address(seed)], ..PeerReport::new(peer(seed), 1) }
}

fn own(seed: u16) -> Ask {
    Ask { peer: peer(seed), addresses: vec![address(seed)], request: Request::Own }
}

#[test]
fn entries_are_asked_at_once_and_again_until_they_answer() {
    let mut world = World::new(&[1, 2, ME]);
    let asks = world.all();
    assert_eq!(
        asks.iter().map(|ask| (ask.peer, &ask.request)).collect::<Vec<_>>(),
        [(peer(1), &SAMPLE), (peer(2), &SAMPLE)]
    );
    world.answer(&asks[0], &[1], 1);
    world.note(&asks[1], &Outcome::Failed);
    assert_eq!(world.all(), []);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.all(), [asks[1].clone()]);
    world.answer(&asks[1], &[2], 1);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.all(), []);
}

#[test]
fn samples_go_on_quickly_until_they_bring_nothing_new() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    for news in [5, 1, 0, 0, 3] {
        let (wait, ask) = world.quiet_for();
        assert!(ask.peer == peer(1) && wait <= 2);
        world.answer(&ask, &[], news);
    }
    for _ in 0..QUIET_SAMPLES {
        assert!(world.asker.is_growing());
        let (wait, ask) = world.quiet_for();
        assert!(wait <= 2);
        world.answer(&ask, &[], 0);
    }
    assert!(!world.asker.is_growing());
    for longest in [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
        let (wait, ask) = world.quiet_for();
        assert!((longest / 2 - 1..=longest).contains(&wait), "{wait} of {longest}");
        world.answer(&ask, &[], 0);
    }
    let (_, ask) = world.quiet_for();
    world.answer(&ask, &[], 1);
    assert!(world.quiet_for().0 <= 2, "news bring the pace back");
}

#[test]
fn samples_go_on_while_a_mix_node_has_no_key() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    world.know(vec![keyless(2)], NOW);
    for _ in 0..50 {
        let (wait, ask) = world.quiet_for();
        assert!(wait <= 30, "{wait}");
        world.answer(&ask, &[], 0);
    }
}

#[test]
fn a_node_that_is_not_ready_when_it_is_asked_is_asked_again_soon_and_then_less_often() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    let mut asked = Vec::new();
    let start = world.now;
    for _ in 0..3600 {
        for ask in world.all() {
            if ask.request == Request::Own {
                asked.push((world.now - start).as_secs());
            }
            world.answer(&ask, &[], 0);
        }
        world.pass(Duration::from_secs(1));
    }
    assert!(asked[0] <= 4 && asked[1] <= 12 && asked[2] <= 24, "{asked:?}");
    assert!(asked.len() <= 18, "{asked:?}");
    world.know(vec![keyless(3)], NOW);
    world.protocol_peers.clear();
    let ask = world.all().into_iter().find(|ask| ask.peer == peer(3)).unwrap();
    world.answer(&ask, &[], 0);
    world.pass(Duration::from_secs(3));
    assert!(world.all().contains(&own(3)), "nor does one that is not connected wait for long");
}

#[test]
fn who_comes_back_is_asked_at_once() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    for _ in 0..600 {
        world.all().iter().for_each(|ask| world.answer(ask, &[], 0));
        world.pass(Duration::from_secs(1));
    }
    world.protocol_peers.clear();
    assert_eq!(world.all(), []);
    world.protocol_peers = vec![peer(1)];
    assert_eq!(world.all(), [Ask { addresses: Vec::new(), request: SAMPLE, ..own(1) }]);
}

#[test]
fn news_without_end_do_not_keep_the_pace_up() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    let mut asked = 0;
    for _ in 0..3600 {
        for ask in world.samples() {
            asked += 1;
            world.answer(&ask, &[], 32);
        }
        world.pass(Duration::from_secs(1));
    }
    assert!((200..280).contains(&asked), "{asked}");
}

#[test]
fn a_newly_identified_peer_is_asked_for_what_it_knows() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1), peer(2)];
    let asks = world.all();
    assert_eq!(asks.iter().map(|ask| ask.peer).collect::<HashSet<_>>(), [peer(1), peer(2)].into());
    for _ in 0..2 * QUIET_SAMPLES {
        asks.iter().for_each(|ask| world.answer(ask, &[], 0));
    }
    assert!(!world.asker.is_growing());
    world.protocol_peers.push(peer(3));
    let newcomer = Ask { addresses: Vec::new(), request: SAMPLE, ..own(3) };
    assert!(world.all().contains(&newcomer));
    world.answer(&newcomer, &[], 0);
    assert!(!world.asker.is_growing());
}

#[test]
fn mix_nodes_without_key_or_with_an_old_descriptor_are_asked_themselves() {
    let mut world = World::new(&[]);
    let relay = PeerReport { capabilities: Some(Capabilities::RELAY), ..PeerReport::new(peer(4), 1) };
    let entry = PeerReport { record: None, ..known(5) };
    world.know(vec![known(1), known(2), keyless(3), relay, entry], NOW);
    let asks = world.all();
    assert!(asks.contains(&own(3)), "{asks:?}");
    assert!(asks.iter().all(|ask| ask.peer == peer(3) || ask.request == SAMPLE));
    // The descriptors were issued 60 seconds ago for an hour.
    let mut world = World::new(&[]);
    world.know(vec![known(1), known(2), keyless(3)], NOW + 1800);
    let asked: HashSet<_> = world.all().into_iter().map(|ask| ask.peer).collect();
    assert_eq!(asked, [peer(1), peer(2), peer(3)].into());
}

#[test]
fn who_does_not_answer_is_asked_about_elsewhere_and_then_again() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    world.know((10..50).map(keyless).collect(), NOW);
    let asks = world.all();
    assert_eq!(asks.len(), 41);
    for ask in asks {
        if ask.peer == peer(1) { world.answer(&ask, &[], 0) } else { world.note(&ask, &Outcome::Failed) }
    }
    let (mut named, mut again) = (HashSet::new(), HashSet::new());
    for _ in 0..60 {
        world.pass(Duration::from_secs(5));
        for ask in world.all() {
            if ask.peer != peer(1) {
                assert!(named.contains(&ask.peer) && ask.request == Request::Own, "first somebody else, then again");
                again.insert(ask.peer);
                world.note(&ask, &Outcome::Failed);
                continue;
            }
            if let Request::Peers(peers) = &ask.request {
                assert!(peers.len() <= MAX_DESCRIPTORS);
                named.extend(peers.iter().copied());
            }
            world.answer(&ask, &[], 0);
        }
    }
    let all: HashSet<_> = (10..50).map(peer).collect();
    assert_eq!((&named, &again), (&all, &all));
}

#[test]
fn who_does_not_speak_the_protocol_is_left_alone_and_a_busy_host_blames_nobody() {
    let mut world = World::new(&[]);
    world.know(vec![keyless(1)], NOW);
    assert_eq!(world.all(), [own(1)]);
    world.note(&own(1), &Outcome::NotAsked);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.all(), [own(1)]);
    world.note(&own(1), &Outcome::Unsupported);
    world.protocol_peers = vec![peer(2)];
    for _ in 0..100 {
        world.pass(Duration::from_secs(100));
        for ask in world.all() {
            assert_eq!(ask.peer, peer(2));
            world.answer(&ask, &[], 0);
        }
    }
}

#[test]
fn nobody_is_asked_twice_at_a_time() {
    let mut world = World::new(&[1]);
    world.protocol_peers = vec![peer(1)];
    world.know(vec![keyless(1)], NOW);
    assert_eq!(world.all().len(), 1);
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.all(), []);
}

/// Half of the samples come from nodes with descriptors, however many attackers this node has dialled, and all of them where
/// the attackers have dialled in.
#[test]
fn many_connections_do_not_decide_what_is_learnt() {
    // 50 on average with a deviation of 5.
    assert!((30..70).contains(&samples_of_others(None)));
    assert_eq!(samples_of_others(Some(Vec::new())), 100);
}

/// How many of 100 samples are asked of nodes with descriptors while 200 attackers are connected.
fn samples_of_others(dialled: Option<Vec<PeerId>>) -> usize {
    let mut world = World::new(&[]);
    let attackers: HashSet<_> = (1000..1200).map(peer).collect();
    world.protocol_peers = attackers.iter().copied().collect();
    world.dialled = dialled;
    world.know((1..10).map(known).collect(), NOW);
    for ask in world.all() {
        world.answer(&ask, &[], 0);
    }
    let (mut of_attackers, mut of_others) = (0, 0);
    for _ in 0..100 {
        world.pass(Duration::from_secs(601));
        for ask in world.samples() {
            if attackers.contains(&ask.peer) {
                of_attackers += 1;
            } else {
                of_others += 1;
            }
            world.answer(&ask, &[], 0);
        }
    }
    assert_eq!(of_attackers + of_others, 100);
    of_others
}

#[test]
fn whoever_dialled_in_is_asked_for_others_only_while_nobody_was_reached() {
    let asked = |is_known: bool| {
        let mut world = World::new(&[]);
        (world.protocol_peers, world.dialled) = (vec![peer(2)], Some(Vec::new()));
        if is_known {
            world.know(vec![known(1)], NOW);
        }
        world.all().into_iter().find(|ask| ask.peer == peer(2)).map(|ask| ask.request)
    };
    assert_eq!((asked(false), asked(true)), (Some(SAMPLE), Some(Request::Own)));
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut world = World::new(&[]);
    let nobody = |_| PeerReport { capabilities: Some(Capabilities::MIX), ..PeerReport::new(PeerId::random(), 1) };
    world.store = DescriptorStore::new(reached((0..20_000).map(nobody)), &world.pool, NOW);
    world.plan();
    let asks = world.all();
    asks.iter().for_each(|ask| world.note(ask, &Outcome::Unsupported));
    assert_eq!(world.all(), []);
    assert!(format!("{:?}", world.asker).matches("Attempt {").count() <= 16_384);
}

#[test]
fn pool_nodes_of_which_there_is_no_descriptor_are_asked_for_it() {
    let mut world = World::new(&[]);
    let entry = |seed| PeerReport { record: None, capabilities: None, ..known(seed) };
    world.pool = HashSet::from([peer(1), peer(2)]);
    world.know(vec![entry(1), known(2), entry(3)], NOW);
    let asked: Vec<_> = world.all().into_iter().filter(|ask| ask.request == Request::Own).collect();
    assert_eq!(asked, [own(1)]);
    world.note(&own(1), &Outcome::Unsupported);
    world.pass(Duration::from_secs(3600));
    assert!(world.all().iter().all(|ask| ask.peer != peer(1)), "who does not speak the protocol is left alone");
}

#[test]
fn a_node_whose_records_tell_different_keys_is_asked_which_it_is() {
    let wanted = |key| {
        let record = Some(SignedRecord::NodeRecord(vec![1]));
        let node_record = PeerReport { record, mix_key: Some(key), ..known(1) };
        DescriptorStore::new(reached([known(1), node_record]), &HashSet::new(), NOW).wanted().len()
    };
    assert_eq!((wanted(mix_key(1)), wanted(mix_key(2))), (0, 1));
}

/// A pool node whose descriptor of a minute ago says that another key follows at a time.
fn turning(seed: u16, at: u64) -> PeerReport {
    let descriptor = Descriptor { next_key: Some((mix_key(seed + 1000), at)), ..descriptor(seed) };
    let record = Some(SignedRecord::Descriptor(descriptor.seal(&keypair(seed)).unwrap()));
    PeerReport { record, ..known(seed) }
}

#[test]
fn a_pool_node_is_asked_soon_after_its_key_has_changed_and_until_it_tells_what_follows() {
    let mut world = World::new(&[]);
    world.protocol_peers = vec![peer(1)];
    world.pool = HashSet::from([peer(1), peer(2)]);
    // Ten minutes, so that both are seldom asked for other reasons.
    let reports: Vec<_> = [1, 2, 3].map(|seed| turning(seed, NOW + 600)).into();
    let mut asked: Vec<(PeerId, u64)> = Vec::new();
    for since in 0..900 {
        world.know(reports.clone(), NOW + since);
        for ask in world.all() {
            if ask.request == Request::Own && since >= 600 {
                asked.push((ask.peer, since - 600));
            }
            world.answer(&ask, &[], 0);
        }
        world.now += Duration::from_secs(1);
    }
    for seed in [1, 2] {
        let times: Vec<_> = asked.iter().filter(|(asked, _)| *asked == peer(seed)).map(|(_, at)| *at).collect();
        // The notice was eleven minutes, so the spread is a quarter of that.
        assert!(times[0] <= 3 + 165, "{times:?}");
        assert!((3..=14).contains(&times.len()), "asked again, and less and less often: {times:?}");
    }
    let newer = |seed| PeerReport { expires: Some(NOW + 3600), ..turning(seed, NOW + 1800) };
    world.know(vec![newer(1), newer(2), newer(3)], NOW + 901);
    world.now += Duration::from_secs(600);
    assert!(world.all().iter().all(|ask| ask.peer != peer(2) || ask.request == SAMPLE), "a newer descriptor has come");
}

#[test]
fn who_changes_keys_without_end_is_not_asked_without_end() {
    let mut world = World::new(&[]);
    let seeds = 1..=200;
    world.pool = seeds.clone().map(peer).collect();
    let mut asked = 0;
    for _ in 0..60 {
        let at = world.unix;
        world.know(seeds.clone().map(|seed| turning(seed, at)).collect(), at);
        for ask in world.all() {
            asked += usize::from(ask.request == Request::Own);
            world.answer(&ask, &[], 0);
        }
        world.pass(Duration::from_secs(1));
    }
    assert!(asked <= 60 * 64, "{asked}");
}
