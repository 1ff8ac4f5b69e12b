//! The plugin: how a node starts, watches and stops the sender.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::{sync::watch, time::Instant};
use wakumix_client::{
    Client, ClientError, ServiceKind,
    lightpush::{PushRules, Version},
    no_replies, readiness, reply_address,
};
use wakumix_role_api::{
    ActorHandle, ConfigError, DirectoryReader, Inbox, LocalNode, Mixing, Opening, Role, RoleContext, RoleError,
    RoleFactory, RoleName, RunningRole, StopReport,
    command::Subcommand,
    config::{Key, Settings},
    mixer, relay,
    rest::Route,
    sender::{GuardsInUse, NAME, ReplyOpener, SenderHandle, SenderMessage},
};
use wakumix_sphinx::WireFormat;
use wakumix_telemetry::{Catalogue, health::Protocol};

use crate::{
    actor::Sender,
    config::{Config, SHARDING_KEYS},
    metrics::{METRICS, Metrics},
    probe::{self, ProbeRuns},
    shell::{Shell, Silence, Work},
    surroundings::{Surroundings, own_node, snapshot},
};

/// Requests and replies that wait for the sender.
const QUEUE: usize = 1024;

/// The sender role, for the list of a node's roles.
#[derive(Clone, Copy, Debug)]
pub struct SenderFactory;

impl RoleFactory for SenderFactory {
    fn name(&self) -> RoleName {
        NAME
    }

    fn summary(&self) -> &'static str {
        "sends requests over the mixnet and takes the answers"
    }

    fn mixing(&self) -> Mixing {
        Mixing { sends: true, ..Mixing::NONE }
    }

    fn needs(&self) -> &'static [RoleName] {
        &[mixer::NAME]
    }

    /// What is pushed directly goes through the own relay, and what it hears of confirms requests.
    fn uses(&self) -> &'static [RoleName] {
        &[relay::NAME]
    }

    fn stop_share(&self) -> u32 {
        50
    }

    fn protocols(&self) -> &'static [Protocol] {
        &[Protocol::Mix]
    }

    fn keys(&self) -> Vec<Key> {
        Config::keys()
    }

    fn shared_keys(&self) -> Vec<&'static str> {
        [Config::shared_keys(), SHARDING_KEYS.to_vec()].concat()
    }

    fn metrics(&self) -> Option<&'static Catalogue> {
        Some(&METRICS)
    }

    fn routes(&self) -> Vec<Route> {
        vec![probe::route()]
    }

    fn commands(&self) -> Vec<Subcommand> {
        vec![probe::command()]
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
        Ok(Box::new(SenderRole::new(Config::read_all(settings)?).map_err(Config::by_key)?))
    }
}

/// The sender, configured and not yet running.
#[derive(Debug)]
pub struct SenderRole {
    config: Config,
    rng: Option<StdRng>,
    queue: Option<(SenderHandle, Inbox<SenderMessage>)>,
}

impl SenderRole {
    /// A sender that draws its randomness from the operating system.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, rng: None, queue: None })
    }

    /// A sender whose every choice follows from `rng`: for tests and simulations only.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn with_rng(config: Config, rng: StdRng) -> Result<Self, ConfigError> {
        Ok(Self { rng: Some(rng), ..Self::new(config)? })
    }
}

impl Role for SenderRole {
    fn name(&self) -> RoleName {
        NAME
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), RoleError> {
        let (address, inbox) = opening.queue("sender", QUEUE);
        let handle = SenderHandle::new(address);
        opening.port(handle.clone())?;
        opening.port(ProbeRuns::one())?;
        opening.port(GuardsInUse(self.config.guards))?;
        self.queue = Some((handle, inbox));
        Ok(())
    }

    fn start(self: Box<Self>, context: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError> {
        let Self { config, rng, queue } = *self;
        let (handle, inbox) = queue.ok_or_else(|| cannot_start("its queue was not opened".to_owned()))?;
        let rng = match rng {
            Some(rng) => rng,
            None => StdRng::try_from_rng(&mut SysRng).map_err(|error| cannot_start(error.to_string()))?,
        };
        let (work, silence) = (Work::new(), Arc::<Silence>::default());
        let shell = Shell {
            node: context.node.clone(),
            directory: context.directory.clone(),
            ledger: Arc::clone(&context.ledger),
            formats: context.formats.clone(),
            workers: context.workers.clone(),
            mixer: context.ports.require(NAME)?,
            plain: context.ports.require(NAME)?,
            watchlist: Arc::default(),
            metrics: Arc::new(Metrics::new(&context.telemetry)),
            work: Arc::clone(&work),
            silence: Arc::clone(&silence),
            epoch: context.epoch,
        };
        let (task_limit, min_subnets) = (task_limit(&config), config.min_subnets);
        let factory = factory(context.clone(), config, shell, handle.replies().clone(), rng);
        let actor = context.supervisor.start(handle.address().clone(), inbox, task_limit, factory);
        let (node, directory) = (context.node.clone(), context.directory.clone());
        let wire = context.formats.all().first().map(|served| served.format.wire()).unwrap_or_default();
        Ok(Box::new(RunningSender { actor, work, silence, node, directory, handle, min_subnets, wire }))
    }
}

/// The timer and the readers of the directory and of the relay; two tasks for each request or loop, one of its caller and one
/// of a direct request; one for each try until its packets have left.
fn task_limit(config: &Config) -> usize {
    let client = config.client();
    3 + 2 * client.in_flight + client.max_tries()
}

fn cannot_start(problem: String) -> RoleError {
    RoleError { role: NAME, problem }
}

/// Makes the actor, and makes it anew after a panic: the client begins anew, the count of what is at work stays, since each of
/// its guards comes back by itself.
fn factory(
    context: RoleContext,
    config: Config,
    shell: Shell,
    replies: ReplyOpener,
    mut rng: StdRng,
) -> impl FnMut() -> Sender + Send + 'static {
    move || {
        let (own, weaknesses) = (own_node(&context.node), context.weaknesses);
        let formats = context.formats.all().iter().map(|served| Arc::clone(&served.format)).collect();
        Sender {
            // The directory may be filling since the node started.
            client: Client::new(config.client(), formats, own.clone(), Duration::ZERO, weaknesses),
            shell: Arc::new(Shell { watchlist: Arc::default(), ..shell.clone() }),
            surroundings: Surroundings::of(own),
            relay: context.ports.get(),
            replies: replies.clone(),
            reliability: Arc::clone(&context.reliability),
            allow_direct: config.allow_direct,
            rules: PushRules {
                version: Version::V3,
                auto_shards: config.auto_shards,
                confirmations: config.confirmations,
                weaknesses,
            },
            rng: rng.fork(),
            open: BTreeMap::new(),
            next_id: 0,
            wake: watch::Sender::new(None),
        }
    }
}

struct RunningSender {
    actor: ActorHandle,
    work: Arc<Work>,
    silence: Arc<Silence>,
    node: LocalNode,
    directory: DirectoryReader,
    handle: SenderHandle,
    min_subnets: usize,
    /// What its packets are.
    wire: WireFormat,
}

impl RunningRole for RunningSender {
    fn name(&self) -> RoleName {
        NAME
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        if self.handle.address().is_closed() {
            return Err("stopped".to_owned());
        }
        let directory = self.directory.snapshot();
        if let Some(skew) = directory.clock {
            return Err(skew.to_string());
        }
        let (own, known) = (own_node(&self.node), snapshot(&directory));
        let ready = readiness(&own, &known, &directory.connected, ServiceKind::LIGHTPUSH, self.min_subnets);
        ready.map_err(|lack| match lack {
            ClientError::NoExit { .. } => "no node that serves lightpush is known".to_owned(),
            other => other.to_string(),
        })?;
        self.silence.recent().map_or(Ok(()), |silent| {
            let address = reply_address(&own, &known, &directory.connected);
            Err(format!("no_replies: {}", no_replies(silent, address.as_ref(), self.wire)))
        })
    }

    /// Gives requests under way half of the time to be answered, then ends the rest.
    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport> {
        let (actor, work) = (self.actor.clone(), Arc::clone(&self.work));
        async move {
            work.close();
            let under_way = work.requests();
            let half = deadline.saturating_duration_since(Instant::now()) / 2;
            // Those that are not answered by then are counted below.
            let _ = tokio::time::timeout(half, work.idle()).await;
            let abandoned = work.requests();
            let in_time = actor.stop(deadline).await;
            let finished = under_way.saturating_sub(abandoned);
            StopReport { finished: count(finished), abandoned: count(abandoned), in_time }
        }
        .boxed()
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
