//! Waiting for what must happen, in whatever time it takes, and reading it from the metrics page.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use wakumix_telemetry::{Catalogue, Telemetry};

/// After this a test has hung. Nothing is asserted about how long anything takes.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What must happen before the test counts as hung.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(DEADLINE, what).await.expect("it did not happen")
}

/// Waits for a condition that has no event of its own.
pub async fn until(mut holds: impl AsyncFnMut() -> bool) {
    within(async {
        while !holds().await {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// The metrics of one crate, and of the queues, actors and tasks that it uses.
#[must_use]
pub fn telemetry(metrics: &'static Catalogue) -> Telemetry {
    Telemetry::new([&wakumix_role_api::METRICS, metrics]).unwrap()
}

/// Whether this line is on the metrics page.
#[must_use]
pub fn shows(telemetry: &Telemetry, line: &str) -> bool {
    telemetry.render().lines().any(|found| found == line)
}

/// Waits until this line is on the metrics page.
pub async fn metric_appears(telemetry: &Telemetry, line: &str) {
    let appears = timeout(DEADLINE, until(async || shows(telemetry, line))).await;
    assert!(appears.is_ok(), "{line} is not on the page:\n{}", telemetry.render());
}
