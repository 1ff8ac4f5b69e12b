//! What each part of the node is configured with: the one place that knows which key sets which field.

use std::{net::SocketAddr, time::Duration};

use multiaddr::Protocol;
use wakumix_discovery::{
    DescriptorsConfig, Discv5Config, DnsConfig, PeerExchangeConfig, PoolConfig, ServiceDiscoveryConfig,
};
use wakumix_role_api::{ConfigError, ConfigProblem, RoleFactory, config::Settings, relay};
use wakumix_sphinx::PrivateKey;

use super::{Config, EntryNode};

/// Fields of a part and the keys that set them; the others cannot be set wrong.
type Keys = &'static [(&'static str, &'static str)];

const KEY_RING: Keys = &[
    ("lifetime", "keys.lifetime"),
    ("overlap", "keys.overlap"),
    ("tag_sync", "keys.tag-sync"),
    ("tags", "keys.replay-tags"),
];
const DISCOVERY: Keys = &[
    ("mix_nodes", "mixnode"),
    ("lightpush", "lightpushnode"),
    ("static_peers", "staticnode"),
    ("check_interval", "pool.check-interval"),
    ("max_age", "pool.max-age"),
];

/// A configured number; every platform that this runs on counts at least to 2³².
pub(crate) fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What the parts that this configuration turns on find wrong with their settings, each with its key.
pub(super) fn problems(config: &Config, roles: &[&dyn RoleFactory], settings: &Settings<'_>) -> Vec<ConfigProblem> {
    let mut problems = named(DISCOVERY, config.discovery().validate());
    if config.mixes() {
        problems.extend(named(KEY_RING, config.key_ring(None).validate().map_err(role_error)));
    }
    for role in roles {
        problems.extend(role.configure(settings).err().map(|error| error.problems).unwrap_or_default());
    }
    problems
}

fn named(keys: Keys, verdict: Result<(), ConfigError>) -> Vec<ConfigProblem> {
    verdict.err().map(|error| error.by_key(keys).problems).unwrap_or_default()
}

/// What a ring of keys finds wrong, in the form that roles have for it.
fn role_error(error: wakumix_keyring::KeyringConfigError) -> ConfigError {
    let problem =
        |wakumix_keyring::KeyringConfigProblem { field, problem, help }| ConfigProblem { field, problem, help };
    ConfigError { problems: error.problems.into_iter().map(problem).collect() }
}

impl Config {
    /// The settings of the mix keys; `fixed` is one that the operator has set.
    pub(crate) fn key_ring(&self, fixed: Option<PrivateKey>) -> wakumix_keyring::Config {
        wakumix_keyring::Config {
            directory: self.keys.directory.clone(),
            fixed,
            lifetime: self.keys.lifetime.as_duration(),
            overlap: self.keys.overlap.as_duration(),
            tag_sync: self.keys.tag_sync.as_duration(),
            tags: count(self.keys.replay_tags),
            ..wakumix_keyring::Config::default()
        }
    }

    /// The losses that this node is to make, if any.
    fn injected_loss(&self) -> Option<wakumix_host::Loss> {
        let share = self.host.inject_loss.as_share();
        (share > 0.0).then(|| wakumix_host::Loss { share, seed: self.host.inject_loss_seed.into() })
    }

    /// The settings of the host, with room for so many connections.
    pub(crate) fn host(&self, connections: usize) -> wakumix_host::HostConfig {
        let defaults = wakumix_host::HostConfig::default();
        let total = connections;
        wakumix_host::HostConfig {
            listen: self.listen_addresses(),
            announce: self.announced_addresses(),
            version: crate::VERSION.to_owned(),
            cluster: self.cluster_id,
            shards: self.shard.clone(),
            require_metadata: self.host.require_metadata,
            score_colocation: self.ip_colocation_limit > 0,
            connections: wakumix_host::ConnectionLimits {
                total,
                // Remotes cannot keep this node from dialling: a quarter stays for its own connections.
                inbound: total - total / 4,
                shared_addresses: self.host.shared_addresses.clone(),
                ..defaults.connections
            },
            mix: wakumix_host::MixLimits {
                queue_packets: count(self.host.queue_packets),
                inject_loss: self.injected_loss(),
                ..defaults.mix
            },
            requests: defaults.requests,
            max_kept_peers: defaults.max_kept_peers,
            allow_private: self.mix_allow_all_addresses,
            autonat: self.autonat.then(wakumix_host::AutonatTimes::default),
            circuit_relay: self.circuit_relay.then(wakumix_host::CircuitRelayLimits::default),
            relay_reservations: self
                .relay_reservation
                .iter()
                .map(wakumix_discovery::entry::PeerAddress::full)
                .collect(),
            ..defaults
        }
    }

    /// Whether discv5 runs: as written, else when there is a record to begin from.
    pub(crate) fn uses_discv5(&self) -> bool {
        let has_record = || self.entry_node.iter().any(|entry| matches!(entry, EntryNode::Record(_)));
        self.discv5_discovery.unwrap_or_else(|| !self.discv5_bootstrap_node.is_empty() || has_record())
    }

    /// Whether Kademlia service discovery runs: as written, else when there is a node to begin from.
    pub(crate) fn uses_kad(&self) -> bool {
        self.enable_kad_discovery.unwrap_or(!self.kad_bootstrap_node.is_empty())
    }

    /// Whether any kind of discovery has something to begin from, or will have once others call: every kind but a cache
    /// and DNS lists needs a first node.
    pub(crate) fn finds_nodes(&self) -> bool {
        let peers = !self.staticnode.is_empty() || !self.entry_node.is_empty();
        let asks_peers = self.descriptors || self.rendezvous || self.peer_exchange;
        self.local_storage_path.is_some()
            || self.uses_discv5()
            || self.uses_kad()
            || self.dns().is_some()
            || (self.peer_exchange && !self.peer_exchange_node.is_empty())
            || (asks_peers && peers)
    }

    /// The settings of discovery.
    pub fn discovery(&self) -> wakumix_discovery::Config {
        let entry_peers = self.entry_node.iter().filter_map(|entry| match entry {
            EntryNode::Peer(peer) => Some(peer.clone()),
            EntryNode::Record(_) | EntryNode::DnsTree(_) => None,
        });
        let static_peers: Vec<_> = self.staticnode.iter().cloned().chain(entry_peers).collect();
        let descriptors = DescriptorsConfig { peers: static_peers.clone(), ..DescriptorsConfig::default() };
        wakumix_discovery::Config {
            mix_nodes: self.mixnode.clone(),
            lightpush: self.lightpushnode.iter().cloned().map(Into::into).collect(),
            static_peers,
            cluster: self.cluster_id,
            shards: self.shard.clone(),
            profiles: self.mix.profile.clone(),
            allow_private: self.mix_allow_all_addresses,
            relays: self.has_role(relay::NAME),
            pool: PoolConfig {
                sends: self.mixing.sends,
                check_interval: self.pool.check_interval.as_duration(),
                max_age: self.pool.max_age.as_duration(),
            },
            family: self.family.clone(),
            cache: self.local_storage_path.as_ref().map(|folder| folder.join("directory.json")),
            guards: self.local_storage_path.as_ref().map(|folder| folder.join("guards.json")),
            discv5: self.uses_discv5().then(|| self.discv5()),
            descriptors: self.descriptors.then_some(descriptors),
            rendezvous: self.rendezvous,
            service_discovery: self.uses_kad().then(|| self.service_discovery()),
            peer_exchange: self.peer_exchange.then(|| PeerExchangeConfig { peers: self.peer_exchange_node.clone() }),
            dns: self.dns(),
            ..wakumix_discovery::Config::default()
        }
    }

    fn discv5(&self) -> Discv5Config {
        let records = self.entry_node.iter().filter_map(|entry| match entry {
            EntryNode::Record(record) => Some(record.clone()),
            EntryNode::Peer(_) | EntryNode::DnsTree(_) => None,
        });
        let announced = self.announced_addresses();
        let firsts = || announced.iter().filter_map(|address| address.iter().next());
        Discv5Config {
            // A configuration whose shift leaves the range does not load.
            listen: SocketAddr::new(self.listen_address, self.shifted(self.discv5_udp_port).unwrap_or(u16::MAX)),
            announce_ip4: firsts().find_map(|first| if let Protocol::Ip4(ip) = first { Some(ip) } else { None }),
            announce_ip6: firsts().find_map(|first| if let Protocol::Ip6(ip) = first { Some(ip) } else { None }),
            bootstrap: self.discv5_bootstrap_node.iter().cloned().chain(records).collect(),
            auto_update: self.discv5_enr_auto_update,
        }
    }

    fn service_discovery(&self) -> ServiceDiscoveryConfig {
        ServiceDiscoveryConfig {
            bootstrap: self.kad_bootstrap_node.clone(),
            random_lookup: Duration::from_secs(self.kad_random_lookup_interval.into()),
            service_lookup: Duration::from_secs(self.kad_service_lookup_interval.into()),
        }
    }

    pub(super) fn dns(&self) -> Option<DnsConfig> {
        let lists = self.entry_node.iter().filter_map(|entry| match entry {
            EntryNode::DnsTree(list) => Some(list.clone()),
            EntryNode::Peer(_) | EntryNode::Record(_) => None,
        });
        let configured = self.dns_discovery_url.iter().filter(|_| self.dns_discovery != Some(false)).cloned();
        let urls: Vec<_> = configured.chain(lists).collect();
        (!urls.is_empty()).then(|| DnsConfig { urls, name_servers: self.dns_addrs_name_server.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Inputs, load};

    fn defaults() -> Config {
        load(&Inputs::default()).unwrap().config
    }

    #[test]
    fn the_default_configuration_is_the_default_of_discovery() {
        let by_default = wakumix_discovery::Config {
            // What only a whole node has a default for.
            shards: vec![0],
            relays: true,
            pool: PoolConfig { sends: false, ..PoolConfig::default() },
            descriptors: Some(DescriptorsConfig::default()),
            rendezvous: true,
            peer_exchange: Some(PeerExchangeConfig::default()),
            ..wakumix_discovery::Config::default()
        };
        assert_eq!(defaults().discovery(), by_default);
    }

    #[test]
    fn the_default_configuration_is_the_default_of_the_host_but_for_who_and_where_it_is() {
        let host = defaults().host(512);
        let default = wakumix_host::HostConfig::default();
        let with_own = wakumix_host::HostConfig {
            listen: host.listen.clone(),
            version: crate::VERSION.to_owned(),
            shards: vec![0],
            autonat: Some(wakumix_host::AutonatTimes::default()),
            ..default
        };
        assert_eq!(format!("{host:?}"), format!("{with_own:?}"));
    }
}
