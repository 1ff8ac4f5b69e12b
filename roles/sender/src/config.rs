//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::{ops::RangeInclusive, time::Duration};

use wakumix_client::ClientConfig;
pub use wakumix_client::{
    DEFAULT_IN_FLIGHT, DEFAULT_MAX_TIMEOUT, DEFAULT_PARITY, DEFAULT_QUEUE_BYTES, DEFAULT_SURBS, DEFAULT_TIMEOUT,
    DEFAULT_WINDOW, lightpush::AutoShards,
};
use wakumix_mix::DelayLaw;
use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_sphinx::MAX_SURBS;

/// The bounds of [`Config::surbs`]; without a reply block there is no answer.
const SURBS: RangeInclusive<usize> = 1..=MAX_SURBS;
/// The bounds of [`Config::in_flight`]: above them the memory of waiting requests passes a quarter of a gibibyte.
const IN_FLIGHT: RangeInclusive<usize> = 1..=65_536;
/// The bounds of [`Config::window`].
const WINDOW: RangeInclusive<usize> = 1..=4096;
/// The bounds of [`Config::parity`]: the largest request takes two of the eight fragments that a set may have.
const PARITY: RangeInclusive<u8> = 0..=4;
/// The least [`Config::queue_bytes`]: one message of the largest size that nodes of the fleet relay.
const LEAST_QUEUE_BYTES: usize = 256 << 10;

/// The settings of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long a caller waits who names no limit of its own.
    pub timeout: Duration,
    /// The longest limit that a caller can name; longer ones are cut to it. Credentials live as long.
    pub max_timeout: Duration,
    /// Reply blocks in each packet of a first try, 1 to 5, as far as they fit. The exit answers through all of them; the first
    /// answer wins. Retries, and first tries while loss is seen, have two at least.
    pub surbs: usize,
    /// For requests that travel in fragments: how many of a first try may be lost. Retries, and first tries while loss is seen,
    /// have one at least.
    pub parity: u8,
    /// Requests that may be open at a time; the next is refused as busy.
    pub in_flight: usize,
    /// Bytes of the messages of open requests; a request beyond them is refused as busy.
    pub queue_bytes: usize,
    /// Requests that may have a try under way; the others wait in the order of acceptance. Halved whenever somebody on the
    /// way is busy, widened again with the answers.
    pub window: usize,
    /// The delay that each hop on the way is asked for. [`DelayLaw::None`] suits hops of 2025 that read the field in
    /// the wrong byte order (`spec/mix-wire.md §20`, P0).
    pub delay: DelayLaw,
    /// How long a packet waits here before it leaves. On by default (`spec/mix-wire.md §21` W12), with the mean of a hop,
    /// so that the first link shows no more about the moment of a request than any other.
    pub hold: DelayLaw,
    /// Where the network shards by content topic: lets the sender hash messages for which the service derives the topic.
    pub auto_shards: Option<AutoShards>,
}

impl Default for Config {
    fn default() -> Self {
        let ClientConfig { timeout, max_timeout, surbs, parity, in_flight, queue_bytes, window, delay, hold } =
            ClientConfig::default();
        Self { timeout, max_timeout, surbs, parity, in_flight, queue_bytes, window, delay, hold, auto_shards: None }
    }
}

impl Config {
    /// What the client is set to.
    pub(crate) fn client(&self) -> ClientConfig {
        let Self { timeout, max_timeout, surbs, parity, in_flight, queue_bytes, window, delay, hold, .. } = *self;
        ClientConfig { timeout, max_timeout, surbs, parity, in_flight, queue_bytes, window, delay, hold }
    }

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
        checks.within("parity", &self.parity, &PARITY);
        checks.within("in_flight", &self.in_flight, &IN_FLIGHT);
        if self.queue_bytes < LEAST_QUEUE_BYTES {
            let problem = format!("is {}, less than one message may have", self.queue_bytes);
            checks.refuse("queue_bytes", problem, format!("use at least {LEAST_QUEUE_BYTES}"));
        }
        checks.within("window", &self.window, &WINDOW);
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
        let zero = Duration::ZERO;
        let config =
            Config { timeout: zero, surbs: 6, parity: 5, in_flight: 0, queue_bytes: 1, window: 0, ..Config::default() };
        let fields = ["timeout", "surbs", "parity", "in_flight", "queue_bytes", "window"];
        assert_eq!(config.validate().unwrap_err().fields(), fields);
        let config = Config { max_timeout: Duration::from_secs(1), surbs: 0, ..Config::default() };
        assert_eq!(
            config.validate().unwrap_err().to_string(),
            "timeout is 10s, longer than the longest that may be asked for, 1s; lower it, or raise max-timeout\n\
             surbs is 0; use 1 to 5"
        );
    }
}
