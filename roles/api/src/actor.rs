//! The actor shell: one enum of messages in, one at a time, from a bounded inbox.
//!
//! The shell is an actix actor that reads our inbox as a stream. It adds what actix lacks: the inbox outlives the
//! actor, the end of the actor is reported whatever its cause, and its tasks have a bound and end with it.

use std::{future::Future, sync::Arc, time::Duration};

use actix::{ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use futures::{FutureExt, future::BoxFuture, stream};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use crate::{Address, FreeWorker, Inbox, OnPanic, Tasks, Workers, address::Receiver};

/// State that handles messages one at a time.
///
/// An actor decides; anything that waits goes to [`Context::spawn`] or to [`Workers`](crate::Workers). Every field is
/// durable, derivable or ephemeral, and says which: after a panic the supervisor makes a new actor from its factory.
pub trait Actor: Sized + Send + Unpin + 'static {
    /// What it takes: one enum.
    type Message: Send + Unpin + 'static;

    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Runs before the first message, also after a restart.
    fn started(&mut self, _context: &Context<Self::Message>) {}

    /// How messages are taken from the inbox.
    fn intake(&self) -> Intake {
        Intake::default()
    }

    /// Handles one message. Must not block.
    fn handle(&mut self, message: Self::Message, context: &Context<Self::Message>);

    /// Handles what was taken at once. Must not block.
    fn handle_batch(&mut self, taken: Taken<Self::Message>, context: &Context<Self::Message>) {
        let Taken { messages, place, worker } = taken;
        drop((place, worker));
        messages.into_iter().for_each(|message| self.handle(message, context));
    }

    /// Finishes what is held. Called once, after the last message; no message follows. The future is dropped at
    /// `deadline`.
    fn drain(&mut self, _deadline: Instant, _context: &Context<Self::Message>) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }
}

/// How an actor takes messages from its inbox. What is not taken waits there, and its bound is the back-pressure.
#[derive(Clone, Debug)]
pub struct Intake {
    /// Messages that are taken at once, at most.
    pub batch: usize,
    /// Nothing is taken before there is a permit of these.
    pub places: Option<Arc<Semaphore>>,
    /// Nothing is taken before one of these is free.
    pub workers: Option<Workers>,
}

impl Default for Intake {
    /// One message after the other, at once.
    fn default() -> Self {
        Self { batch: 1, places: None, workers: None }
    }
}

/// What was taken at once, and what its [`Intake`] asked for.
#[derive(Debug)]
pub struct Taken<M> {
    /// At least one.
    pub messages: Vec<M>,
    /// One of [`Intake::places`].
    pub place: Option<OwnedSemaphorePermit>,
    /// One of [`Intake::workers`].
    pub worker: Option<FreeWorker>,
}

/// What an actor has around it. Cheap to clone.
pub struct Context<M> {
    address: Address<M>,
    tasks: Tasks,
    limit: Arc<Semaphore>,
    ended: watch::Receiver<()>,
    /// Told when a task has panicked without which the actor cannot go on.
    failed: Arc<Notify>,
}

/// The actor has as many tasks as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many tasks")]
pub struct TaskLimit;

impl<M: Send + 'static> Context<M> {
    /// The actor's own address.
    pub fn address(&self) -> &Address<M> {
        &self.address
    }

    /// Runs a future beside the actor, on the node's runtime. It is dropped when the actor ends. Its panic is answered as
    /// `on_panic` says; its owner is the actor, which is then restarted.
    ///
    /// # Errors
    /// [`TaskLimit`] when the actor's bound on tasks is reached; the future is dropped.
    pub fn spawn(
        &self,
        name: &'static str,
        on_panic: OnPanic,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), TaskLimit> {
        let task = self.bounded(task)?;
        let failed = Arc::clone(&self.failed);
        self.tasks.spawn_for(name, task, move || {
            if on_panic == OnPanic::FailOwner {
                failed.notify_one();
            }
        });
        Ok(())
    }

    /// Runs the future that `factory` makes, and makes it again after a panic, until the actor ends.
    ///
    /// # Errors
    /// [`TaskLimit`] as for [`spawn`](Self::spawn).
    pub fn keep<F>(&self, name: &'static str, mut factory: impl FnMut() -> F + Send + 'static) -> Result<(), TaskLimit>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let permit = Arc::clone(&self.limit).try_acquire_owned().map_err(|_| TaskLimit)?;
        let (permit, ended) = (Arc::new(permit), self.ended.clone());
        self.tasks.keep(name, move || until_ended(ended.clone(), Arc::clone(&permit), factory()));
        Ok(())
    }

    /// Sends the actor a message every `period`; a tick that finds the queue full is left out.
    ///
    /// # Errors
    /// [`TaskLimit`] as for [`spawn`](Self::spawn).
    pub fn every(
        &self,
        name: &'static str,
        period: Duration,
        message: impl Fn() -> M + Clone + Send + 'static,
    ) -> Result<(), TaskLimit> {
        let address = self.address.clone();
        self.keep(name, move || {
            let (address, message) = (address.clone(), message.clone());
            async move {
                let mut ticks = tokio::time::interval(period);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                ticks.tick().await;
                while !address.is_closed() {
                    ticks.tick().await;
                    // A full queue means that the actor is behind; the next tick serves as well.
                    let _ = address.try_send(message());
                }
            }
        })
    }

    fn bounded<F: Future<Output = ()>>(&self, task: F) -> Result<impl Future<Output = ()> + use<F, M>, TaskLimit> {
        let permit = Arc::clone(&self.limit).try_acquire_owned().map_err(|_| TaskLimit)?;
        Ok(until_ended(self.ended.clone(), permit, task))
    }
}

/// Runs a task until its actor ends, and holds its permit as long.
async fn until_ended<P>(mut ended: watch::Receiver<()>, permit: P, task: impl Future<Output = ()>) {
    tokio::select! {
        // An error means that the actor is gone; the value never changes.
        _ = ended.changed() => {}
        () = task => {}
    }
    drop(permit);
}

impl<M> Clone for Context<M> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
            tasks: self.tasks.clone(),
            limit: Arc::clone(&self.limit),
            ended: self.ended.clone(),
            failed: Arc::clone(&self.failed),
        }
    }
}

/// What the supervisor tells a running shell.
pub(crate) enum Control {
    /// Handle what is queued, drain, end.
    Stop(Instant),
    /// Panic in the next turn: the fault that tests and drills inject.
    Panic,
}

/// How a shell ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Asked to, or every address was dropped.
    Stopped,
    /// A panic unwound through it.
    Panicked,
}

/// What a shell is made of.
pub(crate) struct Launch<A: Actor> {
    pub(crate) actor: A,
    pub(crate) address: Address<A::Message>,
    pub(crate) inbox: Inbox<A::Message>,
    pub(crate) control: mpsc::Receiver<Control>,
    pub(crate) ended: oneshot::Sender<End>,
    pub(crate) tasks: Tasks,
    pub(crate) task_limit: usize,
}

/// Starts the shell on the current arbiter. When the inbox is held by somebody else it ends at once.
pub(crate) fn launch<A: Actor>(launch: Launch<A>) {
    let Launch { actor, address, inbox, control, ended, tasks, task_limit } = launch;
    let report = EndReport { ended: Some(ended), end: End::Panicked };
    let Some(receiver) = inbox.receiver() else { return };
    let (alive, ended) = watch::channel(());
    let (limit, failed) = (Arc::new(Semaphore::new(task_limit)), Arc::<Notify>::default());
    let intake = actor.intake();
    let events = Events { control, inbox: receiver, intake, failed: Arc::clone(&failed), stopping: None };
    let context = Context { address, tasks, limit, ended, failed };
    let shell = Shell { actor, context, events: Some(events), report, _alive: alive };
    actix::Actor::start(shell);
}

struct Shell<A: Actor> {
    actor: A,
    context: Context<A::Message>,
    events: Option<Events<A::Message>>,
    report: EndReport,
    /// Tasks of this instance end when it is dropped.
    _alive: watch::Sender<()>,
}

impl<A: Actor> actix::Actor for Shell<A> {
    type Context = actix::Context<Self>;

    fn started(&mut self, shell: &mut Self::Context) {
        if let Some(events) = self.events.take() {
            shell.add_stream(stream::unfold(events, Events::next));
        }
        self.actor.started(&self.context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // actix runs this also while a panic unwinds through its context.
        if !std::thread::panicking() {
            self.report.end = End::Stopped;
        }
    }
}

impl<A: Actor> StreamHandler<Event<A::Message>> for Shell<A> {
    fn handle(&mut self, event: Event<A::Message>, shell: &mut Self::Context) {
        match event {
            Event::Messages(taken) => self.actor.handle_batch(taken, &self.context),
            Event::Stop(deadline) => {
                let drained = tokio::time::timeout_at(deadline, self.actor.drain(deadline, &self.context));
                shell.wait(drained.into_actor(self).map(|_, _, shell| shell.stop()));
            }
            Event::Panic(why) => fail(why),
        }
    }

    fn finished(&mut self, shell: &mut Self::Context) {
        shell.stop();
    }
}

#[expect(clippy::panic, reason = "a panic is how an actor fails: the supervisor makes it again")]
fn fail(why: &str) {
    panic!("{why}");
}

enum Event<M> {
    Messages(Taken<M>),
    Stop(Instant),
    Panic(&'static str),
}

/// The inbox and the supervisor's word as one stream; control never waits behind messages.
struct Events<M> {
    control: mpsc::Receiver<Control>,
    inbox: Receiver<M>,
    intake: Intake,
    failed: Arc<Notify>,
    stopping: Option<Instant>,
}

impl<M: Send + 'static> Events<M> {
    async fn next(mut self) -> Option<(Event<M>, Self)> {
        if let Some(deadline) = self.stopping {
            return self.next_while_stopping(deadline).await;
        }
        let event = tokio::select! {
            biased;
            control = self.control.recv() => match control? {
                Control::Stop(deadline) => {
                    self.stopping = Some(deadline);
                    return self.next_while_stopping(deadline).await;
                }
                Control::Panic => Event::Panic("injected fault"),
            },
            () = self.failed.notified() => Event::Panic("a task of this actor has panicked"),
            taken = take(&mut self.inbox, &self.intake) => Event::Messages(taken?),
        };
        Some((event, self))
    }

    /// Hands out what is queued, then the stop itself, then nothing more: the shell ends the stream by stopping.
    async fn next_while_stopping(mut self, deadline: Instant) -> Option<(Event<M>, Self)> {
        if self.control.is_closed() {
            return std::future::pending().await;
        }
        if !self.inbox.is_empty()
            && let Ok(Some(taken)) = tokio::time::timeout_at(deadline, take(&mut self.inbox, &self.intake)).await
        {
            return Some((Event::Messages(taken), self));
        }
        self.control.close();
        Some((Event::Stop(deadline), self))
    }
}

/// The next messages, once there is a place and a worker for them; `None` when there will be none. A worker is asked for only
/// when there is a message: others have use for it.
///
/// Cancel safe: yes; messages are taken last.
async fn take<M>(inbox: &mut Receiver<M>, intake: &Intake) -> Option<Taken<M>> {
    let place = match &intake.places {
        Some(places) => Some(Arc::clone(places).acquire_owned().await.ok()?),
        None => None,
    };
    if !inbox.filled().await {
        return None;
    }
    let worker = match &intake.workers {
        Some(workers) => Some(workers.free().await),
        None => None,
    };
    Some(Taken { messages: inbox.take(intake.batch), place, worker })
}

/// Tells the supervisor how the shell ended, also when a panic unwinds through it.
struct EndReport {
    ended: Option<oneshot::Sender<End>>,
    end: End,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            // Without a supervisor nobody needs to know.
            let _ = ended.send(self.end);
        }
    }
}
