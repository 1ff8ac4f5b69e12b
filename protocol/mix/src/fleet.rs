//! The fleet's metric labels: what the dashboards of existing mix networks expect (`spec/mix-wire.md` §18).
//!
//! `mix_messages_recvd{type}`, `mix_messages_forwarded{type}` and `mix_messages_error{type,error}` know fewer ends than
//! our ledger does. An end without a label there is `None` here and shows in our own metrics only.

use std::collections::BTreeMap;

use crate::ledger::Balance;
use crate::outcome::{DropReason, HopKind, Origin, Stage};

/// `mix_messages_recvd{type}` for requests that this node's own user handed in.
pub const RECEIVED_ENTRY: &str = "Entry";

/// `mix_messages_forwarded{type}` for packets that a node passes on along their path.
pub const FORWARDED_INTERMEDIATE: &str = "Intermediate";

/// `mix_messages_forwarded{type}` for requests that have left the mixnet here.
pub const FORWARDED_EXIT: &str = "Exit";

/// `mix_messages_recvd{type}` for a received packet, once it is open. The fleet does not count replies there.
#[must_use]
pub const fn received_type(kind: HopKind) -> Option<&'static str> {
    match kind {
        HopKind::Intermediate => Some("Intermediate"),
        HopKind::Exit => Some("Exit"),
        HopKind::Reply => None,
    }
}

/// `mix_messages_forwarded{type}` for a packet made here and sent.
#[must_use]
pub const fn sent_type(origin: Origin) -> &'static str {
    match origin {
        Origin::Request => "Entry",
        Origin::Reply => "Reply",
        Origin::Cover => "Cover",
    }
}

/// `mix_messages_error{type,error}` for a dropped packet; `origin` is `None` for one that was received.
#[must_use]
pub const fn error_labels(
    origin: Option<Origin>,
    stage: Stage,
    reason: DropReason,
) -> Option<(&'static str, &'static str)> {
    match error_label(origin, stage, reason) {
        Some(error) => Some((error_type(origin, stage), error)),
        None => None,
    }
}

/// The `type` label: who was at work when the packet was dropped.
const fn error_type(origin: Option<Origin>, stage: Stage) -> &'static str {
    match (origin, stage) {
        (Some(origin), _) => sent_type(origin),
        // Before a packet is open nobody knows what this node is on its path.
        (None, Stage::Ingress | Stage::Unwrap) => "Intermediate/Exit",
        (None, Stage::Delay | Stage::Egress | Stage::Shutdown) => "Intermediate",
        (None, Stage::Exit) => "Exit",
        (None, Stage::Reply) => "Sender/Reply",
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
        DropReason::InvalidDestination => Some("INVALID_DEST"),
        DropReason::UnknownReply => Some("NO_CONN_FOUND"),
        DropReason::NoExit => Some("NO_DESTINATION"),
        DropReason::DialFailed => Some("DIAL_FAILED"),
        // The fleet's intermediate nodes call every failure to pass a packet on a failed dial (§10.2).
        DropReason::WriteFailed => Some(if origin.is_some() { "SEND_FAILED" } else { "DIAL_FAILED" }),
        DropReason::Abandoned => Some("NON_RECOVERABLE"),
        DropReason::TagsFull
        | DropReason::NotForwarding
        | DropReason::QueueFull
        | DropReason::PolicyRefused
        | DropReason::Stopped => None,
    }
}

/// All counts of a ledger under the fleet's labels, in the order of the labels; counts of zero are left out of the errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetCounts {
    /// `mix_messages_recvd{type}`.
    pub received: Vec<(&'static str, u64)>,
    /// `mix_messages_forwarded{type}`.
    pub forwarded: Vec<(&'static str, u64)>,
    /// `mix_messages_error{type,error}`.
    pub errors: Vec<(&'static str, &'static str, u64)>,
}

impl FleetCounts {
    pub(crate) fn new(
        balance: &Balance,
        drops: impl Iterator<Item = (Option<Origin>, Stage, DropReason, u64)>,
    ) -> Self {
        Self { received: received(balance), forwarded: forwarded(balance), errors: errors(drops) }
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
    let sent = balance.sent_by.iter().map(|(origin, count)| (sent_type(*origin), *count));
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
