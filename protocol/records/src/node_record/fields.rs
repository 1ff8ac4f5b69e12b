//! What a record says, and how much of it fits.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use alloy_rlp::Encodable;
use enr::{Enr, EnrKey};
use multiaddr::{Multiaddr, Protocol};
use wakumix_sphinx::PublicKey;
use wakumix_waku::record::{self, Capabilities, MAX_LISTED_SHARDS, Shards};

use super::{MAX_RECORD_LEN, MIX_KEY};

/// What a record says besides whose it is. What it does not say is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFields {
    /// `ip`.
    pub ip4: Option<Ipv4Addr>,
    /// `tcp`, the libp2p port at `ip4`.
    pub tcp4: Option<u16>,
    /// `udp`, the discv5 port at `ip4`.
    pub udp4: Option<u16>,
    /// `ip6`.
    pub ip6: Option<Ipv6Addr>,
    /// `tcp6`, the libp2p port at `ip6`.
    pub tcp6: Option<u16>,
    /// `udp6`, the discv5 port at `ip6`.
    pub udp6: Option<u16>,
    /// `waku2`.
    pub capabilities: Option<Capabilities>,
    /// `rs`.
    pub shards: Option<Shards>,
    /// `multiaddrs`, without `/p2p/<own id>`, the most important first.
    pub multiaddrs: Vec<Multiaddr>,
    /// `mix-key`.
    pub mix_key: Option<PublicKey>,
}

/// A record that was made, and what did not fit.
#[derive(Clone, Debug)]
pub struct Signed<K: EnrKey> {
    /// The record.
    pub record: Enr<K>,
    /// What it does not say.
    pub left_out: LeftOut,
}

/// What did not fit into a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Shards at the end of the list.
    pub shards: usize,
    /// Other addresses.
    pub multiaddrs: usize,
    /// The mix key.
    pub mix_key: bool,
}

/// The record could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node record cannot be signed: {0}")]
pub struct SignError(enr::Error);

impl RecordFields {
    /// Makes the record with the sequence number `seq`, 1 or more; what does not fit is left out by the order of
    /// [the module](super).
    ///
    /// # Errors
    /// [`SignError`] if the key cannot sign. A secp256k1 key can.
    pub fn sign<K: EnrKey>(&self, seq: u64, key: &K) -> Result<Signed<K>, SignError> {
        let (values, left_out) = self.choose(seq);
        // Setting all fields at once signs once and raises the number by one.
        let mut record = Enr::builder().seq(seq.saturating_sub(1)).build(key).map_err(SignError)?;
        let values = values.iter().map(|(key, value)| (*key, value.as_slice()));
        record.remove_insert(std::iter::empty::<&str>(), values, key).map_err(SignError)?;
        Ok(Signed { record, left_out })
    }

    /// The addresses as a reader tries them: `multiaddrs`, then TCP at `ip`, then TCP at `ip6` (`spec/waku.md §6.2`),
    /// without repetitions.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let tcp = |ip: Option<Protocol<'static>>, port: Option<u16>| {
            Some(Multiaddr::empty().with(ip?).with(Protocol::Tcp(port?)))
        };
        let ip4 = tcp(self.ip4.map(Protocol::Ip4), self.tcp4);
        let ip6 = tcp(self.ip6.map(Protocol::Ip6), self.tcp6.or(self.tcp4));
        let mut addresses = Vec::new();
        for address in self.multiaddrs.iter().cloned().chain(ip4).chain(ip6) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    /// The fields that fit.
    fn choose(&self, seq: u64) -> (BTreeMap<&'static str, Vec<u8>>, LeftOut) {
        let mut chosen = Chosen::new(seq);
        if let Some(capabilities) = self.capabilities {
            chosen.add(record::CAPABILITIES_KEY, capabilities.encode().to_vec());
        }
        if let Some(shards) = &self.shards {
            chosen.add_shards(shards, 1);
        }
        chosen.add_host("ip", self.ip4.map(|ip| ip.octets().to_vec()), [("udp", self.udp4), ("tcp", self.tcp4)]);
        chosen.add_host("ip6", self.ip6.map(|ip| ip.octets().to_vec()), [("udp6", self.udp6), ("tcp6", self.tcp6)]);
        let mut addresses = Addresses { of: &self.multiaddrs, encoded: Vec::new() };
        if !chosen.values.contains_key("tcp") {
            addresses.add(&mut chosen, 1);
        }
        let unlisted = self.shards.as_ref().map_or(0, |shards| chosen.add_shards(shards, MAX_LISTED_SHARDS));
        addresses.add(&mut chosen, 1);
        let has_key = self.mix_key.is_none_or(|key| chosen.add(MIX_KEY, key.as_bytes().to_vec()));
        addresses.add(&mut chosen, usize::MAX);
        let left_out = LeftOut {
            shards: unlisted,
            multiaddrs: self.multiaddrs.len() - addresses.encoded.len(),
            mix_key: !has_key,
        };
        (chosen.values, left_out)
    }
}

/// The addresses that were chosen so far.
struct Addresses<'a> {
    of: &'a [Multiaddr],
    encoded: Vec<Vec<u8>>,
}

impl Addresses<'_> {
    /// Adds those that fit, in their order, up to `max` in all.
    fn add(&mut self, chosen: &mut Chosen, max: usize) {
        for address in self.of {
            let address = address.to_vec();
            if self.encoded.len() >= max {
                return;
            }
            if self.encoded.contains(&address) {
                continue;
            }
            self.encoded.push(address);
            let fits =
                record::encode_multiaddrs(&self.encoded).is_ok_and(|value| chosen.add(record::MULTIADDRS_KEY, value));
            if !fits {
                self.encoded.pop();
            }
        }
    }
}

/// Fields that fit together into one record.
struct Chosen {
    values: BTreeMap<&'static str, Vec<u8>>,
    seq: u64,
}

impl Chosen {
    fn new(seq: u64) -> Self {
        Self { values: BTreeMap::new(), seq }
    }

    /// Adds or replaces a field if it fits; whether it does.
    fn add(&mut self, key: &'static str, value: Vec<u8>) -> bool {
        let before = self.values.insert(key, value);
        let fits = self.len() <= MAX_RECORD_LEN;
        if !fits {
            match before {
                Some(before) => self.values.insert(key, before),
                None => self.values.remove(key),
            };
        }
        fits
    }

    /// Lists the first shards, as many as fit and `max` at most; how many are not listed.
    fn add_shards(&mut self, shards: &Shards, max: usize) -> usize {
        let Shards { cluster, shards } = shards;
        let most = shards.len().min(max);
        let listed = (0..=most).rev().find(|&count| {
            let listed = Shards { cluster: *cluster, shards: shards.iter().take(count).copied().collect() };
            listed.encode().is_ok_and(|value| self.add(record::SHARDS_KEY, value))
        });
        shards.len() - listed.unwrap_or_default()
    }

    /// Adds an IP address and its ports; ports without an address say nothing.
    fn add_host(&mut self, key: &'static str, ip: Option<Vec<u8>>, ports: [(&'static str, Option<u16>); 2]) {
        if !ip.is_some_and(|ip| self.add(key, ip)) {
            return;
        }
        for (key, port) in ports {
            // An RLP integer has no leading zeros.
            let port = port.unwrap_or_default().to_be_bytes();
            match port {
                [0, 0] => {}
                [0, low] => _ = self.add(key, vec![low]),
                _ => _ = self.add(key, port.to_vec()),
            }
        }
    }

    /// Bytes of the encoded record.
    fn len(&self) -> usize {
        /// `id` and `v4`, `secp256k1` and 33 bytes, and the signature of 64 bytes, each with its RLP header.
        const IDENTITY: usize = (1 + 2) + (1 + 2) + (1 + 9) + (1 + 33) + (2 + 64);
        let fields: usize =
            self.values.iter().map(|(key, value)| key.as_bytes().length() + value.as_slice().length()).sum();
        let payload = IDENTITY + self.seq.length() + fields;
        payload + alloy_rlp::length_of_length(payload)
    }
}
