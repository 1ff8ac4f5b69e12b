//! A bare libp2p peer: one swarm that lets the test open and accept streams by hand.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder,
    core::{Transport as _, upgrade::Version},
    identity::Keypair,
    multiaddr::Protocol,
    noise,
    swarm::SwarmEvent,
    tcp, websocket, yamux,
};
use tokio::sync::{mpsc, watch};

use super::{Node, from::From, within};

/// The protocol of packets.
pub(crate) const MIX: StreamProtocol = StreamProtocol::new("/mix/1.0.0");

/// A peer without any protocol of its own.
pub(crate) struct RawPeer {
    pub(crate) peer: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) streams: libp2p_stream::Control,
    dial: mpsc::Sender<Multiaddr>,
    dial_until_connected: mpsc::Sender<Multiaddr>,
    connections: watch::Receiver<Connections>,
}

/// Connections so far and now. Both: one that is closed at once may never be seen as open.
#[derive(Clone, Copy, Default)]
struct Connections {
    made: usize,
    open: usize,
}

/// What the peer multiplexes with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Muxer {
    Yamux,
    Mplex,
}

impl RawPeer {
    pub(crate) async fn start(muxer: Muxer) -> Self {
        Self::start_at(muxer, "127.0.0.1").await
    }

    /// A peer that dials from this address.
    pub(crate) async fn start_at(muxer: Muxer, ip: &str) -> Self {
        let identity = Keypair::from(libp2p::identity::secp256k1::Keypair::generate());
        let tcp = From { ip: ip.parse().unwrap(), tcp: tcp::tokio::Transport::default() }
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&identity).unwrap());
        let builder = SwarmBuilder::with_existing_identity(identity).with_tokio();
        let behaviour = |_: &Keypair| libp2p_stream::Behaviour::new();
        let mut swarm = match muxer {
            Muxer::Yamux => {
                let transport = tcp.multiplex(yamux::Config::default());
                builder.with_other_transport(|_| transport).unwrap().with_behaviour(behaviour).unwrap().build()
            }
            Muxer::Mplex => {
                let transport = tcp.multiplex(libp2p_mplex::Config::new());
                builder.with_other_transport(|_| transport).unwrap().with_behaviour(behaviour).unwrap().build()
            }
        };
        swarm.listen_on(format!("/ip4/{ip}/tcp/0").parse().unwrap()).unwrap();
        let address = within(async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        })
        .await;
        Self::run(swarm, address)
    }

    fn run(swarm: Swarm<libp2p_stream::Behaviour>, address: Multiaddr) -> Self {
        let (peer, streams) = (*swarm.local_peer_id(), swarm.behaviour().new_control());
        let (dial, dials) = mpsc::channel(8);
        let (dial_until_connected, persistent) = mpsc::channel(8);
        let (count, connections) = watch::channel(Connections::default());
        tokio::spawn(run(swarm, dials, persistent, count));
        Self { peer, address, streams, dial, dial_until_connected, connections }
    }

    /// A peer that dials as a web page does: WebSocket over TLS, to whoever shows a certificate of this authority, with mplex.
    pub(crate) async fn start_page(authority: Vec<u8>) -> Self {
        let identity = Keypair::from(libp2p::identity::secp256k1::Keypair::generate());
        let mut tls = websocket::tls::Config::builder();
        tls.add_trust(&websocket::tls::Certificate::new(authority)).unwrap();
        let mut transport = websocket::Config::new(tcp::tokio::Transport::default());
        transport.set_tls_config(tls.finish());
        let transport = transport
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(&identity).unwrap())
            .multiplex(libp2p_mplex::Config::new());
        let swarm = SwarmBuilder::with_existing_identity(identity)
            .with_tokio()
            .with_other_transport(|_| transport)
            .unwrap()
            .with_behaviour(|_| libp2p_stream::Behaviour::new())
            .unwrap()
            .build();
        Self::run(swarm, Multiaddr::empty())
    }

    /// A peer that is connected to a host.
    pub(crate) async fn connected(node: &Node) -> Self {
        let mut peer = Self::start(Muxer::Yamux).await;
        peer.connect(node.full_address(0)).await;
        peer
    }

    /// Connects to a host and waits for it.
    pub(crate) async fn connect(&mut self, to: Multiaddr) {
        let before = self.connections.borrow().made;
        self.dial.send(to).await.unwrap();
        within(self.connections.wait_for(|now| now.made > before)).await.unwrap();
    }

    /// Connects to a host, dialling again for as long as it has no place.
    pub(crate) async fn connect_at_last(&mut self, to: Multiaddr) {
        let before = self.connections.borrow().made;
        self.dial_until_connected.send(to).await.unwrap();
        within(self.connections.wait_for(|now| now.made > before)).await.unwrap();
    }

    /// Waits until nobody is connected.
    pub(crate) async fn disconnected(&mut self) {
        within(self.connections.wait_for(|now| now.open == 0)).await.unwrap();
    }

    /// Whether somebody is connected now.
    pub(crate) fn is_connected(&self) -> bool {
        self.connections.borrow().open > 0
    }

    /// Opens a stream.
    pub(crate) async fn open(&mut self, to: PeerId, protocol: StreamProtocol) -> Stream {
        within(self.streams.open_stream(to, protocol)).await.unwrap()
    }

    /// Accepts streams.
    pub(crate) fn accept(&mut self, protocol: StreamProtocol) -> libp2p_stream::IncomingStreams {
        self.streams.accept(protocol).unwrap()
    }

    pub(crate) fn full_address(&self) -> Multiaddr {
        self.address.clone().with(Protocol::P2p(self.peer))
    }

    pub(crate) fn hop(&self) -> wakumix_mix::HopAddress {
        wakumix_mix::HopAddress::from_multiaddr(&self.address, self.peer).unwrap()
    }
}

async fn run(
    mut swarm: Swarm<libp2p_stream::Behaviour>,
    mut dials: mpsc::Receiver<Multiaddr>,
    mut persistent: mpsc::Receiver<Multiaddr>,
    count: watch::Sender<Connections>,
) {
    let mut wanted = None;
    loop {
        tokio::select! {
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => {
                    wanted = None;
                    count.send_modify(|now| {
                        now.made += 1;
                        now.open += 1;
                    });
                }
                SwarmEvent::OutgoingConnectionError { .. } => {
                    if let Some(address) = wanted.clone() {
                        swarm.dial(address).unwrap();
                    }
                }
                SwarmEvent::ConnectionClosed { .. } => count.send_modify(|now| now.open -= 1),
                _ => {}
            },
            dial = dials.recv() => match dial {
                Some(address) => swarm.dial(address).unwrap(),
                None => return,
            },
            Some(address) = persistent.recv() => {
                wanted = Some(address.clone());
                swarm.dial(address).unwrap();
            }
        }
    }
}

/// A frame as packets travel in it.
pub(crate) fn frame(body: &[u8]) -> Vec<u8> {
    let mut buffer = unsigned_varint::encode::usize_buffer();
    [unsigned_varint::encode::usize(body.len(), &mut buffer), body].concat()
}

/// The frame of packet number `number`.
pub(crate) fn packet_frame(number: u32) -> Vec<u8> {
    let mut body = vec![number.to_le_bytes()[0]; super::PACKET_LEN];
    body[..4].copy_from_slice(&number.to_le_bytes());
    frame(&body)
}
