//! The open exit (W8): requests that would make an exit speak to what lies behind it, in protocols that are not its
//! business, or write packets to addresses of a stranger's choice.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use libp2p::{StreamProtocol, multiaddr::Multiaddr};
use sha2::Digest as _;
use tokio::sync::watch;
use wakumix_integration_tests::{
    CLUSTER, eventually,
    net::{Net, NodePlan, address_with},
    peer::{Muxer, RawPeer},
    run, until,
};
use wakumix_mix::{DropReason, MixNode, Request, fragment::FRAGMENT_CODEC};
use wakumix_node::node::Node;
use wakumix_sphinx::{AddressBytes, Weakness, Weaknesses};
use wakumix_waku::{frame, lightpush::V3_PROTOCOL};

use crate::{
    Verdict,
    adversary::{Hop, dropped},
    check,
    client::{HERE, address, count, hop, reply_block, request},
};

/// What exits have been asked for that is not theirs to give: packets in packets, pieces in pieces, other services.
const FOREIGN: [&str; 4] = ["/mix/1.0.0", FRAGMENT_CODEC, "/ipfs/ping/1.0.0", "/vac/waku/store-query/3.0.0"];

/// Places that are nobody's public service, and one that is the exit's own.
const INSIDE: [&str; 10] = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
];

/// An exit that others reach at a public address, so that what is on its machine is not its network.
fn public_exit() -> NodePlan {
    NodePlan::new("exit", &["mixer", "exit"])
        .without("mix.networks")
        .with("ext-multiaddr", "/ip4/203.0.113.9/tcp/60000")
}

/// An exit, somebody who may send it packets, and a service beside it that nobody has told it of.
struct Scene {
    net: Net,
    client: Hop,
    service: RawPeer,
}

impl Scene {
    async fn new(exit: NodePlan) -> Self {
        let net = Net::strangers(vec![exit]).await;
        Self { net, client: hop().await, service: RawPeer::start(Muxer::Yamux, CLUSTER).await }
    }

    fn exit(&self) -> &Node {
        self.net.node("exit")
    }

    /// Sends a request to the exit.
    async fn ask(&self, codec: &str, destination: &AddressBytes) {
        let data = frame::encode(b"do this for me");
        let body = Request { codec, surbs: Vec::new(), data: &data };
        let packet = request(&self.client, &self.entry(), destination, &body);
        self.client.write(&self.reached().address, &packet).await;
    }

    /// The exit as senders know it.
    fn entry(&self) -> MixNode {
        self.exit().mix_node().expect("a node that mixes")
    }

    /// The exit where it listens.
    fn reached(&self) -> MixNode {
        let listens = address_with(self.exit(), |part| matches!(part, multiaddr::Protocol::Tcp(_)));
        let address = wakumix_mix::HopAddress::from_multiaddr(&listens, self.exit().peer_id()).unwrap();
        MixNode { address, ..self.entry() }
    }

    /// Where the service is.
    fn beside(&self) -> AddressBytes {
        address(self.service.address(), self.service.peer_id())
    }

    /// Waits until the exit has refused so many requests, or the service sees it.
    async fn is_reached(&self, requests: u64) -> bool {
        eventually(async || {
            let reached = self.service.contacts().connections.contains_key(&self.exit().peer_id());
            let refused = refused(self.exit());
            if reached || refused == requests { Ok(reached) } else { Err(format!("{refused} of {requests} refused")) }
        })
        .await
    }
}

fn refused(exit: &Node) -> u64 {
    dropped(exit, DropReason::PolicyRefused) + dropped(exit, DropReason::InvalidDestination)
}

async fn service_on_its_machine(exit: NodePlan) -> Verdict {
    let scene = Scene::new(exit).await;
    scene.ask(V3_PROTOCOL, &scene.beside()).await;
    let reached = scene.is_reached(1).await;
    scene.net.end().await;
    reached.into()
}

#[test]
fn an_exit_does_not_reach_what_listens_on_its_own_machine() {
    // Whether others reach it at a public address or on that machine.
    for exit in [public_exit(), public_exit().without("ext-multiaddr")] {
        check(Weakness::OpenExit, |weak| service_on_its_machine(exit.clone().weakened(weak)));
    }
}

#[test]
fn an_exit_does_not_reach_ports_that_are_not_allowed() {
    let exit = public_exit().with("exit.allow-private-addresses", "true").with("exit.ports", "443");
    check(Weakness::OpenExit, |weak| service_on_its_machine(exit.clone().weakened(weak)));
}

#[test]
fn an_exit_speaks_no_protocol_but_lightpush() {
    check(Weakness::OpenExit, async |weak| {
        let exit = public_exit().with("exit.allow-private-addresses", "true");
        let scene = Scene::new(exit.weakened(weak)).await;
        // A set: an exit that has two connections may ask again over the second.
        let (spoken, _) = watch::channel(BTreeSet::new());
        for codec in FOREIGN {
            let mut streams = scene.service.accept(StreamProtocol::new(codec));
            let spoken = spoken.clone();
            tokio::spawn(async move {
                while streams.next().await.is_some() {
                    spoken.send_modify(|spoken| {
                        spoken.insert(codec);
                    });
                }
            });
            scene.ask(codec, &scene.beside()).await;
        }
        let all = FOREIGN.len();
        let spoken = eventually(async || {
            let (spoken, refused) = (spoken.borrow().len(), usize::try_from(refused(scene.exit())).unwrap());
            if spoken + refused == all { Ok(spoken) } else { Err(format!("{spoken} spoken, {refused} refused")) }
        })
        .await;
        scene.net.end().await;
        (spoken == all).into()
    });
}

#[test]
fn an_exit_asks_nobody_for_a_protocol_of_its_own_choice_at_home_either() {
    run(async {
        let scene = Scene::new(public_exit()).await;
        for codec in FOREIGN.into_iter().filter(|codec| *codec != FRAGMENT_CODEC) {
            scene.ask(codec, &HERE).await;
        }
        until("all are refused", async || dropped(scene.exit(), DropReason::PolicyRefused) == 3).await;
        scene.net.end().await;
    });
}

#[test]
fn an_exit_passes_nothing_on_to_private_places_or_to_itself() {
    run(async {
        let scene = Scene::new(public_exit()).await;
        let place = |ip: &str, port: u16| format!("/ip4/{ip}/tcp/{port}").parse::<Multiaddr>().unwrap();
        let stranger = scene.service.peer_id();
        for ip in INSIDE {
            scene.ask(V3_PROTOCOL, &address(&place(ip, 60_000), stranger)).await;
        }
        for port in [22, 25, 80] {
            scene.ask(V3_PROTOCOL, &address(&place("8.8.8.8", port), stranger)).await;
        }
        let itself = scene.exit().peer_id();
        for own in [scene.entry(), scene.reached()] {
            scene.ask(V3_PROTOCOL, &address(&own.address.multiaddr(), itself)).await;
        }
        let asked = (INSIDE.len() + 3 + 2) as u64;
        until("all are refused", async || refused(scene.exit()) == asked).await;
        assert_eq!(scene.net.at_rest_with_losses().await.0.values().sum::<u64>(), asked, "none was taken");
        assert_eq!(scene.exit().host().status().await.unwrap().connected_peers, 1, "the client");
        scene.net.end().await;
    });
}

/// A fragment of one piece in which there is another: `docs/fragments.md`, by hand, for `cut` refuses it.
fn nested_fragment() -> Vec<u8> {
    let mut message = vec![u8::try_from(FRAGMENT_CODEC.len()).unwrap()];
    message.extend_from_slice(FRAGMENT_CODEC.as_bytes());
    message.extend_from_slice(&[7; 64]);
    let len = u16::try_from(message.len()).unwrap();
    let (id, pieces) = ([9; 16], [1, 0, 0]);
    let digest = sha2::Sha256::digest(&message);
    message.resize(message.len().next_multiple_of(2), 0);
    [&id[..], &pieces, &len.to_be_bytes(), &digest[..8], &message].concat()
}

#[test]
fn an_exit_opens_no_fragment_in_a_fragment() {
    run(async {
        let scene = Scene::new(public_exit()).await;
        let data = nested_fragment();
        let body = Request { codec: FRAGMENT_CODEC, surbs: Vec::new(), data: &data };
        let packet = request(&scene.client, &scene.entry(), &HERE, &body);
        scene.client.write(&scene.reached().address, &packet).await;
        let refused = "waku_mix_exit_fragments_total{outcome=\"no_request\"}";
        until("it is refused", async || count(scene.exit(), refused) == 1).await;
        scene.net.end().await;
    });
}

/// Asks for an answer by way of somebody whom the exit does not know.
async fn answer_to_a_stranger(weak: Weaknesses) -> Verdict {
    let scene = Scene::new(public_exit().weakened(weak)).await;
    let (stranger, exit) = (hop().await, scene.exit());
    let (surb, _) = reply_block(&scene.client, [&stranger.mix_node(), &scene.client.mix_node()]);
    // The exit has something to say to everybody: that it does not do this.
    let refused = Request { codec: V3_PROTOCOL, surbs: vec![surb], data: &frame::encode(b"no service here") };
    let packet = request(&scene.client, &scene.entry(), &HERE, &refused);
    scene.client.write(&scene.reached().address, &packet).await;
    let reached = eventually(async || {
        let withheld = count(exit, "waku_mix_exit_replies_total{outcome=\"strange_hop\"}");
        match (stranger.count(), withheld) {
            (0, 0) => Err("neither sent nor withheld".to_owned()),
            (sent, _) => Ok(sent > 0),
        }
    })
    .await;
    if !reached {
        assert_eq!(exit.host().status().await.unwrap().connected_peers, 1, "the client, and not the stranger");
    }
    scene.net.end().await;
    reached.into()
}

#[test]
fn an_exit_sends_no_answer_to_a_first_hop_that_it_does_not_know() {
    check(Weakness::StrangeFirstHop, answer_to_a_stranger);
}

#[test]
fn an_answer_goes_where_the_directory_says_and_not_where_its_reply_block_does() {
    run(async {
        let scene = Scene::new(public_exit()).await;
        let (known, exit) = (hop().await, scene.exit());
        assert!(exit.discovery().add_mix_nodes(vec![known.mix_node()]).await);
        until("the exit knows it", async || exit.directory().snapshot().mix_node(&known.peer_id()).is_some()).await;
        // Its name, at the place of somebody else.
        let elsewhere = wakumix_mix::HopAddress::from_multiaddr(scene.service.address(), known.peer_id()).unwrap();
        let claimed = MixNode { address: elsewhere, ..known.mix_node() };
        let (surb, _) = reply_block(&scene.client, [&claimed, &scene.client.mix_node()]);
        let body = Request { codec: V3_PROTOCOL, surbs: vec![surb], data: &frame::encode(b"no service here") };
        let packet = request(&scene.client, &scene.entry(), &HERE, &body);
        scene.client.write(&scene.reached().address, &packet).await;
        assert_eq!(known.caught(1).await[0].from, exit.peer_id());
        assert!(scene.service.contacts().connections.is_empty());
        scene.net.end().await;
    });
}
