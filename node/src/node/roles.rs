//! The one table of roles: from the configuration to what starts.

use wakumix_mix::admission::Capacity;
use wakumix_role_api::{ConfigError, Formats, Role, RoleError, RoleName, Workers};
use wakumix_telemetry::Telemetry;

use crate::config::Config;

/// A role; `None` when it is off.
type Made = Result<Option<Box<dyn Role>>, RoleError>;

/// Makes a role of its configuration.
type Make = fn(&Config) -> Made;

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

/// Every role that the configuration turns on.
pub(super) fn configured(config: &Config) -> Result<Vec<Box<dyn Role>>, RoleError> {
    TABLE.iter().filter_map(|make| make(config).transpose()).collect()
}

/// What a node which mixes can take from its peers, as set or as measured now.
#[cfg(feature = "mixer")]
pub(super) fn capacity(
    config: &Config,
    formats: &Formats,
    workers: &Workers,
    telemetry: &Telemetry,
) -> Option<Capacity> {
    config.mixes().then(|| wakumix_mixer::node_capacity(&config.mixer_role(), formats, workers, telemetry))
}

/// A build without the mixer takes no packets.
#[cfg(not(feature = "mixer"))]
pub(super) fn capacity(_: &Config, _: &Formats, _: &Workers, _: &Telemetry) -> Option<Capacity> {
    None
}

/// Makes a role whose settings are good. They are, or the configuration would not have loaded.
fn role<R: Role + 'static>(name: RoleName, made: Result<R, ConfigError>) -> Made {
    let boxed = |role| Some(Box::new(role) as Box<dyn Role>);
    made.map(boxed).map_err(|error| RoleError { role: name, problem: error.to_string() })
}

#[cfg(feature = "relay")]
fn relay(config: &Config) -> Made {
    if !config.has_role(RoleName::Relay) {
        return Ok(None);
    }
    role(RoleName::Relay, wakumix_relay::Relay::new(config.relay_role()))
}

/// Present whenever any role mixes.
#[cfg(feature = "mixer")]
fn mixer(config: &Config) -> Made {
    if !config.mixes() {
        return Ok(None);
    }
    role(RoleName::Mixer, wakumix_mixer::Mixer::new(config.mixer_role(), config.forwards()))
}

#[cfg(feature = "exit")]
fn exit(config: &Config) -> Made {
    if !config.has_role(RoleName::Exit) {
        return Ok(None);
    }
    role(RoleName::Exit, wakumix_exit::ExitRole::new(config.exit_role()))
}

#[cfg(feature = "sender")]
fn sender(config: &Config) -> Made {
    if !config.has_role(RoleName::Sender) {
        return Ok(None);
    }
    role(RoleName::Sender, wakumix_sender::SenderRole::new(config.sender_role()))
}
