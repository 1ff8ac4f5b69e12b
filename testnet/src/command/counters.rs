//! Reads the packet accounting of all nodes, and sums it up by kind.

use std::collections::BTreeMap;

use wakumix_mix::ledger::Balance;
use wakumix_node::node::Accounts;

use crate::{NodeKind, given_to_others};

/// Reads the packet accounting of all nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Counters(Vec<(NodeKind, Accounts)>);

/// What the accounts of all nodes said: what each held, and where its packets went.
#[derive(PartialEq, Eq)]
pub(super) struct Reading(Vec<(NodeKind, u64, Balance)>);

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
    pub(super) fn new(nodes: impl IntoIterator<Item = (NodeKind, Accounts)>) -> Self {
        Self(nodes.into_iter().collect())
    }

    /// Reads one node after the other. A packet that passes meanwhile may be seen twice or nowhere.
    pub(super) fn read(&self) -> Reading {
        let read = |(kind, accounts): &(NodeKind, Accounts)| {
            let (held, balance) = accounts.read();
            (*kind, held, balance)
        };
        Reading(self.0.iter().map(read).collect())
    }

    /// A reading of one moment, unless packets are moving.
    pub(super) fn read_at_once(&self) -> Option<Reading> {
        twice_the_same(|| self.read())
    }
}

/// Counts only grow: where each node's are the same before and after all others were read, they all held at one moment.
fn twice_the_same(mut read: impl FnMut() -> Reading) -> Option<Reading> {
    let reading = read();
    (read() == reading).then_some(reading)
}

impl Reading {
    /// One row for each kind of node.
    pub(super) fn rows(&self) -> Vec<Row> {
        NodeKind::ALL.into_iter().map(|kind| self.row(kind)).collect()
    }

    fn row(&self, kind: NodeKind) -> Row {
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
        for (_, held, balance) in self.0.iter().filter(|(of, ..)| *of == kind) {
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

    /// Packets unaccounted for, whatever their sign. Those that are held now are subtracted; one that is held forever shows
    /// as [`held`](Self::held).
    pub(super) fn unaccounted(&self) -> u64 {
        self.0.iter().map(|(_, held, balance)| balance.unaccounted(*held).unsigned_abs()).sum()
    }

    /// Packets that some node held.
    pub(super) fn held(&self) -> u64 {
        self.0.iter().map(|(_, held, _)| held).sum()
    }

    /// Packets that were written to peers, less those that were read: what was lost between the nodes.
    pub(super) fn lost_between(&self) -> i64 {
        given_to_others(self.balances())
    }

    /// Drops by `stage/reason`.
    pub(super) fn dropped(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (stage, reason, count) in self.balances().flat_map(|balance| &balance.dropped) {
            if *count > 0 {
                *all.entry(format!("{}/{}", stage.as_str(), reason.as_str())).or_default() += count;
            }
        }
        all
    }

    fn balances(&self) -> impl Iterator<Item = &Balance> {
        self.0.iter().map(|(.., balance)| balance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_passes_from_a_node_not_read_yet_to_one_that_was_read_is_not_rest() {
        let node = |received, forwarded| Balance { received, forwarded, ..Balance::default() };
        let read =
            |first: Balance, second: Balance| Reading(vec![(NodeKind::Mixer, 0, first), (NodeKind::Sender, 0, second)]);
        // The mixer is read, then the sender's packet reaches it; the sender, read next, has nothing any more.
        let seen = read(node(4, 4), node(0, 0));
        let mut moving = [seen, read(node(5, 4), node(0, 0))].into_iter();
        assert!(twice_the_same(|| moving.next().unwrap()).is_none());
        let at_rest = twice_the_same(|| read(node(5, 5), node(0, 0))).unwrap();
        assert_eq!((at_rest.held(), at_rest.unaccounted()), (0, 0));
    }
}
