//! A mix network in memory and in virtual time: clients, mixers and exits run the code that nodes run, on real packets, and
//! only links, sockets and workers are played. Everything follows from a seed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::{Keypair, PeerId, secp256k1};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wakumix_client::{
    Client, ClientConfig, DirectorySnapshot, Dispatch, Input, Moment, Output, OwnNode, Reachability, ReplyOpening,
    RequestId, SendFailure, ServiceEntry, ServiceKind, TryId,
};
use wakumix_mix::{
    DelayLaw, HopAddress, MixNode, Reliability, ReplayTags, encode_reply,
    exit::{
        DEFAULT_MAX_ANSWERS, ExitPolicy, ExitRequest, ExitTarget, FragmentOutcome, FragmentSets, Incoming,
        PolicyContext, first_hop, fit, read,
    },
    fragment::{MAX_SET_BYTES, ReassemblyLimits},
    hop::{ForwardDelay, ForwardStep, HopDecision, NextHopPolicy, SingleKeyHop},
    random,
};
use wakumix_sphinx::{AddressBytes, FormatKind, PacketFormat, PrivateKey, SurbId, Weaknesses, WireFormat};
use wakumix_waku::lightpush::{V2_PROTOCOL, V3_PROTOCOL};

/// The client among the nodes.
pub(crate) const CLIENT: u8 = 200;

pub(crate) fn peer(seed: u8) -> PeerId {
    let secret = secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

fn address(seed: u8) -> HopAddress {
    HopAddress::from_multiaddr(&format!("/ip4/8.8.{seed}.1/tcp/4000").parse().unwrap(), peer(seed)).unwrap()
}

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_bytes([seed; 32])
}

/// What a service does with a request, whatever its protocol.
pub(crate) trait Service {
    /// Its answer to the framed request, at this exit.
    fn serve(&mut self, at: PeerId, codec: &str, request: &[u8]) -> Option<Vec<u8>>;
}

/// One node: what it decides as a hop, and as an exit.
struct Node {
    hop: SingleKeyHop,
    policy: ExitPolicy,
    fragments: FragmentSets,
    is_dead: bool,
    is_mute: bool,
}

/// What happens next.
enum Event {
    /// A packet of the client is due at its first hop.
    Leaves { id: TryId, to: HopAddress, packet: Vec<u8> },
    /// A packet is at a node.
    Arrives { at: PeerId, packet: Vec<u8> },
}

/// The network around one client.
pub(crate) struct World<S> {
    pub(crate) client: Client,
    pub(crate) service: S,
    /// The first hops of packets that have left, and the last hops of replies that have come.
    pub(crate) entries: BTreeSet<PeerId>,
    /// Packets that the client made, and those of them that never left.
    pub(crate) packets: u32,
    pub(crate) not_left: u32,
    /// Tries to which a reply has reached the client, whether or not it still waited.
    pub(crate) replied: BTreeSet<TryId>,
    pub(crate) now: Duration,
    format: Arc<dyn PacketFormat>,
    /// One packet in so many is lost on each link; never with zero.
    loss_percent: u64,
    nodes: BTreeMap<PeerId, Node>,
    addresses: BTreeMap<PeerId, HopAddress>,
    own: SingleKeyHop,
    /// Which try a reply block is of.
    surbs: HashMap<SurbId, TryId>,
    reliability: Reliability,
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    ended: Vec<Output>,
    directory: Arc<DirectorySnapshot>,
    config: ClientConfig,
    /// Of the client.
    rng: ChaCha20Rng,
    /// Of the network.
    chance: ChaCha20Rng,
}

impl<S: Service> World<S> {
    /// `mixers` nodes, of which the first `exits` serve lightpush; each link loses so many packets in a hundred.
    pub(crate) fn new(mixers: u8, exits: u8, loss_percent: u64, service: S, seed: u64) -> Self {
        let format = WireFormat::default().format();
        let hop = |own: u8, forward| SingleKeyHop {
            format: Arc::clone(&format),
            key: key(own),
            tags: ReplayTags::new(1 << 20),
            policy: NextHopPolicy { forward, ..NextHopPolicy::new(peer(own)) },
            delay: ForwardDelay { law: DelayLaw::default(), max: Duration::from_secs(10) },
        };
        let limits = ReassemblyLimits { sets: 64, bytes: 64 * MAX_SET_BYTES, age: Duration::from_secs(30) };
        let codecs = [V3_PROTOCOL, V2_PROTOCOL].map(str::to_owned).to_vec();
        let policy = ExitPolicy { codecs, ..ExitPolicy::default() };
        let node = |own: u8| {
            let fragments = FragmentSets::new(limits);
            (peer(own), Node { hop: hop(own, true), policy: policy.clone(), fragments, is_dead: false, is_mute: false })
        };
        let mix_node = |own: u8| MixNode { reassembles: true, ..MixNode::new(address(own), key(own).public()) };
        let service_entry = |own: u8| ServiceEntry {
            kind: ServiceKind::LIGHTPUSH,
            peer: peer(own),
            address: Some(address(own)),
            shards: None,
        };
        let directory = Arc::new(DirectorySnapshot {
            mix_nodes: (1..=mixers).map(mix_node).collect(),
            services: (1..=exits).map(service_entry).collect(),
            ..DirectorySnapshot::default()
        });
        let mut world = Self {
            client: Self::client(&ClientConfig::default(), &format),
            service,
            entries: BTreeSet::new(),
            packets: 0,
            not_left: 0,
            replied: BTreeSet::new(),
            now: Duration::ZERO,
            own: hop(CLIENT, false),
            format: Arc::clone(&format),
            loss_percent,
            nodes: (1..=mixers).map(node).collect(),
            addresses: (1..=mixers).map(|own| (peer(own), address(own))).collect(),
            surbs: HashMap::new(),
            reliability: Reliability::default(),
            events: BTreeMap::new(),
            sequence: 0,
            ended: Vec::new(),
            directory,
            config: ClientConfig::default(),
            rng: ChaCha20Rng::seed_from_u64(seed),
            chance: ChaCha20Rng::seed_from_u64(seed ^ u64::MAX),
        };
        world.begin_anew();
        world
    }

    fn client(config: &ClientConfig, format: &Arc<dyn PacketFormat>) -> Client {
        let own = OwnNode {
            peer: peer(CLIENT),
            address: Some(address(CLIENT)),
            key: key(CLIENT).public(),
            reachability: Reachability::Public,
        };
        Client::new(config.clone(), vec![Arc::clone(format)], own, Duration::ZERO, Weaknesses::NONE)
    }

    /// Replaces the client by one that has learnt nothing yet.
    pub(crate) fn begin_anew(&mut self) {
        self.client = Self::client(&self.config, &self.format);
        self.feed(Input::Directory(Arc::clone(&self.directory)));
    }

    /// The client has these guards, in this order, and is connected to the first three of them.
    pub(crate) fn keep_guards(&mut self, seeds: &[u8]) {
        let guards: Vec<_> = seeds.iter().copied().map(peer).collect();
        guards.iter().take(3).for_each(|guard| self.feed(Input::Connected(*guard)));
        self.directory = Arc::new(DirectorySnapshot { guards: Some(guards), ..(*self.directory).clone() });
        self.feed(Input::Directory(Arc::clone(&self.directory)));
    }

    /// A node goes on to take packets and passes none on.
    pub(crate) fn mute(&mut self, seed: u8) {
        self.nodes.get_mut(&peer(seed)).unwrap().is_mute = true;
    }

    /// A node stops; nobody is told.
    pub(crate) fn kill(&mut self, seed: u8) {
        self.kill_peer(&peer(seed));
    }

    /// The same by its peer id.
    pub(crate) fn kill_peer(&mut self, peer: &PeerId) {
        self.nodes.get_mut(peer).unwrap().is_dead = true;
    }

    pub(crate) fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outputs = Vec::new();
            let moment = Moment { now: self.now, rng: &mut self.rng, reliability: &mut self.reliability };
            self.client.handle(moment, input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Dispatch(dispatch) => inputs.push(self.dispatch(&dispatch)),
                    Output::Observed(_) => {}
                    ended => self.ended.push(ended),
                }
            }
        }
    }

    /// Lets time pass until requests or loops have ended: what the client says of them.
    pub(crate) fn run(&mut self) -> Vec<(RequestId, Output)> {
        while self.ended.is_empty() {
            self.step();
        }
        let of = |output: Output| match output {
            Output::Ended(id, _) | Output::LoopEnded(id, _) | Output::AskDirectly { id, .. } => (id, output),
            other => panic!("{other:?}"),
        };
        self.ended.drain(..).map(of).collect()
    }

    /// Lets everything arrive that is under way.
    pub(crate) fn finish(&mut self) {
        while !self.events.is_empty() {
            self.step();
        }
    }

    fn step(&mut self) {
        let wake = self.client.next_wake();
        let next = self.events.first_key_value().map(|(key, _)| *key);
        match next.filter(|(due, _)| wake.is_none_or(|wake| *due <= wake)) {
            Some(key) => {
                self.now = key.0;
                let event = self.events.remove(&key).unwrap();
                self.happen(event);
            }
            None => {
                self.now = self.now.max(wake.unwrap());
                self.feed(Input::Tick);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Leaves { id, to, packet } => {
                let is_dead = self.nodes[&to.peer()].is_dead;
                let left = if is_dead { Err(SendFailure::DialFailed) } else { Ok(()) };
                self.not_left += u32::from(is_dead);
                self.feed(Input::FirstHop { id, to: to.peer(), left });
                if !is_dead {
                    self.link(Duration::ZERO, to.peer(), packet);
                }
            }
            Event::Arrives { at, packet } if at == peer(CLIENT) => self.come_back(packet),
            Event::Arrives { at, packet } => self.arrive(at, packet),
        }
    }

    /// What a worker of a node does: the packets of a try, and their credentials.
    fn dispatch(&mut self, dispatch: &Dispatch) -> Input {
        assert!(dispatch.begin());
        let mut packets = vec![vec![0; self.format.packet_len()]; dispatch.len()];
        let keys = dispatch.build(&*self.format, &mut self.rng, &mut packets).unwrap();
        self.surbs.extend(keys.iter().map(|keys| (keys.id(), dispatch.id)));
        self.client.surbs().insert(self.now, dispatch.id, keys).unwrap();
        self.packets += u32::try_from(dispatch.len()).unwrap();
        for (forward, replies) in dispatch.paths() {
            self.entries.insert(forward[0].peer());
            self.entries.extend(replies.iter().map(|reply| reply[1].peer()));
        }
        let first_hops: Vec<_> = dispatch.first_hops().cloned().collect();
        for ((to, packet), hold) in first_hops.into_iter().zip(packets).zip(&dispatch.holds) {
            self.after(*hold, Event::Leaves { id: dispatch.id, to, packet });
        }
        Input::Dispatched(dispatch.id)
    }

    /// A packet at a node that is none of the client's.
    fn arrive(&mut self, at: PeerId, mut packet: Vec<u8>) {
        let node = self.nodes.get_mut(&at).unwrap();
        if node.is_dead || node.is_mute {
            return;
        }
        match node.hop.handle(&mut self.chance, &|_| None, &mut packet) {
            HopDecision::Forward(ForwardStep { to, delay, .. }) => self.link(delay, to.peer(), packet),
            HopDecision::Exit { destination, body } => {
                let Incoming::Request(request) = read(&*self.format, &packet, body).unwrap() else { panic!("cover") };
                self.exit(at, &destination, request);
            }
            other => panic!("{other:?}"),
        }
    }

    /// A request at its exit, or a fragment of one.
    fn exit(&mut self, at: PeerId, destination: &AddressBytes, mut request: ExitRequest) {
        let node = self.nodes.get_mut(&at).unwrap();
        if request.is_fragment(destination) {
            match node.fragments.insert(self.now, FormatKind::Mix, request) {
                FragmentOutcome::Complete(whole) => request = whole,
                FragmentOutcome::Kept | FragmentOutcome::Duplicate | FragmentOutcome::Late => return,
                FragmentOutcome::Refused { refusal, .. } => panic!("{refusal:?}"),
            }
        }
        let around = PolicyContext {
            own_peer: at,
            is_served: &|_| true,
            is_known_service: &|_| false,
            weaknesses: Weaknesses::NONE,
        };
        assert_eq!(node.policy.target(&around, &request.codec, destination), Ok(ExitTarget::Local));
        let Some(answer) = self.service.serve(at, &request.codec, &request.data) else { return };
        let body = encode_reply(&fit(&*self.format, request.surbs.len(), answer).unwrap());
        for surb in request.surbs.into_iter().take(DEFAULT_MAX_ANSWERS) {
            let known = |peer: &PeerId| self.addresses.get(peer).cloned();
            let to = first_hop(&surb, at, &known, Weaknesses::NONE).unwrap();
            let mut packet = vec![0; self.format.packet_len()];
            self.format.use_surb(&mut self.chance, surb, &body, &mut packet).unwrap();
            let law = DelayLaw::default();
            let hold = law.sample(&mut self.chance, law.encode());
            self.link(hold, to.peer(), packet);
        }
    }

    /// A packet at the client's door.
    fn come_back(&mut self, mut packet: Vec<u8>) {
        let HopDecision::Reply { id } = self.own.handle(&mut self.chance, &|_| None, &mut packet) else {
            panic!("a packet for the client that is no reply")
        };
        self.replied.extend(self.surbs.get(&id));
        match self.client.surbs().open(&*self.format, &id, &mut packet) {
            ReplyOpening::Opened(id, answer) => self.feed(Input::Reply(id, Some(answer))),
            // Its request has ended, or another reply to the try was faster.
            ReplyOpening::Refused(_) => {}
            ReplyOpening::Burned(..) => panic!("nothing is used up by a reply that does not open"),
        }
    }

    /// Puts a packet on a link after a hold; the link may lose it.
    fn link(&mut self, hold: Duration, to: PeerId, packet: Vec<u8>) {
        if random::below(&mut self.chance, 100) >= self.loss_percent {
            self.after(hold, Event::Arrives { at: to, packet });
        }
    }

    fn after(&mut self, hold: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + hold, self.sequence), event);
    }
}
