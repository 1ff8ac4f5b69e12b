//! What advertisements tell of mix nodes, and what this node advertises.

use std::collections::HashMap;

use libp2p_identity::{Keypair, PeerId};
use wakumix_records::{
    envelope::EnvelopeError,
    service_discovery::{AdvertisedService, AdvertisementError, ExtensiblePeerRecord, MIX_SERVICE, service_key},
};
use wakumix_waku::record::Capabilities;

use super::parameters::RETURNED;
use crate::{
    local::LocalRecord,
    peer_report::{PeerReport, Refusal, UnixSeconds},
};

/// What a batch of advertisements told.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The newest record of each mix node.
    pub(super) nodes: HashMap<PeerId, PeerReport>,
    /// What was refused, by reason.
    pub(super) refused: HashMap<Refusal, u64>,
}

impl Reading {
    /// Reads what one registrar returned. More than [`RETURNED`] of them is more than was asked for.
    pub(super) fn add(&mut self, me: &PeerId, advertisements: &[Vec<u8>]) {
        for bytes in advertisements.iter().take(RETURNED) {
            match mix_node(bytes) {
                Ok(report) if report.peer == *me => {}
                Ok(report) => {
                    let newest = self.nodes.entry(report.peer).or_insert_with(|| report.clone());
                    if newest.version < report.version {
                        *newest = report;
                    }
                }
                Err(refusal) => self.refuse(refusal, 1),
            }
        }
        self.refuse(Refusal::TooMany, advertisements.len().saturating_sub(RETURNED));
    }

    fn refuse(&mut self, refusal: Refusal, count: usize) {
        if count > 0 {
            *self.refused.entry(refusal).or_default() += count as u64;
        }
    }
}

/// What an advertisement tells of a mix node. It has no end of its own: registrars forget it after 15 minutes.
fn mix_node(bytes: &[u8]) -> Result<PeerReport, Refusal> {
    let record = ExtensiblePeerRecord::open(bytes).map_err(|error| refusal(&error))?;
    if !record.offers(&service_key(MIX_SERVICE)) {
        return Err(Refusal::Irrelevant);
    }
    // Records whose data is no key are ignored (`spec/waku.md §6.6`).
    let mix_key = record.mix_key().ok_or(Refusal::Malformed)?;
    let mut addresses = record.addresses;
    addresses.truncate(PeerReport::MAX_ADDRESSES);
    Ok(PeerReport {
        addresses,
        capabilities: Some(Capabilities::MIX),
        mix_key: Some(mix_key),
        ..PeerReport::new(record.peer, record.seq)
    })
}

fn refusal(error: &AdvertisementError) -> Refusal {
    match error {
        AdvertisementError::TooLong(_) => Refusal::TooMany,
        AdvertisementError::Signer | AdvertisementError::Envelope(EnvelopeError::Signature) => Refusal::Signature,
        _ => Refusal::Malformed,
    }
}

/// This node's advertisement: none while it does not mix or has no address.
pub(super) fn advertisement(local: &LocalRecord, key: &Keypair, now: UnixSeconds) -> Option<Vec<u8>> {
    let data = local.mix_key.filter(|_| local.capabilities.contains(Capabilities::MIX))?.as_bytes().to_vec();
    let services = vec![AdvertisedService { id: MIX_SERVICE.to_owned(), data }];
    let mut record = ExtensiblePeerRecord { peer: local.peer, seq: now, addresses: local.addresses.clone(), services };
    // The least preferred addresses go first when it gets too long.
    while !record.addresses.is_empty() {
        match record.sign(key) {
            Err(AdvertisementError::TooLong(_)) => drop(record.addresses.pop()),
            result => return result.ok(),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::test_double;

    fn local(key: &Keypair) -> LocalRecord {
        let addresses = vec!["/ip4/192.0.2.1/tcp/60000".parse().unwrap()];
        LocalRecord { peer: key.public().to_peer_id(), addresses, ..test_double::mixer(5) }
    }

    fn read(advertisements: &[Vec<u8>]) -> Reading {
        let mut reading = Reading::default();
        reading.add(&PeerId::random(), advertisements);
        reading
    }

    #[test]
    fn a_mixing_node_is_read_as_it_advertised_itself() {
        let key = Keypair::generate_secp256k1();
        let local = local(&key);
        let bytes = advertisement(&local, &key, 77).unwrap();
        let reading = read(std::slice::from_ref(&bytes));
        let expected = PeerReport {
            addresses: local.addresses.clone(),
            capabilities: Some(Capabilities::MIX),
            mix_key: local.mix_key,
            ..PeerReport::new(local.peer, 77)
        };
        assert_eq!((reading.nodes, reading.refused.len()), (HashMap::from([(local.peer, expected)]), 0));
        let mut own = Reading::default();
        own.add(&local.peer, &[bytes]);
        assert!(own.nodes.is_empty() && own.refused.is_empty());
    }

    #[test]
    fn a_node_that_does_not_mix_or_has_no_address_advertises_nothing() {
        let key = Keypair::generate_secp256k1();
        let nothing = |change: fn(&mut LocalRecord)| {
            let mut local = local(&key);
            change(&mut local);
            advertisement(&local, &key, 1).is_none()
        };
        assert!(nothing(|local| local.mix_key = None));
        assert!(nothing(|local| local.capabilities = Capabilities::RELAY));
        assert!(nothing(|local| local.addresses.clear()));
    }

    #[test]
    fn too_many_addresses_leave_out_the_least_preferred() {
        let key = Keypair::generate_secp256k1();
        let mut local = local(&key);
        let name = "a".repeat(60);
        local.addresses = (0..30).map(|port| format!("/dns4/{name}/tcp/{port}").parse().unwrap()).collect();
        let record = ExtensiblePeerRecord::open(&advertisement(&local, &key, 1).unwrap()).unwrap();
        assert!(!record.addresses.is_empty() && local.addresses.starts_with(&record.addresses));
    }

    #[test]
    fn each_thing_that_is_wrong_is_counted_by_its_reason() {
        let key = Keypair::generate_secp256k1();
        let sign = |id: &str, data: usize| {
            let services = vec![AdvertisedService { id: id.to_owned(), data: vec![9; data] }];
            let peer = key.public().to_peer_id();
            ExtensiblePeerRecord { peer, seq: 1, addresses: Vec::new(), services }.sign(&key).unwrap()
        };
        let mut forged = sign(MIX_SERVICE, 33);
        *forged.last_mut().unwrap() ^= 1;
        let reading = read(&[
            sign(MIX_SERVICE, 31),
            sign(MIX_SERVICE, 33),
            sign("/other", 32),
            forged,
            vec![1; 50],
            vec![1; 2000],
        ]);
        let expected =
            [(Refusal::Malformed, 3), (Refusal::Irrelevant, 1), (Refusal::Signature, 1), (Refusal::TooMany, 1)];
        assert_eq!(reading.refused, HashMap::from(expected));
        assert!(reading.nodes.is_empty());
    }

    #[test]
    fn the_newest_record_of_a_peer_counts_and_an_older_one_is_no_fault() {
        let key = Keypair::generate_secp256k1();
        let [old, new] = [1, 2].map(|seq| advertisement(&local(&key), &key, seq).unwrap());
        for order in [[old.clone(), new.clone()], [new, old]] {
            let reading = read(&order);
            assert_eq!(reading.nodes.values().map(|report| report.version).collect::<Vec<_>>(), [2]);
        }
    }
}
