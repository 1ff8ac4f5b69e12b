//! How many independent hands the pool lies in.

use std::{collections::HashMap, hash::Hash};

use wakumix_mix::MixNode;

use crate::peer_table::Block;

/// Groups of the pool: how many there are, and how many equally large ones would be as diverse.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Diversity {
    pub(crate) subnets: Groups,
    pub(crate) families: Groups,
}

/// A way to divide the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Groups {
    pub(crate) count: usize,
    /// The inverse Simpson index: one over the chance that two nodes drawn at random, with repetition, are of one group.
    pub(crate) effective: f64,
}

impl Diversity {
    /// By /24 of the hop address, and by family; a node of no family is one of its own.
    pub(crate) fn of(nodes: &[MixNode]) -> Self {
        let families = nodes.iter().map(|node| node.family.ok_or(node.peer()));
        Self {
            subnets: Groups::of(nodes.iter().map(|node| Block::subnet4(node.address.ip()))),
            families: Groups::of(families),
        }
    }
}

impl Groups {
    #[expect(clippy::cast_precision_loss, reason = "a statistic; pools have fewer than 2^52 nodes")]
    fn of<G: Hash + Eq>(members: impl Iterator<Item = G>) -> Self {
        let mut sizes: HashMap<G, usize> = HashMap::new();
        members.for_each(|group| *sizes.entry(group).or_default() += 1);
        let total: usize = sizes.values().sum();
        let squares: usize = sizes.values().map(|size| size * size).sum();
        let effective = if total == 0 { 0.0 } else { (total * total) as f64 / squares as f64 };
        Self { count: sizes.len(), effective }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_groups_count_fully_and_a_dominant_one_counts_little_more_than_itself() {
        assert_eq!(Groups::of([1, 2, 3, 4].iter()), Groups { count: 4, effective: 4.0 });
        assert_eq!(Groups::of([1, 1, 2, 2].iter()), Groups { count: 2, effective: 2.0 });
        let skewed = Groups::of([1, 1, 1, 1, 1, 1, 1, 1, 1, 2].iter());
        assert!(skewed.count == 2 && skewed.effective > 1.2 && skewed.effective < 1.3, "{skewed:?}");
        assert_eq!(Groups::of(std::iter::empty::<u8>()), Groups::default());
    }
}
