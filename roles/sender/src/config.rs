//! What an operator can set. The node maps the keys of its files, flags and environment to these fields.

use std::{fmt, num::NonZeroU16, time::Duration};

use wakumix_mix::DelayLaw;
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
/// The bound of [`Config::in_flight`]: beyond it the memory of waiting requests passes a quarter of a gibibyte.
const MAX_IN_FLIGHT: usize = 65_536;

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

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field of [`Config`].
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

impl Config {
    /// Everything that is wrong, at once.
    #[must_use]
    pub fn validate(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut refuse_if = |is_wrong: bool, field, text: String| {
            if is_wrong {
                problems.push(Problem { field, text });
            }
        };
        refuse_if(self.timeout.is_zero(), "timeout", "must be longer than zero".to_owned());
        refuse_if(
            self.max_timeout < self.timeout,
            "max_timeout",
            format!("{:?} is shorter than timeout, {:?}", self.max_timeout, self.timeout),
        );
        refuse_if(
            !(1..=MAX_SURBS).contains(&self.surbs),
            "surbs",
            format!("{} is outside 1 to {MAX_SURBS}; without a reply block there is no answer", self.surbs),
        );
        refuse_if(
            !(1..=MAX_IN_FLIGHT).contains(&self.in_flight),
            "in_flight",
            format!("{} is outside 1 to {MAX_IN_FLIGHT}", self.in_flight),
        );
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), []);
    }

    #[test]
    fn reports_every_problem_at_once() {
        let config = Config {
            timeout: Duration::ZERO,
            surbs: 6,
            in_flight: 0,
            max_timeout: Duration::ZERO,
            ..Config::default()
        };
        let fields: Vec<_> = config.validate().iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["timeout", "surbs", "in_flight"]);
        let config = Config { max_timeout: Duration::from_secs(1), surbs: 0, ..Config::default() };
        let texts: Vec<_> = config.validate().iter().map(Problem::to_string).collect();
        assert_eq!(
            texts,
            [
                "max_timeout: 1s is shorter than timeout, 10s",
                "surbs: 0 is outside 1 to 5; without a reply block there is no answer",
            ]
        );
    }
}
