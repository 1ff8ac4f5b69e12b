//! Ending a stream so that the remote learns of it at once, whatever the muxer.
//!
//! Dropping a stream resets it, but mplex sends the reset only with whatever is written next: closing flushes. After a
//! close yamux sends no reset any more, so a remote that is still writing would wait for credit for ever: what it
//! writes is read and thrown away for a while.

use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a remote may take to end its half.
const END_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes that are thrown away: more than any request that the fleet's clients send.
const MAX_DISCARDED: usize = 4 * 1024 * 1024;

/// Closes our half and waits a while for the remote's; dropping the stream afterwards ends what is left of it.
pub(crate) async fn end_stream<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    let end = async {
        stream.close().await?;
        discard(stream).await
    };
    // A stream that cannot be ended in time is ended by being dropped.
    let _ = timeout(END_TIMEOUT, end).await;
}

async fn discard<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    let mut left = MAX_DISCARDED;
    while left > 0 {
        match stream.read(&mut buffer).await? {
            0 => break,
            read => left = left.saturating_sub(read),
        }
    }
    Ok(())
}
