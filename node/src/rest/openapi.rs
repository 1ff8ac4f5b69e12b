//! `GET /openapi.json`: the interface as an OpenAPI 3.1 description, made from the routes that are registered: those of the node
//! and those of every role of this build.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, Responder, web};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
#[cfg(test)]
use wakumix_role_api::rest::Method;
use wakumix_role_api::rest::{Access, Content, Operation, Parameter, Reply};

use super::{
    Api,
    failure::FailureJson,
    routes::{self, Described, OwnRoute},
};

const DESCRIPTION: Operation = Operation {
    summary: "This description",
    parameters: &[],
    body: None,
    replies: &[Reply::json::<Map<String, Value>>(200, "An OpenAPI 3.1 document.")],
};

pub(super) fn routes() -> Vec<OwnRoute> {
    vec![OwnRoute::get("/openapi.json", &DESCRIPTION, |route| route.to(serve))]
}

async fn serve(api: web::Data<Api>) -> impl Responder {
    HttpResponse::Ok().json(description(&routes::described(&api.routes)))
}

/// The answers that a route has because of what it is, beside its own.
pub(super) fn common(route: &Described) -> Vec<Reply> {
    let mut replies = Vec::new();
    let is_of_health = route.path.starts_with("/health");
    if route.access == Access::Operators {
        replies.push(Reply::text(401, "The token of rest-token-file is missing or another one."));
    }
    if !is_of_health {
        replies
            .push(Reply::text(403, "The request comes from a web page or names another host; for /admin: it is off."));
        replies.push(Reply::text(415, "The body is not said to be application/json."));
    }
    if route.operation.body.is_some() {
        replies.push(Reply::text(408, "The body did not come in time."));
        replies.push(Reply::text(413, "The body is too long."));
    }
    if !is_of_health && route.path != "/metrics" {
        replies.push(Reply::text(503, "The node is stopping, or the role of the route is off."));
    }
    replies
}

/// The whole description.
pub(super) fn description(routes: &[Described]) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .into_generator();
    let failure = generator.subschema_for::<FailureJson>().to_value();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes {
        let operations = paths.entry(route.path).or_default();
        operations.insert(route.method.as_str().to_lowercase(), operation(route, &failure, &mut generator));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "wakumix",
            "summary": "A Waku node that mixes",
            "description": "nwaku's REST interface, as far as this node has its services, and the mixnet. A failure is a sentence in \
                plain text, or JSON at /lightpush/v3/message and for a caller that accepts application/json and no text. Every path \
                has OPTIONS, and HEAD where it has a GET that takes nothing away; other methods are 405 with Allow.",
            "version": crate::VERSION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "http://127.0.0.1:8645", "description": "rest-address and rest-port" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "The token of rest-token-file, where one is set." },
            },
        },
    })
}

fn operation(route: &Described, failure: &Value, generator: &mut SchemaGenerator) -> Value {
    let Operation { summary, parameters, body, replies } = *route.operation;
    let mut answers: BTreeMap<u16, (Vec<&str>, Map<String, Value>)> = BTreeMap::new();
    // The own answers first: what they say of a status stands in front.
    for reply in replies.iter().copied().chain(common(route)) {
        let (meanings, contents) = answers.entry(reply.status).or_default();
        meanings.push(reply.meaning);
        let form = match reply.content {
            Content::Text | Content::Metrics => json!({ "type": "string" }),
            // Lines are no JSON document; what each is stands with it.
            Content::Json(schema) | Content::JsonLines(schema) => schema.generate(generator).to_value(),
        };
        contents.entry(reply.content.media_type().to_owned()).or_insert(json!({ "schema": form }));
        if reply.status >= 400 && matches!(reply.content, Content::Text) {
            contents.entry("application/json".to_owned()).or_insert(json!({ "schema": failure }));
        }
    }
    let answers: BTreeMap<String, Value> = answers
        .into_iter()
        .map(|(status, (meanings, contents))| {
            (status.to_string(), json!({ "description": meanings.join(" "), "content": contents }))
        })
        .collect();
    let name = route.path.split(['/', '{', '}', '.', '-']).filter(|part| !part.is_empty());
    let name: Vec<&str> = std::iter::once(route.method.as_str()).chain(name).collect();
    let mut operation = json!({
        "operationId": name.join("_").to_lowercase(),
        "summary": summary,
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "responses": answers,
    });
    if let Some(role) = route.role {
        operation["description"] = json!(format!("Of the {role} role: 503 where that is off."));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.iter().map(parameter).collect();
    }
    if let Some(body) = body {
        operation["requestBody"] = json!({
            "required": body.is_required,
            "content": { "application/json": { "schema": body.schema.generate(generator).to_value() } },
        });
    }
    if route.access == Access::Operators {
        // A node without rest-token-file asks for none.
        operation["security"] = json!([{}, { "token": [] }]);
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, meaning, example, pattern } = *parameter;
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": meaning,
        "schema": { "type": "string", "minLength": 1, "pattern": pattern },
        "example": example,
    })
}

/// Whether a route of this method and path has such an answer, as the description says.
#[cfg(test)]
pub(super) fn has(routes: &[Described], method: Method, path: &str, status: u16, kind: &str) -> bool {
    let found = routes.iter().find(|route| route.method == method && route.path == path);
    found.is_some_and(|route| {
        route.operation.replies.iter().copied().chain(common(route)).any(|reply| {
            let is_failure = status >= 400 && matches!(reply.content, Content::Text) && kind == "application/json";
            reply.status == status && (reply.content.media_type() == kind || is_failure)
        })
    })
}
