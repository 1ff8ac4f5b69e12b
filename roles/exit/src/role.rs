//! The plug: how a node starts, watches and stops the exit.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};
use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::{sync::Semaphore, time::Instant};
use wakumix_role_api::{
    ActorHandle, Address, ConfigError, Inboxes, Ports, Role, RoleContext, RoleError, RoleName, RunningRole, Service,
    Services, StopReport, exit::ExitMessage, mixer::MixerHandle,
};
use wakumix_waku::record::Capabilities;

use crate::{
    actor::{Exit, MAX_REFUSALS},
    config::Config,
    exchange::Shared,
    fragments::Fragments,
    metrics::Metrics,
    reply::Replier,
    tally::Tally,
};

/// The exit, configured and not yet running.
#[derive(Debug)]
pub struct ExitRole {
    config: Config,
    rng: Option<StdRng>,
}

impl ExitRole {
    /// An exit that draws its randomness from the operating system.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, rng: None })
    }

    /// An exit whose every choice follows from `rng`: for tests and simulations only.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn with_rng(config: Config, rng: StdRng) -> Result<Self, ConfigError> {
        Ok(Self { rng: Some(rng), ..Self::new(config)? })
    }

    /// Whether it puts fragments together, which a node tells in its directory entry: senders send fragments to no other.
    #[must_use]
    pub const fn reassembles(&self) -> bool {
        self.config.max_fragment_sets > 0
    }
}

impl Role for ExitRole {
    fn name(&self) -> RoleName {
        RoleName::Exit
    }

    /// Senders find exits among the mix nodes.
    fn capabilities(&self) -> Capabilities {
        Capabilities::MIX
    }

    fn services(&self, _: &Ports) -> Vec<Service> {
        Vec::new()
    }

    fn start(self: Box<Self>, context: &RoleContext, inboxes: &mut Inboxes) -> Result<Box<dyn RunningRole>, RoleError> {
        let Self { config, rng } = *self;
        let mixer = context.ports.mixer.clone().ok_or_else(|| cannot_start("it needs the mixer".to_owned()))?;
        let address = context.ports.exit.clone().ok_or_else(|| cannot_start("it has no address".to_owned()))?;
        let inbox = inboxes.exit.take().ok_or_else(|| cannot_start("its inbox is taken".to_owned()))?;
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
    RoleError { role: RoleName::Exit, problem }
}

fn shared(context: &RoleContext, config: &Config, mixer: MixerHandle, tally: Arc<Tally>) -> Shared {
    let metrics = Arc::new(Metrics::new(&context.telemetry));
    let replier = Replier {
        me: context.node.peer,
        directory: context.directory.clone(),
        ledger: Arc::clone(&context.ledger),
        mixer,
        hold: config.hold,
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
        node: context.node.clone(),
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
        RoleName::Exit
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
