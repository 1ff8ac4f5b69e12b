//! `/debug/v1/info` and `/debug/v1/version`: what the fleet's tools read after a start (`spec/waku.md §7.5`).

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use serde::Serialize;

use super::{Api, body::text};

/// What the node is, with nwaku's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Announced multiaddresses, each with `/p2p/<peer id>`.
    pub listen_addresses: Vec<String>,
    /// The node record as it is now, `enr:…`; empty if the identity is no secp256k1 key.
    pub enr_uri: String,
    /// `0x` and 64 hex digits; absent when the node has no mix role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix_pub_key: Option<String>,
}

pub(super) fn routes(config: &mut web::ServiceConfig) {
    for path in ["/info", "/debug/v1/info"] {
        config.route(path, web::get().to(info));
    }
    for path in ["/version", "/debug/v1/version"] {
        config.route(path, web::get().to(version));
    }
}

async fn info(api: web::Data<Api>) -> impl Responder {
    HttpResponse::Ok().json((api.info)())
}

async fn version() -> impl Responder {
    text(StatusCode::OK, crate::VERSION)
}
