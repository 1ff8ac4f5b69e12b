//! Ports and addresses that follow from the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_mix::HopAddress;

use super::Config;

/// What a port belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortTransport {
    /// TCP, for libp2p, WebSocket and HTTP alike.
    Tcp,
    /// UDP, for QUIC.
    Udp,
}

/// A port that the node binds, and the key that sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortUse {
    /// The key.
    pub key: &'static str,
    /// The address it is bound on.
    pub address: IpAddr,
    /// TCP or UDP.
    pub transport: PortTransport,
    /// The port, shift included; 0 for any free one.
    pub port: u16,
}

impl PortUse {
    /// Whether both cannot be bound at once.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        let overlap = self.address == other.address || self.address.is_unspecified() || other.address.is_unspecified();
        self.port != 0 && self.port == other.port && self.transport == other.transport && overlap
    }
}

impl Config {
    /// A port with the shift added; `None` when that is no port any more. Port 0 stays 0.
    pub(super) fn shifted(&self, port: u16) -> Option<u16> {
        if port == 0 { Some(0) } else { port.checked_add(self.ports_shift) }
    }

    /// Every port that the node binds, with the key that set it.
    pub fn ports(&self) -> Vec<PortUse> {
        use PortTransport::{Tcp, Udp};
        let secure_port = self.websocket_secure_port.filter(|_| self.websocket_secure_support);
        let all = [
            (true, "tcp-port", self.listen_address, Tcp, self.tcp_port),
            (self.quic_support, "quic-port", self.listen_address, Udp, self.quic_port),
            (self.uses_websocket_port(), "websocket-port", self.listen_address, Tcp, self.websocket_port),
            (secure_port.is_some(), SECURE_PORT, self.listen_address, Tcp, secure_port.unwrap_or_default()),
            (self.uses_discv5(), "discv5-udp-port", self.listen_address, Udp, self.discv5_udp_port),
            (self.rest, "rest-port", self.rest_address, Tcp, self.rest_port),
            (self.metrics_server, "metrics-server-port", self.metrics_server_address, Tcp, self.metrics_server_port),
        ];
        all.into_iter()
            .filter(|(on, ..)| *on)
            .map(|(_, key, address, transport, port)| PortUse {
                key,
                address,
                transport,
                // A configuration whose shift leaves the range does not load.
                port: self.shifted(port).unwrap_or(u16::MAX),
            })
            .collect()
    }

    /// The libp2p addresses to listen on, without `/p2p`. A socket takes one family, so all addresses of IPv6 are those of IPv4
    /// as well.
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        let ip4 = (self.listen_address == Ipv6Addr::UNSPECIFIED).then_some(Ipv4Addr::UNSPECIFIED.into());
        [Some(self.listen_address), ip4].into_iter().flatten().flat_map(|ip| self.transports_at(&ip.into())).collect()
    }

    /// The addresses to announce whatever the node learns about itself, without `/p2p`: `ext-multiaddr`, then the name, then `nat`,
    /// then the listen address if it is a particular one. Empty when only the running host can know.
    pub fn announced_addresses(&self) -> Vec<Multiaddr> {
        let mut addresses: Vec<Multiaddr> = self.ext_multiaddr.iter().cloned().map(without_self).collect();
        if self.ext_multiaddr_only {
            return addresses;
        }
        if let Some(name) = &self.dns4_domain_name {
            addresses.extend(self.transports_at(&Protocol::Dns4(name.into()).into()));
        }
        let particular = Some(self.listen_address).filter(|ip| !ip.is_unspecified());
        if let Some(ip) = self.nat.external().or(particular) {
            addresses.extend(self.transports_at(&ip.into()).into_iter().filter(|address| self.is_for_pages(address)));
        }
        addresses
    }

    /// Whether pages can use an address, if it is one of WebSocket over TLS: the certificate is for the name of this node, and
    /// under its IP address no page takes it.
    pub(crate) fn is_for_pages(&self, address: &Multiaddr) -> bool {
        let is_secure = address.iter().any(|part| matches!(part, Protocol::Wss(_)));
        let has_ip = matches!(address.iter().next(), Some(Protocol::Ip4(_) | Protocol::Ip6(_)));
        !(is_secure && has_ip && self.dns4_domain_name.is_some())
    }

    /// Whether WebSocket is served at its own port, plain or over TLS.
    fn uses_websocket_port(&self) -> bool {
        self.websocket_support || self.shares_websocket_port()
    }

    /// Whether it is over TLS there: as in `wakunode2`, which has one port for both.
    fn shares_websocket_port(&self) -> bool {
        self.websocket_secure_support && self.websocket_secure_port.is_none()
    }

    /// The files of the certificate of WebSocket, if they are named and used.
    pub(crate) fn websocket_certificate(&self) -> Option<wakumix_tls::Files> {
        Some(wakumix_tls::Files {
            certificate: self.websocket_secure_cert_path.clone().filter(|_| self.websocket_secure_support)?,
            key: self.websocket_secure_key_path.clone()?,
            name: self.dns4_domain_name.clone(),
        })
    }

    /// The first announced address that a packet header can carry, port 0 excepted.
    pub fn hop_address(&self, peer: PeerId) -> Option<HopAddress> {
        self.announced_addresses()
            .iter()
            .filter_map(|address| HopAddress::from_multiaddr(address, peer).ok())
            .find(|hop| hop.port() != 0)
    }

    fn transports_at(&self, base: &Multiaddr) -> Vec<Multiaddr> {
        self.ports()
            .iter()
            .filter_map(|port| {
                let base = base.clone();
                match port.key {
                    "tcp-port" => Some(base.with(Protocol::Tcp(port.port))),
                    "quic-port" => Some(base.with(Protocol::Udp(port.port)).with(Protocol::QuicV1)),
                    "websocket-port" if self.shares_websocket_port() => Some(secure(base, port.port)),
                    "websocket-port" => Some(base.with(Protocol::Tcp(port.port)).with(Protocol::Ws("/".into()))),
                    SECURE_PORT => Some(secure(base, port.port)),
                    _ => None,
                }
            })
            .collect()
    }
}

/// The key of the port of WebSocket over TLS.
const SECURE_PORT: &str = "websocket-secure-port";

/// WebSocket over TLS, as the nodes of the network write it.
fn secure(base: Multiaddr, port: u16) -> Multiaddr {
    base.with(Protocol::Tcp(port)).with(Protocol::Wss("/".into()))
}

/// Cuts a trailing `/p2p/<this node>`. A relay's id is followed by `/p2p-circuit` and stays.
fn without_self(mut address: Multiaddr) -> Multiaddr {
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// Whether an address says that any free port will do: it is known once the host listens.
pub(crate) fn has_port_zero(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tcp(0) | Protocol::Udp(0)))
}
