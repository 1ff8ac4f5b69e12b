//! The process's runtime: actors and HTTP servers need an actix `System`, sockets and timers a tokio runtime with
//! several threads. This makes the one run on the other, and tells when the process is asked to stop.

use std::{future::Future, io};

use tokio::signal::unix::{SignalKind, signal};

/// Runs a future to its end on the calling thread, inside an actix `System` on a multi-threaded tokio runtime.
///
/// # Errors
/// When the operating system gives no threads or no event queue.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(actix::System::with_tokio_rt(|| runtime).block_on(future))
}

/// Waits until the process is told to stop; the signal's name.
///
/// # Errors
/// When signals cannot be handled.
pub async fn stop_signal() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
