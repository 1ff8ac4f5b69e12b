//! What an operator can set.

use std::collections::BTreeSet;
use std::time::Duration;

use wakumix_role_api::config::{self, Settings, flag, list, number, size, text};
use wakumix_role_api::{ConfigChecks, ConfigError};
use wakumix_waku::message::DEFAULT_MAX_MESSAGE_LEN;
use wakumix_waku::topic::MAX_SHARDS;

/// Messages kept for each subscribed topic: as many as nwaku's `rest-relay-cache-capacity`.
pub const DEFAULT_CACHE_CAPACITY: usize = 50;

/// Messages that a follower may lag behind: at 1 kB each about 1 MB, held only while somebody lags.
pub const DEFAULT_FOLLOW_CAPACITY: usize = 1024;

/// Publications in progress: each holds one message, so 64 of 150 KiB are 9.4 MiB at most.
pub const DEFAULT_MAX_IN_FLIGHT: usize = 64;

/// Budget of direct lightpush clients. logos-delivery applies 5 per second when nothing is configured (`spec/waku.md §0`), counts more
/// leniently, and answers 40 requests back to back (`spec/live-behaviour.md §6`). Here one client gets 150 at once, and 15 per second.
pub const DEFAULT_LIGHTPUSH_RATE: RateLimit = RateLimit { volume: 20, period: Duration::from_secs(1) };

/// Budget of all lightpush requests from the mixnet together. Its users cannot be told apart, so the budget of one
/// client would throttle everybody (`spec/waku.md §4.2`). A request fits one packet (3.2 kB): 100/s are 320 kB/s of gossip.
pub const DEFAULT_LIGHTPUSH_RATE_MIX: RateLimit = RateLimit { volume: 100, period: Duration::from_secs(1) };

/// The key of the budgets of all services.
pub(crate) const BUDGETS: &str = "rate-limit";

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
    /// (`spec/waku.md §4.2`).
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

wakumix_role_api::settings! {
    /// Settings of the relay role. None is reloadable.
    "Relay role" {
        lightpush: bool = true, flag(), "relay.lightpush" also "lightpush",
            "serve lightpush v3 and v2 to peers and, with the exit role, to the mixnet";
        follow_capacity: usize = DEFAULT_FOLLOW_CAPACITY, number(1..=1_000_000), "relay.follow-capacity",
            "messages that a local reader may lag behind before it loses the oldest";
        max_in_flight: usize = DEFAULT_MAX_IN_FLIGHT, number(1..=100_000), "relay.max-in-flight",
            "publications in progress; further ones are refused with status 429";
    }
    shared {
        /// The cluster that it relays for. Gossip of another cluster is rejected.
        cluster: u16 = 0, number(0..=65_535), "cluster-id";
        /// The shards that it joins at start, each below 1024. None: it relays what is subscribed later.
        shards: Vec<u16> = vec![0], list(number(0..=1023)), "shard";
        /// Shards of the cluster for auto-sharding, up to 1024; 0: static sharding, lightpush requests must name their topic.
        /// A number that differs from the network's puts messages where nobody looks.
        shards_in_network: u16 = 0, number(0..=1024), "num-shards-in-network";
        /// Longest encoded message that is published here, in bytes, at least 1; above what gossipsub transmits it only moves
        /// the refusal there. What others publish is passed on whatever this says.
        max_message_len: usize = DEFAULT_MAX_MESSAGE_LEN, size(1..=u64::MAX), "max-msg-size";
        /// Budget of lightpush clients with their own connection, `None`: no limit. Each gets three quarters of it.
        lightpush_rate: Option<RateLimit> = Some(DEFAULT_LIGHTPUSH_RATE);
        /// Budget of all lightpush requests from the mixnet together, `None`: no limit.
        lightpush_rate_mix: Option<RateLimit> = Some(DEFAULT_LIGHTPUSH_RATE_MIX);
        /// Messages kept for each subscribed topic, oldest dropped; 0: none.
        cache_capacity: usize = DEFAULT_CACHE_CAPACITY, number(0..=1_000_000), "rest-relay-cache-capacity";
    }
}

impl Config {
    /// The values in force.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub(crate) fn read_all(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let config = Self::read(settings)?;
        if settings.values.get(BUDGETS).is_none() {
            return Ok(config);
        }
        let form = list(text(config::RateLimit::FORM, config::RateLimit::PLACEHOLDER));
        let budgets: Vec<config::RateLimit> = settings.read(BUDGETS, &form, Vec::new())?;
        let budget = |service| {
            let budget = config::RateLimit::of_service(&budgets, service)?;
            Some(RateLimit { volume: budget.volume, period: budget.period.as_duration() })
        };
        Ok(Self { lightpush_rate: budget("lightpush"), lightpush_rate_mix: budget("mix"), ..config })
    }

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
        if self.max_message_len == 0 {
            checks.refuse("max_message_len", "is 0", "use at least 1");
        }
        self.check_ranges(&mut checks);
        for (field, rate) in [("lightpush_rate", self.lightpush_rate), ("lightpush_rate_mix", self.lightpush_rate_mix)]
        {
            if rate.is_some_and(|rate| rate.volume == 0 || rate.period.is_zero()) {
                checks.refuse(field, "allows no requests", "use numbers greater than 0, or no limit");
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
