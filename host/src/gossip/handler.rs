//! gossipsub on one connection, with the reading side in our own hands.
//!
//! The library's handler writes; what comes is read here, by the library's own codec, as fast as the [gate](super::gate) allows,
//! and messages that it drops never reach the behaviour.

use std::{
    hash::{Hash, Hasher},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _, future::Either};
use libp2p::{
    gossipsub::RawMessage,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, NetworkBehaviour, SubstreamProtocol,
        handler::{ConnectionEvent, FullyNegotiatedInbound},
    },
};
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Gossipsub,
    gate::{FrameSize, PeerGate, WaitingPlace, sizes},
};

type Library = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
pub(super) type FromBehaviour = <Library as ConnectionHandler>::FromBehaviour;
/// What the library's handler tells its behaviour.
pub(super) type Event = <Library as ConnectionHandler>::ToBehaviour;
type Inbound = <Library as ConnectionHandler>::InboundProtocol;
type Outbound = <Library as ConnectionHandler>::OutboundProtocol;

/// Frames without anything for gossipsub that are read in one go; then others of the connection's task have their turn.
const FRAMES_IN_A_GO: usize = 32;

/// For how long messages wait where the node takes no more, from the last moment at which nothing was left to read: bursts are over
/// by then, and what comes behind a flood is late by no more than this and what it takes to read on.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Frames of a stream; an error ends it.
type Frames = Pin<Box<dyn Stream<Item = Result<Event, ()>> + Send>>;

/// The connection handler of gossip.
pub(crate) struct Handler {
    library: Library,
    gate: Arc<PeerGate>,
    /// The stream that the remote has opened last.
    inbound: Option<Frames>,
    /// A frame that is not admitted yet; nothing else is read before it is.
    held: Option<Held>,
    /// Until when it waits.
    rest: Option<Pin<Box<Sleep>>>,
    /// Since when there was always something to read.
    behind_since: Option<Instant>,
}

/// A frame on its way through the gate.
struct Held {
    frame: Event,
    size: FrameSize,
    /// Whether it may be read.
    is_read: bool,
    /// Those of its messages that gossipsub may see, of the ones that were looked at.
    taken: Vec<RawMessage>,
    /// Where it waits.
    place: Option<WaitingPlace>,
}

impl Handler {
    pub(super) fn new(library: Library, gate: Arc<PeerGate>) -> Self {
        Self { library, gate, inbound: None, held: None, rest: None, behind_since: None }
    }

    /// A peer that does not take gossip is not listened to, as in the library.
    fn is_off(&self) -> bool {
        matches!(self.library, Library::Disabled(_))
    }

    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        for _ in 0..FRAMES_IN_A_GO {
            if let Some(frame) = ready!(self.poll_frame(cx)) {
                return Poll::Ready(frame);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next frame that is admitted; `None` if one is to wait or nothing of it was left.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(rest) = &mut self.rest {
            ready!(rest.poll_unpin(cx));
            self.rest = None;
        }
        let mut held = match self.held.take() {
            Some(held) => held,
            None => ready!(self.poll_read(cx)),
        };
        let may_wait = self.behind_since.is_some_and(|since| since.elapsed() < LONGEST_WAIT);
        let Err(pause) = held.pass(&self.gate, may_wait) else { return Poll::Ready(held.finish()) };
        self.rest = Some(Box::pin(sleep(pause)));
        held.place = held.place.or_else(|| self.gate.wait(held.size));
        if held.place.is_some() {
            self.held = Some(held);
        }
        Poll::Ready(None)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Held> {
        let next = self.inbound.as_mut().map_or(Poll::Pending, |frames| frames.poll_next_unpin(cx));
        match next {
            Poll::Ready(Some(Ok(frame))) => {
                self.behind_since.get_or_insert_with(Instant::now);
                return Poll::Ready(Held::new(frame));
            }
            Poll::Ready(_) => self.inbound = None,
            Poll::Pending => {}
        }
        self.behind_since = None;
        Poll::Pending
    }
}

impl Held {
    fn new(mut frame: Event) -> Self {
        let size = size(&frame);
        if let Event::Message { rpc, .. } = &mut frame {
            // They are taken out at the end, the first one first.
            rpc.messages.reverse();
        }
        Self { frame, size, is_read: false, taken: Vec::new(), place: None }
    }

    /// Goes on through the gate; for how long it must wait where it does not come to the end.
    fn pass(&mut self, gate: &PeerGate, may_wait: bool) -> Result<(), Duration> {
        if !self.is_read {
            gate.read(self.size)?;
            self.is_read = true;
        }
        let Event::Message { rpc, .. } = &mut self.frame else { return Ok(()) };
        while let Some(message) = rpc.messages.last() {
            let is_taken = gate.take(message, may_wait)?;
            let message = rpc.messages.pop();
            self.taken.extend(message.filter(|_| is_taken));
        }
        Ok(())
    }

    /// What is left for gossipsub.
    fn finish(mut self) -> Option<Event> {
        if let Event::Message { rpc, invalid_messages } = &mut self.frame {
            rpc.messages = self.taken;
            let is_empty = rpc.messages.is_empty() && rpc.subscriptions.is_empty() && rpc.control_msgs.is_empty();
            if self.size.messages > 0 && is_empty && invalid_messages.is_empty() {
                return None;
            }
        }
        Some(self.frame)
    }
}

/// What a frame holds.
fn size(frame: &Event) -> FrameSize {
    let Event::Message { rpc, invalid_messages } = frame else { return FrameSize::default() };
    let size = sizes(rpc.messages.iter().chain(invalid_messages.iter().map(|(message, _)| message)));
    let mut control = Size::default();
    rpc.subscriptions.hash(&mut control);
    rpc.control_msgs.hash(&mut control);
    FrameSize { control_bytes: control.0, ..size }
}

/// How much there is of something whose types the library does not name: each of its parts counts at least as much as it takes
/// to keep a pointer and a length. An id of 32 bytes counts 48; on the wire it has 34.
#[derive(Default)]
struct Size(usize);

impl Hasher for Size {
    fn write(&mut self, bytes: &[u8]) {
        self.0 += bytes.len().max(16);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = FromBehaviour;
    type ToBehaviour = Event;
    type InboundProtocol = Inbound;
    type OutboundProtocol = Outbound;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Inbound> {
        self.library.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.library.connection_keep_alive()
    }

    fn on_behaviour_event(&mut self, event: FromBehaviour) {
        self.library.on_behaviour_event(event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Outbound, (), Event>> {
        if let Poll::Ready(event) = self.library.poll(cx) {
            return Poll::Ready(event);
        }
        self.poll_inbound(cx).map(ConnectionHandlerEvent::NotifyBehaviour)
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Inbound, Outbound>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: Either::Left((frames, _)),
                ..
            }) => {
                if !self.is_off() {
                    self.inbound = Some(Box::pin(frames.map(|frame| frame.map_err(drop))));
                }
            }
            other => {
                self.library.on_connection_event(other);
                if self.is_off() {
                    (self.inbound, self.held, self.rest) = (None, None, None);
                }
            }
        }
    }
}
