//! What a caller hears of its message.

use std::time::Duration;

use thiserror::Error;
use wakumix_mix::ExitStatus;
use wakumix_waku::lightpush::{AnswerError, StatusCode};

use crate::{ClientError, Exposure, no_replies};

/// What is known of a message that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The service has answered.
    Confirmed,
    /// No answer came, but this node saw the message on the relay network.
    Seen,
}

/// On which path a message was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryPath {
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
    /// How it was delivered.
    pub path: DeliveryPath,
    /// How often it was sent, the last time included.
    pub tries: u32,
    /// Who has seen something of it.
    pub exposure: Exposure,
    /// Lightpush status code (`spec/waku.md §4.1`); 200 for one that was seen.
    pub status: u32,
    /// The service's words.
    pub description: Option<String>,
    /// To how many relay peers it was sent.
    pub relay_peer_count: Option<u32>,
    /// The deterministic hash of what was pushed, as the sender computed it; absent when the service derives the
    /// topic and this node does not know the number of shards.
    pub message_hash: Option<[u8; 32]>,
    /// From the first packet handed over until the answer was opened.
    pub round_trip: Duration,
}

impl Answer {
    /// The stable code of this outcome: `confirmed`, `published_unconfirmed`, or `refused` by the service.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (self.certainty, StatusCode(self.status).is_success()) {
            (Certainty::Seen, _) => "published_unconfirmed",
            (Certainty::Confirmed, true) => "confirmed",
            (Certainty::Confirmed, false) => "refused",
        }
    }
}

/// Why there is no answer. `kind` is the stable code shared by REST, command line, metrics and docs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PushFailure {
    /// The client has none.
    #[error("{}", in_words(.0))]
    Client(#[from] ClientError),
    /// The topic or content topic is malformed.
    #[error("{0}")]
    InvalidMessage(String),
    /// An answer came that cannot be read.
    #[error("the answer is malformed: {0}")]
    BadAnswer(#[from] AnswerError),
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
    /// A message that may go directly, on a node that pushes over the mixnet alone.
    #[error("this node pushes over the mixnet alone, sender.allow-direct is off; ask for anonymity `required`")]
    DirectNotAllowed,
    /// A message that is to go directly, on a node without a relay that knows no service.
    #[error("no relay runs on this node, and no node that serves lightpush is known")]
    NoService,
    /// A message that went directly, and its service could not be asked.
    #[error("the service failed: {0}")]
    Service(DirectFailure),
}

impl PushFailure {
    /// The stable code.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Client(failure) => failure.kind(),
            Self::InvalidMessage(_) => "invalid_message",
            Self::BadAnswer(_) => "bad_answer",
            Self::ServiceUnreachable => "service_unreachable",
            Self::ExitRefused { .. } => "exit_refused",
            Self::DirectNotAllowed => "direct_not_allowed",
            Self::NoService => "no_service",
            Self::Service(failure) => failure.kind(),
        }
    }

    /// How often the message had left when its time was over; `None` for other failures.
    #[must_use]
    pub fn tries_until_deadline(&self) -> Option<u32> {
        match self {
            Self::Client(ClientError::Deadline { tries, .. } | ClientError::NoReplies { tries, .. }) => Some(*tries),
            _ => None,
        }
    }
}

/// Why a service that was asked directly has not answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DirectFailure {
    /// No connection could be made.
    #[error("the peer cannot be reached")]
    DialFailed,
    /// The peer does not speak the protocol.
    #[error("the peer does not support the protocol")]
    Unsupported,
    /// The stream broke, or the answer was malformed or too long.
    #[error("the exchange failed: {0}")]
    Stream(String),
}

impl DirectFailure {
    fn kind(&self) -> &'static str {
        match self {
            Self::DialFailed => "dial_failed",
            Self::Unsupported => "unsupported",
            Self::Stream(_) => "stream_failed",
        }
    }
}

/// A message can say what was asked for.
fn in_words(failure: &ClientError) -> String {
    match failure {
        ClientError::Deadline { limit, tries } => {
            format!(
                "no answer within {} ms after {tries} tries; the message may have been published",
                limit.as_millis()
            )
        }
        ClientError::NoReplies { limit, tries, silent, address, wire } => {
            format!(
                "no answer within {} ms after {tries} tries; the message may have been published; {}",
                limit.as_millis(),
                no_replies(*silent, address.as_deref(), *wire)
            )
        }
        ClientError::Unconfirmed { said, needed } => {
            format!("{said} of {needed} services say that they have the message; it may have been published")
        }
        other => other.to_string(),
    }
}
