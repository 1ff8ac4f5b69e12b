//! What can be passed on to others.

use std::sync::Arc;

use wakumix_sphinx::PublicKey;

use super::node::Node;
use crate::peer_report::{KnownRecord, PeerReport, SignedRecord, Standing, UnixSeconds};

/// Everything known of every peer whose records are not over, those that were reached first: one merged finding for each
/// signed record of the peer that can be passed on, the descriptor first, and one for a peer without any.
pub(crate) fn known<'a>(nodes: impl Iterator<Item = &'a Node>, now: UnixSeconds) -> Arc<[KnownRecord]> {
    let live = nodes.filter(|node| !node.view.is_expired);
    let (seen, unseen): (Vec<_>, Vec<_>) = live.partition(|node| standing(node) == Standing::Reached);
    let known = seen.into_iter().chain(unseen).flat_map(|node| {
        let known = |report| KnownRecord { report, standing: standing(node) };
        of_node(node, now).into_iter().map(known)
    });
    known.collect()
}

fn standing(node: &Node) -> Standing {
    match node.contact.failures {
        _ if node.is_alive => Standing::Reached,
        0 => Standing::Untried,
        _ => Standing::Failed,
    }
}

fn of_node(node: &Node, now: UnixSeconds) -> Vec<PeerReport> {
    let live = || node.slots().iter().filter(move |slot| !slot.is_expired(now)).map(|slot| &slot.report);
    let descriptor = live().find(|report| matches!(report.record, Some(SignedRecord::Descriptor(_))));
    let node_record = live().find(|report| matches!(report.record, Some(SignedRecord::NodeRecord(_))));
    let signed: Vec<_> = descriptor.into_iter().chain(node_record).collect();
    if signed.is_empty() {
        return live().take(1).map(|report| merged(node, report)).collect();
    }
    signed.into_iter().map(|report| PeerReport { mix_key: own_key(node, report), ..merged(node, report) }).collect()
}

/// The key that a signed record itself tells, so that readers see where records of one peer contradict each other; but
/// none that is known to have been replaced.
fn own_key(node: &Node, report: &PeerReport) -> Option<PublicKey> {
    report.mix_key.filter(|key| !node.is_retired(key)).or(node.view.key)
}

fn merged(node: &Node, report: &PeerReport) -> PeerReport {
    let view = &node.view;
    PeerReport {
        peer: node.peer,
        version: report.version,
        addresses: view.addresses.clone(),
        capabilities: view.capabilities,
        shards: view.shards.clone(),
        mix_key: view.key,
        next_key: view.next_key,
        key_slack: report.key_slack,
        told_at: None,
        profiles: view.profiles.clone(),
        formats: view.formats,
        reassembles: view.reassembles,
        is_full: report.is_full,
        operator: view.operator.clone(),
        family: view.family.clone(),
        expires: report.expires,
        record: report.record.clone(),
    }
}
