//! Reads the packet accounting of all nodes, and sums it up by kind.

use std::collections::BTreeMap;

use wakumix_node::node::Accounts;

use crate::{Kind, given_to_others};

/// Reads the packet accounting of all nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Counters(Vec<(Kind, Accounts)>);

/// The sum over the nodes of one kind.
pub(super) struct Row {
    pub(super) role: &'static str,
    pub(super) nodes: usize,
    pub(super) received: u64,
    pub(super) originated: u64,
    pub(super) forwarded: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) replied: u64,
    pub(super) dropped: u64,
    pub(super) held: u64,
}

impl Counters {
    /// A reader of these nodes.
    pub(super) fn new(nodes: impl IntoIterator<Item = (Kind, Accounts)>) -> Self {
        Self(nodes.into_iter().collect())
    }

    /// One row for each kind of node.
    pub(super) fn rows(&self) -> Vec<Row> {
        Kind::ALL.into_iter().map(|kind| self.row(kind)).collect()
    }

    fn row(&self, kind: Kind) -> Row {
        let mut row = Row {
            role: kind.as_str(),
            nodes: 0,
            received: 0,
            originated: 0,
            forwarded: 0,
            sent: 0,
            delivered: 0,
            replied: 0,
            dropped: 0,
            held: 0,
        };
        for (_, accounts) in self.0.iter().filter(|(of, _)| *of == kind) {
            let (held, balance) = accounts.read();
            row.nodes += 1;
            row.received += balance.received;
            row.originated += balance.originated;
            row.forwarded += balance.forwarded;
            row.sent += balance.sent;
            row.delivered += balance.delivered;
            row.replied += balance.replied;
            row.dropped += balance.dropped_total();
            row.held += held;
        }
        row
    }

    /// Packets unaccounted for, whatever their sign. Those that are held now are subtracted; one that is held for ever shows
    /// as [`held`](Self::held).
    pub(super) fn residue(&self) -> u64 {
        let residue = |(_, accounts): &(Kind, Accounts)| {
            let (held, balance) = accounts.read();
            balance.residue(held).unsigned_abs()
        };
        self.0.iter().map(residue).sum()
    }

    /// Packets that some node holds now.
    pub(super) fn held(&self) -> u64 {
        self.0.iter().map(|(_, accounts)| accounts.read().0).sum()
    }

    /// Packets that were written to peers, less those that were read: what was lost between the nodes.
    pub(super) fn lost_between(&self) -> i64 {
        let balances: Vec<_> = self.0.iter().map(|(_, accounts)| accounts.read().1).collect();
        given_to_others(&balances)
    }

    /// Drops by `stage/reason`.
    pub(super) fn dropped(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (stage, reason, count) in self.0.iter().flat_map(|(_, accounts)| accounts.read().1.dropped) {
            if count > 0 {
                *all.entry(format!("{}/{}", stage.as_str(), reason.as_str())).or_default() += count;
            }
        }
        all
    }
}
