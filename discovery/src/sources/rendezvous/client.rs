//! The client: registers this node, asks for others, and reports them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use rand::{RngExt, rngs::StdRng};
use tokio::time::Instant;
use wakumix_records::{
    envelope::EnvelopeError,
    rendezvous::{
        MAX_RESPONSE, MAX_TTL, MIN_TTL, MixRecord, PAGE, PROTOCOL, Page, Query, RecordError, Registration, Request,
        Response, mix_namespace,
    },
};
use wakumix_role_api::host::{ReadRule, RequestFailure};
use wakumix_waku::{frame, record::Capabilities};

use super::{SharedPoint, registrations::MAX_RECORD};
use crate::{
    clock::Now,
    local::LocalRecord,
    peer_report::{PeerReport, Refusal, Standing, UnixSeconds},
    source::SourceContext,
    sources::protocol_peers::ProtocolPeers,
};

/// Between two rounds on average; each wait is drawn from half of it to one and a half.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);

/// One exchange with a point, dialling included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest cookie that is kept, in bytes. Those of nwaku hold a number and a namespace.
const MAX_COOKIE: usize = 512;

/// A record is made when it is registered, and no registration lives longer than [`MAX_TTL`]: an older one is told by a
/// point that keeps what it should have forgotten.
const MAX_AGE: UnixSeconds = MAX_TTL;

/// How far the clock of another node may be ahead, in seconds.
const MAX_AHEAD: UnixSeconds = 600;

/// The client of one run of the source.
pub(super) struct Client {
    context: SourceContext,
    namespace: String,
    point: Arc<SharedPoint>,
    protocol_peers: ProtocolPeers,
    /// The cookie of each known point's last answer; at most one a speaker.
    cookies: HashMap<PeerId, Vec<u8>>,
    rng: StdRng,
}

impl Client {
    pub(super) fn new(context: SourceContext, cluster: u16, point: Arc<SharedPoint>) -> Self {
        let protocol_peers = ProtocolPeers::new(PROTOCOL, context.reports.peer_events());
        let namespace = mix_namespace(cluster);
        Self { context, namespace, point, protocol_peers, cookies: HashMap::new(), rng: rand::make_rng() }
    }

    /// Runs until discovery has stopped.
    pub(super) async fn run(mut self) {
        loop {
            let wait = self.rng.random_range(INTERVAL / 2..INTERVAL * 3 / 2);
            self.protocol_peers.follow(wait, &mut self.rng).await;
            let news = self.take_news();
            self.note_reached().await;
            if !self.report(news).await {
                return;
            }
            let Some(peer) = self.protocol_peers.choose(&self.context.host, &mut self.rng).await else { continue };
            self.register(peer).await;
            let found = self.ask(peer).await;
            if !self.report(found).await {
                return;
            }
        }
    }

    /// False when discovery has stopped.
    async fn report(&self, found: Vec<PeerReport>) -> bool {
        found.is_empty() || self.context.reports.report(found).await
    }

    /// What others have registered here.
    fn take_news(&mut self) -> Vec<PeerReport> {
        let (news, registered) = {
            let mut point = self.point.point.lock();
            (point.take_news(), point.expire(Instant::now()))
        };
        self.point.metrics(&self.context.telemetry).registered(registered);
        self.read(news.into_iter().map(Ok))
    }

    /// Tells the point which peers this node has reached.
    async fn note_reached(&self) {
        let known = self.context.reports.known().await;
        let reached = known.iter().filter(|known| known.standing == Standing::Reached);
        self.point.point.lock().set_reached(reached.map(|known| known.report.peer).collect());
    }

    async fn register(&mut self, peer: PeerId) {
        let now = Now::read().unix;
        let local = Arc::clone(&self.context.local.borrow());
        let Some(record) = signed(&local, &self.context.identity, now) else { return };
        let registration = Registration { namespace: self.namespace.clone(), record, ttl: Some(MIN_TTL) };
        let answer = self.request(peer, Request::Register(registration)).await;
        let is_registered = matches!(answer, Some(Response::Register(Ok(_))));
        if let Some(Response::Register(Err(refused))) = answer {
            tracing::debug!(%peer, %refused, "a rendezvous point does not register this node");
        }
        self.point.metrics(&self.context.telemetry).registration(is_registered);
    }

    async fn ask(&mut self, peer: PeerId) -> Vec<PeerReport> {
        let limit = u64::try_from(PAGE).ok();
        let cookie = self.cookies.get(&peer).cloned();
        let query = Query { namespace: Some(self.namespace.clone()), limit, cookie };
        let answer = self.request(peer, Request::Discover(query)).await;
        let Some(Response::Discover(Ok(page))) = answer else {
            self.context.reports.looked_up(false);
            // Perhaps it did not like the cookie.
            self.cookies.remove(&peer);
            return Vec::new();
        };
        self.context.reports.looked_up(true);
        self.take(peer, page)
    }

    /// Takes what a point has told, one by one.
    fn take(&mut self, peer: PeerId, page: Page) -> Vec<PeerReport> {
        let Page { registrations, surplus, cookie } = page;
        self.refuse(Refusal::TooMany, surplus);
        let known = self.protocol_peers.known();
        self.cookies.retain(|peer, _| known.contains(peer));
        match cookie.filter(|cookie| cookie.len() <= MAX_COOKIE) {
            Some(cookie) if known.contains(&peer) => self.cookies.insert(peer, cookie),
            _ => self.cookies.remove(&peer),
        };
        let namespace = self.namespace.clone();
        self.read(registrations.into_iter().map(|registration| open(registration, &namespace)))
    }

    fn read(&self, records: impl Iterator<Item = Result<MixRecord, Refusal>>) -> Vec<PeerReport> {
        let (me, now) = (self.context.local.borrow().peer, Now::read().unix);
        let mut reports = Vec::new();
        for record in records {
            match record.and_then(|record| report(record, now)) {
                Ok(report) if report.peer == me => {}
                Ok(report) => reports.push(report),
                Err(refusal) => self.refuse(refusal, 1),
            }
        }
        reports
    }

    fn refuse(&self, refusal: Refusal, count: usize) {
        if count > 0 {
            self.context.reports.refuse(refusal, u64::try_from(count).unwrap_or(u64::MAX));
        }
    }

    /// One exchange; `None` if there was no answer that can be read.
    async fn request(&mut self, peer: PeerId, request: Request) -> Option<Response> {
        let bytes = frame::encode(&request.encode());
        let read = ReadRule::LengthPrefixed { max: MAX_RESPONSE };
        let answer = self.context.host.request(peer, Vec::new(), PROTOCOL, bytes, read, TIMEOUT).await;
        self.protocol_peers.note(peer, &answer, &mut self.rng);
        match read_response(answer) {
            Ok(response) => Some(response),
            Err(problem) => {
                tracing::debug!(%peer, problem, "a rendezvous point gave no answer");
                None
            }
        }
    }
}

fn read_response(answer: Result<Vec<u8>, RequestFailure>) -> Result<Response, String> {
    let answer = answer.map_err(|failure| failure.to_string())?;
    let (body, _) =
        frame::decode(&answer, MAX_RESPONSE).map_err(|error| error.to_string())?.ok_or("it is cut short")?;
    Response::decode(body, PAGE).map_err(|error| error.to_string())
}

/// What this node registers, if it mixes and can be reached: its record with as many addresses as fit.
pub(super) fn signed(local: &LocalRecord, key: &libp2p_identity::Keypair, now: UnixSeconds) -> Option<Vec<u8>> {
    let mix_key = local.mix_key.filter(|_| local.capabilities.contains(Capabilities::MIX))?;
    let addresses = local.addresses.iter().take(PeerReport::MAX_ADDRESSES).cloned().collect();
    let mut record = MixRecord { peer: local.peer, seq: now, addresses, mix_key: Some(mix_key) };
    while !record.addresses.is_empty() {
        // A secp256k1 key signs anything.
        let bytes = record.seal(key).ok()?;
        if bytes.len() <= MAX_RECORD {
            return Some(bytes);
        }
        record.addresses.pop();
    }
    None
}

/// The record of a registration, which must be of the namespace that was asked for.
fn open(registration: Registration, namespace: &str) -> Result<MixRecord, Refusal> {
    let Registration { namespace: told, record, .. } = registration;
    if record.is_empty() {
        return Err(Refusal::Malformed);
    }
    if told != namespace {
        return Err(Refusal::Cluster);
    }
    MixRecord::open(&record).map_err(|error| match error {
        RecordError::Envelope(EnvelopeError::Signature) | RecordError::Signer => Refusal::Signature,
        RecordError::NoAddress => Refusal::Address,
        _ => Refusal::Malformed,
    })
}

/// What a record of a mix node tells. How long it was registered says nothing of how long it is true.
fn report(record: MixRecord, now: UnixSeconds) -> Result<PeerReport, Refusal> {
    let MixRecord { peer, seq, mut addresses, mix_key } = record;
    if seq > now.saturating_add(MAX_AHEAD) || seq < now.saturating_sub(MAX_AGE) {
        return Err(Refusal::Expired);
    }
    let mix_key = Some(mix_key.ok_or(Refusal::Irrelevant)?);
    addresses.truncate(PeerReport::MAX_ADDRESSES);
    Ok(PeerReport { addresses, mix_key, ..PeerReport::new(peer, seq) })
}
