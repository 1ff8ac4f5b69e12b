//! The policy: which service is asked, if any.

use libp2p_identity::PeerId;
use wakumix_sphinx::{ADDRESS_LEN, AddressBytes, Weaknesses};

use crate::exit::{ExitPolicy, ExitTarget, HERE, PolicyContext};
use crate::testing::peer;
use crate::{DIAL_PORTS, ExitStatus, HopAddress};

const SERVED: &str = "/vac/waku/lightpush/3.0.0";
const ALLOWED: &str = "/vac/waku/lightpush/2.0.0-beta1";

/// The policy of an exit whose operator has set nothing.
fn usual() -> ExitPolicy {
    ExitPolicy {
        codecs: vec![SERVED.to_owned(), ALLOWED.to_owned()],
        forward: true,
        ports: DIAL_PORTS.to_vec(),
        ..ExitPolicy::default()
    }
}

fn address(ip: &str, port: u16, seed: u16) -> AddressBytes {
    let address = format!("/ip4/{ip}/tcp/{port}").parse().unwrap();
    HopAddress::from_multiaddr(&address, peer(seed)).unwrap().encode()
}

/// What an exit decides that is peer 1, and knows peer 9 as a service.
fn decide(policy: &ExitPolicy, codec: &str, destination: &AddressBytes) -> Result<ExitTarget, ExitStatus> {
    let around = PolicyContext {
        own_peer: peer(1),
        is_served: &|codec| codec == SERVED,
        is_known_service: &|peer_id: &PeerId| *peer_id == peer(9),
        weaknesses: Weaknesses::NONE,
    };
    policy.target(&around, codec, destination)
}

fn refusal(policy: &ExitPolicy, codec: &str, destination: &AddressBytes) -> Option<ExitStatus> {
    decide(policy, codec, destination).err()
}

#[test]
fn serves_what_is_allowed_and_here() {
    let policy = usual();
    assert!(matches!(decide(&policy, SERVED, &HERE), Ok(ExitTarget::Local)));
    assert_eq!(refusal(&policy, ALLOWED, &HERE), Some(ExitStatus::NoService));
}

#[test]
fn refuses_every_other_protocol_wherever_it_goes() {
    let policy = ExitPolicy { allow_private_addresses: true, ..usual() };
    for codec in ["/mix/1.0.0", "/ipfs/ping/1.0.0", "/vac/waku/store/3.0.0", ""] {
        assert_eq!(refusal(&policy, codec, &HERE), Some(ExitStatus::CodecRefused));
        assert_eq!(refusal(&policy, codec, &address("8.8.8.8", 1, 2)), Some(ExitStatus::CodecRefused));
    }
    let only_one = ExitPolicy { codecs: vec![ALLOWED.to_owned()], ..usual() };
    assert_eq!(refusal(&only_one, SERVED, &HERE), Some(ExitStatus::CodecRefused));
}

#[test]
fn passes_on_to_public_addresses_only() {
    let private = ExitPolicy { allow_private_addresses: true, ..usual() };
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
        assert_eq!(refusal(&usual(), SERVED, &destination), Some(ExitStatus::AddressRefused), "{ip}");
        assert!(decide(&private, SERVED, &destination).is_ok(), "{ip}");
    }
    for ip in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "198.20.0.1", "223.255.255.255"] {
        assert!(decide(&usual(), SERVED, &address(ip, 4000, 2)).is_ok(), "{ip}");
    }
}

#[test]
fn asks_a_known_service_where_the_directory_says() {
    let claimed = address("127.0.0.1", 22, 9);
    assert_eq!(decide(&usual(), SERVED, &claimed), Ok(ExitTarget::Known(peer(9))));
    let unknown = address("8.8.8.8", 4000, 2);
    assert_eq!(decide(&usual(), SERVED, &unknown), Ok(ExitTarget::At(HopAddress::decode(&unknown).unwrap())));
}

#[test]
fn opens_the_networks_that_are_named_and_no_others() {
    let policy = ExitPolicy { networks: vec!["100.64.0.0/10".parse().unwrap()], ..usual() };
    let reaches = |ip: &str| decide(&policy, SERVED, &address(ip, 4000, 2)).is_ok();
    assert!(reaches("100.64.0.1") && reaches("100.127.255.255") && reaches("8.8.8.8"));
    for ip in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "198.18.0.1"] {
        assert!(!reaches(ip), "{ip}");
    }
}

#[test]
fn passes_on_to_the_ports_that_are_allowed_only() {
    let at_port = |policy: &ExitPolicy, port| refusal(policy, SERVED, &address("8.8.8.8", port, 2));
    for (port, refused) in
        [(22, true), (25, true), (80, true), (443, false), (1023, true), (1024, false), (65535, false)]
    {
        let expected = refused.then_some(ExitStatus::PortRefused);
        assert_eq!(at_port(&usual(), port), expected, "{port}");
    }
    let none = ExitPolicy { ports: Vec::new(), allow_private_addresses: true, ..usual() };
    assert_eq!(at_port(&none, 4000), Some(ExitStatus::PortRefused));
    assert!(decide(&none, SERVED, &address("127.0.0.1", 22, 9)).is_ok(), "a known service");
}

#[test]
fn refuses_destinations_that_are_not_an_address_of_another_node() {
    let policy = ExitPolicy { allow_private_addresses: true, ..usual() };
    let mut transport = address("8.8.8.8", 4000, 2);
    transport[4] = 7;
    for destination in [transport, address("8.8.8.8", 0, 2), address("8.8.8.8", 4000, 1), [1; ADDRESS_LEN]] {
        assert_eq!(refusal(&policy, SERVED, &destination), Some(ExitStatus::InvalidDestination));
    }
}

#[test]
fn passes_nothing_on_when_told_so() {
    let policy = ExitPolicy { forward: false, ..usual() };
    assert_eq!(refusal(&policy, SERVED, &address("8.8.8.8", 4000, 2)), Some(ExitStatus::NotForwarding));
    assert!(decide(&policy, SERVED, &HERE).is_ok());
}
