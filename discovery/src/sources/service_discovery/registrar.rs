//! The registrar: keeps advertisements of others, and makes those wait that are many or alike (`spec/waku.md §6.6`).
//!
//! The response to a registration says how long to wait, `E · 1/(1 − c/C)^P · (s/C + similarity + G)` seconds, with `c` of `C` places
//! taken, `s` of them by the service. It comes back with a signed ticket, and what it has waited is taken off the time that
//! it would have to wait now. So a flood makes itself wait, nothing is remembered of those that wait, and what is kept is
//! never pushed out.
//!
//! What an advertiser claims makes nobody else wait: similarity is that of the addresses that registrations *come from*,
//! and what is promised to one of them says nothing to another. Besides, no group may hold more than its share:
//!
//! | group | places of [`CAPACITY`] |
//! |---|---|
//! | one identity | 4, whatever services it offers |
//! | the connections of one /24, or IPv6 /48 | 64 |
//! | all services that nobody here looks for | a quarter |
//! | advertisers behind relays, or in private networks where those are not allowed | a quarter |
//! | advertisements that lead to names alone; those that lead to IPv6 addresses and names alone | a quarter each |

use std::{collections::HashMap, net::IpAddr, time::Duration};

use libp2p_identity::{Keypair, PeerId};
use multiaddr::{Multiaddr, Protocol};
use rand::{Rng, seq::IndexedRandom};
use wakumix_records::service_discovery::{MIX_SERVICE, PeerRecord, Register, Status, Ticket, service_key};

use super::{
    parameters::{EXPIRY, RETURNED},
    similarity::Prefixes,
};
use crate::{
    names,
    peer_report::{PeerReport, UnixSeconds},
    peer_table::believable,
    sources::origin::Origin,
};

/// `C`: advertisements that are kept, 1 KiB each at most.
const CAPACITY: usize = 1000;
/// `P`: how fast waiting grows as the registrar fills.
const OCCUPANCY_EXPONENT: i32 = 10;
/// `G`: what everybody waits for. Rounded up to a whole second it makes everybody come twice.
const SAFETY: f64 = 1e-7;
/// `δ`: how late a ticket may come, in seconds.
const WINDOW: UnixSeconds = 1;
/// Waiting times that are remembered so that nobody finds a shorter one by asking again. When there is no room, those
/// gone by go; then a new one is not remembered, and only chance can shorten it.
const MAX_PROMISES: usize = 4096;
/// Services that one identity may advertise: an honest node has one here.
const MAX_PER_PEER: usize = 4;
/// Places of one /24: a sixteenth.
const MAX_PER_SUBNET: usize = 64;
/// Places of a group that shares a quarter.
const QUARTER: usize = CAPACITY / 4;

/// The key of a service.
pub(super) type ServiceKey = [u8; 32];

/// Keeps advertisements.
#[derive(Debug)]
pub(super) struct Registrar {
    key: Keypair,
    allow_private: bool,
    services: HashMap<ServiceKey, Vec<Kept>>,
    prefixes: Prefixes,
    /// Until when somebody of this service, or from this address, waits.
    promises: HashMap<Promised, UnixSeconds>,
    /// What this node itself advertises, without waiting.
    own: Option<(ServiceKey, Vec<u8>)>,
}

#[derive(Debug)]
struct Kept {
    peer: PeerId,
    seq: u64,
    origin: Origin,
    leads_to: Way,
    bytes: Vec<u8>,
    until: UnixSeconds,
}

/// The best that an advertisement leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Ip4,
    Ip6,
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Promised {
    Service(ServiceKey),
    Origin(Origin),
}

/// How long somebody waits: for others of its service, and for those that come from where it comes from.
#[derive(Clone, Copy, Debug)]
struct Wait {
    service: f64,
    origin: f64,
}

impl Registrar {
    /// An empty registrar that signs tickets with `key`.
    pub(super) fn new(key: Keypair, allow_private: bool) -> Self {
        let (services, promises) = (HashMap::new(), HashMap::new());
        Self { key, allow_private, services, prefixes: Prefixes::default(), promises, own: None }
    }

    /// What this node itself advertises from now on.
    pub(super) fn set_own(&mut self, own: Option<(ServiceKey, Vec<u8>)>) {
        self.own = own;
    }

    /// Answers a registration for a service that `from` has sent from an address.
    pub(super) fn register(
        &mut self,
        service: ServiceKey,
        from: PeerId,
        ip: Option<IpAddr>,
        request: &Register,
        now: UnixSeconds,
    ) -> Register {
        self.expire(now);
        let answer = |status, ticket| Register { advertisement: Vec::new(), status: Some(status), ticket };
        let Some((ad, leads_to)) = self.acceptable(service, from, request) else {
            return answer(Status::Rejected, None);
        };
        let origin = Origin::of(ip);
        let old = self.take_out(service, &ad.peer);
        let kept = Kept {
            peer: ad.peer,
            seq: ad.seq,
            origin,
            leads_to,
            bytes: request.advertisement.clone(),
            until: now + EXPIRY,
        };
        let has_room = self.has_room(service, &kept);
        let wait = self.wait(service, origin, now);
        let ticket = request.ticket.as_ref().filter(|ticket| self.is_due(ticket, &request.advertisement, now));
        let first_asked = ticket.map_or(now, |ticket| ticket.first_asked);
        let waited = seconds(now.saturating_sub(first_asked));
        // Not finite when there is no room.
        let left = wait.service + wait.origin - waited;
        if left <= 0.0 && has_room {
            self.put_in(service, kept);
            return answer(Status::Confirmed, None);
        }
        if let Some(old) = old {
            self.put_in(service, old);
        }
        // What one of the two is promised is its own wait, not that of the other.
        let until = |wait: f64| now + UnixSeconds::from(whole_seconds((wait - waited).min(left)));
        self.promise(Promised::Service(service), until(wait.service), now);
        if origin != Origin::Hidden {
            self.promise(Promised::Origin(origin), until(wait.origin), now);
        }
        let wait = whole_seconds(if has_room { left } else { f64::INFINITY });
        match Ticket::sign(&self.key, request.advertisement.clone(), first_asked, now, wait) {
            Ok(ticket) => answer(Status::Wait, Some(ticket)),
            // No key that a node can have fails to sign.
            Err(_) => answer(Status::Rejected, None),
        }
    }

    /// The node's own advertisement and random others of a service, [`RETURNED`] at most.
    pub(super) fn advertisements(&mut self, service: ServiceKey, now: UnixSeconds, rng: &mut impl Rng) -> Vec<Vec<u8>> {
        self.expire(now);
        let own = self.own.iter().filter(|(own, _)| *own == service).map(|(_, bytes)| bytes.clone());
        let mut found: Vec<_> = own.collect();
        let kept = self.services.get(&service).map(Vec::as_slice).unwrap_or_default();
        found.extend(kept.sample(rng, RETURNED - found.len()).map(|kept| kept.bytes.clone()));
        found
    }

    /// The advertisement if it is good, of the peer that brings it, about the service, no replay, and leads anywhere. That
    /// its own peer brings it costs a forger a connection for each identity.
    fn acceptable(&self, service: ServiceKey, from: PeerId, request: &Register) -> Option<(PeerRecord, Way)> {
        let ad = PeerRecord::open(&request.advertisement).ok()?;
        let kept = self.services.get(&service).into_iter().flatten().find(|kept| kept.peer == ad.peer);
        let is_replay = kept.is_some_and(|kept| kept.seq > ad.seq);
        let leads_to = self.leads_to(&ad)?;
        (ad.peer == from && ad.offers(&service) && !is_replay).then_some((ad, leads_to))
    }

    fn leads_to(&self, ad: &PeerRecord) -> Option<Way> {
        let addresses = believable(ad.addresses.clone(), &ad.peer, self.allow_private, PeerReport::MAX_ADDRESSES);
        let way = |address: &Multiaddr| match address.iter().next() {
            Some(Protocol::Ip4(_)) => Way::Ip4,
            _ => Way::Ip6,
        };
        let named = ad.addresses.iter().filter(|address| names::resolvable(address).is_some()).map(|_| Way::Name);
        addresses.iter().map(way).chain(named).min()
    }

    /// Whether there is a place for an advertisement, and its groups have not used up theirs.
    fn has_room(&self, service: ServiceKey, new: &Kept) -> bool {
        let count = |is_alike: &dyn Fn(&ServiceKey, &Kept) -> bool| {
            let all = self.services.iter().flat_map(|(service, ads)| ads.iter().map(move |kept| (service, kept)));
            all.filter(|(service, kept)| is_alike(service, kept)).count()
        };
        let is_known = |service: &ServiceKey| {
            *service == service_key(MIX_SERVICE) || self.own.as_ref().is_some_and(|(own, _)| own == service)
        };
        let subnet = new.origin.subnet();
        let is_hidden = new.origin == Origin::Hidden && !self.allow_private;
        self.len() < CAPACITY
            && count(&|_, kept| kept.peer == new.peer) < MAX_PER_PEER
            && (subnet.is_none() || count(&|_, kept| kept.origin.subnet() == subnet) < MAX_PER_SUBNET)
            && (is_known(&service) || count(&|service, _| !is_known(service)) < QUARTER)
            && (!is_hidden || count(&|_, kept| kept.origin == Origin::Hidden) < QUARTER)
            && (new.leads_to == Way::Ip4 || count(&|_, kept| kept.leads_to == new.leads_to) < QUARTER)
    }

    /// How long somebody waits that comes now, in seconds; infinite when there is no room.
    fn wait(&self, service: ServiceKey, origin: Origin, now: UnixSeconds) -> Wait {
        let share = |count: usize| count as f64 / CAPACITY as f64;
        let occupancy = (1.0 - share(self.len())).max(0.0).powi(OCCUPANCY_EXPONENT).recip();
        let of_service = share(self.services.get(&service).map_or(0, Vec::len));
        let wait = |part: f64, promised: Promised| {
            let promised = self.promises.get(&promised).map_or(0, |until| until.saturating_sub(now));
            (seconds(EXPIRY) * occupancy * part).max(seconds(promised)).ceil()
        };
        let similarity = self.prefixes.similarity(origin);
        let origin = if similarity == 0.0 && origin == Origin::Hidden {
            0.0
        } else {
            wait(similarity, Promised::Origin(origin))
        };
        Wait { service: wait(of_service + SAFETY, Promised::Service(service)), origin }
    }

    fn is_due(&self, ticket: &Ticket, advertisement: &[u8], now: UnixSeconds) -> bool {
        let due = ticket.issued.saturating_add(ticket.wait.into());
        let is_in_time = (due..=due.saturating_add(WINDOW)).contains(&now);
        is_in_time && ticket.advertisement == advertisement && ticket.is_of(&self.key.public())
    }

    fn promise(&mut self, promised: Promised, until: UnixSeconds, now: UnixSeconds) {
        if until <= now {
            return;
        }
        if self.promises.len() >= MAX_PROMISES && !self.promises.contains_key(&promised) {
            self.promises.retain(|_, until| *until > now);
            if self.promises.len() >= MAX_PROMISES {
                return;
            }
        }
        let known = self.promises.entry(promised).or_default();
        *known = until.max(*known);
    }

    fn len(&self) -> usize {
        self.services.values().map(Vec::len).sum()
    }

    fn take_out(&mut self, service: ServiceKey, peer: &PeerId) -> Option<Kept> {
        let ads = self.services.get_mut(&service)?;
        let place = ads.iter().position(|kept| kept.peer == *peer)?;
        let kept = ads.swap_remove(place);
        if ads.is_empty() {
            self.services.remove(&service);
        }
        self.prefixes.remove(kept.origin);
        Some(kept)
    }

    fn put_in(&mut self, service: ServiceKey, kept: Kept) {
        self.prefixes.insert(kept.origin);
        self.services.entry(service).or_default().push(kept);
    }

    fn expire(&mut self, now: UnixSeconds) {
        for ads in self.services.values_mut() {
            for kept in ads.extract_if(.., |kept| kept.until <= now) {
                self.prefixes.remove(kept.origin);
            }
        }
        self.services.retain(|_, ads| !ads.is_empty());
    }
}

fn seconds(seconds: UnixSeconds) -> f64 {
    f64::from(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Rounded up, and no longer than advertisements live: a peer that waits that long gets a new waiting time.
fn whole_seconds(seconds: f64) -> u32 {
    let longest = Duration::from_secs(EXPIRY);
    let wait = Duration::try_from_secs_f64(seconds.ceil().max(0.0)).map_or(longest, |wait| wait.min(longest));
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
