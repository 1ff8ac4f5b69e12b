//! What the mixer shows at each scrape: how full its bounded sets are, and what the key ring says.

use std::sync::Arc;

use wakumix_keyring::Stats;
use wakumix_role_api::metrics::Metric as SharedMetric;
use wakumix_telemetry::{Counter, Gauge, Telemetry};

use crate::delay_queue::DelayQueue;
use crate::loops::Loops;
use crate::metrics::{DELAY_QUEUE, Metric};
use crate::pipeline::Pipeline;

/// What the key ring has done and holds, besides the tags themselves.
struct KeyMetrics {
    memory: Gauge,
    disk: Gauge,
    waiting: Gauge,
    commits: Counter,
    commit_sum: Gauge,
    longest_commit: Gauge,
    syncs: Counter,
    failures: Counter,
    torn_tails: Counter,
    rotations: Counter,
    retired: Counter,
    current_since: Gauge,
    overlap_until: Gauge,
}

impl KeyMetrics {
    fn new(telemetry: &Telemetry) -> Self {
        let gauge = |metric| telemetry.gauge(metric, &[]);
        let counter = |metric| telemetry.counter(metric, &[]);
        let commit = |statistic| telemetry.gauge(Metric::ReplayTagsCommitSeconds, &[("statistic", statistic)]);
        Self {
            memory: gauge(Metric::ReplayTagsMemoryBytes),
            disk: gauge(Metric::ReplayTagsDiskBytes),
            waiting: gauge(Metric::ReplayTagsWaiting),
            commits: counter(Metric::ReplayTagsCommitsTotal),
            commit_sum: commit("sum"),
            longest_commit: commit("longest"),
            syncs: counter(Metric::ReplayTagsSyncsTotal),
            failures: counter(Metric::ReplayTagsLogFailuresTotal),
            torn_tails: counter(Metric::ReplayTagsTornTailsTotal),
            rotations: counter(Metric::KeyRotationsTotal),
            retired: counter(Metric::KeyRetiredTotal),
            current_since: gauge(Metric::KeyCurrentSinceTimestampSeconds),
            overlap_until: gauge(Metric::KeyOverlapUntilTimestampSeconds),
        }
    }

    fn show(&self, stats: &Stats) {
        self.memory.set(as_gauge(stats.bytes_in_memory as u64));
        self.disk.set(as_gauge(stats.bytes_on_disk));
        self.waiting.set(as_gauge(stats.waiting));
        self.commits.absolute(stats.commits);
        self.commit_sum.set(stats.commit_time.as_secs_f64());
        self.longest_commit.set(stats.longest_commit.as_secs_f64());
        self.syncs.absolute(stats.syncs);
        self.failures.absolute(stats.failures);
        self.torn_tails.absolute(stats.torn_tails);
        self.rotations.absolute(stats.rotations);
        self.retired.absolute(stats.retired);
        self.current_since.set(as_gauge(stats.current_since));
        self.overlap_until.set(as_gauge(stats.overlap_until.unwrap_or(0)));
    }
}

/// Shows fill and size of the bounded sets, of all keys together, what the key ring says, and what is thought of others, at each scrape.
pub(crate) fn export(telemetry: &Telemetry, queue: &DelayQueue, pipeline: &Arc<Pipeline>, loops: &Loops) {
    let down_weighted = telemetry.gauge(Metric::NodesWeighedDown, &[]);
    let depth = telemetry.gauge(SharedMetric::QueueDepth, &[("queue", DELAY_QUEUE)]);
    telemetry.gauge(SharedMetric::QueueCapacity, &[("queue", DELAY_QUEUE)]).set(as_gauge(queue.capacity() as u64));
    let tags = telemetry.gauge(Metric::ReplayTags, &[]);
    let capacity = telemetry.gauge(Metric::ReplayTagsCapacity, &[]);
    let of_keys = KeyMetrics::new(telemetry);
    let (queue, pipeline, loops) = (queue.clone(), Arc::downgrade(pipeline), loops.clone());
    telemetry.on_scrape(move |_| {
        depth.set(as_gauge(queue.len() as u64));
        down_weighted.set(as_gauge(loops.down_weighted() as u64));
        if let Some(pipeline) = pipeline.upgrade() {
            let keys = pipeline.keys.keys();
            tags.set(as_gauge(keys.iter().map(|key| key.tags() as u64).sum()));
            capacity.set(as_gauge(keys.iter().map(|key| key.tag_capacity() as u64).sum()));
            of_keys.show(&pipeline.keys.stats());
        }
    });
}

/// A gauge is a float.
#[allow(clippy::cast_precision_loss, reason = "counts, bytes and times are far below 2^53")]
fn as_gauge(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_figure_of_the_key_ring_is_on_the_page() {
        let telemetry = wakumix_role_testkit::telemetry(&crate::METRICS);
        let stats = Stats {
            tags: 0,
            capacity: 0,
            bytes_in_memory: 1,
            bytes_on_disk: 2,
            waiting: 3,
            commits: 4,
            syncs: 5,
            commit_time: Duration::from_millis(6500),
            longest_commit: Duration::from_millis(7250),
            torn_tails: 8,
            failures: 9,
            rotations: 10,
            retired: 11,
            current_since: 1_764_000_012,
            overlap_until: Some(1_764_000_013),
        };
        KeyMetrics::new(&telemetry).show(&stats);
        let page = telemetry.render();
        for sample in [
            "waku_mix_replay_tags_memory_bytes 1",
            "waku_mix_replay_tags_disk_bytes 2",
            "waku_mix_replay_tags_waiting 3",
            "waku_mix_replay_tags_commits_total 4",
            "waku_mix_replay_tags_syncs_total 5",
            "waku_mix_replay_tags_commit_seconds{statistic=\"sum\"} 6.5",
            "waku_mix_replay_tags_commit_seconds{statistic=\"longest\"} 7.25",
            "waku_mix_replay_tags_torn_tails_total 8",
            "waku_mix_replay_tags_log_failures_total 9",
            "waku_mix_key_rotations_total 10",
            "waku_mix_key_retired_total 11",
            "waku_mix_key_current_since_timestamp_seconds 1764000012",
            "waku_mix_key_overlap_until_timestamp_seconds 1764000013",
        ] {
            assert!(page.lines().any(|line| line == sample), "{sample}\n{page}");
        }
    }
}
