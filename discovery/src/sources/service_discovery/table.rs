//! The routing table: peers that have answered, more of them the closer they lie.

use std::{net::Ipv4Addr, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::time::Instant;
use wakumix_mix::is_public;
use wakumix_records::service_discovery::Contact;

use super::{
    parameters::K,
    position::{Distance, Position},
};

/// Answers that a peer may owe in a row before it leaves the table.
const MAX_FAILURES: u8 = 2;
/// Peers of one /24 of public addresses in the whole table, as nwaku's discv5 has it: whoever owns one subnet owns a
/// few places, not a bucket.
const MAX_PER_SUBNET: usize = 10;
/// Bits of a position, and so buckets.
const BITS: usize = 256;

#[derive(Clone, Debug)]
struct Node {
    contact: Contact,
    position: Position,
    seen: Instant,
    failures: u8,
}

/// At most [`K`] peers for each number of leading bits shared with this node.
///
/// Only a peer that has answered a request of this node enters, and a peer that answers keeps its place: who lived
/// long is likely to live on, and newcomers push nobody out. Only one that owes an answer gives way.
#[derive(Debug)]
pub(super) struct Table {
    me: Position,
    buckets: Vec<Vec<Node>>,
}

impl Table {
    pub(super) fn new(me: &PeerId) -> Self {
        Self { me: Position::of_peer(me), buckets: vec![Vec::new(); BITS] }
    }

    /// A peer has answered.
    pub(super) fn answered(&mut self, contact: &Contact, now: Instant) {
        let position = Position::of_peer(&contact.peer);
        let subnet = subnet(&contact.addresses);
        let is_crowded = subnet.is_some_and(|subnet| self.in_subnet(subnet) >= MAX_PER_SUBNET);
        // This node itself has no bucket.
        let Some(bucket) = self.bucket(position) else { return };
        if let Some(node) = bucket.iter_mut().find(|node| node.contact.peer == contact.peer) {
            (node.seen, node.failures) = (now, 0);
            if !contact.addresses.is_empty() {
                node.contact.addresses.clone_from(&contact.addresses);
            }
            return;
        }
        if is_crowded {
            return;
        }
        let node = Node { contact: contact.clone(), position, seen: now, failures: 0 };
        if bucket.len() < K {
            bucket.push(node);
        } else if let Some(debtor) = bucket.iter_mut().filter(|node| node.failures > 0).min_by_key(|node| node.seen) {
            *debtor = node;
        }
    }

    /// A peer owes an answer.
    pub(super) fn failed(&mut self, peer: &PeerId) {
        let Some(bucket) = self.bucket(Position::of_peer(peer)) else { return };
        for node in bucket.iter_mut().filter(|node| node.contact.peer == *peer) {
            node.failures += 1;
        }
        bucket.retain(|node| node.failures < MAX_FAILURES);
    }

    pub(super) fn contains(&self, peer: &PeerId) -> bool {
        self.nodes().any(|node| node.contact.peer == *peer)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }

    /// The `count` peers closest to a place of those that are wanted, the closest first.
    pub(super) fn closest(&self, target: Position, count: usize, is_wanted: impl Fn(&Contact) -> bool) -> Vec<Contact> {
        let wanted = self.nodes().filter(|node| is_wanted(&node.contact));
        let mut nodes: Vec<(Distance, &Node)> = wanted.map(|node| (node.position.distance(target), node)).collect();
        nodes.sort_unstable_by_key(|(distance, _)| *distance);
        nodes.into_iter().take(count).map(|(_, node)| node.contact.clone()).collect()
    }

    /// Every peer.
    pub(super) fn contacts(&self) -> Vec<Contact> {
        self.nodes().map(|node| node.contact.clone()).collect()
    }

    /// At most `count` peers that have not answered for `age`, the longest silent first.
    pub(super) fn silent(&self, age: Duration, count: usize, now: Instant) -> Vec<Contact> {
        let mut nodes: Vec<_> = self.nodes().filter(|node| now.saturating_duration_since(node.seen) >= age).collect();
        nodes.sort_unstable_by_key(|node| node.seen);
        nodes.into_iter().take(count).map(|node| node.contact.clone()).collect()
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flatten()
    }

    fn bucket(&mut self, position: Position) -> Option<&mut Vec<Node>> {
        self.buckets.get_mut(self.me.distance(position).shared_bits())
    }

    fn in_subnet(&self, subnet: [u8; 3]) -> usize {
        self.nodes().filter(|node| self::subnet(&node.contact.addresses) == Some(subnet)).count()
    }
}

/// The /24 of the first public IPv4 address; private ones cost nothing, so counting them would tell nothing.
fn subnet(addresses: &[Multiaddr]) -> Option<[u8; 3]> {
    let ip = addresses.iter().find_map(public_ipv4)?;
    let [a, b, c, _] = ip.octets();
    Some([a, b, c])
}

/// The public IPv4 address that an address begins with.
pub(super) fn public_ipv4(address: &Multiaddr) -> Option<Ipv4Addr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) if is_public(ip.into()) => Some(ip),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(address: &str) -> Contact {
        Contact { peer: PeerId::random(), addresses: vec![address.parse().unwrap()] }
    }

    /// As many peers that share no bit with this node as are asked for.
    fn far(me: &PeerId, count: usize, address: impl Fn(usize) -> String) -> Vec<Contact> {
        let far =
            |contact: &Contact| Position::of_peer(me).distance(Position::of_peer(&contact.peer)).shared_bits() == 0;
        (0..).map(|index| contact(&address(index))).filter(far).take(count).collect()
    }

    fn private(index: usize) -> String {
        format!("/ip4/10.0.0.1/tcp/{}", 1 + index % 60_000)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_bucket_keeps_who_answers_and_gives_up_who_does_not() {
        let me = PeerId::random();
        let mut table = Table::new(&me);
        let peers = far(&me, K + 2, private);
        let now = Instant::now();
        for peer in &peers[..K + 1] {
            table.answered(peer, now);
        }
        assert_eq!(table.len(), K);
        assert!(!table.contains(&peers[K].peer));
        table.failed(&peers[3].peer);
        assert!(table.contains(&peers[3].peer), "one lost answer is not the end");
        table.answered(&peers[K + 1], now);
        assert!(!table.contains(&peers[3].peer) && table.contains(&peers[K + 1].peer));
        table.failed(&peers[4].peer);
        table.answered(&peers[4], now);
        table.failed(&peers[4].peer);
        assert!(table.contains(&peers[4].peer), "an answer finishes the debt");
        table.failed(&peers[4].peer);
        assert!(!table.contains(&peers[4].peer));
    }

    #[tokio::test(start_paused = true)]
    async fn one_public_subnet_has_a_few_places_only() {
        let me = PeerId::random();
        let mut table = Table::new(&me);
        for index in 0..500 {
            table.answered(&contact(&format!("/ip4/198.51.7.{}/tcp/1", index % 250)), Instant::now());
        }
        assert_eq!(table.len(), MAX_PER_SUBNET);
        let honest = contact("/ip4/5.6.7.8/tcp/1");
        table.answered(&honest, Instant::now());
        assert!(table.contains(&honest.peer));
    }

    #[tokio::test(start_paused = true)]
    async fn names_the_closest_and_the_longest_silent() {
        let me = PeerId::random();
        let mut table = Table::new(&me);
        let peers: Vec<_> = (0..50).map(|index| contact(&private(index))).collect();
        for peer in &peers {
            table.answered(peer, Instant::now());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let target = Position::of_key(b"target");
        let closest = table.closest(target, 10, |_| true);
        let mut all = table.contacts();
        all.sort_by_key(|contact| Position::of_peer(&contact.peer).distance(target));
        assert_eq!(closest, all[..10]);
        let silent = table.silent(Duration::from_secs(45), 3, Instant::now());
        assert_eq!(silent, peers[..3]);
        assert_eq!(table.silent(Duration::from_secs(60), 3, Instant::now()), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_peers_takes_no_more_than_the_buckets_hold() {
        let mut table = Table::new(&PeerId::random());
        for index in 0..10_000 {
            table.answered(&contact(&private(index)), Instant::now());
        }
        assert!(table.buckets.iter().all(|bucket| bucket.len() <= K));
        assert!(table.len() < 14 * K, "{}", table.len());
    }
}
