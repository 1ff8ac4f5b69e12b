//! What one source has told of one peer, and when its next word is taken.

use wakumix_sphinx::PublicKey;
use wakumix_waku::record::Capabilities;

use crate::peer_report::{PeerReport, Refusal, SourceName, UnixSeconds};

/// Between two changes of a key that no earlier record has announced. A node that lost its key comes back with another at
/// once, and of one that rotates every minute an announcement may be missed; one that changes its key again and again only
/// makes senders use dead keys.
pub(crate) const KEY_CHANGE_INTERVAL: UnixSeconds = 60;
/// How much earlier than announced a key may change: clocks differ.
const KEY_DATE_SLACK: UnixSeconds = 5 * 60;

/// What one source has told of one peer.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) source: SourceName,
    /// Field by field the newest that the source has told.
    pub(crate) report: PeerReport,
    /// It was reported to an earlier run of this node, and no source has repeated it yet.
    pub(crate) is_cached: bool,
    /// When the key changed last without having been announced.
    key_changed: Option<UnixSeconds>,
}

/// How much a source is trusted, the most first. What peers sign and fetch afresh stands before what is passed around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// An operator's entry with a mix key.
    MixEntry,
    /// An operator's entry of a service.
    ServiceEntry,
    /// A signed descriptor.
    Descriptor,
    /// A node record: from discv5, peer exchange or a DNS list; among them the higher sequence number counts.
    NodeRecord,
    /// An advertisement of a service.
    Advertisement,
    /// A registration at a rendezvous point.
    Registration,
    /// What the peer says over a connection.
    Connection,
    /// The snapshot of an instance that ended.
    Cache,
}

impl Slot {
    pub(super) fn new(source: SourceName, report: PeerReport) -> Self {
        Self { source, report, is_cached: false, key_changed: None }
    }

    /// A slot of an earlier run.
    pub(super) fn cached(source: SourceName, report: PeerReport) -> Self {
        Self { is_cached: true, ..Self::new(source, report) }
    }

    /// Whether a record belongs here. The operator's entries of a mix node and of a service at the same peer are two.
    pub(super) fn is_for(&self, source: SourceName, report: &PeerReport) -> bool {
        self.source == source && self.trust() == trust(source, report)
    }

    pub(crate) fn trust(&self) -> Trust {
        trust(self.source, &self.report)
    }

    /// Whether it is a descriptor that this run has received: complete, signed, the peer's own word of now.
    pub(super) fn is_fresh_descriptor(&self) -> bool {
        self.trust() == Trust::Descriptor && !self.is_cached
    }

    /// Whether it is a record, by which a node is known. What a peer says over connections only adds to those.
    pub(crate) fn is_record(&self) -> bool {
        self.source != SourceName::Identify
    }

    /// Whether its newest record is over.
    pub(crate) fn is_expired(&self, now: UnixSeconds) -> bool {
        self.report.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether a record, as it is at this moment, may come after those that were taken: not replayed, its key not changed
    /// too fast.
    pub(super) fn admit(&self, new: &PeerReport, now: UnixSeconds) -> Result<(), Refusal> {
        if new.version < self.report.version {
            return Err(Refusal::Replayed);
        }
        let changes = new.mix_key.zip(self.report.mix_key).is_some_and(|(new, known)| new != known);
        // The node itself says so, to this node. How often it is asked is for this node to say.
        let is_own_word = new.told_at.is_some();
        let may_change = self.source == SourceName::Static
            || is_own_word
            || new.mix_key.is_some_and(|key| self.has_announced(key, now))
            || self.may_change_key(now);
        if changes && !may_change { Err(Refusal::KeyChange) } else { Ok(()) }
    }

    /// Takes a record that was admitted; true when it tells anything new.
    pub(super) fn take(&mut self, new: PeerReport, now: UnixSeconds) -> bool {
        let was_cached = std::mem::replace(&mut self.is_cached, false);
        if let Some((key, known)) = new.mix_key.zip(self.report.mix_key)
            && key != known
            && !self.has_announced(key, now)
        {
            self.key_changed = Some(now);
        }
        let before = self.report.clone();
        // What a peer says over a connection is all that it says.
        if self.is_record() {
            merge(&mut self.report, new);
        } else {
            self.report = new;
        }
        // That it was said again is no news.
        was_cached || self.report != PeerReport { told_at: self.report.told_at, ..before }
    }

    /// What it says of whether the peer mixes; registrations and advertisements are made for mix nodes alone.
    pub(super) fn mixes(&self) -> bool {
        self.is_record() && self.report.capabilities.is_none_or(|own| own.contains(Capabilities::MIX))
    }

    fn may_change_key(&self, now: UnixSeconds) -> bool {
        self.key_changed.is_none_or(|changed| now.saturating_sub(changed) >= KEY_CHANGE_INTERVAL)
    }

    fn has_announced(&self, key: PublicKey, now: UnixSeconds) -> bool {
        self.report.next_key.is_some_and(|(next, at)| next == key && at <= now + KEY_DATE_SLACK)
    }
}

fn trust(source: SourceName, report: &PeerReport) -> Trust {
    match source {
        SourceName::Static if report.mix_key.is_some() => Trust::MixEntry,
        SourceName::Static => Trust::ServiceEntry,
        SourceName::Descriptors => Trust::Descriptor,
        SourceName::Discv5 | SourceName::PeerExchange | SourceName::Dns => Trust::NodeRecord,
        SourceName::ServiceDiscovery => Trust::Advertisement,
        SourceName::Rendezvous => Trust::Registration,
        SourceName::Identify => Trust::Connection,
        SourceName::Cache => Trust::Cache,
    }
}

/// Field by field; what the new record does not tell stays. A record that tells a key tells its successor, too, or that
/// there is none.
fn merge(known: &mut PeerReport, new: PeerReport) {
    known.version = new.version;
    known.expires = new.expires;
    if !new.addresses.is_empty() {
        known.addresses = new.addresses;
    }
    if !new.family.is_empty() {
        known.family = new.family;
    }
    if new.mix_key.is_some() {
        known.told_at = new.told_at.or(known.told_at.filter(|_| known.mix_key == new.mix_key));
        known.mix_key = new.mix_key;
        known.next_key = new.next_key;
        known.key_slack = new.key_slack;
    }
    known.capabilities = new.capabilities.or(known.capabilities);
    known.shards = new.shards.or(known.shards.take());
    known.profiles = new.profiles.or(known.profiles.take());
    known.formats = new.formats.or(known.formats);
    known.reassembles = new.reassembles.or(known.reassembles);
    known.is_full = new.is_full.or(known.is_full);
    known.operator = new.operator.or(known.operator.take());
    known.record = new.record.or(known.record.take());
}
