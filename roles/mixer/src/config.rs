//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::ops::RangeInclusive;
use std::time::Duration;

use wakumix_mix::DelayLaw;
use wakumix_role_api::{ConfigChecks, ConfigError};

/// The longest delay a header can ask for: 65 535 ms, what 16 bits say (`spec/mix-wire.md` §14).
pub const DEFAULT_MAX_DELAY: Duration = Duration::from_millis(u16::MAX as u64);
/// Packets held for their delay: 8192 · 4608 B = 38 MB. At the fleet's mean of 50 ms it is full at 160 000 packets/s;
/// at the longest delay at 125 packets/s, so an attacker who fills it must keep sending.
pub const DEFAULT_MAX_HELD: usize = 8192;
/// Packets waiting to be unwrapped: at 130 µs each about a tenth of a second of one core, 4.7 MB.
pub const DEFAULT_MAX_WAITING: usize = 1024;
/// Packets that one worker takes at a time: about 4 ms of work, short beside the delays.
pub const DEFAULT_MAX_BATCH: usize = 32;

const DELAY: RangeInclusive<Duration> = Duration::from_millis(1)..=DEFAULT_MAX_DELAY;
const HELD: RangeInclusive<usize> = 1..=1 << 20;
const WAITING: RangeInclusive<usize> = 1..=1 << 20;
const BATCH: RangeInclusive<usize> = 1..=1024;

/// How the mixer unwraps and delays. No setting is reloadable: each is read once, when the role starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How the delay that a header encodes becomes the time that the packet is held.
    pub delay: DelayRule,
    /// The longest a packet is held, 1 ms to 65.535 s; longer ones are cut to it. Low values break the law that senders
    /// count on; high ones let a packet keep its buffer for long.
    pub max_delay: Duration,
    /// Packets held for their delay, 1 to 2²⁰. Too low drops honest packets, too high lets a flood take memory: 4.6 kB
    /// each, up to the packet buffers of the node.
    pub max_held: usize,
    /// Packets that wait to be unwrapped, 1 to 2²⁰. Too low drops packets of a burst, too high makes all wait in one.
    pub max_waiting: usize,
    /// Packets that one worker takes at a time, 1 to 1024. High values add latency.
    pub max_batch: usize,
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
        let config = Config { max_delay: Duration::ZERO, max_held: 0, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().fields(), ["max_delay", "max_held"]);
    }
}
