//! Starting a host, and what its owner holds of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
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
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    time::{Instant, sleep, timeout},
};
use wakumix_mix::{Ledger, admission::Pressure};
use wakumix_role_api::{
    Address, Formats, Inbox, Services, StopReport, TaskHandle, Tasks,
    host::{HostAddresses, HostMessage, PeerEvent, PeerLines},
    mixer::MixerHandle,
    relay::RelayMessage,
};
use wakumix_telemetry::Telemetry;

use crate::{
    HostConfig, HostError,
    asked_dials::AskedDials,
    behaviour::HostBehaviour,
    dialled::Dialled,
    durable::Durable,
    gossip::{MeshHealth, SlowPeers, Unsent},
    kept::Kept,
    limits::LastUses,
    metrics::HostMetrics,
    mix,
    nat::{Nat, with_bound_ports},
    peers::PeerTable,
    swarm::{Control, Host},
    transport,
};

/// Binding is local work; an interface list that takes longer than this will not come.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Inbound streams of one connection that may be in negotiation at a time; further ones are reset.
const MAX_NEGOTIATING: usize = 64;

/// What a host is plugged into.
#[derive(Clone)]
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
    /// What its tasks belong to.
    pub tasks: Tasks,
}

/// Where received packets go, and what they live in. Each format that is served is spoken under its own protocol id.
#[derive(Clone, Debug)]
pub struct MixPort {
    /// The mixer.
    pub mixer: MixerHandle,
    /// Where the host says which peers are being written to.
    pub lines: PeerLines,
    /// The formats that are served, and the buffers of their packets.
    pub formats: Formats,
    /// Where packets are accounted.
    pub ledger: Arc<Ledger>,
    /// What the mixer raises when packets pile up; then fewer are admitted.
    pub pressure: Arc<Pressure>,
}

/// A host that runs. Dropping it ends the host at once; waiting packets are then finished as stopped.
pub struct RunningHost {
    peer: PeerId,
    listen_addresses: Vec<Multiaddr>,
    addresses: watch::Receiver<HostAddresses>,
    inbox: Inbox<HostMessage>,
    control: mpsc::Sender<Control>,
    task: TaskHandle<()>,
}

/// What a host is made from, and made again from after a panic.
struct Factory {
    config: HostConfig,
    parts: HostParts,
    control: Arc<tokio::sync::Mutex<mpsc::Receiver<Control>>>,
    addresses: watch::Sender<HostAddresses>,
    durable: Arc<Mutex<Durable>>,
}

/// How often a host that is made again tries to listen where it did, and how long it waits in between: sockets of the one
/// before may take a moment to close.
const LISTEN_TRIES: usize = 25;
const LISTEN_PAUSE: Duration = Duration::from_millis(200);

/// Starts a host on the current tokio runtime and waits until it listens on all configured addresses.
///
/// # Errors
/// An address that is in use or impossible, an identity that a mix node cannot have, a part of libp2p that refuses.
pub async fn start(config: HostConfig, parts: HostParts) -> Result<RunningHost, HostError> {
    check_identity(&parts.identity, parts.mix.is_some())?;
    let (control, control_receiver) = mpsc::channel(1);
    let (addresses, addresses_reader) = watch::channel(HostAddresses::default());
    let (inbox, tasks) = (parts.inbox.clone(), parts.tasks.clone());
    let control_receiver = Arc::new(tokio::sync::Mutex::new(control_receiver));
    let mut factory = Factory { config, parts, control: control_receiver, addresses, durable: Arc::default() };
    let (first, listen_addresses) = Box::pin(factory.make()).await?;
    let peer = *first.swarm.local_peer_id();
    // A host that is made again listens where this one does.
    factory.config.listen.clone_from(&listen_addresses);
    let (factory, first) = (Arc::new(factory), Mutex::new(Some(first)));
    let task = tasks.keep("host", move || {
        let (factory, first) = (Arc::clone(&factory), first.lock().take());
        async move {
            match first {
                Some(host) => host.run().await,
                None => factory.run_again().await,
            }
        }
    });
    Ok(RunningHost { peer, listen_addresses, addresses: addresses_reader, inbox, control, task })
}

impl Factory {
    /// A host that listens, and where.
    async fn make(&self) -> Result<(Box<Host>, Vec<Multiaddr>), HostError> {
        let HostParts { identity, inbox, mix, relay: gossip, services, events, telemetry, tasks } = self.parts.clone();
        let config = &self.config;
        let commands = inbox.receiver().ok_or_else(|| HostError::setup("the host", &"another host reads its inbox"))?;
        let uses = LastUses::default();
        let protocols = mix.map(|port| mix::Protocols::new(&port, config, uses.clone(), &telemetry));

        let registry = telemetry.libp2p_registry();
        *registry.lock() = Registry::default();
        let (circuits, circuits_behaviour) = relay::client::new(identity.public().to_peer_id());
        let behaviour = HostBehaviour::new(
            config,
            &identity,
            services,
            (protocols.unwrap_or_default(), uses),
            gossip.is_some(),
            circuits_behaviour,
            &telemetry,
        )?;
        let transport = {
            let (tls, setups) = (config.tls.clone(), behaviour.limits.setups());
            transport::build(&identity, tls, circuits, setups, &mut registry.lock())?
        };
        let failed = Arc::<Notify>::default();
        let swarm_config = swarm_config(config, tasks, Arc::clone(&failed));
        let mut swarm = Swarm::new(transport, behaviour, identity.public().to_peer_id(), swarm_config);
        let (listeners, bound) = listen(&mut swarm, &config.listen).await?;
        let listen_addresses: Vec<Multiaddr> = bound.iter().map(|(_, address)| address.clone()).collect();
        let announce = with_bound_ports(&config.announce, &listen_addresses);
        announce.iter().for_each(|address| swarm.add_external_address(address.clone()));

        // Each guard ends with its statement: as parts of one expression they would wait for each other.
        let libp2p_metrics = Metrics::new(&mut registry.lock());
        let mesh_health = MeshHealth::new(&mut registry.lock());
        let nat = Nat::new(config, *swarm.local_peer_id(), announce.clone(), bound, Instant::now());
        self.addresses.send_replace(nat.addresses(Instant::now()));
        let host = Box::new(Host {
            swarm,
            commands,
            control: Arc::clone(&self.control),
            failed,
            durable: Arc::clone(&self.durable),
            listeners,
            relay: gossip,
            events,
            addresses: self.addresses.clone(),
            nat,
            dialled: Dialled::default(),
            told: announce,
            require_metadata: config.require_metadata,
            kept: Kept::new(config.max_kept_peers),
            peers: PeerTable::new(telemetry.clone()),
            asked_dials: AskedDials::default(),
            slow_peers: SlowPeers::default(),
            unsent: Unsent::default(),
            ping_failures: HashMap::new(),
            metrics: HostMetrics::new(&telemetry),
            libp2p_metrics,
            mesh_health,
        });
        Ok((host, listen_addresses))
    }

    /// A host in place of one that has panicked: the connections are gone, what the roles asked for stands.
    async fn run_again(&self) {
        let gone = std::mem::take(&mut self.durable.lock().connected);
        for peer in gone {
            // Nobody need listen.
            let _ = self.parts.events.send(PeerEvent::Disconnected { peer });
        }
        for attempt in 1..=LISTEN_TRIES {
            match Box::pin(self.make()).await {
                Ok((mut host, _)) => {
                    host.take_up();
                    return host.run().await;
                }
                Err(error) if attempt == LISTEN_TRIES => tracing::error!(%error, "the host cannot be restarted"),
                Err(_) => sleep(LISTEN_PAUSE).await,
            }
        }
    }
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

    /// Stops: refuses commands, closes the listeners, writes what waits until `deadline`, finishes the rest as dropped
    /// at shutdown, closes all connections.
    pub async fn stop(self, deadline: Instant) -> StopReport {
        self.inbox.close();
        let (done, report) = oneshot::channel();
        // Either fails only if the task has ended already, and then nothing waits.
        let _ = self.control.send(Control::Stop { deadline, done }).await;
        report.await.unwrap_or_default()
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
    }
}

fn check_identity(identity: &Keypair, mix: bool) -> Result<(), HostError> {
    match identity.key_type() {
        KeyType::Secp256k1 => Ok(()),
        _ if !mix => Ok(()),
        other => Err(HostError::IdentityType { found: format!("{other:?}") }),
    }
}

/// Connections are tasks too: one that panics leaves the swarm with a connection that nobody serves, so the host fails.
fn swarm_config(config: &HostConfig, tasks: Tasks, failed: Arc<Notify>) -> swarm::Config {
    let executor = move |connection: futures::future::BoxFuture<'static, ()>| {
        let failed = Arc::clone(&failed);
        let on_panic = move || failed.notify_one();
        tasks.spawn_for("host_connection", connection, on_panic);
    };
    swarm::Config::with_executor(executor)
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
