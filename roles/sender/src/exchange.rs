//! One request from acceptance to its outcome: the effects, in a task of its own. The rules are in `progress`, `route`, `fit`,
//! `answer` and `patience`.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use rand::{SeedableRng, rngs::StdRng};
use tokio::{sync::mpsc, time::Instant};
use wakumix_mix::random;
use wakumix_role_api::{
    host::SendFailure,
    sender::{Anonymity, Answer, Certainty, PushFailure, Way},
};

use crate::{
    admission::Slot,
    answer::{Meaning, Verdict, read},
    caller::Caller,
    departure::{Credentials, Departed, Departure, FirstHop, NotDeparted, Reply, Sink, Start},
    fit::Protection,
    progress::{MAX_TRIES, Progress, Sent, Step},
    request::{Request, check_payload},
    route::{Route, Surroundings, Wanted, choose},
    shared::Shared,
    watch::Watch,
    way_back::WayBack,
};

/// How long after its start a node waits for its pool: to be found, to be reached, to tell what it offers. Nodes of one machine
/// that are started together need 6 to 9 s.
const SETTLING: Duration = Duration::from_secs(10);

/// A request that was accepted.
pub(crate) struct Exchange {
    shared: Arc<Shared>,
    request: Request,
    anonymity: Anonymity,
    exit: Option<PeerId>,
    accepted: Instant,
    limit: Duration,
    rng: StdRng,
    progress: Progress,
    /// What the request waits for before its first try.
    missing: Option<PushFailure>,
    /// The try whose packets a worker makes or is to make.
    building: Option<Building>,
    sink: mpsc::Sender<(usize, Reply)>,
    replies: mpsc::Receiver<(usize, Reply)>,
    first_hops: FuturesUnordered<BoxFuture<'static, AtFirstHop>>,
    /// Every try stays answerable until the request ends.
    credentials: Vec<Credentials>,
    reply_blocks: usize,
    /// Answers that the sender had got when the latest try left.
    answers_before: u64,
    watch: Option<Watch>,
    /// When the first packet was handed over.
    first_left: Option<Instant>,
}

/// A try that a worker was given.
struct Building {
    start: Arc<Start>,
    sent: Sent,
    reply_blocks: usize,
}

/// How a packet of a try left; `None` if nobody can tell.
struct AtFirstHop {
    number: usize,
    to: PeerId,
    left: Option<Result<(), SendFailure>>,
}

/// How the mixnet's part of a request ended.
#[derive(Debug)]
enum End {
    Answered(Verdict),
    Seen,
}

impl Exchange {
    /// A request that is accepted now and has this long.
    pub(crate) fn new(
        shared: Arc<Shared>,
        request: Request,
        anonymity: Anonymity,
        exit: Option<PeerId>,
        limit: Duration,
        rng: StdRng,
    ) -> Self {
        let (sink, replies) = mpsc::channel(MAX_TRIES);
        let progress = Progress::new(limit, shared.conditions().floor());
        let watch = request.hash.filter(|_| shared.is_relaying).map(|hash| shared.watchlist.watch(hash));
        Self {
            shared,
            request,
            anonymity,
            exit,
            accepted: Instant::now(),
            limit,
            rng,
            progress,
            missing: None,
            building: None,
            sink,
            replies,
            first_hops: FuturesUnordered::new(),
            credentials: Vec::new(),
            reply_blocks: 0,
            answers_before: 0,
            watch,
            first_left: None,
        }
    }

    /// Brings the request to its outcome and tells it. All that the request holds is freed before the caller hears, so that
    /// it finds room for the next; when the caller goes away it is freed at once.
    pub(crate) async fn run(mut self, mut caller: Caller, slot: Slot) {
        let admission = Arc::clone(&self.shared.admission);
        let outcome = tokio::select! {
            biased;
            outcome = self.outcome() => outcome,
            // Nobody hears this.
            () = caller.gone() => Err(PushFailure::Stopped),
            () = admission.ending() => Err(PushFailure::Stopped),
        };
        drop((self, slot));
        caller.tell(outcome);
    }

    async fn outcome(&mut self) -> Result<Answer, PushFailure> {
        if self.anonymity == Anonymity::None {
            return self.directly(None).await;
        }
        match self.over_mixnet().await {
            Err(failure) if self.may_fall_back(&failure) => self.directly(Some(failure)).await,
            outcome => outcome,
        }
    }

    /// A request falls back only while nothing of it has left: a try may have been published already, and a direct push that
    /// follows it would show whose it was.
    fn may_fall_back(&self, failure: &PushFailure) -> bool {
        let is_unusable = matches!(
            failure,
            PushFailure::PoolTooSmall { .. }
                | PushFailure::NoExit { .. }
                | PushFailure::ExitUnknown(_)
                | PushFailure::PayloadTooLarge { .. }
                | PushFailure::TooLarge { .. }
                | PushFailure::NoReplyAddress
                | PushFailure::NoConnectedHop
        );
        self.anonymity == Anonymity::Preferred && self.progress.is_unsent() && is_unusable
    }

    async fn directly(&mut self, reason: Option<PushFailure>) -> Result<Answer, PushFailure> {
        self.shared.metrics.record_direct(reason.is_some());
        let plain = self.request.plain.take().ok_or(PushFailure::Internal("the message is gone"))?;
        let left = self.limit.saturating_sub(self.accepted.elapsed());
        let answer = self.shared.plain.push(plain, left).await?;
        Ok(Answer { way: Way::Direct(reason.map(Box::new)), ..answer })
    }

    async fn over_mixnet(&mut self) -> Result<Answer, PushFailure> {
        let deadline = self.accepted + self.limit;
        let ended = tokio::time::timeout_at(deadline, self.converse()).await;
        let ended = ended.unwrap_or_else(|_| self.at_deadline());
        self.shared.metrics.record_packets(self.progress.packets());
        let (certainty, verdict) = match ended? {
            End::Answered(verdict) => (Certainty::Confirmed, verdict),
            End::Seen => (Certainty::Seen, Verdict::SEEN),
        };
        let round_trip = self.first_left.map_or(Duration::ZERO, |left| left.elapsed());
        if certainty == Certainty::Confirmed {
            self.shared.metrics.record_round_trip(round_trip);
        }
        Ok(Answer {
            certainty,
            way: Way::Mixnet,
            tries: self.progress.tries_left(),
            packets: self.progress.packets(),
            status: verdict.status,
            description: verdict.description,
            relay_peer_count: verdict.relay_peer_count,
            message_hash: self.request.hash,
            round_trip,
        })
    }

    fn at_deadline(&mut self) -> Result<End, PushFailure> {
        self.count_what_is_being_made();
        if self.was_seen() {
            return Ok(End::Seen);
        }
        if let Some(problem) = self.missing.take() {
            return Err(problem);
        }
        let outcome = self.progress.at_deadline();
        if matches!(outcome, Err(PushFailure::Deadline { .. })) {
            self.shared.metrics.record_deadline(self.reply_blocks);
        }
        outcome.map(End::Answered)
    }

    /// The try that a worker has begun leaves although nobody waits for it any more.
    fn count_what_is_being_made(&mut self) {
        if let Some(Building { start, sent, reply_blocks }) = self.building.take()
            && !start.prevent()
        {
            self.progress.sent(self.accepted.elapsed(), sent, Duration::ZERO);
            self.reply_blocks += reply_blocks;
        }
    }

    fn was_seen(&self) -> bool {
        !self.progress.is_unsent() && self.watch.as_ref().is_some_and(Watch::has_seen)
    }

    /// Makes tries until one is answered. What can never be sent is refused before the request waits for its turn.
    async fn converse(&mut self) -> Result<End, PushFailure> {
        check_payload(self.request.payload_len)?;
        self.await_route().await?;
        let _place = self.shared.window.enter().await;
        loop {
            let ended = match self.progress.step(self.accepted.elapsed()) {
                Step::Try => self.make_try().await,
                Step::WaitUntil(until) => self.listen(Some(self.accepted + until)).await,
                Step::Wait => self.listen(None).await,
                Step::Unreachable(failure) => Some(Err(PushFailure::FirstHop(failure))),
            };
            if let Some(outcome) = ended {
                return outcome;
            }
        }
    }

    /// Refuses at once what can never be sent. Only a node that has just started waits for news, if there may be any: it
    /// may not have found or reached its pool yet, nor heard which exits put fragments together. A request that can go
    /// directly does so.
    async fn await_route(&mut self) -> Result<(), PushFailure> {
        let mut directory = self.shared.directory.clone();
        let settled = self.shared.epoch + SETTLING;
        loop {
            self.missing = self.route().err();
            let Some(problem) = &self.missing else { return Ok(()) };
            let may_wait = self.anonymity == Anonymity::Required && Instant::now() < settled;
            let is_final = !may_wait || !self.may_pass(problem);
            // A directory that nobody fills any more tells no news.
            if is_final || tokio::time::timeout_at(settled, directory.changed()).await == Ok(false) {
                return Err(problem.clone());
            }
        }
    }

    /// Whether what discovery is doing may remove this hindrance.
    fn may_pass(&self, problem: &PushFailure) -> bool {
        let directory = self.shared.directory.snapshot();
        let expected = usize::try_from(directory.pool.expected()).unwrap_or(usize::MAX);
        let is_hope = match *problem {
            PushFailure::PoolTooSmall { usable, needed, .. } => usable.saturating_add(expected) >= needed,
            PushFailure::NoExit { .. } | PushFailure::ExitUnknown(_) | PushFailure::TooLarge { .. } => expected > 0,
            _ => return false,
        };
        is_hope || directory.is_searching
    }

    fn route(&mut self) -> Result<Route, PushFailure> {
        let (shared, protection) = (&self.shared, self.protection());
        let directory = shared.directory.snapshot();
        let way_back = WayBack::to(&shared.node, &directory)?;
        let wanted = Wanted { exit: self.exit, topic: self.request.topic.as_ref(), len: self.request.frame.len() };
        shared.weighing(|weight| {
            let (directory, way_back, formats) = (&*directory, &way_back, &shared.formats);
            let around = Surroundings { directory, way_back, formats, weight };
            choose(&mut self.rng, around, wanted, protection, self.progress.history())
        })
    }

    /// First tries have what is configured. Once loss is seen, in this request or lately in others, each packet has two reply
    /// blocks and a set of fragments one to spare.
    fn protection(&self) -> Protection {
        let least = usize::from(self.progress.next_number() > 1 || self.shared.conditions().is_lossy());
        let parity = self.shared.config.parity.max(u8::from(least > 0));
        Protection { surbs: self.shared.config.surbs.max(1 + least), parity }
    }

    /// Makes the packets of a try and hands them over; the outcome, if the request ends with that.
    async fn make_try(&mut self) -> Option<Result<End, PushFailure>> {
        let route = match self.route() {
            Ok(route) => route,
            Err(problem) => {
                let may_pass = self.may_pass(&problem);
                let outcome = self.progress.no_route(self.accepted.elapsed(), problem, may_pass)?;
                return Some(outcome.map(End::Answered));
            }
        };
        let start = Arc::new(Start::default());
        let building = Building { start: Arc::clone(&start), sent: sent(&route), reply_blocks: route.reply_blocks() };
        let departure = self.departure(route, start);
        self.building = Some(building);
        let (shared, workers) = (Arc::clone(&self.shared), self.shared.workers.clone());
        let departed = workers.run(move || departure.run(&shared)).await;
        let building = self.building.take()?;
        match departed.unwrap_or(Err(NotDeparted::Failed(PushFailure::Internal("building the packet failed")))) {
            Ok(departed) => self.sent(building, departed),
            Err(NotDeparted::Congested | NotDeparted::Late) => self.wait_for_room(),
            Err(NotDeparted::Failed(failure)) => return Some(Err(failure)),
        }
        None
    }

    fn departure(&mut self, route: Route, start: Arc<Start>) -> Departure {
        let (delay, hold) = (self.shared.config.delay, self.shared.config.hold);
        let holds = route.legs.iter().map(|_| hold.sample(&mut self.rng, hold.encode())).collect();
        let sink = Sink { number: self.progress.next_index(), replies: self.sink.clone() };
        let (frame, rng) = (Arc::clone(&self.request.frame), self.rng.fork());
        Departure { start, route, frame, delay_ms: delay.encode(), holds, sink, rng }
    }

    fn wait_for_room(&mut self) {
        self.shared.slow_down();
        self.progress.pause(self.accepted.elapsed());
    }

    fn sent(&mut self, built: Building, departed: Departed) {
        let (Building { sent, reply_blocks, .. }, Departed { credentials, first_hops }) = (built, departed);
        let conditions = self.shared.conditions();
        let patience = conditions.patience(self.progress.next_number(), self.limit);
        self.answers_before = conditions.answers();
        let number = self.progress.sent(self.accepted.elapsed(), sent, patience);
        self.first_left.get_or_insert_with(Instant::now);
        self.credentials.push(credentials);
        self.reply_blocks += reply_blocks;
        let watch =
            |FirstHop { to, left }| async move { AtFirstHop { number, to: to.peer(), left: left.await.ok() } }.boxed();
        self.first_hops.extend(first_hops.into_iter().map(watch));
    }

    /// Waits for what happens next; the outcome, if the request ends with that.
    async fn listen(&mut self, until: Option<Instant>) -> Option<Result<End, PushFailure>> {
        let patience = async {
            match until {
                Some(until) => tokio::time::sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some((number, reply)) = self.replies.recv() => self.replied(number, reply),
            Some(at_first_hop) = self.first_hops.next() => self.at_first_hop(&at_first_hop),
            () = patience => self.patience_ended(),
        }
    }

    fn replied(&mut self, number: usize, reply: Reply) -> Option<Result<End, PushFailure>> {
        let Reply::Opened(data) = reply else {
            return Some(Err(PushFailure::BadAnswer("it is not sound".to_owned())));
        };
        let now = self.accepted.elapsed();
        let (round_trip, service) = self.progress.round_trip(number, now)?;
        let is_late = self.progress.is_silent(number);
        self.shared.learn(
            |conditions| {
                if is_late { conditions.answered_late(round_trip) } else { conditions.answered(round_trip) }
            },
        );
        let is_trusted = self.shared.has_published(&service);
        let meaning = read(&data, &self.request.id, self.shared.weaknesses);
        self.shared.metrics.record_try(&meaning);
        match meaning {
            Meaning::Later(_) => self.shared.slow_down(),
            Meaning::Published(_) => self.shared.remember_publisher(service),
            _ => {}
        }
        let jitter = random::open_unit(&mut self.rng);
        let verdict = self.progress.answered(now, number, meaning, is_trusted, jitter)?;
        self.shared.window.answered();
        Some(Ok(End::Answered(verdict)))
    }

    fn at_first_hop(&mut self, packet: &AtFirstHop) -> Option<Result<End, PushFailure>> {
        // Without a word the answer or patience decides.
        let Err(failure) = packet.left? else {
            self.shared.observe_first_hop(&packet.to, true);
            return None;
        };
        match failure {
            SendFailure::Stopped => return Some(Err(PushFailure::Stopped)),
            SendFailure::QueueFull => self.shared.slow_down(),
            SendFailure::DialFailed | SendFailure::NotConnected | SendFailure::WriteFailed => {
                self.shared.observe_first_hop(&packet.to, false);
            }
        }
        if self.progress.not_left(self.accepted.elapsed(), packet.number, packet.to, failure) {
            self.shared.metrics.record_not_left();
        }
        None
    }

    fn patience_ended(&mut self) -> Option<Result<End, PushFailure>> {
        let (conditions, under_way) = (self.shared.conditions(), self.shared.window.taken());
        let (limit, answers) = (self.limit, self.answers_before);
        let patience = |number, waited| conditions.patience_after(waited, number, limit, under_way, answers);
        if self.progress.end_patience(self.accepted.elapsed(), patience) {
            self.shared.learn(|conditions| conditions.lost());
            self.shared.metrics.record_silence();
        }
        self.was_seen().then_some(Ok(End::Seen))
    }
}

fn sent(route: &Route) -> Sent {
    Sent {
        service: route.service,
        hops: route.hops().collect(),
        packets: route.legs.len(),
        spare: route.carriage.spare(),
    }
}
