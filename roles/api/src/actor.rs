//! The actor shell: one enum of messages in, one at a time, from a bounded inbox.
//!
//! The shell is an actix actor that reads our inbox as a stream. It adds what actix lacks: the inbox outlives the
//! actor, the end of the actor is reported whatever its cause, and its tasks have a bound and end with it.

use std::{future::Future, sync::Arc, time::Duration};

use actix::{ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use futures::{FutureExt, future::BoxFuture, stream};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use crate::{Address, Inbox, address::Receiver};

/// State that handles messages one at a time.
///
/// An actor decides; anything that waits goes to [`Context::spawn`] or to [`Workers`](crate::Workers). Every field is
/// durable, derivable or ephemeral, and says which: after a panic the supervisor makes a new actor from its factory.
pub trait Actor: Sized + Send + Unpin + 'static {
    /// What it takes: one enum.
    type Message: Send + 'static;

    /// Its name in logs and metrics.
    const NAME: &'static str;

    /// Runs before the first message, also after a restart.
    fn started(&mut self, _context: &Context<Self::Message>) {}

    /// Handles one message. Must not block.
    fn handle(&mut self, message: Self::Message, context: &Context<Self::Message>);

    /// Finishes what is held. Called once, after the last message; no message follows. The future is dropped at
    /// `deadline`.
    fn drain(&mut self, _deadline: Instant, _context: &Context<Self::Message>) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }
}

/// What an actor has around it. Cheap to clone.
pub struct Context<M> {
    address: Address<M>,
    runtime: Handle,
    tasks: Arc<Semaphore>,
    ended: watch::Receiver<()>,
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

    /// Runs a future beside the actor, on the node's runtime. It is dropped when the actor ends.
    ///
    /// # Errors
    /// [`TaskLimit`] when the actor's bound on tasks is reached; the future is dropped.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), TaskLimit> {
        let permit = Arc::clone(&self.tasks).try_acquire_owned().map_err(|_| TaskLimit)?;
        let mut ended = self.ended.clone();
        self.runtime.spawn(async move {
            tokio::select! {
                // An error means that the actor is gone; the value never changes.
                _ = ended.changed() => {}
                () = task => {}
            }
            drop(permit);
        });
        Ok(())
    }

    /// Sends the actor a message every `period`; a beat that finds the queue full is left out.
    ///
    /// # Errors
    /// [`TaskLimit`] as for [`spawn`](Self::spawn).
    pub fn every(&self, period: Duration, message: impl Fn() -> M + Send + 'static) -> Result<(), TaskLimit> {
        let address = self.address.clone();
        self.spawn(async move {
            let mut beat = tokio::time::interval(period);
            beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            beat.tick().await;
            while !address.is_closed() {
                beat.tick().await;
                // A full queue means that the actor is behind; the next beat serves as well.
                let _ = address.try_send(message());
            }
        })
    }
}

impl<M> Clone for Context<M> {
    fn clone(&self) -> Self {
        Self {
            address: self.address.clone(),
            runtime: self.runtime.clone(),
            tasks: Arc::clone(&self.tasks),
            ended: self.ended.clone(),
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
    pub(crate) runtime: Handle,
    pub(crate) task_limit: usize,
}

/// Starts the shell on the current arbiter. When the inbox is held by somebody else it ends at once.
pub(crate) fn launch<A: Actor>(launch: Launch<A>) {
    let Launch { actor, address, inbox, control, ended, runtime, task_limit } = launch;
    let report = EndReport { ended: Some(ended), end: End::Panicked };
    let Some(receiver) = inbox.receiver() else { return };
    let (alive, ended) = watch::channel(());
    let context = Context { address, runtime, tasks: Arc::new(Semaphore::new(task_limit)), ended };
    let events = Events { control, inbox: receiver, stopping: None };
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
            Event::Message(message) => self.actor.handle(message, &self.context),
            Event::Stop(deadline) => {
                let drained = tokio::time::timeout_at(deadline, self.actor.drain(deadline, &self.context));
                shell.wait(drained.into_actor(self).map(|_, _, shell| shell.stop()));
            }
            Event::Panic => inject_panic(),
        }
    }

    fn finished(&mut self, shell: &mut Self::Context) {
        shell.stop();
    }
}

#[expect(clippy::panic, reason = "the panic is the fault that tests inject")]
fn inject_panic() {
    panic!("injected fault");
}

enum Event<M> {
    Message(M),
    Stop(Instant),
    Panic,
}

/// The inbox and the supervisor's word as one stream; control never waits behind messages.
struct Events<M> {
    control: mpsc::Receiver<Control>,
    inbox: Receiver<M>,
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
                Control::Panic => Event::Panic,
            },
            message = self.inbox.recv() => Event::Message(message?),
        };
        Some((event, self))
    }

    /// Hands out what is queued, then the stop itself, then nothing more: the shell ends the stream by stopping.
    async fn next_while_stopping(mut self, deadline: Instant) -> Option<(Event<M>, Self)> {
        if self.control.is_closed() {
            return std::future::pending().await;
        }
        if Instant::now() < deadline
            && let Some(message) = self.inbox.try_recv()
        {
            return Some((Event::Message(message), self));
        }
        self.control.close();
        Some((Event::Stop(deadline), self))
    }
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
