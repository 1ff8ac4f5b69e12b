//! A panic inside every task of a node, one after the other: each is counted, the node is ready again, and pushes are answered.

use std::{collections::BTreeSet, time::Duration};

use tempfile::TempDir;
use wakumix_integration_tests::{
    TOPIC,
    http::{self, metric},
    net::{Net, NodePlan, plans, push, push_as},
    run, until,
};
use wakumix_node::node::Node;
use wakumix_role_api::{relay, sender::Anonymity};

/// The node under drill: every role, every source that works on loopback, REST.
const DRILLED: &str = "drilled";

/// What makes a task of a name run, where none runs all the time.
#[derive(Clone, Copy, Debug)]
enum Stimulus {
    /// Nothing: it runs all the time, or again soon.
    Wait,
    /// A push by this node over the mixnet.
    Push,
    /// A push by this node that goes directly.
    Direct,
    /// A push of another node, which this one serves as the exit and publishes.
    Serve,
    /// A subscription to a topic over REST.
    Subscribe,
    /// A new start of the relay.
    StartRelay,
    /// A new start of discovery.
    StartDiscovery,
}

/// Every task of a node with every role; a task that is not here fails the drill, as does one that never runs. Each list is
/// one life of the node: three panics of an actor within a minute stop it, and that is right.
const LIVES: &[&[(&str, Stimulus)]] = &[
    &[
        ("discovery_cache", Stimulus::Wait),
        ("discovery_cache_source", Stimulus::StartDiscovery),
        ("discovery_static", Stimulus::StartDiscovery),
        ("discovery_descriptors", Stimulus::Wait),
        ("discovery_discv5", Stimulus::Wait),
        ("discovery_events", Stimulus::Wait),
        ("discovery_identify", Stimulus::Wait),
        ("discovery_keep_connected", Stimulus::Wait),
        ("relay_join", Stimulus::StartRelay),
    ],
    &[
        ("discovery_check", Stimulus::StartDiscovery),
        ("discovery_peer_exchange", Stimulus::Wait),
        ("discovery_reconcile", Stimulus::Wait),
        ("discovery_record", Stimulus::Wait),
        ("discovery_rendezvous", Stimulus::Wait),
        ("discovery_service_discovery", Stimulus::Wait),
        ("discovery_tick", Stimulus::Wait),
        ("exit_fragments", Stimulus::Wait),
        ("exit_request", Stimulus::Serve),
        ("relay_publish", Stimulus::Serve),
        ("relay_subscribe", Stimulus::Subscribe),
    ],
    &[
        ("discovery_show", Stimulus::StartDiscovery),
        ("host", Stimulus::Wait),
        ("host_connection", Stimulus::Wait),
        ("key_rotation", Stimulus::Wait),
        ("local_record", Stimulus::Wait),
        ("mixer_batch", Stimulus::Serve),
        ("mixer_cover", Stimulus::Wait),
        ("mixer_local", Stimulus::Wait),
        ("mixer_releaser", Stimulus::Wait),
        ("mixer_tags", Stimulus::Wait),
        ("readiness", Stimulus::Wait),
    ],
    &[
        ("sender_caller", Stimulus::Push),
        ("sender_direct", Stimulus::Direct),
        ("sender_directory", Stimulus::Wait),
        ("sender_dispatch", Stimulus::Push),
        ("sender_relay", Stimulus::Wait),
        ("sender_timer", Stimulus::Wait),
        ("worker", Stimulus::Push),
    ],
];

/// Tasks of one piece of work that only trouble starts: a refused request, a verdict that finds the host's queue full.
const OF_TROUBLE: [&str; 2] = ["exit_refusal", "relay_verdict"];

fn plan(cache: &TempDir) -> NodePlan {
    let on = ["discv5-discovery", "descriptors", "rendezvous", "peer-exchange", "enable-kad-discovery", "rest"];
    let plan = NodePlan::new(DRILLED, &["relay", "mixer", "exit", "sender"]);
    let plan = on.iter().fold(plan, |plan, key| plan.with(key, "true"));
    plan.with("mixer.cover", "1s")
        .with("sender.timeout", "10s")
        .with("local-storage-path", cache.path().join("directory").to_str().unwrap())
}

/// Makes a task run.
async fn stimulate(net: &Net, stimulus: Stimulus) {
    let node = net.node(DRILLED);
    match stimulus {
        Stimulus::Wait => {}
        // What becomes of the push is not the point: its task may be the one that panics.
        Stimulus::Push => drop(push(node, "by the drilled node").await),
        Stimulus::Direct => drop(push_as(node, Anonymity::None, "directly").await),
        Stimulus::Serve => {
            let (sender, exit) = (net.node("sender-1").sender().unwrap(), node.peer_id());
            let message = wakumix_integration_tests::net::message("served by the drilled node");
            drop(sender.push(message, Some(TOPIC.to_owned()), Some(exit), None).await);
        }
        Stimulus::Subscribe => {
            let rest = node.rest_address().unwrap();
            let answer = http::post(rest, "/relay/v1/subscriptions", r#"["/waku/2/rs/66/1"]"#).await;
            assert_ne!(answer.status, 200, "{}", answer.body);
        }
        Stimulus::StartRelay => node.actor(relay::NAME).unwrap().inject_panic().await,
        Stimulus::StartDiscovery => node.discovery().actor().inject_panic().await,
    }
}

fn panics(node: &Node, task: &str) -> f64 {
    let series = format!("waku_mix_task_panics_total{{task=\"{task}\"}}");
    metric(&node.telemetry().render(), &series).unwrap_or(0.0)
}

#[test]
fn a_panic_inside_any_task_is_counted_and_the_node_serves_on() {
    run(async {
        let cache = TempDir::new().unwrap();
        let mut net = Net::start(plans(4, 1, 1, 1)).await;
        let mut ran = BTreeSet::new();
        for life in LIVES {
            net.add(vec![plan(&cache)]).await;
            net.tell_all(&net.pool(), &net.services()).await;
            net.tell_all(&net.pool_of(&[DRILLED]), &[]).await;
            net.link_relays().await;
            net.ready().await;
            for (task, stimulus) in *life {
                let node = net.node(DRILLED);
                node.tasks().inject_panic(task);
                stimulate(&net, *stimulus).await;
                until(&format!("the panic of {task} is counted"), async || panics(node, task) >= 1.0).await;
                until(&format!("the node is ready after {task}"), async || node.missing().is_empty()).await;
                until(&format!("a push is answered after {task}"), async || {
                    push(node, format!("after {task}")).await.is_ok_and(|answer| answer.kind() == "confirmed")
                })
                .await;
            }
            ran.extend(net.node(DRILLED).tasks().states().into_iter().map(|state| state.name));
            net.stop(DRILLED, Duration::from_secs(10)).await;
        }
        let drilled: BTreeSet<_> = LIVES.concat().iter().map(|(task, _)| *task).chain(OF_TROUBLE).collect();
        assert_eq!(ran.difference(&drilled).collect::<Vec<_>>(), Vec::<&&str>::new(), "tasks without a drill");
        net.end().await;
    });
}
