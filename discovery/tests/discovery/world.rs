//! Discovery between a test double for the host and sources that say what a test tells them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
use wakumix_discovery::{
    Config, Discovery, DiscoveryHandle, DiscoveryParts, LocalRecord, PoolEntry, Resolver, Source, SourceContext,
    StaticSource,
    entry::MixNodeEntry,
    peer_report::{PeerReport, SourceName},
};
use wakumix_mix::MixNode;
use wakumix_records::descriptor::{Descriptor, DescriptorLimits, Response};
use wakumix_role_api::{
    DirectoryPublisher, DirectoryReader, Inbox, Receiver, Supervisor,
    directory::{PoolState, ServiceNode},
    host::{AfterVisit, HostHandle, HostMessage, PeerEvent, RequestFailure},
    mailbox,
};
pub(crate) use wakumix_role_testkit::mix_key;
pub(crate) use wakumix_role_testkit::{keypair, node, peer};
use wakumix_role_testkit::{metric_appears, shows};
use wakumix_sphinx::WireFormat;
use wakumix_telemetry::Telemetry;
use wakumix_waku::{
    frame,
    record::{Capabilities, Shards},
};

pub(crate) const ME: u16 = 100;
/// Virtual time after which what a test waits for does not happen; strangers that wait in an outage do so for ten minutes.
const LONGEST: Duration = Duration::from_secs(30 * 60);

pub(crate) fn entry_at(place: &str, seed: u16) -> MixNodeEntry {
    let key = mix_key(seed).public();
    format!("{place}/p2p/{}:{key}", peer(seed)).parse().unwrap()
}

pub(crate) fn entry(seed: u16) -> MixNodeEntry {
    entry_at(&format!("/ip4/10.0.0.{seed}/tcp/4000"), seed)
}

pub(crate) fn service(seed: u16, address: &str) -> ServiceNode {
    ServiceNode::new(peer(seed), vec![address.parse().unwrap()])
}

pub(crate) fn full(address: &str, seed: u16) -> Multiaddr {
    format!("{address}/p2p/{}", peer(seed)).parse().unwrap()
}

/// What a mixer says of itself that has a key.
pub(crate) fn descriptor(seed: u16, key: u16) -> Vec<u8> {
    let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let descriptor = Descriptor {
        peer: peer(seed),
        issued,
        expires: issued + 3600,
        addresses: vec![node(seed).address.multiaddr()],
        shards: Shards { cluster: 0, shards: vec![0] },
        capabilities: Capabilities::MIX,
        mix_key: Some(mix_key(key).public()),
        next_key: None,
        profiles: vec![WireFormat::default()],
        operator: None,
        family: Vec::new(),
        limits: DescriptorLimits::default(),
        reassembles: false,
        is_full: false,
    };
    descriptor.seal(&keypair(seed)).unwrap()
}

/// The answer to somebody who asks for it.
pub(crate) fn answer(descriptor: Vec<u8>) -> Vec<u8> {
    frame::encode(&Response { descriptors: vec![descriptor] }.encode())
}

/// What the test double for the host knows of the network, and what it was asked.
#[derive(Default)]
pub(crate) struct Network {
    pub(crate) dead: HashSet<PeerId>,
    pub(crate) connected: Vec<PeerId>,
    pub(crate) asked: Vec<PeerId>,
    pub(crate) left: Vec<PeerId>,
    /// Peers that the host was told to be hops.
    pub(crate) hops: HashSet<PeerId>,
    /// Where it was asked to look for peers.
    pub(crate) dialled: Vec<Multiaddr>,
    /// Peers that close every connection after the handshake.
    pub(crate) full: HashSet<PeerId>,
    /// What peers answer that are asked for their own descriptors; others do not speak the protocol.
    pub(crate) own: HashMap<PeerId, Vec<u8>>,
}

/// Discovery, its reader's end and the host's.
pub(crate) struct World {
    pub(crate) discovery: DiscoveryHandle,
    pub(crate) reader: DirectoryReader,
    pub(crate) kept: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) network: Arc<Mutex<Network>>,
    pub(crate) events: broadcast::Sender<PeerEvent>,
    pub(crate) telemetry: Telemetry,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let source = StaticSource::new(config.mix_nodes.clone(), &config.lightpush, config.refresh);
        Self::with_sources(config, vec![Box::new(source)])
    }

    pub(crate) fn with_sources(config: Config, sources: Vec<Box<dyn Source>>) -> Self {
        Self::of(Discovery::with_sources(config, sources), None)
    }

    /// On a node that sends and does not forward, with so many guards in use.
    pub(crate) fn with_guards(config: Config, sources: Vec<Box<dyn Source>>, guards: Option<usize>) -> Self {
        Self::of(Discovery::with_sources(config, sources), guards)
    }

    pub(crate) fn of(discovery: Discovery, guards: Option<usize>) -> Self {
        tokio::time::pause();
        let (surroundings, host) = surroundings(ME, watch::channel(Arc::new(local(ME))).1);
        let surroundings = DiscoveryParts { guards, forwards: guards.is_none(), ..surroundings };
        let network = Arc::new(Mutex::new(Network::default()));
        let (keep, kept) = watch::channel(Vec::new());
        actix::spawn(test_double(host.receiver().unwrap(), keep, Arc::clone(&network)));
        let (reader, events) = (surroundings.reader.clone(), surroundings.events.clone());
        let telemetry = surroundings.telemetry.clone();
        let discovery = discovery.start(surroundings);
        Self { discovery, reader, kept, network, events, telemetry }
    }

    /// Waits until the pool has this many nodes; they come sorted by address.
    pub(crate) async fn pool_of(&mut self, size: usize) -> Vec<MixNode> {
        let becomes = async {
            while self.reader.snapshot().mix_nodes.len() != size {
                assert!(self.reader.changed().await);
            }
        };
        let became = tokio::time::timeout(LONGEST, becomes).await;
        let pool = self.pool();
        assert!(became.is_ok(), "the pool does not become {size} nodes: {pool:?}");
        pool
    }

    pub(crate) fn pool(&self) -> Vec<MixNode> {
        let mut nodes = self.reader.snapshot().mix_nodes.clone();
        nodes.sort_by_key(|node| node.address.ip());
        nodes
    }

    pub(crate) async fn entry(&self, seed: u16) -> PoolEntry {
        self.discovery.pool().await.into_iter().find(|entry| entry.peer == peer(seed)).unwrap()
    }

    /// Waits until a node is in a state.
    pub(crate) async fn in_state(&self, seed: u16, state: PoolState) -> PoolEntry {
        let begun = tokio::time::Instant::now();
        loop {
            let entry = self.discovery.pool().await.into_iter().find(|entry| entry.peer == peer(seed));
            if let Some(entry) = entry.as_ref().filter(|entry| entry.state == state) {
                return entry.clone();
            }
            assert!(begun.elapsed() < LONGEST, "it does not become {state:?}: {entry:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn network<T>(&self, work: impl FnOnce(&mut Network) -> T) -> T {
        work(&mut self.network.lock())
    }

    pub(crate) fn kill(&self, seed: u16) {
        self.network(|network| network.dead.insert(peer(seed)));
    }

    pub(crate) fn revive(&self, seed: u16) {
        self.network(|network| network.dead.remove(&peer(seed)));
    }

    /// This node has opened a connection to a peer at the address of its record.
    pub(crate) fn reaches(&self, seed: u16) {
        self.tell(PeerEvent::Connected { peer: peer(seed), dialled: Some(node(seed).address.multiaddr()) });
        self.tell(PeerEvent::Reached { peer: peer(seed), address: node(seed).address.multiaddr() });
    }

    /// No address of a peer's record answers.
    pub(crate) fn fails_to_reach(&self, seed: u16) {
        let addresses = vec![node(seed).address.multiaddr()];
        self.tell(PeerEvent::DialFailed { peer: peer(seed), addresses, answered_by: None });
    }

    pub(crate) fn tell(&self, event: PeerEvent) {
        self.events.send(event).unwrap();
    }

    pub(crate) fn has_metric(&self, line: &str) -> bool {
        shows(&self.telemetry, line)
    }

    pub(crate) async fn metric(&self, line: &str) {
        metric_appears(&self.telemetry, line).await;
    }
}

/// Answers as the host of a network does whose nodes are alive unless they were killed.
pub(crate) async fn test_double(
    mut inbox: Receiver<HostMessage>,
    keep: watch::Sender<Vec<Multiaddr>>,
    network: Arc<Mutex<Network>>,
) {
    while let Some(message) = inbox.recv().await {
        let mut network = network.lock();
        match message {
            HostMessage::KeepConnected(peers) => drop(keep.send_replace(peers)),
            HostMessage::EndVisit(peer, AfterVisit::Leave) => network.left.push(peer),
            HostMessage::EndVisit(peer, AfterVisit::KeepOne) => _ = network.hops.insert(peer),
            HostMessage::Peers(reply) => drop(reply.send(network.connected.clone())),
            HostMessage::Request(request) => {
                network.asked.push(request.peer);
                network.dialled.extend(request.addresses);
                if let Some(own) = network.own.get(&request.peer).filter(|_| !network.dead.contains(&request.peer)) {
                    drop(request.reply.send(Ok(own.clone())));
                    continue;
                }
                let failure = if network.dead.contains(&request.peer) {
                    RequestFailure::DialFailed
                } else if network.full.contains(&request.peer) {
                    RequestFailure::Stream("the connection closed".to_owned())
                } else {
                    RequestFailure::Unsupported
                };
                drop(request.reply.send(Err(failure)));
            }
            other => panic!("unexpected: {other:?}"),
        }
    }
}

/// What discovery of this node runs between, and what it asks of the host.
pub(crate) fn surroundings(
    seed: u16,
    local: watch::Receiver<Arc<LocalRecord>>,
) -> (DiscoveryParts, Inbox<HostMessage>) {
    let telemetry = wakumix_role_testkit::telemetry(&wakumix_discovery::METRICS);
    let (supervisor, _fatal) = Supervisor::on_current_thread(telemetry.clone());
    let (host, inbox) = mailbox("host", 64, &telemetry);
    let (publisher, reader) = DirectoryPublisher::new();
    let surroundings = DiscoveryParts {
        forwards: true,
        guards: None,
        me: peer(seed),
        identity: keypair(seed),
        local,
        events: broadcast::channel(64).0,
        publisher,
        reader,
        host: HostHandle::new(host),
        supervisor,
        telemetry,
    };
    (surroundings, inbox)
}

/// A node that advertises nothing.
pub(crate) fn local(seed: u16) -> LocalRecord {
    LocalRecord {
        peer: peer(seed),
        addresses: Vec::new(),
        hop_address: None,
        capabilities: Capabilities::NONE,
        shards: Shards { cluster: 0, shards: Vec::new() },
        mix_key: None,
        next_key: None,
        reassembles: false,
        is_full: false,
        profiles: Vec::new(),
        operator: None,
        family: Vec::new(),
    }
}

/// A source that reports what a test gives it.
pub(crate) struct Scripted {
    pub(crate) name: SourceName,
    pub(crate) reports: Mutex<Option<mpsc::Receiver<Vec<PeerReport>>>>,
}

impl Scripted {
    pub(crate) fn boxed(name: SourceName) -> (Box<dyn Source>, mpsc::Sender<Vec<PeerReport>>) {
        let (sender, receiver) = mpsc::channel(1);
        (Box::new(Self { name, reports: Mutex::new(Some(receiver)) }), sender)
    }
}

impl Source for Scripted {
    fn name(&self) -> SourceName {
        self.name
    }

    fn run(&self, context: SourceContext) -> BoxFuture<'static, ()> {
        let reports = self.reports.lock().take();
        async move {
            let Some(mut reports) = reports else { return };
            while let Some(batch) = reports.recv().await {
                assert!(context.reports.report(batch).await);
            }
        }
        .boxed()
    }
}

/// What a mix node tells in a node record of cluster 0.
pub(crate) fn told(seed: u16) -> PeerReport {
    let capabilities = Some(Capabilities::RELAY | Capabilities::MIX);
    let shards = Some(Shards { cluster: 0, shards: vec![0] });
    PeerReport { version: 1, capabilities, shards, ..PeerReport::from(node(seed)) }
}

pub(crate) fn private() -> Config {
    Config { allow_private: true, ..Config::default() }
}

/// The same for a node that sends nothing of its own.
pub(crate) fn mixer() -> Config {
    let mut config = private();
    config.pool.sends = false;
    config
}

/// A resolver that gives these answers in turn, the last one forever.
pub(crate) fn scripted(answers: Vec<io::Result<Vec<IpAddr>>>) -> Resolver {
    let answers = Mutex::new(VecDeque::from(answers));
    Arc::new(move |name, port| {
        assert_eq!((name.as_str(), port), ("mix.example.org", 4000));
        let mut answers = answers.lock();
        let answer =
            if answers.len() > 1 { answers.pop_front().unwrap() } else { Ok(answers[0].as_ref().unwrap().clone()) };
        std::future::ready(answer).boxed()
    })
}

pub(crate) fn unknown() -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other("no such name"))
}

pub(crate) fn named() -> Config {
    let mix_nodes = vec![entry(1), entry_at("/dns4/mix.example.org/tcp/4000", 2)];
    Config { mix_nodes, ..Config::default() }
}
