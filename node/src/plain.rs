//! A push without the mixnet: out of this node's own relay, else by a request to a service, which then sees who pushes
//! (`spec/waku.md §4.1`). The node offers it as a port, [`PlainPush`], to the sender and to REST; it needs neither role.

use std::time::Duration;

use rand::seq::IndexedRandom as _;
use tokio::time::{Instant, timeout};
use wakumix_role_api::{
    DirectoryReader, Ports,
    host::{HostHandle, ReadRule, RequestFailure},
    relay::{Published, RelayHandle},
    sender::{
        Answer, Certainty, ClientError, DeliveryPath, DirectFailure, DirectPush, Exposure, PlainPush, PushFailure,
    },
};
use wakumix_waku::{
    MessageHash, frame,
    lightpush::{MAX_RESPONSE_LEN, V3_PROTOCOL, v3},
};

/// Publishes from the own relay if there is one, else asks the first service of the directory.
pub(crate) fn plain_push(ports: &Ports, directory: DirectoryReader) -> PlainPush {
    let (host, relay) = (ports.host.clone(), ports.get::<RelayHandle>());
    PlainPush::new(move |request, limit| {
        let (host, relay, directory) = (host.clone(), relay.clone(), directory.clone());
        async move {
            let started = Instant::now();
            let published = match relay {
                Some(relay) => publish(&relay, request, limit).await,
                None => ask(&host, &directory, request, limit).await,
            };
            Ok(answer(published?, started.elapsed()))
        }
    })
}

async fn publish(relay: &RelayHandle, request: DirectPush, limit: Duration) -> Result<Published, PushFailure> {
    let late = ClientError::Deadline { limit, tries: 1 };
    let published = timeout(limit, relay.publish(request.topic, request.message)).await.map_err(|_| late)?;
    Ok(published.ok_or(ClientError::Busy)?)
}

async fn ask(
    host: &HostHandle,
    directory: &DirectoryReader,
    request: DirectPush,
    limit: Duration,
) -> Result<Published, PushFailure> {
    let directory = directory.snapshot();
    // Not the same one always: it would see all of them.
    let service = directory.lightpush.choose(&mut rand::rng()).ok_or(PushFailure::NoService)?;
    let DirectPush { id, topic, message } = request;
    let hash = topic.as_deref().map(|topic| MessageHash::of(topic, &message));
    let request = v3::Request { request_id: id.clone(), pubsub_topic: topic, message };
    let (frame, read) = (frame::encode(&request.encode()), ReadRule::LengthPrefixed { max: MAX_RESPONSE_LEN });
    let asked = host.request(service.peer, service.addresses.clone(), V3_PROTOCOL, frame, read, limit);
    let answer = asked.await.map_err(|failure| match failure {
        RequestFailure::Timeout => ClientError::Deadline { limit, tries: 1 }.into(),
        RequestFailure::Busy => ClientError::Busy.into(),
        RequestFailure::Stopped => ClientError::Stopped.into(),
        RequestFailure::DialFailed => PushFailure::Service(DirectFailure::DialFailed),
        RequestFailure::Unsupported => PushFailure::Service(DirectFailure::Unsupported),
        RequestFailure::Stream(problem) => PushFailure::Service(DirectFailure::Stream(problem)),
    })?;
    let v3::Response { status_code, status_desc, relay_peer_count, .. } = v3::Response::read_answer(&answer, &id)?;
    Ok(Published { status: status_code.0, description: status_desc, relay_peer_count, hash })
}

fn answer(published: Published, round_trip: Duration) -> Answer {
    let Published { status, description, relay_peer_count, hash } = published;
    let message_hash = hash.map(|hash| *hash.as_bytes());
    let (certainty, path) = (Certainty::Confirmed, DeliveryPath::Direct(None));
    Answer {
        certainty,
        path,
        tries: 1,
        exposure: Exposure::default(),
        status,
        description,
        relay_peer_count,
        message_hash,
        round_trip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakumix_role_api::{
        Directory, DirectoryPublisher, Receiver,
        directory::ServiceNode,
        host::{HostMessage, OutboundRequest},
        mailbox,
        relay::{self, RelayMessage},
    };
    use wakumix_role_testkit::peer;
    use wakumix_waku::{WakuMessage, lightpush::StatusCode};

    const TOPIC: &str = "/waku/2/rs/2/0";
    const LIMIT: Duration = Duration::from_secs(5);

    /// The port of a node, and what the test plays around it.
    struct World {
        plain: PlainPush,
        host: Receiver<HostMessage>,
        relay: Receiver<RelayMessage>,
        _directory: DirectoryPublisher,
    }

    impl World {
        fn new(has_relay: bool, services: usize) -> Self {
            let telemetry = wakumix_role_testkit::telemetry(&crate::metrics::METRICS);
            let (host, host_inbox) = mailbox("host", 1, &telemetry);
            let (relay, relay_inbox) = mailbox("relay", 1, &telemetry);
            let mut ports = Ports::new(HostHandle::new(host));
            if has_relay {
                ports.insert(relay::NAME, RelayHandle::new(relay)).unwrap();
            }
            let (publisher, reader) = DirectoryPublisher::new();
            let lightpush = vec![ServiceNode::new(peer(1), Vec::new()); services];
            publisher.publish(Directory { lightpush, ..Directory::default() });
            Self {
                plain: plain_push(&ports, reader),
                host: host_inbox.receiver().unwrap(),
                relay: relay_inbox.receiver().unwrap(),
                _directory: publisher,
            }
        }

        /// Answers the request that the host gets with what `service` makes of it; the outcome of the push.
        async fn push_to(
            &mut self,
            service: impl FnOnce(&OutboundRequest) -> Result<Vec<u8>, RequestFailure>,
        ) -> Result<Answer, PushFailure> {
            let serve = async {
                let Some(HostMessage::Request(asked)) = self.host.recv().await else { panic!() };
                let answer = service(&asked);
                asked.reply.send(answer).unwrap();
            };
            futures::join!(self.plain.push(request(), LIMIT), serve).0
        }
    }

    fn request() -> DirectPush {
        let message = WakuMessage { payload: vec![7], content_topic: "/a/1/b/c".to_owned(), ..WakuMessage::default() };
        DirectPush { id: "id".to_owned(), topic: Some(TOPIC.to_owned()), message }
    }

    #[tokio::test]
    async fn without_a_relay_the_first_service_is_asked() {
        let mut world = World::new(false, 1);
        let outcome = world.push_to(|asked| {
            assert_eq!((asked.peer, asked.protocol.as_str(), asked.timeout), (peer(1), V3_PROTOCOL, LIMIT));
            let DirectPush { id, topic, message } = request();
            let (body, _) = frame::decode(&asked.bytes, 1024).unwrap().unwrap();
            let expected = v3::Request { request_id: id.clone(), pubsub_topic: topic, message };
            assert_eq!(v3::Request::decode(body).unwrap(), expected);
            let (status_code, relay_peer_count) = (StatusCode::SUCCESS, Some(4));
            let response = v3::Response { request_id: id, status_code, status_desc: None, relay_peer_count };
            Ok(frame::encode(&response.encode()))
        });
        let answer = outcome.await.unwrap();
        assert_eq!(
            (answer.status, answer.relay_peer_count, answer.tries, answer.exposure.packets),
            (200, Some(4), 1, 0)
        );
        assert_eq!((answer.kind(), answer.path), ("confirmed", DeliveryPath::Direct(None)));
        assert_eq!(answer.message_hash, Some(*MessageHash::of(TOPIC, &request().message).as_bytes()));
    }

    #[tokio::test]
    async fn a_service_that_cannot_be_asked_is_a_failure_with_its_code() {
        for (failure, code) in [
            (RequestFailure::Timeout, "deadline"),
            (RequestFailure::Busy, "busy"),
            (RequestFailure::Stopped, "stopped"),
            (RequestFailure::DialFailed, "dial_failed"),
            (RequestFailure::Unsupported, "unsupported"),
            (RequestFailure::Stream("reset".to_owned()), "stream_failed"),
        ] {
            let outcome = World::new(false, 1).push_to(|_| Err(failure)).await;
            assert_eq!(outcome.map_err(|failure| failure.kind()), Err(code));
        }
        let outcome = World::new(false, 1).push_to(|_| Ok(vec![1, 255])).await;
        assert_eq!(outcome.map_err(|failure| failure.kind()), Err("bad_answer"));
        assert_eq!(World::new(false, 0).plain.push(request(), LIMIT).await, Err(PushFailure::NoService));
    }

    #[tokio::test(start_paused = true)]
    async fn the_own_relay_is_preferred_and_has_as_much_time() {
        let mut world = World::new(true, 1);
        let publishing = async {
            let Some(RelayMessage::Publish { topic, reply, .. }) = world.relay.recv().await else { panic!() };
            assert_eq!(topic.as_deref(), Some(TOPIC));
            reply.send(Published { status: 420, description: None, relay_peer_count: None, hash: None }).unwrap();
        };
        let (answer, ()) = futures::join!(world.plain.push(request(), LIMIT), publishing);
        assert_eq!(answer.map(|answer| answer.kind()), Ok("refused"));
        let late = ClientError::Deadline { limit: LIMIT, tries: 1 };
        assert_eq!(world.plain.push(request(), LIMIT).await, Err(late.into()));
        assert_eq!(world.plain.push(request(), LIMIT).await, Err(ClientError::Busy.into()), "its queue is full");
        assert!(world.host.is_empty());
    }
}
