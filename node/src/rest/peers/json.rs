//! Peers as REST callers read them.

use std::collections::{BTreeMap, HashMap};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use schemars::JsonSchema;
use serde::Serialize;
use wakumix_discovery::{PoolEntry, peer_report::SourceName};
use wakumix_role_api::host::PeerDetails;
use wakumix_waku::{PubsubTopic, RELAY_PROTOCOL};

/// A peer, with nwaku's keys.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Peer")]
pub(super) struct PeerJson {
    /// Where it is, `/p2p/<peer id>` at the end.
    pub(super) multiaddr: String,
    /// The protocols that it says it speaks; empty while it is not connected.
    pub(super) protocols: Vec<String>,
    /// The shards of this node's cluster that it has joined, as far as is known.
    pub(super) shards: Vec<u16>,
    /// Whether it is connected.
    pub(super) connected: Connectedness,
    /// The program that it says it is.
    pub(super) agent: String,
    /// Which kind of discovery tells of it.
    pub(super) origin: Origin,
    /// Its gossipsub score, of a relay peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) score: Option<f64>,
    #[serde(skip)]
    mesh: Vec<u16>,
    #[serde(skip)]
    subscribed: Vec<u16>,
    #[serde(skip)]
    peer: Option<PeerId>,
}

/// nwaku's words for how a peer is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum Connectedness {
    /// It was not dialled yet.
    NotConnected,
    /// The last attempt failed.
    CannotConnect,
    /// It was connected, or answered.
    CanConnect,
    /// It is.
    Connected,
}

impl Connectedness {
    const ALL: [Self; 4] = [Self::Connected, Self::NotConnected, Self::CannotConnect, Self::CanConnect];

    /// As the description of a number of peers has it.
    fn name(self) -> &'static str {
        match self {
            Self::NotConnected => "NotConnected",
            Self::CannotConnect => "CannotConnect",
            Self::CanConnect => "CanConnect",
            Self::Connected => "Connected",
        }
    }
}

/// nwaku's words for where a peer is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) enum Origin {
    /// From nowhere else than its connection, or from a kind that nwaku does not have.
    #[serde(rename = "UnknownOrigin")]
    Unknown,
    /// Node Discovery v5.
    Discv5,
    /// An entry of the operator's.
    Static,
    /// Peer exchange.
    PeerExchange,
    /// A DNS list.
    Dns,
    /// Service discovery.
    Kademlia,
    /// An earlier run.
    Cache,
}

impl From<SourceName> for Origin {
    fn from(source: SourceName) -> Self {
        match source {
            SourceName::Static => Self::Static,
            SourceName::Cache => Self::Cache,
            SourceName::Discv5 => Self::Discv5,
            SourceName::PeerExchange => Self::PeerExchange,
            SourceName::Dns => Self::Dns,
            SourceName::ServiceDiscovery => Self::Kademlia,
            SourceName::Descriptors | SourceName::Rendezvous | SourceName::Identify => Self::Unknown,
        }
    }
}

/// The peers of a shard.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "PeersOfShard")]
pub(super) struct PeersOfShardJson {
    /// Its number.
    pub(super) shard: u16,
    /// Its peers.
    pub(super) peers: Vec<PeerJson>,
}

impl PeersOfShardJson {
    pub(super) fn of(shard: u16, peers: &[PeerJson], belongs: fn(&PeerJson, u16) -> bool) -> Self {
        Self { shard, peers: peers.iter().filter(|peer| belongs(peer, shard)).cloned().collect() }
    }
}

/// Numbers of peers, by group and name.
pub(super) type StatsJson = BTreeMap<&'static str, BTreeMap<String, usize>>;

impl PeerJson {
    pub(super) fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected == Connectedness::Connected
    }

    pub(super) fn relays_on(&self, shard: u16) -> bool {
        self.subscribed.contains(&shard)
    }

    pub(super) fn is_in_mesh_of(&self, shard: u16) -> bool {
        self.mesh.contains(&shard)
    }
}

/// The shard of a pubsub topic of this cluster.
pub(super) fn shard_of(topic: &str, cluster: u16) -> Option<u16> {
    PubsubTopic::parse(topic).ok().filter(|topic| topic.cluster() == cluster).map(|topic| topic.shard())
}

/// The address of a peer with its id.
fn full(address: Option<&Multiaddr>, peer: PeerId) -> String {
    let address = address.cloned().unwrap_or_else(Multiaddr::empty);
    address.with(Protocol::P2p(peer)).to_string()
}

/// Connected peers, then those of the pool that are not; each kind in the order of peer ids.
pub(super) fn known(cluster: u16, connected: Vec<PeerDetails>, pool: Vec<PoolEntry>) -> Vec<PeerJson> {
    let shards = |topics: &[String]| -> Vec<u16> {
        let mut shards: Vec<u16> = topics.iter().filter_map(|topic| shard_of(topic, cluster)).collect();
        shards.sort_unstable();
        shards
    };
    let mut pool: HashMap<PeerId, PoolEntry> = pool.into_iter().map(|entry| (entry.peer, entry)).collect();
    let told = |entry: &PoolEntry| entry.shards.clone().filter(|told| told.cluster == cluster).map(|told| told.shards);
    let origin = |entry: &PoolEntry| entry.sources.first().map_or(Origin::Unknown, |source| (*source).into());
    let mut peers: Vec<PeerJson> = connected
        .into_iter()
        .map(|PeerDetails { peer, address, protocols, agent, topics, mesh, score }| {
            let entry = pool.remove(&peer);
            let subscribed = shards(&topics);
            let of_entry = || entry.as_ref().and_then(told).unwrap_or_default();
            let address = address.or_else(|| entry.as_ref()?.addresses.first().cloned());
            PeerJson {
                multiaddr: full(address.as_ref(), peer),
                shards: if subscribed.is_empty() { of_entry() } else { subscribed.clone() },
                connected: Connectedness::Connected,
                agent,
                origin: entry.as_ref().map_or(Origin::Unknown, origin),
                score: score.filter(|_| protocols.iter().any(|protocol| protocol == RELAY_PROTOCOL)),
                protocols,
                mesh: shards(&mesh),
                subscribed,
                peer: Some(peer),
            }
        })
        .collect();
    peers.sort_by_cached_key(|peer| peer.peer.map(|peer| peer.to_base58()));
    let mut others: Vec<PoolEntry> = pool.into_values().collect();
    others.sort_by_cached_key(|entry| entry.peer.to_base58());
    peers.extend(others.into_iter().map(|entry| PeerJson {
        multiaddr: full(entry.addresses.first(), entry.peer),
        protocols: Vec::new(),
        shards: told(&entry).unwrap_or_default(),
        connected: match entry {
            PoolEntry { failures: 1.., .. } => Connectedness::CannotConnect,
            PoolEntry { last_seen: Some(_), .. } => Connectedness::CanConnect,
            _ => Connectedness::NotConnected,
        },
        agent: String::new(),
        origin: origin(&entry),
        score: None,
        mesh: Vec::new(),
        subscribed: Vec::new(),
        peer: Some(entry.peer),
    }));
    peers
}

/// The numbers that nwaku gives, under its names.
pub(super) fn stats(peers: &[PeerJson], joined: &[u16]) -> StatsJson {
    let count = |belongs: &dyn Fn(&PeerJson) -> bool| peers.iter().filter(|peer| belongs(peer)).count();
    let of_shards = |total: &str, belongs: fn(&PeerJson, u16) -> bool| -> BTreeMap<String, usize> {
        let by_shard = |shard: &u16| (shard.to_string(), count(&|peer| belongs(peer, *shard)));
        let mut numbers: BTreeMap<_, _> = joined.iter().map(by_shard).collect();
        let sum = numbers.values().sum();
        numbers.insert(total.to_owned(), sum);
        numbers
    };
    let by_connection = |state: Connectedness| (state.name().to_owned(), count(&|peer| peer.connected == state));
    let mut by_protocol: BTreeMap<String, usize> = BTreeMap::new();
    for protocol in peers.iter().flat_map(|peer| &peer.protocols) {
        *by_protocol.entry(protocol.clone()).or_default() += 1;
    }
    BTreeMap::from([
        ("Sum", BTreeMap::from([("Total peers".to_owned(), peers.len())])),
        ("By Connectedness", Connectedness::ALL.map(by_connection).into()),
        ("Relay peers", of_shards("Total relay peers", PeerJson::relays_on)),
        ("Mesh peers", of_shards("Total mesh peers", PeerJson::is_in_mesh_of)),
        ("By Protocols", by_protocol),
    ])
}
