//! One packet format on one connection: reads the remote's streams, and writes to the peer if this is the connection that
//! the behaviour chose for it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p::{
    StreamProtocol,
    core::upgrade::ReadyUpgrade,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};
use tokio::time::{Sleep, sleep};

use super::{
    gate::PeerGate,
    inbound::{Ingress, ReadEnd, Reception, read_packets},
    outbound::{WriteEnd, write_packets},
    queue::PeerQueue,
    streams::{FurtherStreams, PeerStreams},
};
use crate::{
    config::MixLimits,
    limits::LastUse,
    metrics::{Direction, FrameRefusal, StreamGuard},
};

/// How long packets of a closed connection may wait for room in this host.
const LAST_READS: Duration = Duration::from_secs(2);

type Event = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, (), ToBehaviour>;

/// What the behaviour asks of a connection.
#[derive(Debug)]
pub(crate) enum FromBehaviour {
    /// Open the stream to this peer and write its queue.
    Write,
}

/// What a connection tells the behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToBehaviour {
    /// The stream ended between two packets; nothing was lost.
    StreamClosed,
    /// A write failed; unwritten packets are back in the queue, one attempt poorer.
    WriteFailed,
    /// No stream could be opened here.
    OpenFailed {
        /// The peer does not speak the protocol at all.
        unsupported: bool,
    },
}

/// What a connection needs to know of its peer and its host.
#[derive(Clone, Debug)]
pub(super) struct PeerLink {
    pub(super) queue: Arc<PeerQueue>,
    pub(super) streams: Arc<PeerStreams>,
    pub(super) further: Arc<FurtherStreams>,
    pub(super) gate: Arc<PeerGate>,
    pub(super) ingress: Ingress,
    pub(super) last_use: LastUse,
    pub(super) limits: Arc<MixLimits>,
}

enum Writer {
    Idle,
    /// The behaviour wants a stream.
    Wanted,
    /// It is being negotiated.
    Opening,
    Writing(BoxFuture<'static, WriteEnd>),
}

/// The connection handler of one packet format.
pub(crate) struct Handler {
    protocol: StreamProtocol,
    link: PeerLink,
    /// As many as the peer finds places for.
    readers: FuturesUnordered<BoxFuture<'static, ReadEnd>>,
    reception: Reception,
    writer: Writer,
    /// At most one event per change of `writer`.
    events: VecDeque<ToBehaviour>,
    /// The limit of what is still unread when the connection closes.
    last_reads: Option<Pin<Box<Sleep>>>,
}

impl Handler {
    pub(super) fn new(protocol: StreamProtocol, link: PeerLink) -> Self {
        Self {
            protocol,
            reception: Reception::new(link.last_use.clone()),
            link,
            readers: FuturesUnordered::new(),
            writer: Writer::Idle,
            events: VecDeque::new(),
            last_reads: None,
        }
    }

    fn accept(&mut self, stream: Stream) {
        let metrics = &self.link.ingress.metrics;
        let Some(place) = self.link.streams.take(&self.link.further, &self.link.limits) else {
            // The reference too ends it after the negotiation (`spec/live-behaviour.md §2`). Dropping it resets it.
            metrics.frame_refused(FrameRefusal::StreamLimit);
            return;
        };
        let guard = StreamGuard::new(metrics, Direction::Inbound);
        let link = &self.link;
        link.last_use.packets_follow();
        let (gate, ingress, reception) = (link.gate.clone(), link.ingress.clone(), self.reception.clone());
        self.readers.push(
            async move {
                let _open = guard;
                read_packets(stream, place, gate, ingress, reception).await
            }
            .boxed(),
        );
    }

    fn start_writing(&mut self, stream: Stream) {
        let link = &self.link;
        let guard = StreamGuard::new(&link.ingress.metrics, Direction::Outbound);
        let write = write_packets(stream, link.queue.clone(), link.limits.write_timeout, link.last_use.clone());
        self.writer = Writer::Writing(
            async move {
                let _open = guard;
                write.await
            }
            .boxed(),
        );
    }

    fn writer_ended(&mut self, event: ToBehaviour) {
        self.writer = Writer::Idle;
        self.events.push_back(event);
    }

    fn poll_writer(&mut self, cx: &mut Context<'_>) {
        if let Writer::Writing(write) = &mut self.writer
            && let Poll::Ready(end) = write.poll_unpin(cx)
        {
            self.writer_ended(match end {
                WriteEnd::Closed => ToBehaviour::StreamClosed,
                WriteEnd::Failed => ToBehaviour::WriteFailed,
            });
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = FromBehaviour;
    type ToBehaviour = ToBehaviour;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ())
    }

    fn on_behaviour_event(&mut self, event: FromBehaviour) {
        match event {
            FromBehaviour::Write => {
                if let Writer::Idle = self.writer {
                    self.writer = Writer::Wanted;
                }
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        self.poll_writer(cx);
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if let Writer::Wanted = self.writer {
            self.writer = Writer::Opening;
            let upgrade = ReadyUpgrade::new(self.protocol.clone());
            let protocol = SubstreamProtocol::new(upgrade, ()).with_timeout(self.link.limits.open_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        while let Poll::Ready(Some(end)) = self.readers.poll_next_unpin(cx) {
            tracing::trace!(%end, "a mix stream ended");
        }
        Poll::Pending
    }

    /// Ends all streams before the connection is reported as closed. Packets in flight are then back in the queue when
    /// the behaviour looks for another way to the peer, and what the remote wrote before it hung up is read: it may
    /// lie in the muxer's buffers for lack of room here. Meanwhile the connection still counts against the limits.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Option<ToBehaviour>> {
        self.writer = Writer::Idle;
        self.events.clear();
        while let Poll::Ready(Some(_)) = self.readers.poll_next_unpin(cx) {}
        let last_reads = self.last_reads.get_or_insert_with(|| Box::pin(sleep(LAST_READS)));
        if !self.readers.is_empty() && self.reception.is_held_back() && last_reads.poll_unpin(cx).is_pending() {
            return Poll::Pending;
        }
        self.readers.clear();
        Poll::Ready(None)
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => self.accept(protocol),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.start_writing(protocol);
            }
            ConnectionEvent::DialUpgradeError(failure) => {
                let unsupported = matches!(failure.error, StreamUpgradeError::<Infallible>::NegotiationFailed);
                self.writer_ended(ToBehaviour::OpenFailed { unsupported });
            }
            _ => {}
        }
    }
}
