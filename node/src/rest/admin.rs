//! Who may use `/admin`: everybody who reaches REST on loopback; elsewhere only where the operator says so.

use actix_web::http::StatusCode;

use super::{Api, body::Refused};

/// Lets a request through.
///
/// # Errors
/// 403 and what to set where the admin interface is off.
pub(super) fn permit(api: &Api) -> Result<(), Refused> {
    if api.admin {
        return Ok(());
    }
    let words =
        "the admin interface is off: REST is not on loopback; use rest-address = \"127.0.0.1\", or rest-admin = true";
    Err(Refused::new(StatusCode::FORBIDDEN, words))
}
