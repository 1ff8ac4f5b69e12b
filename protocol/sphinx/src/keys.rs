//! A node's mix key pair: X25519, with public keys checked on the way in.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;
use std::sync::Arc;

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::curve::{Bytes32, Membership, Multiplier, is_canonical_nonzero, membership};

/// A node's private mix key: 32 bytes, clamped whenever it is used.
///
/// Clones share one key in memory, which is wiped with the last of them. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    bytes: Zeroizing<Bytes32>,
    multiplier: Multiplier,
}

impl PrivateKey {
    /// Takes any 32 bytes; every value is a key because X25519 clamps it.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(Arc::new(Inner { multiplier: Multiplier::new(&bytes), bytes }))
    }

    /// Draws a new key.
    pub fn generate<R: CryptoRng + ?Sized>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *bytes);
        Self::from_bytes(*bytes)
    }

    /// The public key, u-coordinate of this key times the base point.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.multiplier.base())
    }

    /// The key as it was given, for storing it; handle with care.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0.bytes
    }

    pub(crate) fn multiplier(&self) -> &Multiplier {
        &self.0.multiplier
    }
}

crate::redacted!(PrivateKey);

/// A node's public mix key: a canonical u-coordinate of a point in the prime-order subgroup of Curve25519.
///
/// `Display` and `FromStr` use 64 hexadecimal digits; input may begin with `0x`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(Bytes32);

impl PublicKey {
    /// Checks and takes a u-coordinate.
    ///
    /// # Errors
    /// [`KeyError::Zero`], [`KeyError::NotCanonical`], [`KeyError::Torsion`] or [`KeyError::Twist`]. No key made from a
    /// private key is refused.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, KeyError> {
        if bytes == [0; 32] {
            return Err(KeyError::Zero);
        }
        if !is_canonical_nonzero(&bytes) {
            return Err(KeyError::NotCanonical);
        }
        match membership(&bytes) {
            Membership::PrimeSubgroup => Ok(Self(bytes)),
            Membership::Torsion => Err(KeyError::Torsion),
            Membership::Twist => Err(KeyError::Twist),
        }
    }

    /// The 32 bytes as they stand in directories and on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| KeyError::Text)?;
        Self::from_bytes(bytes)
    }
}

/// A public key that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("a mix public key is written as 64 hexadecimal digits, optionally after 0x")]
    Text,
    /// All bytes are zero.
    #[error("the mix public key is zero")]
    Zero,
    /// The number is 2^255 − 19 or more.
    #[error("the mix public key is not in canonical form")]
    NotCanonical,
    /// The point is of low order or has a component of low order.
    #[error("the mix public key is not in the prime-order subgroup")]
    Torsion,
    /// The point is on the quadratic twist of Curve25519.
    #[error("the mix public key is not on the curve")]
    Twist,
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::MontgomeryPoint;
    use curve25519_dalek::constants::EIGHT_TORSION;
    use proptest::prelude::*;

    /// Appendix A, forward packet.
    #[test]
    fn private_keys_give_the_published_public_keys() {
        for (byte, public) in [
            (0x10, "781faab908430150daccdd6f9d6c5086e34f73a93ebbaa271765e5036edfc519"),
            (0x20, "06453fcd9cef5a1f53acc4f942104c0c8e9e27d5c7b37f5507cdcd1628105963"),
            (0x30, "e50c239bc204f1341664c9d9c50c6a0d0fff6fc79d9301f1e713aab2e0344b3f"),
        ] {
            let key = PrivateKey::from_bytes([byte; 32]).public();
            assert_eq!(key.to_string(), public);
            assert_eq!(public.parse(), Ok(key));
            assert_eq!(format!("0x{public}").parse(), Ok(key));
        }
    }

    #[test]
    fn refuses_zero_non_canonical_and_twist_keys() {
        assert_eq!(PublicKey::from_bytes([0; 32]), Err(KeyError::Zero));
        let mut p = [0xff; 32];
        p[31] = 0x7f;
        for low in 0xed..=0xff {
            p[0] = low;
            assert_eq!(PublicKey::from_bytes(p), Err(KeyError::NotCanonical));
        }
        let mut top_bit = *PrivateKey::from_bytes([1; 32]).public().as_bytes();
        top_bit[31] |= 0x80;
        assert_eq!(PublicKey::from_bytes(top_bit), Err(KeyError::NotCanonical));
        let mut two = [0; 32];
        two[0] = 2;
        assert_eq!(PublicKey::from_bytes(two), Err(KeyError::Twist));
    }

    #[test]
    fn refuses_low_order_points_and_honest_keys_plus_a_low_order_point() {
        let honest = *PrivateKey::from_bytes([1; 32]).public().as_bytes();
        let honest = MontgomeryPoint(honest).to_edwards(0).unwrap();
        for torsion in &EIGHT_TORSION[1..] {
            let low = torsion.to_montgomery().to_bytes();
            assert!(PublicKey::from_bytes(low).is_err());
            let mixed = (honest + torsion).to_montgomery().to_bytes();
            assert_eq!(PublicKey::from_bytes(mixed), Err(KeyError::Torsion));
        }
    }

    #[test]
    fn debug_of_a_private_key_shows_no_byte_of_it() {
        let shown = format!("{:?}", PrivateKey::from_bytes([0xAB; 32]));
        assert!(!shown.contains("ab") && !shown.contains("171"), "{shown}");
    }

    proptest! {
        #[test]
        fn every_private_key_has_an_acceptable_public_key(bytes in any::<[u8; 32]>()) {
            let key = PrivateKey::from_bytes(bytes);
            prop_assert_eq!(PublicKey::from_bytes(*key.public().as_bytes()), Ok(key.public()));
            prop_assert_eq!(key.as_bytes(), &bytes);
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in ".{0,70}") {
            let _ = text.parse::<PublicKey>();
        }
    }
}
