//! Writing a peer's packets to the one stream that goes there.

use std::{pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, future::poll_fn};
use tokio::time::timeout;

use super::queue::{InFlight, PeerQueue, Taken};
use crate::{frame::append_frame, limits::LastUse};

/// Packets that are written before the writer flushes and finishes them. A larger batch would save no work
/// (with yamux 0.14, flushing after 16 packets costs as much as after each), and is written twice when the stream breaks.
const BATCH: usize = 16;

/// Bytes that go to the muxer in one write: the largest payload of a yamux frame that libp2p sends.
const WRITE_LEN: usize = 16 * 1024;

/// How long closing both halves may take before the stream is reset instead.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a writer stopped. Packets that it could not write are back in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteEnd {
    /// The remote ended the stream between two packets, or the queue was finished.
    Closed,
    /// A write failed or took too long.
    Failed,
}

/// Writes what comes into `queue` until the stream or the queue ends.
pub(super) async fn write_packets<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    queue: Arc<PeerQueue>,
    write_timeout: Duration,
    last_use: LastUse,
) -> WriteEnd {
    let mut batch = InFlight::new(queue.clone());
    let mut scratch = Vec::new();
    loop {
        match next_batch(&mut stream, &queue, &mut batch).await {
            Some(Taken::Packets) => {}
            Some(Taken::Finished) | None => return close(stream).await,
        }
        let write = write_batch(&mut stream, &batch, &mut scratch);
        let Ok(Ok(())) = timeout(write_timeout, write).await else { return WriteEnd::Failed };
        batch.written();
        last_use.packet();
        // A remote that reads one packet per stream has closed it by now; what follows would be lost without an error.
        if remote_ended(&mut stream) {
            return close(stream).await;
        }
    }
}

/// Waits for packets; `None` when the remote ends the stream first. The listener of `/mix/1.0.0` never writes, so
/// anything that can be read is an end: a half-close, a reset, or a peer that speaks something else.
async fn next_batch<S: AsyncRead + Unpin>(stream: &mut S, queue: &PeerQueue, batch: &mut InFlight) -> Option<Taken> {
    poll_fn(|cx| {
        if let Poll::Ready(taken) = queue.poll_take(cx, batch, BATCH) {
            return Poll::Ready(Some(taken));
        }
        Pin::new(&mut *stream).poll_read(cx, &mut [0u8; 1]).map(|_| None)
    })
    .await
}

fn remote_ended<S: AsyncRead + Unpin>(stream: &mut S) -> bool {
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut [0u8; 1])).now_or_never().is_some()
}

async fn write_batch<S: AsyncWrite + Unpin>(
    stream: &mut S,
    batch: &InFlight,
    scratch: &mut Vec<u8>,
) -> std::io::Result<()> {
    scratch.clear();
    for outgoing in batch.iter().filter(|outgoing| outgoing.is_written()) {
        append_frame(scratch, outgoing.bytes());
        if scratch.len() >= WRITE_LEN {
            stream.write_all(scratch).await?;
            scratch.clear();
        }
    }
    stream.write_all(scratch).await?;
    stream.flush().await
}

/// Closes our half and waits until the remote closes its own: only then has it read all that was written, and the
/// connection may be closed too.
async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> WriteEnd {
    let both_halves = async {
        stream.close().await?;
        stream.read(&mut [0u8; 1]).await
    };
    // A stream that cannot be closed is reset when it is dropped.
    let _ = timeout(CLOSE_TIMEOUT, both_halves).await;
    WriteEnd::Closed
}
