//! Where cryptography runs: blocking threads, as many at a time as the CPU quota allows.

use std::{num::NonZeroUsize, sync::Arc};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Tasks, tasks::Jobs};

/// The name under which jobs are counted that have no name of their own.
const WORKER: &str = "worker";

/// A bounded set of worker threads. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Workers {
    permits: Arc<Semaphore>,
    tasks: Tasks,
    jobs: Jobs,
    count: usize,
}

/// A worker that is free, for one job.
#[derive(Debug)]
pub struct FreeWorker {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The job panicked; its input is lost and its packets count as abandoned.
#[derive(Debug, thiserror::Error)]
#[error("a worker job panicked")]
pub struct WorkerPanicked;

impl Workers {
    /// `count` jobs at a time, on the blocking threads of the runtime of `tasks`, which counts their panics.
    pub fn new(count: NonZeroUsize, tasks: Tasks) -> Self {
        let jobs = tasks.jobs(WORKER);
        Self { permits: Arc::new(Semaphore::new(count.get())), tasks, jobs, count: count.get() }
    }

    /// The same workers, with this name for the jobs that are given to them here.
    #[must_use]
    pub fn named(&self, name: &'static str) -> Self {
        Self { jobs: self.tasks.jobs(name), ..self.clone() }
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

    /// A worker when one is free, in the order of the calls. Nobody else has it until its job has ended, so ask when there is
    /// something to do.
    ///
    /// Cancel safe: yes, but the caller's turn is lost.
    pub async fn free(&self) -> FreeWorker {
        // The semaphore is never closed.
        FreeWorker { _permit: Arc::clone(&self.permits).acquire_owned().await.ok() }
    }

    /// Starts a job that nobody waits for. If it panics, what it has taken along is dropped.
    pub fn start(&self, worker: FreeWorker, job: impl FnOnce() + Send + 'static) {
        let jobs = self.jobs.clone();
        let job = move || {
            let _worker = worker;
            jobs.run(job);
        };
        #[expect(clippy::disallowed_methods, reason = "the permits bound the jobs; `Jobs` answers for their panics")]
        drop(self.tasks.runtime().spawn_blocking(job));
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
        let worker = self.free().await;
        let jobs = self.jobs.clone();
        let job = move || {
            let _worker = worker;
            jobs.run(job)
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
