//! Which addresses are believed, and how crowded a part of the network is.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_mix::is_public;

/// Bytes of the longest address that is kept: a name of 253 bytes and a circuit behind it. Real ones have below 100.
const MAX_ADDRESS_LEN: usize = 384;

/// Nodes at one IPv4 address (or IPv6 /64) that are known and neither reached nor tried yet. A host runs a few nodes; a
/// whole fleet behind one address enters as its first nodes are reached.
pub(super) const MAX_UNTRIED_PER_ADDRESS: u32 = 16;
/// The same for one /24 (or IPv6 /48): four crowded addresses.
pub(super) const MAX_UNTRIED_PER_SUBNET: u32 = 64;

/// The addresses of a record that can be believed, without repetitions and without `/p2p/<peer>` at the end, at most
/// `max`. `allow_private` also takes those that mean something only within one network.
pub(crate) fn believable(addresses: Vec<Multiaddr>, peer: &PeerId, allow_private: bool, max: usize) -> Vec<Multiaddr> {
    let mut kept: Vec<Multiaddr> = Vec::new();
    for address in addresses {
        let address = without_own_id(address, peer);
        let is_good = address.len() <= MAX_ADDRESS_LEN && is_believable(&address, allow_private);
        if is_good && kept.len() < max && !kept.contains(&address) {
            kept.push(address);
        }
    }
    kept
}

fn without_own_id(mut address: Multiaddr, peer: &PeerId) -> Multiaddr {
    if address.iter().last() == Some(Protocol::P2p(*peer)) {
        address.pop();
    }
    address
}

fn is_believable(address: &Multiaddr, allow_private: bool) -> bool {
    let mut parts = address.iter();
    let is_host = match parts.next() {
        Some(Protocol::Ip4(ip)) => is_unicast(ip.into()) && (allow_private || is_public(ip.into())),
        Some(Protocol::Ip6(ip)) => is_unicast(ip.into()) && (allow_private || is_public(ip.into())),
        Some(Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name)) => {
            allow_private || !is_local_name(&name)
        }
        _ => false,
    };
    is_host && matches!(parts.next(), Some(Protocol::Tcp(1..) | Protocol::Udp(1..)))
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local") || !name.contains('.')
}

fn is_unicast(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(Ipv4Addr::BROADCAST));
    !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

/// A part of the network whose crowd is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Block {
    /// One IPv4 address.
    Address4(Ipv4Addr),
    /// The first three bytes of one.
    Subnet4([u8; 3]),
    /// The first 64 bits of an IPv6 address: what one host gets.
    Address6([u8; 8]),
    /// The first 48: what one site gets.
    Subnet6([u8; 6]),
}

impl Block {
    /// The /24 of an address.
    pub(crate) fn subnet4(ip: Ipv4Addr) -> Self {
        let [a, b, c, _] = ip.octets();
        Self::Subnet4([a, b, c])
    }

    /// Most nodes in it that are neither reached nor tried yet.
    fn capacity(self) -> u32 {
        match self {
            Self::Address4(_) | Self::Address6(_) => MAX_UNTRIED_PER_ADDRESS,
            Self::Subnet4(_) | Self::Subnet6(_) => MAX_UNTRIED_PER_SUBNET,
        }
    }
}

/// The blocks that a node's addresses lie in, without repetitions. Names lie in none: the room of the source bounds them.
pub(super) fn blocks(addresses: &[Multiaddr]) -> Vec<Block> {
    let mut blocks = Vec::new();
    for address in addresses {
        let own = match address.iter().next() {
            Some(Protocol::Ip4(ip)) => [Block::Address4(ip), Block::subnet4(ip)],
            Some(Protocol::Ip6(ip)) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                [Block::Address6([a, b, c, d, e, f, g, h]), Block::Subnet6([a, b, c, d, e, f])]
            }
            _ => continue,
        };
        blocks.extend(own.into_iter().filter(|block| !blocks.contains(block)).collect::<Vec<_>>());
    }
    blocks
}

/// How many untried nodes each block has. Bounded by the book: a node has at most two blocks an address.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Crowds(HashMap<Block, u32>);

impl Crowds {
    pub(super) fn is_crowded(&self, block: Block) -> bool {
        self.0.get(&block).is_some_and(|&count| count >= block.capacity())
    }

    pub(super) fn enter(&mut self, blocks: &[Block]) {
        for block in blocks {
            *self.0.entry(*block).or_default() += 1;
        }
    }

    pub(super) fn leave(&mut self, blocks: &[Block]) {
        for block in blocks {
            if let Some(count) = self.0.get_mut(block) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.0.remove(block);
                }
            }
        }
    }

    /// Blocks with anybody in them.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(address: &str, allow_private: bool) -> bool {
        !believable(vec![address.parse().unwrap()], &PeerId::random(), allow_private, 8).is_empty()
    }

    #[test]
    fn takes_addresses_that_mean_the_same_everywhere() {
        for address in ["/ip4/8.8.8.8/tcp/1", "/ip6/2600::1/udp/1/quic-v1", "/dns4/example.org/tcp/443/wss"] {
            assert!(kept(address, false), "{address}");
        }
    }

    #[test]
    fn takes_private_addresses_only_where_they_are_allowed() {
        let private = [
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/169.254.1.1/tcp/1",
            "/ip4/100.64.0.1/tcp/1",
            "/ip4/198.18.0.1/tcp/1",
            "/ip4/240.0.0.1/tcp/1",
            "/ip6/::1/tcp/1",
            "/ip6/fd00::1/tcp/1",
            "/ip6/fe80::1/tcp/1",
            "/ip6/::ffff:192.168.0.1/tcp/1",
            "/dns4/localhost/tcp/1",
            "/dns4/node.local/tcp/1",
            "/dns4/mixer-0/tcp/1",
        ];
        for address in private {
            assert!(!kept(address, false) && kept(address, true), "{address}");
        }
    }

    #[test]
    fn never_takes_what_cannot_be_dialled() {
        for address in [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/224.0.0.1/tcp/1",
            "/ip4/255.255.255.255/tcp/1",
            "/ip4/8.8.8.8/tcp/0",
            "/memory/5",
        ] {
            assert!(!kept(address, true), "{address}");
        }
    }

    #[test]
    fn drops_repetitions_and_the_nodes_own_id() {
        let peer = PeerId::random();
        let plain: Multiaddr = "/ip4/8.8.8.8/tcp/1".parse().unwrap();
        let full = plain.clone().with(Protocol::P2p(peer));
        assert_eq!(believable(vec![full, plain.clone()], &peer, false, 8), [plain]);
    }
}
