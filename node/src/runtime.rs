//! The process's runtime: actors and HTTP servers need an actix `System`, sockets and timers a tokio runtime with
//! several threads. This makes the one run on the other.

use std::future::Future;

/// Runs a future to its end on the calling thread, inside an actix `System` on a multi-threaded tokio runtime.
///
/// # Errors
/// When the operating system gives no threads or no event queue.
pub fn block_on<T>(future: impl Future<Output = T>) -> std::io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(actix::System::with_tokio_rt(|| runtime).block_on(future))
}
