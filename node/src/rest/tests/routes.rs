//! Methods, paths and failures, whatever is asked for, and the description of it all.

use actix_web::http::Method as HttpMethod;

use super::*;

const MESSAGES: &str = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F66%2F0";
const AUTO_MESSAGES: &str = "/relay/v1/auto/messages/%2Fapp%2F1%2Fchat%2Fproto";

fn request(method: HttpMethod, path: &str) -> test::TestRequest {
    test::TestRequest::default().method(method).uri(path).insert_header(("host", "127.0.0.1:8645"))
}

fn allow(headers: &HeaderMap) -> &str {
    headers.get("allow").map_or("", |allow| allow.to_str().unwrap())
}

#[actix::test]
async fn a_wrong_method_on_a_known_path_is_405_with_those_that_it_has() {
    let (world, _queues) = World::new(BOTH);
    for (path, allowed) in [
        (LIGHTPUSH, "OPTIONS, POST"),
        ("/lightpush/v1/message", "OPTIONS, POST"),
        ("/relay/v1/subscriptions", "DELETE, OPTIONS, POST"),
        ("/relay/v1/auto/subscriptions", "DELETE, OPTIONS, POST"),
        // Reading takes the messages, so nobody asks for the head alone.
        (MESSAGES, "GET, OPTIONS, POST"),
        (AUTO_MESSAGES, "GET, OPTIONS"),
        ("/relay/v1/auto/messages", "OPTIONS, POST"),
        ("/info", "GET, HEAD, OPTIONS"),
        ("/health", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/admin/v1/pool", "GET, HEAD, OPTIONS, POST"),
        ("/admin/v1/probe", "OPTIONS, POST"),
        ("/admin/v1/peers", "GET, HEAD, OPTIONS, POST"),
        ("/admin/v1/log-level/debug", "OPTIONS, POST"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
    ] {
        for method in [HttpMethod::PUT, HttpMethod::PATCH, HttpMethod::TRACE, HttpMethod::HEAD, HttpMethod::GET] {
            if allowed.split(", ").any(|allowed| allowed == method.as_str()) {
                continue;
            }
            let (status, headers, words) = world.answer(request(method.clone(), path)).await;
            assert_eq!((status, allow(&headers)), (StatusCode::METHOD_NOT_ALLOWED, allowed), "{method} {path}");
            assert!(words.contains(&format!("{method} is not a method of")) && words.contains(allowed), "{words}");
        }
        let (status, headers, words) = world.answer(request(HttpMethod::OPTIONS, path)).await;
        assert_eq!((status, allow(&headers), words.as_str()), (StatusCode::OK, allowed, "OK"), "{path}");
    }
}

#[actix::test]
async fn what_has_get_has_head() {
    let (world, _queues) = World::new(NEITHER);
    for path in ["/version", "/info", "/metrics", "/health/live", "/health/ready", "/openapi.json", "/admin/v1/pool"] {
        let (get, get_headers, _) = world.answer(request(HttpMethod::GET, path)).await;
        let (head, head_headers, _) = world.answer(request(HttpMethod::HEAD, path)).await;
        assert_eq!((head, head_headers.get("content-type")), (get, get_headers.get("content-type")), "{path}");
    }
}

#[actix::test]
async fn an_unknown_path_is_404_in_json_and_says_what_there_is() {
    let (world, _queues) = World::new(BOTH);
    for (method, path, part) in [
        (HttpMethod::GET, "/nothing", "there is no /nothing; GET /openapi.json"),
        (HttpMethod::POST, "/admin/v1/nothing", "GET /openapi.json"),
        (HttpMethod::POST, "/filter/v2/subscriptions", "the filter service is not part of this node; ask a node"),
        (HttpMethod::GET, "/store/v3/messages?pageSize=5", "the store service is not part of this node; ask a node"),
        (HttpMethod::GET, "/filters", "there is no /filters"),
    ] {
        let (status, headers, words) = world.answer(request(method, path)).await;
        assert_eq!(
            (status, headers.get("content-type").unwrap().as_bytes()),
            (StatusCode::NOT_FOUND, &b"application/json"[..])
        );
        let answer: Value = serde_json::from_str(&words).unwrap();
        assert_eq!((&answer["error"], &answer["outcome"]), (&json!("not_found"), &json!("not_found")));
        assert!(answer["statusDesc"].as_str().unwrap().contains(part), "{words}");
    }
}

#[actix::test]
async fn failures_of_nwakus_routes_are_text_unless_json_alone_is_accepted() {
    let (world, _queues) = World::new(NEITHER);
    for (accept, is_json) in [
        (None, false),
        (Some("*/*"), false),
        (Some("application/json, text/plain, */*"), false),
        (Some("text/html"), false),
        (Some("application/json"), true),
        (Some("Application/JSON; q=1, application/problem+json"), true),
    ] {
        for (method, path, status, code) in [
            (HttpMethod::POST, "/relay/v1/subscriptions", 503, "unavailable"),
            (HttpMethod::PUT, "/relay/v1/subscriptions", 405, "method_not_allowed"),
            (HttpMethod::POST, "/admin/v1/log-level/loud", 400, "bad_request"),
        ] {
            let mut asked = request(method, path);
            if let Some(accept) = accept {
                asked = asked.insert_header(("accept", accept));
            }
            let (found, _, words) = world.answer(asked).await;
            assert_eq!(found.as_u16(), status, "{path}: {words}");
            match serde_json::from_str::<Value>(&words) {
                Ok(answer) => assert!(is_json && answer["error"] == code && answer["outcome"] == code, "{words}"),
                Err(_) => assert!(!is_json, "{accept:?}: {words}"),
            }
        }
    }
}

#[actix::test]
async fn the_statuses_of_lightpush_have_its_reason_phrases() {
    for (status, reason) in [(420, "Invalid Message"), (505, "No Peers To Relay"), (421, "Misdirected Request")] {
        let refused = Answer { status, description: Some("no".to_owned()), ..answer() };
        let (world, mut queues) = World::new(SENDER);
        let app = test::init_service(
            App::new().configure(state(&world.api)).configure(|config| served::register(config, &world.api)),
        )
        .await;
        let body = json!({ "message": message() }).to_string();
        let push = test::TestRequest::post().uri(LIGHTPUSH).set_payload(body).to_request();
        let (response, _) =
            futures::join!(test::call_service(&app, push), answer_push(&mut queues.sender, Ok(refused)));
        assert_eq!(response.response().head().reason(), reason);
    }
}

#[actix::test]
async fn the_older_lightpush_pushes_the_same_and_answers_in_words() {
    const V1: &str = "/lightpush/v1/message";
    let body = || json!({ "pubsubTopic": TOPIC, "message": message() }).to_string();
    let (world, mut queues) = World::new(SENDER);
    let (answered, pushed) = futures::join!(world.post(V1, body()), answer_push(&mut queues.sender, Ok(answer())));
    assert_eq!(answered, (StatusCode::OK, "OK".to_owned()));
    assert_eq!((pushed.anonymity, pushed.topic.as_deref()), (Anonymity::Required, Some(TOPIC)));

    let no = |status| Ok(Answer { status, description: Some("no".to_owned()), ..answer() });
    for (outcome, status, words) in [
        (no(420), 503, "Failed to request a message push: no"),
        (no(429), 429, "no"),
        (Err(PushFailure::Client(ClientError::Busy)), 429, "too many"),
        (Err(PushFailure::InvalidMessage("odd".to_owned())), 400, "odd"),
        (Err(PushFailure::NoService), 503, "Failed to request a message push: "),
    ] {
        let (answered, _) = futures::join!(world.post(V1, body()), answer_push(&mut queues.sender, outcome));
        assert!(answered.0.as_u16() == status && answered.1.contains(words), "{answered:?}");
    }
    let (status, words) = world.post(V1, json!({ "message": {} }).to_string()).await;
    assert!(
        status == StatusCode::BAD_REQUEST && words.starts_with("malformed JSON body: message: missing field"),
        "{words}"
    );
}

#[actix::test]
async fn a_node_that_stops_shows_health_and_metrics_and_refuses_the_rest() {
    let (mut world, _queues) = World::new(BOTH);
    world.api.is_stopping = Arc::new(|| true);
    for path in ["/health/live", "/metrics"] {
        assert_eq!(world.get(path).await.0, StatusCode::OK, "{path}");
    }
    for (status, words) in [
        world.get("/info").await,
        world.get("/admin/v1/pool").await,
        world.post(LIGHTPUSH, json!({ "message": message() }).to_string()).await,
        world.post("/relay/v1/subscriptions", "[]").await,
    ] {
        assert!(
            status == StatusCode::SERVICE_UNAVAILABLE && words.contains("the node is stopping"),
            "{status}: {words}"
        );
    }
}

#[actix::test]
async fn a_log_level_that_is_none_is_refused() {
    let (world, _queues) = World::new(NEITHER);
    let (status, words) = world.post("/admin/v1/log-level/loud", "").await;
    assert!(status == StatusCode::BAD_REQUEST && words.contains("\"loud\" is not a log level; use trace"), "{words}");
    // A test has its own log.
    let (status, words) = world.post("/admin/v1/log-level/DEBUG", "").await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && words.contains("cannot be changed"), "{words}");
}

/// The description as the node serves it, with every role.
async fn description() -> Value {
    let (world, _queues) = World::new(BOTH);
    serde_json::from_str(&world.get("/openapi.json").await.1).unwrap()
}

#[actix::test]
async fn the_description_has_every_route_and_nothing_else() {
    let description = description().await;
    let mut described: Vec<(String, String)> = Vec::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.push((path.clone(), method.to_uppercase()));
        }
    }
    // What is served, as `Allow` has it; every `{name}` is filled with a word.
    let (world, _queues) = World::new(BOTH);
    let mut served: Vec<(String, String)> = Vec::new();
    for path in description["paths"].as_object().unwrap().keys() {
        let filled: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "7" } else { part }).collect();
        let (_, headers, _) = world.answer(request(HttpMethod::OPTIONS, &filled.join("/"))).await;
        let methods = allow(&headers).split(", ").filter(|method| !matches!(*method, "HEAD" | "OPTIONS"));
        served.extend(methods.map(|method| (path.clone(), method.to_owned())));
    }
    described.sort_unstable();
    served.sort_unstable();
    assert_eq!(described, served);
    let registered = super::super::routes::described(&world.api.routes);
    let mut registered: Vec<_> =
        registered.iter().map(|route| (route.path.to_owned(), route.method.as_str().to_owned())).collect();
    registered.sort_unstable();
    assert_eq!(described, registered);
}

#[actix::test]
async fn every_reference_of_the_description_leads_somewhere_and_every_path_names_its_parameters() {
    let description = description().await;
    let text = description.to_string();
    for reference in text.split("\"$ref\":\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let found = description.pointer(reference.strip_prefix('#').unwrap());
        assert!(found.is_some(), "{reference}");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        let in_path: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in operations.as_object().unwrap() {
            let named = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named: Vec<&str> = named.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(named, in_path, "{method} {path}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{path}");
        }
    }
}

/// The description in the repository is the one that nodes serve.
#[actix::test]
async fn the_description_in_docs_is_the_one_that_is_served() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let served = format!("{}\n", serde_json::to_string_pretty(&description().await).unwrap());
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == served,
        "docs/openapi.json is not what is served; run WRITE_DOCS=1 cargo test --workspace --lib description"
    );
}
