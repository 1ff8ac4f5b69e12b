//! What an operator can set.

use std::{ops::RangeInclusive, time::Duration};

use ipnet::IpNet;
use wakumix_mix::{
    DIAL_PORTS, DelayLaw,
    exit::{DEFAULT_MAX_ANSWERS, ExitPolicy},
    fragment::MAX_SET_BYTES,
};
use wakumix_role_api::config::{choice, delay, flag, list, network, number, ports, size, time};
use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_sphinx::MAX_SURBS;

use crate::policy::READABLE;

/// Requests that may be at work at a time. Each holds at most 8 KiB: its bytes, its reply blocks, its answer.
pub const DEFAULT_MAX_REQUESTS: usize = 256;
/// How long a service may take. A sender waits 10 s by default and the two ways take 4.2 s of delays at the very worst,
/// so an empty answer that follows this limit is still of use to it.
pub const DEFAULT_SERVICE_TIMEOUT: Duration = Duration::from_secs(5);
/// Incomplete sets of fragments. The fragments of a set come within a second, so this is what a thousand senders begin in one.
pub const DEFAULT_MAX_FRAGMENT_SETS: usize = 1024;
/// Bytes of incomplete sets: each of as many as are allowed may hold a full packet.
pub const DEFAULT_MAX_FRAGMENT_BYTES: usize = 4 * 1024 * 1024;
/// How long a set may take. It is as long as a sender waits by default: what completes later serves nobody.
pub const DEFAULT_FRAGMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// One hour in milliseconds: longer than anything here should ever wait.
const HOUR_MS: u64 = 3_600_000;

wakumix_role_api::settings! {
    /// The settings of the exit.
    "Exit role" {
        /// The mix protocol itself can never be among them.
        codecs: Vec<String> = READABLE.map(str::to_owned).to_vec(), list(choice(&READABLE)), "exit.codecs",
            "protocols that requests out of the mixnet may use; everything else is dropped and counted";
        forward: bool = true, flag(), "exit.forward",
            "pass requests on to services of other nodes, not only to this node's own";
        allow_private_addresses: bool = false, flag(), "exit.allow-private-addresses",
            "pass requests on to every private and loopback address, not only to those of mix.networks and exit.networks. It opens what lies behind the exit";
        networks: Vec<IpNet> = Vec::new(), list(network()), "exit.networks",
            "networks that requests may be passed on to besides public addresses and mix.networks; packets are not";
        ports: Vec<RangeInclusive<u16>> = DIAL_PORTS.to_vec(), list(ports()), "exit.ports",
            "ports that requests may be passed on to; services of the directory are asked at any. Ports below 1024 are where a machine's own services are";
        max_requests: usize = DEFAULT_MAX_REQUESTS, number(1..=65_536), "exit.max-requests",
            "requests at work at a time, up to 8 kB each; further ones are dropped and counted";
        service_timeout: Duration = DEFAULT_SERVICE_TIMEOUT, time(1..=HOUR_MS), "exit.service-timeout",
            "wait for the answer of a service; above the senders' own limit nobody hears it";
        /// The packets of one request may bring many reply blocks, and each answer is a packet that a stranger makes the network carry.
        max_answers: usize = DEFAULT_MAX_ANSWERS, number(1..=MAX_SURBS as u64), "exit.max-answers",
            "answers to a request, each through its own reply block; further reply blocks are discarded, and a refusal has one. Senders must not have a larger sender.surbs, which they check against this key of their own";
        /// Drawn for each reply block anew: all at once would tell that they belong together (`spec/mix-wire.md §21 W12`).
        hold: DelayLaw = DelayLaw::default(), delay(), "exit.hold",
            "mean wait of each answer before it leaves; none shows which answers belong together";
        max_fragment_sets: usize = DEFAULT_MAX_FRAGMENT_SETS, number(0..=65_536), "exit.max-fragment-sets",
            "requests in fragments that may be incomplete at a time, for each packet format; beyond them the oldest is given up. 0 takes no fragments";
        max_fragment_bytes: usize = DEFAULT_MAX_FRAGMENT_BYTES, size(MAX_SET_BYTES as u64..=1 << 30), "exit.max-fragment-bytes",
            "memory of incomplete requests, for each packet format; beyond it the oldest is given up";
        fragment_timeout: Duration = DEFAULT_FRAGMENT_TIMEOUT, time(1..=HOUR_MS), "exit.fragment-timeout",
            "time from the first fragment of a request to its last";
    }
    shared {
        /// Networks that the node is to serve, packets included.
        closed_networks: Vec<IpNet> = Vec::new(), list(network()), "mix.networks";
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
        self.check_ranges(&mut checks);
        checks.finish()
    }

    /// What of it decides about requests.
    pub(crate) fn policy(&self) -> ExitPolicy {
        ExitPolicy {
            codecs: self.codecs.clone(),
            forward: self.forward,
            allow_private_addresses: self.allow_private_addresses,
            networks: [&self.closed_networks[..], &self.networks].concat(),
            ports: self.ports.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use wakumix_waku::lightpush::V3_PROTOCOL;

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
            closed_networks: vec!["127.0.0.0/8".parse().unwrap()],
            ..Config::default()
        };
        let policy = config.policy();
        assert_eq!((policy.codecs, policy.ports), (config.codecs, config.ports));
        assert_eq!(policy.networks, [config.closed_networks, config.networks].concat());
        assert_eq!((policy.forward, policy.allow_private_addresses), (false, true));
    }

    #[test]
    fn reports_every_problem_at_once() {
        let config = Config {
            codecs: vec!["/mix/1.0.0".to_owned(), V3_PROTOCOL.to_owned(), "/ipfs/ping/1.0.0".to_owned()],
            max_answers: MAX_SURBS + 1,
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
            "ports",
            "max_requests",
            "service_timeout",
            "max_answers",
            "max_fragment_sets",
            "max_fragment_bytes",
            "fragment_timeout",
        ];
        assert_eq!(config.validate().unwrap_err().fields(), fields);
        let nothing = Config { codecs: Vec::new(), ..Config::default() };
        assert_eq!(nothing.validate().unwrap_err().fields(), ["codecs"]);
    }
}
