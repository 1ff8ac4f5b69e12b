//! The draw of two hops: uniform among all ordered pairs that a rule allows.
//!
//! A few pairs are drawn from the whole pool first, which in a diverse pool nearly always finds one at a cost that does
//! not grow with it. Then the allowed pairs are counted, one of them is drawn by its number, and if there is none the
//! next rule is tried. Either way every allowed pair is equally likely, and no loop depends on luck.

use std::collections::{HashMap, HashSet};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;

use super::{
    MixNode,
    rule::{Owner, Rule, Traits},
};
use crate::random;

/// Pairs drawn before the allowed ones are counted. In a pool where every fourth pair is allowed one of 16 misses once in
/// a hundred draws; where none is, as on loopback, they cost a few microseconds.
const TRIES: usize = 16;

/// Two hops to be drawn, and what limits them.
#[derive(Clone, Copy)]
pub(super) struct Draw<'p, 'a> {
    /// Where they come from.
    pub(super) pool: &'p [MixNode],
    /// Peers that are never drawn.
    pub(super) excluded: &'a [PeerId],
    /// The nodes that the two are on a path with.
    pub(super) others: &'a [&'a MixNode],
    /// The only peers that the second may be, if that is limited.
    pub(super) second: Option<&'a HashSet<PeerId>>,
}

impl<'p> Draw<'p, '_> {
    /// The pair, under the first rule that allows one.
    pub(super) fn pair<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<[&'p MixNode; 2]> {
        Rule::IN_ORDER.into_iter().find_map(|rule| self.pair_under(rng, rule))
    }

    /// The pair under one rule, if it allows one.
    pub(super) fn pair_under<R: CryptoRng + ?Sized>(&self, rng: &mut R, rule: Rule) -> Option<[&'p MixNode; 2]> {
        self.lucky_pair(rng, rule).or_else(|| self.counted_pair(rng, rule))
    }

    /// One hop where the other is given, as one of `others`: the second, if that is limited.
    pub(super) fn single<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<&'p MixNode> {
        Rule::IN_ORDER.into_iter().find_map(|rule| self.single_under(rng, rule))
    }

    /// The single hop under one rule, each that is allowed being equally likely.
    pub(super) fn single_under<R: CryptoRng + ?Sized>(&self, rng: &mut R, rule: Rule) -> Option<&'p MixNode> {
        let usable: Vec<_> = self.usable(rule).filter(|node| self.may_be_second(node)).collect();
        (!usable.is_empty()).then(|| usable[random::index(rng, usable.len())])
    }

    fn lucky_pair<R: CryptoRng + ?Sized>(&self, rng: &mut R, rule: Rule) -> Option<[&'p MixNode; 2]> {
        if self.pool.is_empty() {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let [first, second] = [(); 2].map(|()| &self.pool[random::index(rng, self.pool.len())]);
            let is_allowed = rule.allows(first, second)
                && self.may_be_second(second)
                && self.is_usable(first, rule)
                && self.is_usable(second, rule);
            is_allowed.then_some([first, second])
        })
    }

    fn counted_pair<R: CryptoRng + ?Sized>(&self, rng: &mut R, rule: Rule) -> Option<[&'p MixNode; 2]> {
        let with_traits = |node: &'p MixNode| (node, rule.traits(node));
        let firsts: Vec<_> = self.usable(rule).map(with_traits).collect();
        let seconds: Vec<_> = firsts.iter().copied().filter(|(node, _)| self.may_be_second(node)).collect();
        let census = Census::of(seconds.iter().map(|(_, traits)| traits));
        let pairs: usize = firsts.iter().map(|(_, traits)| census.partners(traits)).sum();
        if pairs == 0 {
            return None;
        }
        let mut number = random::index(rng, pairs);
        let (first, traits) = firsts.iter().find(|(_, traits)| {
            let partners = census.partners(traits);
            let is_here = number < partners;
            if !is_here {
                number -= partners;
            }
            is_here
        })?;
        let (second, _) = seconds.iter().filter(|(_, other)| !traits.clash(other)).nth(number)?;
        Some([first, second])
    }

    fn usable(&self, rule: Rule) -> impl Iterator<Item = &'p MixNode> {
        self.pool.iter().filter(move |node| self.is_usable(node, rule))
    }

    fn is_usable(&self, node: &MixNode, rule: Rule) -> bool {
        !self.excluded.contains(&node.peer()) && self.others.iter().all(|other| rule.allows(node, other))
    }

    fn may_be_second(&self, node: &MixNode) -> bool {
        self.second.is_none_or(|allowed| allowed.contains(&node.peer()))
    }
}

/// How many nodes have which traits.
#[derive(Default)]
struct Census {
    nodes: usize,
    by_owner: HashMap<Owner, usize>,
    by_subnet: HashMap<Option<[u8; 3]>, usize>,
    by_both: HashMap<Traits, usize>,
}

impl Census {
    fn of<'a>(nodes: impl Iterator<Item = &'a Traits>) -> Self {
        let mut census = Self::default();
        for traits in nodes {
            census.nodes += 1;
            *census.by_owner.entry(traits.owner).or_default() += 1;
            if traits.subnet.is_some() {
                *census.by_subnet.entry(traits.subnet).or_default() += 1;
                *census.by_both.entry(*traits).or_default() += 1;
            }
        }
        census
    }

    /// Nodes that do not clash with these traits: all but those of the owner and those of the /24, where those that are
    /// both have been taken off twice.
    fn partners(&self, traits: &Traits) -> usize {
        let count = |found: Option<&usize>| found.copied().unwrap_or(0);
        let of_both = count(self.by_both.get(traits));
        self.nodes + of_both - count(self.by_owner.get(&traits.owner)) - count(self.by_subnet.get(&traits.subnet))
    }
}
