//! The plug: the relay as a role of a node, before and after its start.

use std::num::NonZeroU16;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::Instant;
use wakumix_role_api::config::{Key, Settings};
use wakumix_role_api::relay::{NAME, RelayHandle, RelayMessage};
use wakumix_role_api::rest::Route;
use wakumix_role_api::{
    ActorHandle, Advertisement, ConfigChecks, ConfigError, InboundRequest, Inbox, Opening, Ports, Role, RoleContext,
    RoleError, RoleFactory, RoleName, RunningRole, SendError, Service, StopReport,
};
use wakumix_telemetry::{Catalogue, health::Protocol};
use wakumix_waku::PubsubTopic;
use wakumix_waku::lightpush::max_request_len;
use wakumix_waku::record::Capabilities;

use crate::actor::{RelayActor, Shared, task_limit};
use crate::config::{BUDGETS, Config};
use crate::delivery::Delivery;
use crate::metrics::{METRICS, Metrics};
use crate::pending::InFlight;
use crate::repeats::Repeats;
use crate::rest::{self, RestPort};
use crate::service::Version;

/// Gossip, lightpush requests and local publishing that wait for the relay.
const QUEUE: usize = 1024;

/// The relay role, for the list of a node's roles.
#[derive(Clone, Copy, Debug)]
pub struct RelayFactory;

impl RoleFactory for RelayFactory {
    fn name(&self) -> RoleName {
        NAME
    }

    fn summary(&self) -> &'static str {
        "relays messages by gossip and serves lightpush"
    }

    fn protocols(&self) -> &'static [Protocol] {
        &[Protocol::Relay, Protocol::Lightpush, Protocol::LegacyLightpush]
    }

    fn keys(&self) -> Vec<Key> {
        Config::keys()
    }

    fn shared_keys(&self) -> Vec<&'static str> {
        [Config::shared_keys(), vec![BUDGETS]].concat()
    }

    fn metrics(&self) -> Option<&'static Catalogue> {
        Some(&METRICS)
    }

    fn routes(&self) -> Vec<Route> {
        rest::routes()
    }

    fn configure(&self, settings: &Settings<'_>) -> Result<Box<dyn Role>, ConfigError> {
        let config = Config::read_all(settings)?;
        let mut checks = ConfigChecks::default();
        if config.shards.is_empty() {
            let help = "name at least one shard, such as shard = [0]";
            checks.refuse("shard", "is empty, so the relay joins nothing", help);
        }
        checks.and(Relay::new(config).map_err(Config::by_key)).map(|relay| Box::new(relay) as Box<dyn Role>)
    }
}

/// The relay role, configured and not yet running.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    queue: Option<(RelayHandle, Inbox<RelayMessage>)>,
}

impl Relay {
    /// A relay with checked settings.
    ///
    /// # Errors
    /// Everything that is wrong with `config`.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self { config, queue: None })
    }
}

impl Role for Relay {
    fn name(&self) -> RoleName {
        NAME
    }

    fn advertises(&self) -> Advertisement {
        let lightpush = if self.config.lightpush { Capabilities::LIGHTPUSH } else { Capabilities::NONE };
        Advertisement::of(Capabilities::RELAY | lightpush)
    }

    fn runs(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Relay || self.config.lightpush
    }

    fn open(&mut self, opening: &mut Opening<'_>) -> Result<(), RoleError> {
        let (address, inbox) = opening.queue("relay", QUEUE);
        let handle = RelayHandle::new(address);
        opening.port(handle.clone())?;
        let shards = NonZeroU16::new(self.config.shards_in_network);
        opening.port(RestPort { relay: handle.clone(), cluster: self.config.cluster, shards })?;
        self.queue = Some((handle, inbox));
        Ok(())
    }

    fn services(&self, ports: &Ports) -> Vec<Service> {
        let Some(relay) = ports.get::<RelayHandle>().filter(|_| self.config.lightpush) else { return Vec::new() };
        let max_request = max_request_len(self.config.max_message_len);
        Version::ALL
            .into_iter()
            .map(|version| {
                let relay = relay.clone();
                Service::new(version.protocol(), max_request, move |request| submit(&relay, version, request))
            })
            .collect()
    }

    fn start(self: Box<Self>, context: &RoleContext) -> Result<Box<dyn RunningRole>, RoleError> {
        let problem = |problem: &str| RoleError { role: NAME, problem: problem.to_owned() };
        let Self { config, queue } = *self;
        let (handle, inbox) = queue.ok_or_else(|| problem("its queue was not opened"))?;
        let metrics = Metrics::new(context.telemetry.clone());
        let delivery = Delivery::new(config.cache_capacity, config.follow_capacity, metrics.clone());
        for &shard in &config.shards {
            let topic = PubsubTopic::new(config.cluster, shard).map_err(|error| problem(&error.to_string()))?;
            delivery.subscribe(topic, None).map_err(|error| problem(&error.to_string()))?;
        }
        let shared = Arc::new(Shared {
            host: context.ports.host.clone(),
            delivery,
            metrics,
            in_flight: InFlight::new(config.max_in_flight),
            repeats: Mutex::new(Repeats::new()),
        });
        let running = Arc::clone(&shared);
        let tasks = task_limit(&config);
        let factory = move || RelayActor::new(&config, Arc::clone(&shared));
        let actor = context.supervisor.start(handle.address().clone(), inbox, tasks, factory);
        Ok(Box::new(RunningRelay { actor, handle, shared: running }))
    }
}

/// Queues a lightpush request. A full queue is overload, which is answered at once; a stopped relay gives no answer.
fn submit(relay: &RelayHandle, version: Version, request: InboundRequest) {
    if let Err(SendError::Full(RelayMessage::Lightpush(request))) =
        relay.address().try_send(RelayMessage::Lightpush(request))
    {
        // A requester that has gone needs no answer.
        let _ = request.respond.send(version.too_many_requests());
    }
}

struct RunningRelay {
    actor: ActorHandle,
    handle: RelayHandle,
    shared: Arc<Shared>,
}

impl RunningRole for RunningRelay {
    fn name(&self) -> RoleName {
        NAME
    }

    fn actor(&self) -> &ActorHandle {
        &self.actor
    }

    fn ready(&self) -> Result<(), String> {
        match self.shared.delivery.not_joined() {
            0 => Ok(()),
            1 => Err("one pubsub topic is not joined yet".to_owned()),
            count => Err(format!("{count} pubsub topics are not joined yet")),
        }
    }

    fn stop(&self, deadline: Instant) -> BoxFuture<'static, StopReport> {
        let actor = self.actor.clone();
        let handle = self.handle.clone();
        let in_flight = self.shared.in_flight.clone();
        async move {
            let before = in_flight.snapshot();
            let ended = actor.stop(deadline).await;
            let after = in_flight.snapshot();
            let queued = u64::try_from(handle.address().len()).unwrap_or(u64::MAX);
            let abandoned = (after.lost - before.lost).saturating_add(after.open).saturating_add(queued);
            StopReport { finished: after.answered - before.answered, abandoned, in_time: ended && abandoned == 0 }
        }
        .boxed()
    }
}
