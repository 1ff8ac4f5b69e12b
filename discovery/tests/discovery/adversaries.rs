//! Who tries to get into the pool, and by what.

use std::{collections::HashSet, net::IpAddr};

use futures::FutureExt;
use parking_lot::Mutex;
use wakumix_discovery::{ContactClass, Discovery, Resolver};

use super::*;

/// A node of the open network: `private()` without its permission.
fn public(seed: u16) -> PeerReport {
    let [high, low] = seed.to_be_bytes();
    PeerReport { addresses: vec![format!("/ip4/{}.{low}.7.1/tcp/4000", 20 + high).parse().unwrap()], ..told(seed) }
}

fn peers_of(world: &World) -> Vec<libp2p_identity::PeerId> {
    world.pool().iter().map(MixNode::peer).collect()
}

/// Sixty identities of one machine dial in, each with its own record that claims an address in a /24 of its own.
#[actix::test]
async fn sybils_that_only_dial_in_take_no_pool_place() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(Config::default(), vec![source]);
    let sybils: Vec<_> = (200..260).collect();
    sybils.iter().for_each(|seed| world.kill(*seed));
    // It listens to events by now.
    assert!(world.discovery.pool().await.is_empty());
    for seed in &sybils {
        world.tell(PeerEvent::Connected { peer: peer(*seed), dialled: None });
        tokio::task::yield_now().await;
    }
    world.network(|network| network.connected = sybils.iter().map(|seed| peer(*seed)).collect());
    report.send((1..=7).chain(sybils.iter().copied()).map(public).collect()).await.unwrap();
    world.pool_of(7).await;
    let sybil = world.in_state(230, PoolState::Unreachable).await;
    assert_eq!((sybil.class, sybil.is_connected), (ContactClass::InboundOnly, true));
    assert_eq!(world.entry(1).await.class, ContactClass::Reached);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let honest: Vec<_> = (1..=7).map(peer).collect();
    assert!(world.pool().len() == 7 && peers_of(&world).iter().all(|peer| honest.contains(peer)));
}

#[actix::test]
async fn a_node_that_closes_after_the_handshake_was_not_reached() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(private(), vec![source]);
    world.network(|network| network.full.insert(peer(2)));
    report.send(vec![told(1), told(2)]).await.unwrap();
    assert_eq!(world.pool_of(1).await, [node(1)]);
    let left = world.in_state(2, PoolState::Unreachable).await;
    assert!(left.reason.starts_with("it hangs up"), "{}", left.reason);
    world.network(|network| network.full.clear());
    world.pool_of(2).await;
}

/// For a hop others give their places up, so who has many identities in one subnet has no more hops than places in the pool.
#[actix::test]
async fn no_more_of_one_subnet_are_hops_than_the_pool_takes() {
    let (source, report) = Scripted::boxed(SourceName::Rendezvous);
    let mut world = World::with_sources(Config::default(), vec![source]);
    let neighbour = |seed: u16| PeerReport {
        addresses: vec![format!("/ip4/9.9.9.{seed}/tcp/4000").parse().unwrap()],
        ..told(seed)
    };
    report.send((1..=30).map(neighbour).collect()).await.unwrap();
    world.metric("waku_mix_pool_checks_total{outcome=\"alive\"} 30").await;
    let pool: HashSet<_> = world.pool_of(8).await.iter().map(MixNode::peer).collect();
    world.network(|network| network.hops.clear());
    // Each is visited again within a minute.
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(world.network(|network| network.hops.clone()), pool);
}

/// Names that lead to this machine, to a private network, into a full subnet, and one that is honest.
#[actix::test]
async fn what_a_unverified_peers_name_resolves_to_is_judged_and_the_name_is_never_dialled() {
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let note = Arc::clone(&asked);
    let resolver: Resolver = Arc::new(move |name: String, _| {
        note.lock().push(name.clone());
        let ip: IpAddr = match name.as_str() {
            "loopback.example.org" => [127, 0, 0, 1].into(),
            "private.example.org" => [10, 0, 0, 7].into(),
            "honest.example.org" => [9, 9, 9, 9].into(),
            _ => [77, 7, 7, 7].into(),
        };
        std::future::ready(Ok(vec![ip])).boxed()
    });
    let (source, report) = Scripted::boxed(SourceName::Rendezvous);
    let discovery = Discovery::with_sources(Config::default(), vec![source]).with_resolver(resolver);
    let mut world = World::of(discovery, None);
    let named = |seed, name: &str| PeerReport {
        addresses: vec![format!("/dns4/{name}.example.org/tcp/4000").parse().unwrap()],
        ..told(seed)
    };
    // Nobody answers, so that all that enter count as untried.
    (1..=60).for_each(|seed| world.kill(seed));
    let crowd = (4..=40).map(|seed| named(seed, &format!("crowd{seed}")));
    let lies = [named(1, "loopback"), named(2, "private"), named(3, "localhost")];
    report.send(lies.into_iter().chain(crowd).collect()).await.unwrap();
    world.metric("waku_mix_discovery_refused_total{source=\"rendezvous\",reason=\"address\"} 2").await;
    world.revive(50);
    report.send(vec![named(50, "honest")]).await.unwrap();
    let pool = world.pool_of(1).await;
    assert_eq!(pool[0].address.multiaddr().to_string(), "/ip4/9.9.9.9/tcp/4000", "a name gives a hop its address");
    let known = world.discovery.pool().await;
    let crowded = known.iter().filter(|entry| entry.addresses == ["/ip4/77.7.7.7/tcp/4000".parse().unwrap()]).count();
    assert!(crowded <= 40 && crowded > 0, "{crowded}");
    let dialled = world.network(|network| network.dialled.clone());
    let is_good = |address: &multiaddr::Multiaddr| {
        let text = address.to_string();
        text.starts_with("/ip4/77.7.7.7/") || text.starts_with("/ip4/9.9.9.9/")
    };
    assert!(dialled.iter().all(is_good), "{dialled:?}");
    assert!(asked.lock().len() >= 39);
}

/// Silent sockets at each of the operator's entries, and six strangers that answer.
#[actix::test]
async fn six_unverified_peers_do_not_become_the_pool_when_the_entries_are_silent() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let config = Config { mix_nodes: (1..=6).map(entry).collect(), ..private() };
    let entries = StaticSource::new(config.mix_nodes.clone(), &config.lightpush, config.refresh);
    let mut world = World::with_sources(config, vec![Box::new(entries), source]);
    (1..=6).for_each(|seed| world.kill(seed));
    report.send((101..=106).map(told).collect()).await.unwrap();
    let held = world.in_state(101, PoolState::HeldBack).await;
    assert!(held.reason.contains("waits ten minutes"), "{}", held.reason);
    world.pool_of(0).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.pool(), []);
    (1..=6).for_each(|seed| world.revive(seed));
    let back = Instant::now();
    let pool = world.pool_of(6).await;
    assert!(pool.iter().all(|node| (1..=6).any(|seed| node.peer() == peer(seed))));
    assert!(back.elapsed() <= Duration::from_secs(11), "virtual time: {:?}", back.elapsed());
    let pool = world.pool_of(12).await;
    assert_eq!(pool.len(), 12, "after ten minutes they are nodes like others");
}
