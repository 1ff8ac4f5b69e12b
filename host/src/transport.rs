//! Sockets: TCP, QUIC and WebSocket, plain and over TLS, with noise, yamux or mplex; names are resolved for dialling. Circuits through relays
//! carry noise and their own muxer: a relay reads nothing.

mod mplex;
mod secure;
mod setups;
mod unread;
mod yamux;

use std::{
    io,
    net::{IpAddr, TcpListener, UdpSocket},
    num::NonZeroU8,
    sync::Arc,
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, future::Either};
use libp2p::{
    Multiaddr, PeerId, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, OptionalTransport, TransportError, timeout::TransportTimeout},
        upgrade::{SelectUpgrade, Version},
    },
    dns,
    identity::Keypair,
    metrics::{BandwidthTransport, Registry},
    multiaddr::Protocol,
    noise, quic, relay,
    swarm::dial_opts::{DialOpts, PeerCondition},
    tcp, websocket,
};

use wakumix_tls::rustls::ServerConfig;

pub(crate) use self::setups::Setups;
use self::{secure::Secure, unread::Unread};
use crate::HostError;

/// Addresses of one peer that are tried at the same time.
const DIAL_CONCURRENCY: NonZeroU8 = NonZeroU8::new(4).unwrap();

/// From a connection's start to its muxer, names and noise included, each way. Without it a remote that stops in the middle
/// would keep its place among the connections being set up forever.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams of one connection: above the sum of what each protocol allows a peer, which is some 46, 256 for a burst of packets and
/// the 58 circuits that a relay may have open or in set-up towards a node behind it. yamux ends a connection with more.
const STREAMS: usize = 384;
const QUIC_STREAMS: u32 = 384;
/// Bytes that wait unread on one stream and on one connection of QUIC; the library's own are 10 MB and 15 MB. With 512 KiB and
/// a round trip of 100 ms, 1100 packets per second go over one connection.
const QUIC_UNREAD: (u32, u32) = (256 * 1024, 512 * 1024);

/// Bytes of the longest frame of WebSocket, which is held until it is whole: a write of noise is below 200 KiB in all
/// implementations that were read, 64 KiB a piece. The library's own is 256 MiB, before anybody has said who it is.
const WEBSOCKET_FRAME: usize = 1 << 20;

/// A transport that knows its peers and carries many streams.
pub(crate) type HostTransport = Boxed<(PeerId, StreamMuxerBox)>;

/// Builds all transports of a host; `/wss` is listened on with the configuration of TLS.
pub(crate) fn build(
    identity: &Keypair,
    tls: Option<Arc<ServerConfig>>,
    circuits: relay::client::Transport,
    setups: &Setups,
    registry: &mut Registry,
) -> Result<HostTransport, HostError> {
    let noise = noise::Config::new(identity).map_err(|error| HostError::setup("noise", &error))?;
    // mplex is for js-waku and the example nodes of the Nim library, which know nothing else (`spec/waku.md §8.1`).
    // Of muxers that both sides know, the dialler's order decides; ours puts yamux first.
    let unread = Unread::default();
    let muxers = || {
        let yamux = yamux::Config { max_streams: STREAMS, unread: unread.clone() };
        SelectUpgrade::new(yamux, mplex::Config { max_streams: STREAMS, unread: unread.clone() })
    };
    let tcp = || setups.watch(tcp::tokio::Transport::new(tcp::Config::default()));
    let dns_problem = |error: io::Error| HostError::setup("name resolution", &error);

    let secure = tls.map(|tls| Secure::new(tcp(), tls, WEBSOCKET_FRAME));
    let secure = secure.map_or_else(OptionalTransport::none, OptionalTransport::some);
    let secure = secure
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(muxers())
        .map(|(peer, muxer), _| (peer, boxed(muxer)));
    let mut websocket = websocket::Config::new(dns::tokio::Transport::system(tcp()).map_err(dns_problem)?);
    websocket.set_max_data_size(WEBSOCKET_FRAME);
    let websocket = websocket
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(muxers())
        .map(|(peer, muxer), _| (peer, boxed(muxer)));
    let circuits = setups
        .watch(circuits)
        .upgrade(Version::V1Lazy)
        .authenticate(noise.clone())
        .multiplex(muxers())
        .map(|(peer, muxer), _| (peer, boxed(muxer)));
    let tcp = tcp()
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(muxers())
        .map(|(peer, muxer), _| (peer, boxed(muxer)));
    let quic = setups
        .watch_quic(quic::tokio::Transport::new(quic_config(identity)))
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let plain = tcp.or_transport(quic).map(|either, _| either.into_inner());
    let plain = dns::tokio::Transport::system(plain).map_err(dns_problem)?;

    // WebSocket first: the TCP transport would take `/tcp/N/ws` for its own.
    let websocket = secure.or_transport(websocket).map(|either, _| either.into_inner());
    let all = websocket.or_transport(plain).map(|either, _| either.into_inner());
    // Circuits before all: their addresses begin like those of the relay.
    let all = circuits.or_transport(all).map(|either, _| either.into_inner());
    let counted = BandwidthTransport::new(TransportTimeout::new(all, SETUP_TIMEOUT), registry);
    Ok(counted.map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer))).boxed())
}

fn quic_config(identity: &Keypair) -> quic::Config {
    let mut config = quic::Config::new(identity);
    config.max_concurrent_stream_limit = QUIC_STREAMS;
    (config.max_stream_data, config.max_connection_data) = QUIC_UNREAD;
    config
}

fn boxed<C: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    muxer: Either<yamux::Muxer<C>, mplex::Muxer<C>>,
) -> StreamMuxerBox {
    match muxer {
        Either::Left(yamux) => StreamMuxerBox::new(yamux),
        Either::Right(mplex) => StreamMuxerBox::new(mplex),
    }
}

/// How a peer is dialled. TCP connections get ports of their own: one that shares the listening port cannot be made
/// again while its predecessor is in TIME_WAIT.
pub(crate) fn dial(peer: PeerId, addresses: Vec<Multiaddr>, condition: PeerCondition) -> DialOpts {
    let over_udp = |address: &Multiaddr| address.iter().any(|part| matches!(part, Protocol::Udp(_)));
    let own_port = !addresses.iter().any(over_udp);
    let opts = DialOpts::peer_id(peer)
        .condition(condition)
        .override_dial_concurrency_factor(DIAL_CONCURRENCY)
        .addresses(addresses);
    if own_port { opts.allocate_new_port().build() } else { opts.build() }
}

/// An address without a trailing `/p2p/<peer id>`.
pub(crate) fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    if matches!(address.iter().last(), Some(Protocol::P2p(_))) {
        address.pop();
    }
    address
}

/// The name of the transport that an address asks for.
pub(crate) fn protocol_name(address: &Multiaddr) -> &'static str {
    let has = |wanted: fn(&Protocol<'_>) -> bool| address.iter().any(|part| wanted(&part));
    if has(|part| matches!(part, Protocol::Ws(_) | Protocol::Wss(_))) {
        "WebSocket"
    } else if has(|part| matches!(part, Protocol::QuicV1)) {
        "QUIC"
    } else {
        "TCP"
    }
}

/// Finds out whether a port is free before libp2p takes it. For TCP nothing else would tell: libp2p listens with
/// SO_REUSEPORT, with which the system lets a second node of the same user share the port and hands each of them half
/// of the connections. For QUIC libp2p's own error no longer says that the port is in use.
pub(crate) fn check_free(address: &Multiaddr) -> Result<(), HostError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Ok(()),
    };
    let probe = match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => TcpListener::bind((ip, port)).map(drop),
        Some(Protocol::Udp(port)) if port != 0 => UdpSocket::bind((ip, port)).map(drop),
        _ => return Ok(()),
    };
    probe.map_err(|error| refused(address, &error))
}

/// Says what is wrong with an address on which libp2p cannot listen.
pub(crate) fn listen_error(address: &Multiaddr, error: TransportError<io::Error>) -> HostError {
    match error {
        TransportError::MultiaddrNotSupported(_) => HostError::AddressNotSupported { address: address.clone() },
        TransportError::Other(error) => refused(address, &error),
    }
}

/// Says why the system does not let us listen.
pub(crate) fn refused(address: &Multiaddr, error: &io::Error) -> HostError {
    let (address, protocol) = (address.clone(), protocol_name(address));
    match error.kind() {
        io::ErrorKind::AddrInUse => HostError::AddressInUse { address, protocol },
        _ => HostError::Listen { address, protocol, reason: error.to_string() },
    }
}
