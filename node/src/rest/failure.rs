//! The form of failures. Those of `/lightpush/v3/message` and of paths that do not exist are JSON, [`FailureJson`]; all others are
//! sentences in plain text as nwaku has them, so that its clients read them, and the same JSON for a caller that takes JSON and
//! no text.

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody as _},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use schemars::JsonSchema;
use serde::Serialize;

/// A failure. `statusDesc` is nwaku's, the others ours.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Failure")]
pub(super) struct FailureJson {
    /// A stable code.
    pub(super) outcome: &'static str,
    /// The same.
    pub(super) error: &'static str,
    /// What is wrong, and what to do.
    pub(super) status_desc: String,
}

/// How the failures of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

impl Form {
    /// What a request has failures in.
    pub(super) fn of(request: &ServiceRequest) -> Self {
        // A probe reads the status; what a node waits for is a list of lines.
        if request.path().starts_with("/health") {
            return Self::Text;
        }
        let is_json = request.path().starts_with("/lightpush/v3/") || takes_json_alone(request.headers());
        if is_json { Self::Json } else { Self::Text }
    }
}

/// Whether `Accept` names JSON and neither text nor everything.
fn takes_json_alone(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(header::ACCEPT).filter_map(|accept| accept.to_str().ok());
    let (mut json, mut text) = (false, false);
    for range in named.by_ref().flat_map(|accept| accept.split(',')) {
        let essence = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        json |= essence == "application/json";
        text |= matches!(essence.as_str(), "text/plain" | "text/*" | "*/*");
    }
    json && !text
}

/// An answer in this form, if it is a failure in words.
pub(super) fn in_form(response: ServiceResponse<BoxBody>, form: Form) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let is_text = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if form == Form::Text || !(status.is_client_error() || status.is_server_error()) || !is_text {
        return response;
    }
    let mut response = response.map_body(|_, body| match body.try_into_bytes() {
        Ok(words) => BoxBody::new(written(status, String::from_utf8_lossy(&words).into_owned())),
        Err(pieces) => pieces,
    });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A failure in JSON.
pub(super) fn json(status: StatusCode, words: String) -> HttpResponse {
    HttpResponse::build(status).content_type("application/json").body(written(status, words))
}

fn written(status: StatusCode, words: String) -> String {
    let code = code(status);
    // A value of texts can be written.
    serde_json::to_string(&FailureJson { outcome: code, error: code, status_desc: words }).unwrap_or_default()
}

/// The code of a failure that has none of its own.
fn code(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "bad_request",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "body_timeout",
        409 => "conflict",
        413 => "too_large",
        415 => "unsupported_media_type",
        429 => "busy",
        503 => "unavailable",
        _ if status.is_client_error() => "refused",
        _ => "internal",
    }
}

/// Adds a header whose value is made here, of letters and commas.
pub(super) fn insert(answer: &mut HttpResponse, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
