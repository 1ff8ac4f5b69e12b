//! What a node tells of itself.

use std::{sync::Arc, time::Duration};

use wakumix_records::descriptor::{Descriptor, DescriptorLimits, MAX_ADDRESSES, MAX_SKEW, Request};
use wakumix_role_api::Requester;
use wakumix_waku::record::Capabilities;

use super::support::{ME, NOW, World, ask, local, mix_key, peer};
use crate::{
    LocalRecord,
    sources::descriptors::{
        DescriptorsConfig,
        own::{LIFETIME, RENEW_AFTER, describe, next_issue},
    },
};

fn described(record: &LocalRecord) -> Option<Descriptor> {
    describe(record, DescriptorLimits { packets_per_second: 9, longest_hold_ms: 9, key_overlap_s: 9 }, NOW)
}

/// The own descriptor as a peer receives it.
async fn own(world: &World) -> Option<Descriptor> {
    let from = Requester::Peer(libp2p_identity::PeerId::random());
    let answer = ask(world.node.service(), from, Request::Own.encode()).await.unwrap();
    assert!(answer.len() <= 1);
    let bytes = answer.first()?;
    let times = Descriptor::times(bytes).unwrap();
    Some(Descriptor::open(bytes, times.issued).unwrap())
}

fn quiet(record: LocalRecord) -> World {
    World::start(DescriptorsConfig::default(), record, Vec::new(), |_, _| unreachable!("nobody is known"))
}

#[test]
fn a_mixer_tells_everything() {
    let told = described(&local(Capabilities::RELAY | Capabilities::MIX)).unwrap();
    assert_eq!((told.peer, told.issued, told.expires), (peer(ME), NOW, NOW + LIFETIME));
    assert_eq!((told.mix_key, told.capabilities), (Some(mix_key(ME)), Capabilities::RELAY | Capabilities::MIX));
    assert_eq!((told.operator.as_deref(), told.family.len()), (Some("example.org"), 1));
    assert_eq!(told.limits.packets_per_second, 9);
}

#[test]
fn a_node_tells_what_follows_its_key_and_what_it_is_able_to_do_only_while_it_mixes() {
    let next_key = Some((mix_key(1), NOW + 60));
    let able = |capabilities| LocalRecord { next_key, reassembles: true, ..local(capabilities) };
    let told = described(&able(Capabilities::MIX)).unwrap();
    assert_eq!((told.next_key, told.reassembles), (next_key, true));
    let told = described(&able(Capabilities::RELAY)).unwrap();
    assert_eq!((told.next_key, told.reassembles), (None, false));
    assert!(!told.is_full && described(&LocalRecord { is_full: true, ..local(Capabilities::RELAY) }).unwrap().is_full);
    let told = described(&local(Capabilities::MIX)).unwrap();
    assert_eq!((told.next_key, told.reassembles), (None, false));
}

#[tokio::test]
async fn a_rotation_is_told_within_two_seconds() {
    let rotated = |seed| LocalRecord {
        mix_key: Some(mix_key(seed)),
        next_key: Some((mix_key(seed + 1), NOW + 60 * u64::from(seed))),
        ..local(Capabilities::MIX)
    };
    let world = quiet(rotated(1));
    world.pass(1).await;
    for seed in 2..10 {
        world.node.local.send_replace(Arc::new(rotated(seed)));
        world.pass(2).await;
        let told = own(&world).await.unwrap();
        assert_eq!((told.mix_key, told.next_key), (rotated(seed).mix_key, rotated(seed).next_key));
    }
}

#[test]
fn a_node_that_does_not_mix_now_does_not_say_that_it_mixes() {
    let not_ready = described(&local(Capabilities::RELAY)).unwrap();
    let keyless = LocalRecord { mix_key: None, ..local(Capabilities::RELAY | Capabilities::MIX) };
    for told in [not_ready, described(&keyless).unwrap()] {
        assert_eq!(
            (told.mix_key, told.capabilities, told.limits),
            (None, Capabilities::RELAY, DescriptorLimits::default())
        );
    }
}

#[test]
fn a_sender_and_a_node_without_address_tell_nothing() {
    assert_eq!(described(&local(Capabilities::NONE)), None);
    assert_eq!(described(&LocalRecord { mix_key: None, ..local(Capabilities::MIX) }), None);
    assert_eq!(described(&LocalRecord { addresses: Vec::new(), ..local(Capabilities::MIX) }), None);
}

#[test]
fn times_of_issue_rise_whatever_the_clock_does() {
    assert_eq!(next_issue(0, NOW), NOW);
    assert_eq!(next_issue(NOW, NOW), NOW + 1);
    assert_eq!(next_issue(NOW, NOW - MAX_SKEW), NOW + 1);
    assert_eq!(next_issue(NOW, NOW - MAX_SKEW - 1), NOW - MAX_SKEW - 1);
}

#[tokio::test]
async fn the_least_preferred_addresses_go_when_they_are_too_long_together() {
    let long = |index: usize| format!("/dns4/{index}{}/tcp/443/wss", "n".repeat(240)).parse().unwrap();
    let record = LocalRecord { addresses: (0..2 * MAX_ADDRESSES).map(long).collect(), ..local(Capabilities::MIX) };
    let first = record.addresses[0].clone();
    let world = quiet(record);
    world.pass(1).await;
    let told = own(&world).await.unwrap();
    assert_eq!(told.addresses[0], first);
    assert!((4..MAX_ADDRESSES).contains(&told.addresses.len()), "{}", told.addresses.len());
}

#[tokio::test]
async fn follows_what_the_node_is() {
    let world = quiet(local(Capabilities::NONE));
    world.pass(1).await;
    assert_eq!(own(&world).await, None);
    world.node.local.send_replace(Arc::new(local(Capabilities::MIX)));
    world.pass(2).await;
    let mixing = own(&world).await.unwrap();
    assert_eq!(mixing.mix_key, Some(mix_key(ME)));
    world.node.local.send_replace(Arc::new(local(Capabilities::RELAY)));
    world.pass(2).await;
    let relaying = own(&world).await.unwrap();
    assert_eq!(relaying.mix_key, None);
    assert!(relaying.issued > mixing.issued);
}

#[tokio::test]
async fn is_renewed_before_half_its_life_is_over() {
    let world = quiet(local(Capabilities::MIX));
    world.pass(1).await;
    let first = own(&world).await.unwrap();
    tokio::time::sleep(RENEW_AFTER).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let second = own(&world).await.unwrap();
    assert!(second.issued > first.issued);
    assert!(second.issued < first.issued + LIFETIME / 2);
}
