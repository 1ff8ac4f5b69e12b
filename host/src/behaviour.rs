//! All protocols of a host put together.

use std::time::Duration;

use libp2p::{
    StreamProtocol, identify,
    identity::Keypair,
    ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};
use wakumix_mix::MIX_PROTOCOL;
use wakumix_role_api::Services;
use wakumix_telemetry::Telemetry;

use crate::{HostConfig, HostError, gossip, limits, metadata, mix, rpc};

/// The protocol family in identify: that of libp2p itself, which the fleet's nodes tell too.
const IDENTIFY_PROTOCOL: &str = "ipfs/0.1.0";

/// Pings keep middleboxes from forgetting the connection, and find dead peers.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The behaviour of a host. `limits` stands first: a connection that it denies leaves no trace in the others.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(crate) struct HostBehaviour {
    pub(crate) limits: limits::Behaviour,
    pub(crate) identify: identify::Behaviour,
    pub(crate) ping: ping::Behaviour,
    pub(crate) metadata: metadata::Behaviour,
    /// Off without a relay: then the node does not claim to speak gossipsub.
    pub(crate) gossip: Toggle<gossip::Behaviour>,
    /// Off in a node that neither forwards, exits nor sends.
    pub(crate) mix: Toggle<mix::Behaviour>,
    pub(crate) rpc: rpc::Behaviour,
}

impl HostBehaviour {
    pub(crate) fn new(
        config: &HostConfig,
        identity: &Keypair,
        services: Services,
        ingress: Option<mix::Ingress>,
        relay: bool,
        telemetry: &Telemetry,
    ) -> Result<Self, HostError> {
        let registry = telemetry.libp2p_registry();
        let gossip =
            relay.then(|| gossip::behaviour(config.cluster, config.score_colocation, &registry)).transpose()?;
        let mix =
            ingress.map(|ingress| mix::Behaviour::new(StreamProtocol::new(MIX_PROTOCOL), config.mix.clone(), ingress));
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), identity.public())
            .with_agent_version(format!("wakumix-{}", config.version));
        Ok(Self {
            limits: limits::Behaviour::new(config.connections.clone()),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
            metadata: metadata::Behaviour::new(config.cluster, &config.shards),
            gossip: gossip.into(),
            mix: mix.into(),
            rpc: rpc::Behaviour::new(services, config.requests.clone()),
        })
    }
}
