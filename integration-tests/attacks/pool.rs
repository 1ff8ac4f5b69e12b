//! Who is in a sender's pool, and how often it is drawn: entries of nodes that do not exist or do not know of it, and an
//! honest node that is made to look dead.

use std::time::{SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use futures::StreamExt as _;
use libp2p::{PeerId, Stream, StreamProtocol, identity::Keypair};
use multiaddr::{Multiaddr, Protocol};
use wakumix_integration_tests::{
    CLUSTER, eventually,
    net::{Net, NodePlan, plans, push_many, record_of},
    peer::{Muxer, RawPeer, read_frame, write_frame},
    ports::nobody,
    run, until,
};
use wakumix_mix::{MixNode, Origin};
use wakumix_node::node::Node;
use wakumix_records::{
    descriptor::{self, Descriptor, DescriptorLimits, Request, Response},
    envelope::Purpose,
    peer_exchange,
};
use wakumix_sphinx::{PrivateKey, Profile, Weakness, Weaknesses, WireFormat};
use wakumix_waku::record::{Capabilities, Shards};

use crate::{
    Verdict, check,
    client::{count, hop},
};

const PURPOSE: Purpose = Purpose { domain: "wakumix-mix-descriptor", payload_type: b"/wakumix/mix-descriptor" };

const BAD_SIGNATURES: &str = "waku_mix_discovery_refused_total{source=\"descriptors\",reason=\"signature\"}";

/// What a node would say of itself that mixes there, with a key that the adversary has.
fn entry(peer: PeerId, address: &Multiaddr) -> Descriptor {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Descriptor {
        peer,
        issued: now,
        expires: now + 3600,
        addresses: vec![address.clone()],
        shards: Shards { cluster: CLUSTER, shards: vec![0] },
        capabilities: Capabilities::MIX,
        mix_key: Some(PrivateKey::generate(&mut rand::rng()).public()),
        next_key: None,
        profiles: vec![WireFormat::Mix(Profile::default())],
        operator: None,
        family: Vec::new(),
        limits: DescriptorLimits::default(),
        reassembles: false,
        is_full: false,
    }
}

/// The bytes with the name of one peer in place of that of another.
fn renamed(bytes: &[u8], from: PeerId, to: PeerId) -> Vec<u8> {
    replaced(bytes, &from.to_bytes(), &to.to_bytes())
}

/// The bytes with others in the place of these.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes.windows(old.len()).position(|window| window == old).expect("they are in there");
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

/// A descriptor of a liar whose subject was changed after it was signed.
fn changed(liar: &Keypair, about: &RawPeer) -> Vec<u8> {
    let me = liar.public().to_peer_id();
    renamed(&entry(me, about.address()).seal(liar).unwrap(), me, about.peer_id())
}

/// A descriptor that a liar has signed for somebody else.
fn signed_by_another(liar: &Keypair, about: &RawPeer) -> Vec<u8> {
    let me = liar.public().to_peer_id();
    let sealed = entry(me, about.address()).seal(liar).unwrap();
    let payload = renamed(&PURPOSE.open(&sealed).unwrap().payload, me, about.peer_id());
    PURPOSE.seal(liar, payload).unwrap()
}

/// Makes a peer tell everybody its own descriptor, and with it these where any are asked for.
fn tells(liar: &RawPeer, own: Vec<u8>, others: Vec<Vec<u8>>) {
    let mut questions = liar.accept(StreamProtocol::new(descriptor::PROTOCOL));
    tokio::spawn(async move {
        while let Some((_, stream)) = questions.next().await {
            tokio::spawn(answer(stream, own.clone(), others.clone()));
        }
    });
}

async fn answer(mut stream: Stream, own: Vec<u8>, others: Vec<Vec<u8>>) {
    let Ok(Some(question)) = read_frame(&mut stream).await else { return };
    let question = Request::decode(&question).expect("a question");
    let mut descriptors = match question {
        Request::Own => vec![own],
        Request::Sample(_) => [vec![own], others].concat(),
        Request::Peers(_) => Vec::new(),
    };
    descriptors.truncate(question.wants());
    // Who asked may be gone.
    let _ = write_frame(&mut stream, &Response { descriptors }.encode()).await;
}

/// A sender that begins with the liar.
async fn believer(liar: &RawPeer, weak: Weaknesses) -> Net {
    let begin = liar.address().clone().with(Protocol::P2p(liar.peer_id())).to_string();
    let plan = NodePlan::new("sender", &["sender"]).with("descriptors", "true").with("staticnode", &begin);
    Net::strangers(vec![plan.weakened(weak)]).await
}

fn has(sender: &Node, peer: PeerId) -> bool {
    sender.directory().snapshot().mix_nodes.iter().any(|node| node.peer() == peer)
}

async fn forged_entries(weak: Weaknesses) -> Verdict {
    let start = || RawPeer::start(Muxer::Yamux, CLUSTER);
    // Those that the lies are about are there, so that nothing but the signature can be found wrong.
    let (liar, first, second) = (start().await, start().await, start().await);
    let key = liar.identity();
    let own = entry(liar.peer_id(), liar.address()).seal(key).unwrap();
    tells(&liar, own, vec![changed(key, &first), signed_by_another(key, &second)]);
    let net = believer(&liar, weak).await;
    let sender = net.node("sender");
    let believed = eventually(async || {
        let believed = has(sender, first.peer_id()) && has(sender, second.peer_id());
        let refused = count(sender, BAD_SIGNATURES);
        // Its own entry is what shows that it is heard.
        if believed || (refused >= 2 && has(sender, liar.peer_id())) {
            Ok(believed)
        } else {
            Err(format!("{refused} refused, {} in the pool", sender.directory().snapshot().mix_nodes.len()))
        }
    })
    .await;
    net.end().await;
    believed.into()
}

#[test]
fn entries_that_their_nodes_have_not_signed_do_not_enter_a_pool() {
    check(Weakness::UnsignedEntries, forged_entries);
}

#[test]
fn nodes_that_do_not_exist_are_never_drawn_however_well_their_entries_are_signed() {
    const GHOSTS: usize = 8;
    run(async {
        let liar = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        let own = entry(liar.peer_id(), liar.address()).seal(liar.identity()).unwrap();
        let ghost = || Keypair::from(libp2p::identity::secp256k1::Keypair::generate());
        let ghosts: Vec<_> = std::iter::repeat_with(ghost).take(GHOSTS).collect();
        let tell = |ghost: &Keypair| entry(ghost.public().to_peer_id(), &nobody()).seal(ghost).unwrap();
        tells(&liar, own, ghosts.iter().map(tell).collect());
        let net = believer(&liar, Weaknesses::NONE).await;
        let sender = net.node("sender");
        until("all were looked for", async || {
            count(sender, "waku_mix_pool_checks_total{outcome=\"failed\"}") >= GHOSTS as u64
        })
        .await;
        until("the liar itself is found", async || has(sender, liar.peer_id())).await;
        let pool: Vec<_> = sender.directory().snapshot().mix_nodes.iter().map(MixNode::peer).collect();
        assert_eq!(pool, [liar.peer_id()]);
        net.end().await;
    });
}

/// Makes a peer answer whoever asks for node records with these.
fn gives(liar: &RawPeer, records: Vec<Vec<u8>>) {
    let mut questions = liar.accept(StreamProtocol::new(peer_exchange::PROTOCOL));
    tokio::spawn(async move {
        while let Some((_, mut stream)) = questions.next().await {
            let answer = peer_exchange::Response::success(records.clone()).encode();
            if read_frame(&mut stream).await.is_ok() {
                // Who asked may be gone.
                let _ = write_frame(&mut stream, &answer).await;
            }
        }
    });
}

#[test]
fn a_node_record_with_a_key_of_the_adversary_in_it_does_not_replace_the_true_one() {
    run(async {
        let mixer = NodePlan::new("mixer", &["mixer"]).with_discv5(None).with("rest", "true");
        let mut net = Net::strangers(vec![mixer]).await;
        let (record, honest) = (record_of(net.node("mixer")).await, net.node("mixer").mix_node().unwrap());
        let record = BASE64URL_NOPAD.decode(record.strip_prefix("enr:").unwrap().as_bytes()).unwrap();
        let false_key = PrivateKey::generate(&mut rand::rng()).public();
        let forged = replaced(&record, honest.key.as_bytes(), false_key.as_bytes());

        let liar = RawPeer::start(Muxer::Yamux, CLUSTER).await;
        gives(&liar, vec![forged, record]);
        let begin = liar.address().clone().with(Protocol::P2p(liar.peer_id())).to_string();
        let sender =
            NodePlan::new("sender", &["sender"]).with("peer-exchange", "true").with("peer-exchange-node", &begin);
        net.add(vec![sender]).await;
        let sender = net.node("sender");
        until("the true one is believed", async || has(sender, honest.peer())).await;
        let refused = |reason: &str| {
            count(sender, &format!("waku_mix_discovery_refused_total{{source=\"peer-exchange\",reason=\"{reason}\"}}"))
        };
        until("the other is refused", async || refused("malformed") + refused("signature") > 0).await;
        assert_eq!(sender.directory().snapshot().mix_node(&honest.peer()).unwrap().key, honest.key);
        net.end().await;
    });
}

/// Packets that each mixer receives of so many requests differ by some 8 in 100 by chance.
const REQUESTS: usize = 300;

/// A hostile mixer drops whatever comes from an honest one or goes to it. The sender has loops through all nodes, sees that
/// they are lost, and must not leave the honest node out for it.
async fn framed_node(weak: Weaknesses) -> Verdict {
    let plans = plans(7, 1, 1, 1).into_iter().map(|plan| match plan.name() {
        // A sender that forwards draws its hops from the whole pool. A busy machine is slow, and lost answers are no part of
        // this.
        "sender-1" => {
            let plan = plan.with("roles", "mixer,sender").with("mixer.cover", "100ms");
            plan.with("sender.timeout", "50s").weakened(weak)
        }
        _ => plan,
    });
    let net = Net::strangers(plans.collect()).await;
    let (hostile, framed) = (hop().await, net.node("mixer-1").peer_id());
    hostile.pass_on(move |passing| passing.from != framed && passing.next.peer() != framed);
    net.tell_all(&[net.pool(), vec![hostile.mix_node()]].concat(), &net.services()).await;
    net.link_relays().await;
    net.ready().await;

    let sender = net.node("sender-1");
    // One in 36 loops meets both.
    for losses in 1..=3 {
        until("loops are lost", async || count(sender, "waku_mix_cover_loops_total{outcome=\"lost\"}") >= losses).await;
    }
    let names: Vec<_> = (1..=7).map(|number| format!("mixer-{number}")).collect();
    let received = || names.iter().map(|name| net.balance(name).received).collect::<Vec<_>>();
    let (before, loops) = (received(), loops_of(sender));
    for outcome in push_many(sender, REQUESTS, 8).await {
        assert_eq!(outcome.expect("an answer").status, 200);
    }
    // Loops go on meanwhile, through two of nine nodes each, without regard to weights.
    let cover = (loops_of(sender) - loops) * 2 / 9;
    let drawn = received().into_iter().zip(before).map(|(after, before)| (after - before).saturating_sub(cover));
    let drawn: Vec<_> = drawn.collect();
    net.end().await;
    let (framed, others) = (drawn[0], &drawn[1..]);
    let usual = others.iter().sum::<u64>() / others.len() as u64;
    (framed * 10 < usual * 6).into()
}

/// Loops that a node has made.
fn loops_of(node: &Node) -> u64 {
    node.balance().originated_by.iter().filter(|(origin, _)| *origin == Origin::Cover).map(|(_, count)| count).sum()
}

#[test]
fn a_hop_that_drops_what_another_carries_does_not_make_senders_leave_that_one_out() {
    check(Weakness::BlamedPath, framed_node);
}
