//! What an operator can set.

use std::{fmt, ops::RangeInclusive, str::FromStr, time::Duration};

use ipnet::IpNet;
use wakumix_mix::{DelayLaw, exit::ExitPolicy, fragment::MAX_SET_BYTES};
use wakumix_role_api::config::{Kind, Scalar, ValueError, choice, delay, flag, list, number, size, text, time};
use wakumix_role_api::{ConfigChecks, ConfigError};

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
            "pass requests on to every private and loopback address; without it only to those of the closed network that the node itself is in. It opens what lies behind the exit";
        networks: Vec<IpNet> = Vec::new(), list(network()), "exit.networks",
            "networks that requests may be passed on to besides public addresses and the node's own closed network";
        ports: Vec<RangeInclusive<u16>> = DEFAULT_PORTS.to_vec(), list(ports()), "exit.ports",
            "ports that requests may be passed on to; services of the directory are asked at any. Ports below 1024 are where a machine's own services are";
        max_requests: usize = DEFAULT_MAX_REQUESTS, number(1..=65_536), "exit.max-requests",
            "requests at work at a time, up to 8 kB each; further ones are dropped and counted";
        service_timeout: Duration = DEFAULT_SERVICE_TIMEOUT, time(1..=HOUR_MS), "exit.service-timeout",
            "wait for the answer of a service; above the senders' own limit nobody hears it";
        /// Drawn for each reply block anew: all at once would tell that they belong together (`spec/mix-wire.md §21` W12).
        hold: DelayLaw = DelayLaw::default(), delay(), "exit.hold",
            "mean wait of each answer before it leaves; none shows which answers belong together";
        max_fragment_sets: usize = DEFAULT_MAX_FRAGMENT_SETS, number(0..=65_536), "exit.max-fragment-sets",
            "requests in fragments that may be incomplete at a time, for each packet format; beyond them the oldest is given up. 0 takes no fragments";
        max_fragment_bytes: usize = DEFAULT_MAX_FRAGMENT_BYTES, size(MAX_SET_BYTES as u64..=1 << 30), "exit.max-fragment-bytes",
            "memory of incomplete requests, for each packet format; beyond it the oldest is given up";
        fragment_timeout: Duration = DEFAULT_FRAGMENT_TIMEOUT, time(1..=HOUR_MS), "exit.fragment-timeout",
            "time from the first fragment of a request to its last";
    }
}

/// One port, or a range of them: `443`, `1024-65535`.
struct PortRange(RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::new(format!("`{text}` is not a port or a range of ports such as 1024-65535"));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().map_err(|_| wrong());
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(ValueError::new(format!("`{text}` holds no port; write the lower one first")));
        }
        Ok(Self(first..=last))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}

fn ports() -> Scalar<RangeInclusive<u16>> {
    Scalar {
        kind: text::<PortRange>("a port or a range such as 1024-65535", "PORT[-PORT]").kind,
        read: |text| text.parse().map(|PortRange(range)| range),
        write: |range| PortRange(range.clone()).to_string(),
    }
}

/// Networks come in lists, so an error names the one that it means.
fn network() -> Scalar<IpNet> {
    let parse = |text: &str| text.parse::<IpNet>().map_err(|error| ValueError::new(format!("`{text}`: {error}")));
    let kind = Kind::Text {
        form: "a network such as 10.1.0.0/16",
        placeholder: "NETWORK",
        read: |text| {
            let network = text.parse::<IpNet>().map_err(|error| ValueError::new(format!("`{text}`: {error}")))?;
            Ok(network.to_string())
        },
    };
    Scalar { kind, read: parse, write: ToString::to_string }
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
            networks: self.networks.clone(),
            ports: self.ports.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use wakumix_waku::lightpush::V3_PROTOCOL;

    use super::*;

    #[test]
    fn a_range_of_ports_reads_back_what_it_writes() {
        for text in ["443", "1024-65535", "0"] {
            assert_eq!(text.parse::<PortRange>().unwrap().to_string(), text);
        }
        for text in ["", "-", "70000", "2-1", "1-", "a-b"] {
            assert!(text.parse::<PortRange>().is_err(), "{text}");
        }
    }

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
            "ports",
            "max_requests",
            "service_timeout",
            "max_fragment_sets",
            "max_fragment_bytes",
            "fragment_timeout",
        ];
        assert_eq!(config.validate().unwrap_err().fields(), fields);
        let nothing = Config { codecs: Vec::new(), ..Config::default() };
        assert_eq!(nothing.validate().unwrap_err().fields(), ["codecs"]);
    }
}
