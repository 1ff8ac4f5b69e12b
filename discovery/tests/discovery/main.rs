//! Discovery through its handle: what the directory shows, whom the host is asked to stay connected to, names.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test by panicking")]

mod adversaries;
mod discv5;
mod guards;
mod world;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::Instant;
use wakumix_discovery::{
    CacheSource, Config, PoolEntry, StaticSource,
    peer_report::{PeerReport, SourceName},
};
use wakumix_mix::MixNode;
use wakumix_role_api::{Directory, directory::PoolState, host::PeerEvent};
use wakumix_sphinx::{FormatKind, FormatSet, PrivateKey};
use wakumix_waku::{
    frame,
    record::{Capabilities, Shards},
};

use world::{
    ME, Scripted, World, answer, descriptor, entry, entry_at, full, mix_key, mixer, named, node, peer, private,
    scripted, service, told, unknown,
};

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
    assert_eq!(world.pool(), [node(1)]);
    let moved = entry_at("/ip4/10.0.0.0/tcp/4001", 1).node().unwrap();
    assert!(world.discovery.add_mix_nodes(vec![moved.clone(), node(2)]).await);
    assert_eq!(world.pool(), [moved, node(2)]);
    assert!(world.discovery.add_lightpush(vec![service(2, "/ip4/10.0.0.2/tcp/4000")]).await);
    assert_eq!(world.discovery.directory().lightpush, [service(2, "/ip4/10.0.0.2/tcp/4000")]);
    assert!(world.has_metric("mix_pool_size 2"));
}

#[actix::test]
async fn what_added_nodes_are_able_to_do_is_shown_as_given() {
    let formats = FormatSet::MIX.with(FormatKind::SphinxPacket);
    let able = MixNode { formats, reassembles: true, ..node(1) };
    let mut world = World::new(Config { mix_nodes: vec![entry(1), entry(2)], ..Config::default() });
    assert_eq!(world.pool_of(2).await, [1, 2].map(node));
    assert!(world.discovery.add_mix_nodes(vec![able.clone()]).await);
    assert_eq!(world.pool(), [able, node(2)]);
    assert_eq!(world.entry(1).await.reassembles, Some(true));
    assert_eq!(world.entry(2).await.reassembles, None);
}

#[actix::test]
async fn a_snapshot_shows_the_next_key_when_its_time_has_come_though_nobody_says_more() {
    let (source, found) = Scripted::boxed(SourceName::Descriptors);
    let mut world = World::with_sources(Config { allow_private: true, ..Config::default() }, vec![source]);
    let key = |seed| PrivateKey::from_bytes([seed; 32]).public();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let told = PeerReport {
        capabilities: Some(Capabilities::MIX),
        next_key: Some((key(50), now + 1)),
        reassembles: Some(true),
        ..PeerReport::from(node(1))
    };
    found.send(vec![told]).await.unwrap();
    while world.pool().first().map(|node| node.key) != Some(key(50)) {
        assert!(world.reader.changed().await);
    }
    assert!(world.pool()[0].reassembles);
}

#[actix::test]
async fn nodes_beyond_the_limit_are_ignored() {
    let world = World::new(Config { max_nodes: 2, ..Config::default() });
    assert!(world.discovery.add_mix_nodes((1..=5).map(node).collect()).await);
    assert_eq!(world.pool(), [1, 2].map(node));
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
    world.kept.wait_for(|kept| *kept == expected).await.unwrap();
    world.discovery.add_mix_nodes(vec![node(3)]).await;
    let added = full("/ip4/10.0.0.3/tcp/4000", 3);
    world.kept.wait_for(|kept| kept.last() == Some(&added)).await.unwrap();
}

#[actix::test]
async fn a_name_joins_the_pool_once_it_resolves_and_moves_when_it_changes() {
    let first = Ok(vec!["::1".parse().unwrap(), "192.0.2.1".parse().unwrap()]);
    let second = Ok(vec!["192.0.2.2".parse().unwrap()]);
    let config = named();
    let source = StaticSource::new(config.mix_nodes.clone(), &config.lightpush, config.refresh)
        .with_resolver(scripted(vec![unknown(), Ok(Vec::new()), first, second]));
    let started = Instant::now();
    let mut world = World::with_sources(config, vec![Box::new(source)]);
    assert_eq!(world.pool_of(1).await, [node(1)]);
    world.metric("waku_mix_pool_nodes{state=\"unresolved\"} 1").await;
    assert_eq!(world.entry(2).await.reason, "its name does not resolve");
    let resolved = world.pool_of(2).await;
    assert_eq!(resolved[1].address.multiaddr().to_string(), "/ip4/192.0.2.1/tcp/4000");
    assert_eq!(resolved[1].peer(), peer(2));
    assert!(started.elapsed() >= Duration::from_secs(3), "it waited one second, then two");
    world.metric("waku_mix_pool_nodes{state=\"unresolved\"} 0").await;
    while world.pool()[1].address.multiaddr().to_string() != "/ip4/192.0.2.2/tcp/4000" {
        assert!(world.reader.changed().await);
    }
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
    assert_eq!(world.pool(), [1, 2, 3].map(node));
}

#[actix::test]
async fn after_a_stop_nothing_is_added_and_the_last_snapshot_stays() {
    let mut world = World::new(Config { mix_nodes: vec![entry(1)], ..Config::default() });
    world.pool_of(1).await;
    assert!(world.discovery.stop(Instant::now() + Duration::from_secs(1)).await);
    assert!(!world.discovery.add_mix_nodes(vec![node(2)]).await);
    assert_eq!(world.pool(), [node(1)]);
}

#[actix::test]
async fn a_snapshot_of_entries_alone_tells_that_nobody_searches() {
    let mut world = World::new(Config { mix_nodes: vec![entry(1)], ..Config::default() });
    assert!(world.reader.snapshot().is_searching, "discovery has said nothing yet");
    world.pool_of(1).await;
    assert!(!world.reader.snapshot().is_searching);
}

#[actix::test]
async fn a_snapshot_tells_that_a_source_searches() {
    let (source, report) = Scripted::boxed(SourceName::Rendezvous);
    let mut world = World::with_sources(private(), vec![source]);
    report.send(vec![told(1)]).await.unwrap();
    world.pool_of(1).await;
    assert!(world.reader.snapshot().is_searching);
}

#[actix::test]
async fn a_found_node_is_usable_once_it_was_reached() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(private(), vec![source]);
    world.kill(2);
    report.send(vec![told(1), told(2)]).await.unwrap();
    assert_eq!(world.pool_of(1).await, [node(1)]);
    let dead = world.in_state(2, PoolState::Unreachable).await;
    assert_eq!((dead.failures, dead.last_seen, dead.sources), (1, None, vec![SourceName::Discv5]));
    assert!(dead.reason.starts_with("could not be reached"), "{}", dead.reason);
    world.revive(2);
    assert_eq!(world.pool_of(2).await, [1, 2].map(node));
    world.metric("waku_mix_pool_nodes_by_source{source=\"discv5\"} 2").await;
}

#[actix::test]
async fn a_node_whose_connection_ends_is_checked_at_once_and_leaves_if_it_is_dead() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(private(), vec![source]);
    report.send(vec![told(1), told(2)]).await.unwrap();
    world.pool_of(2).await;
    world.reaches(1);
    while world.reader.snapshot().connected != BTreeSet::from([peer(1)]) {
        assert!(world.reader.changed().await);
    }
    world.network(|network| network.connected = vec![peer(1)]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.kill(1);
    let lost = Instant::now();
    world.network(|network| network.connected.clear());
    world.tell(PeerEvent::Disconnected { peer: peer(1) });
    assert_eq!(world.pool_of(1).await, [node(2)]);
    assert!(lost.elapsed() < Duration::from_secs(1), "virtual time: no wait for the next regular check");
}

#[actix::test]
async fn an_entry_is_believed_until_it_cannot_be_reached() {
    let mut world = World::new(Config { mix_nodes: vec![entry(1)], ..Config::default() });
    world.kill(1);
    world.pool_of(1).await;
    world.pool_of(0).await;
    assert_eq!(world.entry(1).await.state, PoolState::Unreachable);
    assert_eq!(world.reader.snapshot().pool.to_string(), "1 unreachable");
    world.revive(1);
    world.pool_of(1).await;
}

/// A mixer that drains, or has become a sender.
#[actix::test]
async fn a_node_that_answers_that_it_does_not_mix_leaves_the_pool_and_returns_when_it_does() {
    let (source, report) = Scripted::boxed(SourceName::Descriptors);
    let mut world = World::with_sources(private(), vec![source]);
    let own = answer(descriptor(1, 1));
    world.network(|network| network.own.insert(peer(1), own.clone()));
    report.send(vec![told(1), told(2)]).await.unwrap();
    world.pool_of(2).await;
    world.network(|network| network.own.insert(peer(1), frame::encode(&[])));
    let left = world.in_state(1, PoolState::Unreachable).await;
    assert_eq!(left.reason, "it answers that it does not mix now");
    world.network(|network| network.own.insert(peer(1), own));
    world.pool_of(2).await;
}

/// The visit brings the key that the node has now, though it changes more often than others may say.
#[actix::test]
async fn a_check_brings_what_a_node_says_of_itself() {
    let (source, report) = Scripted::boxed(SourceName::Descriptors);
    let mut world = World::with_sources(private(), vec![source]);
    report.send(vec![told(1)]).await.unwrap();
    world.pool_of(1).await;
    for seed in 50..53 {
        world.network(|network| network.own.insert(peer(1), answer(descriptor(1, seed))));
        while world.pool()[0].key != mix_key(seed).public() {
            assert!(world.reader.changed().await);
        }
    }
}

#[actix::test]
async fn a_check_brings_no_descriptor_where_descriptors_are_off() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(private(), vec![source]);
    world.network(|network| network.own.insert(peer(1), answer(descriptor(1, 50))));
    report.send(vec![told(1)]).await.unwrap();
    assert_eq!(world.pool_of(1).await, [node(1)]);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(world.pool(), [node(1)]);
}

/// A sender that starts first, as under an orchestrator that starts all at once, or before its operator has brought up the rest.
#[actix::test]
async fn entries_that_start_after_their_sender_are_used_within_seconds() {
    let entries = (1..=6).map(entry).collect();
    let mut world = World::new(Config { mix_nodes: entries, ..private() });
    for wait in [3, 60, 60 * 60] {
        (1..=6).for_each(|seed| world.kill(seed));
        for seed in 1..=6 {
            world.in_state(seed, PoolState::Unreachable).await;
        }
        // The host reports the dials of checks as well.
        (1..=6).for_each(|seed| world.fails_to_reach(seed));
        tokio::time::sleep(Duration::from_secs(wait)).await;
        (1..=6).for_each(|seed| world.revive(seed));
        let started = Instant::now();
        world.pool_of(6).await;
        assert!(started.elapsed() <= Duration::from_secs(5), "virtual time, after {wait} s: {:?}", started.elapsed());
    }
}

#[actix::test]
async fn what_breaks_a_rule_is_counted_and_spoils_nothing() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(Config::default(), vec![source]);
    let public =
        |seed| PeerReport { addresses: vec![format!("/ip4/8.8.{seed}.1/tcp/1").parse().unwrap()], ..told(seed) };
    let foreign = PeerReport { shards: Some(Shards { cluster: 5, shards: vec![0] }), ..public(2) };
    report.send(vec![told(1), foreign, public(ME), public(3)]).await.unwrap();
    assert_eq!(world.pool_of(1).await[0].peer(), peer(3));
    for reason in ["address", "cluster", "irrelevant"] {
        world.metric(&format!("waku_mix_discovery_refused_total{{source=\"discv5\",reason=\"{reason}\"}} 1")).await;
    }
    world.metric("waku_mix_discovery_findings_total{source=\"discv5\"} 1").await;
}

#[actix::test]
async fn a_pool_of_forty_five_is_usable_within_seconds() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(private(), vec![source]);
    let started = Instant::now();
    report.send((1..=45).map(told).collect()).await.unwrap();
    world.pool_of(45).await;
    assert!(started.elapsed() < Duration::from_secs(3), "virtual time: one burst of checks");
    let order = |directory: Arc<Directory>| directory.mix_nodes.iter().map(MixNode::peer).collect::<Vec<_>>();
    let before = order(world.reader.snapshot());
    world.tell(PeerEvent::Connected { peer: peer(1), dialled: None });
    assert!(world.reader.changed().await);
    assert_ne!(order(world.reader.snapshot()), before, "the order of the pool tells nothing");
}

/// Ten thousand records and a thousand connections that come or go, all within two seconds.
#[actix::test]
async fn a_burst_of_changes_costs_a_snapshot_at_once_and_then_ten_a_second() {
    const PACE: Duration = Duration::from_millis(100);
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(mixer(), vec![source]);
    assert!(world.discovery.add_mix_nodes(vec![node(30)]).await);
    let told: Vec<_> = (1..=20).map(told).collect();
    report.send(told.clone()).await.unwrap();
    world.pool_of(21).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (start, mut reader) = (Instant::now(), world.reader.clone());
    let shown = actix::spawn(async move {
        let mut shown = Vec::new();
        while let Ok(true) = tokio::time::timeout(Duration::from_secs(1), reader.changed()).await {
            shown.push(start.elapsed());
        }
        shown
    });
    let peers: Vec<_> = told.iter().map(|report| report.peer).collect();
    for round in 0..500_u16 {
        let changed = told.iter().cloned().map(|report| PeerReport {
            version: u64::from(round) + 2,
            reassembles: Some(round % 2 == 1),
            ..report
        });
        world.tell(PeerEvent::Connected { peer: peers[usize::from(round) % 20], dialled: None });
        world.tell(PeerEvent::Disconnected { peer: peers[usize::from(round + 10) % 20] });
        report.send(changed.collect()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let end = start.elapsed();
    let shown = shown.await.unwrap();
    assert_eq!(shown[0], Duration::ZERO, "virtual time: the first change at once");
    assert!(shown.windows(2).all(|pair| pair[1] - pair[0] >= PACE), "{shown:?}");
    assert!(shown.len() >= 10 && *shown.last().unwrap() <= end + PACE, "{shown:?}");
    let last = world.reader.snapshot();
    assert_eq!(
        (last.mix_nodes.iter().filter(|node| node.reassembles).count(), last.mix_nodes.len()),
        (20, 21),
        "the last state"
    );
    assert_eq!(last.connected.len(), 10);
}

#[actix::test]
async fn a_stop_publishes_what_waits_for_the_next_snapshot() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(mixer(), vec![source]);
    report.send(vec![told(1)]).await.unwrap();
    world.pool_of(1).await;
    report.send(vec![told(2)]).await.unwrap();
    let usable = |entry: &PoolEntry| entry.state == PoolState::Usable;
    while world.discovery.pool().await.iter().filter(|entry| usable(entry)).count() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.pool(), [node(1)]);
    assert!(world.discovery.stop(Instant::now() + Duration::from_secs(1)).await);
    assert_eq!(world.pool(), [1, 2].map(node));
}

#[actix::test]
async fn a_node_that_sends_nothing_checks_what_it_uses_for_cover_too() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(mixer(), vec![source]);
    (10..40).for_each(|seed| world.kill(seed));
    report.send((1..=3).chain(10..40).map(told).collect()).await.unwrap();
    assert_eq!(world.pool_of(3).await, [1, 2, 3].map(node));
    world.in_state(39, PoolState::Unreachable).await;
    assert_eq!(world.pool(), [1, 2, 3].map(node), "no loop is sent over a ghost");
    assert!(world.kept.borrow().is_empty(), "and it stays connected to nobody for it");
}

#[actix::test]
async fn a_service_that_was_found_is_listed_while_it_is_usable_and_a_written_one_always() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let written = service(9, "/ip4/10.0.0.9/tcp/4000");
    let mut world = World::with_sources(private(), vec![source]);
    assert!(world.discovery.add_lightpush(vec![written.clone()]).await);
    let serving = |seed| {
        let told = told(seed);
        PeerReport { capabilities: told.capabilities.map(|own| own | Capabilities::LIGHTPUSH), ..told }
    };
    let plain =
        PeerReport { capabilities: Some(Capabilities::RELAY | Capabilities::LIGHTPUSH), mix_key: None, ..told(3) };
    world.kill(2);
    report.send(vec![serving(1), serving(2), plain, told(4)]).await.unwrap();
    world.in_state(2, PoolState::Unreachable).await;
    world.pool_of(2).await;
    let listed = |world: &World| world.discovery.directory().lightpush.iter().map(|node| node.peer).collect::<Vec<_>>();
    assert_eq!(listed(&world), [peer(9), peer(1)], "neither the unreachable one, nor the one that does not mix");
    world.network(|network| network.dead.insert(peer(9)));
    world.kill(1);
    world.fails_to_reach(1);
    world.fails_to_reach(9);
    world.pool_of(1).await;
    assert_eq!(listed(&world), [peer(9)]);
}

#[actix::test]
async fn a_relaying_node_stays_connected_to_some_relays_of_its_shards() {
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut config = Config { relays: true, shards: vec![0], ..private() };
    config.pool.sends = false;
    let mut world = World::with_sources(config, vec![source]);
    let elsewhere = |seed| PeerReport { shards: Some(Shards { cluster: 0, shards: vec![7] }), ..told(seed) };
    report.send((1..=20).map(told).chain((21..=40).map(elsewhere)).collect()).await.unwrap();
    let kept = world.kept.wait_for(|kept| kept.len() == 8).await.unwrap().clone();
    let of_its_shards: Vec<_> = (1..=20).map(|seed| full(&format!("/ip4/10.0.0.{seed}/tcp/4000"), seed)).collect();
    assert!(kept.iter().all(|address| of_its_shards.contains(address)), "{kept:?}");
    let lost = (1..=20).find(|seed| kept[0] == full(&format!("/ip4/10.0.0.{seed}/tcp/4000"), *seed)).unwrap();
    world.kill(lost);
    world.fails_to_reach(lost);
    let next = world.kept.wait_for(|now| !now.contains(&kept[0])).await.unwrap().clone();
    assert_eq!(next.iter().filter(|address| kept.contains(address)).count(), 7, "the others stay");
}

#[actix::test]
async fn a_restarted_node_uses_its_cache_at_once_and_checks_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("directory.json");
    let config = || Config { cache: Some(path.clone()), ..private() };
    let (source, report) = Scripted::boxed(SourceName::Discv5);
    let mut world = World::with_sources(config(), vec![source]);
    report.send(vec![told(1), told(2), told(3)]).await.unwrap();
    world.pool_of(3).await;
    assert!(world.discovery.stop(Instant::now() + Duration::from_secs(10)).await);

    tokio::time::resume();
    let cache = CacheSource::new(path.clone(), 0);
    let mut world = World::with_sources(config(), vec![Box::new(cache)]);
    world.kill(3);
    assert_eq!(world.pool_of(3).await, [1, 2, 3].map(node));
    assert_eq!(world.entry(1).await.sources, [SourceName::Cache]);
    assert_eq!(world.pool_of(2).await, [1, 2].map(node), "checked first");
}

#[actix::test]
async fn a_corrupt_cache_is_set_aside_and_the_node_starts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("directory.json");
    std::fs::write(&path, "not json").unwrap();
    let cache = CacheSource::new(path.clone(), 0);
    let config = Config { cache: Some(path.clone()), ..private() };
    let world = World::with_sources(config, vec![Box::new(cache)]);
    world.metric("waku_mix_discovery_refused_total{source=\"cache\",reason=\"malformed\"} 1").await;
    assert!(!path.exists() && directory.path().join("directory.json.corrupt-1").exists());
    assert!(world.discovery.add_mix_nodes(vec![node(1)]).await);
}

#[actix::test]
async fn nodes_of_one_operator_share_a_family() {
    let (source, report) = Scripted::boxed(SourceName::Descriptors);
    let config = Config { family: vec![peer(1), peer(2)], ..private() };
    let mut world = World::with_sources(config, vec![source]);
    let tagged = |seed| PeerReport { operator: Some("them".to_owned()), ..told(seed) };
    report.send(vec![told(1), told(2), tagged(3), tagged(4), told(5)]).await.unwrap();
    let families: Vec<_> = world.pool_of(5).await.into_iter().map(|node| node.family).collect();
    assert_eq!((families[0], families[2]), (families[1], families[3]));
    assert!(families[0].is_some() && families[2].is_some() && families[0] != families[2] && families[4].is_none());
    assert_eq!(world.reader.snapshot().own_family, families[0]);
    world.metric("waku_mix_pool_groups{kind=\"family\"} 3").await;
    world.metric("waku_mix_pool_groups{kind=\"subnet\"} 1").await;
}
