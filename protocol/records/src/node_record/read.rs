//! Records of strangers.

use std::str::FromStr;

use alloy_rlp::{Bytes, Decodable, Encodable};
use data_encoding::BASE64URL_NOPAD;
use enr::{Enr, EnrKey, k256::ecdsa::SigningKey};
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_sphinx::PublicKey;
use wakumix_waku::record::{self, Capabilities, Shards};

use super::{MAX_RECORD_LEN, MIX_KEY, RecordFields, SHARD_BITS_KEY};

/// The scheme of the text form.
const SCHEME: &str = "enr:";
/// Shards of a bit vector, 128 bytes behind the cluster.
const SHARD_BITS: u16 = 1024;

/// A record whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Whose it is.
    pub peer: PeerId,
    /// Its sequence number.
    pub seq: u64,
    /// What it says.
    pub fields: RecordFields,
    /// Keys of fields that are not what their format says, in part or as a whole.
    pub skipped: Vec<&'static str>,
    /// The record in RLP, as it can be passed on.
    pub encoded: Vec<u8>,
}

/// Why a record is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeRecordError {
    /// The text is no base64.
    #[error("behind `enr:` must stand URL-safe base64 without padding: {0}")]
    Base64(data_encoding::DecodeError),
    /// It is too long.
    #[error("the record is longer than {MAX_RECORD_LEN} bytes")]
    TooLong,
    /// It is no RLP, or a field of EIP-778 has the wrong type.
    #[error("the record does not parse: {0}")]
    Malformed(alloy_rlp::Error),
    /// Something follows it.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
    /// The signature does not fit.
    #[error("the record's signature is wrong")]
    Signature,
    /// The key is no secp256k1 key.
    #[error("the record's key is no secp256k1 key")]
    Key,
}

/// Reads a record in RLP.
///
/// # Errors
/// [`NodeRecordError`].
pub fn decode(bytes: &[u8]) -> Result<NodeRecord, NodeRecordError> {
    if bytes.len() > MAX_RECORD_LEN {
        return Err(NodeRecordError::TooLong);
    }
    let mut rest = bytes;
    let enr = Enr::<SigningKey>::decode(&mut rest).map_err(|error| match error {
        alloy_rlp::Error::Custom("Invalid Signature") => NodeRecordError::Signature,
        other => NodeRecordError::Malformed(other),
    })?;
    if !rest.is_empty() {
        return Err(NodeRecordError::Trailing(rest.len()));
    }
    NodeRecord::of(&enr)
}

/// Only what a node offers and where, for those who look through many records: nothing here costs the check of a key.
#[must_use]
pub fn offer<K: EnrKey>(enr: &Enr<K>) -> (Option<Capabilities>, Option<Shards>) {
    let read = |key| value(enr, key).ok().flatten();
    let capabilities = read(record::CAPABILITIES_KEY).and_then(|value| Capabilities::decode(&value).ok());
    let listed = read(record::SHARDS_KEY).and_then(|value| Shards::decode(&value).ok());
    let shards = listed.or_else(|| read(SHARD_BITS_KEY).and_then(|value| shard_bits(&value)));
    (capabilities, shards)
}

impl NodeRecord {
    /// Reads what a record says.
    ///
    /// # Errors
    /// [`NodeRecordError::Key`] if it is signed by another kind of key.
    pub fn of<K: EnrKey>(enr: &Enr<K>) -> Result<Self, NodeRecordError> {
        let key = value(enr, "secp256k1").ok().flatten().ok_or(NodeRecordError::Key)?;
        let key = libp2p_identity::secp256k1::PublicKey::try_from_bytes(&key).map_err(|_| NodeRecordError::Key)?;
        let peer = libp2p_identity::PublicKey::from(key).to_peer_id();
        let mut encoded = Vec::with_capacity(MAX_RECORD_LEN);
        enr.encode(&mut encoded);
        let mut reader = Reader { enr, peer, skipped: Vec::new() };
        let fields = reader.fields();
        Ok(Self { peer, seq: enr.seq(), fields, skipped: reader.skipped, encoded })
    }

    /// The text form, `enr:…`.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{SCHEME}{}", BASE64URL_NOPAD.encode(&self.encoded))
    }
}

/// Reads the text form, with or without `enr:`.
impl FromStr for NodeRecord {
    type Err = NodeRecordError;

    fn from_str(text: &str) -> Result<Self, NodeRecordError> {
        let text = text.trim();
        let text = text.strip_prefix(SCHEME).unwrap_or(text);
        // Long text is not worth decoding; base64 has 4 letters for 3 bytes.
        if text.len() > MAX_RECORD_LEN.div_ceil(3) * 4 {
            return Err(NodeRecordError::TooLong);
        }
        decode(&BASE64URL_NOPAD.decode(text.as_bytes()).map_err(NodeRecordError::Base64)?)
    }
}

/// The bytes of a field; an error if it is a list.
fn value<K: EnrKey>(enr: &Enr<K>, key: &str) -> Result<Option<Bytes>, alloy_rlp::Error> {
    enr.get_decodable::<Bytes>(key).transpose()
}

/// Reads fields and notes those that it cannot read.
struct Reader<'a, K: EnrKey> {
    enr: &'a Enr<K>,
    peer: PeerId,
    skipped: Vec<&'static str>,
}

impl<K: EnrKey> Reader<'_, K> {
    fn fields(&mut self) -> RecordFields {
        let port = |port: Option<u16>| port.filter(|&port| port != 0);
        let shards = self.field(record::SHARDS_KEY, |value| Shards::decode(value).ok());
        RecordFields {
            ip4: self.enr.ip4().filter(|ip| !ip.is_unspecified()),
            tcp4: port(self.enr.tcp4()),
            udp4: port(self.enr.udp4()),
            ip6: self.enr.ip6().filter(|ip| !ip.is_unspecified()),
            tcp6: port(self.enr.tcp6()),
            udp6: port(self.enr.udp6()),
            capabilities: self.field(record::CAPABILITIES_KEY, |value| Capabilities::decode(value).ok()),
            // Readers prefer the list.
            shards: shards.or_else(|| self.field(SHARD_BITS_KEY, shard_bits)),
            multiaddrs: self.multiaddrs(),
            mix_key: self.field(MIX_KEY, |value| PublicKey::from_bytes(value.try_into().ok()?).ok()),
        }
    }

    fn field<T>(&mut self, key: &'static str, read: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let field = match value(self.enr, key) {
            Ok(None) => return None,
            Ok(Some(value)) => read(&value),
            Err(_) => None,
        };
        if field.is_none() {
            self.skipped.push(key);
        }
        field
    }

    fn multiaddrs(&mut self) -> Vec<Multiaddr> {
        let peer = self.peer;
        let read = self.field(record::MULTIADDRS_KEY, |value| {
            let entries = record::decode_multiaddrs(value).ok()?;
            let addresses: Vec<_> = entries.iter().filter_map(|entry| address_of(entry, peer)).collect();
            Some((addresses.len() < entries.len(), addresses))
        });
        let (has_skipped, addresses) = read.unwrap_or_default();
        if has_skipped {
            self.skipped.push(record::MULTIADDRS_KEY);
        }
        addresses
    }
}

/// The address of `peer` in an entry, without the peer's id at its end.
fn address_of(entry: &[u8], peer: PeerId) -> Option<Multiaddr> {
    let mut address = Multiaddr::try_from(entry.to_vec()).ok()?;
    if let Some(Protocol::P2p(last)) = address.iter().last() {
        if last != peer {
            return None;
        }
        address.pop();
    }
    (!address.is_empty()).then_some(address)
}

/// Shards of a bit vector: cluster, then bit `shard % 8` of byte `shard / 8`, the lowest bit first, as Nim and Go nodes
/// write it. JS writes the highest first; nothing in a record tells which it is, and servers of nwaku are Nim
/// (`spec/waku.md §6.2`).
fn shard_bits(value: &[u8]) -> Option<Shards> {
    let (cluster, bits) = value.split_first_chunk()?;
    if bits.len() != usize::from(SHARD_BITS / 8) {
        return None;
    }
    let is_set = |shard: &u16| bits[usize::from(shard / 8)] >> (shard % 8) & 1 == 1;
    let shards = (0..SHARD_BITS).filter(is_set).collect();
    Some(Shards { cluster: u16::from_be_bytes(*cluster), shards })
}
