//! A relay with a host that the test plays: it reads what the relay asks of the host and answers as it likes.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use wakumix_relay::{Config, Relay};
use wakumix_role_api::host::{GossipMessage, HostMessage, PublishFailure, Verdict};
use wakumix_role_api::relay::{RelayHandle, RelayMessage};
use wakumix_role_api::{Formats, InboundRequest, Requester, RunningRole};
pub(crate) use wakumix_role_testkit::peer;
use wakumix_role_testkit::{Queues, Surroundings};
use wakumix_sphinx::{Profile, Sphinx};
use wakumix_waku::WakuMessage;
use wakumix_waku::lightpush::{V3_PROTOCOL, v3};

pub(crate) const TOPIC: &str = "/waku/2/rs/2/0";
pub(crate) const QUEUE: usize = 64;

pub(crate) struct Fixture {
    pub(crate) relay: RelayHandle,
    pub(crate) running: Box<dyn RunningRole>,
    pub(crate) around: Surroundings,
}

pub(crate) type PublishReply = oneshot::Sender<Result<usize, PublishFailure>>;

/// Cluster 2, shard 0, no budgets.
pub(crate) fn config() -> Config {
    Config { cluster: 2, shards: vec![0], lightpush_rate: None, lightpush_rate_mix: None, ..Config::default() }
}

/// Starts a relay on the paused clock of this test; the host has not answered anything yet.
pub(crate) fn start(config: Config) -> Fixture {
    start_with_host_queue(config, QUEUE)
}

pub(crate) fn start_with_host_queue(config: Config, host_queue: usize) -> Fixture {
    tokio::time::pause();
    let formats = Formats::one(Sphinx::new(Profile::default()), 1);
    let queues = Queues { host: host_queue, own: &[("relay", QUEUE)], ..Queues::default() };
    let mut around = Surroundings::new(&wakumix_relay::METRICS, 1, formats, queues);
    let running = around.start(Relay::new(config).unwrap());
    Fixture { relay: around.context.ports.get().unwrap(), running, around }
}

/// A relay whose host has joined its topics.
pub(crate) async fn joined(config: Config) -> Fixture {
    let shards = config.shards.len();
    let fixture = start(config);
    for _ in 0..shards {
        fixture.join().await;
    }
    finish().await;
    assert_eq!(fixture.running.ready(), Ok(()));
    fixture
}

/// Lets everything that can run, run: on the paused clock a sleep ends only when all else waits.
pub(crate) async fn finish() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

impl Fixture {
    /// What the relay asks of the host next.
    pub(crate) async fn asked(&self) -> HostMessage {
        self.around.host.receiver().unwrap().recv().await.unwrap()
    }

    /// Whether the relay has asked nothing of the host.
    pub(crate) async fn asked_nothing(&self) -> bool {
        finish().await;
        self.around.host.receiver().unwrap().try_recv().is_none()
    }

    /// The host joins the topic that the relay asks for next.
    pub(crate) async fn join(&self) -> String {
        match self.asked().await {
            HostMessage::Subscribe { topic, reply } => {
                reply.send(true).unwrap();
                topic
            }
            other => panic!("expected a subscription, got {other:?}"),
        }
    }

    pub(crate) async fn publication(&self) -> (String, Vec<u8>, PublishReply) {
        match self.asked().await {
            HostMessage::Publish { topic, data, reply } => (topic, data, reply),
            other => panic!("expected a publication, got {other:?}"),
        }
    }

    pub(crate) async fn verdict(&self) -> Verdict {
        match self.asked().await {
            HostMessage::Verdict { verdict, .. } => verdict,
            other => panic!("expected a verdict, got {other:?}"),
        }
    }

    /// Gossip arrives.
    pub(crate) fn gossip(&self, topic: &str, data: Vec<u8>) {
        let gossip = GossipMessage { id: vec![1; 32], source: peer(1), topic: topic.into(), data };
        self.relay.address().try_send(RelayMessage::Gossip(gossip)).unwrap();
    }

    /// A request arrives at one of the services.
    pub(crate) fn request(&self, protocol: &'static str, from: Requester, body: Vec<u8>) -> oneshot::Receiver<Vec<u8>> {
        let (respond, response) = oneshot::channel();
        let request = InboundRequest { protocol, from, ip: None, body, respond };
        self.around.context.services.get(protocol).unwrap().submit(request);
        response
    }

    /// A v3 request arrives from behind the mixnet.
    pub(crate) fn push(&self, topic: Option<&str>, message: WakuMessage) -> oneshot::Receiver<Vec<u8>> {
        self.push_from(Requester::Anonymous, topic, message)
    }

    pub(crate) fn push_from(
        &self,
        from: Requester,
        topic: Option<&str>,
        message: WakuMessage,
    ) -> oneshot::Receiver<Vec<u8>> {
        let request = v3::Request { request_id: "id".into(), pubsub_topic: topic.map(str::to_owned), message };
        self.request(V3_PROTOCOL, from, request.encode())
    }

    pub(crate) async fn stop(&self, within: Duration) -> wakumix_role_api::StopReport {
        self.running.stop(Instant::now() + within).await
    }
}

/// Status and text of a v3 response.
pub(crate) async fn status(response: oneshot::Receiver<Vec<u8>>) -> (u32, Option<String>) {
    let response = v3::Response::decode(&response.await.unwrap()).unwrap();
    (response.status_code.0, response.status_desc)
}

pub(crate) fn message(payload: &str) -> WakuMessage {
    WakuMessage {
        payload: payload.into(),
        content_topic: "/mixtest/1/chat/proto".into(),
        timestamp: Some(1_756_000_000_123_456_789),
        ..WakuMessage::default()
    }
}
