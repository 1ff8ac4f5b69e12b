//! Which nodes of the peer table one operator runs, as far as they say so; the rules are those of
//! [`wakumix_mix::families`].

pub(crate) use wakumix_mix::OwnOperator as Own;
use wakumix_mix::{Family, Member};

use crate::peer_table::Node;

/// Family numbers of nodes, in the order given, and of this node itself; `None` for a node that is alone.
pub(super) fn families(nodes: &[&Node], own: Own<'_>) -> (Vec<Option<Family>>, Option<Family>) {
    let members: Vec<_> = nodes.iter().map(|node| member(node)).collect();
    wakumix_mix::families(&members, own)
}

fn member(node: &Node) -> Member<'_> {
    Member { peer: node.peer, operator: node.view.operator.as_deref(), family: &node.view.family }
}
