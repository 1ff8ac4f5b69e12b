//! Evidence about one node, and the comparison of all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p_identity::PeerId;

use super::{Estimate, MARGIN, MIN_JUDGED, Trip};
use crate::path::MIN_WEIGHT;

/// Trips below which a node is not judged: with fewer the error of its loss is as large as what is looked for.
const MIN_TRIPS: f64 = 8.0;

/// Nodes down-weighted at most: one of so many that are judged.
const MARKED_OF: usize = 4;

/// Standard errors taken off a loss before it is compared: the share of sound nodes that look this bad is 2 %.
const ERRORS_OFF: f64 = 2.0;

/// Counts that fade with time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evidence {
    /// What the counts refer to.
    at: Duration,
    returned: f64,
    lost: f64,
    /// Seconds of all trips that returned.
    seconds: f64,
}

impl Evidence {
    pub(super) fn add(&mut self, now: Duration, half_life: Duration, trip: Trip) {
        let faded = self.fade(now, half_life);
        let (at, returned) = (self.at.max(now), faded.returned);
        *self = match trip {
            Trip::Returned(latency) => {
                Self { at, returned: returned + 1.0, seconds: faded.seconds + latency.as_secs_f64(), ..faded }
            }
            Trip::Lost => Self { at, lost: faded.lost + 1.0, ..faded },
        };
    }

    pub(super) fn estimate(&self, now: Duration, half_life: Duration) -> Option<Estimate> {
        let Self { returned, lost, seconds, .. } = self.fade(now, half_life);
        let trips = returned + lost;
        // Both sums have faded alike, so their quotient has not.
        let latency = (returned > 0.0).then(|| Duration::try_from_secs_f64(seconds / returned).ok()).flatten();
        (trips > 0.0).then(|| Estimate { trips, loss: lost / trips, latency })
    }

    fn fade(&self, now: Duration, half_life: Duration) -> Self {
        let age = now.saturating_sub(self.at).as_secs_f64() / half_life.as_secs_f64().max(f64::EPSILON);
        let factor = libm::exp2(-age);
        Self { at: self.at, returned: self.returned * factor, lost: self.lost * factor, seconds: self.seconds * factor }
    }
}

/// Which nodes are down-weighted, and to what.
pub(super) fn judge(mut nodes: Vec<(PeerId, Estimate)>) -> BTreeMap<PeerId, f64> {
    nodes.retain(|(_, estimate)| estimate.trips >= MIN_TRIPS);
    if nodes.len() < MIN_JUDGED {
        return BTreeMap::new();
    }
    // The peer id decides between equals, so that the outcome does not depend on the order of a hash map.
    nodes.sort_by(|(one, a), (other, b)| b.loss.total_cmp(&a.loss).then_with(|| one.cmp(other)));
    let Some((_, Estimate { loss: median, .. })) = nodes.get(nodes.len() / 2).copied() else { return BTreeMap::new() };
    let worst = nodes.iter().take(nodes.len() / MARKED_OF);
    let clear = worst.filter(|(_, estimate)| least_loss(estimate) > median + MARGIN);
    clear.map(|(peer, estimate)| (*peer, weight(estimate.loss, median))).collect()
}

/// What the loss is at least, as far as so few trips can tell. The estimate is drawn towards one half by two trips, as one
/// from nothing but losses would have no error otherwise.
fn least_loss(estimate: &Estimate) -> f64 {
    let trips = estimate.trips + 2.0;
    let loss = (estimate.loss * estimate.trips + 1.0) / trips;
    loss - ERRORS_OFF * libm::sqrt(loss * (1.0 - loss) / trips)
}

/// As often as its trips succeed, relative to those of the node in the middle.
fn weight(loss: f64, median: f64) -> f64 {
    ((1.0 - loss) / (1.0 - median).max(f64::EPSILON)).clamp(MIN_WEIGHT, 1.0)
}
