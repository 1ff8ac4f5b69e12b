//! Clients that show a certificate. Who has one of an authority that the operator names is decided in the handshake; one without
//! any gets health alone, for probes of an orchestrator have none.

use std::any::Any;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{Extensions, ServiceRequest, ServiceResponse},
    error::ErrorInternalServerError,
    http::StatusCode,
    middleware::Next,
    rt::net::TcpStream,
    web,
};

use super::{
    Api,
    body::Refused,
    failure::{self, Form},
    guard::{self, is_of_health},
};

/// The client of a connection has shown a certificate, and it is good.
struct HasCertificate;

/// Notes of a new connection whether its client has shown a certificate.
pub(super) fn note(connection: &dyn Any, data: &mut Extensions) {
    let tls = connection.downcast_ref::<TlsStream<TcpStream>>();
    if tls.is_some_and(|stream| stream.get_ref().1.peer_certificates().is_some()) {
        data.insert(HasCertificate);
    }
}

/// The middleware of servers whose clients have to show one.
pub(super) async fn guard<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if is_of_health(request.path()) || request.conn_data::<HasCertificate>().is_some() {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let api = request.app_data::<web::Data<Api>>().cloned();
    let api = api.ok_or_else(|| ErrorInternalServerError("the interface has no state; report this as a bug"))?;
    guard::refused(&api.telemetry, guard::CLIENT_CERTIFICATE).increment(1);
    let words =
        "this needs a client certificate of an authority in rest-tls-client-ca-path: with curl, --cert and --key";
    let form = Form::of(&request);
    Ok(failure::in_form(request.error_response(Refused::new(StatusCode::FORBIDDEN, words)), form))
}
