//! Owned tasks: whatever runs beside an actor has a name, a stated answer to its panic, and is counted.
//!
//! | answer to a panic | method | for |
//! |---|---|---|
//! | it is made again from its factory, with back-off; too many panics stop the node | [`Tasks::keep`] | loops that the node needs |
//! | its owner fails: the actor is restarted, without an actor the node stops | [`OnPanic::FailOwner`] | work whose loss its owner cannot see |
//! | it is reported, and nothing else happens | [`OnPanic::Report`] | one request, one batch, one check |
//!
//! Nothing else in the node may start a task or a thread (`clippy.toml`). Libraries do: libp2p for each connection through
//! [`Tasks`] as well, actix-web for its workers by itself.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot},
    task::AbortHandle,
    time::Instant,
};
use wakumix_telemetry::{Counter, Telemetry};

use crate::{Fatal, metrics::Metric};

/// Panics within [`RESTART_WINDOW`] that stop the node.
pub(crate) const RESTART_BUDGET: usize = 3;
/// The time in which [`RESTART_BUDGET`] panics are too many.
pub(crate) const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// The wait before the first restart; it doubles with each further panic in the window.
const FIRST_BACK_OFF: Duration = Duration::from_millis(50);

/// What a panic of a task that is not made again means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPanic {
    /// Its owner fails.
    FailOwner,
    /// It is counted and logged; the work that it did is lost.
    Report,
}

/// Every task of a node, by name. Cheap to clone; all clones are one registry.
#[derive(Clone)]
pub struct Tasks {
    /// Where tasks of this clone run.
    runtime: Handle,
    shared: Arc<Registry>,
}

struct Registry {
    telemetry: Telemetry,
    fatal: mpsc::Sender<Fatal>,
    names: Mutex<BTreeMap<&'static str, Arc<Entry>>>,
}

/// What is known of the tasks of one name.
struct Entry {
    name: &'static str,
    running: AtomicUsize,
    /// Those that wait for their restart.
    restarting: AtomicUsize,
    panics: Counter,
    restarts: Counter,
    /// One permit for each panic that is to be raised.
    faults: Semaphore,
}

/// A task that runs. Dropping this leaves it running, owned by the registry.
pub struct TaskHandle<T> {
    abort: AbortHandle,
    output: oneshot::Receiver<T>,
}

/// How the tasks of one name are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskState {
    /// The name.
    pub name: &'static str,
    /// How many run now.
    pub running: usize,
    /// How many have panicked and wait for their restart.
    pub restarting: usize,
}

/// The restarts of something that panics, and when there were too many.
#[derive(Debug, Default)]
pub(crate) struct RestartBudget(VecDeque<Instant>);

impl RestartBudget {
    /// How long to wait before the next start; `None` if the budget is used up.
    pub(crate) fn after_panic(&mut self, now: Instant) -> Option<Duration> {
        self.0.retain(|at| now.duration_since(*at) < RESTART_WINDOW);
        self.0.push_back(now);
        let doublings = u32::try_from(self.0.len().saturating_sub(1)).unwrap_or(u32::MAX);
        (self.0.len() < RESTART_BUDGET).then(|| FIRST_BACK_OFF * 2_u32.saturating_pow(doublings))
    }
}

impl Tasks {
    /// A registry whose tasks run on `runtime`. The first failure that must stop the node comes out of the receiver.
    #[must_use]
    pub fn new(runtime: Handle, telemetry: Telemetry) -> (Self, mpsc::Receiver<Fatal>) {
        // One report is enough: the node stops at the first.
        let (fatal, reports) = mpsc::channel(1);
        let names = Mutex::default();
        (Self { runtime, shared: Arc::new(Registry { telemetry, fatal, names }) }, reports)
    }

    /// The same registry, for tasks that run on another runtime.
    #[must_use]
    pub(crate) fn on(&self, runtime: Handle) -> Self {
        Self { runtime, shared: Arc::clone(&self.shared) }
    }

    /// Runs a future to its end. A panic is answered as `on_panic` says; the owner is the node.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &'static str,
        on_panic: OnPanic,
        future: impl Future<Output = T> + Send + 'static,
    ) -> TaskHandle<T> {
        let fatal = self.shared.fatal.clone();
        self.spawn_for(name, future, move || {
            if on_panic == OnPanic::FailOwner {
                // A report that is already waiting stops the node as well.
                let _ = fatal.try_send(Fatal { actor: name, reason: "panicked and cannot be restarted".to_owned() });
            }
        })
    }

    /// Runs the future that `factory` makes, and makes it again after a panic. Too many panics stop the node.
    pub fn keep<T, F>(&self, name: &'static str, mut factory: impl FnMut() -> F + Send + 'static) -> TaskHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (entry, fatal) = (self.entry(name), self.shared.fatal.clone());
        self.run(async move {
            let mut budget = RestartBudget::default();
            loop {
                // On the heap: every wrapper would hold another copy of a large future.
                if let Ok(output) = entry.guarded(Box::pin(factory())).await {
                    return Some(output);
                }
                let Some(wait) = budget.after_panic(Instant::now()) else {
                    let reason = format!("panicked {RESTART_BUDGET} times within {} s", RESTART_WINDOW.as_secs());
                    tracing::error!(task = name, "{reason}; the node stops");
                    let _ = fatal.try_send(Fatal { actor: name, reason });
                    return None;
                };
                entry.restart_after(wait).await;
            }
        })
    }

    /// The jobs of a name, for whoever runs too many of them to look the name up each time.
    pub(crate) fn jobs(&self, name: &'static str) -> Jobs {
        Jobs(self.entry(name))
    }

    /// As [`Self::spawn`], for an owner that is not the node: `panicked` makes it fail.
    pub fn spawn_for<T: Send + 'static>(
        &self,
        name: &'static str,
        future: impl Future<Output = T> + Send + 'static,
        panicked: impl FnOnce() + Send + 'static,
    ) -> TaskHandle<T> {
        // On the heap: every wrapper would hold another copy of it.
        let (entry, future) = (self.entry(name), Box::pin(future));
        self.run(async move {
            match entry.guarded(future).await {
                Ok(output) => Some(output),
                Err(Panicked) => {
                    panicked();
                    None
                }
            }
        })
    }

    /// Runs what supervises an actor. It is part of the registry itself, like the loop of [`Self::keep`].
    pub(crate) fn supervise(&self, supervision: impl Future<Output = ()> + Send + 'static) {
        self.run(supervision.map(Some));
    }

    /// The names of all tasks that have run, in order, and how they are.
    #[must_use]
    pub fn states(&self) -> Vec<TaskState> {
        self.shared.states()
    }

    /// What stands in the way of readiness: tasks that wait for their restart.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.shared.problem()
    }

    /// Reads [`Self::problem`] for whoever must not keep the registry alive.
    pub fn watch_problem(&self) -> impl Fn() -> Option<String> + Send + Sync + 'static {
        let shared = Arc::downgrade(&self.shared);
        move || shared.upgrade()?.problem()
    }

    /// Makes a task of this name panic, as a bug would: the one that runs longest, or the next that starts. For drills.
    pub fn inject_panic(&self, name: &'static str) {
        self.entry(name).faults.add_permits(1);
    }

    /// The runtime that tasks run on.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn fatal(&self) -> &mpsc::Sender<Fatal> {
        &self.shared.fatal
    }

    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.shared.telemetry
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where tasks start")]
    fn run<T: Send + 'static>(&self, task: impl Future<Output = Option<T>> + Send + 'static) -> TaskHandle<T> {
        let (sink, output) = oneshot::channel();
        let task = async move {
            if let Some(output) = task.await {
                // Whoever does not wait for the output does not need it.
                let _ = sink.send(output);
            }
        };
        // The task catches its panics, so its end has nothing to say.
        let abort = self.runtime.spawn(task).abort_handle();
        TaskHandle { abort, output }
    }

    fn entry(&self, name: &'static str) -> Arc<Entry> {
        let mut names = self.shared.names.lock();
        let new = || {
            let counter = |metric| self.shared.telemetry.counter(metric, &[("task", name)]);
            Arc::new(Entry {
                name,
                running: AtomicUsize::new(0),
                restarting: AtomicUsize::new(0),
                panics: counter(Metric::TaskPanicsTotal),
                restarts: counter(Metric::TaskRestartsTotal),
                faults: Semaphore::new(0),
            })
        };
        Arc::clone(names.entry(name).or_insert_with(new))
    }
}

impl Registry {
    fn states(&self) -> Vec<TaskState> {
        self.names.lock().values().map(|entry| entry.state()).collect()
    }

    fn problem(&self) -> Option<String> {
        let state = self.states().into_iter().find(|state| state.restarting > 0)?;
        Some(format!("the task {} has panicked and is restarted; report this as a bug", state.name))
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}

/// The jobs of one name: tasks that run on the thread of their caller and never wait. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Entry>);

impl Jobs {
    /// Runs a job on the thread that calls this, as the registry's task of that name; `None` if it panicked.
    pub(crate) fn run<T>(&self, job: impl FnOnce() -> T) -> Option<T> {
        let Self(entry) = self;
        let _running = entry.enter();
        let fault = entry.faults.try_acquire().map(tokio::sync::SemaphorePermit::forget);
        let job = AssertUnwindSafe(|| {
            if fault.is_ok() {
                injected_fault();
            }
            job()
        });
        std::panic::catch_unwind(job).inspect_err(|_| entry.record_panic()).ok()
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.state().fmt(f)
    }
}

/// A task ended by a panic.
struct Panicked;

impl Entry {
    /// Runs a future; a panic ends it and is counted.
    async fn guarded<F: Future>(&self, future: F) -> Result<F::Output, Panicked> {
        let _running = self.enter();
        let faulty = async {
            tokio::select! {
                biased;
                // The semaphore is never closed.
                Ok(fault) = self.faults.acquire() => {
                    fault.forget();
                    injected_fault()
                }
                output = future => output,
            }
        };
        AssertUnwindSafe(faulty).catch_unwind().await.map_err(|_| {
            self.record_panic();
            Panicked
        })
    }

    async fn restart_after(&self, wait: Duration) {
        self.restarting.fetch_add(1, Ordering::Relaxed);
        self.restarts.increment(1);
        tokio::time::sleep(wait).await;
        self.restarting.fetch_sub(1, Ordering::Relaxed);
    }

    fn record_panic(&self) {
        self.panics.increment(1);
        tracing::error!(task = self.name, "a task panicked; report this as a bug");
    }

    fn enter(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(self)
    }

    fn state(&self) -> TaskState {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        TaskState { name: self.name, running: of(&self.running), restarting: of(&self.restarting) }
    }
}

/// One running task of a name.
struct Running<'a>(&'a Entry);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[expect(clippy::panic, reason = "the panic is the fault that drills inject")]
fn injected_fault() -> ! {
    panic!("injected fault");
}

impl<T> TaskHandle<T> {
    /// Waits for the end; `None` if it panicked or was aborted.
    ///
    /// Cancel safe: yes.
    pub async fn join(&mut self) -> Option<T> {
        (&mut self.output).await.ok()
    }

    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.abort.is_finished()
    }
}

impl<T> std::fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskHandle").field("is_finished", &self.is_finished()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> (Tasks, mpsc::Receiver<Fatal>, Telemetry) {
        let telemetry = crate::metrics::telemetry();
        let (tasks, fatal) = Tasks::new(Handle::current(), telemetry.clone());
        (tasks, fatal, telemetry)
    }

    fn shows(telemetry: &Telemetry, line: &str) -> bool {
        telemetry.render().lines().any(|found| found == line)
    }

    async fn until(mut condition: impl FnMut() -> bool) {
        while !condition() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_kept_is_made_again_and_shows_while_it_is_not_running() {
        let (tasks, mut fatal, telemetry) = tasks();
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let mut kept = tasks.keep("loop", move || {
            count.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>()
        });
        until(|| tasks.states() == [TaskState { name: "loop", running: 1, restarting: 0 }]).await;
        tasks.inject_panic("loop");
        until(|| tasks.problem().is_some()).await;
        assert_eq!(tasks.problem().unwrap(), "the task loop has panicked and is restarted; report this as a bug");
        tokio::time::sleep(FIRST_BACK_OFF).await;
        until(|| tasks.problem().is_none() && made.load(Ordering::Relaxed) == 2).await;
        assert!(shows(&telemetry, "waku_mix_task_panics_total{task=\"loop\"} 1"));
        assert!(shows(&telemetry, "waku_mix_task_restarts_total{task=\"loop\"} 1"));
        assert!(fatal.try_recv().is_err() && !kept.is_finished());
        (1..RESTART_BUDGET).for_each(|_| tasks.inject_panic("loop"));
        assert_eq!(fatal.recv().await.unwrap().to_string(), "loop panicked 3 times within 60 s");
        assert_eq!(kept.join().await, None);
    }

    #[tokio::test]
    async fn a_panic_that_is_only_reported_loses_that_task_alone() {
        let (tasks, mut fatal, telemetry) = tasks();
        tasks.inject_panic("request");
        let mut lost = tasks.spawn("request", OnPanic::Report, async { 1 });
        assert_eq!(lost.join().await, None);
        let mut next = tasks.spawn("request", OnPanic::Report, async { 2 });
        assert_eq!(next.join().await, Some(2));
        assert!(fatal.try_recv().is_err());
        assert!(shows(&telemetry, "waku_mix_task_panics_total{task=\"request\"} 1"));
        assert_eq!(tasks.problem(), None);
    }

    #[tokio::test]
    async fn a_task_whose_owner_is_the_node_stops_it() {
        let (tasks, mut fatal, _telemetry) = tasks();
        let mut vital = tasks.spawn("vital", OnPanic::FailOwner, std::future::pending::<()>());
        tasks.inject_panic("vital");
        assert_eq!(fatal.recv().await.unwrap().actor, "vital");
        assert_eq!(vital.join().await, None);
    }

    #[tokio::test]
    async fn a_job_that_panics_is_counted_and_the_thread_goes_on() {
        let (tasks, _fatal, telemetry) = tasks();
        assert_eq!(tasks.jobs("job").run(|| 7), Some(7));
        tasks.inject_panic("job");
        assert_eq!(tasks.jobs("job").run(|| 7), None);
        assert_eq!(tasks.jobs("job").run(|| 8), Some(8));
        assert!(shows(&telemetry, "waku_mix_task_panics_total{task=\"job\"} 1"));
    }
}
