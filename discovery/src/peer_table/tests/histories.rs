//! Random histories: whatever happens in whatever order, the table stays whole and forgets nobody that it must keep.

use proptest::prelude::*;

use super::*;

const PEERS: usize = 24;

#[derive(Clone, Debug)]
enum Step {
    Report { source: usize, peer: usize, version: u64, place: u32, key: u8, next: Option<u64>, expires: Option<u64> },
    Withdraw { source: usize, peer: usize, version: u64 },
    Reach(usize),
    Fail(usize),
    Connect(usize),
    Dial(usize, u32),
    Disconnect(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let report = (
        0..SourceName::ALL.len(),
        0..PEERS,
        0..4_u64,
        0..6_u32,
        1..4_u8,
        proptest::option::of(0..1200_u64),
        proptest::option::of(0..4000_u64),
    );
    let report = report.prop_map(|(source, peer, version, place, key, next, expires)| Step::Report {
        source,
        peer,
        version,
        place,
        key,
        next,
        expires,
    });
    let withdraw = (0..SourceName::ALL.len(), 0..PEERS, 0..4_u64);
    prop_oneof![
        8 => report,
        1 => withdraw.prop_map(|(source, peer, version)| Step::Withdraw { source, peer, version }),
        2 => (0..PEERS).prop_map(Step::Reach),
        2 => (0..PEERS).prop_map(Step::Fail),
        1 => (0..PEERS).prop_map(Step::Connect),
        2 => (0..PEERS, 0..6_u32).prop_map(|(peer, place)| Step::Dial(peer, place)),
        1 => (0..PEERS).prop_map(Step::Disconnect),
        2 => (0..2000_u64).prop_map(Step::Pass),
    ]
}

fn apply(world: &mut World, peers: &[PeerId], step: &Step) {
    match *step {
        Step::Report { source, peer, version, place, key: seed, next, expires } => {
            let now = world.now.unix;
            let report = PeerReport {
                addresses: at(place),
                mix_key: Some(key(seed)),
                next_key: next.map(|wait| (key(seed + 1), now + wait)),
                expires: expires.map(|wait| now + wait),
                ..record(peers[peer], version)
            };
            // Refusals are part of histories.
            let _ = world.report(SourceName::ALL[source], report);
        }
        Step::Withdraw { source, peer, version } => {
            let foreign = Shards { cluster: 9, shards: Vec::new() };
            let _ = world
                .report(SourceName::ALL[source], PeerReport { shards: Some(foreign), ..record(peers[peer], version) });
        }
        Step::Reach(peer) => world.reach(&peers[peer]),
        Step::Fail(peer) => world.fail(&peers[peer]),
        Step::Connect(peer) => {
            world.table.connected(peers[peer], world.now);
        }
        Step::Dial(peer, place) => {
            world.table.reached_at(peers[peer], at(place).remove(0), world.now, &mut world.rng);
        }
        Step::Disconnect(peer) => {
            world.table.disconnected(&peers[peer], true, world.now, &mut world.rng);
        }
        Step::Pass(seconds) => world.pass(seconds),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_table_stays_whole(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::with(Rules::of_cluster_2(secp256k1_peer(), 16));
        let peers: Vec<_> = (0..PEERS).map(|_| secp256k1_peer()).collect();
        for step in steps {
            let displaces = matches!(step, Step::Report { .. });
            let kept: Vec<_> = world.table.nodes().filter(|node| node.is_kept()).map(|node| node.peer).collect();
            apply(&mut world, &peers, &step);
            world.table.assert_whole();
            if displaces {
                for peer in kept {
                    prop_assert!(world.table.get(&peer).is_some(), "a node was displaced that must stay");
                }
            }
        }
    }
}
