//! Guards: the few nodes that a sender which does not forward connects to, and over which everything of it enters the mixnet
//! and comes back.
//!
//! Whoever draws a first hop afresh for each message, try and fragment is seen by a hostile one sooner or later; who keeps a
//! few is seen by one that it drew, or never. So a *sample* is drawn once, in order, and kept; the first few of it that can be
//! reached are in use. One that cannot is skipped at once and has its rank back when it can. Whoever makes guards unreachable
//! does not walk a sender through the network by it: the sample is bounded, and grows by one per hour at most, after ten
//! minutes without two guards in which something else was reached.
//!
//! What is drawn while little of the network is known, as at a first start beside somebody who keeps the others away, is drawn
//! again as soon as twice as many subnets are known.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use libp2p_identity::PeerId;
use rand_core::CryptoRng;
use wakumix_mix::{MixNode, Party, Preference, draw_apart, random};

/// Guards in use: with three the death of one leaves two, and each of them is one more node that sees the sender.
pub const DEFAULT_GUARDS: usize = 3;
/// The smallest sample, where the pool allows it: a third of it may be gone and the guards in use are still there.
const MIN_SAMPLE: usize = 6;
/// The largest sample. Tor's is 60 of thousands; a mixnet has hundreds at best.
const MAX_SAMPLE: usize = 20;
/// One node in so many is sampled, between those two.
const ONE_IN: usize = 5;
/// Entries that are kept although no source tells of their nodes any more. Overflow rule: the oldest goes.
const MAX_ENTRIES: usize = 3 * MAX_SAMPLE;
/// How long an entry lives, in seconds: drawn, so that its end tells nothing of its beginning.
const LIFETIME: std::ops::Range<u64> = 30 * DAY..60 * DAY;
const DAY: u64 = 24 * 60 * 60;
/// Fewer reachable guards than this are too few.
const FEW: usize = 2;
/// How long there must be too few, while others are reached, before the sample grows beyond its size.
const GROWTH_AFTER: Duration = Duration::from_secs(10 * 60);
/// Between two such growths.
const GROWTH_PACE: Duration = Duration::from_secs(60 * 60);

/// A node that is in the sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledGuard {
    /// Its peer id: a change of address or key keeps the entry.
    pub peer: PeerId,
    /// When it leaves the sample, in seconds of Unix time.
    pub expires: u64,
    /// Subnets among which it was drawn.
    pub subnets: u32,
}

/// A mix node that is known, as guards are drawn from them.
#[derive(Clone, Debug)]
pub struct GuardCandidate {
    /// The node.
    pub node: MixNode,
    /// Whether it can be used now: this node has reached it.
    pub is_usable: bool,
    /// Whether the operator has written it down. These are drawn first.
    pub is_entry: bool,
    /// Whether it serves requests. These are drawn when the others give fewer than six.
    pub is_service: bool,
    /// Whether it says that it has no room for more.
    pub is_full: bool,
}

/// The sample, in the order of its ranks.
#[derive(Clone, Debug, Default)]
pub struct GuardSample {
    entries: Vec<SampledGuard>,
    /// Since when there are too few guards although others are reached.
    few_since: Option<Duration>,
    /// When the sample grew last beyond its size.
    grown: Option<Duration>,
}

impl GuardSample {
    /// The sample of an earlier run.
    #[must_use]
    pub fn restored(entries: Vec<SampledGuard>) -> Self {
        let mut peers = HashSet::new();
        let entries = entries.into_iter().filter(|entry| peers.insert(entry.peer)).take(MAX_ENTRIES).collect();
        Self { entries, ..Self::default() }
    }

    /// Its entries in order, for the next run.
    #[must_use]
    pub fn entries(&self) -> &[SampledGuard] {
        &self.entries
    }

    /// Its peers in order.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.entries.iter().map(|entry| entry.peer)
    }

    /// Brings it up to date with the nodes that are known, each of them once; whether that changed it. `unix` is the date in
    /// seconds, `now` the time since any moment.
    pub fn update<R: CryptoRng + ?Sized>(
        &mut self,
        rng: &mut R,
        known: &[GuardCandidate],
        unix: u64,
        now: Duration,
    ) -> bool {
        let before = self.entries.clone();
        let view = View::of(known);
        let is_valid = |entry: &SampledGuard| entry.expires > unix && entry.expires <= unix + LIFETIME.end;
        let is_well_drawn = |entry: &SampledGuard| u64::from(entry.subnets) * 2 >= u64::from(view.subnets);
        self.entries.retain(|entry| is_valid(entry) && is_well_drawn(entry));
        while self.listed(known).count() < view.sample_size() && self.draw(rng, &view, known, unix) {}
        if self.may_grow(&view, known, now) && self.draw(rng, &view, known, unix) {
            self.grown = Some(now);
        }
        while self.entries.len() > MAX_ENTRIES {
            self.entries.remove(0);
        }
        self.entries != before
    }

    /// The entries that some source tells of.
    fn listed<'k>(&self, known: &'k [GuardCandidate]) -> impl Iterator<Item = &'k GuardCandidate> {
        let peers: BTreeSet<_> = self.peers().collect();
        known.iter().filter(move |candidate| peers.contains(&candidate.node.peer()))
    }

    /// Whether there have been too few guards for long enough, and nobody made that so within the hour.
    fn may_grow(&mut self, view: &View, known: &[GuardCandidate], now: Duration) -> bool {
        let (listed, reached) = self
            .listed(known)
            .fold((0, 0), |(listed, reached), candidate| (listed + 1, reached + usize::from(candidate.is_usable)));
        if reached >= FEW || view.usable <= reached {
            self.few_since = None;
            return false;
        }
        let since = *self.few_since.get_or_insert(now);
        let is_paced = self.grown.is_none_or(|grown| now.saturating_sub(grown) >= GROWTH_PACE);
        now.saturating_sub(since) >= GROWTH_AFTER && is_paced && listed < MAX_SAMPLE
    }

    /// Draws one more; false if there is none.
    fn draw<R: CryptoRng + ?Sized>(&mut self, rng: &mut R, view: &View, known: &[GuardCandidate], unix: u64) -> bool {
        let sampled: BTreeSet<_> = self.peers().collect();
        let parties: Vec<_> = self.listed(known).map(|candidate| Party::from(&candidate.node)).collect();
        let services = self.listed(known).filter(|candidate| candidate.is_service).count();
        let leaves_an_exit = |candidate: &GuardCandidate| !candidate.is_service || services + 1 < view.services;
        let may_serve = view.usable - view.services < MIN_SAMPLE;
        let eligible: Vec<_> = known
            .iter()
            .filter(|candidate| candidate.is_usable && !sampled.contains(&candidate.node.peer()))
            .filter(|candidate| leaves_an_exit(candidate) && (may_serve || !candidate.is_service))
            .collect();
        let rank = |candidate: &&GuardCandidate| (candidate.is_service, candidate.is_full, !candidate.is_entry);
        let best = eligible.iter().map(rank).min();
        let nodes: Vec<_> = eligible
            .iter()
            .filter(|candidate| Some(rank(candidate)) == best)
            .map(|candidate| &candidate.node)
            .collect();
        let Some(drawn) = draw_apart(rng, &nodes, &parties, Preference::NONE) else { return false };
        let expires = unix + LIFETIME.start + random::below(rng, LIFETIME.end - LIFETIME.start);
        self.entries.push(SampledGuard { peer: drawn.peer(), expires, subnets: view.subnets });
        true
    }
}

/// What counts of the known nodes.
struct View {
    usable: usize,
    /// Usable ones that serve.
    services: usize,
    /// The /24s of the usable ones.
    subnets: u32,
}

impl View {
    fn of(known: &[GuardCandidate]) -> Self {
        let usable = || known.iter().filter(|candidate| candidate.is_usable);
        let subnet = |candidate: &GuardCandidate| u32::from(candidate.node.address.ip()) >> 8;
        let subnets: BTreeSet<_> = usable().map(subnet).collect();
        Self {
            usable: usable().count(),
            services: usable().filter(|candidate| candidate.is_service).count(),
            subnets: u32::try_from(subnets.len()).unwrap_or(u32::MAX),
        }
    }

    /// How many are sampled: one node at least is left as exit.
    fn sample_size(&self) -> usize {
        self.usable.div_ceil(ONE_IN).clamp(MIN_SAMPLE, MAX_SAMPLE).min(self.usable.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests;
