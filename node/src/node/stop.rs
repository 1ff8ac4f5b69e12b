//! How a node stops.

use std::time::Duration;

use tokio::time::Instant;
use wakumix_role_api::{RoleName, StopReport};

use super::Node;

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

/// The order in which roles stop, each with the percentage of the whole limit at which it must have ended: what the
/// one before does not need, the next one has. The mixer comes after those that hand it packets, and the host, which
/// writes the last of them, has the rest.
const ORDER: [(RoleName, u32); 4] =
    [(RoleName::Sender, 50), (RoleName::Exit, 65), (RoleName::Relay, 70), (RoleName::Mixer, 90)];

impl Node {
    /// Stops everything within `limit`.
    pub async fn stop(self, limit: Duration) -> StopSummary {
        let start = Instant::now();
        let deadline = start + limit;
        let mut summary = StopSummary::default();
        for server in [&self.rest, &self.metrics].into_iter().flatten() {
            server.stop().await;
        }
        for (name, percent) in ORDER {
            if let Some(role) = self.roles.iter().find(|role| role.name() == name) {
                summary.add(name.as_str(), &role.stop(start + limit * percent / 100).await);
            }
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
        for role in self.roles.iter() {
            role.stop(now).await;
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
