use std::collections::{HashMap, HashSet};

use futures::future::select_all;
use libp2p_identity::PeerId;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use wakumix_records::service_discovery::{AdvertisedService, ExtensiblePeerRecord, Register, RegisterStatus};
use wakumix_role_api::{
    Requester,
    host::{OutboundRequest, RequestFailure},
};
use wakumix_sphinx::PrivateKey;

use super::{parameters::K, *};
use crate::{
    local::LocalRecord,
    sources::test_double::{self, Node, answer, body_of, key, peer, sender},
};

/// A mixer in its own network: registrars let neighbours wait.
fn mixer(seed: u16) -> LocalRecord {
    let address = format!("/ip4/{}.{seed}.1.1/tcp/60000", 11 + seed * 37 % 89).parse().unwrap();
    LocalRecord { addresses: vec![address], ..test_double::mixer(seed) }
}

fn source(bootstrap: &[u16]) -> ServiceDiscovery {
    let entry = |seed: &u16| PeerAddress { peer: peer(*seed), address: mixer(*seed).addresses[0].clone() };
    let interval = Duration::from_secs(60);
    let config = ServiceDiscoveryConfig {
        bootstrap: bootstrap.iter().map(entry).collect(),
        random_lookup: interval,
        service_lookup: interval,
    };
    ServiceDiscovery::new(config, false)
}

/// Nodes that reach each other; the first of them is known to all others.
struct Net {
    nodes: Vec<Node>,
    seeds: HashMap<PeerId, u16>,
    met: HashSet<(PeerId, PeerId)>,
    requests: usize,
}

impl Net {
    fn new(locals: impl IntoIterator<Item = LocalRecord>) -> Self {
        let mut net = Self { nodes: Vec::new(), seeds: HashMap::new(), met: HashSet::new(), requests: 0 };
        for (seed, local) in (1..).zip(locals) {
            let source = source(if seed == 1 { &[] } else { &[1] });
            net.nodes.push(Node::new(seed, local, &source));
            net.seeds.insert(peer(seed), seed);
        }
        net
    }

    /// Carries requests for a while; those to strangers go to `strangers`.
    async fn run(&mut self, time: Duration, mut strangers: impl FnMut(OutboundRequest)) {
        let end = Instant::now() + time;
        loop {
            let next = select_all(self.nodes.iter_mut().map(|node| Box::pin(node.request())));
            let Ok((request, from, _)) = tokio::time::timeout_at(end, next).await else { return };
            self.requests += 1;
            match self.seeds.get(&request.peer) {
                Some(seed) => self.carry(request, from, usize::from(*seed) - 1).await,
                None => strangers(request),
            }
        }
    }

    /// The same until these nodes have found everybody of a set but themselves, for an hour at most; whether they have.
    async fn run_until_found(
        &mut self,
        wanted: &HashSet<PeerId>,
        by: impl IntoIterator<Item = usize>,
        mut strangers: impl FnMut(OutboundRequest),
    ) -> bool {
        let mut searching: Vec<_> = by.into_iter().collect();
        for _ in 0..360 {
            self.run(Duration::from_secs(10), &mut strangers).await;
            searching.retain(|node| {
                let found = self.found_by(*node);
                wanted.iter().any(|peer| *peer != self.nodes[*node].peer && !found.contains(peer))
            });
            if searching.is_empty() {
                return true;
            }
        }
        false
    }

    async fn carry(&mut self, request: OutboundRequest, from: usize, to: usize) {
        let (from, to) = (&self.nodes[from], &self.nodes[to]);
        if self.met.insert((from.peer, to.peer)) {
            let addresses = mixer(self.seeds[&from.peer]).addresses;
            let protocols = vec![PROTOCOL.to_owned()];
            to.events.send(PeerEvent::Identified { peer: from.peer, protocols, addresses }).unwrap();
        }
        from.carry(request, to).await;
    }

    fn found_by(&self, node: usize) -> HashSet<PeerId> {
        self.nodes[node].log.lock().found.iter().map(|report| report.peer).collect()
    }
}

fn unreachable(request: OutboundRequest) {
    request.reply.send(Err(RequestFailure::DialFailed)).unwrap();
}

#[tokio::test(start_paused = true)]
async fn in_a_net_of_thirty_six_everybody_finds_every_mixer_and_senders_are_found_by_nobody() {
    let mut net = Net::new((1..=36).map(|seed| if seed > 32 { sender(seed) } else { mixer(seed) }));
    let mixers: HashSet<_> = (1..=32).map(peer).collect();
    assert!(net.run_until_found(&mixers, 0..36, unreachable).await, "after {} requests", net.requests);
    for node in 0..36 {
        assert!(net.found_by(node).is_subset(&mixers), "node {node}");
    }
    let report = net.nodes[35].log.lock().found.iter().find(|report| report.peer == peer(3)).cloned();
    let (report, told) = (report.unwrap(), mixer(3));
    assert_eq!((report.addresses, report.mix_key), (told.addresses, told.mix_key));
    let refused = &net.nodes[35].log.lock().refused;
    assert!(refused.is_empty(), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn two_nodes_find_each_other_though_one_knows_nobody() {
    let mut net = Net::new((1..=2).map(mixer));
    net.run(Duration::from_secs(30), unreachable).await;
    assert_eq!(net.found_by(0), HashSet::from([peer(2)]));
    assert_eq!(net.found_by(1), HashSet::from([peer(1)]));
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_asks_nobody_and_goes_on() {
    let mut net = Net::new([mixer(1)]);
    net.run(Duration::from_secs(300), |request| panic!("{request:?}")).await;
    assert!(net.nodes[0].log.lock().unanswered > 5);
}

#[tokio::test(start_paused = true)]
async fn a_bootstrap_node_that_is_not_there_is_tried_again() {
    let mut node = Node::new(2, mixer(2), &source(&[1]));
    for _ in 0..20 {
        let request = node.request().await;
        assert_eq!(request.peer, peer(1));
        unreachable(request);
    }
}

/// Everything that a hostile node can say: advertisements that are forged, cut, of others' services, without a key, true to
/// form and false; peers that do not exist.
struct Hostile {
    rng: StdRng,
    said: usize,
}

impl Hostile {
    fn advertisement(&mut self) -> Vec<u8> {
        self.said += 1;
        let seed = u16::try_from(20_000 + self.said % 40_000).unwrap();
        let key = key(seed);
        let mix_key =
            PrivateKey::from_bytes([u8::try_from(1 + self.said % 200).unwrap(); 32]).public().as_bytes().to_vec();
        let kind = self.rng.random_range(0..6);
        let (id, data) = match kind {
            0 => ("/other".to_owned(), mix_key),
            1 => (MIX_SERVICE.to_owned(), vec![7; 31]),
            _ => (MIX_SERVICE.to_owned(), mix_key),
        };
        let addresses = vec![format!("/ip4/66.{}.{}.1/tcp/1", seed >> 8, seed & 255).parse().unwrap()];
        let record = ExtensiblePeerRecord {
            peer: peer(seed),
            seq: 1,
            addresses,
            services: vec![AdvertisedService { id, data }],
        };
        let mut bytes = record.sign(&key).unwrap();
        match kind {
            2 => bytes.truncate(self.rng.random_range(0..bytes.len())),
            3 => {
                let place = self.rng.random_range(0..bytes.len());
                bytes[place] ^= 1 << self.rng.random_range(0..8);
            }
            _ => {}
        }
        bytes
    }

    fn answer(&mut self, request: OutboundRequest) {
        let message = Message::decode(&body_of(&request)).unwrap().message;
        let contact = |rng: &mut StdRng| Contact {
            peer: PeerId::random(),
            addresses: vec![format!("/ip4/66.{}.1.1/tcp/1", rng.random::<u8>()).parse().unwrap()],
        };
        let mut reply = Message::new(message.kind, message.key.clone());
        reply.closer = (0..K).map(|_| contact(&mut self.rng)).collect();
        match message.kind {
            MessageKind::GetAds => reply.advertisements = Some((0..8).map(|_| self.advertisement()).collect()),
            MessageKind::Register => {
                reply.register = Some(Register { status: Some(RegisterStatus::Confirmed), ..Register::default() });
            }
            _ => {}
        }
        answer(request, &reply.encode_fitting());
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_hostile_records_leave_the_honest_found_and_the_table_bounded() {
    let mut net = Net::new((1..=20).map(mixer));
    // It searches often, so that it hears much before the others have talked long.
    let mut searcher = source(&[1]);
    searcher.config.service_lookup = Duration::from_secs(2);
    net.nodes.push(Node::new(21, sender(21), &searcher));
    net.seeds.insert(peer(21), 21);
    net.run(Duration::from_secs(1), unreachable).await;
    // A stranger whom the searcher met speaks the protocol, and so does everybody that it names.
    let mut hostile = Hostile { rng: StdRng::seed_from_u64(3), said: 0 };
    for _ in 0..40 {
        let protocols = vec![PROTOCOL.to_owned()];
        let addresses = vec!["/ip4/66.1.2.3/tcp/1".parse().unwrap()];
        let event = PeerEvent::Identified { peer: PeerId::random(), protocols, addresses };
        net.nodes[20].events.send(event).unwrap();
    }
    while hostile.said < 10_000 {
        net.run(Duration::from_secs(10), |request| hostile.answer(request)).await;
    }
    // What counts is what is found now, among the false ones.
    net.nodes[20].log.lock().found.clear();
    let honest = (1..=20).map(peer).collect();
    let are_found = net.run_until_found(&honest, [20], |request| hostile.answer(request)).await;
    assert!(are_found, "{} honest of 20", net.found_by(20).intersection(&honest).count());
    let refused = net.nodes[20].log.lock().refused.clone();
    assert!(["malformed", "signature", "irrelevant"].iter().all(|reason| refused.contains_key(reason)), "{refused:?}");
    let server = &searcher.shared.0.get().unwrap().1;
    assert!(server.lock().table.len() < 12 * K);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_garbage_are_counted_and_asked_for_again_elsewhere() {
    let mut net = Net::new((1..=3).map(mixer));
    let mut rng = StdRng::seed_from_u64(4);
    net.run(Duration::from_secs(1), unreachable).await;
    let protocols = vec![PROTOCOL.to_owned()];
    let addresses = vec!["/ip4/66.1.2.3/tcp/1".parse().unwrap()];
    net.nodes[2].events.send(PeerEvent::Identified { peer: PeerId::random(), protocols, addresses }).unwrap();
    let garbage = [vec![0xff; 100], Vec::new(), Message::new(MessageKind::Register, Vec::new()).encode()];
    net.run(Duration::from_secs(120), |request| answer(request, garbage.choose(&mut rng).unwrap())).await;
    assert_eq!(net.found_by(2), HashSet::from([peer(1), peer(2)]));
    assert!(net.nodes[2].log.lock().refused["malformed"] > 0);
}

#[tokio::test(start_paused = true)]
async fn a_registration_waits_as_told_and_gives_up_on_a_ticket_that_is_not_its_own() {
    let mut node = Node::new(2, mixer(2), &source(&[1]));
    let mut asked = Vec::new();
    let start = Instant::now();
    while asked.len() < 3 {
        let request = node.request().await;
        let message = Message::decode(&body_of(&request)).unwrap().message;
        let mut reply = Message::new(message.kind, Vec::new());
        if let Some(Register { advertisement, ticket, .. }) = message.register {
            let of = if asked.len() == 1 { vec![1, 2, 3] } else { advertisement };
            let next = wakumix_records::service_discovery::Ticket::sign(&key(1), of, 5, 6, 100).unwrap();
            reply.register =
                Some(Register { status: Some(RegisterStatus::Wait), ticket: Some(next), ..Register::default() });
            asked.push((start.elapsed().as_secs(), ticket.map(|ticket| ticket.issued)));
        }
        answer(request, &reply.encode());
    }
    assert_eq!((asked[1].0 - asked[0].0, asked[1].1), (100, Some(6)));
    assert_eq!(asked[2].1, None, "it begins anew");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_only_sends_registers_nowhere_and_answers_nobody() {
    let mut node = Node::new(2, sender(2), &source(&[1]));
    for _ in 0..50 {
        let request = node.request().await;
        let kind = Message::decode(&body_of(&request)).unwrap().message.kind;
        assert!(!matches!(kind, MessageKind::Register | MessageKind::PutValue), "{kind:?}");
        answer(request, &Message::new(kind, Vec::new()).encode());
    }
    let ping = Message::new(MessageKind::Ping, Vec::new()).encode();
    assert_eq!(node.serve(Requester::Peer(peer(1)), ping).await, None);
}
