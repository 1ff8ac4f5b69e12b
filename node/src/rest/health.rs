//! `/health` and `/metrics`.

use std::time::Duration;

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use wakumix_telemetry::CONTENT_TYPE;

use super::{Api, body::text};

/// How long the host may take to say whom it is connected to. One that says nothing counts as connected to nobody: a
/// report must not hang with what it reports on.
const HOST_LIMIT: Duration = Duration::from_secs(1);

pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/health", web::get().to(report))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
}

/// The metrics port answers `/health` with a plain OK (`spec/waku.md §7.2`).
pub(super) fn metrics_port_routes(config: &mut web::ServiceConfig, _: &Api) {
    config
        .route("/health", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
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
