//! What each part of the node is configured with: the one place that knows which key sets which field.

use std::{net::SocketAddr, time::Duration};

use wakumix_discovery::{
    DescriptorsConfig, Discv5Config, DnsConfig, PeerExchangeConfig, PoolConfig, ServiceDiscoveryConfig,
};
use wakumix_role_api::{ConfigError, ConfigProblem, RoleName};
use wakumix_sphinx::PrivateKey;

use super::{Config, EntryNode, addresses::has_port_zero};

/// The roles of this build.
pub(crate) const BUILT: &[RoleName] = &[
    #[cfg(feature = "relay")]
    RoleName::Relay,
    #[cfg(feature = "mixer")]
    RoleName::Mixer,
    #[cfg(feature = "exit")]
    RoleName::Exit,
    #[cfg(feature = "sender")]
    RoleName::Sender,
];

/// Fields of a part and the keys that set them; the others cannot be set wrong.
type Keys = &'static [(&'static str, &'static str)];

#[cfg(feature = "relay")]
const RELAY: Keys = &[
    ("cluster", "cluster-id"),
    ("shards", "shard"),
    ("shards_in_network", "num-shards-in-network"),
    ("max_message_len", "max-msg-size"),
    ("lightpush_rate", "rate-limit"),
    ("lightpush_rate_mix", "rate-limit"),
    ("cache_capacity", "rest-relay-cache-capacity"),
    ("follow_capacity", "relay.follow-capacity"),
    ("max_in_flight", "relay.max-in-flight"),
];
#[cfg(feature = "mixer")]
const MIXER: Keys = &[
    ("delay", "mixer.delay-rule"),
    ("max_delay", "mixer.max-delay"),
    ("max_held", "mixer.max-held"),
    ("max_waiting", "mixer.max-waiting"),
    ("max_batch", "mixer.max-batch"),
    ("cover", "mixer.cover"),
    ("capacity", "mixer.capacity"),
];
#[cfg(feature = "exit")]
const EXIT: Keys = &[
    ("codecs", "exit.codecs"),
    ("max_requests", "exit.max-requests"),
    ("networks", "exit.networks"),
    ("ports", "exit.ports"),
    ("service_timeout", "exit.service-timeout"),
    ("max_fragment_sets", "exit.max-fragment-sets"),
    ("max_fragment_bytes", "exit.max-fragment-bytes"),
    ("fragment_timeout", "exit.fragment-timeout"),
    ("hold", "exit.hold"),
];
#[cfg(feature = "sender")]
const SENDER: Keys = &[
    ("timeout", "sender.timeout"),
    ("max_timeout", "sender.max-timeout"),
    ("surbs", "sender.surbs"),
    ("parity", "sender.parity"),
    ("in_flight", "sender.in-flight"),
    ("queue_bytes", "sender.queue-bytes"),
    ("window", "sender.window"),
    ("delay", "mix.delay"),
    ("hold", "sender.hold"),
];
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
pub(super) fn problems(config: &Config) -> Vec<(&'static str, ConfigProblem)> {
    let mut problems = named(DISCOVERY, config.discovery().validate());
    if config.mixes() {
        problems.extend(named(KEY_RING, config.key_ring(None).validate().map_err(role_error)));
    }
    #[cfg(feature = "relay")]
    if config.has_role(RoleName::Relay) {
        problems.extend(named(RELAY, config.relay_role().validate()));
    }
    #[cfg(feature = "mixer")]
    if config.mixes() {
        problems.extend(named(MIXER, config.mixer_role().validate()));
    }
    #[cfg(feature = "exit")]
    if config.has_role(RoleName::Exit) {
        problems.extend(named(EXIT, config.exit_role().validate()));
    }
    #[cfg(feature = "sender")]
    if config.has_role(RoleName::Sender) {
        problems.extend(named(SENDER, config.sender_role().validate()));
    }
    problems
}

fn named(keys: Keys, verdict: Result<(), ConfigError>) -> Vec<(&'static str, ConfigProblem)> {
    let key = |field| keys.iter().find(|(name, _)| *name == field).map_or(field, |(_, key)| *key);
    let problems = verdict.err().map(|error| error.problems).unwrap_or_default();
    problems.into_iter().map(|problem| (key(problem.field), problem)).collect()
}

/// What a ring of keys finds wrong, in the form that roles have for it.
fn role_error(error: wakumix_keyring::ConfigError) -> ConfigError {
    let problem = |wakumix_keyring::ConfigProblem { field, problem, help }| ConfigProblem { field, problem, help };
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

    /// The settings of the host.
    pub(crate) fn host(&self) -> wakumix_host::HostConfig {
        let defaults = wakumix_host::HostConfig::default();
        let total = count(self.max_connections);
        wakumix_host::HostConfig {
            listen: self.listen_addresses(),
            announce: self.announced_addresses().into_iter().filter(|address| !has_port_zero(address)).collect(),
            version: crate::VERSION.to_owned(),
            cluster: self.cluster_id,
            shards: self.shard.clone(),
            require_metadata: self.host.require_metadata,
            score_colocation: self.ip_colocation_limit > 0,
            connections: wakumix_host::ConnectionLimits {
                total,
                // Remotes cannot keep this node from dialling: a quarter stays for its own connections.
                inbound: total - total / 4,
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

    /// Whether any kind of discovery has something to begin from, or will have once others call: every kind but a cache
    /// and DNS lists needs a first node.
    pub(crate) fn finds_nodes(&self) -> bool {
        let peers = !self.staticnode.is_empty() || !self.entry_node.is_empty();
        let asks_peers = self.descriptors || self.rendezvous || self.peer_exchange;
        self.local_storage_path.is_some()
            || self.uses_discv5()
            || self.enable_kad_discovery
            || self.dns().is_some()
            || (self.peer_exchange && !self.peer_exchange_node.is_empty())
            || (asks_peers && peers)
    }

    /// The settings of discovery.
    pub(crate) fn discovery(&self) -> wakumix_discovery::Config {
        let entry_peers = self.entry_node.iter().filter_map(|entry| match entry {
            EntryNode::Peer(peer) => Some(peer.clone()),
            EntryNode::Record(_) | EntryNode::DnsTree(_) => None,
        });
        let static_peers: Vec<_> = self.staticnode.iter().cloned().chain(entry_peers).collect();
        let longest_hold = self.mixer.max_delay.as_duration();
        let descriptors = DescriptorsConfig { peers: static_peers.clone(), longest_hold };
        wakumix_discovery::Config {
            mix_nodes: self.mixnode.clone(),
            lightpush: self.lightpushnode.iter().cloned().map(Into::into).collect(),
            static_peers,
            cluster: self.cluster_id,
            shards: self.shard.clone(),
            profiles: self.mix.profile.clone(),
            allow_private: self.mix_allow_all_addresses,
            relays: self.has_role(RoleName::Relay),
            pool: PoolConfig {
                is_checked: self.has_role(RoleName::Sender),
                check_interval: self.pool.check_interval.as_duration(),
                max_age: self.pool.max_age.as_duration(),
            },
            family: self.family.clone(),
            cache: self.local_storage_path.as_ref().map(|folder| folder.join("directory.json")),
            discv5: self.uses_discv5().then(|| self.discv5()),
            descriptors: self.descriptors.then_some(descriptors),
            rendezvous: self.rendezvous,
            service_discovery: self.enable_kad_discovery.then(|| self.service_discovery()),
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
        let external = self.announced_addresses().iter().find_map(|address| match address.iter().next() {
            Some(multiaddr::Protocol::Ip4(ip)) => Some(ip),
            _ => None,
        });
        Discv5Config {
            // A configuration whose shift leaves the range does not load.
            listen: SocketAddr::new(self.listen_address, self.shifted(self.discv5_udp_port).unwrap_or(u16::MAX)),
            announce_ip: external,
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
        let configured = self.dns_discovery_url.iter().filter(|_| self.dns_discovery).cloned();
        let urls: Vec<_> = configured.chain(lists).collect();
        (!urls.is_empty()).then(|| DnsConfig { urls, name_servers: self.dns_addrs_name_server.clone() })
    }

    /// The settings of the relay role.
    #[cfg(feature = "relay")]
    pub(crate) fn relay_role(&self) -> wakumix_relay::Config {
        let rate = |service| {
            self.rate_limit_of(service)
                .map(|limit| wakumix_relay::RateLimit { volume: limit.volume, period: limit.period.as_duration() })
        };
        wakumix_relay::Config {
            cluster: self.cluster_id,
            shards: self.shard.clone(),
            shards_in_network: self.num_shards_in_network,
            max_message_len: self.max_msg_size.as_len(),
            lightpush: self.relay.lightpush,
            lightpush_rate: rate("lightpush"),
            lightpush_rate_mix: rate("mix"),
            cache_capacity: count(self.rest_relay_cache_capacity),
            follow_capacity: count(self.relay.follow_capacity),
            max_in_flight: count(self.relay.max_in_flight),
        }
    }

    /// The settings of the mixer, which every mix role needs.
    #[cfg(feature = "mixer")]
    pub(crate) fn mixer_role(&self) -> wakumix_mixer::Config {
        wakumix_mixer::Config {
            delay: match self.mixer.delay_rule {
                super::DelayRule::Exponential => wakumix_mixer::DelayRule::Exponential,
                super::DelayRule::AsEncoded => wakumix_mixer::DelayRule::AsEncoded,
            },
            max_delay: self.mixer.max_delay.as_duration(),
            max_held: count(self.mixer.max_held),
            max_waiting: count(self.mixer.max_waiting),
            max_batch: count(self.mixer.max_batch),
            cover: match self.mixer.cover {
                super::CoverTime::ByRole => wakumix_mixer::CoverRule::ByRole,
                super::CoverTime::Never => wakumix_mixer::CoverRule::Off,
                super::CoverTime::Every(mean) => wakumix_mixer::CoverRule::Every(mean.as_duration()),
            },
            cover_delay: self.mix.delay.0,
            allow_private_addresses: self.mix_allow_all_addresses,
            capacity: (self.mixer.capacity > 0).then_some(self.mixer.capacity),
        }
    }

    /// The settings of the exit role.
    #[cfg(feature = "exit")]
    pub(crate) fn exit_role(&self) -> wakumix_exit::Config {
        wakumix_exit::Config {
            codecs: self.exit.codecs.clone(),
            forward: self.exit.forward,
            allow_private_addresses: self.exit.allow_private_addresses,
            networks: self.exit.networks.clone(),
            ports: self.exit.ports.iter().map(|range| range.0.clone()).collect(),
            max_requests: count(self.exit.max_requests),
            service_timeout: self.exit.service_timeout.as_duration(),
            hold: self.exit.hold.0,
            max_fragment_sets: count(self.exit.max_fragment_sets),
            max_fragment_bytes: self.exit.max_fragment_bytes.as_len(),
            fragment_timeout: self.exit.fragment_timeout.as_duration(),
        }
    }

    /// The settings of the sender role.
    #[cfg(feature = "sender")]
    pub(crate) fn sender_role(&self) -> wakumix_sender::Config {
        wakumix_sender::Config {
            timeout: self.sender.timeout.as_duration(),
            max_timeout: self.sender.max_timeout.as_duration(),
            surbs: usize::from(self.sender.surbs),
            parity: self.sender.parity,
            in_flight: count(self.sender.in_flight),
            queue_bytes: self.sender.queue_bytes.as_len(),
            window: count(self.sender.window),
            delay: self.mix.delay.0,
            hold: self.sender.hold.0,
            auto_shards: std::num::NonZeroU16::new(self.num_shards_in_network)
                .map(|shards| wakumix_sender::AutoShards { cluster: self.cluster_id, shards }),
        }
    }
}

#[cfg(test)]
#[cfg(all(feature = "relay", feature = "exit", feature = "sender"))]
mod tests {
    use super::*;
    use crate::config::{Inputs, load, schema};

    fn defaults() -> Config {
        load(&Inputs::default()).unwrap().config
    }

    #[test]
    fn the_default_configuration_is_the_default_of_every_part() {
        let config = defaults();
        assert_eq!(config.relay_role(), wakumix_relay::Config::default());
        assert_eq!(config.mixer_role(), wakumix_mixer::Config::default());
        assert_eq!(config.exit_role(), wakumix_exit::Config::default());
        assert_eq!(config.sender_role(), wakumix_sender::Config::default());
        let by_default = wakumix_discovery::Config {
            // What only a whole node has a default for.
            shards: vec![0],
            relays: true,
            pool: PoolConfig { is_checked: false, ..PoolConfig::default() },
            descriptors: Some(DescriptorsConfig {
                longest_hold: wakumix_mixer::DEFAULT_MAX_DELAY,
                ..DescriptorsConfig::default()
            }),
            rendezvous: true,
            peer_exchange: Some(PeerExchangeConfig::default()),
            ..wakumix_discovery::Config::default()
        };
        assert_eq!(config.discovery(), by_default);
    }

    #[test]
    fn the_default_configuration_is_the_default_of_the_host_but_for_who_and_where_it_is() {
        let host = defaults().host();
        let default = wakumix_host::HostConfig::default();
        let with_own = wakumix_host::HostConfig {
            listen: host.listen.clone(),
            version: crate::VERSION.to_owned(),
            shards: vec![0],
            // The fleet's number of connections, which is lower.
            connections: wakumix_host::ConnectionLimits { total: 150, inbound: 113, ..default.connections },
            autonat: Some(wakumix_host::AutonatTimes::default()),
            ..default
        };
        assert_eq!(format!("{host:?}"), format!("{with_own:?}"));
    }

    #[test]
    fn every_field_of_a_part_that_can_be_wrong_has_a_key() {
        for (_, key) in [RELAY, MIXER, EXIT, SENDER, DISCOVERY].concat() {
            assert!(schema::find(key).is_some(), "{key}");
        }
        let mut config = defaults();
        config.roles = RoleName::ALL.to_vec();
        config.shard = vec![9];
        config.num_shards_in_network = 8;
        config.max_msg_size = crate::config::ByteSize::from_bytes(0);
        config.relay.max_in_flight = 0;
        config.relay.follow_capacity = 0;
        config.mixer.max_held = 0;
        config.mixer.max_waiting = 0;
        config.mixer.max_batch = 0;
        config.mixer.max_delay = crate::config::Timespan::from_millis(0);
        config.exit.codecs.clear();
        config.exit.max_requests = 0;
        config.exit.service_timeout = crate::config::Timespan::from_millis(0);
        config.sender.timeout = crate::config::Timespan::from_millis(0);
        config.sender.surbs = 0;
        config.sender.in_flight = 0;
        let keys: Vec<&str> = problems(&config).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            [
                "shard",
                "max-msg-size",
                "relay.follow-capacity",
                "relay.max-in-flight",
                "mixer.max-delay",
                "mixer.max-held",
                "mixer.max-waiting",
                "mixer.max-batch",
                "exit.codecs",
                "exit.max-requests",
                "exit.service-timeout",
                "sender.timeout",
                "sender.surbs",
                "sender.in-flight",
            ]
        );
    }
}
