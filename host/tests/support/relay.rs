//! Hosts with a relay, and what gossip looks like on the wire.

#![allow(clippy::disallowed_methods, reason = "a test sees a panic of what it starts: it fails")]

use std::{collections::HashSet, sync::Arc, time::Duration};

use libp2p::StreamProtocol;
use tokio::sync::watch;
use wakumix_host::HostConfig;
use wakumix_role_api::{
    Receiver,
    host::{GossipMessage, HostMessage, PublishFailure, Verdict},
    mailbox,
    relay::RelayMessage,
};
use wakumix_role_testkit::telemetry;

use super::{Node, Setup, TCP, raw::frame, until, within};

pub(crate) const TOPIC: &str = "/waku/2/rs/66/0";
pub(crate) const RELAY: StreamProtocol = StreamProtocol::new(wakumix_waku::RELAY_PROTOCOL);

pub(crate) async fn judge(node: &Node, message: &GossipMessage, verdict: Verdict) {
    let GossipMessage { id, source, .. } = message;
    let verdict = HostMessage::Verdict { id: id.clone(), source: *source, verdict };
    node.handle.address().send(verdict).await.unwrap();
}

pub(crate) struct Relay {
    pub(crate) node: Node,
    pub(crate) messages: Receiver<RelayMessage>,
}

impl Relay {
    pub(crate) async fn start(queue: usize) -> Self {
        Self::start_with(queue, |_| {}).await
    }

    /// One that is configured otherwise.
    pub(crate) async fn start_with(queue: usize, configure: impl FnOnce(&mut HostConfig)) -> Self {
        let (address, inbox) = mailbox("relay", queue, &telemetry(&wakumix_host::METRICS));
        let mut setup = Setup::listening(&[TCP]);
        configure(&mut setup.config);
        setup.relay = Some(address);
        setup.mix = false;
        let node = setup.start().await;
        assert!(node.handle.subscribe(TOPIC.to_owned()).await);
        Self { node, messages: inbox.receiver().unwrap() }
    }

    /// Publishes as soon as there is somebody to publish to.
    pub(crate) async fn publish(&self, data: &[u8]) -> usize {
        let mut again = tokio::time::interval(Duration::from_millis(20));
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

    pub(crate) async fn next(&mut self) -> GossipMessage {
        match within(self.messages.recv()).await {
            Some(RelayMessage::Gossip(message)) => message,
            other => panic!("{}", other.is_some()),
        }
    }

    pub(crate) async fn judge(&self, message: &GossipMessage, verdict: Verdict) {
        judge(&self.node, message, verdict).await;
    }

    /// Waits for so many heartbeats from now on.
    pub(crate) async fn heartbeats(&self, count: u64) {
        const SERIES: &str = "libp2p_gossipsub_heartbeat_duration_count";
        let before = self.node.metric(SERIES);
        until(async || self.node.metric(SERIES) >= before + count).await;
    }

    /// Waits until so many peers are in the topic's mesh.
    pub(crate) async fn mesh(&self, size: usize) {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        within(async {
            while self.node.handle.status().await.unwrap().mesh_peers != [(TOPIC.to_owned(), size)] {
                look.tick().await;
            }
        })
        .await;
    }
}

/// A relay that accepts everything and remembers what it has seen.
pub(crate) struct Listener {
    pub(crate) node: Arc<Node>,
    pub(crate) seen: watch::Receiver<HashSet<Vec<u8>>>,
}

impl Listener {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// One that is configured otherwise.
    pub(crate) async fn start_with(configure: impl FnOnce(&mut HostConfig)) -> Self {
        let Relay { node, mut messages } = Relay::start_with(1024, configure).await;
        let (node, (sender, seen)) = (Arc::new(node), watch::channel(HashSet::new()));
        let judged = node.clone();
        tokio::spawn(async move {
            while let Some(RelayMessage::Gossip(message)) = messages.recv().await {
                judge(&judged, &message, Verdict::Accept).await;
                sender.send_modify(|seen| {
                    seen.insert(message.data);
                });
            }
        });
        Self { node, seen }
    }

    pub(crate) async fn publish(&self, data: Vec<u8>) -> Result<usize, PublishFailure> {
        self.node.handle.publish(TOPIC.to_owned(), data).await
    }

    /// Publishes until another has seen something of it: what waited before is then through. Each attempt is another message,
    /// because one that was refused for lack of room is refused for a while.
    pub(crate) async fn reaches(&self, other: &Self) {
        let mut again = tokio::time::interval(Duration::from_millis(100));
        let words = format!("attempt of {}", self.node.peer());
        let is_ours = |data: &Vec<u8>| data.starts_with(words.as_bytes());
        within(async {
            for attempt in 0.. {
                // Refused while the queue is full, or a connection is made anew.
                let _ = self.publish(format!("{words} {attempt}").into_bytes()).await;
                again.tick().await;
                if other.seen.borrow().iter().any(is_ours) {
                    return;
                }
            }
        })
        .await;
    }

    pub(crate) async fn sees(&self, data: &[u8]) {
        within(self.seen.clone().wait_for(|seen| seen.contains(data))).await.unwrap();
    }
}

/// A protobuf field of bytes.
pub(crate) fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], frame(content).as_slice()].concat()
}

/// A frame that joins a topic.
pub(crate) fn subscription(topic: &str) -> Vec<u8> {
    field(1, &[b"\x08\x01", field(2, topic.as_bytes()).as_slice()].concat())
}

/// A frame with one message.
pub(crate) fn publication(data: &[u8]) -> Vec<u8> {
    field(2, &[field(2, data), field(4, TOPIC.as_bytes())].concat())
}
