use std::collections::VecDeque;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future::poll_fn, task::noop_waker};
use libp2p::core::muxing::StreamMuxerExt;
use tokio::time::advance;

use super::*;

/// One direction of a wire.
type Way = Arc<Mutex<VecDeque<u8>>>;

/// One end of a wire in memory.
struct End {
    coming: Way,
    going: Way,
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut coming = self.coming.lock();
        if coming.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(io::Read::read(&mut *coming, buffer))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.going.lock().extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Pair {
    here: Muxer<End>,
    there: Muxer<End>,
    coming: Way,
}

impl Pair {
    fn new() -> Self {
        let (coming, going) = (Way::default(), Way::default());
        let config = Config { max_streams: 16, unread: Unread::default() };
        let end = |coming: &Way, going: &Way| End { coming: coming.clone(), going: going.clone() };
        Self {
            here: config.clone().connection(end(&coming, &going), yamux::Mode::Server),
            there: config.connection(end(&going, &coming), yamux::Mode::Client),
            coming,
        }
    }

    /// Lets both sides do all that they can; how this side ended.
    fn turn(&mut self) -> io::Result<()> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        for _ in 0..100 {
            let _ = self.there.poll_unpin(&mut cx);
            if let Poll::Ready(Err(error)) = self.here.poll_unpin(&mut cx) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// A stream that the other side has opened: its end here, and there.
    fn stream(&mut self) -> (Stream, Stream) {
        let mut there = poll_fn(|cx| self.there.poll_outbound_unpin(cx)).now_or_never().unwrap().unwrap();
        there.write_all(b"!").now_or_never().unwrap().unwrap();
        self.turn().unwrap();
        let mut here = poll_fn(|cx| self.here.poll_inbound_unpin(cx)).now_or_never().unwrap().unwrap();
        here.read_exact(&mut [0; 1]).now_or_never().unwrap().unwrap();
        (here, there)
    }

    /// Writes as much as goes, up to so many bytes.
    fn write(&mut self, stream: &mut Stream, bytes: usize) {
        let (waker, mut written) = (noop_waker(), 0);
        for _ in 0..1000 {
            let rest = vec![7; (bytes - written).min(16 * 1024)];
            let poll = Pin::new(&mut *stream).poll_write(&mut Context::from_waker(&waker), &rest);
            if let Poll::Ready(count) = poll {
                written += count.unwrap();
            }
            if written == bytes || self.turn().is_err() {
                break;
            }
        }
    }

    fn waiting(&self) -> usize {
        self.here.waiting.lock().streams.values().map(|stream| stream.cost).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_unread_on_all_streams_together_is_bounded() {
    let mut pair = Pair::new();
    let (mut first, mut first_there) = pair.stream();
    let (second, mut second_there) = pair.stream();
    pair.write(&mut first_there, 200_000);
    pair.write(&mut second_there, 200_000);
    assert!((MOST..MOST + SHORT_FRAME).contains(&pair.waiting()), "{}", pair.waiting());
    assert!(!pair.coming.lock().is_empty(), "the socket is not read");
    first.read_exact(&mut vec![0; 190_000]).now_or_never().unwrap().unwrap();
    pair.turn().unwrap();
    assert!(pair.coming.lock().is_empty());
    let gone = second.stream.id().val().to_be_bytes();
    drop(second);
    let late = [&[0, 0, 0, 0][..], &gone, &30_000u32.to_be_bytes(), &[7; 30_000]].concat();
    pair.coming.lock().extend(late);
    pair.turn().unwrap();
    first.read_exact(&mut vec![0; 10_000]).now_or_never().unwrap().unwrap();
    assert_eq!(pair.waiting(), 0, "what comes for a stream that is gone does not count");
    assert_eq!(pair.here.waiting.lock().bytes.room(MOST), MOST);
}

#[tokio::test(start_paused = true)]
async fn a_connection_of_which_nobody_reads_anything_ends_in_time() {
    let mut pair = Pair::new();
    let (mut first, mut first_there) = pair.stream();
    let (_second, mut second_there) = pair.stream();
    pair.write(&mut first_there, 200_000);
    pair.write(&mut second_there, 200_000);
    advance(READ_TIMEOUT / 2).await;
    first.read_exact(&mut [0; 10]).now_or_never().unwrap().unwrap();
    advance(READ_TIMEOUT / 2).await;
    pair.turn().unwrap();
    advance(READ_TIMEOUT).await;
    assert!(pair.turn().is_err());
}
