//! What an operator can set.

use std::{num::NonZeroU16, time::Duration};

use wakumix_client::ClientConfig;
pub use wakumix_client::{
    DEFAULT_FALLBACK_AFTER, DEFAULT_IN_FLIGHT, DEFAULT_MAX_TIMEOUT, DEFAULT_MIN_SUBNETS, DEFAULT_PARITY,
    DEFAULT_QUEUE_BYTES, DEFAULT_SURBS, DEFAULT_TIMEOUT, DEFAULT_WINDOW, guards::DEFAULT_GUARDS, lightpush::AutoShards,
};
use wakumix_mix::DelayLaw;
use wakumix_role_api::{
    ConfigChecks, ConfigError,
    config::{Settings, delay, flag, number, size, time},
};
use wakumix_sphinx::MAX_SURBS;

/// The keys of the node that say which shards the network has.
pub(crate) const SHARDING_KEYS: [&str; 2] = ["cluster-id", "num-shards-in-network"];
/// One hour in milliseconds: longer than anything here should ever wait.
const HOUR_MS: u64 = 3_600_000;
/// One message of the largest size that nodes of the network relay, and more.
const LEAST_QUEUE_BYTES: u64 = 256 << 10;

wakumix_role_api::settings! {
    /// The settings of the sender.
    "Sender role" {
        timeout: Duration = DEFAULT_TIMEOUT, time(1..=HOUR_MS), "sender.timeout",
            "wait for the answer to a request that names no limit of its own; short ones give up on messages that were published";
        /// Longer limits of callers are cut to it.
        max_timeout: Duration = DEFAULT_MAX_TIMEOUT, time(1..=HOUR_MS), "sender.max-timeout",
            "longest wait that a request may ask for; what opens its answer is kept as long";
        /// Reply blocks in each packet of a first try, as far as they fit; without one there is no answer. The first answer wins.
        /// Retries, and first tries while loss is seen, have two at least.
        surbs: usize = DEFAULT_SURBS, number(1..=MAX_SURBS as u64), "sender.surbs",
            "reply blocks in a request; the exit answers through as many as its exit.max-answers, which this must not exceed, and each costs 734 bytes of payload";
        /// Of a first try. Retries, and first tries while loss is seen, have one at least. The largest request takes two of the
        /// eight fragments that a set may have.
        parity: u8 = DEFAULT_PARITY, number(0..=4), "sender.parity",
            "fragments beyond those needed, in each request that does not fit one packet: as many may get lost; each costs a packet";
        /// An exit that says 200 of a message which it has thrown away is believed with 1. Four, so that a handful of services suffices.
        confirmations: usize = 1, number(1..=4), "sender.confirmations",
            "services that must say that they have a message, each through another exit, before it counts as published: 2 asks a second one, which has seen it on the relay network if the first has told the truth. Each costs a round trip and a packet, and shows the message to one exit more";
        in_flight: usize = DEFAULT_IN_FLIGHT, number(1..=65_536), "sender.in-flight",
            "requests that may wait for their answers, about 4 kB each; further ones are refused as busy";
        queue_bytes: usize = DEFAULT_QUEUE_BYTES, size(LEAST_QUEUE_BYTES..=1 << 30), "sender.queue-bytes",
            "memory of requests that wait for their answers; further ones are refused as busy";
        /// 64 at first; halved whenever somebody on the path is busy, widened again with the answers.
        window: usize = DEFAULT_WINDOW, number(1..=4096), "sender.window",
            "requests under way in the mixnet at a time, at most; the others wait their turn. A node begins with 64 and goes beyond while answers come as fast as before";
        /// What a node sends that does not forward enters and leaves the mixnet over guards: few, drawn once, kept for weeks. One
        /// that forwards draws its own first hops, so that they look like what it forwards.
        guards: usize = DEFAULT_GUARDS, number(1..=8), "sender.guards",
            "mix nodes that a node without the roles mixer and exit stays connected to and sends over; each is one more that sees it";
        /// Where the pool is the operator's entries alone, or in a closed network, it is not asked for.
        min_subnets: usize = DEFAULT_MIN_SUBNETS, number(0..=64), "sender.min-subnets",
            "networks (/24) that the pool must be in before a message goes over the mixnet; each mixnode entry counts as one. 0 asks for none";
        fallback_after: Duration = DEFAULT_FALLBACK_AFTER, time(0..=HOUR_MS), "sender.fallback-after",
            "time without a usable pool, from the start too, after which a message goes directly that prefers anonymity";
        /// On by default (`spec/mix-wire.md §21 W12`), with the mean of a hop, so that the first link shows no more about the
        /// moment of a request than any other.
        hold: DelayLaw = ClientConfig::default().hold, delay(), "sender.hold",
            "mean wait of packets made here before they leave; none shows the first link when a request was made";
        allow_direct: bool = true, flag(), "sender.allow-direct",
            "push without the mixnet where a request asks for that, with anonymity none or preferred; false refuses such requests, whatever roles run";
    }
    shared {
        /// The delay that each hop on the path is asked for. [`DelayLaw::None`] suits hops of 2025 that read the field in
        /// the wrong byte order (`spec/mix-wire.md §20`, P0).
        delay: DelayLaw = ClientConfig::default().delay, delay(), "mix.delay";
        /// Where the network shards by content topic: lets the sender hash messages for which the service derives the topic.
        auto_shards: Option<AutoShards> = None;
    }
}

/// What a request and its answer wait on their way on average: at the sender, at two hops, at the exit and at two hops. The exit
/// has its own key; here it is taken for a hop, as the client does.
fn mean_waits(hold: DelayLaw, delay: DelayLaw) -> Duration {
    Duration::from_millis(u64::from(hold.encode()) + 5 * u64::from(delay.encode()))
}

impl Config {
    /// The values in force.
    ///
    /// # Errors
    /// What is wrong with the first that is.
    pub(crate) fn read_all(settings: &Settings<'_>) -> Result<Self, ConfigError> {
        let [cluster, shards] = SHARDING_KEYS;
        let cluster = settings.read(cluster, &number(0..=65_535), 0)?;
        let shards: u16 = settings.read(shards, &number(0..=1024), 0)?;
        let auto_shards = NonZeroU16::new(shards).map(|shards| AutoShards { cluster, shards });
        Ok(Self { auto_shards, ..Self::read(settings)? })
    }

    /// What the client is set to.
    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig {
            timeout: self.timeout,
            max_timeout: self.max_timeout,
            surbs: self.surbs,
            parity: self.parity,
            in_flight: self.in_flight,
            queue_bytes: self.queue_bytes,
            window: self.window,
            guards: self.guards,
            min_subnets: self.min_subnets,
            fallback_after: self.fallback_after,
            delay: self.delay,
            hold: self.hold,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// All problems at once.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut checks = ConfigChecks::default();
        self.check_ranges(&mut checks);
        if self.timeout > self.max_timeout {
            let problem =
                format!("is {:?}, longer than the longest that may be asked for, {:?}", self.timeout, self.max_timeout);
            checks.refuse("timeout", problem, "lower it, or raise sender.max-timeout");
        }
        let waits = mean_waits(self.hold, self.delay);
        if !self.timeout.is_zero() && waits >= self.timeout {
            let problem = format!(
                "is {:?}, and the six waits of a request and its answer take {waits:?} on average: hardly any is answered",
                self.timeout
            );
            checks.refuse("timeout", problem, "raise it, or lower sender.hold and mix.delay");
        }
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
            "surbs is 0; use a number from 1 to 5\n\
             timeout is 10s, longer than the longest that may be asked for, 1s; lower it, or raise sender.max-timeout"
        );
    }
}
