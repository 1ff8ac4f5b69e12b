//! The routes of the roles, carried by this server.

use std::convert::Infallible;

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, http::StatusCode, web};
use futures::StreamExt as _;
use wakumix_role_api::rest::{Access, Request, Response, ResponseBody, RouteContext};

use super::{Api, RoleRoute, access, body::text};

/// Adds the handler of a role's route.
pub(super) fn handled(to: actix_web::Route, route: RoleRoute) -> actix_web::Route {
    // The values of the path come decoded, in the order of its names.
    to.to(move |api: web::Data<Api>, request: HttpRequest, values: web::Path<Vec<String>>, body: web::Bytes| {
        let names = request.match_info().iter().map(|(name, _)| name.to_owned());
        let parameters = names.zip(values.into_inner()).collect();
        answer(route, api, request, Request { parameters, body: body.into() })
    })
}

async fn answer(
    RoleRoute { role, is_on, route }: RoleRoute,
    api: web::Data<Api>,
    asked: HttpRequest,
    request: Request,
) -> HttpResponse {
    if route.access == Access::Operators
        && let Err(refused) = access::permit_admin(&api, asked.headers())
    {
        return refused.error_response();
    }
    if !is_on {
        return text(StatusCode::SERVICE_UNAVAILABLE, format!("the {role} role is off; add it to roles"));
    }
    let context = RouteContext { ports: api.ports.clone(), directory: api.directory.clone() };
    let Response { status, content_type, body } = (route.handler)(context, request).await;
    let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    match body {
        ResponseBody::Full(bytes) => response.content_type(content_type).body(bytes),
        ResponseBody::Pieces(pieces) => {
            let pieces = pieces.map(|piece| Ok::<_, Infallible>(web::Bytes::from(piece)));
            response.content_type(content_type).streaming(pieces)
        }
    }
}
