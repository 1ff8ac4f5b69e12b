//! The key space of the DHT: 256 bits, with exclusive-or as distance.

use libp2p_identity::PeerId;
use sha2::{Digest, Sha256};

/// A place in the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Position([u8; 32]);

/// How far two places are apart; the order is that of the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Distance([u8; 32]);

impl Position {
    /// Where a key of the DHT lies.
    pub(super) fn of_key(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    /// Where a peer lies.
    pub(super) fn of_peer(peer: &PeerId) -> Self {
        Self::of_key(&peer.to_bytes())
    }

    /// Where a service lies: its key is a hash already.
    pub(super) const fn of_service(key: [u8; 32]) -> Self {
        Self(key)
    }

    pub(super) fn distance(self, other: Self) -> Distance {
        let mut distance = self.0;
        for (byte, other) in distance.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        Distance(distance)
    }
}

impl Distance {
    /// Leading bits that two places share: 256 for the same place. Half of all places share none, a quarter one, and so on.
    pub(super) fn shared_bits(self) -> usize {
        let zeros = self.0.iter().take_while(|byte| **byte == 0).count();
        8 * zeros + self.0.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_share_as_many_bits_as_are_equal_in_front() {
        let at = |first: u8, second: u8| {
            let mut key = [0; 32];
            (key[0], key[1]) = (first, second);
            Position::of_service(key)
        };
        let shared = |other: Position| at(0, 0).distance(other).shared_bits();
        assert_eq!([at(0x80, 0), at(0x40, 0), at(0, 0x80), at(0, 1), at(0, 0)].map(shared), [0, 1, 8, 15, 256]);
        assert!(at(0, 0).distance(at(0, 1)) < at(0, 0).distance(at(1, 0)));
    }

    #[test]
    fn a_peer_lies_where_its_id_as_a_key_lies() {
        let peer = PeerId::random();
        assert_eq!(Position::of_peer(&peer), Position::of_key(&peer.to_bytes()));
    }
}
