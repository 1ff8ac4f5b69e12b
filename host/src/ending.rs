//! Ending a stream so that the remote learns of it at once.
//!
//! Dropping a stream resets it, but mplex sends the reset only with whatever is written next. Closing flushes.

use std::time::Duration;

use futures::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// How long a remote may keep us from saying that a stream has ended.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Closes our half; dropping the stream afterwards resets what is left of it.
pub(crate) async fn end_stream<S: AsyncWrite + Unpin>(stream: &mut S) {
    // A stream that cannot be closed is reset when it is dropped.
    let _ = timeout(END_TIMEOUT, stream.close()).await;
}
