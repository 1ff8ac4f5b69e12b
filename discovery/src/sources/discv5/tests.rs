//! Whole servers over loopback.

use std::net::Ipv4Addr;

use super::*;

fn source(listen: SocketAddr) -> Discv5Source {
    let config =
        Discv5Config { listen, announce_ip4: None, announce_ip6: None, bootstrap: Vec::new(), auto_update: false };
    Discv5Source::new(config, Shards { cluster: 0, shards: Vec::new() }, false)
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = source(address).prepare(&OwnRecord::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("discv5 cannot listen on {address} (UDP): ")), "{text}");
    assert_eq!(error.error.kind(), io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn a_free_port_is_taken_and_told() {
    let own = OwnRecord::default();
    let source = source(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0));
    source.prepare(&own).unwrap();
    let Endpoint { ip4, udp4: Some(port), ip6: None, udp6: None, .. } = own.endpoint().unwrap() else {
        panic!("{:?}", own.endpoint())
    };
    assert_eq!(ip4, Some(Ipv4Addr::LOCALHOST));
    assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err(), "it is held");
}

#[tokio::test]
async fn any_address_is_left_to_the_host_to_tell() {
    let own = OwnRecord::default();
    source(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).prepare(&own).unwrap();
    assert_eq!(own.endpoint().unwrap().ip4, None);
}

#[tokio::test]
async fn all_addresses_of_ip6_are_those_of_ip4_as_well() {
    let own = OwnRecord::default();
    let source = source("[::]:0".parse().unwrap());
    source.prepare(&own).unwrap();
    let Endpoint { ip4: None, udp4: Some(port), ip6: None, udp6, .. } = own.endpoint().unwrap() else {
        panic!("{:?}", own.endpoint())
    };
    assert_eq!(udp6, Some(port));
    for address in ["0.0.0.0", "::"] {
        assert!(UdpSocket::bind((address, port)).is_err(), "{address} is held");
    }
}
