//! Connections of remotes that say nothing.
//!
//! Whoever opens a connection speaks first (`spec/waku.md §8.1`: noise, WebSocket and the negotiation of both). A remote that
//! does not would keep its place among the connections being set up until that has a time-out, and a few dozen of them
//! would keep every newcomer out. libp2p cannot abort the set-up of a connection from outside, so the socket does it: reading
//! fails after [`LIMIT`], or as soon as the place is needed.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    multiaddr::Protocol,
};
use tokio::time::{Sleep, sleep};
use wakumix_telemetry::Telemetry;

use crate::metrics::{ConnectionRefusal, RefusalMetrics};

/// From an accepted connection to its first byte. The remote sends it together with the end of TCP's own handshake: one round
/// trip, or a second more where a packet was lost (RFC 6298 §2.1).
const LIMIT: Duration = Duration::from_secs(3);

/// The connections of remotes from which nothing has come yet. Cheap to clone. Bound: that on connections being set up.
#[derive(Clone)]
pub(crate) struct SilentConnections {
    waiting: Arc<Mutex<Waiting>>,
    metrics: RefusalMetrics,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    /// In the order in which they came, each with its reader. One that is no longer here has spoken or was displaced,
    /// whichever came first.
    connections: BTreeMap<u64, Arc<AtomicWaker>>,
}

impl SilentConnections {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self { waiting: Arc::default(), metrics: RefusalMetrics::new(telemetry) }
    }

    /// Ends the oldest, so that the newest connection can have its place; false if there is none, or only that one.
    pub(crate) fn displace_oldest(&self, newest: &Multiaddr) -> bool {
        // A QUIC connection begins with its first packet.
        let is_listed = !newest.iter().any(|part| part == Protocol::QuicV1);
        let mut waiting = self.lock();
        if waiting.connections.len() <= usize::from(is_listed) {
            return false;
        }
        let Some((_, reader)) = waiting.connections.pop_first() else { return false };
        drop(waiting);
        reader.wake();
        true
    }

    /// Watches the connections that remotes open over a transport.
    pub(super) fn watch<T>(&self, transport: T) -> Watched<T> {
        Watched { transport, silent: self.clone() }
    }

    fn enter(&self) -> Silence {
        let reader = Arc::<AtomicWaker>::default();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.connections.insert(number, reader.clone());
        drop(waiting);
        Silence { number, reader, limit: Box::pin(sleep(LIMIT)), all: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection from which nothing has come yet; leaves the list when dropped.
struct Silence {
    number: u64,
    reader: Arc<AtomicWaker>,
    limit: Pin<Box<Sleep>>,
    all: SilentConnections,
}

impl Silence {
    /// Why the connection is not waited for any longer.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionRefusal> {
        self.reader.register(cx.waker());
        if !self.all.lock().connections.contains_key(&self.number) {
            return Poll::Ready(ConnectionRefusal::Displaced);
        }
        self.limit.as_mut().poll(cx).map(|()| ConnectionRefusal::Silent)
    }

    /// Something has come; false if that was too late.
    fn end(&self) -> bool {
        self.all.lock().connections.remove(&self.number).is_some()
    }

    fn refuse<T>(&self, refusal: ConnectionRefusal) -> io::Result<T> {
        self.all.metrics.refused(refusal);
        Err(io::Error::new(io::ErrorKind::TimedOut, "the remote has opened a connection and says nothing"))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.all.lock().connections.remove(&self.number);
    }
}

/// A transport whose incoming connections must say something in time.
pub(super) struct Watched<T> {
    transport: T,
    silent: SilentConnections,
}

impl<T> Transport for Watched<T>
where
    T: Transport + Unpin,
    T::ListenerUpgrade: Unpin,
    T::Dial: Unpin,
{
    type Output = FirstByte<T::Output>;
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
        Ok(Watching { connecting: self.transport.dial(address, opts)?, silence: None })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        let this = &mut *self;
        // Listed before anybody decides about it: those that came first give way first.
        let watching = |connecting| Watching { connecting, silence: Some(Box::new(this.silent.enter())) };
        Pin::new(&mut this.transport).poll(cx).map(|event| event.map_upgrade(watching))
    }
}

/// A connection on its way.
pub(super) struct Watching<F> {
    connecting: F,
    silence: Option<Box<Silence>>,
}

impl<S, E, F: Future<Output = Result<S, E>> + Unpin> Future for Watching<F> {
    type Output = Result<FirstByte<S>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = Pin::new(&mut self.connecting).poll(cx);
        connected.map_ok(|socket| FirstByte { socket, silence: self.silence.take() })
    }
}

/// A socket whose first byte must come in time, if a remote has opened it.
pub(super) struct FirstByte<S> {
    socket: S,
    /// `None` once something has come.
    silence: Option<Box<Silence>>,
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByte<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        let Some(silence) = &mut this.silence else { return read };
        match read {
            Poll::Pending => silence.poll_end(cx).map(|refusal| silence.refuse(refusal)),
            Poll::Ready(read) => {
                let is_in_time = silence.end();
                let silence = this.silence.take();
                match silence.filter(|_| !is_in_time) {
                    Some(late) => Poll::Ready(late.refuse(ConnectionRefusal::Displaced)),
                    None => Poll::Ready(read),
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByte<S> {
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
