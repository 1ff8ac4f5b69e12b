//! Pages that may use the interface: those of the origins in `rest-allow-origin`, and no others.
//!
//! A browser asks before a page of another origin sends JSON or a token (a *preflight*), and lets the page read an answer only
//! if that names its origin (`fetch.spec.whatwg.org`, CORS protocol). Where the page comes from a wider network than the node's,
//! it asks for that too (`wicg.github.io/private-network-access`). Without an allowed origin nothing of this is answered.
//!
//! No answer allows credentials: there are no cookies here, and the token is a header that the page sets itself.

use actix_web::{
    HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use crate::config::AllowedOrigin;

const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// What a page may do: every method that is served, with a body of JSON and the token.
const METHODS: &str = "GET, POST, PUT, DELETE";
const HEADERS: &str = "Content-Type, Authorization";
/// How long a browser need not ask again, in seconds. An origin that is taken out of the list is refused at once all the same.
const MAX_AGE: &str = "600";

/// The origin of the page that a request comes from, if that is allowed.
pub(super) fn allowed_origin(headers: &HeaderMap, allowed: &[AllowedOrigin]) -> Option<HeaderValue> {
    let mut found = headers.get_all(header::ORIGIN);
    let (Some(origin), None) = (found.next(), found.next()) else { return None };
    let text = origin.to_str().ok()?;
    allowed.iter().any(|allowed| allowed.admits(text)).then(|| origin.clone())
}

/// Whether a browser asks what a page may do.
pub(super) fn is_preflight(request: &ServiceRequest) -> bool {
    *request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight of an allowed origin, 200 as nwaku gives it.
pub(super) fn preflight(request: ServiceRequest) -> ServiceResponse<BoxBody> {
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS));
    answer.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS));
    answer.insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE));
    if request.headers().get(REQUEST_PRIVATE_NETWORK).is_some_and(|asked| asked == "true") {
        answer.insert_header((ALLOW_PRIVATE_NETWORK, "true"));
    }
    request.into_response(answer.finish())
}

/// Lets a page of this origin read an answer. Where the answer depends on the origin, it says so to caches.
pub(super) fn mark(
    mut response: ServiceResponse<BoxBody>,
    origin: Option<HeaderValue>,
    allowed: &[AllowedOrigin],
) -> ServiceResponse<BoxBody> {
    let headers = response.headers_mut();
    if !allowed.is_empty() {
        headers.append(header::VARY, HeaderValue::from_name(header::ORIGIN));
    }
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}
