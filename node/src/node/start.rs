//! How a node starts, and how it does not.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};
use wakumix_discovery::{Discovery, DiscoveryParts, PrepareError};
use wakumix_host::{HostConfig, HostError, HostParts, MixPort};
use wakumix_keyring::{KeyRing, Rotation};
use wakumix_mix::{
    Ledger, Reliability,
    admission::{Capacity, Pressure},
};
use wakumix_role_api::{
    DirectoryPublisher, Formats, LocalNode, Opening, Ports, Role, RoleContext, RoleError, ServiceConflict, Services,
    Supervisor, Tasks, Workers, host::HostHandle, mailbox, relay::RelayHandle, sender::GuardsInUse,
};
use wakumix_telemetry::{CatalogueError, Telemetry};
use wakumix_tls::{CertificateError, ClientCa, Files, ServedCertificate, Surface, rustls::ServerConfig};

use super::{
    Housekeeping, NODE, Node, RunningPart, RunningRoles, certificates, connections,
    connections::TooFewFiles,
    formats,
    keys::rotate,
    local,
    local::{Description, Recorder},
    metrics,
    network::{Network, watch},
    surfaces,
};
use crate::{
    clock,
    config::{Loaded, Problems, parts::count},
    plain::plain_push,
    rest::{BindError, Server},
    roles::NotConfigured,
    runtime,
};

/// How long the parts of a node that did not start may take to stop. None has had time to take much on.
const UNDO_LIMIT: Duration = Duration::from_secs(5);

/// Commands to the host; a command carries a batch of packets.
const HOST_QUEUE: usize = 1024;

/// Connection events that a slow listener may be behind; beyond them it misses some.
const PEER_EVENTS: usize = 1024;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The host did not start.
    #[error("{error}{}", hint(error))]
    Host {
        /// Why.
        error: HostError,
    },
    /// The roles cannot be made.
    #[error(transparent)]
    Roles(#[from] NotConfigured),
    /// Two crates of the node have a metric of the same name.
    #[error("{0}; this is a defect of the program")]
    Metrics(#[from] CatalogueError),
    /// A role did not start.
    #[error(transparent)]
    Role(#[from] RoleError),
    /// Two parts answer one protocol.
    #[error(transparent)]
    Services(#[from] ServiceConflict),
    /// REST or metrics did not start.
    #[error("{0}; free the port, or set another one")]
    Bind(#[from] BindError),
    /// The mix keys or their replay tags cannot be used.
    #[error("{error}; {}", error.help())]
    Keys {
        /// Why.
        error: wakumix_keyring::OpenError,
    },
    /// A certificate cannot be served.
    #[error("{error}; {}", error.help())]
    Certificate {
        /// Why.
        error: CertificateError,
    },
    /// TLS cannot be served with what is configured.
    #[error("TLS cannot be served: {0}")]
    Tls(#[from] wakumix_tls::rustls::Error),
    /// Discovery has no thread.
    #[error("discovery gets no thread: {error}; check the limits on threads and open files")]
    Thread {
        /// Why.
        error: std::io::Error,
    },
    /// The process may open too few files for a node.
    #[error(transparent)]
    Files(#[from] TooFewFiles),
    /// A kind of discovery did not start.
    #[error("{0}; free the port, or set discv5-udp-port or ports-shift")]
    Discovery(#[from] PrepareError),
}

/// Which setting to change when the host cannot listen.
fn hint(error: &HostError) -> &'static str {
    match error {
        HostError::AddressInUse { protocol: "QUIC", .. } => "; free it, or set quic-port or ports-shift",
        HostError::AddressInUse { protocol: "WebSocket", .. } => {
            "; free it, or set websocket-port, websocket-secure-port or ports-shift"
        }
        HostError::AddressInUse { .. } => "; free it, or set tcp-port or ports-shift",
        HostError::AddressNotSupported { .. } | HostError::Listen { .. } => "; check listen-address",
        _ => "",
    }
}

impl Node {
    /// Starts a node. Must be called inside an actix `System`, on its thread.
    ///
    /// # Errors
    /// The first part that cannot start; what had started is stopped.
    pub async fn start(loaded: &Loaded) -> Result<Self, StartError> {
        let (node, started) = Self::start_parts(loaded).await?;
        node.unless_failed(started).await
    }

    /// The node, or the error after every part has stopped.
    async fn unless_failed(self, started: Result<(), StartError>) -> Result<Self, StartError> {
        match started {
            Ok(()) => Ok(self),
            Err(error) => {
                self.stop(UNDO_LIMIT).await;
                Err(error)
            }
        }
    }

    /// Starts one part after the other, up to the first that fails. The outer error comes before anything runs.
    async fn start_parts(loaded: &Loaded) -> Result<(Self, Result<(), StartError>), StartError> {
        let Loaded { config, keys, weaknesses, .. } = loaded;
        let telemetry = Telemetry::new(loaded.roles.catalogues())?;
        let ledger = Ledger::new();
        let formats = Formats::new(formats::of(loaded), count(config.mix.buffers));
        let mut roles = loaded.configured_roles()?;
        let advertised: Vec<_> = roles.iter().map(|role| (role.name(), role.advertises())).collect();
        let reassembles = advertised.iter().any(|(_, own)| own.reassembles);
        let mut discovery_config = wakumix_discovery::Config { weaknesses: *weaknesses, ..config.discovery() };
        if let Some(descriptors) = &mut discovery_config.descriptors {
            let longest = advertised.iter().filter_map(|(_, own)| own.longest_hold).max();
            descriptors.longest_hold = longest.unwrap_or(descriptors.longest_hold);
            descriptors.key_overlap = config.keys.overlap.as_duration();
        }
        let discovery = Discovery::new(discovery_config);
        discovery.prepare()?;
        let (events, _) = broadcast::channel(PEER_EVENTS);
        let (mix_keys, rotation) = key_ring(loaded).map_err(|error| StartError::Keys { error })?;
        let (tasks, fatal) = Tasks::new(tokio::runtime::Handle::current(), telemetry.clone());
        // What discovery does takes no turn on the threads that carry packets.
        let apart = Supervisor::apart("discovery", &tasks).map_err(|error| StartError::Thread { error })?;
        let workers = Workers::detect(tasks.clone());
        let (host, host_inbox) = mailbox("host", HOST_QUEUE, &telemetry);
        let mut ports = Ports::new(HostHandle::new(host));
        for role in &mut roles {
            let name = role.name();
            let (formats, workers, telemetry) = (&formats, &workers, &telemetry);
            role.open(&mut Opening { role: name, formats, workers, telemetry, ports: &mut ports, capacities: &[] })?;
        }
        let (publisher, directory) = DirectoryPublisher::new();
        ports.insert(NODE, plain_push(&ports, directory.clone()))?;
        let role_services = roles.iter().map(|role| (role.name().as_str(), role.services(&ports)));
        let services = Services::new(role_services.chain([("discovery", discovery.services())]))?;
        let connections = connections::for_files(config.max_connections.map(count), runtime::open_files())?;
        let websocket = certificate(Surface::WebSocket, config.websocket_certificate(), &telemetry)?;
        let http = certificate(Surface::Http, config.http_certificate(), &telemetry)?;
        let certificates: Vec<Arc<ServedCertificate>> = websocket.iter().chain(&http).cloned().collect();
        let client_ca = config.rest_tls_client_ca_path.as_deref().filter(|_| http.is_some());
        let client_ca = client_ca.map(ClientCa::load).transpose().map_err(|error| StartError::Certificate { error })?;
        let http = http.map(|served| wakumix_tls::server_config(served, client_ca.as_ref())).transpose()?;
        let tls = websocket.map(|served| wakumix_tls::server_config(served, None)).transpose()?.map(Arc::new);
        let mut host_config = HostConfig { weaknesses: *weaknesses, tls, ..config.host(connections) };
        host_config.mix.capacity = ports.get::<Capacity>();

        let pressure = Arc::<Pressure>::default();
        let mix = ports.get().map(|mixer| MixPort {
            mixer,
            lines: ports.host.lines().clone(),
            formats: formats.clone(),
            ledger: Arc::clone(&ledger),
            pressure: Arc::clone(&pressure),
        });
        let parts = HostParts {
            identity: keys.node.clone(),
            inbox: host_inbox,
            mix,
            relay: ports.get().map(|relay: RelayHandle| relay.address().clone()),
            services: services.clone(),
            events: events.clone(),
            telemetry: telemetry.clone(),
            tasks: tasks.clone(),
        };
        let host = wakumix_host::start(host_config, parts).await.map_err(|error| StartError::Host { error })?;
        let listen_addresses = host.listen_addresses().to_vec();
        let host_addresses = host.addresses();
        let recorder = Recorder { config: Arc::new(config.clone()), peer: keys.peer(), advertised };
        // Nothing is ready yet.
        let first = recorder.record(&host_addresses.borrow(), Some(mix_keys.announced()), |_| false);
        let (hop_sender, hop_address) = watch::channel(first.hop_address.clone());
        let (record_sender, record) = watch::channel(Arc::new(first));

        let supervisor = Supervisor::new(tasks.clone());
        let context = RoleContext {
            node: LocalNode {
                peer: keys.peer(),
                mix_keys: mix_keys.clone(),
                hop_address,
                addresses: host_addresses.clone(),
            },
            formats: formats.clone(),
            ledger: Arc::clone(&ledger),
            pressure,
            directory: directory.clone(),
            reliability: Arc::new(Mutex::new(Reliability::default().weakened(*weaknesses))),
            epoch: Instant::now(),
            ports: ports.clone(),
            services,
            workers,
            supervisor,
            telemetry: telemetry.clone(),
            weaknesses: *weaknesses,
        };
        let surroundings = DiscoveryParts {
            me: keys.peer(),
            identity: keys.node.clone(),
            local: record.clone(),
            events,
            publisher,
            forwards: config.forwards(),
            guards: ports.get::<GuardsInUse>().filter(|_| !config.forwards()).map(|GuardsInUse(count)| count),
            reader: directory.clone(),
            host: ports.host.clone(),
            supervisor: apart,
            telemetry: telemetry.clone(),
        };
        let (roles, mut started) = start_roles(roles, loaded, &context);
        let roles: RunningRoles = roles.into();
        // The first record that others see tells of the roles that are ready at once.
        let ready = local::readiness(&roles);
        let addresses = host_addresses.borrow().clone();
        let told = recorder.record(&addresses, Some(mix_keys.announced()), ready);
        record_sender.send_replace(Arc::new(told));
        let discovery = discovery.start(surroundings);
        metrics::export(&context, config);
        let forwards = |role| loaded.roles.find(role).is_some_and(|factory| factory.mixing().forwards);
        let network = Arc::new(Network::new(directory.clone(), config, forwards, certificates.clone()));
        let readiness = tasks.keep("readiness", {
            let (host, network, roles) = (ports.host.clone(), Arc::clone(&network), Arc::clone(&roles));
            let telemetry = telemetry.clone();
            let task_problem = Arc::new(tasks.watch_problem());
            move || {
                let task_problem = Arc::clone(&task_problem);
                watch(host.clone(), Arc::clone(&network), Arc::clone(&roles), telemetry.clone(), move || task_problem())
            }
        });
        let rotation = Arc::new(Mutex::new(rotation));
        let readers = local::Readers { record: record_sender, hop_address: hop_sender };
        let (addresses, announced, ready_roles) = (host_addresses, mix_keys, Arc::clone(&roles));
        let description = Description {
            recorder: recorder.clone(),
            host: addresses.clone(),
            keys: announced.clone(),
            record,
            look: Arc::default(),
            started: context.epoch,
        };
        let look = Arc::clone(&description.look);
        let mut housekeeping = vec![
            tasks.keep("key_rotation", {
                let workers = context.workers.clone();
                move || rotate(Arc::clone(&rotation), workers.clone())
            }),
            tasks.keep("local_record", move || {
                local::keep_up(
                    recorder.clone(),
                    addresses.clone(),
                    announced.clone(),
                    Arc::clone(&ready_roles),
                    readers.clone(),
                    Arc::clone(&look),
                )
            }),
        ];

        if !certificates.is_empty() {
            let workers = context.workers.clone();
            housekeeping
                .push(tasks.keep("certificates", move || certificates::renew(certificates.clone(), workers.clone())));
        }

        let mut node = Self {
            peer: keys.peer(),
            local: context.node,
            ports,
            listen_addresses,
            formats,
            reassembles,
            ledger,
            telemetry,
            directory,
            host,
            discovery,
            roles,
            description,
            stopping: Arc::default(),
            rest: None,
            metrics: None,
            fatal,
            tasks,
            network,
            readiness,
            _housekeeping: Housekeeping(housekeeping),
        };
        surfaces::export_readiness(&node.telemetry, &node.roles, &node.network, &node.tasks);
        if started.is_ok() {
            started = node.start_servers(loaded, http.as_ref());
        }
        Ok((node, started))
    }

    fn start_servers(&mut self, loaded: &Loaded, tls: Option<&ServerConfig>) -> Result<(), StartError> {
        let config = &loaded.config;
        if !config.rest && !config.metrics_server {
            return Ok(());
        }
        let api = surfaces::api(self, loaded)?;
        let address = |key: &str| {
            config.ports().into_iter().find(|port| port.key == key).map(|port| SocketAddr::new(port.address, port.port))
        };
        self.rest =
            address("rest-port").map(|address| Server::start_rest(api.clone(), address, tls.cloned())).transpose()?;
        self.metrics = address("metrics-server-port")
            .map(|address| Server::start_metrics(api, address, tls.cloned()))
            .transpose()?;
        Ok(())
    }
}

/// Starts the roles up to the first that fails; those that run, and the failure.
fn start_roles(
    roles: Vec<Box<dyn Role>>,
    loaded: &Loaded,
    context: &RoleContext,
) -> (Vec<RunningPart>, Result<(), StartError>) {
    let mut running = Vec::new();
    for role in roles {
        let Some(factory) = loaded.roles.find(role.name()) else { continue };
        let protocols = factory.protocols().iter().copied().filter(|protocol| role.runs(*protocol)).collect();
        match role.start(context) {
            Ok(role) => running.push(RunningPart { factory, protocols, role }),
            Err(error) => return (running, Err(error.into())),
        }
    }
    (running, Ok(()))
}

/// A certificate that is configured.
fn certificate(
    surface: Surface,
    files: Option<Files>,
    telemetry: &Telemetry,
) -> Result<Option<Arc<ServedCertificate>>, StartError> {
    let served = files.map(|files| ServedCertificate::load(surface, files, telemetry)).transpose();
    served.map_err(|error| StartError::Certificate { error })
}

/// The keys of this node. One whose roles do not mix never uses them; it has some so that the type has no hole.
fn key_ring(loaded: &Loaded) -> Result<(KeyRing, Rotation), wakumix_keyring::OpenError> {
    let Loaded { config, keys, weaknesses, .. } = loaded;
    let ring = if config.mixes() { config.key_ring(keys.mix.clone()) } else { wakumix_keyring::Config::default() };
    KeyRing::open(wakumix_keyring::Config { weaknesses: *weaknesses, ..ring }, clock::unix_seconds)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use wakumix_role_api::{Address, exit::ExitMessage, mixer::MixerHandle, sender::SenderHandle};

    use super::*;
    use crate::config::{Flag, Inputs, load};

    /// All roles on loopback; `settings` besides.
    fn loaded(settings: &[(&str, String)]) -> Loaded {
        let common = [
            ("preset", "local".to_owned()),
            ("roles", "relay,mixer,exit,sender".to_owned()),
            ("listen-address", "127.0.0.1".to_owned()),
        ];
        let flag = |(name, value): &(&str, String)| Flag { name: (*name).to_owned(), values: vec![value.clone()] };
        let flags = common.iter().chain(settings).map(flag).collect();
        load(&Inputs { flags, ..Inputs::default() }).unwrap()
    }

    /// A port that nobody listens on.
    fn free_port() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
    }

    fn all_queues_closed(ports: &Ports) -> bool {
        ports.get().is_some_and(|mixer: MixerHandle| mixer.received().is_closed())
            && ports.get().is_some_and(|exit: Address<ExitMessage>| exit.is_closed())
            && ports.get().is_some_and(|sender: SenderHandle| sender.address().is_closed())
            && ports.get().is_some_and(|relay: RelayHandle| relay.address().is_closed())
    }

    #[actix::test]
    async fn a_rest_port_in_use_is_named_and_leaves_nothing_running() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken_port = taken.local_addr().unwrap().port();
        let tcp = free_port();
        let settings = [("tcp-port", tcp.clone()), ("rest-port", taken_port.to_string())];
        let loaded = loaded(&settings);

        let (node, started) = Node::start_parts(&loaded).await.unwrap();
        let ports = node.ports.clone();
        assert!(!all_queues_closed(&ports));
        let error = node.unless_failed(started).await.map(|node| node.peer).unwrap_err().to_string();
        for part in [&format!("127.0.0.1:{taken_port}"), "rest-port", "in use", "set another one"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(all_queues_closed(&ports));

        drop(taken);
        let node = Node::start(&loaded).await.map_err(|error| error.to_string()).unwrap();
        assert!(node.listen_addresses()[0].to_string().ends_with(&format!("/tcp/{tcp}")));
        let summary = node.stop(UNDO_LIMIT).await;
        assert_eq!((summary.abandoned, summary.late), (0, Vec::new()));
    }

    #[actix::test]
    async fn a_tcp_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let loaded = loaded(&[("tcp-port", port.clone()), ("rest", "false".to_owned())]);
        let error = Node::start(&loaded).await.map(|node| node.peer).unwrap_err().to_string();
        assert!(error.contains(&port) && error.contains("tcp-port"), "{error}");
    }

    #[actix::test]
    async fn a_discv5_port_in_use_is_named() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let discv5 = [("discv5-discovery", "true".to_owned()), ("discv5-udp-port", port.clone())];
        let loaded = loaded(&[&discv5[..], &[("tcp-port", "0".to_owned()), ("rest", "false".to_owned())]].concat());
        let error = Node::start(&loaded).await.map(|node| node.peer).unwrap_err().to_string();
        assert!(error.contains(&port) && error.contains("set discv5-udp-port"), "{error}");
    }

    #[actix::test]
    async fn a_metrics_port_in_use_is_named_and_rest_stops_again() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let rest = free_port();
        let settings = [
            ("tcp-port", "0".to_owned()),
            ("rest-port", rest.clone()),
            ("metrics-server", "true".to_owned()),
            ("metrics-server-port", port),
        ];
        let error = Node::start(&loaded(&settings)).await.map(|node| node.peer).unwrap_err().to_string();
        assert!(error.contains("metrics-server-port"), "{error}");
        TcpListener::bind(format!("127.0.0.1:{rest}")).unwrap();
    }
}
