//! The tries of one request: when the next one goes out, and when the request ends. Times are since the request was
//! accepted.
//!
//! | what happens | what follows |
//! |---|---|
//! | it is done, now or before | the end, unless more services are to say so: then another one, through another exit |
//! | done if it is a repeat, and no other try may have got through | another service, if there is one |
//! | the same after a try without answer | the end if that service has done one before, or a second one says so too |
//! | a service or exit that cannot | another one, at once |
//! | a service that is busy | a pause, longer each time |
//! | no answer within the response timeout | another try; the earlier one may still be answered |
//! | a first hop that cannot be reached | another try over another hop, at once |
//! | no route is left, and nobody has refused | a pause and another look, if discovery may bring one; else the end |

mod confirmations;

use std::{collections::BTreeSet, time::Duration};

use libp2p_identity::PeerId;

use crate::{ClientError, Exposure, Meaning, SendFailure, route::History};
use confirmations::Confirmations;

/// Tries of a request at most: more than fit the default deadline, and a bound on credentials for longer ones.
pub(crate) const MAX_TRIES: usize = 16;
/// First hops that fail before a request gives up of which nothing has left.
const MAX_UNREACHED: usize = 8;
/// The first pause after a service has said that it is busy; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause after a full queue on this node or in front of a first hop: what a batch of packets takes to leave.
const CONGESTION_PAUSE: Duration = Duration::from_millis(20);

/// The tries of a request.
pub(crate) struct Tries {
    limit: Duration,
    /// A try that has less time than this is not made.
    least: Duration,
    tries: Vec<Try>,
    paused_until: Duration,
    pauses: u32,
    refusal: Option<Refusal>,
    unreached: Vec<SendFailure>,
    /// Services that answered [`Meaning::DoneIfRepeated`] while a try may have got through.
    doubts: BTreeSet<PeerId>,
    confirmations: Confirmations,
    history: History,
}

/// An answer that was no success.
struct Refusal {
    answer: Vec<u8>,
    is_of_service: bool,
}

struct Try {
    /// From 1; tries that did not leave are not counted.
    number: u32,
    service: PeerId,
    exit: PeerId,
    ends: Vec<PeerId>,
    hops: Vec<PeerId>,
    packets: usize,
    reply_paths: usize,
    /// Packets whose failure ends the try; counted down.
    spare: usize,
    left: Duration,
    times_out: Duration,
    state: TryState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TryState {
    /// It may be answered, and no other try is made until it times out.
    Awaited,
    /// It has timed out; it may still be answered.
    Silent,
    Answered,
    /// Its exit has answered and does not know whether it was done.
    Doubtful,
    /// It did not get past its first hop.
    NotLeft,
}

/// A try that goes out.
pub(crate) struct Sent {
    pub(crate) service: PeerId,
    /// Who takes it out of the mixnet.
    pub(crate) exit: PeerId,
    /// First hops, and last hops of replies.
    pub(crate) ends: Vec<PeerId>,
    pub(crate) hops: Vec<PeerId>,
    pub(crate) reply_paths: usize,
    pub(crate) packets: usize,
    /// Packets that may be lost.
    pub(crate) spare: usize,
}

/// The answer that ends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastAnswer {
    /// Its application bytes.
    pub(crate) answer: Vec<u8>,
    /// Whether it is taken for the answer to a repeat of what is done.
    pub(crate) is_repeat: bool,
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

impl Tries {
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
            confirmations: Confirmations::of(1),
            history: History::default(),
        }
    }

    /// The same request, done when so many services have said so.
    pub(crate) fn confirmed_by(mut self, services: usize) -> Self {
        self.confirmations = Confirmations::of(services);
        self
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
        count(self.tries.iter().filter(|sent| sent.state != TryState::NotLeft).count())
    }

    /// Who has seen something of it.
    pub(crate) fn exposure(&self) -> Exposure {
        let different = |peers: BTreeSet<PeerId>| count(peers.len());
        Exposure {
            guards: different(self.tries.iter().flat_map(|sent| &sent.ends).copied().collect()),
            exits: different(self.tries.iter().map(|sent| sent.exit).collect()),
            packets: count(self.tries.iter().map(|sent| sent.packets).sum()),
            reply_paths: count(self.tries.iter().map(|sent| sent.reply_paths).sum()),
        }
    }

    /// Whether nothing was ever handed over.
    pub(crate) fn is_unsent(&self) -> bool {
        self.tries.is_empty()
    }

    /// What to do now.
    pub(crate) fn step(&self, now: Duration) -> Step {
        if let Some(awaited) = self.tries.iter().find(|sent| sent.state == TryState::Awaited) {
            return Step::WaitUntil(awaited.times_out);
        }
        let is_answerable = self.tries.iter().any(|sent| sent.state == TryState::Silent);
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
    pub(crate) fn sent(&mut self, now: Duration, sent: Sent, timeout: Duration) -> usize {
        let Sent { service, exit, ends, hops, packets, reply_paths, spare } = sent;
        *self.history.asked.entry(service).or_default() += 1;
        let (number, left, times_out) = (self.next_number(), now, now + timeout);
        let state = TryState::Awaited;
        self.tries.push(Try { number, service, exit, ends, hops, packets, reply_paths, spare, left, times_out, state });
        self.tries.len() - 1
    }

    /// Lets the try that is awaited time out, if it is time; whether it was. `timeout` says how long the try with a number is
    /// to be waited for that has been waited for so long.
    pub(crate) fn time_out(&mut self, now: Duration, timeout: impl FnOnce(u32, Duration) -> Duration) -> bool {
        let is_over = |sent: &&mut Try| sent.state == TryState::Awaited && sent.times_out <= now;
        let Some(silent) = self.tries.iter_mut().find(is_over) else { return false };
        let waited = now.saturating_sub(silent.left);
        let timeout = timeout(silent.number, waited);
        if timeout > waited {
            silent.times_out = silent.left + timeout;
            return false;
        }
        silent.state = TryState::Silent;
        self.history.hops.extend(silent.hops.iter().copied());
        true
    }

    /// Waits no longer for the try that is awaited, of which nobody has lost anything; it may still be answered.
    pub(crate) fn give_up(&mut self) {
        self.tries
            .iter_mut()
            .filter(|sent| sent.state == TryState::Awaited)
            .for_each(|sent| sent.state = TryState::Silent);
    }

    /// How long the answer to a try took, and which service gave it.
    pub(crate) fn round_trip(&self, number: usize, now: Duration) -> Option<(Duration, PeerId)> {
        let answered = self.tries.get(number)?;
        Some((now.saturating_sub(answered.left), answered.service))
    }

    /// First hops, and last hops of replies, of a try.
    pub(crate) fn ends(&self, number: usize) -> impl Iterator<Item = &PeerId> {
        self.tries.get(number).into_iter().flat_map(|sent| &sent.ends)
    }

    /// Whether a try has timed out and no answer to it has come.
    pub(crate) fn is_silent(&self, number: usize) -> bool {
        self.tries.get(number).is_some_and(|sent| sent.state == TryState::Silent)
    }

    /// A try was answered. `trusted` says whether its service has done a request of this client before, `jitter` is a number
    /// from 0 to 1 that draws pauses apart. The outcome, if this is the end.
    pub(crate) fn answered(
        &mut self,
        now: Duration,
        number: usize,
        (meaning, answer): (Meaning, Vec<u8>),
        trusted: bool,
        jitter: f64,
    ) -> Option<LastAnswer> {
        let may_have_got_through = self.may_have_got_through(number);
        let answered = self.tries.get_mut(number)?;
        answered.state = if meaning.may_be_done() { TryState::Doubtful } else { TryState::Answered };
        let (exit, service) = (answered.exit, answered.service);
        let refusal = Refusal { answer, is_of_service: meaning.is_of_service() };
        match meaning.of_service() {
            Meaning::DoneIfRepeated if may_have_got_through && !self.confirmations.are_from(&exit, &service) => {
                self.doubts.insert(service);
                if trusted || self.doubts.len() > 1 {
                    return self.confirmed(number, LastAnswer { answer: refusal.answer, is_repeat: true });
                }
                self.refuse(service, refusal);
            }
            Meaning::DoneIfRepeated | Meaning::Elsewhere => self.refuse(service, refusal),
            // One service has done it already; that another does not want it says nothing of the first.
            Meaning::Final if self.confirmations.are_begun() => self.refuse(service, refusal),
            Meaning::Later => {
                self.refusal = Some(refusal);
                let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.pauses)).min(LONGEST_PAUSE);
                self.pauses = (self.pauses + 1).min(8);
                self.paused_until = now + pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0));
            }
            Meaning::Done => {
                return self.confirmed(number, LastAnswer { answer: refusal.answer, is_repeat: false });
            }
            // An exit's answer was translated above.
            Meaning::Final | Meaning::Exit(_) | Meaning::Unreadable => {
                return Some(LastAnswer { answer: refusal.answer, is_repeat: false });
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
        if matches!(sent.state, TryState::Answered | TryState::Doubtful | TryState::NotLeft) {
            return false;
        }
        sent.state = TryState::NotLeft;
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
        problem: ClientError,
        may_pass: bool,
    ) -> Option<Result<LastAnswer, ClientError>> {
        if self.tries.is_empty() {
            return Some(Err(problem));
        }
        if !self.doubts.is_empty()
            && self.confirmations.are_enough_with(self.doubts.len())
            && let Some(refusal) = self.refusal.take_if(|refusal| refusal.is_of_service)
        {
            // Nobody else can be asked, and a try may have got through: what the doubt then means most likely.
            let last = LastAnswer { answer: refusal.answer, is_repeat: true };
            return Some(Ok(self.take_confirmed().unwrap_or(last)));
        }
        // What may come later is no reason to keep somebody waiting whose message was published, as far as is known.
        let may_wait = may_pass && self.refusal.is_none() && !self.confirmations.are_begun();
        if self.is_answerable() || may_wait {
            self.paused_until = self.paused_until.max(now + FIRST_PAUSE);
            return None;
        }
        Some(self.failed(problem))
    }

    /// The outcome when the deadline is reached.
    pub(crate) fn at_deadline(&mut self) -> Result<LastAnswer, ClientError> {
        if self.is_answerable() && !self.confirmations.are_begun() {
            return Err(ClientError::Deadline { limit: self.limit, tries: self.tries_left() });
        }
        self.failed(ClientError::Busy)
    }

    /// The first answer that said that it is done, if it was not enough.
    pub(crate) fn take_confirmed(&mut self) -> Option<LastAnswer> {
        self.confirmations.take()
    }

    /// Why the request ends without more confirmations, if it has some but not all, else `problem`.
    pub(crate) fn or_unconfirmed(&self, problem: ClientError) -> ClientError {
        self.confirmations.or_unconfirmed(problem)
    }

    /// What the last answer said that was no success, else why nothing left, else `problem`. What is done, as far as one service
    /// says, is not refused because another one does not say so.
    fn failed(&mut self, problem: ClientError) -> Result<LastAnswer, ClientError> {
        if self.confirmations.are_begun() {
            return Err(self.or_unconfirmed(problem));
        }
        match (self.refusal.take(), self.unreached.last()) {
            (Some(refusal), _) => Ok(LastAnswer { answer: refusal.answer, is_repeat: false }),
            (None, Some(&failure)) => Err(ClientError::FirstHop(failure)),
            (None, None) => Err(problem),
        }
    }

    fn is_answerable(&self) -> bool {
        self.tries.iter().any(|sent| matches!(sent.state, TryState::Awaited | TryState::Silent))
    }

    /// The service of a try says that it is done. The outcome, if no other one has to say so too.
    fn confirmed(&mut self, number: usize, answer: LastAnswer) -> Option<LastAnswer> {
        let Try { exit, service, hops, .. } = self.tries.get(number)?;
        let enough = self.confirmations.add(*exit, *service, answer);
        if enough.is_some() {
            return enough;
        }
        // Another service is asked, through others as far as the pool allows.
        self.doubts.remove(service);
        self.history.refused.insert(*service);
        self.history.hops.extend(hops.iter().copied());
        None
    }

    /// Whether another try left before this one and has not been answered, or one was done as far as its service says.
    fn may_have_got_through(&self, number: usize) -> bool {
        if self.confirmations.are_begun() {
            return true;
        }
        let mut earlier = self.tries.iter().take(number);
        earlier.any(|sent| matches!(sent.state, TryState::Awaited | TryState::Silent | TryState::Doubtful))
    }

    /// A service that cannot; a second one is asked.
    fn refuse(&mut self, service: PeerId, refusal: Refusal) {
        self.history.refused.insert(service);
        self.refusal = Some(refusal);
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
