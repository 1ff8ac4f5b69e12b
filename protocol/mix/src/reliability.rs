//! How well nodes carry packets, as this node has seen it: loss and latency of what was sent through them.
//!
//! A lost packet says only that *somebody* on its path lost it. Blaming every hop would let one node take others out of the
//! paths by dropping what comes through them, so nobody is judged by single losses:
//!
//! - A node's loss is the average over all trips through it, with partners that this node drew at random. Who drops
//!   everything that comes from or goes to another raises the other's loss by one partner's share, and its own by as much.
//! - It is down-weighted only when its loss is *clearly* above the median of the nodes that are judged ([`MARGIN`], after
//!   taking off the error of the estimate), and only in a pool where one partner's share is below that margin
//!   ([`MIN_JUDGED`]).
//! - At most a quarter of the judged nodes are down-weighted, those with the highest loss, and never below [`MIN_WEIGHT`].
//! - Evidence halves with [`ReliabilityLimits::half_life`]; a node that is not judged weighs 1.
//!
//! That a first hop could not be reached is another matter: nobody but the node and this one take part in it. It weighs the
//! least for a short time that grows with each failure and ends with the first success.
//!
//! Non-goals: latency is estimated but weighs nothing. Most of it is the random delay that senders ask for, and preferring
//! fast nodes would gather paths at those who mix least.

mod judge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use libp2p_identity::PeerId;
use wakumix_sphinx::Weaknesses;

use self::judge::{Evidence, judge};
use crate::countermeasures::blames_paths;
use crate::path::MIN_WEIGHT;

/// How far a node's loss must lie above the median, beyond the error of the estimate: above the share of one partner in the
/// smallest pool that is judged, 1/7.
pub const MARGIN: f64 = 0.15;

/// Judged nodes below which nobody is down-weighted.
pub const MIN_JUDGED: usize = 8;

/// How long a first hop that cannot be reached weighs the least, after its first failure: as long as a restart takes.
pub const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// The longest such pause; it doubles with each failure that follows a pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(8 * 60);

/// Judging sorts all nodes, so a burst of trips is judged once.
const JUDGE_EVERY: Duration = Duration::from_secs(1);

/// What is remembered, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReliabilityLimits {
    /// Nodes remembered, about 200 bytes each. Beyond it, the one that has been heard of least recently is forgotten.
    pub nodes: usize,
    /// After this time what was seen counts half.
    pub half_life: Duration,
}

impl Default for ReliabilityLimits {
    /// 2048 nodes, ten times the pools known; half an hour, in which a loop each 10 s through a pool of 20 nodes gives each
    /// of them 18 observations.
    fn default() -> Self {
        Self { nodes: 2048, half_life: Duration::from_secs(30 * 60) }
    }
}

/// What became of a packet that this node sent through others and expected back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trip {
    /// It, or the answer to it, came back after this time.
    Returned(Duration),
    /// It did not come back in time.
    Lost,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Trips through it, older ones counting less.
    pub trips: f64,
    /// The share of them that was lost, by whomever, 0 to 1.
    pub loss: f64,
    /// Mean time of those that came back; `None` if none did.
    pub latency: Option<Duration>,
}

/// What a node has seen of others. Times are durations since one epoch of the caller's choice.
///
/// All of it is ephemeral: after a restart everybody weighs 1.
#[derive(Clone, Debug)]
pub struct Reliability {
    limits: ReliabilityLimits,
    weaknesses: Weaknesses,
    nodes: BTreeMap<PeerId, Record>,
    judged_at: Option<Duration>,
}

/// What is kept of one node.
#[derive(Clone, Debug, Default)]
struct Record {
    evidence: Evidence,
    heard_at: Duration,
    /// What its loss makes it weigh, `None` while it is not down-weighted.
    marked: Option<f64>,
    pause: Option<Pause>,
}

/// A first hop that could not be reached.
#[derive(Clone, Copy, Debug)]
struct Pause {
    until: Duration,
    length: Duration,
}

impl Default for Reliability {
    fn default() -> Self {
        Self::new(ReliabilityLimits::default())
    }
}

impl Reliability {
    /// Nothing is known of anybody.
    #[must_use]
    pub fn new(limits: ReliabilityLimits) -> Self {
        Self { limits, weaknesses: Weaknesses::NONE, nodes: BTreeMap::new(), judged_at: None }
    }

    /// The same without the countermeasures in this set.
    #[must_use]
    pub fn weakened(self, weaknesses: Weaknesses) -> Self {
        Self { weaknesses, ..self }
    }

    /// A packet went through `hops`, the first of them first, all drawn by this node; what became of it.
    pub fn looped(&mut self, now: Duration, hops: &[PeerId], trip: Trip) {
        for hop in hops {
            let half_life = self.limits.half_life;
            self.record(now, hop).evidence.add(now, half_life, trip);
        }
        if let Trip::Returned(_) = trip {
            hops.iter().take(1).for_each(|first| self.first_hop_reached(first));
        }
        if blames_paths(self.weaknesses) {
            return self.blame(now, hops, trip);
        }
        if self.judged_at.is_none_or(|judged| now.saturating_sub(judged) >= JUDGE_EVERY) {
            self.judge(now);
        }
    }

    /// What the module must not do: weigh down everybody who was on the path of what was lost.
    fn blame(&mut self, now: Duration, hops: &[PeerId], trip: Trip) {
        self.judged_at = Some(now);
        if trip == Trip::Lost {
            hops.iter().for_each(|hop| self.record(now, hop).marked = Some(MIN_WEIGHT));
        }
    }

    /// A first hop could not be reached. Failures within a pause belong to the same outage and change nothing.
    pub fn first_hop_failed(&mut self, now: Duration, peer: &PeerId) {
        let record = self.record(now, peer);
        let length = match record.pause {
            Some(pause) if now < pause.until => return,
            Some(pause) => (pause.length * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        record.pause = Some(Pause { until: now + length, length });
    }

    /// A first hop took a packet: its pause, if there was one, is over and forgotten.
    pub fn first_hop_reached(&mut self, peer: &PeerId) {
        if let Some(record) = self.nodes.get_mut(peer) {
            record.pause = None;
        }
    }

    /// How often a node is to be drawn, relative to one that weighs 1: within [[`MIN_WEIGHT`], 1].
    #[must_use]
    pub fn weight(&self, now: Duration, peer: &PeerId) -> f64 {
        let Some(record) = self.nodes.get(peer) else { return 1.0 };
        if record.pause.is_some_and(|pause| now < pause.until) {
            return MIN_WEIGHT;
        }
        record.marked.filter(|_| !self.is_stale(now)).unwrap_or(1.0)
    }

    /// What is known of a node; `None` if nothing.
    #[must_use]
    pub fn estimate(&self, now: Duration, peer: &PeerId) -> Option<Estimate> {
        self.nodes.get(peer).and_then(|record| record.evidence.estimate(now, self.limits.half_life))
    }

    /// Nodes that are down-weighted by their loss now.
    #[must_use]
    pub fn marked(&self, now: Duration) -> usize {
        if self.is_stale(now) { 0 } else { self.nodes.values().filter(|record| record.marked.is_some()).count() }
    }

    /// Judgements without news are forgotten as fast as what they were made from.
    fn is_stale(&self, now: Duration) -> bool {
        self.judged_at.is_none_or(|judged| now.saturating_sub(judged) > self.limits.half_life)
    }

    fn judge(&mut self, now: Duration) {
        self.judged_at = Some(now);
        let half_life = self.limits.half_life;
        let estimates = self.nodes.iter().filter_map(|(peer, record)| {
            let estimate = record.evidence.estimate(now, half_life)?;
            Some((*peer, estimate))
        });
        let marks = judge(estimates.collect());
        for (peer, record) in &mut self.nodes {
            record.marked = marks.get(peer).copied();
        }
    }

    /// The record of a peer, which takes the place of the oldest if there is no room.
    fn record(&mut self, now: Duration, peer: &PeerId) -> &mut Record {
        if self.nodes.len() >= self.limits.nodes && !self.nodes.contains_key(peer) {
            let oldest = self.nodes.iter().min_by_key(|(_, record)| record.heard_at).map(|(oldest, _)| *oldest);
            oldest.map(|oldest| self.nodes.remove(&oldest));
        }
        let record = self.nodes.entry(*peer).or_default();
        record.heard_at = record.heard_at.max(now);
        record
    }
}
