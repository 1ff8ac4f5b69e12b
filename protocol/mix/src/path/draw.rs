//! The draw of two hops among all ordered pairs that a rule allows, each as likely as the product of its weights says.
//!
//! A few pairs are drawn from the whole pool first, which in a diverse pool nearly always finds one at a cost that does
//! not grow with it. Then the weights of the allowed pairs are summed, and one of them is drawn by its place in that sum;
//! if there is none, the next rule is tried. Either way the law is the same, and no loop depends on luck.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;

use super::{
    MixNode, Preference,
    preference::UNIT,
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
    pub(super) second: Option<&'a BTreeSet<PeerId>>,
    /// Which are rather drawn.
    pub(super) preference: Preference<'a>,
}

/// What drawn hops must keep.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// What they must not share.
    pub(super) rule: Rule,
    /// How many of them may be peers that the preference avoids.
    pub(super) avoided: usize,
}

impl Terms {
    /// All terms for so many drawn hops, in the order in which draws try them: avoided peers are taken before a rule is
    /// given up.
    pub(super) fn in_order(preference: &Preference<'_>, hops: usize) -> impl Iterator<Item = Self> + use<> {
        let fewest = if preference.avoids_any() { 0 } else { hops };
        Rule::IN_ORDER.into_iter().flat_map(move |rule| (fewest..=hops).map(move |avoided| Self { rule, avoided }))
    }

    /// What is left for the other hops once this one has been drawn under these terms.
    pub(super) fn without(self, drawn: &MixNode, preference: &Preference<'_>) -> Self {
        let used = usize::from(preference.avoids(&drawn.peer()));
        Self { avoided: self.avoided.saturating_sub(used), ..self }
    }
}

/// A node that may be drawn.
#[derive(Clone, Copy)]
struct Candidate<'p> {
    node: &'p MixNode,
    traits: Traits,
    weight: u64,
    is_avoided: bool,
}

impl<'p> Draw<'p, '_> {
    /// The pair, under the first terms that allow one.
    pub(super) fn pair<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<[&'p MixNode; 2]> {
        Terms::in_order(&self.preference, 2).find_map(|terms| self.pair_under(rng, terms))
    }

    /// The pair under these terms, if they allow one.
    pub(super) fn pair_under<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<[&'p MixNode; 2]> {
        self.lucky_pair(rng, terms).or_else(|| self.counted_pair(rng, terms))
    }

    /// One hop where the other is given, as one of `others`: the second, if that is limited.
    pub(super) fn single<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<&'p MixNode> {
        Terms::in_order(&self.preference, 1).find_map(|terms| self.single_under(rng, terms))
    }

    /// The single hop under these terms, each that is allowed being as likely as its weight says.
    pub(super) fn single_under<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<&'p MixNode> {
        let candidates: Vec<_> = self
            .candidates(terms.rule)
            .filter(|candidate| self.may_be_second(candidate.node))
            .filter(|candidate| !candidate.is_avoided || terms.avoided > 0)
            .collect();
        let total: u64 = candidates.iter().map(|candidate| candidate.weight).sum();
        let place = (total > 0).then(|| random::below(rng, total))?;
        at(candidates.iter(), place).map(|candidate| candidate.node)
    }

    fn lucky_pair<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<[&'p MixNode; 2]> {
        if self.pool.is_empty() {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let pair = [(); 2].map(|()| &self.pool[random::index(rng, self.pool.len())]);
            (self.allows(pair, terms) && self.accepts(rng, pair)).then_some(pair)
        })
    }

    fn allows(&self, [first, second]: [&MixNode; 2], terms: Terms) -> bool {
        let avoided = [first, second].iter().filter(|node| self.preference.avoids(&node.peer())).count();
        avoided <= terms.avoided
            && terms.rule.allows(first, second)
            && self.may_be_second(second)
            && self.is_usable(first, terms.rule)
            && self.is_usable(second, terms.rule)
    }

    /// Keeps a uniformly drawn pair as often as the product of its weights says.
    fn accepts<R: CryptoRng + ?Sized>(&self, rng: &mut R, pair: [&MixNode; 2]) -> bool {
        let weight: u64 = pair.iter().map(|node| self.preference.parts(&node.peer())).product();
        weight >= UNIT * UNIT || random::below(rng, UNIT * UNIT) < weight
    }

    fn counted_pair<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<[&'p MixNode; 2]> {
        let firsts: Vec<_> = self.candidates(terms.rule).collect();
        let mut seconds: Vec<_> =
            firsts.iter().filter(|candidate| self.may_be_second(candidate.node)).copied().collect();
        // Those that may follow a first that uses the allowance up stand in front.
        seconds.sort_by_key(|candidate| candidate.is_avoided);
        let fresh = seconds.partition_point(|candidate| !candidate.is_avoided);
        let censuses = [Census::of(&seconds[..fresh]), Census::of(&seconds)];
        let partners = |first: &Candidate<'_>| {
            let left = terms.avoided.checked_sub(usize::from(first.is_avoided))?.min(1);
            Some((left, censuses[left].partners(&first.traits)))
        };
        let share = |first: &Candidate<'_>| partners(first).map_or(0, |(_, partners)| first.weight * partners);
        let total = firsts.iter().map(share).sum();
        if total == 0 {
            return None;
        }
        let mut place = random::below(rng, total);
        let first = firsts.iter().find(|first| {
            let share = share(first);
            let is_here = place < share;
            if !is_here {
                place -= share;
            }
            is_here
        })?;
        let (left, _) = partners(first)?;
        let may_follow = &seconds[..if left == 0 { fresh } else { seconds.len() }];
        let unlike = may_follow.iter().filter(|second| !first.traits.clash(&second.traits));
        // Each part of a partner's weight stands for as many places as the first has parts.
        let second = at(unlike, place / first.weight)?;
        Some([first.node, second.node])
    }

    fn candidates(&self, rule: Rule) -> impl Iterator<Item = Candidate<'p>> {
        self.pool.iter().filter(move |node| self.is_usable(node, rule)).map(move |node| {
            let peer = node.peer();
            Candidate {
                node,
                traits: rule.traits(node),
                weight: self.preference.parts(&peer),
                is_avoided: self.preference.avoids(&peer),
            }
        })
    }

    fn is_usable(&self, node: &MixNode, rule: Rule) -> bool {
        !self.excluded.contains(&node.peer()) && self.others.iter().all(|other| rule.allows(node, other))
    }

    fn may_be_second(&self, node: &MixNode) -> bool {
        self.second.is_none_or(|allowed| allowed.contains(&node.peer()))
    }
}

/// The candidate at a place in the sum of the weights.
fn at<'c, 'p: 'c>(
    mut candidates: impl Iterator<Item = &'c Candidate<'p>>,
    mut place: u64,
) -> Option<&'c Candidate<'p>> {
    candidates.find(|candidate| {
        let is_here = place < candidate.weight;
        if !is_here {
            place -= candidate.weight;
        }
        is_here
    })
}

/// What nodes with which traits weigh together.
#[derive(Default)]
struct Census {
    all: u64,
    by_owner: BTreeMap<Owner, u64>,
    by_subnet: BTreeMap<Option<[u8; 3]>, u64>,
    by_both: BTreeMap<Traits, u64>,
}

impl Census {
    fn of(candidates: &[Candidate<'_>]) -> Self {
        let mut census = Self::default();
        for Candidate { traits, weight, .. } in candidates {
            census.all += weight;
            *census.by_owner.entry(traits.owner).or_default() += weight;
            if traits.subnet.is_some() {
                *census.by_subnet.entry(traits.subnet).or_default() += weight;
                *census.by_both.entry(*traits).or_default() += weight;
            }
        }
        census
    }

    /// What the nodes weigh that do not clash with these traits: all but those of the owner and those of the /24, where
    /// those that are both have been taken off twice.
    fn partners(&self, traits: &Traits) -> u64 {
        let weight = |found: Option<&u64>| found.copied().unwrap_or(0);
        let of_both = weight(self.by_both.get(traits));
        self.all + of_both - weight(self.by_owner.get(&traits.owner)) - weight(self.by_subnet.get(&traits.subnet))
    }
}
