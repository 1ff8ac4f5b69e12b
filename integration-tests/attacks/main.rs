//! The attack suite: each attack is an adversary against whole nodes over real sockets.
//!
//! An attack is run twice. Against nodes as they are it must fail; against nodes whose countermeasure is turned off
//! ([`Weakness`]) the same adversary must succeed, or the first result would mean nothing. The numbers W1 to W16 are those
//! of `spec/mix-wire.md §21`; docs/attacks.md has one row for each attack.
#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing step of a test is a failing test"
)]

mod adversary;
mod alpha;
mod burning;
mod client;
mod closed_network;
mod duplicates;
mod exhaustion;
mod exit;
mod flood;
mod lies;
mod pool;
mod replay;
mod sequence;
mod tagging;
mod timing;

use wakumix_integration_tests::run;
use wakumix_sphinx::{Weakness, Weaknesses};

/// What an adversary achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// What it was after.
    Succeeded,
    /// Nothing.
    Failed,
}

impl From<bool> for Verdict {
    fn from(has_succeeded: bool) -> Self {
        if has_succeeded { Self::Succeeded } else { Self::Failed }
    }
}

/// Asserts that an attack fails against sound nodes and succeeds against weak ones.
fn check(weakness: Weakness, attack: impl AsyncFn(Weaknesses) -> Verdict) {
    run(async {
        assert_eq!(attack(Weaknesses::NONE).await, Verdict::Failed, "the countermeasure does not hold");
        let without = attack(Weaknesses::NONE.with(weakness)).await;
        assert_eq!(without, Verdict::Succeeded, "the attack does not work even without {weakness:?} countered");
    });
}
