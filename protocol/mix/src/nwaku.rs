//! Nwaku's metric labels: what the dashboards of existing mix networks expect (`spec/mix-wire.md §18`).
//!
//! `mix_messages_recvd{type}`, `mix_messages_forwarded{type}` and `mix_messages_error{type,error}` know fewer ends than
//! our ledger does. An end without a label there is `None` here and shows in our own metrics only.

use std::collections::BTreeMap;

use crate::ledger::{Balance, Ledger};
use crate::outcome::{DropReason, HopKind, Origin, Stage};

/// `mix_messages_recvd{type}` for requests that this node's own user handed in.
pub const RECEIVED_ENTRY: &str = "Entry";

/// `mix_messages_forwarded{type}` for packets that a node passes on along their path.
pub const FORWARDED_INTERMEDIATE: &str = "Intermediate";

/// `mix_messages_forwarded{type}` for requests that have left the mixnet here.
pub const FORWARDED_EXIT: &str = "Exit";

/// `mix_messages_recvd{type}` for a received packet, once it is open. Nwaku does not count replies there.
#[must_use]
pub const fn received_type(kind: HopKind) -> Option<&'static str> {
    match kind {
        HopKind::Intermediate => Some("Intermediate"),
        HopKind::Exit => Some("Exit"),
        HopKind::Reply => None,
    }
}

/// `mix_messages_forwarded{type}` for a packet made here and sent. Nwaku's nodes make no loops.
#[must_use]
pub const fn sent_type(origin: Origin) -> Option<&'static str> {
    match origin {
        Origin::Request => Some("Entry"),
        Origin::Reply => Some("Reply"),
        Origin::Cover => Some("Cover"),
        Origin::Loop => None,
    }
}

/// `mix_messages_error{type,error}` for a dropped packet; `origin` is `None` for one that was received.
#[must_use]
pub const fn error_labels(
    origin: Option<Origin>,
    stage: Stage,
    reason: DropReason,
) -> Option<(&'static str, &'static str)> {
    match (error_type(origin, stage), error_label(origin, stage, reason)) {
        (Some(kind), Some(error)) => Some((kind, error)),
        _ => None,
    }
}

/// The `type` label: who was at work when the packet was dropped.
const fn error_type(origin: Option<Origin>, stage: Stage) -> Option<&'static str> {
    match (origin, stage) {
        (Some(origin), _) => sent_type(origin),
        // Before a packet is open nobody knows what this node is on its path.
        (None, Stage::Ingress | Stage::Unwrap) => Some("Intermediate/Exit"),
        (None, Stage::Delay | Stage::Egress | Stage::Shutdown) => Some("Intermediate"),
        (None, Stage::Exit) => Some("Exit"),
        (None, Stage::Reply) => Some("Sender/Reply"),
    }
}

/// The `error` label.
const fn error_label(origin: Option<Origin>, stage: Stage, reason: DropReason) -> Option<&'static str> {
    match reason {
        DropReason::NoData => Some("NO_DATA"),
        DropReason::Integrity | DropReason::Padding if matches!(stage, Stage::Reply) => Some("INVALID_CREDS"),
        DropReason::Size
        | DropReason::Alpha
        | DropReason::ZeroSecret
        | DropReason::Role
        | DropReason::Integrity
        | DropReason::Padding
        | DropReason::BadMessage => Some("INVALID_SPHINX"),
        DropReason::Mac => Some("INVALID_MAC"),
        DropReason::Duplicate => Some("DUPLICATE"),
        DropReason::BadSurbs => Some("INVALID_MSG_SURBS"),
        DropReason::InvalidDestination | DropReason::PrivateDestination => Some("INVALID_DEST"),
        DropReason::UnknownReply => Some("NO_CONN_FOUND"),
        DropReason::NoExit => Some("NO_DESTINATION"),
        DropReason::DialFailed => Some("DIAL_FAILED"),
        // Nwaku's intermediate nodes call every failure to pass a packet on a failed dial (§10.2).
        DropReason::WriteFailed => Some(if origin.is_some() { "SEND_FAILED" } else { "DIAL_FAILED" }),
        DropReason::Abandoned => Some("NON_RECOVERABLE"),
        // Nwaku has no fragments.
        DropReason::BadFragment
        | DropReason::TagsFull
        | DropReason::TagsUnwritable
        | DropReason::NotForwarding
        | DropReason::QueueFull
        | DropReason::PolicyRefused
        | DropReason::PeerRate
        | DropReason::NodeRate
        | DropReason::PeerFrames
        | DropReason::InjectedLoss
        | DropReason::Stopped => None,
    }
}

/// All counts of a ledger under nwaku's labels, in the order of the labels; counts of zero are left out of the errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NwakuCounts {
    /// `mix_messages_recvd{type}`.
    pub received: Vec<(&'static str, u64)>,
    /// `mix_messages_forwarded{type}`.
    pub forwarded: Vec<(&'static str, u64)>,
    /// `mix_messages_error{type,error}`.
    pub errors: Vec<(&'static str, &'static str, u64)>,
}

impl NwakuCounts {
    /// What a ledger says now.
    #[must_use]
    pub fn of(ledger: &Ledger) -> Self {
        let balance = ledger.snapshot();
        let errors = errors(ledger.drops_by_origin());
        Self { received: received(&balance), forwarded: forwarded(&balance), errors }
    }
}

fn received(balance: &Balance) -> Vec<(&'static str, u64)> {
    let requests = balance
        .originated_by
        .iter()
        .filter(|(origin, _)| *origin == Origin::Request)
        .map(|(_, count)| (RECEIVED_ENTRY, *count));
    let opened = balance.opened.iter().filter_map(|(kind, count)| Some((received_type(*kind)?, *count)));
    requests.chain(opened).collect()
}

fn forwarded(balance: &Balance) -> Vec<(&'static str, u64)> {
    let sent = balance.sent_by.iter().filter_map(|(origin, count)| Some((sent_type(*origin)?, *count)));
    sent.chain([(FORWARDED_INTERMEDIATE, balance.forwarded), (FORWARDED_EXIT, balance.delivered)]).collect()
}

fn errors(
    drops: impl Iterator<Item = (Option<Origin>, Stage, DropReason, u64)>,
) -> Vec<(&'static str, &'static str, u64)> {
    let mut sums = BTreeMap::new();
    for (origin, stage, reason, count) in drops.filter(|(.., count)| *count > 0) {
        if let Some(labels) = error_labels(origin, stage, reason) {
            *sums.entry(labels).or_insert(0) += count;
        }
    }
    sums.into_iter().map(|((kind, error), count)| (kind, error, count)).collect()
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::BufferPool;

    use super::*;
    use crate::{Outcome, Packet};

    /// All labels of §18.
    const TYPES: [&str; 9] = [
        "Entry",
        "Entry/SURB",
        "Intermediate/Exit",
        "Intermediate",
        "Exit",
        "ExitLayer",
        "Reply",
        "Sender/Reply",
        "Cover",
    ];
    const ERRORS: [&str; 23] = [
        "NO_DATA",
        "INVALID_SPHINX",
        "DUPLICATE",
        "INVALID_MAC",
        "INVALID_MSG_SURBS",
        "NO_CONN_FOUND",
        "INVALID_CREDS",
        "SLOT_EXHAUSTED",
        "INVALID_DEST",
        "NO_DESTINATION",
        "DIAL_FAILED",
        "LPSTREAM_ERR",
        "REPLY_FAILED",
        "SEND_FAILED",
        "LOW_MIX_POOL",
        "NON_RECOVERABLE",
        "INVALID_MIX_INFO",
        "INVALID_SIZE",
        "SPAM_PROOF_GEN_FAILED",
        "SPAM_PROOF_EMBED_FAILED",
        "SPAM_PROOF_EXTRACTION_FAILED",
        "SPAM_PROOF_VERIFY_ERROR",
        "SPAM_PROOF_INVALID",
    ];

    #[test]
    fn knows_no_label_that_the_nwaku_does_not() {
        for origin in Origin::ALL.iter().copied().map(Some).chain([None]) {
            for stage in Stage::ALL {
                for reason in DropReason::ALL {
                    if let Some((kind, error)) = error_labels(origin, stage, reason) {
                        assert!(TYPES.contains(&kind) && ERRORS.contains(&error), "{kind} {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn names_rejections_as_the_nwaku_does() {
        let received = |stage, reason| error_labels(None, stage, reason);
        for (stage, reason, kind, error) in [
            (Stage::Ingress, DropReason::NoData, "Intermediate/Exit", "NO_DATA"),
            (Stage::Unwrap, DropReason::Mac, "Intermediate/Exit", "INVALID_MAC"),
            (Stage::Unwrap, DropReason::Integrity, "Intermediate/Exit", "INVALID_SPHINX"),
            (Stage::Egress, DropReason::WriteFailed, "Intermediate", "DIAL_FAILED"),
            (Stage::Exit, DropReason::BadSurbs, "Exit", "INVALID_MSG_SURBS"),
            (Stage::Exit, DropReason::NoExit, "Exit", "NO_DESTINATION"),
            (Stage::Reply, DropReason::UnknownReply, "Sender/Reply", "NO_CONN_FOUND"),
            (Stage::Reply, DropReason::Integrity, "Sender/Reply", "INVALID_CREDS"),
        ] {
            assert_eq!(received(stage, reason), Some((kind, error)));
        }
        let own = error_labels(Some(Origin::Request), Stage::Egress, DropReason::WriteFailed);
        assert_eq!(own, Some(("Entry", "SEND_FAILED")));
        assert_eq!(received(Stage::Shutdown, DropReason::Stopped), None);
    }

    #[test]
    fn counts_appear_under_the_fleets_labels() {
        let (pool, ledger) = (BufferPool::new(8, 8), Ledger::new());
        let received = || Packet::received(pool.take().unwrap(), &ledger);
        let made = |origin| Packet::originated(pool.take().unwrap(), &ledger, origin);
        let open_and_finish = |kind, outcome| {
            let packet = received();
            packet.opened_as(kind);
            packet.finish(outcome);
        };
        open_and_finish(HopKind::Intermediate, Outcome::Forwarded);
        open_and_finish(HopKind::Exit, Outcome::Delivered);
        open_and_finish(HopKind::Reply, Outcome::Replied);
        made(Origin::Request).finish(Outcome::Sent);
        made(Origin::Request).reject(DropReason::DialFailed);
        made(Origin::Reply).finish(Outcome::Sent);
        received().reject(DropReason::Size);
        received().reject(DropReason::Stopped);
        let counts = NwakuCounts::of(&ledger);
        assert_eq!(counts.received, [("Entry", 2), ("Intermediate", 1), ("Exit", 1)]);
        assert_eq!(counts.forwarded, [("Entry", 1), ("Reply", 1), ("Cover", 0), ("Intermediate", 1), ("Exit", 1)]);
        assert_eq!(counts.errors, [("Entry", "DIAL_FAILED", 1), ("Intermediate/Exit", "INVALID_SPHINX", 1)]);
    }
}
