//! The streams of one connection, and what they hold.

use std::{
    collections::{HashMap, VecDeque},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use parking_lot::Mutex;

use super::{
    super::unread::OfConnection,
    UNREAD, UNREAD_OF_STREAM,
    frame::{Action, Piece, StreamId, append_head, malformed},
};

/// Bytes that wait to be written to the socket before streams wait.
const UNWRITTEN: usize = 64 * 1024;
/// Bytes of one frame that this side writes, as the library does.
const WRITE_LEN: usize = 8 * 1024;
/// What ends of streams may add to what waits: a remote that opens streams and does not read how they end loses the
/// connection. Some 40 000 ends.
const MOST_UNWRITTEN: usize = UNWRITTEN + 128 * 1024;

/// What a connection's muxer and its streams share.
pub(super) struct Shared {
    pub(super) streams: Mutex<Streams>,
    /// The connection's task.
    pub(super) muxer: AtomicWaker,
}

/// Bound: the streams that a connection may have, [`UNREAD`] bytes and as much again for their buffers, [`MOST_UNWRITTEN`].
pub(super) struct Streams {
    max: usize,
    open: HashMap<StreamId, State>,
    /// Those that the remote has opened and nobody has taken yet.
    arrivals: VecDeque<StreamId>,
    next: u64,
    unread: OfConnection,
    /// How often some were taken.
    taken: u64,
    /// Reading has stopped until somebody takes what waits.
    is_blocked: bool,
    out: VecDeque<u8>,
    /// Bytes that were ever queued, and that were ever flushed.
    queued: u64,
    flushed: u64,
    /// Of whoever wants to open one when there are too many.
    opener: Option<Waker>,
    failed: bool,
}

#[derive(Default)]
struct State {
    unread: VecDeque<u8>,
    /// The remote writes no more.
    is_remote_closed: bool,
    /// This side writes no more.
    is_closed: bool,
    is_reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Of `queued`, when this stream wrote last.
    wrote: u64,
}

impl State {
    fn wake(&mut self) {
        self.reader.take().into_iter().chain(self.writer.take()).for_each(Waker::wake);
    }

    fn is_over(&self) -> bool {
        self.is_reset || (self.is_closed && self.is_remote_closed)
    }
}

impl Shared {
    pub(super) fn new(max: usize, unread: OfConnection) -> Arc<Self> {
        let streams = Streams {
            max,
            open: HashMap::new(),
            arrivals: VecDeque::new(),
            next: 0,
            unread,
            taken: 0,
            is_blocked: false,
            out: VecDeque::new(),
            queued: 0,
            flushed: 0,
            opener: None,
            failed: false,
        };
        Arc::new(Self { streams: Mutex::new(streams), muxer: AtomicWaker::new() })
    }
}

/// What the muxer does.
impl Streams {
    /// Bytes that may be read from the socket now.
    pub(super) fn room(&mut self) -> usize {
        let is_full = self.open.values().any(|state| state.unread.len() >= UNREAD_OF_STREAM);
        let room = if is_full { 0 } else { self.unread.room(UNREAD) };
        self.is_blocked = room == 0;
        room
    }

    /// Something that the remote has sent.
    pub(super) fn take(&mut self, piece: Piece<'_>) -> io::Result<()> {
        match piece {
            Piece::Data(id, bytes) => self.data(id, bytes),
            Piece::Frame(id, Action::Open) => return self.remote_opens(id),
            Piece::Frame(id, Action::Close) => self.end(id, |state| state.is_remote_closed = true),
            Piece::Frame(id, Action::Reset) => self.end(id, |state| state.is_reset = true),
            Piece::Frame(_, Action::Data) => {}
        }
        Ok(())
    }

    fn data(&mut self, id: StreamId, bytes: &[u8]) {
        let open = self.open.get_mut(&id).filter(|state| !state.is_remote_closed && !state.is_reset);
        // Who ended a stream may still get what was on its way.
        let Some(state) = open else { return };
        state.unread.extend(bytes);
        self.unread.came(bytes.len());
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    fn remote_opens(&mut self, id: StreamId) -> io::Result<()> {
        if self.open.contains_key(&id) {
            return Err(malformed("a stream is opened twice"));
        }
        if self.open.len() >= self.max {
            return self.queue(id, Action::Reset);
        }
        self.open.insert(id, State::default());
        self.arrivals.push_back(id);
        Ok(())
    }

    fn end(&mut self, id: StreamId, end: impl FnOnce(&mut State)) {
        if let Some(state) = self.open.get_mut(&id) {
            end(state);
            state.wake();
        }
    }

    /// The next stream that the remote has opened.
    pub(super) fn arrived(&mut self) -> Option<StreamId> {
        self.arrivals.pop_front()
    }

    /// Opens one of this side.
    pub(super) fn open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<StreamId>> {
        if self.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.open.len() >= self.max {
            self.opener = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let id = StreamId { number: self.next, is_own: true };
        self.next += 1;
        self.queue(id, Action::Open)?;
        self.open.insert(id, State { wrote: self.queued, ..State::default() });
        Poll::Ready(Ok(id))
    }

    /// Resets the stream on which most waits.
    pub(super) fn reset_fullest(&mut self) -> io::Result<()> {
        let fullest = self.open.iter_mut().max_by_key(|(_, state)| state.unread.len());
        let Some((id, state)) = fullest.map(|(id, state)| (*id, state)) else { return Ok(()) };
        self.unread.went(std::mem::take(&mut state.unread).len());
        let is_over = state.is_over();
        state.is_reset = true;
        state.wake();
        if is_over { Ok(()) } else { self.queue(id, Action::Reset) }
    }

    fn queue(&mut self, id: StreamId, action: Action) -> io::Result<()> {
        if self.out.len() > MOST_UNWRITTEN {
            return Err(malformed("the remote does not read how its streams end"));
        }
        self.append(id, action, &[]);
        Ok(())
    }

    fn append(&mut self, id: StreamId, action: Action, bytes: &[u8]) {
        let before = self.out.len();
        append_head(&mut self.out, id, action, bytes.len());
        self.out.extend(bytes);
        self.queued += u64::try_from(self.out.len() - before).unwrap_or_default();
    }

    /// What is to be written to the socket next.
    pub(super) fn to_write(&self) -> Option<&[u8]> {
        Some(self.out.as_slices().0).filter(|bytes| !bytes.is_empty())
    }

    /// So many bytes were written.
    pub(super) fn written(&mut self, count: usize) {
        self.out.drain(..count.min(self.out.len()));
        if self.out.is_empty() {
            self.out = VecDeque::new();
        }
        if self.out.len() < UNWRITTEN {
            self.open.values_mut().filter_map(|state| state.writer.take()).for_each(Waker::wake);
        }
    }

    /// Whether there is something to flush, and nothing to write before.
    pub(super) fn wants_flush(&self) -> bool {
        self.out.is_empty() && !self.is_flushed()
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.flushed == self.queued
    }

    /// All that was queued is flushed.
    pub(super) fn flushed(&mut self) {
        self.flushed = self.queued;
        self.open.values_mut().filter_map(|state| state.writer.take()).for_each(Waker::wake);
    }

    /// The connection is over; what has come can still be read.
    pub(super) fn fail(&mut self) {
        self.failed = true;
        self.opener.take().into_iter().for_each(Waker::wake);
        self.open.values_mut().for_each(State::wake);
    }
}

/// What streams do.
impl Streams {
    fn read(&mut self, id: StreamId, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let failed = self.failed;
        let Some(state) = self.open.get_mut(&id) else { return Poll::Ready(Ok(0)) };
        if !state.unread.is_empty() {
            let count = io::Read::read(&mut state.unread, buffer)?;
            if state.unread.is_empty() {
                state.unread = VecDeque::new();
            }
            self.unread.went(count);
            self.taken += 1;
            return Poll::Ready(Ok(count));
        }
        if state.is_remote_closed || state.is_reset {
            return Poll::Ready(Ok(0));
        }
        if failed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn write(&mut self, id: StreamId, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let open = self.open.get_mut(&id).filter(|state| !state.is_closed && !state.is_reset);
        let Some(state) = open.filter(|_| !self.failed) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if self.out.len() >= UNWRITTEN {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (part, _) = bytes.split_at(bytes.len().min(WRITE_LEN));
        self.append(id, Action::Data, part);
        self.wrote(id);
        Poll::Ready(Ok(part.len()))
    }

    fn wrote(&mut self, id: StreamId) {
        if let Some(state) = self.open.get_mut(&id) {
            state.wrote = self.queued;
        }
    }

    fn flush(&mut self, id: StreamId, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(state) = self.open.get_mut(&id).filter(|state| state.wrote > self.flushed) else {
            return Poll::Ready(Ok(()));
        };
        if self.failed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn close(&mut self, id: StreamId) -> io::Result<()> {
        let failed = self.failed;
        let Some(state) = self.open.get_mut(&id).filter(|state| !state.is_closed && !state.is_reset) else {
            return Ok(());
        };
        if failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.is_closed = true;
        self.queue(id, Action::Close)?;
        self.wrote(id);
        Ok(())
    }

    /// Nobody has the stream any more.
    fn forget(&mut self, id: StreamId) {
        let Some(state) = self.open.remove(&id) else { return };
        self.unread.went(state.unread.len());
        self.taken += 1;
        let end = match (state.is_remote_closed, state.is_closed) {
            _ if state.is_reset || self.failed => None,
            // What it still writes finds no stream.
            (_, true) => None,
            (true, false) => Some(Action::Close),
            (false, false) => Some(Action::Reset),
        };
        if end.is_some_and(|end| self.queue(id, end).is_err()) {
            self.fail();
        }
        self.opener.take().into_iter().for_each(Waker::wake);
    }
}

/// One stream.
pub(in crate::transport) struct Stream {
    id: StreamId,
    shared: Arc<Shared>,
}

impl Stream {
    pub(super) fn new(id: StreamId, shared: &Arc<Shared>) -> Self {
        Self { id, shared: Arc::clone(shared) }
    }

    /// Does something with the streams, and wakes the connection's task if it has work then.
    fn with<T>(&self, act: impl FnOnce(&mut Streams) -> T) -> T {
        let mut streams = self.shared.streams.lock();
        let (queued, taken) = (streams.queued, streams.taken);
        let result = act(&mut streams);
        let has_work = streams.queued > queued || (streams.is_blocked && streams.taken > taken) || streams.failed;
        drop(streams);
        if has_work {
            self.shared.muxer.wake();
        }
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.with(|streams| streams.read(self.id, cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|streams| streams.write(self.id, cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|streams| streams.flush(self.id, cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|streams| {
            streams.close(self.id)?;
            streams.flush(self.id, cx)
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.with(|streams| streams.forget(self.id));
    }
}
