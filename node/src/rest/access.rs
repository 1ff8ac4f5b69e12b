//! Access to routes. `/admin` is open to every client of a REST server on loopback. Elsewhere it is open to clients with a
//! certificate (`rest-tls-client-ca-path`), and to all if the operator sets `rest-admin`. If a token is set, `/admin` and
//! pushes without the mixnet need it as well.

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap},
};

use super::{Api, body::Refused, guard};

/// Checks that a request may use `/admin`.
///
/// # Errors
/// 403 and what to set where the admin interface is off; 401 without the token.
pub(super) fn permit_admin(api: &Api, headers: &HeaderMap) -> Result<(), Refused> {
    if !api.admin {
        let words = "the admin interface is off: REST is not on loopback; use rest-address = \"127.0.0.1\", or rest-tls-client-ca-path, or rest-admin = true";
        return Err(Refused::new(StatusCode::FORBIDDEN, words));
    }
    check_token(api, headers).map_err(|words| Refused::new(StatusCode::UNAUTHORIZED, words))
}

/// Checks that a request carries the token, if one is set.
///
/// # Errors
/// The text of the refusal: what is wrong, and what to do.
pub(super) fn check_token(api: &Api, headers: &HeaderMap) -> Result<(), &'static str> {
    let Some(token) = &api.token else { return Ok(()) };
    let words = match shown(headers) {
        Some(shown) if token.is(shown) => return Ok(()),
        Some(_) => "the token is not that of rest-token-file",
        None => {
            "this needs the token of rest-token-file: send it as `Authorization: Bearer <token>`, or give its file to wakumix with --token-file"
        }
    };
    guard::refused(&api.telemetry, guard::TOKEN).increment(1);
    Err(words)
}

/// The bearer token of a request (RFC 6750 §2.1).
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}
