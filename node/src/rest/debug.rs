//! `/info` and `/version`, also below `/debug/v1`: what nwaku's tools read after a start (`spec/waku.md §7.5`).

use actix_web::{HttpResponse, Responder, http::StatusCode, web};
use schemars::JsonSchema;
use serde::Serialize;
use wakumix_role_api::rest::{Operation, Reply};

use super::{Api, body::text, routes::OwnRoute};

/// What the node is, with nwaku's keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// Announced multiaddresses, each with `/p2p/<peer id>`.
    pub listen_addresses: Vec<String>,
    /// The node record as it is now, `enr:…`; empty if the identity is no secp256k1 key.
    pub enr_uri: String,
    /// The mix key of now, `0x` and 64 hex digits; absent when the node has no mix role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mix_pub_key: Option<String>,
}

const INFO: Operation = Operation {
    summary: "What the node is: addresses, node record, mix key; right after the start it waits until the record is whole",
    parameters: &[],
    body: None,
    replies: &[Reply::json::<Info>(200, "The node as it is now.")],
};

const VERSION: Operation = Operation {
    summary: "The version of the node",
    parameters: &[],
    body: None,
    replies: &[Reply::text(200, "The version.")],
};

pub(super) fn routes() -> Vec<OwnRoute> {
    let info = |path| OwnRoute::get(path, &INFO, |route| route.to(info));
    let version = |path| OwnRoute::get(path, &VERSION, |route| route.to(version));
    vec![info("/info"), info("/debug/v1/info"), version("/version"), version("/debug/v1/version")]
}

async fn info(api: web::Data<Api>) -> impl Responder {
    HttpResponse::Ok().json((api.info)().await)
}

async fn version() -> impl Responder {
    text(StatusCode::OK, crate::VERSION)
}
