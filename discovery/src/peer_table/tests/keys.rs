//! Which key counts, through any rotation, and which word on what a node is able to do.

use proptest::prelude::*;
use wakumix_sphinx::{FormatKind, FormatSet};

use super::*;
use crate::{peer_table::slot::KEY_CHANGE_INTERVAL, pool::View};

/// A record of one key and what follows it.
fn told(peer: PeerId, version: u64, now: u8, next: Option<(u8, UnixSeconds)>) -> PeerReport {
    let next_key = next.map(|(seed, at)| (key(seed), at));
    PeerReport { mix_key: Some(key(now)), next_key, ..record(peer, version) }
}

fn key_of(world: &World, peer: &PeerId) -> Option<PublicKey> {
    world.node(peer).view.key
}

#[test]
fn an_unannounced_key_may_change_once_in_a_while() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Discv5, told(peer, 1, 1, None)).unwrap();
    assert_eq!(world.report(SourceName::Discv5, told(peer, 2, 2, None)), Ok(true));
    world.pass(KEY_CHANGE_INTERVAL - 1);
    assert_eq!(world.report(SourceName::Discv5, told(peer, 3, 3, None)), Err(Refusal::KeyChange));
    assert_eq!(key_of(&world, &peer), Some(key(2)));
    world.pass(1);
    assert_eq!(world.report(SourceName::Discv5, told(peer, 3, 3, None)), Ok(true));
}

/// Five minutes and six hours fast: this node reaches each date before the others do.
#[test]
fn a_clock_that_is_fast_takes_up_no_key_that_its_node_has_not() {
    for fast in [0, 5 * 60, 6 * 60 * 60] {
        let (mut world, peer) = World::with_peer();
        // The node rotates once an hour, and each key opens packets for an hour more. It is visited every ten minutes.
        let word = |world: &World, turn: u64| PeerReport {
            key_slack: 30 * 60,
            told_at: Some(world.now.unix),
            ..told(peer, 1 + turn, u8::try_from(turn).unwrap() + 1, Some((turn_key(turn), START + 3600 * (turn + 1))))
        };
        world.pass(fast);
        for minutes in (0..600).step_by(10) {
            let turn = minutes / 60;
            let word = word(&world, turn);
            world.report(SourceName::Descriptors, word).unwrap();
            for _ in 0..10 {
                assert_eq!(
                    key_of(&world, &peer),
                    Some(key(u8::try_from(turn).unwrap() + 1)),
                    "{fast} s, {minutes} min"
                );
                world.pass(60);
            }
        }
    }
}

/// The key after this change.
fn turn_key(turn: u64) -> u8 {
    u8::try_from(turn).unwrap() + 2
}

#[test]
fn a_key_that_nobody_says_more_of_is_taken_up_late_while_the_old_one_still_opens() {
    let (mut world, peer) = World::with_peer();
    let announced = PeerReport { key_slack: 100, ..told(peer, 1, 1, Some((2, START + 20))) };
    world.report(SourceName::Descriptors, announced).unwrap();
    world.pass(119);
    assert_eq!(key_of(&world, &peer), Some(key(1)));
    world.pass(1);
    assert_eq!(key_of(&world, &peer), Some(key(2)));
}

#[test]
fn a_node_that_restarts_twice_in_a_minute_is_believed_to_itself_and_to_nobody_else() {
    let (mut world, peer) = World::with_peer();
    for seed in 1..=5 {
        let said = told(peer, u64::from(seed), seed, None);
        world.report(SourceName::Descriptors, PeerReport { told_at: Some(world.now.unix), ..said }).unwrap();
        assert_eq!(key_of(&world, &peer), Some(key(seed)));
        world.pass(1);
    }
    assert_eq!(world.report(SourceName::Descriptors, told(peer, 9, 9, None)), Err(Refusal::KeyChange));
}

#[test]
fn announced_keys_take_over_at_their_dates_without_another_word_and_as_often_as_they_are_announced() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Descriptors, told(peer, 1, 1, Some((2, START + 20)))).unwrap();
    for rotation in 1..10 {
        let turn = START + 20 * u64::from(rotation);
        world.pass(turn - 1 - world.now.unix);
        assert_eq!(key_of(&world, &peer), Some(key(rotation)), "a second before");
        world.pass(1);
        assert_eq!(key_of(&world, &peer), Some(key(rotation + 1)), "at the date, though nobody has said more");
        let next = told(peer, turn + 2, rotation + 1, Some((rotation + 2, turn + 20)));
        assert_eq!(world.report(SourceName::Descriptors, next), Ok(true));
    }
}

#[test]
fn a_node_changes_its_key_a_little_early_when_its_clock_is_ahead() {
    let (mut world, peer) = World::with_peer();
    world.report(SourceName::Descriptors, told(peer, 1, 1, Some((2, START + 60)))).unwrap();
    world.pass(58);
    world.report(SourceName::Descriptors, told(peer, 2, 2, Some((3, START + 120)))).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(2)));
    world.pass(62);
    assert_eq!(key_of(&world, &peer), Some(key(3)));
}

#[test]
fn a_key_that_has_been_replaced_does_not_come_back() {
    let (mut world, peer) = World::with_peer();
    let first = told(peer, 10, 1, Some((2, START + 60)));
    world.report(SourceName::Descriptors, first.clone()).unwrap();
    world.pass(60);
    // The same record once more: it is read as what it has become.
    let _ = world.report(SourceName::Descriptors, first);
    assert_eq!(key_of(&world, &peer), Some(key(2)));
    // A newer one of a node whose clock is behind.
    world.report(SourceName::Descriptors, told(peer, 11, 1, Some((2, START + 60)))).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(2)));
    // An older one.
    assert_eq!(world.report(SourceName::Descriptors, told(peer, 9, 1, None)), Err(Refusal::Replayed));
    // Others that still tell it, which they have a right to.
    for source in [SourceName::Discv5, SourceName::Rendezvous, SourceName::ServiceDiscovery, SourceName::Dns] {
        world.report(source, told(peer, 99, 1, None)).unwrap();
        assert_eq!(key_of(&world, &peer), Some(key(2)), "{source:?}");
    }
    world.pass(600);
    assert_eq!(key_of(&world, &peer), Some(key(2)));
}

#[test]
fn other_sources_do_not_bring_a_replaced_key_back_when_the_descriptor_is_over() {
    let (mut world, peer) = World::with_peer();
    let descriptor = told(peer, 10, 1, Some((2, START + 60)));
    world.report(SourceName::Discv5, told(peer, 5, 1, None)).unwrap();
    world.report(SourceName::Descriptors, PeerReport { expires: Some(START + 100), ..descriptor }).unwrap();
    world.reach(&peer);
    world.pass(200);
    assert_eq!((key_of(&world, &peer), world.state(&peer)), (None, PoolState::KeyUnknown));
    world.report(SourceName::Discv5, told(peer, 6, 2, None)).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(2)), "the node record has caught up");
    // A node that took its old key out of a backup says so itself.
    world.report(SourceName::Descriptors, told(peer, 1000, 1, None)).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(1)));
}

#[test]
fn an_operators_entry_does_not_outlive_the_key_that_it_names() {
    let (mut world, peer) = World::with_peer();
    let entry = PeerReport { addresses: at(1), mix_key: Some(key(1)), ..PeerReport::new(peer, 0) };
    world.report(SourceName::Static, entry.clone()).unwrap();
    world.report(SourceName::Descriptors, told(peer, 10, 1, Some((2, START + 60)))).unwrap();
    world.pass(60);
    assert_eq!(key_of(&world, &peer), Some(key(2)));
    world.report(SourceName::Static, entry).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(2)), "names are resolved again and again");
}

#[test]
fn a_cache_of_before_a_rotation_is_read_as_what_it_has_become() {
    let mut world = World::new();
    let (peer, now) = (secp256k1_peer(), world.now);
    let cached = told(peer, 10, 1, Some((2, START - 5)));
    world.table.remember(SourceName::Descriptors, cached, now.instant_of(START - 60), now, &mut world.rng).unwrap();
    assert_eq!((key_of(&world, &peer), world.state(&peer)), (Some(key(2)), PoolState::Usable));
    world.report(SourceName::Discv5, told(peer, 3, 1, None)).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(2)), "a node record may be older than the cache");
    // Two rotations have been missed.
    world.report(SourceName::Descriptors, told(peer, 20, 4, Some((5, START + 50)))).unwrap();
    assert_eq!(key_of(&world, &peer), Some(key(4)));
    world.pass(50);
    assert_eq!(key_of(&world, &peer), Some(key(5)));
}

#[test]
fn who_passes_records_on_sees_that_they_tell_different_keys_but_none_that_is_over() {
    let (mut world, peer) = World::with_peer();
    let keys = |world: &World| {
        let known = known(world.table.nodes(), world.now.unix);
        known.iter().map(|known| known.report.mix_key).collect::<Vec<_>>()
    };
    let descriptor = told(peer, 10, 1, Some((2, START + 60)));
    let record = Some(crate::peer_report::SignedRecord::Descriptor(vec![1]));
    world.report(SourceName::Descriptors, PeerReport { record, ..descriptor }).unwrap();
    let record = Some(crate::peer_report::SignedRecord::NodeRecord(vec![2]));
    world.report(SourceName::Discv5, PeerReport { record: record.clone(), ..told(peer, 1, 1, None) }).unwrap();
    assert_eq!(keys(&world), [Some(key(1)); 2]);
    world.pass(60);
    assert_eq!(keys(&world), [Some(key(2)); 2]);
    world.report(SourceName::Discv5, PeerReport { record, ..told(peer, 2, 3, None) }).unwrap();
    assert_eq!(keys(&world), [Some(key(2)), Some(key(3))], "perhaps the descriptor is the older one");
}

#[test]
fn a_peers_own_descriptor_says_what_it_is_able_to_do_and_an_entry_stands_until_it_has_come() {
    let (mut world, peer) = World::with_peer();
    let able = |world: &World| {
        let view = View::of(&world.table, None, None);
        view.mix_nodes.iter().map(|node| (node.formats, node.reassembles)).collect::<Vec<_>>()
    };
    let both = FormatSet::MIX.with(FormatKind::SphinxPacket);
    let entry = PeerReport { addresses: at(1), mix_key: Some(key(1)), ..PeerReport::new(peer, 0) };
    world.report(SourceName::Static, entry.clone()).unwrap();
    assert_eq!(able(&world), [(FormatSet::MIX, false)], "an entry of the configuration tells nothing of it");
    let given = PeerReport { formats: Some(both), reassembles: Some(true), ..entry };
    world.report(SourceName::Static, given).unwrap();
    assert_eq!(able(&world), [(both, true)]);
    let descriptor =
        PeerReport { profiles: Some(vec![WireFormat::default()]), reassembles: Some(false), ..record(peer, 1) };
    world.report(SourceName::Descriptors, descriptor.clone()).unwrap();
    assert_eq!(able(&world), [(FormatSet::MIX, false)]);
    let upgraded = vec![WireFormat::default(), WireFormat::SphinxPacket];
    let upgraded = PeerReport { profiles: Some(upgraded), reassembles: Some(true), version: 2, ..descriptor };
    world.report(SourceName::Descriptors, upgraded).unwrap();
    assert_eq!(able(&world), [(both, true)]);
}

#[test]
fn a_node_is_full_while_its_own_descriptor_says_so() {
    let (mut world, peer) = World::with_peer();
    let entry = PeerReport { addresses: at(1), mix_key: Some(key(1)), ..PeerReport::new(peer, 0) };
    world.report(SourceName::Static, entry).unwrap();
    assert!(!world.node(&peer).view.is_full);
    for (version, is_full) in [(1, true), (2, false)] {
        let descriptor = PeerReport { is_full: Some(is_full), ..record(peer, version) };
        world.report(SourceName::Descriptors, descriptor).unwrap();
        assert_eq!(world.node(&peer).view.is_full, is_full);
    }
}

#[test]
fn the_pool_has_every_node_that_shares_a_kind_of_packets_with_this_one() {
    let sphinx_packet = FormatSet::default().with(FormatKind::SphinxPacket);
    let (lioness, second) = (WireFormat::default(), WireFormat::SphinxPacket);
    let foreign: WireFormat = "aes-ctr/seq".parse().unwrap();
    // (what this node speaks, what another has told, whether it is an entry, what both speak; `None`: it is not in the pool)
    for (ours, theirs, is_entry, formats) in [
        (vec![lioness], Some(vec![lioness, second]), false, Some(FormatSet::MIX.with(FormatKind::SphinxPacket))),
        (vec![lioness], Some(vec![second]), false, None),
        (vec![lioness], Some(Vec::new()), false, None),
        (vec![lioness], None, false, Some(FormatSet::MIX)),
        (vec![lioness, second], None, false, Some(FormatSet::MIX)),
        (vec![lioness, second], Some(vec![foreign, second]), false, Some(sphinx_packet)),
        (vec![second], Some(vec![foreign, second]), false, Some(FormatSet::MIX.with(FormatKind::SphinxPacket))),
        (vec![second], Some(vec![lioness]), false, None),
        (vec![second], None, false, Some(sphinx_packet)),
        (vec![second], None, true, Some(sphinx_packet)),
    ] {
        let mut world = World::with(Rules { profiles: ours.clone(), ..Rules::of_cluster_2(secp256k1_peer(), 400) });
        let peer = secp256k1_peer();
        if is_entry {
            let entry = PeerReport { addresses: at(1), mix_key: Some(key(1)), ..PeerReport::new(peer, 0) };
            world.report(SourceName::Static, entry).unwrap();
        }
        world.report(SourceName::Descriptors, PeerReport { profiles: theirs.clone(), ..record(peer, 1) }).unwrap();
        world.reach(&peer);
        let pool = View::of(&world.table, None, None).mix_nodes;
        let found: Vec<_> = pool.iter().map(|node| node.formats).collect();
        assert_eq!(found, formats.into_iter().collect::<Vec<_>>(), "{ours:?} {theirs:?}");
        assert_eq!(world.state(&peer) == PoolState::OtherProfile, formats.is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_unannounced_key_changes_no_faster_than_the_rule_allows(
        steps in proptest::collection::vec((0..40_u64, 1..6_u8), 1..40),
    ) {
        let mut world = World::new();
        let peer = secp256k1_peer();
        let mut changes = Vec::new();
        let mut current = None;
        for (version, (wait, seed)) in (1..).zip(steps) {
            world.pass(wait);
            let _ = world.report(SourceName::Descriptors, told(peer, version, seed, None));
            let key = key_of(&world, &peer);
            if current.is_some() && key != current {
                changes.push(world.now.unix);
            }
            current = key;
        }
        for pair in changes.windows(2) {
            prop_assert!(pair[1] - pair[0] >= KEY_CHANGE_INTERVAL, "{changes:?}");
        }
    }
}
