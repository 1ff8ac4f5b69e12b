//! Configuration: one tree of values from layers of sources, checked as a whole.
//!
//! Layers, later ones win: built-in defaults, preset, file (TOML or YAML), environment `WAKUMIX_…`, flags. The same
//! names hold everywhere: `mix.delay` is `delay` in table `[mix]` of a file, `WAKUMIX_MIX__DELAY` in the environment
//! and `--mix.delay` as a flag. Nwaku's names are accepted where it has them.
//!
//! Reading goes in two passes over what all layers hold together, and both report everything that they find:
//! `layers` judges each written value by the table of keys (`schema`), `check` judges what they mean together.

pub(crate) mod addresses;
mod check;
mod derived;
mod entry_node;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub(crate) mod kind;
mod layers;
mod load;
mod masked;
mod nat;
mod networks;
mod origin;
pub(crate) mod parts;
mod percent;
mod place;
mod presets;
mod problem;
pub(crate) mod schema;
mod show;
mod text;
mod wakunode2;

#[cfg(test)]
mod tests;

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use serde::{Deserialize, Serialize};
use wakumix_discovery::entry::{MixNodeEntry, PeerAddress};
use wakumix_role_api::{Mixing, RoleName};
use wakumix_sphinx::WireFormat;
use wakumix_telemetry::logging;

pub use addresses::{PortTransport, PortUse};
pub use check::Keys;
pub use entry_node::EntryNode;
pub use layers::{ENV_PREFIX, Flag, Inputs};
pub use load::{Loaded, load, log_form};
pub use nat::Nat;
pub use origin::AllowedOrigin;
pub use percent::Percent;
pub use problem::{ConfigSource, Problem, Problems};
pub use schema::{Schema, capitalised, sentence};
pub use show::{ShowFormat, show, show_defaults};
pub use wakumix_role_api::config::{ByteSize, MixDelay, RateLimit, Timespan, ValueError};
pub use wakunode2::{OPTIONS, SWITCHES, Switch};

/// The node's own configuration. Made by [`load`]; its keys are described in the table that `wakumix config show
/// --defaults` prints. What the roles are set to they read themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The preset in use.
    pub preset: Option<String>,
    /// What the node is; never empty.
    #[serde(skip)]
    pub roles: Vec<RoleName>,
    /// What it does with packets because of these roles.
    #[serde(skip)]
    pub mixing: Mixing,
    /// Whether any role runs that handles packets, named or needed by a named one.
    #[serde(skip)]
    pub(crate) runs_mix_role: bool,
    /// How long stopping may take.
    pub drain_timeout: Timespan,
    /// Whether others may have the memory of the process.
    pub core_dumps: bool,

    /// The file of the identity. The key itself, and one that is written in place, is in [`Loaded::keys`].
    pub nodekey_file: Option<PathBuf>,
    /// The file of the mix key. Likewise.
    pub mixkey_file: Option<PathBuf>,

    /// Where the transports bind.
    pub listen_address: IpAddr,
    /// As written; [`Config::ports`] has the ports with the shift added.
    pub tcp_port: u16,
    /// Whether QUIC is on.
    pub quic_support: bool,
    /// As written, UDP.
    pub quic_port: u16,
    /// Whether WebSocket is on.
    pub websocket_support: bool,
    /// As written.
    pub websocket_port: u16,
    /// Whether WebSocket over TLS is on.
    pub websocket_secure_support: bool,
    /// As written; unset for `websocket_port`, where plain WebSocket is then not served.
    pub websocket_secure_port: Option<u16>,
    /// The chain of its certificate.
    pub websocket_secure_cert_path: Option<PathBuf>,
    /// The key of its certificate.
    pub websocket_secure_key_path: Option<PathBuf>,
    /// Added to every port but 0.
    pub ports_shift: u16,
    /// How others reach the node behind address translation.
    pub nat: Nat,
    /// Announced before all others.
    pub ext_multiaddr: Vec<Multiaddr>,
    /// Whether nothing else is announced.
    pub ext_multiaddr_only: bool,
    /// Its name in the DNS.
    pub dns4_domain_name: Option<String>,
    /// Whether nodes try whether they can dial each other.
    pub autonat: bool,
    /// Whether connections are relayed for nodes that nobody can dial.
    pub circuit_relay: bool,
    /// Relays to be reachable through.
    #[serde(with = "text")]
    pub relay_reservation: Vec<PeerAddress>,

    /// Peers to stay connected to.
    #[serde(with = "text")]
    pub staticnode: Vec<PeerAddress>,
    /// Lightpush services in order of preference.
    #[serde(with = "text")]
    pub lightpushnode: Vec<PeerAddress>,
    /// The static mix pool; may hold the node itself.
    #[serde(with = "text")]
    pub mixnode: Vec<MixNodeEntry>,
    /// Connections in both directions; unset for as many as there is room for.
    pub max_connections: Option<u32>,
    /// Peers on one IP address before gossipsub marks them down; 0 for no limit.
    pub ip_colocation_limit: u32,

    /// Nodes to find the network from.
    #[serde(with = "text")]
    pub entry_node: Vec<EntryNode>,
    /// Whether discv5 is on; unset means on when there is a record to begin from.
    pub discv5_discovery: Option<bool>,
    /// As written, UDP.
    pub discv5_udp_port: u16,
    /// Records that discv5 begins from, besides those of `entry_node`.
    pub discv5_bootstrap_node: Vec<String>,
    /// Whether the own record takes the address that others see.
    pub discv5_enr_auto_update: bool,
    /// Whether descriptors are asked for and served.
    pub descriptors: bool,
    /// Whether Waku rendezvous is on.
    pub rendezvous: bool,
    /// Whether peer exchange is on.
    pub peer_exchange: bool,
    /// Nodes that peer exchange asks first.
    #[serde(with = "text")]
    pub peer_exchange_node: Vec<PeerAddress>,
    /// Whether Kademlia service discovery is on; unset means on when there is a node to begin from.
    pub enable_kad_discovery: Option<bool>,
    /// Nodes that it asks first.
    #[serde(with = "text")]
    pub kad_bootstrap_node: Vec<PeerAddress>,
    /// Seconds between two random walks.
    pub kad_random_lookup_interval: u32,
    /// Seconds between two look-ups of mix nodes.
    pub kad_service_lookup_interval: u32,
    /// Whether the lists of `dns_discovery_url` are read; unset means that they are.
    pub dns_discovery: Option<bool>,
    /// The lists, besides those of `entry_node`.
    pub dns_discovery_url: Vec<String>,
    /// Name servers for them.
    pub dns_addrs_name_server: Vec<IpAddr>,
    /// Whether nodes at private addresses are taken.
    pub mix_allow_all_addresses: bool,
    /// Where the node keeps what it learns.
    pub local_storage_path: Option<PathBuf>,
    /// Who runs this node.
    pub operator: Option<String>,
    /// Other nodes of the same operator.
    #[serde(with = "text")]
    pub family: Vec<PeerId>,

    /// The cluster.
    pub cluster_id: u16,
    /// Shards that the relay joins, those of `content_topic` among them.
    pub shard: Vec<u16>,
    /// Content topics whose shards it joins.
    pub content_topic: Vec<String>,
    /// Shards of the cluster; 0 turns deriving a shard off.
    pub num_shards_in_network: u16,
    /// Largest encoded message.
    pub max_msg_size: ByteSize,
    /// Budgets of services.
    pub rate_limit: Vec<RateLimit>,

    /// Whether REST is served.
    pub rest: bool,
    /// Where REST binds.
    pub rest_address: IpAddr,
    /// As written.
    pub rest_port: u16,
    /// Whether the routes of operators are served on any address.
    pub rest_admin: bool,
    /// Names of this node that callers of REST may use.
    pub rest_allow_host: Vec<String>,
    /// Web pages that may use REST.
    #[serde(with = "text")]
    pub rest_allow_origin: Vec<AllowedOrigin>,
    /// The file of the token. The token itself is in [`Loaded::keys`].
    pub rest_token_file: Option<PathBuf>,
    /// The chain of the certificate of REST and metrics.
    pub rest_tls_cert_path: Option<PathBuf>,
    /// Its key.
    pub rest_tls_key_path: Option<PathBuf>,
    /// Authorities of client certificates.
    pub rest_tls_client_ca_path: Option<PathBuf>,
    /// Whether REST takes changes from everybody, in the open and without TLS.
    pub rest_allow_insecure: bool,
    /// Messages kept for each REST subscription.
    pub rest_relay_cache_capacity: u32,
    /// Whether metrics have their own port.
    pub metrics_server: bool,
    /// Where the metrics server binds.
    pub metrics_server_address: IpAddr,
    /// As written.
    pub metrics_server_port: u16,
    /// Filter of log events.
    pub log_level: String,
    /// Form of log lines.
    pub log_format: logging::Format,
    /// What lines begin with.
    pub log_name: Option<String>,

    /// Which nodes may carry packets.
    pub pool: PoolSection,
    /// The libp2p host.
    pub host: HostSection,
    /// What all mix roles share.
    pub mix: MixSection,
    /// The mix keys and their replay tags.
    pub keys: KeysSection,
}

/// Which nodes may carry packets: table `[pool]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PoolSection {
    /// Between two checks of a node that answers.
    pub check_interval: Timespan,
    /// How long a node is believed to be alive.
    pub max_age: Timespan,
}

/// The libp2p host: table `[host]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HostSection {
    /// Whether peers that do not answer metadata are disconnected.
    pub require_metadata: bool,
    /// Packets that wait for one peer.
    pub queue_packets: u32,
    /// Networks whose addresses many users share.
    #[serde(with = "text")]
    pub shared_addresses: Vec<IpNet>,
    /// Share of its packets that the node loses on purpose.
    pub inject_loss: Percent,
    /// Which ones.
    pub inject_loss_seed: u32,
}

/// What all mix roles share: table `[mix]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MixSection {
    /// The wire profiles that are served, the one for own packets first.
    #[serde(with = "text")]
    pub profile: Vec<WireFormat>,
    /// The delay law.
    pub delay: MixDelay,
    /// Closed networks that the node serves.
    #[serde(with = "text")]
    pub networks: Vec<IpNet>,
    /// Packets that the node can hold at once.
    pub buffers: u32,
}

/// The mix keys and their replay tags: table `[keys]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeysSection {
    /// Where keys and tags are kept.
    pub directory: Option<PathBuf>,
    /// How long a key is current.
    pub lifetime: Timespan,
    /// How long it opens packets after that.
    pub overlap: Timespan,
    /// How long tags may be on their way to the disk after their packets have gone on.
    pub tag_sync: Timespan,
    /// Packets of one key remembered against replay.
    pub replay_tags: u32,
}

impl Config {
    /// Whether a role is on.
    pub fn has_role(&self, role: RoleName) -> bool {
        self.roles.contains(&role)
    }

    /// Whether `/admin` is served: on loopback, to clients with a certificate, and where the operator says so.
    pub(crate) fn serves_admin(&self) -> bool {
        self.rest_admin || self.rest_address.is_loopback() || self.rest_tls_client_ca_path.is_some()
    }

    /// Whether REST serves requests that change something: not to everybody who reaches it over an open network.
    pub(crate) fn takes_changes(&self) -> bool {
        self.rest_address.is_loopback()
            || self.rest_tls_cert_path.is_some()
            || self.rest_token_file.is_some()
            || self.rest_allow_insecure
    }

    /// The files of the certificate of REST and metrics, if they are named and used.
    pub(crate) fn http_certificate(&self) -> Option<wakumix_tls::Files> {
        let is_used = self.rest || self.metrics_server;
        Some(wakumix_tls::Files {
            certificate: self.rest_tls_cert_path.clone().filter(|_| is_used)?,
            key: self.rest_tls_key_path.clone()?,
            name: None,
        })
    }

    /// Whether the node passes packets of others on.
    pub fn forwards(&self) -> bool {
        self.mixing.forwards
    }

    /// Whether the node handles packets, so that it needs a mix key and a secp256k1 identity.
    pub fn mixes(&self) -> bool {
        self.runs_mix_role
    }

    /// The wire profiles for people: `lioness/pad, sphinx-packet`.
    pub fn profiles_text(&self) -> String {
        self.mix.profile.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}
