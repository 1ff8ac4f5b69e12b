//! The adversary at the doors.

use std::{
    convert::Infallible,
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, future::join_all};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Transport as _,
    core::{
        Endpoint,
        transport::{DialOpts, PortUse},
        upgrade::OutboundConnectionUpgrade as _,
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, quic,
    tcp::tokio::TcpStream,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, UdpSocket},
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use wakumix_integration_tests::{
    CLUSTER,
    peer::{Muxer, RawPeer},
    within,
};
use wakumix_mix::MIX_PROTOCOL;
use wakumix_sphinx::PACKET_LEN;
use wakumix_waku::{frame, lightpush::V3_PROTOCOL};

use super::source;
use crate::victim::Target;

/// Connections that are never set up.
const HALF_OPEN: u32 = 1000;
/// When one that says a word is opened again. Without a pause they come so fast that they displace each other before their words
/// are read.
const REOPENED: Duration = Duration::from_secs(1);
/// Identities that write halves of requests.
const HALVES: u32 = 16;
/// Streams that each of them has open or tries to.
const HALF_STREAMS: usize = 256;
/// The length of a request that never ends: below the longest that lightpush takes, and a hundred of them above what the node
/// keeps of requests, 16 MiB.
const BODY: usize = 200 << 10;
/// What comes of it: a byte, or nearly all.
const WRITTEN: [usize; 2] = [1, BODY - 1];
/// Identities that write over mplex.
const MULTIPLEXERS: u32 = 64;
/// Streams of each: eight below the node's limit, with some of each kind beyond that kind's.
const MPLEX_STREAMS: u64 = 120;
/// Written on a stream at a time, and in all until the next takes its place.
const MPLEX_FRAME: usize = 4 << 10;
const MPLEX_ROUNDS: u64 = 64;
/// First packets of QUIC: as many different ones as are sent in four seconds. The node has forgotten one when it comes again.
const FIRST_PACKETS: usize = 4000;
/// Sent at a time, and how often.
const PACKETS: usize = 10;
const PERIOD: Duration = Duration::from_millis(10);
/// After something that did not work.
const PAUSE: Duration = Duration::from_millis(10);
/// How long anything may take that the node has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How much the adversary gives way to honest nodes on their processor (nice).
const GIVES_WAY: i32 = 10;

/// What the adversary does.
pub(super) enum Flood {
    /// Connections that are never set up, each opened again when the node ends it.
    HalfOpen {
        /// Whether it says the first word and stops, or nothing at all.
        says_a_word: bool,
    },
    /// Requests that begin and do not end, each begun again when the node ends it.
    HalfBodies,
    /// Writes on all streams of a connection and never reads.
    Mplex,
    /// These first packets of QUIC, again and again, and nothing behind them.
    Quic(Vec<Vec<u8>>),
}

/// What the adversary has done so far.
#[derive(Default)]
struct Tally {
    connections: AtomicU64,
    streams: AtomicU64,
    bytes: AtomicU64,
    packets: AtomicU64,
    failures: AtomicU64,
}

/// A flood that goes on until it is stopped.
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
    tally: Arc<Tally>,
}

impl Running {
    /// Starts it on its own thread.
    pub(super) fn start(flood: Flood, target: &Arc<Target>) -> Self {
        let (tally, target) = (Arc::<Tally>::default(), Arc::clone(target));
        let ((stop, stop_asked), (over, stopped)) = (oneshot::channel(), oneshot::channel());
        let counts = tally.clone();
        thread::spawn(move || {
            // On Linux a thread has its own priority.
            rustix::process::setpriority_process(None, GIVES_WAY).expect("anybody may give way");
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event queue");
            runtime.block_on(async {
                tokio::select! {
                    never = flood.run(&target, &counts) => match never {},
                    _ = stop_asked => {}
                }
            });
            drop(runtime);
            // Whoever started it may be gone.
            let _ = over.send(());
        });
        Self { stop, stopped, tally }
    }

    /// Ends it; what it has done.
    pub(super) async fn stop(self) -> String {
        self.stop.send(()).expect("it runs until it is stopped");
        within(self.stopped).await.expect("nothing panics in it");
        self.tally.to_string()
    }
}

impl Flood {
    async fn run(self, target: &Target, tally: &Arc<Tally>) -> Infallible {
        let all = match self {
            Self::HalfOpen { says_a_word } => {
                let (node, words) = (socket_of(target.tcp()), line("/multistream/1.0.0"));
                let words = if says_a_word { words } else { Vec::new() };
                all((0..HALF_OPEN).map(|number| half_open(node, number, &words, tally))).await
            }
            Self::HalfBodies => all((0..HALVES).map(|number| half_bodies(target, number, tally))).await,
            Self::Mplex => all((0..MULTIPLEXERS).map(|number| mplex(target, number, tally))).await,
            Self::Quic(packets) => send_first_packets(&packets, socket_of(target.quic()), tally).await,
        };
        match all {}
    }
}

/// Waits for what never ends.
async fn all(parts: impl Iterator<Item = impl Future<Output = Infallible>>) -> Infallible {
    match join_all(parts).await.into_iter().next() {
        Some(never) => match never {},
        None => std::future::pending().await,
    }
}

/// The address of a socket in a multiaddress.
fn socket_of(address: &Multiaddr) -> SocketAddr {
    let mut parts = address.iter();
    let (Some(Protocol::Ip4(ip)), Some(Protocol::Tcp(port) | Protocol::Udp(port))) = (parts.next(), parts.next())
    else {
        panic!("{address} is no socket");
    };
    SocketAddrV4::new(ip, port).into()
}

/// Connects from an address of the adversary's.
async fn connect(node: SocketAddr, from: Ipv4Addr, tally: &Tally) -> io::Result<tokio::net::TcpStream> {
    let connected = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddrV4::new(from, 0).into())?;
        timeout(ANSWER_TIMEOUT, socket.connect(node)).await?
    };
    let connected = connected.await;
    count(if connected.is_ok() { &tally.connections } else { &tally.failures }, 1);
    connected
}

async fn half_open(node: SocketAddr, number: u32, words: &[u8], tally: &Tally) -> Infallible {
    let is_silent = words.is_empty();
    if !is_silent {
        // Not all at once.
        sleep(REOPENED * number / HALF_OPEN).await;
    }
    loop {
        match connect(node, source(number), tally).await {
            Ok(mut stream) => {
                // Until the node ends it, in one way or another. What it says first is read too.
                if stream.write_all(words).await.is_ok() {
                    while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
                }
                if !is_silent {
                    sleep(REOPENED).await;
                }
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn half_bodies(target: &Target, number: u32, tally: &Tally) -> Infallible {
    let node = target.node.peer();
    loop {
        let peer = RawPeer::start_at(Muxer::Yamux, CLUSTER, source(number)).await;
        if timeout(ANSWER_TIMEOUT, peer.connect(node, target.node.address.multiaddr())).await.is_err() {
            count(&tally.failures, 1);
            continue;
        }
        count(&tally.connections, 1);
        let bodies = (0..HALF_STREAMS).map(|number| half_bodies_of(&peer, node, WRITTEN[number % 2], tally));
        join_all(bodies).await;
    }
}

/// Begins requests, one after the other, for as long as the peer is connected.
async fn half_bodies_of(peer: &RawPeer, node: PeerId, written: usize, tally: &Tally) {
    const LIGHTPUSH: StreamProtocol = StreamProtocol::new(V3_PROTOCOL);
    let frame = frame::encode(&[7; BODY]);
    let begun = &frame[..frame.len() - BODY + written];
    while peer.contacts().connections.contains_key(&node) {
        let Ok(Ok(mut stream)) = timeout(ANSWER_TIMEOUT, peer.try_open(node, LIGHTPUSH)).await else {
            count(&tally.failures, 1);
            sleep(PAUSE).await;
            continue;
        };
        count(&tally.streams, 1);
        if stream.write_all(begun).await.is_ok() && stream.flush().await.is_ok() {
            while matches!(stream.read(&mut [0; 64]).await, Ok(1..)) {}
        }
    }
}

async fn mplex(target: &Target, number: u32, tally: &Tally) -> Infallible {
    let node = socket_of(target.tcp());
    loop {
        if let Ok(Ok(mut connection)) = timeout(ANSWER_TIMEOUT, secured(node, source(number), tally)).await {
            // It ends when the node ends it.
            let _ = write_on_all_streams(&mut connection, tally).await;
        } else {
            count(&tally.failures, 1);
            sleep(PAUSE).await;
        }
    }
}

/// A connection as far as its muxer, which is left to the caller: what the library does not do, nobody does.
async fn secured(
    node: SocketAddr,
    from: Ipv4Addr,
    tally: &Tally,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let mut socket = TcpStream(connect(node, from, tally).await?);
    agree_on(&mut socket, "/noise").await?;
    let noise = noise::Config::new(&Keypair::generate_ed25519()).map_err(io::Error::other)?;
    let (_, mut connection) = noise.upgrade_outbound(socket, "/noise").await.map_err(io::Error::other)?;
    agree_on(&mut connection, "/mplex/6.7.0").await?;
    Ok(connection)
}

/// Negotiates one protocol (multistream-select).
async fn agree_on(socket: &mut (impl AsyncRead + AsyncWrite + Unpin), protocol: &str) -> io::Result<()> {
    let said = line("/multistream/1.0.0").into_iter().chain(line(protocol)).collect::<Vec<_>>();
    socket.write_all(&said).await?;
    socket.flush().await?;
    let mut heard = vec![0; said.len()];
    socket.read_exact(&mut heard).await?;
    if heard == said { Ok(()) } else { Err(io::Error::other("the node does not agree")) }
}

/// A line of multistream-select.
fn line(text: &str) -> Vec<u8> {
    frame::encode(format!("{text}\n").as_bytes())
}

/// What is written on a stream.
#[derive(Clone, Copy)]
enum Stream {
    /// A push that never ends.
    Lightpush,
    /// Frames of the length of packets.
    Mix,
    /// Protocols that nobody speaks, one after the other.
    Negotiation,
}

impl Stream {
    fn of(number: u64) -> Self {
        match number % 4 {
            0 => Self::Lightpush,
            1 => Self::Mix,
            _ => Self::Negotiation,
        }
    }

    /// How it begins.
    fn beginning(self) -> Vec<u8> {
        let then = match self {
            Self::Lightpush => [line(V3_PROTOCOL), frame::encode(&[7; BODY])[..4].to_vec()].concat(),
            Self::Mix => line(MIX_PROTOCOL),
            Self::Negotiation => Vec::new(),
        };
        [line("/multistream/1.0.0"), then].concat()
    }

    /// What is written on it again and again.
    fn content(self) -> Vec<u8> {
        match self {
            Self::Lightpush => vec![7; MPLEX_FRAME],
            Self::Mix => frame::encode(&[7; PACKET_LEN]),
            Self::Negotiation => line("/nobody/speaks/this/1.0.0").repeat(MPLEX_FRAME / 27),
        }
    }
}

/// Writes for as long as the node reads.
async fn write_on_all_streams(connection: &mut (impl AsyncWrite + Unpin), tally: &Tally) -> io::Result<()> {
    const NEW: u64 = 0;
    const MESSAGE: u64 = 2;
    const RESET: u64 = 6;
    let mut next = 0;
    loop {
        let streams = next..next + MPLEX_STREAMS;
        next = streams.end;
        let on_each = |what: &dyn Fn(u64) -> Vec<u8>| streams.clone().flat_map(what).collect::<Vec<_>>();
        let begin = |stream| {
            let new = mplex_frame(stream, NEW, b"");
            [new, mplex_frame(stream, MESSAGE, &Stream::of(stream).beginning())].concat()
        };
        count(&tally.streams, streams.clone().count());
        write(connection, &on_each(&begin), tally).await?;
        let round = on_each(&|stream| mplex_frame(stream, MESSAGE, &Stream::of(stream).content()));
        for _ in 0..MPLEX_ROUNDS {
            write(connection, &round, tally).await?;
        }
        write(connection, &on_each(&|stream| mplex_frame(stream, RESET, b"")), tally).await?;
    }
}

async fn write(connection: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8], tally: &Tally) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = connection.write(bytes).await?;
        count(&tally.bytes, written);
        bytes = &bytes[written..];
    }
    connection.flush().await
}

/// A frame of mplex: the stream and what it is about, then the content with its length.
fn mplex_frame(stream: u64, flag: u64, content: &[u8]) -> Vec<u8> {
    let (mut out, mut header) = (Vec::new(), stream << 3 | flag);
    while header >= 0x80 {
        out.push(u8::try_from(header & 0x7f).expect("seven bits") | 0x80);
        header >>= 7;
    }
    out.push(u8::try_from(header).expect("seven bits"));
    [out, frame::encode(content)].concat()
}

/// First packets of QUIC, whose senders will not say more.
pub(super) async fn first_packets() -> Vec<Vec<u8>> {
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&Keypair::generate_ed25519()));
    let (mut packets, mut dials) = (Vec::new(), JoinSet::new());
    for _ in 0..FIRST_PACKETS {
        let sink = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let port = sink.local_addr().expect("it is bound").port();
        let address = format!("/ip4/127.0.0.1/udp/{port}/quic-v1").parse().expect("an address");
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        dials.spawn(transport.dial(address, opts).expect("QUIC"));
        let mut packet = vec![0; 2048];
        let length = within(sink.recv(&mut packet)).await.expect("a packet");
        packet.truncate(length);
        packets.push(packet);
    }
    packets
}

async fn send_first_packets(packets: &[Vec<u8>], node: SocketAddr, tally: &Tally) -> Infallible {
    let (mut ticks, mut packets) = (interval(PERIOD), (0..).zip(packets).cycle());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (number, packet) in packets.by_ref().take(PACKETS) {
            let sent = std::net::UdpSocket::bind((source(number), 0)).and_then(|socket| socket.send_to(packet, node));
            count(if sent.is_ok() { &tally.packets } else { &tally.failures }, 1);
        }
    }
}

fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or_default(), Ordering::Relaxed);
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = [
            (read(&self.connections), "connections"),
            (read(&self.streams), "streams"),
            (read(&self.bytes) >> 20, "MiB"),
            (read(&self.packets), "packets"),
            (read(&self.failures), "failures"),
        ];
        let some = counts.iter().filter(|(count, _)| *count > 0).map(|(count, of)| format!("{count} {of}"));
        f.write_str(&some.collect::<Vec<_>>().join(", "))
    }
}
