//! The engine against a network in memory: the nodes of the pool are keys and addresses, and every packet takes its path
//! through the code of mix nodes.

use std::{collections::BTreeMap, time::Duration};

use libp2p_identity::{Keypair, PeerId, secp256k1};
use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use wakumix_client::{Anonymity, SendFailure, lightpush::Push};
use wakumix_mix::{
    Body, HopAddress, Request, encode_reply,
    hop::{self, HopDecision, NextHopPolicy},
};
use wakumix_records::descriptor::{Descriptor, DescriptorLimits, Response};
use wakumix_sphinx::{PacketFormat, PrivateKey, WireFormat};
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, v3},
    record::{Capabilities, Shards},
};

use crate::{Clock, Command, Engine, EngineSettings, Event};

const CLUSTER: u16 = 66;
const UNIX: u64 = 1_800_000_000;
const NODES: u8 = 8;
const EXITS: u8 = 2;

fn keypair(seed: u8) -> Keypair {
    secp256k1::Keypair::from(secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap()).into()
}

fn peer(seed: u8) -> PeerId {
    keypair(seed).public().to_peer_id()
}

fn mix_key(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; 32])
}

/// The descriptor of a node; the first are exits that serve lightpush.
fn descriptor(seed: u8, cluster: u16) -> Vec<u8> {
    let service = if seed <= EXITS { Capabilities::RELAY | Capabilities::LIGHTPUSH } else { Capabilities::NONE };
    let descriptor = Descriptor {
        peer: peer(seed),
        issued: UNIX,
        expires: UNIX + 3600,
        addresses: vec![
            format!("/ip4/10.0.{seed}.1/tcp/4000").parse().unwrap(),
            format!("/ip4/10.0.{seed}.1/tcp/4001/ws").parse().unwrap(),
        ],
        shards: Shards { cluster, shards: vec![0] },
        capabilities: Capabilities::MIX | service,
        mix_key: Some(mix_key(seed).public()),
        next_key: None,
        profiles: vec![WireFormat::default()],
        operator: None,
        family: Vec::new(),
        limits: DescriptorLimits::default(),
        reassembles: true,
        is_full: false,
    };
    descriptor.seal(&keypair(seed)).unwrap()
}

fn answer(cluster: u16) -> Vec<u8> {
    Response { descriptors: (1..=NODES).map(|seed| descriptor(seed, cluster)).collect() }.encode()
}

fn settings() -> EngineSettings {
    EngineSettings {
        peer: peer(99),
        cluster: CLUSTER,
        auto_shards: None,
        profile: "lioness/pad".to_owned(),
        allow_private: true,
        secure_only: false,
        timeout: None,
        cover: None,
        keeps_state: true,
        bootstrap: vec![(peer(1), b"\x04\x0a\x00\x01\x01\x06\x0f\xa1\xdd\x03".to_vec())],
    }
}

/// A page, played: what it is told to do happens at once, or not at all.
struct World {
    engine: Engine<ChaCha20Rng>,
    now: Duration,
    /// Whether nodes can be dialled.
    is_online: bool,
    /// What nodes answer that are asked for descriptors.
    answer: Option<Vec<u8>>,
    connected: Vec<PeerId>,
    dialled: Vec<PeerId>,
    asked: usize,
    /// Packets on their way to first hops.
    packets: Vec<(PeerId, Vec<u8>)>,
    outcomes: BTreeMap<u32, Result<u32, String>>,
    stored: Option<Vec<u8>>,
    lack: Option<(&'static str, String)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let engine = Engine::new(ChaCha20Rng::seed_from_u64(seed));
        Self {
            engine,
            now: Duration::from_secs(1),
            is_online: true,
            answer: Some(answer(CLUSTER)),
            connected: Vec::new(),
            dialled: Vec::new(),
            asked: 0,
            packets: Vec::new(),
            outcomes: BTreeMap::new(),
            stored: None,
            lack: None,
        }
    }

    fn started(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.give(Command::Start(Box::new(settings())));
        world.give(Command::Tick);
        world
    }

    /// Gives a command, and does what follows, to the end.
    fn give(&mut self, command: Command) {
        let mut commands = vec![command];
        while !commands.is_empty() {
            let clock = Clock { now: self.now, unix: Duration::from_secs(UNIX + self.now.as_secs()) };
            for event in self.engine.handle(clock, commands.remove(0)) {
                commands.extend(self.follow(event));
            }
        }
    }

    fn follow(&mut self, event: Event) -> Option<Command> {
        match event {
            Event::Dial(peer, addresses) => {
                assert!(!addresses.is_empty());
                self.dialled.push(peer);
                if !self.is_online {
                    return Some(Command::DialFailed(peer));
                }
                self.connected.push(peer);
                Some(Command::Connected(peer))
            }
            Event::HangUp(peer) => {
                self.connected.retain(|connected| *connected != peer);
                Some(Command::Disconnected(peer))
            }
            Event::Fetch(peer, _) => {
                self.asked += 1;
                Some(Command::Descriptors(peer, self.answer.clone()))
            }
            Event::Verify(id, signatures) => {
                let is_good = |signature: &wakumix_records::descriptor::SignatureToCheck| {
                    let key = libp2p_identity::PublicKey::try_decode_protobuf(&signature.public_key).unwrap();
                    key.verify(&signature.signed, &signature.signature)
                };
                Some(Command::Verified(id, signatures.iter().map(is_good).collect()))
            }
            Event::Packet { id, to, bytes } => {
                let left = if self.connected.contains(&to) { Ok(()) } else { Err(SendFailure::NotConnected) };
                if left.is_ok() {
                    self.packets.push((to, bytes));
                }
                Some(Command::Left(id, left))
            }
            Event::Outcome(id, outcome) => {
                let outcome = outcome.result.map(|answer| answer.status).map_err(|failure| failure.kind().to_owned());
                assert_eq!(self.outcomes.insert(id, outcome), None, "a request has one outcome");
                None
            }
            Event::Status(status) => {
                self.lack = status.lack;
                None
            }
            Event::Store(state) => {
                self.stored = Some(state);
                None
            }
            Event::AskDirectly { id, services, request, .. } => {
                assert!(!services.is_empty());
                let request = v3::Request::decode(frame::first_body(&request, 1 << 20).unwrap()).unwrap();
                Some(Command::DirectAnswer(id, Ok(frame::encode(&published(request.request_id)))))
            }
            Event::Started | Event::Refused(_) => None,
        }
    }

    /// Lets time pass until the page has something to send or an outcome, or for so long.
    fn pass(&mut self, limit: Duration) {
        let end = self.now + limit;
        while let Some(wake) = self.engine.next_wake()
            && wake <= end
            && self.packets.is_empty()
        {
            self.now = self.now.max(wake);
            self.give(Command::Tick);
        }
        if self.packets.is_empty() {
            self.now = end;
        }
    }

    /// Brings the packets that have left to their exits, and the answers back.
    fn carry(&mut self) {
        for (mut at, mut packet) in std::mem::take(&mut self.packets) {
            let format = WireFormat::default().format();
            let mut rng = ChaCha20Rng::seed_from_u64(5);
            loop {
                if at == peer(99) {
                    self.give(Command::Packet(packet));
                    break;
                }
                let seed = (1..=NODES).find(|seed| peer(*seed) == at).unwrap();
                match step(&*format, seed, &mut packet, &mut rng) {
                    Step::Forward(to) => at = to,
                    Step::Reply(first, reply) => (at, packet) = (first, reply),
                }
            }
        }
    }

    fn push(&mut self, id: u32, payload: &[u8]) {
        self.push_with(id, payload, Anonymity::Required);
    }

    fn push_with(&mut self, id: u32, payload: &[u8], anonymity: Anonymity) {
        let message = WakuMessage {
            payload: payload.to_vec(),
            content_topic: "/test/1/page/proto".to_owned(),
            ..WakuMessage::default()
        };
        let pubsub_topic = Some("/waku/2/rs/66/0".to_owned());
        let push = Push { message, pubsub_topic, exit: None, timeout: None, anonymity };
        self.give(Command::Push(id, Box::new(push)));
    }

    /// Pushes and carries until the request has ended.
    fn push_and_carry(&mut self, id: u32, payload: &[u8]) -> Result<u32, String> {
        self.push(id, payload);
        for _ in 0..2000 {
            if let Some(outcome) = self.outcomes.remove(&id) {
                return outcome;
            }
            self.pass(Duration::from_secs(1));
            self.carry();
        }
        panic!("request {id} has no outcome");
    }
}

/// What a service answers that has published a message.
fn published(request_id: String) -> Vec<u8> {
    let (status_code, relay_peer_count) = (StatusCode::SUCCESS, Some(3));
    v3::Response { request_id, status_code, status_desc: None, relay_peer_count }.encode()
}

enum Step {
    Forward(PeerId),
    Reply(PeerId, Vec<u8>),
}

/// One hop; an exit answers that the message is published.
fn step(format: &dyn PacketFormat, seed: u8, packet: &mut [u8], rng: &mut ChaCha20Rng) -> Step {
    let key = mix_key(seed);
    let (authenticated, ()) = hop::authenticate(format, [((), &key)], packet, |()| {}).unwrap();
    let mut policy = NextHopPolicy::new(peer(seed));
    (policy.forward, policy.allow_private_addresses) = (true, true);
    policy.ports = vec![0..=u16::MAX];
    match hop::open(format, packet, authenticated, &policy, &|_| None) {
        HopDecision::Forward(onward) => {
            let to = onward.to.peer();
            hop::blind(format, packet, onward.blinding).unwrap();
            Step::Forward(to)
        }
        HopDecision::Exit { body, .. } => {
            let body = packet[body].to_vec();
            let Ok(Body::Request(Request { surbs, data, .. })) = Request::decode(format, &body) else { panic!() };
            let request = v3::Request::decode(frame::first_body(data, 1 << 20).unwrap()).unwrap();
            let response = published(request.request_id);
            let surb = surbs.into_iter().next().unwrap();
            let first = HopAddress::decode(&surb.hop).unwrap().peer();
            let mut reply = vec![0; format.packet_len()];
            format.use_surb(rng, surb, &encode_reply(&frame::encode(&response)), &mut reply).unwrap();
            Step::Reply(first, reply)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_is_answered_from_one_bootstrap_address_on() {
    let mut world = World::started(1);
    assert_eq!(world.lack, None, "the pool of one answer is enough");
    assert_eq!(world.dialled.first(), Some(&peer(1)), "the bootstrap peer is dialled first");
    for size in [1, 1000] {
        assert_eq!(world.push_and_carry(1, &vec![7; size]), Ok(200), "{size} bytes");
    }
}

#[test]
fn only_guards_stay_connected_and_carry_what_the_page_sends() {
    let mut world = World::started(2);
    world.pass(Duration::from_secs(10));
    assert_eq!(world.connected.len(), 3, "those that were only looked at are hung up on");
    let guards = world.connected.clone();
    for id in 0..20 {
        world.push(id, b"hello");
    }
    world.pass(Duration::from_secs(1));
    assert!(world.packets.iter().all(|(to, _)| guards.contains(to)));
    assert!(!world.packets.is_empty());
}

#[test]
fn a_later_visit_sends_from_its_stored_pool_and_asks_nobody() {
    let mut first = World::started(3);
    first.pass(Duration::from_secs(10));
    let stored = first.stored.unwrap();
    let mut second = World::new(4);
    second.give(Command::Start(Box::new(EngineSettings { bootstrap: Vec::new(), ..settings() })));
    second.give(Command::Restore(stored.clone()));
    second.give(Command::Tick);
    assert_eq!(second.lack, None);
    assert_eq!(second.push_and_carry(1, b"again"), Ok(200));
    assert_eq!(second.asked, 0);
    second.connected.sort_unstable();
    first.connected.sort_unstable();
    assert_eq!(second.connected, first.connected, "the same guards");

    let mut other = World::new(5);
    other.give(Command::Start(Box::new(EngineSettings { cluster: 7, bootstrap: Vec::new(), ..settings() })));
    other.give(Command::Restore(stored));
    other.give(Command::Tick);
    assert!(other.dialled.is_empty(), "what was kept for another cluster is not used");
}

#[test]
fn what_is_lost_on_the_way_is_sent_again_over_other_hops() {
    let mut world = World::started(6);
    world.pass(Duration::from_secs(10));
    world.push(1, b"hello");
    world.pass(Duration::from_secs(1));
    let [(_, lost)] = world.packets.as_slice() else { panic!("{}", world.packets.len()) };
    let lost = lost.clone();
    world.packets.clear();
    assert_eq!(world.push_and_carry(2, b"another"), Ok(200));
    while !world.outcomes.contains_key(&1) {
        world.pass(Duration::from_secs(1));
        assert!(world.packets.iter().all(|(_, packet)| *packet != lost), "a packet is never sent twice");
        world.carry();
    }
    assert_eq!(world.outcomes[&1], Ok(200));
}

#[test]
fn without_network_each_request_ends_with_what_is_missing_and_later_ones_are_answered() {
    let mut world = World::started(7);
    world.is_online = false;
    for peer in std::mem::take(&mut world.connected) {
        world.give(Command::Disconnected(peer));
    }
    world.pass(Duration::from_secs(30));
    let ended = world.push_and_carry(1, b"hello").unwrap_err();
    assert!(["no_guard", "no_reply_address", "pool_too_small", "deadline"].contains(&ended.as_str()), "{ended}");
    world.is_online = true;
    world.give(Command::Online);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.push_and_carry(2, b"hello"), Ok(200));
}

#[test]
fn a_pool_of_another_cluster_is_named() {
    let mut world = World::new(8);
    world.answer = Some(answer(7));
    world.give(Command::Start(Box::new(settings())));
    world.pass(Duration::from_secs(1));
    let (code, words) = world.lack.unwrap();
    assert_eq!(code, "pool_too_small");
    assert!(words.contains("8 mix nodes of cluster 7") && words.contains("set to cluster 66"), "{words}");
}

#[test]
fn a_forged_descriptor_is_not_taken() {
    let mut world = World::new(9);
    let mut forged: Vec<_> = (1..=NODES).map(|seed| descriptor(seed, CLUSTER)).collect();
    for bytes in &mut forged {
        // The last byte is the signature's.
        *bytes.last_mut().unwrap() ^= 1;
    }
    world.answer = Some(Response { descriptors: forged }.encode());
    world.give(Command::Start(Box::new(settings())));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.lack.map(|(code, _)| code), Some("pool_too_small"));
}

#[test]
fn too_long_a_payload_and_a_wrong_topic_are_refused() {
    let mut world = World::started(10);
    assert_eq!(world.push_and_carry(1, &[0; 4097]), Err("too_large".to_owned()));
    let message = WakuMessage { content_topic: "none".to_owned(), ..WakuMessage::default() };
    let push = Push {
        message,
        pubsub_topic: Some("nowhere".to_owned()),
        exit: None,
        timeout: None,
        anonymity: Anonymity::Required,
    };
    world.give(Command::Push(2, Box::new(push)));
    assert_eq!(world.outcomes[&2], Err("invalid_message".to_owned()));
}

#[test]
fn settings_that_cannot_be_used_are_refused_in_words() {
    let refusal = |settings: EngineSettings| {
        let clock = Clock { now: Duration::ZERO, unix: Duration::from_secs(UNIX) };
        let events = Engine::new(ChaCha20Rng::seed_from_u64(1)).handle(clock, Command::Start(Box::new(settings)));
        let [Event::Refused(words)] = events.as_slice() else { panic!("{events:?}") };
        words.clone()
    };
    let ed25519 = "12D3KooWGCYt6wZZ8pEYrJxvV5WkN5n4Fq9k6mNfRkGqf1wq8WGz".parse().unwrap();
    assert!(refusal(EngineSettings { peer: ed25519, ..settings() }).contains("secp256k1"));
    assert!(refusal(EngineSettings { profile: "rot13".to_owned(), ..settings() }).contains("unknown mix profile"));
}

#[test]
fn closing_ends_every_request_once() {
    let mut world = World::started(11);
    (1..=5).for_each(|id| world.push(id, b"hello"));
    world.give(Command::Close);
    assert_eq!(world.outcomes.len(), 5);
    assert!(world.outcomes.values().all(|outcome| *outcome == Err("stopped".to_owned())));
}

#[test]
fn cover_leaves_without_a_message_and_comes_back() {
    let mut world = World::new(13);
    let cover = Some(Duration::from_secs(2));
    world.give(Command::Start(Box::new(EngineSettings { cover, ..settings() })));
    world.give(Command::Tick);
    world.pass(Duration::from_secs(10));
    world.packets.clear();
    world.pass(Duration::from_secs(60));
    assert_eq!(world.packets.len(), 1, "a loop");
    assert!(world.connected.contains(&world.packets[0].0));
    world.carry();
    assert!(world.outcomes.is_empty());
}

#[test]
fn only_a_message_that_prefers_anonymity_goes_directly_and_only_after_a_minute_without_a_route() {
    let mut world = World::new(14);
    let few = (1..=3).map(|seed| descriptor(seed, CLUSTER)).collect();
    world.answer = Some(Response { descriptors: few }.encode());
    world.give(Command::Start(Box::new(settings())));
    world.pass(Duration::from_secs(20));
    world.push_with(1, b"early", Anonymity::Preferred);
    assert_eq!(world.outcomes[&1], Err("pool_too_small".to_owned()));
    world.pass(Duration::from_secs(60));
    world.push_with(2, b"late", Anonymity::Preferred);
    assert_eq!(world.outcomes[&2], Ok(200));
    world.push_with(3, b"late", Anonymity::Required);
    assert_eq!(world.outcomes[&3], Err("pool_too_small".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes of anybody: as a packet, as an answer, as what was stored, and as a command of a broken package.
    #[test]
    fn no_bytes_stop_the_engine(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut world = World::started(12);
        world.push(1, b"hello");
        let mut packet = vec![0; WireFormat::default().format().packet_len()];
        packet[..bytes.len()].copy_from_slice(&bytes);
        let mut answer = answer(CLUSTER);
        for (at, value) in edits {
            let at = at.index(answer.len());
            answer[at] = value;
        }
        world.give(Command::Packet(packet));
        world.give(Command::Packet(bytes.clone()));
        world.give(Command::Restore(bytes.clone()));
        world.answer = Some(answer);
        world.now += Duration::from_secs(3600);
        world.give(Command::Tick);
        let clock = Clock { now: world.now, unix: Duration::from_secs(UNIX) };
        world.engine.handle_bytes(clock, &bytes);
        // An hour later the descriptors are out of date, and the answer holds what is.
        prop_assert!(world.push_and_carry(2, b"hello").is_err());
    }
}
