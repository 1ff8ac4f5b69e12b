//! How a run went.

mod text;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;
use wakumix_mix::DelayLaw;

use super::{
    counters::{Reading, Row},
    kill::Killed,
    plan::Plan,
    pools::Pools,
    traffic::{Answered, Counts, Tally},
};
use crate::NodeKind;

/// Times that packets of a round trip are held: by the sender and two hops on the way out, by the exit and two hops on
/// the reply path; last hops do not (`spec/mix-wire.md §8`).
const HOLDS_PER_ROUND_TRIP: usize = 6;
/// Draws for the distribution of the sampled delay.
const DRAWS: usize = 10_000;
/// The least part of the messages that must be answered where packets are lost on purpose.
const LEAST_SHARE: f64 = 0.999;

/// The report of a test net; `--json` prints it as one object.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Wire profiles, the one of the messages first.
    pub profile: String,
    /// Makes the same keys and payloads again.
    pub seed: u64,
    /// Nodes by kind.
    pub nodes: BTreeMap<&'static str, u16>,
    /// How nodes found each other: `discv5` or `static`.
    pub discovery: &'static str,
    /// From the start of the first node until all were ready, in seconds.
    pub ready_after_s: f64,
    /// From the start of the first node until every sender's pool held so many nodes, in seconds: 4 of any kind, which are
    /// enough for a path, and the mixers that were waited for. A number that was never reached is missing.
    pub pool_after_s: BTreeMap<usize, f64>,
    /// Usable nodes in the smallest pool of a sender when the first message was sent.
    pub pool_usable_min: usize,
    /// The mixers among them in the pool with the fewest.
    pub pool_mixers_min: usize,
    /// Usable nodes in the smallest pool at the end.
    pub pool_usable_min_at_end: usize,
    /// Payload of each message, in bytes.
    pub payload_bytes: u64,
    /// Messages handed to a sender.
    pub sent: u64,
    /// Messages answered with status 200 through a SURB.
    pub answered: u64,
    /// The answered part of the messages; 1 if there was none.
    pub answered_share: f64,
    /// Messages by how they ended, by stable code.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Answered messages that needed more than one try.
    pub retried: u64,
    /// Mean over the answered messages.
    pub tries_per_message: f64,
    /// Most tries that an answered message needed.
    pub tries_max: u32,
    /// Packets made for a message, replies not counted: mean over the answered messages.
    pub packets_per_message: f64,
    /// The part of the packets that was lost on purpose at each hop, in percent.
    pub loss_percent: f64,
    /// Whether packets were lost on purpose, so that not every message need be answered.
    pub troubled: bool,
    /// What the kill did, if there was one.
    pub kill: Option<KillReport>,
    /// Messages received by the relays, each counted once a relay.
    pub received: u64,
    /// What should be received: every message by every relay.
    pub expected_receptions: u64,
    /// Answered messages that some relay has not received, once for each; 0 is right.
    pub missing: u64,
    /// Messages received by relays that nobody sent; 0 is right.
    pub unexpected: u64,
    /// Packets that no outcome accounts for, summed over all nodes without their signs; 0 is right. Killed nodes count:
    /// what one held is dropped in its own account, as abandoned or for shutdown.
    #[serde(rename = "residue")]
    pub unaccounted: u64,
    /// Packets written to a peer that never read them: 0, but where nodes were killed or stopped while cover was made.
    pub lost_between: i64,
    /// Packets still held by some node at the end.
    pub held: u64,
    /// From the first packet to the opened answer.
    pub round_trip_ms: Percentiles,
    /// What the delay law adds to a round trip: the sum of its six holds under the law in force, 10,000 draws.
    pub sampled_delay_ms: Percentiles,
    /// Packets by kind of node.
    pub packets: BTreeMap<&'static str, RolePackets>,
    /// Dropped packets by `stage/reason`, all nodes.
    pub dropped: BTreeMap<String, u64>,
    /// From the first message until everything had finished.
    pub seconds: f64,
}

/// Percentiles of a set of times, in milliseconds; zero when the set is empty.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half are at most this.
    pub p50: f64,
    /// Nine tenths are at most this.
    pub p90: f64,
    /// All but one in a hundred are at most this.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// What killing nodes did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KillReport {
    /// Mixers killed.
    pub mixers: u16,
    /// Exits killed.
    pub exits: u16,
    /// Messages sent before.
    pub after_messages: u32,
    /// From the kill until no sender's pool had any of them, in seconds; `None` if that did not happen.
    pub pools_rid_after_s: Option<f64>,
    /// Answered messages that were handed to a sender after that.
    pub answered_after: u64,
    /// Those of them that needed another try; 0 is right.
    pub retried_after: u64,
}

/// How the net started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// Until everything was ready.
    pub(super) ready: Duration,
    /// The smallest pool then: nodes, and mixers.
    pub(super) smallest: (usize, usize),
}

impl KillReport {
    fn new(plan: &Plan, killed: &Killed, counts: &Counts) -> Self {
        let after = |rid_at| counts.answered.iter().filter(move |answered| answered.sent > rid_at);
        let since = killed.rid_at.into_iter().flat_map(after);
        Self {
            mixers: plan.options.killed(NodeKind::Mixer),
            exits: plan.options.killed(NodeKind::Exit),
            after_messages: plan.kill.as_ref().map_or(0, |kill| kill.after),
            pools_rid_after_s: killed.rid_at.map(|at| seconds(at - killed.at)),
            answered_after: since.clone().count() as u64,
            retried_after: since.filter(|answered| answered.tries > 1).count() as u64,
        }
    }
}

/// What the nodes of one kind did with packets.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RolePackets {
    /// Read from the network.
    pub received: u64,
    /// Made here.
    pub originated: u64,
    /// Received and written to a next hop.
    pub forwarded: u64,
    /// Made here and written to a first hop.
    pub sent: u64,
    /// Consumed as exit.
    pub delivered: u64,
    /// Opened as a reply to a request of this node.
    pub replied: u64,
    /// Dropped, for any reason.
    pub dropped: u64,
    /// Held at the end.
    pub held: u64,
}

impl From<Row> for RolePackets {
    fn from(row: Row) -> Self {
        let Row { received, originated, forwarded, sent, delivered, replied, dropped, held, .. } = row;
        Self { received, originated, forwarded, sent, delivered, replied, dropped, held }
    }
}

impl Percentiles {
    /// Nearest-rank percentiles.
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).map_or(0.0, |time| (time.as_secs_f64() * 1e6).round() / 1e3)
        };
        Self { p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        start: &Start,
        pools: &Pools,
        counted: &Reading,
        tally: &Tally,
        killed: Option<&Killed>,
        elapsed: Duration,
    ) -> Self {
        let counts = tally.counts();
        let answered = counts.answered.as_slice();
        Self {
            profile: plan.options.profiles(),
            seed: plan.seed,
            nodes: NodeKind::ALL.map(|kind| (kind.as_str(), plan.options.count(kind))).into(),
            discovery: plan.options.discovery.as_str(),
            ready_after_s: seconds(start.ready),
            pool_after_s: pools.reached().into_iter().map(|(nodes, after)| (nodes, seconds(after))).collect(),
            pool_usable_min: start.smallest.0,
            pool_mixers_min: start.smallest.1,
            pool_usable_min_at_end: pools.smallest().0,
            payload_bytes: plan.options.payload.len() as u64,
            sent: counts.sent,
            answered: answered.len() as u64,
            answered_share: if counts.sent == 0 { 1.0 } else { answered.len() as f64 / counts.sent as f64 },
            retried: answered.iter().filter(|answered| answered.tries > 1).count() as u64,
            tries_per_message: mean(answered, |answered| answered.tries),
            tries_max: answered.iter().map(|answered| answered.tries).max().unwrap_or(0),
            packets_per_message: mean(answered, |answered| answered.packets),
            loss_percent: plan.options.loss.map_or(0.0, |loss| loss.as_share() * 100.0),
            troubled: plan.options.makes_trouble(),
            kill: killed.map(|killed| KillReport::new(plan, killed, &counts)),
            received: counts.received,
            expected_receptions: tally.expected_receptions,
            missing: tally.missing(),
            unexpected: counts.unexpected,
            unaccounted: counted.unaccounted(),
            lost_between: counted.lost_between(),
            held: counted.held(),
            round_trip_ms: Percentiles::of(answered.iter().map(|answered| answered.round_trip).collect()),
            sampled_delay_ms: sampled_delay(plan.options.delay.0, plan.seed),
            packets: counted.rows().into_iter().map(|row| (row.role, RolePackets::from(row))).collect(),
            dropped: counted.dropped(),
            seconds: seconds(elapsed),
            outcomes: counts.outcomes,
        }
    }

    /// Whether everything was answered, received and accounted for. Where packets are lost on purpose it is enough that
    /// 99.9 % of the messages are answered, and that these are received.
    pub fn passed(&self) -> bool {
        let is_answered = if self.troubled { self.answered_share >= LEAST_SHARE } else { self.is_complete() };
        is_answered && self.missing == 0 && self.unexpected == 0 && self.unaccounted == 0 && self.held == 0
    }

    /// Whether every message was answered and received by everyone.
    fn is_complete(&self) -> bool {
        self.answered == self.sent && self.received == self.expected_receptions
    }
}

/// The mean of a number of each message, to hundredths; 0 without messages.
fn mean(answered: &[Answered], number: impl Fn(&Answered) -> u32) -> f64 {
    let sum: u64 = answered.iter().map(|answered| u64::from(number(answered))).sum();
    if answered.is_empty() { 0.0 } else { (sum as f64 * 1e2 / answered.len() as f64).round() / 1e2 }
}

/// Whole milliseconds, in seconds.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// The distribution of what the law adds to one round trip.
fn sampled_delay(law: DelayLaw, seed: u64) -> Percentiles {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut round_trip = || (0..HOLDS_PER_ROUND_TRIP).map(|_| law.sample(&mut rng, law.encode())).sum();
    Percentiles::of((0..DRAWS).map(|_| round_trip()).collect())
}
