//! How many nodes that nobody has tried yet may lie in one part of the network.

use std::{collections::HashMap, net::Ipv4Addr};

use multiaddr::{Multiaddr, Protocol};

/// Nodes at one IPv4 address (or IPv6 /64) that are known and neither reached nor tried yet. A host runs a few nodes; a
/// whole fleet behind one address enters as its first nodes are reached.
pub(super) const MAX_UNTRIED_PER_ADDRESS: u32 = 16;
/// The same for one /24 (or IPv6 /48): four full addresses.
pub(super) const MAX_UNTRIED_PER_SUBNET: u32 = 64;

/// A part of the network whose untried nodes are counted.
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

/// The blocks that a node's addresses lie in, without repetitions. Names lie in none: the quota of the source bounds them.
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

/// How many untried nodes each block has. Bounded by the peer table: a node has at most two blocks an address.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SubnetLimits(HashMap<Block, u32>);

impl SubnetLimits {
    pub(super) fn is_full(&self, block: Block) -> bool {
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
