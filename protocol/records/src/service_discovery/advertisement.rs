//! Advertisements: extensible peer records in signed envelopes (`spec/waku.md §6.6`).

use libp2p_identity::{Keypair, ParseError, PeerId, SigningError};
use multiaddr::Multiaddr;
use prost::Message as _;
use wakumix_sphinx::PublicKey;

use super::{MIX_SERVICE, service_key};
use crate::envelope::{EnvelopeError, Opened, Purpose};

/// The longest advertisement, in bytes with its envelope; nwaku refuses longer ones.
pub const MAX_ADVERTISEMENT: usize = 1024;
/// Addresses that are read of one record. A node has a handful; what follows is left out.
const MAX_ADDRESSES: usize = 8;
/// Services that are read of one record; what follows is left out.
const MAX_SERVICES: usize = 16;

/// What nwaku's code writes, and so do we.
const FLEET: Purpose = Purpose { domain: "libp2p-peer-record", payload_type: &[3, 1] };
/// What the text of the specification says. It is read as well: the same statement, signed by the same key.
const SPECIFIED: Purpose = Purpose { domain: "libp2p-routing-state", payload_type: b"/libp2p/extensible-peer-record/" };

/// The extensible peer record: what a peer publishes about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The peer that it is about, which signs it.
    pub peer: PeerId,
    /// Orders the records of a peer; nwaku uses Unix seconds.
    pub seq: u64,
    /// Where it listens, as it wrote them.
    pub addresses: Vec<Multiaddr>,
    /// What it offers.
    pub services: Vec<ServiceEntry>,
}

/// A service that a peer offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The service id.
    pub id: String,
    /// What the service says of itself.
    pub data: Vec<u8>,
}

/// Why bytes are no advertisement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvertisementError {
    /// Longer than [`MAX_ADVERTISEMENT`].
    #[error("an advertisement of {0} bytes, at most {MAX_ADVERTISEMENT} are accepted")]
    TooLong(usize),
    /// The envelope is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload is no peer record.
    #[error("not a peer record: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The peer id is not valid.
    #[error("the record's peer id is invalid: {0}")]
    Peer(#[from] ParseError),
    /// Another peer signed.
    #[error("the record is signed by another peer than it is about")]
    Signer,
    /// The key refused to sign.
    #[error("cannot sign the record: {0}")]
    Signing(#[from] SigningError),
}

#[derive(Clone, PartialEq, prost::Message)]
struct RecordFields {
    #[prost(bytes = "vec", optional, tag = "1")]
    peer_id: Option<Vec<u8>>,
    // Optional, so that zero is written: nwaku requires the field.
    #[prost(uint64, optional, tag = "2")]
    seq: Option<u64>,
    #[prost(message, repeated, tag = "3")]
    addresses: Vec<AddressFields>,
    #[prost(message, repeated, tag = "4")]
    services: Vec<ServiceFields>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AddressFields {
    #[prost(bytes = "vec", tag = "1")]
    multiaddr: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceFields {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(bytes = "vec", optional, tag = "2")]
    data: Option<Vec<u8>>,
}

impl PeerRecord {
    /// The record in its envelope.
    ///
    /// # Errors
    /// [`AdvertisementError::Signer`] if `key` is not the peer's, [`AdvertisementError::TooLong`], or
    /// [`AdvertisementError::Signing`].
    pub fn sign(&self, key: &Keypair) -> Result<Vec<u8>, AdvertisementError> {
        if key.public().to_peer_id() != self.peer {
            return Err(AdvertisementError::Signer);
        }
        let addresses = self.addresses.iter().map(|address| AddressFields { multiaddr: address.to_vec() });
        let services =
            self.services.iter().cloned().map(|ServiceEntry { id, data }| ServiceFields { id, data: Some(data) });
        let fields = RecordFields {
            peer_id: Some(self.peer.to_bytes()),
            seq: Some(self.seq),
            addresses: addresses.collect(),
            services: services.collect(),
        };
        let bytes = FLEET.seal(key, fields.encode_to_vec())?;
        if bytes.len() > MAX_ADVERTISEMENT {
            return Err(AdvertisementError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads an advertisement and checks that its peer signed it. Addresses that cannot be read are left out.
    ///
    /// # Errors
    /// [`AdvertisementError`].
    pub fn open(bytes: &[u8]) -> Result<Self, AdvertisementError> {
        if bytes.len() > MAX_ADVERTISEMENT {
            return Err(AdvertisementError::TooLong(bytes.len()));
        }
        let opened = match FLEET.open(bytes) {
            Err(EnvelopeError::PayloadType) => SPECIFIED.open(bytes)?,
            result => result?,
        };
        Self::of(&opened)
    }

    /// Reads what stands in an envelope whose signature is good.
    pub(crate) fn of(opened: &Opened) -> Result<Self, AdvertisementError> {
        let RecordFields { peer_id, seq, addresses, services } = RecordFields::decode(opened.payload.as_slice())?;
        let peer = PeerId::from_bytes(&peer_id.unwrap_or_default())?;
        if opened.signer.to_peer_id() != peer {
            return Err(AdvertisementError::Signer);
        }
        let addresses = addresses.into_iter().filter_map(|address| Multiaddr::try_from(address.multiaddr).ok());
        let services =
            services.into_iter().map(|ServiceFields { id, data }| ServiceEntry { id, data: data.unwrap_or_default() });
        Ok(Self {
            peer,
            seq: seq.unwrap_or_default(),
            addresses: addresses.take(MAX_ADDRESSES).collect(),
            services: services.take(MAX_SERVICES).collect(),
        })
    }

    /// True if one of its services lies at `key`.
    #[must_use]
    pub fn offers(&self, key: &[u8]) -> bool {
        self.services.iter().any(|service| service_key(&service.id) == key)
    }

    /// The mix key: of the first entry of [`MIX_SERVICE`] whose data is a key.
    #[must_use]
    pub fn mix_key(&self) -> Option<PublicKey> {
        let mut entries = self.services.iter().filter(|service| service.id == MIX_SERVICE);
        entries.find_map(|service| PublicKey::from_bytes(service.data.as_slice().try_into().ok()?).ok())
    }
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::PrivateKey;

    use super::*;

    fn key(seed: u8) -> Keypair {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
        libp2p_identity::secp256k1::Keypair::from(secret).into()
    }

    fn mix_key(seed: u8) -> Vec<u8> {
        PrivateKey::from_bytes([seed; 32]).public().as_bytes().to_vec()
    }

    fn record(seed: u8, data: Vec<u8>) -> PeerRecord {
        PeerRecord {
            peer: key(seed).public().to_peer_id(),
            seq: 1_750_000_000,
            addresses: vec!["/ip4/192.0.2.7/tcp/60000".parse().unwrap()],
            services: vec![ServiceEntry { id: MIX_SERVICE.to_owned(), data }],
        }
    }

    #[test]
    fn opens_what_the_peer_signed() {
        let record = record(7, mix_key(9));
        let opened = PeerRecord::open(&record.sign(&key(7)).unwrap()).unwrap();
        assert_eq!(opened, record);
        assert_eq!(opened.mix_key().unwrap().as_bytes().to_vec(), mix_key(9));
        assert!(opened.offers(&service_key(MIX_SERVICE)));
        assert!(!opened.offers(&service_key("/logos/delivery")));
    }

    #[test]
    fn reads_the_spelling_of_the_specification_too() {
        let record = record(7, mix_key(9));
        let payload = FLEET.open(&record.sign(&key(7)).unwrap()).unwrap().payload;
        assert_eq!(PeerRecord::open(&SPECIFIED.seal(&key(7), payload).unwrap()).unwrap(), record);
    }

    #[test]
    fn a_record_about_another_peer_is_refused() {
        let record = record(7, mix_key(9));
        assert!(matches!(record.sign(&key(8)), Err(AdvertisementError::Signer)));
        let payload = FLEET.open(&record.sign(&key(7)).unwrap()).unwrap().payload;
        let forged = FLEET.seal(&key(8), payload).unwrap();
        assert!(matches!(PeerRecord::open(&forged), Err(AdvertisementError::Signer)));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let bytes = record(7, mix_key(9)).sign(&key(7)).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert!(PeerRecord::open(&changed).is_err(), "byte {index}");
        }
    }

    #[test]
    fn data_that_is_no_key_gives_none_and_the_first_key_counts() {
        assert!(record(7, vec![9; 31]).mix_key().is_none());
        let mut two = record(7, vec![9; 33]);
        let entries = [mix_key(8), mix_key(7)].map(|data| ServiceEntry { id: MIX_SERVICE.to_owned(), data });
        two.services.extend(entries);
        assert_eq!(two.mix_key().unwrap().as_bytes().to_vec(), mix_key(8));
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        let long = record(7, vec![9; MAX_ADVERTISEMENT]);
        assert!(matches!(long.sign(&key(7)), Err(AdvertisementError::TooLong(_))));
        assert!(matches!(PeerRecord::open(&[0; MAX_ADVERTISEMENT + 1]), Err(AdvertisementError::TooLong(_))));
    }
}
