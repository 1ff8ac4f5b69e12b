//! mplex without its busy loop.
//!
//! A stream of mplex that is not read blocks its connection, and libp2p's implementation then asks to be polled again at
//! once, for as long as that lasts: a remote that sends more than this node reads would cost it a core. Here such a wish
//! is granted a moment later.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use tokio::time::{Instant, Sleep, sleep};

/// From one poll to the next while the connection is blocked. Adds no delay that packets with mixing delays would notice.
const MOMENT: Duration = Duration::from_millis(2);

/// A muxer, or one of its streams, that is not polled in a busy loop.
pub(super) struct Calm<T> {
    inner: T,
    waker: Arc<CalmWaker>,
    moment: Option<Pin<Box<Sleep>>>,
}

/// Tells a wish to be polled again that is made during a poll from one that is made later.
#[derive(Default)]
struct CalmWaker {
    task: AtomicWaker,
    is_polled: AtomicBool,
    is_eager: AtomicBool,
}

impl Wake for CalmWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.is_polled.load(Ordering::Acquire) {
            self.is_eager.store(true, Ordering::Release);
        } else {
            self.task.wake();
        }
    }
}

impl<T: Unpin> Calm<T> {
    pub(super) fn new(inner: T) -> Self {
        Self { inner, waker: Arc::default(), moment: None }
    }

    /// Polls; when that ends with the wish for another poll at once, sees to it in a moment.
    fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(Pin<&mut T>, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        self.waker.task.register(cx.waker());
        self.waker.is_polled.store(true, Ordering::Release);
        let waker = Waker::from(self.waker.clone());
        let result = poll(Pin::new(&mut self.inner), &mut Context::from_waker(&waker));
        self.waker.is_polled.store(false, Ordering::Release);
        if self.waker.is_eager.swap(false, Ordering::AcqRel) && result.is_pending() {
            self.wake_in_a_moment(cx);
        }
        result
    }

    fn wake_in_a_moment(&mut self, cx: &mut Context<'_>) {
        let moment = self.moment.get_or_insert_with(|| Box::pin(sleep(MOMENT)));
        moment.as_mut().reset(Instant::now() + MOMENT);
        if moment.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Calm<M>
where
    M::Substream: Unpin,
{
    type Substream = Calm<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, M::Error>> {
        self.get_mut().poll(cx, M::poll_inbound).map_ok(Calm::new)
    }

    fn poll_outbound(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Self::Substream, M::Error>> {
        self.get_mut().poll(cx, M::poll_outbound).map_ok(Calm::new)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.get_mut().poll(cx, M::poll_close)
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Calm::poll(self.get_mut(), cx, M::poll)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Calm<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, |stream, cx| stream.poll_read(cx, buf))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Calm<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(cx, S::poll_flush)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(cx, S::poll_close)
    }
}

#[cfg(test)]
mod tests {
    use futures::AsyncReadExt;
    use tokio::time::timeout;

    use super::*;

    /// Is never ready and always wants to be polled again.
    #[derive(Default)]
    struct Eager {
        polls: u32,
    }

    impl AsyncRead for Eager {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            self.polls += 1;
            assert!(self.polls < 10_000, "a busy loop");
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    }

    /// Is ready when it is woken from elsewhere.
    struct Later(Pin<Box<Sleep>>);

    impl AsyncRead for Later {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            self.0.as_mut().poll(cx).map(|()| Ok(0))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_always_wants_to_be_polled_is_polled_now_and_then() {
        let mut stream = Calm::new(Eager::default());
        let read = timeout(MOMENT * 100, stream.read(&mut [0; 1])).await;
        assert!(read.is_err());
        assert!((50..=150).contains(&stream.inner.polls), "{}", stream.inner.polls);
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_woken_from_elsewhere_is_polled_at_once() {
        let mut stream = Calm::new(Later(Box::pin(sleep(Duration::from_secs(60)))));
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    }
}
