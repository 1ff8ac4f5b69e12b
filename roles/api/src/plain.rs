//! A push without the mixnet: out of this node's own relay, else by a request to a service, which then sees who pushes
//! (`spec/waku.md §4.1`).

use std::time::Duration;

use tokio::time::Instant;
pub use wakumix_client::lightpush::DirectPush;
use wakumix_waku::{
    MessageHash, frame,
    lightpush::{MAX_RESPONSE_LEN, V3_PROTOCOL, v3},
};

use crate::{
    DirectoryReader, Ports,
    host::{HostHandle, ReadRule, RequestFailure},
    relay::RelayHandle,
    sender::{Answer, Certainty, ClientError, DeliveryPath, DirectFailure, PushFailure},
};

/// Pushes directly. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PlainPush {
    host: HostHandle,
    relay: Option<RelayHandle>,
    directory: DirectoryReader,
}

impl PlainPush {
    /// Through these ports, to services of this directory.
    #[must_use]
    pub fn new(ports: &Ports, directory: DirectoryReader) -> Self {
        Self { host: ports.host.clone(), relay: ports.get(), directory }
    }

    /// Publishes from the own relay if there is one, else asks the first service of the directory. The answer's path is
    /// [`DeliveryPath::Direct`] without a reason.
    ///
    /// # Errors
    /// [`PushFailure::NoService`], [`PushFailure::Service`], [`PushFailure::BadAnswer`],
    /// [`PushFailure::Client`].
    ///
    /// Cancel safe: yes; what has left is published nevertheless.
    pub async fn push(&self, request: DirectPush, limit: Duration) -> Result<Answer, PushFailure> {
        match &self.relay {
            Some(relay) => {
                let published = tokio::time::timeout(limit, publish(relay, request)).await;
                published.unwrap_or(Err(ClientError::Deadline { limit, tries: 1 }.into()))
            }
            None => self.ask(request, limit).await,
        }
    }

    async fn ask(&self, request: DirectPush, limit: Duration) -> Result<Answer, PushFailure> {
        let started = Instant::now();
        let directory = self.directory.snapshot();
        let service = directory.lightpush.first().ok_or(PushFailure::NoService)?;
        let DirectPush { id, topic, message } = request;
        let hash = topic.as_deref().map(|topic| *MessageHash::of(topic, &message).as_bytes());
        let request = v3::Request { request_id: id.clone(), pubsub_topic: topic, message };
        let (frame, read) = (frame::encode(&request.encode()), ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN });
        let asked = self.host.request(service.peer, service.addresses.clone(), V3_PROTOCOL, frame, read, limit);
        let answer = asked.await.map_err(|failure| match failure {
            RequestFailure::Timeout => ClientError::Deadline { limit, tries: 1 }.into(),
            RequestFailure::Busy => ClientError::Busy.into(),
            RequestFailure::Stopped => ClientError::Stopped.into(),
            RequestFailure::DialFailed => PushFailure::Service(DirectFailure::DialFailed),
            RequestFailure::Unsupported => PushFailure::Service(DirectFailure::Unsupported),
            RequestFailure::Stream(problem) => PushFailure::Service(DirectFailure::Stream(problem)),
        })?;
        let v3::Response { status_code, status_desc, relay_peer_count, .. } = v3::Response::read_answer(&answer, &id)?;
        let description = status_desc;
        Ok(direct(status_code.0, description, relay_peer_count, hash, started))
    }
}

async fn publish(relay: &RelayHandle, request: DirectPush) -> Result<Answer, PushFailure> {
    let started = Instant::now();
    let published = relay.publish(request.topic, request.message).await.ok_or(ClientError::Busy)?;
    let hash = published.hash.map(|hash| *hash.as_bytes());
    Ok(direct(published.status, published.description, published.relay_peer_count, hash, started))
}

fn direct(
    status: u32,
    description: Option<String>,
    relay_peer_count: Option<u32>,
    message_hash: Option<[u8; 32]>,
    started: Instant,
) -> Answer {
    let (certainty, path, round_trip) = (Certainty::Confirmed, DeliveryPath::Direct(None), started.elapsed());
    Answer { certainty, path, tries: 1, packets: 0, status, description, relay_peer_count, message_hash, round_trip }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Directory, DirectoryPublisher,
        directory::ServiceNode,
        host::HostMessage,
        mailbox,
        metrics::telemetry,
        relay::{Published, RelayMessage},
    };
    use wakumix_waku::{WakuMessage, lightpush::StatusCode};

    const TOPIC: &str = "/waku/2/rs/2/0";
    const LIMIT: Duration = Duration::from_secs(5);

    fn response(request_id: &str, status: StatusCode, count: Option<u32>) -> Vec<u8> {
        let response = v3::Response {
            request_id: request_id.to_owned(),
            status_code: status,
            status_desc: None,
            relay_peer_count: count,
        };
        frame::encode(&response.encode())
    }

    fn request() -> DirectPush {
        let message = WakuMessage { payload: vec![7], content_topic: "/a/1/b/c".to_owned(), ..WakuMessage::default() };
        DirectPush { id: "id".to_owned(), topic: Some(TOPIC.to_owned()), message }
    }

    fn directory(services: usize) -> (DirectoryPublisher, DirectoryReader) {
        let peer = "16Uiu2HAmPiEs2ozjjJF2iN2Pe2FYeMC9w4caRHKYdLdAfjgbWM6o".parse().unwrap();
        let (publisher, reader) = DirectoryPublisher::new();
        let lightpush = vec![ServiceNode::new(peer, Vec::new()); services];
        publisher.publish(Directory { lightpush, ..Directory::default() });
        (publisher, reader)
    }

    #[tokio::test]
    async fn without_a_relay_the_first_service_is_asked() {
        let (address, inbox) = mailbox("host", 1, &telemetry());
        let (_publisher, directory) = directory(1);
        let plain = PlainPush { host: HostHandle::new(address), relay: None, directory };
        let mut host = inbox.receiver().unwrap();
        let service = async {
            let Some(HostMessage::Request(asked)) = host.recv().await else { panic!() };
            assert_eq!((asked.protocol.as_str(), asked.timeout), (V3_PROTOCOL, LIMIT));
            asked.reply.send(Ok(response("id", StatusCode::SUCCESS, Some(4)))).unwrap();
        };
        let (answer, ()) = futures::join!(plain.push(request(), LIMIT), service);
        let answer = answer.unwrap();
        assert_eq!((answer.status, answer.relay_peer_count, answer.tries, answer.packets), (200, Some(4), 1, 0));
        assert_eq!(answer.path, DeliveryPath::Direct(None));
        assert_eq!(answer.message_hash, Some(*MessageHash::of(TOPIC, &request().message).as_bytes()));
    }

    #[tokio::test]
    async fn without_relay_and_service_there_is_nobody_to_ask() {
        let (address, _inbox) = mailbox("host", 1, &telemetry());
        let (_publisher, directory) = directory(0);
        let plain = PlainPush { host: HostHandle::new(address), relay: None, directory };
        assert_eq!(plain.push(request(), LIMIT).await, Err(PushFailure::NoService));
    }

    #[tokio::test]
    async fn the_own_relay_is_preferred() {
        let telemetry = telemetry();
        let (host, _host_inbox) = mailbox("host", 1, &telemetry);
        let (relay, inbox) = mailbox("relay", 1, &telemetry);
        let (_publisher, directory) = directory(1);
        let relay = Some(RelayHandle::new(relay));
        let plain = PlainPush { host: HostHandle::new(host), relay, directory };
        let mut relay = inbox.receiver().unwrap();
        let publishing = async {
            let Some(RelayMessage::Publish { reply, .. }) = relay.recv().await else { panic!() };
            let published = Published { status: 420, description: None, relay_peer_count: None, hash: None };
            reply.send(published).unwrap();
        };
        let (answer, ()) = futures::join!(plain.push(request(), LIMIT), publishing);
        assert_eq!(answer.map(|answer| answer.kind()), Ok("refused"));
    }
}
