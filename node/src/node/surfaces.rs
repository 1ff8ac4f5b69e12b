//! What a running node shows over HTTP.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::FutureExt;
use multiaddr::{Multiaddr, Protocol as Part};
use tokio::sync::Semaphore;
use wakumix_role_api::{RoleName, RunningRole, Tasks, plain::PlainPush};
use wakumix_telemetry::{
    Telemetry,
    health::{ConnectionStatus, Health, Protocol, ProtocolHealth},
};

use super::Node;
use crate::{
    config::Config,
    metrics::Metric,
    rest::{Api, Info, Sharding},
};

/// The state of the HTTP handlers.
pub(super) fn api(node: &Node, config: &Config) -> Api {
    let (for_health, for_missing) = (Arc::clone(&node.roles), Arc::clone(&node.roles));
    let (health_tasks, missing_tasks) = (node.tasks.clone(), node.tasks.clone());
    let serves_lightpush = node.ports.relay.is_some() && config.relay.lightpush;
    let was_ready = AtomicBool::new(false);
    let discovery = node.discovery.clone();
    Api {
        info: info(node),
        sender: node.ports.sender.clone(),
        relay: node.ports.relay.clone(),
        plain: PlainPush::new(&node.ports, node.directory.clone()),
        host: node.ports.host.clone(),
        directory: node.directory.clone(),
        sharding: Sharding { cluster: config.cluster_id, shards: NonZeroU16::new(config.num_shards_in_network) },
        max_message: config.max_msg_size.as_len(),
        health: Arc::new(move |peers| health(&for_health, &health_tasks, serves_lightpush, &was_ready, peers)),
        missing: Arc::new(move || missing(&for_missing, missing_tasks.problem())),
        telemetry: node.telemetry.clone(),
        allowed_hosts: config.rest_allow_host.clone().into(),
        admin: config.rest_admin || config.rest_address.is_loopback(),
        pool: Arc::new(move || {
            let discovery = discovery.clone();
            async move { discovery.pool().await }.boxed()
        }),
        probes: Arc::new(Semaphore::new(1)),
    }
}

/// What the node is, as its records say it when it is asked.
fn info(node: &Node) -> Arc<dyn Fn() -> Info + Send + Sync> {
    let (local, record) = (node.record.clone(), node.discovery.node_record());
    let mix_pub_key = node.ports.mixer.as_ref().map(|_| format!("0x{}", node.local.mix_public_key()));
    Arc::new(move || {
        let local = Arc::clone(&local.borrow());
        let full = |address: &Multiaddr| address.clone().with(Part::P2p(local.peer)).to_string();
        Info {
            listen_addresses: local.addresses.iter().map(full).collect(),
            enr_uri: record.borrow().as_ref().map(ToString::to_string).unwrap_or_default(),
            mix_pub_key: mix_pub_key.clone(),
        }
    })
}

/// What the node waits for: its roles, one line each, and tasks that are restarted.
pub(super) fn missing(roles: &[Box<dyn RunningRole>], task_problem: Option<String>) -> Vec<String> {
    let of_role = |role: &dyn RunningRole| role.ready().err().map(|reason| format!("{}: {reason}", role.name()));
    roles.iter().filter_map(|role| of_role(&**role)).chain(task_problem).collect()
}

/// Shows as a metric whether the node is ready. Roles and tasks hold the telemetry, so it must not hold them.
pub(super) fn export_readiness(telemetry: &Telemetry, roles: &Arc<[Box<dyn RunningRole>]>, tasks: &Tasks) {
    let (roles, task_problem) = (Arc::downgrade(roles), tasks.watch_problem());
    telemetry.on_scrape(move |telemetry| {
        let is_ready = roles.upgrade().is_some_and(|roles| missing(&roles, task_problem()).is_empty());
        telemetry.gauge(Metric::Ready, &[]).set(if is_ready { 1.0 } else { 0.0 });
    });
}

/// nwaku's report: the mix protocol is ready when every mix role of this node is.
fn health(
    roles: &[Box<dyn RunningRole>],
    tasks: &Tasks,
    serves_lightpush: bool,
    was_ready: &AtomicBool,
    connected_peers: usize,
) -> Health {
    let of = |protocol, is_mounted: bool, part: &dyn Fn(RoleName) -> bool| {
        if !is_mounted {
            return ProtocolHealth::not_mounted(protocol);
        }
        let problems: Vec<String> =
            roles.iter().filter(|role| part(role.name())).filter_map(|role| role.ready().err()).collect();
        ProtocolHealth::running(protocol, (!problems.is_empty()).then(|| problems.join("; ")))
    };
    let has = |name| roles.iter().any(|role| role.name() == name);
    let relay = |name: RoleName| name == RoleName::Relay;
    let mix = |name: RoleName| name != RoleName::Relay;
    let protocols = vec![
        of(Protocol::Relay, has(RoleName::Relay), &relay),
        of(Protocol::Lightpush, serves_lightpush, &relay),
        of(Protocol::LegacyLightpush, serves_lightpush, &relay),
        of(Protocol::Mix, has(RoleName::Mixer), &mix),
    ];
    let is_ready = missing(roles, tasks.problem()).is_empty();
    let connection = match (connected_peers, is_ready) {
        (0, _) => ConnectionStatus::Disconnected,
        (_, true) => ConnectionStatus::Connected,
        (_, false) => ConnectionStatus::PartiallyConnected,
    };
    Health::of_running(is_ready, was_ready.fetch_or(is_ready, Ordering::Relaxed), connection, protocols)
}
