//! What a running node shows over HTTP.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{FutureExt, future::BoxFuture};
use multiaddr::{Multiaddr, Protocol as Part};
use wakumix_role_api::{RoleError, RoleName, Tasks, mixer::MixerHandle};
use wakumix_telemetry::{
    Telemetry,
    health::{ConnectionStatus, Health, Protocol, ProtocolHealth},
};

use super::{NODE, Node, RunningPart, RunningRoles, network::Network};
use crate::{
    config::Loaded,
    metrics::Metric,
    rest::{Api, Info, RoleRoute, Sharding},
};

/// The state of the HTTP handlers.
pub(super) fn api(node: &Node, loaded: &Loaded) -> Result<Api, RoleError> {
    let config = &loaded.config;
    let (for_health, for_missing) = (Arc::clone(&node.roles), Arc::clone(&node.roles));
    let (health_network, missing_network) = (Arc::clone(&node.network), Arc::clone(&node.network));
    let (health_tasks, missing_tasks) = (node.tasks.clone(), node.tasks.clone());
    let [stopping, health_stopping, missing_stopping] = [(); 3].map(|()| Arc::clone(&node.stopping));
    let is_on = |role: RoleName| node.roles.iter().any(|part| part.role.name() == role);
    let route = |role: RoleName, route| RoleRoute { role, is_on: is_on(role), route };
    let routes = loaded.roles.iter().flat_map(|role| role.routes().into_iter().map(move |own| (role.name(), own)));
    let was_ready = AtomicBool::new(false);
    let (discovery, adds_to, keeper) = (node.discovery.clone(), node.discovery.clone(), node.discovery.clone());
    Ok(Api {
        info: info(node),
        sender: node.ports.get(),
        ports: node.ports.clone(),
        routes: routes.map(|(role, own)| route(role, own)).collect(),
        plain: node.ports.require(NODE)?,
        host: node.ports.host.clone(),
        directory: node.directory.clone(),
        sharding: Sharding { cluster: config.cluster_id, shards: NonZeroU16::new(config.num_shards_in_network) },
        max_message: config.max_msg_size.as_len(),
        health: Arc::new(move |peers| {
            let health = health(&for_health, &health_network, &health_tasks, &was_ready, peers);
            if health_stopping.load(Ordering::Relaxed) { health.stopping() } else { health }
        }),
        missing: Arc::new(move || {
            let stopping = missing_stopping.load(Ordering::Relaxed).then(|| "the node is stopping".to_owned());
            stopping.into_iter().chain(missing_network.missing(&for_missing, missing_tasks.problem())).collect()
        }),
        is_stopping: Arc::new(move || stopping.load(Ordering::Relaxed)),
        telemetry: node.telemetry.clone(),
        allowed_hosts: config.rest_allow_host.clone().into(),
        allowed_origins: config.rest_allow_origin.clone().into(),
        token: loaded.keys.token.clone(),
        direct: loaded.allows_direct(),
        admin: config.serves_admin(),
        takes_changes: config.takes_changes(),
        needs_client_certificate: config.rest_tls_client_ca_path.is_some(),
        pool: Arc::new(move || {
            let discovery = discovery.clone();
            async move { discovery.pool().await }.boxed()
        }),
        add_nodes: Arc::new(move |nodes| {
            let discovery = adds_to.clone();
            async move { discovery.add_all(nodes).await }.boxed()
        }),
        keep: Arc::new(move |peer| {
            let discovery = keeper.clone();
            async move { discovery.add_static_peers(vec![peer]).await }.boxed()
        }),
    })
}

/// What the node is, as its records say it when it is asked.
fn info(node: &Node) -> Arc<dyn Fn() -> BoxFuture<'static, Info> + Send + Sync> {
    let (description, roles, discovery) = (node.description.clone(), Arc::clone(&node.roles), node.discovery.clone());
    let mixer = node.ports.get::<MixerHandle>().map(|_| node.local.clone());
    Arc::new(move || {
        let (description, roles, discovery) = (description.clone(), Arc::clone(&roles), discovery.clone());
        let mixer = mixer.clone();
        async move {
            let local = description.whole(&roles, |local| discovery.record_says(local)).await;
            let full = |address: &Multiaddr| address.clone().with(Part::P2p(local.peer)).to_string();
            Info {
                listen_addresses: local.addresses.iter().map(full).collect(),
                enr_uri: discovery.node_record().borrow().as_ref().map(ToString::to_string).unwrap_or_default(),
                mix_pub_key: mixer.map(|local| format!("0x{}", local.mix_public_key())),
            }
        }
        .boxed()
    })
}

/// What the node itself waits for: its roles, one line each, and tasks that are restarted.
pub(super) fn missing(roles: &[RunningPart], task_problem: Option<String>) -> Vec<String> {
    let of_role = |part: &RunningPart| part.role.ready().err().map(|reason| format!("{}: {reason}", part.role.name()));
    roles.iter().filter_map(of_role).chain(task_problem).collect()
}

/// Shows as a metric whether the node is ready. Roles and tasks hold the telemetry, so it must not hold them.
pub(super) fn export_readiness(telemetry: &Telemetry, roles: &RunningRoles, network: &Arc<Network>, tasks: &Tasks) {
    let (roles, network, task_problem) = (Arc::downgrade(roles), Arc::clone(network), tasks.watch_problem());
    telemetry.on_scrape(move |telemetry| {
        let is_ready = roles.upgrade().is_some_and(|roles| network.missing(&roles, task_problem()).is_empty());
        telemetry.gauge(Metric::Ready, &[]).set(if is_ready { 1.0 } else { 0.0 });
    });
}

/// What nwaku's report has of a node like this, whether it runs here or not; those of other roles follow.
const PROTOCOLS: [Protocol; 4] = [Protocol::Relay, Protocol::Lightpush, Protocol::LegacyLightpush, Protocol::Mix];

/// nwaku's report: a protocol is ready when every role behind it is.
fn health(
    roles: &[RunningPart],
    network: &Network,
    tasks: &Tasks,
    was_ready: &AtomicBool,
    connected_peers: usize,
) -> Health {
    let own = roles.iter().flat_map(|part| &part.protocols).filter(|protocol| !PROTOCOLS.contains(protocol));
    let protocols = PROTOCOLS.iter().chain(own).map(|protocol| {
        let behind: Vec<&RunningPart> = roles.iter().filter(|part| part.protocols.contains(protocol)).collect();
        if behind.is_empty() {
            return ProtocolHealth::not_mounted(*protocol);
        }
        let problems: Vec<String> = behind.iter().filter_map(|part| network.problem(part)).collect();
        ProtocolHealth::running(*protocol, (!problems.is_empty()).then(|| problems.join("; ")))
    });
    let is_ready = network.missing(roles, tasks.problem()).is_empty();
    let connection = match (connected_peers, is_ready) {
        (0, _) => ConnectionStatus::Disconnected,
        (_, true) => ConnectionStatus::Connected,
        (_, false) => ConnectionStatus::PartiallyConnected,
    };
    Health::of_running(is_ready, was_ready.fetch_or(is_ready, Ordering::Relaxed), connection, protocols.collect())
}
