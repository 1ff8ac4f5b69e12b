//! How a run went.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;
use serde::Serialize;
use wakumix_mix::DelayLaw;

use super::{
    counters::Counters,
    kill::Killed,
    plan::{Kind, Plan},
    pools::Pools,
    traffic::{Answered, Counts, Tally},
};

/// Times that packets of a round trip are held: by the sender and two hops on the way out, by the exit and two hops on
/// the way back; last hops do not (`spec/mix-wire.md §8`).
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
    pub residue: u64,
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
    /// From the first message until everything had settled.
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
            mixers: plan.options.killed(Kind::Mixer),
            exits: plan.options.killed(Kind::Exit),
            after_messages: plan.kill.as_ref().map_or(0, |kill| kill.after),
            pools_rid_after_s: killed.rid_at.map(|at| seconds(at - killed.at)),
            answered_after: since.clone().count() as u64,
            retried_after: since.filter(|answered| answered.tries > 1).count() as u64,
        }
    }

    /// `13 mixers and 1 exit`.
    fn describe(&self) -> String {
        let of = |count: u16, kind: Kind| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{plural}", kind.as_str()))
        };
        [of(self.mixers, Kind::Mixer), of(self.exits, Kind::Exit)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" and ")
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
        counters: &Counters,
        tally: &Tally,
        killed: Option<&Killed>,
        elapsed: Duration,
    ) -> Self {
        let counts = tally.counts();
        let answered = counts.answered.as_slice();
        Self {
            profile: plan.options.profiles(),
            seed: plan.seed,
            nodes: Kind::ALL.map(|kind| (kind.as_str(), plan.options.count(kind))).into(),
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
            residue: counters.residue(),
            lost_between: counters.lost_between(),
            held: counters.held(),
            round_trip_ms: Percentiles::of(answered.iter().map(|answered| answered.round_trip).collect()),
            sampled_delay_ms: sampled_delay(plan.options.delay.0, plan.seed),
            packets: counters.rows().into_iter().map(|row| (row.role, RolePackets::from(row))).collect(),
            dropped: counters.dropped(),
            seconds: seconds(elapsed),
            outcomes: counts.outcomes,
        }
    }

    /// Whether everything was answered, received and accounted for. Where packets are lost on purpose it is enough that
    /// 99.9 % of the messages are answered, and that these are received.
    pub fn passed(&self) -> bool {
        let is_answered = if self.troubled { self.answered_share >= LEAST_SHARE } else { self.is_complete() };
        is_answered && self.missing == 0 && self.unexpected == 0 && self.residue == 0 && self.held == 0
    }

    /// Whether every message was answered and received by everyone.
    fn is_complete(&self) -> bool {
        self.answered == self.sent && self.received == self.expected_receptions
    }

    /// The report for people.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.render_pools(&mut text);
        // Formatting into a String cannot fail, here and below.
        let _ = writeln!(
            text,
            "\nsent {}   answered {}   received by subscribers {} of {}   in {:.1} s",
            self.sent, self.answered, self.received, self.expected_receptions, self.seconds
        );
        self.render_outcomes(&mut text);
        self.render_kill(&mut text);
        if self.missing > 0 {
            let _ = writeln!(text, "answered, but not received by a subscriber: {}", self.missing);
        }
        if self.unexpected > 0 {
            let _ = writeln!(text, "received, but sent by nobody: {}", self.unexpected);
        }
        if self.answered > 0 {
            self.render_times(&mut text);
        }
        text.push_str("\nrole     received originated  forwarded       sent  delivered    replied    dropped\n");
        for (role, row) in Kind::ALL.iter().filter_map(|kind| self.packets.get_key_value(kind.as_str())) {
            let RolePackets { received, originated, forwarded, sent, delivered, replied, dropped, .. } = row;
            let _ = writeln!(
                text,
                "{role:<7} {received:>9} {originated:>10} {forwarded:>10} {sent:>10} {delivered:>10} {replied:>10} {dropped:>10}"
            );
        }
        for (reason, count) in &self.dropped {
            let _ = writeln!(text, "dropped: {count} × {reason}");
        }
        let _ = write!(text, "\npacket balance: residue {}, held {}", self.residue, self.held);
        if self.lost_between != 0 {
            let _ = write!(text, ", written to nodes that were gone {}", self.lost_between);
        }
        text.push('\n');
        text.push_str(self.verdict());
        text
    }

    fn verdict(&self) -> &'static str {
        match (self.passed(), self.sent) {
            (true, 0) => "no message was sent; the net came up\n",
            (true, _) if self.is_complete() => "every message was answered and received\n",
            (true, _) => "at least 99.9 % of the messages were answered, and these were received\n",
            (false, _) if self.troubled => {
                "NOT 99.9 % of the messages were answered and received, or packets are unaccounted for\n"
            }
            (false, _) => "NOT every message was answered and received, or packets are unaccounted for\n",
        }
    }

    fn render_outcomes(&self, text: &mut String) {
        let outcomes: Vec<String> = self.outcomes.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        if !outcomes.is_empty() {
            // Formatting into a String cannot fail, here and below. Rounded down: 100 % means all of them.
            let percent = (self.answered_share * 1e4).floor() / 1e2;
            let _ = writeln!(text, "outcomes: {}; {percent} % answered", outcomes.join(", "));
        }
        if self.answered > 0 {
            let Self { tries_per_message, tries_max, packets_per_message, retried, .. } = self;
            let _ = writeln!(
                text,
                "tries per message {tries_per_message:.2}, at most {tries_max}; packets per message \
                 {packets_per_message:.2}; messages that needed another try {retried}"
            );
        }
    }

    fn render_pools(&self, text: &mut String) {
        let after = |(nodes, after): (&usize, &f64)| format!("of {nodes} after {after:.1} s");
        let reached: Vec<String> = self.pool_after_s.iter().map(after).collect();
        if !reached.is_empty() {
            let _ = writeln!(
                text,
                "\npool {}; smallest pool {} nodes, {} of them mixers; at the end {}",
                reached.join(", "),
                self.pool_usable_min,
                self.pool_mixers_min,
                self.pool_usable_min_at_end
            );
        }
    }

    fn render_kill(&self, text: &mut String) {
        let Some(kill) = &self.kill else { return };
        let _ = writeln!(text, "{} killed after {} messages", kill.describe(), kill.after_messages);
        let _ = match kill.pools_rid_after_s {
            Some(after) => writeln!(
                text,
                "every pool was rid of them {after:.1} s after the kill; of {} messages answered that were sent after \
                 that, {} needed another try",
                kill.answered_after, kill.retried_after
            ),
            None => writeln!(text, "some pool still has one of them"),
        };
    }

    fn render_times(&self, text: &mut String) {
        text.push_str("\n                     p50      p90      p99      max\n");
        for (name, times) in [("round trip", self.round_trip_ms), ("delays alone, drawn", self.sampled_delay_ms)] {
            let Percentiles { p50, p90, p99, max } = times;
            let _ = writeln!(text, "{name:<19} {p50:>5.0} ms {p90:>5.0} ms {p99:>5.0} ms {max:>5.0} ms");
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let times = (1..=200).map(Duration::from_millis).collect();
        let Percentiles { p50, p90, p99, max } = Percentiles::of(times);
        assert_eq!((p50, p90, p99, max), (100.0, 180.0, 198.0, 200.0));
        assert_eq!(Percentiles::of(Vec::new()).p99, 0.0);
        assert_eq!(Percentiles::of(vec![Duration::from_millis(7)]).p50, 7.0);
    }

    #[test]
    fn sampled_delay_of_a_round_trip_is_the_sum_of_six_holds() {
        let p50 = sampled_delay(DelayLaw::Exponential { mean_ms: 50 }, 1).p50;
        // The median of a sum of six exponentials of mean 50 is 283.5; whole milliseconds cost 3 of them.
        assert!((265.0..295.0).contains(&p50), "{p50}");
        assert_eq!(sampled_delay(DelayLaw::None, 1).max, 0.0);
    }

    fn report() -> Report {
        let packets = [("sender", RolePackets { sent: 2, ..RolePackets::default() }), ("exit", RolePackets::default())];
        Report {
            profile: "lioness/pad".to_owned(),
            seed: 1,
            nodes: BTreeMap::new(),
            discovery: "discv5",
            ready_after_s: 3.25,
            pool_after_s: [(4, 1.25), (38, 2.75)].into(),
            pool_usable_min: 44,
            pool_mixers_min: 39,
            pool_usable_min_at_end: 45,
            payload_bytes: 1024,
            sent: 2,
            answered: 2,
            answered_share: 1.0,
            outcomes: [("confirmed", 2)].into(),
            retried: 0,
            tries_per_message: 1.0,
            tries_max: 1,
            packets_per_message: 1.5,
            loss_percent: 0.0,
            troubled: false,
            kill: None,
            received: 4,
            expected_receptions: 4,
            missing: 0,
            unexpected: 0,
            residue: 0,
            lost_between: 0,
            held: 0,
            round_trip_ms: Percentiles { p50: 250.4, p90: 300.0, p99: 400.0, max: 400.0 },
            sampled_delay_ms: Percentiles::default(),
            packets: packets.into(),
            dropped: BTreeMap::new(),
            seconds: 1.25,
        }
    }

    #[test]
    fn passes_only_if_everything_came_and_nothing_is_left() {
        assert!(report().passed());
        for wrong in [
            Report { answered: 1, ..report() },
            Report { received: 3, ..report() },
            Report { unexpected: 1, ..report() },
            Report { residue: 1, ..report() },
            Report { held: 1, ..report() },
            Report { missing: 1, ..report() },
        ] {
            assert!(!wrong.passed() && wrong.render().contains("NOT every message"), "{}", wrong.render());
        }
    }

    #[test]
    fn where_packets_are_lost_on_purpose_999_of_1000_messages_are_enough() {
        let troubled = |answered: u64| Report {
            sent: 1000,
            answered,
            answered_share: answered as f64 / 1000.0,
            received: 2 * answered,
            expected_receptions: 2000,
            troubled: true,
            ..report()
        };
        for (answered, passes, said) in [
            (1000, true, "every message was answered and received\n"),
            (999, true, "at least 99.9 % of the messages were answered, and these were received\n"),
            (998, false, "NOT 99.9 % of the messages"),
        ] {
            let report = troubled(answered);
            assert_eq!(report.passed(), passes, "{answered}");
            assert!(report.render().contains(said), "{}", report.render());
        }
        assert!(!Report { missing: 1, ..troubled(999) }.passed());
        assert!(!Report { troubled: false, ..troubled(999) }.passed());
    }

    #[test]
    fn renders_counts_times_and_what_went_wrong() {
        let text = report().render();
        for line in [
            "pool of 4 after 1.2 s, of 38 after 2.8 s; smallest pool 44 nodes, 39 of them mixers; at the end 45",
            "sent 2   answered 2   received by subscribers 4 of 4   in 1.2 s",
            "outcomes: 2 confirmed; 100 % answered",
            "tries per message 1.00, at most 1; packets per message 1.50; messages that needed another try 0",
            "round trip            250 ms   300 ms   400 ms   400 ms",
            "packet balance: residue 0, held 0",
            "every message was answered and received",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
        }
        assert!(text.find("\nexit ") < text.find("\nsender "), "in the order of the kinds:\n{text}");
        let failed = Report {
            answered: 1,
            answered_share: 0.5,
            outcomes: [("confirmed", 1), ("deadline", 1)].into(),
            missing: 1,
            dropped: [("egress/dial_failed".to_owned(), 3)].into(),
            unexpected: 5,
            ..report()
        };
        let text = failed.render();
        for line in [
            "outcomes: 1 confirmed, 1 deadline; 50 % answered",
            "dropped: 3 × egress/dial_failed",
            "received, but sent by nobody: 5",
            "answered, but not received by a subscriber: 1",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn renders_what_a_kill_did() {
        let kill = KillReport {
            mixers: 13,
            exits: 1,
            after_messages: 60,
            pools_rid_after_s: Some(2.5),
            answered_after: 120,
            retried_after: 0,
        };
        let killed = Report { retried: 9, troubled: true, kill: Some(kill.clone()), lost_between: 7, ..report() };
        let text = killed.render();
        for line in [
            "13 mixers and 1 exit killed after 60 messages",
            "every pool was rid of them 2.5 s after the kill; of 120 messages answered that were sent after that, 0 needed \
             another try",
            "packet balance: residue 0, held 0, written to nodes that were gone 7",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}:\n{text}");
        }
        assert!(killed.passed());
        let kept = Report { kill: Some(KillReport { pools_rid_after_s: None, ..kill }), ..killed };
        assert!(kept.render().contains("some pool still has one of them"), "{}", kept.render());
    }

    #[test]
    fn a_net_without_messages_has_no_times() {
        let text = Report { sent: 0, answered: 0, received: 0, expected_receptions: 0, ..report() }.render();
        assert!(!text.contains("round trip") && text.contains("no message was sent"), "{text}");
    }

    #[test]
    fn the_json_form_has_what_scripts_read() {
        let json = serde_json::to_value(report()).unwrap();
        for pointer in [
            "/sent",
            "/answered",
            "/answered_share",
            "/outcomes/confirmed",
            "/tries_per_message",
            "/packets_per_message",
            "/missing",
            "/received",
            "/expected_receptions",
            "/residue",
            "/pool_usable_min",
            "/pool_mixers_min",
            "/pool_after_s/4",
            "/pool_after_s/38",
            "/round_trip_ms/p50",
            "/round_trip_ms/p99",
            "/sampled_delay_ms/p50",
            "/sampled_delay_ms/p99",
            "/packets/sender/sent",
        ] {
            assert!(json.pointer(pointer).is_some_and(serde_json::Value::is_number), "{pointer}");
        }
    }
}
