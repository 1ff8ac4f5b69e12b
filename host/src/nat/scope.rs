//! Which addresses mean something to others, and which witnesses are of different origin.

use std::net::IpAddr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use wakumix_mix::is_public;

/// Whether only public addresses count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    allow_private: bool,
}

/// Witnesses of one group count as one: an IPv4 /16 or an IPv6 /32 is about what one provider hands to one customer, so
/// to speak with several observations a liar needs several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Group {
    /// The first two bytes of an IPv4 address.
    Network4([u8; 2]),
    /// The first four bytes of an IPv6 address.
    Network6([u8; 4]),
    /// Where private addresses count, all may share one network: every peer is a group.
    Peer(PeerId),
}

impl Scope {
    pub(crate) fn new(allow_private: bool) -> Self {
        Self { allow_private }
    }

    /// Whether others can use an address: it begins with an IP address that means the same to them, or with a name.
    pub(crate) fn takes(self, address: &Multiaddr) -> bool {
        match address.iter().next() {
            Some(Protocol::Ip4(ip)) => self.takes_ip(IpAddr::V4(ip)),
            Some(Protocol::Ip6(ip)) => self.takes_ip(IpAddr::V6(ip)),
            Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
            _ => false,
        }
    }

    /// The group of a peer that is connected from or at `remote`; `None` if it is no witness: behind a relay nobody sees
    /// where it is, and at a private address it does not see this node as others do.
    pub(crate) fn group(self, peer: PeerId, remote: &Multiaddr) -> Option<Group> {
        if is_relayed(remote) {
            return None;
        }
        let ip = ip(remote).filter(|ip| self.takes_ip(*ip))?;
        Some(match ip {
            _ if self.allow_private => Group::Peer(peer),
            IpAddr::V4(ip) => {
                let [a, b, ..] = ip.octets();
                Group::Network4([a, b])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.octets();
                Group::Network6([a, b, c, d])
            }
        })
    }

    fn takes_ip(self, ip: IpAddr) -> bool {
        !ip.is_unspecified() && !ip.is_multicast() && (self.allow_private || is_public(ip))
    }
}

/// The IP address that an address begins with.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(IpAddr::V4(ip)),
        Some(Protocol::Ip6(ip)) => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

/// Whether an address leads through a circuit relay.
pub(crate) fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn private_addresses_count_only_where_they_are_allowed() {
        let private = ["/ip4/10.1.2.3/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip4/100.64.0.1/tcp/1", "/ip6/fd00::1/tcp/1"];
        for text in private {
            assert!(!Scope::new(false).takes(&address(text)), "{text}");
            assert!(Scope::new(true).takes(&address(text)), "{text}");
        }
        for text in ["/ip4/0.0.0.0/tcp/1", "/ip4/224.0.0.1/tcp/1", "/p2p-circuit"] {
            assert!(!Scope::new(true).takes(&address(text)), "{text}");
        }
        for text in ["/ip4/203.0.113.1/tcp/1", "/ip6/2001:db8::1/tcp/1", "/dns4/node.example/tcp/1"] {
            assert!(Scope::new(false).takes(&address(text)), "{text}");
        }
    }

    #[test]
    fn neighbours_are_one_group_and_relayed_peers_none() {
        let (scope, peer) = (Scope::new(false), PeerId::random());
        let group = |text: &str| scope.group(peer, &address(text));
        assert_eq!(group("/ip4/203.0.113.1/tcp/1"), group("/ip4/203.0.7.7/udp/9/quic-v1"));
        assert_ne!(group("/ip4/203.0.113.1/tcp/1"), group("/ip4/203.1.113.1/tcp/1"));
        assert_eq!(group("/ip4/10.0.0.1/tcp/1"), None);
        assert_eq!(group(&format!("/ip4/203.0.113.1/tcp/1/p2p/{peer}/p2p-circuit")), None);
        let private = Scope::new(true);
        let (one, other) = (PeerId::random(), PeerId::random());
        let same = address("/ip4/127.0.0.1/tcp/1");
        assert_ne!(private.group(one, &same), private.group(other, &same));
    }
}
