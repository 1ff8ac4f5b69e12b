//! The REST interface in front of queues that the tests answer themselves.

mod access;
mod admin;
mod cors;
mod guard;
mod peers;
mod routes;

use std::{num::NonZeroU16, sync::Arc, time::Duration};

use actix_web::{
    App, HttpRequest,
    http::{StatusCode, header::HeaderMap},
    middleware::from_fn,
    test, web,
};
use futures::FutureExt;
use serde_json::{Value, json};
use wakumix_mix::ExitStatus;
use wakumix_role_api::{
    DirectoryPublisher, Ports, Receiver, RoleName,
    directory::{PoolCounts, PoolState, ServiceKind},
    host::{HostHandle, HostMessage, HostStatus},
    mailbox,
    relay::{self, Published, RelayHandle, RelayMessage},
    rest::{Access, Method, Operation, Parameter, Reply, Request, RequestBody, Response, Route, RouteContext},
    sender::{
        Anonymity, Answer, Certainty, ClientError, DeliveryPath, Exposure, PushFailure, PushMessage, SenderHandle,
        SenderMessage,
    },
};
use wakumix_telemetry::{
    Telemetry,
    health::{ConnectionStatus, Health, NodeStatus},
};
use wakumix_waku::{WakuMessage, lightpush::AnswerError};

use super::{Api, Info, RoleRoute, Sharding, openapi, routes as served, state};

const TOPIC: &str = "/waku/2/rs/66/0";

/// Which roles the node has.
#[derive(Clone, Copy)]
struct Roles {
    sender: bool,
    relay: bool,
}

const BOTH: Roles = Roles { sender: true, relay: true };
const SENDER: Roles = Roles { sender: true, relay: false };
const RELAY: Roles = Roles { sender: false, relay: true };
const NEITHER: Roles = Roles { sender: false, relay: false };

/// The interface.
struct World {
    api: Api,
    /// Keeps the directory as it is.
    _directory: DirectoryPublisher,
}

/// The other ends of its queues.
struct Queues {
    sender: Receiver<SenderMessage>,
    relay: Receiver<RelayMessage>,
    host: Receiver<HostMessage>,
}

/// Those of the roles of this build, as a node has them.
fn routes_of(roles: Roles) -> Arc<[RoleRoute]> {
    let built_in = crate::roles::Roles::built_in();
    let routes = built_in.iter().flat_map(|role| role.routes().into_iter().map(move |route| (role.name(), route)));
    routes
        .map(|(role, route)| RoleRoute {
            role,
            is_on: if role == relay::NAME { roles.relay } else { roles.sender },
            route,
        })
        .collect()
}

impl World {
    fn new(roles: Roles) -> (Self, Queues) {
        let telemetry = Telemetry::new(crate::roles::Roles::built_in().catalogues()).unwrap();
        let (sender, sender_inbox) = mailbox("sender", 4, &telemetry);
        let (relay, relay_inbox) = mailbox("relay", 4, &telemetry);
        let (host, host_inbox) = mailbox("host", 4, &telemetry);
        let (publisher, directory) = DirectoryPublisher::new();
        let health = |connected_peers| Health {
            node_health: NodeStatus::Ready,
            connection_status: match connected_peers {
                0 => ConnectionStatus::Disconnected,
                _ => ConnectionStatus::Connected,
            },
            protocols_health: Vec::new(),
        };
        let host = HostHandle::new(host);
        let mut ports = Ports::new(host.clone());
        if roles.relay {
            ports.insert(relay::NAME, RelayHandle::new(relay)).unwrap();
        }
        let api = Api {
            info: Arc::new(|| {
                let info = Info { listen_addresses: Vec::new(), enr_uri: "enr:x".to_owned(), mix_pub_key: None };
                std::future::ready(info).boxed()
            }),
            sender: roles.sender.then(|| SenderHandle::new(sender)),
            plain: crate::plain::plain_push(&ports, directory.clone()),
            routes: routes_of(roles),
            ports,
            host,
            directory,
            sharding: Sharding { cluster: 66, shards: NonZeroU16::new(1) },
            max_message: 1024,
            health: Arc::new(health),
            missing: Arc::new(|| vec!["sender: pool too small: 0 usable mix nodes, 4 needed".to_owned()]),
            telemetry,
            admin: true,
            takes_changes: true,
            needs_client_certificate: false,
            allowed_hosts: Arc::from([]),
            allowed_origins: Arc::from([]),
            token: None,
            direct: true,
            is_stopping: Arc::new(|| false),
            pool: Arc::new(|| std::future::ready(Vec::new()).boxed()),
            add_nodes: Arc::new(|_| std::future::ready(Ok(())).boxed()),
            keep: Arc::new(|_| std::future::ready(true).boxed()),
        };
        let queues = Queues {
            sender: sender_inbox.receiver().unwrap(),
            relay: relay_inbox.receiver().unwrap(),
            host: host_inbox.receiver().unwrap(),
        };
        (Self { api, _directory: publisher }, queues)
    }

    /// Sends a request as programs do: to an address, a body as JSON.
    async fn call(&self, request: test::TestRequest) -> (StatusCode, String) {
        let json = ("content-type", "application/json");
        self.call_raw(request.insert_header(("host", "127.0.0.1:8645")).insert_header(json)).await
    }

    async fn call_raw(&self, request: test::TestRequest) -> (StatusCode, String) {
        let (status, _, body) = self.answer(request).await;
        (status, body)
    }

    /// Status, headers and body.
    async fn answer(&self, request: test::TestRequest) -> (StatusCode, HeaderMap, String) {
        let app = App::new()
            .wrap(from_fn(super::guard::guard))
            .configure(state(&self.api))
            .configure(|config| served::register(config, &self.api));
        let app = test::init_service(app).await;
        let response = test::call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        self.check_described(response.request(), status, &headers);
        (status, headers, String::from_utf8(test::read_body(response).await.to_vec()).unwrap())
    }

    /// Every answer of a route is one of those that the description of the interface has.
    fn check_described(&self, request: &HttpRequest, status: StatusCode, headers: &HeaderMap) {
        let method = match request.method().as_str() {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            "DELETE" => Method::Delete,
            _ => return,
        };
        let described = served::described(&self.api.routes);
        let Some(path) = request.match_pattern() else { return };
        let is_route = described.iter().any(|route| route.method == method && route.path == path);
        if status == StatusCode::METHOD_NOT_ALLOWED {
            return;
        }
        assert!(is_route, "{} {path} answers {status} and is not described", request.method());
        let kind = headers.get("content-type").map_or("text/plain", |kind| kind.to_str().unwrap());
        let kind = kind.split(';').next().unwrap();
        let is_described = openapi::has(&described, method, &path, status.as_u16(), kind);
        assert!(
            is_described,
            "{} {path} answers {status} as {kind}, which its Operation does not have",
            request.method()
        );
    }

    async fn post(&self, path: &str, body: impl Into<web::Bytes>) -> (StatusCode, String) {
        self.call(test::TestRequest::post().uri(path).set_payload(body)).await
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.call(test::TestRequest::get().uri(path)).await
    }

    /// Pushes a body; the words of the refusal.
    async fn refused(&self, body: &Value) -> String {
        let (status, answer) = self.post(LIGHTPUSH, body.to_string()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"], "bad_request");
        answer["statusDesc"].as_str().unwrap().to_owned()
    }
}

const LIGHTPUSH: &str = "/lightpush/v3/message";

fn message() -> Value {
    json!({ "payload": "aGVsbG8=", "contentTopic": "/app/1/chat/proto" })
}

fn with(field: &str, value: Value) -> Value {
    let mut message = message();
    message[field] = value;
    json!({ "message": message })
}

/// What a sender was asked for.
struct Pushed {
    message: WakuMessage,
    topic: Option<String>,
    anonymity: Anonymity,
    timeout: Option<Duration>,
}

/// Answers one push that the sender gets; what was pushed.
async fn answer_push(sender: &mut Receiver<SenderMessage>, outcome: Result<Answer, PushFailure>) -> Pushed {
    let Some(SenderMessage::Push(push)) = sender.recv().await else { panic!("no push") };
    let PushMessage { message, pubsub_topic: topic, reply, anonymity, timeout, .. } = *push;
    reply.send(outcome).unwrap();
    Pushed { message, topic, anonymity, timeout }
}

fn answer() -> Answer {
    Answer {
        certainty: Certainty::Confirmed,
        path: DeliveryPath::Mixnet,
        tries: 1,
        exposure: Exposure { guards: 1, exits: 1, packets: 1, reply_paths: 1 },
        status: 200,
        description: None,
        relay_peer_count: Some(3),
        message_hash: Some([7; 32]),
        round_trip: Duration::from_millis(5),
    }
}

async fn publish(relay: &mut Receiver<RelayMessage>, status: u32) -> Option<String> {
    let Some(RelayMessage::Publish { topic, reply, message }) = relay.recv().await else { panic!("nothing published") };
    assert!(message.timestamp.is_some(), "the time is put in before anything is hashed");
    let description = (status != 200).then(|| "no".to_owned());
    reply.send(Published { status, description, relay_peer_count: Some(1), hash: None }).unwrap();
    topic
}

#[actix::test]
async fn a_sender_pushes_over_the_mixnet_unless_told_otherwise() {
    for body in [json!({ "message": message() }), json!({ "message": message(), "anonymity": "required" })] {
        let (world, mut queues) = World::new(BOTH);
        let (response, pushed) =
            futures::join!(world.post(LIGHTPUSH, body.to_string()), answer_push(&mut queues.sender, Ok(answer())));
        assert_eq!(response.0, StatusCode::OK);
        let outcome: Value = serde_json::from_str(&response.1).unwrap();
        let hash = format!("0x{}", "07".repeat(32));
        let expected = json!({
            "relayPeerCount": 3, "messageHash": hash, "outcome": "confirmed", "way": "mixnet", "tries": 1,
            "exposure": { "guards": 1, "exits": 1, "packets": 1, "replyPaths": 1 },
        });
        assert_eq!(outcome, expected);
        let Pushed { message, topic, anonymity, timeout } = pushed;
        assert_eq!((message.payload, topic.as_deref()), (b"hello".to_vec(), Some(TOPIC)));
        assert_eq!((anonymity, timeout), (Anonymity::Required, None));
        assert_eq!(message.timestamp, None, "the sender draws one that does not tell when the message was sent");
    }
}

#[actix::test]
async fn a_push_that_prefers_the_mixnet_says_when_and_why_it_was_left_out() {
    let body = json!({ "message": message(), "anonymity": "preferred", "timeoutMs": 1500 }).to_string();
    let failure = PushFailure::Client(ClientError::PoolTooSmall {
        usable: 1,
        needed: 4,
        others: PoolCounts::from_iter([(PoolState::Expired, 1)]),
    });
    let words = failure.to_string();
    let direct = Answer { path: DeliveryPath::Direct(Some(Box::new(failure))), ..answer() };
    let (world, mut queues) = World::new(BOTH);
    let (response, pushed) =
        futures::join!(world.post(LIGHTPUSH, body.clone()), answer_push(&mut queues.sender, Ok(direct)));
    assert_eq!((pushed.anonymity, pushed.timeout), (Anonymity::Preferred, Some(Duration::from_millis(1500))));
    let outcome: Value = serde_json::from_str(&response.1).unwrap();
    assert_eq!((response.0, &outcome["way"]), (StatusCode::OK, &json!("direct")));
    assert_eq!(outcome["fallback"], json!({ "code": "pool_too_small", "text": words }));

    let (world, mut queues) = World::new(RELAY);
    let (response, _) = futures::join!(world.post(LIGHTPUSH, body), publish(&mut queues.relay, 200));
    let outcome: Value = serde_json::from_str(&response.1).unwrap();
    assert_eq!((response.0, &outcome["fallback"]["code"]), (StatusCode::OK, &json!("no_sender")));
}

#[actix::test]
async fn what_was_only_seen_on_the_relay_network_is_published_but_unconfirmed() {
    let seen = Answer { certainty: Certainty::Seen, relay_peer_count: None, tries: 3, ..answer() };
    let (world, mut queues) = World::new(SENDER);
    let body = json!({ "message": message() }).to_string();
    let (response, _) = futures::join!(world.post(LIGHTPUSH, body), answer_push(&mut queues.sender, Ok(seen)));
    let outcome: Value = serde_json::from_str(&response.1).unwrap();
    assert_eq!(response.0, StatusCode::OK);
    assert_eq!((&outcome["outcome"], &outcome["tries"]), (&json!("published_unconfirmed"), &json!(3)));
}

#[actix::test]
async fn a_refusal_of_the_service_keeps_its_status_and_one_that_ends_no_exchange_is_500() {
    for (status, http) in [(420, 420), (505, 505), (204, 500), (101, 500), (70_000, 500)] {
        let refused = Answer { status, description: Some("no".to_owned()), ..answer() };
        let (world, mut queues) = World::new(SENDER);
        let body = json!({ "message": message() }).to_string();
        let (response, _) = futures::join!(world.post(LIGHTPUSH, body), answer_push(&mut queues.sender, Ok(refused)));
        let outcome: Value = serde_json::from_str(&response.1).unwrap();
        assert_eq!((response.0.as_u16(), &outcome["outcome"]), (http, &json!("refused")), "{status}");
        assert_eq!((outcome.get("error"), &outcome["statusDesc"]), (None, &json!("no")));
    }
}

#[actix::test]
async fn without_a_sender_a_relay_publishes_itself() {
    for (roles, body) in [
        (RELAY, json!({ "message": message() })),
        (BOTH, json!({ "message": message(), "anonymity": "none", "pubsubTopic": TOPIC })),
    ] {
        let (world, mut queues) = World::new(roles);
        let (response, topic) =
            futures::join!(world.post(LIGHTPUSH, body.to_string()), publish(&mut queues.relay, 200));
        assert_eq!((response.0, topic.as_deref()), (StatusCode::OK, Some(TOPIC)));
        let outcome: Value = serde_json::from_str(&response.1).unwrap();
        let expected = json!({ "relayPeerCount": 1, "outcome": "confirmed", "way": "direct", "tries": 1 });
        assert_eq!(outcome, expected);
    }
}

#[actix::test]
async fn says_which_role_or_service_is_missing() {
    let body = json!({ "message": message(), "anonymity": "required" }).to_string();
    let (status, answer) = World::new(RELAY).0.post(LIGHTPUSH, body).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.contains("no_sender") && answer.contains("add it to roles"), "{answer}");
    let (status, answer) = World::new(NEITHER).0.post(LIGHTPUSH, json!({ "message": message() }).to_string()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.contains("no_service") && answer.contains("serves lightpush"), "{answer}");
}

#[actix::test]
async fn says_what_is_wrong_with_a_body() {
    let (world, _queues) = World::new(SENDER);
    for (body, part) in [
        (json!({ "message": message(), "anonimity": "none" }), "unknown field `anonimity`"),
        (with("payLoad", json!("")), "unknown field `payLoad`"),
        (json!({ "message": { "payload": "" } }), "missing field `contentTopic`"),
        (json!({ "message": message(), "anonymity": "maybe" }), "anonymity: unknown value `maybe`"),
        (json!({ "message": message(), "timeoutMs": 0 }), "timeoutMs is 0"),
        (
            json!({ "message": message(), "timeoutMs": -1 }),
            "timeoutMs: invalid value: number `-1`, expected a whole number",
        ),
        (with("payload", json!("a")), "payload is not base64 with padding"),
        (with("payload", json!("aGVsbG8")), "payload is not base64 with padding"),
        (with("meta", json!("???")), "meta is not base64"),
        (with("proof", json!("???")), "proof is not base64"),
        (with("meta", json!("A".repeat(88))), "meta is 66 bytes, at most 64 are allowed"),
        (with("contentTopic", json!("")), "contentTopic is empty"),
        (with("contentTopic", json!("chat")), "`chat` is not a content topic"),
        (json!({ "message": message(), "pubsubTopic": "chat" }), "`chat` is not a pubsub topic"),
    ] {
        let words = world.refused(&body).await;
        assert!(words.contains(part), "{body}: {words}");
    }
    let (status, words) = world.post(LIGHTPUSH, "{").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(words.contains("malformed JSON body") && words.contains("line 1"), "{words}");
}

#[actix::test]
async fn a_body_beyond_the_limit_is_not_read() {
    let (world, _queues) = World::new(SENDER);
    let (status, answer) = world.post(LIGHTPUSH, with("payload", json!("A".repeat(100_000))).to_string()).await;
    let outcome: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &outcome["error"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large")), "{answer}");
}

#[actix::test]
async fn each_failure_has_its_status_and_code() {
    for (failure, status, code) in [
        (PushFailure::Client(ClientError::PayloadTooLarge { size: 4097, limit: 4096 }), 413, "too_large"),
        (PushFailure::Client(ClientError::TooLarge { size: 4000, limit: 3205 }), 413, "too_large"),
        (PushFailure::ExitRefused { status: 420, reason: ExitStatus::CodecRefused }, 503, "exit_refused"),
        (
            PushFailure::Client(ClientError::PoolTooSmall {
                usable: 1,
                needed: 4,
                others: PoolCounts::from_iter([(PoolState::Expired, 1)]),
            }),
            503,
            "pool_too_small",
        ),
        (PushFailure::Client(ClientError::NoExit { service: ServiceKind::LIGHTPUSH, topic: None }), 503, "no_exit"),
        (PushFailure::Client(ClientError::NoConnectedHop), 503, "no_connected_hop"),
        (PushFailure::Client(ClientError::Busy), 429, "busy"),
        (PushFailure::InvalidMessage("no".to_owned()), 400, "invalid_message"),
        (PushFailure::BadAnswer(AnswerError::OtherRequest), 500, "bad_answer"),
    ] {
        assert_eq!(failure.kind(), code);
        let (world, mut queues) = World::new(SENDER);
        let words = failure.to_string();
        let body = json!({ "message": message() }).to_string();
        let (response, _) = futures::join!(world.post(LIGHTPUSH, body), answer_push(&mut queues.sender, Err(failure)));
        assert_eq!(response.0.as_u16(), status);
        let outcome: Value = serde_json::from_str(&response.1).unwrap();
        assert_eq!(outcome, json!({ "outcome": code, "error": code, "statusDesc": words }));
    }
}

#[actix::test]
async fn a_deadline_says_how_often_the_message_was_sent() {
    let late = PushFailure::Client(ClientError::Deadline { limit: Duration::from_secs(1), tries: 3 });
    let (world, mut queues) = World::new(SENDER);
    let body = json!({ "message": message() }).to_string();
    let (response, _) = futures::join!(world.post(LIGHTPUSH, body), answer_push(&mut queues.sender, Err(late)));
    let outcome: Value = serde_json::from_str(&response.1).unwrap();
    assert_eq!((response.0.as_u16(), &outcome["outcome"]), (503, &json!("deadline")));
    assert_eq!(outcome["tries"], 3);
}

const ECHO: Operation = Operation {
    summary: "Answer with the body",
    parameters: &[Parameter { name: "topic", meaning: "A word.", example: "a", pattern: "^.+$" }],
    body: Some(RequestBody::required::<Vec<u8>>()),
    replies: &[Reply::text(418, "The body.")],
};

#[actix::test]
async fn a_route_of_a_role_gets_path_and_body_and_is_refused_where_the_role_is_off() {
    let echo = |_: RouteContext, request: Request| {
        let words = format!("{} {:?}", request.parameter("topic"), String::from_utf8_lossy(&request.body));
        async move { Response::text(418, words) }.boxed()
    };
    let (mut world, _queues) = World::new(NEITHER);
    let route = |path, is_on| RoleRoute {
        role: RoleName::new("echo"),
        is_on,
        route: Route {
            access: Access::Everybody,
            method: Method::Post,
            path,
            takes: false,
            operation: &ECHO,
            handler: echo,
        },
    };
    world.api.routes = Arc::from([route("/echo/{topic}", true), route("/off", false)]);
    let (status, words) = world.post("/echo/%2Fwaku%2F2", "[7]").await;
    assert_eq!((status.as_u16(), words.as_str()), (418, r#"/waku/2 "[7]""#));
    assert_eq!(world.get("/echo/1").await.0, StatusCode::METHOD_NOT_ALLOWED);
    let off = (StatusCode::SERVICE_UNAVAILABLE, "the echo role is off; add it to roles".to_owned());
    assert_eq!(world.post("/off", "[]").await, off);
}

#[actix::test]
async fn probes_say_what_the_node_waits_for() {
    let (world, mut queues) = World::new(SENDER);
    assert_eq!(world.get("/health/live").await, (StatusCode::OK, "OK".to_owned()));
    let waiting = (StatusCode::SERVICE_UNAVAILABLE, "sender: pool too small: 0 usable mix nodes, 4 needed".to_owned());
    assert_eq!(world.get("/health/ready").await, waiting);
    let host = async {
        let Some(HostMessage::Status(reply)) = queues.host.recv().await else { panic!("the host is not asked") };
        reply.send(HostStatus { connected_peers: 3, ..HostStatus::default() }).unwrap();
    };
    let ((status, report), ()) = futures::join!(world.get("/health"), host);
    assert!(status == StatusCode::OK && report.contains(r#""connectionStatus":"Connected""#), "{report}");
    let (status, info) = world.get("/debug/v1/info").await;
    assert_eq!((status, info.as_str()), (StatusCode::OK, r#"{"listenAddresses":[],"enrUri":"enr:x"}"#));
}

#[actix::test]
async fn the_report_does_not_hang_with_a_host_that_says_nothing() {
    let (world, _queues) = World::new(NEITHER);
    tokio::time::pause();
    let (status, report) = world.get("/health").await;
    assert!(status == StatusCode::OK && report.contains(r#""connectionStatus":"Disconnected""#), "{report}");
}
