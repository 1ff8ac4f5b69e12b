//! Waku metadata, both ways on every connection (`spec/waku.md §3`): we ask once, and answer always.
//!
//! Nwaku disconnects peers that do not answer or are of another cluster. What we do is decided by
//! [`Judgement`] and the host's configuration.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, future::BoxFuture,
    stream::FuturesUnordered,
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        StreamUpgradeError, SubstreamProtocol, THandler, THandlerInEvent, ToSwarm,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::time::timeout;
use wakumix_waku::metadata::{MAX_LEN, Metadata, PROTOCOL};

use crate::{
    frame::{append_frame, read_frame, read_frame_after},
    metrics::Direction,
};

/// From asking to the answer, and from the first byte of a question to the end of ours.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Questions that one connection may have open; js-waku opens one in advance.
const MAX_QUESTIONS: usize = 4;

/// Shards of a peer that are looked at: those of a record (`spec/waku.md §2.5`).
const MAX_SHARDS: usize = 1024;

/// What a peer's metadata, or the lack of it, says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The peer is of our cluster.
    SameCluster,
    /// The peer is of another cluster.
    OtherCluster,
    /// The peer speaks metadata but names no cluster; nwaku disconnects it.
    NoCluster,
    /// The peer does not speak the protocol.
    Unsupported,
    /// No answer, or none that can be read.
    Failed,
}

impl Judgement {
    /// The label of the metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SameCluster => "same_cluster",
            Self::OtherCluster => "other_cluster",
            Self::NoCluster => "no_cluster",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
        }
    }

    /// Whether the connection ends. Peers without metadata are bare mix nodes and stay unless `require_metadata`.
    pub(crate) fn disconnects(self, require_metadata: bool) -> bool {
        match self {
            Self::SameCluster => false,
            Self::OtherCluster | Self::NoCluster => true,
            Self::Unsupported | Self::Failed => require_metadata,
        }
    }
}

/// One exchange ended.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) peer: PeerId,
    pub(crate) connection: ConnectionId,
    /// Who asked.
    pub(crate) direction: Direction,
    pub(crate) judgement: Judgement,
    /// What the peer of our cluster says that it relays.
    pub(crate) shards: Vec<u16>,
}

/// What a peer has said.
#[derive(Debug)]
pub(crate) struct Answer {
    judgement: Judgement,
    shards: Vec<u16>,
}

impl From<Judgement> for Answer {
    fn from(judgement: Judgement) -> Self {
        Self { judgement, shards: Vec::new() }
    }
}

/// What this node tells of itself; one frame.
#[derive(Debug)]
struct Own {
    cluster: u32,
    frame: Vec<u8>,
}

impl Own {
    fn judge(&self, metadata: &Metadata) -> Answer {
        match metadata.cluster_id {
            Some(cluster) if cluster == self.cluster => {
                let shards = metadata.shards.iter().filter_map(|shard| u16::try_from(*shard).ok());
                Answer { judgement: Judgement::SameCluster, shards: shards.take(MAX_SHARDS).collect() }
            }
            Some(_) => Judgement::OtherCluster.into(),
            None => Judgement::NoCluster.into(),
        }
    }
}

/// The behaviour of metadata.
pub(crate) struct Behaviour {
    own: Arc<Own>,
    /// At most one question and [`MAX_QUESTIONS`] answers per connection.
    events: VecDeque<Event>,
}

impl Behaviour {
    pub(crate) fn new(cluster: u16, shards: &[u16]) -> Self {
        let shards = shards.iter().copied().map(u32::from).collect();
        let metadata = Metadata { cluster_id: Some(cluster.into()), shards };
        let mut frame = Vec::new();
        append_frame(&mut frame, &metadata.encode());
        Self { own: Arc::new(Own { cluster: cluster.into(), frame }), events: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.own.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(self.own.clone()))
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        (direction, Answer { judgement, shards }): (Direction, Answer),
    ) {
        self.events.push_back(Event { peer, connection, direction, judgement, shards });
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Event, THandlerInEvent<Self>>> {
        // Events come only from handlers, after which the swarm polls again.
        self.events.pop_front().map_or(Poll::Pending, |event| Poll::Ready(ToSwarm::GenerateEvent(event)))
    }
}

/// The connection handler of metadata.
pub(crate) struct Handler {
    own: Arc<Own>,
    /// We ask once per connection.
    asked: bool,
    exchanges: FuturesUnordered<BoxFuture<'static, (Direction, Answer)>>,
    unsupported: Option<Judgement>,
    questions: Arc<crate::slots::StreamSlots>,
}

impl Handler {
    fn new(own: Arc<Own>) -> Self {
        Self { own, asked: false, exchanges: FuturesUnordered::new(), unsupported: None, questions: Arc::default() }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = (Direction, Answer);
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(StreamProtocol::new(PROTOCOL)), ())
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if !self.asked {
            self.asked = true;
            let protocol = self.listen_protocol().with_timeout(TIME_LIMIT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if let Some(judgement) = self.unsupported.take() {
            let event = (Direction::Outbound, judgement.into());
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Poll::Ready(Some(event)) = self.exchanges.poll_next_unpin(cx) {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        Poll::Pending
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                // One question too many is reset by dropping it.
                let Some(slot) = self.questions.take(MAX_QUESTIONS) else { return };
                let answer = answer(stream, self.own.clone());
                self.exchanges.push(
                    async move {
                        let _open = slot;
                        (Direction::Inbound, answer.await)
                    }
                    .boxed(),
                );
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, .. }) => {
                let ask = ask(stream, self.own.clone());
                self.exchanges.push(ask.map(|answer| (Direction::Outbound, answer)).boxed());
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.unsupported = Some(match error {
                    StreamUpgradeError::NegotiationFailed => Judgement::Unsupported,
                    _ => Judgement::Failed,
                });
            }
            _ => {}
        }
    }
}

/// Asks. Our half is closed at once: js-waku reads until the end before it lets go of the stream.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, own: Arc<Own>) -> Answer {
    let exchange = async {
        stream.write_all(&own.frame).await?;
        stream.close().await?;
        read_frame(&mut stream, MAX_LEN).await
    };
    judge(timeout(TIME_LIMIT, exchange).await.unwrap_or_else(|late| Err(late.into())), &own)
}

/// Answers, whether or not the peer has closed its half, and closes. A stream that is opened in advance may be idle
/// before its first byte.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, own: Arc<Own>) -> Answer {
    let mut first = [0u8; 1];
    if stream.read_exact(&mut first).await.is_err() {
        return Judgement::Failed.into();
    }
    let exchange = async {
        let question = read_frame_after(&mut stream, first[0], MAX_LEN).await?;
        stream.write_all(&own.frame).await?;
        stream.close().await?;
        Ok(question)
    };
    judge(timeout(TIME_LIMIT, exchange).await.unwrap_or_else(|late| Err(late.into())), &own)
}

fn judge(body: io::Result<Vec<u8>>, own: &Own) -> Answer {
    let metadata = body.ok().and_then(|body| Metadata::decode(&body).ok());
    metadata.map_or_else(|| Judgement::Failed.into(), |metadata| own.judge(&metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerates_silence_but_never_another_cluster() {
        assert!(!Judgement::SameCluster.disconnects(true));
        assert!(!Judgement::Unsupported.disconnects(false));
        assert!(!Judgement::Failed.disconnects(false));
        assert!(Judgement::Unsupported.disconnects(true));
        assert!(Judgement::OtherCluster.disconnects(false));
        assert!(Judgement::NoCluster.disconnects(false));
    }
}
