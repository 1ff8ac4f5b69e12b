//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::ops::RangeInclusive;
use std::time::Duration;

use wakumix_mix::DelayLaw;
use wakumix_role_api::{ConfigChecks, ConfigError};

/// The longest that a packet is held. The means of the fleet are 50 and 100 ms and a draw is at most 13.8 means
/// (`spec/mix-wire.md` §14), so no honest packet comes near; a header could ask for 65.5 s (§21 W6).
pub const DEFAULT_MAX_DELAY: Duration = Duration::from_secs(10);
/// Packets held for their delay: 8192 · 4608 B = 38 MB. At the fleet's mean of 50 ms it is full at 160 000 packets/s;
/// at the longest delay at 820 packets/s, so an attacker who fills it must keep sending.
pub const DEFAULT_MAX_HELD: usize = 8192;
/// Packets waiting to be unwrapped: at 130 µs each about a tenth of a second of one core, 4.7 MB.
pub const DEFAULT_MAX_WAITING: usize = 1024;
/// Packets that one worker takes at a time: about 4 ms of work, short beside the delays.
pub const DEFAULT_MAX_BATCH: usize = 32;
/// Mean time between two loops of a node that forwards: 6 packets a minute sent and 12 forwarded by others, which is
/// 4608 B · 18 / 60 s = 1.4 kB/s for the network, and in a pool of 20 each node is seen 36 times an hour.
pub const DEFAULT_COVER: Duration = Duration::from_secs(10);

/// What 16 bits can ask for (`spec/mix-wire.md` §14).
const LONGEST_DELAY: Duration = Duration::from_millis(u16::MAX as u64);
const DELAY: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST_DELAY;
const COVER: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
const CAPACITY: RangeInclusive<u32> = 1..=10_000_000;
const HELD: RangeInclusive<usize> = 1..=1 << 20;
const WAITING: RangeInclusive<usize> = 1..=1 << 20;
const BATCH: RangeInclusive<usize> = 1..=1024;

/// How the mixer unwraps and delays. No setting is reloadable: each is read once, when the role starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How the delay that a header encodes becomes the time that the packet is held.
    pub delay: DelayRule,
    /// The longest a packet is held, 1 ms to 65.535 s; longer delays are cut to it. Low values break the law that senders
    /// count on; high ones let a packet keep its buffer for long.
    pub max_delay: Duration,
    /// Packets held for their delay, 1 to 2²⁰. Too low drops honest packets, too high lets a flood take memory: 4.6 kB
    /// each, up to the packet buffers of the node. It counts packets of the preferred format: larger ones take more room.
    pub max_held: usize,
    /// Packets that wait to be unwrapped, 1 to 2²⁰. Too low drops packets of a burst, too high makes all wait in one.
    pub max_waiting: usize,
    /// Packets that one worker takes at a time, 1 to 1024. High values add latency.
    pub max_batch: usize,
    /// Loop cover (`spec/mix-wire.md` §16).
    pub cover: CoverRule,
    /// The delay that each hop of a loop is asked for: the sender's, or loops could be told from requests.
    pub cover_delay: DelayLaw,
    /// Whether packets are passed on to addresses of any closed network. Without it they go to public addresses, to the
    /// network that this node itself is in, and to known mix nodes.
    pub allow_private_addresses: bool,
    /// Packets a second that the node admits in all, 1 to 10 000 000; `None` measures it at the start. Too low refuses what
    /// could be done, too high lets a flood fill the queues before it is refused.
    pub capacity: Option<u32>,
}

/// How often this node sends a packet to itself through two others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CoverRule {
    /// [`DEFAULT_COVER`] if it forwards, else not at all.
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
            Self::ByRole => forwards.then_some(DEFAULT_COVER),
            Self::Off => None,
            Self::Every(mean) => Some(mean),
        }
    }
}

/// The law by which this node delays (`spec/mix-wire.md` §14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DelayRule {
    /// A draw from the truncated exponential distribution whose mean the packet carries.
    #[default]
    Exponential,
    /// Exactly what the packet carries: the fleet's rule until mid 2026. The sender knows when the packet leaves.
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

impl Default for Config {
    fn default() -> Self {
        Self {
            delay: DelayRule::default(),
            max_delay: DEFAULT_MAX_DELAY,
            max_held: DEFAULT_MAX_HELD,
            max_waiting: DEFAULT_MAX_WAITING,
            max_batch: DEFAULT_MAX_BATCH,
            cover: CoverRule::default(),
            cover_delay: DelayLaw::default(),
            allow_private_addresses: false,
            capacity: None,
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
        checks.within("max_delay", &self.max_delay, &DELAY);
        checks.within("max_held", &self.max_held, &HELD);
        checks.within("max_waiting", &self.max_waiting, &WAITING);
        checks.within("max_batch", &self.max_batch, &BATCH);
        if let CoverRule::Every(mean) = self.cover {
            checks.within("cover", &mean, &COVER);
        }
        if let Some(capacity) = self.capacity {
            checks.within("capacity", &capacity, &CAPACITY);
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
            capacity: Some(0),
            ..Config::default()
        };
        assert_eq!(config.validate().unwrap_err().fields(), ["max_delay", "max_held", "cover", "capacity"]);
    }

    #[test]
    fn nodes_that_forward_send_loops_unless_told_otherwise_and_others_only_if_told() {
        let mean = Duration::from_secs(3);
        let means =
            |forwards| [CoverRule::ByRole, CoverRule::Off, CoverRule::Every(mean)].map(|rule| rule.mean(forwards));
        assert_eq!(means(true), [Some(DEFAULT_COVER), None, Some(mean)]);
        assert_eq!(means(false), [None, None, Some(mean)]);
    }
}
