//! One request from acceptance to its outcome.

mod guard;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::{Reliability, fragment::MAX_PAYLOAD_LEN, random};
use wakumix_sphinx::PacketFormat;

use crate::{
    Anonymity, ClientConfig, ClientError, ExchangeAnswer, Exchanged, Exposure, Meaning, NotDispatched, Observation,
    Output, OwnNode, Request, RequestId, SendFailure, ServiceKind, SurbStore, TryId,
    client::readiness,
    conditions::Conditions,
    dispatch::{Content, Dispatch, Start},
    layout::Protection,
    network::Network,
    return_route::{Connected, ReturnRoute, reply_address},
    route::{Route, Surroundings, Wanted, choose, pool_problem},
    tries::{LastAnswer, Sent, Step, Tries},
    window::Window,
};

/// How long after its start a client waits for its pool: to be found, to be reached, to advertise what it offers. Nodes of one
/// machine that are started together need 6 to 9 s.
pub(crate) const SETTLING: Duration = Duration::from_secs(10);
/// How long a request waits for a guard to be connected again. A node that has lost them all dials them every other second.
const GUARDS_RETURN: Duration = Duration::from_secs(5);

/// Services that are known to have done a request. Overflow rule: forget all; what is lost is that a doubtful answer is
/// believed later.
const MAX_PROVEN: usize = 256;

/// What all requests share, and learn together.
pub(crate) struct Common {
    pub(crate) config: ClientConfig,
    /// In the order of preference.
    pub(crate) formats: Vec<Arc<dyn PacketFormat>>,
    pub(crate) own: OwnNode,
    pub(crate) network: Network,
    pub(crate) connected: Connected,
    /// Until when the directory may still be filling.
    pub(crate) filling_until: Duration,
    pub(crate) conditions: Conditions,
    pub(crate) window: Window,
    pub(crate) surbs: SurbStore,
    /// Services that have done a request of this client.
    pub(crate) proven: BTreeSet<PeerId>,
    /// Since when requests have no route; `None` while they have.
    pub(crate) without_route: Option<Duration>,
    /// Tries over each guard since the last one over it that was answered. Bound: the sample.
    pub(crate) silent: BTreeMap<PeerId, u32>,
}

impl Common {
    /// A deadline in a long silence says more than that it has passed.
    fn explained(&self, failure: ClientError) -> ClientError {
        match (failure, self.conditions.silence()) {
            (ClientError::Deadline { limit, tries }, Some(silent)) => {
                let address = reply_address(&self.own, self.network.directory(), &self.connected).map(Box::new);
                let wire = self.formats.first().map(|format| format.wire()).unwrap_or_default();
                ClientError::NoReplies { limit, tries, silent, address, wire }
            }
            (failure, _) => failure,
        }
    }
}

/// One call of the state machine: the time, the generator, what was seen of nodes, and where the outputs go.
pub(crate) struct Turn<'a, R> {
    pub(crate) now: Duration,
    pub(crate) rng: &'a mut R,
    pub(crate) reliability: &'a mut Reliability,
    pub(crate) outputs: &'a mut Vec<Output>,
}

/// A request that was accepted.
pub(crate) struct Exchange {
    pub(crate) id: RequestId,
    pub(crate) request: Request,
    pub(crate) phase: Phase,
    /// When it is to be looked at again.
    pub(crate) wake: Duration,
    accepted: Duration,
    limit: Duration,
    tries: Tries,
    /// The guard of all its tries, until its connection is gone or it is mute.
    guard: Option<PeerId>,
    /// Guards that were lost under it. Bound: the sample.
    lost_guards: BTreeSet<PeerId>,
    /// The try whose packets are made, or are to be made.
    building: Option<Building>,
    reply_blocks: usize,
    /// Answers that the client had got when the latest try left.
    answers_before: u64,
    is_seen_done: bool,
    /// When the first packet was handed over.
    first_left: Option<Duration>,
}

/// What a request waits for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// News of the directory that remove this hindrance.
    AwaitingRoute(ClientError),
    /// A place in the window; the number is its place in the queue.
    Queued(u64),
    /// Its answer. It has a place in the window.
    Active,
    /// The answer of a service that is asked directly.
    Direct,
}

/// A try on its way through a worker.
struct Building {
    start: Arc<Start>,
    number: usize,
    sent: Sent,
    reply_blocks: usize,
}

/// What a request does after something has happened to it.
pub(crate) enum Flow {
    /// It waits, as its phase says.
    Open,
    /// It wants a place in the window.
    Queue,
    /// It ends.
    Ended(Result<End, ClientError>),
}

/// How a request ends without error.
#[derive(Debug)]
pub(crate) enum End {
    Answered(LastAnswer),
    SeenDone,
}

impl Common {
    /// Somebody on the way has too much to do.
    fn slow_down(&mut self, now: Duration) {
        self.window.busy(now, self.conditions.round_trip());
    }

    /// Whether what discovery is doing may remove this hindrance.
    fn may_pass(&self, problem: &ClientError) -> bool {
        let directory = self.network.directory();
        let expected = usize::try_from(directory.pool.expected()).unwrap_or(usize::MAX);
        let is_hope = match *problem {
            ClientError::PoolTooSmall { usable, needed, .. } => usable.saturating_add(expected) >= needed,
            ClientError::NoExit { .. }
            | ClientError::ExitUnknown(_)
            | ClientError::TooLarge { .. }
            | ClientError::TooFewSubnets { .. } => expected > 0,
            // The pool is known, and being connected to.
            ClientError::NoGuard { .. } | ClientError::NoReplyAddress | ClientError::NoConnectedHop => return true,
            _ => return false,
        };
        is_hope || directory.is_searching
    }

    /// Looks whether requests have a route, for those that may go directly when they have none for long.
    pub(crate) fn look_for_route(&mut self, now: Duration) {
        let Self { own, network, connected, config, .. } = self;
        match readiness(own, network.directory(), connected, ServiceKind::LIGHTPUSH, config.min_subnets) {
            Ok(()) => self.without_route = None,
            Err(_) => _ = self.without_route.get_or_insert(now),
        }
    }

    /// How much longer there must be no route before a request goes directly that prefers anonymity; `None` once it may.
    /// Whoever keeps the pool away for a moment does not get to see who sends.
    pub(crate) fn direct_in(&self, now: Duration) -> Option<Duration> {
        let since = self.without_route?;
        let left = since.saturating_add(self.config.fallback_after).saturating_sub(now);
        Some(left).filter(|left| !left.is_zero())
    }

    fn remember_proven(&mut self, service: PeerId) {
        if self.proven.len() >= MAX_PROVEN {
            self.proven.clear();
        }
        self.proven.insert(service);
    }
}

impl Exchange {
    /// A request that is accepted now.
    pub(crate) fn new(id: RequestId, request: Request, now: Duration, common: &Common) -> Self {
        let ClientConfig { timeout, max_timeout, .. } = common.config;
        let limit = request.timeout.unwrap_or(timeout).min(max_timeout);
        let tries = Tries::new(limit, common.conditions.floor()).confirmed_by(request.reader.confirmations());
        Self {
            id,
            request,
            phase: Phase::Direct,
            wake: now.saturating_add(limit),
            accepted: now,
            limit,
            tries,
            guard: None,
            lost_guards: BTreeSet::new(),
            building: None,
            reply_blocks: 0,
            answers_before: 0,
            is_seen_done: false,
            first_left: None,
        }
    }

    /// Its first step. What can never be sent is refused before the request waits for its turn.
    pub(crate) fn begin<R: CryptoRng>(&mut self, common: &Common, turn: &mut Turn<'_, R>) -> Flow {
        let size = self.request.payload_len;
        if size > MAX_PAYLOAD_LEN {
            return Flow::Ended(Err(ClientError::PayloadTooLarge { size, limit: MAX_PAYLOAD_LEN }));
        }
        self.await_route(common, turn)
    }

    /// Refuses at once what can never be sent. A client that has just started waits for news, if there may be any: it may not
    /// have found or reached its pool yet, nor learnt which exits put fragments together. One whose guards have all hung up
    /// waits a moment for them to be dialled again. A request that can go directly does so.
    pub(crate) fn await_route<R: CryptoRng>(&mut self, common: &Common, turn: &mut Turn<'_, R>) -> Flow {
        match self.route(common, turn) {
            Ok(_) => Flow::Queue,
            Err(problem) => {
                let must_wait = self.request.anonymity == Anonymity::Required || common.direct_in(turn.now).is_some();
                let guards_wait = match problem {
                    ClientError::NoGuard { .. } => self.accepted.saturating_add(GUARDS_RETURN),
                    _ => Duration::ZERO,
                };
                let until = common.filling_until.max(guards_wait).min(self.deadline());
                if !must_wait || turn.now >= until || !common.may_pass(&problem) {
                    return Flow::Ended(Err(problem));
                }
                self.wake = until;
                self.phase = Phase::AwaitingRoute(problem);
                Flow::Open
            }
        }
    }

    /// Goes on as far as it can: the next try, or a time to look again.
    pub(crate) fn advance<R: CryptoRng>(&mut self, common: &mut Common, turn: &mut Turn<'_, R>) -> Flow {
        let until = loop {
            if self.building.is_some() {
                break None;
            }
            match self.tries.step(self.elapsed(turn.now)) {
                Step::Try => {
                    if let Some(ended) = self.make_try(common, turn) {
                        return Flow::Ended(ended);
                    }
                }
                Step::WaitUntil(until) => break Some(until),
                Step::Wait => break None,
                Step::Unreachable(failure) => {
                    return Flow::Ended(Err(self.tries.or_unconfirmed(ClientError::FirstHop(failure))));
                }
            }
        };
        self.wake = self.accepted.saturating_add(until.map_or(self.limit, |until| until.min(self.limit)));
        Flow::Open
    }

    /// What was waited for did not happen until [`Self::wake`].
    pub(crate) fn woken<R: CryptoRng>(&mut self, common: &mut Common, turn: &mut Turn<'_, R>) -> Flow {
        if self.phase == Phase::Direct {
            return Flow::Ended(Err(ClientError::Deadline { limit: self.limit, tries: 1 }));
        }
        if turn.now >= self.deadline() {
            return Flow::Ended(self.at_deadline(turn).map_err(|failure| common.explained(failure)));
        }
        match self.phase {
            Phase::AwaitingRoute(_) => self.await_route(common, turn),
            Phase::Active => {
                let (limit, answers) = (self.limit, self.answers_before);
                let (conditions, under_way) = (&common.conditions, common.window.taken());
                let timeout = |number, waited| conditions.timeout_after(waited, number, limit, under_way, answers);
                if self.tries.time_out(self.elapsed(turn.now), timeout) {
                    common.conditions.lost();
                    if let Some(guard) = self.guard {
                        common.was_silent(guard);
                    }
                    turn.observe(Observation::TryTimedOut);
                }
                if let Some(seen) = self.seen() {
                    return Flow::Ended(Ok(seen));
                }
                self.advance(common, turn)
            }
            Phase::Queued(_) | Phase::Direct => Flow::Open,
        }
    }

    /// The packets of a try were handed over.
    pub(crate) fn dispatched<R: CryptoRng>(
        &mut self,
        number: usize,
        common: &mut Common,
        turn: &mut Turn<'_, R>,
    ) -> Flow {
        if self.note_dispatched(number, common, turn.now) { self.advance(common, turn) } else { Flow::Open }
    }

    /// They were not.
    pub(crate) fn not_dispatched<R: CryptoRng>(
        &mut self,
        number: usize,
        reason: NotDispatched,
        common: &mut Common,
        turn: &mut Turn<'_, R>,
    ) -> Flow {
        if self.building.take_if(|building| building.number == number).is_none() {
            return Flow::Open;
        }
        match reason {
            NotDispatched::Congested | NotDispatched::Late => {
                common.slow_down(turn.now);
                self.tries.pause(self.elapsed(turn.now));
                self.advance(common, turn)
            }
            NotDispatched::Failed(failure) => Flow::Ended(Err(failure)),
        }
    }

    /// How a packet of a try left.
    pub(crate) fn at_first_hop<R: CryptoRng>(
        &mut self,
        number: usize,
        to: PeerId,
        left: Result<(), SendFailure>,
        common: &mut Common,
        turn: &mut Turn<'_, R>,
    ) -> Flow {
        self.note_dispatched(number, common, turn.now);
        let Err(failure) = left else {
            turn.reliability.first_hop_reached(&to);
            return Flow::Open;
        };
        match failure {
            SendFailure::Stopped => return Flow::Ended(Err(ClientError::Stopped)),
            SendFailure::QueueFull => common.slow_down(turn.now),
            SendFailure::DialFailed | SendFailure::NotConnected | SendFailure::WriteFailed => {
                self.lose_guard(&to);
                turn.reliability.first_hop_failed(turn.now, &to);
            }
        }
        if self.tries.not_left(self.elapsed(turn.now), number, to, failure) {
            turn.observe(Observation::TryNotLeft);
        }
        self.advance(common, turn)
    }

    /// A reply to a try was opened; `None` for one that was not sound and has used the try up.
    pub(crate) fn replied<R: CryptoRng>(
        &mut self,
        number: usize,
        answer: Option<Vec<u8>>,
        common: &mut Common,
        turn: &mut Turn<'_, R>,
    ) -> Flow {
        self.note_dispatched(number, common, turn.now);
        let Some(answer) = answer else { return Flow::Ended(Err(ClientError::Unsound)) };
        let elapsed = self.elapsed(turn.now);
        let Some((round_trip, service)) = self.tries.round_trip(number, elapsed) else { return Flow::Open };
        self.tries.ends(number).for_each(|end| _ = common.silent.remove(end));
        if self.tries.is_silent(number) {
            common.conditions.answered_late(round_trip);
        } else {
            common.conditions.answered(round_trip);
        }
        let is_trusted = common.proven.contains(&service);
        let meaning = self.request.reader.meaning(&answer);
        turn.observe(Observation::TryAnswered { is_done: meaning == Meaning::Done });
        match meaning.of_service() {
            Meaning::Later => common.slow_down(turn.now),
            Meaning::Done => common.remember_proven(service),
            _ => {}
        }
        let jitter = random::open_unit(turn.rng);
        let last = self.tries.answered(elapsed, number, (meaning, answer), is_trusted, jitter);
        // What this node has seen itself needs no other service.
        let seen = || self.is_seen_done.then(|| self.tries.take_confirmed()).flatten();
        match last.or_else(seen) {
            Some(last) => {
                common.window.answered(common.conditions.bears_more());
                Flow::Ended(Ok(End::Answered(last)))
            }
            None => self.advance(common, turn),
        }
    }

    /// What the request is for was seen to be done elsewhere.
    pub(crate) fn seen_done(&mut self) {
        self.is_seen_done = true;
    }

    /// Whether the request goes directly because of this failure: only while nothing of it has left. A try may have been served
    /// already, and a direct request that follows it would show whose it was.
    pub(crate) fn may_fall_back(&self, failure: &ClientError) -> bool {
        self.request.anonymity == Anonymity::Preferred && self.tries.is_unsent() && failure.is_mixnet_unusable()
    }

    /// Ends it: nothing more is built for it, and its credentials go. What a worker has begun leaves although nobody waits for
    /// it any more, and counts.
    pub(crate) fn close(&mut self, now: Duration, surbs: &SurbStore) {
        self.count_what_is_being_built(now);
        (0..self.tries.next_index()).for_each(|number| surbs.cancel(TryId { request: self.id, number }));
    }

    /// What is said of it, after [`Self::close`].
    pub(crate) fn exchanged(&self, now: Duration, end: End) -> Exchanged {
        let answer = match end {
            End::Answered(LastAnswer { answer, is_repeat: false }) => ExchangeAnswer::Said(answer),
            End::Answered(LastAnswer { answer, is_repeat: true }) => ExchangeAnswer::SaidOfRepeat(answer),
            End::SeenDone => ExchangeAnswer::SeenDone,
        };
        let round_trip = self.first_left.map_or(Duration::ZERO, |left| now.saturating_sub(left));
        Exchanged { answer, tries: self.tries.tries_left(), round_trip, exposure: self.exposure() }
    }

    /// Who has seen something of it.
    pub(crate) fn exposure(&self) -> Exposure {
        self.tries.exposure()
    }

    /// The time that is left.
    pub(crate) fn time_left(&self, now: Duration) -> Duration {
        self.deadline().saturating_sub(now)
    }

    fn deadline(&self) -> Duration {
        self.accepted.saturating_add(self.limit)
    }

    fn elapsed(&self, now: Duration) -> Duration {
        now.saturating_sub(self.accepted)
    }

    fn at_deadline<R>(&mut self, turn: &mut Turn<'_, R>) -> Result<End, ClientError> {
        self.count_what_is_being_built(turn.now);
        if let Some(seen) = self.seen() {
            return Ok(seen);
        }
        if let Phase::AwaitingRoute(problem) = &self.phase {
            return Err(problem.clone());
        }
        let outcome = self.tries.at_deadline();
        if matches!(outcome, Err(ClientError::Deadline { .. })) {
            turn.observe(Observation::DeadlinePassed { reply_blocks: self.reply_blocks });
        }
        outcome.map(End::Answered)
    }

    /// How the request ends if it was seen to be done: with the answer of a service, if one has said so too.
    fn seen(&mut self) -> Option<End> {
        let is_seen = !self.tries.is_unsent() && self.is_seen_done;
        is_seen.then(|| self.tries.take_confirmed().map_or(End::SeenDone, End::Answered))
    }

    fn count_what_is_being_built(&mut self, now: Duration) {
        if let Some(Building { start, sent, reply_blocks, .. }) = self.building.take()
            && !start.is_first()
        {
            self.tries.sent(self.elapsed(now), sent, Duration::ZERO);
            self.reply_blocks += reply_blocks;
        }
    }

    fn route<R: CryptoRng>(&self, common: &Common, turn: &mut Turn<'_, R>) -> Result<Route, ClientError> {
        let Common { network, connected, formats, own, config, .. } = common;
        let directory = network.directory();
        if let Some(problem) = pool_problem(directory, &own.peer, config.min_subnets) {
            return Err(problem);
        }
        let return_route = ReturnRoute::to(own, directory, connected)?;
        let wanted = Wanted {
            service: self.request.service,
            codec: &self.request.codec,
            exit: self.request.exit,
            topic: self.request.topic.as_ref(),
            len: self.request.bytes.len(),
        };
        let (reliability, now) = (&*turn.reliability, turn.now);
        let weight = &|peer: &PeerId| reliability.weight(now, peer);
        let guards = self.guards(common, weight, turn.rng);
        let guards = guards.as_deref();
        let around = Surroundings { network, connected, return_route: &return_route, formats, guards, weight };
        choose(turn.rng, around, wanted, self.protection(common), self.tries.history())
    }

    /// First tries have what is configured. Once loss is seen, in this request or lately in others, each packet has two reply
    /// blocks and a set of fragments one to spare.
    fn protection(&self, common: &Common) -> Protection {
        let least = usize::from(self.tries.next_number() > 1 || common.conditions.is_lossy());
        let parity = common.config.parity.max(u8::from(least > 0));
        Protection { surbs: common.config.surbs.max(1 + least), parity }
    }

    /// Chooses the route of the next try and has its packets built; the outcome, if the request ends with that.
    fn make_try<R: CryptoRng>(&mut self, common: &Common, turn: &mut Turn<'_, R>) -> Option<Result<End, ClientError>> {
        let route = match self.route(common, turn) {
            Ok(route) => route,
            Err(problem) => {
                let may_pass = common.may_pass(&problem);
                let outcome = self.tries.no_route(self.elapsed(turn.now), problem, may_pass)?;
                return Some(outcome.map(End::Answered));
            }
        };
        let ClientConfig { delay, hold, .. } = common.config;
        let holds = route.pairs.iter().map(|_| hold.sample(turn.rng, hold.encode())).collect();
        let (number, start) = (self.tries.next_index(), Arc::<Start>::default());
        self.guard = common.network.directory().guards.as_ref().and_then(|_| route.first_hop());
        let sent = sent(&route);
        self.building = Some(Building { start: Arc::clone(&start), number, sent, reply_blocks: route.reply_blocks() });
        let Route { kind, destination, layout, pairs, .. } = route;
        let (codec, bytes) = (Arc::clone(&self.request.codec), Arc::clone(&self.request.bytes));
        let content = Content::Request { pairs, destination, layout, codec, bytes };
        let id = TryId { request: self.id, number };
        let dispatch = Dispatch { id, holds, start, kind, content, delay_ms: delay.encode() };
        turn.outputs.push(Output::Dispatch(Box::new(dispatch)));
        None
    }

    /// Counts the try that was being built as sent; whether it was that one.
    fn note_dispatched(&mut self, number: usize, common: &Common, now: Duration) -> bool {
        let Some(built) = self.building.take_if(|building| building.number == number) else { return false };
        let Building { sent, reply_blocks, .. } = built;
        let timeout = common.conditions.response_timeout(self.tries.next_number(), self.limit);
        self.answers_before = common.conditions.answers();
        self.tries.sent(self.elapsed(now), sent, timeout);
        self.first_left.get_or_insert(now);
        self.reply_blocks += reply_blocks;
        true
    }
}

impl<R> Turn<'_, R> {
    pub(crate) fn observe(&mut self, observation: Observation) {
        self.outputs.push(Output::Observed(observation));
    }
}

fn sent(route: &Route) -> Sent {
    Sent {
        service: route.service,
        exit: route.exit(),
        ends: route.ends().collect(),
        reply_paths: route.reply_blocks(),
        hops: route.hops().collect(),
        packets: route.pairs.len(),
        spare: route.layout.spare(),
    }
}
