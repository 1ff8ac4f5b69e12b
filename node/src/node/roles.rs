//! The one table of roles: from the configuration to what starts.

use wakumix_mix::DelayLaw;
use wakumix_role_api::{Role, RoleName};

use super::{StartError, capacity::count};
use crate::config::{Config, DelayRule};

/// Makes a role of its configuration; `None` when it is off.
type Make = fn(&Config) -> Result<Option<Box<dyn Role>>, StartError>;

/// The roles of this build, in the order in which they start.
const TABLE: &[Make] = &[
    #[cfg(feature = "relay")]
    relay,
    #[cfg(feature = "mixer")]
    mixer,
    #[cfg(feature = "exit")]
    exit,
    #[cfg(feature = "sender")]
    sender,
];

/// The roles of this build by name.
const BUILT: &[RoleName] = &[
    #[cfg(feature = "relay")]
    RoleName::Relay,
    #[cfg(feature = "mixer")]
    RoleName::Mixer,
    #[cfg(feature = "exit")]
    RoleName::Exit,
    #[cfg(feature = "sender")]
    RoleName::Sender,
];

/// Every role that the configuration turns on.
pub(super) fn configured(config: &Config) -> Result<Vec<Box<dyn Role>>, StartError> {
    if let Some(role) = config.roles.iter().find(|role| !BUILT.contains(role)) {
        return Err(StartError::Part(format!(
            "the {role} role is not in this build; build with the feature `{role}` or remove it from roles"
        )));
    }
    TABLE.iter().filter_map(|make| make(config).transpose()).collect()
}

#[cfg(feature = "relay")]
fn relay(config: &Config) -> Result<Option<Box<dyn Role>>, StartError> {
    if !config.has_role(RoleName::Relay) {
        return Ok(None);
    }
    let rate = |service| {
        config.rate_limit_of(service).map(|limit| wakumix_relay::RateLimit {
            volume: limit.volume,
            period: limit.period.as_duration(),
        })
    };
    let role = wakumix_relay::Relay::new(wakumix_relay::Config {
        cluster: config.cluster_id,
        shards: config.shard.clone(),
        shards_in_network: config.num_shards_in_network,
        max_message_len: config.max_msg_size.as_len(),
        lightpush: config.relay.lightpush,
        lightpush_rate: rate("lightpush"),
        lightpush_rate_mix: rate("mix"),
        cache_capacity: count(config.rest_relay_cache_capacity),
        follow_capacity: count(config.relay.follow_capacity),
        max_in_flight: count(config.relay.max_in_flight),
    });
    role.map(|role| Some(Box::new(role) as Box<dyn Role>)).map_err(|error| StartError::Part(error.to_string()))
}

/// Present whenever any role mixes. It forwards for others as mixer and as exit: every node of a pool may be drawn for
/// any place of a path (`spec/mix-wire.md §13`).
#[cfg(feature = "mixer")]
fn mixer(config: &Config) -> Result<Option<Box<dyn Role>>, StartError> {
    if !config.mixes() {
        return Ok(None);
    }
    let forward = config.has_role(RoleName::Mixer) || config.has_role(RoleName::Exit);
    let settings = wakumix_mixer::Config {
        delay: match config.mixer.delay_rule {
            DelayRule::Exponential => wakumix_mixer::DelayRule::Exponential,
            DelayRule::AsEncoded => wakumix_mixer::DelayRule::AsEncoded,
        },
        max_delay: config.mixer.max_delay.as_duration(),
        max_held: count(config.mixer.max_held),
        max_waiting: count(config.mixer.max_waiting),
        max_batch: count(config.mixer.max_batch),
        replay_tags: count(config.mixer.replay_tags),
    };
    let role = wakumix_mixer::Mixer::new(settings, forward);
    role.map(|role| Some(Box::new(role) as Box<dyn Role>)).map_err(|error| StartError::Part(error.to_string()))
}

#[cfg(feature = "exit")]
fn exit(config: &Config) -> Result<Option<Box<dyn Role>>, StartError> {
    if !config.has_role(RoleName::Exit) {
        return Ok(None);
    }
    let settings = wakumix_exit::Config {
        codecs: config.exit.codecs.clone(),
        forward: config.exit.forward,
        allow_private_addresses: config.exit.allow_private_addresses,
        max_requests: count(config.exit.max_requests),
        service_timeout: config.exit.service_timeout.as_duration(),
        hold: config.exit.hold.0,
    };
    let role = wakumix_exit::ExitRole::new(settings);
    role.map(|role| Some(Box::new(role) as Box<dyn Role>)).map_err(|error| StartError::Part(error.to_string()))
}

#[cfg(feature = "sender")]
fn sender(config: &Config) -> Result<Option<Box<dyn Role>>, StartError> {
    if !config.has_role(RoleName::Sender) {
        return Ok(None);
    }
    let delay: DelayLaw = config.mix.delay.0;
    let settings = wakumix_sender::Config {
        timeout: config.sender.timeout.as_duration(),
        max_timeout: config.sender.max_timeout.as_duration(),
        surbs: usize::from(config.sender.surbs),
        in_flight: count(config.sender.in_flight),
        delay,
        hold: config.sender.hold.0,
        auto_shards: std::num::NonZeroU16::new(config.num_shards_in_network)
            .map(|shards| wakumix_sender::AutoShards { cluster: config.cluster_id, shards }),
    };
    let role = wakumix_sender::SenderRole::new(settings);
    role.map(|role| Some(Box::new(role) as Box<dyn Role>)).map_err(|error| StartError::Part(error.to_string()))
}
