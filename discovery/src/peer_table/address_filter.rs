//! Which addresses are believed. Names are not: see [`names`](crate::names).

use std::net::{IpAddr, Ipv4Addr};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_mix::is_public;

/// Bytes of the longest address that is kept. Real ones have below 100, those of a circuit 110.
const MAX_ADDRESS_LEN: usize = 384;

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
        _ => false,
    };
    is_host && matches!(parts.next(), Some(Protocol::Tcp(1..) | Protocol::Udp(1..)))
}

fn is_unicast(ip: IpAddr) -> bool {
    let is_broadcast = matches!(ip, IpAddr::V4(Ipv4Addr::BROADCAST));
    !ip.is_unspecified() && !ip.is_multicast() && !is_broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(address: &str, allow_private: bool) -> bool {
        !believable(vec![address.parse().unwrap()], &PeerId::random(), allow_private, 8).is_empty()
    }

    #[test]
    fn takes_addresses_that_mean_the_same_everywhere() {
        for address in ["/ip4/8.8.8.8/tcp/1", "/ip6/2600::1/udp/1/quic-v1", "/ip4/8.8.8.8/tcp/443/wss"] {
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
            // Whoever owns a name decides anew at each question what it resolves to.
            "/dns4/example.org/tcp/1",
            "/dns/localhost/tcp/1",
            "/dnsaddr/example.org",
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
