//! Sends the messages, follows the subscribers, keeps the tally.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{sync::Notify, time::Instant};
use wakumix_role_api::{relay::Received, sender::SenderHandle};
use wakumix_waku::MessageHash;

use super::{
    net::Net,
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
    }

    fn answered(&self, round_trip: Duration) {
        let mut counts = self.lock();
        counts.answered += 1;
        counts.round_trips.push(round_trip);
    }

    fn failed(&self, kind: String) {
        *self.lock().failed.entry(kind).or_default() += 1;
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
    let open = OPEN_REQUESTS * senders.len();
    futures::stream::iter((0..plan.options.messages).zip(senders.iter().cycle()))
        .for_each_concurrent(open, |(number, sender)| send(plan, sender, number, tally))
        .await;
}

async fn send(plan: &Plan, sender: &SenderHandle, number: u32, tally: &Tally) {
    let message = plan.message(number);
    tally.sending(message.hash(&plan.topic));
    match sender.push(message, Some(plan.topic.as_str().to_owned()), None, None).await {
        Ok(answer) if answer.status == 200 => tally.answered(answer.round_trip),
        Ok(answer) => tally.failed(format!("status_{}", answer.status)),
        Err(failure) => tally.failed(failure.kind().to_owned()),
    }
}

/// Waits until every subscriber has every message and no node holds a packet, or the limit passes.
pub(super) async fn settle(net: &Net, tally: &Tally, limit: Duration) {
    let deadline = Instant::now() + limit;
    loop {
        let changed = tally.changed.notified();
        let complete = tally.lock().received >= tally.expected_receptions;
        if (complete && net.held() == 0) || Instant::now() >= deadline {
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
