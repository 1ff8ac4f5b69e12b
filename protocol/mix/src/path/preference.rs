//! What a sender would rather have on a path, within what diversity demands.

use std::{collections::BTreeSet, fmt};

use libp2p_identity::PeerId;

/// The smallest weight of a node. It keeps every node in use: whoever makes others look bad gains at most a factor of
/// four for a hop, and nobody is put out of the pool by weights.
pub const MIN_WEIGHT: f64 = 0.25;

/// Which of the nodes that are allowed are rather drawn.
#[derive(Clone, Copy)]
pub struct Preference<'a> {
    weight: &'a dyn Fn(&PeerId) -> f64,
    avoid: Option<&'a BTreeSet<PeerId>>,
}

impl Preference<'static> {
    /// None: nodes have their shares of the draws.
    pub const NONE: Self = Self { weight: &|_| 1.0, avoid: None };
}

impl<'a> Preference<'a> {
    /// With weights: among allowed paths one is drawn with a probability proportional to the product of the weights of its
    /// drawn hops, besides their shares. Weights are from [`MIN_WEIGHT`] to 1; others are moved to the nearest end, and what is
    /// not a number counts as 1.
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

    /// What is left of a node's share under these weights, in the same parts; never nothing.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number from 0 to `share`")]
    pub(super) fn weigh(&self, peer: &PeerId, share: u32) -> u32 {
        let weight = (self.weight)(peer);
        let weight = if weight.is_nan() { 1.0 } else { weight.clamp(MIN_WEIGHT, 1.0) };
        ((weight * f64::from(share)).round() as u32).max(1)
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
        // Which nodes a sender avoids reveals which paths it used.
        let avoided = self.avoid.map_or(0, BTreeSet::len);
        formatter.debug_struct("Preference").field("avoided", &avoided).finish_non_exhaustive()
    }
}
