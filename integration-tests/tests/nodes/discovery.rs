//! Nodes that find each other: from one record, from one address, from what they kept, and what they leave out.

use std::{fs, path::Path};

use multiaddr::{Multiaddr, Protocol};
use tempfile::TempDir;
use wakumix_integration_tests::{
    CLUSTER, CONTENT_TOPIC, eventually, http,
    net::{Net, NodePlan, all_with, plans, push, push_many, usual},
    process::{Process, run_program},
    run,
};
use wakumix_node::node::Node;

use crate::{processes::refuses, wakumix};

/// The hops of most nets here.
const HOPS: [&str; 8] = ["mixer-1", "mixer-2", "mixer-3", "mixer-4", "mixer-5", "mixer-6", "exit-1", "exit-2"];

fn without<'a>(names: &[&'a str], gone: &[&str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| !gone.contains(name)).collect()
}

#[test]
fn nodes_that_know_one_record_find_each_other_and_a_message_crosses() {
    run(async {
        let net = Net::from_one_record(plans(6, 2, 0, 1)).await;
        net.pool_becomes("sender-1", &HOPS).await;
        net.ready().await;
        let answer = push(net.node("sender-1"), "found").await.unwrap();
        assert_eq!(answer.kind(), "confirmed");
        net.at_rest_after("sender-1", &[answer]).await;
        net.end().await;
    });
}

#[test]
fn killed_mixers_leave_the_pool_and_nothing_meets_them_afterwards() {
    run(async {
        let mut net = Net::from_one_record(plans(6, 2, 0, 1)).await;
        net.pool_becomes("sender-1", &HOPS).await;
        net.ready().await;
        let killed = ["mixer-3", "mixer-5"];
        for name in killed {
            net.kill(name).await;
        }
        net.pool_becomes("sender-1", &without(&HOPS, &killed)).await;
        let answers = push_many(net.node("sender-1"), 20, 4).await;
        let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert!(answers.iter().all(|answer| answer.kind() == "confirmed"), "{answers:?}");
        net.at_rest_after("sender-1", &answers).await;
        net.end().await;
    });
}

#[test]
fn a_node_of_another_cluster_is_found_by_nobody() {
    run(async {
        let mut plans = plans(4, 1, 0, 1);
        let stranger = NodePlan::new("stranger", &["mixer"]).with("cluster-id", &(CLUSTER + 1).to_string());
        // Before those that are waited for: it is there when they look.
        plans.insert(1, stranger);
        let net = Net::from_one_record(plans).await;
        net.pool_becomes("sender-1", &["mixer-1", "mixer-2", "mixer-3", "mixer-4", "exit-1"]).await;
        assert!(net.node("stranger").directory().snapshot().mix_nodes.is_empty(), "nor does it find anybody");
        net.end().await;
    });
}

/// A node as others are told of it.
fn full_address(node: &Node) -> String {
    let tcp = |address: &&Multiaddr| address.iter().any(|part| matches!(part, Protocol::Tcp(_)));
    let address = node.listen_addresses().iter().find(tcp).expect("it listens on TCP");
    address.clone().with(Protocol::P2p(node.peer_id())).to_string()
}

/// The hops of nets around a hub.
const AROUND: [&str; 4] = ["mixer-1", "mixer-2", "mixer-3", "exit-1"];

/// Three mixers, an exit and a sender that begin with the address of a hub, told by `key`, find each other by this kind
/// of discovery alone. The sender comes when the hub knows the others.
async fn fills_a_pool(settings: &[(&str, &str)], key: &str) {
    let with = |plan: NodePlan| settings.iter().fold(plan, |plan, (key, value)| plan.with(key, value));
    let mut net = Net::strangers(vec![with(NodePlan::new("hub", &["relay"]))]).await;
    let hub = full_address(net.node("hub"));
    let around = |plans: Vec<NodePlan>| all_with(plans.into_iter().map(with).collect(), key, &hub);
    net.add(around(plans(3, 1, 0, 0))).await;
    net.pool_becomes("hub", &AROUND).await;
    net.add(around(plans(0, 0, 0, 1))).await;
    net.pool_becomes("sender-1", &AROUND).await;
    net.end().await;
}

#[test]
fn descriptors_alone_fill_a_pool_from_one_address() {
    run(fills_a_pool(&[("descriptors", "true")], "staticnode"));
}

#[test]
fn services_are_learnt_over_connections_where_no_record_names_them() {
    run(async {
        let net = Net::strangers(usual()).await;
        net.tell_all(&net.pool(), &[]).await;
        net.link_relays().await;
        net.ready().await;
        let known = net.node("sender-1").directory().snapshot().lightpush.clone();
        assert_eq!(known.len(), 2, "both exits, which relay as well: {known:?}");
        let answer = push(net.node("sender-1"), "learnt").await.unwrap();
        assert_eq!(answer.kind(), "confirmed");
        net.at_rest_after("sender-1", &[answer]).await;
        net.end().await;
    });
}

#[test]
fn rendezvous_alone_fills_a_pool_from_one_address() {
    run(fills_a_pool(&[("rendezvous", "true")], "staticnode"));
}

#[test]
fn kademlia_service_discovery_alone_fills_a_pool_from_one_address() {
    let settings =
        [("enable-kad-discovery", "true"), ("kad-random-lookup-interval", "1"), ("kad-service-lookup-interval", "1")];
    run(fills_a_pool(&settings, "kad-bootstrap-node"));
}

#[test]
fn peer_exchange_alone_fills_the_pool_of_a_node_without_discv5() {
    run(async {
        let mut hops = plans(3, 1, 1, 0);
        // The relay is the one that all begin from and that the sender asks.
        hops.rotate_right(1);
        let mut net = Net::from_one_record(all_with(hops, "peer-exchange", "true")).await;
        let hub = full_address(net.node("relay-1"));
        let sender =
            NodePlan::new("sender-1", &["sender"]).with("peer-exchange", "true").with("peer-exchange-node", &hub);
        net.add(vec![sender]).await;
        net.pool_becomes("sender-1", &AROUND).await;
        net.end().await;
    });
}

#[test]
fn a_bootstrap_record_that_cannot_be_read_is_named_with_its_key_and_what_is_wrong() {
    run(async {
        for (record, words) in
            [("enr:-nonsense", "enr:-nonsense"), ("/ip4/127.0.0.1/udp/9000", "/ip4/127.0.0.1/udp/9000")]
        {
            let flags = ["node", "--roles=mixer", "--discv5-bootstrap-node", record];
            refuses(&flags, 1, &["error: ", "discv5-bootstrap-node", words, "help: "]).await;
        }
    });
}

/// A net of processes that know the record of the first one.
struct Processes {
    nodes: Vec<(NodePlan, Process)>,
    record: String,
}

impl Processes {
    async fn start(first: NodePlan, others: Vec<NodePlan>) -> Self {
        let first = first.with_discv5(None).with("rest", "true");
        let process = started(&first);
        let server = rest(&process).await;
        let info = http::get(server, "/debug/v1/info").await.json();
        let record = info["enrUri"].as_str().expect("a record").to_owned();
        let mut net = Self { nodes: vec![(first, process)], record };
        for plan in others {
            let plan = plan.with_discv5(Some(&net.record));
            let process = started(&plan);
            net.nodes.push((plan, process));
        }
        net
    }

    fn process(&self, name: &str) -> &Process {
        let found = self.nodes.iter().find(|(plan, _)| plan.name() == name);
        found.map(|(_, process)| process).expect("it runs")
    }

    /// Takes a process out of the net.
    fn take(&mut self, name: &str) -> (NodePlan, Process) {
        let place = self.nodes.iter().position(|(plan, _)| plan.name() == name).expect("it runs");
        self.nodes.remove(place)
    }

    /// Ends a node in order and starts it again with the same settings.
    async fn restart(&mut self, name: &str, between: impl FnOnce()) {
        let (plan, process) = self.take(name);
        process.terminate();
        let ended = process.ended().await;
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        between();
        let process = started(&plan);
        self.nodes.push((plan, process));
    }

    /// Waits until a sender can send.
    async fn ready(&self, name: &str) {
        let server = rest(self.process(name)).await;
        eventually(async || match http::get(server, "/health/ready").await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(format!("{name}: {}", answer.body)),
        })
        .await;
    }

    /// Sends a message through a running sender; it is published.
    async fn sends(&self, name: &str, text: &str) {
        let via = format!("http://{}", rest(self.process(name)).await);
        let sent = run_program(wakumix(), &["send", text, "--content-topic", CONTENT_TOPIC, "--via", &via]).await;
        assert_eq!(sent.code, Some(0), "{}{}", sent.stdout, sent.stderr);
    }
}

fn started(plan: &NodePlan) -> Process {
    Process::start(wakumix(), &[vec!["node".to_owned()], plan.arguments()].concat())
}

async fn rest(process: &Process) -> std::net::SocketAddr {
    let said = process.says("REST on http://").await;
    said.split_whitespace().next().and_then(|address| address.parse().ok()).expect("an address")
}

/// Two senders that keep what they learn, and what they need to send; the bootstrap node is no hop.
async fn with_two_senders(folders: [&TempDir; 2]) -> Processes {
    let mut others = plans(3, 2, 0, 2);
    for (plan, folder) in others.iter_mut().filter(|plan| plan.name().starts_with("sender")).zip(folders) {
        let path = folder.path().to_str().expect("a path in UTF-8");
        *plan = plan.clone().with("rest", "true").with("local-storage-path", path);
    }
    let net = Processes::start(NodePlan::new("bootstrap", &["relay"]), others).await;
    for sender in ["sender-1", "sender-2"] {
        net.ready(sender).await;
    }
    net
}

/// The files that a node keeps.
fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_file()).collect()
}

#[test]
fn senders_that_restart_without_the_bootstrap_node_send_again_from_what_they_kept() {
    run(async {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut net = with_two_senders([&folders[0], &folders[1]]).await;
        net.sends("sender-1", "before").await;
        net.sends("sender-2", "before").await;
        let (_, mut bootstrap) = net.take("bootstrap");
        bootstrap.kill();
        for sender in ["sender-1", "sender-2"] {
            net.restart(sender, || {}).await;
        }
        for sender in ["sender-1", "sender-2"] {
            net.ready(sender).await;
            net.sends(sender, "from what was kept").await;
        }

        // What was kept is damaged: it gets another name, that is said, and the node starts.
        let folder = folders[0].path();
        let kept = files(folder);
        assert!(!kept.is_empty(), "something is kept");
        net.restart("sender-1", || {
            for file in &kept {
                fs::write(file, b"damaged").unwrap();
            }
        })
        .await;
        net.process("sender-1").says("it is now ").await;
        rest(net.process("sender-1")).await;
        let aside = files(folder).into_iter().filter(|file| !kept.contains(file));
        assert!(aside.map(|file| fs::read(file).unwrap()).any(|content| content == b"damaged"));
    });
}
