//! What an operator can set.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use libp2p_identity::PeerId;
use wakumix_mix::{DIAL_PORTS, DelayLaw, hop::NextHopPolicy};
use wakumix_role_api::config::{Timespan, ValueError, choice, delay, flag, list, network, number, ports, text, time};
use wakumix_role_api::{ConfigChecks, ConfigError};

/// The longest that a packet is held. The means of nwaku are 50 and 100 ms and a draw is at most 13.8 means
/// (`spec/mix-wire.md §14`), so no honest packet comes near; a header could ask for 65.5 s (§21 W6).
pub const DEFAULT_MAX_DELAY: Duration = Duration::from_secs(10);
/// Packets held for their delay: 8192 · 4608 B = 38 MB. At nwaku's mean of 50 ms it is full at 160 000 packets/s;
/// at the longest delay at 820 packets/s, so an attacker who fills it must keep sending.
pub const DEFAULT_MAX_HELD: usize = 8192;
/// Packets waiting to be unwrapped: at 130 µs each about a tenth of a second of one core, 4.7 MB.
pub const DEFAULT_MAX_WAITING: usize = 1024;
/// Packets that one worker takes at a time: about 4 ms of work, short beside the delays.
pub const DEFAULT_MAX_BATCH: usize = 32;
/// Mean time between two loops of a node that forwards: 6 packets per minute sent and 12 forwarded by others, which is
/// 4608 B · 18 / 60 s = 1.4 kB/s for the network, and in a pool of 20 each node is seen 36 times an hour.
pub const DEFAULT_COVER: Duration = Duration::from_secs(10);

/// The same of a node that only sends, two loops at a time: two packets per minute, 154 B/s, so that its guards see some whether
/// or not it has anything to send.
pub const DEFAULT_SENDER_COVER: Duration = Duration::from_secs(60);

const COVER: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// What 16 bits can ask for (`spec/mix-wire.md §14`), in milliseconds.
const LONGEST_DELAY_MS: u64 = u16::MAX as u64;

wakumix_role_api::settings! {
    /// How the mixer unwraps and delays. No setting is reloadable: each is read once, when the role starts.
    "Mixer role" {
        delay: DelayRule = DelayRule::default(), choice(&["exponential", "as-encoded"]), "mixer.delay-rule",
            "how long a packet is held: a draw around the mean that it carries, or exactly what it carries, as nwaku did until mid 2026";
        max_delay: Duration = DEFAULT_MAX_DELAY, time(1..=LONGEST_DELAY_MS), "mixer.max-delay",
            "longest that a packet is held; low values break the law that senders count on, high ones let a packet keep its buffer for long";
        max_held: usize = DEFAULT_MAX_HELD, number(1..=1 << 20), "mixer.max-held",
            "packets held for their delay; low values drop honest packets, high ones let a flood take memory";
        max_waiting: usize = DEFAULT_MAX_WAITING, number(1..=1 << 20), "mixer.max-waiting",
            "packets that wait to be unwrapped; low values drop packets of a burst, high ones let all of it wait";
        max_batch: usize = DEFAULT_MAX_BATCH, number(1..=1024), "mixer.max-batch",
            "packets that one worker takes at a time; high values add latency";
        ports: Vec<RangeInclusive<u16>> = DIAL_PORTS.to_vec(), list(ports()), "mixer.ports",
            "ports that packets of others are passed on to, where their next hop has opened no connection itself; nodes of the directory are reached at any. Ports below 1024 are where a machine's own services are";
        cover: CoverRule = CoverRule::default(), text("by-role, none, or a mean time such as 10s", "by-role|none|TIME"), "mixer.cover",
            "mean time between two packets that the node sends through two others to itself: by-role is 10s for nodes that forward and 60s for others, which send two at a time. Short times cost bandwidth, three packets for each, long ones hide and show little";
        capacity: u32 = 0, number(0..=10_000_000), "mixer.capacity",
            "packets a second that the node takes from its peers together, shared between those who send; 0 measures it at the start. Too low refuses what could be done; too high is noticed in work, after some packets are lost";
    }
    shared {
        /// The delay that each hop of a loop is asked for: the sender's, or loops could be told from requests.
        cover_delay: DelayLaw = DelayLaw::default(), delay(), "mix.delay";
        /// Whether packets are passed on to addresses of any closed network. Without it they go to public addresses, to the
        /// networks of `mix.networks`, and to known mix nodes.
        allow_private_addresses: bool = false, flag(), "mix-allow-all-addresses";
        /// Closed networks that packets are passed on into.
        networks: Vec<IpNet> = Vec::new(), list(network()), "mix.networks";
    }
}

/// How often this node sends a packet to itself through two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoverRule {
    /// [`DEFAULT_COVER`] if it forwards, else [`DEFAULT_SENDER_COVER`].
    #[default]
    ByRole,
    /// Never: others can tell when it is idle, and nothing is learnt of nodes that lose packets.
    Off,
    /// At Poisson times with this mean, 100 ms to 1 h. Low values cost bandwidth, three packets for each loop; high ones
    /// hide and show little.
    Every(Duration),
}

impl CoverRule {
    /// The mean time between two loops, if there are any.
    pub(crate) fn mean(self, forwards: bool) -> Option<Duration> {
        match self {
            Self::ByRole => Some(if forwards { DEFAULT_COVER } else { DEFAULT_SENDER_COVER }),
            Self::Off => None,
            Self::Every(mean) => Some(mean),
        }
    }
}

/// The law by which this node delays (`spec/mix-wire.md §14`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DelayRule {
    /// A draw from the truncated exponential distribution whose mean the packet carries.
    #[default]
    Exponential,
    /// Exactly what the packet carries: nwaku's rule until mid 2026. The sender knows when the packet leaves.
    AsEncoded,
}

impl DelayRule {
    /// The law to sample from. The mean is the packet's, so the one in the law plays no part.
    pub(crate) fn law(self) -> DelayLaw {
        match self {
            Self::Exponential => DelayLaw::default(),
            Self::AsEncoded => DelayLaw::None,
        }
    }
}

impl FromStr for CoverRule {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.to_ascii_lowercase().as_str() {
            "by-role" => Ok(Self::ByRole),
            "none" => Ok(Self::Off),
            _ => text.parse().map(|mean: Timespan| Self::Every(mean.as_duration())),
        }
    }
}

impl fmt::Display for CoverRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByRole => f.write_str("by-role"),
            Self::Off => f.write_str("none"),
            Self::Every(mean) => Timespan::from(*mean).fmt(f),
        }
    }
}

impl FromStr for DelayRule {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "exponential" => Ok(Self::Exponential),
            "as-encoded" => Ok(Self::AsEncoded),
            _ => Err(ValueError::new(format!("`{text}` is not exponential or as-encoded"))),
        }
    }
}

impl fmt::Display for DelayRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exponential => "exponential",
            Self::AsEncoded => "as-encoded",
        })
    }
}

impl Config {
    /// The rule for next hops of a node that passes packets of others on, or does not.
    pub(crate) fn next_hops(&self, own_peer: PeerId, forward: bool) -> NextHopPolicy {
        let Self { allow_private_addresses, networks, ports, .. } = self;
        let (networks, ports) = (networks.clone(), ports.clone());
        NextHopPolicy { own_peer, forward, allow_private_addresses: *allow_private_addresses, networks, ports }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = ConfigChecks::default();
        self.check_ranges(&mut checks);
        if let CoverRule::Every(mean) = self.cover {
            checks.within("cover", &mean, &COVER);
        }
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn reports_every_problem_at_once() {
        let config = Config {
            max_delay: Duration::ZERO,
            max_held: 0,
            cover: CoverRule::Every(Duration::from_millis(99)),
            capacity: 10_000_001,
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().fields(), ["max_delay", "max_held", "capacity", "cover"]);
    }

    #[test]
    fn a_rule_of_cover_reads_back_what_it_writes() {
        for text in ["by-role", "none", "10s"] {
            assert_eq!(text.parse::<CoverRule>().unwrap().to_string(), text);
        }
        assert!("sometimes".parse::<CoverRule>().is_err());
    }

    #[test]
    fn nodes_send_loops_unless_told_otherwise_and_those_that_forward_more() {
        let mean = Duration::from_secs(3);
        let means =
            |forwards| [CoverRule::ByRole, CoverRule::Off, CoverRule::Every(mean)].map(|rule| rule.mean(forwards));
        assert_eq!(means(true), [Some(DEFAULT_COVER), None, Some(mean)]);
        assert_eq!(means(false), [Some(DEFAULT_SENDER_COVER), None, Some(mean)]);
    }
}
