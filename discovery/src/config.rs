//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::{collections::HashMap, path::PathBuf, time::Duration};

use libp2p_identity::PeerId;
use wakumix_role_api::{ConfigChecks, ConfigError, directory::ServiceNode};
use wakumix_sphinx::{Weaknesses, WireFormat};

use crate::{
    entry::{MixNodeEntry, PeerAddress},
    peer_table::PoolConfig,
    sources::{DescriptorsConfig, Discv5Config, DnsConfig, PeerExchangeConfig, ServiceDiscoveryConfig},
};

/// Mix nodes that the directory holds. A path needs 4, a good pool more than 100 (`spec/waku.md §5.4`); each takes less than
/// 300 bytes, so this is some 5 MiB.
pub const DEFAULT_MAX_NODES: usize = 16_384;
/// Peers that the host is asked to stay connected to; beyond them connections are made when they are needed.
pub const DEFAULT_MAX_CONNECTED: usize = 128;
/// How long a resolved name is believed; operators move nodes in hours, so minutes do.
pub const DEFAULT_REFRESH: Duration = Duration::from_secs(300);

/// The settings of discovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Mix nodes that are known from the start.
    pub mix_nodes: Vec<MixNodeEntry>,
    /// Lightpush services that are known from the start, most preferred first.
    pub lightpush: Vec<ServiceNode>,
    /// Other peers to stay connected to.
    pub static_peers: Vec<PeerAddress>,
    /// Mix nodes that the directory holds; further ones are ignored.
    pub max_nodes: usize,
    /// Peers that the host is asked to stay connected to: the static ones first, then services, then relays where this node
    /// relays, then mix nodes where it checks the pool.
    pub max_connected: usize,
    /// How long a resolved name is believed.
    pub refresh: Duration,
    /// The cluster whose nodes are taken.
    pub cluster: u16,
    /// The shards of this node: services and relays of others are left out.
    pub shards: Vec<u16>,
    /// The wire profiles that this node speaks.
    pub profiles: Vec<WireFormat>,
    /// Whether nodes at private and loopback addresses are taken: in test nets and closed fleets.
    pub allow_private: bool,
    /// Whether this node relays and so wants connections to other relays of its shards.
    pub relays: bool,
    /// The rules of the pool.
    pub pool: PoolConfig,
    /// Other nodes of this node's operator: no path has two of them.
    pub family: Vec<PeerId>,
    /// Where the last good directory is kept.
    pub cache: Option<PathBuf>,
    /// Where a node that has guards keeps them.
    pub guards: Option<PathBuf>,
    /// discv5, if it is on.
    pub discv5: Option<Discv5Config>,
    /// Descriptors, if they are on.
    pub descriptors: Option<DescriptorsConfig>,
    /// Whether Waku rendezvous is on.
    pub rendezvous: bool,
    /// Kademlia service discovery, if it is on.
    pub service_discovery: Option<ServiceDiscoveryConfig>,
    /// Peer exchange, if it is on.
    pub peer_exchange: Option<PeerExchangeConfig>,
    /// DNS lists, if they are on.
    pub dns: Option<DnsConfig>,
    /// Countermeasures that are missing; none outside of the attack suite.
    pub weaknesses: Weaknesses,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mix_nodes: Vec::new(),
            lightpush: Vec::new(),
            static_peers: Vec::new(),
            max_nodes: DEFAULT_MAX_NODES,
            max_connected: DEFAULT_MAX_CONNECTED,
            refresh: DEFAULT_REFRESH,
            cluster: 0,
            shards: Vec::new(),
            profiles: vec![WireFormat::default()],
            allow_private: false,
            relays: false,
            pool: PoolConfig::default(),
            family: Vec::new(),
            cache: None,
            guards: None,
            discv5: None,
            descriptors: None,
            rendezvous: false,
            service_discovery: None,
            peer_exchange: None,
            dns: None,
            weaknesses: Weaknesses::NONE,
        }
    }
}

impl Config {
    /// Checks every setting. An entry given twice is fine; two that contradict each other are not.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = ConfigChecks::default();
        self.contradictions(&mut checks);
        if self.mix_nodes.len() > self.max_nodes {
            let problem = format!("has {} entries, more than the directory holds", self.mix_nodes.len());
            checks.refuse("mix_nodes", problem, format!("keep at most {}", self.max_nodes));
        }
        if self.refresh.is_zero() {
            checks.refuse("refresh", "is zero", "use a time longer than that");
        }
        if self.pool.check_interval.is_zero() {
            checks.refuse("check_interval", "is zero", "use a time longer than that");
        }
        if self.pool.max_age < self.pool.check_interval {
            let problem = "is shorter than the time between two checks, so that nodes expire before they are checked";
            checks.refuse("max_age", problem, "use several times pool.check-interval");
        }
        checks.finish()
    }

    /// Mix nodes of one peer with different keys or addresses.
    fn contradictions(&self, checks: &mut ConfigChecks) {
        let mut first = HashMap::new();
        for entry in &self.mix_nodes {
            let known = first.entry(entry.peer()).or_insert(entry);
            if *known != entry {
                let what = if known.key() == entry.key() { "addresses" } else { "mix keys" };
                let problem = format!("has two entries of peer {} with different {what}", entry.peer());
                checks.refuse("mix_nodes", problem, "keep the right one");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o";
    const KEYS: [&str; 2] = [
        "9d09ce624f76e8f606265edb9cca2b7de9b41772a6d784bddaf92ffa8fba7d2c",
        "9231e86da6432502900a84f867004ce78632ab52cd8e30b1ec322cd795710c2a",
    ];

    fn entry(port: u16, key: usize) -> MixNodeEntry {
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{PEER}:{}", KEYS[key]).parse().unwrap()
    }

    fn problems(config: &Config) -> String {
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn an_entry_may_be_repeated_but_not_contradicted() {
        let with = |mix_nodes| Config { mix_nodes, ..Config::default() };
        assert_eq!(with(vec![entry(1, 0), entry(1, 0)]).validate(), Ok(()));
        let keys = format!("mix_nodes has two entries of peer {PEER} with different mix keys; keep the right one");
        assert_eq!(problems(&with(vec![entry(1, 0), entry(1, 1)])), keys);
        let addresses =
            format!("mix_nodes has two entries of peer {PEER} with different addresses; keep the right one");
        assert_eq!(problems(&with(vec![entry(1, 0), entry(2, 0)])), addresses);
    }

    #[test]
    fn reports_every_problem_at_once() {
        let config =
            Config { mix_nodes: vec![entry(1, 0)], max_nodes: 0, refresh: Duration::ZERO, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().fields(), ["mix_nodes", "refresh"]);
    }
}
