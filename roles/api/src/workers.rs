//! Where cryptography runs: blocking threads, as many at a time as the CPU quota allows.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::Semaphore;

use crate::Tasks;

/// The name under which jobs are counted.
const WORKER: &str = "worker";

/// A bounded set of worker threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workers {
    permits: Arc<Semaphore>,
    tasks: Tasks,
    count: usize,
}

/// The job panicked; its input is lost and its packets count as abandoned.
#[derive(Debug, thiserror::Error)]
#[error("a worker job panicked")]
pub struct WorkerPanicked;

impl Workers {
    /// `count` jobs at a time, on the blocking threads of the runtime of `tasks`, which counts their panics.
    pub fn new(count: NonZeroUsize, tasks: Tasks) -> Self {
        Self { permits: Arc::new(Semaphore::new(count.get())), tasks, count: count.get() }
    }

    /// As many workers as this process may use cores: the cgroup quota where there is one, else the affinity mask.
    pub fn detect(tasks: Tasks) -> Self {
        let count = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Self::new(count, tasks)
    }

    /// How many jobs run at a time.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs `job` when a worker is free, in the order of the calls. Who calls this bounds how many jobs wait.
    ///
    /// Cancel safe: before the job starts, it never starts; afterwards it runs to its end, keeps its worker until then,
    /// and its result is dropped.
    pub async fn run<T, F>(&self, job: F) -> Result<T, WorkerPanicked>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| WorkerPanicked)?;
        let tasks = self.tasks.clone();
        let job = move || {
            let _permit = permit;
            tasks.run_here(WORKER, job)
        };
        #[expect(clippy::disallowed_methods, reason = "the permits bound the jobs that are queued there")]
        let done = self.tasks.runtime().spawn_blocking(job);
        done.await.ok().flatten().ok_or(WorkerPanicked)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::metrics::telemetry;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "the test waits for all of them")]
    async fn a_job_whose_caller_is_gone_still_keeps_its_worker() {
        let workers = Workers::new(NonZeroUsize::MIN, Tasks::new(tokio::runtime::Handle::current(), telemetry()).0);
        let (started, may_end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let job = {
            let (started, may_end) = (Arc::clone(&started), Arc::clone(&may_end));
            move || {
                started.wait();
                may_end.wait();
            }
        };
        let caller = tokio::spawn({
            let workers = workers.clone();
            async move { workers.run(job).await }
        });
        tokio::task::spawn_blocking(move || started.wait()).await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(workers.permits.available_permits(), 0);
        tokio::task::spawn_blocking(move || may_end.wait()).await.unwrap();
        assert!(workers.run(|| ()).await.is_ok());
    }
}
