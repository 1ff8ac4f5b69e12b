//! Request–response protocols, as server and as client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test helpers fail the test")]

mod support;

use std::time::Duration;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::StreamProtocol;
use support::{
    Node, Setup, TCP,
    raw::{Muxer, RawPeer, frame},
    within,
};
use wakumix_role_api::{
    InboundRequest, Requester, Service, Services,
    host::{ReadRule, RequestFailure},
};
use wakumix_waku::lightpush::V3_PROTOCOL;

const LIGHTPUSH: StreamProtocol = StreamProtocol::new(V3_PROTOCOL);
const MAX_REQUEST: usize = 200 * 1024;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A service that answers with the request backwards, except that it has no answer to "silence".
fn backwards() -> Services {
    let answer = |request: InboundRequest| {
        assert!(matches!(request.from, Requester::Peer(_)));
        let mut body = request.body;
        if body != b"silence" {
            body.reverse();
            request.respond.send(body).ok();
        }
    };
    Services::new([("test", vec![Service::new(V3_PROTOCOL, MAX_REQUEST, answer)])]).unwrap()
}

async fn server() -> Node {
    let mut setup = Setup::listening(&[TCP]);
    setup.services = backwards();
    setup.start().await
}

async fn ask(client: &Node, server: &Node, body: &[u8]) -> Result<Vec<u8>, RequestFailure> {
    let addresses = server.host.listen_addresses().to_vec();
    let read = ReadRule::LengthPrefixed { max: MAX_REQUEST };
    within(client.handle.request(server.peer(), addresses, V3_PROTOCOL, frame(body), read, RESPONSE_TIMEOUT)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_and_the_answer_keeps_its_prefix() {
    let (client, server) = (Setup::listening(&[]).start().await, server().await);
    assert_eq!(ask(&client, &server, b"abc").await, Ok(frame(b"cba")));
    let large: Vec<u8> = (0..MAX_REQUEST).map(|n| n.to_le_bytes()[0]).collect();
    let backwards: Vec<u8> = large.iter().rev().copied().collect();
    assert_eq!(ask(&client, &server, &large).await, Ok(frame(&backwards)));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_run_side_by_side() {
    let (client, server) = (Setup::listening(&[]).start().await, server().await);
    // As many as a peer may have open streams.
    let asks = (0..16u8).map(|number| ask(&client, &server, std::slice::from_ref(Box::leak(Box::new(number)))));
    let answers = futures::future::join_all(asks).await;
    for (number, answer) in (0..16u8).zip(answers) {
        assert_eq!(answer, Ok(frame(&[number])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn says_why_there_is_no_answer() {
    let (client, server) = (Setup::listening(&[]).start().await, server().await);
    assert!(matches!(ask(&client, &server, b"silence").await, Err(RequestFailure::Stream(_))));
    let too_large = vec![0; MAX_REQUEST + 1];
    assert!(matches!(ask(&client, &server, &too_large).await, Err(RequestFailure::Stream(_))));
    let nobody = Setup::listening(&[]).start().await;
    let plain = Setup::listening(&[TCP]).start().await;
    assert_eq!(ask(&client, &plain, b"abc").await, Err(RequestFailure::Unsupported));
    assert!(matches!(ask(&client, &nobody, b"abc").await, Err(RequestFailure::DialFailed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_up_when_the_time_is_over() {
    let client = Setup::listening(&[]).start().await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    let _unread = peer.accept(LIGHTPUSH);
    let read = ReadRule::LengthPrefixed { max: 100 };
    let response_timeout = Duration::from_millis(300);
    let asked = client.handle.request(
        peer.peer,
        vec![peer.address.clone()],
        V3_PROTOCOL,
        frame(b"abc"),
        read,
        response_timeout,
    );
    assert_eq!(within(asked).await, Err(RequestFailure::Timeout));
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_more_open_requests_than_its_bound() {
    let mut setup = Setup::listening(&[]);
    setup.config.requests.outbound = 1;
    let client = setup.start().await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    let mut streams = peer.accept(LIGHTPUSH);
    let read = ReadRule::LengthPrefixed { max: 100 };
    let request = || {
        client.handle.request(peer.peer, vec![peer.address.clone()], V3_PROTOCOL, frame(b"abc"), read, RESPONSE_TIMEOUT)
    };
    let (first, second, ()) = tokio::join!(request(), request(), async {
        let mut stream = within(streams.next()).await.unwrap().1;
        let mut asked = vec![0; 4];
        within(stream.read_exact(&mut asked)).await.unwrap();
        // The answer does not wait for the end of the question.
        within(stream.write_all(&frame(b"yes"))).await.unwrap();
        within(stream.flush()).await.unwrap();
        within(stream.close()).await.unwrap();
    });
    assert_eq!((first, second), (Ok(frame(b"yes")), Err(RequestFailure::Busy)));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_writes_when_nothing_is_to_be_read() {
    let client = Setup::listening(&[]).start().await;
    let mut peer = RawPeer::start(Muxer::Yamux).await;
    let mut streams = peer.accept(LIGHTPUSH);
    let addresses = vec![peer.address.clone()];
    let asked =
        client.handle.request(peer.peer, addresses, V3_PROTOCOL, b"raw".to_vec(), ReadRule::Nothing, RESPONSE_TIMEOUT);
    assert_eq!(within(asked).await, Ok(Vec::new()));
    let mut read = Vec::new();
    within(streams.next()).await.unwrap().1.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"raw");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_on_a_stream_that_was_opened_long_before() {
    let mut setup = Setup::listening(&[TCP]);
    setup.services = backwards();
    // Shorter than the other exchange takes: the limit must not run while the stream is idle.
    setup.config.requests.read_timeout = Duration::from_millis(1);
    let server = setup.start().await;
    let mut peer = RawPeer::start(Muxer::Mplex).await;
    peer.connect(server.full_address(0)).await;
    let mut early = peer.open(server.peer(), LIGHTPUSH).await;
    for stream in [&mut peer.open(server.peer(), LIGHTPUSH).await, &mut early] {
        within(stream.write_all(&frame(b"abc"))).await.unwrap();
        within(stream.flush()).await.unwrap();
        let mut answer = Vec::new();
        // Our half stays open: the server must close after its answer all the same.
        within(stream.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer, frame(b"cba"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_one_stream_more_than_a_peer_may_have() {
    let server = server().await;
    let mut peer = RawPeer::connected(&server).await;
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(peer.open(server.peer(), LIGHTPUSH).await);
    }
    let mut one_more = peer.open(server.peer(), LIGHTPUSH).await;
    assert!(!matches!(within(one_more.read(&mut [0; 1])).await, Ok(1)));
    let mut first = idle.swap_remove(0);
    within(first.write_all(&frame(b"abc"))).await.unwrap();
    within(first.flush()).await.unwrap();
    let mut answer = Vec::new();
    within(first.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, frame(b"cba"));
}
