//! Nodes that know one bootstrap record find each other by discv5, over loopback.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use tokio::sync::watch;
use wakumix_discovery::{Config, Discovery, DiscoveryHandle, Discv5Config, LocalRecord, PoolConfig, parse_bootstrap};
use wakumix_mix::HopAddress;
use wakumix_role_api::DirectoryReader;
use wakumix_role_testkit::mix_key;
use wakumix_waku::record::{Capabilities, Shards};

use crate::world::{local, peer, surroundings, test_double};

const CLUSTER: u16 = 2;
/// Nodes of the net, the bootstrap node included.
const NODES: u16 = 12;
/// No test waits longer; it is no measure of speed.
const LIMIT: Duration = Duration::from_secs(120);

/// One node: discovery with discv5 alone, and a host that reaches everybody.
struct Node {
    discovery: DiscoveryHandle,
    reader: DirectoryReader,
    local: watch::Sender<Arc<LocalRecord>>,
}

impl Node {
    fn start(seed: u16, bootstrap: Vec<String>, capabilities: Capabilities) -> Self {
        let address = format!("/ip4/127.0.0.1/tcp/{}", 4000 + seed).parse().unwrap();
        let local = watch::Sender::new(Arc::new(LocalRecord {
            hop_address: HopAddress::from_multiaddr(&address, peer(seed)).ok(),
            addresses: vec![address],
            capabilities,
            shards: Shards { cluster: CLUSTER, shards: vec![0] },
            mix_key: Some(mix_key(seed).public()),
            ..local(seed)
        }));
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        let discovery = Discovery::new(Config {
            cluster: CLUSTER,
            shards: vec![0],
            allow_private: true,
            pool: PoolConfig { sends: false, ..PoolConfig::default() },
            discv5: Some(Discv5Config {
                listen,
                announce_ip4: None,
                announce_ip6: None,
                bootstrap,
                auto_update: false,
            }),
            ..Config::default()
        });
        discovery.prepare().unwrap();
        let (surroundings, inbox) = surroundings(seed, local.subscribe());
        let reader = surroundings.reader.clone();
        let discovery = discovery.start(surroundings);
        // Everybody is where it says that it is.
        actix::spawn(test_double(inbox.receiver().unwrap(), watch::channel(Vec::new()).0, Arc::default()));
        Self { discovery, reader, local }
    }

    fn record(&self) -> String {
        self.discovery.node_record().borrow().as_ref().unwrap().to_string()
    }

    async fn finds(&mut self, is_enough: impl Fn(&[PeerId]) -> bool) {
        let wait = async {
            loop {
                let pool: Vec<_> = self.reader.snapshot().mix_nodes.iter().map(|node| node.peer()).collect();
                if is_enough(&pool) {
                    return;
                }
                assert!(self.reader.changed().await);
            }
        };
        let is_done = tokio::time::timeout(LIMIT, wait).await.is_ok();
        let pool: Vec<_> = self.reader.snapshot().mix_nodes.iter().map(|node| node.peer()).collect();
        let missing: Vec<_> = (1..=NODES).filter(|seed| !pool.contains(&peer(*seed))).collect();
        assert!(is_done, "of {NODES} nodes it misses {missing:?}, itself included");
    }

    async fn stop(&self) {
        assert!(self.discovery.stop(tokio::time::Instant::now() + LIMIT).await);
    }
}

#[actix::test]
async fn every_node_finds_every_other_from_one_bootstrap_record() {
    let first = Node::start(1, Vec::new(), Capabilities::MIX);
    let bootstrap = first.record();
    assert!(parse_bootstrap(&bootstrap).is_ok(), "the record says where discv5 answers");
    let mut nodes: Vec<_> =
        (2..=NODES).map(|seed| Node::start(seed, vec![bootstrap.clone()], Capabilities::MIX)).collect();
    nodes.push(first);
    for node in &mut nodes {
        node.finds(|pool| pool.len() == usize::from(NODES) - 1).await;
    }
    for node in &nodes {
        node.stop().await;
    }
}

#[actix::test]
async fn a_node_that_becomes_ready_later_is_found() {
    let first = Node::start(1, Vec::new(), Capabilities::MIX);
    let late = Node::start(2, vec![first.record()], Capabilities::NONE);
    let mut third = Node::start(3, vec![first.record()], Capabilities::MIX);
    third.finds(|pool| pool.contains(&peer(1))).await;
    assert!(!third.reader.snapshot().mix_nodes.iter().any(|node| node.peer() == peer(2)));
    let before = late.record();
    late.local.send_modify(|local| Arc::make_mut(local).capabilities = Capabilities::MIX);
    third.finds(|pool| pool.contains(&peer(2))).await;
    assert_ne!(late.record(), before);
    for node in [first, late, third] {
        node.stop().await;
    }
}
