//! X25519 as RFC 7748 defines it: little-endian u-coordinates, scalars clamped on every use (`spec/mix-wire.md §4.1`).
//!
//! Two backends compute the same function. Native targets use AWS-LC, whose ladder and fixed-base multiplication are
//! verified assembly; wasm32, where AWS-LC cannot be linked, uses curve25519-dalek. The arithmetic of scalars, which
//! only a sender needs, is dalek's on both (`scalar.rs`).

use curve25519_dalek::MontgomeryPoint;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

#[cfg(any(test, fuzzing))]
mod remembered;

#[cfg(not(fuzzing))]
pub(crate) use backend::{Multiplier, x25519};
#[cfg(fuzzing)]
pub(crate) use remembered::{Multiplier, x25519};

/// A u-coordinate or a scalar in its 32-byte form.
pub(crate) type Bytes32 = [u8; 32];

#[cfg(not(target_family = "wasm"))]
mod backend {
    use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
    use curve25519_dalek::MontgomeryPoint;
    use zeroize::Zeroizing;

    use super::{Bytes32, nonzero, portable};

    /// A scalar made ready for multiplications.
    pub(crate) struct Multiplier(Form);

    enum Form {
        Native {
            key: PrivateKey,
            base: Bytes32,
        },
        /// Only reached when AWS-LC cannot allocate: the same function from the portable code.
        Portable(Zeroizing<Bytes32>),
    }

    impl Multiplier {
        pub(crate) fn new(scalar: &Bytes32) -> Self {
            Self(import(scalar).unwrap_or_else(|| Form::Portable(Zeroizing::new(*scalar))))
        }

        /// The scalar times the base point; computed once, when the scalar was made ready.
        pub(crate) fn base(&self) -> Bytes32 {
            match &self.0 {
                Form::Native { base, .. } => *base,
                Form::Portable(scalar) => MontgomeryPoint::mul_base_clamped(**scalar).to_bytes(),
            }
        }

        /// The scalar times `point`; `None` when the result is all zero, that is for points of low order.
        pub(crate) fn times(&self, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
            match &self.0 {
                Form::Native { key, .. } => multiply(key, point),
                Form::Portable(scalar) => nonzero(portable(scalar, point)),
            }
        }
    }

    /// AWS-LC multiplies the base point on import, so reading the product costs nothing more.
    fn import(scalar: &Bytes32) -> Option<Form> {
        let key = PrivateKey::from_private_key(&X25519, scalar).ok()?;
        let base = key.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Form::Native { key, base })
    }

    /// One multiplication with a scalar that is used once; `None` as in [`Multiplier::times`].
    pub(crate) fn x25519(scalar: &Bytes32, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
        match PrivateKey::from_private_key(&X25519, scalar) {
            Ok(key) => multiply(&key, point),
            Err(_) => nonzero(portable(scalar, point)),
        }
    }

    fn multiply(key: &PrivateKey, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
        agree(key, UnparsedPublicKey::new(&X25519, point), (), |shared| {
            let mut product = Zeroizing::new([0; 32]);
            product.copy_from_slice(shared);
            Ok(product)
        })
        .ok()
    }
}

#[cfg(target_family = "wasm")]
mod backend {
    use curve25519_dalek::MontgomeryPoint;
    use zeroize::Zeroizing;

    use super::{Bytes32, nonzero, portable};

    /// A scalar made ready for multiplications.
    pub(crate) struct Multiplier(Zeroizing<Bytes32>);

    impl Multiplier {
        pub(crate) fn new(scalar: &Bytes32) -> Self {
            Self(Zeroizing::new(*scalar))
        }

        /// The scalar times the base point.
        pub(crate) fn base(&self) -> Bytes32 {
            MontgomeryPoint::mul_base_clamped(*self.0).to_bytes()
        }

        /// The scalar times `point`; `None` when the result is all zero, that is for points of low order.
        pub(crate) fn times(&self, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
            x25519(&self.0, point)
        }
    }

    /// One multiplication with a scalar that is used once; `None` as in [`Multiplier::times`].
    pub(crate) fn x25519(scalar: &Bytes32, point: &Bytes32) -> Option<Zeroizing<Bytes32>> {
        nonzero(portable(scalar, point))
    }
}

fn portable(scalar: &Bytes32, point: &Bytes32) -> Zeroizing<Bytes32> {
    Zeroizing::new(MontgomeryPoint(*point).mul_clamped(*scalar).to_bytes())
}

fn nonzero(point: Zeroizing<Bytes32>) -> Option<Zeroizing<Bytes32>> {
    let zero = point.ct_eq(&[0; 32]);
    (!bool::from(zero)).then_some(point)
}

/// Whether `point` is the canonical encoding, below p = 2^255 − 19, of a u-coordinate other than zero.
///
/// A set top bit makes the value at least 2^255, so it is refused too.
pub(crate) fn is_canonical_nonzero(point: &Bytes32) -> bool {
    const P: Bytes32 = {
        let mut p = [0xff; 32];
        p[0] = 0xed;
        p[31] = 0x7f;
        p
    };
    // Points are public, so comparing from the top with an early exit reveals nothing.
    point.iter().rev().lt(P.iter().rev()) && *point != [0; 32]
}

/// Where a canonical, non-zero u-coordinate lies.
pub(crate) enum Membership {
    /// A multiple of the base point, as every honest key is: clamped scalars are multiples of the cofactor 8.
    PrimeSubgroup,
    /// On the curve, but of low order or with a component of low order.
    Torsion,
    /// On the quadratic twist.
    Twist,
}

/// Finds where `point` lies; variable time, for public values.
pub(crate) fn membership(point: &Bytes32) -> Membership {
    match MontgomeryPoint(*point).to_edwards(0) {
        None => Membership::Twist,
        Some(point) if point.is_small_order() || !point.is_torsion_free() => Membership::Torsion,
        Some(_) => Membership::PrimeSubgroup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 7748 §5.2, first vector.
    #[test]
    fn gives_the_product_of_the_rfc() {
        let scalar = crate::testing::hex32("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = crate::testing::hex32("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let product = crate::testing::hex32("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        assert_eq!(x25519(&scalar, &point).as_deref(), Some(&product));
        assert_eq!(*portable(&scalar, &point), product);
    }

    #[test]
    fn only_numbers_between_zero_and_p_are_canonical() {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (0xec, 0x7f);
        assert!(is_canonical_nonzero(&point), "p - 1");
        point[0] = 0xed;
        assert!(!is_canonical_nonzero(&point), "p");
        assert!(!is_canonical_nonzero(&[0; 32]));
        assert!(is_canonical_nonzero(&[1; 32]));
    }

    proptest! {
        #[test]
        fn the_portable_code_computes_the_same_function(scalar in any::<Bytes32>(), mut point in any::<Bytes32>()) {
            point[31] &= 0x7f;
            prop_assert_eq!(&*x25519(&scalar, &point).unwrap(), &*portable(&scalar, &point));
            let multiplier = Multiplier::new(&scalar);
            prop_assert_eq!(multiplier.base(), MontgomeryPoint::mul_base_clamped(scalar).to_bytes());
            prop_assert_eq!(multiplier.times(&point), x25519(&scalar, &point));
            for _ in 0..2 {
                let remembered = remembered::Multiplier::new(&scalar);
                prop_assert_eq!(remembered.base(), multiplier.base());
                prop_assert_eq!(remembered.times(&point), multiplier.times(&point));
                prop_assert_eq!(remembered::x25519(&scalar, &point), x25519(&scalar, &point));
            }
        }
    }
}
