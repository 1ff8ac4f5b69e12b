//! Delay laws: what a sender writes into a header and how long a node holds a packet (`spec/mix-wire.md §14`).

use std::time::Duration;

use rand_core::CryptoRng;

use crate::random;

/// The mean that nwaku's clients encode, in milliseconds (§14; §21 W12 asks to look like them).
pub const WAKUNODE2_MEAN_MS: u16 = 50;

/// The share of the exponential distribution that is cut off at its long end.
const TAIL: f64 = 1e-6;

/// How delays are chosen. Each node has its own law; the wire only carries 16 bits of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DelayLaw {
    /// A sender asks for no delay; a node waits exactly what the packet says, without sampling.
    None,
    /// A sender encodes the mean for every hop; a node draws from the truncated exponential distribution of
    /// the mean that the *packet* carries, so that the sender cannot know the delay.
    Exponential {
        /// Mean that this node encodes in the packets it originates, in milliseconds. Zero asks for no delay.
        mean_ms: u16,
    },
}

impl Default for DelayLaw {
    /// What nwaku does.
    fn default() -> Self {
        Self::Exponential { mean_ms: WAKUNODE2_MEAN_MS }
    }
}

impl DelayLaw {
    /// The delay field for each hop but the last, in milliseconds. The last hop's is zero and unused (§8).
    #[must_use]
    pub const fn encode(self) -> u16 {
        match self {
            Self::None => 0,
            Self::Exponential { mean_ms } => mean_ms,
        }
    }

    /// How long a node holds a packet whose header asks for `encoded` milliseconds; zero means at once.
    ///
    /// Also serves for the hold before a sender's own packets, with its own mean as `encoded`.
    #[must_use]
    pub fn sample<R: CryptoRng + ?Sized>(self, rng: &mut R, encoded: u16) -> Duration {
        match self {
            Self::None => Duration::from_millis(u64::from(encoded)),
            Self::Exponential { .. } if encoded == 0 => Duration::ZERO,
            Self::Exponential { .. } => truncated_exponential(rng, encoded),
        }
    }

    /// The longest delay that [`Self::sample`] returns for an encoded value.
    #[must_use]
    pub fn longest(self, encoded: u16) -> Duration {
        match self {
            Self::None => Duration::from_millis(u64::from(encoded)),
            Self::Exponential { .. } => whole_ms(bound_ms(f64::from(encoded))),
        }
    }
}

/// The inverse of the distribution function, conditioned on `[0, bound]`, at a uniform point:
/// `−m·ln(1 − u·(1 − e^(−bound/m)))`.
fn truncated_exponential<R: CryptoRng + ?Sized>(rng: &mut R, encoded: u16) -> Duration {
    let mean = f64::from(encoded);
    let bound = bound_ms(mean);
    let inside = -libm::expm1(-bound / mean);
    let sample = -mean * libm::log1p(-random::open_unit(rng) * inside);
    let delay = whole_ms(sample.clamp(0.0, bound));
    debug_assert!(delay <= DelayLaw::Exponential { mean_ms: encoded }.longest(encoded));
    delay
}

/// Where the distribution is cut: its 1 − 10⁻⁶ quantile (about 13.8 means), or what 16 bits can say.
fn bound_ms(mean: f64) -> f64 {
    (-mean * libm::log(TAIL)).min(f64::from(u16::MAX))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the law cuts to whole milliseconds, and the value lies in 0..=65535"
)]
fn whole_ms(ms: f64) -> Duration {
    Duration::from_millis(ms as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::rng;

    const EXPONENTIAL: DelayLaw = DelayLaw::Exponential { mean_ms: 7 };

    fn mean_of_samples(encoded: u16, count: u32) -> f64 {
        let mut rng = rng(u64::from(encoded));
        let total: Duration = (0..count).map(|_| EXPONENTIAL.sample(&mut rng, encoded)).sum();
        total.as_secs_f64() * 1000.0 / f64::from(count)
    }

    #[test]
    fn a_sender_encodes_its_mean_and_no_delay_as_zero() {
        assert_eq!(DelayLaw::None.encode(), 0);
        assert_eq!(EXPONENTIAL.encode(), 7);
        assert_eq!(DelayLaw::default().encode(), 50);
    }

    #[test]
    fn without_sampling_a_node_waits_what_the_packet_says() {
        let waited = DelayLaw::None.sample(&mut rng(1), 300);
        assert_eq!(waited, Duration::from_millis(300));
    }

    #[test]
    fn zero_in_the_packet_means_no_delay() {
        for law in [DelayLaw::None, EXPONENTIAL] {
            assert_eq!(law.sample(&mut rng(1), 0), Duration::ZERO);
            assert_eq!(law.longest(0), Duration::ZERO);
        }
    }

    #[test]
    fn the_mean_is_the_packets_and_not_the_nodes() {
        // 40 000 draws: standard error mean/200; cutting to whole milliseconds takes half a millisecond off.
        for encoded in [20, 50, 100, 1000] {
            let expected = f64::from(encoded) - 0.5;
            let error = (mean_of_samples(encoded, 40_000) - expected).abs();
            assert!(error < f64::from(encoded) / 40.0, "mean {encoded}: off by {error}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_exponential_distribution() {
        let mut rng = rng(5);
        let draws = 40_000_u32;
        let within_mean =
            (0..draws).filter(|_| EXPONENTIAL.sample(&mut rng, 1000) < Duration::from_millis(1000)).count();
        let share = within_mean as f64 / f64::from(draws);
        // 1 − 1/e = 0.6321, standard error 0.0024.
        assert!((share - 0.6321).abs() < 0.012, "share {share}");
    }

    #[test]
    fn the_tail_ends_at_fourteen_means_or_at_sixteen_bits() {
        assert_eq!(EXPONENTIAL.longest(50), Duration::from_millis(690));
        assert_eq!(EXPONENTIAL.longest(4743), Duration::from_millis(65_526));
        assert_eq!(EXPONENTIAL.longest(4744), Duration::from_millis(65_535));
        assert_eq!(EXPONENTIAL.longest(u16::MAX), Duration::from_millis(65_535));
    }

    #[test]
    fn a_cut_distribution_has_a_smaller_mean_than_it_asks_for() {
        // Conditioned on [0, m] the mean of an exponential of mean m is m·(1 − 1/(e − 1)) = 0.418·m.
        let share = mean_of_samples(u16::MAX, 40_000) / f64::from(u16::MAX);
        assert!((share - 0.418).abs() < 0.01, "share {share}");
    }

    proptest! {
        #[test]
        fn samples_are_whole_milliseconds_within_the_bound(seed: u64, encoded: u16) {
            let sample = EXPONENTIAL.sample(&mut rng(seed), encoded);
            prop_assert!(sample <= EXPONENTIAL.longest(encoded));
            prop_assert_eq!(sample.subsec_nanos() % 1_000_000, 0);
        }
    }
}
