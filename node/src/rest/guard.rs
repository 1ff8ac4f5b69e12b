//! Who may use the REST interface: programs, not web pages.
//!
//! A browser lets any page send requests to this machine and to its network, and the interface has no passwords: a page could
//! publish under the identity of this node, or take the messages that somebody else waits for. These tell such a request from
//! that of a program:
//!
//! | a page can | what stops it |
//! |---|---|
//! | send requests of its own | `Origin` names the page, `Sec-Fetch-Site` says that it comes from elsewhere; no page is served here |
//! | send a body without asking first (a form, `no-cors`) | a body must be `application/json`, which a page may not send without a question that is refused |
//! | take messages by the address of a picture, from a node that is not on loopback: browsers leave out both headers there | a browser's `User-Agent`, which no page can change without asking first |
//! | give its own name the address of this node (DNS rebinding), and be of the same origin then | `Host` must be an address, `localhost` or a name that the operator has given |
//!
//! What `rest-allow-origin` names is let through: see `cors`.
//!
//! `/health` and what is below stays open: probes name hosts as they like, and it tells nothing but readiness. The metrics
//! port has no guard for the same reason; it takes no bodies.

use std::net::IpAddr;

use actix_web::{
    Error, HttpMessage as _,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorInternalServerError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
    middleware::Next,
    web,
};
use wakumix_role_api::rest::Route;
use wakumix_telemetry::{Counter, Telemetry};

use super::{
    Api, RoleRoute,
    body::{self, Refused, shown},
    cors,
    failure::{self, Form},
};
use crate::metrics::Metric;

/// What browsers say of where a request comes from (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The media type of every body.
const JSON: &str = "application/json";

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fault {
    /// It was made for another host.
    Host(String),
    /// It comes from a web page; what shows it.
    Page(String),
    /// Its body is something else, or does not say what it is.
    ContentType(Option<String>),
    /// It changes something, over a network that others read and write.
    Insecure,
}

impl Fault {
    const REASONS: [&'static str; 4] = ["host", "origin", "content_type", "insecure"];

    fn reason(&self) -> &'static str {
        match self {
            Self::Host(_) => "host",
            Self::Page(_) => "origin",
            Self::ContentType(_) => "content_type",
            Self::Insecure => "insecure",
        }
    }

    fn refused(&self) -> Refused {
        match self {
            Self::Host(host) => Refused::new(
                StatusCode::FORBIDDEN,
                format!(
                    "the host `{host}` is not a name of this node: use an IP address or localhost, or add the name to rest-allow-host"
                ),
            ),
            Self::Page(sign) => Refused::new(
                StatusCode::FORBIDDEN,
                format!(
                    "requests of web pages are refused, and this one has `{sign}`; send it from a program, or add the origin of the page to rest-allow-origin"
                ),
            ),
            Self::Insecure => Refused::new(
                StatusCode::FORBIDDEN,
                "REST is not on loopback and has no TLS, so it only reads: set rest-tls-cert-path and rest-tls-key-path, or \
                 rest-token-file, or rest-allow-insecure = true, or use rest-address = \"127.0.0.1\"",
            ),
            Self::ContentType(None) => Refused::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("the body has no content type: send it with `Content-Type: {JSON}`"),
            ),
            Self::ContentType(Some(found)) => Refused::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("the body is said to be `{found}`: send JSON, with `Content-Type: {JSON}`"),
            ),
        }
    }
}

/// The middleware: lets a request through, or answers it with what is wrong and what to do.
pub(super) async fn guard<B: MessageBody + 'static>(
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let api = request.app_data::<web::Data<Api>>().cloned();
    let api = api.ok_or_else(|| ErrorInternalServerError("the interface has no state; report this as a bug"))?;
    let origin = cors::allowed_origin(request.headers(), &api.allowed_origins);
    let form = Form::of(&request);
    let response = match check(&request, &api, origin.is_some()) {
        Err(fault) => {
            refused(&api.telemetry, fault.reason()).increment(1);
            request.error_response(fault.refused())
        }
        Ok(()) if origin.is_some() && cors::is_preflight(&request) => cors::preflight(request),
        Ok(()) if (api.is_stopping)() && !is_served_to_the_end(request.path()) => {
            let words = "the node is stopping; ask another one, or this one after its restart";
            request.error_response(Refused::new(StatusCode::SERVICE_UNAVAILABLE, words))
        }
        Ok(()) => {
            let body = body::in_time(request.take_payload());
            request.set_payload(body);
            body::explained(next.call(request).await?.map_into_boxed_body(), api.max_message)
        }
    };
    Ok(cors::mark(failure::in_form(response, form), origin, &api.allowed_origins))
}

/// What operators and their programs look at while a node drains.
fn is_served_to_the_end(path: &str) -> bool {
    is_of_health(path) || path == "/metrics"
}

pub(super) fn is_of_health(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

/// Shows every reason on the metrics page before it occurs.
pub(super) fn announce(telemetry: &Telemetry) {
    for reason in Fault::REASONS.into_iter().chain([TOKEN, CLIENT_CERTIFICATE]) {
        refused(telemetry, reason).increment(0);
    }
}

/// The reason of a request without the token that it needs.
pub(super) const TOKEN: &str = "token";
/// The reason of a request without the certificate that it needs.
pub(super) const CLIENT_CERTIFICATE: &str = "client_certificate";

pub(super) fn refused(telemetry: &Telemetry, reason: &'static str) -> Counter {
    telemetry.counter(Metric::RestRefusedTotal, &[("reason", reason)])
}

fn check(request: &ServiceRequest, api: &Api, is_allowed_page: bool) -> Result<(), Fault> {
    let path = request.path();
    if is_of_health(path) {
        return Ok(());
    }
    check_host(request, &api.allowed_hosts)?;
    // As routes are found: `%6d` and `m` are one letter.
    let path = request.match_info().as_str();
    let taking = api.routes.iter().map(|RoleRoute { route, .. }| route).filter(|route| route.takes);
    let takes = taking.map(Route::fixed_path).any(|taken| path.starts_with(taken));
    if !is_allowed_page {
        check_page(takes, request.headers())?;
    }
    check_content_type(request.headers())?;
    let changes = !request.method().is_safe() || path.starts_with("/admin/");
    if changes && !api.takes_changes { Err(Fault::Insecure) } else { Ok(()) }
}

/// The name in the request line counts as well as that of the header: a server may look at either. Programs of HTTP 1.0 need
/// not name a host; browsers always do.
fn check_host(request: &ServiceRequest, allowed_hosts: &[String]) -> Result<(), Fault> {
    let header = request.headers().get_all(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
    let line = request.uri().authority().map(|authority| authority.as_str().into());
    let foreign = header.chain(line).find(|host| !is_ours(host, allowed_hosts));
    foreign.map_or(Ok(()), |host| {
        // Without the port: the name is what can be added to the configuration.
        let name =
            host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(&*host, |(name, _)| name);
        Err(Fault::Host(shown(name)))
    })
}

/// Whether a host, with or without a port, is an address, `localhost` or one of the names.
fn is_ours(host: &str, allowed_hosts: &[String]) -> bool {
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok();
    if let Some(rest) = host.strip_prefix('[') {
        let Some((ip, port)) = rest.split_once(']') else { return false };
        return matches!(ip.parse(), Ok(IpAddr::V6(_)))
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (name, port) = host.split_once(':').unwrap_or((host, ""));
    // A name may end in the dot of the root.
    let bare = name.strip_suffix('.').unwrap_or(name);
    let is_named = |allowed: &String| allowed.eq_ignore_ascii_case(bare);
    let is_known = matches!(name.parse(), Ok(IpAddr::V4(_)))
        || bare.eq_ignore_ascii_case("localhost")
        || allowed_hosts.iter().any(is_named);
    is_known && is_port(port)
}

fn check_page(takes: bool, headers: &HeaderMap) -> Result<(), Fault> {
    let find = |name: HeaderName, tells: fn(&[u8]) -> bool| {
        let value = headers.get_all(&name).find(|value| tells(value.as_bytes()))?;
        Some(Fault::Page(shown(&format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))))
    };
    let has_origin = || find(header::ORIGIN, |_| true);
    // `none` is what a person has typed into the browser, to look at a page of metrics, say.
    let is_from_elsewhere = || find(SEC_FETCH_SITE, |site| site != b"none");
    // Reading may take something away. Everything else that changes something has a method with which browsers name the origin.
    let is_browser = || find(header::USER_AGENT, |agent| agent.starts_with(b"Mozilla/")).filter(|_| takes);
    has_origin().or_else(is_from_elsewhere).or_else(is_browser).map_or(Ok(()), Err)
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Fault> {
    let is_empty = |len: &header::HeaderValue| len.as_bytes() == b"0";
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|len| !is_empty(len));
    if !has_body {
        return Ok(());
    }
    let mut found =
        headers.get_all(header::CONTENT_TYPE).map(|found| String::from_utf8_lossy(found.as_bytes())).peekable();
    if found.peek().is_none() {
        return Err(Fault::ContentType(None));
    }
    let is_json =
        |found: &str| found.split(';').next().is_some_and(|essence| essence.trim().eq_ignore_ascii_case(JSON));
    found.find(|found| !is_json(found)).map_or(Ok(()), |found| Err(Fault::ContentType(Some(shown(&found)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_localhost_or_a_given_name() {
        let names = ["node.example.org".to_owned()];
        for ours in [
            "127.0.0.1",
            "10.1.2.3:8645",
            "[::1]",
            "[::1]:8645",
            "localhost",
            "LocalHost:8645",
            "localhost.",
            "node.example.org",
            "NODE.example.org:443",
            "node.example.org.:8645",
            "127.0.0.1:",
        ] {
            assert!(is_ours(ours, &names), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80:80",
            "localhost.evil.example",
            "x.localhost",
            "node.example.org.evil.example",
            "evil@127.0.0.1",
            "127.1",
            "0x7f000001",
            "2130706433",
            "::1",
            "[::1",
            "[127.0.0.1]",
            "[::1]evil",
            "localhost:99999",
            "localhost:80@evil.example",
        ] {
            assert!(!is_ours(foreign, &names), "{foreign}");
        }
    }
}
