//! What is shown of the peer table: the snapshot that everyone reads, the list for operators, the peers to stay connected
//! to.

use std::collections::BTreeSet;

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use rand::{Rng, seq::SliceRandom};
use wakumix_mix::{Family, HopAddress, MixNode};
use wakumix_role_api::{
    Directory,
    directory::{PoolCounts, PoolState, ServiceNode},
};
use wakumix_waku::record::Capabilities;

use super::{
    entry::PoolEntry,
    family::{Own, families},
};
use crate::{
    clock::Now,
    entry::PeerAddress,
    finding::SourceName,
    peer_table::{self, Node, PeerTable, Rules, Slot},
};

/// Relays that a relaying node keeps connections to: gossipsub's mesh wants 6 and takes up to 12.
const RELAYS: usize = 8;
/// Services that were found, not written by the operator, to keep connections to: a few are ready when one fails.
const SERVICES: usize = 8;

/// Addresses of IPv6 at which a node is dialled besides that of headers: TCP and QUIC.
const MAX_IP6: usize = 2;

/// A snapshot before it is shuffled, so that two of them can be compared.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct View {
    pub(crate) mix_nodes: Vec<MixNode>,
    lightpush: Vec<ServiceNode>,
    connected: BTreeSet<PeerId>,
    pub(crate) pool: PoolCounts,
    own_family: Option<Family>,
}

impl View {
    /// The peer table now.
    pub(crate) fn of(table: &PeerTable, own_operator: Option<&str>) -> Self {
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
        Self { mix_nodes, lightpush, connected, pool, own_family }
    }

    /// The snapshot, the pool in an order that tells nothing; whether sources search is theirs to say.
    pub(crate) fn directory<R: Rng + ?Sized>(&self, rng: &mut R, is_searching: bool) -> Directory {
        let Self { lightpush, connected, pool, own_family, .. } = self;
        let mut mix_nodes = self.mix_nodes.clone();
        mix_nodes.shuffle(rng);
        Directory {
            mix_nodes,
            lightpush: lightpush.clone(),
            connected: connected.clone(),
            pool: *pool,
            is_searching,
            own_family: *own_family,
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
    let next_check = rules.pool.is_checked.then(|| contact.due.map(|due| now.until(due)).unwrap_or_default());
    Some(PoolEntry {
        peer: node.peer,
        addresses: view.addresses.clone(),
        hop_address: view.hop.clone(),
        mix_key: view.key,
        capabilities: view.capabilities.unwrap_or(Capabilities::NONE),
        shards: view.shards.clone(),
        profiles: view.profiles.clone().unwrap_or_default(),
        reassembles: view.reassembles,
        sources: node.sources(),
        operator: view.operator.clone(),
        family,
        is_connected: contact.is_connected,
        last_seen: contact.last_seen.map(|seen| now.since(seen)),
        failures: contact.failures,
        state,
        reason: peer_table::reason(node, state, rules, now),
        since: now.since(since),
        next_check,
    })
}

/// Peers to stay connected to, `max` of them, each with its addresses one after the other: the operator's peers, services,
/// relays of a node that relays, and where the pool is checked, pool nodes.
pub(crate) fn connections(table: &PeerTable, static_peers: &[PeerAddress], max: usize) -> Vec<Multiaddr> {
    let rules = table.rules();
    let static_peers = static_peers.iter().map(|entry| {
        let known = table.get(&entry.peer).map(ip6).unwrap_or_default();
        (entry.peer, [vec![entry.full()], known].concat())
    });
    let services = by_rank(table, |node| is_service(node, rules));
    let (written, found): (Vec<_>, Vec<_>) = services.into_iter().partition(|node| node.is_entry());
    let services = written.into_iter().chain(found.into_iter().take(SERVICES));
    let relays = by_rank(table, |node| rules.relays && is_relay(node, rules)).into_iter().take(RELAYS);
    let pool = by_rank(table, |node| rules.pool.is_checked && is_usable(node));
    let nodes = services.chain(relays).chain(pool).map(|node| (node.peer, full_addresses(node)));
    let mut seen = BTreeSet::from([rules.me]);
    let all = static_peers.chain(nodes).filter(|(peer, _)| seen.insert(*peer));
    all.filter(|(_, addresses)| !addresses.is_empty()).take(max).flat_map(|(_, addresses)| addresses).collect()
}

/// The operator's entries in their order, then everybody else in an order of this node's own that never changes.
fn by_rank(table: &PeerTable, mut filter: impl FnMut(&Node) -> bool) -> Vec<&Node> {
    let mut nodes: Vec<_> = table.nodes().filter(|node| filter(node)).collect();
    nodes.sort_by_key(|node| (node.rank, node.peer));
    nodes
}

fn is_usable(node: &Node) -> bool {
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
    slot.source == SourceName::Static && slot.finding.capabilities.is_some()
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

/// Where a node is dialled: the address that headers carry, and those of IPv6, for a node of this network that has nothing else.
fn full_addresses(node: &Node) -> Vec<Multiaddr> {
    let hop = node.view.hop.as_ref().filter(|_| node.view.mixes).map(HopAddress::multiaddr);
    let first = hop.or_else(|| node.view.addresses.first().cloned());
    let first = first.map(|address| address.with(Protocol::P2p(node.peer)));
    let others = ip6(node).into_iter().filter(|address| Some(address) != first.as_ref());
    first.iter().cloned().chain(others).collect()
}

/// The addresses of IPv6 of a node, the first ones.
fn ip6(node: &Node) -> Vec<Multiaddr> {
    let is_ip6 = |address: &&Multiaddr| matches!(address.iter().next(), Some(Protocol::Ip6(_)));
    let found = node.view.addresses.iter().filter(is_ip6).take(MAX_IP6);
    found.map(|address| address.clone().with(Protocol::P2p(node.peer))).collect()
}

#[cfg(test)]
mod tests {
    use wakumix_role_testkit::peer;
    use wakumix_sphinx::PrivateKey;

    use super::*;
    use crate::{finding::Finding, peer_table::Rank};

    fn node(addresses: &[&str]) -> Node {
        let finding = Finding {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            mix_key: Some(PrivateKey::from_bytes([7; 32]).public()),
            capabilities: Some(Capabilities::MIX),
            ..Finding::new(peer(1), 1)
        };
        Node::told(peer(1), Rank::Found(0), SourceName::Descriptors, finding)
    }

    /// Without the peer id that each must end in.
    fn dialled(addresses: &[&str]) -> Vec<String> {
        let full = full_addresses(&node(addresses));
        let end = format!("/p2p/{}", peer(1));
        full.iter().map(|address| address.to_string().strip_suffix(&end).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_node_is_dialled_at_its_hop_address_and_those_of_ip6() {
        let (ip4, web) = ("/ip4/20.1.0.1/tcp/60000", "/ip4/20.1.0.1/tcp/8000/ws");
        let ip6 = ["/ip6/2a00::1/tcp/60000", "/ip6/2a00::1/udp/60000/quic-v1", "/ip6/2a00::1/tcp/8000/ws"];
        assert_eq!(dialled(&[web, ip6[0], ip4, ip6[1], ip6[2]]), [ip4, ip6[0], ip6[1]]);
        assert_eq!(dialled(&[web, ip4]), [ip4]);
        assert_eq!(dialled(&[ip6[0], web]), [ip6[0]], "one without a hop address, which is its first");
        assert_eq!(dialled(&[]), [""; 0]);
    }
}
