//! How many gossip peers one address has, and what that costs each of them (the network's factor P6, `spec/waku.md §2.2`).
//!
//! gossipsub counts every connection, so that strangers who connect from an honest relay's address and say nothing cut its
//! gossip. Here a connection counts from its first gossip frame on, and the penalty has an end above the score at which own
//! messages are no longer sent to a peer. gossipsub is given it as the application's score.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::ConnectionId};

/// Peers of one address that cost nothing, and the weight of the square of those above it: the network's.
const FREE_PEERS: usize = 5;
const WEIGHT: f64 = 50.0;

/// The most that a peer loses, whatever others do at its address: what four peers too many cost. With a score below −1000 it
/// would no longer be sent this node's own messages.
const MAX_PENALTY: f64 = 800.0;

/// Bits of an IPv6 address that name one customer (RFC 6177): below, addresses are for the taking.
const IPV6_PREFIX: u32 = 56;

/// An address as it is counted.
type Site = IpAddr;

/// Gossip peers by address. Bound: connections.
#[derive(Debug, Default)]
pub(super) struct Colocation {
    /// Connections on which no gossip has come yet.
    silent: HashMap<ConnectionId, Site>,
    speaking: HashMap<ConnectionId, (PeerId, Site)>,
    peers: HashMap<Site, HashSet<PeerId>>,
}

/// What peers lose now.
pub(super) type Penalties = Vec<(PeerId, f64)>;

impl Colocation {
    pub(super) fn connected(&mut self, connection: ConnectionId, address: &Multiaddr) {
        if let Some(site) = site(address) {
            self.silent.insert(connection, site);
        }
    }

    /// A gossip frame has come.
    pub(super) fn spoke(&mut self, connection: ConnectionId, peer: PeerId) -> Penalties {
        let Some(site) = self.silent.remove(&connection) else { return Vec::new() };
        self.speaking.insert(connection, (peer, site));
        if self.peers.entry(site).or_default().insert(peer) { self.at(site) } else { Vec::new() }
    }

    pub(super) fn closed(&mut self, connection: ConnectionId) -> Penalties {
        self.silent.remove(&connection);
        let Some((peer, site)) = self.speaking.remove(&connection) else { return Vec::new() };
        if self.speaking.values().any(|other| *other == (peer, site)) {
            return Vec::new();
        }
        if let Some(peers) = self.peers.get_mut(&site) {
            peers.remove(&peer);
            if peers.is_empty() {
                self.peers.remove(&site);
            }
        }
        let mut penalties = self.at(site);
        penalties.push((peer, self.penalty(&peer)));
        penalties
    }

    /// A connection goes on from elsewhere.
    pub(super) fn moved(&mut self, connection: ConnectionId, peer: PeerId, address: &Multiaddr) -> Penalties {
        let has_spoken = self.speaking.contains_key(&connection);
        let mut penalties = self.closed(connection);
        self.connected(connection, address);
        if has_spoken {
            penalties.extend(self.spoke(connection, peer));
        }
        penalties
    }

    fn at(&self, site: Site) -> Penalties {
        let peers = self.peers.get(&site).into_iter().flatten();
        peers.map(|peer| (*peer, self.penalty(peer))).collect()
    }

    fn penalty(&self, peer: &PeerId) -> f64 {
        let crowds = self.peers.values().filter(|peers| peers.len() > FREE_PEERS && peers.contains(peer));
        let penalty: f64 = crowds.map(|peers| WEIGHT * square(peers.len() - FREE_PEERS)).sum();
        penalty.min(MAX_PENALTY)
    }
}

fn square(peers: usize) -> f64 {
    f64::from(u32::try_from(peers).unwrap_or(u32::MAX)).powi(2)
}

fn site(address: &Multiaddr) -> Option<Site> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(address) => Some(Site::V4(address)),
        Protocol::Ip6(address) => {
            let prefix = u128::from(address) >> (128 - IPV6_PREFIX) << (128 - IPV6_PREFIX);
            Some(Site::V6(prefix.into()))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Crowd {
        colocation: Colocation,
        scores: HashMap<PeerId, f64>,
        next: usize,
    }

    impl Crowd {
        fn new() -> Self {
            Self { colocation: Colocation::default(), scores: HashMap::new(), next: 0 }
        }

        fn connect(&mut self, address: &str) -> ConnectionId {
            self.next += 1;
            let connection = ConnectionId::new_unchecked(self.next);
            self.colocation.connected(connection, &address.parse().unwrap());
            connection
        }

        fn note(&mut self, penalties: Penalties) {
            self.scores.extend(penalties);
        }

        fn speak(&mut self, connection: ConnectionId, peer: PeerId) {
            let penalties = self.colocation.spoke(connection, peer);
            self.note(penalties);
        }

        fn speakers(&mut self, address: &str, count: usize) -> Vec<(ConnectionId, PeerId)> {
            let mut all = Vec::new();
            for _ in 0..count {
                let (connection, peer) = (self.connect(address), PeerId::random());
                self.speak(connection, peer);
                all.push((connection, peer));
            }
            all
        }

        fn penalty(&self, peer: PeerId) -> f64 {
            self.scores.get(&peer).copied().unwrap_or_default()
        }
    }

    const HERE: &str = "/ip4/192.0.2.1/tcp/1";

    #[test]
    fn connections_that_say_nothing_cost_nobody_anything() {
        let mut crowd = Crowd::new();
        let (_, honest) = crowd.speakers(HERE, 1).remove(0);
        for _ in 0..100 {
            crowd.connect(HERE);
        }
        assert_eq!(crowd.penalty(honest), 0.0);
    }

    #[test]
    fn a_sixth_speaker_costs_all_of_them_and_a_crowd_no_more_than_leaves_own_messages() {
        for (speakers, penalty) in [(5, 0.0), (6, 50.0), (7, 200.0), (9, 800.0), (10, 800.0), (300, 800.0)] {
            let mut crowd = Crowd::new();
            let (_, first) = crowd.speakers(HERE, speakers).remove(0);
            assert_eq!(crowd.penalty(first), penalty, "{speakers}");
        }
        const { assert!(-MAX_PENALTY > super::super::PUBLISH_THRESHOLD) };
    }

    #[test]
    fn a_penalty_ends_when_others_leave_and_with_the_last_connection() {
        let mut crowd = Crowd::new();
        let all = crowd.speakers(HERE, 6);
        let (first, second) = (all[0], all[1]);
        // The same peer again: it is one peer, and stays while one of its connections does.
        let again = crowd.connect(HERE);
        crowd.speak(again, second.1);
        assert_eq!(crowd.penalty(first.1), 50.0);
        let penalties = crowd.colocation.closed(second.0);
        crowd.note(penalties);
        assert_eq!(crowd.penalty(first.1), 50.0);
        let penalties = crowd.colocation.closed(again);
        crowd.note(penalties);
        assert_eq!((crowd.penalty(first.1), crowd.penalty(second.1)), (0.0, 0.0));
    }

    #[test]
    fn who_moves_away_leaves_the_crowd() {
        let mut crowd = Crowd::new();
        let all = crowd.speakers(HERE, 6);
        let there: Multiaddr = "/ip4/192.0.2.2/tcp/1".parse().unwrap();
        let penalties = crowd.colocation.moved(all[0].0, all[0].1, &there);
        crowd.note(penalties);
        assert!(all.iter().all(|(_, peer)| crowd.penalty(*peer) == 0.0));
        for (connection, _) in &all {
            crowd.colocation.closed(*connection);
        }
        assert!(crowd.colocation.peers.is_empty() && crowd.colocation.speaking.is_empty());
    }

    #[test]
    fn addresses_of_one_ipv6_customer_are_one() {
        let mut crowd = Crowd::new();
        let mut all = Vec::new();
        for host in 0..6 {
            all.extend(crowd.speakers(&format!("/ip6/2001:db8:0:{host}::1/tcp/1"), 1));
        }
        assert_eq!(crowd.penalty(all[0].1), 50.0);
        let (_, elsewhere) = crowd.speakers("/ip6/2001:db8:0:100::1/tcp/1", 1).remove(0);
        assert_eq!(crowd.penalty(elsewhere), 0.0);
    }
}
