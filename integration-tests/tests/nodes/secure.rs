//! TLS of nodes: web pages over WebSocket, REST and metrics over https.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use enr::{Enr, k256::ecdsa::SigningKey};
use libp2p::StreamProtocol;
use multiaddr::{Multiaddr, Protocol};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use wakumix_integration_tests::{
    CONTENT_TOPIC, TOPIC, eventually,
    hop::NwakuNode,
    http,
    https::{HttpsClient, client_hello},
    net::{Net, NodePlan, address_with, all_with, message, plans, push, record_of, usual},
    peer::{read_frame, write_frame},
    ports, run, until, within,
};
use wakumix_mix::MixNode;
use wakumix_node::node::Node;
use wakumix_records::{
    descriptor::{self, Descriptor},
    node_record::NodeRecord,
};
use wakumix_sphinx::Profile;
use wakumix_tls::{
    Files,
    testing::{Authority, VALID},
};

const NAME: &str = "node.example.org";

/// A folder with a certificate for this machine and a name.
fn certificate(authority: &Authority) -> (tempfile::TempDir, Files) {
    let folder = tempfile::tempdir().unwrap();
    let files = authority.issue(&["127.0.0.1", NAME], VALID).write(folder.path());
    (folder, files)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn serving_pages(plan: NodePlan, files: &Files) -> NodePlan {
    plan.with("descriptors", "true")
        .with("websocket-secure-support", "true")
        .with("websocket-secure-port", "0")
        .with("websocket-secure-cert-path", text(&files.certificate))
        .with("websocket-secure-key-path", text(&files.key))
}

fn over_https(plan: NodePlan, files: &Files) -> NodePlan {
    plan.with("rest", "true")
        .with("rest-tls-cert-path", text(&files.certificate))
        .with("rest-tls-key-path", text(&files.key))
}

fn is_secure(part: &Protocol<'_>) -> bool {
    matches!(part, Protocol::Wss(_))
}

fn mix_node(node: &Node) -> MixNode {
    node.mix_node().expect("it mixes")
}

#[test]
fn a_page_finds_the_pool_over_tls_and_pushes_through_the_mixnet() {
    run(async {
        let authority = Authority::new("test");
        let (_folder, files) = certificate(&authority);
        let plans = usual().into_iter().map(|plan| serving_pages(plan, &files)).collect();
        let net = Net::start(plans).await;
        let mut relay = net.follow("relay-2").await;
        let page = NwakuNode::start_page(Profile::default(), authority.der()).await;
        let [first, second, last, exit, other_exit] =
            ["mixer-1", "mixer-2", "mixer-3", "exit-1", "exit-2"].map(|name| net.node(name));
        for node in [first, last] {
            page.peer().connect(node.peer_id(), address_with(node, is_secure)).await;
        }

        // The pool, from one connection: keys, and the addresses that pages dial.
        let mut stream = page.peer().open(first.peer_id(), StreamProtocol::new(descriptor::PROTOCOL)).await;
        write_frame(&mut stream, &descriptor::Request::Sample(32).encode()).await.unwrap();
        let answer = within(read_frame(&mut stream)).await.unwrap().expect("an answer");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let found: Vec<Descriptor> = descriptor::Response::decode(&answer)
            .unwrap()
            .descriptors
            .iter()
            .map(|bytes| Descriptor::open(bytes, now).unwrap())
            .collect();
        let own = found.iter().find(|found| found.peer == first.peer_id()).expect("its own descriptor");
        assert!(own.addresses.contains(&address_with(first, is_secure)), "{:?}", own.addresses);
        assert_eq!(own.mix_key, Some(mix_node(first).key));

        // Its replies come over the connection that it holds to the last hop of the reply path.
        for number in 0..5 {
            let pushed = message(format!("from a page {number}"));
            let path = [first, second, exit].map(mix_node);
            let back = [other_exit, last].map(mix_node);
            let response = page.push_as_page(&path, back, pushed.clone()).await;
            assert!(response.status_code.is_success(), "{response:?}");
            let received = within(relay.recv()).await.unwrap();
            assert_eq!(received.message.payload, pushed.payload);
        }
        net.at_rest_with(&[&page]).await;
        net.end().await;
    });
}

#[test]
fn the_name_is_announced_with_tls_everywhere_and_addresses_that_the_certificate_does_not_cover_are_not() {
    run(async {
        let authority = Authority::new("test");
        let (_folder, files) = certificate(&authority);
        let port = ports::free();
        let ext = "/ip4/127.0.0.1/tcp/4443/ws";
        let mut plans = plans(0, 0, 1, 0);
        let plan = serving_pages(plans.remove(0), &files)
            .with("websocket-secure-port", &port.to_string())
            .with("dns4-domain-name", NAME)
            .with("ext-multiaddr", ext)
            .with("rest", "true");
        let net = Net::strangers(vec![plan]).await;
        let node = net.node("relay-1");
        let rest = node.rest_address().unwrap();
        let name: Multiaddr = format!("/dns4/{NAME}/tcp/{port}/wss").parse().unwrap();
        // The information of the node, its record and its descriptor say it.
        let info = http::get(rest, "/debug/v1/info").await.json();
        let listen: Vec<&str> = info["listenAddresses"].as_array().unwrap().iter().filter_map(|a| a.as_str()).collect();
        let full = |address: &str| format!("{address}/p2p/{}", node.peer_id());
        assert!(listen.contains(&&*full(&name.to_string())) && listen.contains(&&*full(ext)), "{listen:?}");
        let with_ip = |text: &str| text.starts_with("/ip4/") && text.contains("/wss");
        assert!(!listen.iter().any(|text| with_ip(text)), "{listen:?}");
        let enr: Enr<SigningKey> = record_of(node).await.parse().unwrap();
        let record = NodeRecord::of(&enr).unwrap();
        let addresses: Vec<String> = record.fields.multiaddrs.iter().map(ToString::to_string).collect();
        assert!(addresses.contains(&name.to_string()), "{addresses:?}");
        assert!(!addresses.iter().any(|text| with_ip(text)), "{addresses:?}");
        let page = NwakuNode::start_page(Profile::default(), authority.der()).await;
        page.peer().connect(node.peer_id(), address_with(node, is_secure)).await;
        let mut stream = page.peer().open(node.peer_id(), StreamProtocol::new(descriptor::PROTOCOL)).await;
        write_frame(&mut stream, &descriptor::Request::Own.encode()).await.unwrap();
        let answer = within(read_frame(&mut stream)).await.unwrap().expect("an answer");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let answer = descriptor::Response::decode(&answer).unwrap();
        let own = Descriptor::open(&answer.descriptors[0], now).unwrap();
        assert!(own.addresses.contains(&name), "{:?}", own.addresses);
        net.end().await;
    });
}

#[test]
fn https_serves_a_rotated_certificate_and_refuses_unknown_clients() {
    run(async {
        let (authority, clients, nobody) =
            (Authority::new("nodes"), Authority::new("clients"), Authority::new("nobody"));
        let (folder, files) = certificate(&authority);
        let ca = folder.path().join("clients.pem");
        fs::write(&ca, clients.pem()).unwrap();
        let mut plans = plans(1, 0, 0, 0);
        let plan = over_https(plans.remove(0), &files)
            .with("rest-tls-client-ca-path", text(&ca))
            .with("metrics-server", "true")
            .with("metrics-server-port", "0");
        let net = Net::strangers(vec![plan]).await;
        let node = net.node("mixer-1");
        let (rest, metrics) = (node.rest_address().unwrap(), node.metrics_address().unwrap());
        let known = clients.issue(&["operator"], VALID);
        fs::create_dir(folder.path().join("operator")).unwrap();
        let operator = HttpsClient::new(&authority, Some(&known));
        let without = HttpsClient::new(&authority, None);
        let unknown = HttpsClient::new(&authority, Some(&nobody.issue(&["operator"], VALID)));
        for (server, path) in [(rest, "/admin/v1/pool"), (rest, "/version"), (metrics, "/metrics")] {
            assert_eq!(operator.ask(server, "GET", path).await.unwrap().status, 200, "{path}");
            let refused = without.ask(server, "GET", path).await.unwrap();
            assert_eq!(refused.status, 403, "{path}");
            assert!(refused.body.contains("rest-tls-client-ca-path"), "{}", refused.body);
            assert!(unknown.ask(server, "GET", path).await.is_err(), "{path}");
        }
        // The command line of an operator.
        let issued = known.write(&folder.path().join("operator"));
        let authority_file = folder.path().join("authority.pem");
        fs::write(&authority_file, authority.pem()).unwrap();
        let arguments = |own: bool| {
            let via = format!("https://{rest}");
            let mut arguments = vec!["pool".to_owned(), "--via".to_owned(), via, "--ca-file".to_owned()];
            arguments.push(text(&authority_file).to_owned());
            if own {
                let files = ["--client-cert-file", text(&issued.certificate), "--client-key-file", text(&issued.key)];
                arguments.extend(files.map(str::to_owned));
            }
            arguments
        };
        let run = async |arguments: Vec<String>| {
            let ask = move || std::process::Command::new(crate::wakumix()).args(arguments).output().unwrap();
            within(tokio::task::spawn_blocking(ask)).await.unwrap()
        };
        let done = run(arguments(true)).await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let refused = run(arguments(false)).await;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("rest-tls-client-ca-path"), "{said}");
        // Probes have no certificate.
        for server in [rest, metrics] {
            assert_eq!(without.ask(server, "GET", "/health").await.unwrap().status, 200);
        }
        assert!(
            HttpsClient::new(&nobody, None).ask(rest, "GET", "/health/live").await.is_err(),
            "of another authority"
        );
        let page = operator.ask(metrics, "GET", "/metrics").await.unwrap().body;
        let ends = "waku_mix_certificate_end_timestamp_seconds{surface=\"http\"}";
        assert_eq!(http::metric(&page, ends), Some(4_733_510_400.0));
        assert_eq!(http::metric(&page, "waku_mix_rest_refused_total{reason=\"client_certificate\"}"), Some(4.0));

        let next = authority.issue(&["127.0.0.1"], VALID);
        assert!(without.shown(rest).await.unwrap() != next.der);
        next.write(folder.path());
        until("the new certificate is served", async || without.shown(rest).await.unwrap() == next.der).await;
        assert!(without.shown(metrics).await.unwrap() == next.der);
        net.end().await;
    });
}

#[test]
fn handshakes_that_stop_and_requests_that_crawl_leave_pushes_answered() {
    run(async {
        let authority = Authority::new("test");
        let (_folder, files) = certificate(&authority);
        let plans = usual().into_iter().map(|plan| over_https(serving_pages(plan, &files), &files)).collect();
        let net = Net::start(plans).await;
        let hello = client_hello();
        let mut open = Vec::new();
        for round in 0..10 {
            for name in ["mixer-1", "mixer-2", "mixer-3", "exit-1", "exit-2"] {
                let node = net.node(name);
                let pages = socket(&address_with(node, is_secure));
                let rest = node.rest_address().unwrap();
                for server in [pages, rest] {
                    for _ in 0..20 {
                        open.extend(begins(server, &hello).await);
                    }
                }
                // A request whose head never ends.
                if let Ok(mut slow) = TcpStream::connect(rest).await {
                    drop(slow.write_all(b"\x16").await);
                    open.push(slow);
                }
            }
            let answer = push(net.node("sender-1"), format!("round {round}")).await;
            assert_eq!(answer.expect("an answer").status, 200, "round {round}");
        }
        // REST of the sender itself, where a push then comes in.
        let client = HttpsClient::new(&authority, None);
        let sender = net.node("sender-1").rest_address().unwrap();
        for _ in 0..1000 {
            open.extend(begins(sender, &hello).await);
        }
        assert!(open.len() > 2000, "{}", open.len());
        let pushed = serde_json::json!({
            "pubsubTopic": TOPIC,
            "message": { "payload": "aGk=", "contentTopic": CONTENT_TOPIC },
            "anonymity": "required",
        });
        let answer = client.send(sender, "POST", "/lightpush/v3/message", &pushed.to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        drop(open);
        let rest = net.node("mixer-1").rest_address().unwrap();
        eventually(async || match client.ask(rest, "GET", "/health/live").await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await;
        net.end().await;
    });
}

/// Begins a handshake and goes no further.
async fn begins(server: SocketAddr, hello: &[u8]) -> Option<TcpStream> {
    let mut socket = TcpStream::connect(server).await.ok()?;
    socket.write_all(hello).await.ok()?;
    Some(socket)
}

fn socket(address: &Multiaddr) -> SocketAddr {
    let port = address.iter().find_map(|part| if let Protocol::Tcp(port) = part { Some(port) } else { None });
    (Ipv4Addr::LOCALHOST, port.expect("a TCP port")).into()
}

#[test]
fn in_the_open_without_tls_rest_reads_alone() {
    run(async {
        let open = |plan: NodePlan| plan.with("rest", "true").with("rest-address", "0.0.0.0");
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, "a-token-of-this-test").unwrap();
        #[cfg(unix)]
        fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let plans = all_with(plans(3, 0, 0, 0), "drain-timeout", "1s");
        let mut plans = plans.into_iter().map(open);
        let (reads, with_token, knowingly) = (plans.next().unwrap(), plans.next().unwrap(), plans.next().unwrap());
        let net = Net::strangers(vec![
            reads,
            with_token.with("rest-token-file", text(&token)),
            knowingly.with("rest-allow-insecure", "true"),
        ])
        .await;
        let at =
            |name: &str| -> SocketAddr { (Ipv4Addr::LOCALHOST, net.node(name).rest_address().unwrap().port()).into() };
        let reads = at("mixer-1");
        for path in ["/health/live", "/metrics", "/version", "/openapi.json"] {
            assert_eq!(http::get(reads, path).await.status, 200, "{path}");
        }
        let body = serde_json::json!([TOPIC]).to_string();
        for refused in [
            http::post(reads, "/relay/v1/subscriptions", body.clone()).await,
            http::delete(reads, "/relay/v1/subscriptions", body.clone()).await,
            http::post(reads, "/lightpush/v3/message", "{}").await,
            http::get(reads, "/admin/v1/pool").await,
        ] {
            assert_eq!(refused.status, 403);
            assert!(
                refused.body.contains("rest-tls-cert-path") && refused.body.contains("rest-allow-insecure"),
                "{}",
                refused.body
            );
        }
        // There the role decides: it is off.
        for name in ["mixer-2", "mixer-3"] {
            assert_eq!(http::post(at(name), "/relay/v1/subscriptions", body.clone()).await.status, 503, "{name}");
        }
        net.end().await;
    });
}
