//! Which IP addresses mean the same host everywhere: the one rule for what may be dialled, believed and told in an open
//! network. And what a node dials beyond that for senders that it does not know.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::IpNet;

/// Ports that a node dials for unknown senders unless its operator names others: those that any user of a machine may serve at,
/// as Waku nodes do (60000, 30303, 8000), and 443 for those behind secure WebSockets. Ports below 1024 are where a machine's
/// own services are: mail, ssh, names.
pub const DIAL_PORTS: [RangeInclusive<u16>; 2] = [443..=443, 1024..=65535];

/// Whether an address is unicast and not set aside for a part of the internet (RFC 6890). Documentation ranges count as
/// public: they lead nowhere.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or_else(|| is_public_v6(ip), is_public_v4),
    }
}

/// Whether one of these networks has an address. A closed network is what its operator names: that a node has an address in
/// a network does not mean that strangers are to reach the network through the node.
#[must_use]
pub fn is_within(networks: &[IpNet], ip: Ipv4Addr) -> bool {
    networks.iter().any(|network| network.contains(&IpAddr::V4(ip)))
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_this_network = a == 0;
    let is_carrier_nat = a == 100 && (64..128).contains(&b); // RFC 6598
    let is_protocol_assignment = (a, b, c) == (192, 0, 0);
    let is_benchmark = a == 198 && (18..20).contains(&b); // RFC 2544
    let is_multicast_or_reserved = a >= 224; // RFC 1112
    let is_local = ip.is_private() || ip.is_loopback() || ip.is_link_local();
    !(is_local
        || is_this_network
        || is_carrier_nat
        || is_protocol_assignment
        || is_benchmark
        || is_multicast_or_reserved)
}

/// Global unicast is 2000::/3; whatever else there is, local, embeds an IPv4 address (`::a.b.c.d`, NAT64) or is not assigned.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let is_global_unicast = first >> 13 == 1;
    let is_protocol_assignment = first == 0x2001 && second < 0x0200; // RFC 2928: Teredo, benchmarks, ORCHID
    let is_6to4 = first == 0x2002; // RFC 3056: an IPv4 address behind a relay
    is_global_unicast && !is_protocol_assignment && !is_6to4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_public_addresses_from_those_of_a_part_of_the_internet() {
        for public in
            ["8.8.8.8", "20.1.0.1", "100.128.0.1", "198.20.0.1", "203.0.113.7", "2001:200::1", "2001:db8::1", "2a00::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        let set_aside = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:10.0.0.1",
            "::8.8.8.8",
            "64:ff9b::8.8.8.8",
            "64:ff9b:1::7f00:1",
            "100::1",
            "2001::1",
            "2001:20::1",
            "2002:7f00:1::1",
            "4000::1",
            "fec0::1",
        ];
        for other in set_aside {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_network_is_what_its_prefix_covers() {
        let networks: Vec<IpNet> = ["127.0.0.0/8", "10.1.0.0/16"].map(|network| network.parse().unwrap()).to_vec();
        for (ip, expected) in [("127.9.9.9", true), ("10.1.255.1", true), ("10.2.0.1", false), ("8.8.8.8", false)] {
            assert_eq!(is_within(&networks, ip.parse().unwrap()), expected, "{ip}");
            assert!(!is_within(&[], ip.parse().unwrap()), "{ip}");
        }
    }
}
