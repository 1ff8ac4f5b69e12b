//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::{ops::RangeInclusive, time::Duration};

use wakumix_mix::DelayLaw;
use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_waku::lightpush::{V2_PROTOCOL, V3_PROTOCOL};

use crate::policy::READABLE;

/// Requests that may be at work at a time. Each holds at most 8 KiB: its bytes, its reply blocks, its answer.
pub const DEFAULT_MAX_REQUESTS: usize = 256;
/// How long a service may take. A sender waits 10 s by default and the two ways take 4.2 s of delays at the very worst,
/// so an empty answer that follows this limit is still of use to it.
pub const DEFAULT_SERVICE_TIMEOUT: Duration = Duration::from_secs(5);
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
    /// Requests that may be at work at a time; the next is dropped.
    pub max_requests: usize,
    /// How long a service, here or elsewhere, may take to answer.
    pub service_timeout: Duration,
    /// How long each answer waits here before it leaves, drawn for each reply block anew: all at once would tell that they
    /// belong together (`spec/mix-wire.md §21` W12).
    pub hold: DelayLaw,
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
        if self.service_timeout.is_zero() {
            checks.refuse("service_timeout", "is zero", "use a time longer than that");
        }
        checks.finish()
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
    fn reports_every_problem_at_once() {
        let config = Config {
            codecs: vec!["/mix/1.0.0".to_owned(), V3_PROTOCOL.to_owned(), "/ipfs/ping/1.0.0".to_owned()],
            max_requests: 0,
            service_timeout: Duration::ZERO,
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().fields(), ["codecs", "codecs", "max_requests", "service_timeout"]);
        let nothing = Config { codecs: Vec::new(), ..Config::default() };
        assert_eq!(nothing.validate().unwrap_err().fields(), ["codecs"]);
    }
}
