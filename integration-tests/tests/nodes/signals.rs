//! What signals do to the program, and what its log says of a node's life.

use serde_json::Value;
use wakumix_integration_tests::{
    http, ports,
    process::{Ended, Process, run_program},
    run,
};

use crate::wakumix;

/// A node on loopback without peers, whose log is JSON.
fn start(roles: &str, flags: &[&str]) -> Process {
    let roles = format!("--roles={roles}");
    let base = ["node", "--preset=local", "--listen-address=127.0.0.1", "--tcp-port=0", "--log-format=json", &roles];
    Process::start(wakumix(), &[&base[..], flags].concat())
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn sighup_does_not_end_a_node() {
    run(async {
        let process = start("relay", &["--rest=false"]);
        process.says("node started").await;
        process.signal(rustix::process::Signal::HUP);
        process.says("SIGHUP changes nothing").await;
        process.terminate();
        let ended = process.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ended.logged("stopped");
    });
}

#[test]
fn what_ends_the_program_is_json_where_the_log_is() {
    run(async {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        std::fs::write(&file, "log-format = 'json'\nlog-name = 'here'\ntcp-port = 'x'\nrest-port = 'y'\n").unwrap();
        for (arguments, code, words) in [
            (
                vec!["node", "--log-format", "json", "--preset=local", "--rest=false", "--tcp-port", &port],
                3,
                "is in use",
            ),
            (vec!["node", "--config", file.to_str().unwrap()], 1, "is not a port"),
        ] {
            let ended = run_program(wakumix(), &arguments).await;
            assert_eq!(ended.code, Some(code), "{}", ended.stderr);
            let lines = lines(&ended);
            let error = lines.iter().find(|line| line["level"] == "ERROR").expect("an error");
            assert!(error["message"].as_str().unwrap().contains(words), "{error}");
            assert_eq!(error["exit_code"], code, "{error}");
            if code == 1 {
                assert_eq!((lines.len(), &error["node"]), (2, &"here".into()), "{}", ended.stderr);
                assert!(error["help"].as_str().unwrap().contains("from 0 to 65535"), "{error}");
            }
        }
    });
}

#[test]
fn a_relay_without_peers_and_a_mixer_without_a_pool_are_not_ready_and_say_why() {
    run(async {
        let port = ports::free();
        let rest = format!("--rest-port={port}");
        let process = start("relay,mixer", &[&rest]);
        let why = process.says("not ready yet").await;
        let lacks = ["relay: no peer on any pubsub topic", "mixer: pool too small: 0 usable mix nodes, 3 needed"];
        let server = ([127, 0, 0, 1], port).into();
        let ready = http::get(server, "/health/ready").await;
        let report = http::get(server, "/health").await.json();
        let page = http::get(server, "/metrics").await.body;
        for lack in lacks {
            assert!(why.contains(lack) && ready.body.contains(lack), "{why}\n{}", ready.body);
        }
        assert_eq!(ready.status, 503);
        let protocols = report["protocolsHealth"].as_array().unwrap();
        assert!(
            protocols.iter().all(|protocol| protocol.as_object().unwrap().values().next().unwrap() == "NOT_READY"),
            "{report}"
        );
        assert_eq!(http::metric(&page, "waku_mix_ready"), Some(0.0));
        assert!(http::metric(&page, "process_open_fds").is_some_and(|files| files > 3.0), "{page}");
        assert!(http::metric(&page, "process_start_time_seconds").is_some_and(|start| start > 1.6e9), "{page}");
        process.terminate();
        let ended = process.ended().await;
        let said = lines(&ended).iter().filter(|line| line["message"].as_str().unwrap().contains("ready")).count();
        assert_eq!(said, 1, "{}", ended.stderr);
    });
}

#[test]
fn requests_that_are_none_leave_nothing_in_the_log() {
    run(async {
        let port = ports::free();
        let rest = format!("--rest-port={port}");
        let process = start("relay", &[&rest]);
        let server = std::net::SocketAddr::from(([127, 0, 0, 1], port));
        process.says("REST on").await;
        for _ in 0..50 {
            use std::io::{Read as _, Write as _};
            let mut stream = std::net::TcpStream::connect(server).unwrap();
            stream.write_all(b"NO \x01 request\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        }
        process.terminate();
        let ended = process.ended().await;
        let loud: Vec<_> = lines(&ended).into_iter().filter(|line| line["level"] == "ERROR").collect();
        assert!(loud.is_empty(), "{loud:?}");
    });
}
