//! WebSocket over TLS: what a web page dials.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failing step of a test is a failing test"
)]

mod support;

use std::{path::Path, sync::Arc, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use support::{
    Node, Setup, TCP,
    raw::{MIX, RawPeer, frame, packet_frame},
    until, within,
};
use tokio::{io, net::TcpStream};
use wakumix_role_api::{InboundRequest, Service, Services};
use wakumix_telemetry::Telemetry;
use wakumix_tls::{
    Look, ServedCertificate, Surface,
    rustls::{ClientConfig, ClientConnection, RootCertStore},
    server_config,
    testing::{Authority, VALID},
};
use wakumix_waku::lightpush::V3_PROTOCOL;

const SECURE: &str = "/ip4/127.0.0.1/tcp/0/wss";

fn serves(folder: &Path, authority: &Authority) -> Arc<ServedCertificate> {
    let files = authority.issue(&["127.0.0.1"], VALID).write(folder);
    ServedCertificate::load(Surface::WebSocket, files, &Telemetry::new([&wakumix_tls::METRICS]).unwrap()).unwrap()
}

fn setup(served: &Arc<ServedCertificate>) -> Setup {
    let mut setup = Setup::listening(&[SECURE, TCP]);
    setup.config.tls = Some(Arc::new(server_config(Arc::clone(served), None).unwrap()));
    setup
}

async fn node(served: &Arc<ServedCertificate>, pending: Option<usize>) -> Node {
    let mut setup = setup(served);
    if let Some(pending) = pending {
        setup.config.connections.pending_inbound = pending;
    }
    setup.start().await
}

/// Sends packet number `number` over its own stream.
async fn sends(page: &mut RawPeer, node: &mut Node, number: u32) {
    let mut stream = page.open(node.peer(), MIX).await;
    stream.write_all(&packet_frame(number)).await.unwrap();
    stream.close().await.unwrap();
    assert_eq!(node.receive_number().await, number);
}

/// What a client begins with.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().into()).unwrap();
    let config = ClientConfig::builder_with_provider(wakumix_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// Begins a handshake, and goes on no further once the server has answered. Whether it has.
async fn begins(address: &str, hello: &[u8]) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    io::AsyncWriteExt::write_all(&mut socket, hello).await.ok()?;
    let heard = within(io::AsyncReadExt::read(&mut socket, &mut [0; 5])).await;
    heard.is_ok_and(|len| len > 0).then_some(socket)
}

fn socket_address(node: &Node) -> String {
    let address = node.host.listen_addresses()[0].to_string();
    address.trim_start_matches("/ip4/").trim_end_matches("/wss").replace("/tcp/", ":")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_connects_over_tls_and_its_packets_arrive() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let mut node = node(&serves(folder.path(), &authority), None).await;
    assert!(node.host.listen_addresses()[0].to_string().ends_with("/wss"), "{:?}", node.host.listen_addresses());
    let mut page = RawPeer::start_page(authority.der()).await;
    page.connect(node.full_address(0)).await;
    for number in 0..3 {
        sends(&mut page, &mut node, number).await;
    }
    // The same port without TLS gives nothing, and harms nobody.
    let mut plain = TcpStream::connect(socket_address(&node)).await.unwrap();
    io::AsyncWriteExt::write_all(&mut plain, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end too.
    let _ = within(io::AsyncReadExt::read_to_end(&mut plain, &mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    sends(&mut page, &mut node, 9).await;
    node.assert_balanced();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_to_those_who_come_and_those_who_are_there_stay() {
    let (folder, authority, next) = (tempfile::tempdir().unwrap(), Authority::new("test"), Authority::new("next"));
    let served = serves(folder.path(), &authority);
    let mut node = node(&served, None).await;
    let mut page = RawPeer::start_page(authority.der()).await;
    page.connect(node.full_address(0)).await;
    next.issue(&["127.0.0.1"], VALID).write(folder.path());
    assert_eq!(served.look(1_767_225_600), Look::Taken);
    let mut newcomer = RawPeer::start_page(next.der()).await;
    newcomer.connect(node.full_address(0)).await;
    sends(&mut newcomer, &mut node, 1).await;
    sends(&mut page, &mut node, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_handshakes_that_stop_half_way_keep_neither_packets_nor_pages_out() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let mut node = node(&serves(folder.path(), &authority), Some(16)).await;
    let mut page = RawPeer::start_page(authority.der()).await;
    page.connect(node.full_address(0)).await;
    let (address, hello) = (socket_address(&node), client_hello(&authority));
    let mut open = Vec::new();
    for round in 0..10_u32 {
        for _ in 0..100 {
            open.extend(begins(&address, &hello).await);
        }
        sends(&mut page, &mut node, round).await;
    }
    // They are held by this side; the node has let go of all but the last.
    assert!(open.len() >= 16, "{}", open.len());
    let mut newcomer = RawPeer::start_page(authority.der()).await;
    newcomer.connect_at_last(node.full_address(0)).await;
    sends(&mut newcomer, &mut node, 99).await;
    let displaced = node.metric("waku_mix_connections_refused_total{reason=\"displaced\"}");
    let refused = node.metric("waku_mix_connections_refused_total{reason=\"pending_inbound\"}");
    assert!(displaced + refused > 0);
    node.assert_balanced();
}

/// Answers every lightpush request with its own body.
fn echo() -> Services {
    let service = Service::new(V3_PROTOCOL, 1024, |request: InboundRequest| {
        // The peer may be gone.
        let _ = request.respond.send(request.body);
    });
    Services::new([("test", vec![service])]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_pages_the_one_leaves_first_that_was_longest_without_a_packet_or_request() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new("test"));
    let mut setup = setup(&serves(folder.path(), &authority));
    (setup.config.connections.total, setup.config.connections.inbound) = (16, 12);
    setup.config.connections.grace = Duration::ZERO;
    setup.services = echo();
    let mut node = setup.start().await;
    let inbound = |node: &Node| node.metric("waku_mix_inbound_connections");
    let mut pages = Vec::new();
    for _ in 0..12 {
        let mut page = RawPeer::start_page(authority.der()).await;
        page.connect(node.full_address(0)).await;
        pages.push(page);
    }
    until(async || inbound(&node) == 12).await;
    sends(&mut pages[0], &mut node, 1).await;
    let mut request = pages[1].open(node.peer(), StreamProtocol::new(V3_PROTOCOL)).await;
    within(request.write_all(&frame(b"push"))).await.unwrap();
    within(request.close()).await.unwrap();
    let mut answer = Vec::new();
    within(request.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, frame(b"push"));
    let mut newcomer = RawPeer::start_page(authority.der()).await;
    newcomer.connect(node.full_address(0)).await;
    pages[2].disconnected().await;
    until(async || node.metric("waku_mix_connections_evicted_total") == 1).await;
    assert!(newcomer.is_connected() && pages[..2].iter().all(RawPeer::is_connected));
    sends(&mut pages[0], &mut node, 2).await;
}
