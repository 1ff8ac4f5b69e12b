//! Gossipsub between hosts, with the test as the relay that judges.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use support::{Node, Setup, TCP, within};
use wakumix_role_api::{
    Receiver,
    host::{GossipMessage, PublishFailure, Verdict},
    mailbox,
    relay::RelayMessage,
};
use wakumix_telemetry::Telemetry;

const TOPIC: &str = "/waku/2/rs/66/0";

struct Relay {
    node: Node,
    messages: Receiver<RelayMessage>,
}

impl Relay {
    async fn start(queue: usize) -> Self {
        let (address, inbox) = mailbox("relay", queue, &Telemetry::new());
        let mut setup = Setup::listening(&[TCP]);
        setup.relay = Some(address);
        setup.mix = false;
        let node = setup.start().await;
        assert!(node.handle.subscribe(TOPIC.to_owned()).await);
        Self { node, messages: inbox.receiver().unwrap() }
    }

    /// Publishes as soon as there is somebody to publish to.
    async fn publish(&self, data: &[u8]) -> usize {
        let mut again = tokio::time::interval(std::time::Duration::from_millis(20));
        within(async {
            loop {
                match self.node.handle.publish(TOPIC.to_owned(), data.to_vec()).await {
                    Ok(peers) => return peers,
                    Err(PublishFailure::NoPeers) => again.tick().await,
                    Err(other) => panic!("{other}"),
                };
            }
        })
        .await
    }

    async fn next(&mut self) -> GossipMessage {
        match within(self.messages.recv()).await {
            Some(RelayMessage::Gossip(message)) => message,
            other => panic!("{}", other.is_some()),
        }
    }

    async fn judge(&self, message: &GossipMessage, verdict: Verdict) {
        self.node.handle.report_verdict(message.id.clone(), message.source, verdict).await;
    }

    /// Waits until so many peers are in the topic's mesh.
    async fn mesh(&self, size: usize) {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
        within(async {
            while self.node.handle.status().await.unwrap().mesh_peers != [(TOPIC.to_owned(), size)] {
                look.tick().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_message_travels_on_and_a_rejected_one_does_not() {
    let (first, mut middle, mut last) = (Relay::start(16).await, Relay::start(16).await, Relay::start(16).await);
    middle.node.handle.keep_connected(vec![first.node.full_address(0), last.node.full_address(0)]).await;
    middle.mesh(2).await;

    assert_eq!(first.publish(b"bad").await, 1);
    let bad = middle.next().await;
    middle.judge(&bad, Verdict::Reject).await;
    assert_eq!(first.publish(b"good").await, 1);
    let good = middle.next().await;
    assert_eq!((good.data.as_slice(), good.topic.as_str(), good.source), (&b"good"[..], TOPIC, first.node.peer()));
    assert_eq!(good.id, wakumix_waku::message_id(b"good"));
    middle.judge(&good, Verdict::Accept).await;
    assert_eq!(last.next().await.data, b"good");
}

#[tokio::test(flavor = "multi_thread")]
async fn says_why_nothing_was_published() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(16).await);
    let publish = |data: Vec<u8>| here.node.handle.publish(TOPIC.to_owned(), data);
    assert_eq!(publish(b"alone".to_vec()).await, Err(PublishFailure::NoPeers));
    here.node.connect(there.node.full_address(0)).await;
    assert_eq!(here.publish(b"once").await, 1);
    assert_eq!(there.next().await.data, b"once");
    assert_eq!(publish(b"once".to_vec()).await, Err(PublishFailure::Duplicate));
    assert_eq!(publish(vec![0; 153_601]).await, Err(PublishFailure::TooLarge));
    let bare = Setup::listening(&[]).start().await;
    assert_eq!(bare.handle.publish(TOPIC.to_owned(), vec![1]).await, Err(PublishFailure::NoRelay));
    assert!(!bare.handle.subscribe(TOPIC.to_owned()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_nearly_150_kib_arrives() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(16).await);
    here.node.connect(there.node.full_address(0)).await;
    let data = vec![7; 153_000];
    here.publish(&data).await;
    assert_eq!(there.next().await.data, data);
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_messages_without_blame_while_the_relay_is_behind() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(1).await);
    here.node.connect(there.node.full_address(0)).await;
    for number in 0..5u8 {
        here.publish(&[number]).await;
    }
    support::until(|| there.node.metric("waku_mix_gossip_messages_total{verdict=\"overload\"}") == 4).await;
    assert_eq!(there.next().await.data, [0]);
    assert!(there.messages.try_recv().is_none());
    there.node.peers(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_the_health_of_its_topics_where_harnesses_look() {
    let hub = Relay::start(16).await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let other = Relay::start(16).await;
        other.node.connect(hub.node.full_address(0)).await;
        others.push(other);
    }
    hub.mesh(4).await;
    support::until(|| hub.node.metric("libp2p_gossipsub_healthy_peers_topics") == 1).await;
    support::until(|| others[0].node.metric("libp2p_gossipsub_healthy_peers_topics") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnects_a_peer_that_keeps_sending_invalid_messages() {
    let (here, mut there) = (Relay::start(16).await, Relay::start(16).await);
    here.node.connect(there.node.full_address(0)).await;
    // −100 for the square of their number: eleven are below −10 000.
    for number in 0..11u8 {
        here.publish(&[number]).await;
        let message = there.next().await;
        there.judge(&message, Verdict::Reject).await;
    }
    there.node.peers(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_page_has_each_family_once() {
    let (here, there) = (Relay::start(16).await, Relay::start(16).await);
    here.node.connect(there.node.full_address(0)).await;
    here.publish(b"message").await;
    let page = here.node.telemetry.render();
    let mut families: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    families.sort_unstable();
    let count = families.len();
    families.dedup_by_key(|line| line.split(' ').next().unwrap_or_default().to_owned());
    assert_eq!(families.len(), count);
    for expected in ["libp2p_bandwidth_bytes", "libp2p_gossipsub_mesh_peer_counts", "waku_mix_dials_total"] {
        assert!(families.iter().any(|family| family.starts_with(expected)), "{expected}");
    }
}
