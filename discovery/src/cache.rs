//! The cache of the last good directory: what was reached, when, and what its sources told.

use std::sync::Arc;

use libp2p_identity::PeerId;
use wakumix_role_api::Directory;
use wakumix_waku::record::Capabilities;

use crate::finding::{Finding, SourceName, UnixSeconds};

/// A node as an earlier run knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) peer: PeerId,
    /// When it was reached last.
    pub(crate) last_seen: Option<UnixSeconds>,
    /// What each source told of it.
    pub(crate) records: Vec<(SourceName, Finding)>,
}

/// What a snapshot tells of its nodes: the start of an instance that follows one that panicked. They count as reached
/// at `now`, and are checked first.
pub(crate) fn of_snapshot(directory: &Arc<Directory>, now: UnixSeconds) -> Vec<Remembered> {
    let mix_nodes = directory.mix_nodes.iter().map(|node| Finding {
        capabilities: Some(Capabilities::MIX),
        ..Finding::from(node.clone())
    });
    let pool: Vec<Finding> = mix_nodes.collect();
    let is_in_pool = |peer: &PeerId| directory.mix_node(peer).is_some();
    let services = directory.lightpush.iter().filter(|service| !is_in_pool(&service.peer));
    let services = services.cloned().map(Finding::from);
    let remembered = |finding: Finding| Remembered {
        peer: finding.peer,
        last_seen: Some(now),
        records: vec![(SourceName::Cache, finding)],
    };
    pool.into_iter().chain(services).map(remembered).collect()
}
