//! One exchange on one stream, from either side.

use std::{io, net::IpAddr};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{Multiaddr, PeerId, StreamProtocol, multiaddr::Protocol};
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Instant, timeout, timeout_at},
};
use wakumix_role_api::{
    InboundRequest, Requester, Service,
    host::{OutboundRequest, ReadRule, RequestFailure},
};

use super::handler::Serving;
use crate::{
    frame::{append_frame, read_frame, read_frame_as_it_grows},
    limits::LastUse,
};

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote {
    pub(super) peer: PeerId,
    /// Where its packets come from; `None` behind a relay.
    pub(super) ip: Option<IpAddr>,
}

impl Remote {
    pub(super) fn new(peer: PeerId, address: &Multiaddr) -> Self {
        let is_relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
        let ip = match address.iter().next() {
            Some(Protocol::Ip4(ip)) if !is_relayed => Some(ip.into()),
            Some(Protocol::Ip6(ip)) if !is_relayed => Some(ip.to_canonical()),
            _ => None,
        };
        Self { peer, ip }
    }
}

/// A request of this node on its way to a peer.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(super) protocol: StreamProtocol,
    bytes: Vec<u8>,
    read: ReadRule,
    pub(super) deadline: Instant,
    answer: Answer,
    /// One of `RequestLimits::outbound`.
    _permit: OwnedSemaphorePermit,
}

/// Where the answer goes. A request that is dropped on its way (the connection closed) is answered too.
#[derive(Debug)]
struct Answer(Option<oneshot::Sender<Result<Vec<u8>, RequestFailure>>>);

impl Answer {
    fn send(mut self, result: Result<Vec<u8>, RequestFailure>) {
        self.complete(result);
    }

    fn complete(&mut self, result: Result<Vec<u8>, RequestFailure>) {
        if let Some(reply) = self.0.take() {
            // Nobody waits any more.
            let _ = reply.send(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.complete(Err(RequestFailure::Stream("the connection closed".to_owned())));
    }
}

impl Ask {
    /// Takes a request apart; one for an impossible protocol name is answered at once.
    pub(super) fn new(request: OutboundRequest, permit: OwnedSemaphorePermit) -> Option<Self> {
        let OutboundRequest { protocol, bytes, read, timeout, reply, .. } = request;
        let answer = Answer(Some(reply));
        match StreamProtocol::try_from_owned(protocol) {
            Ok(protocol) => {
                let deadline = Instant::now() + timeout;
                Some(Self { protocol, bytes, read, deadline, answer, _permit: permit })
            }
            Err(_) => {
                answer.send(Err(RequestFailure::Unsupported));
                None
            }
        }
    }

    /// Ends without an exchange.
    pub(super) fn fail(self, failure: RequestFailure) {
        self.answer.send(Err(failure));
    }

    /// Writes the request, closes our half, reads the answer. Nothing waits for the end of the stream: nwaku's
    /// servers answer after one frame and js-waku closes its half as we do, so both ways are known to be safe.
    pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(self, mut stream: S, last_use: LastUse) {
        let open = last_use.request();
        let exchange = async {
            stream.write_all(&self.bytes).await?;
            stream.close().await?;
            match self.read {
                ReadRule::LengthPrefixed { max } => {
                    let body = read_frame(&mut stream, max).await?;
                    let mut frame = Vec::with_capacity(body.len() + 5);
                    append_frame(&mut frame, &body);
                    Ok(frame)
                }
                ReadRule::Nothing => Ok(Vec::new()),
            }
        };
        let result = match timeout_at(self.deadline, exchange).await {
            Ok(result) => result.map_err(|error: io::Error| RequestFailure::Stream(error.to_string())),
            Err(_) => Err(RequestFailure::Timeout),
        };
        // Before anybody hears of the answer: who has it may end the visit.
        drop(open);
        self.answer.send(result);
    }
}

/// Answers one request of a peer: reads it, asks the service, writes, closes.
///
/// A stream may be idle as long as it likes before its first byte. What cannot be read or answered is dropped without
/// a word, and the stream with it, which resets it: whoever has asked looks for another service at once.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    remote: Remote,
    service: Service,
    serving: Serving,
    last_use: LastUse,
) -> io::Result<()> {
    exchange(&mut stream, remote, service, &serving, &last_use).await
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    remote: Remote,
    service: Service,
    serving: &Serving,
    last_use: &LastUse,
) -> io::Result<()> {
    let mut first = [0u8; 1];
    if stream.read(&mut first).await? == 0 {
        return stream.close().await;
    }
    let limits = &serving.limits;
    let (mut place, gives_way) = serving.bodies.begin();
    let body = read_frame_as_it_grows(stream, first[0], service.max_request, |bytes| place.grow(bytes));
    let body = tokio::select! {
        body = timeout(limits.read_timeout, body) => body??,
        _ = gives_way => return Err(busy()),
    };
    place.complete()?;
    // Taken only now: who writes slowly keeps nobody else waiting.
    let _permit = serving.permits.clone().try_acquire_owned().map_err(|_| busy())?;
    let _open = last_use.request();
    let (respond, answer) = oneshot::channel();
    let Remote { peer, ip } = remote;
    let request = InboundRequest { protocol: service.protocol, from: Requester::Peer(peer), ip, body, respond };
    // Without an answer (the service refused or ended) the stream ends.
    service.submit(request);
    let answer = timeout(limits.answer_timeout, answer).await?.map_err(io::Error::other)?;
    timeout(limits.write_timeout, async {
        let mut frame = Vec::with_capacity(answer.len() + 5);
        append_frame(&mut frame, &answer);
        stream.write_all(&frame).await?;
        stream.close().await
    })
    .await??;
    Ok(())
}

fn busy() -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, "too many requests")
}
