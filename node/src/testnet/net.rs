//! Builds the nodes, wires their directory, reads their counters.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use libp2p_identity::Keypair;
use tokio::{sync::broadcast::error::RecvError, task::JoinSet, time::Instant};
use wakumix_discovery::entry::PeerAddress;
use wakumix_mix::MixNode;
use wakumix_role_api::{directory::ServiceNode, sender::SenderHandle};

use super::{
    TestnetError,
    options::{CLUSTER, CONTENT_TOPIC, Kind, NodePlan, Plan, SHARD, SHARDS},
    report::RolePackets,
    traffic::Tally,
};
use crate::{
    config::{Flag, Inputs, load},
    node::{Accounts, Node, StartError},
};

/// Relays that each relay dials; with those that dial it, more than the mesh wants (`spec/waku.md §2.2`).
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
    node: Node,
}

/// Reads the packet accounting of all nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct Counters(Vec<(Kind, Accounts)>);

/// The sum over the nodes of one kind.
pub(super) struct Row {
    pub(super) role: &'static str,
    pub(super) nodes: usize,
    pub(super) received: u64,
    pub(super) originated: u64,
    pub(super) forwarded: u64,
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) replied: u64,
    pub(super) dropped: u64,
    pub(super) held: u64,
}

impl Net {
    /// Starts every node and tells each of the others. With `surfaces`, each serves REST and metrics on free ports.
    pub(super) async fn start(plan: &Plan, surfaces: bool) -> Result<Self, TestnetError> {
        let mut net = Self { members: Vec::new(), topic: plan.topic.as_str().to_owned(), started: Instant::now() };
        for planned in &plan.nodes {
            let node = start_node(plan, planned, surfaces)
                .await
                .map_err(|source| TestnetError::Start { name: planned.name.clone(), source })?;
            net.members.push(Member { kind: planned.kind, name: planned.name.clone(), node });
        }
        net.introduce().await;
        Ok(net)
    }

    /// Gives every node the whole pool, the senders the exits as services, the relays each other's addresses.
    async fn introduce(&self) {
        let pool: Vec<MixNode> =
            self.of(&[Kind::Mixer, Kind::Exit]).filter_map(|member| member.node.mix_node()).collect();
        let exits: Vec<ServiceNode> = self
            .of(&[Kind::Exit])
            .map(|member| ServiceNode::new(member.node.peer_id(), member.node.listen_addresses().to_vec()))
            .collect();
        for member in &self.members {
            member.node.discovery().add_mix_nodes(pool.clone()).await;
            member.node.discovery().add_lightpush(exits.clone()).await;
        }
        let relays: Vec<&Member> = self.of(&[Kind::Relay, Kind::Exit]).collect();
        for (index, member) in relays.iter().enumerate() {
            let links = relays.iter().cycle().skip(index + 1).take(RELAY_LINKS.min(relays.len() - 1));
            let peers = links.filter_map(|other| entry(&other.node)).collect();
            member.node.discovery().add_static_peers(peers).await;
        }
    }

    /// Waits until every role is ready and every relay has a mesh.
    pub(super) async fn wait_until_ready(&self, limit: Duration) -> Result<(), TestnetError> {
        let deadline = Instant::now() + limit;
        loop {
            let waiting = self.waiting().await;
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
        let mut waiting = Vec::new();
        for member in &self.members {
            waiting.extend(member.node.missing().into_iter().map(|reason| format!("{}: {reason}", member.name)));
            if member.node.relay().is_some() {
                let mesh = member.node.host().status().await.map(|status| {
                    status.mesh_peers.iter().filter(|(topic, _)| *topic == self.topic).map(|(_, peers)| *peers).sum()
                });
                if mesh.unwrap_or(0) == 0 {
                    waiting.push(format!("{}: no mesh peer on {}", member.name, self.topic));
                }
            }
        }
        waiting
    }

    /// Since the first node was started.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The senders, in order.
    pub(super) fn senders(&self) -> Vec<SenderHandle> {
        self.members.iter().filter_map(|member| member.node.sender().cloned()).collect()
    }

    /// Counts what every relay receives, until the returned tasks are aborted.
    pub(super) async fn follow(&self, tally: &Tally) -> Followers {
        let mut tasks = JoinSet::new();
        for (subscriber, member) in self.of(&[Kind::Relay]).enumerate() {
            let Some(relay) = member.node.relay() else { continue };
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

    /// A reader of all counters.
    pub(super) fn counters(&self) -> Counters {
        Counters(self.members.iter().map(|member| (member.kind, member.node.accounts())).collect())
    }

    /// Packets that some node holds now.
    pub(super) fn held(&self) -> u64 {
        self.members.iter().map(|member| member.node.held()).sum()
    }

    /// Forgets the messages that the relays keep for REST, so that a reader sees only what comes from now on.
    pub(super) async fn forget_messages(&self) {
        for relay in self.members.iter().filter_map(|member| member.node.relay()) {
            // A relay that does not answer keeps its messages, which does no harm.
            let _ = relay.messages(self.topic.clone()).await;
        }
    }

    /// Every REST and metrics address, and a line to try.
    pub(super) fn describe_surfaces(&self) -> String {
        let mut text = String::from("\nnode         REST                            metrics\n");
        for Member { name, node, .. } in &self.members {
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
        let sender = self.of(&[Kind::Sender]).find_map(|member| member.node.rest_address());
        if let Some(address) = sender {
            let program = std::env::args().next().unwrap_or_else(|| "wakumix".to_owned());
            let _ = writeln!(
                text,
                "\nsend a message of your own from another terminal:\n  \
                 {program} send \"hello mix\" --content-topic {CONTENT_TOPIC} --via http://{address}"
            );
        }
        let relay = self.of(&[Kind::Relay, Kind::Exit]).find_map(|member| member.node.rest_address());
        if let Some(address) = relay {
            let topic = self.topic.replace('/', "%2F");
            let _ = writeln!(text, "and see it arrive:\n  curl -s http://{address}/relay/v1/messages/{topic}");
        }
        text.push_str("\nthe net stays up until Ctrl-C\n");
        text
    }

    /// Stops all nodes at once.
    pub(super) async fn stop(self, limit: Duration) {
        futures::future::join_all(self.members.into_iter().map(|member| member.node.stop(limit))).await;
    }

    fn of<'a>(&'a self, kinds: &'a [Kind]) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(|member| kinds.contains(&member.kind))
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

impl Counters {
    /// One row for each kind of node.
    pub(super) fn rows(&self) -> Vec<Row> {
        Kind::ALL.into_iter().map(|kind| self.row(kind)).collect()
    }

    fn row(&self, kind: Kind) -> Row {
        let mut row = Row {
            role: kind.as_str(),
            nodes: 0,
            received: 0,
            originated: 0,
            forwarded: 0,
            sent: 0,
            delivered: 0,
            replied: 0,
            dropped: 0,
            held: 0,
        };
        for (_, accounts) in self.0.iter().filter(|(of, _)| *of == kind) {
            let (held, balance) = accounts.read();
            row.nodes += 1;
            row.received += balance.received;
            row.originated += balance.originated;
            row.forwarded += balance.forwarded;
            row.sent += balance.sent;
            row.delivered += balance.delivered;
            row.replied += balance.replied;
            row.dropped += balance.dropped_total();
            row.held += held;
        }
        row
    }

    /// Packets unaccounted for, whatever their sign. The net is at rest, so nothing is subtracted for packets that are
    /// held: one that is held for ever is a packet lost.
    pub(super) fn residue(&self) -> u64 {
        self.0.iter().map(|(_, accounts)| accounts.read().1.residue(0).unsigned_abs()).sum()
    }

    /// Drops by `stage/reason`.
    pub(super) fn dropped(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (stage, reason, count) in self.0.iter().flat_map(|(_, accounts)| accounts.read().1.dropped) {
            if count > 0 {
                *all.entry(format!("{}/{}", stage.as_str(), reason.as_str())).or_default() += count;
            }
        }
        all
    }
}

impl From<Row> for RolePackets {
    fn from(row: Row) -> Self {
        let Row { received, originated, forwarded, sent, delivered, replied, dropped, held, .. } = row;
        Self { received, originated, forwarded, sent, delivered, replied, dropped, held }
    }
}

async fn start_node(plan: &Plan, planned: &NodePlan, surfaces: bool) -> Result<Node, StartError> {
    let inputs = Inputs { file: None, environment: Vec::new(), flags: flags(plan, planned, surfaces) };
    Node::start(&load(&inputs)?).await
}

/// The configuration of one node, as flags of `wakumix node`.
fn flags(plan: &Plan, planned: &NodePlan, surfaces: bool) -> Vec<Flag> {
    let delay = plan.options.delay.to_string();
    let surfaces = surfaces.to_string();
    let shards = SHARDS.map_or(0, std::num::NonZeroU16::get).to_string();
    let values = [
        ("cluster-id", CLUSTER.to_string()),
        ("shard", SHARD.to_string()),
        ("num-shards-in-network", shards),
        ("nodekey", secret_hex(&planned.identity)),
        ("mixkey", hex::encode(planned.mix_key.as_bytes())),
        ("listen-address", "127.0.0.1".to_owned()),
        ("tcp-port", "0".to_owned()),
        ("ip-colocation-limit", "0".to_owned()),
        ("rest", surfaces.clone()),
        ("rest-port", "0".to_owned()),
        ("metrics-server", surfaces),
        ("metrics-server-port", "0".to_owned()),
        ("mix.profile", plan.options.profile.to_string()),
        ("mix.delay", delay.clone()),
        ("sender.hold", delay.clone()),
        ("exit.hold", delay),
        ("exit.allow-private-addresses", "true".to_owned()),
    ];
    let flag = |(name, value): (&str, String)| Flag { name: name.to_owned(), values: vec![value] };
    let roles: &[&str] = match planned.kind {
        Kind::Relay => &["relay"],
        Kind::Mixer => &["mixer"],
        Kind::Exit => &["relay", "mixer", "exit"],
        Kind::Sender => &["sender"],
    };
    let roles = Flag { name: "roles".to_owned(), values: roles.iter().map(|role| (*role).to_owned()).collect() };
    values.into_iter().map(flag).chain([roles]).collect()
}

/// The secret of an identity that this module made; empty for any other type of key, which then does not load.
fn secret_hex(identity: &Keypair) -> String {
    let secp256k1 = identity.clone().try_into_secp256k1();
    secp256k1.map(|keypair| hex::encode(keypair.secret().to_bytes())).unwrap_or_default()
}

/// A node as the list of peers of another one has it.
fn entry(node: &Node) -> Option<PeerAddress> {
    Some(PeerAddress { peer: node.peer_id(), address: node.listen_addresses().first()?.clone() })
}
