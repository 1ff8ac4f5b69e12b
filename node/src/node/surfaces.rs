//! What a running node shows over HTTP.

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use multiaddr::{Multiaddr, Protocol as Part};
use wakumix_role_api::{RoleName, RunningRole};
use wakumix_telemetry::health::{ConnectionStatus, Health, Protocol, ProtocolHealth, Status};

use super::Node;
use crate::{
    config::Config,
    rest::{Api, Info, Sharding},
};

/// The state of the HTTP handlers.
pub(super) fn api(node: &Node, config: &Config, addresses: &[Multiaddr], enr_uri: String) -> Api {
    let peer = node.peer;
    let info = Info {
        listen_addresses: addresses.iter().map(|address| address.clone().with(Part::P2p(peer)).to_string()).collect(),
        enr_uri,
        mix_pub_key: node.ports.mixer.as_ref().map(|_| format!("0x{}", node.local.mix_public_key())),
    };
    let (for_health, for_missing) = (Arc::clone(&node.roles), Arc::clone(&node.roles));
    let serves_lightpush = node.ports.relay.is_some() && config.relay.lightpush;
    let was_ready = AtomicBool::new(false);
    Api {
        info: Arc::new(info),
        sender: node.ports.sender.clone(),
        relay: node.ports.relay.clone(),
        host: node.ports.host.clone(),
        directory: node.directory.clone(),
        sharding: Sharding { cluster: config.cluster_id, shards: NonZeroU16::new(config.num_shards_in_network) },
        max_message: config.max_msg_size.as_len(),
        health: Arc::new(move || health(&for_health, serves_lightpush, &was_ready)),
        missing: Arc::new(move || missing(&for_missing)),
        telemetry: node.telemetry.clone(),
    }
}

/// What the roles wait for, one line each.
pub(super) fn missing(roles: &[Box<dyn RunningRole>]) -> Vec<String> {
    roles.iter().filter_map(|role| role.ready().err().map(|reason| format!("{}: {reason}", role.name()))).collect()
}

/// nwaku's report: the mix protocol is ready when every mix role of this node is.
fn health(roles: &[Box<dyn RunningRole>], serves_lightpush: bool, was_ready: &AtomicBool) -> Health {
    let of = |protocol, mounted: bool, part: &dyn Fn(RoleName) -> bool| {
        if !mounted {
            return ProtocolHealth::not_mounted(protocol);
        }
        let problems: Vec<String> =
            roles.iter().filter(|role| part(role.name())).filter_map(|role| role.ready().err()).collect();
        let status = if problems.is_empty() { Status::Ready } else { Status::NotReady };
        ProtocolHealth { protocol, status, description: (!problems.is_empty()).then(|| problems.join("; ")) }
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
    let ready = roles.iter().all(|role| role.ready().is_ok());
    let node_health = match (ready, was_ready.fetch_or(ready, Ordering::Relaxed)) {
        (true, _) => Status::Ready,
        (false, true) => Status::NotReady,
        (false, false) => Status::Initializing,
    };
    let connection_status = if ready { ConnectionStatus::Connected } else { ConnectionStatus::PartiallyConnected };
    Health { node_health, connection_status, protocols_health: protocols }
}
