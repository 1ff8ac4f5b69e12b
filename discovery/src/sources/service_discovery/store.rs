//! Peer records that this node keeps for the DHT, each under its peer's own id (`spec/waku.md §6.6`).

use std::collections::HashMap;

use libp2p_identity::PeerId;
use wakumix_records::service_discovery::{ExtensiblePeerRecord, ValueRecord};

use super::position::Position;
use crate::peer_report::UnixSeconds;

/// Records that are kept: as many as advertisements, 1 KiB each at most. When there is no room, the record that lies
/// farthest from this node goes, for others keep that one.
const CAPACITY: usize = 1000;
/// How long a record is kept; its peer puts it again every ten minutes.
const LIFETIME: UnixSeconds = 24 * 3600;

/// Records by peer.
#[derive(Debug)]
pub(super) struct Store {
    me: Position,
    records: HashMap<PeerId, Stored>,
}

#[derive(Debug)]
struct Stored {
    seq: u64,
    bytes: Vec<u8>,
    until: UnixSeconds,
}

impl Store {
    pub(super) fn new(me: &PeerId) -> Self {
        Self { me: Position::of_peer(me), records: HashMap::new() }
    }

    /// Keeps a record under `key` if it is signed by the peer of that id, is no older than the one that is kept, and there
    /// is room.
    pub(super) fn put(&mut self, key: &[u8], record: &ValueRecord, now: UnixSeconds) -> bool {
        if record.key != key {
            return false;
        }
        let Ok(ExtensiblePeerRecord { peer, seq, .. }) = ExtensiblePeerRecord::open(&record.value) else {
            return false;
        };
        if peer.to_bytes() != key || self.records.get(&peer).is_some_and(|known| known.seq > seq) {
            return false;
        }
        if !self.make_room(peer, now) {
            return false;
        }
        self.records.insert(peer, Stored { seq, bytes: record.value.clone(), until: now + LIFETIME });
        true
    }

    /// The record under a key.
    pub(super) fn get(&self, key: &[u8], now: UnixSeconds) -> Option<ValueRecord> {
        let stored = self.records.get(&PeerId::from_bytes(key).ok()?).filter(|stored| stored.until > now)?;
        Some(ValueRecord { key: key.to_vec(), value: stored.bytes.clone() })
    }

    fn make_room(&mut self, newcomer: PeerId, now: UnixSeconds) -> bool {
        if self.records.len() < CAPACITY || self.records.contains_key(&newcomer) {
            return true;
        }
        self.records.retain(|_, stored| stored.until > now);
        if self.records.len() < CAPACITY {
            return true;
        }
        let distance = |peer: &PeerId| Position::of_peer(peer).distance(self.me);
        let farthest = self.records.keys().max_by_key(|peer| distance(peer)).copied();
        match farthest {
            Some(farthest) if distance(&farthest) > distance(&newcomer) => self.records.remove(&farthest).is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;

    fn record(key: &Keypair, seq: u64) -> ValueRecord {
        let peer = key.public().to_peer_id();
        let value = ExtensiblePeerRecord { peer, seq, addresses: Vec::new(), services: Vec::new() }.sign(key).unwrap();
        ValueRecord { key: peer.to_bytes(), value }
    }

    #[test]
    fn keeps_the_newest_record_of_a_peer_and_gives_it_back_until_it_is_over() {
        let mut store = Store::new(&PeerId::random());
        let key = Keypair::generate_secp256k1();
        let (old, new) = (record(&key, 1), record(&key, 2));
        assert!(store.put(&new.key, &new, 100));
        assert!(!store.put(&old.key, &old, 100), "a replay");
        assert_eq!(store.get(&new.key, 100 + LIFETIME - 1), Some(new.clone()));
        assert_eq!(store.get(&new.key, 100 + LIFETIME), None);
    }

    #[test]
    fn only_the_peer_of_the_key_puts_a_record() {
        let mut store = Store::new(&PeerId::random());
        let [key, other] = [(); 2].map(|()| Keypair::generate_secp256k1());
        let foreign = ValueRecord { key: record(&other, 1).key, ..record(&key, 1) };
        assert!(!store.put(&foreign.key, &foreign, 0));
        assert!(!store.put(&foreign.key, &record(&key, 1), 0));
        let garbage = ValueRecord { value: vec![1, 2, 3], ..record(&key, 1) };
        assert!(!store.put(&garbage.key, &garbage, 0));
        assert!(store.records.is_empty());
    }

    #[test]
    fn a_flood_of_records_is_bounded_and_leaves_the_closest() {
        let me = PeerId::random();
        let mut store = Store::new(&me);
        let records: Vec<_> = (0..CAPACITY + 300).map(|_| record(&Keypair::generate_secp256k1(), 1)).collect();
        for record in &records {
            store.put(&record.key, record, 0);
        }
        let mut keys: Vec<_> = records.iter().map(|record| record.key.clone()).collect();
        keys.sort_by_key(|key| Position::of_key(key).distance(Position::of_peer(&me)));
        assert_eq!(store.records.len(), CAPACITY);
        assert!(keys[..CAPACITY].iter().all(|key| store.get(key, 0).is_some()));
    }
}
