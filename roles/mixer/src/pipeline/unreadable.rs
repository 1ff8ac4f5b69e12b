//! Says when packets of another wire profile end at this node.
//!
//! All profiles have the same header, so such packets pass every check but that of the payload (`spec/mix-wire.md §20`), and their
//! senders see silence. A single one may as well be damaged or marked on its way; a run of them, with none between that can be
//! read, is a fault of configuration here or there.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use wakumix_mix::{DropReason, HopKind, hop::HopDecision};
use wakumix_sphinx::WireFormat;

/// Unreadable packets in a row that are said to be of another profile.
const RUN: u32 = 10;
/// Between two lines about it.
const PAUSE: Duration = Duration::from_secs(60 * 60);

/// Unreadable packets since the last that could be read.
#[derive(Debug, Default)]
pub(crate) struct Unreadable {
    in_a_row: AtomicU32,
    warned: Mutex<Option<Instant>>,
}

impl Unreadable {
    /// A packet was opened.
    pub(super) fn note<F>(&self, decision: &HopDecision<F>, wire: WireFormat) {
        if self.is_run(decision) && self.may_warn(Instant::now()) {
            tracing::warn!(
                profile = %wire,
                likely = likely(wire),
                "packets with sound headers end here and none of them can be read: their senders, or other nodes of their paths, speak another wire profile; compare the key profile"
            );
        }
    }

    /// Whether a run of them is complete with this packet.
    fn is_run<F>(&self, decision: &HopDecision<F>) -> bool {
        match decision {
            HopDecision::Refused { reason: DropReason::Integrity, kind: Some(HopKind::Exit) } => {
                self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1 == RUN
            }
            HopDecision::Exit { .. } | HopDecision::Cover { .. } => {
                if self.in_a_row.load(Ordering::Relaxed) > 0 {
                    self.in_a_row.store(0, Ordering::Relaxed);
                }
                false
            }
            HopDecision::Forward(_) | HopDecision::Reply { .. } | HopDecision::Refused { .. } => false,
        }
    }

    fn may_warn(&self, now: Instant) -> bool {
        let mut warned = self.warned.lock();
        let may = warned.is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if may {
            *warned = Some(now);
        }
        may
    }
}

/// What the others speak most likely.
fn likely(wire: WireFormat) -> &'static str {
    if wire.to_string().starts_with("aes-ctr") {
        "lioness/pad or lioness/seq, nodes since August 2026"
    } else {
        "aes-ctr/seq, nodes of the network up to August 2026"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Decision = HopDecision<()>;

    fn unreadable() -> Decision {
        Decision::Refused { reason: DropReason::Integrity, kind: Some(HopKind::Exit) }
    }

    #[test]
    fn ten_in_a_row_are_another_profile_and_one_that_can_be_read_begins_anew() {
        let watch = Unreadable::default();
        let others = [
            Decision::Forward(()),
            Decision::Refused { reason: DropReason::Mac, kind: None },
            Decision::Cover { id: None },
        ];
        for reads_between in [false, true] {
            let mut found = Vec::new();
            for _ in 0..RUN {
                found.push(watch.is_run(&unreadable()));
                others.iter().take(if reads_between { 3 } else { 2 }).for_each(|other| _ = watch.is_run(other));
            }
            assert_eq!(found.iter().filter(|run| **run).count(), usize::from(!reads_between), "{found:?}");
        }
    }

    #[test]
    fn it_is_said_once_an_hour() {
        let (watch, now) = (Unreadable::default(), Instant::now());
        let said = [0, 1, 3599, 3600].map(|seconds| watch.may_warn(now + Duration::from_secs(seconds)));
        assert_eq!(said, [true, false, false, true]);
    }
}
