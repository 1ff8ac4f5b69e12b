//! `/health` and `/metrics`.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use wakumix_role_api::rest::{Content, Operation, Reply};
use wakumix_telemetry::CONTENT_TYPE;

use super::{Api, body::text, routes::OwnRoute};

/// How long the host may take to report its connections. One that says nothing counts as connected to nobody: a
/// report must not hang with what it reports on.
pub(super) const HOST_LIMIT: Duration = Duration::from_secs(1);

/// The form of nwaku's report, for its description; [`wakumix_telemetry::health`] writes it.
#[derive(schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Health")]
#[expect(dead_code, reason = "its form alone is used")]
struct HealthJson {
    /// `READY` once every role is.
    node_health: String,
    /// `Connected`, `PartiallyConnected` or `Disconnected`.
    connection_status: String,
    /// One object for each protocol: its name with its state and, as `desc`, what is missing.
    protocols_health: Vec<std::collections::BTreeMap<String, String>>,
}

const REPORT: Operation = Operation {
    summary: "The state of the node and of each protocol",
    parameters: &[],
    body: None,
    replies: &[Reply::json::<HealthJson>(200, "The report, also while the node is not ready.")],
};

const LIVE: Operation = Operation {
    summary: "Whether the process answers",
    parameters: &[],
    body: None,
    replies: &[Reply::text(200, "OK")],
};

const READY: Operation = Operation {
    summary: "Whether every role is ready",
    parameters: &[],
    body: None,
    replies: &[Reply::text(200, "OK"), Reply::text(503, "What the node waits for, one line each.")],
};

const METRICS: Operation = Operation {
    summary: "Metrics for Prometheus",
    parameters: &[],
    body: None,
    replies: &[Reply { content: Content::Metrics, ..Reply::text(200, "The metrics of now.") }],
};

const READY_ROUTE: OwnRoute = OwnRoute::get("/health/ready", &READY, |route| route.to(ready));
const METRICS_ROUTE: OwnRoute = OwnRoute::get("/metrics", &METRICS, |route| route.to(metrics));

pub(super) fn routes() -> Vec<OwnRoute> {
    let report = OwnRoute::get("/health", &REPORT, |route| route.to(report));
    let live = OwnRoute::get("/health/live", &LIVE, |route| route.to(live));
    vec![report, live, READY_ROUTE, METRICS_ROUTE]
}

/// The metrics port answers `/health` with a plain OK (`spec/waku.md §7.2`).
pub(super) fn metrics_port_routes() -> Vec<OwnRoute> {
    vec![OwnRoute::get("/health", &LIVE, |route| route.to(live)), READY_ROUTE, METRICS_ROUTE]
}

/// nwaku's report: 200 also while the node is not ready.
async fn report(api: web::Data<Api>) -> impl Responder {
    let status = tokio::time::timeout(HOST_LIMIT, api.host.status()).await.ok().flatten();
    let connected_peers = status.map_or(0, |status| status.connected_peers);
    HttpResponse::Ok().json((api.health)(connected_peers))
}

/// The process answers; nothing of peers or pools.
async fn live() -> impl Responder {
    text(StatusCode::OK, "OK")
}

async fn ready(api: web::Data<Api>) -> impl Responder {
    let missing = (api.missing)();
    if missing.is_empty() {
        text(StatusCode::OK, "OK")
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n"))
    }
}

async fn metrics(api: web::Data<Api>) -> impl Responder {
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(api.telemetry.render())
}
