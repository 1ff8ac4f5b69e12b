//! Addresses of 94 bytes (`spec/mix-wire.md §5.1`) in the 40 bytes that a hop has here.
//!
//! A peer that is reached directly has a peer id of 39 bytes, of which 6 are always the same and 33 are a compressed
//! secp256k1 key. Its x coordinate stands in the place of the crate's address. The crate's delay, 8 bytes that it does not
//! look into, holds the rest as one big-endian number:
//!
//! | bits | field |
//! |---|---|
//! | 63..32 | IPv4 address |
//! | 31..16 | port |
//! | 15 | the key's y coordinate is odd |
//! | 14 | QUIC, not TCP |
//! | 13..0 | how long the hop waits that reads this, in milliseconds |
//!
//! No point of the curve has x = 0, so zeros can mean "no address". Circuit relays do not fit: their addresses name two
//! peers.

use crate::layout::{ADDRESS_LEN, AddressBytes};
use crate::sphinx_packet::layout::{CONTACT_LEN, COORDINATE_LEN};

/// How each peer id of a secp256k1 key begins.
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x25, 0x08, 0x02, 0x12, 0x21];
/// First byte of a compressed key with an even y coordinate; the odd one is one more.
const EVEN_KEY: u8 = 0x02;

/// Where the fields of the 94 bytes begin.
const TRANSPORT_AT: usize = 4;
const PORT_AT: usize = 5;
const PEER_AT: usize = 7;
const KEY_AT: usize = PEER_AT + PEER_ID_PREFIX.len();
const COORDINATE_AT: usize = KEY_AT + 1;
const COORDINATE_END: usize = COORDINATE_AT + COORDINATE_LEN;

const IP_SHIFT: u32 = 32;
const PORT_SHIFT: u32 = 16;
const ODD_BIT: u64 = 1 << 15;
const QUIC_BIT: u64 = 1 << 14;
const DELAY_BITS: u16 = (1 << 14) - 1;

/// The longest delay that a hop can be asked for, in milliseconds; longer ones are cut to it.
pub(super) const MAX_DELAY_MS: u16 = DELAY_BITS;

/// An address without its delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compact {
    pub(super) coordinate: [u8; COORDINATE_LEN],
    contact: u64,
}

impl Compact {
    /// `None` for an address that does not fit, and for none at all.
    pub(super) fn of(address: &AddressBytes) -> Option<Self> {
        let (ip, rest) = address.split_first_chunk()?;
        let port = u16::from_be_bytes([rest[PORT_AT - 4], rest[PORT_AT - 3]]);
        let mut coordinate = [0; COORDINATE_LEN];
        coordinate.copy_from_slice(&address[COORDINATE_AT..COORDINATE_END]);
        let mut contact = u64::from(u32::from_be_bytes(*ip)) << IP_SHIFT | u64::from(port) << PORT_SHIFT;
        if address[KEY_AT] != EVEN_KEY {
            contact |= ODD_BIT;
        }
        if address[TRANSPORT_AT] != 0 {
            contact |= QUIC_BIT;
        }
        let compact = Self { coordinate, contact };
        // Whatever else the 94 bytes say is lost, so they must not say anything else.
        (coordinate != [0; COORDINATE_LEN] && compact.address() == *address).then_some(compact)
    }

    /// Reads an address and a delay; `None` if there is no address.
    pub(super) fn read(coordinate: &[u8; COORDINATE_LEN], contact: [u8; CONTACT_LEN]) -> Option<(Self, u16)> {
        let number = u64::from_be_bytes(contact);
        let [.., high, low] = contact;
        let delay_ms = u16::from_be_bytes([high, low]) & DELAY_BITS;
        let compact = Self { coordinate: *coordinate, contact: number & !u64::from(DELAY_BITS) };
        (*coordinate != [0; COORDINATE_LEN]).then_some((compact, delay_ms))
    }

    /// The number beside the coordinate.
    pub(super) fn contact(&self, delay_ms: u16) -> [u8; CONTACT_LEN] {
        (self.contact | u64::from(delay_ms.min(MAX_DELAY_MS))).to_be_bytes()
    }

    /// The 94 bytes.
    pub(super) fn address(&self) -> AddressBytes {
        let mut address = [0; ADDRESS_LEN];
        let [ip @ .., port_high, port_low, _, _] = self.contact.to_be_bytes();
        address[..TRANSPORT_AT].copy_from_slice(&ip);
        address[TRANSPORT_AT] = u8::from(self.contact & QUIC_BIT != 0);
        address[PORT_AT..PEER_AT].copy_from_slice(&[port_high, port_low]);
        address[PEER_AT..KEY_AT].copy_from_slice(&PEER_ID_PREFIX);
        address[KEY_AT] = EVEN_KEY + u8::from(self.contact & ODD_BIT != 0);
        address[COORDINATE_AT..COORDINATE_END].copy_from_slice(&self.coordinate);
        address
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{appendix_destination, appendix_path};

    fn address(ip: [u8; 4], quic: bool, port: u16, odd: bool, coordinate: [u8; 32]) -> AddressBytes {
        let mut address = [0; ADDRESS_LEN];
        address[..4].copy_from_slice(&ip);
        address[4] = quic.into();
        address[5..7].copy_from_slice(&port.to_be_bytes());
        address[7..13].copy_from_slice(&PEER_ID_PREFIX);
        address[13] = 2 + u8::from(odd);
        address[14..46].copy_from_slice(&coordinate);
        address
    }

    #[test]
    fn every_field_has_its_bits() {
        let mut address = appendix_destination();
        address[13] = 3;
        let contact = Compact::of(&address).unwrap().contact(5);
        assert_eq!(contact, [10, 0, 0, 9, 0x23, 0x28, 0b1100_0000, 5]);
    }

    #[test]
    fn a_peer_that_is_only_known_by_its_id_survives() {
        let placeholder = address([0; 4], false, 0, false, [9; 32]);
        let compact = Compact::of(&placeholder).unwrap();
        let (read, delay_ms) = Compact::read(&compact.coordinate, compact.contact(0)).unwrap();
        assert_eq!((read.address(), delay_ms), (placeholder, 0));
    }

    #[test]
    fn what_says_more_than_a_direct_address_is_refused() {
        let sound = appendix_path()[0].address;
        assert!(Compact::of(&sound).is_some());
        // Its own transport, another kind of key, another parity, a second peer, a future field.
        for (at, value) in [(4, 2), (7, 1), (10, 1), (13, 4), (46, 1), (84, 1), (85, 1), (93, 1)] {
            let mut address = sound;
            address[at] = value;
            assert_eq!(Compact::of(&address), None, "byte {at}");
        }
        assert_eq!(Compact::of(&[0; ADDRESS_LEN]), None);
        assert_eq!(Compact::of(&address([1; 4], false, 1, false, [0; 32])), None);
    }

    #[test]
    fn a_delay_longer_than_there_is_room_for_is_cut() {
        let compact = Compact::of(&appendix_destination()).unwrap();
        for (asked, kept) in [(0, 0), (16_382, 16_382), (16_383, 16_383), (16_384, 16_383), (u16::MAX, 16_383)] {
            let (_, delay_ms) = Compact::read(&compact.coordinate, compact.contact(asked)).unwrap();
            assert_eq!(delay_ms, kept);
        }
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(
            fields in any::<([u8; 4], bool, u16, bool, [u8; 32])>(),
            first in 1u8..,
            delay_ms in 0..=MAX_DELAY_MS,
        ) {
            let (ip, quic, port, odd, mut coordinate) = fields;
            coordinate[0] = first;
            let address = address(ip, quic, port, odd, coordinate);
            let compact = Compact::of(&address).unwrap();
            let (read, found) = Compact::read(&coordinate, compact.contact(delay_ms)).unwrap();
            prop_assert_eq!((read.address(), found), (address, delay_ms));
        }

        #[test]
        fn every_number_is_read_and_written_back(coordinate in any::<[u8; 32]>(), contact in any::<[u8; 8]>()) {
            if let Some((compact, delay_ms)) = Compact::read(&coordinate, contact) {
                prop_assert_eq!(compact.contact(delay_ms), contact);
                prop_assert_eq!(Compact::of(&compact.address()), Some(compact));
            }
        }
    }
}
