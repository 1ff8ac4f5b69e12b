//! The payload: its plaintext, and the layers around it.

use core::ops::Range;

use hmac::KeyInit;
use sphinx_packet::payload::NymLioness;
use sphinx_packet::payload::key::derive_payload_key;
use zeroize::Zeroizing;

use crate::block::{Damage, is_zero};
use crate::countermeasures::end_of_damaged;
use crate::layout::SURB_KEY_LEN;
use crate::sphinx_packet::layout::{DATA_LEN, PAYLOAD_LEN, PREFIX_LEN};
use crate::weakness::Weaknesses;

/// What stands behind the body; only zeros follow it.
const MARKER: u8 = 1;

pub(super) type Payload = [u8; PAYLOAD_LEN];
pub(super) type Seed = [u8; SURB_KEY_LEN];

/// Adds the layer of the hop with this seed.
pub(super) fn encrypt(seed: &Seed, payload: &mut Payload) {
    let done = cipher(seed).encrypt_block(payload);
    clear_unless(done.is_ok(), payload);
}

/// Removes the layer of the hop with this seed.
pub(super) fn decrypt(seed: &Seed, payload: &mut Payload) {
    let done = cipher(seed).decrypt_block(payload);
    clear_unless(done.is_ok(), payload);
}

/// The cipher refuses only what is not longer than a hash, which payloads are (see below). Should it ever refuse more,
/// nothing goes out in clear: zeros are no plaintext.
fn clear_unless(done: bool, payload: &mut Payload) {
    if !done {
        payload.fill(0);
    }
}

fn cipher(seed: &Seed) -> NymLioness {
    let key = Zeroizing::new(derive_payload_key(seed));
    NymLioness::new((&*key).into())
}

/// Writes the plaintext of a body, which has at most [`DATA_LEN`] bytes: what is longer is cut.
pub(super) fn write(body: &[u8], payload: &mut Payload) {
    let body = &body[..body.len().min(DATA_LEN)];
    let end = PREFIX_LEN + body.len();
    payload[..PREFIX_LEN].fill(0);
    payload[PREFIX_LEN..end].copy_from_slice(body);
    payload[end] = MARKER;
    payload[end + 1..].fill(0);
}

/// Checks a plaintext, zero prefix, marker and every byte of padding, and finds the body's place within it.
pub(super) fn read(payload: &Payload, weaknesses: Weaknesses) -> Result<Range<usize>, Damage> {
    let (prefix, rest) = payload.split_at(PREFIX_LEN);
    let prefix_zero = is_zero(prefix);
    let (end, byte) = last_nonzero(rest);
    if !bool::from(prefix_zero) {
        return Err(Damage::Prefix);
    }
    // The last byte that is not zero must be the marker. All zeros have none, and give 0 here.
    let end = if byte == MARKER { Some(end.into()) } else { end_of_damaged(weaknesses, MARKER, rest) };
    Ok(PREFIX_LEN..PREFIX_LEN + end.ok_or(Damage::Padding)?)
}

/// Place and value of the last byte other than zero, (0, 0) if there is none; always walks over all bytes and looks at
/// each in the same way, so that time does not show where it is.
fn last_nonzero(bytes: &[u8]) -> (u16, u8) {
    let found = (0u16..).zip(bytes).fold(0, |found: u32, (index, byte)| {
        // 255 + byte has bit 8 set exactly if byte is not zero; the mask is then all ones.
        let mask = ((u32::from(*byte) + 0xff) >> 8).wrapping_neg();
        (found & !mask) | ((u32::from(index) << 8 | u32::from(*byte)) & mask)
    });
    let [_, high, low, byte] = found.to_be_bytes();
    (u16::from_be_bytes([high, low]), byte)
}

const _: () = assert!(PAYLOAD_LEN > 32 && PAYLOAD_LEN <= u16::MAX as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plaintext(body: &[u8]) -> Payload {
        let mut payload = [0xAA; PAYLOAD_LEN];
        write(body, &mut payload);
        payload
    }

    fn read_strictly(payload: &Payload) -> Result<Range<usize>, Damage> {
        read(payload, Weaknesses::NONE)
    }

    #[test]
    fn a_body_stands_between_prefix_and_marker() {
        let payload = plaintext(b"body");
        assert_eq!(payload[..22], *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0body\x01\0");
        assert_eq!(read_strictly(&payload), Ok(16..20));
        let full = plaintext(&[7; DATA_LEN]);
        assert_eq!(full[PAYLOAD_LEN - 2..], [7, 1]);
        assert_eq!(read_strictly(&full), Ok(16..PAYLOAD_LEN - 1));
    }

    #[test]
    fn bodies_of_ones_and_zeros_end_where_they_end() {
        for body in [&[][..], &[0; 9], &[1; 9], &[1, 0, 1, 0]] {
            assert_eq!(read_strictly(&plaintext(body)), Ok(16..16 + body.len()));
        }
    }

    #[test]
    fn a_payload_without_a_marker_is_refused() {
        assert_eq!(read_strictly(&[0; PAYLOAD_LEN]), Err(Damage::Padding));
        let mut payload = plaintext(b"body");
        payload[20] = 2;
        assert_eq!(read_strictly(&payload), Err(Damage::Padding));
    }

    #[cfg(feature = "weaknesses")]
    #[test]
    fn garbage_behind_a_body_passes_without_the_countermeasure() {
        let mut payload = plaintext(b"body");
        payload[100] = 7;
        assert_eq!(read_strictly(&payload), Err(Damage::Padding));
        let weaknesses = Weaknesses::NONE.with(crate::Weakness::UncheckedPadding);
        assert_eq!(read(&payload, weaknesses), Ok(16..20));
    }

    proptest! {
        #[test]
        fn every_damaged_byte_outside_the_body_is_found(
            len in prop_oneof![0..=DATA_LEN, 0usize..=8],
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let body = vec![0xAB; len];
            let mut payload = plaintext(&body);
            let body = read_strictly(&payload).unwrap();
            let outside: Vec<_> = (0..body.start).chain(body.end..PAYLOAD_LEN).collect();
            let at = outside[at.index(outside.len())];
            payload[at] ^= flip;
            match read_strictly(&payload) {
                Err(Damage::Prefix) => prop_assert!(at < PREFIX_LEN),
                Err(Damage::Padding) => prop_assert!(at >= PREFIX_LEN),
                // A marker further behind makes another body: only the wide-block cipher prevents that.
                Ok(other) => prop_assert!(at > body.end && other.end == at && payload[at] == MARKER),
            }
        }
    }
}
