//! What a push finds in the first seconds of a node, whose pool is still being found and reached.

use std::time::Duration;

use tokio::time::Instant;
use wakumix_role_api::{
    Directory,
    directory::PoolState,
    sender::{Anonymity, ClientError, DeliveryPath, PushFailure},
};
use wakumix_sender::Config;

use crate::support::{AtExit, Outcomes, World, directory, message, peer};

/// The pool `1..=size` of a node whose sources search.
fn growing(size: u16) -> Directory {
    Directory { is_searching: true, ..directory(size) }
}

/// The pool `1..=size` with so many entries of the operator that have not been reached.
fn written(size: u16, unchecked: u32) -> Directory {
    let mut directory = directory(size);
    directory.pool.add_many(PoolState::Unchecked, unchecked);
    directory
}

/// Stops the clock too, as a test's first world does.
fn world(known: Directory) -> World {
    tokio::time::pause();
    another(known)
}

/// A further world of a test.
fn another(known: Directory) -> World {
    World::knowing(Config::default(), known)
}

/// Waits until a request is open.
async fn accepted(world: &World, outcome: &Outcomes) {
    while !world.metric("waku_mix_requests_pending 1") {
        assert!(!outcome.is_finished(), "refused at once");
        tokio::task::yield_now().await;
    }
}

/// The request at an exit, which must not have ended before; it is given up there.
async fn leaves(world: &mut World, mut outcome: Outcomes) -> AtExit {
    let at_exit = tokio::select! {
        ended = &mut outcome => panic!("{ended:?}"),
        at_exit = world.arrival() => at_exit,
    };
    outcome.abort();
    world.shows("waku_mix_requests_pending 0").await;
    at_exit
}

#[actix::test]
async fn a_request_waits_for_a_pool_that_is_being_found_and_leaves_when_it_is_there() {
    tokio::time::pause();
    for small in [growing(0), growing(3), written(3, 1)] {
        let mut world = another(small);
        let outcome = world.push(b"hello");
        accepted(&world, &outcome).await;
        world.around.directory.publish(growing(3));
        tokio::time::advance(Duration::from_secs(5)).await;
        world.around.directory.publish(directory(6));
        assert_eq!(leaves(&mut world, outcome).await.exit, peer(1));
        world.finished().await;
    }
}

#[actix::test]
async fn a_request_waits_for_an_exit_that_is_being_found() {
    let mut world = world(Directory { lightpush: Vec::new(), ..growing(6) });
    let outcome = world.push(b"hello");
    accepted(&world, &outcome).await;
    world.around.directory.publish(growing(6));
    leaves(&mut world, outcome).await;

    let outcome = world.push_with(message(b"hello"), Some(peer(7)), None);
    accepted(&world, &outcome).await;
    world.around.directory.publish(growing(7));
    assert_eq!(leaves(&mut world, outcome).await.exit, peer(7));
}

#[actix::test]
async fn a_pool_that_stays_too_small_is_refused_ten_seconds_after_the_start_or_at_the_deadline_of_the_request() {
    let world = world(growing(3));
    let start = Instant::now();
    let too_small = |outcome: Result<_, _>| {
        assert!(matches!(outcome, Err(PushFailure::Client(ClientError::PoolTooSmall { usable: 3, .. }))));
    };
    too_small(world.push_with(message(b"short"), None, Some(Duration::from_secs(2))).await.unwrap());
    assert_eq!(start.elapsed().as_secs(), 2);
    too_small(world.push_with(message(b"long"), None, Some(Duration::from_secs(30))).await.unwrap());
    assert_eq!(start.elapsed().as_secs(), 10);
    let asked = Instant::now();
    too_small(world.push(b"later").await.unwrap());
    assert_eq!(asked.elapsed(), Duration::ZERO, "by now the pool is what it is");
}

#[actix::test]
async fn where_there_is_nothing_to_wait_for_a_request_is_refused_at_once() {
    let world = world(directory(3));
    let asked = Instant::now();
    for known in [directory(3), written(2, 1), written(3, 0)] {
        world.around.directory.publish(known);
        let outcome = world.push(b"hello").await.unwrap();
        assert_eq!(outcome.unwrap_err().kind(), "pool_too_small", "nobody else can come");
    }
    world.around.directory.publish(Directory { lightpush: Vec::new(), ..directory(6) });
    assert_eq!(world.push(b"hello").await.unwrap().unwrap_err().kind(), "no_exit");
    assert_eq!(asked.elapsed(), Duration::ZERO);
}

#[actix::test]
async fn a_request_that_prefers_the_mixnet_waits_for_the_pool_like_others_and_goes_directly_after_a_minute_without_one()
{
    let mut world = world(growing(3));
    let asked = Instant::now();
    let early = world.push_as(Anonymity::Preferred, b"hello").await.unwrap().unwrap_err();
    assert_eq!((early.kind(), asked.elapsed().as_secs()), ("pool_too_small", 10));
    tokio::time::sleep(Duration::from_secs(50)).await;
    let outcome = world.push_as(Anonymity::Preferred, b"hello");
    world.serve_directly().await;
    let answer = outcome.await.unwrap().unwrap();
    let DeliveryPath::Direct(Some(reason)) = answer.path else { panic!() };
    assert_eq!(reason.kind(), "pool_too_small");
}
