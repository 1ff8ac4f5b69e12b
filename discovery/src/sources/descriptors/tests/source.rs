//! The source as a whole, against honest and hostile nodes.

use std::{collections::HashSet, sync::Arc};

use libp2p_identity::PeerId;
use parking_lot::Mutex;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use wakumix_records::descriptor::{Descriptor, MAX_DESCRIPTORS, MAX_LEN, PROTOCOL, Request};
use wakumix_role_api::{Requester, host::RequestFailure};
use wakumix_sphinx::PublicKey;
use wakumix_waku::record::Capabilities;

use super::support::{NOW, World, address, ask, descriptor, framed, keypair, local, mix_key, peer, sealed};
use crate::{entry::PeerAddress, peer_report::PeerReport, sources::descriptors::DescriptorsConfig};

fn entries(seeds: &[u16]) -> DescriptorsConfig {
    let entry = |&seed: &u16| PeerAddress { peer: peer(seed), address: address(seed) };
    DescriptorsConfig { peers: seeds.iter().map(entry).collect(), ..DescriptorsConfig::default() }
}

/// Honest nodes that know the peers 1 to `count`.
fn honest(count: u16) -> impl Fn(PeerId, Request) -> Result<Vec<u8>, RequestFailure> + Send + 'static {
    let all: Vec<(PeerId, Vec<u8>)> = (1..=count).map(|seed| (peer(seed), sealed(seed))).collect();
    let rng = Mutex::new(StdRng::seed_from_u64(7));
    move |asked, request| {
        let of = |wanted: PeerId| all.iter().filter(move |(peer, _)| *peer == wanted).map(|(_, bytes)| bytes.clone());
        Ok(framed(match request {
            Request::Own => of(asked).collect(),
            Request::Peers(peers) => peers.into_iter().flat_map(of).collect(),
            Request::Sample(wanted) => {
                let mut rng = rng.lock();
                rand::seq::index::sample(&mut *rng, all.len(), wanted.min(all.len()))
                    .iter()
                    .map(|at| all[at].1.clone())
                    .collect()
            }
        }))
    }
}

#[tokio::test]
async fn one_entry_is_enough_to_learn_of_everybody() {
    let world = World::start(entries(&[1]), local(Capabilities::NONE), Vec::new(), honest(100));
    world.pass(60).await;
    assert!((1..=100).all(|seed| world.knows(seed)));
    assert_eq!(world.node.log.lock().refused.len(), 0);
    // What was learnt is passed on.
    let sample = Request::Sample(MAX_DESCRIPTORS).encode();
    let answer = ask(world.node.service(), Requester::Anonymous, sample).await.unwrap();
    assert_eq!(answer.len(), MAX_DESCRIPTORS);
    // Once all is known there are samples every few minutes.
    world.pass(1000).await;
    let before = world.requests().len();
    world.pass(600).await;
    assert!(world.requests().len() - before <= 3, "{}", world.requests().len() - before);
}

#[tokio::test]
async fn a_peer_that_says_that_it_speaks_the_protocol_is_asked() {
    let world = World::start(entries(&[]), local(Capabilities::NONE), Vec::new(), honest(3));
    world.pass(5).await;
    assert_eq!(world.requests(), []);
    world.node.meets(peer(2), PROTOCOL);
    world.pass(5).await;
    assert!((1..=3).all(|seed| world.knows(seed)));
}

#[tokio::test]
async fn a_key_that_nobody_told_is_fetched_from_its_node() {
    let capabilities = Some(Capabilities::MIX);
    let keyless = PeerReport { capabilities, addresses: vec![address(2)], ..PeerReport::new(peer(2), 1) };
    let world = World::start(entries(&[]), local(Capabilities::NONE), vec![keyless], honest(2));
    world.pass(5).await;
    assert_eq!(world.requests()[0], (peer(2), Request::Own));
    assert_eq!(world.node.log.lock().known[&peer(2)].mix_key, descriptor(2).mix_key);
}

#[tokio::test]
async fn an_old_descriptor_is_renewed_before_it_is_over() {
    let fresh = |issued: u64| Descriptor { issued, expires: issued + 3600, ..descriptor(1) };
    let start = Mutex::new(None);
    let answer = move |_, _| {
        let start = *start.lock().get_or_insert_with(tokio::time::Instant::now);
        let age = start.elapsed().as_secs() / 600 * 600;
        Ok(framed(vec![fresh(NOW + age).seal(&keypair(1)).unwrap()]))
    };
    let world = World::start(entries(&[1]), local(Capabilities::NONE), Vec::new(), answer);
    world.pass(4 * 3600).await;
    let expires = world.node.log.lock().known[&peer(1)].expires.unwrap();
    assert!(expires > NOW + 4 * 3600 + 1000, "{}", expires - NOW);
}

/// Nodes that rotate at every full minute since [`NOW`] and tell it a second later.
#[derive(Clone)]
struct Rotating {
    peers: Arc<[PeerId]>,
    keys: Arc<[PublicKey]>,
}

impl Rotating {
    const ROTATIONS: u64 = 12;

    fn new(nodes: u16) -> Self {
        let keys = nodes * u16::try_from(Self::ROTATIONS).unwrap();
        Self { peers: (0..nodes).map(peer).collect(), keys: (0..keys).map(mix_key).collect() }
    }

    fn place(&self, peer: &PeerId) -> usize {
        self.peers.iter().position(|known| known == peer).unwrap()
    }

    /// The key of the node at a place, so many seconds after the start.
    fn key(&self, place: usize, since: u64) -> PublicKey {
        self.keys[place * usize::try_from(Self::ROTATIONS).unwrap() + usize::try_from(since / 60).unwrap()]
    }

    fn descriptor(&self, place: usize, since: u64) -> Vec<u8> {
        let told = since.saturating_sub(1);
        let seed = u16::try_from(place).unwrap();
        let turn = (told / 60 + 1) * 60;
        let rotating = Descriptor {
            issued: NOW + told,
            expires: NOW + told + 3600,
            mix_key: Some(self.key(place, told)),
            next_key: Some((self.key(place, turn), NOW + turn)),
            ..descriptor(seed)
        };
        rotating.seal(&keypair(seed)).unwrap()
    }
}

/// Rotation every minute for ten minutes, and each node does not answer the first request after it: at no time is a packet
/// made for a dead key.
#[tokio::test]
async fn the_next_key_of_every_pool_node_is_known_before_the_old_one_ends() {
    const NODES: u16 = 20;
    let net = Rotating::new(NODES);
    let state = Mutex::new((None, HashSet::new()));
    let served = net.clone();
    let answer = move |asked, request| {
        let (start, answered) = &mut *state.lock();
        let since = start.get_or_insert_with(tokio::time::Instant::now).elapsed().as_secs();
        if request == Request::Own && answered.insert((asked, since / 60)) {
            return Err(RequestFailure::Timeout);
        }
        let told: Vec<usize> = match &request {
            Request::Own => vec![served.place(&asked)],
            Request::Peers(peers) => peers.iter().map(|peer| served.place(peer)).collect(),
            Request::Sample(_) => (0..usize::from(NODES)).collect(),
        };
        Ok(framed(told.into_iter().map(|place| served.descriptor(place, since)).collect()))
    };
    let known = |(seed, peer): (u16, &PeerId)| PeerReport {
        addresses: vec![address(seed)],
        mix_key: Some(net.key(usize::from(seed), 0)),
        ..PeerReport::new(*peer, 0)
    };
    let known = (0..).zip(net.peers.iter()).map(known).collect();
    let world = World::start(entries(&[1]), local(Capabilities::NONE), known, answer);
    world.node.show_pool(0..NODES);
    world.pass(40).await;
    for since in 40..600 {
        world.pass(1).await;
        let told = world.node.log.lock();
        for (place, peer) in net.peers.iter().enumerate() {
            let mut report = told.known[peer].clone();
            report.turn(NOW + since);
            assert_eq!(report.mix_key, Some(net.key(place, since)), "node {place} after {since} s");
        }
    }
    let requests = world.requests().len();
    assert!(requests < 10 * 20 * 4, "{requests} requests: a few a node and minute");
}

#[tokio::test]
async fn nodes_that_are_gone_are_looked_for_less_and_less_often() {
    let gone = |_, _| Err(RequestFailure::DialFailed);
    let world = World::start(entries(&[1]), local(Capabilities::NONE), Vec::new(), gone);
    world.pass(3600).await;
    let asked = world.requests().len();
    assert!((8..16).contains(&asked), "{asked}");
    assert_eq!(world.node.log.lock().unanswered, asked);
}

/// One kind of descriptor after the other, each wrong in its way, and a good one in every twentieth place.
fn hostile(index: usize, rng: &mut StdRng) -> Vec<u8> {
    let seed = 1000 + u16::try_from(index % 500).unwrap();
    let signed = |change: &dyn Fn(&mut Descriptor)| {
        let mut descriptor = descriptor(seed);
        change(&mut descriptor);
        descriptor.seal(&keypair(seed)).unwrap()
    };
    match index % 20 {
        0 => sealed(u16::try_from(index / 20 % 100).unwrap() + 1),
        1..=4 => {
            let mut noise = vec![0; rng.random_range(0..600)];
            rng.fill_bytes(&mut noise);
            noise
        }
        5..=8 => {
            let mut forged = signed(&|_| {});
            *forged.last_mut().unwrap() ^= 1;
            forged
        }
        9..=12 => signed(&|over| (over.issued, over.expires) = (NOW - 7200, NOW - 3600)),
        13..=16 => vec![0x0a; MAX_LEN + 1],
        // The same again and again in one answer.
        _ => sealed(1999),
    }
}

/// 10,000 envelopes: in each answer of 40, which are 8 more than were asked for, two honest ones and the rest hostile.
#[tokio::test]
async fn ten_thousand_hostile_descriptors_are_counted_one_by_one_and_displace_nobody() {
    const ANSWER: usize = 40;
    let state = Mutex::new((0, StdRng::seed_from_u64(3)));
    let answer = move |_, request| {
        let (sent, rng) = &mut *state.lock();
        if *sent >= 10_000 || !matches!(request, Request::Sample(_)) {
            return Ok(framed(Vec::new()));
        }
        let batch = (*sent..*sent + ANSWER).map(|index| hostile(index, rng)).collect();
        *sent += ANSWER;
        Ok(framed(batch))
    };
    // 250 nodes, each of which is asked for a sample at once, before anything is known.
    let hosts: Vec<u16> = (5000..5250).collect();
    let world = World::start(entries(&hosts), local(Capabilities::NONE), Vec::new(), answer);
    world.pass(300).await;
    let told = world.node.log.lock();
    let honest = (1..=100).filter(|&seed| told.known.contains_key(&peer(seed))).count();
    assert_eq!((honest, told.known.len()), (100, 101), "100 honest ones and the one that was repeated");
    // Of each answer 8 were not asked for. 32 were read: 8 of noise, 8 forged, 7 over, 4 too large, 2 honest, and one
    // three times.
    let expected =
        [("malformed", 250 * 8), ("signature", 250 * 8), ("expired", 250 * 7), ("too_many", 250 * (8 + 4 + 2))];
    assert_eq!(told.refused, expected.into());
    assert_eq!(told.found.len(), 250 * 3);
    assert_eq!(told.refused.values().sum::<u64>() + 250 * 3, 10_000);
}
