//! Ten thousand well-formed lies from each source.

use super::*;

/// Honest nodes of each kind.
const HONEST: u32 = 40;
/// Lies of each source.
const LIES: u32 = 10_000;
/// Sources that others feed.
const FED: [SourceName; 6] = [
    SourceName::Discv5,
    SourceName::Descriptors,
    SourceName::Rendezvous,
    SourceName::ServiceDiscovery,
    SourceName::PeerExchange,
    SourceName::Dns,
];

/// A peer id that costs nothing to make, as a liar's does not.
fn liar() -> PeerId {
    PeerId::random()
}

fn flood(world: &mut World, source: SourceName) {
    for index in 0..LIES {
        // Spread over the whole network: 10,000 addresses in as many subnets.
        let lie = PeerReport { addresses: at(0x40_0000 + index * 0x100), ..record(liar(), 1) };
        // Refused or taken: both are fine, the peer table stays whole.
        let _ = world.table.report(source, lie, world.now, &mut world.rng);
    }
}

fn honest(world: &mut World, source: SourceName, offset: u32) -> Vec<PeerId> {
    let peers: Vec<_> = (0..HONEST).map(|_| secp256k1_peer()).collect();
    for (index, peer) in (0..).zip(&peers) {
        let report = PeerReport { addresses: at(offset + index * 0x100), ..record(*peer, 1) };
        assert_eq!(world.report(source, report), Ok(true));
    }
    peers
}

fn present(world: &World, peers: &[PeerId]) -> usize {
    peers.iter().filter(|peer| world.table.get(peer).is_some()).count()
}

#[test]
fn no_node_that_lives_is_displaced_and_memory_is_bounded() {
    let mut world = World::with(Rules::of_cluster_2(secp256k1_peer(), 2000));
    let alive = honest(&mut world, SourceName::Discv5, 0);
    alive.iter().for_each(|peer| world.reach(peer));
    let entries = honest(&mut world, SourceName::Static, 0x10_0000);
    for source in FED {
        flood(&mut world, source);
        world.table.assert_whole();
    }
    assert_eq!(present(&world, &alive) + present(&world, &entries), 2 * HONEST as usize);
    assert_eq!(world.table.len(), 2000);
    assert!(world.table.subnet_limits.len() <= 2 * 2000, "{}", world.table.subnet_limits.len());
    let late = honest(&mut world, SourceName::Discv5, 0x20_0000);
    assert!(present(&world, &late) >= HONEST as usize * 9 / 10, "a full table lets new nodes in");
}

#[test]
fn a_flood_of_one_source_leaves_the_unverified_peers_of_the_others_alone() {
    let mut world = World::with(Rules::of_cluster_2(secp256k1_peer(), 2000));
    let unverified = honest(&mut world, SourceName::Rendezvous, 0);
    flood(&mut world, SourceName::Discv5);
    assert_eq!(present(&world, &unverified), HONEST as usize);
    assert_eq!(world.table.quota.of(SourceName::Discv5), 500, "a quarter");
}

#[test]
fn a_flood_from_one_address_takes_sixteen_places() {
    let mut world = World::new();
    for version in 0..u64::from(LIES) {
        // The first ones enter, the rest is refused.
        let _ = world.table.report(SourceName::Discv5, record(liar(), version), world.now, &mut world.rng);
    }
    assert_eq!(world.table.len(), MAX_UNTRIED_PER_ADDRESS as usize);
}

#[test]
fn lies_that_were_tried_in_vain_leave_before_unverified_peers_that_were_not() {
    let mut world = World::with(Rules::of_cluster_2(secp256k1_peer(), 400));
    flood(&mut world, SourceName::Discv5);
    let lies: Vec<_> = world.table.nodes().map(|node| node.peer).collect();
    lies.iter().for_each(|peer| world.fail(peer));
    let unverified = honest(&mut world, SourceName::Discv5, 0);
    assert_eq!(present(&world, &unverified), HONEST as usize);
}
