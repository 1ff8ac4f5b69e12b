//! Discovery through its handle: what the directory shows, whom the host is asked to stay connected to, names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt;
use libp2p_identity::{Keypair, PeerId, secp256k1};
use multiaddr::Multiaddr;
use tokio::time::Instant;
use wakumix_discovery::{Config, DiscoveryHandle, Resolver, Source, StaticSource, Surroundings, entry::MixNodeEntry};
use wakumix_mix::MixNode;
use wakumix_role_api::{
    DirectoryPublisher, DirectoryReader, Receiver, Supervisor,
    directory::ServiceNode,
    host::{HostHandle, HostMessage},
    mailbox,
};
use wakumix_sphinx::PrivateKey;
use wakumix_telemetry::Telemetry;

const ME: u8 = 100;

fn peer(seed: u8) -> PeerId {
    let secret = secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
    Keypair::from(secp256k1::Keypair::from(secret)).public().to_peer_id()
}

fn entry_at(place: &str, seed: u8) -> MixNodeEntry {
    let key = PrivateKey::from_bytes([seed; 32]).public();
    format!("{place}/p2p/{}:{key}", peer(seed)).parse().unwrap()
}

fn entry(seed: u8) -> MixNodeEntry {
    entry_at(&format!("/ip4/10.0.0.{seed}/tcp/4000"), seed)
}

fn node(seed: u8) -> MixNode {
    entry(seed).node().unwrap()
}

fn service(seed: u8, address: &str) -> ServiceNode {
    ServiceNode::new(peer(seed), vec![address.parse().unwrap()])
}

fn full(address: &str, seed: u8) -> Multiaddr {
    format!("{address}/p2p/{}", peer(seed)).parse().unwrap()
}

/// Discovery, its reader's end and the host's queue.
struct World {
    discovery: DiscoveryHandle,
    reader: DirectoryReader,
    host: Receiver<HostMessage>,
    telemetry: Telemetry,
}

impl World {
    fn new(config: Config) -> Self {
        let source = StaticSource::new(&config);
        Self::with_source(config, source)
    }

    fn with_source(config: Config, source: impl Source) -> Self {
        tokio::time::pause();
        let telemetry = Telemetry::new();
        let (supervisor, _fatal) = Supervisor::on_current_thread(telemetry.clone());
        let (host_address, host_inbox) = mailbox("host", 8, &telemetry);
        let (publisher, reader) = DirectoryPublisher::new();
        let surroundings = Surroundings {
            me: peer(ME),
            publisher,
            reader: reader.clone(),
            host: HostHandle::new(host_address),
            supervisor,
            telemetry: telemetry.clone(),
        };
        let discovery = wakumix_discovery::start_with(config, vec![Box::new(source)], surroundings);
        Self { discovery, reader, host: host_inbox.receiver().unwrap(), telemetry }
    }

    /// Waits until the pool has this many nodes.
    async fn pool_of(&mut self, size: usize) -> Vec<MixNode> {
        while self.reader.snapshot().mix_nodes.len() != size {
            assert!(self.reader.changed().await);
        }
        self.reader.snapshot().mix_nodes.clone()
    }

    /// The next list that the host is given.
    async fn connections(&mut self) -> Vec<Multiaddr> {
        match self.host.recv().await {
            Some(HostMessage::KeepConnected(peers)) => peers,
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn has_metric(&self, line: &str) -> bool {
        self.telemetry.render().lines().any(|found| found == line)
    }

    async fn metric(&self, line: &str) {
        for _ in 0..1000 {
            if self.has_metric(line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{line} is not on the page");
    }
}

/// A resolver that gives these answers in turn, the last one for ever.
fn scripted(answers: Vec<io::Result<Vec<IpAddr>>>) -> Resolver {
    let answers = Mutex::new(VecDeque::from(answers));
    Arc::new(move |name, port| {
        assert_eq!((name.as_str(), port), ("mix.example.org", 4000));
        let mut answers = answers.lock().unwrap();
        let answer =
            if answers.len() > 1 { answers.pop_front().unwrap() } else { Ok(answers[0].as_ref().unwrap().clone()) };
        std::future::ready(answer).boxed()
    })
}

fn unknown() -> io::Result<Vec<IpAddr>> {
    Err(io::Error::other("no such name"))
}

fn named() -> Config {
    let mix_nodes = vec![entry(1), entry_at("/dns4/mix.example.org/tcp/4000", 2)];
    Config { mix_nodes, ..Config::default() }
}

#[actix::test]
async fn the_directory_shows_the_entries_without_this_node() {
    let config = Config {
        mix_nodes: [1, 2, ME, 3, 1].map(entry).to_vec(),
        lightpush: vec![
            service(9, "/ip4/10.0.0.9/tcp/4000"),
            service(ME, "/ip4/10.0.0.100/tcp/4000"),
            service(2, "/ip4/10.0.0.2/tcp/4000"),
            service(9, "/ip4/10.0.0.9/udp/4000/quic-v1"),
        ],
        ..Config::default()
    };
    let mut world = World::new(config);
    assert_eq!(world.pool_of(3).await, [1, 2, 3].map(node));
    let services = world.discovery.directory().lightpush.clone();
    assert_eq!(services.iter().map(|service| service.peer).collect::<Vec<_>>(), [peer(9), peer(2)]);
    assert_eq!(services[0].addresses.len(), 2, "one service, both addresses");
    world.metric("mix_pool_size 3").await;
    world.metric("waku_mix_pool_nodes{state=\"usable\"} 3").await;
    world.metric("waku_mix_pool_nodes{state=\"unresolved\"} 0").await;
}

#[actix::test]
async fn nodes_added_later_are_shown_when_the_call_returns() {
    let world = World::new(Config::default());
    assert!(world.discovery.add_mix_nodes(vec![node(1), node(ME)]).await);
    assert_eq!(world.discovery.directory().mix_nodes, [node(1)]);
    let moved = entry_at("/ip4/10.0.0.77/tcp/4001", 1).node().unwrap();
    assert!(world.discovery.add_mix_nodes(vec![moved.clone(), node(2)]).await);
    assert_eq!(world.discovery.directory().mix_nodes, [moved, node(2)]);
    assert!(world.discovery.add_lightpush(vec![service(2, "/ip4/10.0.0.2/tcp/4000")]).await);
    assert_eq!(world.discovery.directory().lightpush, [service(2, "/ip4/10.0.0.2/tcp/4000")]);
    assert!(world.has_metric("mix_pool_size 2"));
}

#[actix::test]
async fn nodes_beyond_the_limit_are_ignored() {
    let world = World::new(Config { max_nodes: 2, ..Config::default() });
    assert!(world.discovery.add_mix_nodes((1..=5).map(node).collect()).await);
    assert_eq!(world.discovery.directory().mix_nodes, [1, 2].map(node));
}

#[actix::test]
async fn the_host_is_asked_to_stay_connected_to_all_of_them() {
    let config = Config {
        mix_nodes: vec![entry(1), entry(ME)],
        lightpush: vec![service(2, "/dns4/push.example.org/tcp/443/wss")],
        static_peers: vec![full("/ip4/10.0.0.7/tcp/1", 7).to_string().parse().unwrap()],
        ..Config::default()
    };
    let mut world = World::new(config);
    let expected = [
        full("/ip4/10.0.0.7/tcp/1", 7),
        full("/dns4/push.example.org/tcp/443/wss", 2),
        full("/ip4/10.0.0.1/tcp/4000", 1),
    ];
    while world.connections().await != expected {}
    world.discovery.add_mix_nodes(vec![node(3)]).await;
    assert_eq!(world.connections().await.last(), Some(&full("/ip4/10.0.0.3/tcp/4000", 3)));
}

#[actix::test]
async fn a_name_joins_the_pool_once_it_resolves_and_moves_when_it_changes() {
    let first = Ok(vec!["::1".parse().unwrap(), "192.0.2.1".parse().unwrap()]);
    let second = Ok(vec!["192.0.2.2".parse().unwrap()]);
    let source = StaticSource::with_resolver(&named(), scripted(vec![unknown(), Ok(Vec::new()), first, second]));
    let started = Instant::now();
    let mut world = World::with_source(named(), source);
    assert_eq!(world.pool_of(1).await, [node(1)]);
    world.metric("waku_mix_pool_nodes{state=\"unresolved\"} 1").await;
    let resolved = world.pool_of(2).await;
    assert_eq!(resolved[1].address.multiaddr().to_string(), "/ip4/192.0.2.1/tcp/4000");
    assert_eq!(resolved[1].peer(), peer(2));
    assert!(started.elapsed() >= Duration::from_secs(3), "it waited one second, then two");
    world.metric("waku_mix_pool_nodes{state=\"unresolved\"} 0").await;
    assert!(world.reader.changed().await);
    assert_eq!(world.reader.snapshot().mix_nodes[1].address.multiaddr().to_string(), "/ip4/192.0.2.2/tcp/4000");
    assert!(started.elapsed() >= wakumix_discovery::DEFAULT_REFRESH);
}

#[actix::test]
async fn the_system_resolves_localhost() {
    let config = Config { mix_nodes: vec![entry_at("/dns4/localhost/udp/4000/quic-v1", 2)], ..Config::default() };
    let mut world = World::new(config);
    let pool = world.pool_of(1).await;
    assert_eq!(pool[0].address.multiaddr().to_string(), "/ip4/127.0.0.1/udp/4000/quic-v1");
}

#[actix::test]
async fn a_panic_loses_neither_entries_nor_added_nodes() {
    let mut world = World::new(Config { mix_nodes: vec![entry(1)], ..Config::default() });
    world.pool_of(1).await;
    world.discovery.add_mix_nodes(vec![node(2)]).await;
    world.discovery.actor().inject_panic().await;
    while world.discovery.actor().restarts() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(world.discovery.add_mix_nodes(vec![node(3)]).await);
    assert_eq!(world.discovery.directory().mix_nodes, [1, 2, 3].map(node));
}

#[actix::test]
async fn after_a_stop_nothing_is_added_and_the_last_snapshot_stays() {
    let mut world = World::new(Config { mix_nodes: vec![entry(1)], ..Config::default() });
    world.pool_of(1).await;
    assert!(world.discovery.stop(Instant::now() + Duration::from_secs(1)).await);
    assert!(!world.discovery.add_mix_nodes(vec![node(2)]).await);
    assert_eq!(world.discovery.directory().mix_nodes, [node(1)]);
}
