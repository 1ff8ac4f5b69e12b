//! Where connections come from: the address and the subnet that they are counted under.

use std::net::IpAddr;

use ipnet::IpNet;
use libp2p::{Multiaddr, multiaddr::Protocol};

/// What one user of IPv6 has of it at least (RFC 6177 §2); IPv4 is handed out by the address.
const ADDRESS: (u8, u8) = (32, 64);
/// What one operator can have many addresses of without being anybody special.
const SUBNET: (u8, u8) = (24, 56);

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// An IPv4 address, or a /64.
    pub(crate) address: IpNet,
    /// A /24, or a /56.
    pub(crate) subnet: IpNet,
}

/// Tells where connections come from. Cheap enough to clone at the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    shared: Vec<IpNet>,
}

impl Sources {
    /// Addresses in `shared` are those of many, such as a reverse proxy's: nobody is counted under them.
    pub(crate) fn new(shared: Vec<IpNet>) -> Self {
        Self { shared }
    }

    /// What a connection from there is counted under; `None` for a shared address, and for a circuit, whose relay counts.
    pub(crate) fn of(&self, remote: &Multiaddr) -> Option<Source> {
        let ip = match remote.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip).to_canonical(),
            _ => return None,
        };
        if self.shared.iter().any(|network| network.contains(&ip)) {
            return None;
        }
        let network = |(v4, v6): (u8, u8)| IpNet::new(ip, if ip.is_ipv4() { v4 } else { v6 }).ok();
        Some(Source { address: network(ADDRESS)?.trunc(), subnet: network(SUBNET)?.trunc() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sources: &Sources, address: &str) -> Option<(String, String)> {
        sources.of(&address.parse().unwrap()).map(|source| (source.address.to_string(), source.subnet.to_string()))
    }

    #[test]
    fn counts_addresses_and_subnets_but_not_those_that_many_share() {
        let sources = Sources::new(vec!["127.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()]);
        let names = |address: &str, subnet: &str| Some((address.to_owned(), subnet.to_owned()));
        assert_eq!(of(&sources, "/ip4/192.0.2.9/tcp/1"), names("192.0.2.9/32", "192.0.2.0/24"));
        assert_eq!(of(&sources, "/ip6/::ffff:192.0.2.9/tcp/1"), names("192.0.2.9/32", "192.0.2.0/24"));
        assert_eq!(
            of(&sources, "/ip6/2600:1:2:3455:6::7/udp/1/quic-v1"),
            names("2600:1:2:3455::/64", "2600:1:2:3400::/56")
        );
        assert_eq!(of(&sources, "/ip4/127.0.0.1/tcp/1/ws"), None);
        assert_eq!(of(&sources, "/ip6/2001:db8::1/tcp/1"), None);
        assert_eq!(of(&sources, "/p2p/16Uiu2HAmDREePhx2N3CF2vmJd9TaMZkdBqctQaQdVWfbE1QEAtka"), None);
    }
}
