//! What a web page may do that the operator has not allowed: nothing.

use actix_web::{dev::Payload, http::ConnectionType};
use futures::{StreamExt as _, stream};

use super::*;

const JSON: (&str, &str) = ("content-type", "application/json");

/// A push as a program sends it, with the given headers on top.
fn push(headers: &[(&'static str, &str)]) -> test::TestRequest {
    let request = test::TestRequest::post().uri(LIGHTPUSH).set_payload(json!({ "message": message() }).to_string());
    headers.iter().fold(request, |request, header| request.insert_header(*header))
}

async fn refusal(world: &World, request: test::TestRequest, status: StatusCode) -> String {
    let (found, words) = world.call_raw(request).await;
    assert_eq!(found, status, "{words}");
    words
}

fn counted(world: &World, reason: &str) -> bool {
    world.api.telemetry.render().contains(&format!("waku_mix_rest_refused_total{{reason=\"{reason}\"}} 1"))
}

#[actix::test]
async fn a_body_must_say_that_it_is_json() {
    let (world, _queues) = World::new(BOTH);
    let host = ("host", "127.0.0.1:8645");
    let unsupported = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    let words = refusal(&world, push(&[host]), unsupported).await;
    assert_eq!(
        serde_json::from_str::<Value>(&words).unwrap(),
        json!({
            "outcome": "unsupported_media_type",
            "error": "unsupported_media_type",
            "statusDesc": "the body has no content type: send it with `Content-Type: application/json`",
        })
    );
    assert!(counted(&world, "content_type"));
    // What a page may send without asking first.
    for simple in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]
    {
        let words = refusal(&world, push(&[host, ("content-type", simple)]), unsupported).await;
        assert!(words.contains(&format!("the body is said to be `{simple}`: send JSON")), "{words}");
    }
    let relay = test::TestRequest::post().uri("/relay/v1/subscriptions").insert_header(host).set_payload("[]");
    refusal(&world, relay, unsupported).await;
    let leave = test::TestRequest::delete().uri("/relay/v1/subscriptions").insert_header(host).set_payload("[]");
    refusal(&world, leave, unsupported).await;
    let twice = push(&[host, JSON]).append_header(("content-type", "text/plain"));
    refusal(&world, twice, unsupported).await;
}

#[actix::test]
async fn programs_are_served_as_before() {
    let (world, mut queues) = World::new(SENDER);
    for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
        let request = push(&[("host", "localhost:8645"), ("content-type", content_type)]);
        let served = world.call_raw(request);
        let ((status, words), _) = tokio::join!(served, answer_push(&mut queues.sender, Ok(answer())));
        assert_eq!(status, StatusCode::OK, "{words}");
    }
    // Nothing is read where there is no body.
    let (status, _) =
        world.call_raw(test::TestRequest::get().uri("/version").insert_header(("host", "[::1]:8645"))).await;
    assert_eq!(status, StatusCode::OK);
}

#[actix::test]
async fn a_request_of_a_page_is_refused_whatever_it_asks_for() {
    let (world, _queues) = World::new(BOTH);
    let host = ("host", "127.0.0.1:8645");
    for from in [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:9999"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        refusal(&world, push(&[host, JSON, from]), StatusCode::FORBIDDEN).await;
        let messages = test::TestRequest::get().uri("/relay/v1/messages/%2Fwaku%2F2%2Frs%2F66%2F0");
        refusal(&world, messages.insert_header(host).insert_header(from), StatusCode::FORBIDDEN).await;
        let question = test::TestRequest::default().method(actix_web::http::Method::OPTIONS).uri(LIGHTPUSH);
        refusal(&world, question.insert_header(host).insert_header(from), StatusCode::FORBIDDEN).await;
    }
    let words = refusal(&world, push(&[host, JSON, ("origin", "https://evil.example")]), StatusCode::FORBIDDEN).await;
    let has = "this one has `origin: https://evil.example`; send it from a program, or add the origin of the page to rest-allow-origin";
    assert!(words.contains(has), "{words}");
    // A picture whose address is that of a node on another machine: browsers send neither header there.
    let browser = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
    for path in ["/relay/v1/messages/%2Fwaku%2F2%2Frs%2F66%2F0", "/relay/v1/%6dessages/%2Fwaku%2F2%2Frs%2F66%2F0"] {
        let messages = test::TestRequest::get().uri(path).insert_header(("host", "10.0.0.9:8645"));
        refusal(&world, messages.insert_header(browser), StatusCode::FORBIDDEN).await;
    }
    // A person that looks at a page of the interface in a browser.
    let typed = test::TestRequest::get().uri("/version").insert_header(host).insert_header(("sec-fetch-site", "none"));
    let typed = typed.insert_header(browser);
    assert_eq!(world.call_raw(typed).await.0, StatusCode::OK);
}

#[actix::test]
async fn a_page_that_gives_its_name_the_address_of_the_node_is_refused() {
    let (mut world, mut queues) = World::new(SENDER);
    let request = || push(&[("host", "evil.example:8645"), JSON]);
    let words = refusal(&world, request(), StatusCode::FORBIDDEN).await;
    let has = "the host `evil.example` is not a name of this node: use an IP address or localhost, or add the name to rest-allow-host";
    assert!(words.contains(has), "{words}");
    assert!(counted(&world, "host"));
    // The request line counts too.
    let line = test::TestRequest::get().uri("http://evil.example/version").insert_header(("host", "127.0.0.1"));
    refusal(&world, line, StatusCode::FORBIDDEN).await;

    world.api.allowed_hosts = vec!["evil.example".to_owned()].into();
    let ((status, words), _) = tokio::join!(world.call_raw(request()), answer_push(&mut queues.sender, Ok(answer())));
    assert_eq!(status, StatusCode::OK, "{words}");
}

#[actix::test]
async fn probes_need_no_name() {
    let (world, _queues) = World::new(BOTH);
    for path in ["/health/live", "/health/ready"] {
        let probe = test::TestRequest::get().uri(path).insert_header(("host", "some-pod.some-service:8645"));
        assert_ne!(world.call_raw(probe).await.0, StatusCode::FORBIDDEN, "{path}");
    }
}

/// The answer to a push whose body never ends.
async fn answer_to_endless(world: &World, begin: Vec<u8>) -> (StatusCode, String) {
    let app = test::init_service(
        App::new()
            .wrap(from_fn(super::super::guard::guard))
            .configure(state(&world.api))
            .configure(|config| served::register(config, &world.api)),
    )
    .await;
    let request = test::TestRequest::post()
        .uri(LIGHTPUSH)
        .insert_header(("host", "127.0.0.1"))
        .insert_header(JSON)
        .insert_header(("transfer-encoding", "chunked"))
        .to_request();
    let body: Payload =
        Payload::Stream { payload: Box::pin(stream::iter([Ok(begin.into())]).chain(stream::pending())) };
    let (request, _) = request.replace_payload(body);
    let response = test::call_service(&app, request).await;
    assert_eq!(response.response().head().connection_type(), ConnectionType::Close);
    let status = response.status();
    (status, String::from_utf8(test::read_body(response).await.to_vec()).unwrap())
}

#[actix::test]
async fn a_body_that_does_not_come_or_does_not_end_is_answered_with_what_is_wrong() {
    tokio::time::pause();
    let (world, _queues) = World::new(SENDER);
    for (begin, status, code, words) in [
        (b"{".to_vec(), 408, "body_timeout", "the body did not come within 10 s; send it at once"),
        (
            vec![b' '; 1 << 20],
            413,
            "too_large",
            "the body has more than 17749 bytes; a message may have 1024, in base64",
        ),
    ] {
        let (found, answer) = answer_to_endless(&world, begin).await;
        assert_eq!(found.as_u16(), status);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer, json!({ "outcome": code, "error": code, "statusDesc": words }));
    }
}
