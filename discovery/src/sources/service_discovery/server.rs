//! What this node answers to others: the DHT's requests, without I/O.

use std::{net::IpAddr, time::Duration};

use libp2p_identity::{Keypair, PeerId};
use rand::{Rng, rngs::StdRng};
use tokio::time::Instant;
use wakumix_mix::Refill;
use wakumix_records::service_discovery::{Contact, Message, MessageKind, ValueRecord};
use wakumix_role_api::Requester;

use super::{
    parameters::K,
    position::Position,
    registrar::{Registrar, ServiceKey},
    store::Store,
    table::Table,
};
use crate::{peer_report::UnixSeconds, sources::budget::Budget};

/// Requests of all peers together. The dearest checks two signatures, some 0.2 ms; 500 per second take a tenth of a core.
const ALL: Refill = Refill::of(1000, Duration::from_millis(2));
/// Requests of one peer. A look-up and a registration with all buckets ask one peer a few times; walks come each minute.
const OWN: Refill = Refill::of(40, Duration::from_millis(500));
/// Bytes of the longest key: a peer id has below 64.
const MAX_KEY: usize = 128;

/// Everything that others can ask this node for, and its routing table.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) table: Table,
    pub(super) registrar: Registrar,
    store: Store,
    budget: Budget,
    rng: StdRng,
    /// This node's own record under its own key.
    own: Option<ValueRecord>,
    /// Whether this node answers: one that only sends keeps nothing for others.
    serves: bool,
}

impl Server {
    pub(super) fn new(key: Keypair, allow_private: bool, rng: StdRng) -> Self {
        let me = key.public().to_peer_id();
        Self {
            table: Table::new(&me),
            registrar: Registrar::new(key, allow_private),
            store: Store::new(&me),
            budget: Budget::new(ALL, OWN),
            rng,
            own: None,
            serves: false,
        }
    }

    /// Whether this node answers from now on.
    pub(super) fn set_serves(&mut self, serves: bool) {
        self.serves = serves;
    }

    /// What this node tells of itself from now on: its key of the DHT, its advertisement and the service of that.
    pub(super) fn set_own(&mut self, own: Option<(ServiceKey, ValueRecord)>) {
        self.registrar.set_own(own.as_ref().map(|(service, record)| (*service, record.value.clone())));
        self.own = own.map(|(_, record)| record);
    }

    /// The answer to a request, without a length prefix; none to what is malformed, too much or not for this node.
    pub(super) fn answer(
        &mut self,
        from: Requester,
        ip: Option<IpAddr>,
        body: &[u8],
        at: Instant,
        unix: UnixSeconds,
    ) -> Option<Vec<u8>> {
        if !self.serves || !self.budget.admit(from, at) {
            return None;
        }
        let request = Message::decode(body).ok()?.message;
        if request.key.len() > MAX_KEY {
            return None;
        }
        let peer = match from {
            Requester::Peer(peer) => Some(peer),
            Requester::Anonymous => None,
        };
        let answer = match request.kind {
            MessageKind::Ping => Message::new(MessageKind::Ping, Vec::new()),
            MessageKind::FindNode => self.find_node(request, peer),
            MessageKind::GetValue => self.get_value(request, peer, unix),
            MessageKind::PutValue => self.put_value(request, unix)?,
            MessageKind::Register => self.register(&request, peer?, ip, unix)?,
            MessageKind::GetAds => self.get_ads(&request, peer, unix)?,
            MessageKind::AddProvider | MessageKind::GetProviders => return None,
        };
        Some(answer.encode_fitting())
    }

    fn find_node(&self, request: Message, from: Option<PeerId>) -> Message {
        let closer = self.closer(Position::of_key(&request.key), from);
        Message { closer, ..Message::new(MessageKind::FindNode, request.key) }
    }

    fn get_value(&self, request: Message, from: Option<PeerId>, now: UnixSeconds) -> Message {
        let closer = self.closer(Position::of_key(&request.key), from);
        let own = self.own.clone().filter(|own| own.key == request.key);
        let record = own.or_else(|| self.store.get(&request.key, now));
        Message { record, closer, ..Message::new(MessageKind::GetValue, request.key) }
    }

    /// The request itself is the answer once the record is kept (`spec/waku.md §6.6`, libp2p Kademlia).
    fn put_value(&mut self, request: Message, now: UnixSeconds) -> Option<Message> {
        let is_kept = self.store.put(&request.key, request.record.as_ref()?, now);
        is_kept.then_some(request)
    }

    fn register(&mut self, request: &Message, from: PeerId, ip: Option<IpAddr>, now: UnixSeconds) -> Option<Message> {
        let service = ServiceKey::try_from(request.key.as_slice()).ok()?;
        let register = self.registrar.register(service, from, ip, request.register.as_ref()?, now);
        let closer = self.closer(Position::of_service(service), Some(from));
        Some(Message { register: Some(register), closer, ..Message::new(MessageKind::Register, Vec::new()) })
    }

    fn get_ads(&mut self, request: &Message, from: Option<PeerId>, now: UnixSeconds) -> Option<Message> {
        let service = ServiceKey::try_from(request.key.as_slice()).ok()?;
        let advertisements = Some(self.registrar.advertisements(service, now, &mut self.rng));
        let closer = self.closer(Position::of_service(service), from);
        Some(Message { advertisements, closer, ..Message::new(MessageKind::GetAds, Vec::new()) })
    }

    /// Peers close to a place that can be dialled, without the one that asks.
    fn closer(&self, target: Position, from: Option<PeerId>) -> Vec<Contact> {
        self.table.closest(target, K, |contact| Some(contact.peer) != from && !contact.addresses.is_empty())
    }

    /// A key of the DHT that nobody has.
    pub(super) fn random_key(&mut self) -> Vec<u8> {
        let mut key = vec![0; 32];
        self.rng.fill_bytes(&mut key);
        key
    }
}

#[cfg(test)]
mod tests;
