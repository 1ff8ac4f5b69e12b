//! Packets lost on purpose, to test what senders do about it.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wakumix_sphinx::FormatKind;

/// Which share of the packets that would be written is lost instead. For tests only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// From 0 (none) to 1 (all).
    pub share: f64,
    /// The same seed loses the same packets of a node, counted in the order in which they are to leave.
    pub seed: u64,
}

/// Draws for one format.
pub(super) struct Dice {
    share: f64,
    rng: StdRng,
}

impl Dice {
    pub(super) fn new(loss: Loss, kind: FormatKind) -> Self {
        // Another sequence for each format, or both would lose their nth packet.
        let rng = StdRng::seed_from_u64(loss.seed.rotate_left(8) ^ kind as u64);
        Self { share: loss.share, rng }
    }

    /// Whether the next packet is lost.
    pub(super) fn loses(&mut self) -> bool {
        self.rng.random::<f64>() < self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(share: f64, seed: u64) -> Vec<bool> {
        let mut dice = Dice::new(Loss { share, seed }, FormatKind::Mix);
        (0..1000).map(|_| dice.loses()).collect()
    }

    #[test]
    fn loses_its_share_and_the_same_packets_for_the_same_seed() {
        let count = |lost: &[bool]| lost.iter().filter(|lost| **lost).count();
        let tenth = lost(0.1, 7);
        assert!((60..140).contains(&count(&tenth)), "{}", count(&tenth));
        assert_eq!(tenth, lost(0.1, 7));
        assert_ne!(tenth, lost(0.1, 8));
        assert_eq!((count(&lost(0.0, 1)), count(&lost(1.0, 1))), (0, 1000));
    }
}
