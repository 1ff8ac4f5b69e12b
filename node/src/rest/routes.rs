//! Every route of the interface in one list: what is registered, what `Allow` names and what the description has come from it.
//!
//! Where a path has `GET` it has `HEAD`, unless reading takes something away; every path has `OPTIONS`. Any other method is
//! answered with 405 and `Allow`, a path that nobody serves with 404.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse, Resource,
    http::{Method as HttpMethod, StatusCode, header},
    web,
};
use wakumix_role_api::{
    RoleName,
    rest::{Access, Method, Operation},
};

use super::{Api, RoleRoute, body, debug, failure, health, lightpush, log_level, openapi, peers, pool, role};

/// A route of the node itself.
#[derive(Clone, Copy)]
pub(super) struct OwnRoute {
    pub(super) access: Access,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) operation: &'static Operation,
    /// Adds its handler.
    pub(super) to: fn(actix_web::Route) -> actix_web::Route,
}

impl OwnRoute {
    /// One that reads, for everybody.
    pub(super) const fn get(
        path: &'static str,
        operation: &'static Operation,
        to: fn(actix_web::Route) -> actix_web::Route,
    ) -> Self {
        Self { access: Access::Everybody, method: Method::Get, path, operation, to }
    }

    /// One that changes something, for everybody.
    pub(super) const fn post(
        path: &'static str,
        operation: &'static Operation,
        to: fn(actix_web::Route) -> actix_web::Route,
    ) -> Self {
        Self { method: Method::Post, ..Self::get(path, operation, to) }
    }

    /// The same for operators alone; its handler asks for the token.
    pub(super) const fn of_operators(self) -> Self {
        Self { access: Access::Operators, ..self }
    }
}

/// What the node itself serves.
pub(super) fn own() -> Vec<OwnRoute> {
    let groups = [
        debug::routes(),
        health::routes(),
        lightpush::routes(),
        log_level::routes(),
        openapi::routes(),
        peers::routes(),
        pool::routes(),
    ];
    groups.concat()
}

/// A route, whoever brings it, as the description has it.
#[derive(Clone, Copy)]
pub(super) struct Described {
    pub(super) access: Access,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) operation: &'static Operation,
    /// Who brings it; `None` for the node.
    pub(super) role: Option<RoleName>,
}

/// Those of the node, and those of roles.
pub(super) fn described(roles: &[RoleRoute]) -> Vec<Described> {
    let own = own().into_iter().map(|OwnRoute { access, method, path, operation, .. }| Described {
        access,
        method,
        path,
        operation,
        role: None,
    });
    let of_roles = roles.iter().map(|RoleRoute { role, route, .. }| Described {
        access: route.access,
        method: route.method,
        path: route.path,
        operation: route.operation,
        role: Some(*role),
    });
    own.chain(of_roles).collect()
}

/// The routes of one path.
struct Path {
    resource: Resource,
    allowed: Vec<&'static str>,
}

impl Path {
    fn new(path: &str) -> Self {
        Self { resource: web::resource(path), allowed: Vec::new() }
    }

    /// Adds a route; `to` adds its handler.
    fn with(self, method: Method, takes: bool, to: impl Fn(actix_web::Route) -> actix_web::Route) -> Self {
        let Self { mut resource, mut allowed } = self;
        resource = resource.route(to(web::route().method(http_method(method))));
        allowed.push(method.as_str());
        if method == Method::Get && !takes {
            // The server leaves the body out.
            resource = resource.route(to(web::route().method(HttpMethod::HEAD)));
            allowed.push("HEAD");
        }
        Self { resource, allowed }
    }

    /// With an answer to every other method.
    fn finish(self) -> Resource {
        let Self { resource, mut allowed } = self;
        allowed.push("OPTIONS");
        allowed.sort_unstable();
        let allow = allowed.join(", ");
        let for_options = allow.clone();
        let options = move || {
            let allow = for_options.clone();
            async move {
                let mut answer = body::text(StatusCode::OK, "OK");
                failure::insert(&mut answer, header::ALLOW, &allow);
                answer
            }
        };
        let not_allowed = move |request: HttpRequest| {
            let allow = allow.clone();
            async move { method_not_allowed(&request, &allow) }
        };
        resource
            .route(web::route().method(HttpMethod::OPTIONS).to(options))
            .default_service(web::route().to(not_allowed))
    }
}

/// Registers all of them, for the roles of this node.
pub(super) fn register(config: &mut web::ServiceConfig, api: &Api) {
    let mut paths: BTreeMap<&'static str, Path> = BTreeMap::new();
    let mut add = |path: &'static str, method, takes, to: &dyn Fn(actix_web::Route) -> actix_web::Route| {
        let before = paths.remove(path).unwrap_or_else(|| Path::new(path));
        paths.insert(path, before.with(method, takes, to));
    };
    for own in own() {
        add(own.path, own.method, false, &own.to);
    }
    for route in api.routes.iter().copied() {
        add(route.route.path, route.route.method, route.route.takes, &move |to| role::handled(to, route));
    }
    for path in paths.into_values() {
        config.service(path.finish());
    }
    config.default_service(web::route().to(not_found));
}

/// Registers routes of the metrics port, which has none but its own.
pub(super) fn register_on_metrics_port(config: &mut web::ServiceConfig, _: &Api) {
    for own in health::metrics_port_routes() {
        config.service(Path::new(own.path).with(own.method, false, own.to).finish());
    }
    config.default_service(web::route().to(not_found));
}

fn http_method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::GET,
        Method::Post => HttpMethod::POST,
        Method::Delete => HttpMethod::DELETE,
    }
}

fn method_not_allowed(request: &HttpRequest, allow: &str) -> HttpResponse {
    let words = format!("{} is not a method of {}; use {allow}", request.method(), body::shown(request.path()));
    let mut answer = body::text(StatusCode::METHOD_NOT_ALLOWED, words);
    failure::insert(&mut answer, header::ALLOW, allow);
    answer
}

/// What nwaku has and this node does not, by the start of the path, and what to do about it.
const ELSEWHERE: [(&str, &str); 3] = [
    (
        "/filter",
        "the filter service is not part of this node; ask a node that has it, such as nwaku with filter = true",
    ),
    ("/store", "the store service is not part of this node; ask a node that has it, such as nwaku with store = true"),
    ("/messaging", "the messaging interface is not part of this node; use /lightpush/v3/message and /relay/v1"),
];

async fn not_found(request: HttpRequest) -> HttpResponse {
    let path = request.path();
    let is_below = |start: &str| path.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let words = match ELSEWHERE.iter().find(|(start, _)| is_below(start)) {
        Some((_, words)) => (*words).to_owned(),
        None => format!("there is no {}; GET /openapi.json says what there is", body::shown(path)),
    };
    failure::json(StatusCode::NOT_FOUND, words)
}
