//! QUIC handshakes that remotes have begun.
//!
//! libp2p's QUIC accepts whatever comes, and a first packet may name any address as its sender. What it accepted is given up
//! here: after [`SILENCE_LIMIT`](super::SILENCE_LIMIT), or when there are too many, the oldest first. The handshake of an
//! honest remote is over one round trip after its first packet.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    quic,
};

use super::{Kind, Setups, Ticket};

/// QUIC whose incoming handshakes must end in time.
pub(in crate::transport) struct WatchedQuic {
    transport: quic::tokio::Transport,
    setups: Setups,
}

impl WatchedQuic {
    pub(super) fn new(transport: quic::tokio::Transport, setups: Setups) -> Self {
        Self { transport, setups }
    }
}

impl Transport for WatchedQuic {
    type Output = <quic::tokio::Transport as Transport>::Output;
    type Error = quic::Error;
    type ListenerUpgrade = Handshake;
    type Dial = <quic::tokio::Transport as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<quic::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<quic::Error>> {
        self.transport.dial(address, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let this = &mut *self;
        let watched = |connecting| Handshake { connecting, ticket: this.setups.enter(Kind::Quic) };
        Pin::new(&mut this.transport).poll(cx).map(|event| event.map_upgrade(watched))
    }
}

/// A handshake under way. Dropping it ends the connection.
pub(in crate::transport) struct Handshake {
    connecting: quic::Connecting,
    ticket: Ticket,
}

impl Future for Handshake {
    type Output = Result<(libp2p::PeerId, quic::Connection), quic::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(connected) = Pin::new(&mut this.connecting).poll(cx) {
            return Poll::Ready(connected);
        }
        this.ticket.poll_refused(cx).map(|refusal| {
            this.ticket.count(refusal);
            Err(quic::Error::HandshakeTimedOut)
        })
    }
}
