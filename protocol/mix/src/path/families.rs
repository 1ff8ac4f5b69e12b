//! Which nodes one operator runs, as far as they say so.
//!
//! Nodes are one family that share an operator tag, that list each other (one-sided claims count for nothing), or that
//! the reader's own operator lists as its own. A node that claims a tag that is not its own only keeps itself out of paths.

use std::collections::HashMap;

use libp2p_identity::PeerId;

use super::Family;

/// What a node says of its operator.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The node.
    pub peer: PeerId,
    /// What its operator calls itself; an empty text counts for nothing.
    pub operator: Option<&'a str>,
    /// Nodes that it lists as its operator's.
    pub family: &'a [PeerId],
}

/// The operator of the node, or page, that reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnOperator<'a> {
    /// What it calls itself.
    pub operator: Option<&'a str>,
    /// What it lists as its own.
    pub family: &'a [PeerId],
}

/// Family numbers of nodes, in the order given, and of the reader itself; `None` for a node that is alone.
#[must_use]
pub fn families(members: &[Member<'_>], own: OwnOperator<'_>) -> (Vec<Option<Family>>, Option<Family>) {
    let me = members.len();
    let mut sets = Sets::new(me + 1);
    let places: HashMap<PeerId, usize> =
        members.iter().enumerate().map(|(place, member)| (member.peer, place)).collect();
    let mut tags: HashMap<&str, usize> = own.operator.map(|tag| (tag, me)).into_iter().collect();
    for (place, member) in members.iter().enumerate() {
        if let Some(tag) = member.operator.filter(|tag| !tag.is_empty()) {
            let first = *tags.entry(tag).or_insert(place);
            sets.join(first, place);
        }
        for other in member.family.iter().filter_map(|peer| places.get(peer)) {
            if members.get(*other).is_some_and(|other| other.family.contains(&member.peer)) {
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
    use crate::testing::peer;

    fn numbers(members: &[Member<'_>], own: OwnOperator<'_>) -> (Vec<Option<u32>>, Option<u32>) {
        let (families, own) = families(members, own);
        let number = |family: Option<Family>| family.map(|Family(number)| number);
        (families.into_iter().map(number).collect(), number(own))
    }

    #[test]
    fn tags_mutual_lists_and_the_operators_own_list_join() {
        let peers: Vec<_> = (0..7_u16).map(peer).collect();
        let member = |place: usize, operator, family| Member { peer: peers[place], operator, family };
        let (first, second, third) = ([peers[0]], [peers[1]], [peers[2]]);
        let members = [
            member(0, Some("a"), &[]),
            member(1, None, &third),
            member(2, Some("a"), &second),
            member(3, Some(""), &first),
            member(4, Some(""), &[]),
            member(5, None, &[]),
            member(6, None, &[]),
        ];
        let family = [peers[5], peers[6], peer(9)];
        let own = OwnOperator { operator: None, family: &family };
        let together = vec![Some(0), Some(0), Some(0), None, None, Some(1), Some(1)];
        assert_eq!(numbers(&members, own), (together, Some(1)));
        let alone = vec![Some(0), Some(0), Some(0), None, None, None, None];
        assert_eq!(numbers(&members, OwnOperator::default()), (alone, None));
        let own = OwnOperator { operator: Some("a"), family: &family };
        let all = vec![Some(0), Some(0), Some(0), None, None, Some(0), Some(0)];
        assert_eq!(numbers(&members, own), (all, Some(0)), "the operator's tag joins its list");
    }
}
