//! What a hop reads in its decrypted routing information, and what a sender writes there.

use core::ops::Range;

use ctr::cipher::StreamCipher;
use sphinx_packet::constants::{FLAG_LENGTH, VERSION_LENGTH};
use sphinx_packet::header::routing::{FINAL_HOP, FORWARD_HOP};
use sphinx_packet::version::CURRENT_VERSION;
use zeroize::Zeroizing;

use crate::block::is_zero;
use crate::layout::{AddressBytes, GAMMA_LEN, NO_ADDRESS, SURB_ID_LEN};
use crate::path::BuildError;
use crate::sphinx_packet::address::Compact;
use crate::sphinx_packet::keys::HopKeys;
use crate::sphinx_packet::layout::{CONTACT_LEN, COORDINATE_LEN, EXTENDED_LEN, FINAL_LEN, ROUTING_LEN, STEP_LEN};
use crate::sphinx_packet::packet::HeaderMut;
use crate::surb::SurbId;
use crate::unwrap::Reject;

const FLAG_AT: usize = 0;
const VERSION: Range<usize> = FLAG_LENGTH..FLAG_LENGTH + VERSION_LENGTH;
/// x coordinate of the next hop or of the destination.
const COORDINATE: Range<usize> = VERSION.end..VERSION.end + COORDINATE_LEN;
const CONTACT: Range<usize> = COORDINATE.end..COORDINATE.end + CONTACT_LEN;
const MAC: Range<usize> = CONTACT.end..CONTACT.end + GAMMA_LEN;
/// At the last hop: the id of a reply block, or the contact of the destination and zeros.
const IDENTIFIER: Range<usize> = COORDINATE.end..COORDINATE.end + SURB_ID_LEN;

const _: () = assert!(MAC.end == STEP_LEN && IDENTIFIER.end == FINAL_LEN);

/// What this hop is to a packet.
pub(super) enum Routed {
    Forward { next: AddressBytes, delay_ms: u16 },
    Exit { destination: AddressBytes },
    Reply { id: SurbId },
}

/// What the last hop finds. Made and read by the same rules: see the table of the module above.
pub(super) struct Last {
    coordinate: [u8; COORDINATE_LEN],
    identifier: [u8; SURB_ID_LEN],
}

impl Last {
    /// The exit, which is the destination itself if the address is all zero.
    pub(super) fn exit(destination: &AddressBytes) -> Result<Self, BuildError> {
        let mut last = Self { coordinate: [0; COORDINATE_LEN], identifier: [0; SURB_ID_LEN] };
        if *destination != NO_ADDRESS {
            let compact = Compact::of(destination).ok_or(BuildError::Address)?;
            last.coordinate = compact.coordinate;
            last.identifier[..CONTACT_LEN].copy_from_slice(&compact.contact(0));
        }
        Ok(last)
    }

    /// The end of a reply.
    pub(super) fn reply(id: SurbId) -> Self {
        Self { coordinate: [0; COORDINATE_LEN], identifier: *id.as_bytes() }
    }

    /// Writes the block and returns what is to be filled behind it.
    pub(super) fn write<'a>(&self, block: &'a mut [u8]) -> &'a mut [u8] {
        let (block, padding) = block.split_at_mut(FINAL_LEN);
        write_kind(FINAL_HOP, block);
        block[COORDINATE].copy_from_slice(&self.coordinate);
        block[IDENTIFIER].copy_from_slice(&self.identifier);
        padding
    }

    fn read(block: &[u8]) -> Result<Routed, Reject> {
        let mut last = Self { coordinate: [0; COORDINATE_LEN], identifier: [0; SURB_ID_LEN] };
        last.coordinate.copy_from_slice(&block[COORDINATE]);
        last.identifier.copy_from_slice(&block[IDENTIFIER]);
        if !bool::from(is_zero(&last.coordinate)) {
            return last.destination().map(|destination| Routed::Exit { destination }).ok_or(Reject::Role);
        }
        if bool::from(is_zero(&last.identifier)) {
            return Ok(Routed::Exit { destination: NO_ADDRESS });
        }
        Ok(Routed::Reply { id: SurbId::from_bytes(last.identifier) })
    }

    /// `None` if something stands where a sender leaves zeros.
    fn destination(&self) -> Option<AddressBytes> {
        let (contact, rest) = self.identifier.split_first_chunk()?;
        let (compact, delay_ms) = Compact::read(&self.coordinate, *contact)?;
        (delay_ms == 0 && bool::from(is_zero(rest))).then(|| compact.address())
    }
}

/// Decrypts the routing information and, if the packet goes on, writes that of the next hop; α follows later.
pub(super) fn open(keys: &HopKeys, header: HeaderMut<'_>) -> Result<Routed, Reject> {
    let mut block = Zeroizing::new([0; EXTENDED_LEN]);
    block[..ROUTING_LEN].copy_from_slice(header.routing);
    keys.stream().apply_keystream(&mut *block);
    // An older version would choose other payload keys; nobody here makes one.
    if block[VERSION] != CURRENT_VERSION.to_bytes() {
        return Err(Reject::Role);
    }
    match block[FLAG_AT] {
        FORWARD_HOP => forward(&block, header),
        FINAL_HOP => Last::read(&*block),
        _ => Err(Reject::Role),
    }
}

fn forward(block: &[u8; EXTENDED_LEN], HeaderMut { mac, routing, .. }: HeaderMut<'_>) -> Result<Routed, Reject> {
    let mut coordinate = [0; COORDINATE_LEN];
    let mut contact = [0; CONTACT_LEN];
    coordinate.copy_from_slice(&block[COORDINATE]);
    contact.copy_from_slice(&block[CONTACT]);
    let (next, delay_ms) = Compact::read(&coordinate, contact).ok_or(Reject::Role)?;
    mac.copy_from_slice(&block[MAC]);
    routing.copy_from_slice(&block[STEP_LEN..]);
    Ok(Routed::Forward { next: next.address(), delay_ms })
}

/// Writes the block of a hop in the middle at the front of its routing information.
pub(super) fn write_forward(
    next: &Compact,
    delay_ms: u16,
    next_mac: &[u8; GAMMA_LEN],
    routing: &mut [u8; ROUTING_LEN],
) {
    write_kind(FORWARD_HOP, routing);
    routing[COORDINATE].copy_from_slice(&next.coordinate);
    routing[CONTACT].copy_from_slice(&next.contact(delay_ms));
    routing[MAC].copy_from_slice(next_mac);
}

fn write_kind(flag: u8, block: &mut [u8]) {
    block[FLAG_AT] = flag;
    block[VERSION].copy_from_slice(&CURRENT_VERSION.to_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::ALPHA_LEN;
    use crate::testing::appendix_destination;

    /// What a hop makes of routing information that a sender made for it, and what it leaves for the next.
    fn opened(plaintext: &[u8; ROUTING_LEN]) -> (Result<Routed, Reject>, [u8; ROUTING_LEN]) {
        let keys = HopKeys::new(&[7; 32]);
        let (mut alpha, mut mac, mut routing) = ([9; ALPHA_LEN], [0; GAMMA_LEN], *plaintext);
        keys.stream().apply_keystream(&mut routing);
        let header = HeaderMut { alpha: &mut alpha, mac: &mut mac, routing: &mut routing };
        let routed = open(&keys, header);
        (routed, routing)
    }

    fn last(last: &Last) -> [u8; ROUTING_LEN] {
        let mut plaintext = [0x5A; ROUTING_LEN];
        last.write(&mut plaintext);
        plaintext
    }

    fn refused(plaintext: &[u8; ROUTING_LEN]) -> bool {
        matches!(opened(plaintext).0, Err(Reject::Role))
    }

    #[test]
    fn a_last_hop_tells_exit_destination_and_reply_apart() {
        let here = last(&Last::exit(&NO_ADDRESS).unwrap());
        assert!(matches!(opened(&here).0, Ok(Routed::Exit { destination: NO_ADDRESS })));
        let elsewhere = last(&Last::exit(&appendix_destination()).unwrap());
        let Ok(Routed::Exit { destination }) = opened(&elsewhere).0 else { panic!("an exit") };
        assert_eq!(destination, appendix_destination());
        let reply = last(&Last::reply(SurbId::from_bytes([3; 16])));
        let Ok(Routed::Reply { id }) = opened(&reply).0 else { panic!("a reply") };
        assert_eq!(id, SurbId::from_bytes([3; 16]));
    }

    #[test]
    fn a_destination_that_is_asked_to_wait_or_says_more_is_refused() {
        let sound = last(&Last::exit(&appendix_destination()).unwrap());
        assert!(!refused(&sound));
        for at in [CONTACT.end - 1, CONTACT.end, IDENTIFIER.end - 1] {
            let mut plaintext = sound;
            plaintext[at] ^= 1;
            assert!(refused(&plaintext), "byte {at}");
        }
    }

    #[test]
    fn other_flags_and_every_other_version_are_refused() {
        let sound = last(&Last::exit(&NO_ADDRESS).unwrap());
        for flag in (0..=u8::MAX).filter(|flag| ![FORWARD_HOP, FINAL_HOP].contains(flag)) {
            let mut plaintext = sound;
            plaintext[FLAG_AT] = flag;
            assert!(refused(&plaintext), "flag {flag}");
        }
        for version in [[0, 1, 3], [0, 1, 2], [0, 0, 1], [0, 1, 5], [1, 1, 4], [0xff; 3]] {
            let mut plaintext = sound;
            plaintext[VERSION].copy_from_slice(&version);
            assert!(refused(&plaintext), "version {version:?}");
        }
    }

    #[test]
    fn a_next_hop_without_a_key_is_refused_and_nothing_is_written() {
        let mut plaintext = [0x5A; ROUTING_LEN];
        write_forward(&Compact::of(&appendix_destination()).unwrap(), 5, &[1; GAMMA_LEN], &mut plaintext);
        let (routed, rest) = opened(&plaintext);
        assert!(matches!(routed, Ok(Routed::Forward { delay_ms: 5, .. })));
        assert_eq!(rest[..ROUTING_LEN - STEP_LEN], plaintext[STEP_LEN..]);
        plaintext[COORDINATE].fill(0);
        assert!(refused(&plaintext));
    }

    proptest! {
        #[test]
        fn whatever_a_sender_writes_is_read_or_refused(
            mut plaintext in prop::collection::vec(any::<u8>(), ROUTING_LEN),
            flag in 0u8..4,
            known in any::<bool>(),
        ) {
            plaintext[FLAG_AT] = flag;
            if known {
                plaintext[VERSION].copy_from_slice(&CURRENT_VERSION.to_bytes());
            }
            let plaintext = plaintext.try_into().unwrap();
            if let Err(reject) = opened(&plaintext).0 {
                prop_assert_eq!(reject, Reject::Role);
            }
        }
    }
}
