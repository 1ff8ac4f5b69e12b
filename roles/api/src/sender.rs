//! What the sender takes: lightpush requests and probes of local callers, and replies that came back; and the port by which
//! it pushes without the mixnet, [`PlainPush`].

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use parking_lot::RwLock;
use tokio::sync::oneshot;
pub use wakumix_client::{
    Anonymity, ClientError, Exposure, LoopOutcome, LoopRequest,
    lightpush::{Answer, Certainty, DeliveryPath, DirectFailure, DirectPush, PushFailure},
};
use wakumix_client::{Input, ReplyOpening, SurbStore};
pub use wakumix_mix::LoopPlace;
use wakumix_mix::{DropReason, Outcome, Packet, Stage};
use wakumix_sphinx::SurbId;
use wakumix_waku::WakuMessage;

use crate::{Address, Formats, NoRoom, RoleName};

/// The role that takes these messages.
pub const NAME: RoleName = RoleName::new("sender");

/// How many guards the sender has in use, where the node does not forward; a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardsInUse(pub usize);

/// A message to the sender.
#[derive(Debug)]
pub enum SenderMessage {
    /// Push a message over the mixnet.
    Push(Box<PushMessage>),
    /// Send a packet through a node and back to this one.
    Loop(Loop),
    /// What the sender's own tasks bring its client: results, timers.
    Client(Box<Input>),
}

/// One lightpush request over the mixnet.
#[derive(Debug)]
pub struct PushMessage {
    /// The message. A missing timestamp is set before it is hashed (`spec/waku.md §1.2`), to one
    /// that does not tell when it was sent.
    pub message: WakuMessage,
    /// The pubsub topic; `None` lets the service derive the shard.
    pub pubsub_topic: Option<String>,
    /// The exit to use; `None` chooses among those that serve lightpush.
    pub exit: Option<PeerId>,
    /// How long the caller waits for the answer; `None` takes the configured limit.
    pub timeout: Option<Duration>,
    /// Whether the mixnet may be left out.
    pub anonymity: Anonymity,
    /// The outcome. A caller that goes away drops its end, and the request's state is freed.
    pub reply: oneshot::Sender<Result<Answer, PushFailure>>,
}

/// One packet from this node through another and back.
#[derive(Debug)]
pub struct Loop {
    /// Through which, and where on the way.
    pub request: LoopRequest,
    /// The outcome. A caller that goes away drops its end, and the loop's state is freed.
    pub reply: oneshot::Sender<Result<LoopOutcome, ClientError>>,
}

/// A packet that the mixer recognised as a reply.
#[derive(Debug)]
pub struct ReplyPacket {
    /// Which SURB it came through.
    pub id: SurbId,
    /// The packet, its last layer already processed (`spec/mix-wire.md §9.3`).
    pub packet: Packet,
}

/// What opens the replies to this node's requests. Cheap to clone; all clones are one. The sender fills it whenever it
/// starts.
#[derive(Clone, Debug, Default)]
pub struct ReplyOpener(Arc<RwLock<Option<SurbStore>>>);

impl ReplyOpener {
    /// Replies are opened with this store from now on.
    pub fn serve(&self, surbs: SurbStore) {
        *self.0.write() = Some(surbs);
    }

    fn current(&self) -> Option<SurbStore> {
        self.0.read().clone()
    }
}

/// The port by which a message is pushed without the mixnet: out of this node's own relay, else by a request to a service. The
/// node offers it, whatever roles run; the sender and REST take it. Cheap to clone.
#[derive(Clone)]
pub struct PlainPush(Arc<dyn Fn(DirectPush, Duration) -> Pushing + Send + Sync>);

type Pushing = BoxFuture<'static, Result<Answer, PushFailure>>;

impl PlainPush {
    /// A port that pushes with this function, within the time that it is given.
    pub fn new<F>(push: impl Fn(DirectPush, Duration) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Answer, PushFailure>> + Send + 'static,
    {
        Self(Arc::new(move |request, limit| push(request, limit).boxed()))
    }

    /// Pushes a message directly. The answer's path is [`DeliveryPath::Direct`] without a reason.
    ///
    /// # Errors
    /// [`PushFailure::NoService`], [`PushFailure::Service`], [`PushFailure::BadAnswer`], [`PushFailure::Client`].
    ///
    /// Cancel safe: yes; what has left is published nevertheless.
    pub async fn push(&self, request: DirectPush, limit: Duration) -> Result<Answer, PushFailure> {
        (self.0)(request, limit).await
    }
}

/// The way to the sender. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SenderHandle {
    address: Address<SenderMessage>,
    replies: ReplyOpener,
}

impl SenderHandle {
    /// Wraps the sender's address.
    pub fn new(address: Address<SenderMessage>) -> Self {
        Self { address, replies: ReplyOpener::default() }
    }

    /// The queue itself.
    pub fn address(&self) -> &Address<SenderMessage> {
        &self.address
    }

    /// What opens replies.
    pub fn replies(&self) -> &ReplyOpener {
        &self.replies
    }

    /// Opens a reply on the calling thread, which takes half a millisecond, and brings the sender its bytes. There is room for
    /// them before the reply block is used up.
    pub fn open_reply(&self, formats: &Formats, reply: ReplyPacket) {
        let ReplyPacket { id, mut packet } = reply;
        packet.enter(Stage::Reply);
        let surbs = self.replies.current().filter(|surbs| surbs.knows(&id));
        let (Some(surbs), Some(served)) = (surbs, formats.of(&packet)) else {
            return packet.reject(DropReason::UnknownReply);
        };
        let slot = match self.address.try_reserve() {
            Ok(slot) => slot,
            Err(NoRoom::Full) => return packet.reject(DropReason::QueueFull),
            Err(NoRoom::Closed) => return packet.reject(DropReason::Stopped),
        };
        let (id, answer) = match surbs.open(&*served.format, &id, packet.bytes_mut()) {
            ReplyOpening::Opened(id, answer) => {
                packet.finish(Outcome::Replied);
                (id, Some(answer))
            }
            ReplyOpening::Burned(id, reason) => {
                packet.reject(reason);
                (id, None)
            }
            ReplyOpening::Refused(reason) => return packet.reject(reason),
        };
        slot.send(SenderMessage::Client(Box::new(Input::Reply(id, answer))));
    }

    /// Pushes a message over the mixnet, or not at all, and waits for the outcome.
    ///
    /// Cancel safe: yes; dropping the future frees the request's state.
    pub async fn push(
        &self,
        message: WakuMessage,
        pubsub_topic: Option<String>,
        exit: Option<PeerId>,
        timeout: Option<Duration>,
    ) -> Result<Answer, PushFailure> {
        self.push_as(Anonymity::Required, message, pubsub_topic, exit, timeout).await
    }

    /// Pushes a message with as much anonymity as asked for, and waits for the outcome.
    ///
    /// Cancel safe: yes; dropping the future frees the request's state.
    pub async fn push_as(
        &self,
        anonymity: Anonymity,
        message: WakuMessage,
        pubsub_topic: Option<String>,
        exit: Option<PeerId>,
        timeout: Option<Duration>,
    ) -> Result<Answer, PushFailure> {
        let (reply, outcome) = oneshot::channel();
        let push = PushMessage { message, pubsub_topic, exit, timeout, anonymity, reply };
        self.address
            .try_send(SenderMessage::Push(Box::new(push)))
            .map_err(|error| if error.is_full() { ClientError::Busy } else { ClientError::Stopped })?;
        outcome.await.unwrap_or(Err(ClientError::Stopped.into()))
    }

    /// Sends a packet through a node of the pool and back, and waits for it.
    ///
    /// # Errors
    /// Why no packet left.
    ///
    /// Cancel safe: yes; dropping the future frees the loop's state.
    pub async fn probe(
        &self,
        through: PeerId,
        place: LoopPlace,
        timeout: Option<Duration>,
    ) -> Result<LoopOutcome, ClientError> {
        let (reply, outcome) = oneshot::channel();
        let request = LoopRequest { through, place, timeout };
        self.address
            .try_send(SenderMessage::Loop(Loop { request, reply }))
            .map_err(|error| if error.is_full() { ClientError::Busy } else { ClientError::Stopped })?;
        outcome.await.unwrap_or_else(|_| {
            let restarted = ClientError::Internal("the sender failed and was restarted");
            Err(if self.address.is_closed() { ClientError::Stopped } else { restarted })
        })
    }
}
