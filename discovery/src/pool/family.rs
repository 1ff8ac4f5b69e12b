//! Which nodes one operator runs, as far as they say so.
//!
//! Nodes are one family that share an operator tag, that list each other (one-sided claims count for nothing), or that
//! this node's own operator lists as its own. Who claims a tag that is not its own only keeps itself out of paths.

use std::collections::HashMap;

use libp2p_identity::PeerId;
use wakumix_mix::Family;

use crate::peer_table::Node;

/// Who runs this node: what its operator calls itself and lists as its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own<'a> {
    pub(crate) operator: Option<&'a str>,
    pub(crate) family: &'a [PeerId],
}

/// Family numbers of nodes, in the order given, and of this node itself; `None` for who is alone.
pub(super) fn families(nodes: &[&Node], own: Own<'_>) -> (Vec<Option<Family>>, Option<Family>) {
    let me = nodes.len();
    let mut sets = Sets::new(me + 1);
    let places: HashMap<PeerId, usize> = nodes.iter().enumerate().map(|(place, node)| (node.peer, place)).collect();
    let mut tags: HashMap<&str, usize> = own.operator.map(|tag| (tag, me)).into_iter().collect();
    for (place, node) in nodes.iter().enumerate() {
        if let Some(tag) = node.view.operator.as_deref().filter(|tag| !tag.is_empty()) {
            let first = *tags.entry(tag).or_insert(place);
            sets.join(first, place);
        }
        for other in node.view.family.iter().filter_map(|peer| places.get(peer)) {
            if nodes.get(*other).is_some_and(|other| other.view.family.contains(&node.peer)) {
                sets.join(place, *other);
            }
        }
    }
    own.family.iter().filter_map(|peer| places.get(peer)).for_each(|place| sets.join(me, *place));
    let mut numbers = sets.numbers();
    let own = numbers.pop().flatten();
    (numbers, own)
}

/// Disjoint sets of places.
struct Sets {
    parents: Vec<usize>,
}

impl Sets {
    fn new(len: usize) -> Self {
        Self { parents: (0..len).collect() }
    }

    fn root(&mut self, mut place: usize) -> usize {
        while let Some(&parent) = self.parents.get(place)
            && parent != place
        {
            // Every second step is shortened, so that chains stay short.
            let grandparent = self.parents.get(parent).copied().unwrap_or(parent);
            if let Some(link) = self.parents.get_mut(place) {
                *link = grandparent;
            }
            place = grandparent;
        }
        place
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(link) = self.parents.get_mut(b) {
            *link = a;
        }
    }

    /// Numbers the sets with more than one member in the order of their first.
    fn numbers(mut self) -> Vec<Option<Family>> {
        let roots: Vec<_> = (0..self.parents.len()).map(|place| self.root(place)).collect();
        let mut sizes: HashMap<usize, usize> = HashMap::new();
        roots.iter().for_each(|root| *sizes.entry(*root).or_default() += 1);
        let mut numbers: HashMap<usize, Family> = HashMap::new();
        let number = |root| {
            (sizes.get(root).is_some_and(|&size| size > 1)).then(|| {
                let next = Family(u32::try_from(numbers.len()).unwrap_or(u32::MAX));
                *numbers.entry(*root).or_insert(next)
            })
        };
        roots.iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        finding::{Finding, SourceName},
        peer_table::Rank,
    };

    fn node(peer: PeerId, operator: Option<&str>, family: &[PeerId]) -> Node {
        let operator = operator.map(ToOwned::to_owned);
        let finding = Finding { operator, family: family.to_vec(), ..Finding::new(peer, 1) };
        Node::told(peer, Rank::Found(0), SourceName::Descriptors, finding)
    }

    fn numbers(nodes: &[Node], own: Own<'_>) -> (Vec<Option<u32>>, Option<u32>) {
        let nodes: Vec<_> = nodes.iter().collect();
        let (families, own) = families(&nodes, own);
        let number = |family: Option<Family>| family.map(|Family(number)| number);
        (families.into_iter().map(number).collect(), number(own))
    }

    #[test]
    fn tags_mutual_lists_and_the_operators_own_list_join() {
        let peers: Vec<_> = (0..7).map(|_| PeerId::random()).collect();
        let nodes = [
            node(peers[0], Some("a"), &[]),
            node(peers[1], None, &[peers[2]]),
            node(peers[2], Some("a"), &[peers[1]]),
            node(peers[3], Some(""), &[peers[0]]),
            node(peers[4], Some(""), &[]),
            node(peers[5], None, &[]),
            node(peers[6], None, &[]),
        ];
        let family = [peers[5], peers[6], PeerId::random()];
        let own = Own { operator: None, family: &family };
        let together = vec![Some(0), Some(0), Some(0), None, None, Some(1), Some(1)];
        assert_eq!(numbers(&nodes, own), (together, Some(1)));
        let alone = vec![Some(0), Some(0), Some(0), None, None, None, None];
        assert_eq!(numbers(&nodes, Own::default()), (alone, None));
        let own = Own { operator: Some("a"), family: &family };
        let all = vec![Some(0), Some(0), Some(0), None, None, Some(0), Some(0)];
        assert_eq!(numbers(&nodes, own), (all, Some(0)), "the operator's tag joins its list");
    }
}
