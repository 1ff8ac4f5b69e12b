//! The cache of the last good directory: what was reached, when, and what its sources told. A node that restarts sends
//! again before any source has answered.

mod file;
mod form;

use wakumix_role_api::Directory;
use wakumix_waku::record::Capabilities;

use crate::{
    clock::Now,
    peer_report::{PeerReport, Remembered, SourceName, UnixSeconds},
    peer_table::PeerTable,
};

pub(crate) use file::{CacheFile, Loaded};
#[cfg(fuzzing)]
pub(crate) use form::{decode, encode};

/// Nodes in the cache, those that were reached last: forty times a good pool (`spec/waku.md §5.4`).
const MAX_NODES: usize = 4096;

/// What is worth keeping of the peer table: nodes that were reached. The operator's entries are kept elsewhere.
pub(crate) fn of_table(table: &PeerTable, now: Now) -> Vec<Remembered> {
    let mut seen: Vec<_> = table.nodes().filter_map(|node| Some((node.contact.last_seen?, node))).collect();
    seen.sort_by_key(|(seen, node)| (std::cmp::Reverse(*seen), node.peer));
    let remembered = seen.into_iter().map(|(seen, node)| {
        let told = node.slots().iter().filter(|slot| slot.source != SourceName::Static);
        Remembered {
            peer: node.peer,
            last_seen: Some(now.unix_of(seen)),
            records: told.map(|slot| (slot.source, slot.report.clone())).collect(),
        }
    });
    remembered.filter(|node| !node.records.is_empty()).take(MAX_NODES).collect()
}

/// What a snapshot tells of its nodes: the start of an instance that follows one that panicked. They count as reached
/// at `now`, and are checked first.
pub(crate) fn of_snapshot(directory: &Directory, now: UnixSeconds) -> Vec<Remembered> {
    let mix_nodes = directory.mix_nodes.iter().cloned().map(|node| {
        let capabilities = Some(Capabilities::MIX);
        PeerReport { capabilities, ..PeerReport::from(node) }
    });
    let services = directory.lightpush.iter().filter(|service| directory.mix_node(&service.peer).is_none());
    let reports = mix_nodes.chain(services.cloned().map(PeerReport::from));
    let remembered = reports.map(|report| Remembered {
        peer: report.peer,
        last_seen: Some(now),
        records: vec![(SourceName::Cache, report)],
    });
    remembered.collect()
}
