//! Sockets whose set-up takes too long fail, if a remote has opened them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
};

use super::{DISPLACED, Kind, OVER, Setups, Ticket};
use crate::metrics::ConnectionRefusal;

/// A transport whose incoming connections must be set up in time.
pub(in crate::transport) struct Watched<T> {
    transport: T,
    setups: Setups,
}

impl<T> Watched<T> {
    pub(super) fn new(transport: T, setups: Setups) -> Self {
        Self { transport, setups }
    }
}

impl<T> Transport for Watched<T>
where
    T: Transport + Unpin,
    T::ListenerUpgrade: Unpin,
    T::Dial: Unpin,
{
    type Output = Socket<T::Output>;
    type Error = T::Error;
    type ListenerUpgrade = Watching<T::ListenerUpgrade>;
    type Dial = Watching<T::Dial>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.transport.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.transport.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<T::Error>> {
        Ok(Watching { connecting: self.transport.dial(address, opts)?, ticket: None })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let this = &mut *self;
        // Listed before anybody decides about it: those that came first give way first.
        let watching = |connecting| Watching { connecting, ticket: Some(Box::new(this.setups.enter(Kind::Socket))) };
        Pin::new(&mut this.transport).poll(cx).map(|event| event.map_upgrade(watching))
    }
}

/// A connection on its way.
pub(in crate::transport) struct Watching<F> {
    connecting: F,
    ticket: Option<Box<Ticket>>,
}

impl<S, E, F: Future<Output = Result<S, E>> + Unpin> Future for Watching<F> {
    type Output = Result<Socket<S>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = Pin::new(&mut self.connecting).poll(cx);
        connected.map_ok(|socket| Socket { socket, ticket: self.ticket.take() })
    }
}

/// A socket that fails when its set-up takes too long, if a remote has opened it.
pub(in crate::transport) struct Socket<S> {
    socket: S,
    /// `None` once the connection is set up.
    ticket: Option<Box<Ticket>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        let Some(ticket) = &mut this.ticket else { return read };
        match read {
            Poll::Pending => ticket.poll_refused(cx).map(|refusal| ticket.refuse(refusal)),
            Poll::Ready(read) => match ticket.spoken() {
                DISPLACED => Poll::Ready(ticket.refuse(ConnectionRefusal::Displaced)),
                OVER => {
                    this.ticket = None;
                    Poll::Ready(read)
                }
                _ => Poll::Ready(read),
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}
