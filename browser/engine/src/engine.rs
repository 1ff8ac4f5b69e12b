//! The machine: feeds the mix client, carries out what it decides as far as that needs no socket, and keeps pool and guards.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_client::{
    Client, ClientConfig, ClientError, Dispatch, Exposure, Input, LoopRequest, Moment, NotDispatched, Observation,
    Output, OwnNode, PoolState, Reachability, ReplyOpening, RequestId, SendFailure, ServiceKind, SurbStore, TryId,
    guards::{DEFAULT_GUARDS, GuardSample},
    lightpush::{
        Answer, Certainty, DeliveryPath, DirectFailure, DirectPush, Prepared, Push, PushFailure, PushReader, PushRules,
        held_bytes,
    },
    readiness,
};
use wakumix_mix::{
    LoopPlace, MIN_POOL, Reliability,
    address::is_secp256k1,
    budget::{Refill, TokenBucket},
    cover,
    hop::{self, HopDecision, NextHopPolicy},
    random,
};
use wakumix_records::descriptor::{
    Descriptor, MAX_DESCRIPTORS, Request as DescriptorRequest, Response as DescriptorResponse,
};
use wakumix_sphinx::{PacketFormat, PrivateKey, Weaknesses, WireFormat};
use wakumix_waku::{frame, lightpush::v3};

use crate::{
    codec::Writer,
    command::{Command, EngineSettings},
    contacts::{CHECKED, Contacts},
    event::{EngineStatus, Event, PushOutcome},
    pool::{Pool, PoolRules, Seen, View},
    state,
};

/// Requests of a page that are under way at a time: 190 per second with the usual delays.
const WINDOW: usize = 64;
/// Packets that wait for their moment or for word that they have left. Overflow rule: a try that finds no place is begun again
/// by the client later. Four for each request of a full window; 1.2 MB.
const MAX_PACKETS: usize = 256;
/// Packets that are taken in: half a millisecond of the page's time each. A burst of replies to a full window, and then as many
/// per second as a page can have use for.
const INBOUND: Refill = Refill::of(512, Duration::from_millis(10));
/// Between two questions for descriptors while the pool is as it should be. Nodes publish new ones well within that.
const REFRESH: Duration = Duration::from_secs(10 * 60);
/// Between two such questions while it is not, to different peers where there are any; it doubles.
const FIRST_SEARCH: Duration = Duration::from_millis(500);
const LONGEST_SEARCH: Duration = Duration::from_secs(30);
/// After a start with a pool of an earlier visit nobody is asked for this long.
const QUIET_START: Duration = Duration::from_secs(60);
/// How long a search may take until what is missing is a verdict: as the client waits after a start.
const SEARCH_LIMIT: Duration = Duration::from_secs(10);
/// How often pool and guards are looked at although nothing has changed.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long after the first contact the first guards are drawn from what was reached by then.
const SETTLING: Duration = Duration::from_secs(5);
/// A sample of so many guards needs no more nodes to be tried: the smallest that a large pool has.
const SAMPLED: usize = 6;
/// State is written down at most this often.
const STORE_EVERY: Duration = Duration::from_secs(2);
/// Services that are tried for one direct request.
const DIRECT_SERVICES: usize = 3;

/// The time, on the two clocks of the page.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Since any moment; it never runs backwards.
    pub now: Duration,
    /// Since the Unix epoch.
    pub unix: Duration,
}

impl Clock {
    fn unix_seconds(self) -> u64 {
        self.unix.as_secs()
    }

    fn unix_nanoseconds(self) -> i64 {
        i64::try_from(self.unix.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// The client of one page, before and after [`Command::Start`].
pub struct Engine<R> {
    rng: R,
    page: Option<Box<Page>>,
}

/// All of it is ephemeral but guards and pool, which [`Event::Store`] gives.
struct Page {
    settings: EngineSettings,
    format: Arc<dyn PacketFormat>,
    key: PrivateKey,
    own: OwnNode,
    client: Client,
    surbs: SurbStore,
    reliability: Reliability,
    pool: Pool,
    contacts: Contacts,
    guards: GuardSample,
    /// The guards that are sampled, in order.
    sampled: Vec<PeerId>,
    /// When the first pool node was reached.
    reached_first: Option<Duration>,
    /// Pool or connections have changed since the last look.
    has_changed: bool,
    /// When the next look is due although nothing has changed: times run out.
    next_look: Duration,
    wake: Option<Duration>,
    open: BTreeMap<RequestId, OpenPush>,
    /// Ids of requests come from the page and are below 2^32; those of cover loops are above.
    next_loop: u64,
    next_cover: Option<Duration>,
    /// Descriptors whose signatures are being checked: those of an answer, and at the start those of an earlier visit.
    unverified: Vec<Unverified>,
    next_check: u32,
    packets: Packets,
    inbound: TokenBucket,
    search: Search,
    status: EngineStatus,
    stored: Stored,
    /// What the client said last of exposure; the end of its request follows at once.
    exposed: Exposure,
    events: Vec<Event>,
}

struct OpenPush {
    reader: PushReader,
    direct: Option<DirectPush>,
    asked: Option<Asked>,
}

/// A service that is being asked directly.
struct Asked {
    id: String,
    since: Duration,
    limit: Duration,
    reason: Option<ClientError>,
    exposure: Exposure,
}

struct Unverified {
    id: u32,
    /// The peer that gave them; `None` for those of an earlier visit.
    from: Option<PeerId>,
    read: Vec<(Descriptor, Vec<u8>)>,
}

/// Packets on their way out.
#[derive(Default)]
struct Packets {
    next: u32,
    waiting: BTreeMap<(Duration, u32), Leaving>,
    /// Handed to the page, which has not said yet what became of them.
    handed_over: BTreeMap<u32, (TryId, PeerId)>,
}

struct Leaving {
    id: TryId,
    to: PeerId,
    bytes: Vec<u8>,
}

/// How descriptors are looked for.
struct Search {
    due: Duration,
    pause: Duration,
    asked: Option<PeerId>,
    /// Asked in this round; no longer than the peers that are connected.
    round: Vec<PeerId>,
    /// When the first peer was asked or dialled without success since; `None` while nothing is missing.
    since: Option<Duration>,
}

#[derive(Default)]
struct Stored {
    is_due: bool,
    last: Option<Duration>,
}

impl<R: CryptoRng> Engine<R> {
    /// An engine that waits for [`Command::Start`].
    #[must_use]
    pub const fn new(rng: R) -> Self {
        Self { rng, page: None }
    }

    /// Carries out a command as the page writes it, and writes the events.
    pub fn handle_bytes(&mut self, clock: Clock, command: &[u8]) -> Vec<u8> {
        let events = match Command::read(command) {
            Ok(command) => self.handle(clock, command),
            Err(_) => vec![Event::Refused("the package handed in a command that cannot be read".to_owned())],
        };
        let w = &mut Writer::default();
        events.iter().for_each(|event| event.write(w));
        mem::take(&mut w.0)
    }

    /// Carries out a command.
    pub fn handle(&mut self, clock: Clock, command: Command) -> Vec<Event> {
        match (&mut self.page, command) {
            (None, Command::Start(settings)) => match Page::new(*settings, &mut self.rng, clock) {
                Ok(page) => {
                    let page = self.page.insert(Box::new(page));
                    page.wake = Some(clock.now);
                    page.take_events(vec![Event::Started])
                }
                Err(words) => vec![Event::Refused(words)],
            },
            (Some(_), Command::Start(_)) => vec![Event::Refused("it has started already".to_owned())],
            (None, _) => vec![Event::Refused("it has not started".to_owned())],
            (Some(page), command) => {
                page.carry_out(command, clock, &mut self.rng);
                page.plan(clock, &mut self.rng);
                page.take_events(Vec::new())
            }
        }
    }

    /// When [`Command::Tick`] is due.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        self.page.as_ref()?.wake
    }
}

impl Page {
    fn new<R: CryptoRng>(settings: EngineSettings, rng: &mut R, clock: Clock) -> Result<Self, String> {
        if !is_secp256k1(&settings.peer) {
            return Err("the page's peer id must be that of a secp256k1 key".to_owned());
        }
        let wire: WireFormat = settings.profile.parse().map_err(|problem| format!("{problem}"))?;
        let format = wire.format();
        let key = PrivateKey::generate(rng);
        let own =
            OwnNode { peer: settings.peer, address: None, key: key.public(), reachability: Reachability::Private };
        let defaults = ClientConfig::default();
        let timeout = settings.timeout.unwrap_or(defaults.timeout).min(defaults.max_timeout);
        let config = ClientConfig { timeout, window: WINDOW, ..defaults };
        let client = Client::new(config, vec![Arc::clone(&format)], own.clone(), clock.now, Weaknesses::NONE);
        let surbs = client.surbs();
        let EngineSettings { cluster, allow_private, secure_only, .. } = settings;
        let next_cover = settings.cover.map(|mean| clock.now.saturating_add(cover::gap(rng, mean)));
        Ok(Self {
            pool: Pool::new(PoolRules { cluster, wire, allow_private, secure_only }),
            settings,
            format,
            key,
            own,
            client,
            surbs,
            reliability: Reliability::default(),
            contacts: Contacts::default(),
            guards: GuardSample::default(),
            sampled: Vec::new(),
            reached_first: None,
            has_changed: true,
            next_look: clock.now,
            wake: None,
            open: BTreeMap::new(),
            next_loop: 1 << 32,
            next_cover,
            unverified: Vec::new(),
            next_check: 0,
            packets: Packets::default(),
            inbound: TokenBucket::default(),
            search: Search { due: clock.now, pause: FIRST_SEARCH, asked: None, round: Vec::new(), since: None },
            status: EngineStatus::default(),
            stored: Stored::default(),
            exposed: Exposure::default(),
            events: Vec::new(),
        })
    }

    fn take_events(&mut self, mut first: Vec<Event>) -> Vec<Event> {
        first.append(&mut self.events);
        first
    }

    fn carry_out<R: CryptoRng>(&mut self, command: Command, clock: Clock, rng: &mut R) {
        match command {
            // Refused before.
            Command::Start(_) => {}
            Command::Restore(bytes) => self.restore(&bytes, clock),
            Command::MixNode(node) => {
                self.pool.name(*node);
                self.has_changed = true;
            }
            Command::Connected(peer) => {
                self.contacts.connect(peer);
                self.has_changed = true;
                self.feed(Input::Connected(peer), clock, rng);
            }
            Command::Disconnected(peer) => {
                self.contacts.disconnect(&peer);
                self.has_changed = true;
                self.feed(Input::Disconnected(peer), clock, rng);
            }
            Command::DialFailed(peer) => {
                self.contacts.fail(&peer, clock.now);
                self.has_changed = true;
            }
            Command::Online => {
                self.contacts.forgive();
                self.has_changed = true;
                self.search.due = clock.now;
                self.search.pause = FIRST_SEARCH;
            }
            Command::Descriptors(peer, answer) => self.take_descriptors(&peer, answer, clock, rng),
            Command::Packet(bytes) => self.packet(bytes, clock, rng),
            Command::Left(id, left) => self.left(id, left, clock, rng),
            Command::Push(id, push) => self.push(RequestId(id.into()), *push, clock, rng),
            Command::Forget(id) => {
                let id = RequestId(id.into());
                self.open.remove(&id);
                self.feed(Input::Forget(id), clock, rng);
            }
            Command::DirectAnswer(id, answer) => self.direct_answer(RequestId(id.into()), answer, clock, rng),
            Command::Tick => self.feed(Input::Tick, clock, rng),
            Command::Verified(id, good) => self.verified(id, &good, clock, rng),
            Command::Close => self.feed(Input::End, clock, rng),
        }
    }

    fn restore(&mut self, bytes: &[u8], clock: Clock) {
        // What cannot be read is of another version of the package: the page begins anew.
        let Ok((guards, descriptors)) = state::read(bytes, self.settings.cluster) else { return };
        self.guards = GuardSample::restored(guards);
        let count = self.verify(descriptors, None, clock);
        if count >= MIN_POOL {
            self.search.due = clock.now.saturating_add(QUIET_START);
        }
        self.has_changed = true;
    }

    fn take_descriptors<R: CryptoRng>(&mut self, peer: &PeerId, answer: Option<Vec<u8>>, clock: Clock, rng: &mut R) {
        if self.search.asked.as_ref() != Some(peer) {
            return;
        }
        let response = answer.and_then(|answer| DescriptorResponse::decode(&answer).ok());
        let mut descriptors = response.map(|response| response.descriptors).unwrap_or_default();
        descriptors.truncate(MAX_DESCRIPTORS);
        self.pool.begin_answer();
        if self.verify(descriptors, Some(*peer), clock) == 0 {
            self.end_search(clock, rng);
        }
    }

    /// Reads descriptors and has the signatures checked of those that are of use; how many these are. What cannot be read, or is
    /// out of date, is passed over.
    fn verify(&mut self, descriptors: Vec<Vec<u8>>, from: Option<PeerId>, clock: Clock) -> usize {
        let (mut read, mut signatures) = (Vec::new(), Vec::new());
        for bytes in descriptors {
            if let Ok((descriptor, signature)) = Descriptor::open_unsigned(&bytes, clock.unix_seconds())
                && self.pool.wants(&descriptor)
            {
                read.push((descriptor, bytes));
                signatures.push(signature);
            }
        }
        let count = read.len();
        if count > 0 {
            self.next_check = self.next_check.wrapping_add(1);
            self.unverified.push(Unverified { id: self.next_check, from, read });
            self.events.push(Event::Verify(self.next_check, signatures));
        }
        count
    }

    fn verified<R: CryptoRng>(&mut self, id: u32, good: &[bool], clock: Clock, rng: &mut R) {
        let Some(place) = self.unverified.iter().position(|unverified| unverified.id == id) else { return };
        let Unverified { from, read, .. } = self.unverified.swap_remove(place);
        for ((descriptor, bytes), is_good) in read.into_iter().zip(good) {
            let is_new = *is_good && self.pool.take(descriptor, bytes);
            self.stored.is_due |= is_new && from.is_some();
        }
        self.has_changed = true;
        if from.is_some() && from == self.search.asked {
            self.end_search(clock, rng);
        }
    }

    /// A peer has answered, or has not.
    fn end_search<R: CryptoRng>(&mut self, clock: Clock, rng: &mut R) {
        self.search.asked = None;
        self.look(clock, rng);
        if self.lacks_nodes() {
            self.search.due = clock.now.saturating_add(self.search.pause);
            self.search.pause = self.search.pause.saturating_mul(2).min(LONGEST_SEARCH);
        } else {
            let around = u64::try_from(REFRESH.as_millis() / 2).unwrap_or(u64::MAX);
            let pause = REFRESH.saturating_sub(Duration::from_millis(around / 2));
            self.search.due =
                clock.now.saturating_add(pause).saturating_add(Duration::from_millis(random::below(rng, around)));
            self.search.pause = FIRST_SEARCH;
            self.search.round.clear();
        }
    }

    /// A packet that came in: a reply, or nothing that a page has use for.
    fn packet<R: CryptoRng>(&mut self, mut packet: Vec<u8>, clock: Clock, rng: &mut R) {
        // While no reply is awaited none is worth a multiplication.
        if self.surbs.is_empty() || packet.len() != self.format.packet_len() || !self.inbound.take(INBOUND, clock.now) {
            return;
        }
        let keys = [((), &self.key)];
        let Ok((authenticated, ())) = hop::authenticate(&*self.format, keys, &packet, |()| {}) else { return };
        let policy = NextHopPolicy::new(self.own.peer);
        let decision = hop::open(&*self.format, &mut packet, authenticated, &policy, &|_| None);
        let HopDecision::Reply { id } = decision else { return };
        match self.surbs.open(&*self.format, &id, &mut packet) {
            ReplyOpening::Opened(id, answer) => self.feed(Input::Reply(id, Some(answer)), clock, rng),
            ReplyOpening::Burned(id, _) => self.feed(Input::Reply(id, None), clock, rng),
            ReplyOpening::Refused(_) => {}
        }
    }

    fn left<R: CryptoRng>(&mut self, packet: u32, left: Result<(), SendFailure>, clock: Clock, rng: &mut R) {
        if let Some((id, to)) = self.packets.handed_over.remove(&packet) {
            self.feed(Input::FirstHop { id, to, left }, clock, rng);
        }
    }

    fn push<R: CryptoRng>(&mut self, id: RequestId, push: Push, clock: Clock, rng: &mut R) {
        let rules = PushRules { auto_shards: self.settings.auto_shards, confirmations: 1, ..PushRules::default() };
        let has_room = self.client.has_room(held_bytes(&push.message, push.pubsub_topic.as_deref()));
        let prepared =
            has_room.map_err(PushFailure::from).and_then(|()| push.prepare(rng, clock.unix_nanoseconds(), rules));
        match prepared {
            Ok(Prepared { request, reader, direct }) => {
                self.open.insert(id, OpenPush { reader, direct, asked: None });
                self.feed(Input::Request(id, Box::new(request)), clock, rng);
            }
            Err(failure) => self.end(id, Err(failure), Exposure::default(), 0),
        }
    }

    /// Gives the client an input, and carries out what follows.
    fn feed<R: CryptoRng>(&mut self, input: Input, clock: Clock, rng: &mut R) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            let moment = Moment { now: clock.now, rng: &mut *rng, reliability: &mut self.reliability };
            self.client.handle(moment, input, &mut outputs);
            for output in outputs {
                inputs.extend(self.follow(output, clock, rng));
            }
        }
    }

    /// Carries out a decision; what the client is to hear of it at once.
    fn follow<R: CryptoRng>(&mut self, output: Output, clock: Clock, rng: &mut R) -> Option<Input> {
        match output {
            Output::Dispatch(dispatch) => {
                let id = dispatch.id;
                let reason = self.dispatch(&dispatch, clock.now, rng).err();
                return Some(reason.map_or(Input::Dispatched(id), |reason| Input::NotDispatched(id, reason)));
            }
            Output::AskDirectly { id, reason, limit } => {
                let exposure = mem::take(&mut self.exposed);
                return self.ask_directly(id, reason, limit, exposure, clock.now, rng);
            }
            Output::Ended(id, ended) => {
                let exposure = mem::take(&mut self.exposed);
                if let Some(open) = self.open.remove(&id) {
                    let result = open.reader.outcome(ended);
                    let tries = match &result {
                        Ok(answer) => answer.tries,
                        Err(failure) => failure.tries_until_deadline().unwrap_or(0),
                    };
                    self.end(id, result, exposure, tries);
                }
            }
            Output::Observed(Observation::Exposed(exposure)) => self.exposed = exposure,
            // Cover needs no answer.
            Output::Observed(_) | Output::LoopEnded(..) => {}
        }
        None
    }

    fn end(&mut self, id: RequestId, result: Result<Answer, PushFailure>, exposure: Exposure, tries: u32) {
        let Ok(id) = u32::try_from(id.0) else { return };
        self.events.push(Event::Outcome(id, Box::new(PushOutcome { result, exposure, tries })));
    }

    fn dispatch<R: CryptoRng>(&mut self, dispatch: &Dispatch, now: Duration, rng: &mut R) -> Result<(), NotDispatched> {
        if self.packets.len() + dispatch.len() > MAX_PACKETS {
            return Err(NotDispatched::Congested);
        }
        if !dispatch.begin() {
            return Err(NotDispatched::Late);
        }
        let mut packets = vec![vec![0; self.format.packet_len()]; dispatch.len()];
        let keys = dispatch.build(&*self.format, rng, &mut packets).map_err(NotDispatched::Failed)?;
        self.surbs.insert(now, dispatch.id, keys).map_err(|_| NotDispatched::Congested)?;
        for ((bytes, to), hold) in packets.into_iter().zip(dispatch.first_hops()).zip(&dispatch.holds) {
            let leaving = Leaving { id: dispatch.id, to: to.peer(), bytes };
            self.packets.wait(now.saturating_add(*hold), leaving);
        }
        Ok(())
    }

    fn ask_directly<R: CryptoRng>(
        &mut self,
        id: RequestId,
        reason: Option<ClientError>,
        limit: Duration,
        exposure: Exposure,
        now: Duration,
        rng: &mut R,
    ) -> Option<Input> {
        let Some(DirectPush { id: name, topic, message }) = self.open.get_mut(&id).and_then(|open| open.direct.take())
        else {
            return Some(Input::Forget(id));
        };
        let mut services: Vec<_> = self.pool.peers().filter(|peer| self.can_ask(peer)).collect();
        let chosen = (0..DIRECT_SERVICES.min(services.len()))
            .map(|_| services.swap_remove(random::index(rng, services.len())))
            .map(|peer| (peer, self.pool.dialled_at(&peer)));
        let services: Vec<_> = chosen.collect();
        if services.is_empty() {
            self.open.remove(&id);
            self.end(id, Err(PushFailure::NoService), exposure, 0);
            return Some(Input::Forget(id));
        }
        let request = v3::Request { request_id: name.clone(), pubsub_topic: topic, message };
        let request = frame::encode(&request.encode());
        if let Some(open) = self.open.get_mut(&id) {
            open.asked = Some(Asked { id: name, since: now, limit, reason, exposure });
        }
        let (Ok(id), Ok(limit_ms)) = (u32::try_from(id.0), u32::try_from(limit.as_millis())) else { return None };
        self.events.push(Event::AskDirectly { id, services, request, limit_ms });
        None
    }

    /// Whether a node serves lightpush and can be reached from the page.
    fn can_ask(&self, peer: &PeerId) -> bool {
        let is_near = self.contacts.is_connected(peer) || !self.pool.dialled_at(peer).is_empty();
        is_near && self.pool.is_service(peer)
    }

    fn direct_answer<R: CryptoRng>(
        &mut self,
        id: RequestId,
        answer: Result<Vec<u8>, DirectFailure>,
        clock: Clock,
        rng: &mut R,
    ) {
        let Some(OpenPush { asked: Some(asked), reader, .. }) = self.open.remove(&id) else { return };
        let Asked { id: name, since, limit, reason, exposure } = asked;
        let round_trip = clock.now.saturating_sub(since);
        let result = match answer {
            Ok(answer) => v3::Response::read_answer(&answer, &name).map_err(PushFailure::from),
            Err(_) if round_trip >= limit => Err(ClientError::Deadline { limit, tries: 1 }.into()),
            Err(failure) => Err(PushFailure::Service(failure)),
        };
        let result = result.map(|v3::Response { status_code, status_desc, relay_peer_count, .. }| Answer {
            certainty: Certainty::Confirmed,
            path: DeliveryPath::Direct(reason.map(|reason| Box::new(PushFailure::from(reason)))),
            tries: 1,
            exposure,
            status: status_code.0,
            description: status_desc,
            relay_peer_count,
            message_hash: reader.message_hash(),
            round_trip,
        });
        self.feed(Input::Forget(id), clock, rng);
        self.end(id, result, exposure, 1);
    }

    /// Does what is due: looks at pool and guards, dials, searches, makes cover, lets packets go.
    fn plan<R: CryptoRng>(&mut self, clock: Clock, rng: &mut R) {
        let now = clock.now;
        let (pool, bootstrap) = (&self.pool, &self.settings.bootstrap);
        let is_needed = |peer: &PeerId| pool.has(peer) || bootstrap.iter().any(|(known, _)| known == peer);
        self.has_changed |= self.contacts.expire(is_needed, now);
        if self.has_changed || now >= self.next_look {
            self.look(clock, rng);
        }
        self.dial_guards(clock);
        let is_checking = self.dial_unchecked(clock, rng);
        self.look_for_nodes(now, rng);
        if !is_checking && !self.lacks_nodes() {
            let spare = self.contacts.only_looked_at(&self.kept_guards(clock));
            for peer in spare {
                self.contacts.hang_up(&peer);
                self.events.push(Event::HangUp(peer));
            }
        }
        self.make_cover(clock, rng);
        self.release_packets(now);
        self.store(now);
        self.wake = self.wake_after(now);
    }

    /// Looks at pool and guards anew, and hands the client what it finds.
    fn look<R: CryptoRng>(&mut self, clock: Clock, rng: &mut R) {
        let now = clock.now;
        self.pool.expire(clock.unix_seconds());
        let contacts = &self.contacts;
        let View { mut directory, candidates } = self.pool.view(clock.unix_seconds(), |peer| contacts.seen(peer));
        if !self.guards.entries().is_empty() || self.may_draw_guards(now) {
            self.stored.is_due |= self.guards.update(rng, &candidates, clock.unix_seconds(), now);
        }
        self.sampled = self.guards.peers().collect();
        directory.guards = Some(self.sampled.clone());
        directory.is_searching = self.is_searching(now);
        let min_subnets = ClientConfig::default().min_subnets;
        let connected = self.contacts.connected();
        let lack = readiness(&self.own, &directory, connected, ServiceKind::LIGHTPUSH, min_subnets).err();
        let in_use = |guard: &&PeerId| connected.contains(guard) && directory.mix_node(guard).is_some();
        let status = EngineStatus {
            usable: count(directory.mix_nodes.len()),
            known: count(self.pool.len()),
            guards: count(self.sampled.len()),
            connected_guards: count(self.sampled.iter().filter(in_use).take(DEFAULT_GUARDS).count()),
            lack: lack.map(|lack| (lack.kind(), self.in_words(&lack))),
        };
        if status != self.status {
            self.status = status.clone();
            self.events.push(Event::Status(Box::new(status)));
        }
        if !self.lacks_nodes() {
            self.search.since = None;
        }
        self.has_changed = false;
        self.next_look = now.saturating_add(LOOK_EVERY);
        self.feed(Input::Directory(Arc::new(directory)), clock, rng);
    }

    /// Whether the first guards may be drawn: from what could be reached, and not from what answered first.
    fn may_draw_guards(&mut self, now: Duration) -> bool {
        let (reached, open) = self.checks();
        if reached == 0 {
            return false;
        }
        let since = *self.reached_first.get_or_insert(now);
        open == 0 || reached >= CHECKED || now.saturating_sub(since) >= SETTLING
    }

    /// Pool nodes that were reached, and those that can be dialled and were neither reached nor tried in vain.
    fn checks(&self) -> (usize, usize) {
        let seen = || self.pool.peers().map(|peer| (peer, self.contacts.seen(&peer)));
        let is_open = |(peer, seen): &(PeerId, Seen)| {
            !seen.is_reached && !seen.has_failed && !self.pool.dialled_at(peer).is_empty()
        };
        (seen().filter(|(_, seen)| seen.is_reached).count(), seen().filter(is_open).count())
    }

    fn is_searching(&self, now: Duration) -> bool {
        self.search.since.is_some_and(|since| now.saturating_sub(since) < SEARCH_LIMIT)
    }

    /// Whether what is missing is nodes, and not connections to them.
    fn lacks_nodes(&self) -> bool {
        match &self.status.lack {
            Some(("no_guard" | "no_reply_address", _)) => self.status.guards == 0,
            Some(("pool_too_small" | "no_exit" | "too_few_subnets", _)) => true,
            _ => self.status == EngineStatus::default(),
        }
    }

    /// The guards to stay connected to: the first of the sample that could be reached when they were tried last.
    fn kept_guards(&self, clock: Clock) -> Vec<PeerId> {
        let is_good =
            |peer: &&PeerId| self.pool.state(peer, clock.unix_seconds(), self.contacts.seen(peer)) == PoolState::Usable;
        self.sampled.iter().filter(is_good).take(DEFAULT_GUARDS).copied().collect()
    }

    fn dial_guards(&mut self, clock: Clock) {
        let kept = self.kept_guards(clock);
        // With fewer than that, those before them are tried again when their pause is over.
        let others = self.sampled.iter().filter(|guard| !kept.contains(guard)).copied();
        let missing = DEFAULT_GUARDS.saturating_sub(kept.len());
        let wanted: Vec<_> = kept.iter().copied().chain(others.take(missing)).collect();
        for guard in wanted {
            let addresses = self.pool.dialled_at(&guard);
            self.dial(guard, addresses, clock.now);
        }
    }

    /// Tries nodes that guards may be drawn from; whether there are more to be tried, or on trial.
    fn dial_unchecked<R: CryptoRng>(&mut self, clock: Clock, rng: &mut R) -> bool {
        let (reached, _) = self.checks();
        let has_guards = self.sampled.len() >= SAMPLED && !self.kept_guards(clock).is_empty();
        if has_guards || reached >= CHECKED {
            return false;
        }
        let is_unchecked =
            |peer: &PeerId| !self.contacts.seen(peer).is_reached && !self.pool.dialled_at(peer).is_empty();
        let mut unchecked: Vec<_> = self.pool.peers().filter(is_unchecked).collect();
        let is_checking = unchecked.iter().any(|peer| !self.contacts.seen(peer).has_failed);
        while !unchecked.is_empty() {
            let peer = unchecked.swap_remove(random::index(rng, unchecked.len()));
            let addresses = self.pool.dialled_at(&peer);
            self.dial(peer, addresses, clock.now);
        }
        is_checking
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Vec<u8>>, now: Duration) {
        if !addresses.is_empty() && self.contacts.may_dial(&peer, now) {
            self.contacts.dial(peer, now);
            self.events.push(Event::Dial(peer, addresses));
        }
    }

    /// Asks a connected peer for descriptors when that is due, and dials bootstrap peers while nodes are missing.
    fn look_for_nodes<R: CryptoRng>(&mut self, now: Duration, rng: &mut R) {
        if self.lacks_nodes() {
            for (peer, address) in self.settings.bootstrap.clone() {
                self.dial(peer, vec![address], now);
            }
        }
        if self.search.due > now || self.search.asked.is_some() || self.contacts.connected().is_empty() {
            return;
        }
        let round = &mut self.search.round;
        let mut peers: Vec<_> =
            self.contacts.connected().iter().filter(|peer| !round.contains(peer)).copied().collect();
        if peers.is_empty() {
            round.clear();
            peers.extend(self.contacts.connected());
        }
        let peer = peers.swap_remove(random::index(rng, peers.len()));
        round.push(peer);
        self.search.asked = Some(peer);
        if self.lacks_nodes() && self.search.since.is_none() {
            self.search.since = Some(now);
        }
        let request = DescriptorRequest::Sample(MAX_DESCRIPTORS).encode();
        self.events.push(Event::Fetch(peer, frame::encode(&request)));
    }

    fn make_cover<R: CryptoRng>(&mut self, clock: Clock, rng: &mut R) {
        let (Some(mean), Some(due)) = (self.settings.cover, self.next_cover) else { return };
        if due > clock.now {
            return;
        }
        self.next_cover = Some(clock.now.saturating_add(cover::gap(rng, mean)));
        let guards: Vec<_> = self.sampled.iter().filter(|guard| self.contacts.is_connected(guard)).collect();
        let Some(through) = guards.get(random::index(rng, guards.len().max(1))).map(|guard| **guard) else { return };
        let id = RequestId(self.next_loop);
        self.next_loop += 1;
        self.feed(Input::Loop(id, LoopRequest { through, place: LoopPlace::First, timeout: None }), clock, rng);
    }

    fn release_packets(&mut self, now: Duration) {
        while let Some((id, Leaving { id: of, to, bytes })) = self.packets.next_due(now) {
            self.packets.handed_over.insert(id, (of, to));
            self.events.push(Event::Packet { id, to, bytes });
        }
    }

    fn store(&mut self, now: Duration) {
        let is_time = self.stored.last.is_none_or(|last| now.saturating_sub(last) >= STORE_EVERY);
        if !self.settings.keeps_state || !self.stored.is_due || !is_time {
            return;
        }
        self.stored = Stored { is_due: false, last: Some(now) };
        let state = state::write(self.settings.cluster, self.guards.entries(), self.pool.described());
        self.events.push(Event::Store(state));
    }

    fn wake_after(&self, now: Duration) -> Option<Duration> {
        let can_ask = self.search.asked.is_none() && !self.contacts.connected().is_empty();
        let store = self.stored.last.filter(|_| self.stored.is_due).map(|last| last.saturating_add(STORE_EVERY));
        let own = [
            Some(self.next_look),
            self.search.since.map(|since| since.saturating_add(SEARCH_LIMIT)),
            self.reached_first.map(|since| since.saturating_add(SETTLING)),
            Some(self.search.due).filter(|_| can_ask),
            self.contacts.next_wake(now),
            self.next_cover,
            self.packets.next(),
            store,
        ];
        own.into_iter().flatten().filter(|wake| *wake > now).chain(self.client.next_wake()).min()
    }

    fn in_words(&self, lack: &ClientError) -> String {
        match (lack, self.pool.foreign()) {
            (ClientError::PoolTooSmall { .. }, Some((other, nodes))) => format!(
                "{lack}; the peer that was asked knows {nodes} mix nodes of cluster {other}, and this client is set to cluster {}: \
                 name a bootstrap peer of that cluster, or set `cluster: {other}`",
                self.settings.cluster
            ),
            _ => lack.to_string(),
        }
    }
}

impl Packets {
    fn len(&self) -> usize {
        self.waiting.len() + self.handed_over.len()
    }

    fn wait(&mut self, until: Duration, packet: Leaving) {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.waiting.insert((until, id), packet);
    }

    fn next(&self) -> Option<Duration> {
        self.waiting.first_key_value().map(|((until, _), _)| *until)
    }

    fn next_due(&mut self, now: Duration) -> Option<(u32, Leaving)> {
        let first = self.waiting.first_entry().filter(|first| first.key().0 <= now)?;
        let ((_, id), packet) = first.remove_entry();
        Some((id, packet))
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
