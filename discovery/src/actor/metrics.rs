//! What discovery counts.

use std::{collections::HashMap, time::Duration};

use wakumix_role_api::directory::{PoolCounts, PoolState};
use wakumix_telemetry::{Counter, Gauge, Telemetry};

use crate::{
    clock::Now,
    metrics::Metric,
    peer_report::{Refusal, SourceName},
    peer_table::{CheckOutcome, PeerTable},
    pool::Diversity,
};

/// Handles, taken once; counters that may never be needed when they are.
pub(crate) struct Metrics {
    telemetry: Telemetry,
    nwaku_pool: Gauge,
    states: [Gauge; PoolState::ALL.len()],
    by_source: [Gauge; SourceName::ALL.len()],
    reports: [Counter; SourceName::ALL.len()],
    checks: HashMap<CheckOutcome, Counter>,
    subnets: GroupGauges,
    families: GroupGauges,
    median_age: Gauge,
    oldest_age: Gauge,
    reached: Gauge,
    unverified: Gauge,
}

/// A number of groups and how many equally large ones would be as diverse.
struct GroupGauges {
    count: Gauge,
    effective: Gauge,
}

impl Metrics {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        let groups = |kind| GroupGauges {
            count: telemetry.gauge(Metric::PoolGroups, &[("kind", kind)]),
            effective: telemetry.gauge(Metric::PoolEffectiveGroups, &[("kind", kind)]),
        };
        let age = |statistic| telemetry.gauge(Metric::PoolContactAgeSeconds, &[("statistic", statistic)]);
        let nodes = |kind| telemetry.gauge(Metric::DiscoveryNodes, &[("kind", kind)]);
        let check = |outcome: CheckOutcome| {
            (outcome, telemetry.counter(Metric::PoolChecksTotal, &[("outcome", outcome.as_str())]))
        };
        Self {
            telemetry: telemetry.clone(),
            nwaku_pool: telemetry.gauge(Metric::MixPoolSize, &[]),
            states: PoolState::ALL.map(|state| telemetry.gauge(Metric::PoolNodes, &[("state", state.as_str())])),
            by_source: SourceName::ALL
                .map(|source| telemetry.gauge(Metric::PoolNodesBySource, &[("source", source.as_str())])),
            reports: SourceName::ALL
                .map(|source| telemetry.counter(Metric::DiscoveryFindingsTotal, &[("source", source.as_str())])),
            checks: CheckOutcome::ALL.into_iter().map(check).collect(),
            subnets: groups("subnet"),
            families: groups("family"),
            median_age: age("median"),
            oldest_age: age("oldest"),
            reached: nodes("reached"),
            unverified: nodes("stranger"),
        }
    }

    /// So many records were taken.
    pub(crate) fn taken(&self, source: SourceName, count: u64) {
        if let Some(counter) = self.reports.get(source as usize) {
            counter.increment(count);
        }
    }

    pub(crate) fn refused(&self, source: SourceName, refusal: Refusal, count: u64) {
        let labels = [("source", source.as_str()), ("reason", refusal.as_str())];
        self.telemetry.counter(Metric::DiscoveryRefusedTotal, &labels).increment(count);
    }

    pub(crate) fn looked_up(&self, source: SourceName, is_answered: bool) {
        let outcome = if is_answered { "answered" } else { "unanswered" };
        let labels = [("source", source.as_str()), ("outcome", outcome)];
        self.telemetry.counter(Metric::DiscoveryLookupsTotal, &labels).increment(1);
    }

    pub(crate) fn checked(&self, outcome: CheckOutcome) {
        if let Some(counter) = self.checks.get(&outcome) {
            counter.increment(1);
        }
    }

    /// A new snapshot is shown.
    pub(crate) fn shown(&self, pool: &PoolCounts, diversity: Diversity) {
        self.nwaku_pool.set(pool.of(PoolState::Usable));
        for (state, gauge) in PoolState::ALL.into_iter().zip(&self.states) {
            gauge.set(pool.of(state));
        }
        for (gauges, groups) in [(&self.subnets, diversity.subnets), (&self.families, diversity.families)] {
            gauges.count.set(number(groups.count));
            gauges.effective.set(groups.effective);
        }
    }

    /// What changes without a new snapshot: ages, sources, how full the peer table is.
    pub(crate) fn update_gauges(&self, table: &PeerTable, now: Now) {
        let usable = || table.nodes().filter(|node| node.state.is_some_and(|(state, _)| state == PoolState::Usable));
        let mut by_source = [0_usize; SourceName::ALL.len()];
        for source in usable().flat_map(|node| node.sources()) {
            if let Some(count) = by_source.get_mut(source as usize) {
                *count += 1;
            }
        }
        for (count, gauge) in by_source.into_iter().zip(&self.by_source) {
            gauge.set(number(count));
        }
        let mut ages: Vec<Duration> = usable().filter_map(|node| Some(now.since(node.contact.last_seen?))).collect();
        ages.sort_unstable();
        self.median_age.set(ages.get(ages.len() / 2).map_or(0.0, Duration::as_secs_f64));
        self.oldest_age.set(ages.last().map_or(0.0, Duration::as_secs_f64));
        self.unverified.set(number(table.unverified()));
        self.reached.set(number(table.len().saturating_sub(table.unverified())));
    }
}

/// A number of nodes as a metric's value.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
