//! What needs the token, and what an operator can turn off.

use crate::token::Token;

use super::*;

const TOKEN: &str = "a-token-of-the-tests";
const POOL: &str = "/admin/v1/pool";
const PROBE: &str = "/admin/v1/probe";

fn world(roles: Roles) -> (World, Queues) {
    let (mut world, queues) = World::new(roles);
    world.api.token = Some(Token::of(TOKEN));
    (world, queues)
}

fn push(anonymity: Option<&str>) -> test::TestRequest {
    let body = json!({ "message": message(), "anonymity": anonymity });
    test::TestRequest::post().uri(LIGHTPUSH).set_payload(body.to_string())
}

fn with_token(request: test::TestRequest, shown: &str) -> test::TestRequest {
    request.insert_header(("authorization", shown))
}

fn as_program(request: test::TestRequest) -> test::TestRequest {
    request.insert_header(("host", "127.0.0.1:8645")).insert_header(("content-type", "application/json"))
}

#[actix::test]
async fn admin_and_direct_pushes_need_the_token() {
    let (world, _queues) = world(BOTH);
    let requests: [fn() -> test::TestRequest; 4] = [
        || test::TestRequest::get().uri(POOL),
        || test::TestRequest::post().uri(PROBE),
        || push(Some("none")),
        || push(Some("preferred")),
    ];
    let missing = "this needs the token of rest-token-file: send it as `Authorization: Bearer <token>`, or give its file to wakumix with --token-file";
    for request in requests {
        let (status, headers, words) = world.answer(as_program(request())).await;
        assert!(status == StatusCode::UNAUTHORIZED && words.contains(missing), "{status}: {words}");
        assert_eq!(headers.get("www-authenticate").unwrap(), "Bearer");
        for wrong in [&format!("Bearer {TOKEN}x"), &format!("Bearer {}", &TOKEN[1..]), "Bearer "] {
            let (status, headers, words) = world.answer(as_program(with_token(request(), wrong))).await;
            let is_said = words.contains("the token is not that of rest-token-file");
            assert!(status == StatusCode::UNAUTHORIZED && is_said, "{wrong}: {words}");
            assert_eq!(headers.get("www-authenticate").unwrap(), "Bearer");
        }
        // Another scheme shows no token.
        let (status, _, words) = world.answer(as_program(with_token(request(), &format!("Basic {TOKEN}")))).await;
        assert!(status == StatusCode::UNAUTHORIZED && words.contains(missing), "{words}");
    }
    let refused = "waku_mix_rest_refused_total{reason=\"token\"} 20";
    assert!(world.api.telemetry.render().contains(refused), "{}", world.api.telemetry.render());
}

#[actix::test]
async fn with_the_token_they_are_served() {
    let (world, mut queues) = world(BOTH);
    let shown = format!("bearer {TOKEN}");
    let (status, _, words) = world.answer(as_program(with_token(test::TestRequest::get().uri(POOL), &shown))).await;
    assert_eq!(status, StatusCode::OK, "{words}");
    let direct = world.answer(as_program(with_token(push(Some("none")), &shown)));
    let ((status, _, words), _) = tokio::join!(direct, publish(&mut queues.relay, 200));
    assert_eq!(status, StatusCode::OK, "{words}");
    let preferred = world.answer(as_program(with_token(push(Some("preferred")), &shown)));
    let ((status, _, words), pushed) = tokio::join!(preferred, answer_push(&mut queues.sender, Ok(answer())));
    assert_eq!((status, pushed.anonymity), (StatusCode::OK, Anonymity::Preferred), "{words}");
}

#[actix::test]
async fn pushes_over_the_mixnet_need_no_token_and_relays_that_push_themselves_do() {
    for anonymity in [None, Some("required")] {
        let (world, mut queues) = world(SENDER);
        let answered = answer_push(&mut queues.sender, Ok(answer()));
        let ((status, _, words), _) = tokio::join!(world.answer(as_program(push(anonymity))), answered);
        assert_eq!(status, StatusCode::OK, "{words}");
    }
    // Without the sender role a push is direct unless it says otherwise.
    let (world, _queues) = world(RELAY);
    let (status, _, words) = world.answer(as_program(push(None))).await;
    assert!(status == StatusCode::UNAUTHORIZED && words.contains("\"error\":\"unauthorized\""), "{words}");
}

#[actix::test]
async fn where_direct_pushes_are_off_they_are_refused_with_a_code() {
    for (roles, anonymity) in
        [(BOTH, Some("none")), (BOTH, Some("preferred")), (RELAY, None), (RELAY, Some("preferred")), (NEITHER, None)]
    {
        let (mut world, queues) = World::new(roles);
        world.api.direct = false;
        let (status, _, words) = world.answer(as_program(push(anonymity))).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{words}");
        let outcome: Value = serde_json::from_str(&words).unwrap();
        let expected =
            "this node pushes over the mixnet alone, sender.allow-direct is off; ask for anonymity `required`";
        assert_eq!((&outcome["error"], &outcome["statusDesc"]), (&json!("direct_not_allowed"), &json!(expected)));
        assert!(queues.relay.is_empty() && queues.sender.is_empty() && queues.host.is_empty());
    }
    let (mut world, mut queues) = World::new(BOTH);
    world.api.direct = false;
    let answered = answer_push(&mut queues.sender, Ok(answer()));
    let ((status, _, words), _) = tokio::join!(world.answer(as_program(push(None))), answered);
    assert_eq!(status, StatusCode::OK, "{words}");
}
