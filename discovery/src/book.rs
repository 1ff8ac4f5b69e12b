//! What is known of whom: merges what sources find, without I/O.

use std::{collections::HashMap, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_mix::{HopAddress, MixNode};
use wakumix_role_api::{
    Directory,
    directory::{PoolState, ServiceNode},
};
use wakumix_waku::record::Capabilities;

use crate::{
    entry::PeerAddress,
    finding::{Finding, SourceName},
    pool::PoolEntry,
};

/// The merged knowledge. One record a peer; what was learnt last replaces what was known.
#[derive(Debug)]
pub(crate) struct Book {
    me: PeerId,
    max_nodes: usize,
    mix_nodes: Vec<MixNode>,
    places: HashMap<PeerId, usize>,
    lightpush: Vec<ServiceNode>,
}

/// What adding records did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Something is new or different.
    pub(crate) is_news: bool,
    /// Records that there was no room for.
    pub(crate) ignored: usize,
}

impl Book {
    /// The book of the node `me`, which is never in it, continued from a snapshot.
    pub(crate) fn new(me: PeerId, max_nodes: usize, known: &Directory) -> Self {
        let mut book = Self { me, max_nodes, mix_nodes: Vec::new(), places: HashMap::new(), lightpush: Vec::new() };
        book.add_mix_nodes(known.mix_nodes.clone());
        book.add_lightpush(known.lightpush.clone());
        book
    }

    /// Adds what records tell.
    pub(crate) fn add(&mut self, findings: Vec<Finding>) -> Change {
        let mut services = Vec::new();
        let mut nodes = Vec::new();
        for Finding { peer, addresses, mix_key, capabilities, shards, .. } in findings {
            let hop = addresses.iter().find_map(|address| HopAddress::from_multiaddr(address, peer).ok());
            nodes.extend(hop.zip(mix_key).map(|(address, key)| MixNode::new(address, key)));
            if capabilities.is_some_and(|capabilities| capabilities.contains(Capabilities::LIGHTPUSH)) {
                services.push(ServiceNode { peer, addresses, shards });
            }
        }
        let (mix, lightpush) = (self.add_mix_nodes(nodes), self.add_lightpush(services));
        Change { is_news: mix.is_news || lightpush.is_news, ignored: mix.ignored + lightpush.ignored }
    }

    /// Adds mix nodes.
    pub(crate) fn add_mix_nodes(&mut self, nodes: Vec<MixNode>) -> Change {
        let mut change = Change::default();
        for node in nodes.into_iter().filter(|node| node.peer() != self.me) {
            let is_full = self.mix_nodes.len() >= self.max_nodes;
            match self.places.get(&node.peer()).and_then(|&place| self.mix_nodes.get_mut(place)) {
                Some(known) if *known == node => {}
                Some(known) => {
                    *known = node;
                    change.is_news = true;
                }
                None if is_full => change.ignored += 1,
                None => {
                    self.places.insert(node.peer(), self.mix_nodes.len());
                    self.mix_nodes.push(node);
                    change.is_news = true;
                }
            }
        }
        change
    }

    /// Adds lightpush services, behind those that are known.
    pub(crate) fn add_lightpush(&mut self, services: Vec<ServiceNode>) -> Change {
        let mut change = Change::default();
        for service in services.into_iter().filter(|service| service.peer != self.me) {
            let is_full = self.lightpush.len() >= self.max_nodes;
            match self.lightpush.iter_mut().find(|known| known.peer == service.peer) {
                Some(known) if *known == service => {}
                Some(known) => {
                    *known = service;
                    change.is_news = true;
                }
                None if is_full => change.ignored += 1,
                None => {
                    self.lightpush.push(service);
                    change.is_news = true;
                }
            }
        }
        change
    }

    /// Number of mix nodes.
    pub(crate) fn pool_size(&self) -> usize {
        self.mix_nodes.len()
    }

    /// The snapshot that everyone reads.
    pub(crate) fn directory(&self) -> Directory {
        Directory { mix_nodes: self.mix_nodes.clone(), lightpush: self.lightpush.clone(), ..Directory::default() }
    }

    /// Every mix node; all of them are believed.
    pub(crate) fn entries(&self) -> Vec<PoolEntry> {
        let entry = |node: &MixNode| PoolEntry {
            peer: node.peer(),
            addresses: vec![node.address.multiaddr()],
            hop_address: Some(node.address.clone()),
            mix_key: Some(node.key),
            capabilities: Capabilities::MIX,
            shards: None,
            profiles: Vec::new(),
            sources: vec![SourceName::Static],
            operator: None,
            family: node.family,
            is_connected: false,
            last_seen: None,
            failures: 0,
            state: PoolState::Usable,
            reason: "the operator's entry".to_owned(),
            since: Duration::ZERO,
            next_check: None,
        };
        self.mix_nodes.iter().map(entry).collect()
    }

    /// Whom to stay connected to, one address a peer: the static peers, then services, then mix nodes, `max` in all.
    pub(crate) fn connections(&self, static_peers: &[PeerAddress], max: usize) -> Vec<Multiaddr> {
        let services = self.lightpush.iter().filter_map(|service| {
            let address = service.addresses.first()?.clone();
            Some((service.peer, address.with(Protocol::P2p(service.peer))))
        });
        let mix_nodes = self.mix_nodes.iter().map(|node| {
            let peer = node.peer();
            (peer, node.address.multiaddr().with(Protocol::P2p(peer)))
        });
        let static_peers = static_peers.iter().map(|entry| (entry.peer, entry.full()));
        let mut seen = vec![self.me];
        let mut connections = Vec::new();
        for (peer, address) in static_peers.chain(services).chain(mix_nodes) {
            if connections.len() >= max {
                break;
            }
            if !seen.contains(&peer) {
                seen.push(peer);
                connections.push(address);
            }
        }
        connections
    }
}

#[cfg(test)]
mod tests {
    use wakumix_sphinx::PrivateKey;

    use super::*;

    fn peer(seed: u8) -> PeerId {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
        let keypair = libp2p_identity::secp256k1::Keypair::from(secret);
        libp2p_identity::Keypair::from(keypair).public().to_peer_id()
    }

    fn node(seed: u8, port: u16) -> MixNode {
        let address = format!("/ip4/10.0.0.{seed}/tcp/{port}").parse().unwrap();
        let key = PrivateKey::from_bytes([seed; 32]).public();
        MixNode::new(HopAddress::from_multiaddr(&address, peer(seed)).unwrap(), key)
    }

    fn service(seed: u8, port: u16) -> ServiceNode {
        ServiceNode::new(peer(seed), vec![node(seed, port).address.multiaddr()])
    }

    fn static_peer(seed: u8, port: u16) -> PeerAddress {
        PeerAddress { peer: peer(seed), address: node(seed, port).address.multiaddr() }
    }

    fn book() -> Book {
        Book::new(peer(99), 3, &Directory::default())
    }

    const NEWS: Change = Change { is_news: true, ignored: 0 };

    #[test]
    fn keeps_one_record_a_peer_and_the_newest_of_them() {
        let mut book = book();
        assert_eq!(book.add_mix_nodes(vec![node(1, 1), node(2, 1), node(1, 2)]), NEWS);
        assert_eq!(book.directory().mix_nodes, [node(1, 2), node(2, 1)]);
        assert_eq!(book.add_mix_nodes(vec![node(2, 1)]), Change::default());
        assert_eq!(book.add_lightpush(vec![service(5, 1), service(4, 1)]), NEWS);
        assert_eq!(book.add_lightpush(vec![service(5, 2), service(6, 1)]), NEWS);
        assert_eq!(book.directory().lightpush, [service(5, 2), service(4, 1), service(6, 1)]);
    }

    #[test]
    fn this_node_is_never_in_it() {
        let mut book = book();
        assert_eq!(book.add_mix_nodes(vec![node(99, 1)]), Change::default());
        assert_eq!(book.add_lightpush(vec![service(99, 1)]), Change::default());
        assert!(book.connections(&[static_peer(99, 1)], 9).is_empty());
    }

    #[test]
    fn ignores_and_counts_what_there_is_no_room_for() {
        let mut book = book();
        let change = book.add_mix_nodes((1..=5).map(|seed| node(seed, 1)).collect());
        assert_eq!(change, Change { is_news: true, ignored: 2 });
        assert_eq!(book.pool_size(), 3);
        assert_eq!(book.add_mix_nodes(vec![node(3, 7)]), NEWS, "known peers move in a full book");
    }

    #[test]
    fn goes_on_from_a_snapshot() {
        let mut first = book();
        first.add_mix_nodes(vec![node(1, 1)]);
        first.add_lightpush(vec![service(2, 1)]);
        let second = Book::new(peer(99), 3, &first.directory());
        assert_eq!(second.directory().mix_nodes, [node(1, 1)]);
        assert_eq!(second.directory().lightpush, [service(2, 1)]);
    }

    #[test]
    fn connects_each_peer_once_static_ones_first() {
        let mut book = book();
        book.add_mix_nodes(vec![node(1, 1), node(2, 1)]);
        book.add_lightpush(vec![service(2, 5)]);
        let full = |seed, port| node(seed, port).address.multiaddr().with(Protocol::P2p(peer(seed)));
        let static_peers = [static_peer(7, 1)];
        assert_eq!(book.connections(&static_peers, 9), [full(7, 1), full(2, 5), full(1, 1)]);
        assert_eq!(book.connections(&static_peers, 2), [full(7, 1), full(2, 5)]);
    }
}
