//! mplex with a bound on what waits unread. mplex has no flow control of its own, and the library's muxer lets whole frames of
//! 1 MiB wait on every stream.
//!
//! Here the content of frames is taken as it comes, and the socket is not read while [`UNREAD`] bytes wait on a connection or
//! [`UNREAD_OF_STREAM`] on one of its streams: TCP then holds the remote back. What waits on one stream keeps the others of its
//! connection waiting, which is mplex; after [`READ_TIMEOUT`] the stream that holds most is reset.
//!
//! | file | idea |
//! |---|---|
//! | `frame` | what is on the wire |
//! | `streams` | the streams of one connection, and what they hold |

mod frame;
mod streams;

use std::{
    future::{Ready, ready},
    io,
    iter::{Once, once},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::{
    muxing::{StreamMuxer, StreamMuxerEvent},
    upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo},
};
use tokio::time::{Instant, Sleep, sleep_until};

use self::{
    frame::Parser,
    streams::{Shared, Stream},
};
use super::unread::{READ_TIMEOUT, Unread};

const NAME: &str = "/mplex/6.7.0";

/// Bytes that wait unread on one connection, in buffers that are at most twice as large: 125 MiB for 1000 hostile ones.
const UNREAD: usize = 64 * 1024;
/// Bytes that wait unread on one stream: seven packets. What is longer is read while it comes.
const UNREAD_OF_STREAM: usize = 32 * 1024;
/// Read at a time, and beyond the bound of a stream at most.
const CHUNK: usize = 4096;
/// Chunks that are read before others have their turn.
const TURN: usize = 32;

/// The upgrade.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) max_streams: usize,
    pub(super) unread: Unread,
}

impl UpgradeInfo for Config {
    type Info = &'static str;
    type InfoIter = Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        once(NAME)
    }
}

impl<C> InboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, &self)))
    }
}

impl<C> OutboundConnectionUpgrade<C> for Config {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, &self)))
    }
}

/// The streams of one connection. Only the connection's own task touches the socket.
pub(super) struct Muxer<C> {
    socket: C,
    shared: Arc<Shared>,
    parser: Parser,
    /// When a stream that is not read has kept the others waiting for long enough.
    read_timeout: Option<Pin<Box<Sleep>>>,
}

impl<C> Muxer<C> {
    fn new(socket: C, config: &Config) -> Self {
        let shared = Shared::new(config.max_streams, config.unread.connection());
        Self { socket, shared, parser: Parser::default(), read_timeout: None }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// Reads and writes as far as it goes; ends only with an error.
    fn run(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.shared.muxer.register(cx.waker());
        for _ in 0..TURN {
            // Both: what comes may have to be answered.
            let wrote = self.write(cx)?;
            let read = self.read(cx)?;
            if !wrote && !read {
                return Ok(());
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Whether anything was written.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut streams = self.shared.streams.lock();
        let mut wrote = false;
        while let Some(bytes) = streams.to_write() {
            match Pin::new(&mut self.socket).poll_write(cx, bytes)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => streams.written(count),
                Poll::Pending => return Ok(wrote),
            }
            wrote = true;
        }
        if streams.wants_flush() && Pin::new(&mut self.socket).poll_flush(cx)?.is_ready() {
            streams.flushed();
        }
        Ok(wrote)
    }

    /// Whether anything was read.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut streams = self.shared.streams.lock();
        let room = streams.room();
        if room == 0 {
            drop(streams);
            return self.wait_for_readers(cx);
        }
        self.read_timeout = None;
        let mut chunk = [0; CHUNK];
        let Some(chunk) = chunk.get_mut(..room.min(CHUNK)) else { return Ok(false) };
        match Pin::new(&mut self.socket).poll_read(cx, chunk)? {
            Poll::Ready(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(count) => {
                let bytes = chunk.get(..count).unwrap_or_default();
                self.parser.read(bytes, |piece| streams.take(piece))?;
                Ok(true)
            }
            Poll::Pending => Ok(false),
        }
    }
}

impl<C> Muxer<C> {
    fn wait_for_readers(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let read_timeout =
            self.read_timeout.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + READ_TIMEOUT)));
        if read_timeout.as_mut().poll(cx).is_pending() {
            return Ok(false);
        }
        self.read_timeout = None;
        self.shared.streams.lock().reset_fullest()?;
        Ok(true)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = io::Error;

    fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        // What arrives wakes the connection's task, which polls again.
        let arrived = self.shared.streams.lock().arrived();
        arrived.map_or(Poll::Pending, |id| Poll::Ready(Ok(Stream::new(id, &self.shared))))
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let opened = self.shared.streams.lock().open(cx);
        opened.map_ok(|id| {
            self.shared.muxer.wake();
            Stream::new(id, &self.shared)
        })
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let run = self.run(cx);
        if let Err(error) = run {
            self.shared.streams.lock().fail();
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.shared.muxer.register(cx.waker());
        this.write(cx)?;
        if !this.shared.streams.lock().is_flushed() {
            return Poll::Pending;
        }
        this.shared.streams.lock().fail();
        Pin::new(&mut this.socket).poll_close(cx)
    }
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        self.shared.streams.lock().fail();
    }
}

#[cfg(test)]
mod tests;
