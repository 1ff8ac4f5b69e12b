//! The rendezvous point: takes registrations of mix nodes of this cluster, and tells them to whoever asks.

use std::{collections::HashSet, net::IpAddr, time::Duration};

use libp2p_identity::PeerId;
use rand::rngs::StdRng;
use tokio::time::Instant;
use wakumix_mix::{Budget, Refill};
use wakumix_records::rendezvous::{
    MAX_TTL, MIN_TTL, MixRecord, Page, PeerRecord, Query, Refused, Registration, Request, Response, Status,
    cluster_namespace, mix_namespace,
};
use wakumix_role_api::Requester;

use super::registrations::{MAX_RECORD, Registrations, Told};
use crate::{peer_table::Block, sources::origin::Origin};

/// Registrations of nodes that this one has reached are granted no longer than this, in seconds. Nwaku's nodes ask for
/// [`MIN_TTL`] and renew every 10 s, so whoever wants more than an hour need not be believed for longer.
pub(super) const LONGEST_TTL: u64 = 3600;
/// The same of all others: lies are gone two minutes after the liar.
pub(super) const LONGEST_TTL_OF_UNVERIFIED: u64 = 120;

/// Records in one answer. With [`MAX_RECORD`] bytes each they fit what readers take
/// ([`MAX_RESPONSE`](wakumix_records::rendezvous::MAX_RESPONSE)).
pub(super) const MAX_TOLD: usize = 48;

/// New records that wait to be reported; further ones are only told to those who ask.
const MAX_NEWS: usize = 256;

/// Nodes of nwaku send two requests every 10 s to one of their points. A network that registers, reads or is reached
/// gets as much of each.
const OWN_PACE: Refill = Refill::of(8, Duration::from_secs(1));
/// A registration takes some 0.2 ms, most of it for its signature: fifty a second take 1 % of a core.
const REGISTRATIONS: Refill = Refill::of(200, Duration::from_millis(20));
/// A page has up to 48 KiB: fifty a second are 2.4 MiB.
const READINGS: Refill = Refill::of(200, Duration::from_millis(20));
/// Both, of peers that this node has reached, however many others come.
const OF_REACHED: Refill = Refill::of(400, Duration::from_millis(10));

/// The point.
#[derive(Debug)]
pub(super) struct Point {
    cluster: u16,
    mix: Registrations,
    all: Registrations,
    budgets: Budgets,
    /// Peers that this node has reached. As many as discovery knows.
    reached: HashSet<PeerId>,
    rng: StdRng,
    news: Vec<MixRecord>,
}

/// What is answered at all. Registering, reading and peers known before have budgets of their own, so that a flood of one
/// kind starves neither another kind nor those that this node knows.
#[derive(Debug)]
struct Budgets {
    registering: Budget<Caller>,
    reading: Budget<Caller>,
    reached: Budget<PeerId>,
    /// When the first request came.
    epoch: Option<Instant>,
}

/// Who shares a budget: all that come from one network. An identity costs nothing, a network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Caller {
    Subnet(Block),
    /// One whose network says nothing of it.
    Peer(PeerId),
    Anonymous,
}

impl Budgets {
    fn new() -> Self {
        Self {
            registering: Budget::new(REGISTRATIONS, OWN_PACE),
            reading: Budget::new(READINGS, OWN_PACE),
            reached: Budget::new(OF_REACHED, OWN_PACE),
            epoch: None,
        }
    }

    fn admit(&mut self, from: Requester, ip: Option<IpAddr>, is_reached: bool, registers: bool, now: Instant) -> bool {
        let now = now.saturating_duration_since(*self.epoch.get_or_insert(now));
        let caller = match (from, Origin::of(ip).subnet()) {
            (Requester::Peer(peer), _) if is_reached => return self.reached.admit(peer, now),
            (Requester::Peer(_), Some(subnet)) => Caller::Subnet(subnet),
            (Requester::Peer(peer), None) => Caller::Peer(peer),
            (Requester::Anonymous, _) => Caller::Anonymous,
        };
        if registers { self.registering.admit(caller, now) } else { self.reading.admit(caller, now) }
    }
}

/// The namespaces of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Namespace {
    /// Mix nodes, which register Waku's record with their key.
    Mix,
    /// All nodes, which register Waku's record or libp2p's.
    All,
}

wakumix_sphinx::named_enum! {
    /// What became of a request.
    pub(super) enum Outcome {
        /// It was registered, unregistered or told what it asked for.
        Served = "served",
        /// It was refused with a reason.
        Refused = "refused",
        /// It was no request.
        Malformed = "malformed",
        /// Its sender asks too often.
        Throttled = "throttled",
    }
}

impl Point {
    /// A point for this cluster.
    pub(super) fn new(cluster: u16, rng: StdRng) -> Self {
        let (mix, all) = (Registrations::default(), Registrations::default());
        let (budgets, reached) = (Budgets::new(), HashSet::new());
        Self { cluster, mix, all, budgets, reached, rng, news: Vec::new() }
    }

    /// The peers that this node has reached from now on.
    pub(super) fn set_reached(&mut self, reached: HashSet<PeerId>) {
        self.reached = reached;
    }

    /// Answers a request that comes from an address. Bytes that are not a request, a removal, and peers that ask too often get no
    /// answer, as from nwaku's points.
    pub(super) fn answer(
        &mut self,
        from: Requester,
        ip: Option<IpAddr>,
        body: &[u8],
        now: Instant,
    ) -> (Outcome, Option<Response>) {
        let peer = match from {
            Requester::Peer(peer) => Some(peer),
            Requester::Anonymous => None,
        };
        let is_reached = peer.is_some_and(|peer| self.reached.contains(&peer));
        let request = Request::decode(body);
        let registers = matches!(request, Ok(Request::Register(_) | Request::Unregister { .. }));
        if !self.budgets.admit(from, ip, is_reached, registers, now) {
            return (Outcome::Throttled, None);
        }
        match request {
            Ok(Request::Register(registration)) => {
                let outcome = self.register(peer, registration, now);
                (told(&outcome), Some(Response::Register(outcome)))
            }
            Ok(Request::Discover(query)) => {
                let outcome = self.discover(peer, query, now);
                (told(&outcome), Some(Response::Discover(outcome)))
            }
            Ok(Request::Unregister { namespace }) => {
                if let (Some(peer), Ok(namespace)) = (peer, self.namespace(&namespace)) {
                    self.of(namespace).0.remove(&peer);
                }
                (Outcome::Served, None)
            }
            Err(_) => (Outcome::Malformed, None),
        }
    }

    /// Records of mix nodes that were registered since this was asked last.
    pub(super) fn take_news(&mut self) -> Vec<MixRecord> {
        std::mem::take(&mut self.news)
    }

    /// Forgets what no longer holds; so many registrations are left.
    pub(super) fn expire(&mut self, now: Instant) -> usize {
        self.mix.expire(now);
        self.all.expire(now);
        self.mix.len() + self.all.len()
    }

    fn register(&mut self, peer: Option<PeerId>, registration: Registration, now: Instant) -> Result<u64, Refused> {
        let peer = peer.ok_or_else(|| Refused::new(Status::NotAuthorized, "nobody registers through the mixnet"))?;
        let Registration { namespace, record, ttl } = registration;
        let (namespace, ttl) = (self.namespace(&namespace)?, ttl.unwrap_or(MIN_TTL));
        if !(MIN_TTL..=MAX_TTL).contains(&ttl) {
            return Err(Refused::new(Status::InvalidTtl, format!("use {MIN_TTL} to {MAX_TTL} s")));
        }
        let news = check(peer, &record, namespace).map_err(|text| Refused::new(Status::InvalidRecord, text))?;
        let longest = if self.reached.contains(&peer) { LONGEST_TTL } else { LONGEST_TTL_OF_UNVERIFIED };
        let granted = ttl.min(longest);
        let (registrations, reached, rng) = self.of(namespace);
        registrations.insert(peer, record, now + Duration::from_secs(granted), now, reached, rng);
        if self.news.len() < MAX_NEWS {
            self.news.extend(news);
        }
        Ok(granted)
    }

    fn discover(&mut self, reader: Option<PeerId>, query: Query, now: Instant) -> Result<Page, Refused> {
        let Query { namespace: name, limit, cookie } = query;
        let name = name.unwrap_or_default();
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).map_or(MAX_TOLD, |limit| limit.min(MAX_TOLD));
        let namespace = self.namespace(&name)?;
        let (registrations, reached, rng) = self.of(namespace);
        let Told { records, cookie } = registrations.tell(reader, cookie.as_deref(), limit, now, reached, rng);
        // Nwaku's readers leave out records without a time to live.
        let registration = |(record, left)| Registration { namespace: name.clone(), record, ttl: Some(left) };
        let registrations = records.into_iter().map(registration).collect();
        Ok(Page { registrations, surplus: 0, cookie: Some(cookie) })
    }

    fn namespace(&self, name: &str) -> Result<Namespace, Refused> {
        if name == mix_namespace(self.cluster) {
            Ok(Namespace::Mix)
        } else if name == cluster_namespace(self.cluster) {
            Ok(Namespace::All)
        } else {
            Err(Refused::new(Status::InvalidNamespace, "this point knows the namespaces of its own cluster only"))
        }
    }

    fn of(&mut self, namespace: Namespace) -> (&mut Registrations, &HashSet<PeerId>, &mut StdRng) {
        let registrations = match namespace {
            Namespace::Mix => &mut self.mix,
            Namespace::All => &mut self.all,
        };
        (registrations, &self.reached, &mut self.rng)
    }
}

fn told<T>(outcome: &Result<T, Refused>) -> Outcome {
    if outcome.is_ok() { Outcome::Served } else { Outcome::Refused }
}

/// Checks that a record is one of the peer that registers it, and gives that of a mix node back. Among mix nodes it must
/// tell a mix key: nwaku's other nodes register there too, and would only take the place of those that are looked for.
fn check(peer: PeerId, record: &[u8], namespace: Namespace) -> Result<Option<MixRecord>, String> {
    if record.len() > MAX_RECORD {
        return Err(format!("the record has {} bytes, {MAX_RECORD} at most are taken", record.len()));
    }
    let mix = MixRecord::open(record);
    let (signer, news) = match (namespace, mix) {
        (Namespace::Mix, Ok(record)) if record.mix_key.is_none() => return Err("the record has no mix key".to_owned()),
        (Namespace::Mix, Ok(record)) => (record.peer, Some(record)),
        (Namespace::Mix, Err(error)) => return Err(error.to_string()),
        (Namespace::All, Ok(record)) => (record.peer, None),
        (Namespace::All, Err(_)) => (PeerRecord::open(record).map_err(|error| error.to_string())?.peer, None),
    };
    if signer == peer { Ok(news) } else { Err("the record is signed by another peer".to_owned()) }
}

#[cfg(test)]
mod tests;
