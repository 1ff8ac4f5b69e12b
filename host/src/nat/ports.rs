//! Ports that are known once they are bound.

use libp2p::{Multiaddr, multiaddr::Protocol};

/// The addresses with each port 0 replaced by the one that is bound for the same transport, in the same family if there is one.
/// An address for whose transport nothing is bound is left out.
pub fn with_bound_ports(addresses: &[Multiaddr], bound: &[Multiaddr]) -> Vec<Multiaddr> {
    addresses.iter().filter_map(|address| with_bound_port(address, bound)).collect()
}

fn with_bound_port(address: &Multiaddr, bound: &[Multiaddr]) -> Option<Multiaddr> {
    if port(address) != Some(0) {
        return Some(address.clone());
    }
    let same = || bound.iter().filter(|bound| transport(bound) == transport(address));
    let chosen = same().find(|bound| is_ip6(bound) == is_ip6(address)).or_else(|| same().next())?;
    let port = port(chosen)?;
    let parts = address.iter().map(|part| match part {
        Protocol::Tcp(0) => Protocol::Tcp(port),
        Protocol::Udp(0) => Protocol::Udp(port),
        other => other,
    });
    Some(parts.collect())
}

fn port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    })
}

/// Whether it is UDP, WebSocket, and over TLS.
fn transport(address: &Multiaddr) -> [bool; 3] {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    [
        has(|part| matches!(part, Protocol::Udp(_))),
        has(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_))),
        has(|part| matches!(part, Protocol::Tls | Protocol::Wss(_))),
    ]
}

fn is_ip6(address: &Multiaddr) -> bool {
    matches!(address.iter().next(), Some(Protocol::Ip6(_) | Protocol::Dns6(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_gets_its_own_port() {
        let all = |texts: &[&str]| -> Vec<Multiaddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        let bound = all(&[
            "/ip6/::1/tcp/6",
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/2/quic-v1",
            "/ip4/127.0.0.1/tcp/4/wss",
            "/ip4/127.0.0.1/tcp/3/ws",
            "/ip4/10.0.0.1/tcp/1",
        ]);
        let announced = all(&[
            "/ip4/203.0.113.9/tcp/0",
            "/ip4/203.0.113.9/udp/0/quic-v1",
            "/dns4/node.example.org/tcp/0/ws",
            "/dns4/node.example.org/tcp/0/wss",
            "/dns4/node.example.org/tcp/0/tls/ws",
            "/ip6/2a00::1/tcp/0",
            "/ip6/2a00::1/udp/0/quic-v1",
            "/ip4/203.0.113.9/tcp/443",
        ]);
        let told: Vec<String> = with_bound_ports(&announced, &bound).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "/ip4/203.0.113.9/tcp/1",
                "/ip4/203.0.113.9/udp/2/quic-v1",
                "/dns4/node.example.org/tcp/3/ws",
                "/dns4/node.example.org/tcp/4/wss",
                "/dns4/node.example.org/tcp/4/tls/ws",
                "/ip6/2a00::1/tcp/6",
                "/ip6/2a00::1/udp/2/quic-v1",
                "/ip4/203.0.113.9/tcp/443",
            ]
        );
        assert_eq!(with_bound_ports(&announced[..2], &bound[..2]).len(), 1);
    }
}
