//! The fields of a descriptor as they are on the wire, and the rules of each.

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_sphinx::PublicKey;

use super::{
    Capabilities, Descriptor, DescriptorError, DescriptorLimits, MAX_ADDRESSES, MAX_FAMILY, MAX_LISTED_SHARDS,
    MAX_PROFILES, Shards, is_operator_tag,
};

/// The message; the table stands in the parent module.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Fields {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) peer_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) issued: u64,
    #[prost(uint64, tag = "3")]
    pub(super) expires: u64,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) addresses: Vec<Vec<u8>>,
    #[prost(uint32, tag = "5")]
    pub(super) cluster: u32,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) shards: Vec<u32>,
    #[prost(uint32, tag = "7")]
    pub(super) capabilities: u32,
    #[prost(bytes = "vec", tag = "8")]
    pub(super) mix_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) next_key: Vec<u8>,
    #[prost(uint64, tag = "10")]
    pub(super) next_key_from: u64,
    #[prost(string, repeated, tag = "11")]
    pub(super) profiles: Vec<String>,
    #[prost(string, tag = "12")]
    pub(super) operator: String,
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub(super) family: Vec<Vec<u8>>,
    #[prost(uint32, tag = "14")]
    pub(super) packets_per_second: u32,
    #[prost(uint32, tag = "15")]
    pub(super) longest_hold_ms: u32,
    #[prost(bool, tag = "16")]
    pub(super) reassembles: bool,
    #[prost(bool, tag = "17")]
    pub(super) full: bool,
    #[prost(uint32, tag = "18")]
    pub(super) key_overlap_s: u32,
}

impl From<&Descriptor> for Fields {
    fn from(descriptor: &Descriptor) -> Self {
        let key = |key: Option<PublicKey>| key.map(|key| key.as_bytes().to_vec()).unwrap_or_default();
        Self {
            peer_id: descriptor.peer.to_bytes(),
            issued: descriptor.issued,
            expires: descriptor.expires,
            addresses: descriptor.addresses.iter().map(Multiaddr::to_vec).collect(),
            cluster: descriptor.shards.cluster.into(),
            shards: descriptor.shards.shards.iter().copied().map(u32::from).collect(),
            capabilities: descriptor.capabilities.bits().into(),
            mix_key: key(descriptor.mix_key),
            next_key: key(descriptor.next_key.map(|(key, _)| key)),
            next_key_from: descriptor.next_key.map(|(_, from)| from).unwrap_or_default(),
            profiles: descriptor.profiles.iter().map(ToString::to_string).collect(),
            operator: descriptor.operator.clone().unwrap_or_default(),
            family: descriptor.family.iter().map(|peer| peer.to_bytes()).collect(),
            packets_per_second: descriptor.limits.packets_per_second,
            longest_hold_ms: descriptor.limits.longest_hold_ms,
            reassembles: descriptor.reassembles,
            full: descriptor.is_full,
            key_overlap_s: descriptor.limits.key_overlap_s,
        }
    }
}

impl TryFrom<Fields> for Descriptor {
    type Error = DescriptorError;

    fn try_from(fields: Fields) -> Result<Self, DescriptorError> {
        fields.check_counts()?;
        let capabilities = u8::try_from(fields.capabilities).map_err(|_| DescriptorError::Field("capabilities"))?;
        let capabilities = Capabilities::from_bits(capabilities);
        let mix_key = public_key("mix_key", &fields.mix_key)?;
        if capabilities.contains(Capabilities::MIX) != mix_key.is_some() {
            return Err(DescriptorError::MixBit);
        }
        if fields.reassembles && mix_key.is_none() {
            return Err(DescriptorError::Field("reassembles"));
        }
        Ok(Self {
            peer: peer_id("peer_id", &fields.peer_id)?,
            issued: fields.issued,
            expires: fields.expires,
            addresses: fields.addresses.iter().filter_map(|bytes| address(bytes)).collect(),
            shards: fields.shards()?,
            capabilities,
            mix_key,
            next_key: fields.next_key()?,
            profiles: fields.profiles.iter().filter_map(|text| text.parse().ok()).collect(),
            family: fields.family.iter().map(|bytes| peer_id("family", bytes)).collect::<Result<_, _>>()?,
            limits: DescriptorLimits {
                packets_per_second: fields.packets_per_second,
                longest_hold_ms: fields.longest_hold_ms,
                key_overlap_s: fields.key_overlap_s,
            },
            operator: operator(fields.operator)?,
            reassembles: fields.reassembles,
            is_full: fields.full,
        })
    }
}

impl Fields {
    fn check_counts(&self) -> Result<(), DescriptorError> {
        let counts = [
            ("addresses", self.addresses.len(), MAX_ADDRESSES),
            ("shards", self.shards.len(), MAX_LISTED_SHARDS),
            ("profiles", self.profiles.len(), MAX_PROFILES),
            ("family", self.family.len(), MAX_FAMILY),
        ];
        match counts.into_iter().find(|(_, count, max)| count > max) {
            Some((what, ..)) => Err(DescriptorError::TooMany(what)),
            None => Ok(()),
        }
    }

    fn shards(&self) -> Result<Shards, DescriptorError> {
        let narrow = |name, value: u32| u16::try_from(value).map_err(|_| DescriptorError::Field(name));
        Ok(Shards {
            cluster: narrow("cluster", self.cluster)?,
            shards: self.shards.iter().map(|&shard| narrow("shards", shard)).collect::<Result<_, _>>()?,
        })
    }

    /// A key that follows needs one that it follows, and a date.
    fn next_key(&self) -> Result<Option<(PublicKey, u64)>, DescriptorError> {
        let next = public_key("next_key", &self.next_key)?;
        match (next, self.next_key_from) {
            (None, 0) => Ok(None),
            (Some(key), from @ 1..) if !self.mix_key.is_empty() => Ok(Some((key, from))),
            _ => Err(DescriptorError::Field("next_key_from")),
        }
    }
}

/// Nothing is no key; anything else must be one.
fn public_key(name: &'static str, bytes: &[u8]) -> Result<Option<PublicKey>, DescriptorError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = bytes.try_into().map_err(|_| DescriptorError::Field(name))?;
    Ok(Some(PublicKey::from_bytes(bytes)?))
}

fn peer_id(name: &'static str, bytes: &[u8]) -> Result<PeerId, DescriptorError> {
    PeerId::from_bytes(bytes).map_err(|_| DescriptorError::Field(name))
}

fn operator(text: String) -> Result<Option<String>, DescriptorError> {
    match text {
        text if text.is_empty() => Ok(None),
        text if is_operator_tag(&text) => Ok(Some(text)),
        _ => Err(DescriptorError::Field("operator")),
    }
}

/// An address that this reader understands and that is not about its own peer.
fn address(bytes: &[u8]) -> Option<Multiaddr> {
    let address = Multiaddr::try_from(bytes.to_vec()).ok()?;
    match address.iter().last()? {
        Protocol::P2p(_) => None,
        _ => Some(address),
    }
}
