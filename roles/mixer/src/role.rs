//! The role as the node sees it: configured, started, stopped.

use std::fmt;
use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use tokio::sync::watch;
use tokio::time::Instant;
use wakumix_keyring::UnixSeconds;
use wakumix_mix::{DropReason, Packet, Stage, hop::ForwardDelay};
use wakumix_role_api::{
    ActorHandle, Address, Advertisement, ConfigError, Inbox, Mixing, Opening, Role, RoleContext, RoleError,
    RoleFactory, RoleName, RunningRole, StopReport, TaskHandle,
    config::{Key, Settings},
    directory::ClockSkew,
    host::{OutboundPacket, Reach, SendFailure},
    mixer::{LocalPacket, MixerHandle, NAME},
};
use wakumix_telemetry::{Catalogue, health::Protocol};
use wakumix_waku::record::Capabilities;

use crate::actor::MixerActor;
use crate::batches::Batches;
use crate::capacity::node_capacity;
use crate::config::Config;
use crate::cover::Cover;
use crate::delay_queue::{Bounds, DelayQueue, Drained, Releaser};
use crate::effects::Effects;
use crate::local::LocalPackets;
use crate::loops::Loops;
use crate::metrics::{DelayMetrics, LoopMetrics, METRICS, UnwrapMetrics};
use crate::outbound::{give_up, give_up_stopped};
use crate::pipeline::{Pipeline, Unreadable};
use crate::policy::Policy;
use crate::{countermeasures, gauges};

/// Tasks that the actor itself may have: none. The role's tasks, and batches, outlive it.
const ACTOR_TASKS: usize = 0;

/// Packets made here that wait for the mixer.
const LOCAL_PACKETS: usize = 256;

/// The mixer role, for the list of a node's roles.
#[derive(Clone, Copy, Debug)]
pub struct MixerFactory;

impl RoleFactory for MixerFactory {
    fn name(&self) -> RoleName {
        NAME
    }

    fn summary(&self) -> &'static str {
        "unwraps packets, delays them and passes them on"
    }

    fn mixing(&self) -> Mixing {
        Mixing { forwards: true, ..Mixing::NONE }
    }

    fn stop_share(&self) -> u32 {
        20
    }

    fn protocols(&self) -> &'static [Protocol] {
        &[Protocol::Mix]
    }

    fn keys(&self) -> Vec<Key> {
        Config::keys()
    }

    fn shared_keys(&self) -> Vec<&'static str> {
        Config::shared_keys()
    }

    fn metrics(&self) -> Option<&'static Catalogue> {
        Some(&METRICS)
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
        let mixer = Mixer::new(Config::read(settings)?, settings.forwards).map_err(Config::by_key)?;
        Ok(Box::new(mixer))
    }
}

/// A mixer that is configured and not yet running.
#[derive(Debug)]
pub struct Mixer {
    config: Config,
    forward: bool,
    rngs: Rngs,
    queues: Option<Queues>,
}

/// The mixer's queues.
#[derive(Debug)]
struct Queues {
    handle: MixerHandle,
    received: Inbox<Packet>,
    local: Inbox<LocalPacket>,
}

/// Generators of their own for what happens in its own order.
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
        Ok(Self { config, forward, rngs, queues: None })
    }

    /// Starts it, as [`Role::start`] does, and returns its own type.
    ///
    /// # Errors
    /// When its queues were not opened.
    pub fn start_mixer(mut self, context: &RoleContext) -> Result<RunningMixer, RoleError> {
        let queues = self.queues.take();
        let Queues { handle, received: inbox, local } =
            queues.ok_or_else(|| RoleError { role: NAME, problem: "its queues were not opened".to_owned() })?;
        let address = handle.received().clone();
        let parts = Parts::new(self, context, address.clone(), local);
        let Parts { actor, pipeline, batches, batches_stop, local, releaser, cover, stop } = parts;
        let actor = context.supervisor.start(address.clone(), inbox.clone(), ACTOR_TASKS, move || actor.clone());
        let (tasks, local_inbox, mut cover) = (context.supervisor.tasks(), local.queue.clone(), cover);
        let tasks = RunningTasks {
            cover: cover.take().map(|mut cover| tasks.keep("mixer_cover", move || cover.again().run())),
            local: tasks.keep("mixer_local", move || local.clone().run()),
            tags: {
                let batches = Arc::clone(&batches);
                tasks.keep("mixer_tags", move || Arc::clone(&batches).follow_tags(batches_stop.clone()))
            },
            batches,
            releaser: tasks.keep("mixer_releaser", move || releaser.clone().run()),
            inbox,
            local_inbox,
            stop,
        };
        Ok(RunningMixer { actor, address, pipeline, tasks: Mutex::new(Some(tasks)) })
    }
}

impl Role for Mixer {
    fn name(&self) -> RoleName {
        NAME
    }

    fn advertises(&self) -> Advertisement {
        let capabilities = if self.forward { Capabilities::MIX } else { Capabilities::NONE };
        Advertisement { longest_hold: Some(self.config.max_delay), ..Advertisement::of(capabilities) }
    }

    /// The host takes packets for its queues, as many as were measured or set.
    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), RoleError> {
        let (address, received) = opening.queue("mixer", self.config.max_waiting);
        let (local_address, local) = opening.queue("mixer_local", LOCAL_PACKETS);
        let handle = MixerHandle::new(address, local_address);
        opening.port(handle.clone())?;
        opening.port(node_capacity(&self.config, opening.formats, opening.workers, opening.telemetry))?;
        self.queues = Some(Queues { handle, received, local });
        Ok(())
    }

    fn start(self: Box<Self>, context: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError> {
        Ok(Box::new(self.start_mixer(context)?))
    }
}

/// A mixer that runs.
pub struct RunningMixer {
    actor: ActorHandle,
    address: Address<Packet>,
    pipeline: Arc<Pipeline>,
    tasks: Mutex<Option<RunningTasks>>,
}

/// What must be stopped, in this order: cover, local packets, actor with its batches, delay queue.
struct RunningTasks {
    /// `None` when this node sends no cover.
    cover: Option<TaskHandle<()>>,
    local: TaskHandle<()>,
    /// Gives batches a worker whose tags have been written.
    tags: TaskHandle<()>,
    batches: Arc<Batches>,
    releaser: TaskHandle<Drained>,
    inbox: Inbox<Packet>,
    local_inbox: Inbox<LocalPacket>,
    stop: Stops,
}

/// The words by which the parts are stopped, each with its deadline.
struct Stops {
    cover: watch::Sender<Option<Instant>>,
    local: watch::Sender<Option<Instant>>,
    batches: watch::Sender<Option<Instant>>,
    releaser: watch::Sender<Option<Instant>>,
}

/// Everything between configuration and running tasks.
struct Parts {
    actor: MixerActor,
    pipeline: Arc<Pipeline>,
    batches: Arc<Batches>,
    batches_stop: watch::Receiver<Option<Instant>>,
    local: LocalPackets,
    releaser: Releaser,
    cover: Option<Cover>,
    stop: Stops,
}

impl Parts {
    fn new(mixer: Mixer, context: &RoleContext, queue: Address<Packet>, local: Inbox<LocalPacket>) -> Self {
        let Mixer { config, forward, rngs: Rngs { delays: rng, cover: cover_rng }, .. } = mixer;
        let telemetry = &context.telemetry;
        let rules = config.next_hops(context.node.peer, forward);
        let policy = Policy { rules, directory: context.directory.clone() };
        let pipeline = Arc::new(Pipeline {
            formats: context.formats.clone(),
            keys: context.node.mix_keys.clone(),
            policy,
            delay: ForwardDelay { law: config.delay.law(), max: config.max_delay },
            rng: Mutex::new(rng),
            weaknesses: context.weaknesses,
            unreadable: Unreadable::default(),
        });
        let host = context.ports.host.clone();
        let bounds = countermeasures::bounds(context.weaknesses, Bounds::new(config.max_held, &context.formats));
        let [cover_stop, local_stop, batches_stop, releaser_stop] = std::array::from_fn(|_| watch::channel(None));
        let (delays, releaser) = DelayQueue::new(bounds, host.clone(), DelayMetrics::new(telemetry), releaser_stop.1);
        let loops = loops(&config, context);
        gauges::export(telemetry, &delays, &pipeline, &loops);
        let (exit, sender, formats) = (context.ports.get(), context.ports.get(), context.formats.clone());
        let effects = Effects { host, delays, exit, sender, formats, loops };
        let metrics = UnwrapMetrics::new(telemetry);
        let batches = Batches::new(&context.workers, Arc::clone(&pipeline), effects.clone(), metrics);
        let batches = Arc::new(batches);
        let actor = MixerActor {
            queue,
            max_waiting: config.max_waiting,
            max_batch: config.max_batch,
            pressure: Arc::clone(&context.pressure),
            batches: Arc::clone(&batches),
        };
        let local = LocalPackets { me: context.node.peer, queue: local, effects: effects.clone(), stop: local_stop.1 };
        let delay_ms = config.cover_delay.encode();
        let cover = config.cover.mean(forward);
        let cover = cover.map(|mean| Cover::new(mean, delay_ms, cover_rng, context, effects, cover_stop.1));
        let stop =
            Stops { cover: cover_stop.0, local: local_stop.0, batches: batches_stop.0, releaser: releaser_stop.0 };
        Self { actor, pipeline, batches, batches_stop: batches_stop.1, local, releaser, cover, stop }
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

impl RunningTasks {
    /// Whether one of them has ended by itself, which is a defect.
    fn has_ended(&self) -> bool {
        let cover = self.cover.as_ref().is_some_and(TaskHandle::is_finished);
        cover || self.local.is_finished() || self.tags.is_finished() || self.releaser.is_finished()
    }
}

impl fmt::Debug for RunningMixer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningMixer").field("ready", &self.ready()).finish_non_exhaustive()
    }
}

impl RunningRole for RunningMixer {
    fn name(&self) -> RoleName {
        NAME
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        let tasks = self.tasks.lock();
        let Some(tasks) = tasks.as_ref() else {
            return Err("the mixer has stopped".to_owned());
        };
        if self.address.is_closed() {
            return Err("the actor of the mixer has ended; restart the node and report this as a bug".to_owned());
        }
        if tasks.has_ended() {
            return Err("a task of the mixer has ended; restart the node and report this as a bug".to_owned());
        }
        // That others are ahead or behind is their word, and no reason to stop.
        let clock = self.pipeline.policy.directory.snapshot().clock;
        if let Some(skew @ ClockSkew::NeverSet) = clock {
            return Err(skew.to_string());
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
        let tasks = self.tasks.lock().take();
        match tasks {
            Some(tasks) => stop(self.actor.clone(), tasks, deadline).boxed(),
            None => futures::future::ready(StopReport { in_time: true, ..StopReport::default() }).boxed(),
        }
    }
}

async fn stop(actor: ActorHandle, tasks: RunningTasks, deadline: Instant) -> StopReport {
    let RunningTasks { cover, mut local, mut tags, batches, mut releaser, inbox, local_inbox, stop } = tasks;
    stop.cover.send_replace(Some(deadline));
    if let Some(mut cover) = cover {
        cover.join().await;
    }
    stop.local.send_replace(Some(deadline));
    local.join().await;
    stop.batches.send_replace(Some(deadline));
    let in_time = actor.stop(deadline).await;
    batches.close();
    tags.join().await;
    let unread = give_up_unread(&inbox, &local_inbox);
    stop.releaser.send_replace(Some(deadline));
    let drained = releaser.join().await;
    let Drained { released, given_up } = drained.unwrap_or_default();
    let report = StopReport { finished: released, abandoned: unread + given_up, in_time: in_time && drained.is_some() };
    tracing::info!(released, given_up = report.abandoned, in_time = report.in_time, "the mixer has stopped");
    report
}

/// Finishes what an actor that was too slow has left in its inbox, and a task that has failed in its own; how many packets.
fn give_up_unread(inbox: &Inbox<Packet>, local: &Inbox<LocalPacket>) -> u64 {
    let mut given_up = 0;
    if let Some(mut unread) = inbox.receiver() {
        given_up += std::iter::from_fn(|| unread.try_recv()).map(give_up_stopped).count();
    }
    if let Some(mut unread) = local.receiver() {
        let outbound = |LocalPacket { to, packet, done, .. }| OutboundPacket { to, reach: Reach::Dial, packet, done };
        let packets = std::iter::from_fn(|| unread.try_recv()).map(outbound);
        let finished =
            packets.map(|packet| give_up(packet, Stage::Shutdown, DropReason::Stopped, SendFailure::Stopped));
        given_up += finished.count();
    }
    u64::try_from(given_up).unwrap_or(u64::MAX)
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
