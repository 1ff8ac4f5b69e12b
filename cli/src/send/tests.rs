//! What `wakumix send` refuses, asks and prints.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

use wakumix_role_api::{
    directory::{PoolCounts, PoolState},
    sender::{Certainty, ClientError, DeliveryPath, Exposure, PushFailure},
};

use super::*;

fn command(json: bool) -> SendCommand {
    SendCommand {
        payload: PayloadArgs { text: Some("hello".into()), ..PayloadArgs::default() },
        content_topic: "/app/1/chat/proto".to_owned(),
        pubsub_topic: None,
        anonymity: Wanted::Required,
        timeout: None,
        via: None,
        access: AccessArgs::default(),
        config: None,
        json,
    }
}

fn answer(relay_peer_count: u32) -> Outcome {
    answer_by(DeliveryPath::Mixnet, relay_peer_count)
}

fn answer_by(path: DeliveryPath, relay_peer_count: u32) -> Outcome {
    Outcome::from(Answer {
        certainty: Certainty::Confirmed,
        path,
        tries: 2,
        exposure: Exposure { guards: 1, exits: 1, packets: 1, reply_paths: 1 },
        status: 200,
        description: None,
        relay_peer_count: Some(relay_peer_count),
        message_hash: Some([7; 32]),
        round_trip: Duration::from_millis(285),
    })
}

fn printed(json: bool, outcome: &Outcome) -> String {
    let mut out = Vec::new();
    command(json).print(outcome, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn prints_status_outcome_peers_hash_and_time() {
    let hash = format!("0x{}", "07".repeat(32));
    let expected = format!(
        "status 200: published to 1 relay peer\nconfirmed over the mixnet, 2 tries\n\
         seen by 1 guard, read by 1 exit; 1 packet, 1 reply path\nmessage hash {hash}\nanswered after \
         285 ms\n"
    );
    assert_eq!(printed(false, &answer(1)), expected);
    assert!(printed(false, &answer(2)).contains("2 relay peers\n"));
    let json: serde_json::Value = serde_json::from_str(&printed(true, &answer(1))).unwrap();
    let expected = serde_json::json!({
        "status": 200, "outcome": "confirmed", "way": "mixnet", "tries": 2,
        "exposure": { "guards": 1, "exits": 1, "packets": 1, "replyPaths": 1 },
        "relayPeerCount": 1, "messageHash": hash, "roundTripMs": 285,
    });
    assert_eq!(json, expected);
}

#[test]
fn says_first_that_the_mixnet_was_left_out_and_why() {
    let failure = PushFailure::Client(ClientError::PoolTooSmall {
        usable: 1,
        needed: 4,
        others: PoolCounts::from_iter([(PoolState::Expired, 2)]),
    });
    let fallen_back = answer_by(DeliveryPath::Direct(Some(Box::new(failure))), 1);
    let said = printed(false, &fallen_back);
    let first = "NOT anonymous: sent directly, because the mixnet could not be used: pool too small: 1 usable mix nodes, \
                 4 needed (2 expired) (pool_too_small)\nstatus 200: published to 1 relay peer\nconfirmed directly, 2 tries\n";
    assert!(said.starts_with(first), "{said}");
    let json: serde_json::Value = serde_json::from_str(&printed(true, &fallen_back)).unwrap();
    assert_eq!((&json["way"], &json["fallback"]["code"]), (&"direct".into(), &"pool_too_small".into()));
    let refused = Outcome { status: 420, ..fallen_back };
    assert!(printed(false, &refused).starts_with("NOT anonymous"), "also of what the service refused");
    let asked_for = answer_by(DeliveryPath::Direct(None), 1);
    assert!(!printed(false, &asked_for).contains("NOT anonymous"));
}

#[test]
fn a_payload_that_is_too_large_is_told_with_both_sizes() {
    let failure = Outcome::from(&PushFailure::Client(ClientError::PayloadTooLarge { size: 4097, limit: 4096 }));
    let said = failure.failure();
    assert!(said.contains("4097 bytes") && said.contains("at most 4096") && said.ends_with("(too_large)"), "{said}");
}

#[test]
fn a_failure_prints_nothing_for_people_and_says_why_on_standard_error() {
    let outcome = Outcome::from(&PushFailure::Client(ClientError::PoolTooSmall {
        usable: 1,
        needed: 4,
        others: PoolCounts::from_iter([(PoolState::Expired, 2)]),
    }));
    assert_eq!(printed(false, &outcome), "");
    assert!(printed(true, &outcome).contains("\"error\": \"pool_too_small\""));
    let words = outcome.failure();
    assert!(
        words.contains("pool too small: 1 usable mix nodes, 4 needed (2 expired)")
            && words.ends_with("(pool_too_small)"),
        "{words}"
    );
    let refused = Outcome { status: 420, status_desc: Some("no".to_owned()), ..Outcome::default() };
    assert_eq!(refused.failure(), "the service answered 420: no");
}

#[test]
fn says_which_flag_is_wrong() {
    let wrong = |change: fn(&mut SendCommand)| {
        let mut command = command(false);
        command.via = Some("http://127.0.0.1:1".to_owned());
        change(&mut command);
        let failure = command.run(&Roles::built_in(), &mut Vec::new()).unwrap_err();
        assert_eq!(failure.code(), 1);
        failure.to_string()
    };
    for (said, part) in [
        (wrong(|command| command.content_topic = "chat".to_owned()), "--content-topic: `chat`"),
        (wrong(|command| command.pubsub_topic = Some("chat".to_owned())), "--pubsub-topic: `chat`"),
        (wrong(|command| command.timeout = Some(Timespan::from_millis(0))), "--timeout: no time"),
        (wrong(|command| command.via = Some("ftp://x".to_owned())), "--via: `ftp`"),
    ] {
        assert!(said.contains(part) && said.contains("help: write it as"), "{said}");
    }
}

/// A server of one answer; its address.
fn server(answer: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The whole request is in: it ends with its JSON object.
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).unwrap();
    });
    format!("http://{address}/")
}

#[test]
fn a_running_node_is_asked_for_the_same_anonymity_and_time() {
    let command =
        SendCommand { anonymity: Wanted::Preferred, timeout: Some(Timespan::from_millis(1500)), ..command(false) };
    let body = serde_json::to_value(command.body(b"hello")).unwrap();
    assert_eq!((&body["anonymity"], &body["timeoutMs"]), (&"preferred".into(), &1500.into()));
    assert_eq!(command.http_limit(), Duration::from_millis(11_500));
    let body = serde_json::to_value(self::command(false).body(b"\xff\0")).unwrap();
    assert_eq!((&body["anonymity"], body.get("timeoutMs")), (&"required".into(), None));
}

#[test]
fn tells_a_node_from_other_servers_and_from_silence() {
    let via = |address: String| {
        let mut out = Vec::new();
        let command = SendCommand { via: Some(address), ..command(false) };
        (command.run(&Roles::built_in(), &mut out), String::from_utf8(out).unwrap())
    };
    let node = server(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 35\r\n\r\n{\"way\":\"mixnet\",\"relayPeerCount\":2}",
    );
    let (done, said) = via(node);
    assert!(done.is_ok() && said.starts_with("status 200: published to 2 relay peers\n"), "{said}");
    // As nwaku answers, which has pushed directly.
    let silent =
        server("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n{\"relayPeerCount\":2}");
    let failure = via(silent).0.unwrap_err();
    assert_eq!(failure.code(), 3);
    assert!(failure.to_string().contains("NOT known to be anonymous"), "{failure}");

    let other = server("HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone");
    let failure = via(other).0.unwrap_err();
    assert_eq!(failure.code(), 3);
    assert!(failure.to_string().contains("status 404 and no lightpush outcome"), "{failure}");

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = via(nobody.to_string()).0.unwrap_err();
    assert_eq!(failure.code(), 3);
    let said = failure.to_string();
    assert!(said.contains(&nobody.to_string()) && said.contains("help: check the address"), "{said}");
}

#[test]
fn what_an_exit_says_neither_makes_a_line_nor_steers_the_terminal() {
    let text = "no\n\u{1b}[32mstatus 200: published\u{1b}[0m";
    let shown = "no\\u000a\\u001b[32mstatus 200: published\\u001b[0m";
    let refused = Outcome { status: 504, status_desc: Some(text.to_owned()), ..Outcome::default() };
    assert_eq!(refused.failure(), format!("the service answered 504: {shown}"));
    let fallback = Some(Fallback { code: "c".to_owned(), text: text.to_owned() });
    let said = printed(false, &Outcome { fallback, ..answer(1) });
    assert!(said.contains(shown) && said.lines().count() == 6, "{said}");
}
