//! WebSocket over TLS (`/wss`), for web pages: those of https dial nothing else.
//!
//! libp2p's WebSocket terminates TLS too, but takes one certificate for as long as it runs, by its own provider choice. So
//! TLS stands below it here, with a configuration whose certificate changes while the node runs, and WebSocket sees a plain
//! socket. This transport only listens: libp2p's WebSocket dials `/wss` as before.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    AsyncRead, AsyncWrite, FutureExt as _, TryFutureExt as _,
    future::{BoxFuture, Pending},
};
use futures_rustls::{TlsAcceptor, server::TlsStream};
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    multiaddr::Protocol,
    websocket,
};
use wakumix_tls::rustls::ServerConfig;

/// Listens on `/wss`.
pub(super) struct Secure<T: Socket> {
    websocket: websocket::Config<Tls<T>>,
}

/// A transport of sockets that TLS can run over.
pub(super) trait Socket:
    Transport<
        Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Error = io::Error,
        ListenerUpgrade: Send + 'static,
        Dial: Send + 'static,
    > + Send
    + Unpin
    + 'static
{
}

impl<T> Socket for T where
    T: Transport<
            Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
            Error = io::Error,
            ListenerUpgrade: Send + 'static,
            Dial: Send + 'static,
        > + Send
        + Unpin
        + 'static
{
}

impl<T: Socket> Secure<T> {
    /// Over sockets, with a configuration of TLS; frames have at most so many bytes.
    pub(super) fn new(transport: T, tls: Arc<ServerConfig>, max_frame: usize) -> Self {
        let mut websocket = websocket::Config::new(Tls { transport, acceptor: TlsAcceptor::from(tls) });
        websocket.set_max_data_size(max_frame);
        Self { websocket }
    }
}

impl<T: Socket> Transport for Secure<T> {
    type Output = <websocket::Config<Tls<T>> as Transport>::Output;
    type Error = <websocket::Config<Tls<T>> as Transport>::Error;
    type ListenerUpgrade = <websocket::Config<Tls<T>> as Transport>::ListenerUpgrade;
    type Dial = Pending<Result<Self::Output, Self::Error>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        match without_tls(&address) {
            Some(plain) => self.websocket.listen_on(id, plain),
            None => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.websocket.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<Self::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.websocket).poll(cx).map(|event| match event {
            TransportEvent::NewAddress { listener_id, listen_addr } => {
                TransportEvent::NewAddress { listener_id, listen_addr: with_tls(&listen_addr) }
            }
            TransportEvent::AddressExpired { listener_id, listen_addr } => {
                TransportEvent::AddressExpired { listener_id, listen_addr: with_tls(&listen_addr) }
            }
            TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr } => {
                let (local_addr, send_back_addr) = (with_tls(&local_addr), with_tls(&send_back_addr));
                TransportEvent::Incoming { listener_id, upgrade, local_addr, send_back_addr }
            }
            other => other,
        })
    }
}

/// An address of WebSocket over TLS, written either way, as one of plain WebSocket.
fn without_tls(address: &Multiaddr) -> Option<Multiaddr> {
    let mut parts: Vec<Protocol<'_>> = address.iter().collect();
    match parts.pop()? {
        Protocol::Wss(path) => parts.push(Protocol::Ws(path)),
        Protocol::Ws(path) if parts.pop_if(|part| *part == Protocol::Tls).is_some() => parts.push(Protocol::Ws(path)),
        _ => return None,
    }
    Some(parts.into_iter().collect())
}

/// An address of plain WebSocket as one over TLS: `/wss`, as the nodes of the network write it (`spec/waku.md §8.1`).
fn with_tls(address: &Multiaddr) -> Multiaddr {
    let secure = |part| if let Protocol::Ws(path) = part { Protocol::Wss(path) } else { part };
    address.iter().map(secure).collect()
}

/// Sockets whose incoming connections shake hands first. How long that may take, and how many do at a time, is for what is
/// below and above: `setups`, and the time-out of a connection's set-up.
pub(super) struct Tls<T> {
    transport: T,
    acceptor: TlsAcceptor,
}

impl<T: Socket> Transport for Tls<T> {
    type Output = TlsStream<T::Output>;
    type Error = io::Error;
    type ListenerUpgrade = BoxFuture<'static, io::Result<Self::Output>>;
    type Dial = Pending<io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = &mut *self;
        let acceptor = &this.acceptor;
        let shakes_hands = |upgrade: T::ListenerUpgrade| {
            let acceptor = acceptor.clone();
            upgrade.and_then(move |socket| acceptor.accept(socket)).boxed()
        };
        Pin::new(&mut this.transport).poll(cx).map(|event| event.map_upgrade(shakes_hands))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_over_tls_are_those_of_wss_written_either_way() {
        let plain = |text: &str| without_tls(&text.parse().unwrap()).map(|address| address.to_string());
        let ws = "/ip4/127.0.0.1/tcp/443/ws";
        assert_eq!(plain("/ip4/127.0.0.1/tcp/443/wss").as_deref(), Some(ws));
        assert_eq!(plain("/ip4/127.0.0.1/tcp/443/tls/ws").as_deref(), Some(ws));
        for other in [ws, "/ip4/127.0.0.1/tcp/443", "/ip4/127.0.0.1/udp/443/quic-v1", "/ip4/127.0.0.1/tcp/443/tls"] {
            assert_eq!(plain(other), None, "{other}");
        }
        assert_eq!(with_tls(&ws.parse().unwrap()).to_string(), "/ip4/127.0.0.1/tcp/443/wss");
    }
}
