//! The sender's shortcut: a chain of clamped scalars as one clamped scalar.
//!
//! The wire multiplies by clamped scalars one after the other, x then b₀ then b₁ (`spec/mix-wire.md §6.1`), six
//! ladders for three hops. A sender can multiply the scalars first:
//!
//! * Each clamped scalar is 8·k. On a point of the prime-order subgroup a product of them acts as 8·m with
//!   m = k₀·b₀·b₁… mod ℓ, and X25519 gives P and −P the same u-coordinate, so 8·(ℓ − m) acts alike.
//! * A clamped scalar is 8·m with m in [2^251, 2^252). As ℓ is 2^252 plus about 2^124.6, one of m and ℓ − m lies there,
//!   unless m is within 2^124.6 of 0 or ℓ: probability about 2^−126 for hashed blinding factors.
//!
//! So every α_i and every s_i costs one clamped multiplication, in the fast code that only knows clamped scalars.
//! This holds for points of the prime-order subgroup only, which `PublicKey` guarantees.

use core::ops::Neg;

use curve25519_dalek::scalar::{Scalar, clamp_integer};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::curve::Bytes32;

/// A product of clamped scalars, held as its eighth mod ℓ.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct ScalarChain {
    eighth: Scalar,
}

impl ScalarChain {
    /// Starts with the ephemeral scalar x, clamped here.
    pub(crate) fn new(ephemeral: &Bytes32) -> Self {
        let mut eighth = Zeroizing::new(clamp_integer(*ephemeral));
        shift_right_3(&mut eighth);
        Self { eighth: Scalar::from_bytes_mod_order(*eighth) }
    }

    /// Multiplies by a blinding factor, clamped here.
    pub(crate) fn push(&mut self, blinding: &Bytes32) {
        let factor = Zeroizing::new(Scalar::from_bytes_mod_order(clamp_integer(*blinding)));
        self.eighth *= *factor;
    }

    /// The clamped scalar that acts as the product; `None` with probability about 2^−126. Constant time.
    pub(crate) fn clamped(&self) -> Option<Zeroizing<Bytes32>> {
        let eighth = Zeroizing::new(self.eighth.to_bytes());
        let negated = Zeroizing::new(self.eighth.neg().to_bytes());
        let mut scalar = Zeroizing::new(<Bytes32>::conditional_select(&negated, &eighth, is_clamped_eighth(&eighth)));
        let found = is_clamped_eighth(&scalar);
        shift_left_3(&mut scalar);
        bool::from(found).then_some(scalar)
    }
}

/// Whether m is in [2^251, 2^252): bit 251 set, bit 252 clear (higher bits are clear below ℓ).
fn is_clamped_eighth(eighth: &Bytes32) -> Choice {
    (eighth[31] & 0x18).ct_eq(&0x08)
}

fn shift_right_3(bytes: &mut Bytes32) {
    let mut carry = 0;
    for byte in bytes.iter_mut().rev() {
        let low = *byte << 5;
        *byte = (*byte >> 3) | carry;
        carry = low;
    }
}

fn shift_left_3(bytes: &mut Bytes32) {
    let mut carry = 0;
    for byte in bytes.iter_mut() {
        let high = *byte >> 5;
        *byte = (*byte << 3) | carry;
        carry = high;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{Multiplier, x25519};
    use crate::keys::PrivateKey;
    use proptest::prelude::*;

    const BASE: Bytes32 = {
        let mut base = [0; 32];
        base[0] = 9;
        base
    };

    fn ladder(scalars: &[Bytes32], point: &Bytes32) -> Bytes32 {
        scalars.iter().fold(*point, |point, scalar| *x25519(scalar, &point).unwrap())
    }

    fn assert_chain_equals_ladder(scalars: &[Bytes32], key: &Bytes32) {
        let mut chain = ScalarChain::new(&scalars[0]);
        for scalar in &scalars[1..] {
            chain.push(scalar);
        }
        let scalar = chain.clamped().unwrap();
        assert_eq!(*scalar, clamp_integer(*scalar), "not a clamped scalar");
        let multiplier = Multiplier::new(&scalar);
        assert_eq!(multiplier.base(), ladder(scalars, &BASE));
        assert_eq!(*multiplier.times(key).unwrap(), ladder(scalars, key));
    }

    fn scalar() -> impl Strategy<Value = Bytes32> {
        let edge = prop_oneof![
            Just([0; 32]),
            Just([0xff; 32]),
            Just({
                let mut bytes = [0; 32];
                bytes[0] = 0b111;
                bytes[31] = 0b1000_0000;
                bytes
            }),
            any::<u8>().prop_map(|low| {
                let mut bytes = [0xff; 32];
                bytes[0] = low;
                bytes
            }),
        ];
        prop_oneof![3 => any::<Bytes32>(), 1 => edge]
    }

    proptest! {
        #[test]
        fn one_clamped_scalar_equals_the_sequential_ladder(
            scalars in prop::collection::vec(scalar(), 1..=4),
            key in any::<Bytes32>(),
        ) {
            let key = PrivateKey::from_bytes(key).public();
            assert_chain_equals_ladder(&scalars, key.as_bytes());
        }

        #[test]
        fn shifts_are_inverse_on_clamped_scalars(bytes in any::<Bytes32>()) {
            let clamped = clamp_integer(bytes);
            let mut shifted = clamped;
            shift_right_3(&mut shifted);
            prop_assert!(bool::from(is_clamped_eighth(&shifted)));
            shift_left_3(&mut shifted);
            prop_assert_eq!(shifted, clamped);
        }
    }

    #[test]
    fn finds_no_clamped_scalar_only_next_to_zero() {
        for eighth in [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(u64::MAX)] {
            assert!(ScalarChain { eighth }.clamped().is_none());
        }
    }
}
