//! The REST server: nwaku's shapes where nwaku has the endpoint (`spec/waku.md §7.2`).
//!
//! | method, path | what |
//! |---|---|
//! | POST `/lightpush/v3/message` | push a message; `anonymity` says how |
//! | POST `/lightpush/v1/message` | the same with nwaku's older answers |
//! | POST, DELETE `/relay/v1/subscriptions`, `/relay/v1/auto/subscriptions` | join, leave pubsub topics, content topics |
//! | GET, POST `/relay/v1/messages/{topic}` | take the received messages, publish one |
//! | GET `/relay/v1/auto/messages/{contentTopic}`, POST `/relay/v1/auto/messages` | the same by content topic |
//! | GET `/info`, `/debug/v1/info` | addresses, ENR, mix key |
//! | GET `/version`, `/debug/v1/version` | version, as text |
//! | GET `/health` | nwaku's health report |
//! | GET `/health/live`, `/health/ready` | probes: process up; every role ready (503 says what is missing) |
//! | GET `/metrics` | Prometheus text |
//! | GET, POST `/admin/v1/pool` | every known mix node, its state and why; nodes that are handed over |
//! | GET, POST `/admin/v1/peers`, and what is below | peers, connected and known; dial some |
//! | POST `/admin/v1/log-level/{level}` | another log level |
//! | POST `/admin/v1/probe` | loops through every usable mix node: loss and latency (the sender role's) |
//! | GET `/openapi.json` | all of this as an OpenAPI description, made from the routes themselves |
//!
//! What a web page sends is refused: see `guard`, and `cors` for pages that the operator allows. What needs a token, where one is
//! set, and what an open network may not do: `access`. Certificates of clients: `clients`. How failures are written: `failure`.

mod access;
mod body;
mod clients;
mod cors;
mod debug;
mod failure;
mod guard;
mod health;
pub mod lightpush;
mod log_level;
mod openapi;
mod peers;
pub mod pool;
mod role;
mod routes;
#[cfg(test)]
mod tests;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware, web};
use futures::future::BoxFuture;
use socket2::SockRef;
use wakumix_discovery::{AddError, Addition, PoolEntry, entry::PeerAddress};
use wakumix_role_api::{
    DirectoryReader, Ports, RoleName,
    host::HostHandle,
    rest::{Access, Route},
    sender::{PlainPush, SenderHandle},
};
use wakumix_telemetry::{Telemetry, health::Health};
use wakumix_tls::rustls::ServerConfig;

use crate::{config::AllowedOrigin, token::Token};

pub use debug::Info;

/// Connections that a server has open; more wait to be accepted. Each holds at most one body: 110 MB of the longest.
const MAX_CONNECTIONS: usize = 512;
/// From the first byte of a request to the last of its head.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A handshake of TLS: two round trips to the other side of the world, and a lost packet. Handshakes that go no further take
/// places of [`MAX_CONNECTIONS`], so this is also how long as many of them keep the next client waiting.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that wait to be accepted. What does not fit is begun again by its client after a second, then two, then four: with
/// the 128 of the standard library a flood kept others out for half a minute.
const BACKLOG: i32 = 1024;
/// How long a connection may be idle while requests finish during a stop.
const SHUTDOWN_SECONDS: u64 = 1;

/// What the handlers work on. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// What the node is, once its record says all of it.
    pub info: Arc<dyn Fn() -> BoxFuture<'static, Info> + Send + Sync>,
    /// Pushes over the mixnet, if the sender role is on.
    pub sender: Option<SenderHandle>,
    /// The handles of the roles, for their routes.
    pub ports: Ports,
    /// Routes of every role that this node could have.
    pub routes: Arc<[RoleRoute]>,
    /// Pushes without the mixnet.
    pub plain: PlainPush,
    /// For the state of the host.
    pub host: HostHandle,
    /// Which nodes are known.
    pub directory: DirectoryReader,
    /// The cluster and its shards, for topics that a caller leaves out.
    pub sharding: Sharding,
    /// The longest encoded message, in bytes.
    pub max_message: usize,
    /// The node's health at this moment, told how many peers are connected.
    pub health: Arc<dyn Fn(usize) -> Health + Send + Sync>,
    /// What the node waits for, one line each; empty when it is ready.
    pub missing: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Whether the node has begun to stop.
    pub is_stopping: Arc<dyn Fn() -> bool + Send + Sync>,
    /// The metrics page.
    pub telemetry: Telemetry,
    /// Whether `/admin` answers.
    pub admin: bool,
    /// Whether requests that change something are served.
    pub takes_changes: bool,
    /// Whether a client has to show a certificate, for everything but health.
    pub needs_client_certificate: bool,
    /// Names of this node that callers may use besides its addresses.
    pub allowed_hosts: Arc<[String]>,
    /// Web pages that may use the interface.
    pub allowed_origins: Arc<[AllowedOrigin]>,
    /// What `/admin` and direct pushes need, if the operator has set one.
    pub token: Option<Token>,
    /// Whether messages may be pushed without the mixnet.
    pub direct: bool,
    /// Asks discovery for every known mix node.
    pub pool: Arc<dyn Fn() -> BoxFuture<'static, Vec<PoolEntry>> + Send + Sync>,
    /// Hands nodes to discovery.
    pub add_nodes: AddNodes,
    /// Stays connected to a peer from now on; false where discovery has stopped.
    pub keep: Arc<dyn Fn(PeerAddress) -> BoxFuture<'static, bool> + Send + Sync>,
}

/// Hands nodes over; done once the directory shows them.
pub type AddNodes = Arc<dyn Fn(Vec<Addition>) -> BoxFuture<'static, Result<(), AddError>> + Send + Sync>;

/// A route that a role brings.
#[derive(Clone, Copy, Debug)]
pub struct RoleRoute {
    /// The role.
    pub role: RoleName,
    /// Whether it runs.
    pub is_on: bool,
    /// The route.
    pub route: Route,
}

/// The cluster of this node and how content topics map to its shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// The cluster id.
    pub cluster: u16,
    /// Shards under auto-sharding; `None` under static sharding.
    pub shards: Option<std::num::NonZeroU16>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {setting}: {source}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The setting that names it.
    pub setting: &'static str,
    /// What the system says.
    pub source: std::io::Error,
}

/// A running server; it stops when told, not when dropped.
#[derive(Debug)]
pub struct Server {
    /// The bound address; the port is real even when 0 was asked for.
    pub address: SocketAddr,
    /// Whether it speaks https.
    pub is_secure: bool,
    handle: ServerHandle,
}

impl Server {
    /// Serves the whole API at `address`. Must be called inside an actix `System`.
    pub fn start_rest(api: Api, address: SocketAddr, tls: Option<ServerConfig>) -> Result<Self, BindError> {
        guard::announce(&api.telemetry);
        Self::start(api, address, tls, "rest-address and rest-port", true, routes::register)
    }

    /// Serves `/metrics` and `/health` only, as nwaku's metrics port does.
    pub fn start_metrics(api: Api, address: SocketAddr, tls: Option<ServerConfig>) -> Result<Self, BindError> {
        let setting = "metrics-server-address and metrics-server-port";
        Self::start(api, address, tls, setting, false, routes::register_on_metrics_port)
    }

    fn start(
        api: Api,
        address: SocketAddr,
        tls: Option<ServerConfig>,
        setting: &'static str,
        is_guarded: bool,
        routes: fn(&mut web::ServiceConfig, &Api),
    ) -> Result<Self, BindError> {
        let failed = |source| BindError { address, setting, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        SockRef::from(&listener).listen(BACKLOG).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (is_secure, needs_certificate) = (tls.is_some(), api.needs_client_certificate);
        let server = HttpServer::new(move || {
            App::new()
                .wrap(middleware::Condition::new(is_guarded, middleware::from_fn(guard::guard)))
                .wrap(middleware::NormalizePath::trim())
                .wrap(middleware::Condition::new(needs_certificate, middleware::from_fn(clients::guard)))
                .configure(state(&api))
                .configure(|config| routes(config, &api))
        })
        .workers(1)
        .max_connections(MAX_CONNECTIONS)
        .max_connection_rate(MAX_CONNECTIONS)
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .client_request_timeout(REQUEST_TIMEOUT)
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        .on_connect(clients::note);
        let server = match tls {
            Some(tls) => server.listen_rustls_0_23(listener, tls),
            None => server.listen(listener),
        };
        let server = server.map_err(failed)?.run();
        let handle = server.handle();
        #[expect(clippy::disallowed_methods, reason = "actix-web restarts the workers that this waits for")]
        actix_web::rt::spawn(server);
        Ok(Self { address, is_secure, handle })
    }

    /// Refuses new connections and lets open requests finish for a second.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
    }
}

/// What the node serves itself, at these paths and below them. Below `/health` nothing keeps web pages out.
const OWN: [&str; 11] = [
    "/lightpush",
    "/info",
    "/version",
    "/debug",
    "/health",
    "/metrics",
    "/openapi.json",
    "/admin/v1/pool",
    "/admin/v1/peer",
    "/admin/v1/peers",
    "/admin/v1/log-level",
];

/// Why a role cannot have a route, if it cannot.
pub(crate) fn refused_route(route: &Route) -> Option<String> {
    let below =
        |own: &&&str| route.path.strip_prefix(**own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(own) = OWN.iter().find(below) {
        return Some(format!("the node itself serves {own} and what is below"));
    }
    if !route.path.starts_with('/') {
        return Some("a path begins with /".to_owned());
    }
    let is_of_operators = route.access == Access::Operators;
    (route.path.starts_with("/admin/") != is_of_operators)
        .then(|| "routes of operators, and no others, stand below /admin/".to_owned())
}

/// A path without the names of the parts that a request chooses.
pub(crate) fn pattern(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// What handlers work on, and how much of a body they read.
fn state(api: &Api) -> impl FnOnce(&mut web::ServiceConfig) + use<> {
    let api = api.clone();
    move |config| {
        config.app_data(web::PayloadConfig::new(body::limit(api.max_message))).app_data(web::Data::new(api));
    }
}
