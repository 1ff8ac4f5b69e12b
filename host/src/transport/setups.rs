//! Connections that remotes are setting up: which of them give way when all places are taken.
//!
//! Whoever opens a connection speaks first (`spec/waku.md §8.1`: noise, WebSocket and the negotiation of both). A remote that
//! does not, or that stops in the middle, keeps its place among the connections being set up until a time-out, and a few dozen
//! of them would keep every newcomer out. libp2p cannot abort the set-up of a connection from outside, so the socket does it:
//! reading fails after [`SILENCE_LIMIT`] without a byte, or as soon as the place is needed.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use libp2p::{
    Multiaddr,
    core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent},
    swarm::ConnectionId,
};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};
use wakumix_telemetry::Telemetry;

use crate::metrics::{ConnectionRefusal, RefusalMetrics};

/// From an accepted connection to its first byte. The remote sends it together with the end of TCP's own handshake: one round
/// trip, or a second more where a packet was lost (RFC 6298 §2.1).
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// A connection on which nothing was said for so long gives way before all others: three round trips to the other side of the
/// world. Younger ones only if there is nothing else, or newcomers would displace each other.
const SILENCE_GRACE: Duration = Duration::from_secs(1);

/// A connection that has spoken gives way after so long: its six round trips take that to the other side of the world.
const SETUP_GRACE: Duration = Duration::from_secs(2);

/// The connections that remotes are setting up. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Setups {
    table: Arc<Mutex<Table>>,
    metrics: RefusalMetrics,
}

/// Bound: that on connections being set up, and those that were displaced and have not ended yet.
#[derive(Default)]
struct Table {
    next: u64,
    /// In the order in which they came.
    setups: BTreeMap<u64, Setup>,
    numbers: HashMap<ConnectionId, u64>,
}

struct Setup {
    since: Instant,
    has_spoken: bool,
    /// `None` until somebody has decided that it may be set up.
    connection: Option<ConnectionId>,
    end: Arc<End>,
}

/// How a set-up has ended, for the socket.
struct End {
    state: AtomicU8,
    reader: AtomicWaker,
}

const UNDER_WAY: u8 = 0;
const DISPLACED: u8 = 1;
const OVER: u8 = 2;

impl Setups {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self { table: Arc::default(), metrics: RefusalMetrics::new(telemetry) }
    }

    /// Watches the connections that remotes open over a transport.
    pub(super) fn watch<T>(&self, transport: T) -> Watched<T> {
        Watched { transport, setups: self.clone() }
    }

    /// Ends one, so that the connection that comes now can have its place; false if none gives way.
    pub(crate) fn make_room(&self) -> bool {
        let mut table = self.table.lock();
        let Some(number) = table.gives_way(Instant::now()) else { return false };
        table.end(number, DISPLACED);
        true
    }

    /// The connection that has come just now may be set up. QUIC, whose connections begin with a packet, lists none.
    pub(crate) fn began(&self, connection: ConnectionId) {
        let mut guard = self.table.lock();
        let table = &mut *guard;
        if let Some((number, newest)) = table.setups.iter_mut().next_back()
            && newest.connection.is_none()
        {
            newest.connection = Some(connection);
            table.numbers.insert(connection, *number);
        }
    }

    /// A connection is set up, or will not be.
    pub(crate) fn ended(&self, connection: ConnectionId) {
        let mut table = self.table.lock();
        if let Some(number) = table.numbers.get(&connection).copied() {
            table.end(number, OVER);
        }
    }

    fn enter(&self) -> Ticket {
        let end = Arc::new(End { state: AtomicU8::new(UNDER_WAY), reader: AtomicWaker::new() });
        let setup = Setup { since: Instant::now(), has_spoken: false, connection: None, end: end.clone() };
        let mut table = self.table.lock();
        let number = table.next;
        table.next += 1;
        table.setups.insert(number, setup);
        drop(table);
        Ticket { number, end, silence: Some(Box::pin(sleep(SILENCE_LIMIT))), all: self.clone() }
    }
}

impl Table {
    /// The one that gives way first: silent for a while, else slow, else the oldest silent one.
    fn gives_way(&self, now: Instant) -> Option<u64> {
        let oldest = |gives_way: &dyn Fn(&Setup, Duration) -> bool| {
            let decided = self.setups.iter().filter(|(_, setup)| setup.connection.is_some());
            let mut candidates =
                decided.filter(|(_, setup)| gives_way(setup, now.saturating_duration_since(setup.since)));
            candidates.next().map(|(number, _)| *number)
        };
        oldest(&|setup, age| !setup.has_spoken && age >= SILENCE_GRACE)
            .or_else(|| oldest(&|_, age| age >= SETUP_GRACE))
            .or_else(|| oldest(&|setup, _| !setup.has_spoken))
    }

    fn end(&mut self, number: u64, state: u8) {
        let Some(setup) = self.setups.remove(&number) else { return };
        if let Some(connection) = setup.connection {
            self.numbers.remove(&connection);
        }
        setup.end.state.store(state, Ordering::Release);
        setup.end.reader.wake();
    }
}

/// A socket's part in the table; leaves it when dropped.
struct Ticket {
    number: u64,
    end: Arc<End>,
    /// `None` once something has come.
    silence: Option<Pin<Box<Sleep>>>,
    all: Setups,
}

impl Ticket {
    /// Why the connection is not waited for any longer.
    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionRefusal> {
        self.end.reader.register(cx.waker());
        if self.state() == DISPLACED {
            return Poll::Ready(ConnectionRefusal::Displaced);
        }
        match &mut self.silence {
            Some(silence) => silence.as_mut().poll(cx).map(|()| ConnectionRefusal::Silent),
            None => Poll::Pending,
        }
    }

    /// Something has come; how the set-up stands.
    fn spoken(&mut self) -> u8 {
        if self.silence.take().is_some()
            && let Some(setup) = self.all.table.lock().setups.get_mut(&self.number)
        {
            setup.has_spoken = true;
        }
        self.state()
    }

    fn state(&self) -> u8 {
        self.end.state.load(Ordering::Acquire)
    }

    fn refuse<T>(&self, refusal: ConnectionRefusal) -> io::Result<T> {
        self.all.metrics.refused(refusal);
        Err(io::Error::new(io::ErrorKind::TimedOut, "the remote did not set its connection up in time"))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.all.table.lock().end(self.number, OVER);
    }
}

/// A transport whose incoming connections must be set up in time.
pub(super) struct Watched<T> {
    transport: T,
    setups: Setups,
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
        let watching = |connecting| Watching { connecting, ticket: Some(Box::new(this.setups.enter())) };
        Pin::new(&mut this.transport).poll(cx).map(|event| event.map_upgrade(watching))
    }
}

/// A connection on its way.
pub(super) struct Watching<F> {
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
pub(super) struct Socket<S> {
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

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// A connection that may be set up.
    fn comes(setups: &Setups, number: usize) -> Ticket {
        let ticket = setups.enter();
        setups.began(ConnectionId::new_unchecked(number));
        ticket
    }

    fn displaced(tickets: &[&Ticket]) -> Vec<bool> {
        tickets.iter().map(|ticket| ticket.state() == DISPLACED).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_silent_give_way_before_the_slow_and_the_young_last() {
        let setups = Setups::new(&wakumix_role_testkit::telemetry(&crate::METRICS));
        let (mut slow, silent) = (comes(&setups, 1), comes(&setups, 2));
        assert_eq!(slow.spoken(), UNDER_WAY);
        advance(SILENCE_GRACE).await;
        let (young, newest) = (comes(&setups, 3), setups.enter());
        let all = [&slow, &silent, &young, &newest];
        assert!(setups.make_room());
        assert_eq!(displaced(&all), [false, true, false, false], "silent for a while");
        assert!(setups.make_room());
        assert_eq!(displaced(&all), [false, true, true, false], "the slow one has time left");
        assert!(!setups.make_room(), "not the one that needs the room");
        advance(SETUP_GRACE).await;
        assert!(setups.make_room());
        assert_eq!(displaced(&all), [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_set_up_gives_way_to_nobody_and_is_forgotten() {
        let setups = Setups::new(&wakumix_role_testkit::telemetry(&crate::METRICS));
        let mut ticket = comes(&setups, 1);
        setups.ended(ConnectionId::new_unchecked(1));
        advance(SILENCE_LIMIT).await;
        assert!(!setups.make_room());
        assert_eq!(ticket.spoken(), OVER);
        drop((ticket, comes(&setups, 2), setups.enter()));
        let table = setups.table.lock();
        assert!(table.setups.is_empty() && table.numbers.is_empty());
    }
}
