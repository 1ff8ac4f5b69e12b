//! What a client with guards promises: one of them sees a request, whatever becomes of its packets, and one that is gone is
//! skipped at once.

use std::collections::BTreeSet;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng};
use wakumix_client::{
    Anonymity, ClientError, Input, Output, RequestId, TryId,
    lightpush::{Prepared, Push, PushFailure, PushRules},
};
use wakumix_waku::WakuMessage;

use crate::{
    Relay, Sample, TOPIC, send,
    world::{World, peer},
};

const SAMPLE: [u8; 6] = [7, 4, 11, 9, 5, 12];

/// Twelve mixers of which the first three serve, and six guards among the others.
fn guarded(loss_percent: u64, seed: u64) -> World<Relay> {
    let mut world = World::new(12, 3, loss_percent, Relay::default(), seed);
    world.keep_guards(&SAMPLE);
    world
}

#[test]
fn tries_and_fragments_of_a_request_all_go_over_one_guard() {
    let mut world = guarded(10, 1);
    let mut used = BTreeSet::new();
    for number in 0..200 {
        world.entries.clear();
        let answer = send(&mut world, number, if number % 2 == 0 { 100 } else { 4096 }, PushRules::default()).unwrap();
        assert_eq!((answer.kind(), answer.exposure.guards), ("confirmed", 1));
        assert_eq!(world.entries.len(), 1, "{:?}", answer.exposure);
        used.append(&mut world.entries);
        world.finish();
    }
    assert_eq!(used, [7, 4, 11].map(peer).into(), "those that are connected");
}

#[test]
fn a_guard_that_is_gone_is_skipped_at_once() {
    for seed in 0..30 {
        let mut world = guarded(0, seed);
        let reader = super::push(&mut world, 1, 100, PushRules::default());
        let first = world.entries.pop_first().unwrap();
        world.kill_peer(&first);
        world.feed(Input::Disconnected(first));
        let second = world.entries.pop_first().unwrap();
        assert_ne!(first, second, "the next try leaves before anything has timed out");
        let Some((_, Output::Ended(_, outcome))) = world.run().pop() else { panic!() };
        let answer = reader.outcome(outcome).unwrap();
        assert_eq!((answer.kind(), answer.exposure.guards), ("confirmed", 2));
    }
}

/// It stays connected and takes everything.
#[test]
fn a_guard_that_swallows_everything_is_left_for_another_one_in_use() {
    let mut world = guarded(0, 3);
    world.mute(7);
    let mut tries = 0;
    for number in 0..60 {
        let answer = send(&mut world, number, 100, PushRules::default()).unwrap();
        assert_eq!(answer.kind(), "confirmed");
        tries += answer.tries;
        world.finish();
    }
    assert!((64..80).contains(&tries), "four silent tries, and nothing more is sent over it: {tries}");
}

#[test]
fn without_a_guard_a_request_waits_for_one_and_nothing_leaves() {
    let mut world = World::new(12, 3, 0, Relay::default(), 1);
    world.keep_guards(&[]);
    let reader = super::push(&mut world, 1, 100, PushRules::default());
    let Some((_, Output::Ended(_, outcome))) = world.run().pop() else { panic!() };
    assert_eq!(reader.outcome(outcome), Err(PushFailure::Client(ClientError::NoGuard { sampled: 0 })));
    assert_eq!(world.packets, 0);

    let reader = super::push(&mut world, 2, 100, PushRules::default());
    world.keep_guards(&[5]);
    let Some((_, Output::Ended(_, outcome))) = world.run().pop() else { panic!() };
    assert!(matches!(reader.outcome(outcome), Ok(_) | Err(PushFailure::Client(ClientError::NoGuard { .. }))));
    assert_eq!(send(&mut world, 3, 100, PushRules::default()).unwrap().kind(), "confirmed");
}

/// A third of the mixers dies, guards among them, and their connections close.
#[test]
fn the_death_of_a_third_of_the_mixers_loses_no_message() {
    let mut tries = Vec::new();
    for seed in 0..100 {
        let mut world = guarded(0, seed);
        let mut draw = ChaCha20Rng::seed_from_u64(seed);
        let mut alive: Vec<u8> = (4..=12).collect();
        for _ in 0..3 {
            let at = usize::try_from(draw.next_u32()).unwrap() % alive.len();
            let dead = alive.swap_remove(at);
            world.kill(dead);
            world.feed(Input::Disconnected(peer(dead)));
        }
        // The node dials the next of the sample.
        let next = SAMPLE.into_iter().filter(|guard| alive.contains(guard)).take(3);
        next.for_each(|guard| world.feed(Input::Connected(peer(guard))));
        for number in 0..10 {
            let answer = send(&mut world, number, 100, PushRules::default()).unwrap();
            assert_eq!(answer.kind(), "confirmed");
            tries.push(f64::from(answer.tries));
            world.finish();
        }
    }
    let Sample { mean, error } = Sample::of(&tries);
    println!("a third of nine mixers dead: {mean:.2} ± {error:.2} tries per message");
}

/// The share of first tries that are answered: three links there, three back, as without guards.
#[test]
fn first_tries_over_guards_are_answered_as_often_as_without() {
    for (loss_percent, expected) in [(0, 1.0), (5, 0.735), (10, 0.531)] {
        let (mut first, mut world) = (Vec::new(), guarded(loss_percent, loss_percent));
        for number in 0..1000 {
            let _answered_or_not = send(&mut world, number, 100, PushRules::default());
            world.finish();
            first.push(f64::from(u8::from(world.replied.contains(&TryId { request: RequestId(number), number: 0 }))));
            world.begin_anew();
            world.keep_guards(&SAMPLE);
        }
        let found = Sample::of(&first);
        println!("{loss_percent} % lost on each link: first tries answered {:.4} ± {:.4}", found.mean, found.error);
        assert!((found.mean - expected).abs() <= (3.0 * found.error).max(0.001), "{} for {expected}", found.mean);
    }
}

/// Whoever keeps a node from its pool for a moment does not get to see who sends.
#[test]
fn what_prefers_anonymity_goes_directly_after_a_minute_without_a_pool_and_not_before() {
    let mut world = World::new(3, 1, 0, Relay::default(), 1);
    let ask = |world: &mut World<Relay>, number: u64| {
        let payload = number.to_be_bytes().to_vec();
        let content_topic = "/mixtest/1/chat/proto".to_owned();
        let message = WakuMessage { payload, content_topic, ..WakuMessage::default() };
        let pubsub_topic = Some(TOPIC.to_owned());
        let push = Push { message, pubsub_topic, exit: None, timeout: None, anonymity: Anonymity::Preferred };
        let mut rng = ChaCha20Rng::seed_from_u64(number);
        let Prepared { request, .. } = push.prepare(&mut rng, 1_756_000_000_000_000_000, PushRules::default()).unwrap();
        world.feed(Input::Request(RequestId(number), Box::new(request)));
        world.run().pop().unwrap().1
    };
    let Output::Ended(_, Err(early @ ClientError::NotYetDirect { .. })) = ask(&mut world, 1) else { panic!() };
    assert_eq!(early.kind(), "pool_too_small");
    assert!(early.to_string().contains("goes directly if that lasts 60 s longer"), "{early}");
    world.now = std::time::Duration::from_secs(59);
    assert!(matches!(ask(&mut world, 2), Output::Ended(_, Err(ClientError::NotYetDirect { .. }))));
    world.now = std::time::Duration::from_secs(60);
    assert!(matches!(ask(&mut world, 3), Output::AskDirectly { reason: Some(ClientError::PoolTooSmall { .. }), .. }));
}
