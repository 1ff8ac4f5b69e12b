//! Supervision: an actor that panics is created again by its factory; one that keeps panicking stops the node.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use actix::{Arbiter, ArbiterHandle};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::{mpsc, oneshot},
    task::LocalSet,
    time::Instant,
};
use wakumix_telemetry::Telemetry;

use crate::{
    Address, Inbox, Tasks,
    actor::{Actor, Control, End, Launch, launch},
    metrics::Metric,
    tasks::{RESTART_BUDGET, RESTART_WINDOW, RestartBudget},
};

/// Most actors that may wait to be started on a separate thread.
const STARTS: usize = 4;

/// An actor or task that could not be kept running. The node must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// Name of the actor or task.
    pub actor: &'static str,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.actor, self.reason)
    }
}

/// Starts actors and restarts those that panic. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    home: Home,
    tasks: Tasks,
}

/// Where actors run. A separate thread ends when the last supervisor that uses it is dropped.
#[derive(Clone)]
enum Home {
    /// The caller's thread.
    Here(ArbiterHandle),
    /// A thread for actors; their tasks are elsewhere.
    Arbiter(Arc<ArbiterThread>),
    /// A thread for actors and their tasks.
    Apart(mpsc::Sender<StartActor>),
}

/// Starts an actor on the thread that calls it.
type StartActor = Box<dyn FnOnce() + Send>;

impl Supervisor {
    /// A supervisor whose actors share one separate thread, and which reports failures as `tasks` does. Must be called inside
    /// an actix `System`.
    pub fn new(tasks: Tasks) -> Self {
        Self { home: Home::Arbiter(Arc::new(ArbiterThread(Some(Arbiter::new())))), tasks }
    }

    /// A supervisor whose actors *and their tasks* run on one separate thread of this name, so that their work never delays
    /// the threads of `tasks`. The names, counts and failures of the tasks are still reported through `tasks`.
    ///
    /// The thread ends with the last clone, and thus once its actors have stopped.
    ///
    /// # Errors
    /// When the operating system gives no thread or no event queue.
    pub fn apart(name: &'static str, tasks: &Tasks) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().thread_name(name).build()?;
        let tasks = tasks.on(runtime.handle().clone());
        let (home, mut starts) = mpsc::channel::<StartActor>(STARTS);
        let runtime = ThreadRuntime(Some(runtime));
        let run = move || {
            runtime.block_on(async move {
                while let Some(start) = starts.recv().await {
                    start();
                }
            });
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "whatever runs on it is an actor or a task, and answers its panic"
        )]
        drop(thread::Builder::new().name(name.to_owned()).spawn(run)?);
        Ok(Self { home: Home::Apart(home), tasks })
    }

    /// A supervisor whose actors run on the caller's thread, so that a paused clock governs them: for tests. The first
    /// [`Fatal`] comes out of the receiver.
    pub fn on_current_thread(telemetry: Telemetry) -> (Self, mpsc::Receiver<Fatal>) {
        let (tasks, fatal) = Tasks::new(Handle::current(), telemetry);
        (Self { home: Home::Here(Arbiter::current()), tasks }, fatal)
    }

    /// The tasks beside the actors.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Starts the actor that `factory` creates, and creates it again after a panic. It may have `task_limit` tasks.
    pub fn start<A: Actor>(
        &self,
        address: Address<A::Message>,
        inbox: Inbox<A::Message>,
        task_limit: usize,
        factory: impl FnMut() -> A + Send + 'static,
    ) -> ActorHandle {
        let (commands, receiver) = mpsc::channel(4);
        let restarts = Arc::new(AtomicU64::new(0));
        let supervision = Supervision {
            supervisor: self.clone(),
            address,
            inbox: inbox.clone(),
            task_limit,
            factory,
            restarts: Arc::clone(&restarts),
            panics: RestartBudget::default(),
            commands: receiver,
        };
        self.tasks.supervise(supervision.run());
        ActorHandle { name: A::NAME, commands, restarts, close: Arc::new(move || inbox.close()) }
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.home {
            Home::Here(_) => "Supervisor(current thread)",
            Home::Arbiter(_) => "Supervisor(own thread)",
            Home::Apart(_) => "Supervisor(own thread and tasks)",
        })
    }
}

/// A running, supervised actor.
#[derive(Clone)]
pub struct ActorHandle {
    name: &'static str,
    commands: mpsc::Sender<Command>,
    restarts: Arc<AtomicU64>,
    close: Arc<dyn Fn() + Send + Sync>,
}

impl ActorHandle {
    /// The actor's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How often it was restarted.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Refuses new messages, handles the queued ones, drains and ends, all before `deadline`. True if it ended before the
    /// deadline; false if the deadline cut it off.
    ///
    /// Cancel safe: no, because a call that is dropped has closed the queue already; the actor may or may not end.
    pub async fn stop(&self, deadline: Instant) -> bool {
        (self.close)();
        let (done, ended) = oneshot::channel();
        if self.commands.send(Command::Stop { deadline, done }).await.is_err() {
            return true;
        }
        ended.await.unwrap_or(true)
    }

    /// Makes the actor panic, as a bug would: the fault that tests and drills inject. Returns when the instance that
    /// runs now is gone, so that what is sent afterwards meets the next one.
    pub async fn inject_panic(&self) {
        let (done, ended) = oneshot::channel();
        // An actor that has ended for good cannot panic.
        if self.commands.send(Command::Panic { done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}

impl fmt::Debug for ActorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ActorHandle({})", self.name)
    }
}

enum Command {
    Stop { deadline: Instant, done: oneshot::Sender<bool> },
    Panic { done: oneshot::Sender<()> },
}

/// How one instance of the actor ended.
enum Outcome {
    Ended(End),
    Stop { deadline: Instant, done: oneshot::Sender<bool> },
}

/// The task that keeps one actor alive.
struct Supervision<A: Actor, F> {
    supervisor: Supervisor,
    address: Address<A::Message>,
    inbox: Inbox<A::Message>,
    task_limit: usize,
    factory: F,
    restarts: Arc<AtomicU64>,
    panics: RestartBudget,
    commands: mpsc::Receiver<Command>,
}

impl<A: Actor, F: FnMut() -> A + Send + 'static> Supervision<A, F> {
    async fn run(mut self) {
        loop {
            let (control, mut ended) = self.launch();
            match self.watch(&control, &mut ended).await {
                Outcome::Stop { deadline, done } => {
                    let in_time = stop(&control, ended, deadline).await;
                    // The caller may have given up waiting.
                    let _ = done.send(in_time);
                    return;
                }
                Outcome::Ended(End::Stopped) => return,
                Outcome::Ended(End::Panicked) => {
                    let Some(wait) = self.panics.after_panic(Instant::now()) else {
                        self.give_up();
                        return;
                    };
                    self.record_restart(wait);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    fn launch(&mut self) -> (mpsc::Sender<Control>, oneshot::Receiver<End>) {
        let (control, receiver) = mpsc::channel(2);
        let (ended, end) = oneshot::channel();
        let parts = Launch {
            actor: (self.factory)(),
            address: self.address.clone(),
            inbox: self.inbox.clone(),
            control: receiver,
            ended,
            tasks: self.supervisor.tasks.clone(),
            task_limit: self.task_limit,
        };
        self.supervisor.home.start(move || launch(parts));
        (control, end)
    }

    async fn watch(&mut self, control: &mpsc::Sender<Control>, ended: &mut oneshot::Receiver<End>) -> Outcome {
        tokio::select! {
            // A command that finds the instance gone waits for the next one.
            biased;
            end = &mut *ended => Outcome::Ended(end.unwrap_or(End::Panicked)),
            Some(command) = self.commands.recv() => match command {
                Command::Stop { deadline, done } => Outcome::Stop { deadline, done },
                Command::Panic { done } => {
                    // An instance that has just ended needs no word.
                    let _ = control.send(Control::Panic).await;
                    let end = ended.await.unwrap_or(End::Panicked);
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                    Outcome::Ended(end)
                }
            },
        }
    }

    fn record_restart(&self, wait: Duration) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        let telemetry = self.supervisor.tasks.telemetry();
        telemetry.counter(Metric::ActorRestartsTotal, &[("actor", A::NAME)]).increment(1);
        tracing::error!(
            actor = A::NAME,
            wait_ms = wait.as_millis(),
            "an actor panicked and is restarted; report this as a bug"
        );
    }

    fn give_up(&self) {
        self.inbox.close();
        let reason = format!("panicked {RESTART_BUDGET} times within {} s", RESTART_WINDOW.as_secs());
        tracing::error!(actor = A::NAME, "{reason}; the node stops");
        // A report that is already waiting stops the node as well.
        let _ = self.supervisor.tasks.fatal().try_send(Fatal { actor: A::NAME, reason });
    }
}

/// Passes the stop on and waits for the end; false when the deadline passed first.
async fn stop(control: &mpsc::Sender<Control>, ended: oneshot::Receiver<End>, deadline: Instant) -> bool {
    // An actor that has just ended needs no word.
    let _ = control.send(Control::Stop(deadline)).await;
    // The shell cuts the drain at the deadline by itself; the grace is for its last turn.
    let grace = Duration::from_millis(250);
    matches!(tokio::time::timeout_at(deadline + grace, ended).await, Ok(Ok(End::Stopped)))
}

impl Home {
    /// Starts an actor there. A thread that has ended drops what it is made of, which reports its end.
    fn start(&self, start: impl FnOnce() + Send + 'static) {
        match self {
            Self::Here(arbiter) => {
                arbiter.spawn_fn(start);
            }
            Self::Arbiter(thread) => thread.start(start),
            // As does a thread that is behind with starting; the next try comes after a back-off.
            Self::Apart(home) => drop(home.try_send(Box::new(start))),
        }
    }
}

/// The runtime of a thread. It ends without waiting, wherever it is dropped: at the end of its thread, or on the caller's if
/// there is none.
struct ThreadRuntime(Option<Runtime>);

impl ThreadRuntime {
    fn block_on(&self, future: impl Future<Output = ()>) {
        if let Some(runtime) = &self.0 {
            LocalSet::new().block_on(runtime, future);
        }
    }
}

impl Drop for ThreadRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Ends the arbiter's thread with the last supervisor.
struct ArbiterThread(Option<Arbiter>);

impl ArbiterThread {
    fn start(&self, start: impl FnOnce() + Send + 'static) {
        if let Some(arbiter) = &self.0 {
            arbiter.spawn_fn(start);
        }
    }
}

impl Drop for ArbiterThread {
    fn drop(&mut self) {
        if let Some(arbiter) = self.0.take() {
            arbiter.stop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, mailbox, metrics::telemetry};

    enum Say {
        Add(u64),
        Total(oneshot::Sender<u64>),
    }

    struct Adder {
        total: u64,
    }

    impl Actor for Adder {
        type Message = Say;
        const NAME: &'static str = "adder";

        fn handle(&mut self, message: Say, _: &Context<Say>) {
            match message {
                Say::Add(n) => self.total += n,
                Say::Total(reply) => reply.send(self.total).unwrap_or_default(),
            }
        }
    }

    struct Fixture {
        address: Address<Say>,
        handle: ActorHandle,
        fatal: mpsc::Receiver<Fatal>,
    }

    fn start() -> Fixture {
        tokio::time::pause();
        let telemetry = telemetry();
        let (supervisor, fatal) = Supervisor::on_current_thread(telemetry.clone());
        let (address, inbox) = mailbox("adder", 16, &telemetry);
        let handle = supervisor.start(address.clone(), inbox, 4, || Adder { total: 0 });
        Fixture { address, handle, fatal }
    }

    async fn total(address: &Address<Say>) -> u64 {
        let (reply, total) = oneshot::channel();
        address.send(Say::Total(reply)).await.unwrap();
        total.await.unwrap()
    }

    #[actix::test]
    async fn handles_messages_in_order() {
        let fixture = start();
        for n in 1..=10 {
            fixture.address.send(Say::Add(n)).await.unwrap();
        }
        assert_eq!(total(&fixture.address).await, 55);
        assert_eq!(fixture.handle.restarts(), 0);
    }

    #[actix::test]
    async fn restarts_a_panicking_actor_with_fresh_state_and_the_old_queue() {
        let fixture = start();
        fixture.address.send(Say::Add(7)).await.unwrap();
        assert_eq!(total(&fixture.address).await, 7);
        fixture.handle.inject_panic().await;
        while fixture.handle.restarts() == 0 {
            tokio::task::yield_now().await;
        }
        fixture.address.send(Say::Add(3)).await.unwrap();
        assert_eq!(total(&fixture.address).await, 3);
        assert_eq!(fixture.handle.restarts(), 1);
    }

    #[actix::test]
    async fn the_third_panic_in_a_minute_stops_the_node() {
        let mut fixture = start();
        for _ in 0..RESTART_BUDGET {
            assert!(fixture.fatal.try_recv().is_err());
            total(&fixture.address).await;
            fixture.handle.inject_panic().await;
        }
        let fatal = fixture.fatal.recv().await.unwrap();
        assert_eq!(fatal.to_string(), "adder panicked 3 times within 60 s");
        assert!(fixture.address.is_closed());
    }

    #[actix::test]
    async fn panics_far_apart_do_not_add_up() {
        let fixture = start();
        for _ in 0..2 * RESTART_BUDGET {
            total(&fixture.address).await;
            fixture.handle.inject_panic().await;
            tokio::time::sleep(RESTART_WINDOW).await;
        }
        assert_eq!(total(&fixture.address).await, 0);
    }

    #[actix::test]
    async fn stop_handles_what_is_queued_and_refuses_the_rest() {
        let fixture = start();
        let (reply, sum) = oneshot::channel();
        fixture.address.send(Say::Add(1)).await.unwrap();
        fixture.address.send(Say::Total(reply)).await.unwrap();
        assert!(fixture.handle.stop(Instant::now() + Duration::from_secs(1)).await);
        assert_eq!(sum.await.unwrap(), 1);
        assert!(fixture.address.try_send(Say::Add(1)).is_err());
    }

    #[tokio::test]
    async fn a_thread_apart_has_its_name_and_tasks_and_ends_when_its_actors_have_stopped() {
        let telemetry = crate::metrics::telemetry();
        let (tasks, _fatal) = Tasks::new(Handle::current(), telemetry.clone());
        let supervisor = Supervisor::apart("apart", &tasks).unwrap();
        let name = async { thread::current().name().map(str::to_owned) };
        let named = supervisor.tasks().spawn("named", crate::OnPanic::Report, name).join().await;
        assert_eq!(named.flatten().as_deref(), Some("apart"));
        let (address, inbox) = mailbox("adder", 16, &telemetry);
        let handle = supervisor.start(address.clone(), inbox, 4, || Adder { total: 0 });
        let (runs, does_run) = oneshot::channel();
        let forever = async {
            let _ = runs.send(());
            std::future::pending::<()>().await;
        };
        let mut left = supervisor.tasks().spawn("left", crate::OnPanic::Report, forever);
        drop(supervisor);
        does_run.await.unwrap();
        address.send(Say::Add(7)).await.unwrap();
        assert_eq!(total(&address).await, 7);
        // One registry for all.
        assert!(tasks.states().iter().any(|state| state.name == "left" && state.running == 1));
        assert!(handle.stop(Instant::now() + Duration::from_secs(10)).await);
        // The runtime of the thread ends its tasks when the thread ends.
        assert_eq!(left.join().await, None);
    }
}
