//! How this node asks others: single requests, walks towards a place, look-ups of a service.

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{StreamExt, future::join_all, stream};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use parking_lot::Mutex;
use rand::seq::IteratorRandom;
use tokio::time::Instant;
use wakumix_records::service_discovery::{Contact, MAX_MESSAGE, Message, MessageKind, PROTOCOL};
use wakumix_role_api::host::{HostHandle, ReadRule, RequestFailure};
use wakumix_waku::frame;

use super::{
    parameters::{ALPHA, K, LOOKED_UP, PER_BUCKET, SERVICE_BUCKETS},
    position::Position,
    server::Server,
};
use crate::{
    clock::Now,
    names,
    peer_report::{PeerReport, Refusal, UnixSeconds},
    peer_table::believable,
    source::PeerReports,
    sources::Resolver,
};

/// One request, dialling included.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Requests of one walk. It converges in some log₂(n) of them; a hostile peer that always knows somebody closer makes it
/// no longer.
const WALK_BUDGET: usize = 3 * K;
/// Peers that a walk or a look-up has heard of and not asked; of more, a walk forgets the farthest, a look-up the newest.
const MAX_HEARD: usize = 8 * K;
/// Registrars that must have answered before a look-up ends early because it has found enough: a few hostile ones
/// cannot end it with false advertisements.
const MIN_REGISTRARS: usize = 10;

/// This node as a client of the DHT. Cheap to clone.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) me: PeerId,
    pub(super) host: HostHandle,
    pub(super) reports: PeerReports,
    /// Whole even after a panic: each change is one insertion or removal.
    pub(super) server: Arc<Mutex<Server>>,
    pub(super) bootstrap: Arc<[Contact]>,
    pub(super) allow_private: bool,
    pub(super) resolver: Resolver,
    /// When both clocks were read: from then on the wall's time is told by the other, which never jumps.
    pub(super) start: Now,
}

impl Client {
    /// The wall's time.
    pub(super) fn unix(&self) -> UnixSeconds {
        self.start.unix + Instant::now().saturating_duration_since(self.start.at).as_secs()
    }

    /// Asks one peer. The routing table learns how that ended.
    pub(super) async fn ask(&self, contact: &Contact, request: &Message) -> Option<Message> {
        let answer = self.exchange(contact, request).await;
        match &answer {
            Ok(_) => self.server.lock().table.answered(contact, Instant::now()),
            // That is no fault of the peer.
            Err(RequestFailure::Busy | RequestFailure::Stopped) => {}
            Err(_) => self.server.lock().table.failed(&contact.peer),
        }
        answer.ok()
    }

    async fn exchange(&self, contact: &Contact, request: &Message) -> Result<Message, RequestFailure> {
        let bytes = frame::encode(&request.encode());
        let read = ReadRule::LengthPrefixed { max: MAX_MESSAGE };
        let Contact { peer, addresses } = contact.clone();
        let addresses = self.dialable(peer, addresses).await;
        let bytes = self.host.request(peer, addresses, PROTOCOL, bytes, read, TIMEOUT).await?;
        let body = frame::decode(&bytes, MAX_MESSAGE).ok().flatten().map(|(body, _)| body);
        let decoded = body.and_then(|body| Message::decode(body).ok()).filter(|it| it.message.kind == request.kind);
        let Some(decoded) = decoded else {
            self.reports.refuse(Refusal::Malformed, 1);
            return Err(RequestFailure::Stream("the answer is malformed".to_owned()));
        };
        if decoded.skipped > 0 {
            self.reports.refuse(Refusal::Malformed, decoded.skipped as u64);
        }
        let mut answer = decoded.message;
        answer.closer = answer.closer.into_iter().filter_map(|contact| self.worth_asking(contact)).collect();
        Ok(answer)
    }

    /// The addresses of a peer without names, which are looked up, but for a peer that the operator has named.
    async fn dialable(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
        let has_name = addresses.iter().any(|address| names::resolvable(address).is_some());
        if !has_name || self.bootstrap.iter().any(|entry| entry.peer == peer) {
            return addresses;
        }
        names::dialable(&self.resolver, &addresses, &peer, self.allow_private).await
    }

    /// A peer that somebody named, with the addresses that may be dialled once their names are looked up; none if it is
    /// this node or has no such address.
    pub(super) fn worth_asking(&self, Contact { peer, addresses }: Contact) -> Option<Contact> {
        let named: Vec<_> = addresses.iter().filter(|address| names::resolvable(address).is_some()).cloned().collect();
        let mut addresses = believable(addresses, &peer, self.allow_private, PeerReport::MAX_ADDRESSES);
        addresses.extend(named.into_iter().take(PeerReport::MAX_ADDRESSES - addresses.len()));
        (peer != self.me && !addresses.is_empty()).then_some(Contact { peer, addresses })
    }

    /// Walks towards a key: asks the closest peers that it hears of, several at a time, until the [`K`] closest have
    /// answered. Those that answered, the closest first.
    pub(super) async fn walk(&self, key: &[u8]) -> Vec<Contact> {
        let target = Position::of_key(key);
        let request = Message::new(MessageKind::FindNode, key.to_vec());
        let mut heard = Heard::new(self.beginnings(target));
        let mut answered: Vec<Contact> = Vec::new();
        let mut left = WALK_BUDGET;
        loop {
            let mut next = heard.closest_to(target, ALPHA.min(left));
            if let Some(farthest) = answered.get(K - 1) {
                let bound = Position::of_peer(&farthest.peer).distance(target);
                next.retain(|contact| Position::of_peer(&contact.peer).distance(target) < bound);
            }
            if next.is_empty() {
                break;
            }
            left -= next.len();
            for (contact, answer) in self.ask_all(&mut heard, next, &request).await {
                answered.push(contact);
                heard.add(answer.closer);
            }
            answered.sort_by_cached_key(|contact| Position::of_peer(&contact.peer).distance(target));
            heard.forget_farthest(target);
        }
        answered.truncate(K);
        answered
    }

    /// Asks registrars of a service for advertisements: from each of the buckets around its place some random ones, the far
    /// ones first, so that nobody who finishes close to the place sees every question (`spec/waku.md §6.6`).
    pub(super) async fn look_up(&self, service: [u8; 32]) -> LookUp {
        let place = Position::of_service(service);
        let request = Message::new(MessageKind::GetAds, service.to_vec());
        let mut heard = Heard::new(self.server.lock().table.contacts());
        heard.add(self.bootstrap.to_vec());
        let mut found = LookUp::default();
        for bucket in 0..SERVICE_BUCKETS {
            let in_bucket = heard.unasked().filter(|contact| bucket_of(place, &contact.peer) == bucket);
            let next: Vec<_> = in_bucket.cloned().sample(&mut rand::rng(), PER_BUCKET);
            for (_, answer) in self.ask_all(&mut heard, next, &request).await {
                found.registrars += 1;
                heard.add(answer.closer);
                found.advertisements.push(answer.advertisements.unwrap_or_default());
            }
            let count: usize = found.advertisements.iter().map(Vec::len).sum();
            if count >= LOOKED_UP && found.registrars >= MIN_REGISTRARS {
                break;
            }
        }
        found
    }

    /// The record under a peer's own key, asked of that peer.
    pub(super) async fn records_of(&self, peers: &[Contact]) -> Vec<Vec<u8>> {
        let ask = |contact: &Contact| {
            let (client, contact) = (self.clone(), contact.clone());
            async move {
                let request = Message::new(MessageKind::GetValue, contact.peer.to_bytes());
                let record = client.ask(&contact, &request).await?.record?;
                (record.key == request.key).then_some(record.value)
            }
        };
        let asked: Vec<_> = peers.iter().map(ask).collect();
        stream::iter(asked).buffer_unordered(ALPHA).filter_map(std::future::ready).collect().await
    }

    async fn ask_all(&self, heard: &mut Heard, peers: Vec<Contact>, request: &Message) -> Vec<(Contact, Message)> {
        heard.asked.extend(peers.iter().map(|contact| contact.peer));
        let ask = |contact: Contact| async move {
            let answer = self.ask(&contact, request).await?;
            Some((contact, answer))
        };
        join_all(peers.into_iter().map(ask)).await.into_iter().flatten().collect()
    }

    /// Where a walk begins: with the closest that are known, and while few are, with those of the configuration.
    fn beginnings(&self, target: Position) -> Vec<Contact> {
        let mut known = self.server.lock().table.closest(target, K, |_| true);
        if known.len() < K {
            known.extend(self.bootstrap.iter().cloned());
        }
        known
    }
}

/// What a look-up found.
#[derive(Debug, Default)]
pub(super) struct LookUp {
    /// Registrars that answered.
    pub(super) registrars: usize,
    /// What each of them returned.
    pub(super) advertisements: Vec<Vec<Vec<u8>>>,
}

/// The bucket of a peer around a service's place; the last one holds all that are closer.
pub(super) fn bucket_of(place: Position, peer: &PeerId) -> usize {
    place.distance(Position::of_peer(peer)).shared_bits().min(SERVICE_BUCKETS - 1)
}

/// Peers that a search has heard of.
#[derive(Debug)]
struct Heard {
    contacts: Vec<Contact>,
    known: HashSet<PeerId>,
    asked: HashSet<PeerId>,
    room: usize,
}

impl Heard {
    fn new(contacts: Vec<Contact>) -> Self {
        let mut heard = Self {
            room: contacts.len() + MAX_HEARD,
            contacts: Vec::new(),
            known: HashSet::new(),
            asked: HashSet::new(),
        };
        heard.add(contacts);
        heard
    }

    fn add(&mut self, contacts: Vec<Contact>) {
        for contact in contacts {
            if self.contacts.len() < self.room && self.known.insert(contact.peer) {
                self.contacts.push(contact);
            }
        }
    }

    fn unasked(&self) -> impl Iterator<Item = &Contact> {
        self.contacts.iter().filter(|contact| !self.asked.contains(&contact.peer))
    }

    fn closest_to(&self, target: Position, count: usize) -> Vec<Contact> {
        let mut unasked: Vec<_> = self.unasked().cloned().collect();
        unasked.sort_by_cached_key(|contact| Position::of_peer(&contact.peer).distance(target));
        unasked.truncate(count);
        unasked
    }

    /// Makes room for peers that are closer.
    fn forget_farthest(&mut self, target: Position) {
        self.contacts.sort_by_cached_key(|contact| Position::of_peer(&contact.peer).distance(target));
        self.contacts.truncate(MAX_HEARD / 2);
    }
}
