//! What the client promises, over a mix network in memory that runs the decisions of nodes (`docs/sending.md`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails the test")]

mod guards;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use wakumix_client::{
    Anonymity, ClientError, Input, LoopOutcome, LoopRequest, Output, RequestId, TryId,
    lightpush::{Answer, Prepared, Push, PushFailure, PushReader, PushRules, Version},
};
use wakumix_mix::LoopPlace;
use wakumix_waku::{
    WakuMessage, frame,
    lightpush::{StatusCode, V2_PROTOCOL, V3_PROTOCOL, text, v2, v3},
};

use crate::world::{Service, World, peer};

const TOPIC: &str = "/waku/2/rs/2/0";
const REQUESTS: u64 = 10_000;

/// A relay that publishes what it does not know yet.
#[derive(Default)]
struct Relay {
    /// How often each payload was pushed.
    pushed: BTreeMap<Vec<u8>, u32>,
    /// Exits that say so and publish nothing.
    liars: BTreeSet<PeerId>,
}

impl Relay {
    fn is_new(&mut self, message: WakuMessage) -> bool {
        let times = self.pushed.entry(message.payload).or_default();
        *times += 1;
        *times == 1
    }
}

impl Service for Relay {
    fn serve(&mut self, at: PeerId, codec: &str, request: &[u8]) -> Option<Vec<u8>> {
        let (body, _) = frame::decode(request, 8192).unwrap().unwrap();
        Some(frame::encode(&match codec {
            V3_PROTOCOL => {
                let v3::Request { request_id, message, .. } = v3::Request::decode(body).unwrap();
                let (status_code, words, relay_peer_count) = if self.liars.contains(&at) || self.is_new(message) {
                    (StatusCode::SUCCESS, None, Some(3))
                } else {
                    (StatusCode::INVALID_MESSAGE, Some(text::DUPLICATE), None)
                };
                let status_desc = words.map(str::to_owned);
                v3::Response { request_id, status_code, status_desc, relay_peer_count }.encode()
            }
            V2_PROTOCOL => {
                let v2::PushRpc { request_id, request, .. } = v2::PushRpc::decode(body).unwrap();
                let is_success = self.is_new(request.unwrap().message);
                let info = Some(if is_success { text::V2_OK } else { text::V2_NOT_PUBLISHED }.to_owned());
                let response = Some(v2::PushResponse { is_success, info });
                v2::PushRpc { request_id, request: None, response }.encode()
            }
            other => panic!("{other}"),
        }))
    }
}

fn push(world: &mut World<Relay>, number: u64, len: usize, rules: PushRules) -> PushReader {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(len, 7);
    let message = WakuMessage { payload, content_topic: "/mixtest/1/chat/proto".to_owned(), ..WakuMessage::default() };
    let push = Push {
        message,
        pubsub_topic: Some(TOPIC.to_owned()),
        exit: None,
        timeout: None,
        anonymity: Anonymity::Required,
    };
    let Prepared { request, reader, .. } =
        push.prepare(&mut ChaCha20Rng::seed_from_u64(number), 1_756_000_000_000_000_000, rules).unwrap();
    world.feed(Input::Request(RequestId(number), Box::new(request)));
    reader
}

/// Pushes a message and plays the network until its outcome.
fn send(world: &mut World<Relay>, number: u64, len: usize, rules: PushRules) -> Result<Answer, PushFailure> {
    let reader = push(world, number, len, rules);
    let mut ended = world.run();
    let Some((id, Output::Ended(_, outcome))) = ended.pop() else { panic!("{ended:?}") };
    assert_eq!((id, ended.len()), (RequestId(number), 0));
    reader.outcome(outcome)
}

/// Mean and standard error of a sample.
struct Sample {
    mean: f64,
    error: f64,
}

impl Sample {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0);
        Self { mean, error: (variance / count).sqrt() }
    }

    /// Within two standard errors. A sample without any variance must hit exactly.
    fn is_about(&self, expected: f64) -> bool {
        (self.mean - expected).abs() <= (2.0 * self.error).max(1e-9)
    }
}

/// Figures of [`REQUESTS`] requests, one after the other.
struct Figures {
    /// Of the first try: whether a reply came back.
    first: Sample,
    /// Packets for a message.
    packets: Sample,
    unanswered: u64,
}

/// What requests cost where each link loses so many packets in a hundred; `learns` or has each its own client.
fn figures(loss_percent: u64, learns: bool) -> Figures {
    let mut world = World::new(12, 3, loss_percent, Relay::default(), 100 + loss_percent);
    let (mut first, mut packets, mut unanswered) = (Vec::new(), Vec::new(), 0);
    for number in 0..REQUESTS {
        let before = world.packets;
        match send(&mut world, number, 100, PushRules::default()) {
            Ok(answer) => assert_eq!((answer.kind(), answer.exposure.packets), ("confirmed", world.packets - before)),
            Err(PushFailure::Client(ClientError::Deadline { .. })) => unanswered += 1,
            Err(other) => panic!("{other}"),
        }
        world.finish();
        let first_try = TryId { request: RequestId(number), number: 0 };
        first.push(f64::from(u8::from(world.replied.remove(&first_try))));
        packets.push(f64::from(world.packets - before));
        world.replied.clear();
        if !learns {
            world.begin_anew();
        }
    }
    assert!(world.client.surbs().is_empty() && world.client.next_wake().is_none() && world.client.open_requests() == 0);
    let figures = Figures { first: Sample::of(&first), packets: Sample::of(&packets), unanswered };
    println!(
        "{loss_percent} % lost on each link, {}: first tries answered {:.4} ± {:.4}, packets for a message {:.4} ± {:.4}, \
         {unanswered} of {REQUESTS} without answer",
        if learns { "one client" } else { "a client each" },
        figures.first.mean,
        figures.first.error,
        figures.packets.mean,
        figures.packets.error,
    );
    figures
}

/// The share of tries that are answered with so many reply blocks: three links there, three back through each.
fn share(loss_percent: u32, reply_blocks: i32) -> f64 {
    let way = libm::pow(1.0 - f64::from(loss_percent) / 100.0, 3.0);
    way * (1.0 - libm::pow(1.0 - way, reply_blocks.into()))
}

/// A client that has seen no loss gives its first try one reply block, and its retries two. What has learnt of loss costs
/// less: see [`a_client_that_has_learnt_of_loss_protects_first_tries`].
fn check_without_learning(loss_percent: u32, first: f64, packets: f64) {
    let found = figures(loss_percent.into(), false);
    assert!((share(loss_percent, 1) - first).abs() < 0.0005);
    assert!(found.first.is_about(share(loss_percent, 1)), "{} ± {}", found.first.mean, found.first.error);
    let expected = 1.0 + (1.0 - share(loss_percent, 1)) / share(loss_percent, 2);
    assert!((expected - packets).abs() < 0.005, "{expected}");
    assert!(found.packets.is_about(expected), "{} ± {}, {expected}", found.packets.mean, found.packets.error);
}

#[test]
fn without_loss_every_first_try_is_answered_with_one_packet() {
    check_without_learning(0, 1.0, 1.0);
}

#[test]
fn with_one_packet_in_a_hundred_lost() {
    check_without_learning(1, 0.941, 1.06);
}

#[test]
fn with_five_packets_in_a_hundred_lost() {
    check_without_learning(5, 0.735, 1.315);
}

#[test]
fn with_ten_packets_in_a_hundred_lost() {
    check_without_learning(10, 0.531, 1.695);
}

/// Once it has seen much loss, a client gives first tries two reply blocks too, and so needs fewer packets.
#[test]
fn a_client_that_has_learnt_of_loss_protects_first_tries() {
    let found = figures(10, true);
    assert!(found.first.is_about(share(10, 2)), "{} ± {}", found.first.mean, found.first.error);
    assert!(found.packets.is_about(1.0 / share(10, 2)), "{} ± {}", found.packets.mean, found.packets.error);
    assert!(found.unanswered <= 3);
}

#[test]
fn dead_nodes_cost_tries_and_no_answers() {
    let mut world = World::new(12, 3, 0, Relay::default(), 1);
    (4..=5).for_each(|dead| world.kill(dead));
    let (mut tries, mut not_left) = (0, 0);
    for number in 0..100 {
        let answer = send(&mut world, number, 100, PushRules::default()).unwrap();
        assert_eq!((answer.kind(), answer.status), ("confirmed", 200));
        tries += answer.tries;
        not_left += answer.exposure.packets - answer.tries;
        world.finish();
    }
    assert!(tries > 100, "silence tells nobody which nodes are dead: {tries}");
    assert_eq!(not_left, world.not_left, "a first hop that is dead is seen at once and counts as no try");
}

#[test]
fn the_largest_payload_travels_in_fragments_under_loss() {
    let mut world = World::new(14, 3, 5, Relay::default(), 2);
    for number in 0..100 {
        let answer = send(&mut world, number, 4096, PushRules::default()).unwrap();
        assert_eq!(answer.kind(), "confirmed");
        assert!(answer.exposure.packets >= 2);
        world.finish();
    }
    assert_eq!(world.service.pushed.len(), 100);
}

#[test]
fn version_2_is_spoken_to_services_that_have_no_other() {
    let rules = PushRules { version: Version::V2, ..PushRules::default() };
    let mut world = World::new(8, 2, 0, Relay::default(), 3);
    let published = send(&mut world, 1, 100, rules).unwrap();
    assert_eq!((published.kind(), published.status, published.description.as_deref()), ("confirmed", 200, Some("OK")));
    let refused = send(&mut world, 1, 100, rules).unwrap();
    assert_eq!((refused.kind(), refused.status, refused.tries), ("refused", 505, 2), "both services have it already");
}

/// Pushes that were confirmed by so many services although nobody has published them. One exit of three lies.
fn lost_to_a_liar(confirmations: usize) -> usize {
    let relay = Relay { liars: BTreeSet::from([peer(1)]), ..Relay::default() };
    let mut world = World::new(12, 3, 1, relay, 6);
    let rules = PushRules { confirmations, ..PushRules::default() };
    for number in 0..60 {
        assert_eq!(send(&mut world, number, 100, rules).unwrap().kind(), "confirmed");
        world.finish();
    }
    60 - world.service.pushed.len()
}

#[test]
fn an_exit_that_throws_messages_away_is_believed_unless_a_second_service_is_asked() {
    assert!(lost_to_a_liar(1) > 0, "it was asked");
    assert_eq!(lost_to_a_liar(2), 0);
}

#[test]
fn what_one_service_says_is_unconfirmed_where_there_is_no_second_one() {
    let mut world = World::new(8, 1, 0, Relay::default(), 7);
    let rules = PushRules { confirmations: 2, ..PushRules::default() };
    let failure = send(&mut world, 1, 100, rules).unwrap_err();
    assert_eq!(failure, PushFailure::Client(ClientError::Unconfirmed { said: 1, needed: 2 }));
    assert_eq!(failure.kind(), "unconfirmed");
    let said = "1 of 2 services say that they have the message; it may have been published";
    assert_eq!(failure.to_string(), said);
}

#[test]
fn a_burst_is_paced_by_the_window_and_answered() {
    let mut world = World::new(12, 3, 1, Relay::default(), 4);
    let mut readers: BTreeMap<_, _> =
        (0..400).map(|number| (RequestId(number), push(&mut world, number, 100, PushRules::default()))).collect();
    assert_eq!((world.client.open_requests(), world.packets), (400, 64));
    let mut widest = 0;
    while !readers.is_empty() {
        widest = widest.max(world.client.window());
        for (id, output) in world.run() {
            let Output::Ended(_, outcome) = output else { panic!("{output:?}") };
            assert_eq!(readers.remove(&id).unwrap().outcome(outcome).unwrap().kind(), "confirmed");
        }
    }
    assert!(widest > 64, "a network that answers as fast as before bears more");
    world.finish();
    assert!(world.client.surbs().is_empty() && world.client.next_wake().is_none());
}

#[test]
fn a_loop_comes_back_through_its_node_or_is_lost_with_it() {
    let mut world = World::new(8, 2, 0, Relay::default(), 5);
    let outcome = |world: &mut World<Relay>, through, place| {
        let request = LoopRequest { through: peer(through), place, timeout: None };
        world.feed(Input::Loop(RequestId(0), request));
        let mut ended = world.run();
        let Some((_, Output::LoopEnded(_, outcome))) = ended.pop() else { panic!("{ended:?}") };
        outcome
    };
    for place in [LoopPlace::First, LoopPlace::Second] {
        assert!(matches!(outcome(&mut world, 3, place), Ok(LoopOutcome::Returned(_))));
    }
    world.kill(3);
    assert_eq!(outcome(&mut world, 3, LoopPlace::Second), Ok(LoopOutcome::Lost));
    assert!(matches!(outcome(&mut world, 3, LoopPlace::First), Err(ClientError::FirstHop(_))));
    assert_eq!(outcome(&mut world, 99, LoopPlace::First), Err(ClientError::NodeUnknown(peer(99))));
}
