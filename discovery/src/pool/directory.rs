//! What is shown of the peer table: the snapshot that everyone reads, the list for operators, the peers to stay connected
//! to.

use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use rand::{Rng, seq::SliceRandom};
use wakumix_mix::{Family, HopAddress, MixNode, is_public};
use wakumix_role_api::{
    Directory,
    directory::{ClockSkew, PoolCounts, PoolState, ServiceNode},
};
use wakumix_waku::record::Capabilities;

use super::{
    entry::{ContactClass, PoolEntry},
    family::{Own, families},
};
use crate::{
    clock::Now,
    entry::PeerAddress,
    peer_report::SourceName,
    peer_table::{self, Node, PeerTable, Rules, Slot},
};

/// Relays that a relaying node keeps connections to: gossipsub's mesh wants 6 and takes up to 12.
const RELAYS: usize = 8;
/// Services that were found, not written by the operator, to keep connections to: a few are ready when one fails.
const SERVICES: usize = 8;

/// Addresses at which a node is dialled: TCP, QUIC and WebSocket.
const MAX_PLACES: usize = 3;

/// A snapshot before it is shuffled, so that two of them can be compared.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) mix_nodes: Vec<MixNode>,
    lightpush: Vec<ServiceNode>,
    connected: BTreeSet<PeerId>,
    pub(crate) pool: PoolCounts,
    own_family: Option<Family>,
    guards: Option<Vec<PeerId>>,
    independent: Option<usize>,
    written: Vec<MixNode>,
    pub(crate) clock: Option<ClockSkew>,
}

impl View {
    /// The peer table now, on a node with these guards.
    pub(crate) fn of(table: &PeerTable, own_operator: Option<&str>, guards: Option<Vec<PeerId>>) -> Self {
        let rules = table.rules();
        let mut pool = PoolCounts::default();
        table.nodes().filter_map(|node| node.state).for_each(|(state, _)| pool.add(state));
        let usable = by_rank(table, is_usable);
        let connected = usable.iter().filter(|node| node.contact.is_connected).map(|node| node.peer).collect();
        let (families, own_family) = families(&usable, Own { operator: own_operator, family: &rules.family });
        let mix_nodes =
            usable.iter().zip(families).filter_map(|(node, family)| mix_node(node, family, rules)).collect();
        let services = by_rank(table, |node| is_service(node, rules));
        let lightpush = services.into_iter().map(service).collect();
        let independent = independent(&usable);
        let is_written = |node: &Node| node.is_entry() && node.state.is_some() && !is_usable(node);
        let written = by_rank(table, is_written).into_iter().filter_map(|node| mix_node(node, None, rules)).collect();
        Self { mix_nodes, lightpush, connected, pool, own_family, guards, independent, written, clock: None }
    }

    /// The snapshot, the pool in an order that tells nothing; whether sources search is theirs to say.
    pub(crate) fn directory<R: Rng + ?Sized>(&self, rng: &mut R, is_searching: bool) -> Directory {
        let Self { lightpush, connected, pool, own_family, guards, independent, written, clock, .. } = self;
        let mut mix_nodes = self.mix_nodes.clone();
        mix_nodes.shuffle(rng);
        Directory {
            mix_nodes,
            lightpush: lightpush.clone(),
            connected: connected.clone(),
            pool: *pool,
            is_searching,
            own_family: *own_family,
            guards: guards.clone(),
            independent: *independent,
            written: written.clone(),
            clock: *clock,
        }
    }
}

/// The table of all mix nodes, usable ones first, then by peer id.
pub(crate) fn entries(table: &PeerTable, own_operator: Option<&str>, now: Now) -> Vec<PoolEntry> {
    let nodes = by_rank(table, |node| node.state.is_some());
    let (families, _) = families(&nodes, Own { operator: own_operator, family: &table.rules().family });
    let entry = |(node, family): (&&Node, _)| entry(node, family, table.rules(), now);
    let mut entries: Vec<_> = nodes.iter().zip(families).filter_map(entry).collect();
    entries.sort_by_cached_key(|entry| (entry.state, entry.peer.to_base58()));
    entries
}

fn entry(node: &Node, family: Option<Family>, rules: &Rules, now: Now) -> Option<PoolEntry> {
    let (state, since) = node.state?;
    let (view, contact) = (&node.view, &node.contact);
    Some(PoolEntry {
        peer: node.peer,
        addresses: view.addresses.clone(),
        hop_address: view.hop.clone(),
        mix_key: view.key,
        capabilities: view.capabilities.unwrap_or(Capabilities::NONE),
        shards: view.shards.clone(),
        profiles: view.profiles.clone().unwrap_or_default(),
        reassembles: view.reassembles,
        is_full: view.is_full,
        sources: node.sources(),
        operator: view.operator.clone(),
        family,
        class: class(node),
        is_connected: contact.is_connected,
        last_seen: contact.last_seen.map(|seen| now.since(seen)),
        failures: contact.failures,
        state,
        reason: peer_table::reason(node, state, rules, now),
        since: now.since(since),
        next_check: Some(contact.due.map(|due| now.until(due)).unwrap_or_default()),
    })
}

fn class(node: &Node) -> ContactClass {
    if node.is_entry() {
        ContactClass::Entry
    } else if node.contact.last_seen.is_some() {
        ContactClass::Reached
    } else if node.contact.is_connected {
        ContactClass::InboundOnly
    } else {
        ContactClass::Unverified
    }
}

/// In how many hands the usable nodes lie: their /24s, where an operator's entry is one of its own. `None` where these nodes
/// are the operator's entries alone, or none of them has a public address.
fn independent(usable: &[&Node]) -> Option<usize> {
    let (entries, found): (Vec<&Node>, Vec<&Node>) = usable.iter().partition(|node| node.is_entry());
    let ips = || found.iter().filter_map(|node| node.view.hop.as_ref()).map(HopAddress::ip);
    if !ips().any(|ip| is_public(ip.into())) {
        return None;
    }
    let subnets: BTreeSet<_> = ips().map(|ip| u32::from(ip) >> 8).collect();
    Some(entries.len() + subnets.len())
}

/// The peers to stay connected to, at most `max`, each with its addresses one after the other: the operator's peers, services,
/// relays of a node that relays, and where the node sends, pool nodes. A node with guards stays connected to these, and to
/// neither services nor other pool nodes.
pub(crate) fn connections(
    table: &PeerTable,
    static_peers: &[PeerAddress],
    guards: Option<&[PeerId]>,
    max: usize,
) -> Vec<Multiaddr> {
    let rules = table.rules();
    if let Some(guards) = guards {
        let relays = by_rank(table, |node| rules.relays && is_relay(node, rules)).into_iter().take(RELAYS);
        let nodes = guards.iter().filter_map(|guard| table.get(guard)).chain(relays);
        return addresses(table, static_peers, nodes, max);
    }
    let services = by_rank(table, |node| is_service(node, rules));
    let (written, found): (Vec<_>, Vec<_>) = services.into_iter().partition(|node| node.is_entry());
    let services = written.into_iter().chain(found.into_iter().take(SERVICES));
    let relays = by_rank(table, |node| rules.relays && is_relay(node, rules)).into_iter().take(RELAYS);
    let pool = by_rank(table, |node| rules.pool.sends && is_usable(node));
    addresses(table, static_peers, services.chain(relays).chain(pool), max)
}

/// The addresses of the operator's peers and of these nodes, of each peer once. A node without IPv4 reaches the operator's peers
/// at what their records say, too.
fn addresses<'n>(
    table: &PeerTable,
    static_peers: &[PeerAddress],
    nodes: impl Iterator<Item = &'n Node>,
    max: usize,
) -> Vec<Multiaddr> {
    let rules = table.rules();
    let static_peers = static_peers.iter().map(|entry| {
        let known = table.get(&entry.peer).filter(|_| !rules.has_ip4);
        let told = known.map(|node| full_addresses(node, rules)).unwrap_or_default();
        (entry.peer, [vec![entry.full()], told].concat())
    });
    let nodes = nodes.map(|node| (node.peer, full_addresses(node, rules)));
    let mut seen = BTreeSet::from([rules.me]);
    let all = static_peers.chain(nodes).filter(|(peer, _)| seen.insert(*peer));
    all.filter(|(_, addresses)| !addresses.is_empty()).take(max).flat_map(|(_, addresses)| addresses).collect()
}

/// The operator's entries in their order, then everybody else in an order of this node's own that never changes.
pub(super) fn by_rank(table: &PeerTable, mut filter: impl FnMut(&Node) -> bool) -> Vec<&Node> {
    let mut nodes: Vec<_> = table.nodes().filter(|node| filter(node)).collect();
    nodes.sort_by_key(|node| (node.rank, node.peer));
    nodes
}

pub(crate) fn is_usable(node: &Node) -> bool {
    node.state.is_some_and(|(state, _)| state == PoolState::Usable)
}

fn mix_node(node: &Node, family: Option<Family>, rules: &Rules) -> Option<MixNode> {
    Some(MixNode {
        address: node.view.hop.clone()?,
        key: node.view.key?,
        family,
        formats: peer_table::formats(node, rules),
        reassembles: node.view.reassembles.unwrap_or(false),
    })
}

fn service(node: &Node) -> ServiceNode {
    ServiceNode { peer: node.peer, addresses: node.view.addresses.clone(), shards: node.view.shards.clone() }
}

/// An operator's entry is used whatever is known. One that was found has to be in the pool, where it is exit and
/// destination at once, and of this node's shards: a service beyond the pool needs a pool node that forwards, and which ones
/// do only the operator knows.
fn is_service(node: &Node, rules: &Rules) -> bool {
    if !offers(node, Capabilities::LIGHTPUSH) {
        return false;
    }
    node.slots().iter().any(is_service_entry) || (is_usable(node) && shares_shards(node, rules))
}

fn is_service_entry(slot: &Slot) -> bool {
    slot.source == SourceName::Static && slot.report.capabilities.is_some()
}

fn is_relay(node: &Node, rules: &Rules) -> bool {
    offers(node, Capabilities::RELAY) && node.is_alive && shares_shards(node, rules)
}

fn offers(node: &Node, what: Capabilities) -> bool {
    node.view.capabilities.is_some_and(|own| own.contains(what))
}

fn shares_shards(node: &Node, rules: &Rules) -> bool {
    node.view
        .shards
        .as_ref()
        .is_none_or(|theirs| rules.shards.is_empty() || theirs.shards.iter().any(|shard| rules.shards.contains(shard)))
}

/// Where a node is dialled, the first few.
fn full_addresses(node: &Node, rules: &Rules) -> Vec<Multiaddr> {
    let places = node.places(rules.has_ip4).into_iter().take(MAX_PLACES);
    places.map(|place| place.with(Protocol::P2p(node.peer))).collect()
}
