//! One hop without any of our refusals: what the reference computes for a packet, put together from the functions of the
//! packet path. It tells whether a recorded value is right where we refuse the packet by a rule, and which rule that is.

use wakumix_sphinx::{AddressBytes, DELTA_LEN, PACKET_LEN, Profile, inspect};

use crate::rules::Rule;

const ALPHA: std::ops::Range<usize> = 0..32;
const BETA: std::ops::Range<usize> = 32..608;
const GAMMA: std::ops::Range<usize> = 608..624;
const DELTA: std::ops::Range<usize> = 624..PACKET_LEN;

/// Everything that a hop's private key reveals about a packet of the right size.
pub(crate) struct RawHop {
    pub(crate) alpha: [u8; 32],
    pub(crate) secret: [u8; 32],
    pub(crate) blinder: [u8; 32],
    /// SHA-256 of the secret.
    pub(crate) tag: [u8; 32],
    pub(crate) mac_holds: bool,
    routing: [u8; 688],
    /// δ with this hop's layer removed.
    pub(crate) delta: [u8; DELTA_LEN],
}

impl RawHop {
    /// `None` if the packet has not the size of one.
    pub(crate) fn open(profile: Profile, key: &[u8; 32], packet: &[u8]) -> Option<Self> {
        if packet.len() != PACKET_LEN {
            return None;
        }
        let alpha = packet[ALPHA].try_into().ok()?;
        let secret = inspect::x25519(key, &alpha);
        let mut routing = [0; 688];
        routing[..576].copy_from_slice(&packet[BETA]);
        let (aes_key, iv) = (inspect::kdf16("aes_key", &secret), inspect::kdf16("iv", &secret));
        inspect::aes_ctr(&aes_key, &iv, 0, &mut routing);
        let mac = inspect::mac(&inspect::kdf16("mac_key", &secret), &packet[BETA]);
        let mut delta = packet[DELTA].try_into().ok()?;
        inspect::remove_layer(profile.cipher, &secret, &mut delta);
        Some(Self {
            alpha,
            secret,
            blinder: inspect::blinding(&alpha, &secret),
            tag: inspect::replay_tag(&secret),
            mac_holds: mac == packet[GAMMA],
            routing,
            delta,
        })
    }

    /// Next hop, or destination at the last hop.
    pub(crate) fn address(&self) -> AddressBytes {
        self.routing.first_chunk().copied().unwrap_or([0; 94])
    }

    /// Delay before forwarding, in milliseconds.
    pub(crate) fn delay_ms(&self) -> u16 {
        u16::from_be_bytes([self.routing[94], self.routing[95]])
    }

    /// The SURB id, at the last hop of a reply.
    pub(crate) fn id(&self) -> &[u8] {
        &self.routing[96..112]
    }

    /// The packet for the next hop.
    pub(crate) fn packet_out(&self) -> Vec<u8> {
        let alpha = inspect::x25519(&self.blinder, &self.alpha);
        let (beta, gamma) = (&self.routing[112..], &self.routing[96..112]);
        [&alpha[..], beta, gamma, &self.delta].concat()
    }

    /// The message block, zero prefix removed.
    pub(crate) fn block(&self) -> &[u8] {
        &self.delta[16..]
    }

    /// The rule by which α or the secret has to be refused (§21 W5).
    pub(crate) fn weakness(&self) -> Option<Rule> {
        alpha_rule(&self.alpha).or_else(|| (self.secret == [0; 32]).then_some(Rule::NonZeroAlpha))
    }
}

/// The rule by which α alone has to be refused (§21 W5).
pub(crate) fn alpha_rule(alpha: &[u8; 32]) -> Option<Rule> {
    if *alpha == [0; 32] {
        Some(Rule::NonZeroAlpha)
    } else if canonical(alpha) {
        None
    } else {
        Some(Rule::CanonicalAlpha)
    }
}

/// Whether a u-coordinate is below 2^255 − 19.
fn canonical(alpha: &[u8; 32]) -> bool {
    let top = alpha[31];
    let all_ones = top == 0x7f && alpha[1..31].iter().all(|&byte| byte == 0xff);
    top < 0x80 && !(all_ones && alpha[0] >= 0xed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_means_below_the_field_prime() {
        let mut alpha = [0xff; 32];
        assert!(!canonical(&alpha));
        alpha[31] = 0x7f;
        for (low, expected) in [(0xec, true), (0xed, false), (0xff, false)] {
            alpha[0] = low;
            assert_eq!(canonical(&alpha), expected, "{low:02x}");
        }
        assert!(canonical(&[0; 32]));
        alpha[31] = 0x80;
        assert!(!canonical(&alpha));
    }
}
