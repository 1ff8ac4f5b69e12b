//! Builds the nodes, tells them of each other, watches and ends them.

use std::{fmt::Write as _, time::Duration};

use libp2p_identity::PeerId;
use tokio::{sync::broadcast::error::RecvError, task::JoinSet, time::Instant};
use wakumix_discovery::entry::PeerAddress;
use wakumix_mix::MixNode;
use wakumix_role_api::{directory::ServiceNode, sender::SenderHandle};

use super::{
    TestnetError,
    choices::Discovery,
    counters::Counters,
    kind::Kind,
    plan::{CONTENT_TOPIC, Plan},
    pools::Pools,
    settings::start_node,
    traffic::Tally,
};
use crate::node::{Accounts, Node};

/// Relays that each relay dials where they are told of each other; with those that dial it, more than the mesh wants
/// (`spec/waku.md §2.2`).
const RELAY_LINKS: usize = 4;
/// Readiness has no single event; it is looked at again at this interval.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The running nodes.
pub(super) struct Net {
    members: Vec<Member>,
    topic: String,
    started: Instant,
}

struct Member {
    kind: Kind,
    name: String,
    peer: PeerId,
    accounts: Accounts,
    /// `None` once it is killed.
    node: Option<Node>,
}

impl Net {
    /// Starts every node. With discv5 the first one, a relay, is the one that all others are told of; else each is told of
    /// all. With `surfaces`, each serves REST and metrics on free ports.
    pub(super) async fn start(plan: &Plan, surfaces: bool) -> Result<Self, TestnetError> {
        let mut net = Self { members: Vec::new(), topic: plan.topic.as_str().to_owned(), started: Instant::now() };
        let mut bootstrap = None;
        for planned in &plan.nodes {
            let node = start_node(plan, planned, surfaces, bootstrap.as_deref())
                .await
                .map_err(|source| TestnetError::Start { name: planned.name.clone(), source })?;
            // Its UDP port is bound, and so in its record.
            if bootstrap.is_none() {
                bootstrap = node.discovery().node_record().borrow().as_ref().map(ToString::to_string);
            }
            net.members.push(Member {
                kind: planned.kind,
                name: planned.name.clone(),
                peer: node.peer_id(),
                accounts: node.accounts(),
                node: Some(node),
            });
        }
        if plan.options.discovery == Discovery::Static {
            net.introduce().await;
        }
        Ok(net)
    }

    /// Gives every node the whole pool, the senders the exits as services, the relays each other's addresses.
    async fn introduce(&self) {
        let pool: Vec<MixNode> = self.of(&[Kind::Mixer, Kind::Exit]).filter_map(|(_, node)| node.mix_node()).collect();
        let exits: Vec<ServiceNode> = self
            .of(&[Kind::Exit])
            .map(|(_, node)| ServiceNode::new(node.peer_id(), node.listen_addresses().to_vec()))
            .collect();
        // All at once: each call waits for a snapshot.
        let introductions = self.of(&Kind::ALL).map(|(_, node)| {
            let discovery = node.discovery();
            futures::future::join(discovery.add_mix_nodes(pool.clone()), discovery.add_lightpush(exits.clone()))
        });
        futures::future::join_all(introductions).await;
        let relays: Vec<&Node> = self.of(&[Kind::Relay, Kind::Exit]).map(|(_, node)| node).collect();
        let linked = relays.iter().enumerate().map(|(index, node)| {
            let links = relays.iter().cycle().skip(index + 1).take(RELAY_LINKS.min(relays.len() - 1));
            node.discovery().add_static_peers(links.filter_map(|other| entry(other)).collect())
        });
        futures::future::join_all(linked).await;
    }

    /// The pools of the senders.
    pub(super) fn pools(&self) -> Pools {
        let senders = self.of(&[Kind::Sender]).map(|(member, node)| (member.name.clone(), node.directory().clone()));
        let peers = |kind| self.members.iter().filter(move |member| member.kind == kind).map(|member| member.peer);
        Pools::new(senders.collect(), peers(Kind::Mixer).collect(), peers(Kind::Exit).collect())
    }

    /// Kills nodes by their names, all at once; their peer ids.
    pub(super) async fn kill(&mut self, names: &[String]) -> Vec<PeerId> {
        let victims = self.members.iter_mut().filter(|member| names.contains(&member.name));
        let (peers, nodes): (Vec<_>, Vec<_>) = victims.map(|member| (member.peer, member.node.take())).unzip();
        futures::future::join_all(nodes.into_iter().flatten().map(Node::kill)).await;
        peers
    }

    /// Waits until every role is ready, every relay has its mesh and every sender knows most of the hops.
    pub(super) async fn wait_until_ready(&self, pools: &Pools, limit: Duration) -> Result<(), TestnetError> {
        let deadline = Instant::now() + limit;
        loop {
            let mut waiting = self.waiting().await;
            waiting.extend(pools.missing());
            if waiting.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(TestnetError::NotReady { limit, waiting: waiting.join("; ") });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn waiting(&self) -> Vec<String> {
        let relays = self.of(&Kind::ALL).filter(|(_, node)| node.relay().is_some()).count();
        let mut waiting = Vec::new();
        for (Member { name, .. }, node) in self.of(&Kind::ALL) {
            waiting.extend(node.missing().into_iter().map(|reason| format!("{name}: {reason}")));
            if node.relay().is_some() {
                let status = node.host().status().await.unwrap_or_default();
                if !status.has_mesh(&self.topic, relays) {
                    waiting.push(format!("{name}: too few mesh peers on {}", self.topic));
                }
            }
        }
        waiting
    }

    /// When the first node was started.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The senders, in order.
    pub(super) fn senders(&self) -> Vec<SenderHandle> {
        self.of(&[Kind::Sender]).filter_map(|(_, node)| node.sender()).collect()
    }

    /// Counts what every relay receives, until the returned tasks are aborted.
    #[expect(clippy::disallowed_methods, reason = "what watches a test net is no part of a node")]
    pub(super) async fn follow(&self, tally: &Tally) -> Followers {
        let mut tasks = JoinSet::new();
        for (subscriber, (_, node)) in self.of(&[Kind::Relay]).enumerate() {
            let Some(relay) = node.relay() else { continue };
            let Ok(mut messages) = relay.follow().await else { continue };
            let tally = tally.clone();
            tasks.spawn(async move {
                loop {
                    match messages.recv().await {
                        Ok(message) => tally.received(subscriber, &message),
                        // What was missed shows in the report as not received.
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    }
                }
            });
        }
        Followers(tasks)
    }

    /// A reader of all counters, also of nodes that are killed.
    pub(super) fn counters(&self) -> Counters {
        Counters::new(self.members.iter().map(|member| (member.kind, member.accounts.clone())))
    }

    /// Forgets the messages that the relays keep for REST, so that a reader sees only what comes from now on.
    pub(super) async fn forget_messages(&self) {
        for relay in self.of(&Kind::ALL).filter_map(|(_, node)| node.relay()) {
            // A relay that does not answer keeps its messages, which does no harm.
            let _ = relay.messages(self.topic.clone()).await;
        }
    }

    /// Every REST and metrics address, and a line to try.
    pub(super) fn describe_surfaces(&self) -> String {
        let mut text = String::from("\nnode         REST                            metrics\n");
        for (Member { name, .. }, node) in self.of(&Kind::ALL) {
            let url = |address: Option<std::net::SocketAddr>, path: &str| {
                address.map_or_else(|| "-".to_owned(), |address| format!("http://{address}{path}"))
            };
            // Formatting into a String cannot fail, here and below.
            let _ = writeln!(
                text,
                "{name:<12} {:<31} {}",
                url(node.rest_address(), ""),
                url(node.metrics_address(), "/metrics")
            );
        }
        let sender = self.of(&[Kind::Sender]).find_map(|(_, node)| node.rest_address());
        if let Some(address) = sender {
            let program = std::env::args().next().unwrap_or_else(|| "wakumix".to_owned());
            let _ = writeln!(
                text,
                "\nsend a message of your own from another terminal:\n  \
                 {program} send \"hello mix\" --content-topic {CONTENT_TOPIC} --via http://{address}"
            );
        }
        let relay = self.of(&[Kind::Relay, Kind::Exit]).find_map(|(_, node)| node.rest_address());
        if let Some(address) = relay {
            let topic = self.topic.replace('/', "%2F");
            let _ = writeln!(text, "and see it arrive:\n  curl -s http://{address}/relay/v1/messages/{topic}");
        }
        text.push_str("\nthe net stays up until Ctrl-C\n");
        text
    }

    /// Stops all nodes at once.
    pub(super) async fn stop(self, limit: Duration) {
        let nodes = self.members.into_iter().filter_map(|member| member.node);
        futures::future::join_all(nodes.map(|node| node.stop(limit))).await;
    }

    /// The nodes of these kinds that run.
    fn of<'a>(&'a self, kinds: &'a [Kind]) -> impl Iterator<Item = (&'a Member, &'a Node)> {
        let of_kind = self.members.iter().filter(|member| kinds.contains(&member.kind));
        of_kind.filter_map(|member| Some((member, member.node.as_ref()?)))
    }
}

/// The tasks that count what relays receive.
pub(super) struct Followers(JoinSet<()>);

impl Followers {
    /// Ends them.
    pub(super) fn abort(mut self) {
        self.0.abort_all();
    }
}

/// A node as the list of peers of another one has it.
fn entry(node: &Node) -> Option<PeerAddress> {
    Some(PeerAddress { peer: node.peer_id(), address: node.listen_addresses().first()?.clone() })
}
