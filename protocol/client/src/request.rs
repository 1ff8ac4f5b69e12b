//! What a client is asked for, and what comes of it.

use std::{sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use wakumix_mix::LoopPlace;
use wakumix_waku::PubsubTopic;

use crate::{AnswerReader, ServiceKind};

/// Names a request or loop among those that are open; its caller chooses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names a try of a request, or the only packet of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TryId {
    /// Whose.
    pub request: RequestId,
    /// Which, from 0, those included that did not leave.
    pub number: usize,
}

/// Bytes for a codec at a kind of service.
pub struct Request {
    /// The kind of service.
    pub service: ServiceKind,
    /// The protocol that the exit is to speak, for instance `/vac/waku/lightpush/3.0.0`.
    pub codec: Arc<str>,
    /// The application bytes, framing included.
    pub bytes: Arc<[u8]>,
    /// Bytes of what the caller gave as payload: at most [`MAX_PAYLOAD_LEN`](wakumix_mix::fragment::MAX_PAYLOAD_LEN) go over
    /// the mixnet, in whatever format.
    pub payload_len: usize,
    /// Bytes that the request holds while it is open, for the bound on all of them.
    pub held_bytes: usize,
    /// Where it is wanted, if that is known: then services must serve it as far as is known.
    pub topic: Option<PubsubTopic>,
    /// The exit, if the caller names one.
    pub exit: Option<PeerId>,
    /// How long the caller waits from acceptance; `None` takes the configured limit.
    pub timeout: Option<Duration>,
    /// Whether the mixnet may be left out.
    pub anonymity: Anonymity,
    /// Reads the answers.
    pub reader: Box<dyn AnswerReader>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("service", &self.service)
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// One packet from this node through another and back: an own reply block, used at once, so that on the wire it is a reply
/// like others. Counts against the same limits as a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoopRequest {
    /// The node to pass.
    pub through: PeerId,
    /// Where on the way it is passed. A node that cannot be the last hop before this one is passed first.
    pub place: LoopPlace,
    /// How long to wait for the packet; `None` takes the configured limit.
    pub timeout: Option<Duration>,
}

wakumix_sphinx::named_enum! {
    /// Whether a service may learn who sends.
    #[derive(Default)]
    pub enum Anonymity {
        /// Over the mixnet or not at all.
        #[default]
        Required = "required",
        /// Over the mixnet if that can be used now, else directly; the answer says so.
        Preferred = "preferred",
        /// Directly: the service sees who sends.
        None = "none",
    }
}

/// How a request that was sent over the mixnet ended well: with an answer, or with knowledge that stands for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// What is known.
    pub answer: ExchangeAnswer,
    /// How often it was sent, the last time included.
    pub tries: u32,
    /// From the first packet handed over until the end.
    pub round_trip: Duration,
    /// Who has seen something of it.
    pub exposure: Exposure,
}

/// How often a request was exposed: each of these is a draw that may hit a hostile node. Counts, and no peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Different nodes that saw this one: first hops and last hops of replies.
    pub guards: u32,
    /// Different exits that read it.
    pub exits: u32,
    /// Packets that were made for it.
    pub packets: u32,
    /// Reply paths that those packets held.
    pub reply_paths: u32,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExchangeAnswer {
    /// Application bytes; also those of a refusal.
    Said(Vec<u8>),
    /// Application bytes that would be a refusal, taken for the answer to a repeat of what an earlier try has done.
    SaidOfRepeat(Vec<u8>),
    /// Nobody answered, but the caller saw that it is done ([`Input::SeenDone`](crate::Input::SeenDone)).
    SeenDone,
}

/// What became of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopOutcome {
    /// It came back after so long: a hold here, two hops with their delays.
    Returned(Duration),
    /// It did not come back in time.
    Lost,
}
