//! Sends the messages, follows the subscribers, keeps the tally.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{sync::Notify, time::Instant};
use wakumix_role_api::{
    relay::Received,
    sender::{Answer, PushFailure, SenderHandle},
};
use wakumix_waku::{
    MessageHash,
    lightpush::{StatusCode, text::DUPLICATE},
};

use super::{
    counters::Counters,
    options::{OPEN_REQUESTS, Plan},
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
}

/// The numbers themselves.
#[derive(Clone, Default)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) received: u64,
    pub(super) unexpected: u64,
    pub(super) round_trips: Vec<Duration>,
    /// Tries that failed and were followed by another one, by stable code.
    pub(super) failed_tries: BTreeMap<String, u64>,
    /// When each message was first handed to a sender, and how many tries it took; those that have ended.
    pub(super) tries: Vec<(Instant, u32)>,
    /// Hashes of what was sent.
    known: HashSet<MessageHash>,
    /// (subscriber, message) pairs that were counted.
    seen: HashSet<(usize, MessageHash)>,
}

impl Tally {
    pub(super) fn new(plan: &Plan) -> Self {
        let messages = u64::from(plan.options.messages);
        Self {
            counts: Arc::default(),
            changed: Arc::default(),
            expected_receptions: messages * u64::from(plan.options.relays),
            messages,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Sent, answered, failed, received.
    pub(super) fn progress(&self) -> (u64, u64, u64, u64) {
        let counts = self.lock();
        (counts.sent, counts.answered, counts.failed.values().sum(), counts.received)
    }

    /// Counts a message that a subscriber got; each once.
    pub(super) fn received(&self, subscriber: usize, message: &Received) {
        let mut counts = self.lock();
        if !counts.known.contains(&message.hash) {
            counts.unexpected += 1;
        } else if counts.seen.insert((subscriber, message.hash)) {
            counts.received += 1;
        }
        drop(counts);
        self.changed.notify_waiters();
    }

    fn sending(&self, hash: MessageHash) {
        let mut counts = self.lock();
        counts.sent += 1;
        counts.known.insert(hash);
        drop(counts);
        self.changed.notify_waiters();
    }

    /// Waits until so many messages have been handed to senders.
    pub(super) async fn until_sent(&self, messages: u32) {
        loop {
            let changed = self.changed.notified();
            if self.lock().sent >= u64::from(messages) {
                return;
            }
            changed.await;
        }
    }

    fn try_failed(&self, kind: String) {
        *self.lock().failed_tries.entry(kind).or_default() += 1;
    }

    fn ended(&self, first_try: Instant, tries: u32, outcome: Result<Duration, String>) {
        let mut counts = self.lock();
        counts.tries.push((first_try, tries));
        match outcome {
            Ok(round_trip) => {
                counts.answered += 1;
                counts.round_trips.push(round_trip);
            }
            Err(kind) => *counts.failed.entry(kind).or_default() += 1,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends every message, in turn from each sender, and waits for all outcomes.
pub(super) async fn send_all(plan: &Plan, senders: &[SenderHandle], tally: &Tally) {
    if senders.is_empty() {
        return;
    }
    let open = if plan.options.one_by_one { 1 } else { OPEN_REQUESTS * senders.len() };
    futures::stream::iter((0..plan.options.messages).zip(senders.iter().cycle()))
        .for_each_concurrent(open, |(number, sender)| send(plan, sender, number, tally))
        .await;
}

/// Sends one message, again over another path while tries are left.
async fn send(plan: &Plan, sender: &SenderHandle, number: u32, tally: &Tally) {
    let message = plan.message(number);
    let first_try = Instant::now();
    tally.sending(message.hash(&plan.topic));
    for tries in 1.. {
        let topic = Some(plan.topic.as_str().to_owned());
        match judged(sender.push(message.clone(), topic, None, plan.answer_limit()).await, tries) {
            Err(kind) if tries < plan.most_tries() => tally.try_failed(kind),
            outcome => return tally.ended(first_try, tries, outcome),
        }
    }
}

/// The round trip of a push that was published, or the stable code of what went wrong. A service that has seen the message
/// of a later try already has it from an earlier one, whose answer was lost.
fn judged(outcome: Result<Answer, PushFailure>, tries: u32) -> Result<Duration, String> {
    match outcome {
        Ok(answer) if answer.status == StatusCode::SUCCESS.0 => Ok(answer.round_trip),
        Ok(answer) if tries > 1 && answer.description.as_deref() == Some(DUPLICATE) => Ok(answer.round_trip),
        Ok(answer) => Err(format!("status_{}", answer.status)),
        Err(failure) => Err(failure.kind().to_owned()),
    }
}

/// Waits until every subscriber has every message and no node holds a packet, or the limit passes.
pub(super) async fn settle(counters: &Counters, tally: &Tally, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let changed = tally.changed.notified();
        let complete = tally.lock().received >= tally.expected_receptions;
        if (complete && counters.held() == 0) || Instant::now() >= deadline {
            return;
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
    use wakumix_role_api::sender::{Certainty, Way};

    use super::*;

    #[test]
    fn a_service_that_has_the_message_already_is_an_answer_to_a_later_try_alone() {
        let answer = |status, description: Option<&str>| Answer {
            certainty: Certainty::Confirmed,
            way: Way::Mixnet,
            tries: 1,
            packets: 1,
            status,
            description: description.map(str::to_owned),
            relay_peer_count: None,
            message_hash: None,
            round_trip: Duration::from_secs(1),
        };
        let published = Ok(Duration::from_secs(1));
        assert_eq!(judged(Ok(answer(200, None)), 1), published);
        assert_eq!(judged(Ok(answer(420, Some(DUPLICATE))), 2), published);
        assert_eq!(judged(Ok(answer(420, Some(DUPLICATE))), 1), Err("status_420".to_owned()));
        assert_eq!(judged(Ok(answer(420, Some("too old"))), 2), Err("status_420".to_owned()));
        assert_eq!(judged(Err(PushFailure::Busy), 3), Err("busy".to_owned()));
    }
}
