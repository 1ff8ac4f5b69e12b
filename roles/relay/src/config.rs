//! What can be set about the relay role.

use std::collections::BTreeSet;
use std::time::Duration;

use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_waku::message::DEFAULT_MAX_MESSAGE_LEN;
use wakumix_waku::topic::MAX_SHARDS;

/// Messages kept for each subscribed topic: as many as nwaku's `rest-relay-cache-capacity`.
pub const DEFAULT_CACHE_CAPACITY: usize = 50;

/// Messages that a follower may lag behind: at 1 kB each about 1 MB, held only while somebody lags.
pub const DEFAULT_FOLLOW_CAPACITY: usize = 1024;

/// Publications in progress: each holds one message, so 64 of 150 KiB are 9.4 MiB at most.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 64;

/// Budget of direct lightpush clients: what logos-delivery applies when nothing is configured (spec/waku.md §0).
pub const DEFAULT_LIGHTPUSH_RATE: RateLimit = RateLimit { volume: 5, period: Duration::from_secs(1) };

/// Budget of all lightpush requests from the mixnet together. Its users cannot be told apart, so the budget of one
/// client would throttle everybody (spec/waku.md §4.2). A request fits one packet (3.2 kB): 100/s are 320 kB/s of gossip.
pub const DEFAULT_LIGHTPUSH_RATE_MIX: RateLimit = RateLimit { volume: 100, period: Duration::from_secs(1) };

/// A request budget: `volume` requests per `period` on average. A requester that was quiet may send a burst, see
/// [`RateLimit::burst`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests, at least 1.
    pub volume: u32,
    /// The period in which they may come, above zero.
    pub period: Duration,
}

impl RateLimit {
    /// Periods whose volume may come at once: 10 up to a period of a second, 3 up to a minute, else 2
    /// (spec/waku.md §4.2).
    pub(crate) fn burst_periods(self) -> u32 {
        match self.period {
            period if period <= Duration::from_secs(1) => 10,
            period if period <= Duration::from_secs(60) => 3,
            _ => 2,
        }
    }

    /// Requests that may come at once after silence.
    pub fn burst(self) -> u32 {
        self.volume.saturating_mul(self.burst_periods())
    }
}

/// Settings of the relay role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster that it relays for. Gossip of another cluster is rejected. Default 0. Not reloadable, like all here.
    pub cluster: u16,
    /// The shards that it joins at start, each below 1024. Default: shard 0. None: it relays what is subscribed later.
    pub shards: Vec<u16>,
    /// Shards of the cluster for auto-sharding, up to 1024; 0: static sharding, lightpush requests must name their topic.
    /// A number that differs from the network's puts messages where nobody looks. Default 0.
    pub shards_in_network: u16,
    /// Longest encoded message that is published here, in bytes, at least 1. Default 150 KiB; above what gossipsub transmits
    /// it only moves the refusal there. What others publish is passed on whatever this says.
    pub max_message_len: usize,
    /// Whether lightpush v3 and v2 are served. Default true.
    pub lightpush: bool,
    /// Budget of lightpush clients with a connection of their own, `None`: no limit. Each gets three quarters of it.
    pub lightpush_rate: Option<RateLimit>,
    /// Budget of all lightpush requests from the mixnet together, `None`: no limit.
    pub lightpush_rate_mix: Option<RateLimit>,
    /// Messages kept for each subscribed topic, oldest dropped; 0: none. Default 50.
    pub cache_capacity: usize,
    /// Messages that a follower may lag behind before it loses the oldest, at least 1. Default 1024.
    pub follow_capacity: usize,
    /// Publications in progress before further ones are refused with 429, at least 1. Default 64.
    pub max_in_flight: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: 0,
            shards: vec![0],
            shards_in_network: 0,
            max_message_len: DEFAULT_MAX_MESSAGE_LEN,
            lightpush: true,
            lightpush_rate: Some(DEFAULT_LIGHTPUSH_RATE),
            lightpush_rate_mix: Some(DEFAULT_LIGHTPUSH_RATE_MIX),
            cache_capacity: DEFAULT_CACHE_CAPACITY,
            follow_capacity: DEFAULT_FOLLOW_CAPACITY,
            max_in_flight: DEFAULT_MAX_IN_FLIGHT,
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
        checks.within("shards_in_network", &self.shards_in_network, &(0..=MAX_SHARDS));
        let count = if self.shards_in_network == 0 { MAX_SHARDS } else { self.shards_in_network };
        for shard in self.shards.iter().collect::<BTreeSet<_>>() {
            if *shard >= count {
                let problem = format!("names shard {shard}, but the network has {count} shards, 0 to {}", count - 1);
                checks.refuse("shards", problem, "leave that shard out, or correct the number of shards");
            }
        }
        for (field, number) in [
            ("max_message_len", self.max_message_len),
            ("follow_capacity", self.follow_capacity),
            ("max_in_flight", self.max_in_flight),
        ] {
            if number == 0 {
                checks.refuse(field, "is 0", "use at least 1");
            }
        }
        for (field, rate) in [("lightpush_rate", self.lightpush_rate), ("lightpush_rate_mix", self.lightpush_rate_mix)]
        {
            if rate.is_some_and(|rate| rate.volume == 0 || rate.period.is_zero()) {
                checks.refuse(field, "lets nothing pass", "use numbers above 0, or no limit");
            }
        }
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn reports_all_problems_at_once() {
        let nothing = Some(RateLimit { volume: 0, period: Duration::from_secs(1) });
        let config = Config {
            shards: vec![9, 2000, 9],
            shards_in_network: 8,
            max_message_len: 0,
            follow_capacity: 0,
            max_in_flight: 0,
            lightpush_rate: nothing,
            lightpush_rate_mix: nothing,
            ..Config::default()
        };
        let error = config.validate().unwrap_err();
        let fields = [
            "shards",
            "shards",
            "max_message_len",
            "follow_capacity",
            "max_in_flight",
            "lightpush_rate",
            "lightpush_rate_mix",
        ];
        assert_eq!(error.fields(), fields);
        assert_eq!(
            error.problems[0].to_string(),
            "shards names shard 9, but the network has 8 shards, 0 to 7; leave that shard out, or correct the number of \
             shards"
        );
        let config = Config { shards_in_network: 1025, shards: vec![], ..Config::default() };
        assert_eq!(config.validate().unwrap_err().to_string(), "shards_in_network is 1025; use 0 to 1024");
    }
}
