//! The plug: how a node starts, watches and stops the exit.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::{sync::Semaphore, time::Instant};
use wakumix_role_api::{
    ActorHandle, Address, Advertisement, ConfigError, Inbox, Mixing, Opening, Role, RoleContext, RoleError,
    RoleFactory, RoleName, RunningRole, Services, StopReport,
    config::{Key, Settings},
    exit::{ExitMessage, NAME},
    mixer::{self, MixerHandle},
    relay,
};
use wakumix_telemetry::{Catalogue, health::Protocol};
use wakumix_waku::record::Capabilities;

use crate::{
    actor::{Exit, MAX_REFUSALS},
    config::Config,
    exchange::Shared,
    fragments::Fragments,
    metrics::{METRICS, Metrics},
    reply::Replier,
    tally::Tally,
};

/// Packets that wait for the exit: as many as it works on at a time by default.
const QUEUE: usize = 256;

/// The exit role, for the list of a node's roles.
#[derive(Clone, Copy, Debug)]
pub struct ExitFactory;

impl RoleFactory for ExitFactory {
    fn name(&self) -> RoleName {
        NAME
    }

    fn summary(&self) -> &'static str {
        "takes requests out of the mixnet, asks the services that they are for, and sends the answers back"
    }

    fn mixing(&self) -> Mixing {
        Mixing { forwards: true, exits: true, ..Mixing::NONE }
    }

    fn needs(&self) -> &'static [RoleName] {
        &[mixer::NAME]
    }

    /// A service of this node answers before any other.
    fn uses(&self) -> &'static [RoleName] {
        &[relay::NAME]
    }

    fn stop_share(&self) -> u32 {
        15
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
        Ok(Box::new(ExitRole::new(Config::read(settings)?).map_err(Config::by_key)?))
    }
}

/// The exit, configured and not yet running.
#[derive(Debug)]
pub struct ExitRole {
    config: Config,
    rng: Option<StdRng>,
    queue: Option<(Address<ExitMessage>, Inbox<ExitMessage>)>,
}

impl ExitRole {
    /// An exit that draws its randomness from the operating system.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, rng: None, queue: None })
    }

    /// An exit whose every choice follows from `rng`: for tests and simulations only.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn with_rng(config: Config, rng: StdRng) -> Result<Self, ConfigError> {
        Ok(Self { rng: Some(rng), ..Self::new(config)? })
    }
}

impl Role for ExitRole {
    fn name(&self) -> RoleName {
        NAME
    }

    /// Senders find exits among the mix nodes.
    fn advertises(&self) -> Advertisement {
        let reassembles = self.config.max_fragment_sets > 0;
        Advertisement { reassembles, ..Advertisement::of(Capabilities::MIX) }
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), RoleError> {
        let (address, inbox) = opening.queue("exit", QUEUE);
        opening.port(address.clone())?;
        self.queue = Some((address, inbox));
        Ok(())
    }

    fn start(self: Box<Self>, context: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError> {
        let Self { config, rng, queue } = *self;
        let mixer = context.ports.require(NAME)?;
        let (address, inbox) = queue.ok_or_else(|| cannot_start("its queue was not opened".to_owned()))?;
        let rng = match rng {
            Some(rng) => rng,
            None => StdRng::try_from_rng(&mut SysRng).map_err(|error| cannot_start(error.to_string()))?,
        };
        let (config, tally) = (Arc::new(config), Arc::new(Tally::default()));
        let shared = Arc::new(shared(context, &config, mixer, Arc::clone(&tally)));
        let factory = factory(context.clone(), Arc::clone(&config), shared, rng);
        let tasks = config.max_requests + MAX_REFUSALS + SWEEPERS;
        let actor = context.supervisor.start(address.clone(), inbox, tasks, factory);
        let services = context.services.clone();
        Ok(Box::new(RunningExit { actor, address, config, services, tally }))
    }
}

/// The task that ends sets of fragments whose time is over.
const SWEEPERS: usize = 1;

fn cannot_start(problem: String) -> RoleError {
    RoleError { role: NAME, problem }
}

fn shared(context: &RoleContext, config: &Config, mixer: MixerHandle, tally: Arc<Tally>) -> Shared {
    let metrics = Arc::new(Metrics::new(&context.telemetry));
    let replier = Replier {
        me: context.node.peer,
        directory: context.directory.clone(),
        ledger: Arc::clone(&context.ledger),
        mixer,
        hold: config.hold,
        max_answers: config.max_answers,
        metrics: Arc::clone(&metrics),
        weaknesses: context.weaknesses,
    };
    Shared {
        replier,
        host: context.ports.host.clone(),
        workers: context.workers.clone(),
        metrics,
        tally,
        limit: config.service_timeout,
    }
}

/// Makes the actor, and makes it anew after a panic.
fn factory(
    context: RoleContext,
    config: Arc<Config>,
    shared: Arc<Shared>,
    mut rng: StdRng,
) -> impl FnMut() -> Exit + Send + 'static {
    move || Exit {
        config: Arc::clone(&config),
        policy: config.policy(),
        me: context.node.peer,
        formats: context.formats.clone(),
        services: context.services.clone(),
        directory: context.directory.clone(),
        fragments: Fragments::new(&config, context.weaknesses, Arc::clone(&shared.metrics)),
        shared: Arc::clone(&shared),
        places: Arc::new(Semaphore::new(config.max_requests)),
        refusals: Arc::new(Semaphore::new(MAX_REFUSALS)),
        weaknesses: context.weaknesses,
        rng: rng.fork(),
    }
}

struct RunningExit {
    actor: ActorHandle,
    address: Address<ExitMessage>,
    config: Arc<Config>,
    services: Services,
    tally: Arc<Tally>,
}

impl RunningRole for RunningExit {
    fn name(&self) -> RoleName {
        NAME
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        if self.address.is_closed() {
            return Err("stopped".to_owned());
        }
        let serves = self.config.codecs.iter().any(|codec| self.services.get(codec).is_some());
        if !serves && !self.config.forward {
            return Err(
                "nothing to serve: this node has no service on the exit's list, and forwarding is off".to_owned()
            );
        }
        Ok(())
    }

    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport> {
        let (actor, tally) = (self.actor.clone(), Arc::clone(&self.tally));
        async move {
            let before = tally.finished();
            let in_time = actor.stop(deadline).await;
            StopReport { finished: tally.finished() - before, abandoned: tally.open(), in_time }
        }
        .boxed()
    }
}
