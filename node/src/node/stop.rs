//! How a node stops.

use std::time::Duration;

use tokio::time::Instant;
use wakumix_role_api::StopReport;

use super::{Node, RunningPart};

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

impl Node {
    /// Stops everything within `limit`.
    pub async fn stop(self, limit: Duration) -> StopSummary {
        let start = Instant::now();
        let deadline = start + limit;
        let mut summary = StopSummary::default();
        for server in [&self.rest, &self.metrics].into_iter().flatten() {
            server.stop().await;
        }
        // What one does not need, the next one has: a role must have ended when its share and those before it are over.
        let all: u32 = self.roles.iter().map(|part| part.factory.stop_share().max(1)).sum();
        let mut used = 0;
        for RunningPart { factory, role, .. } in self.roles.iter().rev() {
            used += factory.stop_share().max(1);
            summary.add(role.name().as_str(), &role.stop(start + limit * ROLES * used / (100 * all)).await);
        }
        if !self.discovery.stop(deadline).await {
            summary.late.push("discovery");
        }
        summary.add("host", &self.host.stop(deadline).await);
        summary
    }
}

impl Node {
    /// Ends everything at once, as a crash would: sockets close first, so nothing more is said to anybody, and what the
    /// node holds is lost and counted so.
    pub async fn kill(self) {
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
