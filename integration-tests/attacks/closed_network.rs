//! The network behind a node (W8): headers and destinations that would make a mixer or an exit dial what listens in a closed
//! network that the node itself has an address in.
//!
//! The operator's word is the only thing that opens such a network, so here it takes the place of a countermeasure that is
//! off: with it the same adversary gets there.

use wakumix_integration_tests::{
    CLUSTER, eventually,
    net::{Net, NodePlan},
    peer::{Muxer, RawPeer},
    run,
};
use wakumix_mix::{DropReason, HopAddress, MixNode, Request};
use wakumix_node::node::Node;
use wakumix_waku::{frame, lightpush::V3_PROTOCOL};

use crate::{
    Verdict,
    adversary::{Hop, dropped},
    client::{HERE, address, hop, packet, request},
};

/// The network of the nodes in these tests.
const NETWORK: (&str, &str) = ("mix.networks", "127.0.0.0/8");

/// A node of this role whose only address is in a closed network, and whose operator has set nothing about it.
fn inside(role: &str) -> NodePlan {
    let roles = if role == "mixer" { vec![role] } else { vec!["mixer", role] };
    NodePlan::new("node", &roles).with("mix-allow-all-addresses", "false").without(NETWORK.0)
}

/// What a stranger can make a node do to something that listens beside it.
struct Scene {
    net: Net,
    client: Hop,
    target: RawPeer,
}

impl Scene {
    async fn new(node: NodePlan) -> Self {
        let net = Net::strangers(vec![node]).await;
        Self { net, client: hop().await, target: RawPeer::start(Muxer::Yamux, CLUSTER).await }
    }

    fn node(&self) -> &Node {
        self.net.node("node")
    }

    fn entry(&self) -> MixNode {
        self.node().mix_node().expect("a node that mixes")
    }

    /// Waits until the node has dialled the target, or dropped the packet for one of these reasons.
    async fn end(self, refusals: &[DropReason]) -> Verdict {
        let reached = eventually(async || {
            let reached = self.target.contacts().connections.contains_key(&self.node().peer_id());
            let refused: u64 = refusals.iter().map(|reason| dropped(self.node(), *reason)).sum();
            if reached || refused == 1 { Ok(reached) } else { Err("neither dialled nor refused".to_owned()) }
        })
        .await;
        self.net.end().await;
        reached.into()
    }
}

/// Sends a packet whose next hop is the target.
async fn packet_for(node: NodePlan) -> Verdict {
    let scene = Scene::new(node).await;
    let to = HopAddress::from_multiaddr(scene.target.address(), scene.target.peer_id()).unwrap();
    // Nobody will open it there.
    let (entry, own) = (scene.entry(), scene.client.mix_node());
    let next = MixNode::new(to, own.key);
    let bytes = packet([&entry, &next, &own], 0, &HERE, b"knock");
    scene.client.write(&entry.address, &bytes).await;
    scene.end(&[DropReason::PrivateDestination]).await
}

/// Sends a request whose destination is the target.
async fn request_for(node: NodePlan) -> Verdict {
    let scene = Scene::new(node).await;
    let destination = address(scene.target.address(), scene.target.peer_id());
    let body = Request { codec: V3_PROTOCOL, surbs: Vec::new(), data: &frame::encode(b"do this for me") };
    let bytes = request(&scene.client, &scene.entry(), &destination, &body);
    scene.client.write(&scene.entry().address, &bytes).await;
    scene.end(&[DropReason::PolicyRefused]).await
}

#[test]
fn a_mixer_opens_the_network_that_it_is_in_to_strangers_only_if_its_operator_says_so() {
    run(async {
        for role in ["mixer", "exit"] {
            assert_eq!(packet_for(inside(role)).await, Verdict::Failed);
            assert_eq!(packet_for(inside(role).with(NETWORK.0, NETWORK.1)).await, Verdict::Succeeded);
        }
    });
}

#[test]
fn a_mixer_does_not_reach_ports_that_are_not_allowed() {
    run(async {
        let open = inside("mixer").with(NETWORK.0, NETWORK.1);
        assert_eq!(packet_for(open.clone().with("mixer.ports", "443")).await, Verdict::Failed);
        assert_eq!(packet_for(open).await, Verdict::Succeeded);
    });
}

#[test]
fn an_exit_opens_the_network_that_it_is_in_to_strangers_only_if_its_operator_says_so() {
    run(async {
        assert_eq!(request_for(inside("exit")).await, Verdict::Failed);
        for opened_by in [NETWORK, ("exit.networks", NETWORK.1)] {
            assert_eq!(request_for(inside("exit").with(opened_by.0, opened_by.1)).await, Verdict::Succeeded);
        }
    });
}
