//! The mixer's section of the configuration.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wakumix_mix::DelayLaw;

use crate::error::{ConfigError, ConfigProblem};

/// The longest delay a header can ask for: 65 535 ms, what 16 bits say (`spec/mix-wire.md` §14).
pub const DEFAULT_MAX_DELAY: Duration = Duration::from_millis(u16::MAX as u64);
/// Packets held for their delay: 8192 · 4608 B = 38 MB. At the fleet's mean of 50 ms it is full at 160 000 packets/s;
/// at the longest delay at 125 packets/s, so an attacker who fills it must keep sending.
pub const DEFAULT_MAX_HELD: usize = 8192;
/// Packets waiting to be unwrapped: at 130 µs each about a tenth of a second of one core, 4.7 MB.
pub const DEFAULT_MAX_WAITING: usize = 1024;
/// Packets that one worker takes at a time: about 4 ms of work, short beside the delays.
pub const DEFAULT_MAX_BATCH: usize = 32;
/// Replay tags remembered: the most that fit a table of 2²² places at a load of 7/8; 140 MB when all are used, ten
/// hours at 100 packets/s. Tags are never forgotten, so when they are used up the node refuses packets.
pub const DEFAULT_REPLAY_TAGS: usize = (1 << 22) / 8 * 7;

const HELD: RangeInclusive<usize> = 1..=1 << 20;
const WAITING: RangeInclusive<usize> = 1..=1 << 20;
const BATCH: RangeInclusive<usize> = 1..=1024;
const TAGS: RangeInclusive<usize> = 1024..=1 << 30;

/// How the mixer unwraps and delays. No key is reloadable: each is read once, when the role starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MixerConfig {
    /// How the delay that a header encodes becomes the time that the packet is held.
    pub delay: DelayRule,
    /// The longest a packet is held, `"1ms"` to `"65535ms"`; longer ones are cut to it. Low values break the law that
    /// senders count on; high ones let a packet keep its buffer for long.
    #[serde(with = "duration")]
    pub max_delay: Duration,
    /// Packets held for their delay, 1 to 2²⁰. Too low drops honest packets, too high lets a flood take memory: 4.6 kB
    /// each, up to the packet buffers of the node.
    pub max_held: usize,
    /// Packets that wait to be unwrapped, 1 to 2²⁰. Too low drops packets of a burst, too high makes all wait in one.
    pub max_waiting: usize,
    /// Packets that one worker takes at a time, 1 to 1024. High values add latency.
    pub max_batch: usize,
    /// Replay tags remembered, 1024 to 2³⁰, about 38 bytes each. When all are used the node refuses every packet.
    pub replay_tags: usize,
}

/// The law by which this node delays (`spec/mix-wire.md` §14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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

impl Default for MixerConfig {
    fn default() -> Self {
        Self {
            delay: DelayRule::default(),
            max_delay: DEFAULT_MAX_DELAY,
            max_held: DEFAULT_MAX_HELD,
            max_waiting: DEFAULT_MAX_WAITING,
            max_batch: DEFAULT_MAX_BATCH,
            replay_tags: DEFAULT_REPLAY_TAGS,
        }
    }
}

impl MixerConfig {
    /// Checks every key.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        if !(Duration::from_millis(1)..=DEFAULT_MAX_DELAY).contains(&self.max_delay) {
            let problem = format!("is {:?}; it must lie in 1ms..=65535ms", self.max_delay);
            problems.push(ConfigProblem { key: "max-delay", problem });
        }
        let mut check = |key, value: usize, range: RangeInclusive<usize>| {
            if !range.contains(&value) {
                problems.push(ConfigProblem { key, problem: format!("is {value}; it must lie in {range:?}") });
            }
        };
        check("max-held", self.max_held, HELD);
        check("max-waiting", self.max_waiting, WAITING);
        check("max-batch", self.max_batch, BATCH);
        check("replay-tags", self.replay_tags, TAGS);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
    }
}

/// Durations as text with a unit: `"50ms"`, `"2s"`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}ms", value.as_millis()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format!("\"{text}\" is not a duration; write a whole number and ms or s, like \"50ms\""))
        })
    }

    fn parse(text: &str) -> Option<Duration> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(unit_at);
        let number = number.parse().ok()?;
        match unit.trim_start() {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_is_valid() {
        assert_eq!(MixerConfig::default().validate(), Ok(()));
    }

    #[test]
    fn reports_every_problem_at_once() {
        let config = MixerConfig { max_delay: Duration::ZERO, max_held: 0, replay_tags: 3, ..MixerConfig::default() };
        let keys: Vec<_> = config.validate().unwrap_err().problems.iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["max-delay", "max-held", "replay-tags"]);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = MixerConfig {
            delay: DelayRule::AsEncoded,
            max_delay: Duration::from_millis(1500),
            ..MixerConfig::default()
        };
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""delay":"as-encoded","max-delay":"1500ms""#), "{text}");
        assert_eq!(serde_json::from_str::<MixerConfig>(&text).unwrap(), config);
    }

    #[test]
    fn a_duration_needs_a_unit_and_a_key_must_be_known() {
        let read = |text| serde_json::from_str::<MixerConfig>(text);
        assert_eq!(read(r#"{"max-delay":"2s"}"#).unwrap().max_delay, Duration::from_secs(2));
        for text in [r#"{"max-delay":"50"}"#, r#"{"max-delay":"-1ms"}"#, r#"{"max-delay":"2h"}"#, r#"{"max-hold":1}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
