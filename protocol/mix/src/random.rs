//! Draws from a generator that the caller gives, free of modulo bias: the same words give the same draws on every machine.

use rand_core::CryptoRng;

/// A uniform index in `0..len`; `len` must not be zero.
#[expect(clippy::cast_possible_truncation, reason = "the number is smaller than a usize")]
#[must_use]
pub fn index<R: CryptoRng + ?Sized>(rng: &mut R, len: usize) -> usize {
    below(rng, len as u64) as usize
}

/// A uniform number smaller than `bound`, which must not be zero nor above 2^63.
#[must_use]
pub fn below<R: CryptoRng + ?Sized>(rng: &mut R, bound: u64) -> u64 {
    debug_assert!(bound > 0, "an empty range has no number");
    let mask = bound.next_power_of_two() - 1;
    loop {
        // Rejection keeps the draw uniform; each round succeeds with probability above one half.
        let candidate = rng.next_u64() & mask;
        if candidate < bound {
            return candidate;
        }
    }
}

/// A uniform number in the open interval (0, 1), with 52 random bits: with 53 the last cell's middle rounds up to 1.
#[must_use]
pub fn open_unit<R: CryptoRng + ?Sized>(rng: &mut R) -> f64 {
    /// 2^-52, the spacing of the draws; each lies in the middle of its cell, so neither end occurs.
    const CELL: f64 = 1.0 / (1_u64 << 52) as f64;
    ((rng.next_u64() >> 12) as f64 + 0.5) * CELL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::rng;

    #[test]
    fn every_index_occurs_and_none_beyond() {
        for len in [1, 2, 3, 5, 8, 100] {
            let mut seen = vec![false; len];
            let mut rng = rng(1);
            for _ in 0..40 * len {
                seen[index(&mut rng, len)] = true;
            }
            assert!(seen.iter().all(|&seen| seen), "of {len}");
        }
    }

    #[test]
    fn every_index_is_as_likely_as_every_other() {
        const DRAWS: usize = 20_000;
        for len in [2, 3, 5, 6, 7, 12, 100] {
            let mut counts = vec![0_usize; len];
            let mut rng = rng(2);
            for _ in 0..DRAWS {
                counts[index(&mut rng, len)] += 1;
            }
            // Five standard deviations; what is drawn modulo a length that is no power of two is at least a quarter off.
            let mean = DRAWS as f64 / len as f64;
            let most = 5.0 * mean.sqrt();
            assert!(counts.iter().all(|count| (*count as f64 - mean).abs() < most), "of {len}: {counts:?}");
        }
    }

    #[test]
    fn the_unit_draw_excludes_both_ends() {
        assert!(open_unit(&mut Constant(0)) > 0.0);
        assert!(open_unit(&mut Constant(u64::MAX)) < 1.0);
    }

    /// A generator stuck at one word.
    struct Constant(u64);

    impl rand_core::TryRng for Constant {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(self.0)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            out.fill(0);
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Constant {}
}
