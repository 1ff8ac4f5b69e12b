//! `POST /admin/v1/log-level/{level}`: another log level, without a restart (`spec/waku.md §7.2`).

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use wakumix_role_api::rest::{Operation, Parameter, Reply};
use wakumix_telemetry::logging::{self, LoggingError};

use super::{Api, access, body::Refused, body::text, routes::OwnRoute};

const SET: Operation = Operation {
    summary: "Change the log level until the node ends",
    parameters: &[Parameter {
        name: "level",
        meaning: "A level as log-level takes it: trace, debug, info, notice, warn, error, fatal or none, and any number of \
                  target=level behind it, separated by commas.",
        example: "debug",
        pattern: "^(?:[Tt][Rr][Aa][Cc][Ee]|[Dd][Ee][Bb][Uu][Gg]|[Ii][Nn][Ff][Oo]|[Ww][Aa][Rr][Nn]|[Ee][Rr][Rr][Oo][Rr])$",
    }],
    body: None,
    replies: &[
        Reply::text(200, "OK"),
        Reply::text(400, "This is no level."),
        Reply::text(503, "The process logs in its own way."),
    ],
};

pub(super) fn routes() -> Vec<OwnRoute> {
    vec![OwnRoute::post("/admin/v1/log-level/{level}", &SET, |route| route.to(set)).of_operators()]
}

async fn set(api: web::Data<Api>, request: HttpRequest, level: web::Path<String>) -> Result<HttpResponse, Refused> {
    access::permit_admin(&api, request.headers())?;
    match logging::set_level(&level) {
        Ok(()) => {
            tracing::warn!(%level, "the log level was changed over REST");
            Ok(text(StatusCode::OK, "OK"))
        }
        Err(error @ LoggingError::NotInstalled) => {
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()))
        }
        Err(error) => Err(Refused::new(StatusCode::BAD_REQUEST, error.to_string())),
    }
}
