//! What a sender would rather have on a path, within what diversity demands.

use std::{collections::BTreeSet, fmt};

use libp2p_identity::PeerId;

/// The smallest weight of a node. It keeps every node in use: whoever makes others look bad gains at most a factor of
/// four for a hop, and nobody is put out of the pool by weights.
pub const MIN_WEIGHT: f64 = 0.25;

/// Parts of weight 1: draws count in whole numbers, so that sums are exact in any order.
pub(super) const UNIT: u64 = 1024;

/// Which of the paths that are allowed are rather drawn.
#[derive(Clone, Copy)]
pub struct Preference<'a> {
    weight: &'a dyn Fn(&PeerId) -> f64,
    avoid: Option<&'a BTreeSet<PeerId>>,
}

impl Preference<'static> {
    /// None: every path that is allowed is equally likely.
    pub const NONE: Self = Self { weight: &|_| 1.0, avoid: None };
}

impl<'a> Preference<'a> {
    /// With weights: among allowed paths one is drawn with a probability proportional to the product of the weights of its
    /// drawn hops. Weights are from [`MIN_WEIGHT`] to 1, in steps of 1/1024; others are moved to the nearest end, and what
    /// is not a number counts as 1.
    #[must_use]
    pub fn weighted(self, weight: &'a dyn Fn(&PeerId) -> f64) -> Self {
        Self { weight, ..self }
    }

    /// With peers to be left out, as the hops of a path that failed. The paths are drawn from those with the fewest such
    /// peers that diversity leaves; they are never a reason for a less diverse path, so that nobody who loses packets
    /// drives a sender on to paths that one operator sees twice, nor for refusing one.
    #[must_use]
    pub fn avoiding(self, peers: &'a BTreeSet<PeerId>) -> Self {
        Self { avoid: Some(peers).filter(|peers| !peers.is_empty()), ..self }
    }

    /// The weight of a node in parts of [`UNIT`].
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a number from UNIT/4 to UNIT; NaN is none of them"
    )]
    pub(super) fn parts(&self, peer: &PeerId) -> u64 {
        let weight = (self.weight)(peer);
        if weight.is_nan() {
            return UNIT;
        }
        (weight.clamp(MIN_WEIGHT, 1.0) * UNIT as f64).round() as u64
    }

    /// Whether a peer is to be left out.
    pub(super) fn avoids(&self, peer: &PeerId) -> bool {
        self.avoid.is_some_and(|avoid| avoid.contains(peer))
    }

    /// Whether any peer is to be left out.
    pub(super) fn avoids_any(&self) -> bool {
        self.avoid.is_some()
    }
}

impl fmt::Debug for Preference<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whom a sender avoids tells on which paths it was.
        let avoided = self.avoid.map_or(0, BTreeSet::len);
        formatter.debug_struct("Preference").field("avoided", &avoided).finish_non_exhaustive()
    }
}
