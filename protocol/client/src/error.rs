//! Why a client has no answer. `kind` is the stable code that REST, command line, metrics and docs share.

use std::time::Duration;

use libp2p_identity::PeerId;
use thiserror::Error;
use wakumix_mix::HopAddress;
use wakumix_sphinx::WireFormat;
use wakumix_waku::PubsubTopic;

use crate::{PoolCounts, ServiceKind};

/// Why a request, or a loop, has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Not enough mix nodes are known.
    #[error("pool too small: {usable} usable mix nodes, {needed} needed ({others})")]
    PoolTooSmall {
        /// Nodes that a path can use.
        usable: usize,
        /// Nodes that a path needs.
        needed: usize,
        /// What is wrong with the other nodes that are known: `1 expired, 2 unreachable`.
        others: PoolCounts,
    },
    /// No known mix node serves what is wanted where it is wanted.
    #[error("no mix node that serves {service}{} is known; name one with {service}node", on_topic(topic.as_ref()))]
    NoExit {
        /// What is wanted.
        service: ServiceKind,
        /// The pubsub topic, where it is known.
        topic: Option<PubsubTopic>,
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
        /// Bytes of the framed request.
        size: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// Too many requests wait for their answers, or nothing could leave in time: no free packet buffer, a full queue.
    #[error("too many requests are open; try again later")]
    Busy,
    /// This node has no address that a reply could be sent to, and no connection on which one could come.
    #[error(
        "this node has no address that a reply path can carry, and no connection to a mix node on which replies could come; wait for connections, or listen on IPv4 TCP or QUIC"
    )]
    NoReplyAddress,
    /// Nobody can dial this node, and none of the mix nodes that it is connected to can be the last hop of a reply.
    #[error(
        "nobody can dial this node, and it is connected to no mix node that could bring it replies; wait for connections"
    )]
    NoConnectedHop,
    /// None of this node's guards is connected.
    #[error("none of this node's {sampled} guards is connected; they are dialled again and again")]
    NoGuard {
        /// How many it has.
        sampled: usize,
    },
    /// The pool lies in too few hands.
    #[error(
        "the pool is in {found} networks (/24), {needed} are needed, so that nobody carries both ends of a request; \
         wait for more nodes, name mix nodes of your own, or lower sender.min-subnets"
    )]
    TooFewSubnets {
        /// Networks that its nodes are in.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// A request that prefers anonymity has no route yet, and it is too early to do without.
    #[error("{problem}; a request that prefers anonymity goes directly if that lasts {} s longer", left.as_secs().max(1))]
    NotYetDirect {
        /// What it lacks.
        problem: Box<ClientError>,
        /// How much longer that must last.
        left: Duration,
    },
    /// A loop is to pass a node that is no guard of this node.
    #[error(
        "the node {0} is no guard of this node in use, and all that a node sends that does not forward passes its guards; \
         name one of them, or probe from a mixer"
    )]
    NotAGuard(PeerId),
    /// No first hop that was tried could be reached.
    #[error("the first hop failed: {0}")]
    FirstHop(SendFailure),
    /// No answer came in time. What was asked for may have been done.
    #[error("no answer within {} ms after {tries} tries; what was asked for may have been done", limit.as_millis())]
    Deadline {
        /// The limit that passed, from acceptance.
        limit: Duration,
        /// How often the request had left.
        tries: u32,
    },
    /// No answer came in time, nor to any try for long: replies do not find this node, or nothing gets through at all. What was
    /// asked for may have been done.
    #[error(
        "no answer within {} ms after {tries} tries; what was asked for may have been done; {}",
        limit.as_millis(),
        no_replies(*silent, address.as_deref(), *wire)
    )]
    NoReplies {
        /// The limit that passed, from acceptance.
        limit: Duration,
        /// How often the request had left.
        tries: u32,
        /// Tries of this client since the last answer, those of other requests included.
        silent: u32,
        /// Where replies are sent; `None` if they come over connections of this node alone.
        address: Option<Box<HopAddress>>,
        /// What its packets are.
        wire: WireFormat,
    },
    /// Some services say that it is done, and fewer than are to say so.
    #[error("{said} of {needed} services say that it is done; what was asked for may have been done")]
    Unconfirmed {
        /// How many say so.
        said: u32,
        /// How many are to.
        needed: u32,
    },
    /// A reply came that is not sound, and its try is used up: only without the countermeasure.
    #[error("the answer is malformed: it is not sound")]
    Unsound,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// A bug of ours.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl ClientError {
    /// The stable code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::PoolTooSmall { .. } => "pool_too_small",
            Self::NoExit { .. } => "no_exit",
            Self::ExitUnknown(_) => "exit_unknown",
            Self::NodeUnknown(_) => "node_unknown",
            Self::PayloadTooLarge { .. } | Self::TooLarge { .. } => "too_large",
            Self::Busy => "busy",
            Self::NoReplyAddress => "no_reply_address",
            Self::NoConnectedHop => "no_connected_hop",
            Self::NoGuard { .. } => "no_guard",
            Self::TooFewSubnets { .. } => "too_few_subnets",
            Self::NotYetDirect { problem, .. } => problem.kind(),
            Self::NotAGuard(_) => "not_a_guard",
            Self::FirstHop(_) => "first_hop_failed",
            Self::Deadline { .. } => "deadline",
            Self::NoReplies { .. } => "no_replies",
            Self::Unconfirmed { .. } => "unconfirmed",
            Self::Unsound => "bad_answer",
            Self::Stopped => "stopped",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the mixnet cannot be used for the request now: what a request that prefers anonymity goes directly for, as
    /// long as nothing of it has left.
    #[must_use]
    pub(crate) fn is_mixnet_unusable(&self) -> bool {
        matches!(
            self,
            Self::PoolTooSmall { .. }
                | Self::NoExit { .. }
                | Self::ExitUnknown(_)
                | Self::PayloadTooLarge { .. }
                | Self::TooLarge { .. }
                | Self::NoReplyAddress
                | Self::NoConnectedHop
                | Self::NoGuard { .. }
                | Self::TooFewSubnets { .. }
        )
    }
}

/// What a client lacks that has had no answer to so many tries, and sends replies to this address or over its connections.
#[must_use]
pub fn no_replies(silent: u32, address: Option<&HopAddress>, wire: WireFormat) -> String {
    let way = match address {
        Some(address) => {
            format!("at {}, so check that others can reach that, or set nat or ext-multiaddr", address.location())
        }
        None => "over the connections of this node, for nobody can dial it".to_owned(),
    };
    format!(
        "none of the last {silent} tries of this node was answered: nothing gets through, or replies do not come; they are to come {way}; \
         where nodes do not tell their wire profile they may speak another one than {wire} (key profile)"
    )
}

fn on_topic(topic: Option<&PubsubTopic>) -> String {
    topic.map(|topic| format!(" on {topic}")).unwrap_or_default()
}

/// Why a packet did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendFailure {
    /// The peer's queue, or the host's, is full.
    #[error("too many packets wait for this hop")]
    QueueFull,
    /// No connection could be made.
    #[error("the hop cannot be reached")]
    DialFailed,
    /// The packet may only use a connection that exists, and there is no such connection (any more).
    #[error("the hop is not connected and must not be dialled")]
    NotConnected,
    /// The stream broke twice.
    #[error("the connection to the hop broke")]
    WriteFailed,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}
