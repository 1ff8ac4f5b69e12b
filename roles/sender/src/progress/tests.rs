//! When tries go out and how requests end.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wakumix_mix::ExitStatus;
use wakumix_waku::lightpush::StatusCode;

use super::*;
use crate::{patience::Conditions, testing::peer};

const LIMIT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(1);

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn progress() -> Progress {
    Progress::new(LIMIT, at(300))
}

/// Patience that was not changed meanwhile.
fn as_told(_: u32, waited: Duration) -> Duration {
    waited
}

fn to(service: u8) -> Sent {
    Sent { service: peer(service), hops: vec![peer(10 + service), peer(20 + service)], packets: 1, spare: 0 }
}

fn verdict(status: u32) -> Verdict {
    Verdict { status, description: None, relay_peer_count: None }
}

fn refused(status: u32) -> Refusal {
    Refusal::Service(verdict(status))
}

/// Tries at these services, each silent but the last, which has just left; the time.
fn after_tries(progress: &mut Progress, services: &[u8]) -> Duration {
    let mut now = Duration::ZERO;
    for (index, &service) in services.iter().enumerate() {
        if index > 0 {
            now += PATIENCE;
            assert!(progress.end_patience(now, as_told));
        }
        assert_eq!(progress.step(now), Step::Try);
        progress.sent(now, to(service), PATIENCE);
    }
    now
}

fn answered(progress: &mut Progress, number: usize, meaning: Meaning) -> Option<Verdict> {
    progress.answered(at(5000), number, meaning, false, 0.5)
}

#[test]
fn a_try_is_awaited_until_patience_ends_and_stays_answerable() {
    let mut progress = progress();
    let now = after_tries(&mut progress, &[1]);
    assert_eq!(progress.step(now), Step::WaitUntil(PATIENCE));
    assert!(!progress.end_patience(PATIENCE - at(1), as_told));
    assert!(progress.end_patience(PATIENCE, as_told));
    assert_eq!(progress.step(PATIENCE), Step::Try);
    progress.sent(PATIENCE, to(2), PATIENCE);
    assert_eq!(answered(&mut progress, 0, Meaning::Published(verdict(200))), Some(verdict(200)));
    assert_eq!((progress.tries_left(), progress.packets()), (2, 2));
}

#[test]
fn patience_that_has_become_longer_meanwhile_goes_on() {
    let mut progress = progress();
    after_tries(&mut progress, &[1, 2]);
    let longer = |number: u32, waited| {
        assert_eq!((number, waited), (2, PATIENCE));
        3 * PATIENCE
    };
    assert!(!progress.end_patience(2 * PATIENCE, longer));
    assert_eq!(progress.step(2 * PATIENCE), Step::WaitUntil(4 * PATIENCE));
    assert!(!progress.is_silent(1) && progress.is_silent(0));
    assert!(progress.end_patience(4 * PATIENCE, as_told));
}

#[test]
fn silence_condemns_the_hops_for_this_request_and_puts_the_service_behind_others() {
    let mut progress = progress();
    after_tries(&mut progress, &[1, 2]);
    let history = progress.history();
    assert_eq!(history.hops, BTreeSet::from([peer(11), peer(21)]), "those of the second are still awaited");
    assert_eq!((history.asked[&peer(1)], history.asked[&peer(2)]), (1, 1));
    assert!(history.refused.is_empty());
}

#[test]
fn a_try_without_time_for_its_answer_is_not_made() {
    let mut progress = progress();
    progress.sent(at(0), to(1), at(9800));
    assert!(progress.end_patience(at(9800), as_told));
    assert_eq!(progress.step(at(9800)), Step::Wait);
    assert_eq!(progress.at_deadline(), Err(PushFailure::Deadline { limit: LIMIT, tries: 1 }));
}

#[test]
fn tries_are_bounded() {
    let mut progress = Progress::new(Duration::from_secs(3600), at(300));
    let now = after_tries(&mut progress, &[1; MAX_TRIES]) + PATIENCE;
    assert!(progress.end_patience(now, as_told));
    assert_eq!(progress.step(now), Step::Wait);
}

#[test]
fn a_service_that_cannot_is_left_for_another_at_once() {
    for meaning in [
        Meaning::Elsewhere(refused(503)),
        Meaning::Elsewhere(Refusal::Exit(PushFailure::ServiceUnreachable)),
        Meaning::NoPeers(verdict(505)),
    ] {
        let mut progress = progress();
        let now = after_tries(&mut progress, &[1]);
        assert_eq!(answered(&mut progress, 0, meaning), None);
        assert_eq!(progress.step(now), Step::Try);
        assert!(progress.history().refused.contains(&peer(1)) && progress.history().hops.is_empty());
    }
}

#[test]
fn when_nobody_is_left_to_ask_the_last_refusal_is_the_outcome() {
    let no_exit = || PushFailure::NoExit { topic: None };
    let mut progress = progress();
    after_tries(&mut progress, &[1]);
    answered(&mut progress, 0, Meaning::NoPeers(verdict(505)));
    assert_eq!(progress.no_route(at(100), no_exit(), false), Some(Ok(verdict(505))), "a first 505 is no success");

    let mut progress = super::tests::progress();
    after_tries(&mut progress, &[1]);
    let failure = PushFailure::ExitRefused { status: 503, reason: ExitStatus::CodecRefused };
    answered(&mut progress, 0, Meaning::Elsewhere(Refusal::Exit(failure.clone())));
    assert_eq!(progress.no_route(at(100), no_exit(), false), Some(Err(failure)));
}

#[test]
fn while_a_try_may_be_answered_a_request_without_another_route_waits() {
    let mut progress = progress();
    let now = after_tries(&mut progress, &[1, 2]);
    answered(&mut progress, 1, Meaning::Elsewhere(refused(503)));
    assert_eq!(progress.no_route(now, PushFailure::NoExit { topic: None }, false), None);
    assert_eq!(progress.step(now), Step::WaitUntil(now + FIRST_PAUSE), "and looks again later");
    assert_eq!(progress.at_deadline(), Err(PushFailure::Deadline { limit: LIMIT, tries: 2 }));
}

#[test]
fn a_request_that_was_never_sent_fails_with_what_is_in_its_way() {
    let failure = PushFailure::NoExit { topic: None };
    assert_eq!(progress().no_route(at(0), failure.clone(), false), Some(Err(failure)));
    assert_eq!(progress().at_deadline(), Err(PushFailure::Busy), "there was no room for a packet all the time");
}

/// 505 after a try without answer may be what a node of the fleet says of a message that it has, or no relay peers.
#[test]
fn a_505_after_silence_is_success_only_if_something_else_says_so() {
    let mut alone = progress();
    after_tries(&mut alone, &[1, 2]);
    assert_eq!(answered(&mut alone, 1, Meaning::NoPeers(verdict(505))), None);
    assert_eq!(alone.step(at(5000)), Step::Try, "another service is asked");

    let mut second = progress();
    after_tries(&mut second, &[1, 2]);
    answered(&mut second, 1, Meaning::NoPeers(verdict(505)));
    second.sent(at(5000), to(3), PATIENCE);
    assert_eq!(
        answered(&mut second, 2, Meaning::NoPeers(verdict(505))),
        Some(verdict(200)),
        "a second service says so"
    );

    let mut trusted = progress();
    after_tries(&mut trusted, &[1, 2]);
    let outcome = trusted.answered(at(5000), 1, Meaning::NoPeers(verdict(505)), true, 0.5);
    assert_eq!(outcome, Some(verdict(200)), "the service has published for this sender");

    let mut only = progress();
    after_tries(&mut only, &[1, 1]);
    answered(&mut only, 1, Meaning::NoPeers(verdict(505)));
    let nobody = PushFailure::NoExit { topic: None };
    assert_eq!(only.no_route(at(5000), nobody, false), Some(Ok(verdict(200))), "there is nobody else to ask");
}

#[test]
fn a_505_is_no_success_if_no_earlier_try_may_have_got_through() {
    for trusted in [false, true] {
        let mut first = progress();
        after_tries(&mut first, &[1]);
        assert_eq!(first.answered(at(100), 0, Meaning::NoPeers(verdict(505)), trusted, 0.5), None);

        let mut unreached = progress();
        unreached.sent(at(0), to(1), PATIENCE);
        assert!(unreached.not_left(at(10), 0, peer(11), SendFailure::DialFailed));
        unreached.sent(at(10), to(2), PATIENCE);
        assert_eq!(unreached.answered(at(100), 1, Meaning::NoPeers(verdict(505)), trusted, 0.5), None);
    }
}

#[test]
fn an_exit_that_cannot_tell_whether_its_service_published_leaves_505_in_doubt() {
    let mut progress = progress();
    after_tries(&mut progress, &[1]);
    let timed_out = PushFailure::ExitRefused { status: 503, reason: ExitStatus::TimedOut };
    answered(&mut progress, 0, Meaning::Elsewhere(Refusal::Exit(timed_out)));
    progress.sent(at(5000), to(2), PATIENCE);
    assert_eq!(progress.answered(at(5100), 1, Meaning::NoPeers(verdict(505)), true, 0.5), Some(verdict(200)));
}

#[test]
fn a_busy_service_is_asked_again_after_growing_pauses() {
    let mut progress = progress();
    let mut now = at(0);
    for pause in [250, 500, 1000, 2000, 2000] {
        let number = progress.next_index();
        progress.sent(now, to(1), PATIENCE);
        assert_eq!(progress.answered(now, number, Meaning::Later(refused(429)), false, 0.5), None);
        assert_eq!(progress.step(now), Step::WaitUntil(now + at(pause)));
        now += at(pause);
        assert_eq!(progress.step(now), Step::Try);
    }
    assert_eq!(progress.at_deadline(), Ok(verdict(429)), "nothing got through: the service's word is the outcome");
}

#[test]
fn a_first_hop_that_fails_is_replaced_at_once_and_counts_as_no_try() {
    let mut progress = progress();
    progress.sent(at(0), to(1), PATIENCE);
    assert!(progress.not_left(at(10), 0, peer(11), SendFailure::DialFailed));
    assert_eq!(progress.step(at(10)), Step::Try);
    assert_eq!((progress.tries_left(), progress.next_number()), (0, 1));
    assert_eq!(progress.history().hops, BTreeSet::from([peer(11)]), "the others were not at fault");
    assert_eq!(progress.history().asked[&peer(1)], 0);
    for _ in 1..MAX_UNREACHED {
        let number = progress.next_index();
        progress.sent(at(10), to(1), PATIENCE);
        progress.not_left(at(10), number, peer(11), SendFailure::DialFailed);
    }
    assert_eq!(progress.step(at(10)), Step::Unreachable(SendFailure::DialFailed));
    assert_eq!(progress.at_deadline(), Err(PushFailure::FirstHop(SendFailure::DialFailed)));
}

#[test]
fn where_nothing_has_got_through_and_no_route_is_left_news_are_waited_for_if_there_may_be_any() {
    let problem = || PushFailure::NoExit { topic: None };
    let not_left = || {
        let mut progress = progress();
        progress.sent(at(0), to(1), PATIENCE);
        progress.not_left(at(10), 0, peer(11), SendFailure::DialFailed);
        progress
    };
    let mut waits = not_left();
    assert_eq!(waits.no_route(at(10), problem(), true), None);
    assert_eq!(waits.step(at(10)), Step::WaitUntil(at(10) + FIRST_PAUSE));
    assert_eq!(waits.step(at(10) + FIRST_PAUSE), Step::Try);
    let unreached = Err(PushFailure::FirstHop(SendFailure::DialFailed));
    assert_eq!(waits.at_deadline(), unreached);
    assert_eq!(not_left().no_route(at(10), problem(), false), Some(unreached), "nobody looks for more");
    let mut refused = progress();
    refused.sent(at(0), to(1), PATIENCE);
    refused.answered(at(50), 0, Meaning::NoPeers(verdict(505)), false, 0.5);
    assert_eq!(refused.no_route(at(50), problem(), true), Some(Ok(verdict(505))), "everybody was asked");
}

#[test]
fn a_full_queue_in_front_of_a_hop_is_waited_for_and_not_held_against_it() {
    let mut progress = progress();
    progress.sent(at(0), to(1), PATIENCE);
    assert!(progress.not_left(at(10), 0, peer(11), SendFailure::QueueFull));
    assert_eq!(progress.step(at(10)), Step::WaitUntil(at(10) + CONGESTION_PAUSE));
    assert!(progress.history().hops.is_empty());
}

#[test]
fn a_set_of_fragments_bears_the_loss_of_as_many_as_it_has_to_spare() {
    let mut progress = progress();
    progress.sent(at(0), Sent { packets: 3, spare: 1, ..to(1) }, PATIENCE);
    assert!(!progress.not_left(at(10), 0, peer(11), SendFailure::DialFailed));
    assert!(progress.not_left(at(10), 0, peer(12), SendFailure::DialFailed));
    assert_eq!((progress.tries_left(), progress.packets()), (0, 3));
}

#[test]
fn no_service_takes_what_one_refuses_for_good() {
    let mut progress = progress();
    after_tries(&mut progress, &[1]);
    let status = StatusCode::INVALID_MESSAGE.0;
    assert_eq!(answered(&mut progress, 0, Meaning::Final(verdict(status))), Some(verdict(status)));
}

/// The arithmetic of `docs/sending.md`, with the rules themselves: every link loses one packet in ten, answers take the time
/// of six exponential holds, and each request has ten seconds.
#[test]
fn with_one_packet_in_ten_lost_on_every_link_999_of_1000_requests_are_answered() {
    const REQUESTS: u32 = 5_000;
    let mut rng = StdRng::seed_from_u64(4);
    let law = wakumix_mix::DelayLaw::default();
    let mut conditions = Conditions::new(law, law);
    let (mut answered, mut packets) = (0, 0);
    for _ in 0..REQUESTS {
        let mut progress = Progress::new(LIMIT, conditions.floor());
        let mut arrivals: Vec<(Duration, usize)> = Vec::new();
        let mut now = Duration::ZERO;
        let is_answered = loop {
            let next = match progress.step(now) {
                Step::Try => {
                    let is_protected = progress.next_number() > 1 || conditions.is_lossy();
                    let patience = conditions.patience(progress.next_number(), LIMIT);
                    let number = progress.sent(now, to(1), patience);
                    let mut passes = |links: u32| (0..links).all(|_| rng.random_range(0..10) > 0);
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
                let (round_trip, _) = progress.round_trip(number, arrival).unwrap();
                conditions.answered(round_trip);
                break true;
            }
            now = next;
            if now >= LIMIT {
                break false;
            }
            if progress.end_patience(now, as_told) {
                conditions.lost();
            }
        };
        answered += u32::from(is_answered);
        packets += progress.packets();
    }
    let unanswered = REQUESTS - answered;
    assert!(unanswered * 1000 <= REQUESTS, "{unanswered} of {REQUESTS} were not answered");
    let price = f64::from(packets) / f64::from(REQUESTS);
    assert!((1.3..1.8).contains(&price), "{price} packets for a request");
}
