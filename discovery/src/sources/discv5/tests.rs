//! Whole servers over loopback.

use std::net::Ipv4Addr;

use super::*;

fn source(listen: SocketAddr) -> Discv5Source {
    let config = Discv5Config { listen, announce_ip: None, bootstrap: Vec::new(), auto_update: false };
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
    let Endpoint { ip, port, .. } = own.endpoint().unwrap();
    assert_eq!(ip, Some(Ipv4Addr::LOCALHOST.into()));
    assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_err(), "it is held");
}

#[tokio::test]
async fn any_address_is_left_to_the_host_to_tell() {
    let own = OwnRecord::default();
    source(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0)).prepare(&own).unwrap();
    assert_eq!(own.endpoint().unwrap().ip, None);
}
