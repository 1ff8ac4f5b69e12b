//! A network in memory that runs the decisions of nodes: a request passes three hops, an exit serves it, and the answer comes
//! back through a reply block.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wakumix_mix::exit::{
    ExitPolicy, ExitRequest, ExitTarget, HERE, Incoming, PolicyContext, ReplyContent, first_hop, fit, read,
};
use wakumix_mix::hop::{ForwardDelay, ForwardStep, HopDecision, NextHopPolicy, Reach, SingleKeyHop};
use wakumix_mix::{DelayLaw, ExitStatus, HopAddress, ReplayTags, Request, decode_reply, encode_reply};
use wakumix_sphinx::{PacketFormat, PathHop, PrivateKey, ReplyKeys, Surb, Weaknesses, WireFormat};

const CODEC: &str = "/ping/1.0.0";
const EXIT: u8 = 3;
const SENDER: u8 = 6;
const DELAY_MS: u16 = 50;

fn peer(seed: u8) -> PeerId {
    let secret = secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

fn address(seed: u8) -> HopAddress {
    HopAddress::from_multiaddr(&format!("/ip4/8.8.{seed}.1/tcp/4000").parse().unwrap(), peer(seed)).unwrap()
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; 32])
}

fn path(seeds: [u8; 3]) -> [PathHop; 3] {
    seeds.map(|seed| PathHop { key: key(seed).public(), address: address(seed).encode(), delay_ms: DELAY_MS })
}

/// Where a packet has come to, and how long it was held on its way.
struct Arrived {
    decision: HopDecision<ForwardStep>,
    held: Duration,
}

struct Network {
    format: Arc<dyn PacketFormat>,
    nodes: BTreeMap<PeerId, SingleKeyHop>,
    rng: ChaCha20Rng,
}

impl Network {
    /// Nodes 1 to 6.
    fn new(seed: u64) -> Self {
        let format = WireFormat::default().format();
        let node = |own: u8| {
            let policy = NextHopPolicy::new(peer(own));
            let delay = ForwardDelay { law: DelayLaw::default(), max: Duration::from_secs(1) };
            let tags = ReplayTags::new(16);
            (peer(own), SingleKeyHop { format: Arc::clone(&format), key: key(own), tags, policy, delay })
        };
        Self { nodes: (1..=6).map(node).collect(), rng: ChaCha20Rng::seed_from_u64(seed), format }
    }

    /// Carries a packet from node to node until one of them keeps it.
    fn carry(&mut self, first: PeerId, packet: &mut [u8]) -> Arrived {
        let (mut at, mut held) = (first, Duration::ZERO);
        loop {
            let node = self.nodes.get_mut(&at).unwrap();
            match node.handle(&mut self.rng, &|_| None, packet) {
                HopDecision::Forward(ForwardStep { to, reach, delay }) => {
                    assert_eq!((&to, reach), (&address_of(to.peer()), Reach::Dial));
                    (at, held) = (to.peer(), held + delay);
                }
                decision => return Arrived { decision, held },
            }
        }
    }

    fn request(&mut self, data: &[u8]) -> (Vec<u8>, ReplyKeys) {
        let (surb, keys) = self.format.create_surb(&mut self.rng, &path([4, 5, SENDER])).unwrap();
        let body = Request { codec: CODEC, surbs: vec![surb], data }.encode().unwrap();
        let mut packet = vec![0; self.format.packet_len()];
        self.format.build(&mut self.rng, &path([1, 2, EXIT]), &HERE, &body, &mut packet).unwrap();
        (packet, keys)
    }

    /// The exit's reply through a reply block, and where it goes.
    fn reply(&mut self, surb: Surb, content: &ReplyContent) -> (PeerId, Vec<u8>) {
        let known = |peer: &PeerId| self.nodes.contains_key(peer).then(|| address_of(*peer));
        let to = first_hop(&surb, peer(EXIT), &known, Weaknesses::NONE).unwrap();
        let body = encode_reply(content.bytes().unwrap());
        let mut packet = vec![0; self.format.packet_len()];
        self.format.use_surb(&mut self.rng, surb, &body, &mut packet).unwrap();
        (to.peer(), packet)
    }
}

fn address_of(asked: PeerId) -> HopAddress {
    (1..=6).map(address).find(|address| address.peer() == asked).unwrap()
}

/// What the exit says to a request: the bytes backwards, or why not.
fn serve(format: &dyn PacketFormat, policy: &ExitPolicy, request: &ExitRequest) -> Result<Vec<u8>, ExitStatus> {
    let around = PolicyContext {
        own_peer: peer(EXIT),
        is_served: &|codec| codec == CODEC,
        is_known_service: &|_| false,
        weaknesses: Weaknesses::NONE,
    };
    assert_eq!(policy.target(&around, &request.codec, &HERE)?, ExitTarget::Local);
    fit(format, request.surbs.len(), request.data.iter().rev().copied().collect())
}

/// Sends a request through the network; what its sender reads.
fn ask(network: &mut Network, policy: &ExitPolicy, data: &[u8]) -> Vec<u8> {
    let (mut packet, keys) = network.request(data);
    let Arrived { decision: HopDecision::Exit { destination, body }, held } = network.carry(peer(1), &mut packet)
    else {
        panic!("the request does not reach the exit")
    };
    assert_eq!(destination, HERE);
    assert!(held <= 2 * DelayLaw::default().longest(DELAY_MS));
    let Ok(Incoming::Request(mut request)) = read(&*network.format, &packet, body) else { panic!() };
    let content = match serve(&*network.format, policy, &request) {
        Ok(answer) => ReplyContent::Answer(answer),
        Err(status) => ReplyContent::of_status(status, status.describe().into_bytes()),
    };
    let (first, mut packet) = network.reply(request.surbs.pop().unwrap(), &content);
    let HopDecision::Reply { id } = network.carry(first, &mut packet).decision else {
        panic!("the reply does not reach the sender")
    };
    assert_eq!(id, keys.id());
    let body = network.format.open_reply(&keys, &mut packet).unwrap();
    decode_reply(&packet[body]).unwrap().to_vec()
}

#[test]
fn a_request_is_answered() {
    let policy = ExitPolicy { codecs: vec![CODEC.to_owned()], ..ExitPolicy::default() };
    let mut network = Network::new(1);
    for _ in 0..4 {
        assert_eq!(ask(&mut network, &policy, b"hello"), b"olleh");
    }
}

#[test]
fn a_refused_request_is_answered_with_its_reason() {
    let answer = ask(&mut Network::new(2), &ExitPolicy::default(), b"hello");
    assert_eq!(ExitStatus::parse(str::from_utf8(&answer).unwrap()), Some(ExitStatus::CodecRefused));
}

#[test]
fn the_same_seed_gives_the_same_packets() {
    let packet_and_delay = |seed| {
        let mut network = Network::new(seed);
        let (mut packet, _) = network.request(b"hello");
        let held = network.carry(peer(1), &mut packet).held;
        (packet, held)
    };
    assert_eq!(packet_and_delay(3), packet_and_delay(3));
    assert_ne!(packet_and_delay(3).0, packet_and_delay(4).0);
}
