//! One peer: what its sources have told, merged, and what this node has seen of it.

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::time::Instant;
use wakumix_mix::{AddressError, HopAddress};
use wakumix_role_api::directory::PoolState;
use wakumix_sphinx::{FormatSet, PublicKey, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

use super::{
    contact::Contact,
    held::{Held, Use},
    slot::{Slot, Trust},
    subnet_limits::{self, Block},
};
use crate::peer_report::{PeerReport, Refusal, SourceName, UnixSeconds};

/// Replaced keys that are remembered of a peer. Other sources tell keys for hours, so with daily rotation one would do.
const MAX_RETIRED: usize = 4;

/// One peer.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) peer: PeerId,
    /// Most trusted first; at most one per source, two of the operator's entries.
    slots: Vec<Slot>,
    /// Keys that descriptors have replaced, the last ones. Other sources tell them for a while yet.
    retired: Vec<PublicKey>,
    /// The slots merged.
    pub(crate) view: View,
    pub(crate) contact: Contact,
    /// Its place among its like: the operator's entries in their order, everybody else at random, forever. Not to be
    /// guessed from outside, so that nobody is chosen for having come first.
    pub(crate) rank: Rank,
    /// Whose share of the quota it takes while it was not reached.
    pub(crate) introduced_by: SourceName,
    /// The parts of the network that its addresses lie in.
    pub(crate) blocks: Vec<Block>,
    /// What it could be used for when it was looked at last, and since when. `None`: it does not mix.
    pub(crate) state: Option<(PoolState, Instant)>,
    /// Whether it was believed to be there when it was looked at last.
    pub(crate) is_alive: bool,
    /// When this run heard of it first.
    pub(crate) heard: Instant,
    /// Whether an earlier run knew it.
    pub(crate) is_remembered: bool,
    /// When it could be used.
    pub(crate) used: Use,
    /// The rule of the pool that keeps it out although it could be used.
    pub(crate) held: Option<Held>,
    /// The keys that it tells, now and next, each since when it has told it and was reached as well.
    keys: Vec<(PublicKey, Instant)>,
}

/// See [`Node::rank`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Entry(u64),
    Found(u64),
}

/// What the slots tell together, each field from the most trusted one that tells it.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) addresses: Vec<Multiaddr>,
    pub(crate) hop: Option<HopAddress>,
    pub(crate) key: Option<PublicKey>,
    pub(crate) next_key: Option<(PublicKey, UnixSeconds)>,
    pub(crate) capabilities: Option<Capabilities>,
    pub(crate) shards: Option<Shards>,
    pub(crate) profiles: Option<Vec<WireFormat>>,
    pub(crate) formats: Option<FormatSet>,
    pub(crate) reassembles: Option<bool>,
    /// Whether it says itself that it has no room for newcomers.
    pub(crate) is_full: bool,
    pub(crate) operator: Option<String>,
    pub(crate) family: Vec<PeerId>,
    pub(crate) mixes: bool,
    /// Every record is over.
    pub(crate) is_expired: bool,
}

impl Node {
    pub(super) fn new(peer: PeerId, rank: Rank, introduced_by: SourceName, now: Instant) -> Self {
        Self {
            peer,
            slots: Vec::new(),
            retired: Vec::new(),
            view: View::default(),
            contact: Contact::default(),
            rank,
            introduced_by,
            blocks: Vec::new(),
            state: None,
            is_alive: false,
            heard: now,
            is_remembered: false,
            used: Use::default(),
            held: None,
            keys: Vec::new(),
        }
    }

    /// Whether the operator has written it down.
    pub(crate) fn is_entry(&self) -> bool {
        self.slots.first().is_some_and(|slot| slot.source == SourceName::Static)
    }

    /// Whether it stays when there is no room.
    pub(crate) fn is_kept(&self) -> bool {
        self.is_entry() || self.contact.was_seen()
    }

    /// Whether it mixes by a descriptor that this run has received from it or of it.
    pub(crate) fn mixes_by_descriptor(&self) -> bool {
        self.slots.iter().any(|slot| slot.is_fresh_descriptor() && slot.mixes())
    }

    /// Whether it counts against the limits of its subnets.
    pub(super) fn is_untried(&self) -> bool {
        !self.is_kept() && self.contact.failures == 0
    }

    /// Where it has to be reached to be used: if it mixes, at the address that headers carry, for there its packets go. A
    /// node without a default route of IPv4 may reach it at the IPv6 addresses of its records as well, and sends its packets
    /// over that connection: it may be in a closed network of IPv4, or have none.
    pub(crate) fn places(&self, has_ip4: bool) -> Vec<Multiaddr> {
        let Some(place) = self.hop_place() else { return self.view.addresses.clone() };
        let is_ip6 = |address: &&Multiaddr| matches!(address.iter().next(), Some(Protocol::Ip6(_)));
        let other: Vec<_> = self.view.addresses.iter().filter(|_| !has_ip4).filter(is_ip6).cloned().collect();
        std::iter::once(place).chain(other).collect()
    }

    /// The address that headers carry, if it mixes.
    pub(super) fn hop_place(&self) -> Option<Multiaddr> {
        self.view.hop.as_ref().filter(|_| self.view.mixes).map(HopAddress::multiaddr)
    }

    /// Lets nothing that was seen at one address count for another.
    pub(super) fn notice_move(&mut self) {
        let place = self.hop_place();
        if place.is_some() && self.contact.last_seen.is_some() && self.contact.reached_at != place {
            self.contact.moved();
        }
    }

    /// Notes since when it tells its keys: from the moment on at which it tells one and was reached, so that whoever
    /// copies the key of a node that is known comes later than that node. A key that is announced counts from then on.
    pub(super) fn note_keys(&mut self, now: Instant) {
        let told = [self.view.key, self.view.next_key.map(|(key, _)| key)];
        self.keys.retain(|(key, _)| told.contains(&Some(*key)));
        if !self.is_kept() {
            return;
        }
        for key in told.into_iter().flatten() {
            if self.keys.iter().all(|(known, _)| *known != key) {
                self.keys.push((key, now));
            }
        }
    }

    /// Since when it has told the key that it has now, and was reached.
    pub(crate) fn key_since(&self) -> Option<Instant> {
        let key = self.view.key?;
        self.keys.iter().find(|(known, _)| *known == key).map(|(_, since)| *since)
    }

    /// The sources that tell of it, most trusted first.
    pub(crate) fn sources(&self) -> Vec<SourceName> {
        let mut sources: Vec<SourceName> = Vec::new();
        for slot in &self.slots {
            let source = if slot.is_cached { SourceName::Cache } else { slot.source };
            if !sources.contains(&source) {
                sources.push(source);
            }
        }
        sources
    }

    fn records(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().filter(|slot| slot.is_record())
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Takes a record; true when it tells anything new.
    pub(super) fn take(
        &mut self,
        source: SourceName,
        mut report: PeerReport,
        now: UnixSeconds,
    ) -> Result<bool, Refusal> {
        let (before, replaced) = (self.descriptor_key(), report.turn(now));
        let known = self.slots.iter_mut().find(|slot| slot.is_for(source, &report));
        let is_news = match known {
            Some(slot) => {
                slot.admit(&report, now)?;
                slot.take(report, now)
            }
            None => {
                self.slots.push(Slot::new(source, report));
                true
            }
        };
        if is_news {
            self.retire(before);
            self.retire(replaced);
            self.merge(now);
        }
        Ok(is_news)
    }

    /// Takes the reports of an earlier run, with lower precedence than those of this one.
    pub(super) fn remember(&mut self, source: SourceName, mut report: PeerReport, now: UnixSeconds) {
        if !self.slots.iter().any(|slot| slot.is_for(source, &report)) {
            let replaced = report.turn(now);
            self.slots.push(Slot::cached(source, report));
            self.retire(replaced);
            self.merge(now);
        }
    }

    /// Forgets what a source has told, unless the record that says so is older than that.
    pub(super) fn withdraw(&mut self, source: SourceName, version: u64, now: UnixSeconds) {
        self.slots.retain(|slot| slot.source != source || slot.report.version > version);
        self.merge(now);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        !self.slots.iter().any(Slot::is_record)
    }

    /// Whether a key is to turn or a record has run out.
    pub(super) fn is_turning(&self, now: UnixSeconds) -> bool {
        let turns = |slot: &Slot| slot.report.is_turning(now);
        self.slots.iter().any(|slot| turns(slot) || (slot.is_expired(now) && !self.view.is_expired))
    }

    /// Lets keys turn and records run out. When all of them have, they stay and are marked as expired.
    pub(super) fn turn(&mut self, now: UnixSeconds) {
        let before = self.descriptor_key();
        for slot in &mut self.slots {
            slot.report.turn(now);
        }
        self.retire(before);
        if self.records().any(|slot| !slot.is_expired(now)) {
            self.slots.retain(|slot| !slot.is_expired(now));
        }
        self.merge(now);
    }

    /// How long all records have been over.
    pub(super) fn expired_for(&self, now: UnixSeconds) -> UnixSeconds {
        let last = self.records().filter_map(|slot| slot.report.expires).max();
        last.filter(|_| self.view.is_expired).map_or(0, |last| now.saturating_sub(last))
    }

    /// Why headers cannot carry any of its addresses.
    pub(crate) fn hop_error(&self) -> AddressError {
        let errors =
            self.view.addresses.iter().filter_map(|address| HopAddress::from_multiaddr(address, self.peer).err());
        errors.last().unwrap_or(AddressError::Unsupported)
    }

    fn merge(&mut self, now: UnixSeconds) {
        self.slots.sort_by_key(|slot| (slot.trust(), std::cmp::Reverse(slot.report.version), slot.source));
        let is_expired = self.records().all(|slot| slot.is_expired(now));
        let live = || self.slots.iter().filter(move |slot| is_expired || !slot.is_expired(now));
        let mut addresses: Vec<Multiaddr> = Vec::new();
        for address in live().flat_map(|slot| &slot.report.addresses) {
            if addresses.len() < PeerReport::MAX_ADDRESSES && !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let key =
            self.own_word(now, is_expired).find(|slot| slot.report.mix_key.is_some_and(|key| !self.is_retired(&key)));
        let spoken = |slot: &&Slot| slot.report.profiles.is_some() || slot.report.formats.is_some();
        let spoken = self.own_word(now, is_expired).find(spoken).map(|slot| &slot.report);
        let reassembles = self.own_word(now, is_expired).find_map(|slot| slot.report.reassembles);
        let is_full = self.own_word(now, is_expired).find_map(|slot| slot.report.is_full);
        self.view = View {
            hop: self.hop(now, is_expired),
            addresses,
            key: key.and_then(|slot| slot.report.mix_key),
            next_key: key.and_then(|slot| slot.report.next_key),
            capabilities: capabilities(live()),
            shards: self.shards(live()),
            profiles: spoken.and_then(|report| report.profiles.clone()),
            formats: spoken.and_then(|report| report.formats),
            reassembles,
            is_full: is_full.unwrap_or(false),
            operator: live().find_map(|slot| slot.report.operator.clone()),
            family: live()
                .map(|slot| &slot.report.family)
                .find(|family| !family.is_empty())
                .cloned()
                .unwrap_or_default(),
            mixes: self.mixes(now, is_expired),
            is_expired,
        };
        self.blocks = subnet_limits::blocks(&self.view.addresses);
    }

    /// The shards that the most trusted record tells. What the peer says over a connection counts where its records say nothing, and
    /// not for a service that the operator has written down: that one refuses what it does not relay itself.
    fn shards<'a>(&self, mut live: impl Iterator<Item = &'a Slot>) -> Option<Shards> {
        let is_written_service = self.slots.iter().any(|slot| slot.trust() == Trust::ServiceEntry);
        live.find_map(|slot| slot.report.shards.clone().filter(|_| slot.is_record() || !is_written_service))
    }

    /// The slots in the order in which their word on the key and on abilities counts: the most trusted first, but the
    /// peer's own descriptor, when this run has received it, before an operator's entry, which nobody rewrites when a key
    /// rotates or a node is upgraded.
    fn own_word(&self, now: UnixSeconds, is_expired: bool) -> impl Iterator<Item = &Slot> {
        let live = || self.slots.iter().filter(move |slot| is_expired || !slot.is_expired(now));
        let fresh = live().filter(|slot| slot.is_fresh_descriptor());
        fresh.chain(live().filter(|slot| !slot.is_fresh_descriptor()))
    }

    fn descriptor_key(&self) -> Option<PublicKey> {
        self.slots.iter().find(|slot| slot.trust() == Trust::Descriptor)?.report.mix_key
    }

    /// Remembers that a descriptor has replaced this key, if it has: nobody else brings it back. A key that a descriptor
    /// tells is in use, whatever was before.
    fn retire(&mut self, old: Option<PublicKey>) {
        let Some(current) = self.descriptor_key() else { return };
        self.retired.retain(|key| *key != current && Some(*key) != old);
        if let Some(old) = old.filter(|old| *old != current) {
            self.retired.push(old);
            self.retired.drain(..self.retired.len().saturating_sub(MAX_RETIRED));
        }
    }

    /// Whether a descriptor has replaced this key.
    pub(crate) fn is_retired(&self, key: &PublicKey) -> bool {
        self.retired.contains(key)
    }

    /// What headers carry: the first address that they can carry, of the most trusted slot that has one. Where this run
    /// has received a descriptor with addresses, slots behind it are not looked at: they tell where the peer was once.
    fn hop(&self, now: UnixSeconds, is_expired: bool) -> Option<HopAddress> {
        let live = self.slots.iter().filter(|slot| is_expired || !slot.is_expired(now));
        let tells_all = |slot: &Slot| slot.is_fresh_descriptor() && !slot.report.addresses.is_empty();
        let last = live.clone().find(|slot| tells_all(slot)).map_or(Trust::Cache, Slot::trust);
        let mut addresses = live.filter(|slot| slot.trust() <= last).flat_map(|slot| &slot.report.addresses);
        addresses.find_map(|address| HopAddress::from_multiaddr(address, self.peer).ok())
    }

    /// An operator's entry with a key is a mix node; else the descriptor decides; else any source that says so, for the
    /// flag in a node record is a hint (`spec/waku.md §5.2`).
    fn mixes(&self, now: UnixSeconds, is_expired: bool) -> bool {
        let mut live = self.slots.iter().filter(|slot| is_expired || !slot.is_expired(now));
        match live.clone().find(|slot| matches!(slot.trust(), Trust::MixEntry | Trust::Descriptor)) {
            Some(slot) => slot.trust() == Trust::MixEntry || slot.mixes(),
            None => live.any(Slot::mixes),
        }
    }
}

/// What the operator has written is not all that a node offers: it is joined with what the peer itself says in the most trusted
/// of its records and over connections. Records of the network's nodes leave out much of it.
fn capabilities<'a>(live: impl Iterator<Item = &'a Slot>) -> Option<Capabilities> {
    let is_joined = |slot: &&Slot| slot.source == SourceName::Static || !slot.is_record();
    let (joined, told): (Vec<_>, Vec<_>) = live.partition(is_joined);
    let told = told.iter().find_map(|slot| slot.report.capabilities);
    joined.iter().filter_map(|slot| slot.report.capabilities).chain(told).reduce(|all, own| all | own)
}
