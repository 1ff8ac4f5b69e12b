//! How a node stops.

use std::{sync::atomic::Ordering, time::Duration};

use futures::future::join_all;
use tokio::time::Instant;
use wakumix_role_api::StopReport;

use super::Node;
use crate::rest::Server;

/// How a node stopped.
#[derive(Clone, Debug, Default)]
pub struct StopSummary {
    /// Packets and requests that were finished while stopping.
    pub finished: u64,
    /// Packets and requests that were given up and counted.
    pub abandoned: u64,
    /// Parts that did not end before the deadline.
    pub late: Vec<&'static str>,
}

/// The percentage of the limit after which every role must have ended: the host, which writes their last packets, has the rest.
const ROLES: u32 = 90;

/// When roles with these shares must have ended, in the order in which they stop: what one does not need, the next one has.
fn deadlines(limit: Duration, shares: impl Iterator<Item = u32> + Clone) -> impl Iterator<Item = Duration> {
    let all: u32 = shares.clone().map(|share| share.max(1)).sum();
    let used = shares.scan(0, |used, share| {
        *used += share.max(1);
        Some(*used)
    });
    used.map(move |used| limit * ROLES * used / (100 * all))
}

impl Node {
    /// Stops everything within `limit`. Until the host has ended, the servers show health, not ready, and metrics, and refuse all
    /// else; then they have a second to finish what is open.
    pub async fn stop(self, limit: Duration) -> StopSummary {
        // A node that stops is not ready, and says that it stops.
        self.readiness.abort();
        let start = Instant::now();
        let deadline = start + limit;
        let mut summary = StopSummary::default();
        self.stopping.store(true, Ordering::Relaxed);
        let shares = self.roles.iter().rev().map(|part| part.factory.stop_share());
        for (part, by) in self.roles.iter().rev().zip(deadlines(limit, shares)) {
            summary.add(part.role.name().as_str(), &part.role.stop(start + by).await);
        }
        if !self.discovery.stop(deadline).await {
            summary.late.push("discovery");
        }
        summary.add("host", &self.host.stop(deadline).await);
        join_all([&self.rest, &self.metrics].into_iter().flatten().map(Server::stop)).await;
        summary
    }
}

impl Node {
    /// Ends everything at once, as a crash would: sockets close first, so nothing more is said to anybody, and what the
    /// node holds is lost and counted so.
    pub async fn kill(self) {
        self.readiness.abort();
        let now = Instant::now();
        drop(self.host);
        for server in [&self.rest, &self.metrics].into_iter().flatten() {
            server.stop().await;
        }
        for part in self.roles.iter() {
            part.role.stop(now).await;
        }
        self.discovery.stop(now).await;
    }
}

impl StopSummary {
    fn add(&mut self, part: &'static str, report: &StopReport) {
        self.finished += report.finished;
        self.abandoned += report.abandoned;
        if !report.in_time {
            self.late.push(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_role_has_ninety_percent_of_the_time_whichever_run() {
        let seconds = |shares: &[u32]| -> Vec<f64> {
            deadlines(Duration::from_secs(100), shares.iter().copied()).map(|by| by.as_secs_f64()).collect()
        };
        // Sender, exit, relay, mixer.
        assert_eq!(seconds(&[50, 15, 5, 20]), [50.0, 65.0, 70.0, 90.0]);
        assert_eq!(seconds(&[20]), [90.0]);
        assert_eq!(seconds(&[0, 8]), [10.0, 90.0]);
    }
}
