//! The plug: how a node starts, watches and stops the sender.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures::{FutureExt, future::BoxFuture};
use rand::{
    SeedableRng,
    rngs::{StdRng, SysRng},
};
use tokio::time::Instant;
use wakumix_role_api::{
    ActorHandle, ConfigError, DirectoryReader, Inboxes, LocalNode, Ports, Role, RoleContext, RoleError, RoleName,
    RunningRole, Service, StopReport,
    mixer::MixerHandle,
    plain::PlainPush,
    sender::{PushFailure, SenderHandle},
};
use wakumix_waku::record::Capabilities;

use crate::{
    actor::Sender,
    admission::{Admission, Limits},
    book::Book,
    config::Config,
    fit::MAX_PACKETS,
    metrics::Metrics,
    patience::Conditions,
    progress::MAX_TRIES,
    route::{has_service, pool_problem},
    shared::Shared,
    watch::Watchlist,
    way_back::WayBack,
    window::Window,
};

/// The sender, configured and not yet running.
#[derive(Debug)]
pub struct SenderRole {
    config: Config,
    rng: Option<StdRng>,
}

impl SenderRole {
    /// A sender that draws its randomness from the operating system.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, rng: None })
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
        RoleName::Sender
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn services(&self, _: &Ports) -> Vec<Service> {
        Vec::new()
    }

    fn start(self: Box<Self>, context: &RoleContext, inboxes: &mut Inboxes) -> Result<Box<dyn RunningRole>, RoleError> {
        let Self { config, rng } = *self;
        let mixer = context.ports.mixer.clone().ok_or_else(|| cannot_start("it needs the mixer".to_owned()))?;
        let handle = context.ports.sender.clone().ok_or_else(|| cannot_start("it has no address".to_owned()))?;
        let inbox = inboxes.sender.take().ok_or_else(|| cannot_start("its inbox is taken".to_owned()))?;
        let rng = match rng {
            Some(rng) => rng,
            None => StdRng::try_from_rng(&mut SysRng).map_err(|error| cannot_start(error.to_string()))?,
        };
        let metrics = Arc::new(Metrics::new(&context.telemetry));
        let limits = Limits { requests: config.in_flight, bytes: config.queue_bytes };
        let admission = Admission::new(limits, metrics.pending.clone());
        // The sweep, the reader of the relay, a task for each request, one for each of its reply blocks.
        let task_limit = 2 + config.in_flight + credentials(&config);
        let factory = factory(context.clone(), Arc::new(config), mixer, metrics, Arc::clone(&admission), rng);
        let actor = context.supervisor.start(handle.address().clone(), inbox, task_limit, factory);
        let (node, directory) = (context.node.clone(), context.directory.clone());
        Ok(Box::new(RunningSender { actor, admission, node, directory, handle }))
    }
}

fn cannot_start(problem: String) -> RoleError {
    RoleError { role: RoleName::Sender, problem }
}

/// Makes the actor, and makes it anew after a panic: credentials go, admission stays, since each slot comes back by
/// itself.
fn factory(
    context: RoleContext,
    config: Arc<Config>,
    mixer: MixerHandle,
    metrics: Arc<Metrics>,
    admission: Arc<Admission>,
    mut rng: StdRng,
) -> impl FnMut() -> Sender + Send + 'static {
    move || {
        let shared = Shared {
            node: context.node.clone(),
            directory: context.directory.clone(),
            ledger: Arc::clone(&context.ledger),
            formats: context.formats.clone(),
            workers: context.workers.clone(),
            mixer: mixer.clone(),
            plain: PlainPush::new(&context.ports, context.directory.clone()),
            weaknesses: context.weaknesses,
            book: Book::new(credentials(&config), config.max_timeout, metrics.credentials_active.clone()),
            admission: Arc::clone(&admission),
            window: Window::new(config.window, metrics.window.clone()),
            watchlist: Arc::new(Watchlist::default()),
            is_relaying: context.ports.relay.is_some(),
            metrics: Arc::clone(&metrics),
            conditions: Mutex::new(Conditions::new(config.hold, config.delay)),
            publishers: Mutex::default(),
            reliability: Arc::clone(&context.reliability),
            epoch: context.epoch,
            config: Arc::clone(&config),
        };
        Sender { shared: Arc::new(shared), relay: context.ports.relay.clone(), rng: rng.fork() }
    }
}

/// Most credentials that open requests can have: every request in the window makes all its tries, each of them with reply
/// blocks in every packet of the largest set that tries are cut into. A request outside the window has none.
fn credentials(config: &Config) -> usize {
    let open = config.window.min(config.in_flight);
    // Loops have one each and no place in the window.
    config.in_flight + open * MAX_TRIES * MAX_PACKETS * config.surbs.max(2)
}

struct RunningSender {
    actor: ActorHandle,
    admission: Arc<Admission>,
    node: LocalNode,
    directory: DirectoryReader,
    handle: SenderHandle,
}

impl RunningRole for RunningSender {
    fn name(&self) -> RoleName {
        RoleName::Sender
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        if self.handle.address().is_closed() {
            return Err("stopped".to_owned());
        }
        let directory = self.directory.snapshot();
        if let Some(problem) = pool_problem(&directory, &self.node.peer) {
            return Err(problem.to_string());
        }
        let way_back = WayBack::to(&self.node, &directory).map_err(|problem| problem.to_string())?;
        if way_back.last_hops(&directory, &[]).is_some_and(BTreeSet::is_empty) {
            return Err(PushFailure::NoConnectedHop.to_string());
        }
        if !has_service(&directory, &self.node.peer) {
            return Err("no node that serves lightpush is known".to_owned());
        }
        Ok(())
    }

    /// Gives requests under way half of the time to be answered, then tells the rest that they ended.
    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport> {
        let (actor, admission) = (self.actor.clone(), Arc::clone(&self.admission));
        async move {
            admission.close();
            let under_way = admission.requests();
            let half = deadline.saturating_duration_since(Instant::now()) / 2;
            // Those that are not answered by then are counted below.
            let _ = tokio::time::timeout(half, admission.idle()).await;
            let abandoned = admission.requests();
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
