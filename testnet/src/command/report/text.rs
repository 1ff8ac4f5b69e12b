//! The report for people.

use std::fmt::Write as _;

use super::{KillReport, Percentiles, Report, RolePackets};
use crate::NodeKind;
use crate::command::terminal::wrapped;

impl Report {
    /// The report as text, with a line feed at its end.
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
        text.push_str("\nrole     received originated forwarded      sent delivered   replied   dropped\n");
        for (role, row) in NodeKind::ALL.iter().filter_map(|kind| self.packets.get_key_value(kind.as_str())) {
            let RolePackets { received, originated, forwarded, sent, delivered, replied, dropped, .. } = row;
            let _ = writeln!(
                text,
                "{role:<7} {received:>9} {originated:>10} {forwarded:>9} {sent:>9} {delivered:>9} {replied:>9} {dropped:>9}"
            );
        }
        for (reason, count) in &self.dropped {
            let _ = writeln!(text, "dropped: {count} × {reason}");
        }
        let _ = write!(text, "\npacket balance: unaccounted {}, held {}", self.unaccounted, self.held);
        if self.lost_between != 0 {
            let _ = write!(text, ", written to nodes that were gone {}", self.lost_between);
        }
        text.push('\n');
        text.push_str(self.verdict());
        wrapped(&text)
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

impl KillReport {
    /// `13 mixers and 1 exit`.
    fn describe(&self) -> String {
        let of = |count: u16, kind: NodeKind| {
            let plural = if count == 1 { "" } else { "s" };
            (count > 0).then(|| format!("{count} {}{plural}", kind.as_str()))
        };
        [of(self.mixers, NodeKind::Mixer), of(self.exits, NodeKind::Exit)]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" and ")
    }
}
