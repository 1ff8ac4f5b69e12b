//! A bare libp2p peer: one swarm that opens and accepts streams by hand, and speaks metadata as nwaku does.
//!
//! It shares no code with the host under test but the encoding of metadata.

use std::{collections::HashMap, net::Ipv4Addr};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    dns,
    identity::{Keypair, secp256k1},
    multiaddr::Protocol,
    noise,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
    tcp, websocket, yamux,
};
use tokio::sync::{mpsc, watch};
use wakumix_waku::{frame, metadata::Metadata};

use crate::{DEADLINE, within};

#[path = "../../host/tests/support/from.rs"]
mod from;

/// The protocol of packets.
pub const MIX: StreamProtocol = StreamProtocol::new(wakumix_mix::MIX_PROTOCOL);
/// The protocol of metadata.
pub const METADATA: StreamProtocol = StreamProtocol::new(wakumix_waku::metadata::PROTOCOL);

/// What a peer multiplexes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Muxer {
    /// As nwaku's nodes prefer.
    Yamux,
    /// As the example nodes of the Nim library have it, and nothing else.
    Mplex,
}

/// What a peer knows of its connections.
#[derive(Clone, Debug, Default)]
pub struct Contacts {
    /// Connections by peer.
    pub connections: HashMap<PeerId, usize>,
    /// Connections that ended.
    pub ended: usize,
    /// Why the last dial that failed did.
    pub failed_dial: Option<String>,
    /// What peers answered when they were asked for metadata.
    pub answers: HashMap<PeerId, Metadata>,
    /// Which peers asked for metadata, and were answered.
    pub questions: Vec<PeerId>,
}

/// A peer that listens on TCP of loopback. Cheap to clone.
#[derive(Clone)]
pub struct RawPeer {
    identity: Keypair,
    address: Multiaddr,
    streams: libp2p_stream::Control,
    dials: mpsc::Sender<DialOpts>,
    contacts: watch::Receiver<Contacts>,
}

impl RawPeer {
    /// Starts a peer of this cluster: it asks for metadata on every new connection and answers always, as wakunode2.
    pub async fn start(muxer: Muxer, cluster: u16) -> Self {
        Self::start_at(muxer, cluster, Ipv4Addr::LOCALHOST).await
    }

    /// A peer that dials as a web page does: WebSocket over TLS, to whoever shows a certificate of this authority, with mplex.
    pub async fn start_page(cluster: u16, authority: Vec<u8>) -> Self {
        Self::start_trusting(Muxer::Mplex, cluster, Ipv4Addr::LOCALHOST, Some(authority)).await
    }

    /// A peer that listens at this address of loopback, and dials from it.
    pub async fn start_at(muxer: Muxer, cluster: u16, ip: Ipv4Addr) -> Self {
        Self::start_trusting(muxer, cluster, ip, None).await
    }

    async fn start_trusting(muxer: Muxer, cluster: u16, ip: Ipv4Addr, authority: Option<Vec<u8>>) -> Self {
        let identity = Keypair::from(secp256k1::Keypair::generate());
        let config = libp2p::swarm::Config::with_tokio_executor().with_idle_connection_timeout(DEADLINE);
        let peer = identity.public().to_peer_id();
        let mut swarm =
            Swarm::new(transport(&identity, muxer, ip, authority), libp2p_stream::Behaviour::new(), peer, config);
        swarm.listen_on(Multiaddr::from(ip).with(Protocol::Tcp(0))).unwrap();
        let address = within(async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        })
        .await;
        let mut streams = swarm.behaviour().new_control();
        let (contacts, reader) = watch::channel(Contacts::default());
        let (dials, receiver) = mpsc::channel(16);
        let questions = streams.accept(METADATA).unwrap();
        tokio::spawn(answer_metadata(questions, cluster, contacts.clone()));
        tokio::spawn(swarm_task(swarm, receiver, contacts, cluster));
        Self { identity, address, streams, dials, contacts: reader }
    }

    /// Its peer id.
    pub fn peer_id(&self) -> PeerId {
        self.identity.public().to_peer_id()
    }

    /// What it signs with.
    pub fn identity(&self) -> &Keypair {
        &self.identity
    }

    /// Where it listens.
    pub fn address(&self) -> &Multiaddr {
        &self.address
    }

    /// What it knows of its connections.
    pub fn contacts(&self) -> Contacts {
        self.contacts.borrow().clone()
    }

    /// Waits until its connections are as wanted.
    pub async fn contacts_are(&self, wanted: impl FnMut(&Contacts) -> bool) {
        within(self.contacts.clone().wait_for(wanted)).await.expect("the peer runs");
    }

    /// Connects to a peer, unless it is connected.
    pub async fn connect(&self, peer: PeerId, address: Multiaddr) {
        if self.contacts.borrow().connections.contains_key(&peer) {
            return;
        }
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(vec![address])
            .allocate_new_port()
            .build();
        self.dials.send(opts).await.expect("the peer runs");
        self.contacts_are(|contacts| contacts.connections.contains_key(&peer)).await;
    }

    /// Opens a stream to a connected peer.
    pub async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Stream {
        within(self.try_open(peer, protocol)).await.expect("the peer takes the stream")
    }

    /// Opens a stream to a peer that may refuse it.
    ///
    /// # Errors
    /// The peer does not speak the protocol, or is not connected.
    pub async fn try_open(
        &self,
        peer: PeerId,
        protocol: StreamProtocol,
    ) -> Result<Stream, libp2p_stream::OpenStreamError> {
        self.streams.clone().open_stream(peer, protocol).await
    }

    /// Accepts streams; once for each protocol.
    pub fn accept(&self, protocol: StreamProtocol) -> libp2p_stream::IncomingStreams {
        self.streams.clone().accept(protocol).expect("nobody else accepts them")
    }
}

/// Writes one frame.
pub async fn write_frame(stream: &mut Stream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(&frame::encode(body)).await?;
    stream.flush().await
}

/// Reads one frame; `None` at the end of the stream.
pub async fn read_frame(stream: &mut Stream) -> std::io::Result<Option<Vec<u8>>> {
    let mut read = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte).await? == 0 {
            return Ok(None);
        }
        read.push(byte[0]);
        if byte[0] < 0x80 {
            break;
        }
    }
    let length = read.iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(body))
}

fn transport(
    identity: &Keypair,
    muxer: Muxer,
    ip: Ipv4Addr,
    authority: Option<Vec<u8>>,
) -> Boxed<(PeerId, StreamMuxerBox)> {
    let tcp = || from::From { ip, tcp: tcp::tokio::Transport::new(tcp::Config::default()) };
    let noise = || noise::Config::new(identity).unwrap();
    let mut websocket = websocket::Config::new(dns::tokio::Transport::system(tcp()).unwrap());
    if let Some(authority) = authority {
        let mut tls = websocket::tls::Config::builder();
        tls.add_trust(&websocket::tls::Certificate::new(authority)).unwrap();
        websocket.set_tls_config(tls.finish());
    }
    match muxer {
        Muxer::Yamux => {
            let websocket =
                websocket.upgrade(Version::V1Lazy).authenticate(noise()).multiplex(yamux::Config::default());
            let tcp = tcp().upgrade(Version::V1Lazy).authenticate(noise()).multiplex(yamux::Config::default());
            let either = websocket.boxed().or_transport(tcp.boxed());
            either
                .map(|either, _| either.into_inner())
                .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
                .boxed()
        }
        Muxer::Mplex => {
            let websocket =
                websocket.upgrade(Version::V1Lazy).authenticate(noise()).multiplex(libp2p_mplex::Config::new());
            let tcp = tcp().upgrade(Version::V1Lazy).authenticate(noise()).multiplex(libp2p_mplex::Config::new());
            let either = websocket.boxed().or_transport(tcp.boxed());
            either
                .map(|either, _| either.into_inner())
                .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
                .boxed()
        }
    }
}

async fn swarm_task(
    mut swarm: Swarm<libp2p_stream::Behaviour>,
    mut dials: mpsc::Receiver<DialOpts>,
    contacts: watch::Sender<Contacts>,
    cluster: u16,
) {
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                    contacts.send_modify(|contacts| *contacts.connections.entry(peer_id).or_default() += 1);
                    let streams = swarm.behaviour().new_control();
                    tokio::spawn(ask_metadata(streams, peer_id, cluster, contacts.clone()));
                }
                SwarmEvent::ConnectionClosed { peer_id, num_established, .. } => contacts.send_modify(|contacts| {
                    contacts.ended += 1;
                    match num_established {
                        0 => drop(contacts.connections.remove(&peer_id)),
                        left => drop(contacts.connections.insert(peer_id, left as usize)),
                    }
                }),
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    contacts.send_modify(|contacts| contacts.failed_dial = Some(error.to_string()));
                }
                _ => {}
            },
            dial = dials.recv() => match dial {
                // A dial that is not needed any more is refused.
                Some(opts) => drop(swarm.dial(opts)),
                None => return,
            },
        }
    }
}

async fn ask_metadata(
    mut streams: libp2p_stream::Control,
    peer: PeerId,
    cluster: u16,
    contacts: watch::Sender<Contacts>,
) {
    let Ok(mut stream) = streams.open_stream(peer, METADATA).await else { return };
    if write_frame(&mut stream, &own(cluster).encode()).await.is_err() {
        return;
    }
    if let Ok(Some(answer)) = read_frame(&mut stream).await {
        let answer = Metadata::decode(&answer).expect("metadata");
        contacts.send_modify(|contacts| drop(contacts.answers.insert(peer, answer)));
    }
}

async fn answer_metadata(
    mut questions: libp2p_stream::IncomingStreams,
    cluster: u16,
    contacts: watch::Sender<Contacts>,
) {
    while let Some((peer, mut stream)) = questions.next().await {
        let contacts = contacts.clone();
        tokio::spawn(async move {
            if let Ok(Some(_)) = read_frame(&mut stream).await
                && write_frame(&mut stream, &own(cluster).encode()).await.is_ok()
                && stream.close().await.is_ok()
            {
                contacts.send_modify(|contacts| contacts.questions.push(peer));
            }
        });
    }
}

fn own(cluster: u16) -> Metadata {
    Metadata { cluster_id: Some(cluster.into()), shards: vec![0] }
}
