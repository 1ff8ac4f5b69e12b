//! The draw of hops among all that a rule allows, each as likely as its share and its weight say.
//!
//! For two hops a few pairs are drawn from the whole pool first, which in a diverse pool nearly always finds one at a cost
//! that does not grow with it. Then the weights of the allowed pairs are summed, and one of them is drawn by its place in that
//! sum; if there is none, the next rule is tried. Either way the law is the same, and no loop depends on luck.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use rand_core::CryptoRng;

use super::{
    Beside, MixNode, MixPool, Party, Preference,
    pool::shares,
    rule::{Owner, Rule, SUBNET_LEN, Traits},
};
use crate::random;

/// Pairs drawn before the allowed ones are counted. In a pool where every fourth pair is allowed one of 16 misses once in
/// a hundred draws; where none is, as on loopback, they cost a few microseconds.
const TRIES: usize = 16;

/// Hops to be drawn, and what limits them.
#[derive(Clone, Copy)]
pub(super) struct Draw<'p, 'a> {
    /// Where they come from.
    pub(super) pool: &'p MixPool,
    /// The nodes that they are on a path with.
    pub(super) others: &'a [Party],
    /// The other parties of the exchange.
    pub(super) beside: Beside<'a>,
    /// The only peers that the second may be, if that is limited.
    pub(super) second: Option<&'a BTreeSet<PeerId>>,
    /// Which are rather drawn.
    pub(super) preference: Preference<'a>,
}

/// What drawn hops must keep.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// What they must not share.
    rule: Rule,
    /// Whether they share it with no hop of the exchange either; with its ends they never do.
    is_whole: bool,
    /// How many of them may be peers that the preference avoids.
    avoided: usize,
}

impl Terms {
    /// All terms for so many drawn hops, in the order in which draws try them: avoided peers are taken before the other hops
    /// of the exchange are, and these before a rule is given up.
    pub(super) fn in_order(
        preference: &Preference<'_>,
        beside: &Beside<'_>,
        hops: usize,
    ) -> impl Iterator<Item = Self> + use<> {
        let fewest = if preference.avoids_any() { 0 } else { hops };
        let wholes: &[bool] = if beside.hops.is_empty() { &[false] } else { &[true, false] };
        let with = move |rule, is_whole| (fewest..=hops).map(move |avoided| Self { rule, is_whole, avoided });
        let under = move |rule| wholes.iter().flat_map(move |&is_whole| with(rule, is_whole));
        Rule::IN_ORDER.into_iter().flat_map(under)
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
        Terms::in_order(&self.preference, &self.beside, 2).find_map(|terms| self.pair_under(rng, terms))
    }

    /// The pair under these terms, if they allow one.
    pub(super) fn pair_under<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<[&'p MixNode; 2]> {
        self.lucky_pair(rng, terms).or_else(|| self.counted_pair(rng, terms))
    }

    /// One hop where the other is given, as one of `others`: the second, if that is limited.
    pub(super) fn single<R: CryptoRng + ?Sized>(&self, rng: &mut R) -> Option<&'p MixNode> {
        Terms::in_order(&self.preference, &self.beside, 1).find_map(|terms| self.single_under(rng, terms))
    }

    /// The single hop under these terms. Those that are allowed have shares among themselves.
    pub(super) fn single_under<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<&'p MixNode> {
        let may_be_drawn = |node: &&MixNode| {
            self.is_usable(node, terms)
                && self.may_be_second(node)
                && (terms.avoided > 0 || !self.preference.avoids(&node.peer()))
        };
        weighed(rng, self.pool.nodes().iter().filter(may_be_drawn), &self.preference)
    }

    fn lucky_pair<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<[&'p MixNode; 2]> {
        if self.pool.len() == 0 {
            return None;
        }
        (0..TRIES).find_map(|_| {
            let drawn = [(); 2].map(|()| self.pool.at(random::index(rng, self.pool.len())));
            let pair = drawn.map(|(node, _)| node);
            (self.allows(pair, terms) && self.accepts(rng, drawn)).then_some(pair)
        })
    }

    fn allows(&self, [first, second]: [&MixNode; 2], terms: Terms) -> bool {
        let avoided = [first, second].iter().filter(|node| self.preference.avoids(&node.peer())).count();
        avoided <= terms.avoided
            && terms.rule.allows(&first.into(), &second.into())
            && self.may_be_second(second)
            && self.is_usable(first, terms)
            && self.is_usable(second, terms)
    }

    /// Keeps a uniformly drawn pair as often as the product of its weights says.
    fn accepts<R: CryptoRng + ?Sized>(&self, rng: &mut R, pair: [(&MixNode, u32); 2]) -> bool {
        let weigh = |(node, share): &(&MixNode, u32)| u64::from(self.preference.weigh(&node.peer(), *share));
        let weight: u64 = pair.iter().map(weigh).product();
        let most = u64::from(self.pool.largest()).pow(2);
        weight >= most || random::below(rng, most) < weight
    }

    fn counted_pair<R: CryptoRng + ?Sized>(&self, rng: &mut R, terms: Terms) -> Option<[&'p MixNode; 2]> {
        let firsts: Vec<_> = self.candidates(terms).collect();
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
        let second = at(unlike.map(|second| (second.node, second.weight)), place / first.weight)?;
        Some([first.node, second])
    }

    fn candidates(&self, terms: Terms) -> impl Iterator<Item = Candidate<'p>> {
        self.pool.shared().filter(move |(node, _)| self.is_usable(node, terms)).map(move |(node, share)| {
            let peer = node.peer();
            Candidate {
                node,
                traits: terms.rule.traits(&node.into()),
                weight: self.preference.weigh(&peer, share).into(),
                is_avoided: self.preference.avoids(&peer),
            }
        })
    }

    fn is_usable(&self, node: &MixNode, terms: Terms) -> bool {
        let party = Party::from(node);
        let hops = if terms.is_whole { self.beside.hops } else { &[] };
        [self.others, self.beside.ends, hops].into_iter().flatten().all(|other| terms.rule.allows(&party, other))
    }

    fn may_be_second(&self, node: &MixNode) -> bool {
        self.second.is_none_or(|allowed| allowed.contains(&node.peer()))
    }
}

/// One of these nodes, each as likely as its share among them and its weight say; `None` of none.
pub(super) fn weighed<'p, R: CryptoRng + ?Sized>(
    rng: &mut R,
    nodes: impl Iterator<Item = &'p MixNode>,
    preference: &Preference<'_>,
) -> Option<&'p MixNode> {
    let nodes: Vec<_> = nodes.collect();
    let weigh = |(node, share): (&&'p MixNode, u32)| (*node, u64::from(preference.weigh(&node.peer(), share)));
    let candidates: Vec<_> = nodes.iter().zip(shares(&nodes)).map(weigh).collect();
    let total: u64 = candidates.iter().map(|(_, weight)| weight).sum();
    let place = (total > 0).then(|| random::below(rng, total))?;
    at(candidates.into_iter(), place)
}

/// The node at a place in the sum of the weights.
fn at<'p>(mut weighed: impl Iterator<Item = (&'p MixNode, u64)>, mut place: u64) -> Option<&'p MixNode> {
    let found = weighed.find(|(_, weight)| {
        let is_here = place < *weight;
        if !is_here {
            place -= weight;
        }
        is_here
    });
    found.map(|(node, _)| node)
}

/// What nodes with which traits weigh together.
#[derive(Default)]
struct Census {
    all: u64,
    by_owner: BTreeMap<Owner, u64>,
    by_subnet: BTreeMap<Option<[u8; SUBNET_LEN]>, u64>,
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
