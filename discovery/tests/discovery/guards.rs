//! A node that sends and does not forward: connected to its guards, a visitor to everybody else.

use std::{collections::BTreeSet, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_discovery::{Config, StaticSource};

use crate::world::{World, entry, peer};

const NODES: std::ops::RangeInclusive<u16> = 1..=12;

fn config() -> Config {
    Config { mix_nodes: NODES.map(entry).collect(), ..Config::default() }
}

fn guarded(config: Config) -> World {
    let source = StaticSource::new(config.mix_nodes.clone(), &[], config.refresh);
    World::with_guards(config, vec![Box::new(source)], Some(3))
}

fn peers(addresses: &[Multiaddr]) -> Vec<PeerId> {
    let peer = |address: &Multiaddr| match address.iter().last() {
        Some(Protocol::P2p(peer)) => peer,
        other => panic!("{other:?}"),
    };
    addresses.iter().map(peer).collect()
}

impl World {
    /// The sample, once it has this many nodes.
    async fn sample_of(&mut self, size: usize) -> Vec<PeerId> {
        loop {
            let sample = self.reader.snapshot().guards.clone().unwrap_or_default();
            if sample.len() == size {
                return sample;
            }
            assert!(self.reader.changed().await);
        }
    }

    /// Whom it stays connected to, once there are three.
    async fn kept_guards(&mut self) -> Vec<PeerId> {
        peers(&self.kept.wait_for(|kept| kept.len() == 3).await.unwrap())
    }
}

#[actix::test]
async fn it_stays_connected_to_its_guards_and_leaves_everybody_else_after_a_visit() {
    let mut world = guarded(config());
    let sample = world.sample_of(6).await;
    assert_eq!(world.kept_guards().await, sample[..3]);
    let others: BTreeSet<_> = NODES.map(peer).filter(|peer| !sample.contains(peer)).collect();
    // Those that were visited before the sample was full were left, too.
    while !world.network(|network| others.iter().all(|peer| network.left.contains(peer))) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix::test]
async fn a_guard_that_dies_is_skipped_and_has_its_place_back_when_it_lives() {
    let mut world = guarded(config());
    let sample = world.sample_of(6).await;
    world.kept_guards().await;
    let first = NODES.into_iter().find(|seed| peer(*seed) == sample[0]).unwrap();
    world.kill(first);
    world.tell(wakumix_role_api::host::PeerEvent::Disconnected { peer: sample[0] });
    let others: Vec<_> = sample[1..4].to_vec();
    world.kept.wait_for(|kept| peers(kept) == others).await.unwrap();
    world.revive(first);
    world.kept.wait_for(|kept| peers(kept) == sample[..3]).await.unwrap();
    assert_eq!(world.sample_of(6).await, sample, "nobody has taken its place");
}

#[actix::test]
async fn the_sample_outlives_the_node_that_drew_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = || Config { guards: Some(folder.path().join("guards.json")), ..config() };
    let mut world = guarded(config());
    let sample = world.sample_of(6).await;
    assert!(world.discovery.stop(tokio::time::Instant::now() + Duration::from_secs(5)).await);
    tokio::time::resume();
    let mut next = guarded(config());
    assert_eq!(next.sample_of(6).await, sample);
    assert_eq!(next.kept_guards().await, sample[..3]);
}
