//! The routes of the roles, carried by this server.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, Resource, http::StatusCode, web};
use wakumix_role_api::rest::{Method, Request};

use super::{Api, RoleRoute, body::text};

pub(super) fn routes(config: &mut web::ServiceConfig, routes: &[RoleRoute]) {
    let mut resources: BTreeMap<&'static str, Resource> = BTreeMap::new();
    for route in routes.iter().copied() {
        let path = route.route.path;
        let resource = resources.remove(path).unwrap_or_else(|| web::resource(path));
        let method = match route.route.method {
            Method::Get => web::get(),
            Method::Post => web::post(),
            Method::Delete => web::delete(),
        };
        // The values of the path come decoded, in the order of its names.
        let handler =
            move |api: web::Data<Api>, request: HttpRequest, values: web::Path<Vec<String>>, body: web::Bytes| {
                let names = request.match_info().iter().map(|(name, _)| name.to_owned());
                answer(route, api, names.zip(values.into_inner()).collect(), body)
            };
        resources.insert(path, resource.route(method.to(handler)));
    }
    for resource in resources.into_values() {
        config.service(resource);
    }
}

async fn answer(
    RoleRoute { role, is_on, route }: RoleRoute,
    api: web::Data<Api>,
    parameters: BTreeMap<String, String>,
    body: web::Bytes,
) -> HttpResponse {
    if !is_on {
        return text(StatusCode::SERVICE_UNAVAILABLE, format!("the {role} role is off; add it to roles"));
    }
    let response = (route.handler)(api.ports.clone(), Request { parameters, body: body.into() }).await;
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).content_type(response.content_type).body(response.body)
}
