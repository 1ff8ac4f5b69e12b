//! What a page of an allowed origin may do, and that nobody else gains from it.

use actix_web::http::Method;

use super::*;

const ORIGIN: &str = "https://app.example.org";
const HOST: (&str, &str) = ("host", "127.0.0.1:8645");
const JSON: (&str, &str) = ("content-type", "application/json");
/// What Chromium sends with each request of a page to another site.
const FOREIGN: [(&str, &str); 2] =
    [("sec-fetch-site", "cross-site"), ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)")];
const MESSAGES: &str = "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F66%2F0";

fn world(roles: Roles) -> (World, Queues) {
    let (mut world, queues) = World::new(roles);
    world.api.allowed_origins = Arc::from([ORIGIN.parse().unwrap()]);
    (world, queues)
}

/// A request as the browser of a page sends it.
fn request(method: Method, path: &str, origin: &str) -> test::TestRequest {
    let request = test::TestRequest::default().method(method).uri(path).insert_header(("origin", origin));
    [HOST].into_iter().chain(FOREIGN).fold(request, |request, header| request.insert_header(header))
}

fn preflight(path: &str, origin: &str) -> test::TestRequest {
    request(Method::OPTIONS, path, origin)
        .insert_header(("access-control-request-method", "POST"))
        .insert_header(("access-control-request-headers", "authorization,content-type"))
}

fn push(origin: &str) -> test::TestRequest {
    let body = json!({ "message": message() }).to_string();
    request(Method::POST, LIGHTPUSH, origin).insert_header(JSON).set_payload(body)
}

fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let values: Vec<_> = headers.get_all(name).map(|value| value.to_str().unwrap()).collect();
    assert!(values.len() < 2, "{name}: {values:?}");
    values.first().copied()
}

#[actix::test]
async fn a_preflight_of_an_allowed_origin_is_answered_as_browsers_need_it() {
    let (world, _queues) = world(SENDER);
    for path in [LIGHTPUSH, MESSAGES, "/admin/v1/pool", "/health/ready"] {
        let (status, headers, body) = world.answer(preflight(path, ORIGIN)).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, ""), "{path}");
        for (name, expected) in [
            ("access-control-allow-origin", Some(ORIGIN)),
            ("access-control-allow-methods", Some("GET, POST, PUT, DELETE")),
            ("access-control-allow-headers", Some("Content-Type, Authorization")),
            ("access-control-max-age", Some("600")),
            ("vary", Some("origin")),
            ("access-control-allow-private-network", None),
            ("access-control-allow-credentials", None),
        ] {
            assert_eq!(value(&headers, name), expected, "{path}: {name}");
        }
    }
    let private = preflight(LIGHTPUSH, ORIGIN).insert_header(("access-control-request-private-network", "true"));
    let (_, headers, _) = world.answer(private).await;
    assert_eq!(value(&headers, "access-control-allow-private-network"), Some("true"));
}

#[actix::test]
async fn a_page_of_an_allowed_origin_pushes_and_reads_the_answer() {
    let (world, mut queues) = world(SENDER);
    let answered = async { answer_push(&mut queues.sender, Ok(answer())).await.anonymity };
    let ((status, headers, words), anonymity) = tokio::join!(world.answer(push(ORIGIN)), answered);
    assert_eq!((status, anonymity), (StatusCode::OK, Anonymity::Required), "{words}");
    assert_eq!(value(&headers, "access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(value(&headers, "vary"), Some("origin"));
    // What is refused is readable as well.
    let text = push(ORIGIN).insert_header(("content-type", "text/plain"));
    let (status, headers, _) = world.answer(text).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(value(&headers, "access-control-allow-origin"), Some(ORIGIN));
}

#[actix::test]
async fn other_origins_stay_out_and_read_nothing() {
    let (world, _queues) = world(SENDER);
    for origin in ["https://evil.example", "null", "http://app.example.org", "https://app.example.org:8443"] {
        for request in [preflight(LIGHTPUSH, origin), push(origin), request(Method::GET, MESSAGES, origin)] {
            let (status, headers, words) = world.answer(request).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{words}");
            assert!(!headers.keys().any(|name| name.as_str().starts_with("access-control")), "{headers:?}");
            assert_eq!(value(&headers, "vary"), Some("origin"));
        }
    }
    // Two origins are none: which of them a browser means is anybody's guess.
    let both = push(ORIGIN).append_header(("origin", "https://evil.example"));
    assert_eq!(world.answer(both).await.0, StatusCode::FORBIDDEN);
    // Without `Origin` the page does not ask to read: a picture, a form, a `no-cors` request.
    let picture = test::TestRequest::get().uri(MESSAGES).insert_header(HOST);
    let picture = FOREIGN.into_iter().fold(picture, |request, header| request.insert_header(header));
    assert_eq!(world.answer(picture).await.0, StatusCode::FORBIDDEN);
}

#[actix::test]
async fn an_allowed_origin_does_not_give_its_name_the_address_of_the_node() {
    let (world, _queues) = world(SENDER);
    for request in [preflight(LIGHTPUSH, ORIGIN), push(ORIGIN)] {
        let (status, _, words) = world.answer(request.insert_header(("host", "app.example.org:8645"))).await;
        assert!(status == StatusCode::FORBIDDEN && words.contains("rest-allow-host"), "{status}: {words}");
    }
}

#[actix::test]
async fn without_the_key_nothing_of_this_is_answered() {
    let (world, _queues) = World::new(SENDER);
    let (status, headers, _) = world.answer(preflight(LIGHTPUSH, ORIGIN)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!headers.keys().any(|name| name.as_str().starts_with("access-control") || name == "vary"), "{headers:?}");
    let version = test::TestRequest::get().uri("/version").insert_header(HOST);
    assert_eq!(value(&world.answer(version).await.1, "vary"), None);
}
