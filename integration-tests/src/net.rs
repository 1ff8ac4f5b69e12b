//! Nodes in this process: planned, started on free ports of loopback, told of each other, and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p::{PeerId, identity::secp256k1};
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::broadcast;
use wakumix::{
    config::{Flag, Inputs, load},
    node::{Accounts, Node, StartError},
};
use wakumix_discovery::entry::PeerAddress;
use wakumix_mix::{Balance, HopAddress, MixNode};
use wakumix_role_api::{
    directory::ServiceNode,
    relay::Received,
    sender::{Anonymity, Answer, PushFailure},
};
use wakumix_sphinx::{PrivateKey, Weaknesses};
use wakumix_waku::WakuMessage;

use crate::{CLUSTER, CONTENT_TOPIC, TOPIC, eventually, hop::FleetNode, http, ports, until, within};

/// How long a node may take to stop; longer than any test lets it hold a packet.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What a node is to be: flags of `wakumix node` on top of those that suit a test.
#[derive(Clone)]
pub struct Plan {
    name: String,
    flags: BTreeMap<String, String>,
    serves_lightpush: bool,
    quic: bool,
    weaknesses: Weaknesses,
}

impl Plan {
    /// A node of these roles, with new keys.
    pub fn new(name: impl Into<String>, roles: &[&str]) -> Self {
        let flags = [
            ("roles", roles.join(",")),
            ("nodekey", hex::encode(secp256k1::Keypair::generate().secret().to_bytes())),
            ("mixkey", hex::encode(PrivateKey::generate(&mut rand::rng()).as_bytes())),
            ("cluster-id", CLUSTER.to_string()),
            ("shard", "0".to_owned()),
            ("num-shards-in-network", "1".to_owned()),
            ("listen-address", "127.0.0.1".to_owned()),
            ("tcp-port", "0".to_owned()),
            ("rest", "false".to_owned()),
            ("rest-port", "0".to_owned()),
            ("metrics-server-port", "0".to_owned()),
            ("ip-colocation-limit", "0".to_owned()),
            ("mix.delay", "2ms".to_owned()),
            ("sender.hold", "none".to_owned()),
            ("exit.hold", "none".to_owned()),
            ("exit.allow-private-addresses", "true".to_owned()),
            ("mix-allow-all-addresses", "true".to_owned()),
            // Tests count packets, and start many nodes on one machine.
            ("mixer.cover", "none".to_owned()),
            ("mixer.capacity", "100000".to_owned()),
            // It knows whom it is told of, until a test turns a kind of discovery on.
            ("discv5-discovery", "false".to_owned()),
            ("discv5-udp-port", "0".to_owned()),
            ("descriptors", "false".to_owned()),
            ("rendezvous", "false".to_owned()),
            ("peer-exchange", "false".to_owned()),
        ];
        let flags = flags.map(|(name, value)| (name.to_owned(), value)).into();
        let serves_lightpush = roles.contains(&"relay") && roles.contains(&"exit");
        Self { name: name.into(), flags, serves_lightpush, quic: false, weaknesses: Weaknesses::NONE }
    }

    /// What a test calls the node.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sets a key of the configuration.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.flags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves a key of the configuration as it is by itself.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.flags.remove(key);
        self
    }

    /// Takes countermeasures away.
    #[must_use]
    pub fn weakened(self, weaknesses: Weaknesses) -> Self {
        Self { weaknesses, ..self }
    }

    /// Turns discv5 on, to begin from the record of this node, or to be the first.
    #[must_use]
    pub fn with_discv5(self, bootstrap: Option<&str>) -> Self {
        let plan = self.with("discv5-discovery", "true");
        bootstrap.map_or(plan.clone(), |record| plan.with("discv5-bootstrap-node", record))
    }

    /// Makes others reach the node over QUIC.
    #[must_use]
    pub fn over_quic(mut self) -> Self {
        let port = ports::free();
        self.quic = true;
        self.with("quic-support", "true")
            .with("quic-port", &port.to_string())
            .with("ext-multiaddr", &format!("/ip4/127.0.0.1/udp/{port}/quic-v1"))
    }

    /// The flags as a command line for the program.
    pub fn arguments(&self) -> Vec<String> {
        self.flags.iter().map(|(name, value)| format!("--{name}={value}")).collect()
    }

    /// Starts the node. Must be called inside [`crate::run`].
    ///
    /// # Errors
    /// Whatever the node says.
    pub async fn start(&self) -> Result<Node, StartError> {
        let flag = |(name, value): (&String, &String)| Flag { name: name.clone(), values: vec![value.clone()] };
        let inputs = Inputs { flags: self.flags.iter().map(flag).collect(), ..Inputs::default() };
        let mut loaded = load(&inputs).unwrap_or_else(|problems| panic!("{}: {problems}", self.name));
        loaded.weaknesses = self.weaknesses;
        Node::start(&loaded).await
    }
}

/// Mixers, exits that also relay, plain relays, senders; in this order, numbered from 1.
pub fn plans(mixers: usize, exits: usize, relays: usize, senders: usize) -> Vec<Plan> {
    let kinds: [(&str, usize, &[&str]); 4] = [
        ("mixer", mixers, &["mixer"]),
        ("exit", exits, &["relay", "mixer", "exit"]),
        ("relay", relays, &["relay"]),
        ("sender", senders, &["sender"]),
    ];
    let of_kind = |(kind, count, roles): (&'static str, usize, &'static [&'static str])| {
        (1..=count).map(move |number| Plan::new(format!("{kind}-{number}"), roles))
    };
    kinds.into_iter().flat_map(of_kind).collect()
}

/// Two relays that subscribe, two exits, three mixers and a sender: the least in which every path has a choice.
pub fn usual() -> Vec<Plan> {
    plans(3, 2, 2, 1)
}

/// Sets a key in every plan.
#[must_use]
pub fn all_with(plans: Vec<Plan>, key: &str, value: &str) -> Vec<Plan> {
    plans.into_iter().map(|plan| plan.with(key, value)).collect()
}

/// Drops by node and `stage/reason`.
pub type Drops = BTreeMap<(String, String), u64>;

/// Drops as a test expects them.
pub fn drops(expected: &[(&str, &str, u64)]) -> Drops {
    expected.iter().map(|(node, reason, count)| (((*node).to_owned(), (*reason).to_owned()), *count)).collect()
}

/// Running nodes.
pub struct Net {
    members: Vec<Member>,
}

struct Member {
    plan: Plan,
    /// `None` once the node is stopped.
    node: Option<Node>,
    accounts: Accounts,
}

impl Net {
    /// Starts nodes that know nobody.
    pub async fn strangers(plans: Vec<Plan>) -> Self {
        let mut members = Vec::new();
        for plan in plans {
            let node = plan.start().await.unwrap_or_else(|error| panic!("{}: {error}", plan.name));
            members.push(Member { plan, accounts: node.accounts(), node: Some(node) });
        }
        Self { members }
    }

    /// Starts nodes, tells each of all others, and waits until they are ready.
    pub async fn start(plans: Vec<Plan>) -> Self {
        let net = Self::strangers(plans).await;
        net.tell_all(&net.pool(), &net.services()).await;
        net.link_relays().await;
        net.ready().await;
        net
    }

    /// Starts nodes that know one record, that of the first of them.
    pub async fn from_one_record(plans: Vec<Plan>) -> Self {
        let mut plans = plans.into_iter();
        let first = plans.next().expect("a first node").with_discv5(None).with("rest", "true");
        let mut net = Self::strangers(vec![first.clone()]).await;
        let record = record_of(net.node(first.name())).await;
        net.add(plans.map(|plan| plan.with_discv5(Some(&record))).collect()).await;
        net
    }

    /// Starts nodes in addition.
    pub async fn add(&mut self, plans: Vec<Plan>) {
        let Self { members } = Self::strangers(plans).await;
        self.members.extend(members);
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> &Node {
        let mut lives = self.members.iter().filter(|member| member.plan.name == name);
        lives.find_map(|member| member.node.as_ref()).unwrap_or_else(|| panic!("{name} runs"))
    }

    /// The pool entries of all mixers and exits.
    pub fn pool(&self) -> Vec<MixNode> {
        self.running()
            .filter(|(plan, _)| !plan.flags["roles"].contains("sender"))
            .filter_map(|(_, node)| node.mix_node())
            .collect()
    }

    /// The pool entries of these nodes.
    pub fn pool_of(&self, names: &[&str]) -> Vec<MixNode> {
        names.iter().map(|name| self.node(name).mix_node().expect("a node that mixes")).collect()
    }

    /// The exits that serve lightpush themselves.
    pub fn services(&self) -> Vec<ServiceNode> {
        self.running().filter(|(plan, _)| plan.serves_lightpush).map(|(plan, node)| service(plan, node)).collect()
    }

    /// One node as a lightpush service.
    pub fn service_of(&self, name: &str) -> ServiceNode {
        let found = self.running().find(|(plan, _)| plan.name == name);
        found.map(|(plan, node)| service(plan, node)).unwrap_or_else(|| panic!("{name} runs"))
    }

    /// Adds to what every node knows.
    pub async fn tell_all(&self, pool: &[MixNode], services: &[ServiceNode]) {
        for (_, node) in self.running() {
            tell(node, pool, services).await;
        }
    }

    /// Connects every relay with every other one.
    pub async fn link_relays(&self) {
        let relays: Vec<_> = self.running().filter(|(_, node)| node.relay().is_some()).collect();
        for (index, (_, node)) in relays.iter().enumerate() {
            let others = relays.iter().skip(index + 1).map(|(plan, other)| entry(plan, other)).collect();
            assert!(node.discovery().add_static_peers(others).await);
        }
    }

    /// Waits until every role is ready and every relay has its mesh.
    pub async fn ready(&self) {
        eventually(async || {
            let mut missing = Vec::new();
            for (plan, node) in self.running() {
                missing.extend(node.missing().into_iter().map(|reason| format!("{}: {reason}", plan.name)));
            }
            if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
        })
        .await;
        self.meshed().await;
    }

    /// Waits until every relay has its mesh.
    pub async fn meshed(&self) {
        let relays: Vec<_> = self.running().filter(|(_, node)| node.relay().is_some()).collect();
        for (plan, node) in &relays {
            until(&format!("{} has its mesh", plan.name), async || has_mesh(node, relays.len()).await).await;
        }
    }

    /// Follows what a relay receives.
    pub async fn follow(&self, relay: &str) -> broadcast::Receiver<Received> {
        self.node(relay).relay().expect("a relay").follow().await.expect("the relay runs")
    }

    /// Stops a node in order, within a limit.
    pub async fn stop(&mut self, name: &str, limit: Duration) {
        self.take(name).stop(limit).await;
    }

    /// Kills a node: it says nothing to anybody.
    pub async fn kill(&mut self, name: &str) {
        self.take(name).kill().await;
    }

    fn take(&mut self, name: &str) -> Node {
        let mut lives = self.members.iter_mut().filter(|member| member.plan.name == name);
        lives.find_map(|member| member.node.take()).unwrap_or_else(|| panic!("{name} runs"))
    }

    /// Waits until a node's pool is these nodes and no others.
    pub async fn pool_becomes(&self, name: &str, pool: &[&str]) {
        let wanted: BTreeSet<_> = pool.iter().copied().collect();
        eventually(async || {
            let directory = self.node(name).directory().snapshot();
            let found: BTreeSet<_> = directory.mix_nodes.iter().map(|node| self.name_of(node.peer())).collect();
            if found == wanted { Ok(()) } else { Err(format!("{name} has {found:?}, others: {}", directory.pool)) }
        })
        .await;
    }

    /// What became of a node's packets; also of one that is stopped.
    pub fn balance(&self, name: &str) -> Balance {
        let member = self.members.iter().find(|member| member.plan.name == name).expect("a node of this name");
        member.accounts.read().1
    }

    /// Waits until no packet is held or on its way, and checks that none was lost: every node's residue is 0.
    /// Gives what was dropped. Every packet's way must be inside this net.
    pub async fn at_rest(&self) -> Drops {
        self.at_rest_with(&[]).await
    }

    /// Waits as [`Self::at_rest`], and checks that every request of this sender was answered well and that every packet was
    /// put to use. A busy machine may make a sender try again. So `answers` say how many packets it made, and the only ones
    /// that may have been dropped are answers beyond the first of a request, each of which is accounted for.
    pub async fn at_rest_after(&self, sender: &str, answers: &[Answer]) {
        self.at_rest_after_with(&[], sender, answers).await;
    }

    /// As [`Self::at_rest_after`], where these nodes of the fleet passed packets on.
    pub async fn at_rest_after_with(&self, fleet: &[&FleetNode], sender: &str, answers: &[Answer]) {
        let dropped = self.at_rest_with(fleet).await;
        let of_sender = self.balance(sender);
        let packets: u64 = answers.iter().map(|answer| u64::from(answer.packets)).sum();
        assert_eq!(of_sender.sent, packets, "packets of the requests");
        let others = || self.members.iter().filter(|member| member.plan.name != sender);
        let (delivered, replies) = others().fold((0, 0), |(delivered, replies), member| {
            let (_, balance) = member.accounts.read();
            (delivered + balance.delivered, replies + balance.sent)
        });
        assert_eq!(delivered, packets, "every packet came to an exit");
        let spare = replies - of_sender.replied;
        let expected = [(sender, "reply/unknown_reply", spare)];
        assert_eq!(dropped, drops(if spare > 0 { &expected } else { &[] }));
        if answers.iter().all(|answer| answer.tries == 1 && answer.packets == 1) {
            assert_eq!(replies, of_sender.replied, "an answer for each request");
        }
    }

    /// As [`Self::at_rest`], where these nodes of the fleet took part.
    pub async fn at_rest_with(&self, fleet: &[&FleetNode]) -> Drops {
        let ours = self
            .settled(
                fleet,
                |moving| if moving == 0 { Ok(()) } else { Err(format!("{moving} packets are on their way")) },
            )
            .await;
        self.drops_of(&ours)
    }

    /// As [`Self::at_rest`], where packets may have ended at peers that are gone. Gives their number too: what these nodes
    /// wrote to peers, less what they received.
    pub async fn at_rest_with_losses(&self) -> (Drops, i64) {
        let ours = self.settled(&[], |_| Ok(())).await;
        (self.drops_of(&ours), given_to_others(&ours))
    }

    /// Waits until nobody holds a packet and the number of those between the nodes is as wanted.
    ///
    /// Nodes count one after the other, so a packet could pass between two looks and be seen by neither. Counts only
    /// grow: where each node's are the same before and after all others were read, they all held at one moment.
    async fn settled(&self, fleet: &[&FleetNode], wanted: impl Fn(i64) -> Result<(), String>) -> Vec<(u64, Balance)> {
        let seen = || fleet.iter().map(|node| node.log()).map(|log| (log.received, log.sent, log.in_work));
        eventually(async || {
            let (ours, theirs) = (self.snapshot(), seen().collect::<Vec<_>>());
            if self.snapshot() != ours || !seen().eq(theirs.iter().copied()) {
                return Err("packets are moving".to_owned());
            }
            let held: u64 = ours.iter().map(|(held, _)| held).sum();
            let in_work: u64 = theirs.iter().map(|(.., in_work)| in_work).sum();
            if held > 0 || in_work > 0 {
                return Err(format!("{held} packets are held, {in_work} in work\n{ours:?}"));
            }
            let kept: i64 = theirs.iter().map(|(received, sent, _)| signed(*received) - signed(*sent)).sum();
            wanted(given_to_others(&ours) - kept).map(|()| ours)
        })
        .await
    }

    /// Stops every node.
    pub async fn end(self) {
        let nodes = self.members.into_iter().filter_map(|member| member.node);
        within(futures::future::join_all(nodes.map(|node| node.stop(STOP_LIMIT)))).await;
    }

    /// What was dropped, after a check that no node has lost a packet.
    fn drops_of(&self, settled: &[(u64, Balance)]) -> Drops {
        let mut all = Drops::new();
        for (Member { plan, .. }, (_, balance)) in self.members.iter().zip(settled) {
            assert_eq!(balance.residue(0), 0, "{}: {balance:?}", plan.name);
            for (stage, reason, count) in balance.dropped.iter().filter(|(.., count)| *count > 0) {
                all.insert((plan.name.clone(), format!("{}/{}", stage.as_str(), reason.as_str())), *count);
            }
        }
        all
    }

    fn snapshot(&self) -> Vec<(u64, Balance)> {
        self.members.iter().map(|member| member.accounts.read()).collect()
    }

    fn name_of(&self, peer: PeerId) -> &str {
        let found = self.running().find(|(_, node)| node.peer_id() == peer);
        found.map_or("somebody", |(plan, _)| plan.name.as_str())
    }

    fn running(&self) -> impl Iterator<Item = (&Plan, &Node)> {
        self.members.iter().filter_map(|member| Some((&member.plan, member.node.as_ref()?)))
    }
}

/// A pool entry as nodes print it for the lists of others: address, peer id, `:`, key.
pub fn parse_mix_node(text: &str) -> MixNode {
    let (address, key) = text.rsplit_once(':').expect("a key at the end");
    let address = HopAddress::parse_full(&address.parse().expect("a multiaddress")).expect("an address of a hop");
    MixNode::new(address, key.parse().expect("a mix key"))
}

/// Adds to what a node knows.
pub async fn tell(node: &Node, pool: &[MixNode], services: &[ServiceNode]) {
    assert!(node.discovery().add_mix_nodes(pool.to_vec()).await);
    assert!(node.discovery().add_lightpush(services.to_vec()).await);
}

/// A message of its own for every text.
pub fn message(text: impl Into<Vec<u8>>) -> WakuMessage {
    WakuMessage { payload: text.into(), content_topic: CONTENT_TOPIC.to_owned(), ..WakuMessage::default() }
}

/// Pushes a message as anonymously as asked for, to whichever service the sender chooses.
pub async fn push_as(sender: &Node, anonymity: Anonymity, text: impl Into<Vec<u8>>) -> Result<Answer, PushFailure> {
    let sender = sender.sender().expect("a sender");
    within(sender.push_as(anonymity, message(text), Some(TOPIC.to_owned()), None, None)).await
}

/// Pushes a message over the mixnet, to whichever exit the sender chooses.
pub async fn push(sender: &Node, text: impl Into<Vec<u8>>) -> Result<Answer, PushFailure> {
    push_as(sender, Anonymity::Required, text).await
}

/// Pushes that many messages, at most `open` at a time; the outcomes in no order.
pub async fn push_many(sender: &Node, count: usize, open: usize) -> Vec<Result<Answer, PushFailure>> {
    use futures::StreamExt as _;
    let pushes = (0..count).map(|number| push(sender, format!("message {number}")));
    futures::stream::iter(pushes).buffer_unordered(open).collect().await
}

/// The first bound address of a node that speaks this transport.
pub fn address_with(node: &Node, speaks: impl Fn(&Protocol<'_>) -> bool) -> Multiaddr {
    let found = node.listen_addresses().iter().find(|address| address.iter().any(|part| speaks(&part)));
    found.expect("an address of this transport").clone()
}

/// Where headers address a node.
pub fn hop_of(node: &Node) -> HopAddress {
    node.mix_node().expect("a node that mixes").address
}

/// The record that a node with REST shows of itself.
pub async fn record_of(node: &Node) -> String {
    let info = http::get(node.rest_address().expect("it serves REST"), "/debug/v1/info").await.json();
    info["enrUri"].as_str().expect("a record").to_owned()
}

fn service(plan: &Plan, node: &Node) -> ServiceNode {
    ServiceNode::new(node.peer_id(), vec![usual_address(plan, node)])
}

fn entry(plan: &Plan, node: &Node) -> PeerAddress {
    PeerAddress { peer: node.peer_id(), address: usual_address(plan, node) }
}

fn usual_address(plan: &Plan, node: &Node) -> Multiaddr {
    address_with(node, |part| if plan.quic { *part == Protocol::QuicV1 } else { matches!(part, Protocol::Tcp(_)) })
}

async fn has_mesh(node: &Node, relays: usize) -> bool {
    node.host().status().await.expect("the host runs").has_mesh(TOPIC, relays)
}

/// Packets that nodes wrote to peers, less those that they received.
fn given_to_others(nodes: &[(u64, Balance)]) -> i64 {
    nodes.iter().map(|(_, balance)| signed(balance.forwarded + balance.sent) - signed(balance.received)).sum()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("few packets")
}
