//! Configuration files of the existing network start as they are: the five nodes of its own simulation, in the shapes that they
//! have had, and a node of a fleet.

use std::{fs, net::SocketAddr, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use wakumix_integration_tests::{
    eventually, http, ports,
    process::{Process, run_program},
    run,
};

use crate::wakumix;

const TOPIC: &str = "/waku/2/rs/2/0";

/// Identity, its peer id and mix key of each node (`spec/waku.md §5.2`).
const NODES: [[&str; 3]; 5] = [
    [
        "f98e3fba96c32e8d1967d460f1b79457380e1a895f7971cecc8528abe733781a",
        "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o",
        "a87db88246ec0eedda347b9b643864bee3d6933eb15ba41e6d58cb678d813258",
    ],
    [
        "09e9d134331953357bd38bbfce8edb377f4b6308b4f3bfbe85c610497053d684",
        "16Uiu2HAmLtKaFaSWDohToWhWUZFLtqzYZGPFuXwKrojFVF6az5UF",
        "c86029e02c05a7e25182974b519d0d52fcbafeca6fe191fbb64857fb05be1a53",
    ],
    [
        "ed54db994682e857d77cd6fb81be697382dc43aa5cd78e16b0ec8098549f860e",
        "16Uiu2HAmTEDHwAziWUSz6ZE23h5vxG2o4Nn7GazhMor4bVuMXTrA",
        "b858ac16bbb551c4b2973313b1c8c8f7ea469fca03f1608d200bbf58d388ec7f",
    ],
    [
        "42f96f29f2d6670938b0864aced65a332dcf5774103b4c44ec4d0ea4ef3c47d6",
        "16Uiu2HAmPwRKZajXtfb1Qsv45VVfRZgK3ENdfmnqzSrVm3BczF6f",
        "d8bd379bb394b0f22dd236d63af9f1a9bc45266beffc3fbbe19e8b6575f2535b",
    ],
    [
        "3ce887b3c34b7a92dd2868af33941ed1dbec4893b054572cd5078da09dd923d4",
        "16Uiu2HAmRhxmCHBYdXt1RibXrjAUNJbduAhzaTHwFCZT4qWnqZAu",
        "780fff09e51e98df574e266bf3266ec6a3a1ddfcf7da826a349a29c137009d49",
    ],
];

/// Files of a test, and the nodes that were started from them.
struct Net {
    folder: TempDir,
    nodes: Vec<Process>,
}

impl Net {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), nodes: Vec::new() }
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts the node of a file, and waits until it answers. Alone it is not ready: it has no peers.
    async fn start(&mut self, name: &str, text: &str, rest: u16) -> SocketAddr {
        let file = self.write(name, text);
        let process = Process::start(wakumix(), &["node", "--config-file", file.to_str().unwrap()]);
        process.says("REST on http://").await;
        let server = SocketAddr::from(([127, 0, 0, 1], rest));
        assert_eq!(http::get(server, "/health/live").await.status, 200, "{name}");
        self.nodes.push(process);
        server
    }

    async fn end(self) {
        for node in self.nodes {
            node.terminate();
            let ended = node.ended().await;
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        }
    }
}

async fn is_ready(server: SocketAddr) {
    eventually(async || match http::get(server, "/health/ready").await {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.body),
    })
    .await;
}

/// Ports of one node: what its file adds `ports-shift` to.
struct Ports {
    tcp: u16,
    rest: u16,
    udp: u16,
}

fn exchanged() -> Ports {
    Ports { tcp: ports::free(), rest: ports::free(), udp: ports::free() }
}

/// The file of a node as the simulation has it, ports exchanged, with what its release has besides.
fn file(number: usize, Ports { tcp, rest, udp }: &Ports, more: &str) -> String {
    let [nodekey, _, mixkey] = NODES[number];
    let shift = number + 1;
    let before = |port: &u16| usize::from(*port) - shift;
    format!(
        "log-level = \"INFO\"\nrelay = true\nmix = true\nfilter = true\nstore = {store}\nlightpush = true\n\
         max-connections = 150\nmetrics-logging = false\ncluster-id = 2\ndiscv5-udp-port = {udp}\n\
         discv5-enr-auto-update = true\nrest = true\nrest-admin = true\nports-shift = {shift}\n\
         num-shards-in-network = 1\nshard = [0]\nagent-string = \"nwaku-mix\"\nnodekey = \"{nodekey}\"\n\
         mixkey = \"{mixkey}\"\nlisten-address = \"127.0.0.1\"\nnat = \"extip:127.0.0.1\"\nip-colocation-limit=0\n\
         tcp-port = {tcp}\nrest-port = {rest}\n{more}\n",
        store = number == 0,
        udp = before(udp),
        tcp = before(tcp),
        rest = before(rest),
    )
}

/// A sender that begins from the first node pushes through the five, and the first node receives.
async fn a_message_goes_through(net: &mut Net, first: SocketAddr, begins: &str) {
    let rest = ports::free();
    let sender = format!(
        "preset = \"local\"\ncluster-id = 2\nroles = [\"sender\"]\nlisten-address = \"127.0.0.1\"\ntcp-port = 0\n\
         discv5-udp-port = {}\nrest-port = {rest}\n{begins}\n",
        ports::free()
    );
    let file = net.write("sender.toml", &sender);
    let process = Process::start(wakumix(), &["node", "--config", file.to_str().unwrap()]);
    process.says("REST on http://").await;
    net.nodes.push(process);
    let server = SocketAddr::from(([127, 0, 0, 1], rest));
    eventually(async || {
        let pool = http::get(server, "/admin/v1/pool").await.json();
        if pool["counts"]["usable"] == 5 { Ok(()) } else { Err(format!("the pool of the sender: {}", pool["counts"])) }
    })
    .await;
    is_ready(first).await;
    assert_eq!(http::post(first, "/relay/v1/subscriptions", json!([TOPIC]).to_string()).await.status, 200);
    let send =
        ["send", "hello", "--content-topic", "/sim/1/chat/proto", "--via", &format!("http://{server}"), "--json"];
    let sent = run_program(wakumix(), &send).await;
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let outcome: Value = serde_json::from_str(&sent.stdout).unwrap();
    let path = format!("/relay/v1/messages/{}", TOPIC.replace('/', "%2F"));
    eventually(async || {
        let received = http::get(first, &path).await.json();
        let is_there =
            received.as_array().is_some_and(|all| all.iter().any(|one| one["messageHash"] == outcome["messageHash"]));
        if is_there { Ok(()) } else { Err(format!("the message: {received}")) }
    })
    .await;
}

/// With Kademlia, which its node of no bootstrap node turns on by name, and the others by naming that one.
#[test]
fn the_five_nodes_of_the_simulation_of_2026_carry_a_message() {
    run(async {
        let mut net = Net::new();
        let ports: Vec<Ports> = NODES.iter().map(|_| exchanged()).collect();
        let first = format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports[0].tcp, NODES[0][1]);
        let kad = format!("kad-bootstrap-node = [\"{first}\"]");
        let mut servers = Vec::new();
        for (number, own) in ports.iter().enumerate() {
            let begins = if number == 0 { "enable-kad-discovery = true" } else { &kad };
            let more = format!(
                "peer-exchange = false\ndiscv5-discovery = false\nrendezvous = false\n\
                 ext-multiaddr = [\"/ip4/127.0.0.1/tcp/{}\"]\next-multiaddr-only = true\n{begins}",
                own.tcp
            );
            servers.push(net.start(&format!("config{number}.toml"), &file(number, own, &more), own.rest).await);
        }
        a_message_goes_through(&mut net, servers[0], &kad).await;
        net.end().await;
    });
}

/// With discv5, peer exchange and rendezvous.
#[test]
fn the_five_nodes_of_the_simulation_of_2025_carry_a_message() {
    run(async {
        let mut net = Net::new();
        let ports: Vec<Ports> = NODES.iter().map(|_| exchanged()).collect();
        let mut servers = Vec::new();
        let mut begins = String::new();
        for (number, own) in ports.iter().enumerate() {
            let more = format!("peer-exchange = true\ndiscv5-discovery = true\nrendezvous = true\n{begins}");
            let server = net.start(&format!("config{number}.toml"), &file(number, own, &more), own.rest).await;
            if number == 0 {
                let info = http::get(server, "/debug/v1/info").await.json();
                begins = format!("discv5-bootstrap-node = [\"{}\"]", info["enrUri"].as_str().unwrap());
            }
            servers.push(server);
        }
        a_message_goes_through(&mut net, servers[0], &begins).await;
        net.end().await;
    });
}

/// As the operators of nwaku write it: a node behind a name, without store, that begins from a node of its network.
#[test]
fn the_configuration_of_a_nwaku_node_starts() {
    run(async {
        let mut net = Net::new();
        let (own, websocket, metrics) = (exchanged(), ports::free(), ports::free());
        let text = format!(
            "log-level = \"INFO\"\nlog-format = \"TEXT\"\nlisten-address = \"0.0.0.0\"\ntcp-port = {tcp}\n\
             nat = \"extip:203.0.113.9\"\ndns4-domain-name = \"node-01.fleet.example.org\"\nmax-connections = 300\n\
             ip-colocation-limit = 100\npeer-persistence = true\nlocal-storage-path = \"{storage}\"\nkeep-alive = true\n\
             cluster-id = 16\nnum-shards-in-network = 8\nshard = [1, 3]\nrelay = true\nmix = true\nfilter = true\n\
             lightpush = true\nstore = false\nstore-message-db-url = \"postgres://user:password@10.0.0.2/db\"\n\
             store-message-retention-policy = \"time:2592000\"\nrln-relay = false\npeer-exchange = true\nrendezvous = true\n\
             discv5-discovery = true\ndiscv5-udp-port = {udp}\ndiscv5-enr-auto-update = true\n\
             dns-discovery = false\nnodekey = \"{nodekey}\"\nwebsocket-support = true\nwebsocket-port = {websocket}\n\
             rest = true\nrest-address = \"127.0.0.1\"\nrest-port = {rest}\nrest-admin = true\nmetrics-server = true\n\
             metrics-server-address = \"0.0.0.0\"\nmetrics-server-port = {metrics}\nmetrics-logging = true\n\
             rate-limit = [\"lightpush:100/1s\", \"px:5/1s\"]\n",
            storage = net.folder.path().display(),
            nodekey = NODES[0][0],
            tcp = own.tcp,
            udp = own.udp,
            rest = own.rest,
        );
        let file = net.write("config.toml", &text);
        let checked = run_program(wakumix(), &["config", "check", "--config-file", file.to_str().unwrap()]).await;
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
        assert!(checked.stdout.contains("cluster 16, shards 1, 3"), "{}", checked.stdout);

        let process = Process::start(wakumix(), &["node", "--config-file", file.to_str().unwrap()]);
        process.says("REST on http://").await;
        net.nodes.push(process);
        let info = http::get(SocketAddr::from(([127, 0, 0, 1], own.rest)), "/debug/v1/info").await.json();
        let announced: Vec<&str> =
            info["listenAddresses"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for address in [
            format!("/dns4/node-01.fleet.example.org/tcp/{}/p2p/{}", own.tcp, NODES[0][1]),
            format!("/dns4/node-01.fleet.example.org/tcp/{websocket}/ws/p2p/{}", NODES[0][1]),
            format!("/ip4/203.0.113.9/tcp/{}/p2p/{}", own.tcp, NODES[0][1]),
        ] {
            assert!(announced.contains(&address.as_str()), "{address} in {announced:?}");
        }

        // What it lacks is said, all at once, before it starts.
        let store = format!("{text}websocket-secure-support = true\n").replace("store = false", "store = true");
        let file = net.write("store.toml", &store);
        let refused = run_program(wakumix(), &["node", "--config-file", file.to_str().unwrap()]).await;
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        for part in ["`store` in file", "`websocket-secure-support` in file", "help: set store = false"] {
            assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
        }
        assert!(!refused.stderr.contains("password"), "{}", refused.stderr);
        net.end().await;
    });
}

/// Nodes whose addresses have all changed: a sender that runs on is handed the new ones.
#[test]
fn a_sender_that_knows_dead_addresses_alone_takes_new_ones_while_it_runs() {
    run(async {
        let mut net = Net::new();
        let mut entries = Vec::new();
        for (number, [_, peer, _]) in NODES.iter().enumerate() {
            let own = exchanged();
            let more = "discv5-discovery = false\nrendezvous = false\npeer-exchange = false";
            let server = net.start(&format!("config{number}.toml"), &file(number, &own, more), own.rest).await;
            let info = http::get(server, "/debug/v1/info").await.json();
            let key = info["mixPubKey"].as_str().unwrap().trim_start_matches("0x").to_owned();
            entries.push((format!("/ip4/127.0.0.1/tcp/{}/p2p/{peer}", own.tcp), key));
        }
        let dead: Vec<String> = NODES
            .iter()
            .zip(&entries)
            .map(|([_, peer, _], (_, key))| format!("\"{}/p2p/{peer}:{key}\"", ports::nobody()))
            .collect();
        let rest = ports::free();
        let text = format!(
            "preset = \"local\"\ncluster-id = 2\nroles = [\"sender\"]\nlisten-address = \"127.0.0.1\"\ntcp-port = 0\n\
             rest-port = {rest}\ndescriptors = false\nmixnode = [{}]\n",
            dead.join(",")
        );
        let file = net.write("sender.toml", &text);
        let process = Process::start(wakumix(), &["node", "--config", file.to_str().unwrap()]);
        process.says("REST on http://").await;
        net.nodes.push(process);
        let via = format!("http://127.0.0.1:{rest}");

        let unread = run_program(wakumix(), &["pool", "add", &entries[0].0, "192.0.2.1:60000", "--via", &via]).await;
        assert_eq!(unread.code, Some(1), "{}", unread.stderr);
        assert!(unread.stderr.contains("error: `192.0.2.1:60000`"), "{}", unread.stderr);
        // One by hand, the others from a list.
        let one = format!("{}:{}", entries[0].0, entries[0].1);
        let added = run_program(wakumix(), &["pool", "add", &one, "--via", &via]).await;
        assert!(added.stdout.starts_with("added 1; "), "{}{}", added.stdout, added.stderr);
        let nodes: serde_json::Map<String, Value> = entries[1..]
            .iter()
            .map(|(address, key)| {
                (address.clone(), json!({ "ServiceMeta": { "multiaddr": address, "mix_pub_key": key } }))
            })
            .collect();
        let list = net.write("data.json", &json!({ "sim": { "delivery": nodes } }).to_string());
        let imported = run_program(wakumix(), &["pool", "import", list.to_str().unwrap(), "--via", &via]).await;
        assert!(imported.stdout.starts_with("added 4; "), "{}{}", imported.stdout, imported.stderr);

        let server = SocketAddr::from(([127, 0, 0, 1], rest));
        eventually(async || {
            let pool = http::get(server, "/admin/v1/pool").await.json();
            if pool["counts"]["usable"] == 5 {
                Ok(())
            } else {
                Err(format!("the pool of the sender: {}", pool["counts"]))
            }
        })
        .await;
        // What it uses now another node can be given.
        let exported = run_program(wakumix(), &["pool", "export", "--via", &via]).await;
        let list = net.write("pool.json", &exported.stdout);
        let printed = run_program(wakumix(), &["pool", "import", list.to_str().unwrap(), "--print"]).await;
        for (address, key) in &entries {
            assert!(printed.stdout.contains(&format!("\"{address}:{key}\"")), "{address}:\n{}", printed.stdout);
        }
        net.end().await;
    });
}
