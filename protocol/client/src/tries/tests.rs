//! When tries go out and how requests end.

mod confirmations;

use wakumix_mix::{ExitStatus, random};

use super::*;
use crate::{
    ServiceKind,
    conditions::Conditions,
    testing::{peer, rng},
};

const LIMIT: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(1);

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn tries() -> Tries {
    Tries::new(LIMIT, at(300))
}

/// A timeout that was not changed meanwhile.
fn unchanged(_: u32, waited: Duration) -> Duration {
    waited
}

fn to(service: u8) -> Sent {
    let hops = vec![peer(10 + service), peer(20 + service)];
    let (exit, ends) = (peer(service), hops.clone());
    Sent { service: peer(service), exit, ends, hops, packets: 1, reply_paths: 1, spare: 0 }
}

/// An answer that the tests recognise.
const WORDS: &[u8] = b"the answer";

fn said(answer: &[u8]) -> LastAnswer {
    LastAnswer { answer: answer.to_vec(), is_repeat: false }
}

fn said_of_repeat(answer: &[u8]) -> LastAnswer {
    LastAnswer { answer: answer.to_vec(), is_repeat: true }
}

fn no_exit() -> ClientError {
    ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None }
}

/// Tries at these services, each silent but the last, which has just left; the time.
fn after_tries(tries: &mut Tries, services: &[u8]) -> Duration {
    let mut now = Duration::ZERO;
    for (index, &service) in services.iter().enumerate() {
        if index > 0 {
            now += TIMEOUT;
            assert!(tries.time_out(now, unchanged));
        }
        assert_eq!(tries.step(now), Step::Try);
        tries.sent(now, to(service), TIMEOUT);
    }
    now
}

/// Tries at these services, each silent but the last.
fn tried(services: &[u8]) -> Tries {
    let mut tries = tries();
    after_tries(&mut tries, services);
    tries
}

fn answered(tries: &mut Tries, number: usize, meaning: Meaning) -> Option<LastAnswer> {
    tries.answered(at(5000), number, (meaning, WORDS.to_vec()), false, 0.5)
}

#[test]
fn a_try_is_awaited_until_it_times_out_and_stays_answerable() {
    let mut tries = tries();
    let now = after_tries(&mut tries, &[1]);
    assert_eq!(tries.step(now), Step::WaitUntil(TIMEOUT));
    assert!(!tries.time_out(TIMEOUT - at(1), unchanged));
    assert!(tries.time_out(TIMEOUT, unchanged));
    assert_eq!(tries.step(TIMEOUT), Step::Try);
    tries.sent(TIMEOUT, to(2), TIMEOUT);
    assert_eq!(answered(&mut tries, 0, Meaning::Done), Some(said(WORDS)));
    assert_eq!((tries.tries_left(), tries.exposure().packets), (2, 2));
}

#[test]
fn a_timeout_that_has_become_longer_meanwhile_goes_on() {
    let mut tries = tried(&[1, 2]);
    let longer = |number: u32, waited| {
        assert_eq!((number, waited), (2, TIMEOUT));
        3 * TIMEOUT
    };
    assert!(!tries.time_out(2 * TIMEOUT, longer));
    assert_eq!(tries.step(2 * TIMEOUT), Step::WaitUntil(4 * TIMEOUT));
    assert!(!tries.is_silent(1) && tries.is_silent(0));
    assert!(tries.time_out(4 * TIMEOUT, unchanged));
}

#[test]
fn silence_condemns_the_hops_for_this_request_and_puts_the_service_behind_others() {
    let tries = tried(&[1, 2]);
    let history = tries.history();
    assert_eq!(history.hops, BTreeSet::from([peer(11), peer(21)]), "those of the second are still awaited");
    assert_eq!((history.asked[&peer(1)], history.asked[&peer(2)]), (1, 1));
    assert!(history.refused.is_empty());
}

#[test]
fn a_try_without_time_for_its_answer_is_not_made() {
    let mut tries = tries();
    tries.sent(at(0), to(1), at(9800));
    assert!(tries.time_out(at(9800), unchanged));
    assert_eq!(tries.step(at(9800)), Step::Wait);
    assert_eq!(tries.at_deadline(), Err(ClientError::Deadline { limit: LIMIT, tries: 1 }));
}

#[test]
fn tries_are_bounded() {
    let mut tries = Tries::new(Duration::from_secs(3600), at(300));
    let now = after_tries(&mut tries, &[1; MAX_TRIES]) + TIMEOUT;
    assert!(tries.time_out(now, unchanged));
    assert_eq!(tries.step(now), Step::Wait);
}

#[test]
fn a_service_that_cannot_is_left_for_another_at_once() {
    for meaning in [Meaning::Elsewhere, Meaning::Unreadable, Meaning::DoneIfRepeated] {
        let mut tries = tries();
        let now = after_tries(&mut tries, &[1]);
        assert_eq!(answered(&mut tries, 0, meaning), None);
        assert_eq!(tries.step(now), Step::Try);
        assert!(tries.history().refused.contains(&peer(1)) && tries.history().hops.is_empty());
    }
}

#[test]
fn when_nobody_is_left_to_ask_the_last_refusal_is_the_outcome() {
    for meaning in [Meaning::DoneIfRepeated, Meaning::Exit(ExitStatus::CodecRefused)] {
        let mut tries = tried(&[1]);
        answered(&mut tries, 0, meaning);
        assert_eq!(tries.no_route(at(100), no_exit(), false), Some(Ok(said(WORDS))), "a first 505 is no success");
    }
}

#[test]
fn while_a_try_may_be_answered_a_request_without_another_route_waits() {
    let mut tries = tries();
    let now = after_tries(&mut tries, &[1, 2]);
    answered(&mut tries, 1, Meaning::Elsewhere);
    assert_eq!(tries.no_route(now, no_exit(), false), None);
    assert_eq!(tries.step(now), Step::WaitUntil(now + FIRST_PAUSE), "and looks again later");
    assert_eq!(tries.at_deadline(), Err(ClientError::Deadline { limit: LIMIT, tries: 2 }));
}

#[test]
fn a_request_that_was_never_sent_fails_with_what_is_in_its_way() {
    assert_eq!(tries().no_route(at(0), no_exit(), false), Some(Err(no_exit())));
    assert_eq!(tries().at_deadline(), Err(ClientError::Busy), "there was no room for a packet all the time");
}

/// 505 after a try without answer may be what a node of nwaku says of a message that it has, or no relay peers.
#[test]
fn a_505_after_silence_is_success_only_if_something_else_says_so() {
    let mut alone = tried(&[1, 2]);
    assert_eq!(answered(&mut alone, 1, Meaning::DoneIfRepeated), None);
    assert_eq!(alone.step(at(5000)), Step::Try, "another service is asked");

    let mut second = tried(&[1, 2]);
    answered(&mut second, 1, Meaning::DoneIfRepeated);
    second.sent(at(5000), to(3), TIMEOUT);
    assert_eq!(
        answered(&mut second, 2, Meaning::DoneIfRepeated),
        Some(said_of_repeat(WORDS)),
        "a second service says so"
    );

    let mut trusted = tried(&[1, 2]);
    let outcome = trusted.answered(at(5000), 1, (Meaning::DoneIfRepeated, WORDS.to_vec()), true, 0.5);
    assert_eq!(outcome, Some(said_of_repeat(WORDS)), "the service has done a request of this client");

    let mut only = tried(&[1, 1]);
    answered(&mut only, 1, Meaning::DoneIfRepeated);
    let outcome = only.no_route(at(5000), no_exit(), false);
    assert_eq!(outcome, Some(Ok(said_of_repeat(WORDS))), "there is nobody else to ask");
}

#[test]
fn a_505_is_no_success_if_no_earlier_try_may_have_got_through() {
    for trusted in [false, true] {
        let mut first = tried(&[1]);
        assert_eq!(first.answered(at(100), 0, (Meaning::DoneIfRepeated, WORDS.to_vec()), trusted, 0.5), None);

        let mut unreached = tries();
        unreached.sent(at(0), to(1), TIMEOUT);
        assert!(unreached.not_left(at(10), 0, peer(11), SendFailure::DialFailed));
        unreached.sent(at(10), to(2), TIMEOUT);
        assert_eq!(unreached.answered(at(100), 1, (Meaning::DoneIfRepeated, WORDS.to_vec()), trusted, 0.5), None);
    }
}

#[test]
fn an_exit_that_cannot_tell_whether_its_service_published_leaves_505_in_doubt() {
    let mut tries = tried(&[1]);
    answered(&mut tries, 0, Meaning::Exit(ExitStatus::TimedOut));
    tries.sent(at(5000), to(2), TIMEOUT);
    let outcome = tries.answered(at(5100), 1, (Meaning::DoneIfRepeated, WORDS.to_vec()), true, 0.5);
    assert_eq!(outcome, Some(said_of_repeat(WORDS)));
}

#[test]
fn a_busy_service_is_asked_again_after_growing_pauses() {
    let mut tries = tries();
    let mut now = at(0);
    for pause in [250, 500, 1000, 2000, 2000] {
        let number = tries.next_index();
        tries.sent(now, to(1), TIMEOUT);
        assert_eq!(tries.answered(now, number, (Meaning::Later, WORDS.to_vec()), false, 0.5), None);
        assert_eq!(tries.step(now), Step::WaitUntil(now + at(pause)));
        now += at(pause);
        assert_eq!(tries.step(now), Step::Try);
    }
    assert_eq!(tries.at_deadline(), Ok(said(WORDS)), "nothing got through: the service's word is the outcome");
}

#[test]
fn a_first_hop_that_fails_is_replaced_at_once_and_counts_as_no_try() {
    let mut tries = tries();
    tries.sent(at(0), to(1), TIMEOUT);
    assert!(tries.not_left(at(10), 0, peer(11), SendFailure::DialFailed));
    assert_eq!(tries.step(at(10)), Step::Try);
    assert_eq!((tries.tries_left(), tries.next_number()), (0, 1));
    assert_eq!(tries.history().hops, BTreeSet::from([peer(11)]), "the others were not at fault");
    assert_eq!(tries.history().asked[&peer(1)], 0);
    for _ in 1..MAX_UNREACHED {
        let number = tries.next_index();
        tries.sent(at(10), to(1), TIMEOUT);
        tries.not_left(at(10), number, peer(11), SendFailure::DialFailed);
    }
    assert_eq!(tries.step(at(10)), Step::Unreachable(SendFailure::DialFailed));
    assert_eq!(tries.at_deadline(), Err(ClientError::FirstHop(SendFailure::DialFailed)));
}

#[test]
fn where_nothing_has_got_through_and_no_route_is_left_news_are_waited_for_if_there_may_be_any() {
    let not_left = || {
        let mut tries = tries();
        tries.sent(at(0), to(1), TIMEOUT);
        tries.not_left(at(10), 0, peer(11), SendFailure::DialFailed);
        tries
    };
    let mut waits = not_left();
    assert_eq!(waits.no_route(at(10), no_exit(), true), None);
    assert_eq!(waits.step(at(10)), Step::WaitUntil(at(10) + FIRST_PAUSE));
    assert_eq!(waits.step(at(10) + FIRST_PAUSE), Step::Try);
    let unreached = Err(ClientError::FirstHop(SendFailure::DialFailed));
    assert_eq!(waits.at_deadline(), unreached);
    assert_eq!(not_left().no_route(at(10), no_exit(), false), Some(unreached), "nobody looks for more");
    let mut refused = tries();
    refused.sent(at(0), to(1), TIMEOUT);
    refused.answered(at(50), 0, (Meaning::DoneIfRepeated, WORDS.to_vec()), false, 0.5);
    assert_eq!(refused.no_route(at(50), no_exit(), true), Some(Ok(said(WORDS))), "everybody was asked");
}

#[test]
fn a_full_queue_in_front_of_a_hop_is_waited_for_and_not_held_against_it() {
    let mut tries = tries();
    tries.sent(at(0), to(1), TIMEOUT);
    assert!(tries.not_left(at(10), 0, peer(11), SendFailure::QueueFull));
    assert_eq!(tries.step(at(10)), Step::WaitUntil(at(10) + CONGESTION_PAUSE));
    assert!(tries.history().hops.is_empty());
}

#[test]
fn a_set_of_fragments_bears_the_loss_of_as_many_as_it_has_to_spare() {
    let mut tries = tries();
    tries.sent(at(0), Sent { packets: 3, spare: 1, ..to(1) }, TIMEOUT);
    assert!(!tries.not_left(at(10), 0, peer(11), SendFailure::DialFailed));
    assert!(tries.not_left(at(10), 0, peer(12), SendFailure::DialFailed));
    assert_eq!((tries.tries_left(), tries.exposure().packets), (0, 3));
}

#[test]
fn no_service_takes_what_one_refuses_for_good() {
    let mut tries = tried(&[1]);
    assert_eq!(answered(&mut tries, 0, Meaning::Final), Some(said(WORDS)));
}

/// The arithmetic of `docs/sending.md`, with the rules themselves: every link loses one packet in ten, answers take the time
/// of six exponential holds, and each request has ten seconds.
#[test]
fn with_one_packet_in_ten_lost_on_every_link_999_of_1000_requests_are_answered() {
    const REQUESTS: u32 = 5_000;
    let mut rng = rng(4);
    let law = wakumix_mix::DelayLaw::default();
    let mut conditions = Conditions::new(law, law);
    let (mut answered, mut packets) = (0, 0);
    for _ in 0..REQUESTS {
        let mut tries = Tries::new(LIMIT, conditions.floor());
        let mut arrivals: Vec<(Duration, usize)> = Vec::new();
        let mut now = Duration::ZERO;
        let is_answered = loop {
            let next = match tries.step(now) {
                Step::Try => {
                    let is_protected = tries.next_number() > 1 || conditions.is_lossy();
                    let timeout = conditions.response_timeout(tries.next_number(), LIMIT);
                    let number = tries.sent(now, to(1), timeout);
                    let mut passes = |links: u32| (0..links).all(|_| random::below(&mut rng, 10) > 0);
                    let is_there = passes(3);
                    let replies = (0..1 + u32::from(is_protected)).filter(|_| passes(3)).count();
                    let mut took = || (0..6).map(|_| law.sample(&mut rng, law.encode())).sum::<Duration>();
                    if is_there && let Some(took) = (0..replies).map(|_| took()).min() {
                        arrivals.push((now + took, number));
                    }
                    continue;
                }
                Step::WaitUntil(until) => until,
                Step::Wait | Step::Unreachable(_) => LIMIT,
            };
            if let Some(&(arrival, number)) = arrivals.iter().min()
                && arrival <= next.min(LIMIT)
            {
                let (round_trip, _) = tries.round_trip(number, arrival).unwrap();
                conditions.answered(round_trip);
                break true;
            }
            now = next;
            if now >= LIMIT {
                break false;
            }
            if tries.time_out(now, unchanged) {
                conditions.lost();
            }
        };
        answered += u32::from(is_answered);
        packets += tries.exposure().packets;
    }
    let unanswered = REQUESTS - answered;
    assert!(unanswered * 1000 <= REQUESTS, "{unanswered} of {REQUESTS} were not answered");
    let price = f64::from(packets) / f64::from(REQUESTS);
    assert!((1.3..1.8).contains(&price), "{price} packets for a request");
}
