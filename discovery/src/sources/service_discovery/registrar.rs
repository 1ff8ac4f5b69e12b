//! The registrar: keeps advertisements of others, and makes those wait that are many or alike (`spec/waku.md §6.6`).
//!
//! Who registers is told how long to wait, `E · 1/(1 − c/C)^P · (s/C + similarity + G)` seconds, with `c` of `C` places
//! taken, `s` of them by the service. It comes back with a signed ticket, and what it has waited is taken off the time that
//! it would have to wait now. So a flood makes itself wait, nothing is remembered of those that wait, and what is kept is
//! never pushed out.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    time::Duration,
};

use libp2p_identity::{Keypair, PeerId};
use rand::{Rng, seq::IndexedRandom};
use wakumix_records::service_discovery::{PeerRecord, Register, Status, Ticket};

use super::{
    parameters::{EXPIRY, RETURNED},
    similarity::Prefixes,
    table::public_ipv4,
};
use crate::{finding::UnixSeconds, peer_table::believable};

/// `C`: advertisements that are kept, 1 KiB each at most.
const CAPACITY: usize = 1000;
/// `P`: how fast waiting grows as the registrar fills.
const OCCUPANCY_EXPONENT: i32 = 10;
/// `G`: what everybody waits for. Rounded up to a whole second it makes everybody come twice.
const SAFETY: f64 = 1e-7;
/// `δ`: how late a ticket may come, in seconds.
const WINDOW: UnixSeconds = 1;
/// Public IPv4 addresses of one advertisement that are counted.
const COUNTED_ADDRESSES: usize = 2;
/// Waiting times that are remembered so that nobody finds a shorter one by asking again. When there is no room, those
/// gone by go; then a new one is not remembered, and only chance can shorten it.
const MAX_PROMISES: usize = 4096;

/// The key of a service.
pub(super) type ServiceKey = [u8; 32];

/// Keeps advertisements.
#[derive(Debug)]
pub(super) struct Registrar {
    key: Keypair,
    allow_private: bool,
    services: HashMap<ServiceKey, Vec<Kept>>,
    prefixes: Prefixes,
    /// Until when somebody of this service or address waits.
    promises: HashMap<Promised, UnixSeconds>,
    /// What this node itself advertises, without waiting.
    own: Option<(ServiceKey, Vec<u8>)>,
}

#[derive(Debug)]
struct Kept {
    peer: PeerId,
    seq: u64,
    ips: Vec<Ipv4Addr>,
    bytes: Vec<u8>,
    until: UnixSeconds,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Promised {
    Service(ServiceKey),
    Address(Ipv4Addr),
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

    /// Answers a registration of `from` for a service.
    pub(super) fn register(
        &mut self,
        service: ServiceKey,
        from: PeerId,
        request: &Register,
        now: UnixSeconds,
    ) -> Register {
        self.expire(now);
        let answer = |status, ticket| Register { advertisement: Vec::new(), status: Some(status), ticket };
        let Some(ad) = self.acceptable(service, from, request) else { return answer(Status::Rejected, None) };
        let ips = self.counted(&ad);
        let old = self.take_out(service, &ad.peer);
        let has_room = self.len() < CAPACITY;
        let wait = self.wait(service, &ips, now);
        let ticket = request.ticket.as_ref().filter(|ticket| self.is_due(ticket, &request.advertisement, now));
        let first_asked = ticket.map_or(now, |ticket| ticket.first_asked);
        // Not finite when there is no room.
        let left = wait - seconds(now.saturating_sub(first_asked));
        if left <= 0.0 && has_room {
            let bytes = request.advertisement.clone();
            self.put_in(service, Kept { peer: ad.peer, seq: ad.seq, ips, bytes, until: now + EXPIRY });
            return answer(Status::Confirmed, None);
        }
        if let Some(old) = old {
            self.put_in(service, old);
        }
        let wait = whole_seconds(left);
        self.promise(service, &ips, now + UnixSeconds::from(wait), now);
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
    fn acceptable(&self, service: ServiceKey, from: PeerId, request: &Register) -> Option<PeerRecord> {
        let ad = PeerRecord::open(&request.advertisement).ok()?;
        let kept = self.services.get(&service).into_iter().flatten().find(|kept| kept.peer == ad.peer);
        let is_replay = kept.is_some_and(|kept| kept.seq > ad.seq);
        let leads_anywhere = !believable(ad.addresses.clone(), &ad.peer, self.allow_private, 1).is_empty();
        (ad.peer == from && ad.offers(&service) && !is_replay && leads_anywhere).then_some(ad)
    }

    /// Its public addresses. Private ones tell nothing of who shares a network.
    fn counted(&self, ad: &PeerRecord) -> Vec<Ipv4Addr> {
        let ips: HashSet<_> = ad.addresses.iter().filter_map(public_ipv4).take(COUNTED_ADDRESSES).collect();
        ips.into_iter().collect()
    }

    /// How long somebody waits that comes now, in seconds; infinite when there is no room.
    fn wait(&self, service: ServiceKey, ips: &[Ipv4Addr], now: UnixSeconds) -> f64 {
        let share = |count: usize| count as f64 / CAPACITY as f64;
        let occupancy = (1.0 - share(self.len())).max(0.0).powi(OCCUPANCY_EXPONENT).recip();
        let of_service = share(self.services.get(&service).map_or(0, Vec::len));
        let similarity = ips.iter().map(|ip| self.prefixes.similarity(*ip)).fold(0.0, f64::max);
        let wait = seconds(EXPIRY) * occupancy * (of_service + similarity + SAFETY);
        let promised = promised(service, ips).filter_map(|key| self.promises.get(&key)).max();
        let promised = promised.map_or(0, |until| until.saturating_sub(now));
        wait.max(seconds(promised)).ceil()
    }

    fn is_due(&self, ticket: &Ticket, advertisement: &[u8], now: UnixSeconds) -> bool {
        let due = ticket.issued.saturating_add(ticket.wait.into());
        let is_in_time = (due..=due.saturating_add(WINDOW)).contains(&now);
        is_in_time && ticket.advertisement == advertisement && ticket.is_of(&self.key.public())
    }

    fn promise(&mut self, service: ServiceKey, ips: &[Ipv4Addr], until: UnixSeconds, now: UnixSeconds) {
        for key in promised(service, ips) {
            if self.promises.len() >= MAX_PROMISES && !self.promises.contains_key(&key) {
                self.promises.retain(|_, until| *until > now);
                if self.promises.len() >= MAX_PROMISES {
                    continue;
                }
            }
            let known = self.promises.entry(key).or_default();
            *known = until.max(*known);
        }
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
        kept.ips.iter().for_each(|ip| self.prefixes.remove(*ip));
        Some(kept)
    }

    fn put_in(&mut self, service: ServiceKey, kept: Kept) {
        kept.ips.iter().for_each(|ip| self.prefixes.insert(*ip));
        self.services.entry(service).or_default().push(kept);
    }

    fn expire(&mut self, now: UnixSeconds) {
        for ads in self.services.values_mut() {
            for kept in ads.extract_if(.., |kept| kept.until <= now) {
                kept.ips.iter().for_each(|ip| self.prefixes.remove(*ip));
            }
        }
        self.services.retain(|_, ads| !ads.is_empty());
    }
}

fn promised(service: ServiceKey, ips: &[Ipv4Addr]) -> impl Iterator<Item = Promised> {
    std::iter::once(Promised::Service(service)).chain(ips.iter().copied().map(Promised::Address))
}

fn seconds(seconds: UnixSeconds) -> f64 {
    f64::from(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// Rounded up, and no longer than advertisements live: who waits that long is told anew.
fn whole_seconds(seconds: f64) -> u32 {
    let longest = Duration::from_secs(EXPIRY);
    let wait = Duration::try_from_secs_f64(seconds.ceil()).map_or(longest, |wait| wait.min(longest));
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
