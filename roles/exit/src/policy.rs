//! What an exit does for strangers: decided without I/O (`spec/mix-wire.md §11`, `§21` W8).
//!
//! An exit is never an open one: it speaks the protocols of its list, serves them itself, or passes requests on to known
//! services and, if it forwards, to public unicast addresses and the networks that its operator names, at the ports that are
//! allowed.

use std::net::{IpAddr, Ipv4Addr};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use wakumix_mix::{DropReason, ExitStatus, HopAddress, address::is_absent, is_neighbour, is_public};
use wakumix_role_api::{Directory, Service, Services, host::ReadRule};
use wakumix_sphinx::{AddressBytes, Weakness, Weaknesses};
use wakumix_waku::lightpush::{MAX_RESPONSE_LEN, V2_PROTOCOL, V3_PROTOCOL};

use crate::config::Config;

/// The protocols whose answers this exit can read from a stream: it has to know where they end.
pub(crate) const READABLE: [&str; 2] = [V3_PROTOCOL, V2_PROTOCOL];

/// How the answer of any of the [`READABLE`] protocols is read: one frame, its length kept in front (§11.1).
pub(crate) const READ_RULE: ReadRule = ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN };

/// Who answers a request.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A service of this node.
    Local(Service),
    /// A service elsewhere.
    Remote {
        /// Its peer id.
        peer: PeerId,
        /// Where to find it.
        addresses: Vec<Multiaddr>,
    },
}

/// How the packet of a request is counted that is refused so.
pub(crate) const fn drop_reason(status: ExitStatus) -> DropReason {
    match status {
        ExitStatus::NoService => DropReason::NoExit,
        ExitStatus::InvalidDestination => DropReason::InvalidDestination,
        ExitStatus::Malformed => DropReason::BadMessage,
        ExitStatus::Overloaded => DropReason::QueueFull,
        _ => DropReason::PolicyRefused,
    }
}

/// Who decides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Me {
    /// This node's peer id.
    pub(crate) peer: PeerId,
    /// Where others reach it; `None` while it does not know.
    pub(crate) ip: Option<Ipv4Addr>,
}

/// The rules, and what they depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy<'a> {
    pub(crate) config: &'a Config,
    pub(crate) me: Me,
    pub(crate) services: &'a Services,
    pub(crate) directory: &'a Directory,
    pub(crate) weaknesses: Weaknesses,
}

impl Policy<'_> {
    /// Decides about a request for `destination` that names `codec`.
    pub(crate) fn target(&self, codec: &str, destination: &AddressBytes) -> Result<Target, ExitStatus> {
        let is_open = self.weaknesses.has(Weakness::OpenExit);
        if !is_open && !self.config.codecs.iter().any(|allowed| allowed == codec) {
            return Err(ExitStatus::CodecRefused);
        }
        if is_absent(destination) {
            return self.services.get(codec).cloned().map(Target::Local).ok_or(ExitStatus::NoService);
        }
        if !self.config.forward {
            return Err(ExitStatus::NotForwarding);
        }
        let address = HopAddress::decode(destination).map_err(|_| ExitStatus::InvalidDestination)?;
        if address.peer() == self.me.peer || address.port() == 0 {
            return Err(ExitStatus::InvalidDestination);
        }
        // A known service is asked where the directory says, so that its name opens no other address.
        if let Some(known) = self.directory.lightpush.iter().find(|node| node.peer == address.peer()) {
            return Ok(Target::Remote { peer: known.peer, addresses: known.addresses.clone() });
        }
        if !is_open {
            self.check_place(address.ip(), address.port())?;
        }
        Ok(Target::Remote { peer: address.peer(), addresses: vec![address.multiaddr()] })
    }

    /// Whether a service that nobody has told of may be asked there.
    fn check_place(&self, ip: Ipv4Addr, port: u16) -> Result<(), ExitStatus> {
        let is_named = || self.config.networks.iter().any(|network| network.contains(&IpAddr::V4(ip)));
        if !(self.config.allow_private_addresses || is_routed(ip) || is_neighbour(self.me.ip, ip) || is_named()) {
            return Err(ExitStatus::AddressRefused);
        }
        if !self.config.ports.iter().any(|ports| ports.contains(&port)) {
            return Err(ExitStatus::PortRefused);
        }
        Ok(())
    }
}

/// Whether an address is routed on the public internet, so that a service can be there.
fn is_routed(ip: Ipv4Addr) -> bool {
    is_public(ip.into()) && !ip.is_documentation()
}

#[cfg(test)]
mod tests {
    use wakumix_role_api::directory::ServiceNode;
    use wakumix_sphinx::ADDRESS_LEN;

    use super::*;

    const HERE: AddressBytes = [0; ADDRESS_LEN];

    fn peer(seed: u8) -> PeerId {
        let secret = libp2p_identity::secp256k1::SecretKey::try_from_bytes([seed; 32]).unwrap();
        let keypair = libp2p_identity::secp256k1::Keypair::from(secret);
        libp2p_identity::Keypair::from(keypair).public().to_peer_id()
    }

    fn address(ip: &str, port: u16, seed: u8) -> AddressBytes {
        let address = format!("/ip4/{ip}/tcp/{port}").parse().unwrap();
        HopAddress::from_multiaddr(&address, peer(seed)).unwrap().encode()
    }

    fn decide(config: &Config, codec: &str, destination: &AddressBytes) -> Result<Target, ExitStatus> {
        decide_at("203.0.114.7", config, codec, destination)
    }

    fn decide_at(me: &str, config: &Config, codec: &str, destination: &AddressBytes) -> Result<Target, ExitStatus> {
        let services = Services::new(vec![Service::new(V3_PROTOCOL, 1024, |_| {})]);
        let known = ServiceNode::new(peer(9), vec!["/ip4/10.0.0.9/tcp/4000".parse().unwrap()]);
        let directory = Directory { lightpush: vec![known], ..Directory::default() };
        let me = Me { peer: peer(1), ip: Some(me.parse().unwrap()) };
        let policy = Policy { config, me, services: &services, directory: &directory, weaknesses: Weaknesses::NONE };
        policy.target(codec, destination)
    }

    fn refusal(config: &Config, codec: &str, destination: &AddressBytes) -> Option<ExitStatus> {
        decide(config, codec, destination).err()
    }

    #[test]
    fn serves_what_is_allowed_and_here() {
        let config = Config::default();
        assert!(matches!(decide(&config, V3_PROTOCOL, &HERE), Ok(Target::Local(_))));
        assert_eq!(refusal(&config, V2_PROTOCOL, &HERE), Some(ExitStatus::NoService));
    }

    #[test]
    fn refuses_every_other_protocol_wherever_it_goes() {
        let config = Config { allow_private_addresses: true, ..Config::default() };
        for codec in ["/mix/1.0.0", "/ipfs/ping/1.0.0", "/vac/waku/store/3.0.0", ""] {
            assert_eq!(refusal(&config, codec, &HERE), Some(ExitStatus::CodecRefused));
            assert_eq!(refusal(&config, codec, &address("8.8.8.8", 1, 2)), Some(ExitStatus::CodecRefused));
        }
        let only_v2 = Config { codecs: vec![V2_PROTOCOL.to_owned()], ..Config::default() };
        assert_eq!(refusal(&only_v2, V3_PROTOCOL, &HERE), Some(ExitStatus::CodecRefused));
    }

    #[test]
    fn passes_on_to_public_addresses_only() {
        let private = Config { allow_private_addresses: true, ..Config::default() };
        let inside = [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ];
        for ip in inside {
            let destination = address(ip, 4000, 2);
            assert_eq!(
                refusal(&Config::default(), V3_PROTOCOL, &destination),
                Some(ExitStatus::AddressRefused),
                "{ip}"
            );
            assert!(decide(&private, V3_PROTOCOL, &destination).is_ok(), "{ip}");
        }
        for ip in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.255"] {
            assert!(decide(&Config::default(), V3_PROTOCOL, &address(ip, 4000, 2)).is_ok(), "{ip}");
        }
    }

    #[test]
    fn a_node_of_a_closed_network_serves_that_network_only() {
        let reaches =
            |me: &str, ip: &str| decide_at(me, &Config::default(), V3_PROTOCOL, &address(ip, 4000, 2)).is_ok();
        assert!(reaches("127.0.0.1", "127.0.0.1"));
        assert!(reaches("10.1.2.3", "192.168.1.1"));
        assert!(reaches("10.1.2.3", "1.1.1.1"));
        assert!(!reaches("127.0.0.1", "192.168.1.1"));
        assert!(!reaches("10.1.2.3", "127.0.0.1"));
        assert!(!reaches("10.1.2.3", "169.254.169.254"));
        assert!(!reaches("203.0.114.7", "10.0.0.1"));
    }

    #[test]
    fn asks_a_known_service_where_the_directory_says() {
        let claimed = address("127.0.0.1", 22, 9);
        let Ok(Target::Remote { peer: asked, addresses }) = decide(&Config::default(), V3_PROTOCOL, &claimed) else {
            panic!("a known service is allowed at a private address");
        };
        assert_eq!(asked, peer(9));
        assert_eq!(addresses, ["/ip4/10.0.0.9/tcp/4000".parse::<Multiaddr>().unwrap()]);
    }

    #[test]
    fn opens_the_networks_that_are_named_and_no_others() {
        let config = Config { networks: vec!["100.64.0.0/10".parse().unwrap()], ..Config::default() };
        let reaches = |ip: &str| decide(&config, V3_PROTOCOL, &address(ip, 4000, 2)).is_ok();
        assert!(reaches("100.64.0.1") && reaches("100.127.255.255") && reaches("8.8.8.8"));
        for ip in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "198.18.0.1"] {
            assert!(!reaches(ip), "{ip}");
        }
    }

    #[test]
    fn passes_on_to_the_ports_that_are_allowed_only() {
        let at_port = |config: &Config, port| refusal(config, V3_PROTOCOL, &address("8.8.8.8", port, 2));
        for (port, refused) in
            [(22, true), (25, true), (80, true), (443, false), (1023, true), (1024, false), (65535, false)]
        {
            let expected = refused.then_some(ExitStatus::PortRefused);
            assert_eq!(at_port(&Config::default(), port), expected, "{port}");
        }
        let none = Config { ports: Vec::new(), allow_private_addresses: true, ..Config::default() };
        assert_eq!(at_port(&none, 4000), Some(ExitStatus::PortRefused));
        assert!(decide(&none, V3_PROTOCOL, &address("127.0.0.1", 22, 9)).is_ok(), "a known service");
    }

    #[test]
    fn refuses_destinations_that_are_none() {
        let config = Config { allow_private_addresses: true, ..Config::default() };
        let mut transport = address("8.8.8.8", 4000, 2);
        transport[4] = 7;
        for destination in [transport, address("8.8.8.8", 0, 2), address("8.8.8.8", 4000, 1), [1; ADDRESS_LEN]] {
            assert_eq!(refusal(&config, V3_PROTOCOL, &destination), Some(ExitStatus::InvalidDestination));
        }
    }

    #[test]
    fn passes_nothing_on_when_told_so() {
        let config = Config { forward: false, ..Config::default() };
        assert_eq!(refusal(&config, V3_PROTOCOL, &address("8.8.8.8", 4000, 2)), Some(ExitStatus::NotForwarding));
        assert!(decide(&config, V3_PROTOCOL, &HERE).is_ok());
    }
}
