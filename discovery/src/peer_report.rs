//! What a source reports: one record about one peer, already checked for form and signature.

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::MixNode;
use wakumix_role_api::directory::ServiceNode;
use wakumix_sphinx::{FormatSet, PublicKey, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

wakumix_sphinx::named_enum! {
    /// Where a record came from.
    pub enum SourceName {
        /// The operator's own entries.
        Static = "static",
        /// The cache of an earlier run.
        Cache = "cache",
        /// Node Discovery v5 (`spec/waku.md §6.1`).
        Discv5 = "discv5",
        /// Signed mix descriptors.
        Descriptors = "descriptors",
        /// Waku rendezvous (`spec/waku.md §5.3`).
        Rendezvous = "rendezvous",
        /// Kademlia service discovery (`spec/waku.md §6.6`).
        ServiceDiscovery = "service-discovery",
        /// Peer exchange (`spec/waku.md §6.5`).
        PeerExchange = "peer-exchange",
        /// DNS lists (`spec/waku.md §6.4`).
        Dns = "dns",
        /// What known peers say over connections that this node opened (`spec/waku.md §3`).
        Identify = "identify",
    }
}

impl SourceName {
    /// The name of the task that runs it.
    pub(crate) const fn task(self) -> &'static str {
        match self {
            Self::Static => "discovery_static",
            Self::Cache => "discovery_cache_source",
            Self::Discv5 => "discovery_discv5",
            Self::Descriptors => "discovery_descriptors",
            Self::Rendezvous => "discovery_rendezvous",
            Self::ServiceDiscovery => "discovery_service_discovery",
            Self::PeerExchange => "discovery_peer_exchange",
            Self::Dns => "discovery_dns",
            Self::Identify => "discovery_identify",
        }
    }
}

/// Seconds since the Unix epoch.
pub type UnixSeconds = u64;

/// One record about one peer. What a record does not tell is `None` or empty, and leaves what is known as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// The peer that it is about. The record is signed by this peer, or written by this node's operator.
    pub peer: PeerId,
    /// Orders the records of one peer from one source: an ENR's sequence number, a descriptor's issue time. A record
    /// with a lower version than the last is a replay.
    pub version: u64,
    /// Where the peer listens, without `/p2p/<peer>`; relay addresses end in `/p2p-circuit`. At most
    /// [`MAX_ADDRESSES`](Self::MAX_ADDRESSES), the most preferred first.
    pub addresses: Vec<Multiaddr>,
    /// What it offers.
    pub capabilities: Option<Capabilities>,
    /// Its cluster and shards.
    pub shards: Option<Shards>,
    /// Its mix key now.
    pub mix_key: Option<PublicKey>,
    /// The key that follows, and when.
    pub next_key: Option<(PublicKey, UnixSeconds)>,
    /// How much later than that the next key is taken up where the peer has not said that it has it: half of the time for which
    /// the old one still opens packets. Clocks differ, either way.
    pub key_slack: UnixSeconds,
    /// When the peer said all this itself over a connection that this node opened, by this node's clock.
    pub told_at: Option<UnixSeconds>,
    /// The wire profiles that it speaks.
    pub profiles: Option<Vec<WireFormat>>,
    /// The kinds of packets that it speaks, where the record says that without profiles.
    pub formats: Option<FormatSet>,
    /// Whether it puts fragments of requests together when a path ends at it.
    pub reassembles: Option<bool>,
    /// Whether so many are connected to it that newcomers should look elsewhere.
    pub is_full: Option<bool>,
    /// What its operator calls itself: nodes with the same tag are run by one.
    pub operator: Option<String>,
    /// Other nodes of the same operator; counts where they say the same.
    pub family: Vec<PeerId>,
    /// When it is no longer to be believed.
    pub expires: Option<UnixSeconds>,
    /// The encoded, signed record as it can be passed on, for sources that pass records on.
    pub record: Option<SignedRecord>,
}

/// A record as it is known, for sources that pass it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRecord {
    /// What is known of the peer, merged, with one signed record of it if there is any.
    pub report: PeerReport,
    /// What this node has seen of the peer.
    pub standing: Standing,
}

/// What this node has seen of a peer whose record it may pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This node reached it lately, or its operator wrote it down.
    Reached,
    /// Neither reached nor tried in vain.
    Untried,
    /// Tried in vain.
    Failed,
}

impl Standing {
    /// How many reached nodes and how many strangers an answer of `count` further records tells, of so many that are known,
    /// where `told` of reached nodes are in it already. Unverified are a quarter of the answer at most: what a node tells is
    /// what it has seen, and newcomers spread all the same.
    pub(crate) fn shares(count: usize, told: usize, reached: usize, strangers: usize) -> (usize, usize) {
        let strangers = strangers.min((count + told) / 4).min(count);
        let reached = reached.min(count - strangers);
        (reached, strangers.min((told + reached) / 3))
    }
}

/// A node as an earlier run knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    pub(crate) peer: PeerId,
    /// When it was reached last.
    pub(crate) last_seen: Option<UnixSeconds>,
    /// What each source told of it.
    pub(crate) records: Vec<(SourceName, PeerReport)>,
}

/// A signed record that proves itself to whoever it is passed on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedRecord {
    /// An ENR in RLP (`spec/waku.md §6.2`).
    NodeRecord(Vec<u8>),
    /// A mix descriptor in its envelope.
    Descriptor(Vec<u8>),
}

impl PeerReport {
    /// Addresses that are kept of one record.
    pub const MAX_ADDRESSES: usize = 8;

    /// A record that tells nothing yet.
    #[must_use]
    pub fn new(peer: PeerId, version: u64) -> Self {
        Self {
            peer,
            version,
            addresses: Vec::new(),
            capabilities: None,
            shards: None,
            mix_key: None,
            next_key: None,
            key_slack: 0,
            told_at: None,
            profiles: None,
            formats: None,
            reassembles: None,
            is_full: None,
            operator: None,
            family: Vec::new(),
            expires: None,
            record: None,
        }
    }

    /// Whether the time of the key that follows has come. A peer that said after that date, by this node's clock, that it still
    /// has its old key is believed: then this clock is fast.
    pub(crate) fn is_turning(&self, now: UnixSeconds) -> bool {
        let told_at = self.told_at.unwrap_or_default();
        self.next_key.is_some_and(|(_, at)| at.max(told_at).saturating_add(self.key_slack) <= now)
    }

    /// Lets the key that follows take the key's place once its time has come; the key that it replaces, if it is another.
    /// Who reads an old record late reads it as it has become.
    pub(crate) fn turn(&mut self, now: UnixSeconds) -> Option<PublicKey> {
        if !self.is_turning(now) {
            return None;
        }
        let (key, _) = self.next_key.take()?;
        self.mix_key.replace(key).filter(|old| *old != key)
    }
}

/// What an operator says of a mix node, abilities included.
impl From<MixNode> for PeerReport {
    fn from(node: MixNode) -> Self {
        Self {
            addresses: vec![node.address.multiaddr()],
            mix_key: Some(node.key),
            formats: Some(node.formats),
            reassembles: Some(node.reassembles),
            ..Self::new(node.peer(), 0)
        }
    }
}

/// What an operator has written of a lightpush service.
impl From<ServiceNode> for PeerReport {
    fn from(ServiceNode { peer, addresses, shards }: ServiceNode) -> Self {
        let capabilities = Some(Capabilities::RELAY | Capabilities::LIGHTPUSH);
        Self { addresses, capabilities, shards, ..Self::new(peer, 0) }
    }
}

wakumix_sphinx::named_enum! {
    /// Why something that a source received is refused.
    pub enum Refusal {
        /// It does not parse.
        Malformed = "malformed",
        /// Its signature is wrong, or it is signed by another peer.
        Signature = "signature",
        /// Its time is over, or lies too far in the future.
        Expired = "expired",
        /// Older than what is known of the peer.
        Replayed = "replayed",
        /// Of another cluster.
        Cluster = "cluster",
        /// It neither mixes nor serves anything that this node uses.
        Irrelevant = "irrelevant",
        /// It has no address, or private ones only where those are not allowed.
        Address = "address",
        /// The key changed faster than the rotation rule allows.
        KeyChange = "key_change",
        /// Too many records for one address or subnet.
        Flood = "flood",
        /// There is no room, or the source has used up its share.
        Full = "full",
        /// More than was asked for, or larger than allowed.
        TooMany = "too_many",
    }
}
