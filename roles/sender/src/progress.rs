//! The tries of one request: when the next one goes out, and when the request ends. Rules without I/O; times are since the
//! request was accepted.
//!
//! | what happens | what follows |
//! |---|---|
//! | published, or the service already has the message | the end |
//! | 505 and nothing else may have got through | another service, if there is one |
//! | 505 after a try without answer | the end if that service has published before, or a second one says so too |
//! | a service or exit that cannot | another one, at once |
//! | a service that is busy | a pause, longer each time |
//! | no answer within patience | another try; the earlier one may still be answered |
//! | a first hop that cannot be reached | another try over another hop, at once |
//! | no route is left, and nobody has refused | a pause and another look, if discovery may bring one; else the end |

use std::{collections::BTreeSet, time::Duration};

use libp2p_identity::PeerId;
use wakumix_role_api::{host::SendFailure, sender::PushFailure};

use crate::{
    answer::{Meaning, Refusal, Verdict},
    route::History,
};

/// Tries of a request at most: more than fit the default deadline, and a bound on credentials for longer ones.
pub(crate) const MAX_TRIES: usize = 16;
/// First hops that fail before a request gives up of which nothing has left.
const MAX_UNREACHED: usize = 8;
/// The first pause after a service has said that it is busy; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause after a full queue on this node or in front of a first hop: what a batch of packets takes to leave.
pub(crate) const CONGESTION_PAUSE: Duration = Duration::from_millis(20);

/// The tries of a request.
pub(crate) struct Progress {
    limit: Duration,
    /// A try that has less time than this is not made.
    least: Duration,
    tries: Vec<Try>,
    paused_until: Duration,
    pauses: u32,
    refusal: Option<Refusal>,
    unreached: Vec<SendFailure>,
    /// Services that answered 505 while a try may have got through.
    doubts: BTreeSet<PeerId>,
    history: History,
}

struct Try {
    /// From 1; tries that did not leave are not counted.
    number: u32,
    service: PeerId,
    hops: Vec<PeerId>,
    packets: usize,
    /// Packets whose failure ends the try; counted down.
    spare: usize,
    departed: Duration,
    patience_ends: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may be answered, and no other try is made until patience ends.
    Awaited,
    /// Patience has ended; it may still be answered.
    Silent,
    Answered,
    /// Its exit has answered and cannot tell whether the message was published.
    Doubtful,
    /// It did not get past its first hop.
    NotLeft,
}

/// A try that goes out.
pub(crate) struct Sent {
    pub(crate) service: PeerId,
    pub(crate) hops: Vec<PeerId>,
    pub(crate) packets: usize,
    /// Packets that may be lost.
    pub(crate) spare: usize,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make a try.
    Try,
    /// Wait for answers until then.
    WaitUntil(Duration),
    /// Wait for answers until the deadline.
    Wait,
    /// Give up: no first hop can be reached.
    Unreachable(SendFailure),
}

impl Progress {
    /// A request that was accepted now.
    pub(crate) fn new(limit: Duration, least: Duration) -> Self {
        Self {
            limit,
            least,
            tries: Vec::new(),
            paused_until: Duration::ZERO,
            pauses: 0,
            refusal: None,
            unreached: Vec::new(),
            doubts: BTreeSet::new(),
            history: History::default(),
        }
    }

    /// What earlier tries have shown, for the choice of the next route.
    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// The number of the next try, from 1; those that did not leave are not counted.
    pub(crate) fn next_number(&self) -> u32 {
        self.tries_left() + 1
    }

    /// What [`Self::sent`] will call the next try.
    pub(crate) fn next_index(&self) -> usize {
        self.tries.len()
    }

    /// How often the request has left.
    pub(crate) fn tries_left(&self) -> u32 {
        count(self.tries.iter().filter(|sent| sent.state != State::NotLeft).count())
    }

    /// Packets that were made for it.
    pub(crate) fn packets(&self) -> u32 {
        count(self.tries.iter().map(|sent| sent.packets).sum())
    }

    /// Whether nothing was ever handed over.
    pub(crate) fn is_unsent(&self) -> bool {
        self.tries.is_empty()
    }

    /// What to do now.
    pub(crate) fn step(&self, now: Duration) -> Step {
        if let Some(awaited) = self.tries.iter().find(|sent| sent.state == State::Awaited) {
            return Step::WaitUntil(awaited.patience_ends);
        }
        let is_answerable = self.tries.iter().any(|sent| sent.state == State::Silent);
        if let Some(&failure) = self.unreached.last()
            && self.unreached.len() >= MAX_UNREACHED
            && !is_answerable
        {
            return Step::Unreachable(failure);
        }
        let has_time = self.tries.is_empty() || self.limit.saturating_sub(now.max(self.paused_until)) >= self.least;
        if self.tries.len() >= MAX_TRIES || !has_time {
            return Step::Wait;
        }
        if now < self.paused_until { Step::WaitUntil(self.paused_until) } else { Step::Try }
    }

    /// A try goes out; its number, for answers.
    pub(crate) fn sent(&mut self, now: Duration, sent: Sent, patience: Duration) -> usize {
        let Sent { service, hops, packets, spare } = sent;
        *self.history.asked.entry(service).or_default() += 1;
        let (number, departed, patience_ends) = (self.next_number(), now, now + patience);
        self.tries.push(Try { number, service, hops, packets, spare, departed, patience_ends, state: State::Awaited });
        self.tries.len() - 1
    }

    /// Ends patience with the try that is awaited, if it is time; whether it was. `patience` says how long the try with a
    /// number is to be waited for that has been waited for so long.
    pub(crate) fn end_patience(&mut self, now: Duration, patience: impl FnOnce(u32, Duration) -> Duration) -> bool {
        let is_over = |sent: &&mut Try| sent.state == State::Awaited && sent.patience_ends <= now;
        let Some(silent) = self.tries.iter_mut().find(is_over) else { return false };
        let waited = now.saturating_sub(silent.departed);
        let patience = patience(silent.number, waited);
        if patience > waited {
            silent.patience_ends = silent.departed + patience;
            return false;
        }
        silent.state = State::Silent;
        self.history.hops.extend(silent.hops.iter().copied());
        true
    }

    /// How long the answer to a try took, and who gave it.
    pub(crate) fn round_trip(&self, number: usize, now: Duration) -> Option<(Duration, PeerId)> {
        let answered = self.tries.get(number)?;
        Some((now.saturating_sub(answered.departed), answered.service))
    }

    /// Whether patience with a try has ended and no answer to it has come.
    pub(crate) fn is_silent(&self, number: usize) -> bool {
        self.tries.get(number).is_some_and(|sent| sent.state == State::Silent)
    }

    /// A try was answered. `trusted` tells whether its service has published for this sender before, `jitter` is a number
    /// from 0 to 1 that draws pauses apart. The outcome, if this is the end.
    pub(crate) fn answered(
        &mut self,
        now: Duration,
        number: usize,
        meaning: Meaning,
        trusted: bool,
        jitter: f64,
    ) -> Option<Verdict> {
        let service = self.tries.get_mut(number).map(|answered| {
            answered.state = State::Answered;
            answered.service
        })?;
        match meaning {
            Meaning::Published(verdict) | Meaning::Final(verdict) => return Some(verdict),
            Meaning::NoPeers(verdict) if self.may_have_got_through(number) => {
                self.doubts.insert(service);
                if trusted || self.doubts.len() > 1 {
                    return Some(published(verdict));
                }
                self.refuse(service, Refusal::Service(verdict));
            }
            Meaning::NoPeers(verdict) => self.refuse(service, Refusal::Service(verdict)),
            Meaning::Elsewhere(refusal) => {
                if refusal.may_be_done()
                    && let Some(answered) = self.tries.get_mut(number)
                {
                    answered.state = State::Doubtful;
                }
                self.refuse(service, refusal);
            }
            Meaning::Later(refusal) => {
                self.refusal = Some(refusal);
                let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.pauses)).min(LONGEST_PAUSE);
                self.pauses = (self.pauses + 1).min(8);
                self.paused_until = now + pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0));
            }
        }
        None
    }

    /// A packet of a try did not get past its first hop. Whether that ends the try.
    pub(crate) fn not_left(&mut self, now: Duration, number: usize, first_hop: PeerId, failure: SendFailure) -> bool {
        if failure == SendFailure::QueueFull {
            self.pause(now);
        } else {
            self.history.hops.insert(first_hop);
        }
        let Some(sent) = self.tries.get_mut(number) else { return false };
        if sent.spare > 0 {
            sent.spare -= 1;
            return false;
        }
        if matches!(sent.state, State::Answered | State::Doubtful | State::NotLeft) {
            return false;
        }
        sent.state = State::NotLeft;
        // The service was not asked, and its turn does not count.
        if let Some(asked) = self.history.asked.get_mut(&sent.service) {
            *asked = asked.saturating_sub(1);
        }
        self.unreached.push(failure);
        true
    }

    /// Nothing can leave now: a full queue, no free buffer.
    pub(crate) fn pause(&mut self, now: Duration) {
        self.paused_until = self.paused_until.max(now + CONGESTION_PAUSE);
    }

    /// No route is left, for this reason: the outcome, unless a try may still be answered, or the reason `may_pass` and nobody
    /// has refused: then there may be a route later.
    pub(crate) fn no_route(
        &mut self,
        now: Duration,
        problem: PushFailure,
        may_pass: bool,
    ) -> Option<Result<Verdict, PushFailure>> {
        if self.tries.is_empty() {
            return Some(Err(problem));
        }
        if !self.doubts.is_empty()
            && let Some(Refusal::Service(verdict)) = &self.refusal
        {
            // Nobody else can be asked, and a try may have got through: what 505 then means most likely.
            return Some(Ok(published(verdict.clone())));
        }
        if self.is_answerable() || (may_pass && self.refusal.is_none()) {
            self.paused_until = self.paused_until.max(now + FIRST_PAUSE);
            return None;
        }
        Some(self.failed(problem))
    }

    /// The outcome when the deadline is reached.
    pub(crate) fn at_deadline(&mut self) -> Result<Verdict, PushFailure> {
        if self.is_answerable() {
            return Err(PushFailure::Deadline { limit: self.limit, tries: self.tries_left() });
        }
        self.failed(PushFailure::Busy)
    }

    /// What the last answer said that was no success, else why nothing left, else `problem`.
    fn failed(&mut self, problem: PushFailure) -> Result<Verdict, PushFailure> {
        match (self.refusal.take(), self.unreached.last()) {
            (Some(refusal), _) => refusal.outcome(),
            (None, Some(&failure)) => Err(PushFailure::FirstHop(failure)),
            (None, None) => Err(problem),
        }
    }

    fn is_answerable(&self) -> bool {
        self.tries.iter().any(|sent| matches!(sent.state, State::Awaited | State::Silent))
    }

    /// Whether another try left before this one and has not been answered.
    fn may_have_got_through(&self, number: usize) -> bool {
        let mut earlier = self.tries.iter().take(number);
        earlier.any(|sent| matches!(sent.state, State::Awaited | State::Silent | State::Doubtful))
    }

    /// A service that cannot; a second one is asked.
    fn refuse(&mut self, service: PeerId, refusal: Refusal) {
        self.history.refused.insert(service);
        self.refusal = Some(refusal);
    }
}

/// Status 200 in place of what a service answers that has the message.
fn published(verdict: Verdict) -> Verdict {
    Verdict { status: wakumix_waku::lightpush::StatusCode::SUCCESS.0, relay_peer_count: None, ..verdict }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
