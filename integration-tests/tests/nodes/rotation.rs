//! Keys that follow each other while messages are sent: nobody notices, and what is old opens nothing.

use std::{collections::HashSet, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use libp2p::Stream;
use multiaddr::Protocol;
use tokio::time::{Instant, interval};
use wakumix_integration_tests::{
    CLUSTER,
    http::metric,
    net::{Net, NodePlan, address_with, drops, hop_of, plans, push},
    peer::{MIX, Muxer, RawPeer, write_frame},
    run, until, within,
};
use wakumix_mix::MixNode;
use wakumix_node::node::Node;
use wakumix_sphinx::{ADDRESS_LEN, PathHop, Profile, PublicKey, Sphinx};

/// The shortest life of a key, and the time after it in which it still opens packets: shorter, so that the last key but one is over.
const LIFETIME: &str = "10s";
const OVERLAP: &str = "8s";
/// How long a message may take. Nodes that hardly get to run learn of new keys late, and a message is tried again until then.
const TIMEOUT: &str = "60s";
/// How often each key is replaced while messages are sent.
const ROTATIONS: usize = 3;
/// Time between two messages.
const PACE: Duration = Duration::from_millis(200);

/// The nodes whose keys change.
const HOPS: [&str; 6] = ["mixer-1", "mixer-2", "mixer-3", "mixer-4", "exit-1", "exit-2"];

fn rotating(plan: NodePlan) -> NodePlan {
    let plan = plan.without("mixkey").with("keys.lifetime", LIFETIME).with("keys.overlap", OVERLAP);
    plan.with("descriptors", "true").with("sender.timeout", TIMEOUT).with("sender.max-timeout", TIMEOUT)
}

fn entry(node: &Node) -> MixNode {
    node.mix_node().expect("a node that mixes")
}

/// The keys that each hop has had, in order.
struct History<'a> {
    net: &'a Net,
    keys: Vec<Vec<PublicKey>>,
}

impl<'a> History<'a> {
    fn new(net: &'a Net) -> Self {
        Self { net, keys: vec![Vec::new(); HOPS.len()] }
    }

    /// Looks at all hops; the fewest changes that one of them has been through.
    fn look(&mut self) -> usize {
        for (name, keys) in HOPS.iter().zip(&mut self.keys) {
            let now = entry(self.net.node(name)).key;
            if keys.last() != Some(&now) {
                keys.push(now);
            }
        }
        self.keys.iter().map(|keys| keys.len() - 1).min().unwrap_or(0)
    }
}

/// Sends at a steady pace until every key has been replaced so often; every message must be answered. How many there were.
async fn sends_steadily(net: &Net, history: &mut History<'_>) -> usize {
    let (mut pace, mut open, mut sent) = (interval(PACE), FuturesUnordered::new(), 0);
    let hung = Instant::now() + wakumix_integration_tests::DEADLINE;
    while history.look() < ROTATIONS {
        assert!(Instant::now() < hung, "keys are not replaced");
        pace.tick().await;
        open.push(push(net.node("sender-1"), format!("message {sent}")));
        sent += 1;
        while let Some(Some(answer)) = futures::FutureExt::now_or_never(open.next()) {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
    while let Some(answer) = open.next().await {
        assert_eq!(answer.unwrap().status, 200);
    }
    sent
}

/// Sends a packet to a node that is made for one of its keys.
async fn send_for(stream: &mut Stream, node: &Node, key: PublicKey, next: &Node) {
    let hop = |node: &Node, key| PathHop { key, address: hop_of(node).encode(), delay_ms: 0 };
    let behind = hop(next, entry(next).key);
    let format = Sphinx::new(Profile::default());
    let mut packet = vec![0; format.profile().packet_len()];
    format.build(&mut rand::rng(), &[hop(node, key), behind, behind], &[0; ADDRESS_LEN], b"", &mut packet).unwrap();
    write_frame(stream, &packet).await.expect("the node reads");
}

/// How many packets a node has refused for their MAC.
fn refused(node: &Node) -> usize {
    let page = node.telemetry().render();
    let value = metric(&page, "waku_mix_packets_dropped_total{stage=\"unwrap\",reason=\"mac\"}").unwrap_or(0.0);
    format!("{value}").parse().expect("a count")
}

#[test]
fn messages_are_answered_over_three_changes_of_every_key_and_old_keys_open_nothing() {
    run(async {
        let net = Net::from_one_record(plans(4, 2, 0, 1).into_iter().map(rotating).collect()).await;
        net.pool_becomes("sender-1", &HOPS).await;
        net.ready().await;
        let mut history = History::new(&net);
        let sent = sends_steadily(&net, &mut history).await;
        let mut lost = net.at_rest().await;
        // On a busy machine a request may be tried again although its answer is on the way.
        lost.retain(|(_, reason), _| reason != "reply/unknown_reply");
        assert_eq!(lost, drops(&[]), "of {sent} messages");

        // The last but one was replaced a lifetime ago, so its overlap is over.
        let stranger = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let next = net.node("mixer-1");
        for (name, keys) in HOPS.iter().zip(&history.keys) {
            assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len(), "no key comes back");
            let node = net.node(name);
            stranger.connect(node.peer_id(), address_with(node, |part| matches!(part, Protocol::Tcp(_)))).await;
            let mut stream = stranger.open(node.peer_id(), MIX).await;
            let old = &keys[..keys.len() - 2];
            for key in old {
                send_for(&mut stream, node, *key, next).await;
            }
            until("old keys are refused", async || refused(node) == old.len()).await;
        }
        within(net.end()).await;
    });
}
