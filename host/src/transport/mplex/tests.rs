use std::collections::VecDeque;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future::poll_fn, task::noop_waker};
use libp2p::core::muxing::StreamMuxerExt;
use parking_lot::Mutex;
use tokio::time::advance;

use super::{
    frame::{Action, Piece, StreamId, append_head},
    *,
};

/// A socket whose other end is the test.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Ends>>);

#[derive(Default)]
struct Ends {
    coming: VecDeque<u8>,
    going: Vec<u8>,
    is_over: bool,
    is_stuck: bool,
}

impl Wire {
    fn frame(&self, id: StreamId, action: Action, content: &[u8]) {
        let mut ends = self.0.lock();
        append_head(&mut ends.coming, id, action, content.len());
        ends.coming.extend(content);
    }

    /// What this side has written, as `kind number content`.
    fn written(&self) -> Vec<String> {
        let (mut parser, mut found) = (Parser::default(), Vec::new());
        let bytes = std::mem::take(&mut self.0.lock().going);
        let read = parser.read(&bytes, |piece| {
            found.push(match piece {
                Piece::Frame(id, action) => format!("{action:?} {}", id.number),
                Piece::Data(id, content) => format!("Data {} {}", id.number, String::from_utf8_lossy(content)),
            });
            Ok(())
        });
        read.unwrap();
        found
    }

    fn left(&self) -> usize {
        self.0.lock().coming.len()
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock();
        if ends.coming.is_empty() && !ends.is_over {
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut ends.coming, buffer))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut ends = self.0.lock();
        if ends.is_stuck {
            return Poll::Pending;
        }
        ends.going.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn muxer() -> (Muxer<Wire>, Wire) {
    let wire = Wire::default();
    (Muxer::new(wire.clone(), &Config { max_streams: 4, unread: Unread::default() }), wire)
}

/// A stream that the remote, which is the test, has opened.
const fn remote(number: u64) -> StreamId {
    StreamId { number, is_own: true }
}

/// What the remote writes to one that this side has opened.
const fn own(number: u64) -> StreamId {
    StreamId { number, is_own: false }
}

/// Lets the muxer do all that it can.
fn turn(muxer: &mut Muxer<Wire>) -> io::Result<()> {
    match muxer.poll_unpin(&mut Context::from_waker(&noop_waker())) {
        Poll::Ready(Err(error)) => Err(error),
        _ => Ok(()),
    }
}

fn arrived(muxer: &mut Muxer<Wire>) -> Option<Stream> {
    poll_fn(|cx| muxer.poll_inbound_unpin(cx)).now_or_never().map(Result::unwrap)
}

fn opened(muxer: &mut Muxer<Wire>) -> Option<Stream> {
    poll_fn(|cx| muxer.poll_outbound_unpin(cx)).now_or_never().map(Result::unwrap)
}

fn unread(muxer: &Muxer<Wire>) -> usize {
    UNREAD - muxer.shared.streams.lock().room().min(UNREAD)
}

#[tokio::test(start_paused = true)]
async fn streams_of_both_sides_carry_what_is_written_and_end_by_halves() {
    let (mut muxer, wire) = muxer();
    wire.frame(remote(9), Action::Open, b"name");
    wire.frame(remote(9), Action::Data, b"question");
    wire.frame(remote(9), Action::Close, b"");
    turn(&mut muxer).unwrap();
    let mut theirs = arrived(&mut muxer).unwrap();
    let mut text = String::new();
    theirs.read_to_string(&mut text).now_or_never().unwrap().unwrap();
    assert_eq!(text, "question");
    theirs.write_all(b"answer").now_or_never().unwrap().unwrap();
    assert!(theirs.close().now_or_never().is_none(), "closed when it is written");
    turn(&mut muxer).unwrap();
    theirs.close().now_or_never().unwrap().unwrap();
    assert_eq!(wire.written(), ["Data 9 answer", "Close 9"]);

    let mut ours = opened(&mut muxer).unwrap();
    ours.write_all(b"hi").now_or_never().unwrap().unwrap();
    turn(&mut muxer).unwrap();
    assert_eq!(wire.written(), ["Open 0", "Data 0 hi"]);
    wire.frame(own(0), Action::Data, b"ho");
    wire.frame(own(0), Action::Reset, b"");
    turn(&mut muxer).unwrap();
    let mut answer = Vec::new();
    ours.read_to_end(&mut answer).now_or_never().unwrap().unwrap();
    assert_eq!(answer, b"ho");
    assert!(ours.write_all(b"more").now_or_never().unwrap().is_err());
    drop((theirs, ours));
    turn(&mut muxer).unwrap();
    assert_eq!(wire.written(), Vec::<String>::new());
    assert!(muxer.shared.streams.lock().room() == UNREAD);
}

#[tokio::test(start_paused = true)]
async fn what_waits_unread_is_bounded_and_the_remote_waits_for_its_reader() {
    let (mut muxer, wire) = muxer();
    for number in 0..4 {
        wire.frame(remote(number), Action::Open, b"");
        wire.frame(remote(number), Action::Data, &vec![7; UNREAD / 4]);
    }
    wire.frame(remote(0), Action::Data, &[8; 10_000]);
    turn(&mut muxer).unwrap();
    assert_eq!(unread(&muxer), UNREAD);
    assert!(wire.left() >= 10_000, "the socket is not read");
    let mut streams: Vec<Stream> = std::iter::from_fn(|| arrived(&mut muxer)).collect();
    assert_eq!(streams.len(), 4);
    streams[1].read_exact(&mut vec![0; UNREAD / 4]).now_or_never().unwrap().unwrap();
    turn(&mut muxer).unwrap();
    assert_eq!((unread(&muxer), wire.left()), (UNREAD / 4 * 3 + 10_000, 0));
    drop(streams);
    turn(&mut muxer).unwrap();
    assert_eq!(unread(&muxer), 0);
    assert_eq!(wire.written(), ["Reset 0", "Reset 1", "Reset 2", "Reset 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_reads_is_reset_in_time_and_the_others_go_on() {
    let (mut muxer, wire) = muxer();
    wire.frame(remote(1), Action::Open, b"");
    wire.frame(remote(1), Action::Data, &[7; UNREAD]);
    wire.frame(remote(2), Action::Open, b"");
    turn(&mut muxer).unwrap();
    let mut first = arrived(&mut muxer).unwrap();
    assert!(unread(&muxer) <= UNREAD && arrived(&mut muxer).is_none());
    advance(READ_TIMEOUT).await;
    turn(&mut muxer).unwrap();
    assert!(arrived(&mut muxer).is_some());
    assert_eq!(wire.written(), ["Reset 1"]);
    assert_eq!(first.read(&mut [0; 1]).now_or_never().unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_bound_are_reset_and_who_does_not_read_that_loses_the_connection() {
    let (mut muxer, wire) = muxer();
    for number in 0..5 {
        wire.frame(remote(number), Action::Open, b"");
    }
    turn(&mut muxer).unwrap();
    assert_eq!(wire.written(), ["Reset 4"]);
    assert!(opened(&mut muxer).is_none(), "not by this side either");
    drop(arrived(&mut muxer));
    assert!(opened(&mut muxer).is_some());
    wire.0.lock().is_stuck = true;
    for number in 100..100_000 {
        wire.frame(remote(number), Action::Open, b"");
    }
    let end = std::iter::repeat_with(|| turn(&mut muxer)).take(10_000).find(Result::is_err);
    assert!(end.is_some());
    assert!(muxer.shared.streams.lock().to_write().unwrap().len() < 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn what_has_come_is_read_after_the_remote_has_hung_up() {
    let (mut muxer, wire) = muxer();
    wire.frame(remote(1), Action::Open, b"");
    wire.frame(remote(1), Action::Data, b"last words");
    wire.0.lock().is_over = true;
    assert!(turn(&mut muxer).is_err());
    let mut stream = arrived(&mut muxer).unwrap();
    let mut text = [0; 10];
    stream.read_exact(&mut text).now_or_never().unwrap().unwrap();
    assert_eq!(&text, b"last words");
    assert!(stream.read(&mut text).now_or_never().unwrap().is_err());
    assert!(poll_fn(|cx| muxer.poll_outbound_unpin(cx)).await.is_err());
}
