//! Nodes in this process: planned, started on free ports of loopback, told of each other, and counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    time::Duration,
};

use libp2p::PeerId;
use multiaddr::{Multiaddr, Protocol};
use tokio::sync::broadcast;
use wakumix_mix::{Balance, HopAddress, MixNode};
use wakumix_node::node::Node;
use wakumix_role_api::{
    directory::ServiceNode,
    relay::Received,
    sender::{Anonymity, Answer, PushFailure},
};
use wakumix_testnet::{NodeKind, given_to_others, service};
pub use wakumix_testnet::{NodePlan, tell};
use wakumix_waku::WakuMessage;

use crate::{CONTENT_TOPIC, TOPIC, eventually, hop::NwakuNode, http, ports, within};

/// How long a node may take to stop; longer than any test lets it hold a packet.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Makes others reach a node over QUIC.
pub fn over_quic(plan: NodePlan) -> NodePlan {
    let port = ports::free();
    plan.with("quic-support", "true")
        .with("quic-port", &port.to_string())
        .with("ext-multiaddr", &format!("/ip4/127.0.0.1/udp/{port}/quic-v1"))
}

/// Mixers, exits that also relay, plain relays, senders; in this order, numbered from 1.
pub fn plans(mixers: usize, exits: usize, relays: usize, senders: usize) -> Vec<NodePlan> {
    let kinds =
        [(NodeKind::Mixer, mixers), (NodeKind::Exit, exits), (NodeKind::Relay, relays), (NodeKind::Sender, senders)];
    kinds.into_iter().flat_map(|(kind, count)| (1..=count).map(move |number| kind.plan(number))).collect()
}

/// Two relays that subscribe, two exits, three mixers and a sender: the least in which every path has a choice.
pub fn usual() -> Vec<NodePlan> {
    plans(3, 2, 2, 1)
}

/// Sets a key in every plan.
#[must_use]
pub fn all_with(plans: Vec<NodePlan>, key: &str, value: &str) -> Vec<NodePlan> {
    plans.into_iter().map(|plan| plan.with(key, value)).collect()
}

/// Drops by node and `stage/reason`.
pub type Drops = BTreeMap<(String, String), u64>;

/// Drops as a test expects them.
pub fn drops(expected: &[(&str, &str, u64)]) -> Drops {
    expected.iter().map(|(node, reason, count)| (((*node).to_owned(), (*reason).to_owned()), *count)).collect()
}

/// The nodes of a test; what goes wrong with them fails it.
#[derive(Default)]
pub struct Net(wakumix_testnet::TestNet);

impl Deref for Net {
    type Target = wakumix_testnet::TestNet;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Net {
    /// Starts nodes that know nobody.
    pub async fn strangers(plans: Vec<NodePlan>) -> Self {
        let mut net = Self::default();
        net.add(plans).await;
        net
    }

    /// Starts nodes, tells each of all others, and waits until they are ready.
    pub async fn start(plans: Vec<NodePlan>) -> Self {
        let net = Self::strangers(plans).await;
        net.tell_all(&net.pool(), &net.services()).await;
        net.link_relays().await;
        net.ready().await;
        net
    }

    /// Starts nodes that know one record, that of the first of them.
    pub async fn from_one_record(plans: Vec<NodePlan>) -> Self {
        let mut plans = plans.into_iter();
        let first = plans.next().expect("a first node").with_discv5(None).with("rest", "true");
        let mut net = Self::strangers(vec![first.clone()]).await;
        let record = record_of(net.node(first.name())).await;
        net.add(plans.map(|plan| plan.with_discv5(Some(&record))).collect()).await;
        net
    }

    /// Starts nodes in addition.
    pub async fn add(&mut self, plans: Vec<NodePlan>) {
        for plan in plans {
            self.0.add(plan).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }

    /// A node by its name.
    pub fn node(&self, name: &str) -> &Node {
        self.find(name).unwrap_or_else(|| panic!("{name} runs"))
    }

    /// The pool entries of these nodes.
    pub fn pool_of(&self, names: &[&str]) -> Vec<MixNode> {
        names.iter().map(|name| self.node(name).mix_node().expect("a node that mixes")).collect()
    }

    /// One node as a lightpush service.
    pub fn service_of(&self, name: &str) -> ServiceNode {
        let found = self.running().find(|(plan, _)| plan.name() == name);
        found.map(|(plan, node)| service(plan, node)).unwrap_or_else(|| panic!("{name} runs"))
    }

    /// Waits until every role is ready and every relay has its mesh.
    pub async fn ready(&self) {
        eventually(async || none_of(&self.missing())).await;
        self.meshed().await;
    }

    /// Waits until every relay has its mesh.
    pub async fn meshed(&self) {
        eventually(async || none_of(&self.without_mesh().await)).await;
    }

    /// Follows what a relay receives.
    pub async fn follow(&self, relay: &str) -> broadcast::Receiver<Received> {
        self.node(relay).relay().expect("a relay").follow().await.expect("the relay runs")
    }

    /// Stops a node in order, within a limit.
    pub async fn stop(&mut self, name: &str, limit: Duration) {
        self.runs(name).stop(limit).await;
    }

    /// Kills a node: it says nothing to anybody.
    pub async fn kill(&mut self, name: &str) {
        self.runs(name).kill().await;
    }

    fn runs(&mut self, name: &str) -> Node {
        self.0.take(name).unwrap_or_else(|| panic!("{name} runs"))
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
        let member = self.members().iter().find(|member| member.plan().name() == name);
        member.expect("a node of this name").accounts().read().1
    }

    /// Waits until no packet is held or on its way, and checks that none was lost: no packet of any node is unaccounted for.
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

    /// As [`Self::at_rest_after`], where these nodes of nwaku passed packets on.
    pub async fn at_rest_after_with(&self, nwaku: &[&NwakuNode], sender: &str, answers: &[Answer]) {
        let dropped = self.at_rest_with(nwaku).await;
        let of_sender = self.balance(sender);
        let packets: u64 = answers.iter().map(|answer| u64::from(answer.exposure.packets)).sum();
        assert_eq!(of_sender.sent, packets, "packets of the requests");
        let others = || self.members().iter().filter(|member| member.plan().name() != sender);
        let (delivered, replies) = others().fold((0, 0), |(delivered, replies), member| {
            let (_, balance) = member.accounts().read();
            (delivered + balance.delivered, replies + balance.sent)
        });
        assert_eq!(delivered, packets, "every packet came to an exit");
        let spare = replies - of_sender.replied;
        let expected = [(sender, "reply/unknown_reply", spare)];
        assert_eq!(dropped, drops(if spare > 0 { &expected } else { &[] }));
        if answers.iter().all(|answer| answer.tries == 1 && answer.exposure.packets == 1) {
            assert_eq!(replies, of_sender.replied, "an answer for each request");
        }
    }

    /// As [`Self::at_rest`], where these nodes of nwaku took part.
    pub async fn at_rest_with(&self, nwaku: &[&NwakuNode]) -> Drops {
        let ours = self
            .finished(
                nwaku,
                |moving| if moving == 0 { Ok(()) } else { Err(format!("{moving} packets are on their way")) },
            )
            .await;
        self.drops_of(&ours)
    }

    /// As [`Self::at_rest`], where packets may have ended at peers that are gone. Gives their number too: what these nodes
    /// wrote to peers, less what they received.
    pub async fn at_rest_with_losses(&self) -> (Drops, i64) {
        let ours = self.finished(&[], |_| Ok(())).await;
        (self.drops_of(&ours), given_to_others(balances(&ours)))
    }

    /// Waits until nobody holds a packet and the number of those between the nodes is as wanted.
    ///
    /// Nodes count one after the other, so a packet could pass between two looks and be seen by neither. Counts only
    /// grow: where each node's are the same before and after all others were read, they all held at one moment.
    async fn finished(&self, nwaku: &[&NwakuNode], wanted: impl Fn(i64) -> Result<(), String>) -> Vec<(u64, Balance)> {
        let seen = || nwaku.iter().map(|node| node.log()).map(|log| (log.received, log.sent, log.in_work));
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
            wanted(given_to_others(balances(&ours)) - kept).map(|()| ours)
        })
        .await
    }

    /// Stops every node.
    pub async fn end(self) {
        within(self.0.stop(STOP_LIMIT)).await;
    }

    /// What was dropped, after a check that no node has lost a packet.
    fn drops_of(&self, finished: &[(u64, Balance)]) -> Drops {
        let mut all = Drops::new();
        for (name, (_, balance)) in self.members().iter().map(|member| member.plan().name()).zip(finished) {
            assert_eq!(balance.unaccounted(0), 0, "{name}: {balance:?}");
            for (stage, reason, count) in balance.dropped.iter().filter(|(.., count)| *count > 0) {
                all.insert((name.to_owned(), format!("{}/{}", stage.as_str(), reason.as_str())), *count);
            }
        }
        all
    }

    fn snapshot(&self) -> Vec<(u64, Balance)> {
        self.members().iter().map(|member| member.accounts().read()).collect()
    }

    fn name_of(&self, peer: PeerId) -> &str {
        let found = self.running().find(|(_, node)| node.peer_id() == peer);
        found.map_or("somebody", |(plan, _)| plan.name())
    }
}

/// Whether nothing is missing.
fn none_of(missing: &[String]) -> Result<(), String> {
    if missing.is_empty() { Ok(()) } else { Err(missing.join("; ")) }
}

/// A pool entry as nodes print it for the lists of others: address, peer id, `:`, key.
pub fn parse_mix_node(text: &str) -> MixNode {
    let (address, key) = text.rsplit_once(':').expect("a key at the end");
    let address = HopAddress::parse_full(&address.parse().expect("a multiaddress")).expect("an address of a hop");
    MixNode::new(address, key.parse().expect("a mix key"))
}

/// Another message for every text.
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

fn balances(nodes: &[(u64, Balance)]) -> impl Iterator<Item = &Balance> {
    nodes.iter().map(|(_, balance)| balance)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("few packets")
}
