//! Sends the messages, follows the subscribers, keeps the tally.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use wakumix_role_api::{
    relay::Received,
    sender::{Answer, Certainty, PushFailure, SenderHandle},
};
use wakumix_waku::{MessageHash, lightpush::StatusCode};

use super::{
    counters::{Counters, Reading},
    plan::{Pace, Plan},
};

/// What has been sent, answered and received so far. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tally {
    counts: Arc<Mutex<Counts>>,
    changed: Arc<Notify>,
    /// What should be received in the end: every message by every relay.
    pub(super) expected_receptions: u64,
    /// Messages to send.
    pub(super) messages: u64,
    /// Relays that receive.
    subscribers: usize,
}

/// The numbers themselves.
#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) unexpected: u64,
    /// How each message ended, by stable code.
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// The messages that a service has answered with success.
    pub(super) answered: Vec<Answered>,
    /// Hashes of what was sent.
    known: HashSet<MessageHash>,
    /// (subscriber, message) pairs that were counted.
    seen: HashSet<(usize, MessageHash)>,
}

/// One message that was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    hash: MessageHash,
    /// When it was handed to its sender.
    pub(super) sent: Instant,
    /// How often the sender sent it.
    pub(super) tries: u32,
    /// Packets that it took, replies not counted.
    pub(super) packets: u32,
    /// From the first packet to the opened answer.
    pub(super) round_trip: Duration,
}

impl Counts {
    /// Answered messages that some of so many relays have not received, once for each of these.
    fn missing(&self, subscribers: usize) -> u64 {
        let missing = |answered: &Answered| {
            (0..subscribers).filter(|subscriber| !self.seen.contains(&(*subscriber, answered.hash))).count() as u64
        };
        self.answered.iter().map(missing).sum()
    }
}

impl Tally {
    pub(super) fn new(plan: &Plan) -> Self {
        let messages = u64::from(plan.messages);
        Self {
            counts: Arc::default(),
            changed: Arc::default(),
            expected_receptions: messages * u64::from(plan.options.relays),
            messages,
            subscribers: plan.options.relays.into(),
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// Answered messages that some relay has not received, once for each.
    pub(super) fn missing(&self) -> u64 {
        self.counts.lock().missing(self.subscribers)
    }

    /// Sent, answered, ended in another way, received.
    pub(super) fn progress(&self) -> (u64, u64, u64, u64) {
        let counts = self.counts.lock();
        let answered = counts.answered.len() as u64;
        (counts.sent, answered, counts.outcomes.values().sum::<u64>() - answered, counts.received)
    }

    /// Counts a message that a subscriber got; each once.
    pub(super) fn received(&self, subscriber: usize, message: &Received) {
        let mut counts = self.counts.lock();
        if !counts.known.contains(&message.hash) {
            counts.unexpected += 1;
        } else if counts.seen.insert((subscriber, message.hash)) {
            counts.received += 1;
        }
        drop(counts);
        self.changed.notify_waiters();
    }

    fn sending(&self, hash: MessageHash) {
        let mut counts = self.counts.lock();
        counts.sent += 1;
        counts.known.insert(hash);
        drop(counts);
        self.changed.notify_waiters();
    }

    /// Waits until so many messages have been handed to senders.
    pub(super) async fn until_sent(&self, messages: u32) {
        loop {
            let changed = self.changed.notified();
            if self.counts.lock().sent >= u64::from(messages) {
                return;
            }
            changed.await;
        }
    }

    fn ended(&self, hash: MessageHash, sent: Instant, outcome: &Result<Answer, PushFailure>) {
        let mut counts = self.counts.lock();
        let kind = outcome.as_ref().map_or_else(PushFailure::kind, Answer::kind);
        *counts.outcomes.entry(kind).or_default() += 1;
        if let Some(answer) = outcome.as_ref().ok().filter(|answer| is_answered(answer)) {
            let Answer { tries, exposure, round_trip, .. } = *answer;
            counts.answered.push(Answered { hash, sent, tries, packets: exposure.packets, round_trip });
        }
    }
}

/// Whether a service has said that it published the message. One that was only seen on the relay network is published, but
/// not answered.
fn is_answered(answer: &Answer) -> bool {
    answer.certainty == Certainty::Confirmed && StatusCode(answer.status).is_success()
}

/// Sends every message and waits for all outcomes.
pub(super) async fn send_all(plan: &Plan, senders: &[SenderHandle], tally: &Tally) {
    let Some(first) = senders.first() else { return };
    let in_turn = (0..plan.messages).zip(senders.iter().cycle());
    let send = |(number, sender)| send(plan, sender, number, tally);
    match plan.pace {
        Pace::Open(open) => stream::iter(in_turn).for_each_concurrent(open, send).await,
        Pace::AtOnce => stream::iter(in_turn.map(|(number, _)| (number, first))).for_each_concurrent(None, send).await,
        Pace::Every(period) => {
            let start = Instant::now();
            let at_its_time = async |(number, sender)| {
                sleep_until(start + period * number).await;
                (number, sender)
            };
            stream::iter(in_turn).then(at_its_time).for_each_concurrent(None, send).await;
        }
    }
}

/// Sends at the pace of the plan, each message counted by its outcome, until it is dropped.
pub(super) async fn go_on(plan: &Plan, senders: &[SenderHandle], outcomes: &Mutex<BTreeMap<&'static str, u64>>) {
    let Pace::Every(period) = plan.pace else { return std::future::pending().await };
    let start = Instant::now();
    let in_turn = (0_u32..).zip(senders.iter().cycle());
    let at_its_time = async |(number, sender): (u32, &SenderHandle)| {
        sleep_until(start + period * number).await;
        (plan.message(plan.messages.wrapping_add(number)), sender.clone())
    };
    let send = |(message, sender): (_, SenderHandle)| async move {
        let outcome = sender.push(message, Some(plan.topic.as_str().to_owned()), None, None).await;
        *outcomes.lock().entry(outcome.as_ref().map_or_else(PushFailure::kind, Answer::kind)).or_default() += 1;
    };
    // A sender takes so many requests at a time, and refuses the others.
    stream::iter(in_turn).then(at_its_time).for_each_concurrent(None, send).await;
}

/// Sends one message.
async fn send(plan: &Plan, sender: &SenderHandle, number: u32, tally: &Tally) {
    let message = plan.message(number);
    let hash = message.hash(&plan.topic);
    let sent = Instant::now();
    tally.sending(hash);
    let outcome = sender.push(message, Some(plan.topic.as_str().to_owned()), None, None).await;
    tally.ended(hash, sent, &outcome);
}

/// Whether no packet is in a node or between two of them. What was written to nodes that are gone stays between.
fn is_at_rest(plan: &Plan, reading: &Reading) -> bool {
    reading.held() == 0 && (plan.kill.is_some() || reading.lost_between() == 0)
}

/// Waits until every subscriber has what was answered and all packets have ended, or the limit passes. Where cover is made
/// some node always holds one, which is not waited for. Gives what the nodes counted then.
pub(super) async fn finish(plan: &Plan, counters: &Counters, tally: &Tally, limit: Duration) -> Reading {
    let deadline = Instant::now() + limit;
    loop {
        let changed = tally.changed.notified();
        let reading = match plan.options.makes_cover() {
            true => Some(counters.read()),
            false => counters.read_at_once().filter(|reading| is_at_rest(plan, reading)),
        };
        if let Some(reading) = reading.filter(|_| tally.missing() == 0) {
            return reading;
        }
        if Instant::now() >= deadline {
            return counters.read();
        }
        // Held packets have no event of their own; they are looked at again at short intervals.
        let pause = Duration::from_millis(20);
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use wakumix_role_api::sender::{ClientError, DeliveryPath, Exposure};

    use super::*;
    use crate::command::check::testing::options;

    fn answer(certainty: Certainty, status: u32) -> Answer {
        Answer {
            certainty,
            path: DeliveryPath::Mixnet,
            tries: 2,
            exposure: Exposure { packets: 3, ..Exposure::default() },
            status,
            description: None,
            relay_peer_count: None,
            message_hash: None,
            round_trip: Duration::from_secs(1),
        }
    }

    #[tokio::test]
    async fn each_outcome_is_counted_by_its_code_and_what_a_service_confirmed_is_answered() {
        let plan = Plan::new(&options(&["--seed", "7", "--relays", "2"])).unwrap();
        let tally = Tally::new(&plan);
        let message = plan.message(0);
        let hash = message.hash(&plan.topic);
        for outcome in [
            Ok(answer(Certainty::Confirmed, 200)),
            Ok(answer(Certainty::Confirmed, 420)),
            Ok(answer(Certainty::Seen, 200)),
            Err(PushFailure::Client(ClientError::Busy)),
            Err(PushFailure::Client(ClientError::Busy)),
        ] {
            tally.sending(hash);
            tally.ended(hash, Instant::now(), &outcome);
        }
        let counts = tally.counts();
        let expected = [("busy", 2), ("confirmed", 1), ("published_unconfirmed", 1), ("refused", 1)];
        assert_eq!(counts.outcomes, expected.into());
        assert!(matches!(counts.answered[..], [Answered { tries: 2, packets: 3, .. }]));
        assert_eq!(tally.progress(), (5, 1, 4, 0));
    }

    #[tokio::test]
    async fn an_answered_message_is_missed_where_it_was_not_received() {
        let plan = Plan::new(&options(&["--seed", "7", "--relays", "2"])).unwrap();
        let tally = Tally::new(&plan);
        let received = |number| {
            let message = plan.message(number);
            Received { topic: plan.topic.as_str().to_owned(), hash: message.hash(&plan.topic), message }
        };
        let (known, stranger) = (received(0), received(1));
        tally.sending(known.hash);
        assert_eq!(tally.missing(), 0);
        tally.ended(known.hash, Instant::now(), &Ok(answer(Certainty::Confirmed, 200)));
        assert_eq!(tally.missing(), 2);
        for message in [&known, &known, &stranger] {
            tally.received(1, message);
        }
        let counts = tally.counts();
        assert_eq!((tally.missing(), counts.received, counts.unexpected), (1, 1, 1));
    }
}
