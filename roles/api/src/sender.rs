//! What the sender takes: lightpush requests and probes of local callers, and replies that came back.

use std::time::Duration;

use libp2p_identity::PeerId;
use tokio::sync::oneshot;
use wakumix_mix::{ExitStatus, LoopPlace, Packet};
use wakumix_sphinx::SurbId;
use wakumix_waku::{WakuMessage, lightpush::StatusCode};

use crate::{
    Address,
    host::{RequestFailure, SendFailure},
};

/// A message to the sender.
#[derive(Debug)]
pub enum SenderMessage {
    /// Push a message over the mixnet.
    Push(Box<Push>),
    /// Send a packet through a node and back to this one.
    Loop(Loop),
    /// A packet that is a reply to one of our SURBs.
    Reply(ReplyPacket),
    /// Time to drop requests whose limit has passed.
    Expire,
}

/// One lightpush request over the mixnet.
#[derive(Debug)]
pub struct Push {
    /// The message. A missing timestamp is set to now before it is hashed (`spec/waku.md §1.2`).
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

/// One packet from this node through another and back: an own reply block, used at once, so that on the wire it is a reply
/// like others. Counts against the same limits as a request.
#[derive(Debug)]
pub struct Loop {
    /// The node to pass.
    pub through: PeerId,
    /// Where on the way it is passed. A node that cannot be the last hop before this one is passed first.
    pub place: LoopPlace,
    /// How long to wait for the packet; `None` takes the configured limit.
    pub timeout: Option<Duration>,
    /// The outcome. A caller that goes away drops its end, and the loop's state is freed.
    pub reply: oneshot::Sender<Result<LoopOutcome, PushFailure>>,
}

/// What became of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopOutcome {
    /// It came back after so long: a hold here, two hops with their delays.
    Returned(Duration),
    /// It did not come back in time.
    Lost,
}

/// Whether a service may learn who pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anonymity {
    /// Over the mixnet or not at all.
    #[default]
    Required,
    /// Over the mixnet if that can be used now, else directly; the answer says so.
    Preferred,
    /// Directly: the service sees who pushes.
    None,
}

impl Anonymity {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Required, Self::Preferred, Self::None];

    /// The word in requests, flags and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::None => "none",
        }
    }
}

/// What is known of a message that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The service has answered.
    Confirmed,
    /// No answer came, but this node saw the message on the relay network.
    Seen,
}

/// Which way a message went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over the mixnet.
    Mixnet,
    /// Directly to a service, or out of this node's own relay: as asked, or since the mixnet could not be used for this
    /// reason.
    Direct(Option<Box<PushFailure>>),
}

/// The service's answer, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How sure it is that the message was published.
    pub certainty: Certainty,
    /// Which way it went.
    pub way: Way,
    /// How often it was sent, the last time included.
    pub tries: u32,
    /// Packets that were made for it, replies not counted.
    pub packets: u32,
    /// Lightpush status code (`spec/waku.md §4.1`); 200 for one that was seen.
    pub status: u32,
    /// The service's words.
    pub description: Option<String>,
    /// To how many relay peers it was sent.
    pub relay_peer_count: Option<u32>,
    /// The deterministic hash of what was pushed, as the sender computed it; absent when the service derives the
    /// topic and this node does not know the number of shards.
    pub message_hash: Option<[u8; 32]>,
    /// From the first packet handed to the mixer until the answer was opened.
    pub round_trip: Duration,
}

impl Answer {
    /// The stable code of this outcome: `confirmed`, `published_unconfirmed`, or `refused` by the service.
    pub fn kind(&self) -> &'static str {
        match (self.certainty, StatusCode(self.status).is_success()) {
            (Certainty::Seen, _) => "published_unconfirmed",
            (Certainty::Confirmed, true) => "confirmed",
            (Certainty::Confirmed, false) => "refused",
        }
    }
}

/// Why there is no answer. `kind` is the stable code shared by REST, command line, metrics and docs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushFailure {
    /// Not enough mix nodes are known.
    #[error("pool {usable} of {needed} needed: {reason}")]
    PoolTooSmall {
        /// Nodes that a path can use.
        usable: usize,
        /// Nodes that a path needs.
        needed: usize,
        /// What is wrong with the other nodes that are known: `1 expired, 2 unreachable`.
        reason: String,
    },
    /// No known mix node serves lightpush where the message goes.
    #[error("no mix node that serves lightpush{} is known; name one with lightpushnode", on_topic(topic.as_deref()))]
    NoExit {
        /// The pubsub topic of the message, where it is known: `/waku/2/rs/<cluster>/<shard>`.
        topic: Option<String>,
    },
    /// The exit asked for is not in the pool.
    #[error("the exit {0} is not in the mix pool; add it as mixnode")]
    ExitUnknown(PeerId),
    /// The node that a loop is to pass is not in the pool.
    #[error("the node {0} is not in the mix pool")]
    NodeUnknown(PeerId),
    /// The payload is longer than the mixnet carries in any packet format.
    #[error("the payload is {size} bytes, at most {limit} are allowed over the mixnet")]
    PayloadTooLarge {
        /// Bytes of the payload.
        size: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The framed request does not fit what the known exits take: one packet, or fragments where they put them together.
    #[error(
        "the request is {size} bytes, {limit} fit towards the exits that are known; shorten the payload by {} bytes",
        size.saturating_sub(*limit)
    )]
    TooLarge {
        /// Bytes of the framed lightpush request.
        size: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// The topic or content topic is malformed.
    #[error("{0}")]
    InvalidMessage(String),
    /// Too many requests wait for their answers, or nothing could leave in time: no free packet buffer, a full queue.
    #[error("too many requests are open; try again later")]
    Busy,
    /// This node has no address that a reply could be sent to, and no connection on which one could come.
    #[error("this node has no address that a reply path can carry; listen on IPv4 TCP or QUIC, or set ext-multiaddr")]
    NoReplyAddress,
    /// Nobody can dial this node, and none of the mix nodes that it is connected to can be the last hop of a reply.
    #[error(
        "nobody can dial this node, and it is connected to no mix node that could bring it replies; wait for connections"
    )]
    NoConnectedHop,
    /// No first hop that was tried could be reached.
    #[error("the first hop failed: {0}")]
    FirstHop(SendFailure),
    /// No answer came in time. The message may have been published.
    #[error("no answer within {} ms after {tries} tries; the message may have been published", limit.as_millis())]
    Deadline {
        /// The limit that passed, from acceptance.
        limit: Duration,
        /// How often the request had left.
        tries: u32,
    },
    /// An answer came that does not parse.
    #[error("the answer is malformed: {0}")]
    BadAnswer(String),
    /// The exit answered with nothing: it could not reach the service (`spec/mix-wire.md §11.1`).
    #[error("the exit could not reach the service")]
    ServiceUnreachable,
    /// The exit took the request out of the mixnet and would not pass it on.
    #[error("the exit did not serve the request, status {status}: {}", reason.as_str())]
    ExitRefused {
        /// The lightpush status that it answered with.
        status: u32,
        /// Its reason.
        reason: ExitStatus,
    },
    /// A message that is to go directly, on a node without a relay that knows no service.
    #[error("no relay runs on this node, and no node that serves lightpush is known")]
    NoService,
    /// A message that went directly, and its service could not be asked.
    #[error("the service failed: {0}")]
    Service(RequestFailure),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// A bug of ours.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl PushFailure {
    /// The stable code.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PoolTooSmall { .. } => "pool_too_small",
            Self::NoExit { .. } => "no_exit",
            Self::ExitUnknown(_) => "exit_unknown",
            Self::NodeUnknown(_) => "node_unknown",
            Self::PayloadTooLarge { .. } | Self::TooLarge { .. } => "too_large",
            Self::InvalidMessage(_) => "invalid_message",
            Self::Busy | Self::Service(RequestFailure::Busy) => "busy",
            Self::NoReplyAddress => "no_reply_address",
            Self::NoConnectedHop => "no_connected_hop",
            Self::FirstHop(_) => "first_hop_failed",
            Self::Deadline { .. } | Self::Service(RequestFailure::Timeout) => "deadline",
            Self::BadAnswer(_) => "bad_answer",
            Self::ServiceUnreachable => "service_unreachable",
            Self::ExitRefused { .. } => "exit_refused",
            Self::NoService => "no_service",
            Self::Service(RequestFailure::DialFailed) => "dial_failed",
            Self::Service(RequestFailure::Unsupported) => "unsupported",
            Self::Service(RequestFailure::Stream(_)) => "stream_failed",
            Self::Stopped | Self::Service(RequestFailure::Stopped) => "stopped",
            Self::Internal(_) => "internal",
        }
    }
}

fn on_topic(topic: Option<&str>) -> String {
    topic.map(|topic| format!(" on {topic}")).unwrap_or_default()
}

/// A packet that the mixer recognised as a reply.
#[derive(Debug)]
pub struct ReplyPacket {
    /// Which SURB it came through.
    pub id: SurbId,
    /// The packet, its last layer already processed (`spec/mix-wire.md §9.3`).
    pub packet: Packet,
}

/// The way to the sender. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SenderHandle {
    address: Address<SenderMessage>,
}

impl SenderHandle {
    /// Wraps the sender's address.
    pub fn new(address: Address<SenderMessage>) -> Self {
        Self { address }
    }

    /// The queue itself.
    pub fn address(&self) -> &Address<SenderMessage> {
        &self.address
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
        let push = Push { message, pubsub_topic, exit, timeout, anonymity, reply };
        self.address
            .try_send(SenderMessage::Push(Box::new(push)))
            .map_err(|error| if error.is_full() { PushFailure::Busy } else { PushFailure::Stopped })?;
        outcome.await.unwrap_or(Err(PushFailure::Stopped))
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
    ) -> Result<LoopOutcome, PushFailure> {
        let (reply, outcome) = oneshot::channel();
        self.address
            .try_send(SenderMessage::Loop(Loop { through, place, timeout, reply }))
            .map_err(|error| if error.is_full() { PushFailure::Busy } else { PushFailure::Stopped })?;
        outcome.await.unwrap_or_else(|_| {
            let restarted = PushFailure::Internal("the sender failed and was restarted");
            Err(if self.address.is_closed() { PushFailure::Stopped } else { restarted })
        })
    }
}
