//! A push without the mixnet: out of this node's own relay, else by a request to a service, which then sees who pushes
//! (`spec/waku.md §4.1`).

use std::time::Duration;

use tokio::time::Instant;
use wakumix_waku::{
    MessageHash, WakuMessage, frame,
    lightpush::{MAX_RESPONSE_LEN, StatusCode, UNKNOWN_REQUEST_ID, V3_PROTOCOL, text, v3},
};

use crate::{
    DirectoryReader, Ports,
    host::{HostHandle, ReadRule, RequestFailure},
    relay::RelayHandle,
    sender::{Answer, Certainty, PushFailure, Way},
};

/// Pushes directly. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PlainPush {
    host: HostHandle,
    relay: Option<RelayHandle>,
    directory: DirectoryReader,
}

/// What is pushed.
#[derive(Clone, Debug)]
pub struct PlainRequest {
    /// The request id, 20 random hex digits as the fleet's clients have (`spec/waku.md §5.5`).
    pub id: String,
    /// The pubsub topic; `None` lets the relay or the service derive the shard.
    pub topic: Option<String>,
    /// The message.
    pub message: WakuMessage,
}

impl PlainPush {
    /// Through these ports, to services of this directory.
    #[must_use]
    pub fn new(ports: &Ports, directory: DirectoryReader) -> Self {
        Self { host: ports.host.clone(), relay: ports.relay.clone(), directory }
    }

    /// Publishes from the own relay if there is one, else asks the first service of the directory. The answer's way is
    /// [`Way::Direct`] without a reason.
    ///
    /// # Errors
    /// [`PushFailure::NoService`], [`PushFailure::Service`], [`PushFailure::BadAnswer`], [`PushFailure::Busy`],
    /// [`PushFailure::Deadline`].
    ///
    /// Cancel safe: yes; what has left is published nevertheless.
    pub async fn push(&self, request: PlainRequest, limit: Duration) -> Result<Answer, PushFailure> {
        match &self.relay {
            Some(relay) => {
                let published = tokio::time::timeout(limit, publish(relay, request)).await;
                published.unwrap_or(Err(PushFailure::Deadline { limit, tries: 1 }))
            }
            None => self.ask(request, limit).await,
        }
    }

    async fn ask(&self, request: PlainRequest, limit: Duration) -> Result<Answer, PushFailure> {
        let started = Instant::now();
        let directory = self.directory.snapshot();
        let service = directory.lightpush.first().ok_or(PushFailure::NoService)?;
        let PlainRequest { id, topic, message } = request;
        let hash = topic.as_deref().map(|topic| *MessageHash::of(topic, &message).as_bytes());
        let request = v3::Request { request_id: id.clone(), pubsub_topic: topic, message };
        let (frame, read) = (frame::encode(&request.encode()), ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN });
        let asked = self.host.request(service.peer, service.addresses.clone(), V3_PROTOCOL, frame, read, limit);
        let answer = asked.await.map_err(|failure| match failure {
            RequestFailure::Timeout => PushFailure::Deadline { limit, tries: 1 },
            RequestFailure::Busy => PushFailure::Busy,
            RequestFailure::Stopped => PushFailure::Stopped,
            failure => PushFailure::Service(failure),
        })?;
        let v3::Response { status_code, status_desc, relay_peer_count, .. } = read_response(&answer, &id)?;
        let description = status_desc;
        Ok(direct(status_code.0, description, relay_peer_count, hash, started))
    }
}

async fn publish(relay: &RelayHandle, request: PlainRequest) -> Result<Answer, PushFailure> {
    let started = Instant::now();
    let published = relay.publish(request.topic, request.message).await.ok_or(PushFailure::Busy)?;
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
    let (certainty, way, round_trip) = (Certainty::Confirmed, Way::Direct(None), started.elapsed());
    Answer { certainty, way, tries: 1, packets: 0, status, description, relay_peer_count, message_hash, round_trip }
}

/// Reads a framed lightpush response to a request as the fleet's clients do: success without a single relay peer is 505.
///
/// What stands behind the frame is ignored, as a stream reader would: a service whose message block has a sequence
/// number leaves four bytes there if ours has none (`spec/mix-wire.md §7.2`).
///
/// # Errors
/// [`PushFailure::BadAnswer`] if it does not parse, or answers another request. Who did not read the request cannot know
/// its id: with status 400, 413, 429 or 503 the id may be `N/A`.
pub fn read_response(data: &[u8], request_id: &str) -> Result<v3::Response, PushFailure> {
    let bad = |problem: String| PushFailure::BadAnswer(problem);
    let (body, _) = frame::decode(data, MAX_RESPONSE_LEN)
        .map_err(|error| bad(error.to_string()))?
        .ok_or_else(|| bad("it ends before its length says".to_owned()))?;
    let mut response = v3::Response::decode(body).map_err(|error| bad(error.to_string()))?;
    if !answers(&response, request_id) {
        return Err(bad("it answers another request".to_owned()));
    }
    if response.status_code.is_success() && response.relay_peer_count == Some(0) {
        response.status_code = StatusCode::NO_PEERS_TO_RELAY;
        response.status_desc.get_or_insert_with(|| text::NO_PEERS.to_owned());
    }
    Ok(response)
}

/// Statuses of those who need not have read the request.
const UNREAD: [StatusCode; 4] = [
    StatusCode::BAD_REQUEST,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::SERVICE_NOT_AVAILABLE,
];

fn answers(response: &v3::Response, request_id: &str) -> bool {
    response.request_id == request_id
        || (response.request_id == UNKNOWN_REQUEST_ID && UNREAD.contains(&response.status_code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Directory, DirectoryPublisher,
        directory::ServiceNode,
        host::HostMessage,
        mailbox,
        relay::{Published, RelayMessage},
    };
    use wakumix_telemetry::Telemetry;

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

    fn request() -> PlainRequest {
        let message = WakuMessage { payload: vec![7], content_topic: "/a/1/b/c".to_owned(), ..WakuMessage::default() };
        PlainRequest { id: "id".to_owned(), topic: Some(TOPIC.to_owned()), message }
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
        let (address, inbox) = mailbox("host", 1, &Telemetry::new());
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
        assert_eq!(answer.way, Way::Direct(None));
        assert_eq!(answer.message_hash, Some(*MessageHash::of(TOPIC, &request().message).as_bytes()));
    }

    #[tokio::test]
    async fn without_relay_and_service_there_is_nobody_to_ask() {
        let (address, _inbox) = mailbox("host", 1, &Telemetry::new());
        let (_publisher, directory) = directory(0);
        let plain = PlainPush { host: HostHandle::new(address), relay: None, directory };
        assert_eq!(plain.push(request(), LIMIT).await, Err(PushFailure::NoService));
    }

    #[tokio::test]
    async fn the_own_relay_is_preferred() {
        let telemetry = Telemetry::new();
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

    #[test]
    fn success_without_peers_becomes_505() {
        let read = read_response(&response("req", StatusCode::SUCCESS, Some(0)), "req").unwrap();
        assert_eq!(read.status_code, StatusCode::NO_PEERS_TO_RELAY);
        assert_eq!(read.status_desc.as_deref(), Some(text::NO_PEERS));
        let uncounted = read_response(&response("req", StatusCode::SUCCESS, None), "req").unwrap();
        assert_eq!(uncounted.status_code, StatusCode::SUCCESS);
    }

    #[test]
    fn an_unknown_id_is_accepted_only_from_who_need_not_have_read_the_request() {
        for (status, is_accepted) in
            [(429, true), (400, true), (413, true), (503, true), (200, false), (500, false), (420, false)]
        {
            let data = response("N/A", StatusCode(status), None);
            assert_eq!(read_response(&data, "req").is_ok(), is_accepted, "{status}");
        }
        let other = response("another", StatusCode::TOO_MANY_REQUESTS, None);
        let refused = PushFailure::BadAnswer("it answers another request".to_owned());
        assert_eq!(read_response(&other, "req"), Err(refused));
    }
}
