//! The running nodes: started, told of each other, looked at, killed and stopped.

use std::time::Duration;

use futures::future::{join, join_all};
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use wakumix_discovery::entry::PeerAddress;
use wakumix_mix::{Balance, MixNode};
use wakumix_node::node::{Accounts, Node, StartError};
use wakumix_role_api::{directory::ServiceNode, host::MESH_HIGH};

use crate::{NodePlan, TOPIC};

/// Relays that each relay dials where they know each other's records; with those that dial it, more than the mesh wants
/// (`spec/waku.md §2.2`).
const RELAY_LINKS: usize = 4;

/// Nodes in this process, in the order in which they were started.
#[derive(Default)]
pub struct Net {
    members: Vec<Member>,
}

/// A node that was started. Its packets are counted beyond its end.
pub struct Member {
    plan: NodePlan,
    peer: PeerId,
    accounts: Accounts,
    /// `None` once it is stopped or killed.
    node: Option<Node>,
}

/// A node of a net did not start.
#[derive(Debug, thiserror::Error)]
#[error("node {name} did not start: {source}")]
pub struct MemberError {
    /// Which, e.g. `mixer-3`.
    pub name: String,
    /// Why.
    pub source: StartError,
}

impl Member {
    /// What it was to be.
    pub fn plan(&self) -> &NodePlan {
        &self.plan
    }

    /// Who it is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Its packet accounting.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The node, while it runs.
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
}

impl Net {
    /// Starts a node, which knows nobody.
    ///
    /// # Errors
    /// Why it did not start.
    pub async fn add(&mut self, plan: NodePlan) -> Result<&Node, MemberError> {
        let started = plan.start().await;
        let node = started.map_err(|source| MemberError { name: plan.name().to_owned(), source })?;
        self.members.push(Member { peer: node.peer_id(), accounts: node.accounts(), plan, node: None });
        let place = self.members.len() - 1;
        Ok(self.members[place].node.insert(node))
    }

    /// Every node that was started.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The nodes that run, each with what it was to be.
    pub fn running(&self) -> impl Iterator<Item = (&NodePlan, &Node)> {
        self.members.iter().filter_map(|member| Some((&member.plan, member.node.as_ref()?)))
    }

    /// A node that runs, by its name.
    pub fn find(&self, name: &str) -> Option<&Node> {
        self.running().find_map(|(plan, node)| (plan.name() == name).then_some(node))
    }

    /// Takes a node that runs out of the net, to be ended.
    pub fn take(&mut self, name: &str) -> Option<Node> {
        self.members.iter_mut().filter(|member| member.plan.name() == name).find_map(|member| member.node.take())
    }

    /// The pool entries of all mixers and exits.
    pub fn pool(&self) -> Vec<MixNode> {
        self.running().filter(|(plan, _)| !plan.has_role("sender")).filter_map(|(_, node)| node.mix_node()).collect()
    }

    /// The exits that serve lightpush themselves.
    pub fn services(&self) -> Vec<ServiceNode> {
        self.running().filter(|(plan, _)| plan.serves_lightpush()).map(|(plan, node)| service(plan, node)).collect()
    }

    /// Adds to what every node knows, all at once: each call waits for a snapshot.
    pub async fn tell_all(&self, pool: &[MixNode], services: &[ServiceNode]) {
        join_all(self.running().map(|(_, node)| tell(node, pool, services))).await;
    }

    /// Makes relays dial each other: so many that each has a mesh, all of them in a net of up to nine.
    pub async fn link_relays(&self) {
        let relays: Vec<_> = self.relays().collect();
        let links = RELAY_LINKS.min(relays.len() / 2);
        let linked = relays.iter().enumerate().map(|(index, (_, node))| {
            let others = relays.iter().cycle().skip(index + 1).take(links);
            node.discovery().add_static_peers(others.filter_map(|(plan, other)| entry(plan, other)).collect())
        });
        join_all(linked).await;
    }

    /// Makes relays dial others, by their places.
    pub async fn link_as(&self, is_linked: impl Fn(usize, usize) -> bool) {
        let relays: Vec<_> = self.relays().collect();
        let linked = relays.iter().enumerate().map(|(from, (_, node))| {
            let others = relays.iter().enumerate().filter(|(to, _)| is_linked(from, *to));
            let entries = others.filter_map(|(_, (plan, other))| entry(plan, other)).collect();
            node.discovery().add_static_peers(entries)
        });
        join_all(linked).await;
    }

    /// The relays of a star that lack something: the first while it is not connected to all others, and those around it that are
    /// not in its mesh, but for those that it has no place for.
    pub async fn without_centre(&self) -> Vec<String> {
        let relays: Vec<_> = self.relays().collect();
        let around = relays.len().saturating_sub(1);
        let (mut without, mut outside) = (Vec::new(), Vec::new());
        for (place, (plan, node)) in relays.iter().enumerate() {
            let status = node.host().status().await.unwrap_or_default();
            if place == 0 && status.connected_peers < around {
                without.push(format!("{}: {} of {around} peers", plan.name(), status.connected_peers));
            } else if place > 0 && !status.has_mesh(TOPIC, 2) {
                outside.push(format!("{}: not in the mesh of the first on {TOPIC}", plan.name()));
            }
        }
        if outside.len() > around.saturating_sub(MESH_HIGH) {
            without.append(&mut outside);
        }
        without
    }

    /// What nodes say that they lack to be ready, each with its name.
    pub fn missing(&self) -> Vec<String> {
        let missing = |(plan, node): (&NodePlan, &Node)| -> Vec<String> {
            node.missing().into_iter().map(|reason| format!("{}: {reason}", plan.name())).collect()
        };
        self.running().flat_map(missing).collect()
    }

    /// The relays that have too few mesh peers.
    pub async fn without_mesh(&self) -> Vec<String> {
        let relays: Vec<_> = self.relays().collect();
        let mut without = Vec::new();
        for (plan, node) in &relays {
            if !node.host().status().await.unwrap_or_default().has_mesh(TOPIC, relays.len()) {
                without.push(format!("{}: too few mesh peers on {TOPIC}", plan.name()));
            }
        }
        without
    }

    /// Stops all nodes at once; each has so long.
    pub async fn stop(self, limit: Duration) {
        let nodes = self.members.into_iter().filter_map(|member| member.node);
        join_all(nodes.map(|node| node.stop(limit))).await;
    }

    fn relays(&self) -> impl Iterator<Item = (&NodePlan, &Node)> {
        self.running().filter(|(_, node)| node.relay().is_some())
    }
}

/// Adds to what a node knows. False when it no longer listens.
#[must_use]
pub async fn tell(node: &Node, pool: &[MixNode], services: &[ServiceNode]) -> bool {
    let discovery = node.discovery();
    let told = join(discovery.add_mix_nodes(pool.to_vec()), discovery.add_lightpush(services.to_vec())).await;
    told == (true, true)
}

/// A node as a lightpush service.
pub fn service(plan: &NodePlan, node: &Node) -> ServiceNode {
    ServiceNode::new(node.peer_id(), reachable_at(plan, node).into_iter().collect())
}

/// A node as the list of peers of another one has it.
fn entry(plan: &NodePlan, node: &Node) -> Option<PeerAddress> {
    Some(PeerAddress { peer: node.peer_id(), address: reachable_at(plan, node)? })
}

/// Where others are to reach a node: over QUIC if it speaks that.
fn reachable_at(plan: &NodePlan, node: &Node) -> Option<Multiaddr> {
    let over_quic = plan.get("quic-support") == Some("true");
    let wanted = |part: Protocol<'_>| match part {
        Protocol::QuicV1 => over_quic,
        Protocol::Tcp(_) => !over_quic,
        _ => false,
    };
    node.listen_addresses().iter().find(|address| address.iter().any(wanted)).cloned()
}

/// Packets that nodes wrote to peers, less those that nodes received: where all are of one net, what is between them.
pub fn given_to_others<'a>(balances: impl IntoIterator<Item = &'a Balance>) -> i64 {
    let signed = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let given = |balance: &Balance| {
        signed(balance.forwarded.saturating_add(balance.sent)).saturating_sub(signed(balance.received))
    };
    balances.into_iter().map(given).sum()
}
