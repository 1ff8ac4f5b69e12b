//! What can be passed on to others.

use std::sync::Arc;

use wakumix_sphinx::PublicKey;

use super::node::Node;
use crate::finding::{Finding, KnownRecord, SignedRecord, Standing, UnixSeconds};

/// Everything known of every peer whose records are not over, those that were reached first: one merged finding for each
/// signed record of the peer that can be passed on, the descriptor first, and one for a peer without any.
pub(crate) fn known<'a>(nodes: impl Iterator<Item = &'a Node>, now: UnixSeconds) -> Arc<[KnownRecord]> {
    let live = nodes.filter(|node| !node.view.is_expired);
    let (seen, unseen): (Vec<_>, Vec<_>) = live.partition(|node| standing(node) == Standing::Reached);
    let known = seen.into_iter().chain(unseen).flat_map(|node| {
        let known = |finding| KnownRecord { finding, standing: standing(node) };
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

fn of_node(node: &Node, now: UnixSeconds) -> Vec<Finding> {
    let live = || node.slots().iter().filter(move |slot| !slot.is_expired(now)).map(|slot| &slot.finding);
    let descriptor = live().find(|finding| matches!(finding.record, Some(SignedRecord::Descriptor(_))));
    let node_record = live().find(|finding| matches!(finding.record, Some(SignedRecord::NodeRecord(_))));
    let signed: Vec<_> = descriptor.into_iter().chain(node_record).collect();
    if signed.is_empty() {
        return live().take(1).map(|finding| merged(node, finding)).collect();
    }
    signed.into_iter().map(|finding| Finding { mix_key: own_key(node, finding), ..merged(node, finding) }).collect()
}

/// The key that a signed record itself tells, so that readers see where records of one peer contradict each other; but
/// none that is known to have been replaced.
fn own_key(node: &Node, finding: &Finding) -> Option<PublicKey> {
    finding.mix_key.filter(|key| !node.is_retired(key)).or(node.view.key)
}

fn merged(node: &Node, finding: &Finding) -> Finding {
    let view = &node.view;
    Finding {
        peer: node.peer,
        version: finding.version,
        addresses: view.addresses.clone(),
        capabilities: view.capabilities,
        shards: view.shards.clone(),
        mix_key: view.key,
        next_key: view.next_key,
        key_slack: finding.key_slack,
        told_at: None,
        profiles: view.profiles.clone(),
        formats: view.formats,
        reassembles: view.reassembles,
        is_full: finding.is_full,
        operator: view.operator.clone(),
        family: view.family.clone(),
        expires: finding.expires,
        record: finding.record.clone(),
    }
}
