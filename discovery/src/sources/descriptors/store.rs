//! What is known of descriptors at one moment: those that can be passed on, the mix nodes that need a newer one, and when
//! those of the pool change their keys.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher as _,
    sync::Arc,
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use rand::{Rng, seq::IndexedRandom as _};
use wakumix_records::descriptor::{Descriptor, Times};
use wakumix_sphinx::PublicKey;
use wakumix_waku::record::Capabilities;

use crate::peer_report::{KnownRecord, PeerReport, SignedRecord, Standing, UnixSeconds};

/// How long after a key has taken over its node is asked for what follows, at the least, in seconds: its own descriptor
/// takes one or two, and clocks differ by as much.
pub(super) const ROLLOVER_PAUSE: UnixSeconds = 3;
/// Over what part of the notice that it gave the requests of all its readers are spread: three quarters are left for those
/// that fail.
const TURN_SPREAD: u64 = 4;
/// The longest such spread, in seconds: with daily rotation a thousand readers come in five minutes.
const LONGEST_TURN_SPREAD: UnixSeconds = 300;

/// Descriptors by peer. As large as what discovery knows, which has a bound.
#[derive(Debug, Default)]
pub(super) struct DescriptorStore {
    known: Arc<[KnownRecord]>,
    held: Vec<Held>,
    /// The places in `held` of nodes that were reached, and of those that were not tried yet.
    reached: Vec<usize>,
    untried: Vec<usize>,
    by_peer: HashMap<PeerId, usize>,
    /// Of every descriptor, so that one that is known already need not be checked again. Keyed: nobody can make two
    /// that look the same.
    digests: HashSet<u64>,
    hasher: RandomState,
    wanted: Vec<Known>,
    turns: Vec<KeyRollover>,
    misses_keys: bool,
}

/// A descriptor that can be passed on.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Of its peer report.
    place: usize,
    times: Times,
}

/// When the key of a pool node changes, as the newest descriptor of it that is held says: a newer one will follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyRollover {
    pub(super) node: Known,
    pub(super) at: UnixSeconds,
    /// Over how many seconds after that its readers come.
    pub(super) spread: UnixSeconds,
}

/// A peer and where it was last known to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) peer: PeerId,
    pub(super) addresses: Vec<Multiaddr>,
}

impl DescriptorStore {
    /// Sorts out what is known at a time, and who may carry packets. A peer may occur several times, once a source.
    pub(super) fn new(known: Arc<[KnownRecord]>, pool: &HashSet<PeerId>, now: UnixSeconds) -> Self {
        let mut store = Self::default();
        let mut needs: HashMap<PeerId, Need> = HashMap::new();
        for (place, KnownRecord { report, .. }) in known.iter().enumerate() {
            needs.entry(report.peer).or_default().add(report);
            store.hold(place, report, now);
        }
        store.misses_keys = needs.values().any(|need| need.mixes && need.key.is_none());
        for (peer, need) in needs.into_iter().filter(|(_, need)| need.mixes) {
            let (is_wanted, node) =
                (store.is_wanted(&peer, &need, pool, now), Known { peer, addresses: need.addresses });
            if pool.contains(&peer) {
                store.turns.extend(store.turn(&node));
            }
            store.wanted.extend(is_wanted.then_some(node));
        }
        for (index, held) in store.held.iter().enumerate() {
            match known.get(held.place).map(|known| known.standing) {
                Some(Standing::Reached) => store.reached.push(index),
                Some(Standing::Untried) => store.untried.push(index),
                Some(Standing::Failed) | None => {}
            }
        }
        store.known = known;
        store
    }

    /// A mix node needs a descriptor of which no key is known or two are, or that may carry packets and of which there is
    /// none: what a node is able to do, and which key follows, stands nowhere else. It needs a newer one when that is old.
    fn is_wanted(&self, peer: &PeerId, need: &Need, pool: &HashSet<PeerId>, now: UnixSeconds) -> bool {
        need.key.is_none() || need.is_disputed || self.is_stale(peer, now) || (pool.contains(peer) && !self.has(peer))
    }

    fn turn(&self, node: &Known) -> Option<KeyRollover> {
        let times = self.held(&node.peer)?.times;
        Some(KeyRollover { node: node.clone(), at: times.next_key_from?, spread: spread(times) })
    }

    fn hold(&mut self, place: usize, report: &PeerReport, now: UnixSeconds) {
        let Some(SignedRecord::Descriptor(bytes)) = &report.record else { return };
        let Some(times) = Descriptor::times(bytes).filter(|times| times.expires > now) else { return };
        let held = Held { place, times };
        self.digests.insert(self.hasher.hash_one(bytes));
        let next = self.held.len();
        let index = *self.by_peer.entry(report.peer).or_insert(next);
        match self.held.get_mut(index) {
            Some(known) if known.times.issued < times.issued => *known = held,
            Some(_) => {}
            None => self.held.push(held),
        }
    }

    fn held(&self, peer: &PeerId) -> Option<&Held> {
        self.by_peer.get(peer).and_then(|index| self.held.get(*index))
    }

    /// Whether half of a descriptor's life is over, or the key that it announced has taken over so long ago that every reader
    /// has come; its peer has made another by then.
    fn is_stale(&self, peer: &PeerId, now: UnixSeconds) -> bool {
        self.held(peer).is_some_and(|Held { times, .. }| {
            let Times { issued, expires, next_key_from } = *times;
            let is_half_over = now.saturating_sub(issued) > expires.saturating_sub(issued) / 2;
            let is_turned = |from: UnixSeconds| now.saturating_sub(from) > ROLLOVER_PAUSE + spread(*times);
            is_half_over || next_key_from.is_some_and(is_turned)
        })
    }

    /// When pool nodes change their keys; past moments are those after which no newer descriptor has come yet.
    pub(super) fn turns(&self) -> &[KeyRollover] {
        &self.turns
    }

    /// Mix nodes of which a descriptor, or a newer one, is needed.
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

    /// So many descriptors, of nodes that were reached and of at most a quarter of others, each as likely as any of its
    /// like; `told` of reached ones are in the answer already.
    pub(super) fn sample(&self, count: usize, told: usize, now: UnixSeconds, rng: &mut impl Rng) -> Vec<Vec<u8>> {
        let (reached, untried) = Standing::shares(count, told, self.reached.len(), self.untried.len());
        let mut chosen: Vec<_> = self.reached.sample(rng, reached).copied().collect();
        chosen.extend(self.untried.sample(rng, untried));
        chosen.into_iter().filter_map(|index| self.bytes(index, now)).collect()
    }

    /// Whether any node with a descriptor was reached.
    pub(super) fn has_reached(&self) -> bool {
        !self.reached.is_empty()
    }

    /// A node that was reached, has a descriptor and so speaks the protocol.
    pub(super) fn reached(&self, rng: &mut impl Rng) -> Option<Known> {
        self.at(*self.reached.choose(rng)?)
    }

    /// A node that has a descriptor and was not tried yet.
    pub(super) fn untried(&self, rng: &mut impl Rng) -> Option<Known> {
        self.at(*self.untried.choose(rng)?)
    }

    fn at(&self, index: usize) -> Option<Known> {
        let KnownRecord { report, .. } = self.known.get(self.held.get(index)?.place)?;
        Some(Known { peer: report.peer, addresses: report.addresses.clone() })
    }

    fn bytes(&self, index: usize, now: UnixSeconds) -> Option<Vec<u8>> {
        let held = self.held.get(index).filter(|held| held.times.expires > now)?;
        match &self.known.get(held.place)?.report.record {
            Some(SignedRecord::Descriptor(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }
}

/// Over how many seconds after a change of key its readers come.
fn spread(times: Times) -> UnixSeconds {
    let notice = times.next_key_from.unwrap_or_default().saturating_sub(times.issued);
    (notice / TURN_SPREAD).min(LONGEST_TURN_SPREAD)
}

/// What the peer reports of one peer tell together.
#[derive(Default)]
struct Need {
    mixes: bool,
    key: Option<PublicKey>,
    /// Its records tell different keys.
    is_disputed: bool,
    addresses: Vec<Multiaddr>,
}

impl Need {
    fn add(&mut self, report: &PeerReport) {
        self.mixes |= report.mix_key.is_some();
        self.mixes |= report.capabilities.is_some_and(|own| own.contains(Capabilities::MIX));
        self.is_disputed |= self.key.zip(report.mix_key).is_some_and(|(one, other)| one != other);
        self.key = self.key.or(report.mix_key);
        for address in &report.addresses {
            if self.addresses.len() < PeerReport::MAX_ADDRESSES && !self.addresses.contains(address) {
                self.addresses.push(address.clone());
            }
        }
    }
}
