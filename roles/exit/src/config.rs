//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::{ops::RangeInclusive, time::Duration};

use ipnet::IpNet;
use wakumix_mix::{DelayLaw, exit::ExitPolicy, fragment::MAX_SET_BYTES};
use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_waku::lightpush::{V2_PROTOCOL, V3_PROTOCOL};

use crate::policy::READABLE;

/// Requests that may be at work at a time. Each holds at most 8 KiB: its bytes, its reply blocks, its answer.
pub const DEFAULT_MAX_REQUESTS: usize = 256;
/// How long a service may take. A sender waits 10 s by default and the two ways take 4.2 s of delays at the very worst,
/// so an empty answer that follows this limit is still of use to it.
pub const DEFAULT_SERVICE_TIMEOUT: Duration = Duration::from_secs(5);
/// Ports that requests may be passed on to: those that any user of a machine may serve at, as Waku nodes do (60000, 30303, 8000),
/// and 443 for those behind secure WebSockets. Ports below 1024 are where a machine's own services are: mail, ssh, names.
pub const DEFAULT_PORTS: [RangeInclusive<u16>; 2] = [443..=443, 1024..=65535];
/// Incomplete sets of fragments. The fragments of a set come within a second, so this is what a thousand senders begin in one.
pub const DEFAULT_MAX_FRAGMENT_SETS: usize = 1024;
/// Bytes of incomplete sets: each of as many as are allowed may hold a full packet.
pub const DEFAULT_MAX_FRAGMENT_BYTES: usize = 4 * 1024 * 1024;
/// How long a set may take. It is as long as a sender waits by default: what completes later serves nobody.
pub const DEFAULT_FRAGMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// The bounds of [`Config::max_fragment_sets`] and [`Config::max_fragment_bytes`].
const SETS: RangeInclusive<usize> = 0..=65_536;
const SET_BYTES: RangeInclusive<usize> = MAX_SET_BYTES..=1 << 30;
/// The bounds of [`Config::max_requests`]: half a gibibyte at most.
const REQUESTS: RangeInclusive<usize> = 1..=65_536;

/// The settings of the exit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The protocols that requests may name; all others are refused. The mix protocol itself can never be among them.
    pub codecs: Vec<String>,
    /// Whether requests are passed on to services on other nodes.
    pub forward: bool,
    /// Whether they may be passed on to addresses that are not public, beyond those of known services and of the closed
    /// network that this node is in. For test nets.
    pub allow_private_addresses: bool,
    /// Networks whose addresses requests may be passed on to, public or not.
    pub networks: Vec<IpNet>,
    /// Ports that they may be passed on to. Services of the directory are asked at any port.
    pub ports: Vec<RangeInclusive<u16>>,
    /// Requests that may be at work at a time; the next is refused.
    pub max_requests: usize,
    /// How long a service, here or elsewhere, may take to answer.
    pub service_timeout: Duration,
    /// How long each answer waits here before it leaves, drawn for each reply block anew: all at once would tell that they
    /// belong together (`spec/mix-wire.md §21` W12).
    pub hold: DelayLaw,
    /// Sets of fragments that may be incomplete at a time, for each packet format; beyond them the oldest is given up. With 0
    /// this exit does not reassemble.
    pub max_fragment_sets: usize,
    /// Bytes of incomplete sets, reply blocks included, for each packet format; beyond them the oldest set is given up.
    pub max_fragment_bytes: usize,
    /// How long a set may take from its first fragment to its last.
    pub fragment_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            codecs: vec![V3_PROTOCOL.to_owned(), V2_PROTOCOL.to_owned()],
            forward: true,
            allow_private_addresses: false,
            max_requests: DEFAULT_MAX_REQUESTS,
            service_timeout: DEFAULT_SERVICE_TIMEOUT,
            hold: DelayLaw::default(),
            networks: Vec::new(),
            ports: DEFAULT_PORTS.to_vec(),
            max_fragment_sets: DEFAULT_MAX_FRAGMENT_SETS,
            max_fragment_bytes: DEFAULT_MAX_FRAGMENT_BYTES,
            fragment_timeout: DEFAULT_FRAGMENT_TIMEOUT,
        }
    }
}

impl Config {
    /// Checks every setting.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = ConfigChecks::default();
        if self.codecs.is_empty() {
            checks.refuse("codecs", "is empty, so the exit serves nothing", "name a protocol, or turn the exit off");
        }
        for codec in self.codecs.iter().filter(|codec| !READABLE.contains(&codec.as_str())) {
            let help = format!("use {}", READABLE.join(", "));
            checks.refuse("codecs", format!("names {codec}, which no exit can answer"), help);
        }
        checks.within("max_requests", &self.max_requests, &REQUESTS);
        for ports in self.ports.iter().filter(|ports| ports.is_empty()) {
            let range = format!("{}-{}", ports.start(), ports.end());
            checks.refuse("ports", format!("has the range {range}, which holds no port"), "put the lower port first");
        }
        checks.within("max_fragment_sets", &self.max_fragment_sets, &SETS);
        checks.within("max_fragment_bytes", &self.max_fragment_bytes, &SET_BYTES);
        for (field, time) in [("service_timeout", self.service_timeout), ("fragment_timeout", self.fragment_timeout)] {
            if time.is_zero() {
                checks.refuse(field, "is zero", "use a time longer than that");
            }
        }
        checks.finish()
    }

    /// What of it decides about requests.
    pub(crate) fn policy(&self) -> ExitPolicy {
        ExitPolicy {
            codecs: self.codecs.clone(),
            forward: self.forward,
            allow_private_addresses: self.allow_private_addresses,
            networks: self.networks.clone(),
            ports: self.ports.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn the_policy_is_what_the_operator_has_set() {
        let config = Config {
            forward: false,
            allow_private_addresses: true,
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ..Config::default()
        };
        let policy = config.policy();
        assert_eq!((policy.codecs, policy.networks, policy.ports), (config.codecs, config.networks, config.ports));
        assert_eq!((policy.forward, policy.allow_private_addresses), (false, true));
    }

    #[test]
    fn reports_every_problem_at_once() {
        let config = Config {
            codecs: vec!["/mix/1.0.0".to_owned(), V3_PROTOCOL.to_owned(), "/ipfs/ping/1.0.0".to_owned()],
            max_requests: 0,
            service_timeout: Duration::ZERO,
            fragment_timeout: Duration::ZERO,
            #[expect(clippy::reversed_empty_ranges, reason = "this is the mistake")]
            ports: vec![443..=443, 9000..=8000],
            max_fragment_sets: 1 << 20,
            max_fragment_bytes: 1000,
            ..Config::default()
        };
        let fields = [
            "codecs",
            "codecs",
            "max_requests",
            "ports",
            "max_fragment_sets",
            "max_fragment_bytes",
            "service_timeout",
            "fragment_timeout",
        ];
        assert_eq!(config.validate().unwrap_err().fields(), fields);
        let nothing = Config { codecs: Vec::new(), ..Config::default() };
        assert_eq!(nothing.validate().unwrap_err().fields(), ["codecs"]);
    }
}
