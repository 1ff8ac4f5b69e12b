//! The process's runtime: actors and HTTP servers need an actix `System`, sockets and timers a tokio runtime with
//! several threads. This makes the one run on the other, and tells when the process is asked to stop.

use std::{future::Future, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs a future to its end on the calling thread, inside an actix `System` on a multi-threaded tokio runtime.
///
/// # Errors
/// When the operating system gives no threads or no event queue.
pub fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(actix::System::with_tokio_rt(|| runtime).block_on(future))
}

/// Keeps the memory of the process, where keys are, from core dumps, debuggers and profilers of the same user. Linux alone has
/// that; elsewhere nothing happens.
///
/// # Errors
/// When the system refuses.
pub fn keep_memory_private() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Open files that the process may have, after the limit was raised as far as it goes without privileges; `None` where there is
/// no limit.
pub fn open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    // Some systems have a hard limit that they do not grant.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    }
}

/// The signal of a terminal that is closed, and of operators for "read the configuration again". It must not end a node.
pub struct Hangups(Signal);

impl Hangups {
    /// Listens from now on.
    ///
    /// # Errors
    /// When signals cannot be handled.
    pub fn listen() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next.
    ///
    /// Cancel safe: yes; a signal that comes meanwhile is told by the next call.
    pub async fn next(&mut self) {
        // Never closed.
        let _ = self.0.recv().await;
    }
}

/// The signals that tell the process to stop. From its making on none is lost: a process that is told before it waits stops then.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When signals cannot be handled.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next; its name.
    ///
    /// Cancel safe: yes; a signal that comes meanwhile is told by the next call.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn a_process_that_keeps_its_memory_private_is_not_dumped() {
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
        super::keep_memory_private().unwrap();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
    }
}
