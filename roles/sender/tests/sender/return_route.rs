//! Replies to senders that nobody can dial, and loops.

use std::time::Duration;

use crate::support::{ME, World, cannot_leave, directory, node, peer, response};
use wakumix_mix::{HopAddress, LoopPlace, Outcome};
use wakumix_role_api::{
    Directory,
    host::{HostAddresses, Reachability, SendFailure},
    sender::{ClientError, LoopOutcome},
};
use wakumix_sender::Config;
use wakumix_waku::lightpush::StatusCode;

fn connected_to(seeds: &[u16]) -> Directory {
    Directory { connected: seeds.iter().copied().map(peer).collect(), ..directory(6) }
}

fn private() -> HostAddresses {
    HostAddresses { reachability: Reachability::Private, ..HostAddresses::default() }
}

#[actix::test]
async fn replies_to_a_sender_behind_nat_end_at_a_node_that_it_is_connected_to() {
    let mut world = World::new(Config::default());
    world.around.host_addresses.send_replace(private());
    world.around.directory.publish(connected_to(&[4]));
    for _ in 0..5 {
        let outcome = world.push(b"hello");
        let mut at_exit = world.arrival().await;
        let surb = at_exit.surbs.pop().unwrap();
        assert_ne!(HopAddress::decode(&surb.hop).unwrap().peer(), peer(4), "the connected node is the last hop");
        let reply = world.answer(surb, &response(&at_exit.request, StatusCode::SUCCESS, 1));
        assert_eq!(reply.way[1], peer(4));
        world.reply(&reply).await;
        assert_eq!(outcome.await.unwrap().unwrap().status, 200);
    }
    world.around.directory.publish(connected_to(&[]));
    assert_eq!(world.push(b"hello").await.unwrap(), Err(ClientError::NoConnectedHop.into()));
    assert!(world.metric("waku_mix_requests_total{outcome=\"no_connected_hop\"} 1"));
}

#[actix::test]
async fn a_sender_without_any_address_gets_its_replies_over_a_connection() {
    let mut world = World::new(Config::default());
    world.around.hop_address.send_replace(None);
    world.around.directory.publish(connected_to(&[2, 3]));
    assert_eq!(world.role.ready(), Ok(()));
    let outcome = world.push(b"hello");
    let mut at_exit = world.arrival().await;
    let reply = world.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, StatusCode::SUCCESS, 1));
    assert_eq!(reply.address, HopAddress::placeholder(peer(ME)).unwrap());
    assert!([peer(2), peer(3)].contains(&reply.way[1]));
    world.reply(&reply).await;
    assert_eq!(outcome.await.unwrap().unwrap().status, 200);
}

#[actix::test]
async fn a_sender_without_an_address_waits_for_a_connection_in_its_first_seconds_and_names_a_small_pool_first() {
    let mut world = World::new(Config::default());
    world.around.hop_address.send_replace(None);
    world.around.directory.publish(directory(3));
    assert_eq!(world.push(b"hello").await.unwrap().unwrap_err().kind(), "pool_too_small");
    world.around.directory.publish(connected_to(&[]));
    let outcome = world.push(b"hello");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!outcome.is_finished());
    world.around.directory.publish(connected_to(&[2]));
    let mut at_exit = world.arrival().await;
    let reply = world.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, StatusCode::SUCCESS, 1));
    world.reply(&reply).await;
    assert_eq!(outcome.await.unwrap().unwrap().status, 200);
    world.around.directory.publish(connected_to(&[]));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(world.push(b"hello").await.unwrap().unwrap_err().kind(), "no_reply_address");
}

#[actix::test]
async fn a_sender_that_gets_no_answers_says_so_and_where_they_were_to_come() {
    tokio::time::pause();
    for (address, way) in [
        (None, "over the connections of this node, for nobody can dial it"),
        (Some(node(ME).address), "so check that others can reach that"),
    ] {
        let mut world = World::knowing(Config::default(), connected_to(&[2, 3]));
        world.around.hop_address.send_replace(address);
        let mut codes = Vec::new();
        let mut last = None;
        while codes.len() < 4 {
            let mut outcome = world.push(b"lost");
            let failure = loop {
                let packet = tokio::select! {
                    ended = &mut outcome => break ended.unwrap().unwrap_err(),
                    packet = world.dispatch() => packet,
                };
                // It reaches its exit, and no answer comes.
                world.carry(packet);
            };
            codes.push(failure.kind());
            last = Some(failure);
        }
        assert_eq!((codes[0], codes[3]), ("deadline", "no_replies"), "{codes:?}");
        let (last, lack) = (last.unwrap(), world.role.ready().unwrap_err());
        assert!(last.tries_until_deadline().is_some_and(|tries| tries > 1), "{last}");
        for said in [last.to_string(), lack] {
            assert!(said.contains("tries of this node was answered") && said.contains(way), "{said}");
        }
        // A node that nobody asks any more is ready again.
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(world.role.ready(), Ok(()));

        let outcome = world.push(b"hello");
        let mut at_exit = world.arrival().await;
        let reply = world.answer(at_exit.surbs.pop().unwrap(), &response(&at_exit.request, StatusCode::SUCCESS, 1));
        world.reply(&reply).await;
        assert_eq!(outcome.await.unwrap().unwrap().status, 200);
        assert_eq!(world.role.ready(), Ok(()));
    }
}

#[actix::test]
async fn a_loop_passes_its_node_and_comes_back() {
    let mut world = World::new(Config::default());
    for (place, at) in [(LoopPlace::First, 0), (LoopPlace::Second, 1)] {
        let outcome = world.probe(peer(5), place, None);
        let looped = world.looped().await;
        assert_eq!(looped.way[at], peer(5));
        tokio::time::sleep(Duration::from_millis(70)).await;
        world.reply(&looped).await;
        let Ok(LoopOutcome::Returned(after)) = outcome.await.unwrap() else { panic!("it did not come back") };
        assert!(after >= Duration::from_millis(70));
    }
    world.finished().await;
    assert_eq!((world.around.balance().sent, world.around.balance().replied), (2, 2));
    assert!(world.has_no_credentials());
    assert!(world.metric("waku_mix_loops_total{outcome=\"returned\"} 2"));
}

#[actix::test]
async fn a_lost_loop_is_told_and_frees_its_credentials() {
    let mut world = World::new(Config::default());
    let outcome = world.probe(peer(5), LoopPlace::First, Some(Duration::from_secs(2)));
    world.dispatch().await.packet.finish(Outcome::Sent);
    assert_eq!(outcome.await.unwrap(), Ok(LoopOutcome::Lost));
    assert!(world.has_no_credentials());
    assert!(world.metric("waku_mix_loops_total{outcome=\"lost\"} 1"));
    world.finished().await;
}

#[actix::test]
async fn a_loop_that_cannot_leave_says_why() {
    let mut world = World::new(Config { in_flight: 1, ..Config::default() });
    let unknown = world.probe(peer(99), LoopPlace::First, None).await.unwrap();
    assert_eq!(unknown, Err(ClientError::NodeUnknown(peer(99))));

    let outcome = world.probe(peer(5), LoopPlace::First, None);
    let local = world.dispatch().await;
    let full = world.probe(peer(5), LoopPlace::First, None).await.unwrap();
    assert_eq!(full, Err(ClientError::Busy), "a loop counts as a request");
    cannot_leave(local);
    assert_eq!(outcome.await.unwrap(), Err(ClientError::FirstHop(SendFailure::DialFailed)));

    world.around.directory.publish(Directory { mix_nodes: vec![node(5)], ..directory(1) });
    let small = world.probe(peer(5), LoopPlace::First, None).await.unwrap();
    assert!(matches!(small, Err(ClientError::PoolTooSmall { usable: 1, needed: 2, .. })), "{small:?}");
    world.finished().await;
    assert!(world.metric("waku_mix_loops_total{outcome=\"failed\"} 4"));
}

#[actix::test]
async fn a_loop_ends_with_its_sender() {
    let mut world = World::new(Config::default());
    let lost = world.probe(peer(5), LoopPlace::First, None);
    world.dispatch().await.packet.finish(Outcome::Sent);
    world.role.actor().inject_panic().await;
    assert!(matches!(lost.await.unwrap(), Err(ClientError::Internal(_))));
    let stopped = world.probe(peer(5), LoopPlace::First, None);
    world.dispatch().await.packet.finish(Outcome::Sent);
    world.stop(Duration::from_secs(1)).await;
    assert_eq!(stopped.await.unwrap(), Err(ClientError::Stopped));
    assert_eq!(world.probe(peer(5), LoopPlace::First, None).await.unwrap(), Err(ClientError::Stopped));
}
