//! Starting a host, and what its owner holds of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    identity::{KeyType, Keypair},
    metrics::{Metrics, Registry},
    relay,
    swarm::{self, SwarmEvent},
};
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, timeout},
};
use wakumix_mix::{Ledger, admission::Pressure};
use wakumix_role_api::{
    Address, Formats, Inbox, Services, StopReport,
    host::{HostAddresses, HostMessage, PeerEvent},
    mixer::MixerMessage,
    relay::RelayMessage,
};
use wakumix_telemetry::Telemetry;

use crate::{
    HostConfig, HostError,
    behaviour::HostBehaviour,
    gossip::{MeshHealth, SlowPeers, Unsent},
    kept::Kept,
    metrics::HostMetrics,
    mix,
    nat::Nat,
    peers::PeerTable,
    swarm::{Control, Host},
    transport,
};

/// Binding is local work; an interface list that takes longer than this will not come.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Inbound streams of one connection that may be in negotiation at a time; further ones are reset.
const MAX_NEGOTIATING: usize = 64;

/// What a host is plugged into.
pub struct HostParts {
    /// The node's key. With a mix port it must be secp256k1.
    pub identity: Keypair,
    /// Commands of the roles.
    pub inbox: Inbox<HostMessage>,
    /// Where packets go; `None` in a node without mix: then no packet format is spoken.
    pub mix: Option<MixPort>,
    /// Where gossip goes; `None` in a node without relay: then gossipsub is not spoken.
    pub relay: Option<Address<RelayMessage>>,
    /// The request–response protocols that are answered.
    pub services: Services,
    /// Told what happens to connections. Its capacity bounds what a slow listener can miss nothing of.
    pub events: broadcast::Sender<PeerEvent>,
    /// Metrics of this node.
    pub telemetry: Telemetry,
}

/// Where received packets go, and what they live in. Each format that is served is spoken under its own protocol id.
#[derive(Clone, Debug)]
pub struct MixPort {
    /// The mixer.
    pub mixer: Address<MixerMessage>,
    /// The formats that are served, and the buffers of their packets.
    pub formats: Formats,
    /// Where packets are accounted.
    pub ledger: Arc<Ledger>,
    /// What the mixer raises when packets pile up; then fewer are admitted.
    pub pressure: Arc<Pressure>,
}

/// A host that runs. Dropping it ends the host at once; waiting packets are then settled as stopped.
pub struct RunningHost {
    peer: PeerId,
    listen_addresses: Vec<Multiaddr>,
    addresses: watch::Receiver<HostAddresses>,
    inbox: Inbox<HostMessage>,
    control: mpsc::Sender<Control>,
    task: JoinHandle<()>,
    delivery: Option<JoinHandle<()>>,
}

/// Starts a host on the current tokio runtime and waits until it listens on all configured addresses.
///
/// # Errors
/// An address that is in use or impossible, an identity that a mix node cannot have, a part of libp2p that refuses.
pub async fn start(config: HostConfig, parts: HostParts) -> Result<RunningHost, HostError> {
    let HostParts { identity, inbox, mix, relay: gossip, services, events, telemetry } = parts;
    check_identity(&identity, mix.is_some())?;
    let commands = inbox.receiver().ok_or_else(|| HostError::setup("the host", &"another host reads its inbox"))?;
    let (protocols, delivery) = mix.map(|port| connect_mixer(port, &config, &telemetry)).unzip();

    let registry = telemetry.libp2p_registry();
    let (circuits, circuits_behaviour) = relay::client::new(identity.public().to_peer_id());
    let behaviour = HostBehaviour::new(
        &config,
        &identity,
        services,
        protocols.unwrap_or_default(),
        gossip.is_some(),
        circuits_behaviour,
        &telemetry,
    )?;
    let transport = transport::build(&identity, circuits, behaviour.limits.setups(), &mut lock(&registry))?;
    let mut swarm = Swarm::new(transport, behaviour, identity.public().to_peer_id(), swarm_config(&config));
    let (listeners, bound) = listen(&mut swarm, &config.listen).await?;
    let listen_addresses: Vec<Multiaddr> = bound.iter().map(|(_, address)| address.clone()).collect();
    config.announce.iter().for_each(|address| swarm.add_external_address(address.clone()));

    // Each guard ends with its statement: as parts of one expression they would wait for each other.
    let libp2p_metrics = Metrics::new(&mut lock(&registry));
    let mesh_health = MeshHealth::new(&mut lock(&registry));
    let peer = *swarm.local_peer_id();
    let (control, control_receiver) = mpsc::channel(1);
    let nat = Nat::new(&config, peer, bound, Instant::now());
    let (addresses, addresses_reader) = watch::channel(nat.addresses(Instant::now()));
    let host = Host {
        swarm,
        commands,
        control: control_receiver,
        listeners,
        relay: gossip,
        events,
        addresses,
        nat,
        told: config.announce.clone(),
        require_metadata: config.require_metadata,
        kept: Kept::new(config.max_kept_peers),
        peers: PeerTable::new(telemetry.clone()),
        slow_peers: SlowPeers::default(),
        unsent: Unsent::default(),
        ping_failures: HashMap::new(),
        metrics: HostMetrics::new(&telemetry),
        libp2p_metrics,
        mesh_health,
    };
    let task = tokio::spawn(host.run());
    Ok(RunningHost { peer, listen_addresses, addresses: addresses_reader, inbox, control, task, delivery })
}

impl RunningHost {
    /// The node's peer id.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// The addresses that were bound at the start, in the order of the configuration, without `/p2p`.
    pub fn listen_addresses(&self) -> &[Multiaddr] {
        &self.listen_addresses
    }

    /// Where this node can be reached, as it changes.
    pub fn addresses(&self) -> watch::Receiver<HostAddresses> {
        self.addresses.clone()
    }

    /// Waits until the host's task has ended. It never does by itself: before [`Self::stop`] this is a defect, and the
    /// node must stop.
    ///
    /// Cancel safe: yes.
    pub async fn ended(&self) {
        self.control.closed().await;
    }

    /// Stops: refuses commands, closes the listeners, writes what waits until `deadline`, settles the rest as dropped
    /// at shutdown, closes all connections.
    pub async fn stop(mut self, deadline: Instant) -> StopReport {
        self.inbox.close();
        let (done, report) = oneshot::channel();
        // Either fails only if the task has ended already, and then nothing waits.
        let _ = self.control.send(Control::Stop { deadline, done }).await;
        let report = report.await.unwrap_or_default();
        if let Some(delivery) = self.delivery.take() {
            let last = delivery.abort_handle();
            // Packets that the mixer does not take in time are settled by being dropped.
            if tokio::time::timeout_at(deadline, delivery).await.is_err() {
                last.abort();
            }
        }
        report
    }
}

impl std::fmt::Debug for RunningHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunningHost({})", self.peer)
    }
}

impl Drop for RunningHost {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(delivery) = &self.delivery {
            delivery.abort();
        }
    }
}

fn check_identity(identity: &Keypair, mix: bool) -> Result<(), HostError> {
    match identity.key_type() {
        KeyType::Secp256k1 => Ok(()),
        _ if !mix => Ok(()),
        other => Err(HostError::IdentityType { found: format!("{other:?}") }),
    }
}

fn connect_mixer(port: MixPort, config: &HostConfig, telemetry: &Telemetry) -> (mix::Protocols, JoinHandle<()>) {
    let (protocols, packets) = mix::Protocols::new(&port, config, telemetry);
    (protocols, tokio::spawn(mix::deliver(packets, port.mixer)))
}

fn swarm_config(config: &HostConfig) -> swarm::Config {
    swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(config.connections.idle_timeout)
        .with_max_negotiating_inbound_streams(MAX_NEGOTIATING)
}

/// Listens on every address and waits until each has a bound one; all bound addresses, in the order of the configuration.
async fn listen(
    swarm: &mut Swarm<HostBehaviour>,
    addresses: &[Multiaddr],
) -> Result<(Vec<ListenerId>, Vec<(ListenerId, Multiaddr)>), HostError> {
    let mut listeners = Vec::new();
    for address in addresses {
        transport::check_free(address)?;
        let listener = swarm.listen_on(address.clone()).map_err(|error| transport::listen_error(address, error))?;
        listeners.push((listener, address.clone()));
    }
    let mut bound: Vec<(ListenerId, Multiaddr)> = Vec::new();
    let ids: HashSet<ListenerId> = listeners.iter().map(|(listener, _)| *listener).collect();
    let wait = async {
        while ids.iter().any(|id| bound.iter().all(|(listener, _)| listener != id)) {
            match swarm.select_next_some().await {
                SwarmEvent::NewListenAddr { listener_id, address } => bound.push((listener_id, address)),
                SwarmEvent::ListenerClosed { listener_id, reason: Err(error), .. } => {
                    let configured = listeners.iter().find(|(listener, _)| *listener == listener_id);
                    let address = configured.map_or_else(Multiaddr::empty, |(_, address)| address.clone());
                    return Err(transport::refused(&address, &error));
                }
                _ => {}
            }
        }
        Ok(())
    };
    timeout(LISTEN_TIMEOUT, wait)
        .await
        .unwrap_or_else(|_| Err(HostError::setup("listening", &"no address in time")))?;
    bound.sort_by_key(|(id, _)| listeners.iter().position(|(listener, _)| listener == id));
    Ok((listeners.into_iter().map(|(id, _)| id).collect(), bound))
}

fn lock(registry: &Mutex<Registry>) -> std::sync::MutexGuard<'_, Registry> {
    registry.lock().unwrap_or_else(PoisonError::into_inner)
}
