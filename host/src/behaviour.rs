//! All protocols of a host put together.

use std::time::Duration;

use libp2p::{
    PeerId, autonat, identify,
    identity::Keypair,
    ping, relay,
    swarm::{ConnectionId, NetworkBehaviour, behaviour::toggle::Toggle},
};
use wakumix_role_api::{
    Services,
    host::{AfterVisit, OutboundPacket},
};
use wakumix_telemetry::Telemetry;

use crate::{
    AutonatTimes, CircuitRelayLimits, HostConfig, HostError, gossip,
    limits::{self, LastUses},
    metadata,
    metrics::GossipMetrics,
    mix,
    nat::quiet,
    rpc,
};

/// The protocol family in identify: that of libp2p itself, which nwaku's nodes tell too.
const IDENTIFY_PROTOCOL: &str = "ipfs/0.1.0";

/// Pings keep middleboxes from forgetting the connection, and find dead peers.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections of one peer that hold a reservation: the old one and the one after a reconnect.
const RESERVATIONS_PER_PEER: usize = 2;

/// Addresses of a peer that are dialled when it asks: one of each transport. All have the IP address that it comes from, so
/// that nobody else can be made a target.
const DIAL_BACK_ADDRESSES: usize = 3;
/// An answer: as many dials as above, one after the other, each at most as long as setting up a connection may take, and
/// some spare.
const DIAL_BACK_TIMEOUT: Duration = Duration::from_secs(45);
/// Questions answered with a dial in a minute: of a peer, enough for a node that starts and retries; of all, a dial every
/// two seconds.
const DIALS_BACK_A_MINUTE_AND_PEER: usize = 3;
const DIALS_BACK_A_MINUTE: usize = 30;

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
    /// Off in a node that neither forwards, exits nor sends, and in one that serves the second format only.
    pub(crate) mix: Toggle<mix::Behaviour>,
    /// The second packet format; off unless served.
    pub(crate) sphinx_packet: Toggle<mix::Behaviour>,
    pub(crate) rpc: rpc::Behaviour,
    /// Dials through relays, and takes circuits from those that hold a reservation of this node.
    pub(crate) circuits: relay::client::Behaviour,
    /// Off unless this node relays circuits.
    pub(crate) circuit_relay: Toggle<relay::Behaviour>,
    /// Off unless configured.
    pub(crate) autonat: Toggle<quiet::Behaviour>,
}

impl HostBehaviour {
    pub(crate) fn new(
        config: &HostConfig,
        identity: &Keypair,
        services: Services,
        (protocols, uses): (mix::Protocols, LastUses),
        has_relay: bool,
        circuits: relay::client::Behaviour,
        telemetry: &Telemetry,
    ) -> Result<Self, HostError> {
        let registry = telemetry.libp2p_registry();
        let gossip =
            has_relay.then(|| gossip::behaviour(config, &registry, GossipMetrics::new(telemetry))).transpose()?;
        let identify = identify::Config::new(IDENTIFY_PROTOCOL.to_owned(), identity.public())
            .with_agent_version(format!("wakumix-{}", config.version));
        let me = identity.public().to_peer_id();
        let circuit_relay = config.circuit_relay.as_ref().map(|limits| circuit_relay(me, limits));
        let autonat = config.autonat.as_ref().map(|times| autonat(me, times, config.allow_private));
        Ok(Self {
            limits: limits::Behaviour::new(config.connections.clone(), uses.clone(), telemetry),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
            metadata: metadata::Behaviour::new(config.cluster, &config.shards),
            gossip: gossip.into(),
            mix: protocols.mix.into(),
            sphinx_packet: protocols.sphinx_packet.into(),
            rpc: rpc::Behaviour::new(services, config.requests.clone(), uses),
            circuits,
            circuit_relay: circuit_relay.into(),
            autonat: autonat.into(),
        })
    }

    /// Sends a packet in its format.
    pub(crate) fn send(&mut self, outbound: OutboundPacket) {
        match self.formats_mut().find(|format| format.carries(&outbound)) {
            Some(format) => format.send(outbound),
            None => mix::cannot_send(outbound),
        }
    }

    /// The connections to a peer that end with this node's visit to it. None of them carries packets or an open request.
    pub(crate) fn after_visit(&self, me: PeerId, peer: PeerId, then: AfterVisit) -> Vec<ConnectionId> {
        let links = self.rpc.links(&peer);
        let ends = match then {
            AfterVisit::Leave => true,
            // Both sides see it alike, so one of the two stays.
            AfterVisit::KeepOne => peer < me && links.iter().any(|(_, is_own)| !is_own),
        };
        let own = links.into_iter().filter(|(_, is_own)| *is_own && ends).map(|(connection, _)| connection);
        own.filter(|connection| self.limits.is_free(*connection)).collect()
    }

    /// The packet formats that are served.
    pub(crate) fn formats(&self) -> impl Iterator<Item = &mix::Behaviour> {
        self.mix.as_ref().into_iter().chain(self.sphinx_packet.as_ref())
    }

    /// The same, to change them.
    pub(crate) fn formats_mut(&mut self) -> impl Iterator<Item = &mut mix::Behaviour> {
        self.mix.as_mut().into_iter().chain(self.sphinx_packet.as_mut())
    }
}

/// A circuit relay. How often a peer or an IP address may reserve or connect stays as the library has it: 30 at once and
/// one every 2 minutes, 60 at once and one per minute.
fn circuit_relay(me: PeerId, limits: &CircuitRelayLimits) -> relay::Behaviour {
    let config = relay::Config {
        max_reservations: limits.reservations,
        max_reservations_per_peer: RESERVATIONS_PER_PEER,
        reservation_duration: limits.reservation_duration,
        max_circuits: limits.circuits,
        // The library refuses when there are more than this already.
        max_circuits_per_peer: limits.circuits_per_peer.saturating_sub(1),
        max_circuit_duration: limits.circuit_duration,
        max_circuit_bytes: limits.circuit_bytes,
        ..relay::Config::default()
    };
    relay::Behaviour::new(me, config)
}

/// AutoNAT 1: what nwaku's nodes ask and answer (`AutonatService` of nim-libp2p). Version 2 proves that somebody dialled,
/// but no node of nwaku would answer.
fn autonat(me: PeerId, times: &AutonatTimes, allow_private: bool) -> quiet::Behaviour {
    let config = autonat::v1::Config {
        timeout: DIAL_BACK_TIMEOUT,
        boot_delay: times.first,
        retry_interval: times.retry,
        refresh_interval: times.refresh,
        throttle_server_period: times.refresh,
        // Only peers that speak the protocol and see where this node is: see `nat`.
        use_connected: false,
        max_peer_addresses: DIAL_BACK_ADDRESSES,
        throttle_clients_global_max: DIALS_BACK_A_MINUTE,
        throttle_clients_peer_max: DIALS_BACK_A_MINUTE_AND_PEER,
        throttle_clients_period: Duration::from_secs(60),
        only_global_ips: !allow_private,
        ..autonat::v1::Config::default()
    };
    quiet::Behaviour::new(autonat::v1::Behaviour::new(me, config))
}
