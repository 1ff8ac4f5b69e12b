//! What is registered: who a node is, where it listens and its mix key, signed by it.

use libp2p_identity::{Keypair, PeerId, SigningError};
use multiaddr::{Multiaddr, Protocol};
use prost::Message as _;
use wakumix_sphinx::PublicKey;

use crate::envelope::{EnvelopeError, OpenedEnvelope, Purpose};

/// Waku's record.
const MIX: Purpose = Purpose { domain: "libp2p-custom-peer-record", payload_type: &[0x30, 0x00, 0x00] };
/// libp2p's record.
const PEER: Purpose = Purpose { domain: "libp2p-peer-record", payload_type: &[0x03, 0x01] };

/// The record of a mix node (`spec/waku.md §5.3`): `1 peer_id, 2 seqNo, 3 multiaddrs (repeated), 4 mixKey ("0x" + 64 hex)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixRecord {
    /// Whose it is, and who signed it.
    pub peer: PeerId,
    /// When it was made, in Unix seconds; the newest of two holds.
    pub seq: u64,
    /// Where the node listens, without its `/p2p`. Those that cannot be read are left out.
    pub addresses: Vec<Multiaddr>,
    /// Its mix key; nwaku's nodes that do not mix register an empty one.
    pub mix_key: Option<PublicKey>,
}

/// libp2p's own record of a node: `1 peer_id, 2 seq, 3 addresses (repeated) { 1 multiaddr }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Whose it is, and who signed it.
    pub peer: PeerId,
    /// Counts up from record to record.
    pub seq: u64,
    /// Where the node listens, without its `/p2p`. Those that cannot be read are left out.
    pub addresses: Vec<Multiaddr>,
}

/// Why a record is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The envelope is not valid, or its signature is wrong.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload is no record.
    #[error("not a peer record: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The record is about another peer than the one that signed it, or about none.
    #[error("the record is signed by another peer")]
    Signer,
    /// No address can be read.
    #[error("the record has no address")]
    NoAddress,
    /// The mix key is not valid.
    #[error("the record's mix key is invalid")]
    MixKey,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MixRecordFields {
    #[prost(bytes = "vec", required, tag = "1")]
    peer_id: Vec<u8>,
    #[prost(uint64, required, tag = "2")]
    seq_no: u64,
    #[prost(bytes = "vec", repeated, tag = "3")]
    multiaddrs: Vec<Vec<u8>>,
    #[prost(string, required, tag = "4")]
    mix_key: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PeerRecordFields {
    #[prost(bytes = "vec", required, tag = "1")]
    peer_id: Vec<u8>,
    #[prost(uint64, required, tag = "2")]
    seq: u64,
    #[prost(message, repeated, tag = "3")]
    addresses: Vec<AddressFields>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AddressFields {
    #[prost(bytes = "vec", required, tag = "1")]
    multiaddr: Vec<u8>,
}

impl MixRecord {
    /// Signs the record; the key is that of its peer.
    ///
    /// # Errors
    /// Those of the key; a secp256k1 key has none.
    pub fn seal(&self, key: &Keypair) -> Result<Vec<u8>, SigningError> {
        let fields = MixRecordFields {
            peer_id: self.peer.to_bytes(),
            seq_no: self.seq,
            multiaddrs: self.addresses.iter().map(Multiaddr::to_vec).collect(),
            mix_key: self.mix_key.as_ref().map(|key| format!("0x{key}")).unwrap_or_default(),
        };
        MIX.seal(key, fields.encode_to_vec())
    }

    /// Reads a record and checks its signature.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn open(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::of(&MIX.open(bytes)?)
    }

    /// Reads what stands in an envelope whose signature is good.
    pub(crate) fn of(opened: &OpenedEnvelope) -> Result<Self, RecordError> {
        let fields = MixRecordFields::decode(&*opened.payload)?;
        let peer = signer(&opened.signer, &fields.peer_id)?;
        let addresses = addresses(fields.multiaddrs, peer)?;
        Ok(Self { peer, seq: fields.seq_no, addresses, mix_key: mix_key(&fields.mix_key)? })
    }
}

impl PeerRecord {
    /// Signs the record; the key is that of its peer.
    ///
    /// # Errors
    /// Those of the key; a secp256k1 key has none.
    pub fn seal(&self, key: &Keypair) -> Result<Vec<u8>, SigningError> {
        let addresses = self.addresses.iter().map(|address| AddressFields { multiaddr: address.to_vec() }).collect();
        let fields = PeerRecordFields { peer_id: self.peer.to_bytes(), seq: self.seq, addresses };
        PEER.seal(key, fields.encode_to_vec())
    }

    /// Reads a record and checks its signature.
    ///
    /// # Errors
    /// [`RecordError`], except for [`RecordError::MixKey`].
    pub fn open(bytes: &[u8]) -> Result<Self, RecordError> {
        Self::of(&PEER.open(bytes)?)
    }

    /// Reads what stands in an envelope whose signature is good.
    pub(crate) fn of(opened: &OpenedEnvelope) -> Result<Self, RecordError> {
        let fields = PeerRecordFields::decode(&*opened.payload)?;
        let peer = signer(&opened.signer, &fields.peer_id)?;
        let multiaddrs = fields.addresses.into_iter().map(|address| address.multiaddr);
        Ok(Self { peer, seq: fields.seq, addresses: addresses(multiaddrs, peer)? })
    }
}

/// The peer that a record is about, if it is the one that signed it.
fn signer(key: &libp2p_identity::PublicKey, peer_id: &[u8]) -> Result<PeerId, RecordError> {
    let peer = key.to_peer_id();
    if peer_id == peer.to_bytes() { Ok(peer) } else { Err(RecordError::Signer) }
}

fn addresses(bytes: impl IntoIterator<Item = Vec<u8>>, peer: PeerId) -> Result<Vec<Multiaddr>, RecordError> {
    let readable = bytes.into_iter().filter_map(|bytes| Multiaddr::try_from(bytes).ok());
    let addresses: Vec<_> = readable.map(|address| without_peer(address, peer)).filter(|a| !a.is_empty()).collect();
    if addresses.is_empty() { Err(RecordError::NoAddress) } else { Ok(addresses) }
}

fn without_peer(mut address: Multiaddr, peer: PeerId) -> Multiaddr {
    while address.iter().last() == Some(Protocol::P2p(peer)) {
        address.pop();
    }
    address
}

fn mix_key(text: &str) -> Result<Option<PublicKey>, RecordError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().map(Some).map_err(|_| RecordError::MixKey)
}

#[cfg(test)]
mod tests;
