//! The role as the node sees it: configured, started, stopped.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, future::BoxFuture};
use rand::{SeedableRng, rngs::StdRng};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wakumix_keyring::UnixSeconds;
use wakumix_mix::{DropReason, Packet, Stage, hop::ForwardDelay};
use wakumix_role_api::{
    ActorHandle, Address, ConfigError, Inbox, Inboxes, Ports, Role, RoleContext, RoleError, RoleName, RunningRole,
    Service, StopReport,
    host::{OutboundPacket, Reach, SendFailure},
    mailbox,
    mixer::{LocalPacket, MixerMessage},
};
use wakumix_sphinx::Weakness;
use wakumix_waku::record::Capabilities;

use crate::actor::MixerActor;
use crate::config::Config;
use crate::cover::Cover;
use crate::delay_queue::{Bounds, DelayQueue, Drained, Releaser};
use crate::effects::{Effects, give_up, give_up_stopped};
use crate::loops::Loops;
use crate::metrics::{self, DelayMetrics, LoopMetrics, UNWRAP_QUEUE, UnwrapMetrics};
use crate::pipeline::Pipeline;
use crate::policy::Policy;
use crate::unwrapper::{Batches, Unwrapper};

/// Tasks that the actor itself may have: none, the role's two tasks outlive it.
const ACTOR_TASKS: usize = 0;

/// A mixer that is configured and not yet running.
#[derive(Debug)]
pub struct Mixer {
    config: Config,
    forward: bool,
    rngs: Rngs,
}

/// Generators of their own for what happens in an order of its own.
#[derive(Debug)]
struct Rngs {
    delays: StdRng,
    cover: StdRng,
}

impl Mixer {
    /// A mixer; `forward` says whether packets of others are passed on, which is what the mixer role turns on.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn new(config: Config, forward: bool) -> Result<Self, ConfigError> {
        Self::with_rngs(config, forward, Rngs { delays: rand::make_rng(), cover: rand::make_rng() })
    }

    /// A mixer whose delays come from this generator, and whose cover comes from that of the inverted seed: for tests and simulations that must be repeatable.
    ///
    /// # Errors
    /// All problems of the configuration.
    pub fn with_seed(config: Config, forward: bool, seed: [u8; 32]) -> Result<Self, ConfigError> {
        let rngs = Rngs { delays: StdRng::from_seed(seed), cover: StdRng::from_seed(seed.map(|byte| !byte)) };
        Self::with_rngs(config, forward, rngs)
    }

    fn with_rngs(config: Config, forward: bool, rngs: Rngs) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, forward, rngs })
    }

    /// Starts it, as [`Role::start`] does, and returns its own type.
    ///
    /// # Errors
    /// When its inbox is not among `inboxes`.
    pub fn start_mixer(self, context: &RoleContext, inboxes: &mut Inboxes) -> Result<RunningMixer, RoleError> {
        let inbox = inboxes.mixer.take().ok_or_else(|| no_inbox("there is no inbox for it"))?;
        let Some(handle) = &context.ports.mixer else {
            return Err(no_inbox("there is no address for it"));
        };
        let parts = Parts::new(self, context);
        let (me, unwrap, effects) = (context.node.peer, parts.unwrap.clone(), parts.effects.clone());
        let factory = move || MixerActor { me, unwrap: unwrap.clone(), effects: effects.clone() };
        let actor = context.supervisor.start(handle.address().clone(), inbox.clone(), ACTOR_TASKS, factory);
        Ok(parts.run(context, actor, handle.address().clone(), inbox))
    }
}

impl Role for Mixer {
    fn name(&self) -> RoleName {
        RoleName::Mixer
    }

    fn capabilities(&self) -> Capabilities {
        if self.forward { Capabilities::MIX } else { Capabilities::NONE }
    }

    fn services(&self, _: &Ports) -> Vec<Service> {
        Vec::new()
    }

    fn start(self: Box<Self>, context: &RoleContext, inboxes: &mut Inboxes) -> Result<Box<dyn RunningRole>, RoleError> {
        Ok(Box::new(self.start_mixer(context, inboxes)?))
    }
}

/// A mixer that runs.
pub struct RunningMixer {
    actor: ActorHandle,
    address: Address<MixerMessage>,
    pipeline: Arc<Pipeline>,
    tasks: Mutex<Option<Tasks>>,
}

/// What must be stopped, in this order: cover, actor (its inbox), unwrapper, delay queue.
struct Tasks {
    /// `None` when this node sends no cover.
    cover: Option<Task<()>>,
    inbox: Inbox<MixerMessage>,
    unwrapper: Task<u64>,
    releaser: Task<Drained>,
}

/// A task and the way to tell it by when to end.
struct Task<T> {
    stop: watch::Sender<Option<Instant>>,
    handle: JoinHandle<T>,
}

/// Everything between configuration and running tasks.
struct Parts {
    unwrap: Address<Packet>,
    effects: Effects,
    unwrapper: Unwrapper,
    releaser: Releaser,
    cover: Option<Cover>,
}

impl Parts {
    fn new(mixer: Mixer, context: &RoleContext) -> Self {
        let Mixer { config, forward, rngs: Rngs { delays: rng, cover: cover_rng } } = mixer;
        let telemetry = &context.telemetry;
        let policy = Policy {
            me: context.node.peer,
            forward,
            allow_private_addresses: config.allow_private_addresses,
            hop_address: context.node.hop_address.clone(),
            directory: context.directory.clone(),
        };
        let pipeline = Arc::new(Pipeline {
            formats: context.formats.clone(),
            keys: context.node.mix_keys.clone(),
            policy,
            delay: ForwardDelay { law: config.delay.law(), max: config.max_delay },
            rng: Mutex::new(rng),
            weaknesses: context.weaknesses,
        });
        let host = context.ports.host.clone();
        let bounds = if context.weaknesses.has(Weakness::Unbounded) {
            Bounds::NONE
        } else {
            Bounds::new(config.max_held, &context.formats)
        };
        let (delays, releaser) = DelayQueue::new(bounds, host.clone(), DelayMetrics::new(telemetry));
        let loops = loops(&config, context);
        metrics::export(telemetry, &delays, &pipeline, &loops);
        let sender = context.ports.sender.clone();
        let effects = Effects { host, delays, exit: context.ports.exit.clone(), sender, loops };
        let (unwrap, queue) = mailbox(UNWRAP_QUEUE, config.max_waiting, telemetry);
        let batches = Batches {
            workers: context.workers.clone(),
            admissions: Arc::new(Semaphore::new(context.workers.count())),
            pipeline,
            effects: effects.clone(),
            metrics: UnwrapMetrics::new(telemetry),
        };
        let unwrapper = Unwrapper {
            queue,
            batches,
            max_batch: config.max_batch,
            pressure: Arc::clone(&context.pressure),
            max_waiting: config.max_waiting,
        };
        let mean = config.cover.mean(forward);
        let cover = mean.map(|mean| Cover::new(mean, config.cover_delay.encode(), cover_rng, context, effects.clone()));
        Self { unwrap, effects, unwrapper, releaser, cover }
    }

    fn run(
        self,
        context: &RoleContext,
        actor: ActorHandle,
        address: Address<MixerMessage>,
        inbox: Inbox<MixerMessage>,
    ) -> RunningMixer {
        let pipeline = Arc::clone(&self.unwrapper.batches.pipeline);
        let runtime = context.supervisor.runtime();
        let unwrapper = Task::spawn(runtime, |stopped| self.unwrapper.run(stopped));
        let releaser = Task::spawn(runtime, |stopped| self.releaser.run(stopped));
        let cover = self.cover.map(|cover| Task::spawn(runtime, |stopped| cover.run(stopped)));
        let tasks = Tasks { cover, inbox, unwrapper, releaser };
        RunningMixer { actor, address, pipeline, tasks: Mutex::new(Some(tasks)) }
    }
}

/// Why a key opens no more packets, and what helps; `next` is when the key that follows takes its place.
fn tags_used_up(capacity: usize, next: Option<UnixSeconds>) -> String {
    let helps = match next {
        Some(from) => format!("raise keys.replay-tags; the next key has room again from Unix time {from}"),
        None => "raise keys.replay-tags and restart the node".to_owned(),
    };
    format!("all {capacity} replay tags of a mix key are used; {helps}")
}

/// The loops of this node, which it may send or not.
fn loops(config: &Config, context: &RoleContext) -> Loops {
    let longest = config.cover_delay.longest(config.cover_delay.encode());
    let hops_that_delay = 2;
    let metrics = LoopMetrics::new(&context.telemetry);
    Loops::new(longest * hops_that_delay, Arc::clone(&context.reliability), context.epoch, metrics)
}

impl Tasks {
    /// Whether one of them has ended by itself, which is a defect.
    fn has_ended(&self) -> bool {
        let cover = self.cover.as_ref().is_some_and(|cover| cover.handle.is_finished());
        cover || self.unwrapper.handle.is_finished() || self.releaser.handle.is_finished()
    }
}

impl RunningMixer {
    fn take_tasks(&self) -> Option<Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl fmt::Debug for RunningMixer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningMixer").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl RunningRole for RunningMixer {
    fn name(&self) -> RoleName {
        RoleName::Mixer
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(tasks) = tasks.as_ref() else {
            return Err("the mixer has stopped".to_owned());
        };
        if self.address.is_closed() {
            return Err("the actor of the mixer has ended; restart the node and report this as a bug".to_owned());
        }
        if tasks.has_ended() {
            return Err("a task of the mixer has ended; restart the node and report this as a bug".to_owned());
        }
        let keys = &self.pipeline.keys;
        if let Some(full) = keys.keys().iter().find(|key| key.tags() >= key.tag_capacity()) {
            return Err(tags_used_up(full.tag_capacity(), keys.announced().next.map(|(_, from)| from)));
        }
        if let Some(problem) = keys.problem() {
            return Err(problem);
        }
        Ok(())
    }

    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport> {
        match self.take_tasks() {
            Some(tasks) => stop(self.actor.clone(), tasks, deadline).boxed(),
            None => futures::future::ready(StopReport { in_time: true, ..StopReport::default() }).boxed(),
        }
    }
}

async fn stop(actor: ActorHandle, tasks: Tasks, deadline: Instant) -> StopReport {
    if let Some(cover) = tasks.cover {
        cover.stop(deadline).await;
    }
    let in_time = actor.stop(deadline).await;
    let unread = give_up_unread(&tasks.inbox);
    let unopened = tasks.unwrapper.stop(deadline).await.unwrap_or_default();
    let drained = tasks.releaser.stop(deadline).await;
    let Drained { released, given_up } = drained.unwrap_or_default();
    let report = StopReport {
        finished: released,
        abandoned: unread + unopened + given_up,
        in_time: in_time && drained.is_some(),
    };
    tracing::info!(released, given_up = report.abandoned, in_time = report.in_time, "the mixer has stopped");
    report
}

/// Settles what an actor that was too slow has left in its inbox; how many packets.
fn give_up_unread(inbox: &Inbox<MixerMessage>) -> u64 {
    let Some(mut unread) = inbox.receiver() else { return 0 };
    let mut given_up = 0;
    while let Some(message) = unread.try_recv() {
        given_up += match message {
            MixerMessage::Received(packets) => packets.into_iter().map(give_up_stopped).count(),
            MixerMessage::Send(packet) => {
                let LocalPacket { to, packet, done, .. } = *packet;
                let outbound = OutboundPacket { to, reach: Reach::Dial, packet, done };
                give_up(outbound, Stage::Shutdown, DropReason::Stopped, SendFailure::Stopped);
                1
            }
        };
    }
    u64::try_from(given_up).unwrap_or(u64::MAX)
}

impl<T: Send + 'static> Task<T> {
    fn spawn<F>(runtime: &Handle, run: impl FnOnce(watch::Receiver<Option<Instant>>) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(None);
        Self { stop, handle: runtime.spawn(run(stopped)) }
    }

    /// Tells the task its deadline and waits for its end; `None` if it had ended by a panic.
    async fn stop(self, deadline: Instant) -> Option<T> {
        self.stop.send_replace(Some(deadline));
        self.handle.await.ok()
    }
}

fn no_inbox(problem: &str) -> RoleError {
    RoleError { role: RoleName::Mixer, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_against_used_up_tags_depends_on_whether_keys_follow_each_other() {
        let rotating = tags_used_up(1024, Some(1_764_000_000));
        assert!(rotating.ends_with("raise keys.replay-tags; the next key has room again from Unix time 1764000000"));
        assert!(tags_used_up(1024, None).ends_with("raise keys.replay-tags and restart the node"));
    }
}
