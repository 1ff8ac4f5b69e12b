//! How often both ends of an exchange are seen: the routes of the real client, in networks with hostile nodes.
//!
//! `cargo run --release -p wakumix-client --example exposure [-- REQUESTS]` prints the tables of `docs/attacks.md`. An exchange
//! is *seen* if a hostile node sees the sender (a first hop, or the last hop of a reply) and a hostile exit reads the request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a program that checks itself")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wakumix_client::{
    Anonymity, AnswerReader, Client, ClientConfig, DirectorySnapshot, Input, Meaning, Moment, Output, OwnNode,
    Reachability, Request, RequestId, ServiceEntry, ServiceKind,
    guards::{GuardCandidate, GuardSample},
};
use wakumix_mix::{HopAddress, MixNode, Reliability};
use wakumix_sphinx::{PrivateKey, Weaknesses, WireFormat};

/// Requests for each cell, unless the command line says how many.
const REQUESTS: u32 = 100_000;
/// In a network of more nodes than this a tenth of them: each takes ten times as long there.
const LARGE: usize = 60;
/// Requests of one sender, which has one sample of guards.
const REQUESTS_OF_SENDER: u32 = 100;
const CODEC: &str = "/vac/waku/lightpush/3.0.0";
/// Framed bytes of a message with 300 bytes of payload, and of one with 4096.
const SIZES: [usize; 2] = [400, 4250];

/// One node of a network.
struct Placed {
    node: MixNode,
    is_exit: bool,
    is_hostile: bool,
}

/// The nodes of a network, hostile ones among them.
struct Net(Vec<Placed>);

struct Done;

impl AnswerReader for Done {
    fn meaning(&self, _: &[u8]) -> Meaning {
        Meaning::Done
    }
}

fn peer(seed: u16) -> PeerId {
    let mut secret = [1; 32];
    secret[..2].copy_from_slice(&(seed + 1).to_be_bytes());
    let secret = secp256k1::SecretKey::try_from_bytes(secret).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

fn placed(seed: u16, subnet: u16, is_exit: bool, is_hostile: bool) -> Placed {
    let [high, low] = subnet.to_be_bytes();
    let address = format!("/ip4/20.{high}.{low}.{}/tcp/4000", seed % 250 + 1).parse().unwrap();
    let mut key = [7; 32];
    key[..2].copy_from_slice(&seed.to_be_bytes());
    let address = HopAddress::from_multiaddr(&address, peer(seed)).unwrap();
    let node = MixNode { reassembles: true, ..MixNode::new(address, PrivateKey::from_bytes(key).public()) };
    Placed { node, is_exit, is_hostile }
}

impl Net {
    /// `honest` nodes with `exits`, each in a /24 of its own, and hostile ones in so many /24s, every other one an exit.
    fn with_sybils(honest: u16, exits: u16, sybils: u16, subnets: u16) -> Self {
        let good = (0..honest).map(|seed| placed(seed, seed, seed < exits, false));
        let bad = (0..sybils).map(|at| placed(honest + at, 1000 + at % subnets, at % 2 == 0, true));
        Self(good.chain(bad).collect())
    }

    /// `nodes` with `exits`, of each kind so many in a hundred hostile, all in different /24s.
    fn with_share(nodes: u16, exits: u16, percent: u16) -> Self {
        let is_hostile = |at: u16, of: u16| at * 100 < of * percent;
        let exit = (0..exits).map(|at| placed(at, at, true, is_hostile(at, exits)));
        let mixer = (exits..nodes).map(|at| placed(at, at, false, is_hostile(at - exits, nodes - exits)));
        Self(exit.chain(mixer).collect())
    }

    fn directory(&self, guards: Option<Vec<PeerId>>) -> DirectorySnapshot {
        let service = |placed: &Placed| ServiceEntry {
            kind: ServiceKind::LIGHTPUSH,
            peer: placed.node.peer(),
            address: Some(placed.node.address.clone()),
            shards: None,
        };
        DirectorySnapshot {
            mix_nodes: self.0.iter().map(|placed| placed.node.clone()).collect(),
            services: self.0.iter().filter(|placed| placed.is_exit).map(service).collect(),
            guards,
            ..DirectorySnapshot::default()
        }
    }

    fn hostile(&self) -> BTreeSet<PeerId> {
        self.0.iter().filter(|placed| placed.is_hostile).map(|placed| placed.node.peer()).collect()
    }

    /// The sample of a sender that has reached every node.
    fn guards(&self, rng: &mut ChaCha20Rng) -> Vec<PeerId> {
        let candidate = |placed: &Placed| GuardCandidate {
            node: placed.node.clone(),
            is_usable: true,
            is_entry: false,
            is_service: placed.is_exit,
            is_full: false,
        };
        let known: Vec<_> = self.0.iter().map(candidate).collect();
        let mut sample = GuardSample::default();
        sample.update(rng, &known, 1_800_000_000, Duration::ZERO);
        sample.peers().collect()
    }

    /// The share of exchanges of which a hostile node sees the sender and a hostile exit the request. With `withholding` hostile
    /// exits never answer, so that each request is sent to a further one.
    fn seen(&self, requests: u32, len: usize, has_guards: bool, withholding: bool) -> f64 {
        let hostile = self.hostile();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let mut seen = 0;
        let senders = requests.div_ceil(REQUESTS_OF_SENDER);
        for _ in 0..senders {
            let guards = has_guards.then(|| self.guards(&mut rng));
            let mut sender = Sender::new(self.directory(guards), &mut rng);
            for number in 0..REQUESTS_OF_SENDER {
                seen += u32::from(sender.is_seen(&mut rng, &hostile, (number, len), withholding));
            }
        }
        f64::from(seen) / f64::from(senders * REQUESTS_OF_SENDER)
    }
}

/// A client whose packets are looked at and not built.
struct Sender {
    client: Client,
    reliability: Reliability,
    now: Duration,
}

impl Sender {
    fn new(directory: DirectorySnapshot, rng: &mut ChaCha20Rng) -> Self {
        let me = placed(60_000, 60_000, false, false).node;
        let reachability = Reachability::Public;
        let own = OwnNode { peer: me.peer(), address: Some(me.address), key: me.key, reachability };
        let formats = vec![WireFormat::default().format()];
        let client = Client::new(ClientConfig::default(), formats, own, Duration::ZERO, Weaknesses::NONE);
        let mut sender = Self { client, reliability: Reliability::default(), now: Duration::ZERO };
        for guard in directory.guards.iter().flatten().take(3).copied().collect::<Vec<_>>() {
            sender.feed(rng, Input::Connected(guard));
        }
        sender.feed(rng, Input::Directory(Arc::new(directory)));
        sender
    }

    fn feed(&mut self, rng: &mut ChaCha20Rng, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let moment = Moment { now: self.now, rng, reliability: &mut self.reliability };
        self.client.handle(moment, input, &mut outputs);
        outputs
    }

    /// Sends one request, to its end; whether both of its ends were seen in any of its tries.
    fn is_seen(
        &mut self,
        rng: &mut ChaCha20Rng,
        hostile: &BTreeSet<PeerId>,
        (number, len): (u32, usize),
        withholding: bool,
    ) -> bool {
        let request = Request {
            service: ServiceKind::LIGHTPUSH,
            codec: CODEC.into(),
            bytes: vec![0; len].into(),
            payload_len: 0,
            held_bytes: len,
            topic: None,
            exit: None,
            timeout: None,
            anonymity: Anonymity::Required,
            reader: Box::new(Done),
        };
        let (mut entry, mut exit) = (false, false);
        let mut outputs = self.feed(rng, Input::Request(RequestId(number.into()), Box::new(request)));
        loop {
            let mut inputs = Vec::new();
            for output in outputs.drain(..) {
                match output {
                    Output::Dispatch(dispatch) => {
                        assert!(dispatch.begin());
                        let mut is_read = false;
                        for (forward, replies) in dispatch.paths() {
                            is_read |= hostile.contains(&forward[2].peer());
                            let ends = std::iter::once(&forward[0]).chain(replies.iter().map(|reply| &reply[1]));
                            entry |= ends.map(MixNode::peer).any(|peer| hostile.contains(&peer));
                        }
                        exit |= is_read;
                        inputs.push(Input::Dispatched(dispatch.id));
                        if !(withholding && is_read) {
                            inputs.push(Input::Reply(dispatch.id, Some(Vec::new())));
                        }
                    }
                    Output::Ended(..) => {
                        self.now += Duration::from_secs(1);
                        return entry && exit;
                    }
                    _ => {}
                }
            }
            if inputs.is_empty() {
                self.now = self.now.max(self.client.next_wake().unwrap());
                inputs.push(Input::Tick);
            }
            outputs = inputs.into_iter().flat_map(|input| self.feed(rng, input)).collect();
        }
    }
}

/// A row of the tables: small and large messages, without and with guards, without and with withholding.
fn row(net: &Net, requests: u32) -> String {
    let requests = if net.0.len() > LARGE { requests / 10 } else { requests };
    let mut cells = Vec::new();
    for has_guards in [false, true] {
        for len in SIZES {
            for withholding in [false, true] {
                cells.push(format!("{:5.1} %", 100.0 * net.seen(requests, len, has_guards, withholding)));
            }
        }
    }
    cells.join(" | ")
}

fn main() {
    let requests = std::env::args().nth(1).map_or(REQUESTS, |text| text.parse().unwrap());
    println!(
        "{requests} requests a cell, a tenth of it with more than {LARGE} nodes; w: hostile exits withhold their answers"
    );
    let head = "forwarding: 300 B | w | 4 kB | w | guards: 300 B | w | 4 kB | w |";
    println!("\n| sybils beside 20 honest nodes | {head}\n|---|---|---|---|---|---|---|---|---|");
    for sybils in [5, 20, 80, 200] {
        for (subnets, places) in [(1, "one /24"), (4, "four /24s"), (sybils, "all different")] {
            println!("| {sybils}, {places} | {} |", row(&Net::with_sybils(20, 8, sybils, subnets), requests));
        }
    }
    println!("\n| nodes, exits, hostile share | {head}\n|---|---|---|---|---|---|---|---|---|");
    for (nodes, exits, percent) in [(30, 10, 10), (30, 10, 20), (30, 10, 30), (100, 30, 20), (100, 30, 30)] {
        let net = Net::with_share(nodes, exits, percent);
        println!("| {nodes}, {exits}, 0.{} | {} |", percent / 10, row(&net, requests));
    }
}
