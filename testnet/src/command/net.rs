//! Builds the nodes, tells them of each other, watches and ends them.

use std::{fmt::Write as _, path::Path, time::Duration};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::{sync::broadcast::error::RecvError, task::JoinSet, time::Instant};
use wakumix_node::node::Node;
use wakumix_role_api::sender::SenderHandle;

use super::{
    TestnetError,
    choices::DiscoveryMethod,
    counters::Counters,
    plan::{CONTENT_TOPIC, Plan},
    pools::Pools,
    targets,
    traffic::Tally,
};
use crate::{NetMember, NodeKind, TOPIC, TestNet};

/// Readiness has no single event; it is looked at again at this interval.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The running nodes, by kind.
pub(super) struct KindNet {
    net: TestNet,
    /// Of each member.
    kinds: Vec<NodeKind>,
    started: Instant,
}

impl KindNet {
    /// Starts every node. With discv5 the first one, a relay, is the one that all others are told of; else each is told of
    /// all.
    pub(super) async fn start(plan: &Plan) -> Result<Self, TestnetError> {
        let (mut net, started) = (TestNet::default(), Instant::now());
        let mut bootstrap = None;
        for (_, planned) in &plan.nodes {
            let planned = planned.clone();
            let node = match plan.options.discovery {
                DiscoveryMethod::Discv5 => net.add(planned.discovering(bootstrap.as_deref())).await?,
                DiscoveryMethod::Static => net.add(planned).await?,
            };
            // Its UDP port is bound, and so in its record.
            if bootstrap.is_none() {
                bootstrap = node.discovery().node_record().borrow().as_ref().map(ToString::to_string);
            }
        }
        if plan.options.discovery == DiscoveryMethod::Static {
            net.tell_all(&net.pool(), &net.services()).await;
            net.link_relays().await;
        }
        Ok(Self { net, kinds: plan.nodes.iter().map(|(kind, _)| *kind).collect(), started })
    }

    /// The pools of the senders.
    pub(super) fn pools(&self) -> Pools {
        let senders = self.of(&[NodeKind::Sender]).map(|(name, node)| (name.to_owned(), node.directory().clone()));
        let peers = |kind| self.members().filter(move |(of, _)| *of == kind).map(|(_, member)| member.peer());
        Pools::new(senders.collect(), peers(NodeKind::Mixer).collect(), peers(NodeKind::Exit).collect())
    }

    /// Kills nodes by their names, all at once; their peer ids.
    pub(super) async fn kill(&mut self, names: &[String]) -> Vec<PeerId> {
        let (peers, nodes): (Vec<_>, Vec<_>) =
            names.iter().filter_map(|name| self.net.take(name)).map(|node| (node.peer_id(), node)).unzip();
        futures::future::join_all(nodes.into_iter().map(Node::kill)).await;
        peers
    }

    /// Waits until every role is ready, every relay has its mesh and every sender knows most of the hops.
    pub(super) async fn wait_until_ready(&self, pools: &Pools, limit: Duration) -> Result<(), TestnetError> {
        let deadline = Instant::now() + limit;
        loop {
            let mut waiting = self.net.missing();
            waiting.extend(self.net.without_mesh().await);
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

    /// When the first node was started.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// The senders, in order.
    pub(super) fn senders(&self) -> Vec<SenderHandle> {
        self.of(&[NodeKind::Sender]).filter_map(|(_, node)| node.sender()).collect()
    }

    /// Counts what every relay receives, until the returned tasks are aborted.
    #[expect(clippy::disallowed_methods, reason = "what watches a test net is no part of a node")]
    pub(super) async fn follow(&self, tally: &Tally) -> Followers {
        let mut tasks = JoinSet::new();
        for (subscriber, (_, node)) in self.of(&[NodeKind::Relay]).enumerate() {
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
        Counters::new(self.members().map(|(kind, member)| (kind, member.accounts().clone())))
    }

    /// Forgets the messages that the relays keep for REST, so that a reader sees only what comes from now on.
    pub(super) async fn forget_messages(&self) {
        for relay in self.of(&NodeKind::ALL).filter_map(|(_, node)| node.relay()) {
            // A relay that does not answer keeps its messages, which does no harm.
            let _ = relay.messages(TOPIC.to_owned()).await;
        }
    }

    /// Writes the metrics servers where the user wants them for Prometheus.
    pub(super) fn write_targets(&self, path: &Path) -> std::io::Result<()> {
        let server = |(kind, member): (NodeKind, &'_ NetMember)| {
            Some((member.plan().name().to_owned(), kind, member.node()?.metrics_address()?))
        };
        let servers: Vec<_> = self.members().filter_map(server).collect();
        targets::write(path, servers.iter().map(|(name, kind, address)| (name.as_str(), *kind, *address)))
    }

    /// Where web pages reach mix nodes: two of them are enough to find the others.
    pub(super) fn websocket_addresses(&self) -> Vec<String> {
        let is_websocket = |address: &&Multiaddr| address.iter().any(|part| matches!(part, Protocol::Ws(_)));
        let full = |(_, node): (&str, &Node)| {
            let address = node.listen_addresses().iter().find(is_websocket)?.clone();
            Some(address.with_p2p(node.peer_id()).unwrap_or_else(|address| address).to_string())
        };
        self.of(&[NodeKind::Mixer]).filter_map(full).take(2).collect()
    }

    /// Every REST and metrics address, a line to try, and the page if one is served.
    pub(super) fn describe_surfaces(&self, page: Option<&str>) -> String {
        let mut text = String::from("\nnode         REST                            metrics\n");
        for (name, node) in self.of(&NodeKind::ALL) {
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
        let sender = self.of(&[NodeKind::Sender]).find_map(|(_, node)| node.rest_address());
        if let Some(address) = sender {
            let program = std::env::args().next().unwrap_or_else(|| "wakumix".to_owned());
            let _ = writeln!(
                text,
                "\nsend a message of your own from another terminal:\n  \
                 {program} send \"hello mix\" --content-topic {CONTENT_TOPIC} \\\n    --via http://{address}"
            );
        }
        let relay = self.of(&[NodeKind::Relay, NodeKind::Exit]).find_map(|(_, node)| node.rest_address());
        if let Some(address) = relay {
            let topic = TOPIC.replace('/', "%2F");
            let _ = writeln!(text, "and see it arrive:\n  curl -s http://{address}/relay/v1/messages/{topic}");
        }
        if let Some(page) = page {
            let _ = writeln!(text, "\nsend from a web page:\n  {page}");
        }
        text.push_str("\nthe net stays up until Ctrl-C\n");
        text
    }

    /// Stops all nodes at once.
    pub(super) async fn stop(self, limit: Duration) {
        self.net.stop(limit).await;
    }

    fn members(&self) -> impl Iterator<Item = (NodeKind, &NetMember)> {
        self.kinds.iter().copied().zip(self.net.members())
    }

    /// The nodes of these kinds that run, with their names.
    fn of<'a>(&'a self, kinds: &'a [NodeKind]) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let of_kind = self.members().filter(|(kind, _)| kinds.contains(kind));
        of_kind.filter_map(|(_, member)| Some((member.plan().name(), member.node()?)))
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
