//! Requests and responses: the libp2p Kademlia messages with REGISTER and GET_ADS (`spec/waku.md §6.6`).

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use prost::Message as _;

use super::{MAX_MESSAGE, Ticket};

/// Peers that are read of one message: the `k` of the DHT. A registrar sends no more.
const MAX_CONTACTS: usize = 20;
/// Addresses that are read of one peer; what follows is left out.
const MAX_ADDRESSES: usize = 8;
/// Advertisements that are read of one message; the specification's registrars return 10.
const MAX_ADVERTISEMENTS: usize = 16;

/// What a message asks or answers, with its number on the wire. Those of REGISTER and GET_ADS are nwaku's; the text of its
/// specification differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum MessageKind {
    /// Keep a record under a key.
    PutValue = 0,
    /// Give the record under a key.
    GetValue = 1,
    /// Remember a provider; not used here.
    AddProvider = 2,
    /// Name providers; not used here.
    GetProviders = 3,
    /// Name the peers closest to a key.
    FindNode = 4,
    /// Answer.
    Ping = 5,
    /// Keep an advertisement.
    Register = 16,
    /// Give the advertisements of a service.
    GetAds = 17,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceDiscoveryMessageError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes, at most {MAX_MESSAGE} are accepted")]
    TooLong(usize),
    /// No protobuf message of these fields.
    #[error("not a DHT message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The type is missing or unknown.
    #[error("the message has no known type")]
    Kind,
    /// The status is missing or unknown.
    #[error("the registration has an unknown status {0}")]
    Status(i32),
}

/// One request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it asks or answers.
    pub kind: MessageKind,
    /// What it is about: a peer id or a service key. Empty where there is none.
    pub key: Vec<u8>,
    /// The record that is put or was asked for.
    pub record: Option<ValueRecord>,
    /// Peers closer to the key.
    pub closer: Vec<Contact>,
    /// What is registered, or the answer to it.
    pub register: Option<Register>,
    /// Encoded advertisements; `None` where none were asked for.
    pub advertisements: Option<Vec<Vec<u8>>>,
}

/// A record in the DHT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRecord {
    /// The key it is kept under.
    pub key: Vec<u8>,
    /// What is kept.
    pub value: Vec<u8>,
}

/// A peer and where it is said to listen, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The peer.
    pub peer: PeerId,
    /// Its addresses.
    pub addresses: Vec<Multiaddr>,
}

/// A registration, or the answer to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Register {
    /// The encoded advertisement; empty in answers.
    pub advertisement: Vec<u8>,
    /// How it ended; `None` in requests.
    pub status: Option<RegisterStatus>,
    /// What a waiting advertiser comes back with.
    pub ticket: Option<Ticket>,
}

/// How a registration ended, with its number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum RegisterStatus {
    /// The advertisement is kept.
    Confirmed = 0,
    /// Come back with the ticket.
    Wait = 1,
    /// It will not be kept.
    Rejected = 2,
}

/// A message, and what was left out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What could be read.
    pub message: Message,
    /// Peers and advertisements that could not be read, or are more than one message may hold.
    pub skipped: usize,
}

// Every scalar is optional, so that zero is written: older nodes of nwaku require the fields.

#[derive(Clone, PartialEq, prost::Message)]
struct MessageFields {
    #[prost(int32, optional, tag = "1")]
    kind: Option<i32>,
    #[prost(bytes = "vec", optional, tag = "2")]
    key: Option<Vec<u8>>,
    #[prost(message, optional, tag = "3")]
    record: Option<ValueFields>,
    // Read one by one, so that a bad one does not spoil the others.
    #[prost(bytes = "vec", repeated, tag = "8")]
    closer: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "21")]
    register: Option<RegisterFields>,
    #[prost(message, optional, tag = "22")]
    get_ads: Option<GetAdsFields>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueFields {
    #[prost(bytes = "vec", optional, tag = "1")]
    key: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "2")]
    value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContactFields {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    addresses: Vec<Vec<u8>>,
    #[prost(int32, optional, tag = "3")]
    connection: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegisterFields {
    #[prost(bytes = "vec", optional, tag = "1")]
    advertisement: Option<Vec<u8>>,
    #[prost(int32, optional, tag = "2")]
    status: Option<i32>,
    #[prost(message, optional, tag = "3")]
    ticket: Option<TicketFields>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TicketFields {
    #[prost(bytes = "vec", optional, tag = "1")]
    advertisement: Option<Vec<u8>>,
    #[prost(uint64, optional, tag = "2")]
    first_asked: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    issued: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    wait: Option<u32>,
    #[prost(bytes = "vec", optional, tag = "5")]
    signature: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct GetAdsFields {
    #[prost(bytes = "vec", repeated, tag = "1")]
    advertisements: Vec<Vec<u8>>,
}

impl Message {
    /// A message of one kind about `key`, with nothing else in it.
    #[must_use]
    pub fn new(kind: MessageKind, key: Vec<u8>) -> Self {
        Self { kind, key, record: None, closer: Vec::new(), register: None, advertisements: None }
    }

    /// The bytes, without a length prefix.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.fields().encode_to_vec()
    }

    /// The bytes of an answer, without a length prefix, at most [`MAX_MESSAGE`] of them: closer peers are left out from the
    /// end until it fits, then advertisements. What a message is about always fits.
    #[must_use]
    pub fn encode_fitting(mut self) -> Vec<u8> {
        loop {
            let bytes = self.encode();
            let is_shorter = self.closer.pop().is_some()
                || self.advertisements.as_mut().is_some_and(|advertisements| advertisements.pop().is_some());
            if bytes.len() <= MAX_MESSAGE || !is_shorter {
                return bytes;
            }
        }
    }

    /// Reads a message. A peer that cannot be read is skipped.
    ///
    /// # Errors
    /// [`ServiceDiscoveryMessageError`].
    pub fn decode(bytes: &[u8]) -> Result<Decoded, ServiceDiscoveryMessageError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ServiceDiscoveryMessageError::TooLong(bytes.len()));
        }
        let MessageFields { kind, key, record, closer, register, get_ads } = MessageFields::decode(bytes)?;
        let kind = kind.and_then(|kind| MessageKind::try_from(kind).ok()).ok_or(ServiceDiscoveryMessageError::Kind)?;
        let mut skipped = closer.len();
        let closer: Vec<_> = closer.iter().take(MAX_CONTACTS).filter_map(|peer| Contact::decode(peer)).collect();
        skipped -= closer.len();
        let advertisements = get_ads.map(|GetAdsFields { mut advertisements }| {
            skipped += advertisements.len().saturating_sub(MAX_ADVERTISEMENTS);
            advertisements.truncate(MAX_ADVERTISEMENTS);
            advertisements
        });
        let record = record.map(|ValueFields { key, value }| ValueRecord {
            key: key.unwrap_or_default(),
            value: value.unwrap_or_default(),
        });
        let register = register.map(Register::try_from).transpose()?;
        let message = Self { kind, key: key.unwrap_or_default(), record, closer, register, advertisements };
        Ok(Decoded { message, skipped })
    }

    fn fields(&self) -> MessageFields {
        let key = (!self.key.is_empty()).then(|| self.key.clone());
        let record = self.record.clone();
        let advertisements = self.advertisements.clone();
        MessageFields {
            kind: Some(self.kind.into()),
            key,
            record: record.map(|record| ValueFields { key: Some(record.key), value: Some(record.value) }),
            closer: self.closer.iter().map(Contact::encode).collect(),
            register: self.register.clone().map(RegisterFields::from),
            get_ads: advertisements.map(|advertisements| GetAdsFields { advertisements }),
        }
    }
}

impl Contact {
    fn encode(&self) -> Vec<u8> {
        let addresses = self.addresses.iter().take(MAX_ADDRESSES).map(Multiaddr::to_vec).collect();
        // Whether this node is connected to a peer is nobody's business; nwaku hides it too.
        ContactFields { id: self.peer.to_bytes(), addresses, connection: Some(0) }.encode_to_vec()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let ContactFields { id, addresses, .. } = ContactFields::decode(bytes).ok()?;
        let peer = PeerId::from_bytes(&id).ok()?;
        let addresses = addresses.into_iter().filter_map(|address| Multiaddr::try_from(address).ok());
        Some(Self { peer, addresses: addresses.take(MAX_ADDRESSES).collect() })
    }
}

impl TryFrom<RegisterFields> for Register {
    type Error = ServiceDiscoveryMessageError;

    fn try_from(fields: RegisterFields) -> Result<Self, ServiceDiscoveryMessageError> {
        let ticket = fields.ticket.map(|ticket| Ticket {
            advertisement: ticket.advertisement.unwrap_or_default(),
            first_asked: ticket.first_asked.unwrap_or_default(),
            issued: ticket.issued.unwrap_or_default(),
            wait: ticket.wait.unwrap_or_default(),
            signature: ticket.signature.unwrap_or_default(),
        });
        let status = fields
            .status
            .map(|status| RegisterStatus::try_from(status).map_err(|_| ServiceDiscoveryMessageError::Status(status)))
            .transpose()?;
        Ok(Self { advertisement: fields.advertisement.unwrap_or_default(), status, ticket })
    }
}

impl From<Register> for RegisterFields {
    fn from(Register { advertisement, status, ticket }: Register) -> Self {
        let ticket = ticket.map(|ticket| TicketFields {
            advertisement: Some(ticket.advertisement),
            first_asked: Some(ticket.first_asked),
            issued: Some(ticket.issued),
            wait: Some(ticket.wait),
            signature: Some(ticket.signature),
        });
        Self { advertisement: Some(advertisement), status: status.map(i32::from), ticket }
    }
}

#[cfg(test)]
mod tests;
