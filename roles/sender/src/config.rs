//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::{num::NonZeroU16, ops::RangeInclusive, time::Duration};

use wakumix_mix::DelayLaw;
use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_sphinx::MAX_SURBS;

/// How long a caller waits for the answer. A request and its answer are held six times (sender, two hops, exit, two
/// hops), each at most 13.8 means of 50 ms, so 4.2 s at the very worst (`spec/mix-wire.md §14`); the rest is for
/// dialling, queues and the service.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait that a caller may ask for; what the fleet's newest clients allow a request (`spec/waku.md §5.6`).
pub const DEFAULT_MAX_TIMEOUT: Duration = Duration::from_secs(60);
/// Reply blocks in a request: one, as Waku's clients send (`spec/waku.md §5.5`); each costs 734 bytes of payload.
pub const DEFAULT_SURBS: usize = 1;
/// Requests that may wait for their answers at a time. Each holds about 4 KiB until its packet has left.
pub const DEFAULT_IN_FLIGHT: usize = 512;
/// The bounds of [`Config::surbs`]; without a reply block there is no answer.
const SURBS: RangeInclusive<usize> = 1..=MAX_SURBS;
/// The bounds of [`Config::in_flight`]: above them the memory of waiting requests passes a quarter of a gibibyte.
const IN_FLIGHT: RangeInclusive<usize> = 1..=65_536;

/// The settings of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a caller waits who names no limit of its own.
    pub timeout: Duration,
    /// The longest limit that a caller can name; longer ones are cut to it. Credentials live as long.
    pub max_timeout: Duration,
    /// Reply blocks in each request, 1 to 5. The exit answers through all of them; the first answer wins.
    pub surbs: usize,
    /// Requests that may wait for their answers at a time; the next is refused as busy.
    pub in_flight: usize,
    /// The delay that each hop on the way is asked for. [`DelayLaw::None`] suits hops of 2025 that read the field in
    /// the wrong byte order (`spec/mix-wire.md §20`, P0).
    pub delay: DelayLaw,
    /// How long a packet waits here before it leaves. On by default (`spec/mix-wire.md §21` W12), with the mean of a hop,
    /// so that the first link shows no more about the moment of a request than any other.
    pub hold: DelayLaw,
    /// Where the network shards by content topic: lets the sender hash messages for which the service derives the topic.
    pub auto_shards: Option<AutoShards>,
}

/// How a network maps content topics to shards (`spec/waku.md §2.5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoShards {
    /// The cluster.
    pub cluster: u16,
    /// Its number of shards.
    pub shards: NonZeroU16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            timeout: DEFAULT_TIMEOUT,
            max_timeout: DEFAULT_MAX_TIMEOUT,
            surbs: DEFAULT_SURBS,
            in_flight: DEFAULT_IN_FLIGHT,
            delay: DelayLaw::default(),
            hold: DelayLaw::default(),
            auto_shards: None,
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
        if self.timeout.is_zero() {
            checks.refuse("timeout", "is zero", "use a time longer than that");
        }
        if self.timeout > self.max_timeout {
            let problem =
                format!("is {:?}, longer than the longest that may be asked for, {:?}", self.timeout, self.max_timeout);
            checks.refuse("timeout", problem, "lower it, or raise max-timeout");
        }
        checks.within("surbs", &self.surbs, &SURBS);
        checks.within("in_flight", &self.in_flight, &IN_FLIGHT);
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
        let config = Config { timeout: Duration::ZERO, surbs: 6, in_flight: 0, ..Config::default() };
        assert_eq!(config.validate().unwrap_err().fields(), ["timeout", "surbs", "in_flight"]);
        let config = Config { max_timeout: Duration::from_secs(1), surbs: 0, ..Config::default() };
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "timeout is 10s, longer than the longest that may be asked for, 1s; lower it, or raise max-timeout\n\
             surbs is 0; use 1 to 5"
        );
    }
}
