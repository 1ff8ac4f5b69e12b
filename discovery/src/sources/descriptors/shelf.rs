//! What is known of descriptors at one moment: those that can be passed on, and the mix nodes that need a newer one.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::Arc,
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::{Rng, seq};
use wakumix_records::descriptor::Descriptor;
use wakumix_waku::record::Capabilities;

use crate::finding::{Finding, SignedRecord, UnixSeconds};

/// Descriptors by peer. As large as what discovery knows, which has a bound.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    findings: Arc<[Finding]>,
    held: Vec<Held>,
    by_peer: HashMap<PeerId, usize>,
    /// Of every descriptor, so that one that is known already need not be checked again. Keyed: nobody can make two
    /// that look the same.
    digests: HashSet<u64>,
    hasher: RandomState,
    wanted: Vec<Known>,
    misses_keys: bool,
}

/// A descriptor that can be passed on.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Of its finding.
    place: usize,
    issued: UnixSeconds,
    expires: UnixSeconds,
}

/// A peer and where it was last known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
}

impl Shelf {
    /// Sorts out what is known at a time. A peer may occur several times, once a source.
    pub(super) fn new(findings: Arc<[Finding]>, now: UnixSeconds) -> Self {
        let mut shelf = Self::default();
        let mut needs: HashMap<PeerId, Need> = HashMap::new();
        for (place, finding) in findings.iter().enumerate() {
            needs.entry(finding.peer).or_default().add(finding);
            shelf.hold(place, finding, now);
        }
        shelf.misses_keys = needs.values().any(|need| need.mixes && !need.has_key);
        shelf.wanted = needs
            .into_iter()
            .filter(|(peer, need)| need.mixes && (!need.has_key || shelf.is_stale(peer, now)))
            .map(|(peer, need)| Known { peer, addresses: need.addresses })
            .collect();
        shelf.findings = findings;
        shelf
    }

    fn hold(&mut self, place: usize, finding: &Finding, now: UnixSeconds) {
        let Some(SignedRecord::Descriptor(bytes)) = &finding.record else { return };
        let Some((issued, expires)) = Descriptor::times(bytes).filter(|(_, expires)| *expires > now) else { return };
        let held = Held { place, issued, expires };
        self.digests.insert(self.hasher.hash_one(bytes));
        let next = self.held.len();
        let index = *self.by_peer.entry(finding.peer).or_insert(next);
        match self.held.get_mut(index) {
            Some(known) if known.issued < issued => *known = held,
            Some(_) => {}
            None => self.held.push(held),
        }
    }

    /// Whether half of a descriptor's life is over; its peer has made another by then.
    fn is_stale(&self, peer: &PeerId, now: UnixSeconds) -> bool {
        let held = self.by_peer.get(peer).and_then(|index| self.held.get(*index));
        held.is_some_and(|held| now.saturating_sub(held.issued) > held.expires.saturating_sub(held.issued) / 2)
    }

    /// Mix nodes whose key is not known or whose descriptor is old.
    pub(super) fn wanted(&self) -> &[Known] {
        &self.wanted
    }

    /// Whether a mix node is known whose key is not.
    pub(super) fn misses_keys(&self) -> bool {
        self.misses_keys
    }

    /// Whether a descriptor of this peer is held.
    pub(super) fn has(&self, peer: &PeerId) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// Whether these very bytes are held and so were checked before.
    pub(super) fn is_known(&self, bytes: &Vec<u8>) -> bool {
        self.digests.contains(&self.hasher.hash_one(bytes))
    }

    /// The descriptor of a peer, unless it is over.
    pub(super) fn of(&self, peer: &PeerId, now: UnixSeconds) -> Option<Vec<u8>> {
        self.by_peer.get(peer).and_then(|index| self.bytes(*index, now))
    }

    /// So many descriptors, each as likely as any other.
    pub(super) fn sample(&self, count: usize, now: UnixSeconds, rng: &mut impl Rng) -> Vec<Vec<u8>> {
        let chosen = seq::index::sample(rng, self.held.len(), count.min(self.held.len()));
        chosen.into_iter().filter_map(|index| self.bytes(index, now)).collect()
    }

    /// Somebody who has a descriptor and so speaks the protocol.
    pub(super) fn anybody(&self, rng: &mut impl Rng) -> Option<Known> {
        let index = seq::index::sample(rng, self.held.len(), self.held.len().min(1)).into_iter().next()?;
        let finding = self.findings.get(self.held.get(index)?.place)?;
        Some(Known { peer: finding.peer, addresses: finding.addresses.clone() })
    }

    fn bytes(&self, index: usize, now: UnixSeconds) -> Option<Vec<u8>> {
        let held = self.held.get(index).filter(|held| held.expires > now)?;
        match &self.findings.get(held.place)?.record {
            Some(SignedRecord::Descriptor(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }
}

/// What the findings of one peer tell together.
#[derive(Default)]
struct Need {
    mixes: bool,
    has_key: bool,
    addresses: Vec<Multiaddr>,
}

impl Need {
    fn add(&mut self, finding: &Finding) {
        self.mixes |= finding.mix_key.is_some();
        self.mixes |= finding.capabilities.is_some_and(|own| own.contains(Capabilities::MIX));
        self.has_key |= finding.mix_key.is_some();
        for address in &finding.addresses {
            if self.addresses.len() < Finding::MAX_ADDRESSES && !self.addresses.contains(address) {
                self.addresses.push(address.clone());
            }
        }
    }
}
