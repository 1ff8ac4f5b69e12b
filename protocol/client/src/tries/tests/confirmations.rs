//! Requests that more than one service is to confirm.

use super::*;

/// A request that two services are to confirm.
fn two() -> Tries {
    Tries::new(LIMIT, Duration::from_millis(300)).confirmed_by(2)
}

fn through(service: u8, exit: u8) -> Sent {
    let hops = vec![peer(100 + service), peer(120 + service)];
    let ends = hops.clone();
    Sent { service: peer(service), exit: peer(exit), ends, hops, packets: 1, reply_paths: 1, spare: 0 }
}

/// Asks a service that is its own exit, which answers so at once.
fn ask(tries: &mut Tries, service: u8, meaning: Meaning) -> Option<LastAnswer> {
    ask_through(tries, service, service, meaning)
}

fn ask_through(tries: &mut Tries, service: u8, exit: u8, meaning: Meaning) -> Option<LastAnswer> {
    assert_eq!(tries.step(Duration::ZERO), Step::Try);
    let number = tries.sent(Duration::ZERO, through(service, exit), TIMEOUT);
    tries.answered(Duration::ZERO, number, (meaning, vec![service]), false, 0.5)
}

fn said_by(service: u8) -> LastAnswer {
    LastAnswer { answer: vec![service], is_repeat: false }
}

const UNCONFIRMED: ClientError = ClientError::Unconfirmed { said: 1, needed: 2 };

#[test]
fn a_second_service_is_asked_over_others_and_the_first_answer_is_told() {
    let mut tries = two();
    assert_eq!(ask(&mut tries, 1, Meaning::Done), None);
    let history = tries.history();
    assert_eq!((&history.refused, &history.hops), (&[peer(1)].into(), &[peer(101), peer(121)].into()));
    assert_eq!(ask(&mut tries, 2, Meaning::Done), Some(said_by(1)));
}

#[test]
fn one_is_enough_unless_more_are_wanted() {
    for needed in [0, 1] {
        let mut tries = Tries::new(LIMIT, Duration::ZERO).confirmed_by(needed);
        assert_eq!(ask(&mut tries, 1, Meaning::Done), Some(said_by(1)));
    }
}

#[test]
fn nobody_confirms_itself_as_service_or_as_exit() {
    let mut tries = two();
    assert_eq!(ask_through(&mut tries, 1, 8, Meaning::Done), None);
    assert_eq!(ask_through(&mut tries, 1, 9, Meaning::Done), None, "the same service");
    assert_eq!(ask_through(&mut tries, 2, 8, Meaning::Done), None, "through the same exit");
    assert_eq!(ask_through(&mut tries, 3, 8, Meaning::DoneIfRepeated), None, "likewise");
    assert_eq!(ask_through(&mut tries, 2, 9, Meaning::Done), Some(said_by(1)));
}

#[test]
fn an_earlier_try_that_is_answered_late_confirms_too() {
    let mut tries = two();
    let first = tries.sent(Duration::ZERO, through(1, 1), TIMEOUT);
    assert!(tries.time_out(TIMEOUT, |_, waited| waited));
    let second = tries.sent(TIMEOUT, through(2, 2), TIMEOUT);
    let done = |service: u8| (Meaning::Done, vec![service]);
    assert_eq!(tries.answered(TIMEOUT, second, done(2), false, 0.5), None);
    assert_eq!(tries.answered(TIMEOUT, first, done(1), false, 0.5), Some(said_by(2)));
}

#[test]
fn what_another_service_refuses_is_not_refused_by_the_first() {
    for meaning in [Meaning::Final, Meaning::Elsewhere, Meaning::Unreadable] {
        let mut tries = two();
        ask(&mut tries, 1, Meaning::Done);
        assert_eq!(ask(&mut tries, 2, meaning), None);
        assert_eq!(tries.no_route(Duration::ZERO, no_exit(), true), Some(Err(UNCONFIRMED)), "{meaning:?}");
    }
    let mut refused = two();
    assert_eq!(ask(&mut refused, 1, Meaning::Final), Some(said_by(1)), "nobody has done it");
}

#[test]
fn without_a_second_service_the_request_ends_unconfirmed() {
    let one = || {
        let mut tries = two();
        ask(&mut tries, 1, Meaning::Done);
        tries
    };
    assert_eq!(one().no_route(Duration::ZERO, no_exit(), true), Some(Err(UNCONFIRMED)), "nothing is waited for");
    assert_eq!(one().at_deadline(), Err(UNCONFIRMED));
    assert_eq!(one().or_unconfirmed(no_exit()), UNCONFIRMED);
    assert_eq!(two().or_unconfirmed(no_exit()), no_exit());
    let mut silent = one();
    silent.sent(Duration::ZERO, through(2, 2), TIMEOUT);
    assert_eq!(silent.no_route(Duration::ZERO, no_exit(), true), None, "it may still be answered");
    assert_eq!(silent.at_deadline(), Err(UNCONFIRMED), "one has said so, which is more than a deadline");
    assert_eq!(silent.take_confirmed(), Some(said_by(1)), "for what was seen to be done");
}

#[test]
fn a_505_confirms_what_another_service_has_done_as_far_as_it_is_believed_elsewhere() {
    let doubt = (Meaning::DoneIfRepeated, vec![2]);
    let mut trusted = two();
    ask(&mut trusted, 1, Meaning::Done);
    let number = trusted.sent(Duration::ZERO, through(2, 2), TIMEOUT);
    assert_eq!(trusted.answered(Duration::ZERO, number, doubt, true, 0.5), Some(said_by(1)));

    let mut other = two();
    ask(&mut other, 1, Meaning::Done);
    assert_eq!(ask(&mut other, 2, Meaning::DoneIfRepeated), None);
    assert_eq!(ask(&mut other, 3, Meaning::DoneIfRepeated), Some(said_by(1)), "two say the same");

    let mut alone = two();
    ask(&mut alone, 1, Meaning::Done);
    ask(&mut alone, 2, Meaning::DoneIfRepeated);
    assert_eq!(alone.no_route(Duration::ZERO, no_exit(), false), Some(Ok(said_by(1))), "nobody else can be asked");
}
