//! The program as its users start it: processes, files, signals, exit codes.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
};

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;
use wakumix_integration_tests::{
    eventually, http, ports,
    process::{Process, run_program},
    run,
};

use crate::wakumix;

/// The nodes of the example network, in the order in which the README starts them.
const EXAMPLE: [&str; 7] = ["relay-exit-1", "relay-exit-2", "mixer-1", "mixer-2", "mixer-3", "mixer-4", "sender"];
/// Where the example nodes keep what they remember.
const DATA: &str = "wakumix-data";
const CONTENT_TOPIC: &str = "/example/1/chat/proto";

/// The example files with every port exchanged for one that is free now, and every directory moved to a temporary one.
struct Example {
    folder: TempDir,
    /// REST servers by node.
    rest: BTreeMap<&'static str, SocketAddr>,
    nodes: BTreeMap<&'static str, Process>,
}

impl Example {
    fn write() -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/config");
        let read = |name: &str| fs::read_to_string(source.join(name).with_extension("toml")).expect("an example file");
        let files: BTreeMap<_, _> = EXAMPLE.map(|name| (name, read(name))).into();
        let ports = exchange(files.values().flat_map(|text| ports_of(text)).collect());
        let folder = tempfile::tempdir().unwrap();
        let mut rest = BTreeMap::new();
        for (name, text) in files {
            let rest_port = setting(&text, "rest-port").expect("every example serves REST");
            rest.insert(name, SocketAddr::from(([127, 0, 0, 1], ports[&rest_port])));
            let moved = text.lines().map(|line| with_ports(line, &ports) + "\n").collect::<String>();
            let moved = moved.replace(DATA, &format!("{}/{DATA}", folder.path().display()));
            fs::write(folder.path().join(name).with_extension("toml"), moved).unwrap();
        }
        Self { folder, rest, nodes: BTreeMap::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name).with_extension("toml")
    }

    /// Starts these nodes and waits until each is ready.
    async fn start(names: &[&'static str]) -> Self {
        let mut example = Self::write();
        for name in names.iter().copied() {
            let file = example.file(name);
            let process = Process::start(wakumix(), &["node", "--config", file.to_str().unwrap()]);
            example.nodes.insert(name, process);
        }
        for name in names {
            example.nodes[name].says("REST on http://").await;
            let server = example.rest[name];
            eventually(async || match http::get(server, "/health/ready").await {
                answer if answer.status == 200 => Ok(()),
                answer => Err(format!("{name}: {}", answer.body)),
            })
            .await;
        }
        example
    }

    async fn subscribe(&self, name: &str) {
        let body = json!(["/waku/2/rs/66/0"]).to_string();
        assert_eq!(http::post(self.rest[name], "/relay/v1/subscriptions", body).await.status, 200);
    }

    /// The only message that a node has received.
    async fn received(&self, name: &str) -> Value {
        let messages = eventually(async || {
            let answer = http::get(self.rest[name], "/relay/v1/messages/%2Fwaku%2F2%2Frs%2F66%2F0").await.json();
            answer.as_array().filter(|list| !list.is_empty()).cloned().ok_or_else(|| "no message yet".to_owned())
        })
        .await;
        assert_eq!(messages.len(), 1);
        messages[0].clone()
    }

    /// Ends all nodes in order.
    async fn end(self) {
        for (name, process) in self.nodes {
            process.terminate();
            let ended = process.ended().await;
            assert_eq!(ended.code, Some(0), "{name}:\n{}", ended.stderr);
            assert!(ended.stderr.contains("given_up=0"), "{name}:\n{}", ended.stderr);
        }
    }
}

/// The ports that a file names in settings and addresses.
fn ports_of(text: &str) -> Vec<u16> {
    let settings = ["tcp-port", "rest-port"].iter().filter_map(|key| setting(text, key));
    let addresses = text.split("/tcp/").skip(1).filter_map(|rest| rest.split('/').next()?.parse().ok());
    settings.chain(addresses).collect()
}

fn setting(text: &str, key: &str) -> Option<u16> {
    let value = |line: &str| line.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().parse().ok();
    text.lines().find_map(value)
}

fn with_ports(line: &str, ports: &BTreeMap<u16, u16>) -> String {
    ports.iter().fold(line.to_owned(), |line, (old, new)| {
        line.replace(&format!("/tcp/{old}/"), &format!("/tcp/{new}/"))
            .replace(&format!("-port = {old}"), &format!("-port = {new}"))
    })
}

/// A free port for each.
fn exchange(mut old: Vec<u16>) -> BTreeMap<u16, u16> {
    old.sort_unstable();
    old.dedup();
    let exchanged: BTreeMap<_, _> = old.iter().map(|port| (*port, ports::free())).collect();
    assert!(exchanged.values().all(|new| !old.contains(new)), "a port that is exchanged is not exchanged again");
    exchanged
}

#[test]
fn seven_processes_of_the_example_files_carry_a_message_from_send_to_a_subscriber() {
    run(async {
        let example = Example::start(&EXAMPLE).await;
        example.subscribe("relay-exit-1").await;
        example.subscribe("relay-exit-2").await;
        let via = format!("http://{}", example.rest["sender"]);
        let sent =
            run_program(wakumix(), &["send", "hello mix", "--content-topic", CONTENT_TOPIC, "--via", &via, "--json"])
                .await;
        assert_eq!(sent.code, Some(0), "{}", sent.stderr);
        let outcome: Value = serde_json::from_str(&sent.stdout).unwrap();
        assert_eq!(outcome["status"], 200);
        assert!(outcome["relayPeerCount"].as_u64().unwrap() >= 1);
        for subscriber in ["relay-exit-1", "relay-exit-2"] {
            let message = example.received(subscriber).await;
            assert_eq!(message["payload"], BASE64.encode(b"hello mix"));
            assert_eq!(message["messageHash"], outcome["messageHash"]);
        }

        let told = run_program(wakumix(), &["send", "again", "--content-topic", CONTENT_TOPIC, "--via", &via]).await;
        let lines: Vec<_> = told.stdout.lines().collect();
        assert!(lines[0].starts_with("status 200: "), "{}", told.stdout);
        assert!(lines[1].starts_with("confirmed over the mixnet, "), "{}", told.stdout);
        assert!(lines[2].starts_with("seen by 1 guard, read by 1 exit"), "{}", told.stdout);
        assert!(lines[3].starts_with("message hash 0x"), "{}", told.stdout);

        let long = "x".repeat(4097);
        let send = ["send", &long, "--content-topic", CONTENT_TOPIC, "--via", &via];
        refuses(&send, 3, &["the payload is 4097 bytes, at most 4096", "(too_large)"]).await;
        example.end().await;
    });
}

#[test]
fn send_with_a_configuration_starts_a_sender_for_one_message() {
    run(async {
        let example = Example::start(&EXAMPLE[..6]).await;
        example.subscribe("relay-exit-2").await;
        let file = example.file("sender");
        let arguments = ["send", "by itself", "--content-topic", CONTENT_TOPIC, "--config", file.to_str().unwrap()];
        let sent = run_program(wakumix(), &arguments).await;
        assert_eq!(sent.code, Some(0), "{}", sent.stderr);
        let message = example.received("relay-exit-2").await;
        assert_eq!(message["payload"], BASE64.encode(b"by itself"));
        let line = format!("message hash {}", message["messageHash"].as_str().unwrap());
        assert!(sent.stdout.lines().any(|said| said == line), "{}", sent.stdout);
        example.end().await;
    });
}

/// Runs the program, which must refuse with these words and this exit code.
pub(crate) async fn refuses(arguments: &[&str], code: i32, words: &[&str]) {
    let ended = run_program(wakumix(), arguments).await;
    assert_eq!(ended.code, Some(code), "{arguments:?}\n{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.is_empty(), "{arguments:?}: {}", ended.stdout);
    for part in words {
        assert!(ended.stderr.contains(part), "{arguments:?}: {part:?} is not in\n{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{arguments:?}\n{}", ended.stderr);
}

#[test]
fn a_node_that_cannot_have_a_port_names_it_and_its_setting() {
    run(async {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port().to_string();
        let base = ["node", "--roles=mixer", "--listen-address=127.0.0.1"];
        for (flags, setting) in [
            (vec!["--tcp-port", &port, "--rest=false"], "tcp-port"),
            (vec!["--tcp-port=0", "--rest-port", &port], "rest-port"),
            (
                vec!["--tcp-port=0", "--rest=false", "--metrics-server=true", "--metrics-server-port", &port],
                "metrics-server-port",
            ),
        ] {
            refuses(&[&base[..], &flags].concat(), 3, &["error: ", &port, setting]).await;
        }
    });
}

#[test]
fn a_node_that_cannot_be_what_it_is_told_to_be_says_why_and_what_to_do() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.key");
        let missing = missing.to_str().unwrap();
        // A private key in libp2p's protobuf form: type ed25519, 64 bytes.
        let ed25519 = format!("08011240{}", "11".repeat(64));
        let short = "/ip4/127.0.0.1/tcp/1/p2p/16Uiu2HAmQArzPCyJcNCgwDrEPyXmTTVTq1E6x1pTdETdS9AFFQuK:abcd";
        let six = format!("/ip6/::1{}", &short["/ip4/127.0.0.1".len()..].replace("abcd", &"9".repeat(64)));
        let cases: [(&[&str], &[&str]); 6] = [
            (&["--roles=mixer", "--nodekey-file", missing], &["does not exist", "help: "]),
            (&["--roles=mixer", "--nodekey", &ed25519], &["secp256k1", "help: "]),
            (&["--roles=mixer", "--mixnode", short], &["the mix key has 4 hex digits", "help: "]),
            (&["--roles=mixer", "--mixnode", &six], &["a mix header carries only", "help: "]),
            (&["--roles=mixer", "--tcp-port=9000", "--rest-port=9000"], &["tcp-port", "rest-port"]),
            (&["--config", "/does/not/exist.toml"], &["/does/not/exist.toml"]),
        ];
        for (flags, words) in cases {
            refuses(&[&["node"], flags].concat(), 1, &[&["error: "], words].concat()).await;
        }
    });
}

#[test]
fn an_unknown_key_of_a_file_is_named_with_its_line_and_the_nearest() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        fs::write(&file, "roles = [\"mixer\"]\ntcp-prot = 1\n").unwrap();
        let file = file.to_str().unwrap();
        refuses(&["node", "--config", file], 1, &["tcp-prot", file, "tcp-port"]).await;
    });
}

#[test]
fn send_says_what_is_wrong_with_its_input_and_where_nobody_listens() {
    run(async {
        // Nobody listens there: only privileged servers could.
        let closed = "127.0.0.1:1";
        let send = ["send", "x", "--content-topic"];
        refuses(&[&send[..], &["no topic", "--via", closed]].concat(), 1, &["--content-topic", "help: "]).await;
        let topic = ["/a/1/b/proto", "--pubsub-topic", "nowhere", "--via", closed];
        refuses(&[&send[..], &topic].concat(), 1, &["--pubsub-topic", "help: "]).await;
        let nobody = [&send[..], &["/a/1/b/proto", "--via", closed]].concat();
        refuses(&nobody, 3, &[closed, "cannot be asked", "help: "]).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lonely.toml");
        let lonely = "roles = [\"sender\"]\nlisten-address = \"127.0.0.1\"\ntcp-port = 0\nrest = false\n";
        fs::write(&file, lonely).unwrap();
        let lonely = [&send[..], &["/a/1/b/proto", "--config", file.to_str().unwrap()]].concat();
        refuses(&lonely, 3, &["pool too small: 0 usable mix nodes, 4 needed", "pool_too_small"]).await;
    });
}

#[test]
fn what_a_configuration_is_warned_of_goes_beside_the_output() {
    run(async {
        for command in [["config", "check"], ["config", "show"], ["enr", "show"]] {
            let ended = run_program(wakumix(), &[&command[..], &["--nat=any"]].concat()).await;
            assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
            assert!(ended.stderr.contains("warning: `nat` in flag --nat is any"), "{command:?}: {}", ended.stderr);
            assert!(!ended.stdout.contains("warning: "), "{command:?}: {}", ended.stdout);
        }
    });
}
