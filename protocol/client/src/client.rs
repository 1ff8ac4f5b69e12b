//! The state machine: inputs in, outputs out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::{DelayLaw, Reliability};
use wakumix_sphinx::{PacketFormat, Weaknesses};

use crate::{
    Anonymity, ClientError, DirectorySnapshot, Dispatch, Exchanged, Exposure, LoopOutcome, LoopRequest, NotDispatched,
    OwnNode, Request, RequestId, SendFailure, ServiceKind, SurbStore, TryId,
    admission::{Admission, AdmissionLimits},
    conditions::Conditions,
    exchange::{Common, End, Exchange, Flow, Phase, SETTLING, Turn},
    guards::DEFAULT_GUARDS,
    layout::MAX_PACKETS,
    network::Network,
    probe::Probe,
    return_route::{Connected, ReturnRoute},
    route::{has_service, no_guard, pool_problem},
    tries::MAX_TRIES,
    window::{self, Window},
};

/// How long a caller waits for the answer, from acceptance. A request and its answer are held six times (sender, two hops,
/// exit, two hops), 300 ms on average (`spec/mix-wire.md §14`), so that about eight tries fit: with one packet in ten lost on
/// every link, 99.98 % are answered (`docs/sending.md`).
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait that a caller may ask for; what nwaku's newest clients allow a request (`spec/waku.md §5.6`).
pub const DEFAULT_MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// Reply blocks in a request: one, as Waku's clients send (`spec/waku.md §5.5`); each costs 734 bytes of payload.
pub const DEFAULT_SURBS: usize = 1;
/// Requests that may wait for their answers, or to leave, at a time: a burst of 400 fits. Each holds about 4 KiB until it ends.
pub const DEFAULT_IN_FLIGHT: usize = 512;
/// Bytes of the messages of all open requests: as many of the largest payload as [`DEFAULT_IN_FLIGHT`], twice.
pub const DEFAULT_QUEUE_BYTES: usize = 4 << 20;
/// Requests with a try under way. At a third of a second for a round trip 64 are about 190 requests per second, so that a burst
/// of 400 takes two seconds and leaves the rest of the deadline to retries; 64 packets at once fill no queue of a mixer.
pub const DEFAULT_WINDOW: usize = 4 * window::FIRST;
/// Fragments beyond those that are needed, before any loss is seen.
pub const DEFAULT_PARITY: u8 = 0;

/// Networks (/24) that the pool must be in: with three, nobody has first hop, exit and last reply hop.
pub const DEFAULT_MIN_SUBNETS: usize = 3;
/// How long there must be no route before a request goes directly that prefers anonymity. Whoever keeps a node from its pool
/// has to do so for a minute, and that minute shows.
pub const DEFAULT_FALLBACK_AFTER: Duration = Duration::from_secs(60);

/// What a client is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// How long a caller waits who names no limit.
    pub timeout: Duration,
    /// The longest limit that a caller can name; longer ones are cut to it. Credentials live as long.
    pub max_timeout: Duration,
    /// Reply blocks in each packet of a first try, 1 to 5, as far as they fit. Retries, and first tries while loss is seen,
    /// have two at least.
    pub surbs: usize,
    /// For requests that travel in fragments: how many of a first try may be lost. Retries, and first tries while loss is seen,
    /// have one at least.
    pub parity: u8,
    /// Requests and loops that may be open at a time.
    pub in_flight: usize,
    /// Bytes that open requests may hold.
    pub queue_bytes: usize,
    /// Requests that may have a try under way at most; the others wait in the order of acceptance. 64 at first; more while answers
    /// come as fast as before and are not lost, fewer when somebody is busy.
    pub window: usize,
    /// Guards in use, of those that the directory samples.
    pub guards: usize,
    /// Networks that the pool must be in, where the directory counts them; 0 asks for none.
    pub min_subnets: usize,
    /// How long there must be no route before a request goes directly that prefers anonymity.
    pub fallback_after: Duration,
    /// The delay that each hop on the way is asked for.
    pub delay: DelayLaw,
    /// How long a packet waits here before it leaves.
    pub hold: DelayLaw,
}

impl Default for ClientConfig {
    /// What the sender role begins with (`docs/sending.md`).
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            max_timeout: DEFAULT_MAX_TIMEOUT,
            surbs: DEFAULT_SURBS,
            parity: DEFAULT_PARITY,
            in_flight: DEFAULT_IN_FLIGHT,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            window: DEFAULT_WINDOW,
            guards: DEFAULT_GUARDS,
            min_subnets: DEFAULT_MIN_SUBNETS,
            fallback_after: DEFAULT_FALLBACK_AFTER,
            delay: DelayLaw::default(),
            hold: DelayLaw::default(),
        }
    }
}

/// What happens to a client.
#[derive(Debug)]
pub enum Input {
    /// Something is to be asked; no open request or loop has this id.
    Request(RequestId, Box<Request>),
    /// A packet is to be sent through a node and back.
    Loop(RequestId, LoopRequest),
    /// Nobody waits for a request or loop any more: its caller has gone, or has the answer of a direct request.
    Forget(RequestId),
    /// What the caller asked for was seen to be done; stands for an answer if none comes.
    SeenDone(RequestId),
    /// The network as it is known now.
    Directory(Arc<DirectorySnapshot>),
    /// This node as it is now.
    OwnNode(OwnNode),
    /// This node is connected to a peer.
    Connected(PeerId),
    /// It is no longer.
    Disconnected(PeerId),
    /// The packets of a try, or the one of a loop, were handed over.
    Dispatched(TryId),
    /// They were not, and their credentials are not kept.
    NotDispatched(TryId, NotDispatched),
    /// A packet was written to its first hop, or could not be.
    FirstHop {
        /// The try.
        id: TryId,
        /// The first hop.
        to: PeerId,
        /// How it left.
        left: Result<(), SendFailure>,
    },
    /// A reply was [opened](SurbStore::open); `None` if its try is used up although it was not sound.
    Reply(TryId, Option<Vec<u8>>),
    /// Time has passed: [`Client::next_wake`] is reached.
    Tick,
    /// No more requests are taken; those that are open may still be answered.
    Close,
    /// Those that are open end now.
    End,
}

/// What a shell is to do.
#[derive(Debug)]
pub enum Output {
    /// Build these packets and hand them over.
    Dispatch(Box<Dispatch>),
    /// Ask a service directly, within this time, and then forget the request: it wants no anonymity, or the mixnet cannot be
    /// used for this reason.
    AskDirectly {
        /// The request.
        id: RequestId,
        /// Why not over the mixnet, if it was to go there.
        reason: Option<ClientError>,
        /// The time that is left.
        limit: Duration,
    },
    /// A request has ended. It holds nothing any more.
    Ended(RequestId, Result<Exchanged, ClientError>),
    /// A loop has ended. It holds nothing any more.
    LoopEnded(RequestId, Result<LoopOutcome, ClientError>),
    /// Something to be counted.
    Observed(Observation),
}

/// What a client has seen, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation {
    /// A try was answered.
    TryAnswered {
        /// Whether what was asked for is done.
        is_done: bool,
    },
    /// A try was not answered within its response timeout.
    TryTimedOut,
    /// A try did not get past its first hop.
    TryNotLeft,
    /// A request over the mixnet has ended that was exposed so often.
    Exposed(Exposure),
    /// A request with so many reply blocks was not answered in time.
    DeadlinePassed {
        /// How many.
        reply_blocks: usize,
    },
}

/// How long after its limit a direct request is forgotten whose shell has not said so.
const DIRECT_GRACE: Duration = Duration::from_secs(1);

/// The mix client.
///
/// Times are durations since an epoch of the caller's choice and must not run backwards. All state is ephemeral: it dies with
/// the process, and so do the answers.
pub struct Client {
    common: Common,
    admission: Admission,
    exchanges: BTreeMap<RequestId, Exchange>,
    probes: BTreeMap<RequestId, Probe>,
    /// Requests that wait for a place in the window, in the order of acceptance.
    queue: BTreeMap<u64, RequestId>,
    next_in_queue: u64,
    /// When which request or loop is to be looked at.
    wakes: BTreeSet<(Duration, RequestId)>,
}

/// The moment at which a client is given an input.
pub struct Moment<'a, R> {
    /// The time.
    pub now: Duration,
    /// The generator from which every choice is drawn.
    pub rng: &'a mut R,
    /// What the node has seen of how well others carry packets, on the same clock. The client draws by it, and adds what it
    /// sees of first hops.
    pub reliability: &'a mut Reliability,
}

impl Client {
    /// A client that has asked nothing yet and knows nobody. `formats` are those that it makes packets in, the one that it
    /// prefers first. Until `started` + 10 s requests wait for what the directory may still find.
    #[must_use]
    pub fn new(
        config: ClientConfig,
        formats: Vec<Arc<dyn PacketFormat>>,
        own: OwnNode,
        started: Duration,
        weaknesses: Weaknesses,
    ) -> Self {
        let limits = AdmissionLimits { requests: config.in_flight, bytes: config.queue_bytes };
        let common = Common {
            formats,
            own,
            network: Network::default(),
            connected: Connected::new(),
            filling_until: started.saturating_add(SETTLING),
            conditions: Conditions::new(config.hold, config.delay),
            window: Window::new(config.window),
            surbs: SurbStore::new(config.max_credentials(), config.max_timeout, weaknesses),
            proven: BTreeSet::new(),
            without_route: Some(started),
            silent: BTreeMap::new(),
            config,
        };
        Self {
            common,
            admission: Admission::new(limits),
            exchanges: BTreeMap::new(),
            probes: BTreeMap::new(),
            queue: BTreeMap::new(),
            next_in_queue: 0,
            wakes: BTreeSet::new(),
        }
    }

    /// Takes an input and appends what is to be done.
    pub fn handle<R: CryptoRng>(&mut self, moment: Moment<'_, R>, input: Input, outputs: &mut Vec<Output>) {
        let Moment { now, rng, reliability } = moment;
        let turn = &mut Turn { now, rng, reliability, outputs };
        match input {
            Input::Request(id, request) => self.request(id, *request, turn),
            Input::Loop(id, request) => self.probe(id, request, turn),
            Input::Forget(id) => self.forget(id, turn.now),
            Input::SeenDone(id) => {
                if let Some(exchange) = self.exchanges.get_mut(&id) {
                    exchange.seen_done();
                }
            }
            Input::Directory(directory) => {
                self.common.network = Network::new(directory);
                self.look_for_routes(turn);
            }
            Input::OwnNode(own) => {
                self.common.own = own;
                self.look_for_routes(turn);
            }
            Input::Connected(peer) => {
                self.common.connected.insert(peer);
                self.look_for_routes(turn);
            }
            Input::Disconnected(peer) => {
                self.common.connected.remove(&peer);
                self.disconnected(&peer, turn);
            }
            Input::Dispatched(id) => self.dispatched(id, turn),
            Input::NotDispatched(id, reason) => self.not_dispatched(id, reason, turn),
            Input::FirstHop { id, to, left } => self.at_first_hop(id, to, left, turn),
            Input::Reply(id, answer) => self.replied(id, answer, turn),
            Input::Tick => self.tick(turn),
            Input::Close => self.admission.close(),
            Input::End => self.end_all(turn),
        }
        self.fill_window(turn);
    }

    /// When [`Input::Tick`] is due; `None` while nothing waits.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let wake = self.wakes.first().map(|(wake, _)| *wake);
        wake.into_iter().chain(self.common.surbs.next_deadline()).min()
    }

    /// The store of what opens the replies to this client's packets.
    #[must_use]
    pub fn surbs(&self) -> SurbStore {
        self.common.surbs.clone()
    }

    /// Whether a request would be taken that holds so many bytes.
    ///
    /// # Errors
    /// [`ClientError::Busy`], [`ClientError::Stopped`].
    pub fn has_room(&self, bytes: usize) -> Result<(), ClientError> {
        self.admission.check(bytes)
    }

    /// Requests and loops that are open.
    #[must_use]
    pub fn open_requests(&self) -> usize {
        self.admission.requests()
    }

    /// How many requests may have a try under way now.
    #[must_use]
    pub fn window(&self) -> usize {
        self.common.window.size()
    }

    /// Tries without answer since the last answer, once they are so many that it is no chance.
    #[must_use]
    pub fn silence(&self) -> Option<u32> {
        self.common.conditions.silence()
    }

    /// The share of tries that were lost lately.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.common.conditions.loss()
    }

    fn request<R: CryptoRng>(&mut self, id: RequestId, request: Request, turn: &mut Turn<'_, R>) {
        if let Err(refused) = self.admission.enter(request.held_bytes) {
            turn.outputs.push(Output::Ended(id, Err(refused)));
            return;
        }
        let mut exchange = Exchange::new(id, request, turn.now, &self.common);
        if exchange.request.anonymity == Anonymity::None {
            self.ask_directly(exchange, None, turn);
            return;
        }
        let flow = exchange.begin(&self.common, turn);
        self.put_back(exchange, flow, turn);
    }

    fn probe<R: CryptoRng>(&mut self, id: RequestId, request: LoopRequest, turn: &mut Turn<'_, R>) {
        if let Err(refused) = self.admission.enter(0) {
            turn.outputs.push(Output::LoopEnded(id, Err(refused)));
            return;
        }
        match Probe::begin(id, request, &self.common, turn) {
            Ok(probe) => {
                self.wakes.insert((probe.deadline, id));
                self.probes.insert(id, probe);
            }
            Err(failure) => {
                self.admission.leave(0);
                turn.outputs.push(Output::LoopEnded(id, Err(failure)));
            }
        }
    }

    fn forget(&mut self, id: RequestId, now: Duration) {
        if let Some(mut exchange) = self.exchanges.remove(&id) {
            exchange.close(now, &self.common.surbs);
            self.release(&exchange);
        } else if let Some(probe) = self.probes.remove(&id) {
            self.release_probe(id, &probe);
        }
    }

    fn dispatched<R: CryptoRng>(&mut self, id: TryId, turn: &mut Turn<'_, R>) {
        if let Some(probe) = self.probes.get_mut(&id.request) {
            probe.dispatched(turn.now);
        } else if !self.turn_to(id.request, turn, |exchange, common, turn| exchange.dispatched(id.number, common, turn))
        {
            // Its request ended meanwhile.
            self.common.surbs.cancel(id);
        }
    }

    fn not_dispatched<R: CryptoRng>(&mut self, id: TryId, reason: NotDispatched, turn: &mut Turn<'_, R>) {
        if self.probes.contains_key(&id.request) {
            let failure = match reason {
                NotDispatched::Congested | NotDispatched::Late => ClientError::Busy,
                NotDispatched::Failed(failure) => failure,
            };
            self.end_probe(id.request, Err(failure), turn);
        } else {
            self.turn_to(id.request, turn, |exchange, common, turn| {
                exchange.not_dispatched(id.number, reason, common, turn)
            });
        }
    }

    fn at_first_hop<R: CryptoRng>(
        &mut self,
        id: TryId,
        to: PeerId,
        left: Result<(), SendFailure>,
        turn: &mut Turn<'_, R>,
    ) {
        if !self.exchanges.contains_key(&id.request) {
            if let (true, Err(failure)) = (self.probes.contains_key(&id.request), left) {
                self.end_probe(id.request, Err(ClientError::FirstHop(failure)), turn);
            }
            return;
        }
        self.turn_to(id.request, turn, |exchange, common, turn| {
            exchange.at_first_hop(id.number, to, left, common, turn)
        });
    }

    fn replied<R: CryptoRng>(&mut self, id: TryId, answer: Option<Vec<u8>>, turn: &mut Turn<'_, R>) {
        if let Some(probe) = self.probes.get(&id.request) {
            let outcome = if answer.is_some() { probe.returned(turn.now) } else { LoopOutcome::Lost };
            self.end_probe(id.request, Ok(outcome), turn);
        } else {
            self.turn_to(id.request, turn, |exchange, common, turn| exchange.replied(id.number, answer, common, turn));
        }
    }

    fn tick<R: CryptoRng>(&mut self, turn: &mut Turn<'_, R>) {
        while let Some(&(wake, id)) = self.wakes.first()
            && wake <= turn.now
        {
            self.wakes.pop_first();
            if self.probes.contains_key(&id) {
                self.end_probe(id, Ok(LoopOutcome::Lost), turn);
            } else {
                self.turn_to(id, turn, |exchange, common, turn| exchange.woken(common, turn));
            }
        }
        self.common.surbs.expire(turn.now);
    }

    /// Looks whether requests that wait for a route have one now.
    fn look_for_routes<R: CryptoRng>(&mut self, turn: &mut Turn<'_, R>) {
        self.common.look_for_route(turn.now);
        let is_waiting = |exchange: &&Exchange| matches!(exchange.phase, Phase::AwaitingRoute(_));
        let waiting: Vec<_> = self.exchanges.values().filter(is_waiting).map(|exchange| exchange.id).collect();
        for id in waiting {
            self.turn_to(id, turn, |exchange, common, turn| exchange.await_route(common, turn));
        }
    }

    fn disconnected<R: CryptoRng>(&mut self, peer: &PeerId, turn: &mut Turn<'_, R>) {
        self.common.look_for_route(turn.now);
        let over = self.exchanges.values().filter(|exchange| exchange.is_over(peer)).map(|exchange| exchange.id);
        for id in over.collect::<Vec<_>>() {
            self.turn_to(id, turn, |exchange, common, turn| exchange.disconnected(peer, common, turn));
        }
    }

    /// Gives places in the window to those that wait for one.
    fn fill_window<R: CryptoRng>(&mut self, turn: &mut Turn<'_, R>) {
        while !self.queue.is_empty() && self.common.window.enter() {
            let Some((_, id)) = self.queue.pop_first() else { return };
            let is_open = self.turn_to(id, turn, |exchange, common, turn| {
                exchange.phase = Phase::Active;
                exchange.advance(common, turn)
            });
            if !is_open {
                self.common.window.leave();
            }
        }
    }

    fn end_all<R: CryptoRng>(&mut self, turn: &mut Turn<'_, R>) {
        self.admission.close();
        while let Some((id, mut exchange)) = self.exchanges.pop_first() {
            exchange.close(turn.now, &self.common.surbs);
            self.release(&exchange);
            turn.outputs.push(Output::Ended(id, Err(ClientError::Stopped)));
        }
        while let Some((&id, _)) = self.probes.first_key_value() {
            self.end_probe(id, Err(ClientError::Stopped), turn);
        }
    }

    /// Lets something happen to a request, if it is open; whether it is.
    fn turn_to<R: CryptoRng>(
        &mut self,
        id: RequestId,
        turn: &mut Turn<'_, R>,
        happen: impl FnOnce(&mut Exchange, &mut Common, &mut Turn<'_, R>) -> Flow,
    ) -> bool {
        let Some(mut exchange) = self.exchanges.remove(&id) else { return false };
        self.wakes.remove(&(exchange.wake, id));
        let flow = happen(&mut exchange, &mut self.common, turn);
        self.put_back(exchange, flow, turn);
        true
    }

    fn put_back<R: CryptoRng>(&mut self, mut exchange: Exchange, flow: Flow, turn: &mut Turn<'_, R>) {
        match flow {
            Flow::Open => {}
            Flow::Queue => {
                exchange.wake = turn.now.saturating_add(exchange.time_left(turn.now));
                exchange.phase = Phase::Queued(self.next_in_queue);
                self.queue.insert(self.next_in_queue, exchange.id);
                self.next_in_queue += 1;
            }
            Flow::Ended(outcome) => return self.end(exchange, outcome, turn),
        }
        self.wakes.insert((exchange.wake, exchange.id));
        self.exchanges.insert(exchange.id, exchange);
    }

    fn end<R: CryptoRng>(&mut self, mut exchange: Exchange, outcome: Result<End, ClientError>, turn: &mut Turn<'_, R>) {
        exchange.close(turn.now, &self.common.surbs);
        turn.observe(Observation::Exposed(exchange.exposure()));
        match outcome {
            Err(failure) if exchange.may_fall_back(&failure) && self.is_direct_now(&failure, turn.now) => {
                self.ask_directly(exchange, Some(failure), turn);
            }
            outcome => {
                let outcome = outcome.map_err(|failure| self.with_time_left(&exchange, failure, turn.now));
                self.release(&exchange);
                let outcome = outcome.map(|end| exchange.exchanged(turn.now, end));
                turn.outputs.push(Output::Ended(exchange.id, outcome));
            }
        }
    }

    /// Whether a request may go directly for this reason now. What is too large for the mixnet stays so; a route may come.
    fn is_direct_now(&self, failure: &ClientError, now: Duration) -> bool {
        let is_too_large = matches!(failure, ClientError::PayloadTooLarge { .. } | ClientError::TooLarge { .. });
        is_too_large || self.common.direct_in(now).is_none()
    }

    /// Tells a request that may go directly, but not yet, when it may.
    fn with_time_left(&self, exchange: &Exchange, failure: ClientError, now: Duration) -> ClientError {
        match self.common.direct_in(now).filter(|_| exchange.may_fall_back(&failure)) {
            Some(left) => ClientError::NotYetDirect { problem: Box::new(failure), left },
            None => failure,
        }
    }

    /// The shell asks, and forgets the request when it has the answer.
    fn ask_directly<R>(&mut self, mut exchange: Exchange, reason: Option<ClientError>, turn: &mut Turn<'_, R>) {
        self.leave_window(&exchange);
        exchange.phase = Phase::Direct;
        let (id, limit) = (exchange.id, exchange.time_left(turn.now));
        turn.outputs.push(Output::AskDirectly { id, reason, limit });
        exchange.wake = turn.now.saturating_add(limit).saturating_add(DIRECT_GRACE);
        self.wakes.insert((exchange.wake, id));
        self.exchanges.insert(id, exchange);
    }

    /// Frees what a request holds that is closed.
    fn release(&mut self, exchange: &Exchange) {
        self.wakes.remove(&(exchange.wake, exchange.id));
        self.leave_window(exchange);
        self.admission.leave(exchange.request.held_bytes);
    }

    fn leave_window(&mut self, exchange: &Exchange) {
        match exchange.phase {
            Phase::Active => self.common.window.leave(),
            Phase::Queued(place) => _ = self.queue.remove(&place),
            Phase::AwaitingRoute(_) | Phase::Direct => {}
        }
    }

    fn end_probe<R>(&mut self, id: RequestId, outcome: Result<LoopOutcome, ClientError>, turn: &mut Turn<'_, R>) {
        let Some(probe) = self.probes.remove(&id) else { return };
        self.release_probe(id, &probe);
        turn.outputs.push(Output::LoopEnded(id, outcome));
    }

    fn release_probe(&mut self, id: RequestId, probe: &Probe) {
        self.wakes.remove(&(probe.deadline, id));
        probe.close(id, &self.common.surbs);
        self.admission.leave(0);
    }
}

impl ClientConfig {
    /// Most credentials that open requests can have: every request in the window makes all its tries, each of them with reply
    /// blocks in every packet of the largest set that tries are cut into. A request outside the window has none; a loop has
    /// one and no place in the window.
    #[must_use]
    pub fn max_credentials(&self) -> usize {
        let open = self.window.min(self.in_flight);
        self.in_flight + open * MAX_TRIES * MAX_PACKETS * self.surbs.max(2)
    }

    /// Most tries that open requests can have, loops included: each may have a packet on its way to a first hop.
    #[must_use]
    pub fn max_tries(&self) -> usize {
        self.in_flight + self.window.min(self.in_flight) * MAX_TRIES
    }
}

/// The first `count` of the sampled guards that are connected and in the pool; `None` for a node that has no guards.
pub(crate) fn guards_in_use(directory: &DirectorySnapshot, connected: &Connected, count: usize) -> Option<Vec<PeerId>> {
    let sample = directory.guards.as_ref()?;
    let is_in_use = |guard: &&PeerId| connected.contains(guard) && directory.mix_node(guard).is_some();
    Some(sample.iter().filter(is_in_use).take(count).copied().collect())
}

/// Whether a client on this node, whose pool must be in so many networks, could ask a service of this kind now.
///
/// # Errors
/// What it still lacks.
pub fn readiness(
    own: &OwnNode,
    directory: &DirectorySnapshot,
    connected: &BTreeSet<PeerId>,
    service: ServiceKind,
    min_subnets: usize,
) -> Result<(), ClientError> {
    if let Some(problem) = pool_problem(directory, &own.peer, min_subnets) {
        return Err(problem);
    }
    if guards_in_use(directory, connected, 1).is_some_and(|guards| guards.is_empty()) {
        return Err(no_guard(directory));
    }
    let return_route = ReturnRoute::to(own, directory, connected)?;
    if return_route.last_hops(directory, connected, &[]).is_some_and(BTreeSet::is_empty) {
        return Err(ClientError::NoConnectedHop);
    }
    if !has_service(directory, &own.peer, service) {
        return Err(ClientError::NoExit { service, topic: None });
    }
    Ok(())
}
