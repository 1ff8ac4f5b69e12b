//! yamux with a bound on what waits unread on a connection. Its windows bound each stream, 256 KiB at least, and not all of them
//! together.
//!
//! The streams are those of the library. Between it and the socket, frames are looked at as they pass, and no further one is
//! read while [`MOST`] waits. What waits is counted by stream: what comes for one that nobody has any more is thrown away by the
//! library and does not count.

use std::{
    collections::{HashMap, VecDeque},
    future::{Ready, ready},
    io,
    iter::{Once, once},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use super::unread::{OfConnection, READ_TIMEOUT, Unread};

const NAME: &str = "/yamux/1.0.0";

/// What may wait on a connection: one stream's window and some packets on others.
const MOST: usize = 320 * 1024;
/// What a frame costs besides its content.
const FRAME: usize = 64;
/// The longest frame that is read to its end whatever waits: what the library writes. Longer ones, of implementations that fill a
/// window with one, need room; there is enough unless others have taken what all connections may have.
const SHORT_FRAME: usize = 16 * 1024;
const HEADER: usize = 12;

/// Streams that wait to be accepted, as in libp2p; further ones are reset.
const ARRIVALS: usize = 256;

/// The upgrade.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) max_streams: usize,
    pub(super) unread: Unread,
}

impl Config {
    fn connection<C: AsyncRead + AsyncWrite + Unpin>(self, socket: C, mode: yamux::Mode) -> Muxer<C> {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(self.max_streams);
        let waiting = Arc::new(Mutex::new(Waiting {
            streams: HashMap::new(),
            bytes: self.unread.connection(),
            read: 0,
            reader: None,
        }));
        let socket =
            Gauge { socket, waiting: waiting.clone(), header: [0; HEADER], known: 0, frame: None, read_timeout: None };
        Muxer { connection: yamux::Connection::new(socket, config, mode), waiting, arrivals: VecDeque::new() }
    }
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        once(NAME)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.connection(socket, yamux::Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(self.connection(socket, yamux::Mode::Client)))
    }
}

/// What waits on one connection. Bound: the streams that it may have.
struct Waiting {
    streams: HashMap<u32, OfStream>,
    bytes: OfConnection,
    /// How often some were read, to see whether anybody reads.
    read: u64,
    /// The connection's task, when it waits for readers.
    reader: Option<Waker>,
}

#[derive(Default)]
struct OfStream {
    content: usize,
    /// Content and frames.
    cost: usize,
}

impl Waiting {
    fn begins(&mut self, stream: u32) {
        self.streams.entry(stream).or_default();
    }

    fn came(&mut self, stream: u32, content: usize, cost: usize) {
        let Some(of_stream) = self.streams.get_mut(&stream) else { return };
        of_stream.content += content;
        of_stream.cost += cost;
        self.bytes.came(cost);
    }

    /// Somebody has read; the frames that held it are gone in the same measure.
    fn went(&mut self, stream: u32, content: usize) -> Option<Waker> {
        let of_stream = self.streams.get_mut(&stream)?;
        let part = of_stream.cost.saturating_mul(content).checked_div(of_stream.content).unwrap_or(of_stream.cost);
        of_stream.content = of_stream.content.saturating_sub(content);
        of_stream.cost = of_stream.cost.saturating_sub(part);
        self.bytes.went(part);
        self.read += 1;
        self.reader.take()
    }

    fn ends(&mut self, stream: u32) -> Option<Waker> {
        let of_stream = self.streams.remove(&stream)?;
        self.bytes.went(of_stream.cost);
        self.read += 1;
        self.reader.take()
    }
}

/// A socket that knows what it has let through.
struct Gauge<C> {
    socket: C,
    waiting: Arc<Mutex<Waiting>>,
    header: [u8; HEADER],
    /// Bytes of the header that have come.
    known: usize,
    /// The frame whose content is coming.
    frame: Option<Frame>,
    /// When nobody has read for long enough, and what was read before.
    read_timeout: Option<(Pin<Box<Sleep>>, u64)>,
}

/// Content that is to come.
#[derive(Clone, Copy)]
struct Frame {
    stream: u32,
    is_short: bool,
    left: usize,
}

impl<C> Gauge<C> {
    /// Waits until somebody reads, but not forever.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut waiting = self.waiting.lock();
        let goes_on = self.known > 0 || self.frame.is_some_and(|frame| frame.is_short);
        if goes_on || waiting.bytes.room(MOST) > 0 {
            self.read_timeout = None;
            return Poll::Ready(Ok(()));
        }
        waiting.reader = Some(cx.waker().clone());
        let read_timeout = || Box::pin(sleep_until(Instant::now() + READ_TIMEOUT));
        let read = waiting.read;
        loop {
            let (sleep, before) = self.read_timeout.get_or_insert_with(|| (read_timeout(), read));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if *before == read {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads what the remote sends")));
            }
            self.read_timeout = None;
        }
    }

    /// Looks at what has come.
    fn passed(&mut self, bytes: &[u8]) {
        if let Some(frame) = &mut self.frame {
            frame.left -= bytes.len().min(frame.left);
            self.waiting.lock().came(frame.stream, bytes.len(), bytes.len());
            self.frame.take_if(|frame| frame.left == 0);
            return;
        }
        for (place, byte) in self.header.iter_mut().skip(self.known).zip(bytes) {
            *place = *byte;
        }
        self.known += bytes.len();
        if self.known >= HEADER {
            self.known = 0;
            self.frame = self.begin();
        }
    }

    /// A header is complete.
    fn begin(&self) -> Option<Frame> {
        const DATA: u8 = 0;
        const WINDOW: u8 = 1;
        const SYN: u8 = 1;
        const RST: u8 = 8;
        let [_, kind, _, flags, stream @ .., a, b, c, d] = self.header;
        let (stream, length) = (u32::from_be_bytes(stream), u32::from_be_bytes([a, b, c, d]));
        if kind > WINDOW {
            return None;
        }
        let mut waiting = self.waiting.lock();
        if flags & SYN != 0 && flags & RST == 0 {
            waiting.begins(stream);
        }
        if kind != DATA || length == 0 {
            return None;
        }
        waiting.came(stream, 0, FRAME);
        let left = usize::try_from(length).unwrap_or(usize::MAX);
        Some(Frame { stream, is_short: left <= SHORT_FRAME, left })
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Gauge<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        std::task::ready!(this.poll_room(cx))?;
        let most = this.frame.map_or(HEADER - this.known, |frame| frame.left).min(buffer.len());
        let (buffer, _) = buffer.split_at_mut(most);
        let count = std::task::ready!(Pin::new(&mut this.socket).poll_read(cx, buffer))?;
        this.passed(buffer.get(..count).unwrap_or_default());
        Poll::Ready(Ok(count))
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Gauge<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// The streams of one connection.
pub(super) struct Muxer<C> {
    connection: yamux::Connection<Gauge<C>>,
    waiting: Arc<Mutex<Waiting>>,
    /// Streams of the remote that came while something else was waited for. Bound: [`ARRIVALS`].
    arrivals: VecDeque<Stream>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// The library reads while it waits for the remote to open a stream.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let arrival = std::task::ready!(self.connection.poll_next_inbound(cx));
        let stream = arrival.ok_or(yamux::ConnectionError::Closed).flatten().map_err(io_error)?;
        Poll::Ready(Ok(Stream::new(stream, &self.waiting)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        match self.arrivals.pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => self.poll_arrival(cx),
        }
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let opened = std::task::ready!(self.connection.poll_new_outbound(cx)).map_err(io_error)?;
        Poll::Ready(Ok(Stream::new(opened, &self.waiting)))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let arrival = std::task::ready!(self.poll_arrival(cx))?;
        if self.arrivals.len() < ARRIVALS {
            self.arrivals.push_back(arrival);
        }
        // Others have their turn, and whoever accepts streams looks again.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(io_error)
    }
}

fn io_error(error: yamux::ConnectionError) -> io::Error {
    match error {
        yamux::ConnectionError::Io(error) => error,
        error => io::Error::other(error),
    }
}

/// One stream.
pub(super) struct Stream {
    stream: yamux::Stream,
    waiting: Arc<Mutex<Waiting>>,
}

impl Stream {
    fn new(stream: yamux::Stream, waiting: &Arc<Mutex<Waiting>>) -> Self {
        waiting.lock().begins(stream.id().val());
        Self { stream, waiting: Arc::clone(waiting) }
    }

    fn with(&self, act: impl FnOnce(&mut Waiting, u32) -> Option<Waker>) {
        let reader = act(&mut self.waiting.lock(), self.stream.id().val());
        reader.into_iter().for_each(Waker::wake);
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.with(|waiting, stream| waiting.went(stream, count));
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.with(Waiting::ends);
    }
}

#[cfg(test)]
mod tests;
